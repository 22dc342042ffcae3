"""An audit in plain words: the answer, and what was not looked at."""

import math
from collections.abc import Iterator
from typing import Any

from leakgap.audit.scores import by_reason
from leakgap.measure.least import least_nonmembers
from leakgap.measure.roc import conformal_rank
from leakgap.numbers import between, bound, factor, one_in, percent, percent_within

Row = dict[str, Any]
FAR = 3  # times guessing: an interval that reaches both has not decided
STEADY = 5  # non-members above a threshold from which on its FPR is known well enough to begin with


def interval(row: Row, name: str) -> str:
    """Write an estimate in percent with its bounds."""
    return percent_within(row[name], row[f"{name}_low"], row[f"{name}_high"])


def plural(unit: str) -> str:
    """Write several of what records belong to.

    >>> plural("patient"), plural("family")
    ('patients', 'families')
    """
    return f"{unit[:-1]}ies" if unit.endswith("y") and unit[-2:-1] not in "aeiou" else f"{unit}s"


def names(models: list[dict[str, Any]]) -> str:
    """Write the names of models, of many the first and how many more.

    >>> names([{"name": "a"}, {"name": "b"}]), names([{"name": name} for name in "abcde"])
    ('a, b', 'a, b and 3 more')
    """
    every = [str(each["name"]) for each in models]
    return ", ".join(every) if len(every) <= 3 else f"{', '.join(every[:2])} and {len(every) - 2} more"


def attacker(about: dict[str, Any]) -> str:
    """Say who attacks: how many shadow models it has."""
    count = about["shadow_models"]
    if not count:
        return "an attacker without shadow models"
    return f"an attacker with {count:g} shadow model{'s' * (count != 1)}"


def answer(about: dict[str, Any], leading: Row) -> list[str]:
    """Return the answer, the most important sentence first. leading: the summary's row of the leading attack."""
    beware = [f"Beware: {told}." for told in about["warnings"]]
    return [*beware, *(_measured(about, leading) if about["measured"] else _scored(about, leading))]


def _measured(about: dict[str, Any], row: Row) -> Iterator[str]:
    unit, units = about["unit"], plural(about["unit"])
    if about["signs_against_chance"]:
        yield (
            f"This can't be decided with these records: {'; '.join(about['signs_against_chance'])}. What is "
            "recognized below may be this difference, and nothing that the model remembers; it takes a target, or "
            "shadow models, whose members were drawn at random."
        )
    if not about["shadow_models"]:
        yield (
            "No attacker with shadow models has looked at this model, and such attackers recognize most: that "
            "little is recognized below says nothing about them. Train four or more models like it on random "
            "halves of the records."
        )
    right = (about.get("accuracy") or {}).get("target", {})
    labels_alone = about["leading"] == "correctness" and about["targets"][0]["kind"] == "prediction"
    if labels_alone and right.get("members") is not None:
        yield (
            f"This can't be decided with predicted labels alone: an attacker who sees no more accuses the {units} "
            f"that are predicted right, {percent(right['members'])}% of the training {units} and "
            f"{percent(right['others'])}% of the others, and can't accuse fewer. Give probabilities, or "
            "predictions of several views of each."
        )
    whose = f"the training {units}" if len(about["targets"]) == 1 else f"the models' training {units}"
    read = sorted(fpr for fpr in about["fprs"] if not math.isnan(row[f"tpr_at_{fpr:g}"]))
    if not read:
        needed = least_nonmembers(max(about["fprs"]))
        yield (
            f"{_nonmembers(about)} are too few to say what an attacker recognizes at "
            f"{one_in(max(about['fprs']))}: it takes {needed}."
        )
        yield (
            f"Over all thresholds, {attacker(about)} ranks a training {unit} above another {unit} "
            f"{interval(row, 'auc')} of the time; guessing does so 50%."
        )
    if read:
        steady = [fpr for fpr in read if conformal_rank(about["nonmembers"], fpr) >= STEADY]
        first = min(steady, default=read[-1])
        yield f"At {one_in(first)}, {attacker(about)} recognizes {interval(row, f'tpr_at_{first:g}')} of {whose}."
        yield _beside_guessing(row, first, unit)
        for fpr in read:
            if fpr != first:
                yield f"At {one_in(fpr)} it is {interval(row, f'tpr_at_{fpr:g}')}."
    epsilon = about["epsilon"]["bound"]
    if epsilon:
        yield (
            "If the members were drawn at random, training was not differentially private with any epsilon below "
            f"{bound(epsilon)} ({100 * about['level']:g}% confidence"
            f"{'' if unit == 'record' else f'; of replacing a {unit}'})."
        )


