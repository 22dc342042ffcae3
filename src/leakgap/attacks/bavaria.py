"""BaVarIA (Brännvall 2026, "Exponential-family membership inference: from LiRA and RMIA to BaVarIA").

LiRA with a conjugate prior: mean and variance of an image's in- or out-models are normal-inverse-gamma, with the
mean and variance of all in- or out-scores as the prior's. Relied on: the abstract of arXiv 2603.11799, and for the
formulas and constants (kappa = 1; alpha = 1 normal, 2 Student) the NumPy demonstration that goes with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln

from leakgap.attacks import Evidence
from leakgap.attacks.shadows import unreserved
from leakgap.attacks.sums import IN, OUT, Sums, left_out_together, sums_of

KAPPA = 1.0  # models that the prior's mean counts as
ALPHA = {"normal": 1.0, "student": 2.0}


def bavaria(evidence: Evidence, form: str) -> np.ndarray:
    """Log-likelihood ratio of in and out, the mean over views; float32 [T,S], NaN where a side has no model.

    With n models of mean m and squared deviations D on a side, mu and v mean and variance (ddof 0) of all phi of
    that side over all images,
        kappa' = kappa + n,  alpha' = alpha + n / 2,  beta' = beta + D / 2 + kappa n (m - mu)^2 / (2 kappa'),
    where beta = v max(alpha - 1, 1). form "normal": phi has mean m and variance beta' / (alpha' - 1). form
    "student": phi is Student t with 2 alpha' degrees of freedom about (kappa mu + n m) / kappa', its scale^2 being
    beta' (kappa' + 1) / (alpha' kappa').
    """
    images, scores = unreserved(evidence), np.full(evidence.target.shape[:2], np.nan, np.float32)
    views = range(evidence.target.shape[2])
    totals = [sums_of(evidence.shadow[..., view], evidence.member, images) for view in views]
    for rows, targets in left_out_together(evidence.left_out):
        total = np.zeros((len(targets), len(images)))
        for view in views:
            gone = sums_of(evidence.shadow[rows, :, view], evidence.member[rows], images)
            density = _density(totals[view].less(gone), form)
            for score, phi in zip(total, evidence.target[targets][:, images, view], strict=True):
                score += density(phi, IN) - density(phi, OUT)
        scores[np.ix_(targets, images)] = total / len(views)
    return scores


def _density(sums: Sums, form: str) -> Callable[[np.ndarray, int], np.ndarray]:
    """Return the function from phi [S] and a side to the log density of phi."""
    alpha = ALPHA[form]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.phi / sums.count  # NaN where there is no model
    n, total = sums.count, np.maximum(sums.count.sum(1, keepdims=True), 1)
    mu = sums.phi.sum(1, keepdims=True) / total
    beta = (sums.squares.sum(1, keepdims=True) / total - mu**2) * max(alpha - 1, 1)
    deviations = np.maximum(sums.squares - sums.phi * mean, 0)
    kappa_n, alpha_n = KAPPA + n, alpha + n / 2
    beta_n = beta + deviations / 2 + KAPPA * n * (mean - mu) ** 2 / (2 * kappa_n)
    if form == "normal":
        variance = beta_n / (alpha_n - 1)
        return lambda phi, side: -((phi - mean[side]) ** 2 / variance[side] + np.log(variance[side])) / 2
    centre = (KAPPA * mu + n * mean) / kappa_n
    scale, freedom = beta_n * (kappa_n + 1) / (alpha_n * kappa_n), 2 * alpha_n
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(freedom * scale) / 2

    def student(phi: np.ndarray, side: int) -> np.ndarray:
        z = (phi - centre[side]) ** 2 / (freedom[side] * scale[side])
        return constant[side] - (freedom[side] + 1) / 2 * np.log1p(z)

    return student
