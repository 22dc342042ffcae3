"""LiRA (Carlini et al. 2022, "Membership inference attacks from first principles") on every target at once.

The definition, plainly, is in `lira_definition`. Here targets that leave out the same shadow models share their
statistics, and a column (image, view) is sorted once: its median without a model or two is made of a few values
in its middle, its variance is a downdate. Images are walked in blocks with equal numbers of in-models.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, reduce
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_ndtr

from leakgap import ArgumentError
from leakgap.arguments import numbers, truths
from leakgap.attacks import Evidence, check, gives_away, pooled
from leakgap.attacks.sums import IN, OUT

__all__ = ["leave_one_out", "lira"]

EPSILON = 1e-30  # added to every standard deviation, as the reference implementation does
BLOCK = 1 << 17  # values of phi in a block: 1 MiB in float64, so that temporaries stay in the cache


def leave_one_out(
    target: ArrayLike,
    shadow: ArrayLike,
    member: ArrayLike,
    *,
    mode: Literal["online", "offline"] = "online",
    variance: Literal["per-example", "fixed", "within", "pooled"] = "per-example",
    tail: Literal["one-sided", "two-sided"] = "one-sided",
    left_out: ArrayLike | None = None,
    reserved: ArrayLike | None = None,
) -> np.ndarray:
    """LiRA score of every target and image, float32 [T,S], higher = member.

    target: float32 [T,S,V], phi of the target models over V query views; shadow: float32 [N,S,V]; with one view,
    [T,S] and [N,S] will do. member: bool [N,S], the images that each shadow model trained on. left_out: bool [T,N],
    the shadow models not used against each target; by default T = N, target k trained on member[k], and the rows
    that give this mask away are left out: k and the one that is its complement (see `gives_away`). reserved: bool
    [S], images in no mask by design: they get NaN and enter no statistic.

    With mu and sd of phi over the in-models (I) or out-models (O) of an image and view, the score is the mean over
    the views of
        online              log N(phi; mu_I, sd_I) - log N(phi; mu_O, sd_O)     (tail plays no part)
        offline, one-sided  log Phi((phi - mu_O) / sd_O)                        (eq. 4 of the paper)
        offline, two-sided  -log N(phi; mu_O, sd_O)                             (the reference implementation)
    where `variance` says what mu and sd are, 1e-30 being added to every sd:
        per-example  median; sd over the models, about their mean, ddof 0
        fixed        median; one sd for each target, of all in-scores (online, for I and O alike) or of all
                     out-scores (offline), pooled over images, models and views, ddof 0
        within       mean; one sd for each target and each of I and O: the root of (squared deviations from the
                     mean of image and view, summed over images, models and views) / (sum of (models - 1)); where
                     no image has two models on a side, that side's is the other's, or 1
        pooled       mean and sd borrowed from images like it, see `pooled`; the strongest with few shadow models.
                     Online, BASE's score on the clean view is added; it needs one in- and one out-model

    NaN where an image has no out-model, or (online) no in-model, besides those left out. A single model has no
    spread: per-example, such an image gets NaN too, unless two models are all that is left (N = 4), where every sd
    is 1e-30. Computed in float64; scores beyond float32 (an sd of 0 makes 1e60) are clipped to its largest value.
    The one-sided score reaches 0, and ties there, from 14 sd on.

    ArgumentError, naming axis, model or image: shapes that don't match, a member or left_out that isn't boolean,
    NaN or infinite phi.

    >>> from leakgap.data.masks import balanced_masks
    >>> member = balanced_masks(16, 400, seed=0)
    >>> phi = np.random.default_rng(0).normal(3.0 * member, 1).astype(np.float32)[..., None]
    >>> score = leave_one_out(phi, phi, member)
    >>> bool(score[member].mean() > 0 > score[~member].mean())
    True
    """
    _check_options(mode, variance, tail)
    same = target is shadow
    shadow, member = _with_views(numbers(shadow, "shadow")), truths(member, "member")
    target = shadow if same else _with_views(numbers(target, "target"))
    left_out = None if left_out is None else truths(left_out, "left_out")
    check(target, shadow, member, left_out)
    if not shadow.size:
        raise ArgumentError(f"shadow must hold a model and a record at least, not {list(shadow.shape[:2])}")
    if left_out is None:
        left_out = gives_away(member, member)
    kept = np.ones(shadow.shape[1], bool) if reserved is None else ~_images(reserved, shadow.shape[1])
    images = np.flatnonzero(kept)
    held = (target, shadow, member, left_out, images)
    if variance == "pooled":
        return pooled.online(*held) if mode == "online" else pooled.offline(*held, _surprise(tail))
    return _scores(*held, [_Variant(mode, variance, tail)])[0]


def _with_views(phi: np.ndarray) -> np.ndarray:
    return phi[..., None] if phi.ndim == 2 else phi


def _images(reserved: ArrayLike, images: int) -> np.ndarray:
    array = truths(reserved, "reserved")
    if array.shape != (images,):
        raise ArgumentError(f"reserved must have shape [{images}], not {list(array.shape)}")
    return array


def lira(evidence: Evidence, **options) -> np.ndarray:
    """LiRA with the options of `leave_one_out`: mode, variance and tail."""
    held = (evidence.target, evidence.shadow, evidence.member)
    return leave_one_out(*held, left_out=evidence.left_out, reserved=evidence.reserved, **options)


def several(evidence: Evidence, options: Sequence[Mapping[str, str]]) -> list[np.ndarray]:
    """LiRA with each of several options, none of them pooled, from one pass over the images."""
    held = (evidence.target, evidence.shadow, evidence.member, evidence.left_out)
    return _scores(*held, np.flatnonzero(~evidence.reserved), [_Variant(**each) for each in options])


class _Variant(NamedTuple):
    """Options of `leave_one_out`."""

    mode: str
    variance: str = "per-example"
    tail: str = "one-sided"

    @property
    def sides(self) -> tuple[int, ...]:
        return (IN, OUT) if self.mode == "online" else (OUT,)


def _scores(
    target: np.ndarray,
    shadow: np.ndarray,
    member: np.ndarray,
    left_out: np.ndarray,
    images: np.ndarray,
    variants: Sequence[_Variant],
) -> list[np.ndarray]:
    """Scores float32 [T,S] of each variant; means, medians and variances of an image are computed once."""
    sets = _Sets(left_out)
    overall = [_overall(shadow, member, sets, images, variant) for variant in variants]
    scores = [np.full(target.shape[:2], np.nan, np.float32) for _ in variants]
    largest = np.finfo(np.float32).max
    for block in _blocks(shadow, member, images):
        x = _columns(shadow, block)
        y = x if target is shadow else _columns(target, block)
        values = {
            side: _Values(x, np.equal(member[:, block].T, side), sets)
            for side in (IN, OUT)
            if any(side in variant.sides for variant in variants)
        }
        for variant, fixed, result in zip(variants, overall, scores, strict=True):
            fits = []
            for side in variant.sides:
                location = values[side].mean if variant.variance == "within" else values[side].median
                fits.append((location, _padded(fixed[side] if fixed else values[side].variance)))
            likelihood = _likelihood(fits, variant.tail)
            score = np.empty((len(x), len(target)))
            for targets in sets.rounds:
                score[:, targets] = likelihood(y.take(targets, -1)).mean(1)
            result[:, block] = np.clip(score, -largest, largest).T
    return scores


def _check_options(mode: str, variance: str, tail: str) -> None:
    for name, value, choices in (
        ("mode", mode, ("online", "offline")),
        ("variance", variance, ("per-example", "fixed", "within", "pooled")),
        ("tail", tail, ("one-sided", "two-sided")),
    ):
        if value not in choices:
            raise ArgumentError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _blocks(shadow: np.ndarray, member: np.ndarray, images: np.ndarray) -> Iterator[np.ndarray | slice]:
    """Images in blocks, those of one block with equal numbers of in-models."""
    size = max(1, BLOCK // (shadow.shape[0] * shadow.shape[2]))
    count = member.sum(0)
    order = images[np.argsort(count[images], kind="stable")]
    for group in np.split(order, np.flatnonzero(np.diff(count[order])) + 1):
        for start in range(0, len(group), size):
            block = group[start : start + size]
            gaps = block[-1] - block[0] >= len(block)
            yield block if gaps else slice(block[0], block[-1] + 1)  # a slice is read ten times faster


def _columns(array: np.ndarray, images: np.ndarray | slice) -> np.ndarray:
    """[models, S, V] -> contiguous float64 [images, V, models]."""
    return np.ascontiguousarray(array[:, images].transpose(1, 2, 0), np.float64)


def _take(array: np.ndarray, models: np.ndarray) -> np.ndarray:
    """array [b,V,M], models int [b,k] -> [b,V,k] (np.take_along_axis, seven times faster)."""
    images, views, size = array.shape
    first = size * np.arange(images * views).reshape(images, views, 1)
    return array.take(first + models[:, None])


class _Sets:
    """The U sets of models that are left out together: targets with the same set share their statistics.

    left_out: bool [U,N]. slots: for the i-th model of every set, which it is, int [U], and whether there is one,
    bool [U]. rounds: the r-th target, int, of every set that has as many. Sets of most targets come first, so that
    the targets of a round belong to the first sets in order.
    """

    def __init__(self, left_out: np.ndarray) -> None:
        sets, of, count = np.unique(left_out, axis=0, return_inverse=True, return_counts=True)
        order = np.argsort(-count, kind="stable")
        self.left_out = sets[order]
        size = self.left_out.sum(1)
        models = np.argsort(~self.left_out, 1, kind="stable")  # [U,N]: each set's own come first
        self.slots = [(models[:, i], i < size) for i in range(size.max(initial=0))]

        # Targets of one set side by side, then the first of every set, the second, ...
        targets = np.argsort(np.argsort(order)[of.reshape(-1)], kind="stable")
        ends = np.cumsum(count[order])
        first = ends - count[order]
        self.rounds = [targets[(first + r)[first + r < ends]] for r in range(count.max(initial=0))]


class _Values:
    """phi of the in- or out-models of a block of images, and its statistics without each of U sets of models.

    x: float64 [b,V,N]; side: bool [b,N], the models counted, equally many for all images. Statistics are [b,V,U],
    NaN where no model is left.
    """

    def __init__(self, x: np.ndarray, side: np.ndarray, sets: _Sets) -> None:
        side = np.ascontiguousarray(side)
        self._x, self._side, self._sets = x, side, sets
        self._count = int(side[0].sum())
        models = np.flatnonzero(side).reshape(len(x), -1) - x.shape[-1] * np.arange(len(x))[:, None]
        self._values = _take(x, models)  # [b,V,n]
        # bool [b,U] for every slot: is its model on this side?
        held = [side.take(models, 1) & real for models, real in sets.slots]
        none = np.zeros((len(x), len(sets.left_out)), np.int16)
        self._gone_count = sum(held, none)[:, None]  # [b,1,U]
        self._gone = self._left_out(held)
        left = self._count - self._gone_count
        self._left = np.where(left > 0, left, np.nan)

    def _left_out(self, held: list[np.ndarray]) -> list[np.ndarray]:
        """The smallest value left out, the next, ... float64 [b,V,U] each; infinity stands for none."""
        most = int(self._gone_count.max(initial=0))
        slots = [(models, here) for (models, _), here in zip(self._sets.slots, held, strict=True)]
        if most == 1:  # as in a grid: read one value, not one for every slot
            gone = _take(self._x, sum(models * here for models, here in slots))
            return [gone if self._gone_count.all() else np.where(self._gone_count, gone, np.inf)]
        values = [np.where(here[:, None], self._x.take(models, -1), np.inf) for models, here in slots]
        return list(np.sort(values, 0)[:most]) if most else []

    @cached_property
    def median(self) -> np.ndarray:
        """Those of the values in the middle that remain, averaged.

        With k of n left out, the middle 1 or 2 of the rest are among the middle 1 or 2 and k of all; of these, the
        i-th smallest left out takes away itself, or the nearest that it can.
        """
        ordered = np.sort(self._values, axis=-1)
        result = np.full((1, 1, len(self._sets.left_out)), np.nan)
        for gone in range(self._gone_count.min(), len(self._gone) + 1):
            left = self._count - gone
            if left:
                size = 2 - left % 2
                first = (left - size) // 2
                middle = ordered[..., first : first + size + gone]
                rest = middle.sum(-1, keepdims=True)
                for i in range(gone):
                    rest = rest - np.clip(self._gone[i], middle[..., [i]], middle[..., [i + size]])
                concerned = self._gone_count == gone
                result = rest / size if concerned.all() else np.where(concerned, rest / size, result)
        return result

    @cached_property
    def mean(self) -> np.ndarray:
        return self._average - self._total / self._left

    def squares(self) -> np.ndarray:
        """Squared deviations from the mean, summed."""
        deviation = self._values - self._average
        everyone = np.einsum("bvn,bvn->bv", deviation, deviation)[..., None]
        rest = everyone - self._total**2 / self._left
        for gone in self._deviations:
            rest -= gone * gone
        cancelled = rest < 1e-3 * everyone
        if cancelled.any():  # rounding noise is left where, say, all other values are equal: sum those anew
            image, view, row = np.nonzero(cancelled)
            kept = self._side[image] & ~self._sets.left_out[row]
            rest[cancelled] = _squares_anew(self._x[image, view], kept)
        return rest

    @cached_property
    def variance(self) -> np.ndarray:
        """Variance about the mean, ddof 0; NaN of a single value where it has others beside it."""
        alone = (self._left == 1) & ((~self._sets.left_out).sum(1) > 2)
        return self.squares() / np.where(alone, np.nan, self._left)

    def freedom(self) -> np.ndarray:
        """Values left of every image less one, summed [U]."""
        return np.nansum(self._left - 1, (0, 1))

    @cached_property
    def _average(self) -> np.ndarray:
        """Mean of all values, [b,V,1]; 0 if there are none."""
        return self._values.sum(-1, keepdims=True) / max(self._count, 1)

    @cached_property
    def _total(self) -> np.ndarray:
        """Sum of the deviations of the values left out, [b,V,U] or, of none, 0."""
        return reduce(np.add, self._deviations) if self._deviations else np.zeros(1)

    @cached_property
    def _deviations(self) -> list[np.ndarray]:
        """Deviations from it of the values left out; 0 stands for none."""
        deviations = [gone - self._average for gone in self._gone]
        if (self._gone_count < len(self._gone)).any():
            for deviation in deviations:
                deviation[np.isinf(deviation)] = 0
        return deviations


def _squares_anew(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Squared deviations from the mean of the values [cells,N] that are kept, by the definition: [cells]."""
    mean = np.where(kept, values, 0).sum(1, keepdims=True) / np.maximum(kept.sum(1, keepdims=True), 1)
    return (np.where(kept, values - mean, 0) ** 2).sum(1)


