"""LiRA (Carlini et al. 2022, "Membership inference attacks from first principles") on every target at once.

Every target is attacked with all shadow models but one. The images are walked in blocks; a column (image, view)
is sorted once: its median without any one model is then one of three values, and its variance a downdate.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from scipy.special import log_ndtr

from leakgap.attacks import Evidence, check

EPSILON = 1e-30  # added to every standard deviation, as the reference implementation does
BLOCK = 1 << 16  # values of phi in a block: small enough for its float64 temporaries to stay in the cache
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
    Computed in float64; scores beyond float32 (an sd of 0 makes 1e60) are clipped to its largest value. The
    one-sided score reaches 0, and ties there, from 14 sd on.

    ValueError, naming axis, model or image: shapes that don't match, a member that isn't boolean, NaN or infinite
    phi, an image with no out-model, or (online) no in-model, besides the one left out.
    """
    for name, value, choices in (
        ("mode", mode, ("online", "offline")),
        ("variance", variance, ("per-example", "fixed", "within")),
        ("tail", tail, ("one-sided", "two-sided")),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    if exclude is None:
        if len(target) != len(shadow):
            raise ValueError(f"axis 0 (models) differs: {len(target)} in target and {len(shadow)} in shadow")
        exclude = np.arange(len(shadow))
    check(target, shadow, member, exclude)
    images = np.arange(shadow.shape[1]) if reserved is None else np.flatnonzero(~reserved)
    sides = (IN, OUT) if mode == "online" else (OUT,)
    _check_counts(member, exclude, images, sides)

    pooled = {}
    if variance == "fixed":
        pooled = dict.fromkeys(sides, _overall_variance(shadow, member, exclude, images, sides[0]))
    if variance == "within":
        pooled = {side: _within_variance(shadow, member, exclude, images, side) for side in sides}

    scores = np.full(target.shape[:2], np.nan, np.float32)
    largest = np.finfo(np.float32).max
    for block, x, keep in _blocks(shadow, member, images):
        y = x if target is shadow else _columns(target, block, np.float64)
        fits = []
        for side in sides:
            kept = keep == side
            if variance == "fixed":
                location, spread = _medians(x, kept, exclude), pooled[side]
            elif variance == "within":
                location, spread = _means(x, kept, exclude), pooled[side]
            else:
                squares, left = _squares(x, kept, exclude)
                location, spread = _medians(x, kept, exclude), squares / left
            fits.append((location, _padded(spread)))
        if mode == "online":
            score = _log_density(y, *fits[0]) - _log_density(y, *fits[1])
        elif tail == "two-sided":
            score = -_log_density(y, *fits[0])
        else:
            location, spread = fits[0]
            score = log_ndtr((y - location) / np.sqrt(spread))
        scores[:, block] = np.clip(score.mean(1), -largest, largest).T
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
    return leave_one_out(*held, exclude=evidence.exclude, reserved=evidence.reserved, **options)


def _check_counts(
    member: np.ndarray, exclude: np.ndarray, images: np.ndarray, sides: tuple[bool, ...]
) -> None:
    left_out = np.unique(exclude)
    for side in sides:
        count = (member == side).sum(0)
        too_few = (count == 0) | ((count == 1) & (member[left_out] == side).any(0))
        if too_few[images].any():
            kind = "in" if side is IN else "out"
            raise ValueError(
                f"image {images[too_few[images].argmax()]} has no {kind}-model besides the one left out"
            )


def _columns(array: np.ndarray, images: np.ndarray | slice, dtype: type) -> np.ndarray:
    """[models, S, V] -> contiguous [images, V, models]."""
    return np.ascontiguousarray(array[:, images].transpose(1, 2, 0), dtype)


def _blocks(
    shadow: np.ndarray, member: np.ndarray, images: np.ndarray
) -> Iterator[tuple[np.ndarray | slice, np.ndarray, np.ndarray]]:
    """Images in blocks of b: which they are, phi float64 [b,V,N], membership bool [b,1,N]."""
    size = max(1, BLOCK // (shadow.shape[0] * shadow.shape[2]))
    for start in range(0, len(images), size):
        chosen = images[start : start + size]
        gaps = chosen[-1] - chosen[0] >= len(chosen)
        block = chosen if gaps else slice(chosen[0], chosen[-1] + 1)  # a slice is read ten times faster
        yield block, _columns(shadow, block, np.float64), _columns(member[..., None], block, bool)


def _rows(array: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """array[..., exclude], without a copy in the usual case of all rows in order."""
    return array if np.array_equal(exclude, np.arange(array.shape[-1])) else array[..., exclude]


def _medians(x: np.ndarray, kept: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """Medians [b,V,T] of the kept values of x [b,V,N] without row exclude[t].

    Of an odd number of sorted values, with a <= m <= c in the middle, two of a, m, c remain in the middle without
    x, and the median is their mean, (a + m + c - clip(x, a, c)) / 2. Of an even number, with a <= c in the middle,
    one remains, a + c - clip(x, a, c). A value of the other side is replaced by the one that keeps the median.
    (Sums with 0 and infinity, not np.where: no processor predicts its branches here.)
    """
    ordered = np.sort(x + np.where(kept, 0, np.inf), axis=-1)
    count = kept.sum(-1, keepdims=True)
    odd = count % 2
    low, middle, high = (
        np.take_along_axis(ordered, np.clip(index, 0, count - 1), -1)
        for index in (count // 2 - 1, count // 2, count // 2 + odd)
    )
    total, neutral = low + high + odd * middle, np.where(odd, low + high - middle, (low + high) / 2)
    kept = _rows(kept, exclude)
    value = _rows(x, exclude) * kept + neutral * ~kept
    return (total - np.clip(value, low, high)) / (1 + odd)


def _means(x: np.ndarray, kept: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """Means [b,V,T] of the kept values of x [b,V,N] without row exclude[t]."""
    kept_x = x * kept
    left = kept.sum(-1, keepdims=True) - _rows(kept, exclude)
    return (kept_x.sum(-1, keepdims=True) - _rows(kept_x, exclude)) / left


def _squares(x: np.ndarray, kept: np.ndarray, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared deviations from the mean, summed [b,V,T], and number [b,1,T] of kept values without exclude[t]."""
    count = kept.sum(-1, keepdims=True)
    deviation = (x - (x * kept).sum(-1, keepdims=True) / count) * kept
    total = np.einsum("bvn,bvn->bv", deviation, deviation)[..., None]
    squares = total - _rows(deviation, exclude) ** 2 * (count / np.maximum(count - 1, 1))
    cancelled = squares < 1e-3 * total
    if cancelled.any():  # rounding noise is left where, say, all other values are equal: sum those anew
        image, view, target = np.nonzero(cancelled)
        others = kept[image, 0]
        others[np.arange(len(target)), exclude[target]] = False
        values = x[image, view]
        mean = (values * others).sum(-1, keepdims=True) / others.sum(-1, keepdims=True)
        squares[cancelled] = ((values - mean) ** 2 * others).sum(-1)
    return squares, count - _rows(kept, exclude)


def _overall_variance(
    shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray, images: np.ndarray, side: bool
) -> np.ndarray:
    """Variance [T] of all phi of one side, pooled over images, views and all models but exclude[t]."""
    parts = []
    for _, x, keep in _blocks(shadow, member, images):
        kept = (keep == side).astype(np.float64)
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


def _within_variance(
    shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray, images: np.ndarray, side: bool
) -> np.ndarray:
    """Variance [T] of one side's phi about the means of image and view, pooled, without row exclude[t]."""
    squares, freedom = np.zeros(len(exclude)), np.zeros(len(exclude))
    for _, x, keep in _blocks(shadow, member, images):
        part, left = _squares(x, keep == side, exclude)
        squares += part.sum((0, 1))
        freedom += (left - 1).sum((0, 1)) * x.shape[1]
    return squares / np.maximum(freedom, 1)


def _padded(variance: np.ndarray) -> np.ndarray:
    """(sd + EPSILON)**2, spared the root where that is the variance itself in float64."""
    tiny = variance < 1e-26
    if tiny.any():
        variance = np.where(tiny, (np.sqrt(variance) + EPSILON) ** 2, variance)
    return variance


def _log_density(y: np.ndarray, location: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return -0.5 * ((y - location) ** 2 / variance + np.log(2 * np.pi * variance))
