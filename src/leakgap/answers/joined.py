"""Answers of several models, put side by side by the ids of their records.

All that can't be right between two files is found here, before any attack runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.special import expit

from leakgap import LeakgapError
from leakgap.answers.answers import Answers
from leakgap.answers.kinds import step
from leakgap.attacks import gives_away

Both = tuple[np.ndarray, np.ndarray]  # of targets and of shadow models
PROBE = 64  # records by which models are compared first
NEAR, ALIKE, LEAST = 1e-3, 0.9, 20  # copies: this near in phi, in this share of so many records at the least
ROUNDED = 0.98  # of the records that rounding leaves something of, in a rounded copy


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
    phi: Both | None  # float32 [T, S, V] and [N, S, V]; None: some file has predictions alone
    logits: Both | None  # float32 [T, S, C] and [N, S, C]; None: some file has none
    correct: Both | None  # float32 [T, S] and [N, S], 0 or 1; None: some file can't tell
    saturated: float  # share of the answers of exactly 0 or 1
    code: np.ndarray | None = None  # int64 [S], numbers of classes; None where the answers know none
    has_probability: bool = True  # phi is of the probability of the one label
    directed: bool = True  # a larger phi speaks for a member; of a `score` it may speak against
    group: np.ndarray | None = None  # int64 or str [S]: whose record it is; None: no file says
    slice: np.ndarray | None = None  # int64 or str [S]: a part of the records; None: no file says
    base: np.ndarray | None = None  # float32 [S]: phi of a model trained on none of the records
    signals: Mapping[str, Both] = field(default_factory=dict)  # float32 [T, S] and [N, S] that all files have
    earlier: Both | None = (
        None  # float32 [T, K, S] and [N, K, S]: phi at K steps before; None: one step is known
    )
    among_targets: bool = False  # the first N targets are the shadow models themselves, in this order

    @property
    def codes(self) -> np.ndarray:
        """The labels as int [S]: numbers of classes where there are any, else in the order of first appearance."""
        return self.code if self.code is not None else pd.factorize(self.label)[0]

    def among(self, models: np.ndarray) -> Joined:
        """The same of some models alone, int [M]: rows of targets and of shadow models alike."""

        def part(both: Both | None) -> Both | None:
            return None if both is None else (both[0][models], both[1][models])

        return replace(
            self,
            target_member=None if self.target_member is None else self.target_member[models],
            member=self.member[models],
            asked=self.asked[models],
            left_out=self.left_out[np.ix_(models, models)],
            phi=part(self.phi),
            logits=part(self.logits),
            correct=part(self.correct),
            signals={
                name: (target[models], shadow[models]) for name, (target, shadow) in self.signals.items()
            },
            earlier=part(self.earlier),
        )

    @property
    def shadows_left_out(self) -> np.ndarray:
        """Which shadow models are left out where each of them is a target in its turn, bool [N, N]."""
        return gives_away(self.member, self.member, self.asked)


def join(
    targets: Sequence[Answers], shadows: Sequence[Answers], base: Answers | None = None, *, each: bool = False
) -> Joined:
    """Put answers side by side; LeakgapError names the files that can't be about the same records or models.

    base: of a model that was trained on none of the records. each: the shadow models are the targets themselves,
    and a target is left out of its own by the rule that leaves out what gives its training set away.
    """
    if not targets:
        raise LeakgapError("no target: an audit needs the answers of at least one model")
    base = None if base is None else replace(base, step=None)  # it is of no step of this training
    first, every = targets[0], [*targets, *shadows, *([] if base is None else [base])]
    for model in shadows:
        if model.member is None:
            raise LeakgapError(f"{model.name}: a shadow model needs the column 'member'")
    if base is not None and base.member is not None and base.member.any():
        raise LeakgapError(
            f"{base.name}: has members, and the base model is one that was trained on none of the records"
        )
    rows = [_places(first, model, complete=True) for model in targets]
    places = [_places(first, model, complete=False) for model in shadows]
    of_base = [] if base is None else [_places(first, base, complete=True)]
    for model, at in zip(every, (*rows, *places, *of_base), strict=True):
        _check_pair(first, model, at)
    _check_distinct([*targets, *([] if each else shadows), *([] if base is None else [base])])

    asked = np.array([at >= 0 for at in places], bool).reshape(len(shadows), len(first.record))
    member = _stack([model.member for model in shadows], places, False).reshape(asked.shape).astype(bool)
    every_place = [*rows, *places, *of_base]
    told = _agreed("reserved", every, every_place)
    reserved = np.zeros(len(first.record), bool) if told is None else told.astype(bool)
    if (member & reserved).any():
        number, record = np.argwhere(member & reserved)[0]
        by = next(model.name for model in every if model.reserved is not None)
        raise LeakgapError(
            f"{shadows[number].name}: record {first.record[record]} is a member, and reserved in {by}"
        )
    target_member = _known_members(targets, rows, first.record, reserved)
    phi, saturated = _finite(_both(targets, shadows, rows, places, lambda model: model.phi))
    if phi is not None and first.kind == "regression":
        phi = _scaled(phi, member, asked)
    logits, _ = _finite(_both(targets, shadows, rows, places, lambda model: model.logits))
    names = set.intersection(*(set(model.signals) for model in (*targets, *shadows)))
    signals = {}
    for name in sorted(names):
        both = _both(targets, shadows, rows, places, lambda model, name=name: model.signals[name])  # type: ignore[misc]
        if both is not None:
            signals[name] = both
    return Joined(
        record=first.record,
        label=first.label,
        reserved=reserved,
        target_member=target_member,
        member=member,
        asked=asked,
        left_out=np.zeros((len(targets), len(shadows)), bool)
        if target_member is None
        else gives_away(target_member, member, asked),
        phi=phi,
        logits=logits,
        correct=_both(targets, shadows, rows, places, lambda model: model.correct),
        saturated=saturated,
        code=first.code,
        has_probability=first.has_probability,
        directed=first.kind != "score",
        group=_agreed("group", every, every_place),
        slice=_agreed("slice", every, every_place),
        base=None if base is None else _base(base, of_base[0], phi),
        signals=signals,
        among_targets=each,
    )


def _known_members(
    targets: Sequence[Answers], rows: Sequence[np.ndarray], ids: np.ndarray, reserved: np.ndarray
) -> np.ndarray | None:
    """Return the targets' members, bool [T, S]; None where no target says."""
    silent = [model.name for model in targets if model.member is None]
    if silent:
        if len(silent) < len(targets):
            raise LeakgapError(
                f"{silent[0]}: has no column 'member', and another target has: give it for all, or none"
            )
        return None
    members = _stack([model.member for model in targets], rows, False).astype(bool)
    for model, inside in zip(targets, members, strict=True):
        if (inside & reserved).any():
            raise LeakgapError(
                f"{model.name}: record {ids[inside & reserved][0]} is a member, and reserved in {targets[0].name}"
            )
        if not inside.any() or (inside | reserved).all():
            share = "all" if inside.any() else "none"
            raise LeakgapError(
                f"{model.name}: {share} of its {(~reserved).sum()} records are members: nothing to tell apart"
            )
    return members


