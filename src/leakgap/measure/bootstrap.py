"""Three bootstraps of a pooled TPR or a mean over targets: of models, of images, of single pairs (model, image).

Pairs that share a model or an image are dependent, and no single resampling has the right variance: drawing models
and images together ("pigeonhole", Owen 2007) counts the noise that belongs to single pairs three times. Apart, the
three give V(models) + V(images) - V(pairs) (Cameron, Gelbach and Miller 2011), which `measure.contrast` makes
intervals of.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from leakgap import ArgumentError
from leakgap.arrays import numbers, truths
from leakgap.measure.means import OverTargets
from leakgap.measure.roc import false_positives, refuse_nan

__all__ = ["KINDS", "Kind", "Mean", "Pooled", "Resampling", "Scale"]

Kind = Literal["models", "images", "pairs"]
Scale = Literal["log", "logit", "fisher", "plain"]  # of an interval: see `measure.contrast`
KINDS: tuple[Kind, ...] = ("models", "images", "pairs")

BLOCK, CELLS = 128, 512  # as many replicates and pairs are walked at once
START = 0.85  # of the non-members that may be called are summed at once, before the walk begins


@dataclass(frozen=True)
class Pooled:
    """A pooled TPR and its replicates, float64 [replicates] of each kind.

    units: how many sets of models were resampled as one (mask pairs); members: how many pairs (model, image) the
    TPR is a share of.
    """

    tpr: float
    replicates: dict[Kind, np.ndarray] = field(repr=False)
    units: int
    members: int


@dataclass(frozen=True)
class Mean:
    """A mean over targets and its replicates, float64 [replicates] of each kind; scale: that of its interval.

    pairs: how many pairs (model, image) it is made of.
    """

    value: float
    replicates: dict[Kind, np.ndarray] = field(repr=False)
    units: int
    pairs: int
    scale: Scale

    def __sub__(self, other: "Mean") -> "Mean":
        """The difference of two means with the same draws."""
        drawn = {kind: self.replicates[kind] - other.replicates[kind] for kind in KINDS}
        units, pairs = min(self.units, other.units), min(self.pairs, other.pairs)
        return Mean(self.value - other.value, drawn, units, pairs, "plain")


class Resampling:
    """The draws for one set of models and images, made once for many scores of them.

    member: bool [T,S]; evaluated: bool [T,S] or [S], the pairs that count; unit: int [T], models with the same
    number are drawn together, by default rows 2k and 2k + 1 (mask pairs: one's members are the other's
    non-members). How often a replicate counts the pair of model t and image x:

        models  as often as the unit of t is drawn, of all units with replacement
        images  as often as x is drawn, of all images with replacement
        pairs   twice or not at all ("double or nothing", Owen and Eckles 2012), 1 + a(unit of t) b(x) with fair
                signs a and b: of mean 1 and variance 1, and any two of them uncorrelated

    The draws depend on seed, number of units, S and number of replicates only: replicates of two attacks, steps or
    techniques on the same masks and images are paired, as contrasts need them.

    >>> rng = np.random.default_rng(0)
    >>> half = rng.random(400) < 0.5
    >>> member = np.stack([half, ~half] * 4)
    >>> score = rng.normal(size=member.shape) + 3 * member
    >>> (pooled,) = Resampling(member, np.ones(400, bool)).pooled(score, [0.01])
    >>> pooled.units, round(pooled.tpr, 1)
    (4, 0.7)
    """

    def __init__(
        self,
        member: ArrayLike,
        evaluated: ArrayLike,
        unit: ArrayLike | None = None,
        replicates: int = 1000,
        seed: int = 0,
    ):
        self.member = member = truths(member, "member")
        if member.ndim != 2:
            raise ArgumentError(f"member must have the shape [models, images], not {list(member.shape)}")
        models, images = member.shape
        self.evaluated = np.broadcast_to(truths(evaluated, "evaluated"), member.shape)
        _, self._unit = np.unique(np.arange(models) // 2 if unit is None else unit, return_inverse=True)
        if len(self._unit) != models:
            raise ArgumentError(
                f"unit must hold a number for each of the {models} models, not {len(self._unit)}"
            )
        self.units = int(self._unit.max()) + 1
        self._inside, self._outside = member & self.evaluated, ~member & self.evaluated
        self._blocks = []
        self._of_unit = (self._unit == np.arange(self.units)[:, None]).astype(np.float32)
        inside, outside = self._of_unit @ self._inside, self._of_unit @ self._outside
        for draws in _draws(self.units, images, replicates, seed):
            for kind, weights in draws.items():
                self._blocks.append((kind, weights, *weights.of_all(inside, outside)))

    def multiplicity(self, kind: Kind, replicate: int) -> np.ndarray:
        """How often a replicate counts each pair, float32 [T,S], whether it is evaluated or not."""
        block, column = divmod(replicate, BLOCK)
        weights = [weights for of_kind, weights, *_ in self._blocks if of_kind == kind][block]
        models, images = self.member.shape
        product = np.full((models, images), np.float32(1))
        if weights.by_unit is not None:
            product *= weights.by_unit[self._unit, column][:, None]
        if weights.by_image is not None:
            product *= weights.by_image[:, column]
        return weights.constant + product

    def mean(self, found: OverTargets, scale: Scale) -> Mean:
        """A mean over targets with replicates: each pair's influence as often as it was drawn, to first order."""
        influence = self._of_unit @ found.influence
        drawn: dict[Kind, list[np.ndarray]] = {kind: [] for kind in KINDS}
        for kind, weights, *_ in self._blocks:
            drawn[kind] += weights.of_all(influence)
        replicates = {kind: found.value + np.concatenate(drawn[kind]) for kind in KINDS}
        return Mean(found.value, replicates, self.units, found.pairs, scale)

    def pooled(self, score: ArrayLike, fprs: Sequence[float], *, abstentions: bool = False) -> list[Pooled]:
        """The conformal TPR of all pairs under one threshold, for every FPR; score: float [T,S].

        A replicate is `tpr_at_fpr` of the pairs, each written as often as it was drawn. NaN where undefined.
        Raises ArgumentError for an evaluated pair whose score is NaN, unless `abstentions` says that the attack
        abstained there, which counts as "not a member", and for scores of another shape.
        """
        score = numbers(score, "score")
        if score.shape != self.member.shape:
            raise ArgumentError(f"score has shape {score.shape}, the draws are for {self.member.shape}")
        if not abstentions:
            refuse_nan(score[self.evaluated])
        return self._pooled(score, fprs, min(1.0, 2 * max(fprs))) or self._pooled(score, fprs, 1.0) or []

    def _pooled(self, score: np.ndarray, fprs: Sequence[float], share: float) -> list[Pooled] | None:
        """None where the best `share` of the non-members are too few for some replicate; all are never."""
        n1, n0 = int(self._inside.sum()), int(self._outside.sum())
        cells = _descending(score, self._unit, self._inside, self._outside, share)
        passed = np.cumsum(~cells.member)
        found = []
        for fpr in fprs:
            most = false_positives(n0, fpr, "conformal")
            caught = cells.member[: np.searchsorted(passed, most, side="right")].sum()
            tpr = caught / n1 if n1 and most >= 0 else float("nan")
            head = Head(cells, int(np.searchsorted(passed, START * most)))
            values: dict[Kind, list[np.ndarray]] = {kind: [] for kind in KINDS}
            for kind, weights, members, others in self._blocks:
                called = _called_members(cells, head, weights, false_positives(others, fpr, "conformal"))
                if called is None:
                    return None
                with np.errstate(invalid="ignore", divide="ignore"):
                    values[kind].append(called / members)
            replicates = {kind: np.concatenate(values[kind]) for kind in KINDS}
            found.append(Pooled(float(tpr), replicates, self.units, n1))
        return found


