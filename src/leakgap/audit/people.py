"""Persons, not records: what an attack says of somebody whose several records it scored.

Records of one person (patient, author, household) are not independent, and what she fears is that *she* is
recognized. Her score is made of her records' scores, and from there on persons are audited as records are: a person
is a member where any of her records is. Whether the scores are added, averaged, or the largest counts, is chosen on
the shadow models, each attacked by the others: log-likelihood ratios of independent records add up, others don't.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from leakgap.answers.joined import Joined
from leakgap.audit.scores import Scores
from leakgap.audit.words import plural
from leakgap.measure.groups import drawn_together
from leakgap.measure.ranking import rankings
from leakgap.measure.roc import per_target

__all__ = ["WAYS", "about_split", "any_of", "by_person", "of_people", "people_of"]

WAYS = ("sum", "mean", "max")  # of making a person's score of her records'; the first where none does better
FEW = 4  # with fewer shadow models, attacks on them by the others are no guide
RATIOS = ("lira", "bavaria", "base")  # kin of log-likelihood ratios, whose scores add up
FEW_PERSONS = 50  # of which intervals covered the truth in 84 to 95% of simulations: docs/evidence/persons.md
SHARE = 0.1  # of the records: a person who has more weighs on every number


def of_people(score: np.ndarray, group: np.ndarray, way: str) -> np.ndarray:
    """A score for every person of her records' scores: float64 [..., G]; score: [..., S], group: int [S] from 0.

    way: one of WAYS. Records on which the attack abstains (NaN) don't count; NaN where it does on all of hers.

    >>> score = np.array([1.0, 4, np.nan, 2, np.nan])
    >>> [of_people(score, np.array([0, 0, 0, 1, 2]), way).tolist() for way in WAYS]
    [[5.0, 2.0, nan], [2.5, 2.0, nan], [4.0, 2.0, nan]]
    """
    order, starts = _runs(group)
    values = np.asarray(score, np.float64)[..., order]
    known = ~np.isnan(values)
    count = np.add.reduceat(known, starts, axis=-1)
    if way == "max":
        found = np.maximum.reduceat(np.where(known, values, -np.inf), starts, axis=-1)
    else:
        found = np.add.reduceat(np.where(known, values, 0.0), starts, axis=-1)
        if way == "mean":
            found = found / np.maximum(count, 1)
    return np.where(count > 0, found, np.nan)


def people_of(joined: Joined) -> tuple[Joined, np.ndarray]:
    """The same models, and persons in place of records, without answers of their own; and whose each record is.

    A person is a member of a model that was trained on any of her records, was asked about where it was asked about
    any, and is reserved where all of hers are. The second is int [S], the person's place among the first's records.
    """
    assert joined.group is not None
    person, group = np.unique(joined.group, return_inverse=True)
    group = group.reshape(-1)
    people = replace(
        joined,
        record=person,
        label=np.zeros(len(person), np.int64),
        reserved=~any_of(~joined.reserved, group),
        target_member=None if joined.target_member is None else any_of(joined.target_member, group),
        member=any_of(joined.member, group),
        asked=any_of(joined.asked, group),
        phi=None,
        logits=None,
        correct=None,
        group=None,
    )
    return people, group


def by_person(
    scores: Mapping[str, Scores], people: Joined, group: np.ndarray, fpr: float
) -> tuple[dict[str, Scores], dict[str, list[str]]]:
    """The scores of persons by every attack, and the way in which each makes them of records', target by target.

    people, group: of `people_of`. The way is the one that recognizes most of the shadow models' own persons at
    `fpr`, as a mean over these models, or has the largest AUC where they have too few non-members for that; a
    target, and what gives it away, has no part in its own. With fewer than FEW shadow models, ratios add up and
    others are averaged.
    """
    found, ways = {}, {}
    for name, score in scores.items():
        usual = "sum" if name.startswith(RATIOS) else "mean"
        ways[name] = [usual] * len(people.left_out)
        if len(people.member) >= FEW:
            ways[name] = _best_ways(score.shadow, people, group, fpr, usual)
        found[name] = Scores(
            np.array(
                [of_people(row, group, way) for row, way in zip(score.target, ways[name], strict=True)],
                np.float32,
            ),
            any_of(score.judged, group),
            _in_the_way_of(score.shadow_for, group, ways[name]),
        )
    return found, ways


def _best_ways(shadow: np.ndarray, people: Joined, group: np.ndarray, fpr: float, usual: str) -> list[str]:
    success = []
    judged = people.asked & ~people.reserved
    for way in WAYS:
        score = of_people(shadow, group, way).astype(np.float32)
        each = per_target(rankings(score, people.member, judged), [fpr])
        success.append([each[f"tpr_at_{fpr:g}"], each["auc"]])
    tprs, aucs = np.swapaxes(np.array(success), 0, 1)  # each [ways, N]
    compared = aucs if np.isnan(tprs).any() else tprs
    if np.isnan(compared).any():
        return [usual] * len(people.left_out)
    return [
        WAYS[int(compared[:, ~out].mean(1).argmax())] if not out.all() else usual for out in people.left_out
    ]


def _in_the_way_of(
    shadow_for: Callable[[int], np.ndarray], group: np.ndarray, ways: list[str]
) -> Callable[[int], np.ndarray]:
    @cache
    def shadow(way: str) -> np.ndarray:
        return of_people(shadow_for(0), group, way).astype(np.float32)

    return lambda target: shadow(ways[target])


def about_split(joined: Joined, unit: str) -> tuple[str, list[str]]:
    """Say what was drawn into the targets, by the name of `unit`, or "record", or "" for neither; and warnings."""
    assert joined.group is not None
    seen, drawn, split, warnings = ~joined.reserved, set(), 0, []
    person, group = np.unique(joined.group[seen], return_inverse=True)
    group = group.reshape(-1)
    size = np.bincount(group)
    if size.max() > SHARE * size.sum():
        warnings.append(
            f"one {unit}, {person[size.argmax()]}, has {size.max():,} of the {size.sum():,} records: what is said "
            "of records is mostly about few"
        )
    if len(size) <= FEW_PERSONS:
        warnings.append(
            f"{len(size)} {plural(unit)} are few: intervals of their records may be too narrow, and those of "
            f"{plural(unit)} are wide"
        )
    members = (
        np.zeros((0, len(group)), bool) if joined.target_member is None else joined.target_member[:, seen]
    )
    for member in members:
        inside = np.bincount(group, member)
        mixed = int(((inside > 0) & (inside < size)).sum())
        singly = drawn_together(member, group).max() + 1 == len(member)
        drawn.add(unit if not mixed else "record" if singly else "")
        split = max(split, mixed)
    if split:
        warnings.append(
            f"{split:,} of {len(size):,} {plural(unit)} have records on both sides, trained on and not: such a "
            f"{unit} counts as a member, and epsilon is not bounded for {plural(unit)}"
        )
    return drawn.pop() if len(drawn) == 1 else "", warnings


def any_of(flag: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Whether any of a person's records is so: bool [..., G]; flag: bool [..., S], group: int [S] from 0."""
    order, starts = _runs(group)
    return np.logical_or.reduceat(flag[..., order], starts, axis=-1)


def _runs(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order that brings the records of a person together, int [S], and where each one's begin, int [G]."""
    order = np.argsort(group, kind="stable")
    return order, np.searchsorted(group[order], np.arange(group.max() + 1))