def _agreed(column: str, models: Sequence[Answers], places: Sequence[np.ndarray]) -> np.ndarray | None:
    """Return a column [S] that some of the files have, once; LeakgapError where two of them don't agree.

    A record that no file with the column holds is its own group, of no slice, and not reserved.
    """
    found: np.ndarray | None = None
    said = models[0]
    for model, at in zip(models, places, strict=True):
        values = getattr(model, column)
        if values is None:
            continue
        mine = np.where(at >= 0, values[at], values[0])
        if found is None:
            found, held, said = mine, at >= 0, model
            continue
        if found.dtype.kind != mine.dtype.kind:
            found, mine = found.astype(str), mine.astype(str)
        differs = held & (at >= 0) & (found != mine)
        if differs.any():
            row = int(differs.argmax())
            raise LeakgapError(
                f"{model.name}: {column} of record {models[0].record[row]} is {mine[row]}, and {found[row]} in "
                f"{said.name}"
            )
        found, held = np.where(held, found, mine), held | (at >= 0)
    return found


def _scaled(phi: Both, member: np.ndarray, asked: np.ndarray) -> Both:
    """Scale squared errors by their mean over records that a model was not trained on.

    Those of the shadow models; without any, all of the target's. phi becomes twice the logarithm of a Gaussian
    density up to a constant, as far as its sign goes: 0 at an error of the usual size.
    """
    targets, shadows = phi
    errors = (
        np.exp(-shadows.astype(np.float64)[asked & ~member])
        if (asked & ~member).any()
        else np.exp(-targets.astype(np.float64))
    )
    shift = np.float32(np.log(errors.mean())) if errors.mean() > 0 else np.float32(0)
    return targets + shift, shadows + shift


