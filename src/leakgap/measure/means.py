"""Means over targets of a target's own accuracy, loss, AUC or TPR, and what each pair (model, image) adds to them.

The influence of a pair is the first order of what the mean changes by when the pair counts once more. Influences
add up to 0; each as often as a bootstrap draws its pair, they give its replicates (`Resampling.mean`) without a
sort in each. A target's influences add up to its own value less the mean, over the number of targets: so models
vary as the targets' own values do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from leakgap.measure.ranking import Ranking
from leakgap.measure.roc import conformal_rank


class OverTargets(NamedTuple):
    """A mean over T targets: its value, the pairs that it is made of, their influences float32 [T,S]."""

    value: float
    pairs: int
    influence: np.ndarray


def mean_over(values: np.ndarray, side: np.ndarray) -> OverTargets:
    """The mean over targets of each target's mean over the images on its side; values, side (bool): [T,S].

    NaN where a target has none.

    >>> mean_over(np.array([[1.0, 0, 1], [1, 1, 0]]), np.array([[True, True, False], [True, True, True]])).value
    0.5833333333333333
    """
    own, count = means_of(values, side), np.count_nonzero(side, 1)
    value = float(own.mean())
    with np.errstate(invalid="ignore", divide="ignore"):
        share = 1 / (count * np.float32(len(side)))
    influence = side * (values - np.float32(value))
    influence *= share[:, None]
    return OverTargets(value, int(count.sum()), influence)


def means_of(values: np.ndarray, side: np.ndarray) -> np.ndarray:
    """The mean of the values on each target's side, NaN of none; values, side (bool): [T,S], float64 [T]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (values * side).sum(1, dtype=np.float64) / np.count_nonzero(side, 1)


def mean_auc(ranked: Sequence[Ranking], images: int) -> OverTargets:
    """The mean over targets of the AUC; ranked: of each target the scores that count, of so many images in all.

    A member's influence is the share of non-members that it outscores less the mean AUC, a non-member's the share
    of members that outscore it less the target's AUC (DeLong, DeLong and Clarke-Pearson 1988).
    """
    shares = [placements(target) for target in ranked]
    aucs = [float(inside.mean()) if len(inside) else float("nan") for inside, _ in shares]
    value, influence = float(np.mean(aucs)), np.zeros((len(ranked), images), np.float32)
    pairs = sum(min(len(target.inside), len(target.outside)) for target in ranked)
    if np.isnan(value):
        return OverTargets(value, pairs, influence)
    for row, target, (inside, outside), auc in zip(influence, ranked, shares, aucs, strict=True):
        row[target.place.take(target.inside)] = (inside - value) / (len(inside) * len(ranked))
        row[target.place.take(target.outside)] = (outside - auc) / (len(outside) * len(ranked))
    return OverTargets(value, pairs, influence)


def mean_tpr(ranked: Sequence[Ranking], images: int, fpr: float) -> OverTargets:
    """The mean over targets of the conformal TPR, each with its own threshold; arguments as `mean_auc`'s.

    A non-member above the threshold raises it, and lowers the TPR by the slope of the ROC there (Bahadur 1966):
    that of the targets' mean ROC from half to twice the rank of the threshold. NaN where one TPR is undefined.
    """
    influence = np.zeros((len(ranked), images), np.float32)
    pairs = sum(len(target.inside) for target in ranked)
    tprs, called, rise, run = [], [], 0.0, 0.0  # called: (non-members, members) above each target's threshold
    for target in ranked:
        n1, n0 = len(target.inside), len(target.outside)
        rank = int(conformal_rank(n0, fpr))
        if rank < 1 or not n1:
            return OverTargets(float("nan"), pairs, influence)
        low, high = rank // 2, min(2 * rank, n0)
        reached = [target.above(k)[1] / n1 if k else 0.0 for k in (low, high)]
        rise, run = rise + reached[1] - reached[0], run + (high - low) / n0
        called.append(target.above(rank))
        tprs.append(called[-1][1] / n1)
    value, slope = float(np.mean(tprs)), rise / run
    for row, target, (outside, inside) in zip(influence, ranked, called, strict=True):
        n1, n0 = len(target.inside), len(target.outside)
        false = outside / n0
        # of non-members below and above the threshold, and of members
        of_place = np.array([slope * false / n0, slope * (false - 1) / n0, -value / n1, (1 - value) / n1])
        place = 2 * target.member
        place[len(place) - outside - inside :] += 1
        row[target.place] = (of_place / len(ranked)).astype(np.float32).take(place)
    return OverTargets(value, pairs, influence)


def placements(ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """Share of the non-members that each member outscores, and of the members that outscore each non-member.

    Ties count half; float64 [n1] and [n0], ascending. NaN where a class is missing.

    >>> score, member = np.array([1.0, 2, 2, 3]), np.array([False, True, False, True])
    >>> placements(Ranking.of(score, member))
    (array([0.75, 1.  ]), array([1.  , 0.75]))
    """
    n1, n0 = len(ranking.inside), len(ranking.outside)
    inside, outside = (np.add(*ranking.outscored(side)) for side in (True, False))
    with np.errstate(invalid="ignore", divide="ignore"):
        return inside / (2 * np.float64(n0)), 1 - outside / (2 * np.float64(n1))
