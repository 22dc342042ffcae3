"""What a user decides by: each variant's test accuracy against its leak, and the variants that nothing beats.

A recipe is a variant and a step. Variants stand at the last step, attacked by the headline attack on leave-one-out
targets; an earlier step is named where it beats its variant's last. One recipe *beats* another where it is at least
as accurate and leaks no more, by the estimates, and differs in one; the *front* is what nothing beats. Whether two
are *told apart* is another matter, decided by paired contrasts with simultaneous intervals (Bonferroni): over the
other variants for contrasts to the baseline, over all pairs of variants for who beats whom, over all earlier steps
for early stopping, as the data choose which are named. Accuracy and the TPR at each FPR are families of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING
from itertools import pairwise
from math import isnan
from typing import NamedTuple

import pandas as pd

from leakgap.measure.estimate import Estimate
from leakgap.numbers import ends, fixed, share, signed, times
from leakgap.results import Results


class Recipe(NamedTuple):
    """A variant trained up to a step."""

    variant: str
    step: int


@dataclass(frozen=True)
class Comparison:
    """One recipe less, or over, another: paired, simultaneous intervals."""

    one: Recipe
    other: Recipe
    accuracy: Estimate  # difference of test accuracies
    tpr: Estimate  # ratio of pooled TPRs

    @property
    def apart(self) -> str:
        """On what the two are told apart: `both`, `accuracy`, `leak`, or `neither`."""
        accuracy, leak = told(self.accuracy, 0), told(self.tpr, 1)
        return "both" if accuracy and leak else "accuracy" if accuracy else "leak" if leak else "neither"


@dataclass(frozen=True)
class Decision:
    """The variants of a study at one FPR, in the order of the grid.

    accuracy: mean test accuracy over targets; tpr: pooled; each with its own 95% interval.
    to_baseline: every other variant compared with the baseline. front: by falling accuracy, empty where a TPR is
    undefined. trade: each of the front compared with the one before it. beaten: every variant off the front, by
    what beats it: the one of the front that is told apart on most. earlier: of variants that have such, the most
    accurate step that beats the last, compared with it.
    """

    fpr: float
    baseline: str
    variants: tuple[str, ...]
    last: int
    accuracy: dict[Recipe, Estimate]
    tpr: dict[Recipe, Estimate]
    to_baseline: dict[str, Comparison]
    front: tuple[str, ...]
    trade: tuple[Comparison, ...]
    beaten: dict[str, Comparison]
    earlier: dict[str, Comparison]

    def of(self, variant: str) -> Recipe:
        """The variant at the last step."""
        return Recipe(variant, self.last)


def told(found: Estimate, null: float) -> bool:
    """Whether an interval leaves out `null`."""
    return found.low > null or found.high < null


def deciding_fpr(results: Results) -> float:
    """The smallest FPR at which the pooled TPR of every variant is defined; the smallest of all where none is."""
    fprs = sorted(results.study.attack.fpr)
    variants = results.study.grid.techniques
    for fpr in fprs:
        if not any(isnan(results.row(results.cell(variant), fpr)["tpr"]) for variant in variants):
            return fpr
    return fprs[0]


def decide(results: Results, fpr: float, along: Sequence[str] = ()) -> Decision:
    """Compare the variants of a study at an FPR; along: the front whose trade is looked at, by default its own."""
    variants, first = results.study.grid.techniques, results.study.attack.baseline
    recipes = [Recipe(variant, step) for variant in variants for step in range(1, results.last + 1)]
    accuracy = {recipe: results.mean(results.cell(*recipe), "test_acc") for recipe in recipes}
    tpr = {recipe: results.replicated(results.cell(*recipe), fpr) for recipe in recipes}

    def compare(one: Recipe, other: Recipe, comparisons: int) -> Comparison:
        cells = results.cell(*one), results.cell(*other)
        return Comparison(
            one,
            other,
            results.difference(*cells, "test_acc", comparisons=comparisons),
            results.contrast(*cells, fpr, comparisons=comparisons),
        )

    def beats(one: Recipe, other: Recipe) -> bool:
        """False where a TPR is undefined."""
        here, there = ((accuracy[recipe].value, -tpr[recipe].value) for recipe in (one, other))
        return here != there and here[0] >= there[0] and here[1] >= there[1]

    last = {variant: Recipe(variant, results.last) for variant in variants}
    defined = not any(isnan(tpr[recipe].value) for recipe in last.values())
    front = [one for one in variants if not any(beats(last[other], last[one]) for other in variants)]
    front = sorted(front, key=lambda variant: -accuracy[last[variant]].value) if defined else []
    pairs = len(variants) * (len(variants) - 1) // 2
    beaten = {
        variant: max(
            (compare(last[one], last[variant], pairs) for one in front if beats(last[one], last[variant])),
            key=lambda found: ["neither", "accuracy", "leak", "both"].index(found.apart),
        )
        for variant in variants
        if defined and variant not in front
    }
    stops = len(variants) * (results.last - 1)
    earlier = {}
    for variant in variants:
        better = [Recipe(variant, step) for step in range(1, results.last)]
        better = [recipe for recipe in better if beats(recipe, last[variant])]
        if better:
            best = max(better, key=lambda recipe: accuracy[recipe].value)
            earlier[variant] = compare(best, last[variant], stops)
    return Decision(
        fpr=fpr,
        baseline=first,
        variants=variants,
        last=results.last,
        accuracy=accuracy,
        tpr=tpr,
        to_baseline={
            variant: compare(last[variant], last[first], len(variants) - 1)
            for variant in variants
            if variant != first
        },
        front=tuple(front),
        trade=tuple(compare(last[one], last[other], pairs) for other, one in pairwise(along or front)),
        beaten=beaten,
        earlier=earlier,
    )


# --- in words


def answer(found: Decision) -> str:
    """The one sentence that stands first."""
    at = f"at {100 * found.fpr:g}% FPR"
    if not found.front:
        return "No variant can be preferred: too few non-members for a TPR."
    if len(found.variants) == 1:
        only = found.variants[0]
        return (
            f"`{only}`, the only variant, has {_place(found, only)} {at}: there is nothing to choose between."
        )
    if len(found.front) == 1:
        return f"By the estimates `{found.front[0]}` is the most accurate variant and leaks least {at}."
    if len(found.front) == len(found.variants):
        return (
            f"By the estimates each more accurate one of the {len(found.variants)} variants leaks more {at}."
        )
    return f"By the estimates no variant is both more accurate and leaks less than {names(found.front)} {at}."


def summary(decisions: Sequence[Decision]) -> list[str]:
    """What the front of the first is made of, and how sure it is that others are beaten; nothing without one."""
    found = decisions[0]
    if len(found.variants) == 1 or not found.front:
        return []
    first, last, at = found.front[0], found.front[-1], f"TPRs at {100 * found.fpr:g}% FPR"
    if first == last:
        said = [f"`{first}` has {_place(found, first)}; {at}."]
    else:
        most, least = _place(found, first), _place(found, last)
        said = [f"`{first}` is the most accurate of these ({most}), `{last}` leaks least ({least}); {at}."]
    sure = [variant for variant, by in found.beaten.items() if by.apart == "both"]
    free = [
        f"`{variant}` ({_loss(to.accuracy)})"
        for variant, to in found.to_baseline.items()
        if variant not in sure and to.tpr.high < 1 and not to.accuracy.high < 0
    ]
    if free:
        less = f"Less leak than `{found.baseline}` at {100 * found.fpr:g}% FPR"
        said.append(f"{less}, and no loss of accuracy that can be told: {', '.join(free)}.")
    for place, step in enumerate(found.trade):
        accuracy = _accuracy(step.accuracy, f"`{step.other.variant}`")
        leaks = _leaks([(one.fpr, one.trade[place].tpr) for one in decisions])
        said.append(f"`{step.one.variant}` {accuracy}; {leaks}.")
    for apart, how in HOW.items():
        beaten = [
            f"`{variant}` (by `{by.one.variant}`)"
            for variant, by in found.beaten.items()
            if by.apart == apart
        ]
        if beaten:
            said.append(f"{how}: {', '.join(beaten)}.")
    return said


def _loss(difference: Estimate) -> str:
    """The largest loss of accuracy that an interval leaves possible."""
    if isnan(difference.low):
        return difference.note
    if difference.low > 0:
        return "more accurate"
    return f"at most {fixed(-100 * difference.low, rounding=ROUND_CEILING)} points less accurate"


HOW = {
    "both": "Less accurate and leaking more, both told from chance",
    "accuracy": "Behind, with the accuracy alone told from chance",
    "leak": "Behind, with the leak alone told from chance",
    "neither": "Behind by the estimates alone, and perhaps as good a choice",
}


def sentence(decisions: Sequence[Decision], variant: str) -> str:
    """A variant against the baseline, its leak at the FPR of every decision; then its best earlier step."""
    found = decisions[0]
    if variant == found.baseline:
        tprs = [f"{share(*one.tpr[one.of(variant)][:3])} at {100 * one.fpr:g}% FPR" for one in decisions]
        accuracy = share(*found.accuracy[found.of(variant)][:3])
        said = f"`{variant}`, the baseline, has an accuracy of {accuracy} and a TPR of {' and '.join(tprs)}."
    else:
        to = found.to_baseline[variant]
        leaks = _leaks([(one.fpr, one.to_baseline[variant].tpr) for one in decisions])
        said = f"`{variant}` {_accuracy(to.accuracy, f'`{found.baseline}`')}; {leaks}."
    if variant in found.earlier:
        stop = found.earlier[variant]
        said += f" Stopped at step {stop.one.step} it "
        said += f"{_accuracy(stop.accuracy, 'the last step')}; {_leaks([(found.fpr, stop.tpr)])}."
    return said


def _accuracy(difference: Estimate, other: str) -> str:
    """How accurate one is beside another: a predicate."""
    value, low, high = (100 * end for end in difference[:3])
    if isnan(low):
        return f"is {signed(value)} points from {other} in accuracy ({difference.note})"
    if not told(difference, 0):
        return f"can't be told from {other} in accuracy ({signed(value)} points {ends(low, high, signed)})"
    if value > 0:
        return f"is {fixed(value)} points more accurate than {other} {ends(low, high)}"
    return f"is {fixed(-value)} points less accurate than {other} {ends(-high, -low)}"


def _leaks(ratios: Sequence[tuple[float, Estimate]]) -> str:
    """How much one leaks beside another, at each FPR: a sentence about `it`."""
    apart, open_, unknown = list[str](), list[str](), list[str]()
    for fpr, ratio in ratios:
        at, (value, low, high) = f"at {100 * fpr:g}% FPR", ratio[:3]
        if isnan(low):
            unknown.append(f"{at} ({'' if isnan(value) else f'{times(value)} times, '}{ratio.note})")
        elif not told(ratio, 1):
            open_.append(f"{at} ({times(value)} times {ends(low, high, times)})")
        elif value > 1:
            apart.append(f"{times(value)} times as much {at} {ends(low, high, times)}")
        else:
            apart.append(f"{times(1 / value)} times less {at} {ends(1 / high, 1 / low, times)}")
    parts = [
        "it leaks " + " and ".join(apart) if apart else "",
        "in leak it can't be told apart " + " nor ".join(open_) if open_ else "",
        "its leak can't be compared " + " nor ".join(unknown) if unknown else "",
    ]
    return "; ".join(filter(None, parts))


def _place(found: Decision, variant: str) -> str:
    accuracy, tpr = found.accuracy[found.of(variant)], found.tpr[found.of(variant)]
    return f"accuracy {share(*accuracy[:3])}, TPR {share(*tpr[:3])}"


def names(variants: Sequence[str]) -> str:
    """Names in a sentence.

    >>> names(["none", "crop", "cutout"])
    '`none`, `crop` and `cutout`'
    """
    quoted = [f"`{variant}`" for variant in variants]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


# --- as a table


def decision(results: Results) -> pd.DataFrame:
    """One row per FPR and variant, the deciding FPR first, the most accurate variant first."""
    rows = []
    for found in decisions(results):
        for variant in by_accuracy(found):
            row = {"technique": variant, "fpr": found.fpr}
            row |= _columns("test_acc", found.accuracy[found.of(variant)])
            tpr = found.tpr[found.of(variant)]
            to, by = found.to_baseline.get(variant), found.beaten.get(variant)
            row |= _columns("acc_difference", to.accuracy if to else None)
            row |= {"tpr": tpr.value, "low": tpr.low, "high": tpr.high}
            row |= _columns("ratio", to.tpr if to else None)
            row |= {"beaten_by": by.one.variant if by else "", "told_apart_on": by.apart if by else ""}
            rows.append(row)
    return pd.DataFrame(rows, dtype=object)  # None: nothing to compare with; NaN: undefined


def _columns(name: str, found: Estimate | None) -> dict[str, float | None]:
    """A quantity and the ends of its interval; None: it has none."""
    ends = found[:3] if found else (None, None, None)
    return dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))


def decisions(results: Results) -> list[Decision]:
    """One for each FPR of the study, the deciding one first."""
    first = deciding_fpr(results)
    fprs = sorted(results.study.attack.fpr, key=lambda fpr: (fpr != first, fpr))
    leading = decide(results, first)
    return [leading, *(decide(results, fpr, leading.front) for fpr in fprs[1:])]


def by_accuracy(found: Decision) -> list[str]:
    """The variants, the most accurate first."""
    return sorted(found.variants, key=lambda variant: -found.accuracy[found.of(variant)].value)
