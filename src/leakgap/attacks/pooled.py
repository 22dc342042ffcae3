"""LiRA with what few shadow models can't tell about an image borrowed from images like it (`lira-pooled`).

LiRA estimates two means and two variances for every image. With few shadow models their noise drowns the effect of
membership, d = mu_I - mu_O. But d and the variances hang together with how hard an image is, that is, with its
midpoint (mu_I + mu_O) / 2. So they are smoothed over images of nearly the same midpoint, and an image's own
estimates are shrunk towards that, empirical Bayes' way: the images like it count as so many more models, for the
effect and for the variances apart, since images may be alike in one and differ in the other.
How strongly, and how many images count as like it, is chosen on the shadow models themselves: some of them are in
turn targets of the others, judged by the log-likelihood of their memberships. The models that a target leaves out
take no part in the choice for it, and no order of models plays a part in it.

The plain definition is in `pooled_definition`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leakgap.attacks.sums import IN, OUT, Probabilities, Sums, added, left_out_together, log_p, sums_of

# candidates: models that the images like it count as, for the effect and for the variances (as many, or else where
# images are alike in one and differ in the other), and which these are, a share of all on either side
CANDIDATES = tuple(
    (effect, variance, width)
    for effect, variance in (
        (2.0, 512.0),
        (8.0, 8.0),
        (32.0, 32.0),
        (128.0, 128.0),
        (512.0, 512.0),
        (512.0, 8.0),
    )
    for width in (1 / 8, 1 / 32)
)
PRIOR = (128.0, 128.0, 1 / 8)  # where there are too few models to choose
WIDER = 2  # times as many images on either side for the variances
# of single models, v_O / v_I - 1 is taken to be so many times the effect in standard deviations
UNSTEADY = 0.5
TRIALS = 4  # pairs of models, at most, that are targets of a choice
LOOKS = 32  # choices that look at as many images as that; where there are more, at fewer
SAMPLE = 2048  # images, about, that a choice looks at, or that set the borders of strata
STRATA = 64  # of images, by rank of their midpoint
RESOLUTION = 1e-12  # of phi squared, a float32: no variance is taken to be less


def online(
    target: np.ndarray, shadow: np.ndarray, member: np.ndarray, left_out: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """Score target [T,S,V] with shadow [N,S,V], member [N,S] and left_out [T,N], as LiRA does: float32 [T,S].

    The mean over views of the log-likelihood ratio, plus BASE's score on the clean view: two estimates of one
    quantity, the first normal in phi, the second from the probabilities, which fail on different images. With
    single in- and out-models (4 masks) no variance can be told from them, and BASE counts twice. NaN at images that
    are not asked for, or have no in- or no out-model besides those left out.
    """
    scores = np.full(target.shape[:2], np.nan, np.float32)
    groups = list(left_out_together(left_out))
    choices = _choices(shadow[..., 0], member, [rows for rows, _ in groups], images)
    views = range(target.shape[2])
    totals = [sums_of(shadow[..., view], member, images) for view in views]
    probabilities = Probabilities(shadow[..., 0], member, images)
    for (rows, targets), (effect, variance, width) in zip(groups, choices, strict=True):
        gone = [sums_of(shadow[rows, :, view], member[rows], images) for view in views]
        sums = [total.less(part) for total, part in zip(totals, gone, strict=True)]
        fits = [_fit(each, width) for each in sums]
        models = [fit.shrunk(effect, variance) for fit in fits]
        weight = 1 if fits[0].several else 2
        reference = np.log(probabilities.without(rows, sums[0].count))
        for t in targets:
            own = probabilities.log[t] if target is shadow else log_p(target[t, images, 0])
            score = weight * (own - reference)
            for view in views:
                score += models[view].ratio(target[t, images, view]) / len(views)
            scores[t, images] = score
    return scores


def offline(
    target: np.ndarray,
    shadow: np.ndarray,
    member: np.ndarray,
    left_out: np.ndarray,
    images: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """As `online`, from out-models alone: the mean over views of score(z, v), float32 [T,S].

    z is phi less the out-models' mean, in standard deviations of a further out-model's phi, v their square. The
    variance of images with nearly the same mean counts as more models, PRIOR.
    """
    scores = np.full(target.shape[:2], np.nan, np.float32)
    views = range(target.shape[2])
    totals = [sums_of(shadow[..., view], member, images) for view in views]
    for rows, targets in left_out_together(left_out):
        scores[np.ix_(targets, images)] = 0
        for view in views:
            sums = totals[view].less(sums_of(shadow[rows, :, view], member[rows], images))
            mean, variance = _outside(sums)
            for t in targets:
                z = (target[t, images, view] - mean) / np.sqrt(variance)
                scores[t, images] += score(z, variance) / len(views)
    return scores


def _outside(sums: Sums) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance, float64 [S], of phi of a further out-model."""
    count = sums.count[OUT]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.phi[OUT] / count
    deviations = np.maximum(sums.squares[OUT] - sums.phi[OUT] * mean, 0)
    freedom = np.maximum(count - 1, 0)
    like = (
        _Strata(mean, count > 0).mean(deviations[None], freedom[None], WIDER * PRIOR[2])[0]
        if freedom.any()
        else 1.0
    )
    variance = np.maximum((PRIOR[1] * like + deviations) / (PRIOR[1] + freedom), RESOLUTION)
    return mean, variance * (1 + 1 / np.maximum(count, 1))


