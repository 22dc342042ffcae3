"""Pairs of variants: does the smaller gap go with the smaller leak, and does it still where both fit alike?

Every pair has an interval of the difference of its gaps and one of the ratio of its leaks, made to hold for all
pairs together (Bonferroni over pairs and quantities). What is counted below is then true of all pairs at once with
the probability of these intervals, whatever the pairs have in common.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

EQUAL_FIT = 0.005  # train accuracies whose difference lies within this, told beforehand, are equal


class Ends(NamedTuple):
    """The ends of an interval of a difference, or of the logarithm of a ratio; NaN where it is undefined."""

    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 above 0, -1 below, 0 where that is open.

        >>> Ends(0.1, 0.2).sign, Ends(-0.1, 0.2).sign, Ends(-0.2, -0.1).sign, Ends(float("nan"), 1.0).sign
        (1, 0, -1, 0)
        """
        return int(self.low > 0) - int(self.high < 0)

    def within(self, margin: float) -> bool:
        """Whether the whole interval lies between -margin and margin."""
        return -margin < self.low and self.high < margin


class Pair(NamedTuple):
    """Two variants at one step: first less second."""

    first: str
    second: str
    gap: Ends  # of the accuracy gaps
    leak: Ends  # of the logarithms of the TPRs
    fit: Ends  # of the train accuracies

    @property
    def agrees(self) -> int:
        """1 where the smaller gap has the smaller leak, -1 where it has the larger one, 0 where a sign is open."""
        return self.gap.sign * self.leak.sign


class Concordance(NamedTuple):
    """How many pairs have gap and leak in the same order, how many in the other, and how many are open."""

    same: int
    other: int
    open: int

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest share of all pairs that can be in the same order, given what is decided."""
        total = sum(self)
        return (self.same / total, 1 - self.other / total) if total else (np.nan, np.nan)


def concordance(pairs: Iterable[Pair]) -> Concordance:
    """Count the pairs by the order of gap and leak.

    >>> up, down, unclear = Ends(1.0, 2.0), Ends(-2.0, -1.0), Ends(-1.0, 1.0)
    >>> found = concordance(Pair("a", "b", gap, leak, up) for gap, leak in [(up, up), (up, down), (unclear, up)])
    >>> found, [round(end, 2) for end in found.bounds]
    (Concordance(same=1, other=1, open=1), [0.33, 0.67])
    """
    signs = [pair.agrees for pair in pairs]
    return Concordance(signs.count(1), signs.count(-1), signs.count(0))


def alike(pairs: Iterable[Pair], margin: float = EQUAL_FIT) -> list[Pair]:
    """Return the pairs whose train accuracies are told to differ by less than the margin.

    >>> pairs = [Pair("a", "b", *[Ends(0.1, 0.2)] * 2, Ends(-0.001, 0.003)), Pair("a", "c", *[Ends(0.1, 0.2)] * 3)]
    >>> [pair.second for pair in alike(pairs)]
    ['b']
    """
    return [pair for pair in pairs if pair.fit.within(margin)]
