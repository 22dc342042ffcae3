"""Learned attacks: classifiers fitted on the shadow models' outputs and memberships (clean view, softmax).

Scores are the classifier's log-odds of "member". Reserved images are neither fitted on nor scored (NaN).
A target is scored by what was fitted on none of the models left out for it.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import logit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from leakgap.attacks import Evidence, gives_away
from leakgap.attacks.threshold import cross_entropy

PAIRS = 2048  # drawn for each per-class classifier: an image with one of its in- and one of its out-models
BUDGET = 40_960  # of them for all classes of a part together, so that many classes cost no more than twenty
FEWEST = 64  # of a class, all the same
REFERENCES = 3  # out-models of an image, at least, that RAPID calibrates with
ROWS = 20_000  # at most, that the class-agnostic classifier is fitted on


def shadow_nn(evidence: Evidence) -> np.ndarray:
    """Per-class networks on the softmax of the shadow models; float32 [T,S].

    Shokri et al. 2017, "Membership inference attacks against machine learning models": a network with 64 hidden
    units per class. One per target and class would be N * C fits, so the shadow models are split at random into
    two parts, those that are left out together into the same, and a target is attacked by networks fitted on a
    part that holds no model left out for it. A fit is on 2048 draws, with replacement, of an image of the class,
    one of its in- and one of its out-models; with more than 20 classes on fewer, 40,960 in all. NaN where there
    is no such part, or no image of a class has both in it.
    """
    target, shadow = _logits(evidence)
    rng = np.random.default_rng(evidence.seed)
    scores = np.full(target.shape[:2], np.nan, np.float32)
    for models in _halves(evidence, rng):
        targets = np.flatnonzero(~evidence.left_out[:, models].any(1) & np.isnan(scores).all(1))
        inside = evidence.member[models]
        mixed = inside.any(0) & ~inside.all(0) & ~evidence.reserved
        classes = np.unique(evidence.labels[mixed])
        size = min(PAIRS, max(FEWEST, BUDGET // max(len(classes), 1)))
        for label in classes if len(targets) else ():
            of_class = evidence.labels == label
            fitted, scored = np.flatnonzero(of_class & mixed), np.flatnonzero(of_class & ~evidence.reserved)
            network = _fit(*_pairs(evidence.member, shadow, models, fitted, size, rng), rng)
            for t in targets:
                scores[t, scored] = _log_odds(network, softmax(target[t, scored].astype(float), -1))
    return scores


def one_shadow(evidence: Evidence) -> np.ndarray:
    """One network for all classes on the three largest probabilities of one shadow model; float32 [T,S].

    Salem et al. 2019, "ML-Leaks", adversary 1. The shadow model is drawn, and another for the targets for which it
    is left out; a network is fitted on 20,000 images, at most. NaN where all models are left out.
    """
    target, shadow = _logits(evidence)
    rng = np.random.default_rng(evidence.seed)
    scores = np.full(target.shape[:2], np.nan, np.float32)
    images = rng.permutation(np.flatnonzero(~evidence.reserved))
    waiting = np.ones(len(target), bool)
    for model in rng.permutation(len(shadow)):
        targets = np.flatnonzero(waiting & ~evidence.left_out[:, model])
        if len(targets):
            rows = images[:ROWS]
            network = _fit(_top_three(shadow[model, rows]), evidence.member[model, rows], rng)
            for t in targets:
                scores[t, images] = _log_odds(network, _top_three(target[t, images]))
        waiting[targets] = False
    return scores


def rapid(evidence: Evidence) -> np.ndarray:
    """One network on the loss and the loss less that of out-models; float32 [T,S].

    He et al. 2024, "Is difficulty calibration all we need?", RAPID: the raw loss is kept beside the calibrated
    one, and a network weighs them. As in the code that the authors published, the features are l(x) and l(x) -
    mean_O l(x), and it is fitted on shadow models with reference models of their own: here those of one part of
    two (see `shadow_nn`), each calibrated with the others of its part that don't give its mask away. 20,000 rows
    are drawn, at most, half of them members. NaN with fewer than three out-models besides those left out.
    """
    rng = np.random.default_rng(evidence.seed)
    images = np.flatnonzero(~evidence.reserved)
    losses, member = cross_entropy(evidence.shadow[:, images, 0].astype(float)), evidence.member[:, images]
    target = cross_entropy(evidence.target[:, images, 0].astype(float))
    kept = (~evidence.left_out).astype(float)
    with np.errstate(invalid="ignore"):
        count = kept @ ~member
        calibrated = target - kept @ np.where(member, 0, losses) / count
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    fits: list[tuple[np.ndarray, np.ndarray, np.ndarray, MLPClassifier]] = []
    for models in _halves(evidence, rng):
        others = ~gives_away(member[models], member[models])
        with np.errstate(invalid="ignore"):
            average = others @ np.where(member[models], 0, losses[models]) / (others * 1.0 @ ~member[models])
        known = np.isfinite(average)
        rows = [np.argwhere(known & side) for side in (member[models], ~member[models])]
        size = min(ROWS // 2, *map(len, rows))
        if not size:
            continue
        own = np.random.default_rng([evidence.seed, *models])  # no draw hangs on the other part
        at = np.concatenate([side[own.permutation(len(side))[:size]] for side in rows])
        features = np.stack([losses[models], losses[models] - average], -1)[at[:, 0], at[:, 1]]
        centre, spread = features.mean(0), features.std(0) + 1e-12
        network = _fit((features - centre) / spread, np.repeat([True, False], size), own)
        fits.append((models, centre, spread, network))
    for models, centre, spread, network in fits:
        for t in np.flatnonzero(~evidence.left_out[:, models].any(1) & np.isnan(scores).all(1)):
            whole = np.flatnonzero(count[t] >= REFERENCES)
            if not len(whole):
                continue
            values = np.stack([target[t, whole], calibrated[t, whole]], -1)
            scores[t, images[whole]] = _log_odds(network, (values - centre) / spread)
    return scores


def _halves(evidence: Evidence, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split the shadow models at random in two, int each, those that are left out together into the same part."""
    together = np.unique(evidence.left_out, axis=1, return_inverse=True)[1].reshape(
        -1
    )  # [N]: a group's number
    groups = rng.permutation(together.max() + 1)
    part = np.isin(together, groups[: len(groups) // 2])
    return np.flatnonzero(part), np.flatnonzero(~part)


def _logits(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    if evidence.target_logits is None or evidence.shadow_logits is None:
        raise ValueError("this attack needs logits, and only phi was given")
    return evidence.target_logits, evidence.shadow_logits


def _pairs(
    member: np.ndarray,
    logits: np.ndarray,
    models: np.ndarray,
    images: np.ndarray,
    size: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images, an in- and an out-model for each: softmax [2 size,C] and membership bool [2 size]."""
    drawn = rng.choice(images, size)
    inside, lot = member[np.ix_(models, drawn)], rng.random((len(models), size))
    chosen = [np.where(side, lot, -1).argmax(0) for side in (inside, ~inside)]
    rows = np.concatenate([logits[models[model], drawn] for model in chosen])
    return softmax(rows.astype(float), -1), np.repeat([True, False], size)


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
