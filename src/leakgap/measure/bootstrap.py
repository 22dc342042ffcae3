"""Three bootstraps of a pooled TPR or a mean over targets: of models, of images, of single pairs (model, image).

Pairs that share a model or an image are dependent, and no single resampling has the right variance: drawing models
and images together ("pigeonhole", Owen 2007) counts the noise that belongs to single pairs three times. Apart, the
three give V(models) + V(images) - V(pairs) (Cameron, Gelbach and Miller 2011), which `measure.estimate`
makes intervals of.

Images of one group (the visits of a patient) depend on one another too: then groups take the place of images, and
V(groups) is made by leaving out each of them in its turn, as `measure.estimate` says why.

More than GROUPS images, or groups, are dealt into as many groups at random, and a group's images are drawn
together (the random group method: Wolter 2007, "Introduction to variance estimation", chapter 2). In a variance
every pair of images that share a group then counts as well, which is zero on the average of how they were dealt;
what that adds to the noise of 1,000 replicates is said in docs/statistics.md.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from leakgap import ArgumentError
from leakgap.arguments import numbers, truths, whole
from leakgap.measure.estimate import Estimate, Kind, Scale
from leakgap.measure.groups import group_codes
from leakgap.measure.means import OverTargets
from leakgap.measure.roc import false_positives, refuse_nan

__all__ = ["Resampling"]

GROUPS = 4096  # of images, at most
BLOCK = 32  # replicates whose weights are float32 at once: few, so that they stay in the cache
WEIGHED = 1 << 21  # pairs times replicates that are walked at once
SAMPLE = 100_000  # non-members, about, that say from which score on pairs are looked at
STEPS = np.append(np.arange(0.005, 0.1, 0.005), (0.13, 0.18, 0.27))  # borders of strata around a threshold
SMOOTH = (
    0.25  # of the false positives that are allowed: over so many on either side the ROC is taken to be smooth
)
REACH = (
    1.3,
    4.0,
    np.inf,
)  # times the false positives that are allowed: how many are looked at, at first, then


class Resampling:
    """The draws for one set of models and images, made once for many scores of them.

    member: bool [T,S]; evaluated: bool [T,S] or [S], the pairs that count; unit: int [T], models with the same
    number are drawn together, by default rows 2k and 2k + 1 (mask pairs: one's members are the other's
    non-members). How often a replicate counts the pair of model t and image x:

        models  as often as the unit of t is drawn, of all units with replacement
        images  as often as x is drawn, of all images with replacement; with groups, there is no such draw
        pairs   twice or not at all ("double or nothing", Owen and Eckles 2012), 1 + a(unit of t) b(x) with fair
                signs a and b (of the group of x): of mean 1 and variance 1, and any two of them uncorrelated

    group: int [S], images with the same number belong together. One image in each group is as no groups. The kinds
    are then models, groups and pairs; of `groups`, a value for every group says what leaving it out changes, of a
    variance that is the jackknife's.

    The draws depend on seed, number of units, S and number of replicates only: replicates of two attacks, steps or
    techniques on the same masks and images are paired, as contrasts need them.

    >>> rng = np.random.default_rng(0)
    >>> half = rng.random(400) < 0.5
    >>> member = np.stack([half, ~half] * 4)
    >>> score = rng.normal(size=member.shape) + 3 * member
    >>> (pooled,) = Resampling(member, np.ones(400, bool)).pooled(score, [0.01])
    >>> pooled.units, round(pooled.value, 1)
    (4, 0.7)
    """

    def __init__(
        self,
        member: ArrayLike,
        evaluated: ArrayLike,
        unit: ArrayLike | None = None,
        replicates: int = 1000,
        seed: int = 0,
        group: ArrayLike | None = None,
    ):
        replicates, seed = whole(replicates, "replicates"), whole(seed, "seed")
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
        self._group, count = np.arange(images), images
        codes = group_codes(group, images)
        self.grouped = codes is not None
        if codes is not None:
            self._group, count = codes, int(codes.max()) + 1
        if count > GROUPS:
            self._group = (np.random.default_rng(seed).permutation(count) % GROUPS)[self._group]
        self._groups = min(count, GROUPS)
        self._inside, outside = member & self.evaluated, np.flatnonzero(~member & self.evaluated)
        self._members, self._others = int(self._inside.sum()), len(outside)
        self._some = outside[:: max(1, len(outside) // SAMPLE)]
        cells = self._cells(np.zeros(member.shape, np.float32), 0.0)
        counts = _Tables.counts(cells.member.astype(np.intp), 2, cells)
        self._replicates = replicates
        self._drawn = self.units, self._groups, replicates, seed  # what the draws depend on
        self._weights = _draws(*self._drawn)
        if self.grouped:
            del self._weights["images"]
        self._totals = {kind: weights.sums(counts) for kind, weights in self._weights.items()}

    def multiplicity(self, kind: Kind, replicate: int) -> np.ndarray:
        """How often a replicate counts each pair, float32 [T,S], whether it is evaluated or not."""
        weights, (models, images) = self._weights[kind], self.member.shape
        model, image = np.divmod(np.arange(models * images), images)
        shape = self.units, self._groups
        cells = Cells(np.zeros(0), np.zeros(0), self._unit[model], self._group[image], shape)
        return weights.of(cells, np.array([replicate])).reshape(models, images)

    def mean(self, found: OverTargets, scale: Scale) -> Estimate:
        """A mean over targets with replicates: each pair's influence as often as it was drawn, to first order."""
        return self.means([found], [scale])[0]

    def means(self, found: Sequence[OverTargets], scales: Sequence[Scale]) -> list[Estimate]:
        """Several such means, in one pass over the draws."""
        of_pair = np.zeros((len(found), self.units, len(self._group)), np.float32)
        for total, one in zip(of_pair, found, strict=True):
            for unit, influence in zip(self._unit, one.influence, strict=True):
                total[unit] += influence
        if self._groups < len(self._group):
            rows = [np.bincount(self._group, row) for row in of_pair.reshape(-1, len(self._group))]
            of_pair = np.array(rows, np.float32).reshape(len(found), self.units, self._groups)
        tables = _Tables.of(of_pair)
        sums = {kind: weights.sums(tables)[:, : self._replicates] for kind, weights in self._weights.items()}
        if self.grouped:
            sums["groups"] = _left_out(-of_pair.sum(1, dtype=float) / (1 - self._share()))
        return [
            Estimate.of_draws(
                one.value,
                {kind: one.value + drawn[row] for kind, drawn in sums.items()},
                self.units,
                one.pairs,
                scale,
                self._drawn,
            )
            for row, (one, scale) in enumerate(zip(found, scales, strict=True))
        ]

    def pooled(self, score: ArrayLike, fprs: Sequence[float], *, abstentions: bool = False) -> list[Estimate]:
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
        for reach in REACH:
            found = self._pooled(score, fprs, reach * max(fprs))
            if found is not None:
                return found
        raise AssertionError("no replicate allows more false positives than there are non-members")

    def _pooled(self, score: np.ndarray, fprs: Sequence[float], share: float) -> list[Estimate] | None:
        """None where the best `share` of the non-members are too few for some replicate; all are never."""
        flat = np.where(np.isnan(score), -np.inf, score)
        cells = self._cells(flat, self._lowest(flat, share))
        others = np.sort(cells.score[~cells.member])[::-1]
        allowed = [int(false_positives(self._others, fpr, "conformal")) for fpr in fprs]
        if max(allowed) >= len(others):
            return None
        strata = Strata(cells, others, allowed)
        replicates: list[dict[Kind, np.ndarray]] = [{} for _ in fprs]
        for kind, weights in self._weights.items():
            outside, inside = self._totals[kind]
            called = strata.called(
                weights, np.stack([false_positives(outside, fpr, "conformal") for fpr in fprs])
            )
            if called is None:
                return None
            for values, weight in zip(replicates, called, strict=True):
                with np.errstate(invalid="ignore", divide="ignore"):
                    values[kind] = (weight / inside)[: self._replicates]
        if self.grouped:
            for fpr, values in zip(fprs, replicates, strict=True):
                without = self._without(cells, others, fpr)
                if without is None:
                    return None
                values["groups"] = without
        found = []
        for most, values in zip(allowed, replicates, strict=True):
            tpr = float("nan")
            if self._members and most >= 0:
                tpr = float((cells.score[cells.member] > others[most]).sum() / self._members)
            found.append(Estimate.of_draws(tpr, values, self.units, self._members, "logit", self._drawn))
        return found

    def _share(self) -> np.ndarray:
        """Each group's share of the pairs that are evaluated, [groups]."""
        size = np.bincount(self._group, self.evaluated.sum(0), self._groups)
        return size / size.sum()

    def _without(self, cells: "Cells", others: np.ndarray, fpr: float) -> np.ndarray | None:
        """The TPR without one group, in turn without each, spread as `_left_out` spreads them; [groups].

        Where the threshold is a few places further on, the TPR there is the ROC's around it: the jackknife of a
        quantile is off for ever if it trusts the next few scores alone (Shao and Wu 1989, "A general theory for
        jackknife variance estimation"). None where the cells end above the threshold of one.
        """
        of = [np.bincount(self._group, side.sum(0), self._groups) for side in (self._inside, self.evaluated)]
        n1, n0 = self._members - of[0], self._others - (of[1] - of[0])
        outside, inside = (cells.take(np.flatnonzero(side)) for side in (~cells.member, cells.member))
        outside, inside = (part.take(np.argsort(-part.score, kind="stable")) for part in (outside, inside))
        allowed = false_positives(n0, fpr, "conformal").astype(int)
        own, place = _Places(outside.image, self._groups), np.maximum(allowed, 0)
        while True:  # the threshold's place among all non-members is after those of the group itself
            after = np.where(allowed < 0, 0, allowed + own.first(place + 1))
            if after.max() >= len(others):
                return None
            if (after == place).all():
                break
            place = after
        called = np.searchsorted(-inside.score, -others, "left")  # members above each non-member
        width = int(SMOOTH * (false_positives(self._others, fpr, "conformal") + 1))
        if len(others) < self._others and place.max() + width >= len(others):
            return None
        hers = _Places(inside.image, self._groups).first(called[place])
        with np.errstate(invalid="ignore", divide="ignore"):
            tpr = (_smooth(called, width)[place] - hers) / n1
        tpr[(allowed < 0) | (n1 == 0)] = np.nan
        return tpr.mean() + _left_out(tpr - tpr.mean())

    def _lowest(self, score: np.ndarray, share: float) -> float:
        """About the score that the best `share` of the non-members reach."""
        some = score.ravel()[self._some]
        if share * len(some) >= len(some) - 1:
            return -np.inf
        wanted = len(some) - 1 - int(share * len(some))
        return np.partition(some, wanted)[wanted]

    def _cells(self, score: np.ndarray, lowest: float) -> "Cells":
        """The pairs that score as high."""
        where = np.flatnonzero((score >= lowest) & self.evaluated)
        model, image = np.divmod(where, score.shape[1])
        columns = score.ravel()[where], self._inside.ravel()[where], self._unit[model], self._group[image]
        return Cells(*columns, (self.units, self._groups))