def _nonmembers(about: dict[str, Any]) -> str:
    units = f" {plural(about['unit'])}" if about["unit"] != "record" else ""
    return f"{about['nonmembers']:,} non-member{units or 's'}"


def _beside_guessing(row: Row, fpr: float, unit: str) -> str:
    low, high = row[f"tpr_at_{fpr:g}_low"], row[f"tpr_at_{fpr:g}_high"]
    if math.isnan(low):
        return f"Guessing would recognize {percent(fpr)}%; these models are too few to say how sure that is."
    if low > fpr:
        times = between(low / fpr, high / fpr, factor)
        return f"Guessing would recognize {percent(fpr)}%: this is {times} times as many."
    alike = "the attacker can't be told from somebody who guesses"
    if high > FAR * fpr:
        alike += (
            f", and can't be told from one who recognizes {percent(high)}% either: more {plural(unit)} that the "
            "model was not trained on would decide this"
        )
    if not row["auc_low"] > 0.5:
        return f"Guessing would recognize {percent(fpr)}%: {alike}."
    return (
        f"Guessing would recognize {percent(fpr)}%: at this rate {alike}. Over all thresholds a training {unit} is "
        f"ranked above another {unit} {interval(row, 'auc')} of the time; guessing does so 50%."
    )


def _scored(about: dict[str, Any], row: Row) -> Iterator[str]:
    whose = about["targets"][0]["name"]
    yield f"{whose} has no column 'member': which records it was trained on is not known, so nothing is measured."
    read = [fpr for fpr in about["fprs"] if row[f"called_at_{fpr:g}"] is not None]
    every = about["counted"] * len(about["targets"])
    for fpr in read:
        yield (
            f"At a nominal {one_in(fpr)}, {attacker(about)} calls {row[f'called_at_{fpr:g}']:,.0f} of "
            f"{every:,} {plural(about['unit'])} members; with no leak it would call about {fpr * every:,.0f}."
        )
    if not read:
        yield (
            "Thresholds come from shadow models that are attacked by one another, and these are too few: "
            f"{plural(about['unit'])} are ranked, and none is called."
        )


def not_looked_at(about: dict[str, Any], row: Row) -> list[str]:
    """Say what the audit can't speak about, and why."""
    return list(_gaps(about, row))


def _gaps(about: dict[str, Any], row: Row) -> Iterator[str]:
    undefined = [fpr for fpr in about["fprs"] if about["measured"] and math.isnan(row[f"tpr_at_{fpr:g}"])]
    if undefined:
        rates = ", ".join(f"{percent(fpr)}%" for fpr in undefined)
        yield (
            f"False positive rates of {rates}: {_nonmembers(about)} speak about rates down to "
            f"{percent(about['lowest_fpr'])}%."
        )
    if not about["shadow_models"]:
        yield (
            "Attackers with shadow models. They are the stronger by far: that little is recognized without says "
            "nothing about them. Train four or more like the target on random halves of the records."
        )
    elif about["shadow_models"] < 4:
        yield "Attackers with more shadow models, who recognize more: four to sixteen tell much more than these."
    if about["targets"] and len(about["targets"]) == 1:
        yield (
            "Other models of the same recipe. The intervals are about this model, with its "
            f"{plural(about['unit'])} as a sample; how much models vary takes several targets."
        )
    for phrase in by_reason(about["not_run"]):
        yield f"{phrase}."
    yield (
        "Attackers who see more than these answers: weights, gradients, intermediate checkpoints, or answers to "
        "questions of their own choice."
    )
    yield "What the model gives away other than membership: attributes, or the records themselves."
