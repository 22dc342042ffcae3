"""What speaks against the answers themselves: sentences for the first screen, before any number of an attack.

The commonest mistakes leave answers that look right. A model that answers at chance has its classes in another
order than its labels; members on whom models do worse than on others are named the wrong way round; records that
are alike are one record twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm, t

from leakgap.answers.joined import Both, Joined
from leakgap.audit.scores import Scores
from leakgap.measure.groups import group_codes
from leakgap.measure.single import auc_interval, share_interval

LEVEL = 0.999  # a sentence is wrong in one of 1,000 audits
MANY = 16  # models by which a table is found to have slipped
FEW, FEWEST = 4, 20  # shadow models, and records of each, by which a target is found unlike them
POINTS, SPREADS, TIMES = (
    0.05,
    0.25,
    1.3,
)  # of accuracy; of phi's middle half; as wide a one: less does not matter
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
    doubts = [*_reversed(joined, _auc_high(joined, leading)), *_at_chance(joined), *_alike(joined)]
    return [*doubts, *_shifted(joined), *_unlike(joined)]


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


class _Measure(NamedTuple):
    """What a model does on records that it was not trained on, as one number, and by how much it must differ."""

    name: str
    written: str
    of: Callable[[np.ndarray], float]
    parts: Both
    least: float
    ratio: bool = False  # whether numbers are compared by their ratio


def _measures(joined: Joined) -> list[_Measure]:
    found = []
    if joined.correct is not None:
        found.append(_Measure("share of right answers", "{:.0%}", _mean, joined.correct, POINTS))
    if joined.phi is not None:
        first = joined.phi[0][..., 0], joined.phi[1][..., 0]
        low, high = np.nanquantile(np.concatenate([part.ravel() for part in first]), [0.05, 0.95])
        parts = np.clip(first[0], low, high), np.clip(first[1], low, high)  # single answers decide nothing
        spread = float(np.nanstd(np.concatenate([part.ravel() for part in parts])))
        found.append(_Measure("mean phi", "{:.3g}", _mean, parts, SPREADS * spread))
        found.append(_Measure("spread of phi", "{:.3g}", _deviation, parts, np.log(TIMES), True))
    return found


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64))


def _deviation(values: np.ndarray) -> float:
    return float(values.std(dtype=np.float64))


def _unlike(joined: Joined) -> list[str]:
    """A target that does otherwise than its shadow models, or than other targets, on records not trained on.

    Told where it is far beyond what the shadow models' own spread allows for, and large enough to matter.
    """
    if joined.target_member is None:
        return []
    measures = _measures(joined)
    alpha = (1 - LEVEL) / max(1, len(measures) * len(joined.target_member))
    for measure in measures:
        targets = _outside(measure, measure.parts[0], ~joined.target_member & ~joined.reserved)
        shadows = _outside(measure, measure.parts[1], joined.asked & ~joined.member & ~joined.reserved)
        back = np.exp if measure.ratio else float
        for value, left_out in zip(targets, joined.left_out, strict=True):
            known = shadows[~left_out & np.isfinite(shadows)]
            if len(known) < FEW or np.isnan(value):
                continue
            noise = t.ppf(1 - alpha / 2, len(known) - 1) * known.std(ddof=1) * np.sqrt(1 + 1 / len(known))
            if abs(value - known.mean()) > max(noise, measure.least):
                own, theirs = (measure.written.format(back(each)) for each in (value, known.mean()))
                return [
                    "the target is unlike its shadow models on records that they were not trained on: its "
                    f"{measure.name} is {own}, theirs {theirs}. They were trained or asked otherwise, and an "
                    "attacker with shadow models more like the target may find more"
                ]
        if len(shadows) or np.isfinite(targets).sum() < 2:
            continue
        high, low = np.nanmax(targets), np.nanmin(targets)
        count = int((~joined.target_member & ~joined.reserved).sum(1).min())
        if high - low > max(2 * measure.least, 2 * norm.ppf(1 - alpha / 2) / np.sqrt(count)):
            best, worst = (measure.written.format(back(each)) for each in (high, low))
            return [
                "the targets are unlike each other on records that they were not trained on: the largest "
                f"{measure.name} is {best}, the smallest {worst}. What is said is of all of them together; audit "
                "each by itself"
            ]
    return []


def _outside(measure: _Measure, values: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """A number of each model over some records, [models], NaN where these are fewer than 20."""
    found = np.full(len(values), np.nan)
    for number, (row, some) in enumerate(zip(values, outside, strict=True)):
        if some.sum() >= FEWEST:
            found[number] = measure.of(row[some])
    if measure.ratio:
        with np.errstate(divide="ignore"):
            found = np.where(found > 0, np.log(found), np.nan)
    return found


def _shifted(joined: Joined) -> list[str]:
    """Members that fit the answers of the row before or after, and not their own: a table that slipped by one.

    By every model with members: rows are in the order of the first target's file.
    """
    if joined.phi is None or not joined.directed or joined.target_member is None:
        return []
    phi = np.concatenate([joined.phi[0][..., 0], joined.phi[1][..., 0]])[:MANY]
    member = np.concatenate([joined.target_member, joined.member])[:MANY]
    seen = ~joined.reserved & np.concatenate([np.ones_like(joined.target_member), joined.asked])[:MANY]
    for lag, where in ((1, "before"), (-1, "after")):
        slipped = 0
        for values, inside, counted in zip(phi, member, seen, strict=True):
            both = counted & np.roll(counted, lag)
            moved = np.roll(values, lag)
            if not 1 < inside[both].sum() < both.sum() - 1:
                continue
            own, other = (auc_interval(each[both], inside[both], LEVEL) for each in (values, moved))
            slipped += own.low <= 0.5 < other.low
        if slipped > len(phi) / 2:
            return [
                f"membership fits the answers of the row {where} each record and not its own: the column 'member' "
                "may have slipped by one row"
            ]
    return []


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