class _Model:
    """phi of a model trained without and with each image: normal with mean and variance, [2,S]; in float32."""

    def __init__(self, mean: np.ndarray, variance: np.ndarray):
        self.mean, self.precision = mean.astype(np.float32), (0.5 / variance).astype(np.float32)
        self.constant = (np.log(variance[OUT] / variance[IN]) / 2).astype(np.float32)

    def ratio(self, phi: np.ndarray) -> np.ndarray:
        """Log-likelihood ratio of in and out at phi [...,S]."""
        out, inside = (
            (phi - mean) ** 2 * precision for mean, precision in zip(self.mean, self.precision, strict=True)
        )
        return out - inside + self.constant


@dataclass(frozen=True)
class _Fit:
    """What each image's models say, and those of the images like it: float64 [S] or [2,S]."""

    count: np.ndarray
    deviations: np.ndarray  # [2,S] from the mean of the side, squared, summed
    middle: np.ndarray
    effect: np.ndarray
    like_effect: np.ndarray
    like_variance: np.ndarray  # [2,S]
    several: bool  # models on either side, so that the variances are theirs

    def shrunk(self, like_effect: float, like_variance: float) -> _Model:
        """With images like it that count as so many models."""
        with np.errstate(divide="ignore"):
            models = 2 / (1 / self.count).sum(0)
        effect = self.like_effect + models / (models + like_effect) * (self.effect - self.like_effect)
        variance = (like_variance * self.like_variance + self.deviations) / (like_variance + self.count - 1)
        variance = np.maximum(variance, RESOLUTION)
        variance += (variance / np.maximum(self.count, 1)).sum(0) / 4  # the midpoint has one, too
        return _Model(np.stack([self.middle - effect / 2, self.middle + effect / 2]), variance)


def _fit(sums: Sums, width: float) -> _Fit:
    """Smooth over the images in order of their midpoints; NaN where a side has no model."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(sums.count > 0, sums.phi / sums.count, np.nan)
        deviations = np.maximum(sums.squares - sums.phi * mean, 0)
        weight = 1 / (1 / sums.count).sum(0)
    middle, effect = (mean[IN] + mean[OUT]) / 2, mean[IN] - mean[OUT]
    known = weight > 0
    strata = _Strata(middle, known)
    like_effect = strata.line(effect, weight, width)
    freedom = np.maximum(sums.count - 1, 0)
    several = bool(((freedom > 0) & known).any(1).all())
    if several:
        like_variance = strata.mean(deviations, freedom, WIDER * width)
    else:  # single models have no spread: what is left of the effect is the noise of two
        noise = strata.mean(((effect - like_effect) ** 2 * weight)[None], known[None] * 1.0, WIDER * width)[0]
        ratio = 1 + UNSTEADY * np.maximum(like_effect, 0) / np.sqrt(np.maximum(noise, RESOLUTION))
        like_variance = noise * 2 / (1 + ratio) * np.stack([ratio, np.ones(len(ratio))])
    return _Fit(sums.count, deviations, middle, effect, like_effect, like_variance, several)


class _Strata:
    """Images in strata by rank of their midpoint [S], and what is smoothed over neighbouring strata."""

    def __init__(self, middle: np.ndarray, known: np.ndarray):
        self.known: np.ndarray | None = None if known.all() else known
        self.middle = np.where(known, middle, 0)
        values = middle[known]
        self.count = max(1, min(STRATA, len(values) // 8))
        some = np.sort(values[:: max(1, len(values) // SAMPLE)])
        borders = some[np.arange(1, self.count) * len(some) // self.count]
        self.of = _place(self.middle, borders)

    def line(self, y: np.ndarray, weight: np.ndarray, width: float) -> np.ndarray:
        """Straight lines in the midpoint fitted to y [S] around every stratum, at each image: [S]."""
        x = self.middle - self.middle.mean()
        wx, wy = weight * x, weight * y
        w, wx, wy, wxx, wxy = (self._near(v, width) for v in (weight, wx, wy, wx * x, wy * x))
        w = np.maximum(w, np.finfo(float).tiny)  # where midpoints tie, strata are empty
        slope = (wxy - wx * wy / w) / np.maximum(wxx - wx * wx / w, RESOLUTION * w)
        lines = np.stack([wy / w - slope * wx / w, slope]).astype(x.dtype)
        return lines[0][self.of] + lines[1][self.of] * x

    def mean(self, total: np.ndarray, number: np.ndarray, width: float) -> np.ndarray:
        """Total over number, both [k,S] and summed around every stratum, at each image: [k,S]."""
        means = [
            self._near(t, width) / np.maximum(self._near(n, width), 1)
            for t, n in zip(total, number, strict=True)
        ]
        return np.stack([each.astype(total.dtype)[self.of] for each in means])

    def _near(self, values: np.ndarray, width: float) -> np.ndarray:
        """Sum values [S] over every stratum and a share of all strata on either side, as far as there are any."""
        if self.known is not None:
            values = np.where(self.known, values, 0)
        sums = np.concatenate([[0.0], np.cumsum(np.bincount(self.of, values, self.count))])
        half = max(1, round(width * self.count))
        place = np.arange(self.count)
        return sums[np.minimum(place + half + 1, self.count)] - sums[np.maximum(place - half, 0)]


def _place(values: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Number of ascending borders below each value, int [S]: np.searchsorted, four times as fast."""
    if len(borders) < 2 or borders[0] == borders[-1]:
        return np.searchsorted(borders, values)
    scale = 4096 / (borders[-1] - borders[0])
    cell = np.minimum(np.maximum((values - borders[0]) * scale, 0), 4096).astype(np.int16)
    # a cell further down, lest rounding has gone up: then up, border by border
    table = np.searchsorted(borders, borders[0] + np.arange(-1, 4096) / scale)
    place, above = table[cell], np.append(borders, np.inf)
    while (beyond := above[place] < values).any():
        place += beyond
    return place


