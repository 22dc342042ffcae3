"""How sure a measure of one target is: intervals in closed form, from the records alone.

One target says nothing about how much models of its recipe vary; these intervals are about this model, with its
records as a sample. For several targets see `leakgap.measure.bootstrap`.
"""

import numpy as np
from scipy.special import betaincinv, ndtri, stdtrit

from leakgap.arguments import fraction
from leakgap.measure.estimate import Estimate
from leakgap.measure.groups import effective_groups, group_codes
from leakgap.measure.means import placements
from leakgap.measure.ranking import Ranking
from leakgap.measure.roc import auc, conformal_curve, conformal_rank, threshold, tpr_at_fpr

PRIORS = (0.01, 0.1, 0.5)  # shares of members among those suspected, for the precision


UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"))


def tpr_interval(
    score: np.ndarray,
    member: np.ndarray,
    fpr: float,
    level: float = 0.95,
    group: np.ndarray | None = None,
) -> Estimate:
    """Return the conformal TPR of one target with its interval; score, member: [S], NaN abstains.

    Two things vary with the records: which members are above the threshold, and the threshold itself, one of the
    n0 non-members. The share of members above a given threshold has Clopper and Pearson's interval. The false
    positive rate of the k-th highest non-member is Beta(k, n0 + 1 - k), so the TPR at its quantiles, along the
    ROC, says how far the threshold moves it; before the first non-member the ROC is taken to be a line from the
    origin, the lowest that a concave one can be. The two deviations are squared and added (MOVER; Zou and Donner
    2008, "Construction of confidence intervals about effect measures"). So zero of n members, or all of them, have
    an honest bound too, which a bootstrap does not give. NaN where the TPR is undefined.

    group: int [S], records with the same number are one person's. Members and non-members then count as so many
    independent ones as `independent` says.

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
    tail = (1 - fraction(level, "level")) / 2
    limit = threshold(score[~member], fpr)
    above = score > limit  # NaN is not
    _, low, high, *_ = share_above(above[member], level, _part(group, member))
    n0 = np.count_nonzero(~member)
    others = independent(above[~member], level, _part(group, ~member))
    rank = conformal_rank(n0, fpr) * others / n0
    fprs, tprs = conformal_curve(score, member)
    few, many = np.interp(
        betaincinv(rank, others + 1 - rank, [tail, 1 - tail]), np.append(0, fprs), np.append(0, tprs)
    )
    return Estimate(
        value,
        max(0.0, value - float(np.hypot(value - low, value - few))),
        min(1.0, value + float(np.hypot(high - value, many - value))),
    )


def share_above(above: np.ndarray, level: float = 0.95, group: np.ndarray | None = None) -> Estimate:
    """Return a share of records with its interval; above: bool [n], group: int [n], of records of one person.

    Clopper and Pearson's, of as many records as are `independent` (Korn and Graubard 1998, "Confidence intervals
    for proportions with small expected number of positive counts estimated from survey data").

    >>> import numpy as np
    >>> above, group = np.arange(40) < 4, np.arange(40) // 4
    >>> [round(value, 2) for value in share_above(above)[:3]]
    [0.1, 0.03, 0.24]
    >>> [round(value, 2) for value in share_above(above, group=group)[:3]]
    [0.1, 0.0, 0.53]
    """
    of = len(above)
    number = independent(above, level, group)
    return share_interval(np.count_nonzero(above) * (number / of if of else 1.0), number, level)._replace(
        value=float(above.mean()) if of else float("nan")
    )


def independent(above: np.ndarray, level: float = 0.95, group: np.ndarray | None = None) -> float:
    """Return how many independent records tell as much about the share `above` as these do, at most all.

    n / (design effect) (t(n - 1) / t(G - 1))^2: the design effect is the variance of the share over that of
    independent records, from the groups' totals; G is the effective number of groups, (sum n_g^2)^2 / sum n_g^4.
    Where none or all are above, and of one group, the records of a group are taken to be all alike.
    """
    n, codes = len(above), group_codes(group, len(above))
    if codes is None:
        return n
    size, share = np.bincount(codes), above.mean()
    groups = len(size)
    if share in (0, 1) or groups < 2:
        return n**2 / (size**2).sum()
    variance = groups / (groups - 1) * ((np.bincount(codes, above) - share * size) ** 2).sum() / n**2
    effect = variance / (share * (1 - share) / n)
    freedom = max(effective_groups(size) - 1, 1.0)
    tail = (1 - level) / 2
    return n / max(1.0, effect * (stdtrit(freedom, tail) / stdtrit(n - 1, tail)) ** 2)


def share_interval(count: float, of: float, level: float = 0.95) -> Estimate:
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


def auc_interval(
    score: np.ndarray, member: np.ndarray, level: float = 0.95, group: np.ndarray | None = None
) -> Estimate:
    """Return the AUC of one target with its interval; score, member: [S], NaN abstains.

    DeLong, DeLong and Clarke-Pearson 1988: the variances of the share of non-members that a member outscores, and
    of members that a non-member is outscored by, on the scale of log(AUC / (1 - AUC)). An AUC of exactly 1 (or 0)
    has no variance to estimate; then min(n0, n1) disjoint pairs of a member and a non-member were all told apart,
    and the bound is Clopper and Pearson's for them.

    group: int [S], records with the same number are one person's. The variance is then that of the groups' totals
    (Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data"), whether a group's records are on one
    side or on both, with Student's t of the groups' effective number.

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
    codes = group_codes(group, len(member))
    if value in (0, 1):
        apart = np.arange(len(member)) if codes is None else codes
        told = [len(np.unique(apart[side])) for side in (member, ~member)]
        bound = ((1 - level) / 2) ** (1 / min(told))
        return Estimate(value, bound, 1.0) if value else Estimate(value, 0.0, 1 - bound)
    if min(n1, n0) < 2:
        return Estimate(value, 0.0, 1.0)
    ranking = Ranking.of(score, member)
    of_members, of_others = placements(ranking)
    if codes is not None:
        away = np.empty(len(member))
        away[ranking.place[ranking.inside]] = (of_members - value) / n1
        away[ranking.place[ranking.outside]] = (of_others - value) / n0
        error, times = _of_groups(away, codes, (1 - level) / 2)
    else:
        error = np.sqrt(of_members.var(ddof=1) / n1 + of_others.var(ddof=1) / n0)
        times = -ndtri((1 - level) / 2)
    middle, half = np.log(value / (1 - value)), times * error / (value * (1 - value))
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


def _of_groups(away: np.ndarray, codes: np.ndarray, tail: float) -> tuple[float, float]:
    """The standard error of a sum of groups' parts, of mean 0, and the quantile of Student's t for it."""
    total, size = np.bincount(codes, away), np.bincount(codes)
    groups = len(total)
    if groups < 2:
        return np.nan, np.nan
    freedom = max(effective_groups(size) - 1, 1.0)
    return float(np.sqrt(groups / (groups - 1) * (total**2).sum())), float(-stdtrit(freedom, tail))


def _part(group: np.ndarray | None, side: np.ndarray) -> np.ndarray | None:
    return None if group is None else group[side]
