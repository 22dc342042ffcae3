"""One target's scores in ascending order, and how many of the other class each is above: sorted once for all."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores in ascending order, whether each is a member's (bool), and where it was: [n] each."""

    score: np.ndarray
    member: np.ndarray
    place: np.ndarray

    @staticmethod
    def of(score: np.ndarray, member: np.ndarray, where: np.ndarray | None = None) -> "Ranking":
        """Rank scores, NaN counting as -inf; score: float [S], member: bool [S], where: bool [S], all by default.

        >>> Ranking.of(np.array([0.5, np.nan, -1], np.float32), np.array([True, False, True])).place
        array([1, 2, 0])
        """
        place = np.arange(len(score)) if where is None else np.flatnonzero(where)
        score = score.take(place)
        if np.isnan(score).any():
            score = np.where(np.isnan(score), -np.inf, score)
        order = ascending(score)
        place = place.take(order)
        return Ranking(score.take(order), member.take(place), place)

    def among(self, where: np.ndarray) -> "Ranking":
        """The ranking of some images, bool [S], alone."""
        kept = np.flatnonzero(where.take(self.place))
        return Ranking(*(column.take(kept) for column in (self.score, self.member, self.place)))

    @cached_property
    def inside(self) -> np.ndarray:
        """Which are the members', ascending: int [n1]."""
        return np.flatnonzero(self.member)

    @cached_property
    def outside(self) -> np.ndarray:
        """Which are the non-members', ascending: int [n0]."""
        return np.flatnonzero(~self.member)

    def outscored(self, inside: bool) -> tuple[np.ndarray, np.ndarray]:
        """How many of the other class score below each of one class, and how many no higher: int, ascending."""
        own, others = (self.inside, self.outside) if inside else (self.outside, self.inside)
        below = upto = own - np.arange(len(own))  # all before it but those of its own class
        if self._tied is not None:
            tied = np.flatnonzero(self._tied.take(own))
            values, theirs = self.score.take(own.take(tied)), self.score.take(others)
            below, upto = below.copy(), below.copy()
            below[tied], upto[tied] = (np.searchsorted(theirs, values, side) for side in ("left", "right"))
        return below, upto

    def above(self, rank: int) -> tuple[int, int]:
        """How many non-members and members score above the non-member of this rank from the top, 1 to n0."""
        limit = self.score[self.outside[-rank]]
        upto = int(np.searchsorted(self.score, limit, "right"))
        others = len(self.outside) - int(np.searchsorted(self.outside, upto))
        return others, len(self.score) - upto - others

    @cached_property
    def _tied(self) -> np.ndarray | None:
        """Which scores are there more than once, bool [n]; None if there are none."""
        equal = np.flatnonzero(self.score[1:] == self.score[:-1])
        if not len(equal):
            return None
        tied = np.zeros(len(self.score), bool)
        tied[equal] = tied[equal + 1] = True
        return tied


def rankings(score: np.ndarray, member: np.ndarray, evaluated: np.ndarray) -> list[Ranking]:
    """The ranking of every target; score, member: [T,S], evaluated: bool [T,S] or [S], the pairs that count.

    >>> [ranking.place for ranking in rankings(np.array([[3.0, 1, 2]]), np.eye(1, 3) > 0, np.arange(3) < 2)]
    [array([1, 0])]
    """
    seen = np.broadcast_to(evaluated, score.shape)
    return [Ranking.of(*target) for target in zip(score, member, seen, strict=True)]


def among(ranked: Iterable[Ranking], where: np.ndarray) -> list[Ranking]:
    """The rankings of some images, bool [S], alone."""
    return [ranking.among(where) for ranking in ranked]


def ascending(score: np.ndarray) -> np.ndarray:
    """Indices that bring scores [n] into ascending order, ties as they stand: np.argsort, faster for float32.

    The bits of a float32, once those of negative numbers are turned over, are ordered as the numbers are; they are
    sorted by their lower half, then by their upper one, which numpy does by radix.

    >>> ascending(np.array([3, -2, 0, -0.0, 3], np.float32))
    array([1, 2, 3, 0, 4])
    """
    if score.dtype != np.float32:
        return np.argsort(score, kind="stable")
    bits = _bits(score)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    return order.take(np.argsort((bits >> 16).astype(np.uint16).take(order), kind="stable"))


def at_ranks(score: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """The scores [n] that would stand at some places, int [k], if they were sorted: np.sort(score)[ranks], faster.

    Only those are sorted whose upper bits are those of one asked for.

    >>> at_ranks(np.array([3, -2, 0, 7], np.float32), np.array([0, 3]))
    array([-2.,  7.], dtype=float32)
    """
    if score.dtype != np.float32:
        return np.sort(score)[ranks]
    cell = (_bits(score) >> 16).astype(np.uint16)
    count = np.bincount(cell, minlength=1 << 16)
    upto = np.cumsum(count)
    asked = np.searchsorted(upto, ranks, "right")  # the cell of each
    wanted = np.zeros(1 << 16, bool)
    wanted[asked] = True
    some, before = np.sort(score[wanted[cell]]), np.cumsum(count * wanted)
    return some[ranks - upto[asked] + before[asked]]


def _bits(score: np.ndarray) -> np.ndarray:
    """Whole numbers, uint32, in the order of float32 scores."""
    bits = (score + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0, its equal
    return (bits ^ (bits >> 31 | np.int32(-(2**31)))).view(np.uint32)
