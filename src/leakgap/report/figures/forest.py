"""Pooled TPRs with their intervals: by technique and step, by attack, by number of shadow models, by factor."""

from collections.abc import Hashable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, NullLocator

from leakgap.augment import MEMBERS, canonical
from leakgap.report.figures.data import LeftOut, Setting, in_order, wide_replicates
from leakgap.report.figures.style import (
    GREY,
    INFORMED,
    UNINFORMED,
    at_fpr,
    canvas,
    log_percent,
    look,
    panels,
    percent,
    sequential,
)
from leakgap.results import known


def _floor(table: pd.DataFrame, fpr: float) -> float:
    """Return where the logarithmic TPR axis begins: below chance and every bound, but at most a decade below."""
    lows = table["low"][table["low"] > 0]
    return max(min(fpr, lows.min() if len(lows) else fpr) / 1.6, fpr / 10)


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


def pooled_tpr(setting: Setting, pooled: pd.DataFrame) -> Figure:
    """Pooled TPR of every technique and step with its 95% interval (two-way bootstrap over models and images),
    first step on top. Dashed: chance, TPR = FPR. `undefined`: fewer non-members than the false positive rate
    needs. An arrowhead at the edge: below the axis."""
    rows = known(setting.study, pooled)
    rows = rows[rows["attack"] == setting.study.attack.headline]
    parts, fprs = in_order(setting, rows), setting.study.attack.fpr
    count = len(setting.steps)
    height = max(2.6, 1.2 + len(parts) * max(0.3, 0.11 * count))
    figure = canvas(3.2 + 2.6 * len(fprs), height, f"Pooled TPR by technique and step\n{setting.whose}")
    colours = sequential(count)
    for axes, fpr in zip(np.atleast_1d(figure.subplots(1, len(fprs), sharey=True)), fprs, strict=True):
        here = rows[np.isclose(rows["fpr"], fpr)]
        floor = _floor(here, fpr)
        _rows(axes, [technique for technique, _ in parts])
        log_percent(axes, "x", floor, np.nanmax([*(here["high"] * 1.3), 5 * fpr]))
        axes.axvline(fpr, color=GREY, linestyle="--", linewidth=0.9)
        axes.set_xlabel(f"Pooled {at_fpr(fpr)} (%)")
        for place, (technique, _) in enumerate(parts):
            for _, row in here[here["technique"] == technique].iterrows():
                offset = 0.8 * ((row["step"] - 0.5) / count - 0.5)
                _interval(axes, row, place + offset, colours[int(row["step"]) - 1], "o", floor, 3.5)
    handles = [
        Line2D([], [], marker="o", color=colour, markersize=4, label=setting.step_name(step))
        for step, colour in zip(setting.steps, colours, strict=True)
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=7)
    return figure


def attacks(setting: Setting, pooled: pd.DataFrame) -> Figure:
    """All attacks side by side, one panel for each technique, last step: pooled TPR with its 95% interval (two-way
    bootstrap over models and images). Dashed in the same colour: chance, TPR = FPR. An arrowhead at the edge:
    below the axis."""
    rows = known(setting.study, pooled)
    rows = rows[rows["step"] == setting.steps[-1]]
    parts, fprs = in_order(setting, rows), sorted(setting.study.attack.fpr, reverse=True)
    names = list(setting.study.attack.attacks)
    size = (2.5, 0.9 + len(names) * (0.1 + 0.04 * len(fprs)))
    title = f"Attacks side by side, {setting.step_name(setting.steps[-1])}\n{setting.study.attacker} attacker"
    figure, grid = panels([technique for technique, _ in parts], title, size=size, share="all")
    colours = sequential(len(fprs) + 1)[:-1] if len(fprs) > 2 else [INFORMED, UNINFORMED]
    marks = "osD^v"
    floor = min(_floor(rows[np.isclose(rows["fpr"], fpr)], fpr) for fpr in fprs)
    for axes, (_, part) in zip(grid, parts, strict=True):
        _rows(axes, names)
        log_percent(axes, "x", floor, min(1, rows["high"].max() * 1.4))
        for index, (fpr, colour) in enumerate(zip(fprs, colours, strict=False)):
            axes.axvline(fpr, color=colour, linestyle="--", linewidth=0.8, alpha=0.7)
            here = part[np.isclose(part["fpr"], fpr)].set_index("attack")
            for place, name in enumerate(names):
                offset = 0.5 * ((index + 0.5) / len(fprs) - 0.5)
                _interval(axes, here.loc[name], place + offset, colour, marks[index % 5], floor, 3.5)
    figure.supxlabel("Pooled TPR (%)", fontsize=9)
    handles = [
        Line2D([], [], marker=marks[index % 5], color=colour, markersize=4, label=f"at {percent(fpr)}% FPR")
        for index, (fpr, colour) in enumerate(zip(fprs, colours, strict=False))
    ]
    figure.legend(handles=handles, loc="outside right upper")
    return figure