class Cells(NamedTuple):
    """Pairs (model, image), best score first; among ties non-members first."""

    unit: np.ndarray  # int32 [cells]
    image: np.ndarray  # int32 [cells]
    member: np.ndarray  # bool [cells]
    shape: tuple[int, int]  # units, images

    def part(self, start: int, stop: int) -> "Cells":
        where = slice(start, stop)
        return Cells(self.unit[where], self.image[where], self.member[where], self.shape)


class Head:
    """The cells before `end`: how many of them are (not) members, by unit and image, float32 [units,S]."""

    def __init__(self, cells: Cells, end: int):
        self.end = end
        self.inside, self.outside = (
            sparse.csr_array(
                (np.ones(chosen.sum(), np.float32), (cells.unit[:end][chosen], cells.image[:end][chosen])),
                shape=cells.shape,
            )
            for chosen in (cells.member[:end], ~cells.member[:end])
        )


class Weights(NamedTuple):
    """Weights of r replicates: constant + by_unit[unit] * by_image[image]."""

    constant: float
    by_unit: np.ndarray | None  # int8 [units,r]; None: all are 1
    by_image: np.ndarray | None  # int8 [S,r]; None: all are 1

    def of(self, cells: Cells) -> np.ndarray:
        """Of every cell, float32 [cells,r]."""
        if self.by_unit is None:
            assert self.by_image is not None
            return self.by_image[cells.image].astype(np.float32)
        weight = self.by_unit[cells.unit].astype(np.float32)
        if self.by_image is not None:
            weight *= self.by_image[cells.image]
        if self.constant:
            weight += np.float32(self.constant)
        return weight

    def of_all(self, *tables: np.ndarray | sparse.csr_array) -> list[np.ndarray]:
        """Summed over all cells, for each table [units,S] of how many there are: float64 [r]."""
        by_image = None if self.by_image is None else self.by_image.astype(np.float32)
        if by_image is None:
            products = [np.asarray(table.sum(axis=1), np.float32)[:, None] for table in tables]
        elif self.by_unit is None:
            products = [(np.asarray(table.sum(axis=0), np.float32) @ by_image)[None] for table in tables]
        else:
            products = [table @ by_image for table in tables]
        factor = 1 if self.by_unit is None else self.by_unit
        return [
            self.constant * table.sum() + (factor * product).sum(axis=0, dtype=np.float64)
            for table, product in zip(tables, products, strict=True)
        ]