class Cells(NamedTuple):
    """Pairs (model, image), by what is drawn together: units of models, images or groups of them."""

    score: np.ndarray  # float [cells]
    member: np.ndarray  # bool [cells]
    unit: np.ndarray  # int [cells]
    image: np.ndarray  # int [cells]
    shape: tuple[int, int]  # units, images

    def take(self, which: np.ndarray) -> "Cells":
        score, member, unit, image = (column[which] for column in self[:-1])
        return Cells(score, member, unit, image, self.shape)


class Weights(NamedTuple):
    """Weights of replicates, BLOCK at a time: constant + by_unit[unit] * by_image[image]."""

    constant: int
    by_unit: np.ndarray | None  # int8 [blocks,units,BLOCK]; None: all are 1
    by_image: np.ndarray | None  # int8 [blocks,S,BLOCK]; None: all are 1

    def of(self, cells: Cells, replicates: np.ndarray) -> np.ndarray:
        """Of every cell in some replicates, float32 [cells,replicates]."""
        block, column = np.divmod(replicates, BLOCK)
        weight = np.full((len(cells.unit), len(replicates)), np.float32(1))
        for drawn, place in ((self.by_unit, cells.unit), (self.by_image, cells.image)):
            if drawn is not None:  # drawn[block, place[:, None], column], read faster
                weight *= drawn.ravel().take(BLOCK * (drawn.shape[1] * block + place[:, None]) + column)
        weight += self.constant
        return weight

    def sums(self, tables: "_Tables") -> np.ndarray:
        """What the tables hold of each group, weighted and summed: float64 [groups,replicates]."""
        if self.by_image is None:
            assert self.by_unit is not None
            found = [tables.by_unit @ block for block in self.by_unit]
        elif self.by_unit is None:
            found = list(tables.by_image.times(self.by_image))
        else:
            products = tables.by_both.times(self.by_image)
            shape = *tables.by_unit.shape, -1
            found = [
                np.einsum("gur,ur->gr", product.reshape(shape), block)
                for product, block in zip(products, self.by_unit, strict=True)
            ]
        return self.constant * tables.by_unit.sum(1)[:, None] + np.concatenate(found, 1)


