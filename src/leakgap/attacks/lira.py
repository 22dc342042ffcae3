"""LiRA (Carlini et al. 2022, "Membership inference attacks from first principles") on every target at once.

Every target is attacked with all shadow models but one. The images are walked in blocks, each split into in- and
out-models. A column (image, view) is sorted once: its median without any one model is then one of three values, and
its variance a downdate.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.special import log_ndtr

from leakgap.attacks import Evidence, check

EPSILON = 1e-30  # added to every standard deviation, as the reference implementation does
BLOCK = 1 << 17  # values of phi in a block: 1 MiB in float64, so that temporaries stay in the cache
IN, OUT = True, False


def leave_one_out(
    target: np.ndarray,
    shadow: np.ndarray,
    member: np.ndarray,
    *,
    mode: Literal["online", "offline"] = "online",
    variance: Literal["per-example", "fixed", "within"] = "per-example",
    tail: Literal["one-sided", "two-sided"] = "one-sided",
    exclude: np.ndarray | None = None,
    reserved: np.ndarray | None = None,
    even: bool = False,
) -> np.ndarray:
    """LiRA score of every target and image, float32 [T,S], higher = member.

    target: float32 [T,S,V], phi of the target models over V query views; shadow: float32 [N,S,V]; member: bool
    [N,S]. exclude: int [T], the shadow model left out for each target; by default T = N and model k is left out
    for target k. reserved: bool [S], images in no mask by design: they get NaN and enter no statistic.

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
                     mean of image and view, summed over images, models and views) / (sum of (models - 1))
    even: leave the last model of the target's other side out, too. Balanced masks show N/2 - 1 in- and N/2
    out-models of a member, N/2 and N/2 - 1 of a non-member; that alone makes members score lower (on noise, AUC
    0.48 and TPR 0.7% at FPR 1% for N = 16). With as many left out on both sides, noise scores as noise.
    Pooled variances leave out nothing more.

    Computed in float64; scores beyond float32 (an sd of 0 makes 1e60) are clipped to its largest value. The
    one-sided score reaches 0, and ties there, from 14 sd on.

    ValueError, naming axis, model or image: shapes that don't match, a member that isn't boolean, NaN or infinite
    phi, an image with no out-model, or (online) no in-model, besides those left out.
    """
    _check_options(mode, variance, tail)
    if exclude is None:
        if len(target) != len(shadow):
            raise ValueError(f"axis 0 (models) differs: {len(target)} in target and {len(shadow)} in shadow")
        exclude = np.arange(len(shadow))
    check(target, shadow, member, exclude)
    images = np.arange(shadow.shape[1]) if reserved is None else np.flatnonzero(~reserved)
    sides = (IN, OUT) if mode == "online" else (OUT,)
    _check_counts(member, np.arange(len(shadow)) if even else np.unique(exclude), images, sides)

    pooled = {}
    if variance == "fixed":
        pooled = dict.fromkeys(sides, _overall_variance(shadow, member, exclude, images, sides[0]))
    if variance == "within":
        pooled = _within_variances(shadow, member, exclude, images, sides)

    scores = np.full(target.shape[:2], np.nan, np.float32)
    largest = np.finfo(np.float32).max
    for block in _blocks(shadow, member, exclude, images):
        x = _columns(shadow, block, np.float64)
        y = x if target is shadow else _columns(target, block, np.float64)
        models = _split(member[:, block].T)
        values = {side: _Values(_take(x, models[side])) for side in sides}
        score = np.empty((len(x), len(target)))
        for own, targets in _split(member[:, block][exclude].T).items():
            fits = []
            for side in sides:
                gone = None
                if side == own:
                    gone = _take(x, exclude[targets])
                elif even:
                    gone = values[side].all[..., -1:]
                location = values[side].mean(gone) if variance == "within" else values[side].median(gone)
                spread = pooled[side][targets][:, None] if pooled else values[side].variance(gone)
                fits.append((location, _padded(spread)))
            terms = _terms(_take(y, targets), fits, tail)
            np.put_along_axis(score, targets, terms.mean(1), -1)
        scores[:, block] = np.clip(score, -largest, largest).T
    return scores


def online(evidence: Evidence) -> np.ndarray:
    """LiRA online: medians and per-example variances."""
    return _attack(evidence, mode="online", variance="per-example")


def online_fixed(evidence: Evidence) -> np.ndarray:
    """LiRA online with one variance for all images: steadier where shadow models are few."""
    return _attack(evidence, mode="online", variance="fixed")


def online_within(evidence: Evidence) -> np.ndarray:
    """LiRA online with means and pooled within-image variances."""
    return _attack(evidence, mode="online", variance="within")


def offline(evidence: Evidence) -> np.ndarray:
    """LiRA offline, one-sided, with per-example variances."""
    return _attack(evidence, mode="offline", variance="per-example")


def offline_fixed(evidence: Evidence) -> np.ndarray:
    """LiRA offline, one-sided, with one variance for all images."""
    return _attack(evidence, mode="offline", variance="fixed")


def offline_within(evidence: Evidence) -> np.ndarray:
    """LiRA offline, one-sided, with means and the pooled within-image variance."""
    return _attack(evidence, mode="offline", variance="within")


def offline_two_sided(evidence: Evidence) -> np.ndarray:
    """LiRA offline as the reference implementation has it: two-sided, per-example variances."""
    return _attack(evidence, mode="offline", variance="per-example", tail="two-sided")


def _attack(evidence: Evidence, **options) -> np.ndarray:
    held = (evidence.target, evidence.shadow, evidence.member)
    return leave_one_out(*held, exclude=evidence.exclude, reserved=evidence.reserved, even=True, **options)


def _check_options(mode: str, variance: str, tail: str) -> None:
    for name, value, choices in (
        ("mode", mode, ("online", "offline")),
        ("variance", variance, ("per-example", "fixed", "within")),
        ("tail", tail, ("one-sided", "two-sided")),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _check_counts(member: np.ndarray, left_out: np.ndarray, images: np.ndarray, sides: tuple) -> None:
    for side in sides:
        count = (member == side).sum(0)
        too_few = (count == 0) | ((count == 1) & (member[left_out] == side).any(0))
        if too_few[images].any():
            kind = "in" if side is IN else "out"
            raise ValueError(
                f"image {images[too_few[images].argmax()]} has no {kind}-model besides those left out"
            )


def _blocks(
    shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray, images: np.ndarray
) -> Iterator[np.ndarray | slice]:
    """Images in blocks, those of one block with equal numbers of in-models and of targets on the in-side."""
    size = max(1, BLOCK // (shadow.shape[0] * shadow.shape[2]))
    key = member.sum(0) * (len(exclude) + 1) + member[exclude].sum(0)
    order = images[np.argsort(key[images], kind="stable")]
    for group in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        for start in range(0, len(group), size):
            block = group[start : start + size]
            gaps = block[-1] - block[0] >= len(block)
            yield block if gaps else slice(block[0], block[-1] + 1)  # a slice is read ten times faster


def _columns(array: np.ndarray, images: np.ndarray | slice, dtype: type) -> np.ndarray:
    """[models, S, V] -> contiguous [images, V, models]."""
    return np.ascontiguousarray(array[:, images].transpose(1, 2, 0), dtype)


def _split(member: np.ndarray) -> dict[bool, np.ndarray]:
    """Split models by membership, bool [b,M] with equal counts in all rows: which are in, int [b,k], which out."""
    images, models = member.shape
    first = models * np.arange(images)[:, None]
    return {side: np.flatnonzero(member == side).reshape(images, -1) - first for side in (IN, OUT)}


def _take(array: np.ndarray, models: np.ndarray) -> np.ndarray:
    """array [b,V,M], models int [b,k] -> [b,V,k] (np.take_along_axis, seven times faster)."""
    images, views, size = array.shape
    first = size * np.arange(images * views).reshape(images, views, 1)
    return array.take(first + models[:, None])


class _Values:
    """phi of the in- or out-models, float64 [b,V,n]: statistics without `gone`, one of the n values.

    gone: float64 [b,V,k], the value to leave out for each of k targets, or None for none; results are [b,V,k or 1].
    """

    def __init__(self, values: np.ndarray) -> None:
        self.all = values
        self.count = values.shape[-1]

    @cached_property
    def ordered(self) -> np.ndarray:
        return np.sort(self.all, axis=-1)

    @cached_property
    def average(self) -> np.ndarray:
        return self.all.sum(-1, keepdims=True) / self.count

    @cached_property
    def squares(self) -> np.ndarray:
        """Squared deviations from the mean, summed [b,V,1]."""
        deviation = self.all - self.average
        return np.einsum("bvn,bvn->bv", deviation, deviation)[..., None]

    def median(self, gone: np.ndarray | None) -> np.ndarray:
        """Of the values in the middle, two or three, those that remain without `gone` are averaged."""
        half, odd = divmod(self.count, 2)
        if gone is None:
            return self.ordered[..., half - 1 + odd : half + 1].mean(-1, keepdims=True)
        middle = self.ordered[..., half - 1 : half + 1 + odd]
        rest = middle.sum(-1, keepdims=True) - np.clip(gone, middle[..., :1], middle[..., -1:])
        return rest / 2 if odd else rest

    def mean(self, gone: np.ndarray | None) -> np.ndarray:
        if gone is None:
            return self.average
        return (self.all.sum(-1, keepdims=True) - gone) / (self.count - 1)

    def variance(self, gone: np.ndarray | None) -> np.ndarray:
        """Variance about the mean, ddof 0."""
        if gone is None:
            return self.squares / self.count
        squares = self.squares - (gone - self.average) ** 2 * (self.count / max(self.count - 1, 1))
        cancelled = squares < 1e-3 * self.squares
        if cancelled.any():  # rounding noise is left where, say, all other values are equal: sum those anew
            image, view, _ = np.nonzero(cancelled)
            squares[cancelled] = self._squares_anew(self.all[image, view], gone[cancelled])
        return squares / (self.count - 1)

    @staticmethod
    def _squares_anew(values: np.ndarray, gone: np.ndarray) -> np.ndarray:
        """Squared deviations [cells] of values [cells,n] without gone [cells] by the definition."""
        others = np.ones(values.shape, bool)
        others[np.arange(len(gone)), (values == gone[:, None]).argmax(-1)] = False
        rest = values[others].reshape(len(gone), -1)
        return ((rest - rest.sum(-1, keepdims=True) / rest.shape[-1]) ** 2).sum(-1)


def _overall_variance(
    shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray, images: np.ndarray, side: bool
) -> np.ndarray:
    """Variance [T] of all phi of one side, pooled over images, views and all models but exclude[t]."""
    parts = []
    for block in _blocks(shadow, member, exclude, images):
        x = _columns(shadow, block, np.float64)
        kept = np.equal(member[:, block].T, side)[:, None].astype(np.float64)
        count = kept.sum((0, 1)) * x.shape[1]
        mean = np.einsum("bvn,bun->n", x, kept) / np.maximum(count, 1)
        parts.append((count, mean, np.einsum("bvn,bun->n", (x - mean) ** 2, kept)))
    count, mean, squares = _combined(*(np.array(part) for part in zip(*parts, strict=True)))
    others = np.arange(len(shadow))[:, None] != exclude
    count, _, squares = _combined(count[:, None] * others, mean[:, None], squares[:, None] * others)
    return squares / count


def _combined(count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, ...]:
    """Number, mean and squared deviations of the union of the groups along axis 0 (Chan et al. 1979)."""
    total = count.sum(0)
    grand = (count * mean).sum(0) / np.maximum(total, 1)
    return total, grand, (squares + count * (mean - grand) ** 2).sum(0)


def _within_variances(
    shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray, images: np.ndarray, sides: tuple
) -> dict[bool, np.ndarray]:
    """Variance [T] of each side's phi about the means of image and view, pooled, without model exclude[t]."""
    squares, freedom = ({side: np.zeros(len(exclude)) for side in sides} for _ in range(2))
    for block in _blocks(shadow, member, exclude, images):
        x, models = _columns(shadow, block, np.float64), _split(member[:, block].T)
        for own, targets in _split(member[:, block][exclude].T).items():
            for side in sides:
                values = _Values(_take(x, models[side]))
                left = values.count - (side == own)
                part = values.variance(_take(x, exclude[targets]) if side == own else None).sum(1) * left
                weights = np.broadcast_to(part, targets.shape).ravel()
                squares[side] += np.bincount(targets.ravel(), weights, len(exclude))
                freedom[side] += (
                    np.bincount(targets.ravel(), minlength=len(exclude)) * x.shape[1] * (left - 1)
                )
    return {side: squares[side] / np.maximum(freedom[side], 1) for side in sides}


def _padded(variance: np.ndarray) -> np.ndarray:
    """(sd + EPSILON)**2, spared the root where that is the variance itself in float64."""
    tiny = variance < 1e-26
    if tiny.any():
        variance = np.where(tiny, (np.sqrt(variance) + EPSILON) ** 2, variance)
    return variance


def _terms(y: np.ndarray, fits: list[tuple[np.ndarray, np.ndarray]], tail: str) -> np.ndarray:
    """Score of y [b,V,k] in each view; fits: location and variance of the in- and the out-models, or the latter."""
    if len(fits) == 2:
        return _log_density(y, *fits[0]) - _log_density(y, *fits[1])
    if tail == "two-sided":
        return -_log_density(y, *fits[0])
    location, variance = fits[0]
    return log_ndtr((y - location) / np.sqrt(variance))


def _log_density(y: np.ndarray, location: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return -0.5 * ((y - location) ** 2 / variance + np.log(2 * np.pi * variance))
