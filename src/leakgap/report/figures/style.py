"""How every figure looks: a technique's own colour, marker and dash; log axes in percent; panels.

Colours are Okabe and Ito's, with Tol's wine in place of yellow, told apart with any colour vision; markers and
dashes say the same in grey. Which of crop, mirror and cutout a technique has decides colour and marker; policy
makes it dashed and open. Other variants take the colours and markers that the study has left.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from leakgap.study import NONE

LOOKS = {
    NONE: ("#000000", "o"),
    "crop": ("#0072B2", "s"),
    "mirror": ("#009E73", "^"),
    "cutout": ("#E69F00", "D"),
    "crop+mirror": ("#56B4E9", "v"),
    "crop+cutout": ("#CC79A7", "P"),
    "mirror+cutout": ("#882255", "X"),
    "crop+mirror+cutout": ("#D55E00", "*"),
}
POLICY = "policy"
INFORMED, UNINFORMED = "#0072B2", "#D55E00"
GREY, FAINT = "#666666", "#C8C8C8"
DENSE = 500  # more dots than this are drawn as pixels in the SVG


@dataclass(frozen=True)
class Look:
    """How a technique is drawn in every figure."""

    colour: str
    marker: str
    dash: str | tuple[float, tuple[float, float]]
    face: str
    edge: str

    @property
    def line(self) -> dict[str, Any]:
        """Keywords of a line with markers."""
        return {
            "color": self.colour,
            "marker": self.marker,
            "linestyle": self.dash,
            "markerfacecolor": self.face,
            "markersize": 6.5 if self.marker == "*" else 4.5,
            "linewidth": 1.4,
        }


def looks(techniques: Sequence[str]) -> dict[str, Look]:
    """Return the look of every technique of a study, no two alike.

    What is made of crop, mirror, cutout and policy looks the same in every study. Other variants get what is left,
    in their order, `none`'s first.
    """
    own = {name: _place(name) for name in techniques}
    left = (
        place for policy in (False, True) for place in product(LOOKS, [policy]) if place not in own.values()
    )
    further = product("<>hpHd8", range(20))  # where that is not enough
    shown = {}
    for name, place in own.items():
        if place is None:
            place = next(left, None)
        if place is None:
            marker, number = next(further)
            shown[name] = Look(to_hex(mpl.colormaps["tab20b"](number)), marker, "-", "none", "none")
            continue
        (colour, marker), policy = LOOKS[place[0]], place[1]
        shown[name] = (
            Look(colour, marker, (0, (3.5, 1.5)), "white", "black")
            if policy
            else Look(colour, marker, "-", colour, "none")
        )
    return shown


def _place(technique: str) -> tuple[str, bool] | None:
    """The key of LOOKS of a technique without policy, and whether it has policy; None for what is not such."""
    members = technique.split("+")
    rest = "+".join(member for member in members if member != POLICY) or NONE
    return (rest, POLICY in members) if rest in LOOKS else None


def sequential(count: int) -> list[str]:
    """Return `count` colours from dark to light, for steps: ordered in grey too, none too light for white paper."""
    return [to_hex(mpl.colormaps["viridis"](value)) for value in np.linspace(0, 0.88, count)]


def colormap() -> Colormap:
    """Return the same scale for continuous quantities."""
    return ListedColormap(sequential(256))


@contextmanager
def styled() -> Iterator[None]:
    """Draw with seaborn's ticks style, small type, and SVGs that are equal byte by byte for equal data."""
    mine = {
        "text.parse_math": False,  # names of classes and variants are no formulas
        "text.usetex": False,
        "svg.hashsalt": "leakgap",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "axes.grid": True,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9,
        "axes.titlelocation": "left",
        "figure.titlesize": 10,
        "figure.dpi": 160,
        "savefig.dpi": "figure",
        "figure.constrained_layout.w_pad": 0.08,
        "text.hinting": "no_hinting",  # equal widths in SVG and PNG
        "legend.frameon": False,
        "legend.fontsize": 8,
        "axes.unicode_minus": False,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a matplotlibrc of the user's says
        mpl.rcParams.update(sns.axes_style("ticks") | sns.plotting_context("paper") | mine)
        yield


def canvas(width: float, height: float, title: str) -> Figure:
    """Return an empty figure, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def across(count: int, height: float = 2.5) -> dict[str, Any]:
    """Return how seaborn sets `count` panels of `height` inches: rows as even as can be, fewer panels larger."""
    rows = ceil(count / (3 if count <= 9 else 4))
    return {"col_wrap": ceil(count / rows), "height": height + max(0, 3 - count) * 0.6}


def finished(grid: sns.FacetGrid, title: str, x: str, y: str) -> Figure:
    """Title a grid of panels and its axes, and lay it out; every panel has numbers on its own x axis."""
    figure = grid.figure
    plt.close(figure)  # pyplot, which seaborn draws with, is to forget it
    for name, axes in grid.axes_dict.items():
        axes.set_title(name, fontsize=8)
        axes.set(xlabel="", ylabel="")
        axes.tick_params(labelbottom=True, labelleft=axes.get_subplotspec().is_first_col(), labelsize=7.5)
    figure.suptitle(title, x=0.01, ha="left")
    figure.supxlabel(x, fontsize=9)
    figure.supylabel(y, fontsize=9)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.7)
    figure.set_layout_engine("constrained")
    return figure


def percent(value: float, _: object = None) -> str:
    """Write a share as percent without the sign: 0.001 -> 0.1."""
    return f"{100 * value:.6g}"


def log_floor(lows: Iterable[float], fpr: float) -> float:
    """Return where a logarithmic axis of TPRs begins: below chance and every bound, but at most a decade below."""
    return max(min([fpr, *(low for low in lows if low > 0)]) / 1.6, fpr / 10)


def log_percent(axes: Axes, which: str, low: float, high: float) -> None:
    """Make an axis logarithmic from low to high, shares labelled in percent; 2 and 5 too where decades are few."""
    few = np.log10(high / low) < 2.5
    getattr(axes, f"set_{which}scale")("log")
    getattr(axes, f"set_{which}lim")(low, high)
    axis = getattr(axes, f"{which}axis")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,), numticks=20))
    axis.set_major_formatter(FuncFormatter(percent))
    axis.set_minor_locator(NullLocator())


def tpr_at(fpr: float) -> str:
    """Write `TPR at 0.1% FPR`."""
    return f"TPR at {percent(fpr)}% FPR"
