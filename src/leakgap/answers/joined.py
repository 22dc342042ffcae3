"""Answers of several models, put side by side by the ids of their records.

All that can't be right between two files is found here, before any attack runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.answers.answers import Answers


@dataclass(frozen=True)
class Joined:
    """Answers of T targets and N shadow models about the same S records.

    A record that a shadow model was not asked about is no member of it, and its answers are NaN.
    """

    record: np.ndarray  # int64 or str [S], in the order of the first target
    label: np.ndarray  # int64 or str [S]
    reserved: np.ndarray  # bool [S]
    target_member: np.ndarray | None  # bool [T, S]; None where a target does not say
    member: np.ndarray  # bool [N, S]: of the shadow models
    asked: np.ndarray  # bool [N, S]: which records each shadow model answered
    left_out: np.ndarray  # bool [T, N]: shadow models whose training set gives the target's away
    phi: (
        tuple[np.ndarray, np.ndarray] | None
    )  # float32 [T, S, V] and [N, S, V]; None: some file has predictions alone
    logits: tuple[np.ndarray, np.ndarray] | None  # float32 [T, S, C] and [N, S, C]; None: some file has none
    correct: (
        tuple[np.ndarray, np.ndarray] | None
    )  # float32 [T, S] and [N, S], 0 or 1; None: some file can't tell
    saturated: float  # share of the answers of exactly 0 or 1

    @property
    def codes(self) -> np.ndarray:
        """The labels as int [S]: numbers of classes where there are any, else in the order of first appearance."""
        return self.label if self.logits is not None else pd.factorize(self.label)[0]

    @property
    def shadows_left_out(self) -> np.ndarray:
        """Which shadow models are left out where each of them is a target in its turn, bool [N, N]."""
        return given_away(self.member, self.member, self.asked)


def join(targets: Sequence[Answers], shadows: Sequence[Answers]) -> Joined:
    """Put answers side by side; LeakgapError names the files that can't be about the same records or models."""
    if not targets:
        raise LeakgapError("no target: an audit needs the answers of at least one model")
    first = targets[0]
    for model in shadows:
        if model.member is None:
            raise LeakgapError(f"{model.name}: a shadow model needs the column 'member'")
    rows = [_places(first, model, complete=True) for model in targets]
    places = [_places(first, model, complete=False) for model in shadows]
    for model, at in zip((*targets, *shadows), (*rows, *places), strict=True):
        _check_pair(first, model, at)
    _check_distinct([*targets, *shadows])

    asked = np.array([at >= 0 for at in places], bool).reshape(len(shadows), len(first.record))
    member = _stack([model.member for model in shadows], places, False).reshape(asked.shape).astype(bool)
    reserved = np.zeros(len(first.record), bool) if first.reserved is None else first.reserved
    if (member & reserved).any():
        model, record = np.argwhere(member & reserved)[0]
        raise LeakgapError(
            f"{shadows[model].name}: record {first.record[record]} is a member, and reserved in {first.name}"
        )
    silent = [model.name for model in targets if model.member is None]
    known = not silent
    if 0 < len(silent) < len(targets):
        raise LeakgapError(
            f"{silent[0]}: has no column 'member', and another target has: give it for all, or none"
        )
    target_member = _stack([model.member for model in targets], rows, False).astype(bool) if known else None
    for model, inside in zip(targets, [] if target_member is None else target_member, strict=known):
        if (inside & reserved).any():
            record = first.record[inside & reserved][0]
            raise LeakgapError(f"{model.name}: record {record} is a member, and reserved in {first.name}")
        if not inside.any() or (inside | reserved).all():
            share = "all" if inside.any() else "none"
            raise LeakgapError(
                f"{model.name}: {share} of its {(~reserved).sum()} records are members: nothing to tell apart"
            )
    phi, saturated = _finite(_both(targets, shadows, rows, places, lambda model: model.phi))
    logits, _ = _finite(_both(targets, shadows, rows, places, lambda model: model.logits))
    return Joined(
        record=first.record,
        label=first.label,
        reserved=reserved,
        target_member=target_member,
        member=member,
        asked=asked,
        left_out=np.zeros((len(targets), len(shadows)), bool)
        if target_member is None
        else given_away(target_member, member, asked),
        phi=phi,
        logits=logits,
        correct=_both(targets, shadows, rows, places, lambda model: model.correct),
        saturated=saturated,
    )


