"""Means over targets of a target's own accuracy, loss, AUC or TPR, and what each pair (model, image) adds to them.

The influence of a pair is the first order of what the mean changes by when the pair counts once more. Influences
add up to 0; each as often as a bootstrap draws its pair, they give its replicates (`Resampling.mean`) without a
sort in each. A target's influences add up to its own value less the mean, over the number of targets: so models
vary as the targets' own values do.
"""

from typing import NamedTuple

import numpy as np

from leakgap.measure.ranking import Ranking
from leakgap.measure.roc import false_positives


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


def mean_auc(score: np.ndarray, member: np.ndarray, evaluated: np.ndarray) -> OverTargets:
    """The mean over targets of the AUC; score, member: [T,S], evaluated: bool [T,S] or [S], the pairs that count.

    A member's influence is the share of non-members that it outscores less the mean AUC, a non-member's the share
    of members that outscore it less the target's AUC (DeLong, DeLong and Clarke-Pearson 1988).
    """
    seen, targets = np.broadcast_to(evaluated, score.shape), []
    for s, m, counted in zip(score, member, seen, strict=True):
        which = np.flatnonzero(counted)
        inside = m.take(which)
        shares, n1 = placements(s.take(which), inside), int(inside.sum())
        auc = float(shares.take(np.flatnonzero(inside)).mean()) if 0 < n1 < len(which) else float("nan")
        targets.append((which, inside, shares, auc, n1))
    value, influence = float(np.mean([auc for *_, auc, _ in targets])), np.zeros(score.shape, np.float32)
    pairs = sum(min(n1, len(which) - n1) for which, *_, n1 in targets)
    if np.isnan(value):
        return OverTargets(value, pairs, influence)
    for row, (which, inside, shares, auc, n1) in zip(influence, targets, strict=True):
        share = 1 / np.array([len(which) - n1, n1]) / len(targets)
        row[which] = (shares - np.array([auc, value]).take(inside)) * share.take(inside)
    return OverTargets(value, pairs, influence)


def mean_tpr(score: np.ndarray, member: np.ndarray, evaluated: np.ndarray, fpr: float) -> OverTargets:
    """The mean over targets of the conformal TPR, each with its own threshold; shapes as `mean_auc`'s.

    A non-member above the threshold raises it, and lowers the TPR by the slope of the ROC there (Bahadur 1966):
    that of the targets' mean ROC from half to twice the rank of the threshold. NaN where one TPR is undefined.
    """
    seen, influence = np.broadcast_to(evaluated, score.shape), np.zeros(score.shape, np.float32)
    rows, tprs, rise, run = [], [], 0.0, 0.0
    for s, m, counted in zip(score, member, seen, strict=True):
        which = np.flatnonzero(counted)
        s, inside = np.where(np.isnan(s), -np.inf, s).take(which), m.take(which)
        members, others = s.take(np.flatnonzero(inside)), s.take(np.flatnonzero(~inside))
        n1, n0 = len(members), len(others)
        rank = 1 + int(false_positives(n0, fpr, "conformal"))  # of the threshold, from the top
        if rank < 1 or not n1:
            return OverTargets(float("nan"), int((member & seen).sum()), influence)
        low, high = rank // 2, min(2 * rank, n0)
        best = -np.partition(-others, [max(low, 1) - 1, rank - 1, high - 1])  # in order at these ranks
        reached = [float((members > best[k - 1]).mean()) if k else 0.0 for k in (low, high)]
        rise, run = rise + reached[1] - reached[0], run + (high - low) / n0
        limit = best[rank - 1]
        tprs.append((members > limit).mean())
        place = 2 * inside + (s > limit)  # 0, 1: non-members below and above the threshold; 2, 3: members
        rows.append((which, place, n1, n0, (others > limit).mean()))
    value, slope = float(np.mean(tprs)), rise / run
    for row, (which, place, n1, n0, false) in zip(influence, rows, strict=True):
        of_place = np.array([slope * false / n0, slope * (false - 1) / n0, -value / n1, (1 - value) / n1])
        row[which] = (of_place / len(rows)).astype(np.float32).take(place)
    return OverTargets(value, int((member & seen).sum()), influence)


def placements(score: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Share of the non-members that each member outscores, and of the members that outscore each non-member.

    Ties count half; score float [n], NaN counting as -inf, member bool [n]; float64 [n]. NaN where a class is
    missing.

    >>> placements(np.array([1.0, 2, 2, 3]), np.array([False, True, False, True]))
    array([1.  , 0.75, 0.75, 1.  ])
    """
    ranking = Ranking.of(score, member)
    below, upto = ranking.outscored()
    n1 = int(member.sum())
    n0 = len(member) - n1
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.array([-0.5, 0.5]) / np.array([n1, n0])  # of non-members, and of members
        share = np.array([1.0, 0.0]).take(ranking.member) + slope.take(ranking.member) * (below + upto)
    placed = np.empty(len(member))
    placed[ranking.place] = share
    return placed
