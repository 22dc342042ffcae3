"""RMIA (Zarifzadeh et al. 2024, "Low-cost high-power membership inference attacks") and BASE, on the clean view.

All compare p_t(x), the target's probability of the label, with p(x), its average over models trained with and
without x: half the mean over the in- and half that over the out-models, whatever their numbers. NaN where there are
none. Reserved images are in no mask and are not scored (NaN); they are the population that RMIA compares with.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from leakgap.attacks import Evidence
from leakgap.attacks.calibrated import reserved_population
from leakgap.attacks.shadows import Block, by_image, unreserved

GAMMA = 2.0  # the paper's, online and offline
A = 0.3  # the paper's for CIFAR-10: offline, the mean over in-models is taken to be a * mean_O + 1 - a


def base(evidence: Evidence) -> np.ndarray:
    """log p_t(x) - log p(x); float32 [T,S].

    Lassila et al. 2025, "Practical Bayes-optimal membership inference attacks": minus the loss, minus the logarithm
    of the shadow models' mean of exp(-loss). RMIA's ratio without its population, so it doesn't tie.
    """
    return by_image(evidence, _online, unreserved(evidence))


def rmia(evidence: Evidence) -> np.ndarray:
    """Share of the population z with ratio(x) >= gamma ratio(z), ratio = p_t / p, gamma = 2; float32 [T,S].

    p(z) is the mean over all shadow models that are kept, which are out-models of a reserved z. The score is a
    multiple of 1/|Z|: a population of fewer than 1/FPR images can't resolve an FPR.
    """
    population = reserved_population(evidence, "rmia")
    ratio = by_image(evidence, _online, unreserved(evidence))
    return _dominated(ratio, by_image(evidence, _out, population), population)


def rmia_offline(evidence: Evidence) -> np.ndarray:
    """RMIA from out-models alone: p = ((1 + a) mean_O + 1 - a) / 2 for x and for z, a = 0.3; float32 [T,S]."""
    population = reserved_population(evidence, "rmia-offline")
    ratio = by_image(evidence, _offline, np.arange(len(evidence.labels)))
    return _dominated(ratio, ratio, population)


def _dominated(ratio: np.ndarray, population_ratio: np.ndarray, population: np.ndarray) -> np.ndarray:
    scores = np.full(ratio.shape, np.nan, np.float32)
    for row, x, z in zip(scores, ratio.astype(float), population_ratio[:, population], strict=True):
        row[:] = np.searchsorted(np.sort(z.astype(float)), x - np.log(GAMMA), side="right") / len(population)
    scores[np.isnan(ratio)] = np.nan
    scores[:, population] = np.nan
    return scores


def _online(block: Block) -> np.ndarray:
    p = expit(block.shadow)
    return _log_ratio(block.target, (block.mean(p, True) + block.mean(p, False)) / 2)


def _out(block: Block) -> np.ndarray:
    return _log_ratio(block.target, block.mean(expit(block.shadow), False))


def _offline(block: Block) -> np.ndarray:
    return _log_ratio(block.target, ((1 + A) * block.mean(expit(block.shadow), False) + 1 - A) / 2)


def _log_ratio(target: np.ndarray, average: np.ndarray) -> np.ndarray:
    return -np.logaddexp(0, -target) - np.log(average)
