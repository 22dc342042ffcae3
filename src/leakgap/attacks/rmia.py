"""RMIA (Zarifzadeh et al. 2024, "Low-cost high-power membership inference attacks") and BASE, on the clean view.

All compare p_t(x), the target's probability of the label, with p(x), its average over models trained with and
without x: half the mean over the in- and half that over the out-models, whatever their numbers. NaN where there are
none. Reserved images are in no mask and are not scored (NaN); they are the population that RMIA compares with.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leakgap.attacks import Evidence
from leakgap.attacks.calibrated import reserved_population, share_below
from leakgap.attacks.shadows import Block, by_image, unreserved
from leakgap.attacks.threshold import cross_entropy

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

    p(z) is the mean over all shadow models that are kept, which are out-models of a reserved z. The share is made
    continuous, in the log ratio, by `share_below`.
    """
    population = reserved_population(evidence, "rmia")
    ratio = by_image(evidence, _online, unreserved(evidence))
    return _dominated(ratio, by_image(evidence, _out, population), population)


def rmia_offline(evidence: Evidence) -> np.ndarray:
    """RMIA from out-models alone: p = ((1 + a) mean_O + 1 - a) / 2 for x and for z, a = 0.3; float32 [T,S]."""
    population = reserved_population(evidence, "rmia-offline")
    ratio = by_image(evidence, _offline, np.arange(len(evidence.labels)))
    return _dominated(ratio, ratio, population)


def informia(evidence: Evidence) -> np.ndarray:
    """log p_t(x) / p(x) + D, D the mean over the population of log p(z) / p_t(z); float32 [T,S].

    Tao and Shokri 2026, "Information-theoretic membership inference for granular quantification of memorization"
    (arXiv 2510.05582): the information gained on x, corrected by the Kullback-Leibler divergence between the
    population's probabilities before and after; no threshold, no counting, no ties. Relied on: the abstract and
    summaries, which give the two terms; that D is the plain mean over the reserved population is ours. For one
    target the order is BASE's; D sets targets right against one another.
    """
    population = reserved_population(evidence, "informia")
    gained = by_image(evidence, _online, unreserved(evidence))
    return gained - by_image(evidence, _out, population)[:, population].mean(1, keepdims=True)


def _dominated(ratio: np.ndarray, population_ratio: np.ndarray, population: np.ndarray) -> np.ndarray:
    scores = np.full(ratio.shape, np.nan, np.float32)
    for row, x, z in zip(scores, ratio.astype(float), population_ratio[:, population], strict=True):
        row[:] = share_below(x - np.log(GAMMA), z)
    scores[:, population] = np.nan
    return scores


def _online(block: Block) -> np.ndarray:
    return _log_ratio(block, lambda p: (block.mean(p, True) + block.mean(p, False)) / 2)


def _out(block: Block) -> np.ndarray:
    return _log_ratio(block, lambda p: block.mean(p, False))


def _offline(block: Block) -> np.ndarray:
    return _log_ratio(block, lambda p: ((1 + A) * block.mean(p, False) + 1 - A) / 2)


def _log_ratio(block: Block, average: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """log p_t - log p, p the average of the shadow models' probabilities."""
    own, losses = block.both(cross_entropy)
    return -own - np.log(average(np.exp(-losses)))
