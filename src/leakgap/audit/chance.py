"""Was it chance that made a target's members? Four signs that it was not, found without asking the target.

Only then is what an attack finds memory, and the coins behind a lower bound of epsilon fair. Members that are
older, cleaner or of other classes than non-members are told apart by models that have never seen any of them,
and shadow models whose training sets were balanced against the target's say by their number which records are
its own.

Each sign is tested by drawing the members anew, as they may have been drawn: single records, or whole groups of
them (all visits of a patient). Records of a group that is drawn as one are alike for other reasons than the draw.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from leakgap import LeakgapError
from leakgap.answers.joined import Joined
from leakgap.measure.groups import drawn_together
from leakgap.measure.roc import auc

DRAWS = (
    1999  # of the members; a sign is what no more than one of them shows as clearly: in one of 1,000 targets
)
TOLD = (
    0.9  # shadow models that rank members above others this well by their training sets alone measure nothing
)


def signs_against_chance(joined: Joined, target: int, group: np.ndarray | None = None) -> list[str]:
    """Return a sentence for every sign that the members of target number `target` are no random draw.

    group: int [S], records that may have been drawn as one.
    """
    assert joined.target_member is not None
    seen = ~joined.reserved
    member, signs = joined.target_member[target, seen], []
    unit = drawn_together(member, None if group is None else group[seen])
    codes = np.unique(joined.codes[seen], return_inverse=True)[1].reshape(-1)
    if beyond_chance(lambda members: _unlike(codes, members), member, unit):
        signs.append("members and non-members have their labels in other proportions")

    used = ~joined.left_out[target]
    asked, inside = joined.asked[used][:, seen], joined.member[used][:, seen]
    if len(asked):
        if _differs(asked.mean(0), member, unit):
            signs.append(
                "which records the shadow models answered tells whether the target was trained on them"
            )
        share = _mean(inside, asked)
        if _differs(share, member, unit):
            signs.append("how many shadow models were trained on a record tells whether the target was")
        if joined.phi is not None:
            blind = _mean(joined.phi[1][used][:, seen, 0], asked & ~inside)
            if _differs(blind, member, unit):
                signs.append(
                    "shadow models that were not trained on a record tell whether the target was: members and "
                    "non-members differ by themselves"
                )
    return signs


def check_shadows(joined: Joined) -> None:
    """Raise LeakgapError where the shadow models' training sets alone say who was a member.

    So it is with the folds of a cross-validation, and with shadow models that were drawn among the target's
    members: every other record is in none of them, and what an attack makes of that is no memory of the target's.
    Among few persons that may be so by chance, and is then no more than a sign.
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
        unit = drawn_together(inside, None if joined.group is None else joined.group[seen])
        for known in (asked.mean(0), share):
            told = np.ptp(known) > 0 and abs(auc(known, inside) - 0.5) > TOLD - 0.5
            if told and _differs(known, inside, unit):
                raise LeakgapError(
                    "nothing can be measured with these shadow models: which records they were trained on tells "
                    "which the target was trained on. Train each on a random half of all records, the target's "
                    "members and the others alike, and ask each about all of them"
                )


def beyond_chance(
    statistic: Callable[[np.ndarray], float], member: np.ndarray, unit: np.ndarray, seed: int = 0
) -> bool:
    """Whether the members' statistic is among the two largest of DRAWS further draws of as many units, and its own.

    statistic: of members, bool [S]; the larger, the less alike are members and others. unit: int [S], from 0,
    records drawn as one, all of them members or none. True in at most one of 1,000 random draws.

    >>> value = np.arange(40)
    >>> member = value >= 20
    >>> beyond_chance(lambda members: value[members].mean(), member, unit=value)
    True
    >>> beyond_chance(lambda members: value[members].mean(), member, unit=value // 20)  # drawn as two
    False
    """
    rng, found = np.random.default_rng(seed), statistic(member)
    drawn = np.zeros(unit.max() + 1, bool)
    drawn[unit[member]] = True
    as_clear = 0
    for _ in range(DRAWS):
        as_clear += statistic(rng.permutation(drawn)[unit]) >= found
        if as_clear > 1:
            return False
    return True


def _unlike(codes: np.ndarray, members: np.ndarray) -> float:
    """Pearson's chi-squared of the members' labels, up to a constant; codes: int [S], from 0."""
    inside, every = np.bincount(codes[members], minlength=codes.max() + 1), np.bincount(codes)
    share = inside.sum() / len(codes)
    return float(((inside - share * every) ** 2 / every).sum() / max(share * (1 - share), 1e-12))


def _mean(values: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Mean over the models that count, NaN where none does: [S]."""
    with np.errstate(invalid="ignore"):
        return np.where(counted, values, 0).sum(0) / counted.sum(0)


def _differs(value: np.ndarray, member: np.ndarray, unit: np.ndarray) -> bool:
    """Does a value known without the target tell its members from its non-members?"""
    known = np.isfinite(value)
    inside = member[known]
    if min(inside.sum(), (~inside).sum()) < 2 or np.ptp(value[known]) == 0:
        return False
    rank = rankdata(value[known])
    rank -= rank.mean()
    return beyond_chance(
        lambda members: abs(float(rank[members].sum())),
        inside,
        np.unique(unit[known], return_inverse=True)[1],
    )
