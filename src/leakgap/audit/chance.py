"""Was it chance that made a target's members? Four signs that it was not, found without asking the target.

Only then is what an attack finds memory, and the coins behind a lower bound of epsilon fair. Members that are
older, cleaner or of other classes than non-members are told apart by models that have never seen any of them,
and shadow models whose training sets were balanced against the target's say by their number which records are
its own.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2_contingency

from leakgap import LeakgapError
from leakgap.answers.joined import Joined
from leakgap.measure.roc import auc
from leakgap.measure.single import auc_interval

LEVEL = 0.999  # each of the signs is seen in one of 1,000 targets whose members are random
TOLD = (
    0.9  # shadow models that rank members above others this well by their training sets alone measure nothing
)


def signs_against_chance(joined: Joined, target: int) -> list[str]:
    """Return a sentence for every sign that the members of target number `target` are no random draw."""
    assert joined.target_member is not None
    seen = ~joined.reserved
    member, signs = joined.target_member[target, seen], []
    codes = np.unique(joined.codes[seen], return_inverse=True)[1]
    table = [np.bincount(codes[side], minlength=codes.max() + 1) for side in (member, ~member)]
    if chi2_contingency(table).pvalue < 1 - LEVEL:
        signs.append("members and non-members have their labels in other proportions")

    used = ~joined.left_out[target]
    asked, inside = joined.asked[used][:, seen], joined.member[used][:, seen]
    if len(asked):
        if _differs(asked.mean(0), member):
            signs.append(
                "which records the shadow models answered tells whether the target was trained on them"
            )
        share = _mean(inside, asked)
        if _differs(share, member):
            signs.append("how many shadow models were trained on a record tells whether the target was")
        if joined.phi is not None:
            blind = _mean(joined.phi[1][used][:, seen, 0], asked & ~inside)
            if _differs(blind, member):
                signs.append(
                    "shadow models that were not trained on a record tell whether the target was: members and "
                    "non-members differ by themselves"
                )
    return signs


def check_shadows(joined: Joined) -> None:
    """Raise LeakgapError where the shadow models' training sets alone say who was a member.

    So it is with the folds of a cross-validation, and with shadow models that were drawn among the target's
    members: every other record is in none of them, and what an attack makes of that is no memory of the target's.
    """
    if joined.target_member is None:
        return
    seen = ~joined.reserved
    for t, inside in enumerate(joined.target_member[:, seen]):
        used = ~joined.left_out[t]
        asked, trained = joined.asked[used][:, seen], joined.member[used][:, seen]
        if not len(asked):
            continue
        share = np.nan_to_num(_mean(trained, asked), nan=-1.0)
        for known in (asked.mean(0), share):
            if np.ptp(known) and abs(auc(known, inside) - 0.5) > TOLD - 0.5:
                raise LeakgapError(
                    "nothing can be measured with these shadow models: which records they were trained on tells "
                    "which the target was trained on. Train each on a random half of all records, the target's "
                    "members and the others alike, and ask each about all of them"
                )


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the models that count, NaN where none does: [S]."""
    with np.errstate(invalid="ignore"):
        return np.where(counted, values, 0).sum(0) / counted.sum(0)


def _differs(value: np.ndarray, member: np.ndarray) -> bool:
    """Does a value known without the target tell its members from its non-members?"""
    known = np.isfinite(value)
    if min(member[known].sum(), (~member[known]).sum()) < 2 or np.ptp(value[known]) == 0:
        return False
    bounds = auc_interval(value[known], member[known], LEVEL)
    return not bounds.low <= 0.5 <= bounds.high
