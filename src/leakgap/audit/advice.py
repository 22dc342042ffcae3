"""What a reader of an audit can do now: whom to look at, how to train, when to prove, whom to ask.

Never whether a model is safe: that share is the reader's to set.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from leakgap.audit.words import plural
from leakgap.numbers import one_in

if TYPE_CHECKING:
    from pandas import Series

    from leakgap.audit.model import Audit

__all__ = ["LOWERED", "Change", "what_now"]

NAMED = 3  # records or persons that a sentence names
WIDE = 3  # times the lower end, or guessing: an interval that reaches further leaves much open


class Change(NamedTuple):
    """What a change of the training did in a published study of this project."""

    change: str
    where: str
    ratio: tuple[float, float, float]  # of TPRs at 1% FPR, changed / unchanged, with its 95% interval
    points: float | None  # of accuracy, more if above 0; None: no difference was told
    page: str  # of the documentation, where the numbers are


# the one that leaks least first; tests hold them against the pages
LOWERED = (
    Change(
        "stopping when the loss on held-out members is least",
        "a network on health records",
        (0.142, 0.105, 0.192),
        2.4,
        "docs/recipes/early-stopping",
    ),
    Change(
        "trees of depth 2 instead of 6",
        "gradient boosting on health records",
        (0.181, 0.159, 0.204),
        2.0,
        "docs/recipes/boosting",
    ),
    Change(
        "crops, mirroring and AutoAugment's policy together, and a long training",
        "a ResNet on small pictures of clothes",
        (0.309, 0.274, 0.349),
        2.7,
        "docs/fashion-mnist",
    ),
    Change(
        "DP-SGD with an epsilon of 4",
        "a network on digits",
        (0.327, 0.235, 0.454),
        -3.6,
        "docs/recipes/dp-sgd",
    ),
    Change("random crops", "a ResNet on digits", (0.479, 0.365, 0.628), None, "docs/digits"),
    Change("dropout", "a text classifier", (0.688, 0.671, 0.706), 0.4, "docs/recipes/text"),
    Change("weight decay: more leak", "a text classifier", (1.253, 1.221, 1.287), 1.7, "docs/recipes/text"),
)


class Step(NamedTuple):
    """One thing to do, and why or how."""

    what: str
    how: tuple[str, ...]


def what_now(audit: Audit) -> dict[str, Step]:
    """Return what can be done, by a name for each, in the order in which it is to be done."""
    about = audit.about
    row = {str(name): value for name, value in audit.summary.iloc[0].items()}
    steps = {}
    if first := list(_first(about)):
        steps["first"] = Step("Get an answer first.", tuple(first))
    elif wide := list(_wide(about, row)):
        steps["first"] = Step("Make the answer surer.", tuple(wide))
    if who := list(_who(audit)):
        steps["who"] = Step(f"Look at the {plural(about['unit'])} that are recognized.", tuple(who))
    steps["train"] = Step("Train a model that remembers less.", tuple(_train()))
    steps["prove"] = Step("Or prove it: differential privacy.", tuple(_prove()))
    steps["ask"] = Step("Ask those who answer for the data.", tuple(_ask(about)))
    return steps


def _first(about: dict[str, Any]) -> Iterator[str]:
    """What must be mended before anything else on the page decides."""
    if about["warnings"] or (about["measured"] and about["signs_against_chance"]):
        yield "The first lines of this page say why its numbers are doubtful. Mend that, and audit again."
    if not about["measured"]:
        yield (
            "Whoever knows which records the model was trained on can measure: ask for a column `member` in its "
            "file."
        )
    if about["shadow_models"] < 4:
        yield (
            "Train four or more shadow models, each like this model and on a random half of these records: the "
            "attacks that recognize most need them."
        )


def _wide(about: dict[str, Any], row: dict[str, Any]) -> Iterator[str]:
    """What would make an interval narrower that leaves much open."""
    fpr, units = max(about["fprs"]), plural(about["unit"])
    low, high = row[f"tpr_at_{fpr:g}_low"], row[f"tpr_at_{fpr:g}_high"]
    if math.isnan(low) or high > WIDE * max(low, fpr):
        yield (
            f"At {one_in(fpr)} the interval is wide. More {units} that the model was not trained on make it "
            "narrower: four times as many, about half as wide."
        )


def _who(audit: Audit) -> Iterator[str]:
    """Which records, or persons, are called, and what to look for."""
    about, persons = audit.about, bool(len(audit.people))
    table, key = (audit.people, "group") if persons else (audit.records, "record")
    units, file = plural(about["unit"]), "people.csv" if persons else "records.csv"
    columns = [f"called_at_{fpr:g}" for fpr in sorted(about["fprs"]) if f"called_at_{fpr:g}" in table]
    if not columns:
        return
    column = columns[-1]
    rate = one_in(float(column.removeprefix("called_at_")))
    called = table[table[column]]
    if about["measured"]:
        those, member = called[called["member"]], table["member"]
        yield (
            f"At {rate}, {len(those):,} of {int(member.sum()):,} training {units} are called members"
            f"{_named(those[key])}: the rows of `{file}` where `member` and `{column}` are True. So are "
            f"{len(called) - len(those):,} of the {int((~member).sum()):,} others."
        )
    else:
        yield (
            f"At a nominal {rate}, {len(called):,} of {len(table):,} {units} are called members"
            f"{_named(called[key])}: the rows of `{file}` where `{column}` is True. How many of them are members "
            "is not known."
        )
    if about.get("worst_slice") is not None:
        yield f"Of the slices, {about['worst_slice']} is told to leak more than the rest."
    yield (
        "Look for wrong labels, copies and rare cases: these a model learns by heart. Correct or leave out what "
        "should not be in the data, train anew and audit again: others may then be the most exposed (Carlini and "
        "others 2022)."
    )


def _named(ids: Series) -> str:
    first = [str(each) for each in ids.unique()[:NAMED]]
    return f" ({', '.join(first)} first)" if first else ""


def _train() -> Iterator[str]:
    yield (
        "The table says what changes of the training did in this project's published studies, at one false "
        "accusation in 100. Each is one data set and one kind of model, and what lowers the leak of one may raise "
        "another's: try it on yours."
    )
    yield (
        "Then audit the new model on the same records, and put both beside each other: `leakgap compare OLD NEW`, "
        "with the folders of the two audits."
    )


def _prove() -> Iterator[str]:
    yield (
        "An audit says what some attacks find. That no attack finds more, known or not, only a training that is "
        "differentially private promises, for its epsilon. It is the answer where nobody may be recognized, "
        "whoever tries."
    )
    yield (
        "It costs accuracy, the more the smaller epsilon is and the fewer the records are, and epsilon is chosen "
        "before training. Opacus, TensorFlow Privacy and JAX Privacy train so. An audit does not replace a review "
        "of the code: of six mistakes that were made on purpose it found one (docs/recipes/dp-sgd)."
    )


def _ask(about: dict[str, Any]) -> Iterator[str]:
    whom, fpr = "person" if about["unit"] == "record" else about["unit"], max(about["fprs"])
    yield (
        f"Which share is too large is no question of statistics. It depends on what it tells of a {whom} to have "
        "been in these data: a patient of a clinic has more to lose than a customer of a shop. Show this page to "
        "those who decide that: the data protection officer, an ethics board, those whose records these are."
    )
    yield (
        f"A limit that was agreed on can be kept by a machine: `leakgap audit --fail-above 0.05@{fpr:g}` ends with "
        f"status 3 unless the model is told to recognize less than 5% at {one_in(fpr)}."
    )
