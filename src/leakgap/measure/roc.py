"""Attack success: TPR at a low FPR, AUC, balanced accuracy, ROC curves.

A higher score means "member". A score of NaN is an abstention and counts as -inf; `tpr_at_fpr` and `auc`, which are
public, want to be told so. Where one of the two classes is missing, every measure is NaN.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from leakgap import ArgumentError
from leakgap.arguments import fraction, numbers, truths
from leakgap.measure.ranking import Ranking, at_ranks

__all__ = [
    "Curve",
    "Reading",
    "auc",
    "balanced_accuracy",
    "conformal_curve",
    "conformal_rank",
    "curve",
    "flagged",
    "per_target",
    "threshold",
    "thresholds",
    "tpr_at_fpr",
]

Reading = Literal["conformal", "last-point", "strict"]


class Curve(NamedTuple):
    """Points of a ROC curve, ascending: float64 [points] each."""

    fpr: np.ndarray
    tpr: np.ndarray


def tpr_at_fpr(
    score: ArrayLike,
    member: ArrayLike,
    fpr: float,
    reading: Reading = "conformal",
    *,
    abstentions: bool = False,
) -> float:
    """TPR at an FPR of at most `fpr`, without interpolation; score and member (bool) have one shape, any.

    Raises ArgumentError for scores that are NaN, unless `abstentions` says that the attack abstained there, which
    counts as "not a member", and where shapes, types or options are no such thing.

    conformal   image x is called a member iff (1 + #{non-members scored >= s(x)}) / (n0 + 1) <= fpr, so that ties
                count against the attacker; NaN (undefined) where n0 < 1 / fpr - 1 non-members can't tell
    last-point  at the last point of the empirical ROC with FPR <= fpr
    strict      at the last point with FPR < fpr, as the reference implementation of LiRA reads it

    >>> score, member = np.arange(200.0), np.arange(200) >= 100  # 100 non-members below 100 members
    >>> tpr_at_fpr(score, member, 0.01), tpr_at_fpr(score, member, 0.001)
    (1.0, nan)
    """
    score, member = _flat(score, member, abstentions)
    (limit,) = _thresholds(score[~member], [fpr], reading)
    if np.isnan(limit) or not member.any():
        return float("nan")
    return float((score[member] > limit).mean())


def flagged(score: np.ndarray, member: np.ndarray, fpr: float) -> np.ndarray:
    """Which images are called members in the conformal reading: bool, shaped as score; none where undefined."""
    flat, truth = _flat(score, member)
    (limit,) = _thresholds(flat[~truth], [fpr], "conformal")
    return (flat > limit).reshape(np.shape(score))


def auc(score: ArrayLike, member: ArrayLike, *, abstentions: bool = False) -> float:
    """Area under the ROC: the probability that a member outscores a non-member, ties counting half.

    score and member (bool) have one shape, any. Raises as `tpr_at_fpr`.

    >>> auc(np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True]))
    0.875
    """
    return _area(_ranked(score, member, abstentions))[0]


def balanced_accuracy(score: np.ndarray, member: np.ndarray) -> float:
    """Mean of TPR and TNR at the best threshold, at least 1/2."""
    return _area(_ranked(score, member))[1]


def curve(ranked: Sequence[Ranking], points: int = 200) -> Curve:
    """Points of the empirical ROC of all targets' images, at up to `points` FPRs spaced by ratio from 1/n0 to 1.

    Each is the last point (see `tpr_at_fpr`) at its FPR, a multiple of 1/n0. No points if one class is missing.
    """
    inside = [target.score.take(target.inside) for target in ranked]
    outside = np.concatenate([target.score.take(target.outside) for target in ranked])
    n1, n0 = sum(map(len, inside)), len(outside)
    if not n1 or not n0:
        return Curve(np.empty(0), np.empty(0))
    allowed = np.unique(np.geomspace(1, n0, points).round()).astype(int)
    # the first non-member that may not be called, unless all may be
    first = at_ranks(outside, n0 - 1 - np.minimum(allowed, n0 - 1))
    called = n1 - sum(np.searchsorted(own, first, side="right") for own in inside)
    return Curve(allowed / n0, np.where(allowed < n0, called, n1) / n1)


def conformal_curve(
    score: np.ndarray, member: np.ndarray, points: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the ROC in the conformal reading: FPRs k / (n0 + 1) and the TPR at each.

    score, member: of one shape, any. All k from 1 to n0 + 1, or about as many as `points` says, spaced by
    ratio. Where one class is missing, none.

    >>> conformal_curve(np.array([3.0, 1, 2, 0]), np.array([True, True, False, False]))
    (array([0.33333333, 0.66666667, 1.        ]), array([0.5, 1. , 1. ]))
    """
    flat, truth = _abstaining(np.ravel(score)), np.ravel(member)
    inside, outside = flat[truth], flat[~truth]
    n1, n0 = len(inside), len(outside)
    if not n1 or not n0:
        return np.empty(0), np.empty(0)
    ranks = np.arange(1, n0 + 2)
    if points is not None:
        ranks = np.unique(np.geomspace(1, n0 + 1, points).round().astype(int))
    thresholds = np.append(np.sort(outside)[::-1], -np.inf)[ranks - 1]
    above = n1 - np.searchsorted(np.sort(inside), thresholds, side="right")
    return ranks / (n0 + 1), np.where(ranks > n0, 1.0, above / n1)


