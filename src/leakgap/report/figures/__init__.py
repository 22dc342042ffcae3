"""The study's figures, each as SVG and PNG. A figure is one function of DataFrames and one line in FIGURES.

Its name is the file's, its docstring the caption. It gets the setting and the tables named beside it (properties of
`data.Source`), and raises `data.LeftOut` with the reason where the study can't have it.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from leakgap.files import atomic
from leakgap.report.figures import forest, images, roc, scatter
from leakgap.report.figures.data import LEAVE_ONE_OUT, REPLICATES, LeftOut, Source
from leakgap.report.figures.style import styled
from leakgap.study import Study

INDEX = "index.json"


@dataclass(frozen=True)
class Figure:
    """What is drawn, the tables that it takes, and whether replicates have it too."""

    draw: Callable[..., Drawing]
    tables: tuple[str, ...]
    both_designs: bool = True

    @property
    def name(self) -> str:
        """Stem of its files."""
        return self.draw.__name__

    @property
    def caption(self) -> str:
        """What is to be seen, in one paragraph."""
        return re.sub(r"\s+", " ", self.draw.__doc__ or "").strip()


FIGURES = (
    Figure(roc.roc_by_technique, ("curves",)),
    Figure(roc.roc_by_step, ("curves",)),
    Figure(roc.informed_vs_uninformed, ("curves", "pooled", "replicates")),
    Figure(scatter.together("acc_gap", shade="test_acc"), ("targets",)),
    Figure(scatter.apart("acc_gap"), ("targets",)),
    Figure(scatter.together("test_acc", shade="acc_gap"), ("targets",)),
    Figure(scatter.apart("test_acc"), ("targets",)),
    Figure(scatter.together("loss_gap", shade="test_acc"), ("targets",)),
    Figure(scatter.apart("loss_gap"), ("targets",)),
    Figure(scatter.together("train_acc", shade="test_acc"), ("targets",)),
    Figure(scatter.apart("train_acc"), ("targets",)),
    Figure(scatter.together("train_loss", shade="test_acc"), ("targets",)),
    Figure(scatter.apart("train_loss"), ("targets",)),
    Figure(forest.pooled_tpr, ("pooled",)),
    Figure(forest.attacks, ("pooled",)),
    Figure(forest.shadow_models, ("shadows",), both_designs=False),
    Figure(forest.factorial, ("pooled", "replicates")),
    Figure(images.most_exposed, ("exposure", "pool"), both_designs=False),
)


def draw_figures(study: Study, joined: Sequence[str], exposures: Sequence[str], pool: str, out: str) -> None:
    """Draw every figure that the study can have, and an index of captions and of what is left out and why.

    `exposures` has one file per technique, by the attacker that is shown; `out` is a folder.
    """
    folder, index = Path(out), list[dict[str, str | float]]()
    designs = [LEAVE_ONE_OUT] + [REPLICATES] * bool(study.grid.replicates)
    for design in designs:
        source = Source(study, design, joined, exposures, pool)
        for figure in FIGURES:
            if design == REPLICATES and not figure.both_designs:
                continue
            name = figure.name if design == LEAVE_ONE_OUT else f"{figure.name}_{REPLICATES}"
            entry: dict[str, str | float] = {"name": name, "design": design, "caption": figure.caption}
            try:
                with styled():
                    drawing = figure.draw(source, *(getattr(source, table) for table in figure.tables))
                    _save(drawing, folder, name)
                    entry["inches"] = round(drawing.get_figwidth(), 2)
            except LeftOut as reason:
                entry["left_out"] = str(reason)
            index.append(entry)
    with atomic(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=2) + "\n")


def _save(drawing: Drawing, folder: Path, name: str) -> None:
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # laid out once, not for every format
    for suffix, metadata in ((".svg", {"Date": None, "Title": name}), (".png", {"Title": name})):
        with atomic(folder / f"{name}{suffix}") as temporary:
            drawing.savefig(temporary, metadata=metadata)
