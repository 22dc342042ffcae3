"""From tests to verdicts: supported, contradicted or undecided, with one error rate for all claims together.

A claim's trial says on which side its estimate lies and how probable an estimate as far or farther from the
threshold is, if the truth lies at it: two-sided, so that either verdict is false with probability at most level / 2
at the threshold and both together with at most `level`. Holm's step-down rule keeps the probability of *any* false
verdict among several claims at most `level`, however they depend on one another.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from leakgap.measure.estimate import Estimate

Verdict = Literal["supported", "contradicted", "undecided"]


class Trial(NamedTuple):
    """Whether the estimate speaks for the claim, and a two-sided p-value against its threshold; NaN: undefined."""

    speaks_for: bool
    p: float


UNDEFINED = Trial(False, float("nan"))


def beyond(found: Estimate, threshold: float, *, below: bool = False) -> Trial:
    """The claim that the truth is above the threshold (below it, if so asked)."""
    if np.isnan(found.value):
        return UNDEFINED
    return Trial(bool((found.value > threshold) != below), found.p_value(threshold))


def equivalent(ratio: Estimate, margin: float) -> Trial:
    """The claim that the truth lies between 1 / margin and margin, the margin having been stated beforehand.

    Two one-sided tests (Schuirmann 1987): for the claim speaks an estimate inside, by its p-value against the
    nearer end; against it an estimate outside, likewise. The p-value is two-sided, so `supported` at level 5% means
    that the whole 95% interval lies inside, and `contradicted` that all of it lies outside. (Schuirmann's rule for
    `supported` alone, the 90% interval, would together with `contradicted` be false in 7.5% of the studies whose
    truth is the margin itself.)
    """
    if np.isnan(ratio.value):
        return UNDEFINED
    nearer = margin if ratio.value >= 1 else 1 / margin
    return Trial(bool(1 / margin < ratio.value < margin), ratio.p_value(nearer))


def together(parts: Sequence[Trial]) -> Trial:
    """The claim that all parts hold, say "better than every rival".

    For it, every part must be decided: the largest p-value (intersection-union test, no correction). Against it,
    one part is enough: the smallest p-value among those that speak against, times the number of parts
    (Bonferroni). Undefined if a part is, unless another one speaks against.
    """
    against = [part.p for part in parts if not part.speaks_for and not np.isnan(part.p)]
    if against:
        return Trial(False, min(1.0, len(parts) * min(against)))
    if any(np.isnan(part.p) for part in parts):
        return UNDEFINED
    return Trial(True, max(part.p for part in parts))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values adjusted for their number by Holm's step-down rule (1979), float64 [tests]; NaN counts as a test.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).round(3).tolist()
    [0.04, 0.09, 0.09, nan]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)  # NaN last
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, stepped)
    return adjusted


def verdicts(trials: Sequence[Trial], level: float = 0.05) -> list[Verdict]:
    """One verdict for each claim; the probability that any of them is false is at most `level`."""
    return [
        "undecided" if not p <= level else "supported" if trial.speaks_for else "contradicted"
        for trial, p in zip(trials, holm([trial.p for trial in trials]), strict=True)
    ]
