"""Sums over the in- and the out-models of every image, from which those of some models are taken away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

OUT, IN = 0, 1


@dataclass(frozen=True)
class Sums:
    """Sums over models for every image, out- and in-models apart: [2,S] each, phi less the centre asked for."""

    count: np.ndarray
    phi: np.ndarray
    squares: np.ndarray
    p: np.ndarray

    def less(self, other: Sums) -> Sums:
        """Take models away. What is left of p is no less than the rounding of what was there, so above 0."""
        count, phi, squares, p = (
            mine - theirs for mine, theirs in zip(self._all(), other._all(), strict=True)
        )
        return Sums(count, phi, squares, np.maximum(p, np.finfo(float).eps * self.p))

    def probability(self) -> np.ndarray:
        """BASE's p(x), half the mean over the out- and half that over the in-models: [S]."""
        share = np.full(self.p.shape, np.nan, self.p.dtype)
        np.divide(self.p, self.count, out=share, where=self.count > 0)
        return share.mean(0)

    def _all(self) -> tuple[np.ndarray, ...]:
        return self.count, self.phi, self.squares, self.p


def log_p(phi: np.ndarray) -> np.ndarray:
    """log p of float32 phi, to 1e-7: ten times as fast as scipy's log_expit."""
    return np.minimum(phi, 0) - np.log(1 + np.exp(-np.abs(phi)))


def sums_of(
    phi: np.ndarray, member: np.ndarray, images: np.ndarray, centre: np.ndarray | None = None
) -> Sums:
    """Sum over the models of phi [n,S] and member [n,S] at some images.

    In float64; with a centre, float32 [images], from which phi doesn't stray far, in float32, twice as fast. But p
    is summed in float64 always: where one model of many is sure, the others' p would be lost beside it.
    """
    precision = np.float64 if centre is None else np.float32
    count, total, squares = sums = np.zeros((3, 2, len(images)), precision)
    p = np.zeros((2, len(images)))
    both, inside = 0, 1
    for row, member_row in zip(phi, member, strict=True):
        x, here = row[images], member_row[images].astype(precision)
        probability = np.exp(log_p(x))
        x = x.astype(float) if centre is None else x - centre
        count[inside] += here
        for kind, value in ((total, x), (squares, x * x)):
            kind[both] += value
            kind[inside] += value * here
        p[OUT] += probability * (1 - here)
        p[IN] += probability * here
    count[both] = len(phi)
    sums[:, OUT] = sums[:, both] - sums[:, inside]
    return Sums(count, total, squares, p)


def added(parts: Iterable[Sums]) -> Sums:
    """Sum over the models of all parts."""
    return Sums(*(np.sum(each, 0) for each in zip(*(part._all() for part in parts), strict=True)))
