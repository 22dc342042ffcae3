"""The study's figures, each as SVG and PNG. A figure is one function of a `Setting` and one entry in FIGURES.

The function raises `LeftOut` with the reason where the study can't have the figure.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from leakgap.files import atomic
from leakgap.report.figures import forest, images, roc, scatter
from leakgap.report.figures.setting import LeftOut, Setting
from leakgap.report.figures.style import styled
from leakgap.results import LEAVE_ONE_OUT, REPLICATES, Results
from leakgap.study import Study

INDEX = "index.json"


@dataclass(frozen=True)
class Figure:
    """What is drawn, what is to be seen in one paragraph, and whether replicates have it too."""

    name: str  # stem of its files
    draw: Callable[[Setting], Drawing]
    caption: str
    both_designs: bool = True


def _scatters(column: str, shade: str) -> tuple[Figure, Figure]:
    """Return the two figures of TPRs of single targets against a column of `summary`."""
    against = f"TPR against {scatter.in_words(column)}"
    rule = (
        "One dot for each target model and step; its TPR is its own (conformal threshold on its own "
        "non-members), at the smallest false positive rate that is defined for all targets. Open marks on "
        "the dashed line are censored: a TPR in the shaded band, up to the upper end of the 95% interval "
        "of what exchangeable members and non-members give (beta-binomial), can't be told from chance, so "
        "it is drawn as the false positive rate itself."
    )
    return (
        Figure(
            f"tpr_vs_{column}",
            scatter.together(column, shade),
            f"{against}, coloured by {scatter.in_words(shade)}; the marker says the technique. {rule}",
        ),
        Figure(
            f"tpr_vs_{column}_by_technique",
            scatter.apart(column),
            f"{against}, one panel for each technique; the colour says the step. {rule}",
        ),
    )


BOOTSTRAP = "95% interval (bootstrap of models and of images)"
FIGURES = (
    Figure(
        "roc_by_technique",
        roc.roc_by_technique,
        "Pooled ROC of every technique at the last step: all (model, image) pairs under one threshold, "
        "both axes logarithmic. Dotted: chance. Grey lines: the false positive rates that tables and "
        "claims read. Colour and marker say which of crop, mirror and cutout a technique has; policy is "
        "dashed.",
    ),
    Figure(
        "roc_by_step",
        roc.roc_by_step,
        "Pooled ROC at every checkpoint step, one panel for each technique (the paper's fig. 2 is `none`): "
        "early steps dark, late steps light. Dotted: chance.",
    ),
    Figure(
        "informed_vs_uninformed",
        roc.informed_vs_uninformed,
        "What knowing the technique is worth (the paper's figs. 3 and 4 are `policy` and all techniques): "
        "shadow models trained with the target's technique (solid) or with none (dashed), last step, "
        "pooled ROC. The numbers are TPR informed minus uninformed in percentage points, with the "
        f"{BOOTSTRAP}, paired; `undefined` where there are too few non-members or models, or no member is "
        "caught.",
    ),
    *_scatters("acc_gap", shade="test_acc"),
    *_scatters("test_acc", shade="acc_gap"),
    *_scatters("loss_gap", shade="test_acc"),
    *_scatters("train_acc", shade="test_acc"),
    *_scatters("train_loss", shade="test_acc"),
    Figure(
        "pooled_tpr",
        forest.pooled_tpr,
        f"Pooled TPR of every technique and step with its {BOOTSTRAP}, first step on top. Dashed: chance, "
        "TPR = FPR. `undefined`: fewer non-members than the false positive rate needs. An arrowhead at the "
        "edge: below the axis.",
    ),
    Figure(
        "attacks",
        forest.attacks,
        "All attacks side by side, one panel for each technique, last step: pooled TPR with its "
        f"{BOOTSTRAP}. Dashed in the same colour: chance, TPR = FPR. An arrowhead at the edge: below the "
        "axis.",
    ),
    Figure(
        "shadow_models",
        forest.shadow_models,
        "How the attack gains from shadow models: pooled TPR at the last step when the masks are dealt "
        f"into groups that know only one another, each with its {BOOTSTRAP}; points are set side by side, "
        "those below the axis stand at its edge. Dashed: chance.",
        both_designs=False,
    ),
    Figure(
        "factorial",
        forest.factorial,
        "Main effects (dark) and interactions (light) of the augmentation techniques on log10 of the "
        f"pooled TPR, last step, each with its {BOOTSTRAP}, paired; where no member is caught, half a "
        "member counts as caught. A main effect of -1 divides the TPR by 10 on average over the other "
        "techniques; an interaction is half of how much one technique's effect changes with the other.",
    ),
    Figure(
        "most_exposed",
        images.most_exposed,
        "The images caught most often at 1% FPR, last step, without augmentation and with the most of it. "
        "Above each: its class, and how many of the target models trained on it gave it away, of how many.",
        both_designs=False,
    ),
)


def draw_figures(study: Study, joined: Sequence[str], exposures: Sequence[str], pool: str, out: str) -> None:
    """Draw every figure that the study can have, and an index of captions and of what is left out and why.

    `exposures` has one file per technique, by the attacker that is shown; `out` is a folder.
    """
    results, folder = Results(study, joined), Path(out)
    index = list[dict[str, str | float]]()
    for design in results.designs:
        setting = Setting(results, design, exposures, pool)
        for figure in FIGURES:
            if design == REPLICATES and not figure.both_designs:
                continue
            name = figure.name if design == LEAVE_ONE_OUT else f"{figure.name}_{REPLICATES}"
            entry: dict[str, str | float] = {"name": name, "design": design, "caption": figure.caption}
            try:
                with styled():
                    drawing = figure.draw(setting)
                    _save(drawing, folder, name)
                    entry["inches"] = round(drawing.get_figwidth(), 2)
            except LeftOut as reason:
                entry["left_out"] = str(reason)
            index.append(entry)
    with atomic(folder / INDEX) as temporary:
        temporary.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _save(drawing: Drawing, folder: Path, name: str) -> None:
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # laid out once, not for every format
    for suffix, metadata in ((".svg", {"Date": None, "Title": name}), (".png", {"Title": name})):
        with atomic(folder / f"{name}{suffix}") as temporary:
            drawing.savefig(temporary, metadata=metadata)