def _base(base: Answers, at: np.ndarray, phi: Both | None) -> np.ndarray | None:
    """Return phi of the base model, [S]: the mean over its views, with no infinities."""
    if base.phi is None or phi is None:
        raise LeakgapError(f"{base.name}: a base model needs answers with a loss, as the target has")
    return np.nan_to_num(base.phi[at].mean(1), posinf=phi[0].max(), neginf=phi[0].min())


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
    if first.kind != other.kind and not (first.has_probability and other.has_probability):
        raise LeakgapError(
            f"{other.name} holds a {other.kind}, and {first.name} a {first.kind}: give the same of all"
        )
    if first.class_names != other.class_names and first.logits is not None and other.logits is not None:
        named = [
            ", ".join(each.class_names[:6]) if each.class_names else "numbered" for each in (other, first)
        ]
        raise LeakgapError(
            f"the classes of {other.name} are {named[0]}, and of {first.name} {named[1]}: name them alike"
        )
    for what in ("classes", "views"):
        counts = getattr(other, what), getattr(first, what)
        if None not in counts and counts[0] != counts[1]:
            raise LeakgapError(f"{other.name} has {counts[0]} {what}, and {first.name} {counts[1]}")
    if first.step != other.step and None not in (first.step, other.step):
        raise LeakgapError(
            f"{other.name} and {first.name} are of different steps of training: name one that both have, --step"
        )
    views = [each.view_names or ("one",) for each in (other, first)]
    if views[0] != views[1] and max(map(len, views)) > 1:
        their_views, my_views = (", ".join(each[:6]) for each in views)
        raise LeakgapError(
            f"the views of {other.name} are {their_views}, and of {first.name} {my_views}: give a view the same "
            "name in every file"
        )


def _check_distinct(models: Sequence[Answers]) -> None:
    """LeakgapError where two files hold one model: a target attacked with itself, or a shadow counted twice.

    Copies that were rounded, or lack a record, are found as well: models that were trained apart never answer
    nearly all records alike, unless their answers are stored ones of exactly 0 or 1, which don't count.
    """
    ids = pd.Index(models[0].record)
    sample = pd.Index(ids[np.linspace(0, len(ids) - 1, min(len(ids), PROBE)).astype(int)])
    probes, member = np.full((2, len(models), len(sample)), np.nan)
    for row, model in enumerate(models):
        at = pd.Index(
            model.record.astype(str)
            if model.record.dtype.kind != models[0].record.dtype.kind
            else model.record
        )
        place = at.get_indexer(sample.astype(str) if at.dtype != sample.dtype else sample)
        probes[row, place >= 0] = _values(model)[place[place >= 0]]
        if model.member is not None:
            member[row, place >= 0] = model.member[place[place >= 0]]
    finite, rounded = np.isfinite(probes), np.array([_rounding(model)[1] for model in models])
    for row, model in enumerate(models):
        with np.errstate(invalid="ignore"):
            near = finite[:row] & finite[row] & (np.abs(probes[:row] - probes[row]) < NEAR)
        few = np.maximum(ALIKE * (finite[:row] & finite[row]).sum(1), 1)
        apart = (np.abs(member[:row] - member[row]) == 1).any(1)
        copies = (near.sum(1) >= few) | (rounded[:row] > 0) | (rounded[row] > 0)
        for number in np.flatnonzero(copies & ~apart).tolist():
            other = models[number]
            if (_alike(model, other) or _rounded_alike(model, other)) and _same_members(model, other):
                raise LeakgapError(
                    f"{model.name} and {other.name} are one model: all their answers are equal, or nearly"
                )
        for number in np.flatnonzero((near.sum(1) >= few) & apart).tolist():
            if _equal(model, models[number]):
                raise LeakgapError(
                    f"{model.name} and {models[number].name} answer every record alike, and say that they were "
                    "trained on different ones: was one model asked for both?"
                )