def _choices(
    phi: np.ndarray, member: np.ndarray, sets: list[np.ndarray], images: np.ndarray
) -> list[tuple[float, float, float]]:
    """Choose the strengths and the width for every set of models that are left out, on phi [N,S].

    Models with complementary masks go together. Those that are not left out are sorted by their masks, and TRIALS
    units of them, far apart, are targets in turn, each attacked with the other units: the best candidate is that of
    the largest mean log-likelihood, members and non-members weighing alike. PRIOR, if there are fewer than three
    units. With many models fewer images do.
    """
    images = images[:: max(1, -(-len(images) * max(len(sets), LOOKS) // (SAMPLE * LOOKS)))]
    units = _units(member[:, images], phi[:, images])
    sums = [sums_of(phi[unit], member[unit], images) for unit in units]
    total = added(sums)
    result = []
    for left in sets:
        kept = [number for number, unit in enumerate(units) if not np.isin(unit, left).any()]
        lost = np.setdiff1d(np.arange(len(phi)), np.concatenate([units[i] for i in kept] or [left]))
        rest = total.less(sums_of(phi[lost], member[lost], images))
        result.append(_best(phi, member, images, [units[i] for i in kept], [sums[i] for i in kept], rest))
    return result


def _units(member: np.ndarray, phi: np.ndarray) -> list[np.ndarray]:
    """Models with complementary masks in pairs, the others alone: arrays of int, in an order of their masks.

    The order is of what a unit holds, so that it is the same however the models are numbered, and whatever masks
    those have that are left out.
    """
    first: dict[bytes, int] = {}
    units: list[list[int]] = []
    keys = [(inside.tobytes(), values.tobytes()) for inside, values in zip(member, phi, strict=True)]
    for row in sorted(range(len(member)), key=lambda row: keys[row]):
        other = first.pop((~member[row]).tobytes(), None)
        if other is None:
            first[keys[row][0]] = len(units)
            units.append([row])
        else:
            units[other].append(row)
    return [np.array(unit) for unit in units]


def _best(
    phi: np.ndarray,
    member: np.ndarray,
    images: np.ndarray,
    units: list[np.ndarray],
    sums: list[Sums],
    total: Sums,
) -> tuple[float, float, float]:
    if len(units) < 3:
        return PRIOR
    gain = np.zeros(len(CANDIDATES))
    for i in range(0, len(units), -(-len(units) // TRIALS)):
        rest = total.less(sums[i])
        fits = {width: _fit(rest, width) for *_, width in CANDIDATES}
        values, inside = phi[np.ix_(units[i], images)], member[np.ix_(units[i], images)]
        sides = [side & np.isfinite(fits[PRIOR[2]].effect) for side in (inside, ~inside)]
        weights = sum(side / max(side.sum(), 1) for side in sides)
        sign = np.where(inside, np.float32(1), np.float32(-1))
        for number, (effect, variance, width) in enumerate(CANDIDATES):
            ratio = fits[width].shrunk(effect, variance).ratio(values)
            gain[number] += np.sum(log_p(sign * ratio) * weights, where=weights > 0)
    return CANDIDATES[int(gain.argmax())]
