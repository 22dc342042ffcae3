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
    _check_counts(member, np.arange(len(shadow)) if even else np.unique(exclude), images, sides)

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
            models = _Models(x, keep == side, exclude, even)
            location = models.means() if variance == "within" else models.medians()
            spread = models.squares() / models.left if variance == "per-example" else pooled[side]
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
    return leave_one_out(*held, exclude=evidence.exclude, reserved=evidence.reserved, even=True, **options)


def _check_counts(member: np.ndarray, left_out: np.ndarray, images: np.ndarray, sides: tuple) -> None:
    for side in sides:
        count = (member == side).sum(0)
        too_few = (count == 0) | ((count == 1) & (member[left_out] == side).any(0))
        if too_few[images].any():
            kind = "in" if side is IN else "out"
            raise ValueError(
                f"image {images[too_few[images].argmax()]} has no {kind}-model besides those left out"
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


class _Models:
    """The in- or out-models of a block of images: statistics of their phi without model exclude[t].

    x: float64 [b,V,N]; kept: bool [b,1,N], which models are on this side; exclude: int [T]. Where exclude[t] is not
    on this side, all models count, or all but the last if `even`.
    """

    def __init__(self, x: np.ndarray, kept: np.ndarray, exclude: np.ndarray, even: bool) -> None:
        self.x, self.kept, self.exclude, self.even = x, kept, exclude, even
        self.all_rows = np.array_equal(exclude, np.arange(x.shape[-1]))
        self.own = self.rows(kept)  # [b,1,T]: is the model left out on this side?
        self.count = kept.sum(-1, keepdims=True)  # [b,1,1]
        self.left = self.count - (1 if even else self.own)
        self.last = x.shape[-1] - 1 - kept[..., ::-1].argmax(-1, keepdims=True)

    def rows(self, array: np.ndarray) -> np.ndarray:
        return array if self.all_rows else array[..., self.exclude]

    def left_out(self, array: np.ndarray, otherwise: np.ndarray | float) -> np.ndarray:
        """The value of `array` [b,V,N] that is left out for each target, `otherwise` if none is: [b,V,T].

        (A sum of products, not np.where, whose branches no processor predicts here.)
        """
        if self.even:
            otherwise = np.take_along_axis(array, self.last, -1)
        return self.rows(array) * self.own + otherwise * ~self.own

    def medians(self) -> np.ndarray:
        """Medians [b,V,T].

        Of an odd number of sorted values, with a <= m <= c in the middle, two of a, m, c remain in the middle
        without x, and the median is their mean, (a + m + c - clip(x, a, c)) / 2. Of an even number, with a <= c in
        the middle, one remains, a + c - clip(x, a, c). Leaving out `neutral` leaves the median as it is.
        """
        ordered = np.sort(self.x + np.where(self.kept, 0, np.inf), axis=-1)
        odd = self.count % 2
        low, middle, high = (
            np.take_along_axis(ordered, np.clip(index, 0, self.count - 1), -1)
            for index in (self.count // 2 - 1, self.count // 2, self.count // 2 + odd)
        )
        neutral = np.where(odd, low + high - middle, (low + high) / 2)
        total = low + high + odd * middle
        return (total - np.clip(self.left_out(self.x, neutral), low, high)) / (1 + odd)

    def means(self) -> np.ndarray:
        """Means [b,V,T]."""
        total = (self.x * self.kept).sum(-1, keepdims=True)
        return (total - self.left_out(self.x, 0)) / self.left

    def squares(self) -> np.ndarray:
        """Sums of squared deviations from the mean [b,V,T]."""
        mean = (self.x * self.kept).sum(-1, keepdims=True) / self.count
        deviation = (self.x - mean) * self.kept
        total = np.einsum("bvn,bvn->bv", deviation, deviation)[..., None]
        factor = self.count / np.maximum(self.count - 1, 1)
        squares = total - self.left_out(deviation, 0) ** 2 * factor
        cancelled = squares < 1e-3 * total
        if cancelled.any():  # rounding noise is left where, say, all other values are equal: sum those anew
            squares[cancelled] = self.squares_of_the_others(*np.nonzero(cancelled))
        return squares

    def squares_of_the_others(self, image: np.ndarray, view: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Squared deviations in these cells [cells] by their definition, without any subtraction of sums."""
        gone = np.where(self.own[image, 0, target], self.exclude[target], self.last[image, 0, 0])
        others = self.kept[image, 0]
        others[np.arange(len(gone)), gone] = False
        values = self.x[image, view]
        mean = (values * others).sum(-1, keepdims=True) / others.sum(-1, keepdims=True)
        return ((values - mean) ** 2 * others).sum(-1)


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
        models = _Models(x, keep == side, exclude, even=False)
        squares += models.squares().sum((0, 1))
        freedom += (models.left - 1).sum((0, 1)) * x.shape[1]
    return squares / np.maximum(freedom, 1)


def _padded(variance: np.ndarray) -> np.ndarray:
    """(sd + EPSILON)**2, spared the root where that is the variance itself in float64."""
    tiny = variance < 1e-26
    if tiny.any():
        variance = np.where(tiny, (np.sqrt(variance) + EPSILON) ** 2, variance)
    return variance


def _log_density(y: np.ndarray, location: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return -0.5 * ((y - location) ** 2 / variance + np.log(2 * np.pi * variance))
