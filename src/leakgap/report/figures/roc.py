"""Pooled ROC curves on logarithmic axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from leakgap.report.figures.setting import LeftOut, Setting, in_order
from leakgap.report.figures.style import (
    INFORMED,
    UNINFORMED,
    across,
    canvas,
    finished,
    log_percent,
    percent,
    sequential,
)

X, Y = "False positive rate (%)", "True positive rate (%)"


def log_frame(axes: Axes, low: float, fprs: tuple[float, ...]) -> None:
    """Draw log axes, the diagonal, and the false positive rates that are read."""
    log_percent(axes, "x", low, 1)
    log_percent(axes, "y", low, 1)
    axes.plot([low, 1], [low, 1], color="#888888", linewidth=0.8, linestyle=":", zorder=1)
    for fpr in fprs:
        axes.axvline(fpr, color="#BBBBBB", linewidth=0.8, zorder=1)
    axes.set_box_aspect(1)


def panels(
    curves: pd.DataFrame, names: Sequence[str], fprs: tuple[float, ...], title: str | None, **how: Any
) -> sns.FacetGrid:
    """Draw one panel for each technique, on log axes, with a legend at the side; how: hue, style and the like."""
    grid = sns.relplot(
        curves[curves["technique"].isin(names)],
        kind="line",
        x="fpr",
        y="tpr",
        col="technique",
        col_order=names,
        **across(len(names)),
        estimator=None,
        sort=False,
        **how,
    )
    for axes in grid.axes.flat:
        log_frame(axes, curves["fpr"].min(), fprs)
    sns.move_legend(grid, "outside right center", title=title)
    return grid


def roc_by_technique(setting: Setting) -> Figure:
    """Draw the last step of every technique in one panel."""
    shown = setting.results.shown(setting.curves)
    last = shown[shown["step"] == setting.results.last]
    figure = canvas(7.6, 5, f"Pooled ROC by technique, {setting.last}\n{setting.whose}")
    axes = figure.subplots()
    log_frame(axes, last["fpr"].min(), setting.study.attack.fpr)
    for place, (technique, curve) in enumerate(in_order(setting, last)):
        axes.plot(
            curve["fpr"],
            curve["tpr"],
            label=technique,
            markevery=(5 + 3 * place, 30),
            **setting.looks[technique].line,
        )
    axes.set(xlabel=X, ylabel=Y)
    figure.legend(loc="outside right center", handlelength=3)
    return figure


def roc_by_step(setting: Setting) -> Figure:
    """Draw one panel for each technique, one curve for each step."""
    shown = setting.results.shown(setting.curves)
    names = [technique for technique, _ in in_order(setting, shown)]
    checkpoints = [setting.step_name(step) for step in setting.steps]
    grid = panels(
        shown.assign(checkpoint=shown["step"].map(setting.step_name)),
        names,
        setting.study.attack.fpr,
        "earliest first",
        hue="checkpoint",
        hue_order=checkpoints,
        palette=sequential(len(checkpoints)),
        linewidth=1.3,
    )
    return finished(grid, f"Pooled ROC by step\n{setting.whose}", X, Y)


def informed_vs_uninformed(setting: Setting) -> Figure:
    """Draw one panel for each technique with both attackers, and their difference in words."""
    last = setting.curves[setting.curves["step"] == setting.results.last]
    parts = in_order(setting, last[last["technique"] != setting.study.attack.baseline])
    names = [technique for technique, part in parts if part["attacker"].nunique() == 2]
    if not names:
        raise LeftOut("no technique is attacked by both an informed and an uninformed attacker")
    grid = panels(
        last,
        names,
        setting.study.attack.fpr,
        None,
        hue="attacker",
        style="attacker",
        hue_order=["informed", "uninformed"],
        style_order=["informed", "uninformed"],
        palette=[INFORMED, UNINFORMED],
        linewidth=1.6,
    )
    for technique, axes in grid.axes_dict.items():
        lines = [_difference(setting, technique, fpr) for fpr in setting.study.attack.fpr]
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
        place = {"transform": axes.transAxes, "ha": "right", "va": "bottom"}
        axes.text(0.98, 0.03, "\n".join(lines), fontsize=6.5, bbox=box, **place)
    title = f"Informed against uninformed, {setting.last}\n{setting.study.attack.headline}"
    return finished(grid, title, X, Y)


def _difference(setting: Setting, technique: str, fpr: float) -> str:
    """Write the difference in pooled TPR, in points, with its interval."""
    informed, uninformed = (
        setting.results.cell(technique, attacker=attacker, design=setting.design)
        for attacker in ("informed", "uninformed")
    )
    found = setting.results.contrast(informed, uninformed, fpr, "difference")
    if np.isnan(found.value):
        return f"at {percent(fpr)}%: undefined"
    value, low, high = (100 * share for share in (found.value, found.low, found.high))
    return f"at {percent(fpr)}%: {value:+.2f} [{low:+.2f}, {high:+.2f}]"
