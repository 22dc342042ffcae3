"""Sums over the in- and the out-models of every image, from which those of some models are taken away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

OUT, IN = 0, 1


def left_out_together(left_out: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each set of models that some targets leave out, with these targets; left_out: bool [T,N].

    >>> left_out = np.eye(4, dtype=bool)[[0, 2, 0]]
    >>> [(models.tolist(), targets.tolist()) for models, targets in left_out_together(left_out)]
    [([2], [1]), ([0], [0, 2])]
    """
    sets, of = np.unique(left_out, axis=0, return_inverse=True)
    for number, models in enumerate(sets):
        yield np.flatnonzero(models), np.flatnonzero(of.reshape(-1) == number)  # numpy 2.0 gives [T,1]


@dataclass(frozen=True)
class Sums:
    """Sums over models for every image, out- and in-models apart: [2,S] each."""

    count: np.ndarray
    phi: np.ndarray
    squares: np.ndarray

    def less(self, other: Sums) -> Sums:
        """Take models away."""
        return Sums(*(mine - theirs for mine, theirs in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[np.ndarray, ...]:
        return self.count, self.phi, self.squares


class Probabilities:
    """BASE's p(x) at some images, from phi [N,S] and member [N,S] of the shadow models, some of them taken away.

    p is summed in float64: where one model of many is sure, the others' p would be lost beside it.
    """

    def __init__(self, phi: np.ndarray, member: np.ndarray, images: np.ndarray):
        self.log = np.empty((len(phi), len(images)), np.float32)  # of p
        for row, x in zip(self.log, phi, strict=True):  # one by one, since they fit the cache
            row[:] = log_p(x[images])
        self._member, self._images = member, images
        self._total = self._sums(range(len(phi)))

    def without(self, rows: Iterable[int], count: np.ndarray) -> np.ndarray:
        """Half the mean over the out- and half that over the in-models that are left, count [2,S] of them: [S].

        What is left of p is no less than the rounding of what was there, so above 0; NaN where a side has no model.
        """
        left = np.maximum(self._total - self._sums(rows), np.finfo(float).eps * self._total)
        share = np.full(left.shape, np.nan)
        np.divide(left, count, out=share, where=count > 0)
        return np.asarray(share.mean(0))

    def _sums(self, rows: Iterable[int]) -> np.ndarray:
        sums = np.zeros((2, len(self._images)))
        for row in rows:
            p, here = np.exp(self.log[row]), self._member[row, self._images].astype(np.float32)
            sums[OUT] += p * (1 - here)
            sums[IN] += p * here
        return sums


def log_p(phi: np.ndarray) -> np.ndarray:
    """log p of float32 phi, to 1e-7: ten times as fast as scipy's log_expit."""
    return np.minimum(phi, 0) - np.log(1 + np.exp(-np.abs(phi)))


def sums_of(phi: np.ndarray, member: np.ndarray, images: np.ndarray) -> Sums:
    """Sum over the models of phi [n,S] and member [n,S] at some images.

    In float64: what is taken away again must leave nothing, though one model's phi be a thousand times the others'.
    """
    count, total, squares = sums = np.zeros((3, 2, len(images)))
    both, inside = 0, 1
    for row, member_row in zip(phi, member, strict=True):
        x, here = row[images], member_row[images].astype(float)
        x = x.astype(float)
        count[inside] += here
        for kind, value in ((total, x), (squares, x * x)):
            kind[both] += value
            kind[inside] += value * here
    count[both] = len(phi)
    sums[:, OUT] = sums[:, both] - sums[:, inside]
    return Sums(count, total, squares)


def added(parts: Iterable[Sums]) -> Sums:
    """Sum over the models of all parts."""
    return Sums(*(np.sum(each, 0) for each in zip(*(part._all() for part in parts), strict=True)))
