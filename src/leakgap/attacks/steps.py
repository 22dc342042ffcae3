"""LiRA on a target that is seen at several steps of its training (`lira-steps`).

The attacker holds the outputs of checkpoints: of federated rounds, of a model published anew, or of an early
release beside the final one. That is more than the user of a finished model has, so this attack can't be compared
with the others at the last step. At the first step, with nothing earlier, it is `lira-online-within`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leakgap.attacks import Evidence
from leakgap.attacks.shadows import unreserved
from leakgap.attacks.sums import left_out_together

# of correlations between steps towards zero: with few models their estimates contradict one another
SHRINK = 0.2
RESOLUTION = 1e-12  # of phi squared, a float32


def lira_steps(evidence: Evidence) -> np.ndarray:
    """Log-likelihood ratio of phi at all steps so far, on the clean view; float32 [T,S].

    phi of an image over K steps is a vector, normal with the mean over its in- or out-models; one covariance
    for the in- and one for the out-models of all images, of deviations from these means (so with weight 1 / (n - 1)
    each), its correlations shrunk by a fifth. NaN with fewer than two models on a side besides those left out.

    After Liu et al. 2022, "Membership inference attacks by exploiting loss trajectory" (several steps of training)
    and Carlini et al. 2022, section VI-C (several queries as a multivariate normal).
    """
    images = unreserved(evidence)
    target = _series(evidence.target, evidence.target_earlier, images)
    shadow = _series(evidence.shadow, evidence.shadow_earlier, images)
    member = evidence.member[:, images]
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    sides = member, ~member
    totals = [_sums(shadow, side) for side in sides]
    for rows, targets in left_out_together(evidence.left_out):
        inside, outside = (
            _density(
                *(all_ - gone for all_, gone in zip(total, _sums(shadow[rows], side[rows]), strict=True))
            )
            for total, side in zip(totals, sides, strict=True)
        )
        for t in targets:
            scores[t, images] = inside(target[t]) - outside(target[t])
    return scores


def _series(last: np.ndarray, earlier: np.ndarray | None, images: np.ndarray) -> np.ndarray:
    """phi of the clean view at all steps, float32 [models,S,K], of last [models,S,V] and earlier [models,K-1,S]."""
    steps = [] if earlier is None else [earlier[:, step, images] for step in range(earlier.shape[1])]
    return np.stack([*steps, last[:, images, 0]], -1)


def _sums(phi: np.ndarray, side: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of models [S], and sums of phi [S,K] over them and of its products [K,K] over images, too."""
    count, total = side.sum(0).astype(float), np.zeros(phi.shape[1:])
    products = np.zeros((phi.shape[2], phi.shape[2]))
    for row, models in zip(phi, side, strict=True):
        own = row * models[:, None].astype(float)
        total += own
        products += own.T @ own
    return count, total, products


def _density(
    count: np.ndarray, total: np.ndarray, products: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the log density of phi [S,K], but for a constant: [S], NaN where fewer than two models are."""
    known = count > 1
    mean = total[known] / count[known, None]
    alone = total[~known]  # no spread: of one model or of none
    squares = products - alone.T @ alone - (mean * count[known, None]).T @ mean
    covariance = squares / max((count[known] - 1).sum(), 1)
    covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance))
    covariance += RESOLUTION * np.eye(len(covariance))
    precision, constant = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]

    def density(phi: np.ndarray) -> np.ndarray:
        deviation = phi[known] - mean
        result = np.full(len(phi), np.nan)
        result[known] = (
            -(np.einsum("sk,kl,sl->s", deviation, precision, deviation, optimize=True) + constant) / 2
        )
        return result

    return density
