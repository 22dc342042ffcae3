"""How alike two runs rank the same images, with the images as a sample.

What makes an image more exposed in one run than in the other is mostly the noise of the models trained on it, and
independent of other images: so images are resampled. Both numbers speak of runs with as many models as these.
"""

import numpy as np
from scipy import stats

from leakgap.arguments import fraction, whole
from leakgap.measure.estimate import Estimate
from leakgap.measure.single import share_interval

SHARE, LEAST = 0.01, 20  # the most exposed images: this share of all, and so many at the least


def most(exposure: np.ndarray) -> np.ndarray:
    """The most exposed images, int [k], the first the most; exposure: float [S] without NaN.

    >>> most(np.arange(3000.0))[:2], len(most(np.arange(3000.0)))
    (array([2999, 2998]), 30)
    """
    count = min(len(exposure), max(LEAST, int(np.ceil(SHARE * len(exposure)))))
    return np.argsort(-exposure, kind="stable")[:count]


def overlap(first: np.ndarray, second: np.ndarray, level: float = 0.95) -> tuple[Estimate, float]:
    """Jaccard overlap of the most exposed images of two runs with its interval, and what chance alone gives.

    first, second: exposure of the same images, float [S]. Of the k most exposed images of one run c are among those
    of the other: Jaccard's c / (2k - c) rises with the share c / k, whose interval is Clopper and Pearson's.

    >>> run = np.arange(2000.0)
    >>> [round(end, 3) for end in overlap(run, run)[0][:3]], round(overlap(run, run)[1], 4)
    ([1.0, 0.712, 1.0], 0.005)
    """
    one, other = set(most(first).tolist()), set(most(second).tolist())
    share = share_interval(len(one & other), len(one), level)
    return share.carried(_jaccard), _jaccard(len(one) / len(first))


def _jaccard(share: float) -> float:
    """Of two sets of one size, from the share of one that is in the other."""
    return share / (2 - share)


def rank_correlation(
    first: np.ndarray, second: np.ndarray, level: float = 0.95, replicates: int = 400, seed: int = 0
) -> Estimate:
    """Spearman's correlation of two runs over images, float [S] each, with its interval; NaN for fewer than 4.

    The standard error of Fisher's z is that of its bootstrap over images.

    >>> run = np.random.default_rng(0).normal(size=500)
    >>> [round(end, 2) for end in rank_correlation(run, run + np.random.default_rng(1).normal(size=500))[:3]]
    [0.72, 0.67, 0.76]
    """
    fraction(level, "level")
    rng = np.random.default_rng(whole(seed, "seed"))
    rho = spearman(first, second) if len(first) >= 4 else float("nan")
    drawn = [
        spearman(first[rows], second[rows])
        for rows in rng.integers(len(first), size=(replicates, len(first)))
    ]
    error = np.nanstd(_fisher(np.array(drawn)), ddof=1) if np.isfinite(rho) else np.nan
    if not error > 0:
        return Estimate(rho, np.nan, np.nan)
    half = stats.norm.isf((1 - level) / 2) * error
    low, high = (float(np.tanh(_fisher(rho) + sign * half)) for sign in (-1, 1))
    return Estimate(rho, low, high)


def _fisher(rho: float | np.ndarray):
    return np.arctanh(np.clip(rho, -0.999999, 0.999999))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation with mean ranks for ties; NaN where a side is constant or there are fewer than 3 points.

    >>> round(spearman(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 3])), 2)
    0.8
    """
    if len(x) < 3:
        return float("nan")
    ranks = stats.rankdata(np.stack([x, y]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt((ranks**2).sum(axis=1).prod())
    return float((ranks[0] * ranks[1]).sum() / norm) if norm > 0 else float("nan")
