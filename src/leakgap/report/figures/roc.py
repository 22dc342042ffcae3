"""Pooled ROC curves on logarithmic axes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leakgap.report.figures.data import LeftOut, Setting, in_order, wide_replicates
from leakgap.report.figures.style import (
    INFORMED,
    UNINFORMED,
    canvas,
    log_percent,
    look,
    panels,
    percent,
    sequential,
)
from leakgap.results import known
from leakgap.study import NONE


def log_frame(axes: Axes, low: float, fprs: tuple[float, ...]) -> None:
    """Draw log axes, the diagonal, and the false positive rates that are read."""
    log_percent(axes, "x", low, 1)
    log_percent(axes, "y", low, 1)
    axes.plot([low, 1], [low, 1], color="#888888", linewidth=0.8, linestyle=":", zorder=1)
    for fpr in fprs:
        axes.axvline(fpr, color="#BBBBBB", linewidth=0.8, zorder=1)
    axes.set_box_aspect(1)


def label(figure: Figure) -> None:
    """Label both axes of a figure of panels."""
    figure.supxlabel("False positive rate (%)", fontsize=9)
    figure.supylabel("True positive rate (%)", fontsize=9)


def roc_by_technique(setting: Setting, curves: pd.DataFrame) -> Figure:
    """Pooled ROC of every technique at the last step: all (model, image) pairs under one threshold, both axes
    logarithmic. Dotted: chance. Grey lines: the false positive rates that tables and claims read. Colour and marker
    say which of crop, mirror and cutout a technique has; policy is dashed."""
    last = known(setting.study, curves[curves["step"] == setting.steps[-1]])
    figure = canvas(
        7.2, 5, f"Pooled ROC by technique, {setting.step_name(setting.steps[-1])}\n{setting.whose}"
    )
    axes = figure.subplots()
    log_frame(axes, last["fpr"].min(), setting.study.attack.fpr)
    for place, (technique, curve) in enumerate(in_order(setting, last)):
        axes.plot(
            curve["fpr"], curve["tpr"], label=technique, markevery=(5 + 3 * place, 30), **look(technique).line
        )
    axes.set(xlabel="False positive rate (%)", ylabel="True positive rate (%)")
    axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5), handlelength=3)
    return figure


def roc_by_step(setting: Setting, curves: pd.DataFrame) -> Figure:
    """Pooled ROC at every checkpoint step, one panel for each technique (the paper's fig. 2 is `none`): early
    steps dark, late steps light. Dotted: chance."""
    parts = in_order(setting, known(setting.study, curves))
    figure, grid = panels(
        [technique for technique, _ in parts], f"Pooled ROC by step\n{setting.whose}", size=(2.5, 2.5)
    )
    colours = sequential(len(setting.steps))
    for axes, (_, curve) in zip(grid, parts, strict=True):
        log_frame(axes, curves["fpr"].min(), setting.study.attack.fpr)
        for step, colour in zip(setting.steps, colours, strict=True):
            line = curve[curve["step"] == step]
            width = 0.9 + 0.9 * step / len(setting.steps)
            axes.plot(line["fpr"], line["tpr"], color=colour, linewidth=width, label=setting.step_name(step))
    label(figure)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right center", title="earliest first")
    return figure


def informed_vs_uninformed(
    setting: Setting, curves: pd.DataFrame, pooled: pd.DataFrame, replicates: pd.DataFrame
) -> Figure:
    """What knowing the technique is worth (the paper's figs. 3 and 4 are `policy` and all techniques): shadow
    models trained with the target's technique (solid) or with none (dashed), last step, pooled ROC. The numbers
    are TPR informed minus uninformed in percentage points, with the 95% interval of their paired bootstrap
    replicates; `undefined` where there are too few non-members."""
    last = curves[(curves["step"] == setting.steps[-1]) & (curves["technique"] != NONE)]
    parts = [(name, part) for name, part in in_order(setting, last) if part["attacker"].nunique() == 2]
    if not parts:
        raise LeftOut("no technique is attacked by both an informed and an uninformed attacker")
    title = f"Informed against uninformed attacker, {setting.step_name(setting.steps[-1])}\n"
    figure, grid = panels([name for name, _ in parts], title + setting.study.attack.headline, size=(2.5, 2.5))
    for axes, (technique, part) in zip(grid, parts, strict=True):
        log_frame(axes, last["fpr"].min(), setting.study.attack.fpr)
        for attacker, colour, dash in (
            ("informed", INFORMED, "-"),
            ("uninformed", UNINFORMED, (0, (4, 1.5))),
        ):
            line = part[part["attacker"] == attacker]
            axes.plot(line["fpr"], line["tpr"], color=colour, linestyle=dash, linewidth=1.6, label=attacker)
        lines = [_difference(setting, technique, pooled, replicates, fpr) for fpr in setting.study.attack.fpr]
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
        axes.text(
            0.98,
            0.03,
            "\n".join(lines),
            transform=axes.transAxes,
            ha="right",
            va="bottom",
            fontsize=6.5,
            bbox=box,
        )
    label(figure)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right upper", handlelength=3)
    return figure


def _difference(
    setting: Setting, technique: str, pooled: pd.DataFrame, replicates: pd.DataFrame, fpr: float
) -> str:
    """Write the difference in pooled TPR, in points, with its paired bootstrap interval."""
    rows = pooled[(pooled["technique"] == technique) & (pooled["attack"] == setting.study.attack.headline)]
    rows = rows[(rows["step"] == setting.steps[-1]) & np.isclose(rows["fpr"], fpr)]
    tpr = rows.set_index("attacker")["tpr"]
    wide = wide_replicates(replicates[replicates["technique"] == technique], fpr, "attacker")
    draws = 100 * (wide["informed"] - wide["uninformed"])
    if tpr.isna().any() or draws.isna().all():
        return f"at {percent(fpr)}%: undefined"
    low, high = draws.quantile([0.025, 0.975])
    return f"at {percent(fpr)}%: {100 * (tpr['informed'] - tpr['uninformed']):+.2f} [{low:+.2f}, {high:+.2f}]"
