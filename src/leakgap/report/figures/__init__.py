"""The study's figures, each as SVG and PNG. A figure is one function of a `Setting` and one entry in FIGURES.

The function raises `LeftOut` with the reason where the study can't have the figure.
"""

import hashlib
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure as Drawing
from PIL import Image

from leakgap.estimates import LEAVE_ONE_OUT, REPLICATES
from leakgap.files import atomic, replace_index
from leakgap.report.figures import decision as choice
from leakgap.report.figures import forest, found, images, roc, scatter
from leakgap.report.figures.setting import LeftOut, Setting
from leakgap.report.figures.style import styled
from leakgap.report.topics import DECISION
from leakgap.results import Results
from leakgap.study import Study

INDEX = "index.json"
SUFFIXES = (".svg", ".png")
PIXELS = 100  # an inch, of what is drawn as pixels in an SVG
EMBEDDED = re.compile(r"(data:image/png;base64,)([^\"]+)")


@dataclass(frozen=True)
class Figure:
    """What is drawn, what is found in it in words with numbers (its alt text), and how to read it.

    behind: the figure below whose fold it stands in the report, if not by itself. both_designs: whether replicates
    have it too. of_augmentation: whether only a study of augmentation techniques has it.
    """

    name: str  # stem of its files
    topic: str
    heading: str
    draw: Callable[[Setting], Drawing]
    finding: Callable[[Setting], str]
    caption: str
    behind: str = ""
    both_designs: bool = True
    of_augmentation: bool = False


def _scatter(column: str, shade: str, *, rival: bool = False) -> Figure:
    """Return the figure of TPRs of single targets against a column of `summary`; rivals of the gap have no more."""
    return Figure(
        f"tpr_vs_{column}",
        "generalization",
        f"TPR against {scatter.in_words(column)}",
        scatter.together(column, shade),
        found.correlation(column),
        f"The colour says the {scatter.in_words(shade)}, the marker the variant.",
        both_designs=not rival,
    )


def _by_technique(column: str) -> Figure:
    """Return the same with one panel for each technique."""
    return Figure(
        f"tpr_vs_{column}_by_technique",
        "generalization",
        f"TPR against {scatter.in_words(column)}, by variant",
        scatter.apart(column),
        found.correlations(column),
        "One panel for each variant; the colour says the step.",
        behind=f"tpr_vs_{column}",
        both_designs=False,
    )


BOOTSTRAP = "95% interval (bootstrap of models and of images)"
FIGURES = (
    Figure(
        DECISION,
        DECISION,
        "Accuracy against leak",
        choice.decision,
        found.front,
        "Mean test accuracy and pooled TPR of every variant at the last step, each with its 95% interval, "
        "one panel for each FPR. Whatever lies in the grey area is beaten by a variant of the front (large "
        "marks): it is no more accurate and leaks no less. Dashed: chance, TPR = FPR.",
        both_designs=False,
    ),
    Figure(
        "roc_by_technique",
        "leak",
        "ROC of every variant",
        roc.roc_by_technique,
        found.highest_and_lowest,
        "Pooled ROC at the last step: all (model, image) pairs under one threshold, both axes logarithmic. "
        "Dotted: chance. Grey lines: the false positive rates that tables read. Colour and "
        "marker say which of crop, mirror and cutout a technique has; policy is dashed.",
    ),
    Figure(
        "pooled_tpr",
        "leak",
        "Pooled TPR of every variant and step",
        forest.pooled_tpr,
        found.above_chance,
        f"Each with its {BOOTSTRAP}, first step on top. Dashed: chance, TPR = FPR. `undefined`: fewer "
        "non-members than the false positive rate needs. An arrowhead at the edge: below the axis.",
    ),
    Figure(
        "roc_by_step",
        "leak",
        "ROC at every step",
        roc.roc_by_step,
        found.first_and_last_step,
        "One panel for each variant: early steps dark, late steps light. Dotted: chance.",
    ),
    Figure(
        "factorial",
        "leak",
        "Effects of the techniques",
        forest.factorial,
        found.largest_effect,
        "Main effects (dark) and interactions (light) of the augmentation techniques on log10 of the "
        f"pooled TPR, last step, each with its {BOOTSTRAP}, paired; where no member is caught, half a "
        "member counts as caught. A main effect of -1 divides the TPR by 10 on average over the other "
        "techniques; an interaction is half of how much one technique's effect changes with the other.",
        of_augmentation=True,
    ),
    Figure(
        "attacks",
        "attackers",
        "All attacks",
        forest.attacks,
        found.strongest_and_weakest,
        f"One panel for each variant, last step: pooled TPR with its {BOOTSTRAP}. Dashed in the same "
        "colour: chance, TPR = FPR. An arrowhead at the edge: below the axis.",
    ),
    Figure(
        "informed_vs_uninformed",
        "attackers",
        "What knowing the technique is worth",
        roc.informed_vs_uninformed,
        found.worth_of_knowing,
        "Shadow models trained like the target (solid) or by the baseline (dashed), last step, pooled "
        "ROC. The numbers are TPR informed minus "
        f"uninformed in percentage points, with the {BOOTSTRAP}, paired; `undefined` where there are too "
        "few non-members or models, or no member is caught.",
    ),
    Figure(
        "shadow_models",
        "attackers",
        "What shadow models are worth",
        forest.shadow_models,
        found.few_and_many,
        "Pooled TPR at the last step when the masks are dealt into groups that know only one another, each "
        f"with its {BOOTSTRAP}; points are set side by side, those below the axis stand at its edge. "
        "Dashed: chance.",
        both_designs=False,
    ),
    _scatter("acc_gap", shade="test_acc"),
    _by_technique("acc_gap"),
    _scatter("test_acc", shade="acc_gap"),
    _by_technique("test_acc"),
    _scatter("loss_gap", shade="test_acc"),
    _by_technique("loss_gap"),
    _scatter("train_acc", shade="test_acc", rival=True),
    _scatter("train_loss", shade="test_acc", rival=True),
    Figure(
        "most_exposed",
        "images",
        "Most exposed images",
        images.most_exposed,
        found.most_often,
        "Last step, by the baseline and with the most augmentation. Above each image: its class, and how "
        "many of the target models trained on it gave it away, of how many.",
        both_designs=False,
    ),
)


