"""What an attack achieves on the targets of an audit, with intervals, and the thresholds that shadow models set."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from leakgap.answers.joined import Joined
from leakgap.attacks import gives_away
from leakgap.audit.scores import Scores
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.estimate import Estimate, interval
from leakgap.measure.means import mean_auc
from leakgap.measure.ranking import rankings
from leakgap.measure.roc import conformal_rank, threshold
from leakgap.measure.single import (
    PRIORS,
    UNDEFINED,
    auc_interval,
    precision,
    share_above,
    tpr_interval,
)

LEVEL = 0.95  # of every interval and bound


def achieved(score: Scores, joined: Joined, fprs: Sequence[float], seed: int) -> dict[str, Any]:
    """Return the numbers of one attack, by the names of the summary's columns.

    Where membership is known: AUC, TPR at each FPR and precision of the called at each prior, with the bounds of
    their intervals, and the FPR and TPR of the threshold that shadow models set. Else: this threshold, and how many
    records are above it.
    """
    seen = score.judged.any(0)
    values, judged = score.target[:, seen], score.judged[:, seen]
    found: dict[str, Any] = {
        "n_targets": len(values),
        "abstained": float(np.isnan(score.target[:, ~joined.reserved]).mean()),
    }
    limits = shadow_thresholds(score, joined, fprs)
    if joined.target_member is None:
        for fpr, limit in zip(fprs, limits, strict=True):
            count = int((values > limit[:, None]).sum()) if np.isfinite(limit).all() else None
            found |= {f"threshold_at_{fpr:g}": float(limit.mean()), f"called_at_{fpr:g}": count}
        return found
    member = joined.target_member[:, seen]
    group = None if joined.group is None else joined.group[seen]
    found |= {"n_members": int((member & judged).sum()), "n_nonmembers": int((~member & judged).sum())}
    if len(values) == 1:
        auc, tprs = _single(values[0], member[0], fprs, group)
    else:
        auc, tprs = _several(values, member, judged, fprs, seed, group)
    found |= _named("auc", auc)
    for fpr, tpr, limit in zip(fprs, tprs, limits, strict=True):
        found |= _named(f"tpr_at_{fpr:g}", tpr)
        for prior in PRIORS:
            called = tpr.carried(partial(precision, fpr=fpr, prior=prior))
            found |= _named(f"precision_at_{fpr:g}_of_{prior:g}", called)
        found[f"threshold_at_{fpr:g}"] = float(limit.mean())  # of several targets, each has its own
        for rate, side in (("fpr", ~member & judged), ("tpr", member & judged)):
            found |= _named(f"achieved_{rate}_at_{fpr:g}", _share_above(values, side, limit, group))
    return found


def shadow_thresholds(score: Scores, joined: Joined, fprs: Sequence[float]) -> np.ndarray:
    """The scores above which records are called members, from the non-members of shadow models alone, each attacked
    by the others: float64 [F, T], for every target of the models that do not give it away.

    Non-members on which the attack abstains set no threshold. NaN where too few are left.
    """
    limits = np.full((len(fprs), len(joined.left_out)), np.nan)
    others = np.flatnonzero(
        ~joined.left_out.all(0)
    )  # what no target may be attacked with sets no threshold either
    if not len(others):
        return limits
    ways: dict[int, list[int]] = {}  # targets whose shadow models are scored alike
    for target in range(len(joined.left_out)):
        ways.setdefault(id(score.shadow_for(target)), []).append(target)
    nonmember = (joined.asked & ~joined.member & ~joined.reserved)[others]
    for targets in ways.values():
        values = score.shadow_for(targets[0])[others]
        known = nonmember & ~np.isnan(values)
        count = known.sum(1)
        # the best of all, in order: the thresholds of all targets are among them, unless very few of theirs are
        best = known & (values > threshold(values[known], min(2 * max(fprs), 0.5)))
        of, best_values = np.nonzero(best)[0], values[best]
        order = np.argsort(-best_values)
        of, best_values = of[order], best_values[order]
        for target in targets:
            used = ~joined.left_out[target, others]
            own = best_values[used[of]]
            for place, fpr in enumerate(fprs):
                rank = int(conformal_rank(count[used].sum(), fpr))
                told = 1 <= rank <= len(own)
                limits[place, target] = own[rank - 1] if told else threshold(values[used][known[used]], fpr)
    return limits


def shadow_nonmembers(score: Scores, joined: Joined) -> np.ndarray:
    """The scores of the shadow models' non-members, where the attack on a shadow model did not abstain."""
    used = ~joined.left_out.all(0)
    scores = score.shadow[used][(joined.asked & ~joined.member & ~joined.reserved)[used]]
    return scores[~np.isnan(scores)]


def _single(
    score: np.ndarray, member: np.ndarray, fprs: Sequence[float], group: np.ndarray | None
) -> tuple[Estimate, list[Estimate]]:
    """AUC and TPRs of one target, with its records as a sample."""
    tprs = [tpr_interval(score, member, fpr, LEVEL, group) for fpr in fprs]
    return auc_interval(score, member, LEVEL, group), tprs


def _several(
    score: np.ndarray,
    member: np.ndarray,
    judged: np.ndarray,
    fprs: Sequence[float],
    seed: int,
    group: np.ndarray | None,
) -> tuple[Estimate, list[Estimate]]:
    """Mean AUC and pooled TPRs of several targets, with models and records as samples."""
    # a target and its complement are one draw
    alike = gives_away(member, member).argmax(1)
    draws = Resampling(member, judged, unit=alike, seed=seed, group=group)
    auc = draws.mean(mean_auc(rankings(score, member, judged), member.shape[1]), "logit")
    pooled = draws.pooled(score, fprs, abstentions=True)
    return interval(auc, LEVEL), [interval(each, LEVEL) for each in pooled]


def _share_above(
    score: np.ndarray, side: np.ndarray, limit: np.ndarray, group: np.ndarray | None
) -> Estimate:
    """The share of one side above each target's threshold, float [T]; with an interval for one target."""
    if not np.isfinite(limit).all():
        return UNDEFINED
    if len(score) > 1:
        return Estimate(float((side & (score > limit[:, None])).sum() / side.sum()), np.nan, np.nan)
    (inside,) = side
    return share_above(score[0, inside] > limit[0], LEVEL, None if group is None else group[inside])


def _named(name: str, bounds: Estimate) -> dict[str, float]:
    return {name: bounds.value, f"{name}_low": bounds.low, f"{name}_high": bounds.high}
