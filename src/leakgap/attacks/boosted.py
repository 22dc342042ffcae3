"""A learned attack on what shadow models say of a record (`boosted`): boosted trees in place of a formula.

Formulas take phi to be normal. Where it is not, as on outliers and with models that store records, trees that have
seen shadow models attacked by the others know better what a phi between these means and deviations is worth.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit
from sklearn.ensemble import HistGradientBoostingClassifier

from leakgap.attacks import Evidence, gives_away, pooled
from leakgap.attacks.shadows import unreserved
from leakgap.attacks.sums import left_out_together, log_p, sums_of

LEAST = (
    3  # in- and out-models of an image, besides those left out, from which its deviations are worth a look
)
TREES = 60
ROWS = 40_000  # pairs of a shadow model and an image, about, that trees are fitted on
SMOOTH = 0.5  # of lira-pooled's score is added to the trees' log-odds, which tie


def boosted(evidence: Evidence) -> np.ndarray:
    """Log-odds of boosted trees, and half of `lira-pooled`'s score; float32 [T,S], NaN with fewer than 3
    in- or out-models besides those left out.

    For every set of models that some targets leave out, the others are attacked in turn, each without the models
    that give its mask away, and trees (scikit-learn's, deterministic) are fitted on these attacks: on phi, mean
    and deviation of its in- and out-models, its distance from their midpoint, BASE's score and lira-pooled's.
    Features and rows weigh members and non-members alike. The trees' log-odds are steps, and beyond the shadow
    models' largest values flat, so that the lowest FPRs would be decided by ties: a share of lira-pooled's score
    is added.

    The features are those of Sablayrolles et al. 2019, Carlini et al. 2022 and Lassila et al. 2025; a classifier
    on the shadow models' attacks is Shokri et al.'s (2017) idea; the combination is ours.
    """
    images = unreserved(evidence)
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    for rows, targets in left_out_together(evidence.left_out):
        kept = np.setdiff1d(np.arange(len(evidence.shadow)), rows)
        kept = (
            kept[np.lexsort(evidence.member[kept].T[::-1])] if len(kept) else kept
        )  # in an order of their own
        shadow, member = evidence.shadow[kept], evidence.member[kept]
        step = max(1, -(-len(images) * len(kept) // ROWS))
        own = _features(shadow, shadow, member, gives_away(member, member), images[::step])
        inside = member[:, images[::step]]
        known = np.isfinite(own).all(-1)
        if min((known & inside).sum(), (known & ~inside).sum()) == 0:
            continue
        trees = HistGradientBoostingClassifier(
            max_iter=TREES,
            learning_rate=0.1,
            max_leaf_nodes=12,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            class_weight="balanced",
            random_state=0,
        ).fit(own[known], inside[known])
        nobody = np.zeros((len(targets), len(kept)), bool)
        count = member[:, images].sum(0)
        usable = (count >= LEAST) & (len(kept) - count >= LEAST)
        if not usable.any():
            continue
        features = _features(evidence.target[targets], shadow, member, nobody, images)
        for t, x in zip(targets, features, strict=True):
            scores[t, images[usable]] = trees.decision_function(x[usable]) + SMOOTH * x[usable, -1]
    return scores


def _features(
    target: np.ndarray, shadow: np.ndarray, member: np.ndarray, left_out: np.ndarray, images: np.ndarray
) -> np.ndarray:
    """What the trees see of every target and image, float32 [T,images,8], lira-pooled's score last."""
    found = np.empty((len(target), len(images), 8), np.float32)
    clean = shadow[..., 0]
    totals, p = sums_of(clean, member, images), expit(clean[:, images].astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        for rows, targets in left_out_together(left_out):
            sums = totals.less(sums_of(clean[rows], member[rows], images))
            mean = sums.phi / sums.count
            deviation = np.maximum(sums.squares - sums.phi * mean, 0) / np.maximum(sums.count - 1, 1)
            rest = np.setdiff1d(np.arange(len(shadow)), rows)
            inside = member[np.ix_(rest, images)]
            average = [np.where(side, p[rest], 0).sum(0) / side.sum(0) for side in (inside, ~inside)]
            reference = np.log(np.maximum(sum(average) / 2, 1e-300))
            for t in targets:
                phi = target[t, images].mean(-1)
                found[t, :, 0] = phi
                found[t, :, 1:3], found[t, :, 3:5] = mean.T, np.sqrt(deviation).T
                found[t, :, 5] = phi - mean.mean(0)
                found[t, :, 6] = log_p(target[t, images, 0]) - reference
    found[..., 7] = pooled.online(target, shadow, member, left_out, images)[:, images]
    return found
