"""How a table's columns are written for reading: each column says so itself, and its name says nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from typing import Literal

import numpy as np
import pandas as pd

from leakgap.numbers import fixed
from leakgap.text import markdown_table

__all__ = ["Shown", "at_fprs", "cells", "markdown", "numbers", "shares", "words"]

UNDEFINED, NOTHING = "undefined", "–"  # what can't be said, and what there is nothing to say about


@dataclass(frozen=True)
class Shown:
    """A column: its heading, what it holds, and the names of the columns with the ends of its interval.

    number: three decimals; share: percent, two decimals; fpr: percent, as it is.
    """

    heading: str
    kind: Literal["number", "share", "fpr"]
    low: str = ""
    high: str = ""


Columns = Mapping[str, Shown]  # by name; what is not among them is text under its own name

FPR: Columns = {"fpr": Shown("FPR (%)", "fpr")}
TPR: Columns = {"tpr": Shown("TPR (%)", "share", "low", "high")}


def words(name: str) -> str:
    """Return a heading of a name: `beaten_by` -> beaten by."""
    return name.replace("_", " ")


def numbers(**headings: str) -> dict[str, Shown]:
    """Return columns of numbers by name; the ends of an interval are <name>_low and <name>_high."""
    return {
        name: Shown(heading, "number", f"{name}_low", f"{name}_high") for name, heading in headings.items()
    }


def shares(**headings: str) -> dict[str, Shown]:
    """Return columns of shares by name; the ends of an interval are <name>_low and <name>_high."""
    return {
        name: Shown(f"{head} (%)", "share", f"{name}_low", f"{name}_high") for name, head in headings.items()
    }


def at_fprs(kind: str, fprs: Iterable[float]) -> dict[str, Shown]:
    """Return the columns of a TPR at several FPRs: <kind>_tpr_at_<fpr>, and <kind>_low_at_, <kind>_high_at_.

    >>> list(at_fprs("mean", [0.01]))
    ['mean_tpr_at_0.01']
    """
    found = {}
    for fpr in fprs:
        name, low, high = names_at(kind, fpr)
        found[name] = Shown(f"{kind} TPR at {100 * fpr:g}% FPR (%)", "share", low, high)
    return found


def names_at(kind: str, fpr: float) -> tuple[str, str, str]:
    """Name the columns of a TPR at an FPR and of the ends of its interval."""
    return f"{kind}_tpr_at_{fpr:g}", f"{kind}_low_at_{fpr:g}", f"{kind}_high_at_{fpr:g}"


def markdown(table: pd.DataFrame, columns: Columns) -> str:
    """Return a Markdown table: fractions in percent, an interval beside its number as `tpr [low, high]`."""
    shown = cells(table, columns)
    return markdown_table(shown, zip(*shown.values(), strict=True))


def cells(table: pd.DataFrame, columns: Columns) -> dict[str, list[str]]:
    """Return heading -> texts of every column, intervals beside their numbers, rounded outwards."""
    hidden = {end for each in columns.values() for end in (each.low, each.high)}
    shown = {}
    for name in map(str, table):
        if name in hidden:
            continue
        column = columns.get(name)
        if column is None:
            shown[words(name)] = [NOTHING if value is None else str(value) for value in table[name]]
            continue
        texts = _texts(table[name], column)
        if column.low in table:
            low, high = (
                _texts(table[column.low], column, ROUND_FLOOR),
                _texts(table[column.high], column, ROUND_CEILING),
            )
            texts = [_with_interval(*each) for each in zip(texts, low, high, strict=True)]
        shown[column.heading] = texts
    return shown


def _texts(values: Sequence[object] | pd.Series, column: Shown, rounding: str = ROUND_HALF_EVEN) -> list[str]:
    return [_text(value, column, rounding) for value in values]


def _text(value: object, column: Shown, rounding: str) -> str:
    if value is None:
        return NOTHING
    number = float(value)  # type: ignore[arg-type]
    if not np.isfinite(number):
        return UNDEFINED if np.isnan(number) else "∞"
    if column.kind == "fpr":
        return f"{100 * number:g}"
    return fixed(100 * number, 2, rounding) if column.kind == "share" else fixed(number, 3, rounding)


def _with_interval(text: str, low: str, high: str) -> str:
    if text in (UNDEFINED, NOTHING):
        return text
    return f"{text} [{UNDEFINED}]" if UNDEFINED in (low, high) else f"{text} [{low}, {high}]"
