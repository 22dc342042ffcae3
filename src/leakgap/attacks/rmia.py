"""RMIA (Zarifzadeh et al. 2024, "Low-cost high-power membership inference attacks") and BASE, on the clean view.

All compare p_t(x), the target's probability of the label, with p(x), its average over models trained with and
without x. p(x) is half the mean over the in- and half that over the out-models, whatever their numbers: a plain
mean over all models but the target would tell, under balanced masks, whether x is a member.
Reserved images are in no mask and are not scored (NaN); they are the population that RMIA compares with.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from leakgap.attacks import Evidence
from leakgap.attacks.calibrated import reserved_population
from leakgap.attacks.shadows import by_image, mean, mean_out, unreserved

GAMMA = 2.0  # the paper's, online and offline
A = 0.3  # the paper's for CIFAR-10: offline, the mean over in-models is taken to be a * mean_O + 1 - a


def base(evidence: Evidence) -> np.ndarray:
    """log p_t(x) - log p(x); float32 [T,S].

    Lassila et al. 2025, "Practical Bayes-optimal membership inference attacks": minus the loss, minus the logarithm
    of the shadow models' mean of exp(-loss). RMIA's ratio without its population, so it doesn't tie.
    """
    return by_image(evidence, _online, unreserved(evidence, n_in=1, n_out=1))


def rmia(evidence: Evidence) -> np.ndarray:
    """Share of the population z with ratio(x) >= gamma ratio(z), ratio = p_t / p, gamma = 2; float32 [T,S].

    p(z) is the mean over all shadow models but the one left out, which are out-models of a reserved z. The score is
    a multiple of 1/|Z|: a population of fewer than 1/FPR images can't resolve an FPR.
    """
    population = reserved_population(evidence, "rmia")
    images = unreserved(evidence, n_in=1, n_out=1)
    return _dominated(by_image(evidence, _online, images), by_image(evidence, _out, population), population)


def rmia_offline(evidence: Evidence) -> np.ndarray:
    """RMIA from out-models alone: p = ((1 + a) mean_O + 1 - a) / 2 for x and for z, a = 0.3; float32 [T,S].

    mean_O(x) is over N/2 - 1 out-models for every image, as in `calibrated_loss`, and mean_O(z) over N - 2.
    """
    population = reserved_population(evidence, "rmia-offline")
    unreserved(evidence, n_out=1)
    ratio = by_image(evidence, _offline, np.arange(len(evidence.labels)))
    return _dominated(ratio, ratio, population)


def _dominated(ratio: np.ndarray, population_ratio: np.ndarray, population: np.ndarray) -> np.ndarray:
    scores = np.full(ratio.shape, np.nan, np.float32)
    for row, x, z in zip(scores, ratio.astype(float), population_ratio[:, population], strict=True):
        row[:] = np.searchsorted(np.sort(z.astype(float)), x - np.log(GAMMA), side="right") / len(population)
    scores[np.isnan(ratio)] = np.nan
    scores[:, population] = np.nan
    return scores


def _online(target: np.ndarray, shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    p = expit(shadow)
    return _log_ratio(target, (mean(p, member, exclude) + mean(p, ~member, exclude)) / 2)


def _out(target: np.ndarray, shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    return _log_ratio(target, mean(expit(shadow), ~member, exclude))


def _offline(target: np.ndarray, shadow: np.ndarray, member: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    return _log_ratio(target, ((1 + A) * mean_out(expit(shadow), member, exclude) + 1 - A) / 2)


def _log_ratio(target: np.ndarray, average: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -target) - np.log(average)
