"""Vulnerable points (Long et al. 2020, "A pragmatic approach to membership inferences on machine learning models").

The attacker makes a claim only about images that stand apart, on which single images have a large influence.
"""

from __future__ import annotations

import numpy as np

from leakgap.attacks import Evidence
from leakgap.attacks.calibrated import attack_r

KEPT = 0.1  # share of the images about which a claim is made
SAMPLE = 1000  # images, at most, among which neighbours are looked for
BLOCK = 4096  # images compared with the sample at a time


def vulnerable_points(evidence: Evidence) -> np.ndarray:
    """Attack R on the tenth of the images whose nearest neighbour is farthest, NaN elsewhere; float32 [T,S].

    Long et al. keep records with few others within some cosine distance in the concatenated outputs of reference
    models trained without them, and rank the loss among those of these models. Here
    - the output is the mean over the out-models of the logits less their mean over classes: every image has its own
      out-models, and outputs of different models can't be compared side by side;
    - neighbours are looked for among 1000 images drawn: the nearest of them is about the S/1000-th nearest of all;
    - the distance is such, for each target, that a tenth of the images have no neighbour within it;
    - the rank is that of attack R, which doesn't tie and gives NaN to images with fewer than two out-models.
    """
    if evidence.shadow_logits is None:
        raise ValueError("this attack needs logits, and only phi was given")
    out, logits = ~evidence.member, evidence.shadow_logits
    total = np.zeros(logits.shape[1:])
    for row, z in zip(out, logits, strict=True):
        total[row] += z[row]
    scores = attack_r(evidence)
    for row, left_out in zip(scores, evidence.left_out, strict=True):
        images = np.flatnonzero(np.isfinite(row))
        if len(images):
            output = total[images]
            for model in np.flatnonzero(left_out):
                output -= out[model, images, None] * logits[model, images].astype(float)
            sample = np.random.default_rng(evidence.seed).permutation(len(images))[:SAMPLE]
            nearest, kept = _nearest(_direction(output), sample), max(1, round(KEPT * len(images)))
            row[images[np.argpartition(nearest, kept - 1)[kept:]]] = np.nan
    return scores


def _direction(output: np.ndarray) -> np.ndarray:
    """Unit vectors, float32 [images,C], of logits less their mean over classes."""
    output = output - output.mean(-1, keepdims=True)
    length = np.linalg.norm(output, axis=-1, keepdims=True)
    return (output / np.maximum(length, np.finfo(float).tiny)).astype(np.float32)


def _nearest(output: np.ndarray, sample: np.ndarray) -> np.ndarray:
    """Largest cosine of each unit vector with those of the sample but itself: float32 [images]."""
    nearest = np.empty(len(output), np.float32)
    place = np.full(len(output), -1)
    place[sample] = np.arange(len(sample))
    for start in range(0, len(output), BLOCK):
        block = slice(start, start + BLOCK)
        cosine = output[block] @ output[sample].T
        drawn = np.flatnonzero(place[block] >= 0)
        cosine[drawn, place[block][drawn]] = -np.inf
        nearest[block] = cosine.max(1)
    return nearest
