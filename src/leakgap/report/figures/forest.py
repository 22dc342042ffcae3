"""Pooled TPRs with their intervals: by technique and step, by attack, by number of shadow models, by factor."""

from collections.abc import Sequence
from itertools import combinations, cycle
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from leakgap.augment import MEMBERS, canonical
from leakgap.estimates import at_fpr
from leakgap.report.figures.setting import LeftOut, Setting, in_order
from leakgap.report.figures.style import (
    GREY,
    INFORMED,
    UNINFORMED,
    across,
    canvas,
    finished,
    log_floor,
    log_percent,
    percent,
    sequential,
    tpr_at,
)
from leakgap.results import Cell


def _interval(
    axes: Axes, row: Any, place: float, colour: str, marker: str, floor: float, size: float = 4.5
) -> None:
    """Draw one TPR with its interval at height `place`; `undefined` in words; a TPR below the axis as `<`."""
    if np.isnan(row["tpr"]):
        axes.text(floor * 1.05, place, "undefined", color=GREY, fontsize=5.5, style="italic", va="center")
        return
    low, high = np.fmax(row["low"], floor), np.fmax(row["high"], floor)
    axes.plot([low, high], [place, place], color=colour, linewidth=1.2, solid_capstyle="butt", zorder=2)
    inside = row["tpr"] >= floor
    axes.plot(
        max(row["tpr"], floor), place, marker if inside else "<", color=colour, markersize=size, zorder=3
    )