def _values(model: Answers) -> np.ndarray:
    values = model.correct if model.phi is None else model.phi[:, 0]
    assert values is not None
    return values.astype(np.float64)


def _shared(one: Answers, other: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of either that are about the records of both."""
    mine, theirs = one.record, other.record
    if mine.dtype.kind != theirs.dtype.kind:
        mine, theirs = mine.astype(str), theirs.astype(str)
    at = pd.Index(theirs).get_indexer(pd.Index(mine))
    return np.flatnonzero(at >= 0), at[at >= 0]


def _equal(one: Answers, other: Answers) -> bool:
    """Whether two models answer alike to the last digit, and not always with the same few answers."""
    here, there = _shared(one, other)
    mine, theirs = _values(one)[here], _values(other)[there]
    different = len(np.unique(mine[np.isfinite(mine)]))
    return one.phi is not None and bool((mine == theirs).all()) and different >= max(LEAST, len(mine) / 2)


def _alike(one: Answers, other: Answers) -> bool:
    """Whether two models answer nearly all records that both were asked about alike."""
    here, there = _shared(one, other)
    first, second = _values(one)[here], _values(other)[there]
    if (first == second).all():
        return True
    finite = np.isfinite(first) & np.isfinite(second)
    if one.phi is None or finite.sum() < LEAST or np.ptp(first[finite]) < 100 * NEAR:
        return False
    return bool((np.abs(first[finite] - second[finite]) < NEAR).mean() >= ALIKE)


def _loss(phi: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, -phi)


# what makes of phi the number that a file holds, where that is not phi itself
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "probabilities": expit,
    "probability": expit,
    "loss": _loss,
}


def _rounding(model: Answers) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Return what makes of phi the number that a file holds, and to what that number is rounded; 0: it is not."""
    scale: Callable[[np.ndarray], np.ndarray] = SCALES.get(model.kind, np.asarray)
    if model.phi is None or model.kind in ("tokens", "regression"):
        return scale, 0.0
    held = model.logits if model.kind == "logits" else scale(model.phi[:, 0].astype(np.float64))
    assert held is not None
    return scale, step(held[np.isfinite(held)].astype(np.float64), range(1 if scale is np.asarray else 2, 5))


def _rounded_alike(one: Answers, other: Answers) -> bool:
    """Whether nearly all answers of one model are those of the other, rounded, where rounding leaves something."""
    if one.phi is None or other.phi is None:
        return False
    (scale, grain), (_, fine) = sorted((_rounding(one), _rounding(other)), key=lambda each: -each[1])
    if not grain:
        return False
    here, there = _shared(one, other)
    first, second = (scale(_values(each)[at]) for each, at in ((one, here), (other, there)))
    told = np.isfinite(first) & np.isfinite(second)
    if scale is not np.asarray:  # where both round to 0, or to 1, any two sure models are alike
        told &= np.maximum(first, second) > grain
    if scale is expit:
        told &= np.minimum(first, second) < 1 - grain
    if told.sum() < LEAST or np.ptp(first[told]) < 10 * grain:
        return False
    # of logits phi is the label's less a mean of the others', and so rounded twice
    apart = grain if one.kind == "logits" else (grain + fine) / 2
    return bool((np.abs(first[told] - second[told]) <= apart + 1e-6).mean() >= ROUNDED)


def _same_members(one: Answers, other: Answers) -> bool:
    """Can the two have been trained on the same records, as far as both were asked?"""
    if one.member is None or other.member is None:
        return True
    here, there = _shared(one, other)
    return bool((one.member[here] == other.member[there]).all())


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
) -> Both | None:
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
    both: Both | None,
) -> tuple[Both | None, float]:
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
