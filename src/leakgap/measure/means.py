"""Means over targets of a target's own accuracy, loss, AUC or TPR, and what each pair (model, image) adds to them.

The influence of a pair is the first order of what the mean changes by when the pair counts once more. Influences
add up to 0; each as often as a bootstrap draws its pair, they give its replicates (`Resampling.mean`) without a
sort in each. A target's influences add up to its own value less the mean, over the number of targets: so models
vary as the targets' own values do.
"""

from typing import NamedTuple

import numpy as np

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
    count = side.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float((np.where(side, values, 0).sum(1, dtype=np.float64) / count).mean())
        share = (1 / (count * len(side)))[:, None]
    return OverTargets(value, int(side.sum()), np.where(side, (values - value) * share, 0).astype(np.float32))


def mean_auc(score: np.ndarray, member: np.ndarray, evaluated: np.ndarray) -> OverTargets:
    """The mean over targets of the AUC; score, member: [T,S], evaluated: bool [T,S] or [S], the pairs that count.

    A member's influence is the share of non-members that it outscores less the mean AUC, a non-member's the share
    of members that outscore it less the target's AUC (DeLong, DeLong and Clarke-Pearson 1988).
    """
    shares, pairs = [], 0
    for s, m, seen in zip(score, member, np.broadcast_to(evaluated, score.shape), strict=True):
        inside, outside = (np.where(np.isnan(s), -np.inf, s)[side & seen] for side in (m, ~m))
        pairs += min(len(inside), len(outside))
        shares.append(
            placements(inside, outside) if len(inside) and len(outside) else (np.array([np.nan]),) * 2
        )
    aucs = np.array([of_members.mean() for of_members, _ in shares])
    value, influence = float(aucs.mean()), np.zeros(score.shape, np.float32)
    if np.isnan(value):
        return OverTargets(value, pairs, influence)
    seen = np.broadcast_to(evaluated, score.shape)
    for t, (of_members, of_others) in enumerate(shares):
        influence[t, member[t] & seen[t]] = (of_members - value) / len(of_members)
        influence[t, ~member[t] & seen[t]] = (of_others - aucs[t]) / len(of_others)
    return OverTargets(value, pairs, influence / len(shares))


def mean_tpr(score: np.ndarray, member: np.ndarray, evaluated: np.ndarray, fpr: float) -> OverTargets:
    """The mean over targets of the conformal TPR, each with its own threshold; shapes as `mean_auc`'s.

    A non-member above the threshold raises it, and lowers the TPR by the slope of the ROC there (Bahadur 1966):
    that of the targets' mean ROC from half to twice the rank of the threshold. NaN where one TPR is undefined.
    """
    seen, rows, pairs = np.broadcast_to(evaluated, score.shape), [], 0
    for s, inside, outside in zip(score, member & seen, ~member & seen, strict=True):
        s = np.where(np.isnan(s), -np.inf, s)
        rank = 1 + int(
            false_positives(int(outside.sum()), fpr, "conformal")
        )  # of the threshold, from the top
        if rank < 1 or not inside.any():
            return OverTargets(float("nan"), int((member & seen).sum()), np.zeros(score.shape, np.float32))
        others = -np.sort(-s[outside])
        low, high = rank // 2, min(2 * rank, len(others))
        reached = [float((s[inside] > others[k - 1]).mean()) if k else 0.0 for k in (low, high)]
        rows.append(
            (s > others[rank - 1], inside, outside, reached[1] - reached[0], (high - low) / len(others))
        )
        pairs += int(inside.sum())
    value = float(np.mean([above[inside].mean() for above, inside, *_ in rows]))
    slope = sum(row[3] for row in rows) / sum(row[4] for row in rows)
    influence = np.zeros(score.shape, np.float32)
    for t, (above, inside, outside, *_) in enumerate(rows):
        influence[t, inside] = (above[inside] - value) / inside.sum()
        influence[t, outside] = -slope * (above[outside] - above[outside].mean()) / outside.sum()
    return OverTargets(value, pairs, influence / len(rows))


def placements(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the non-members that each member outscores, and of the members that outscore each non-member."""
    return _outscored(inside, outside), 1 - _outscored(outside, inside)


def _outscored(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of the others that each score is above, ties counting half."""
    order, ascending = (
        np.argsort(scores),
        np.sort(others),
    )  # in order, neighbours are found next to each other
    below, upto = (np.searchsorted(ascending, scores[order], side=side) for side in ("left", "right"))
    share = np.empty(len(scores))
    share[order] = (below + upto) / (2 * len(others))
    return share
