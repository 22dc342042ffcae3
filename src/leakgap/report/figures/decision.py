"""Accuracy against leak: the variants, and the front of those that nothing beats on both."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from leakgap.report.decision import Decision, decisions
from leakgap.report.figures.setting import LeftOut, Setting
from leakgap.report.figures.style import FAINT, GREY, canvas, log_floor, log_percent, tpr_at

SPREAD = 3  # where the largest error is more than this times the smallest, the axis is that of its logarithm


def decision(setting: Setting) -> Figure:
    """Draw one panel for each FPR, the deciding one first: a mark with two intervals for each variant."""
    found = [one for one in decisions(setting.results) if one.front]
    if not found:
        raise LeftOut("no FPR at which the pooled TPR of every variant is defined")
    width = 2.6 + 3.2 * len(found)
    figure = canvas(width, 4.2, f"Accuracy against leak, {setting.last}\n{setting.whose}")
    axes = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for panel, one in zip(axes, found, strict=True):
        _panel(panel, one, setting)
    _accuracy_axis(axes[0], found[0])
    for panel, one in zip(axes, found, strict=True):
        _staircase(panel, one)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=7.5)
    return figure


def _floor(found: Decision) -> float:
    return log_floor((found.tpr[found.of(variant)].low for variant in found.variants), found.fpr)


def _panel(axes: Axes, found: Decision, setting: Setting) -> None:
    tprs, floor = {variant: found.tpr[found.of(variant)] for variant in found.variants}, _floor(found)
    log_percent(axes, "x", floor, np.nanmax([*(1.4 * tpr.high for tpr in tprs.values()), 3 * found.fpr]))
    axes.axvline(found.fpr, color=GREY, linestyle="--", linewidth=0.9)
    for variant, tpr in tprs.items():
        error, style = _error(found, variant), setting.looks[variant]
        line: dict[str, Any] = {"color": style.colour, "linewidth": 1.2, "zorder": 2}
        x = max(tpr.value, floor)
        axes.plot(np.fmax([tpr.low, tpr.high], floor), [error[0], error[0]], **line)
        axes.plot([x, x], error[1:], **line)
        size = style.line["markersize"] * (1.6 if variant in found.front else 1)
        axes.plot(
            x, error[0], label=variant, **style.line | {"linestyle": "", "markersize": size, "zorder": 3}
        )
    axes.set_title("\N{NORTH WEST ARROW} better", fontsize=8, color=GREY)
    axes.set_xlabel(f"Pooled {tpr_at(found.fpr)} (%)")


def _error(found: Decision, variant: str) -> tuple[float, float, float]:
    """Test error in percent, with its interval."""
    accuracy = found.accuracy[found.of(variant)]
    value, low, high = (100 * (1 - end) for end in accuracy[:3])
    return value, low, high


def _accuracy_axis(axes: Axes, found: Decision) -> None:
    """Turn the axis of errors upside down and label it with accuracies."""
    errors = [_error(found, variant)[0] for variant in found.variants]
    label = "Test accuracy (%)"
    if 0 < SPREAD * min(errors) < max(errors):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5), numticks=20))
        axes.yaxis.set_minor_locator(NullLocator())
        label += ", scaled by log error"
    axes.margins(y=0.08)
    axes.yaxis.set_major_formatter(lambda error, _: f"{100 - error:.6g}")
    axes.set_ylabel(label)
    axes.invert_yaxis()


def _staircase(axes: Axes, found: Decision) -> None:
    """Draw the edge of what some variant of the front beats, and shade what is beaten."""
    leaky, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
    front = list(reversed(found.front))  # from the least leak
    x = [max(found.tpr[found.of(variant)].value, _floor(found)) for variant in front]
    y = [_error(found, variant)[0] for variant in front]
    style: dict[str, Any] = {"color": FAINT, "linewidth": 1.2, "zorder": 1, "label": "front"}
    axes.step([x[0], *x, leaky], [bottom, *y, y[-1]], where="post", **style)
    axes.fill_between([*x, leaky], bottom, [*y, y[-1]], step="post", color="#F4F4F4", linewidth=0, zorder=0)
    axes.set_ylim(bottom=bottom)
