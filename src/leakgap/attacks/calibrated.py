"""Adaptive thresholds: the target's loss against that of shadow models or of a population, on the clean view.

Reserved images are in no mask and are not scored (NaN); they are attack P's population. An image without the in- or
out-models that an attack takes gets NaN.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtr

from leakgap import LeakgapError
from leakgap.attacks import Evidence
from leakgap.attacks.shadows import Block, by_image, unreserved
from leakgap.attacks.threshold import cross_entropy

RESOLUTION = 1e-6  # of phi, a float32 of about 10: no standard deviation is taken to be less


def mast(evidence: Evidence) -> np.ndarray:
    """tau(x) - l_t(x) with tau = (mean_I l + mean_O l) / 2; float32 [T,S].

    Sablayrolles et al. 2019, "White-box vs black-box: Bayes optimal strategies for membership inference", MAST:
    the threshold of each image is halfway between the losses of the models trained with and without it.
    """

    def score(block: Block) -> np.ndarray:
        own, losses = block.both(cross_entropy)
        return (block.mean(losses, True) + block.mean(losses, False)) / 2 - own

    return by_image(evidence, score, unreserved(evidence))


def calibrated_loss(evidence: Evidence) -> np.ndarray:
    """mean_O l(x) - l_t(x), the loss less the difficulty of the image; float32 [T,S].

    Watson et al. 2021, "On the importance of difficulty calibration in membership inference attacks".
    """

    def score(block: Block) -> np.ndarray:
        own, losses = block.both(cross_entropy)
        return block.mean(losses, False) - own

    return by_image(evidence, score, unreserved(evidence))


def attack_p(evidence: Evidence) -> np.ndarray:
    """Share of the reserved population on which the target's loss is at least as high; float32 [T,S].

    Ye et al. 2022, "Enhanced membership inference attacks against machine learning models", attack P: one minus the
    p-value of the loss, made continuous in phi by `share_below`.
    """
    population = reserved_population(evidence, "attack-p")
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    for row, phi in zip(scores, evidence.target[..., 0], strict=True):
        row[:] = share_below(phi.astype(float), phi[population])
    scores[:, population] = np.nan
    return scores


def attack_r(evidence: Evidence) -> np.ndarray:
    """-log p, p the p-value of phi_t(x) among the out-models; float32 [T,S].

    Ye et al. 2022, attack R, ranks the loss among reference models that have not seen x. A rank among tens of
    models ties, so phi of the n out-models is taken to be normal with unknown mean and variance: for a model that
    has not seen x, (phi - mean) / (sd sqrt(1 + 1/n)) is then Student t with n - 1 degrees of freedom, and p is
    uniform whatever n. NaN where n < 2.
    """

    def score(block: Block) -> np.ndarray:
        out = ~block.member
        centre = np.where(out, block.shadow, 0).sum(0) / np.maximum(out.sum(0), 1)
        n, average = block.count(False), block.mean(block.shadow - centre, False)
        n = np.where(n > 1, n, np.nan)
        variance = np.maximum(block.mean((block.shadow - centre) ** 2, False) - average**2, 0) * n / (n - 1)
        spread = np.maximum(np.sqrt(variance), RESOLUTION) * np.sqrt(1 + 1 / n)
        return _surprise((block.target - centre - average) / spread, n - 1)

    return by_image(evidence, score, unreserved(evidence))


def share_below(values: np.ndarray, population: np.ndarray) -> np.ndarray:
    """Share of the population [Z] that is at most each value [S], without its ties: float64 [S].

    The share is a multiple of 1/Z, and values that tie there are told apart by their place between the two of the
    population next to them: a line from one to the other, and beyond the first and the last a line of slope 1/Z.
    Rounded down to a multiple of 1/Z, and to 0 and 1, it is the share itself; so a small population can resolve
    a low FPR.

    >>> share_below(np.array([0.0, 1.5, 3.0, 3.5]), np.array([1.0, 2.0, 3.0, 3.0])) * 4
    array([0. , 1.5, 4. , 4.5])
    """
    ordered = np.sort(population.astype(float))
    below = np.interp(values, ordered, np.arange(1, len(ordered) + 1))
    return (below + np.minimum(values - ordered[0], 0) + np.maximum(values - ordered[-1], 0)) / len(ordered)


def reserved_population(evidence: Evidence, attack: str) -> np.ndarray:
    """Return the reserved images, int [images]; LeakgapError, naming data.reserved, if there are none."""
    if not evidence.reserved.any():
        raise LeakgapError(f"attack {attack!r} compares with images in no mask: set data.reserved above 0")
    return np.flatnonzero(evidence.reserved)


def _surprise(t: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """-log P(Student t > t), exact at either end, at most 708."""
    tail = np.maximum(stdtr(degrees, -np.abs(t)), np.finfo(float).tiny)
    return np.where(t > 0, -np.log(tail), -np.log1p(-tail))
