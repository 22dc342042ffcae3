"""Quantile regression: what a model that has not seen a record like this would say of it, from the record alone."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from leakgap import LeakgapError
from leakgap.attacks import Evidence
from leakgap.attacks.calibrated import reserved_population

LEAST = 0.1  # of the median deviation: no deviation is taken to be less


def quantile(evidence: Evidence) -> np.ndarray:
    """phi in deviations from what the target says of non-members with such features; float32 [T,S].

    Bertran et al. 2023, "Scalable membership inference attacks via quantile regression": one regression on
    records that the target was not trained on, from their features to the target's own score, in place of shadow
    models. They fit quantiles, or a normal distribution whose quantiles follow (their section 4), which is done
    here: the mean of phi, then the mean absolute residual, each by boosted trees (scikit-learn, deterministic),
    on the reserved records. Residuals are of five folds, so that trees don't vouch for what they were fitted on.
    A record is a member at level alpha if phi is above the (1 - alpha)-quantile, so the order is that of the
    standardized phi.
    """
    if evidence.features is None:
        raise LeakgapError("quantile needs features of the records, numbers that are known without any model")
    population, features = reserved_population(evidence, "quantile"), evidence.features.astype(float)
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    fold = np.arange(len(population)) % 5
    for row, phi in zip(scores, evidence.target[..., 0].astype(float), strict=True):
        known = phi[population]
        residual = np.empty(len(population))
        for k in range(5):
            rest = _fit(features[population[fold != k]], known[fold != k])
            residual[fold == k] = known[fold == k] - rest.predict(features[population[fold == k]])
        centre = _fit(features[population], known).predict(features)
        spread = _fit(features[population], np.abs(residual)).predict(features)
        row[:] = (phi - centre) / np.maximum(spread, LEAST * max(float(np.median(np.abs(residual))), 1e-6))
    scores[:, population] = np.nan
    return scores


def _fit(features: np.ndarray, values: np.ndarray) -> HistGradientBoostingRegressor:
    trees = HistGradientBoostingRegressor(max_iter=60, max_leaf_nodes=8, early_stopping=False, random_state=0)
    return trees.fit(features, values)