def shadow_models(setting: Setting, shadows: pd.DataFrame) -> Figure:
    """How the attack gains from shadow models: pooled TPR at the last step when the masks are dealt into groups
    that know only one another, with 95% intervals (two-way bootstrap); points are set side by side, those below the
    axis stand at its edge. Dashed: chance."""
    shadows = shadows[shadows["attack"] == setting.study.attack.headline]
    counts, fprs = sorted(shadows["n_shadows"].unique()), setting.study.attack.fpr
    if len(counts) < 2:
        raise LeftOut("the grid has too few masks to leave out any shadow models")
    parts = in_order(setting, shadows)
    figure = canvas(2.2 + 3 * len(fprs), 3.6, f"Pooled TPR by number of shadow models\n{setting.whose}")
    spread = 2 ** (0.3 * (np.linspace(0, 1, len(parts)) - 0.5)) if len(parts) > 1 else [1]
    for axes, fpr in zip(np.atleast_1d(figure.subplots(1, len(fprs))), fprs, strict=True):
        here = shadows[np.isclose(shadows["fpr"], fpr)]
        floor = _floor(here, fpr)
        log_percent(axes, "y", floor, np.nanmax([*(here["high"] * 1.2), 5 * fpr]))
        axes.axhline(fpr, color=GREY, linestyle="--", linewidth=0.9)
        for shift, (technique, _) in zip(spread, parts, strict=True):
            rows = here[here["technique"] == technique].sort_values("n_shadows")
            x, style = rows["n_shadows"] * shift, look(technique)
            low, high = rows["low"].clip(lower=floor), rows["high"].clip(lower=floor)
            axes.vlines(x, low, high, color=style.colour, linewidth=1)
            axes.plot(x, rows["tpr"].clip(lower=floor), label=technique, **style.line)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(counts))
        axes.xaxis.set_major_formatter(FixedFormatter([str(count) for count in counts]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set(xlabel="Shadow models", ylabel=f"Pooled {at_fpr(fpr)} (%)")
        if here["tpr"].isna().all():
            axes.text(
                0.5, 0.5, "undefined: too few non-members", transform=axes.transAxes, ha="center", color=GREY
            )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=7, handlelength=3)
    return figure


def contrasts(log_tpr: pd.DataFrame) -> pd.DataFrame:
    """Return main effects and interactions, one column each, for every row of log TPR [row, technique].

    The full factorial in -1/+1 coding: an effect is the mean with an even number of its factors absent minus the
    mean of the rest (Box, Hunter and Hunter, ch. 5), so a main effect is with minus without.
    """
    members = _members(log_tpr)
    factors = [name for size in range(1, len(members) + 1) for name in combinations(members, size)]
    effects = {}
    for factor in factors:
        absent = [sum(member not in str(technique).split("+") for member in factor) for technique in log_tpr]
        signs = np.where(np.array(absent) % 2, -1, 1)
        effects[" x ".join(factor)] = log_tpr @ signs / (len(signs) / 2)
    return pd.DataFrame(effects)


def _members(techniques: Iterable[Hashable]) -> list[str]:
    """Return the members that any of some techniques has, whatever else is registered."""
    named = {member for technique in techniques for member in canonical(str(technique))}
    return [member for member in MEMBERS if member in named]


def factorial(setting: Setting, pooled: pd.DataFrame, replicates: pd.DataFrame) -> Figure:
    """Main effects (dark) and interactions (light) of the augmentation techniques on log10 of the pooled TPR, last
    step, with 95% intervals of the paired bootstrap replicates; TPRs below chance count as chance. A main
    effect of -1 divides the TPR by 10 on average over the other techniques; an interaction is half of how much one
    technique's effect changes with the other."""
    members = _members(setting.techniques)
    if len(members) < 2 or len(setting.techniques) < 2 ** len(members):
        raise LeftOut("the grid is not the full factorial of two or more techniques")
    rows = known(setting.study, pooled)
    rows = rows[(rows["step"] == setting.steps[-1]) & (rows["attack"] == setting.study.attack.headline)]
    draws, fprs = known(setting.study, replicates), setting.study.attack.fpr
    title = f"Effects of the techniques on the pooled TPR, {setting.step_name(setting.steps[-1])}\n{setting.whose}"
    figure = canvas(3 + 3 * len(fprs), 5.2, title)
    for axes, fpr in zip(np.atleast_1d(figure.subplots(1, len(fprs), sharey=True)), fprs, strict=True):
        tpr = rows[np.isclose(rows["fpr"], fpr)].set_index("technique")[["tpr"]].T
        value = contrasts(tpr.clip(lower=fpr).apply(np.log10)).iloc[0]
        spread = contrasts(wide_replicates(draws, fpr, "technique").clip(lower=fpr).apply(np.log10))
        _rows(axes, list(value.index))
        axes.axvline(0, color=GREY, linestyle="--", linewidth=0.9)
        if value.isna().any():
            axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", color=GREY)
            continue
        low, high = spread.quantile(0.025), spread.quantile(0.975)
        for place, name in enumerate(value.index):
            colour, marker = (INFORMED, "o") if " x " not in name else ("#8FB8D8", "D")
            axes.plot([low[name], high[name]], [place, place], color=colour, linewidth=1.4)
            axes.plot(value[name], place, marker, color=colour, markersize=5)
        axes.set_xlabel(f"Effect on log10 of pooled {at_fpr(fpr)}")
        top = axes.secondary_xaxis("top")
        top.set_xlabel("as a factor", fontsize=8)
        top.xaxis.set_major_formatter(FuncFormatter(lambda effect, _: f"x{10**effect:.2g}"))
    return figure
