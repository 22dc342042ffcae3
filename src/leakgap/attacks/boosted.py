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

FITS = 4  # at most: targets that leave out different models share trees that saw none of these
LEAST = 3  # in- and out-models of an image, besides those left out, from which deviations are worth a look
TREES = 60
ROWS = 40_000  # pairs of a shadow model and an image, about, that trees are fitted on
SMOOTH = 0.5  # of lira-pooled's score is added to the trees' log-odds, which tie


def boosted(evidence: Evidence) -> np.ndarray:
    """Log-odds of boosted trees, and half of `lira-pooled`'s score; float32 [T,S], NaN with fewer than 3
    in- or out-models besides those left out.

    Targets share trees in four parts. For each part the models that no target of it leaves out are attacked in
    turn, each without the models that give its mask away, and trees (scikit-learn's, deterministic) are fitted on
    these attacks: on phi, mean and deviation of its in- and out-models, its distance from their midpoint, BASE's
    score and lira-pooled's. Members and non-members weigh alike. The trees' log-odds are steps, and beyond the
    shadow models' largest values flat, so that the lowest FPRs would be decided by ties: a share of lira-pooled's
    score is added.

    The features are those of Sablayrolles et al. 2019, Carlini et al. 2022 and Lassila et al. 2025; a classifier
    on the shadow models' attacks is Shokri et al.'s (2017) idea; the combination is ours.
    """
    images = unreserved(evidence)
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    used = evidence.member[:, images]
    sets = sorted(left_out_together(evidence.left_out), key=lambda each: _key(used[each[0]]))
    for first in range(0, len(sets), size := max(1, -(-len(sets) // FITS))):
        together = sets[first : first + size]
        trees = _fitted(evidence, np.concatenate([rows for rows, _ in together]), images)
        if trees is None:
            continue
        for rows, targets in together:
            kept = np.setdiff1d(np.arange(len(evidence.shadow)), rows)
            shadow, member = evidence.shadow[kept], evidence.member[kept]
            count = member[:, images].sum(0)
            usable = (count >= LEAST) & (len(kept) - count >= LEAST)
            nobody = np.zeros((len(targets), len(kept)), bool)
            if usable.any():
                features = _features(evidence.target[targets], shadow, member, nobody, images)[:, usable]
                for t, x in zip(targets, features, strict=True):
                    scores[t, images[usable]] = trees.decision_function(x) + SMOOTH * x[:, -1]
    return scores


def _key(masks: np.ndarray) -> list[bytes]:
    """What sets of models [n,S] are sorted by: the same for a mask and its complement, and in any order of rows."""
    return sorted(min(mask.tobytes(), (~mask).tobytes()) for mask in masks)


def _fitted(
    evidence: Evidence, left_out: np.ndarray, images: np.ndarray
) -> HistGradientBoostingClassifier | None:
    """Trees fitted on the models that are not left out, attacked by one another; None if there are none to tell."""
    kept = np.setdiff1d(np.arange(len(evidence.shadow)), left_out)
    kept = np.array(
        sorted(kept, key=lambda row: evidence.member[row].tobytes()), int
    )  # in any order the same
    shadow, member = evidence.shadow[kept], evidence.member[kept]
    images = images[:: max(1, -(-len(images) * len(kept) // ROWS))]
    features = _features(shadow, shadow, member, gives_away(member, member), images)
    inside, known = member[:, images], np.isfinite(features).all(-1)
    if min((known & inside).sum(), (known & ~inside).sum()) == 0:
        return None
    trees = HistGradientBoostingClassifier(
        max_iter=TREES,
        learning_rate=0.1,
        max_leaf_nodes=12,
        min_samples_leaf=40,
        l2_regularization=5.0,
        early_stopping=False,
        class_weight="balanced",
        random_state=0,
    )
    return trees.fit(features[known], inside[known])


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
