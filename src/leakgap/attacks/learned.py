"""Learned attacks: classifiers fitted on the shadow models' outputs and memberships (clean view, softmax).

Scores are the classifier's log-odds of "member". Reserved images are neither fitted on nor scored (NaN).
Nothing that is fitted on has seen the model left out, and nothing tells how many models an image is in: every image
that is drawn gives one row from an in-model and one from an out-model, or is scored by what was fitted without it.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import logit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from leakgap.attacks import Evidence

PAIRS = 2048  # drawn for each per-class classifier: an image with one of its in- and one of its out-models
ROWS = 20_000  # at most, that the class-agnostic classifier is fitted on


def shadow_nn(evidence: Evidence) -> np.ndarray:
    """Per-class networks on the softmax of the shadow models; float32 [T,S].

    Shokri et al. 2017, "Membership inference attacks against machine learning models": a network with 64 hidden
    units per class. One per target and class would be N * C fits, so the shadow models are split at random into
    two halves, and a target is attacked by networks fitted on the half without the model left out for it. A fit is
    on 2048 draws, with replacement, of an image of the class, one of its in- and one of its out-models.
    ValueError if no image of a class has both in one half.
    """
    target, shadow = _logits(evidence)
    rng = np.random.default_rng(evidence.seed)
    scores = np.full(target.shape[:2], np.nan, np.float32)
    first = rng.permutation(len(shadow)) < len(shadow) // 2
    for half in (first, ~first):
        models = np.flatnonzero(~half)
        targets = np.flatnonzero(half[evidence.exclude])
        for label in np.unique(evidence.labels[~evidence.reserved]) if len(targets) else ():
            images = np.flatnonzero((evidence.labels == label) & ~evidence.reserved)
            network = _fit(*_pairs(evidence.member, shadow, models, images, rng), rng)
            for t in targets:
                scores[t, images] = _log_odds(network, softmax(target[t, images].astype(float), -1))
    return scores


def one_shadow(evidence: Evidence) -> np.ndarray:
    """One network for all classes on the three largest probabilities of one shadow model; float32 [T,S].

    Salem et al. 2019, "ML-Leaks", adversary 1. The shadow model is drawn, and a second one for the targets for
    which it is left out. Under balanced masks an image in one model is less likely to be in the next, so the
    network that scores one half of the images is fitted on the other half, or 20,000 of it.
    """
    target, shadow = _logits(evidence)
    rng = np.random.default_rng(evidence.seed)
    scores = np.full(target.shape[:2], np.nan, np.float32)
    first, second = rng.permutation(len(shadow))[:2]
    halves = np.array_split(rng.permutation(np.flatnonzero(~evidence.reserved)), 2)
    for model, targets in (
        (first, np.flatnonzero(evidence.exclude != first)),
        (second, np.flatnonzero(evidence.exclude == first)),
    ):
        for fitted, scored in (halves, halves[::-1]) if len(targets) else ():
            rows = fitted[:ROWS]
            network = _fit(_top_three(shadow[model, rows]), evidence.member[model, rows], rng)
            for t in targets:
                scores[t, scored] = _log_odds(network, _top_three(target[t, scored]))
    return scores


def _logits(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    if evidence.target_logits is None or evidence.shadow_logits is None:
        raise ValueError("this attack needs logits, and only phi was given")
    return evidence.target_logits, evidence.shadow_logits


def _pairs(
    member: np.ndarray, logits: np.ndarray, models: np.ndarray, images: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images, an in- and an out-model for each: softmax [2 PAIRS,C] and membership bool [2 PAIRS]."""
    inside = member[np.ix_(models, images)]
    mixed = np.flatnonzero(inside.any(0) & ~inside.all(0))
    if not len(mixed):
        raise ValueError(
            f"no image of the class of image {images[0]} has in- and out-models in half of the models"
        )
    drawn = rng.choice(mixed, PAIRS)
    lot = rng.random((len(models), PAIRS))
    chosen = [np.where(side[:, drawn], lot, -1).argmax(0) for side in (inside, ~inside)]
    rows = np.concatenate([logits[models[model], images[drawn]] for model in chosen])
    return softmax(rows.astype(float), -1), np.repeat([True, False], PAIRS)


def _top_three(logits: np.ndarray) -> np.ndarray:
    return np.sort(softmax(logits.astype(float), -1), -1)[:, :-4:-1]


def _fit(features: np.ndarray, member: np.ndarray, rng: np.random.Generator) -> MLPClassifier:
    seed, batch = int(rng.integers(2**31)), min(256, len(features))
    network = MLPClassifier((64,), batch_size=batch, learning_rate_init=0.01, max_iter=30, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return network.fit(features, member)


def _log_odds(network: MLPClassifier, features: np.ndarray) -> np.ndarray:
    return logit(np.clip(network.predict_proba(features)[:, 1], 1e-16, 1 - 1e-16))
