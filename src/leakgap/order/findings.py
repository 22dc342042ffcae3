"""What orders the leak of a study's variants: rows of a table, and the sentences that say it, the answer first.

Five questions, asked of any study whatever its variants are. Do gap and leak order pairs of variants alike? Where
two fit alike, does the one that generalizes better leak less? From what is a variant that was not attacked forecast
best? Do models of one variant with a larger gap leak more? And in a factorial, how much of a technique's effect is
left once the fit is known? What cannot be told says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from leakgap.measure.estimate import Estimate
from leakgap.numbers import between, fixed
from leakgap.order.between import error_difference, slope_at_equal
from leakgap.order.explained import explained
from leakgap.order.forecast import compared
from leakgap.order.outlook import LEVELS
from leakgap.order.pairs import EQUAL_FIT, Pair, alike, concordance
from leakgap.order.within import within_cells

NAMES = {
    "train_acc": "train accuracy",
    "acc_gap": "accuracy gap",
    "test_acc": "test accuracy",
    "train_loss": "train loss",
    "loss_gap": "loss gap",
}
FEWEST = 3  # variants, to leave one out and still have an order
FEW = 9  # variants: with fewer, a verdict of one run is that run's
POINT = 0.01  # of accuracy
COLUMNS = ["question", "quantity", "value", "low", "high", "rests on"]


Row = tuple[str, str, float, float, float, str]


@dataclass(frozen=True)
class Answer:
    """What was found about one question: a sentence, and rows of the table as in COLUMNS (NaN: undefined)."""

    sentence: str
    rows: tuple[Row, ...] = ()


def _number(question: str, quantity: str, found: Sequence[float], of: str) -> Row:
    value, low, high = found
    return (question, quantity, value, low, high, of)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def of_pairs(pairs: Sequence[Pair]) -> Answer:
    """Do gap and leak order pairs alike?"""
    asked = "pairs of variants"
    if not pairs:
        return Answer("A study of one variant has no order.")
    found = concordance(pairs)
    whole = (np.nan, np.nan)
    rows = tuple(
        _number(asked, name, (count, *whole), f"{_plural(len(pairs), 'pair')}, last step")
        for name, count in (
            ("smaller gap, smaller leak", found.same),
            ("smaller gap, larger leak", found.other),
            ("gap or leak not told apart", found.open),
        )
    )
    against = [pair for pair in pairs if pair.agrees < 0]
    named = ""
    if against:
        first = against[0]
        small, large = (first.first, first.second) if first.gap.sign < 0 else (first.second, first.first)
        named = f", such as `{small}`, which has a smaller gap than `{large}` and leaks more"
    sentence = (
        f"Of {_plural(len(pairs), 'pair')} of variants the one with the smaller gap leaks less in {found.same} and "
        f"more in {found.other}{named}; {found.open} cannot be told (intervals that hold for all pairs together)."
    )
    return Answer(sentence, rows)


def of_equal_fit(pairs: Sequence[Pair], cells: pd.DataFrame | None, level: float = 0.95) -> Answer:
    """Where two variants fit alike, does the one that generalizes better leak less?"""
    asked = "at equal fit"
    equal = alike(pairs)
    found = concordance(equal)
    of = (
        f"{_plural(len(equal), 'pair')} whose train accuracies differ by less than {100 * EQUAL_FIT:g} points"
    )
    rows = [
        _number(asked, name, (count, np.nan, np.nan), of)
        for name, count in (
            ("better generalization, smaller leak", found.same),
            ("better generalization, larger leak", found.other),
            ("not told", found.open),
        )
    ]
    if equal:
        sentence = (
            f"Of {_plural(len(equal), 'pair')} that fit alike the one that generalizes better leaks less in "
            f"{found.same} and more in {found.other}; {found.open} cannot be told."
        )
    else:
        sentence = "No two variants are told to fit alike."
    if cells is None:
        return Answer(sentence, tuple(rows))
    slope = slope_at_equal(cells, "test_acc", "train_acc", level)
    factor = slope.carried(lambda end: 10 ** (POINT * end))
    of = f"{len(cells)} cells of {cells['technique'].nunique()} variants, told from chance"
    rows.append(_number(asked, "leak per point of test accuracy, factor", factor[:3], of))
    told = "" if factor.low > 1 or factor.high < 1 else ", which is not told from 1"
    return Answer(
        f"{sentence} Over all steps, at equal train accuracy, a point more of test accuracy goes with "
        f"{_times(factor)} the leak{told}.",
        tuple(rows),
    )


def of_forecast(cells: pd.DataFrame | None, level: float = 0.95) -> Answer:
    """From what is a variant left out forecast best?"""
    asked = "forecast of a variant left out"
    if cells is None:
        return Answer(
            f"What orders the leak cannot be told: fewer than {FEWEST} variants leak more than chance explains."
        )
    count = cells["technique"].nunique()
    of_band = next((each for each in LEVELS if count / (count + 1) >= each - 1e-9), LEVELS[-1])
    signals = [name for name in NAMES if np.isfinite(cells[name].to_numpy(np.float64)).all()]
    table = compared(cells, [[name] for name in signals], level=of_band)
    of = f"{len(cells)} cells of {count} variants, told from chance"
    rows = []
    for name, row in zip(signals, table.to_dict("records"), strict=True):
        rows.append(
            _number(asked, f"{NAMES[name]}: mean error, factor", (10 ** row["error"], np.nan, np.nan), of)
        )
        if np.isfinite(row["factor"]):
            band = f"{NAMES[name]}: band of {100 * of_band:g}%, factor"
            rows.append(_number(asked, band, (row["factor"], np.nan, np.nan), of))
    if not {"train_acc", "acc_gap"} <= set(signals):
        return Answer("Fit and gap cannot be compared: the study has no accuracies.", tuple(rows))
    better = error_difference(cells, "acc_gap", "train_acc", level)
    rows.append(_number(asked, "error by the accuracy gap less by train accuracy, decades", better[:3], of))
    fit, gap = (10 ** table["error"].iloc[signals.index(name)] for name in ("train_acc", "acc_gap"))
    if better.low > 0:
        first = "**Fit orders the leak here, better than the gap does.**"
    elif better.high < 0:
        first = "**The gap orders the leak here, better than fit does.**"
    else:
        first = "**Whether fit or the gap orders the leak better cannot be told here.**"
    sentence = (
        f"{first} A variant left out is forecast from train accuracy to within a factor of {fit:.2f} in the mean, "
        f"from the accuracy gap to within {gap:.2f}."
    )
    if count < FEW:
        sentence += f" {count} variants are few: another seed may say otherwise."
    return Answer(sentence, tuple(rows))


def of_models(
    gap: np.ndarray | None, auc: np.ndarray | None, pair: np.ndarray, level: float = 0.95
) -> Answer:
    """Do models of one variant and step with a larger gap leak more?

    gap, auc: float [2, cells, models], measured on either half of the records; pair: the models' mask pairs.
    """
    asked = "models of one variant"
    if gap is None or auc is None:
        return Answer("Models of one variant are not compared: the scores of their records were not kept.")
    if len(np.unique(pair)) < 4:
        return Answer("Models of one variant are too few to compare.")
    found = within_cells(gap, auc, pair, level=level)
    of = f"{gap.shape[1]} cells of {gap.shape[2]} models"
    rows = (
        _number(asked, "gap and AUC, Spearman less what noise takes", found[:3], of),
        _number(asked, "reliability of the gap", (found.x_reliability, np.nan, np.nan), of),
        _number(asked, "reliability of the AUC", (found.y_reliability, np.nan, np.nan), of),
    )
    if np.isnan(found.value):
        what = "gap" if "of x" in found.note else "AUC"
        return Answer(
            f"Whether models of one variant with a larger gap leak more cannot be told: their {what}s differ by "
            "no more than the noise of the records that they are measured on.",
            rows,
        )
    sign = int(found.low > 0) - int(found.high < 0)
    what = {1: "leak more", -1: "leak less", 0: "leak neither more nor less, as far as can be told"}[sign]
    return Answer(
        f"Among models of one variant, those with a larger gap {what} (Spearman {fixed(found.value)}, "
        f"{between(found.low, found.high)}, corrected for noise).",
        rows,
    )


def of_techniques(cells: pd.DataFrame | None, members: Sequence[str], level: float = 0.95) -> Answer | None:
    """In a factorial, what is left of a technique's effect once the fit is known? None where it is no factorial.

    cells: of the last step; a variant's members are its name at every plus sign.
    """
    asked = "effect of a technique"
    if cells is None or len(members) < 3 or len(cells) < 2 ** len(members):
        return None
    parts = [set(name.split("+")) for name in cells["technique"]]
    fit = np.log10(np.maximum(cells["train_loss"].to_numpy(np.float64), 1e-6))
    names, leak = cells["technique"].to_numpy(), cells["log_tpr"].to_numpy(np.float64)
    rows, left, gone = list[Row](), list[str](), list[str]()
    for member in members:
        has = np.array([member in part for part in parts])
        found = explained(has, fit, leak, names, 1 - (1 - level) / len(members))
        of = f"{len(cells)} variants, last step; all techniques together"
        for what, ends in (
            ("whole effect, factor", found.total),
            ("at equal train loss, factor", found.rest),
        ):
            rows.append(_number(asked, f"{member}: {what}", [10**end for end in ends], of))
        if not (found.total[1] > 0 or found.total[2] < 0):
            continue
        (left if found.rest[1] > 0 or found.rest[2] < 0 else gone).append(member)
    told = [f"that of {', '.join(left)} is still told"] if left else []
    told += [f"that of {', '.join(gone)} is not told any more"] if gone else []
    sentence = (
        f"At equal train loss, of the effects of techniques {'; '.join(told)}."
        if told
        else "No technique's effect is told by itself."
    )
    return Answer(sentence, tuple(rows))


def _times(found: Estimate) -> str:
    if not np.isfinite(found.low):
        return f"{found.value:.3f} times (no interval)"
    return f"{found.value:.3f} times ({between(found.low, found.high, partial(fixed, decimals=3))})"


def table(answers: Sequence[Answer]) -> pd.DataFrame:
    """Return the rows of all answers as one table."""
    return pd.DataFrame([row for answer in answers for row in answer.rows], columns=COLUMNS)
