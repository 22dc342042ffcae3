"""Logits, and what of them attacks read: phi, the logit-scaled confidence in the label."""

import numpy as np
from numpy.typing import ArrayLike

from leakgap import ArgumentError
from leakgap.arguments import numbers

__all__ = ["mistaken_for_logits", "phi"]


def phi(logits: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """Return the logit-scaled confidence z_y - log sum_{c != y} exp z_c as float32 [...].

    log(p / (1 - p)) of the softmax p of the true class (LiRA, Carlini et al. 2022, eq. 3), computed from the
    logits so that it never saturates. logits: float [..., classes]; labels: int [...], 0 to classes - 1, or of the
    last of these axes alone: [S] beside logits [N,S,classes]. Of one record's logits [classes] it is one number.

    Raises ArgumentError, with the argument's name, for labels that are no classes and shapes that don't match.

    >>> phi(np.array([[2.0, 0.0], [400.0, 0.0]]), np.array([0, 1])).tolist()
    [2.0, -400.0]
    """
    z = numbers(logits, "logits").astype(np.float64)
    y = numbers(labels, "labels")
    axes = z.shape[:-1]
    if z.ndim < 1 or y.ndim > len(axes) or axes[len(axes) - y.ndim :] != y.shape:
        raise ArgumentError(
            f"logits {list(z.shape)} and labels {list(y.shape)} are not [..., classes] and [...]"
        )
    if y.dtype.kind not in "iu" or (y.size and not 0 <= y.min() <= y.max() < z.shape[-1]):
        raise ArgumentError(
            f"labels must be whole numbers from 0 to {z.shape[-1] - 1}, the classes of logits"
        )
    at_label = np.broadcast_to(y, axes)[..., None].astype(np.int64)
    true = np.take_along_axis(z, at_label, -1)[..., 0]
    np.put_along_axis(z, at_label, -np.inf, -1)
    top = z.max(-1, keepdims=True)
    top[np.isneginf(top)] = 0  # all others are impossible: phi is infinite
    with np.errstate(divide="ignore"):
        rest = top[..., 0] + np.log(np.exp(z - top).sum(-1))
    return (true - rest).astype(np.float32)


def mistaken_for_logits(values: np.ndarray) -> str:
    """Say what float [..., classes] are if they can't be logits; nothing if they can.

    Logits have no bounds and no constant sum. Whole numbers may be logits of votes, unless they are percent.

    >>> mistaken_for_logits(np.array([[0.5, 0.5], [1, 0]])), mistaken_for_logits(np.array([[0.5, -0.5], [1, 0]]))
    ('probabilities', '')
    >>> mistaken_for_logits(np.array([[12.5, 87.5], [40, 60]]))
    'probabilities in percent, or shares of a whole'
    >>> mistaken_for_logits(np.array([[0.2, 0.3], [0.9, 0.8]]))
    'probabilities of each class by itself, between 0 and 1'
    """
    if not values.size or (values < 0).any():
        return ""
    whole, total = not (values % 1).any(), values.sum(-1)
    percent = np.abs(total - 100).max() <= 2
    if whole and not percent:
        return ""
    if np.abs(total - 1).max() <= 0.02:
        return "probabilities"
    if values.max() <= 1:
        return "probabilities of each class by itself, between 0 and 1"
    if percent or np.ptp(total) <= 1e-3 * total.mean():
        return "probabilities in percent, or shares of a whole"
    return ""