def _draws(units: int, images: int, replicates: int, seed: int):
    """Yield the weights of every kind, in blocks of replicates."""
    streams = np.random.default_rng(seed).spawn(4)

    def multiplicity(rng: np.random.Generator, size: int) -> np.ndarray:
        return np.bincount(rng.integers(size, size=size), minlength=size).astype(np.int8)

    def signs(rng: np.random.Generator, size: int) -> np.ndarray:
        bits = np.unpackbits(np.frombuffer(rng.bytes(size // 8 + 1), np.uint8), count=size)
        return 2 * bits.view(np.int8) - 1

    for start in range(0, replicates, BLOCK):
        block = range(min(BLOCK, replicates - start))
        drawn = [
            np.stack([draw(rng, size) for _ in block], -1)
            for draw, rng, size in zip(
                (multiplicity, multiplicity, signs, signs), streams, (units, images) * 2, strict=True
            )
        ]
        yield {
            "models": Weights(0, drawn[0], None),
            "images": Weights(0, None, drawn[1]),
            "pairs": Weights(1, drawn[2], drawn[3]),
        }


def _descending(
    score: np.ndarray, unit: np.ndarray, inside: np.ndarray, outside: np.ndarray, share: float
) -> Cells:
    """The pairs that score as high as the best `share` of the non-members do."""
    flat = np.where(np.isnan(score), -np.inf, score).ravel()
    parts = [np.flatnonzero(outside), np.flatnonzero(inside)]
    wanted = int(share * len(parts[0]))
    if wanted < len(parts[0]):
        lowest = -np.partition(-flat[parts[0]], wanted)[wanted]
        parts = [part[flat[part] >= lowest] for part in parts]
    where = np.concatenate(parts)
    where = where[np.argsort(-flat[where], kind="stable")]
    model, image = np.divmod(where, score.shape[1])
    shape = int(unit.max()) + 1, score.shape[1]
    return Cells(unit[model].astype(np.int32), image.astype(np.int32), inside.ravel()[where], shape)


def _called_members(cells: Cells, head: Head, weights: Weights, most: np.ndarray) -> np.ndarray | None:
    """Weight of the members that each replicate calls before non-members weigh more than `most` [r]: float64 [r].

    NaN where `most` is negative; None where the cells end before. The head is summed at once unless some replicate
    ends in it.
    """
    start, (tp, fp) = head.end, weights.of_all(head.inside, head.outside)
    if (fp > most).any():
        start, tp, fp = 0, np.zeros(len(most)), np.zeros(len(most))
    called = np.where(most >= 0, 0.0, np.nan)
    pending = most >= 0
    for begin in range(start, len(cells.member), CELLS):
        if not pending.any():
            return called
        part = cells.part(begin, begin + CELLS)
        weight = weights.of(part)
        inside = part.member.astype(np.float32)
        more_tp, more_fp = inside @ weight, (1 - inside) @ weight
        crossing = pending & (fp + more_fp > most)
        for r in np.flatnonzero(crossing):
            own = weight[:, r]
            before = fp[r] + np.cumsum(own * ~part.member) <= most[r]
            called[r] = tp[r] + own[before & part.member].sum()
        pending &= ~crossing
        tp, fp = tp + more_tp, fp + more_fp
    return called if not pending.any() else None