def _overall(
    shadow: np.ndarray, member: np.ndarray, sets: _Sets, images: np.ndarray, variant: _Variant
) -> dict[int, np.ndarray]:
    """The variance [U] of each side, if a variant has one for all images."""
    if variant.variance == "fixed":
        return dict.fromkeys(variant.sides, _overall_variance(shadow, member, sets, images, variant.sides[0]))
    if variant.variance == "within":
        within = {side: _within_variance(shadow, member, sets, images, side) for side in variant.sides}
        others = {side: within.get(1 - side, within[side]) for side in within}
        return {side: _known_or(within[side], _known_or(others[side], 1.0)) for side in within}
    return {}


def _known_or(variance: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    return np.where(np.isnan(variance), other, variance)


def _overall_variance(
    shadow: np.ndarray, member: np.ndarray, sets: _Sets, images: np.ndarray, side: int
) -> np.ndarray:
    """Variance [U] of all phi of one side, pooled over images, views and all models but those of each set."""
    parts = []
    for block in _blocks(shadow, member, images):
        x = _columns(shadow, block)
        kept = np.equal(member[:, block].T, side)[:, None].astype(np.float64)
        count = kept.sum((0, 1)) * x.shape[1]
        mean = np.einsum("bvn,bun->n", x, kept) / np.maximum(count, 1)
        parts.append((count, mean, np.einsum("bvn,bun->n", (x - mean) ** 2, kept)))
    count, mean, squares = _combined(*(np.array(part) for part in zip(*parts, strict=True)))
    others = ~sets.left_out.T
    count, _, squares = _combined(count[:, None] * others, mean[:, None], squares[:, None] * others)
    with np.errstate(invalid="ignore"):
        return squares / count


def _combined(count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, ...]:
    """Number, mean and squared deviations of the union of the groups along axis 0 (Chan et al. 1979)."""
    total = count.sum(0)
    grand = (count * mean).sum(0) / np.maximum(total, 1)
    return total, grand, (squares + count * (mean - grand) ** 2).sum(0)


def _within_variance(
    shadow: np.ndarray, member: np.ndarray, sets: _Sets, images: np.ndarray, side: int
) -> np.ndarray:
    """Variance [U] of one side's phi about the means of image and view, pooled, without the models of each set.

    NaN where no image is left with two of them.
    """
    squares, freedom = np.zeros((2, len(sets.left_out)))
    for block in _blocks(shadow, member, images):
        values = _Values(_columns(shadow, block), np.equal(member[:, block].T, side), sets)
        squares += np.nansum(values.squares(), (0, 1))
        freedom += shadow.shape[2] * values.freedom()
    return np.divide(squares, freedom, out=np.full(len(squares), np.nan), where=freedom > 0)


def _padded(variance: np.ndarray) -> np.ndarray:
    """(sd + EPSILON)**2, spared the root where that is the variance itself in float64."""
    tiny = variance < 1e-26
    if tiny.any():
        variance = np.where(tiny, (np.sqrt(variance) + EPSILON) ** 2, variance)
    return variance


def _likelihood(fits: list[tuple[np.ndarray, np.ndarray]], tail: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function from y [b,V,k], phi of targets of the first k sets, to their scores in each view.

    fits: location and variance [b,V,U] or [U] of the in- and the out-models, or of the latter alone.
    """

    def surprise(y: np.ndarray, location: np.ndarray, twice: np.ndarray) -> np.ndarray:
        """Minus the logarithm of the normal density, but for its constant; twice: two times the variance."""
        deviation = y - location[..., : y.shape[-1]]
        deviation *= deviation
        deviation /= twice[..., : y.shape[-1]]
        return deviation

    *others, (out, variance) = fits
    twice = 2 * variance
    if others:
        ((inside, variance_in),) = others
        constant, twice_in = np.log(variance / variance_in) / 2, 2 * variance_in
        return lambda y: (
            surprise(y, out, twice) - surprise(y, inside, twice_in) + constant[..., : y.shape[-1]]
        )
    if tail == "two-sided":
        constant = np.log(np.pi * twice) / 2
        return lambda y: surprise(y, out, twice) + constant[..., : y.shape[-1]]
    sd = np.sqrt(variance)
    return lambda y: log_ndtr((y - out[..., : y.shape[-1]]) / sd[..., : y.shape[-1]])


def _surprise(tail: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return the offline score as a function of the standardized phi and its variance."""
    if tail == "two-sided":
        return lambda z, v: (z**2 + np.log(2 * np.pi * v)) / 2
    return lambda z, v: log_ndtr(z)
