"""How sure a measure of one target is: intervals in closed form, from the records alone.

One target says nothing about how much models of its recipe vary; these intervals are about this model, with its
records as a sample. For several targets see `leakgap.measure.bootstrap`.
"""

import numpy as np
from scipy.special import betaincinv, ndtri

from leakgap.arrays import fraction
from leakgap.measure.estimate import Estimate
from leakgap.measure.means import placements
from leakgap.measure.ranking import Ranking
from leakgap.measure.roc import auc, conformal_curve, conformal_rank, tpr_at_fpr

PRIORS = (0.01, 0.1, 0.5)  # shares of members among those suspected, for the precision


UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"))


def tpr_interval(score: np.ndarray, member: np.ndarray, fpr: float, level: float = 0.95) -> Estimate:
    """Return the conformal TPR of one target with its interval; score, member: [S], NaN abstains.

    Two things vary with the records: which members are above the threshold, and the threshold itself, one of the
    n0 non-members. The share of members above a given threshold has Clopper and Pearson's interval. The false
    positive rate of the k-th highest non-member is Beta(k, n0 + 1 - k), so the TPR at its quantiles, along the
    ROC, says how far the threshold moves it; before the first non-member the ROC is taken to be a line from the
    origin, the lowest that a concave one can be. The two deviations are squared and added (MOVER; Zou and Donner
    2008, "Construction of confidence intervals about effect measures"). So zero of n members, or all of them, have
    an honest bound too, which a bootstrap does not give. NaN where the TPR is undefined.

    Examples
    --------
    >>> import numpy as np
    >>> score, member = np.arange(400) % 199 / 199, np.arange(400) < 200
    >>> [round(value, 3) for value in tpr_interval(score, member, fpr=0.01)[:3]]
    [0.005, 0.0, 0.034]
    """
    value = tpr_at_fpr(score, member, fpr, abstentions=True)
    if np.isnan(value):
        return UNDEFINED
    inside, outside = _split(score, member)
    n1, n0, tail = len(inside), len(outside), (1 - fraction(level, "level")) / 2
    _, low, high, *_ = share_interval(round(value * n1), n1, level)
    rank = int(conformal_rank(n0, fpr))
    fprs, tprs = conformal_curve(score, member)
    few, many = np.interp(
        betaincinv(rank, n0 + 1 - rank, [tail, 1 - tail]), np.append(0, fprs), np.append(0, tprs)
    )
    return Estimate(
        value,
        max(0.0, value - float(np.hypot(value - low, value - few))),
        min(1.0, value + float(np.hypot(high - value, many - value))),
    )


def share_interval(count: int, of: int, level: float = 0.95) -> Estimate:
    """Return a share of independent records with its interval (Clopper and Pearson 1934); NaN of none.

    >>> [round(value, 3) for value in share_interval(0, 30)[:3]]
    [0.0, 0.0, 0.116]
    """
    if not of:
        return UNDEFINED
    tail = (1 - fraction(level, "level")) / 2
    low = betaincinv(count, of - count + 1, tail) if count else 0.0
    high = betaincinv(count + 1, of - count, 1 - tail) if count < of else 1.0
    return Estimate(count / of, float(low), float(high))


def auc_interval(score: np.ndarray, member: np.ndarray, level: float = 0.95) -> Estimate:
    """Return the AUC of one target with its interval; score, member: [S], NaN abstains.

    DeLong, DeLong and Clarke-Pearson 1988: the variances of the share of non-members that a member outscores, and
    of members that a non-member is outscored by, on the scale of log(AUC / (1 - AUC)). An AUC of exactly 1 (or 0)
    has no variance to estimate; then min(n0, n1) disjoint pairs of a member and a non-member were all told apart,
    and the bound is Clopper and Pearson's for them.

    Examples
    --------
    >>> import numpy as np
    >>> [round(value, 3) for value in auc_interval(np.arange(40) % 23, np.arange(40) < 20)[:3]]
    [0.489, 0.314, 0.666]
    """
    fraction(level, "level")
    value = auc(score, member, abstentions=True)
    if np.isnan(value):
        return UNDEFINED
    n1 = int(member.sum())
    n0 = len(member) - n1
    if value in (0, 1):
        bound = ((1 - level) / 2) ** (1 / min(n1, n0))
        return Estimate(value, bound, 1.0) if value else Estimate(value, 0.0, 1 - bound)
    if min(n1, n0) < 2:
        return Estimate(value, 0.0, 1.0)
    of_members, of_others = placements(Ranking.of(score, member))
    error = np.sqrt(of_members.var(ddof=1) / n1 + of_others.var(ddof=1) / n0)
    middle, half = np.log(value / (1 - value)), -ndtri((1 - level) / 2) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(middle + np.array([-half, half]))))
    return Estimate(value, float(low), float(high))


def precision(rate: float, fpr: float, prior: float) -> float:
    """Share of true members among the called: prior TPR / (prior TPR + (1 - prior) FPR); NaN where none is called.

    Rises with the TPR, so an interval of the TPR becomes one of the precision by its ends.

    >>> round(precision(0.05, fpr=0.01, prior=0.1), 3)
    0.357
    """
    called = prior * rate + (1 - prior) * fpr
    return prior * rate / called if called > 0 else float("nan")


def _split(score: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    score = np.where(np.isnan(score), -np.inf, score).astype(np.float64)
    return score[member], score[~member]