def per_target(ranked: Iterable[Ranking], fprs: Sequence[float]) -> dict[str, np.ndarray]:
    """auc, balanced_acc and tpr_at_<fpr> (conformal) of every target, float64 [T]."""
    rows = []
    for target in ranked:
        n1, n0 = len(target.inside), len(target.outside)
        ranks = [int(conformal_rank(n0, fpr)) for fpr in fprs]
        tprs = [target.above(rank)[1] / n1 if rank and n1 else float("nan") for rank in ranks]
        rows.append([*_area(target), *tprs])
    names = ["auc", "balanced_acc", *(f"tpr_at_{fpr:g}" for fpr in fprs)]
    return dict(zip(names, np.array(rows).reshape(-1, len(names)).T, strict=True))


def refuse_nan(score: np.ndarray) -> None:
    """ArgumentError where a score is NaN: what it means is not ours to guess."""
    missing = int(np.isnan(score).sum())
    if missing:
        raise ArgumentError(
            f"score: {missing} of {np.size(score)} are NaN; leave them out (reserved images), or pass "
            "abstentions=True if the attack abstained there, which counts as 'not a member'"
        )


def _flat(score: ArrayLike, member: ArrayLike, abstentions: bool = True) -> tuple[np.ndarray, np.ndarray]:
    tables: list[Any] = [each for each in (score, member) if hasattr(each, "iloc")]
    if len(tables) == 2 and not tables[0].index.equals(tables[1].index):
        raise ArgumentError("score and member are tables with different indices: bring them into one order")
    score, member = numbers(score, "score"), truths(member, "member")
    if score.shape != member.shape:
        raise ArgumentError(f"score and member must have one shape, not {score.shape} and {member.shape}")
    if not abstentions:
        refuse_nan(score)
    return np.ravel(_abstaining(score)), np.ravel(member)


def _abstaining(score: np.ndarray) -> np.ndarray:
    """NaN as -inf; whole numbers stay what they are, above 2^53 too."""
    return np.where(np.isnan(score), -np.inf, score) if score.dtype.kind == "f" else score


def conformal_rank(n0, fpr: float):
    """Rank, from the top, of the non-member whose score is the threshold, a whole number; 0 where n0 are too few.

    n0: a number of non-members or an array of them. The one place where floor(fpr (n0 + 1)) is computed.

    >>> conformal_rank(np.array([99, 98]), 0.01)
    array([1., 0.])
    """
    return np.floor(fpr * (n0 + 1) + 1e-9)  # (n0 + 1) * fpr may be an integer but for rounding


def false_positives(n0, fpr: float, reading: Reading):
    """How many of n0 non-members (a number or an array) may be called members; -1 where undefined."""
    fraction(fpr, "fpr")
    if reading == "conformal":
        return conformal_rank(n0, fpr) - 1
    if reading == "last-point":
        return np.where(n0 > 0, np.floor(fpr * n0 + 1e-9), -1)
    if reading == "strict":
        return np.ceil(fpr * n0 - 1e-9) - 1
    raise ArgumentError(f"reading must be conformal, last-point or strict, not {reading!r}")


def threshold(nonmembers: ArrayLike, fpr: float, reading: Reading = "conformal") -> float:
    """Return the score above which records are called members; nonmembers: scores of any shape, NaN abstains.

    In the conformal reading: the non-member of rank fpr (n0 + 1) from the top, so that the next non-member is above
    it with a probability of at most fpr. NaN where undefined, as n0 < 1 / fpr - 1 is.

    >>> threshold(np.arange(99), 0.01), threshold(np.arange(98), 0.01)
    (98.0, nan)
    """
    return thresholds(nonmembers, [fpr], reading)[0]


def thresholds(nonmembers: ArrayLike, fprs: Sequence[float], reading: Reading = "conformal") -> list[float]:
    """Return the `threshold` of each FPR.

    >>> thresholds(np.arange(99), [0.01, 0.5])
    [98.0, 49.0]
    """
    return [
        float(limit) for limit in _thresholds(_abstaining(numbers(nonmembers, "nonmembers")), fprs, reading)
    ]


def _thresholds(nonmembers: np.ndarray, fprs: Sequence[float], reading: Reading) -> list[Any]:
    """Those of scores of any type, which a whole number above 2^53 keeps."""
    flat = np.ravel(nonmembers)
    allowed = [int(false_positives(len(flat), fpr, reading)) for fpr in fprs]
    places = [len(flat) - 1 - most for most in allowed if most >= 0]
    ordered = np.partition(flat, places) if places else flat
    return [ordered[len(flat) - 1 - most] if most >= 0 else np.nan for most in allowed]


def _ranked(score: ArrayLike, member: ArrayLike, abstentions: bool = True) -> Ranking:
    return Ranking.of(*_flat(score, member, abstentions))


def _area(ranking: Ranking) -> tuple[float, float]:
    """AUC and balanced accuracy, from how many members score above each non-member."""
    n1, n0 = len(ranking.inside), len(ranking.outside)
    if not n1 or not n0:
        return float("nan"), float("nan")
    below, upto = ranking.outscored(inside=False)
    # true positives above the best non-member, the second, ..., and so many false ones, or fewer
    balanced = (1 + (n1 - upto[::-1]) / n1 - np.arange(n0) / n0).max() / 2
    lower = int(below.sum()) + int(upto.sum())
    return 1 - lower / (2 * n1 * n0), max(float(balanced), 0.5)
