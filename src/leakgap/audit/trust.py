"""What speaks against the answers themselves: sentences for the first screen, before any number of an attack.

The commonest mistakes leave answers that look right. A model that answers at chance has its classes in another
order than its labels; members on whom models do worse than on others are named the wrong way round; records that
are alike are one record twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from leakgap.answers.joined import Joined
from leakgap.audit.scores import Scores
from leakgap.measure.groups import group_codes
from leakgap.measure.single import auc_interval, share_interval

LEVEL = 0.999  # a sentence is wrong in one of 1,000 audits
SAME = 1e-5  # records whose answers, relative to their spread, differ by no more in any model are alike


def accuracies(joined: Joined) -> dict[str, Any] | None:
    """Return the share of right answers of targets and shadow models on members and on others; None: not known."""
    if joined.correct is None:
        return None
    found: dict[str, Any] = {}
    sides = {
        "target": (joined.correct[0], joined.target_member, None),
        "shadows": (joined.correct[1], joined.member, joined.asked),
    }
    for name, (correct, member, asked) in sides.items():
        if not len(correct):
            continue
        counted = ~joined.reserved & (np.ones(correct.shape, bool) if asked is None else asked)
        found[name] = {"all": _share(correct, counted)}
        if member is not None:
            found[name] |= {
                "members": _share(correct, counted & member),
                "others": _share(correct, counted & ~member),
            }
    return found


def _share(correct: np.ndarray, counted: np.ndarray) -> float | None:
    return float(correct[counted].mean()) if counted.any() else None


def warnings(joined: Joined, leading: Scores) -> list[str]:
    """Return a sentence for everything that makes the answers doubtful, the gravest first.

    leading: the scores of the leading attack.
    """
    return [*_reversed(joined, _auc_high(joined, leading)), *_at_chance(joined), *_alike(joined)]


def _at_chance(joined: Joined) -> list[str]:
    """Models that are right no more often than one who names the commonest label, on any record."""
    told = []
    if joined.correct is None:
        return []
    classes = len(set(joined.codes.tolist()))
    if (
        classes < 2
    ):  # whoever names the commonest label is always right: several labels a record have no such name
        return []
    commonest = np.bincount(joined.codes).max() / len(joined.codes)
    for whose, correct, asked in (
        ("the target", joined.correct[0], None),
        ("a shadow model", joined.correct[1], joined.asked),
    ):
        for row, right in enumerate(correct):
            counted = np.ones(len(right), bool) if asked is None else asked[row]
            high = share_interval(int(right[counted].sum()), int(counted.sum()), LEVEL).high
            if high <= commonest + 1e-9 or right[counted].mean() <= 1 / classes:
                told.append(
                    f"{whose} is right on {100 * right[counted].mean():.0f}% of its records, no better than always "
                    "naming the commonest label: its labels and its classes may be in different orders"
                )
                break
    return told


def _auc_high(joined: Joined, leading: Scores) -> float | None:
    """The upper end at LEVEL of the leading attack's AUC, the largest target's; None: members aren't known."""
    if joined.target_member is None:
        return None
    group = group_codes(joined.group, len(joined.record))
    highs = [
        auc_interval(score[seen], member[seen], LEVEL, None if group is None else group[seen]).high
        for score, member, seen in zip(leading.target, joined.target_member, leading.judged, strict=True)
    ]
    return max(highs)


def _reversed(joined: Joined, auc_high: float | None) -> list[str]:
    told = []
    if auc_high is not None and auc_high < 0.5 and not joined.directed:
        told.append(
            "the attack ranks members below others, told from chance: if a lower score speaks for a member, turn "
            "its sign in all files"
        )
    elif auc_high is not None and auc_high < 0.5:
        told.append(
            "the attack ranks members below others, told from chance: the column 'member' may be the wrong way "
            "round"
        )
    if joined.directed and joined.phi is not None and len(joined.phi[1]):
        worse = 0
        for phi, member, asked in zip(joined.phi[1][..., 0], joined.member, joined.asked, strict=True):
            if 1 < member[asked].sum() < asked.sum() - 1:
                worse += auc_interval(phi[asked], member[asked], LEVEL).high < 0.5
        if worse > len(joined.member) / 2:
            told.append(
                "the shadow models do worse on their own members than on others: the column 'member' may be the "
                "wrong way round in their files"
            )
    return told


def _alike(joined: Joined) -> list[str]:
    """Records that all models answer alike: copies of one another, split between members and others."""
    if joined.phi is None or len(joined.record) < 2:
        return []
    phi = np.concatenate([joined.phi[0][..., 0], joined.phi[1][..., 0]])
    if len(phi) < 3:  # two models may answer two records alike by chance, or be stored answers
        return []
    spread = np.nanstd(phi, axis=1, keepdims=True)
    rounded = np.round(np.nan_to_num(phi / np.maximum(spread, 1e-12)) / SAME).astype(np.int64)
    informed = np.ptp(rounded, axis=0) > 0  # answers that differ between models are no stored ones
    _, counts = np.unique(rounded[:, informed], axis=1, return_counts=True)
    copies = int((counts - 1).sum())
    if not copies:
        return []
    return [
        f"{copies} of {len(joined.record)} records are answered like another one by every model: copies count "
        "twice, and where one is a member and the other is not, the target knows both; give copies one `group`"
    ]
