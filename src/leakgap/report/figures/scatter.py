"""Attack success of single targets against how well they generalize: one dot for each model and step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from leakgap.estimates import tpr_column
from leakgap.order.between import censoring_floor
from leakgap.report.figures.setting import Setting, in_order, target_fpr
from leakgap.report.figures.style import (
    DENSE,
    FAINT,
    GREY,
    across,
    canvas,
    colormap,
    finished,
    log_percent,
    sequential,
    tpr_at,
)

QUANTITIES = {  # column: label, factor
    "acc_gap": ("Train - test accuracy (percentage points)", 100),
    "test_acc": ("Test accuracy (%)", 100),
    "train_acc": ("Train accuracy (%)", 100),
    "loss_gap": ("Test - train loss (nats)", 1),
    "train_loss": ("Train loss (nats)", 1),
}
OUTLYING = 20  # times the median: where a dot is further out, the axis is logarithmic


def in_words(column: str) -> str:
    """Name a quantity inside a sentence: acc_gap -> train - test accuracy."""
    name = QUANTITIES[column][0].partition(" (")[0]
    return name[0].lower() + name[1:]


@dataclass(frozen=True)
class Dots:
    """What is on the two axes, with the rule of censoring applied."""

    x: np.ndarray  # in the unit of its label
    y: np.ndarray  # TPR, a share; the FPR itself where censored
    censored: np.ndarray  # bool
    fpr: float
    floor: float  # the highest of the targets' floors

    @classmethod
    def of(cls, setting: Setting, column: str) -> "Dots":
        """LeftOut when the TPR of single targets is undefined."""
        fpr, targets = target_fpr(setting), setting.targets
        counts = list(zip(targets["n_members"], targets["n_nonmembers"], strict=True))
        floors = {count: censoring_floor(fpr, *count) for count in set(counts)}  # of a target's own counts
        tpr = targets[tpr_column(fpr)].to_numpy()
        x = targets[column].to_numpy() * QUANTITIES[column][1]
        censored = tpr <= np.array([floors[count] for count in counts])
        return cls(x, np.where(censored, fpr, tpr), censored, fpr, max(floors.values()))

    def frame(self, axes: Axes, which: np.ndarray | slice = slice(None)) -> None:
        """Draw the axes, what can't be told from chance, and how many of the dots `which` that is."""
        log_percent(axes, "y", self.fpr / 1.35, max(self.y.max() * 1.4, 3 * self.floor))
        axes.axhspan(self.fpr, self.floor, color="#EFEFEF", linewidth=0, zorder=0)
        axes.axhline(self.fpr, color=GREY, linestyle="--", linewidth=0.9, zorder=1)
        hidden = self.censored[which]
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1}
        axes.annotate(
            f"{hidden.sum()} of {hidden.size} censored",
            (0.985, self.floor / 1.04),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="top",
            fontsize=6.5,
            color=GREY,
            bbox=box,
            zorder=4,
        )
        self._spread_out(axes)
        axes.margins(x=0.04)

    def _spread_out(self, axes: Axes) -> None:
        """Make the axis logarithmic, symmetrically if there are negative values, where some lie far out."""
        typical = np.median(np.abs(self.x))
        if not 0 < OUTLYING * typical < np.abs(self.x).max():
            return
        if self.x.min() > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=10.0 ** np.ceil(np.log10(typical)), linscale=0.5)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())

    def draw(
        self,
        axes: Axes,
        which: np.ndarray,
        colours: np.ndarray,
        marker: str = "o",
        edge: str = "none",
        size: float = 16,
    ) -> None:
        """Draw the dots `which` (bool), filled where they are told from chance, else open. colours: RGBA rows."""
        many = len(self.x) > DENSE
        size /= 2 if many else 1
        for rows, filled in ((which & ~self.censored, True), (which & self.censored, False)):
            axes.scatter(
                self.x[rows],
                self.y[rows],
                s=size * (2 if marker == "*" else 1),
                marker=marker,
                facecolors=colours[rows] if filled else "none",
                edgecolors=edge if filled else colours[rows],
                linewidths=(0.15 if many else 0.5) if filled else 0.7,
                alpha=0.85 if filled else 0.6,
                rasterized=many,
                zorder=3,
            )


def together(column: str, shade: str) -> Callable[[Setting], Figure]:
    """Return the figure of all techniques in one panel: TPR against `column`, colour `shade`, marker technique."""

    def draw(setting: Setting) -> Figure:
        dots, targets = Dots.of(setting, column), setting.targets
        label, unit = QUANTITIES[shade]
        values = targets[shade].to_numpy() * unit
        scale = ScalarMappable(Normalize(values.min(), values.max()), colormap())
        figure = canvas(7.6, 4.8, f"{tpr_at(dots.fpr)} of single targets, all steps\n{setting.whose}")
        axes = figure.subplots()
        dots.frame(axes)
        names, handles = targets["technique"].to_numpy(), []
        for technique, _ in in_order(setting, targets):
            style = setting.looks[technique]
            dots.draw(axes, names == technique, scale.to_rgba(values), style.marker, style.edge)
            edge = style.edge if style.edge != "none" else GREY
            handles.append(_dot("#888888", style.marker, edge, label=technique))
        handles.append(_dot("none", edge=GREY, label="censored (open)"))
        axes.set(xlabel=QUANTITIES[column][0], ylabel=f"{tpr_at(dots.fpr)}, each target by itself (%)")
        bar = figure.colorbar(scale, ax=axes, pad=0.01, aspect=30)
        bar.set_label(label)
        figure.legend(handles=handles, loc="outside right center", fontsize=7)
        return figure

    return draw


def apart(column: str) -> Callable[[Setting], Figure]:
    """Return the figure of one panel for each technique: TPR against `column`, colour step."""

    def draw(setting: Setting) -> Figure:
        dots, targets = Dots.of(setting, column), setting.targets
        parts = [technique for technique, _ in in_order(setting, targets)]
        grid = sns.FacetGrid(targets, col="technique", col_order=parts, **across(len(parts)))
        names, steps = targets["technique"].to_numpy(), targets["step"].to_numpy()
        colours = to_rgba_array(sequential(len(setting.steps)))
        for technique, axes in grid.axes_dict.items():
            here = names == technique
            dots.frame(axes, here)
            axes.scatter(
                dots.x[~here], dots.y[~here], s=4, color=FAINT, linewidths=0, rasterized=True, zorder=2.9
            )
            dots.draw(axes, here, colours[steps - 1], size=14)
        handles = {
            setting.step_name(step): _dot(colour) for step, colour in zip(setting.steps, colours, strict=True)
        }
        handles |= {"censored": _dot("none", edge=GREY), "other techniques": _dot(FAINT, ".")}
        grid.add_legend(handles, title="", loc="outside right center")
        title = f"{tpr_at(dots.fpr)} of single targets by technique\n{setting.whose}"
        return finished(grid, title, QUANTITIES[column][0], f"{tpr_at(dots.fpr)} (%)")

    return draw


def _dot(colour: Any, marker: str = "o", edge: Any = None, **further: Any) -> Line2D:
    """Return what stands for a dot in a legend."""
    return Line2D(
        [], [], linestyle="", marker=marker, color=colour, markeredgecolor=edge or colour, **further
    )
