"""Thresholds on one statistic of the target's own output on the clean view (view 0).

The global ones use no shadow model and one threshold for all images. The per-class ones turn the statistic into its
rank among the out-models' statistics on images of the same class (Song & Mittal 2021, "Systematic evaluation of
privacy risks of machine learning models", class-dependent thresholds), so they only depend on its order. Reserved
images are scored like any other, and are among the out-scores of the shadow models.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import log_expit, log_softmax

from leakgap.attacks import Evidence


def cross_entropy(phi: np.ndarray) -> np.ndarray:
    """l = -log p = log(1 + exp(-phi)), of the dtype of phi and as exact for tiny losses as for large ones.

    np.logaddexp(0, -phi), ten times as fast for float32.

    >>> cross_entropy(np.array([-1000.0, 0.0, 50.0]))
    array([1.00000000e+03, 6.93147181e-01, 1.92874985e-22])
    """
    return np.log1p(np.exp(-np.abs(phi))) - np.minimum(phi, 0)


def correctness(evidence: Evidence) -> np.ndarray:
    """1 where the target predicts the label, else 0 (the gap attack of Yeom et al. 2018); float32 [T,S]."""
    return (_logits(evidence.target_logits).argmax(-1) == evidence.labels).astype(np.float32)


def loss(evidence: Evidence) -> np.ndarray:
    """-l, minus the cross-entropy l = -log p = softplus(-phi) (Yeom et al. 2018, adversary 2); float32 [T,S].

    The confidence p (Song & Mittal 2021) has the same order, but ties in float32 wherever it rounds to 1.
    """
    return -cross_entropy(evidence.target[..., 0])


def entropy(evidence: Evidence) -> np.ndarray:
    """-H(p), minus the entropy of the prediction (Shokri et al. 2017, Song & Mittal 2021); float32 [T,S]."""
    return _each(_negative_entropy, evidence.target_logits, evidence.labels)


def modified_entropy(evidence: Evidence) -> np.ndarray:
    """-Mentr = (1 - p_y) log p_y + sum over c != y of p_c log(1 - p_c) (Song & Mittal 2021); float32 [T,S]."""
    return _each(_negative_modified_entropy, evidence.target_logits, evidence.labels)


def loss_per_class(evidence: Evidence) -> np.ndarray:
    """Rank of the loss, or the confidence, among the out-scores of its class; float32 [T,S] from 0 to 1."""
    return _rank_in_class(evidence, evidence.target[..., 0], evidence.shadow[..., 0])


def entropy_per_class(evidence: Evidence) -> np.ndarray:
    """Rank of -H among the out-scores of its class; float32 [T,S] from 0 to 1."""
    shadow = _each(_negative_entropy, evidence.shadow_logits, evidence.labels)
    return _rank_in_class(evidence, entropy(evidence), shadow)


def modified_entropy_per_class(evidence: Evidence) -> np.ndarray:
    """Rank of -Mentr among the out-scores of its class; float32 [T,S] from 0 to 1."""
    shadow = _each(_negative_modified_entropy, evidence.shadow_logits, evidence.labels)
    return _rank_in_class(evidence, modified_entropy(evidence), shadow)


def _logits(logits: np.ndarray | None) -> np.ndarray:
    if logits is None:
        raise ValueError("this attack needs logits, and only phi was given")
    return logits


def _each(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray], logits: np.ndarray | None, labels: np.ndarray
) -> np.ndarray:
    """Statistic of the logits [S,C], in float64, of one model after the other: float32 [models,S]."""
    return np.stack([statistic(z.astype(float), labels) for z in _logits(logits)]).astype(np.float32)


def _negative_entropy(logits: np.ndarray, _labels: np.ndarray) -> np.ndarray:
    log_p = log_softmax(logits, -1)
    return (np.exp(log_p) * log_p).sum(-1)


def _negative_modified_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    rows = np.arange(len(logits))
    top = logits.argmax(-1)
    log_p = log_softmax(logits, -1)
    log_rest = np.log1p(-np.exp(np.minimum(log_p, np.log(0.5))))
    # Only the top class can be near 1, where 1 - p would cancel: it is the sum of the other classes.
    apart = logits.copy()
    apart[rows, top] = -np.inf
    phi = logits[rows, top] - np.logaddexp.reduce(apart, -1)
    log_p[rows, top], log_rest[rows, top] = log_expit(phi), log_expit(-phi)
    terms = np.exp(log_p) * log_rest
    terms[rows, labels] = np.exp(log_rest[rows, labels]) * log_p[rows, labels]
    return terms.sum(-1)


def _rank_in_class(evidence: Evidence, target: np.ndarray, shadow: np.ndarray) -> np.ndarray:
    """Share of the class's out-scores, of the models not left out, that are at most the target's; NaN of none."""
    scores = np.full(target.shape, np.nan, np.float32)
    for label in np.unique(evidence.labels):
        images = np.flatnonzero(evidence.labels == label)
        values, out = shadow[:, images], ~evidence.member[:, images]
        pool = np.sort(values[out])
        for t, left_out in enumerate(evidence.left_out):
            gone = np.sort(values[left_out][out[left_out]])
            below = (np.searchsorted(s, target[t, images], side="right") for s in (pool, gone))
            if len(gone) < len(pool):
                scores[t, images] = np.subtract(*below) / (len(pool) - len(gone))
    return scores