class _Tables(NamedTuple):
    """What is summed over the cells of each group: by unit, by image, and by unit and image."""

    by_unit: np.ndarray  # float64 [groups,units]
    by_image: "_Table"  # [groups,S]
    by_both: "_Table"  # [groups * units,S]

    @staticmethod
    def counts(group: np.ndarray, groups: int, cells: Cells) -> "_Tables":
        """How many cells there are."""
        units, images = cells.shape
        row = group * units + cells.unit
        by_unit = np.bincount(row, minlength=groups * units).reshape(groups, units).astype(float)
        by_image = _Table.counts(group, groups, cells.image, images)
        return _Tables(by_unit, by_image, _Table.counts(row, groups * units, cells.image, images))

    @staticmethod
    def of(values: np.ndarray) -> "_Tables":
        """Of values, float32 [groups,units,S]."""
        by_image, by_both = values.sum(1), values.reshape(-1, values.shape[2])
        return _Tables(values.sum(2, dtype=float), *(_Table.dense(table) for table in (by_image, by_both)))


class _Table:
    """A table [rows,columns] to be multiplied; rows of many cells are dense, for BLAS, the others sparse."""

    def __init__(self, many: np.ndarray, dense: np.ndarray, others: Any):
        self._many, self._dense, self._sparse = many, dense, others  # bool [rows], [many,columns], the rest

    @staticmethod
    def dense(values: np.ndarray) -> "_Table":
        none = sparse.csr_array(np.zeros((0, values.shape[1]), np.float32))
        return _Table(np.ones(len(values), bool), values, none)

    @staticmethod
    def counts(row: np.ndarray, rows: int, column: np.ndarray, columns: int) -> "_Table":
        """How often each row has each column."""
        many = 4 * np.bincount(row, minlength=rows) > columns
        place, dense = np.where(many, np.cumsum(many), np.cumsum(~many)) - 1, many[row]
        cell = place[row[dense]] * columns + column[dense]
        table = np.bincount(cell, minlength=many.sum() * columns).reshape(-1, columns).astype(np.float32)
        others = sparse.csr_array(
            (np.ones((~dense).sum(), np.float32), (place[row[~dense]], column[~dense])),
            shape=((~many).sum(), columns),
        )
        return _Table(many, table, others)

    def times(self, blocks: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the product with each block, int8 [columns,r]: float32 [rows,r]."""
        _, columns, r = blocks.shape
        other = np.empty((columns, r), np.float32)
        for block in blocks:
            np.copyto(other, block)  # into the same memory: the system takes longer to hand out new
            product = np.empty((len(self._many), r), np.float32)
            product[self._many] = self._dense @ other
            product[~self._many] = self._sparse @ other
            yield product


class Strata:
    """The cells in strata by score, best first, narrow where about as many non-members are called as may be."""

    def __init__(self, cells: Cells, others: np.ndarray, allowed: Sequence[int]):
        """others: scores of the cells that are no members, descending; allowed: how many of them may be called."""
        around = np.concatenate([-STEPS, [0], STEPS])
        ranks = np.concatenate([max(most, 0) * (1 + around) for most in allowed]).astype(int)
        borders = np.unique(others[ranks[ranks < len(others)]])
        self._cells, self._of = cells, len(borders) - np.searchsorted(borders, cells.score)
        self._counts = _Tables.counts(2 * self._of + cells.member, 2 * (len(borders) + 1), cells)
        self._ordered: dict[int, tuple[Cells, Cells, np.ndarray]] = {}

    def called(self, weights: Weights, most: np.ndarray) -> np.ndarray | None:
        """Weight of the members called before non-members weigh more than `most`, which is [k,r]: float64 [k,r].

        NaN where `most` is negative; None where the cells end before. What is called in whole strata is summed at
        once, the stratum in which a replicate ends is walked.
        """
        fp, tp = np.cumsum(weights.sums(self._counts).reshape(-1, 2, most.shape[1]), 0).swapaxes(0, 1)
        beyond = fp[:, None] > most
        if (~beyond.any(0) & (most >= 0)).any():
            return None
        last = np.where(most >= 0, beyond.argmax(0), -1)  # [k,r]
        called = np.full(most.shape, np.nan)
        for stratum in np.unique(last[last >= 0]):
            outside, inside, before = self._in_order(stratum)
            k, r = np.nonzero(last == stratum)
            cells = len(outside.unit) + len(inside.unit)
            for some in np.array_split(np.arange(len(r)), -(-len(r) * cells // WEIGHED)):
                # so many non-members may be called, and the members that come before one more
                above = [total[stratum - 1, r[some]] if stratum else 0.0 for total in (fp, tp)]
                weight = above[0] + weights.of(outside, r[some]).cumsum(0)
                allowed = np.count_nonzero(weight <= most[k[some], r[some]], axis=0)
                members = weights.of(inside, r[some])
                members *= before[:, None] <= allowed
                called[k[some], r[some]] = above[1] + members.sum(0)
        return called

    def _in_order(self, stratum: int) -> tuple[Cells, Cells, np.ndarray]:
        """The non-members of a stratum, best first, the members, and how many non-members come before each of them.

        Among ties non-members come first.
        """
        if stratum not in self._ordered:
            part = self._cells.take(np.flatnonzero(self._of == stratum))
            outside, inside = (part.take(np.flatnonzero(side)) for side in (~part.member, part.member))
            outside = outside.take(np.argsort(-outside.score))
            before = np.searchsorted(-outside.score, -inside.score, "right")
            self._ordered[stratum] = outside, inside, before
        return self._ordered[stratum]


class _Places:
    """Where in a list each group is, to say how often it is among the first of all."""

    def __init__(self, group: np.ndarray, groups: int):
        self._length = len(group) + 1
        self._key = np.sort(group.astype(np.int64) * self._length + np.arange(len(group)))
        self._start = np.searchsorted(self._key, np.arange(groups) * self._length)

    def first(self, count: np.ndarray) -> np.ndarray:
        """How many of the first `count` are each group's; int [groups]."""
        upto = np.arange(len(self._start)) * self._length + np.minimum(count, self._length - 1)
        return np.searchsorted(self._key, upto) - self._start


def _smooth(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of each value and of so many on either side, of fewer near the ends."""
    place, total = np.arange(len(values)), np.append(0, np.cumsum(values, dtype=np.float64))
    half = np.minimum(np.minimum(place, width), len(values) - 1 - place)
    return (total[place + half + 1] - total[place - half]) / (2 * half + 1)


def _left_out(change: np.ndarray) -> np.ndarray:
    """Spread what leaving out each of G groups changes, so that its variance is the jackknife's of the estimate.

    change: [...,G], of mean 0. (G - 1) / G times the sum of squares is the variance of (G - 1) / sqrt(G) times it.
    """
    groups = change.shape[-1]
    return (groups - 1) / np.sqrt(groups) * change


def _draws(units: int, images: int, replicates: int, seed: int) -> dict[Kind, Weights]:
    """Draw the weights of every kind."""
    streams = np.random.default_rng(seed).spawn(4)

    def multiplicity(rng: np.random.Generator, size: int) -> np.ndarray:
        return np.bincount(rng.integers(size, size=size), minlength=size)

    def signs(rng: np.random.Generator, size: int) -> np.ndarray:
        bits = np.unpackbits(np.frombuffer(rng.bytes(size // 8 + 1), np.uint8), count=size)
        return 2 * bits.view(np.int8) - 1

    def blocks(draw: Callable, rng: np.random.Generator, size: int) -> np.ndarray:
        """The last block is filled up with zeros."""
        drawn = np.zeros((-(-replicates // BLOCK), size, BLOCK), np.int8)
        for number, block in enumerate(drawn):
            columns = [draw(rng, size) for _ in range(min(BLOCK, replicates - BLOCK * number))]
            block[:, : len(columns)] = np.stack(columns, -1)
        return drawn

    return {
        "models": Weights(0, blocks(multiplicity, streams[0], units), None),
        "images": Weights(0, None, blocks(multiplicity, streams[1], images)),
        "pairs": Weights(1, blocks(signs, streams[2], units), blocks(signs, streams[3], images)),
    }