def _rows(axes: Axes, names: list[str]) -> None:
    """Label rows from the top, with lines between them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for edge in range(1, len(names)):
        axes.axhline(edge - 0.5, color="#E6E6E6", linewidth=0.6, zorder=0)


def pooled_tpr(setting: Setting) -> Figure:
    """Draw one panel for each FPR, one row for each technique, the first step on top."""
    rows = setting.pooled[setting.pooled["attack"] == setting.study.attack.headline]
    parts, fprs = in_order(setting, rows), setting.study.attack.fpr
    count = len(setting.steps)
    height = max(2.6, 1.2 + len(parts) * max(0.3, 0.11 * count))
    figure = canvas(3.2 + 2.6 * len(fprs), height, f"Pooled TPR by technique and step\n{setting.whose}")
    colours = sequential(count)
    for axes, fpr in zip(np.atleast_1d(figure.subplots(1, len(fprs), sharey=True)), fprs, strict=True):
        here = at_fpr(rows, fpr)
        floor = log_floor(here["low"], fpr)
        _rows(axes, [technique for technique, _ in parts])
        log_percent(axes, "x", floor, np.nanmax([*(here["high"] * 1.3), 5 * fpr]))
        axes.axvline(fpr, color=GREY, linestyle="--", linewidth=0.9)
        axes.set_xlabel(f"Pooled {tpr_at(fpr)} (%)")
        for place, (technique, _) in enumerate(parts):
            for _, row in here[here["technique"] == technique].iterrows():
                offset = 0.8 * ((row["step"] - 0.5) / count - 0.5)
                _interval(axes, row, place + offset, colours[int(row["step"]) - 1], "o", floor, 3.5)
    handles = [
        Line2D([], [], marker="o", color=colour, markersize=4, label=setting.step_name(step))
        for step, colour in zip(setting.steps, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="outside right center", fontsize=7)
    return figure


def attacks(setting: Setting) -> Figure:
    """Draw the last step, one panel for each technique, one row for each attack."""
    rows = setting.pooled[setting.pooled["step"] == setting.results.last]
    parts, fprs = in_order(setting, rows), sorted(setting.study.attack.fpr, reverse=True)
    names = list(setting.study.attack.attacks)
    height = 0.9 + len(names) * (0.1 + 0.04 * len(fprs))
    size = across(len(parts), height)
    order = [technique for technique, _ in parts]
    grid = sns.FacetGrid(rows, col="technique", col_order=order, aspect=2.5 / height, **size)
    colours = sequential(len(fprs) + 1)[:-1] if len(fprs) > 2 else [INFORMED, UNINFORMED]
    looks = list(zip(fprs, cycle(colours), cycle("osD^v")))
    floor = min(log_floor(at_fpr(rows, fpr)["low"], fpr) for fpr in fprs)
    for technique, part in parts:
        axes = grid.axes_dict[technique]
        _rows(axes, names)
        log_percent(axes, "x", floor, min(1, rows["high"].max() * 1.4))
        for index, (fpr, colour, marker) in enumerate(looks):
            axes.axvline(fpr, color=colour, linestyle="--", linewidth=0.8, alpha=0.7)
            here = at_fpr(part, fpr).set_index("attack")
            for place, name in enumerate(names):
                offset = 0.5 * ((index + 0.5) / len(fprs) - 0.5)
                _interval(axes, here.loc[name], place + offset, colour, marker, floor, 3.5)
    handles = {
        f"at {percent(fpr)}% FPR": Line2D([], [], marker=marker, color=colour, markersize=4)
        for fpr, colour, marker in looks
    }
    grid.add_legend(handles, title="", loc="outside right center")
    title = f"Attacks side by side, {setting.last}\n{setting.study.attacker} attacker"
    return finished(grid, title, "Pooled TPR (%)", "")


def shadow_models(setting: Setting) -> Figure:
    """Draw one panel for each FPR; points of different techniques stand side by side."""
    shadows = setting.results.shown(setting.results.shadows)
    shadows = shadows[shadows["attack"] == setting.study.attack.headline]
    counts, fprs = sorted(shadows["n_shadows"].unique()), setting.study.attack.fpr
    if len(counts) < 2:
        raise LeftOut("the grid has too few masks to leave out any shadow models")
    parts = in_order(setting, shadows)
    figure = canvas(2.2 + 3 * len(fprs), 3.6, f"Pooled TPR by number of shadow models\n{setting.whose}")
    spread = 2 ** (0.3 * (np.linspace(0, 1, len(parts)) - 0.5)) if len(parts) > 1 else [1]
    for axes, fpr in zip(np.atleast_1d(figure.subplots(1, len(fprs))), fprs, strict=True):
        here = at_fpr(shadows, fpr)
        floor = log_floor(here["low"], fpr)
        log_percent(axes, "y", floor, np.nanmax([*(here["high"] * 1.2), 5 * fpr]))
        axes.axhline(fpr, color=GREY, linestyle="--", linewidth=0.9)
        for shift, (technique, _) in zip(spread, parts, strict=True):
            rows = here[here["technique"] == technique].sort_values("n_shadows")
            x, style = rows["n_shadows"] * shift, setting.looks[technique]
            low, high = rows["low"].clip(lower=floor), rows["high"].clip(lower=floor)
            axes.vlines(x, low, high, color=style.colour, linewidth=1)
            axes.plot(x, rows["tpr"].clip(lower=floor), label=technique, **style.line)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(counts))
        axes.xaxis.set_major_formatter(FixedFormatter([str(count) for count in counts]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="Shadow models", ylabel=f"Pooled {tpr_at(fpr)} (%)")
        if here["tpr"].isna().all():
            axes.text(
                0.5, 0.5, "undefined: too few non-members", transform=axes.transAxes, ha="center", color=GREY
            )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=7, handlelength=3)
    return figure


def effects(techniques: Sequence[str]) -> dict[str, tuple[list[str], list[str]]]:
    """Return the two halves of the techniques whose TPRs each main effect and each interaction compares.

    Those with an even number of the effect's factors absent, and the rest (Box, Hunter and Hunter, ch. 5): a main
    effect is with against without. LeftOut unless they are the full factorial of two or more members.

    >>> effects(["none", "crop", "mirror", "crop+mirror"])["crop x mirror"]
    (['none', 'crop+mirror'], ['crop', 'mirror'])
    """
    named = {member for technique in techniques for member in canonical(technique)}
    members = [member for member in MEMBERS if member in named]
    if len(members) < 2 or len(techniques) < 2 ** len(members):
        raise LeftOut("the grid is not the full factorial of two or more techniques")
    found = {}
    for size in range(1, len(members) + 1):
        for factors in combinations(members, size):
            odd = [name for name in techniques if len(set(factors) - set(canonical(name))) % 2]
            found[" x ".join(factors)] = ([name for name in techniques if name not in odd], odd)
    return found


def factorial(setting: Setting) -> Figure:
    """Draw one panel for each FPR, one row for each effect at the last step."""
    halves, fprs = effects(setting.study.augmentations), setting.study.attack.fpr
    title = f"Effects of the techniques on the pooled TPR, {setting.last}\n{setting.whose}"
    figure = canvas(3 + 3 * len(fprs), 1.6 + 0.24 * len(halves), title)
    for axes, fpr in zip(np.atleast_1d(figure.subplots(1, len(fprs), sharey=True)), fprs, strict=True):
        _rows(axes, list(halves))
        axes.axvline(0, color=GREY, linestyle="--", linewidth=0.9)
        axes.set_xlabel(f"Effect on log10 of pooled {tpr_at(fpr)}")
        ratios = [
            setting.results.contrast(_cells(setting, even), _cells(setting, odd), fpr)
            for even, odd in halves.values()
        ]
        if any(np.isnan(ratio.value) for ratio in ratios):
            axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", color=GREY)
            continue
        for place, (name, ratio) in enumerate(zip(halves, ratios, strict=True)):
            colour, marker = (INFORMED, "o") if " x " not in name else ("#8FB8D8", "D")
            axes.plot(np.log10([ratio.low, ratio.high]), [place, place], color=colour, linewidth=1.4)
            axes.plot(np.log10(ratio.value), place, marker, color=colour, markersize=5)
        top = axes.secondary_xaxis("top")
        top.set_xlabel("as a factor", fontsize=8)
        top.xaxis.set_major_formatter(FuncFormatter(lambda effect, _: f"x{10**effect:.2g}"))
    return figure


def _cells(setting: Setting, techniques: list[str]) -> list[Cell]:
    return [setting.results.cell(technique, design=setting.design) for technique in techniques]
