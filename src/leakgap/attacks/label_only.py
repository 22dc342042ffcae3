"""Label-only attacks: nothing but whether the model is right, about several views of a record."""

from __future__ import annotations

import numpy as np

from leakgap.attacks import Evidence
from leakgap.attacks.shadows import unreserved


def label_only(evidence: Evidence) -> np.ndarray:
    """Share of the views that the target is right about, less the out-models' mean of it; float32 [T,S].

    Choquette-Choo et al. 2021, "Label-only membership inference attacks": a model is right about more augmented
    or noisy copies of a record that it was trained on. They train a classifier on the pattern of right answers
    over the views; here it is their number, and the record's own difficulty is taken away as Watson et al. 2021
    do with the loss, by the shadow models that have not seen it. Without any, the share alone. A view is right
    where phi is above 0: the label is more probable than all other classes together. NaN of reserved records, and
    of those without an out-model where others have some.

    >>> from leakgap.data.masks import balanced_masks
    >>> member = balanced_masks(8, 200, 0)
    >>> phi = np.random.default_rng(0).normal(2.0 * member[..., None], 1, (8, 200, 9)).astype(np.float32)
    >>> left_out = np.kron(np.eye(4), np.ones((2, 2))).astype(bool)
    >>> score = label_only(Evidence(phi, phi, member, left_out, np.zeros(200, int), np.zeros(200, bool)))
    >>> bool(score[member].mean() > score[~member].mean())
    True
    """
    images, scores = unreserved(evidence), np.full(evidence.target.shape[:2], np.nan, np.float32)
    target, shadow = ((phi[:, images] > 0).mean(-1) for phi in (evidence.target, evidence.shadow))
    kept, out = (~evidence.left_out).astype(float), ~evidence.member[:, images]
    if kept.any():
        with np.errstate(invalid="ignore"):
            target = target - kept @ np.where(out, shadow, 0) / (kept @ out)
    scores[:, images] = target
    return scores