def draw_figures(study: Study, joined: str, pool: str, out: str) -> None:
    """Draw every figure, and an index: captions, alt texts, what is left out and why.

    `out` is a folder. In place of a figure that the study can't have stands the reason, so that all studies have
    the same files.
    """
    results, folder = Results(study, joined), Path(out)
    index = list[dict[str, str | float]]()
    for design in results.designs:
        setting = Setting(results, design, pool)
        for figure in FIGURES:
            if design == REPLICATES and not figure.both_designs:
                continue
            if figure.of_augmentation and not study.augments:
                continue
            suffix = "" if design == LEAVE_ONE_OUT else f"_{REPLICATES}"
            name = figure.name + suffix
            entry: dict[str, str | float] = {
                "name": name,
                "design": design,
                "topic": figure.topic,
                "behind": figure.behind or (figure.name if suffix else ""),
                "heading": figure.heading + (f", {REPLICATES} of mask 0" if suffix else ""),
                "caption": figure.caption,
                "alt": "",
            }
            with styled():
                try:
                    drawing = figure.draw(setting)
                    entry["alt"] = figure.finding(setting)
                except LeftOut as reason:
                    entry["left_out"] = str(reason)
                    drawing = _in_words(f"Left out: {reason}")
                entry["sha256"] = _save(drawing, folder, name)
                entry["inches"] = round(drawing.get_figwidth(), 2)
            index.append(entry)
    names = {f"{entry['name']}{suffix}" for entry in index for suffix in SUFFIXES}
    replace_index(folder / INDEX, index, "figures", results.origin, names, SUFFIXES)


def _in_words(text: str) -> Drawing:
    drawing = Drawing(figsize=(6, 1))
    drawing.text(0.5, 0.5, text, ha="center", va="center", wrap=True)
    return drawing


def _save(drawing: Drawing, folder: Path, name: str) -> str:
    """Write both formats; return the SHA-256 of the SVG."""
    drawing.draw_without_rendering()
    drawing.set_layout_engine("none")  # laid out once, not for every format
    with atomic(folder / f"{name}.svg") as temporary:
        drawing.savefig(temporary, format="svg", dpi=PIXELS, metadata={"Date": None, "Title": name})
        svg = temporary.read_text(encoding="utf-8")
        temporary.write_text(EMBEDDED.sub(_lighter, svg), encoding="utf-8")
        digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    with atomic(folder / f"{name}.png") as temporary:
        drawing.savefig(temporary, format="png", metadata={"Title": name})
    return digest


def _lighter(embedded: re.Match[str]) -> str:
    """Return the pixels of dense dots in 256 colours: a third of the size, to the eye the same."""
    with Image.open(BytesIO(b64decode(embedded[2])), formats=("PNG",)) as pixels:
        buffer = BytesIO()
        pixels.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, "PNG", optimize=True)
    return embedded[1] + b64encode(buffer.getvalue()).decode()