def given_away(target: np.ndarray, shadow: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Which shadow models were trained on just what a target was, or on just the rest: bool [T, N].

    They say which records are the target's: an attack that uses them would be told the answer. target: bool
    [T, S]; shadow, asked: bool [N, S]. Records that a shadow model was not asked about don't count, nor do
    those that nobody trained on, such as reserved ones. A model that was trained on none says nothing.
    """
    found = np.zeros((len(target), len(shadow)), bool)
    counted = asked & (target.any(0) | shadow.any(0))
    for t, inside in enumerate(target):
        same = ((shadow == inside) & counted).sum(1)
        found[t] = (same == 0) | (same == counted.sum(1))
    found &= shadow.any(1)
    return found


def _places(first: Answers, other: Answers, *, complete: bool) -> np.ndarray:
    """Return the row of `other` that holds each record of `first`, int [S], -1 where there is none."""
    mine, theirs = first.record, other.record
    if mine.dtype.kind != theirs.dtype.kind:
        mine, theirs = mine.astype(str), theirs.astype(str)
    at = pd.Index(theirs).get_indexer(pd.Index(mine))
    lacking, more = at < 0, len(theirs) - int((at >= 0).sum())
    if lacking.all():
        raise LeakgapError(
            f"{other.name} and {first.name} have no record in common: {theirs[0]} and {mine[0]} are their first"
        )
    if lacking.any() and (more or complete):
        strange = pd.Index(theirs).difference(pd.Index(mine))
        also = f", and {first.name} lacks {strange[0]}" if more else ""
        raise LeakgapError(
            f"{other.name} lacks record {mine[lacking][0]} of {first.name}{also}: the ids don't match"
        )
    return at


def _check_pair(first: Answers, other: Answers, at: np.ndarray) -> None:
    """LeakgapError unless labels, classes and views of the records in common agree."""
    here, there = np.flatnonzero(at >= 0), at[at >= 0]
    mine, theirs = first.label[here], other.label[there]
    if mine.dtype.kind != theirs.dtype.kind:
        mine, theirs = mine.astype(str), theirs.astype(str)
    if (mine != theirs).any():
        odd = int((mine != theirs).argmax())
        raise LeakgapError(
            f"{other.name}: label of record {first.record[here[odd]]} is {theirs[odd]}, and {mine[odd]} in "
            f"{first.name}"
        )
    for what in ("classes", "views"):
        counts = getattr(other, what), getattr(first, what)
        if None not in counts and counts[0] != counts[1]:
            raise LeakgapError(f"{other.name} has {counts[0]} {what}, and {first.name} {counts[1]}")


def _check_distinct(models: Sequence[Answers]) -> None:
    """LeakgapError where two files hold one model: a target attacked with itself, or a shadow counted twice."""
    seen: dict[tuple[bytes, bytes], Answers] = {}
    for model in models:
        order = np.argsort(model.record)  # a copy may have its rows in another order
        values = model.correct if model.phi is None else model.phi
        assert values is not None
        key = (model.record[order].tobytes(), values[order].tobytes())
        other = seen.get(key)
        if other is not None and _same_members(model, other):
            raise LeakgapError(f"{model.name} and {other.name} are one model: all their answers are equal")
        seen[key] = model


def _same_members(one: Answers, other: Answers) -> bool:
    """Can the two have been trained on the same records? They hold the same ids."""
    if one.member is None or other.member is None:
        return True
    return bool((one.member[np.argsort(one.record)] == other.member[np.argsort(other.record)]).all())


def _stack(values: Sequence[np.ndarray | None], places: Sequence[np.ndarray], absent: float) -> np.ndarray:
    """Stack the models' values, each in the order of the joined records."""
    rows = []
    for value, at in zip(values, places, strict=True):
        assert value is not None
        row = value[at]
        row[at < 0] = absent
        rows.append(row)
    return np.array(rows)


def _both(
    targets: Sequence[Answers],
    shadows: Sequence[Answers],
    rows: Sequence[np.ndarray],
    places: Sequence[np.ndarray],
    of: Callable[[Answers], np.ndarray | None],
) -> tuple[np.ndarray, np.ndarray] | None:
    """Stack what every file has, targets and shadow models apart; None where one file lacks it."""
    values = [[of(model) for model in models] for models in (targets, shadows)]
    if any(value is None for part in values for value in part):
        return None
    stacked = [
        _stack([value.astype(np.float32) for value in part if value is not None], at, np.nan)
        for part, at in zip(values, (rows, places), strict=True)
    ]
    if not shadows:
        stacked[1] = np.empty((0, *stacked[0].shape[1:]), np.float32)
    return stacked[0], stacked[1]


def _finite(
    both: tuple[np.ndarray, np.ndarray] | None,
) -> tuple[tuple[np.ndarray, np.ndarray] | None, float]:
    """Replace infinities, and return their share.

    An infinite phi, of an answer of exactly 0 or 1, becomes the most extreme finite one in any of the files and
    log 2 more: half the smallest probability that is told from 0. So it is the same number in every file.
    """
    if both is None:
        return None, 0.0
    high = max((np.max(part, where=np.isfinite(part), initial=-np.inf) for part in both), default=0.0)
    low = min((np.min(part, where=np.isfinite(part), initial=np.inf) for part in both), default=0.0)
    if not np.isfinite(high):  # every answer is exactly 0 or 1
        high, low = 0.0, 0.0
    infinite = sum(int(np.isinf(part).sum()) for part in both)
    total = sum(int((~np.isnan(part)).sum()) for part in both)  # records that were not asked about are NaN
    for part in both:
        part[part == np.inf] = high + np.log(2)
        part[part == -np.inf] = low - np.log(2)
    return both, infinite / total
