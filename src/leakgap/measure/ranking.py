"""Scores of members and non-members in ascending order, and how many of the other class each one is above."""

from typing import NamedTuple

import numpy as np


class Ranking(NamedTuple):
    """Scores in ascending order, whether each is a member's (bool), and where it was: [n] each."""

    score: np.ndarray
    member: np.ndarray
    place: np.ndarray

    @staticmethod
    def of(score: np.ndarray, member: np.ndarray) -> "Ranking":
        """Rank scores, NaN counting as -inf; score: float [n], member: bool [n].

        >>> Ranking.of(np.array([0.5, np.nan, -1], np.float32), np.array([True, False, True])).place
        array([1, 2, 0])
        """
        if np.isnan(score).any():
            score = np.where(np.isnan(score), -np.inf, score)
        place = ascending(score)
        return Ranking(score.take(place), member.take(place), place)

    @property
    def inside(self) -> np.ndarray:
        """Scores of the members, ascending."""
        return self.score.take(np.flatnonzero(self.member))

    @property
    def outside(self) -> np.ndarray:
        """Scores of the non-members, ascending."""
        return self.score.take(np.flatnonzero(~self.member))

    def outscored(self) -> tuple[np.ndarray, np.ndarray]:
        """How many of the other class score below each, and how many no higher: int32 [n], in ascending order."""
        score, members = self.score, np.cumsum(self.member, dtype=np.int32)
        below = np.where(self.member, np.arange(1, len(score) + 1, dtype=np.int32) - members, members)
        upto = below.copy()
        equal = np.flatnonzero(score[1:] == score[:-1])
        tied = np.union1d(equal, equal + 1)
        inside = self.member.take(tied)
        for of_side, others in ((tied[inside], self.outside), (tied[~inside], self.inside)):
            below[of_side] = np.searchsorted(others, score.take(of_side), "left")
            upto[of_side] = np.searchsorted(others, score.take(of_side), "right")
        return below, upto


def ascending(score: np.ndarray) -> np.ndarray:
    """Indices that bring scores [n] into ascending order, ties as they stand: np.argsort, faster for float32.

    The bits of a float32, once those of negative numbers are turned over, are ordered as the numbers are; they are
    sorted by their lower half, then by their upper one, which numpy does by radix.

    >>> ascending(np.array([3, -2, 0, -0.0, 3], np.float32))
    array([1, 2, 3, 0, 4])
    """
    if score.dtype != np.float32:
        return np.argsort(score, kind="stable")
    bits = (score + np.float32(0)).view(np.int32)  # -0.0 becomes 0.0, its equal
    bits = (bits ^ (bits >> 31 | np.int32(-(2**31)))).view(np.uint32)
    order = np.argsort(bits.astype(np.uint16), kind="stable")
    return order.take(np.argsort((bits >> 16).astype(np.uint16).take(order), kind="stable"))
