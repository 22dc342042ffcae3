"""What orders the leak of a study's variants: from joined tables and scores to a table and sentences."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from leakgap.estimates import LEAVE_ONE_OUT, tpr_column
from leakgap.files import atomic, write_records
from leakgap.measure.roc import auc
from leakgap.numbers import fixed
from leakgap.order import between
from leakgap.order.findings import (
    FEWEST,
    Answer,
    of_equal_fit,
    of_forecast,
    of_models,
    of_pairs,
    of_techniques,
    table,
)
from leakgap.order.pairs import Ends, Pair
from leakgap.results import Results
from leakgap.study import NONE, Study
from leakgap.text import for_spreadsheets, markdown_table

QUANTITIES = 3  # of a pair: gap, leak, fit


def write_order(study: Study, joined: str, scores: Sequence[str], page: str, out: Sequence[str]) -> None:
    """Write the table as CSV and Markdown, and for the report's page the sentences and cells as JSON."""
    results = Results(study, joined)
    answers = found(results, scores)
    rows = table(answers)
    by_suffix = {Path(path).suffix: path for path in out}
    with atomic(by_suffix[".csv"]) as draft:
        for_spreadsheets(rows).to_csv(draft, index=False)
    sentences = [answer.sentence for answer in answers]
    shown = [list(rows.columns), *(list(map(_text, map(str, rows), row)) for row in rows.to_numpy(object))]
    with atomic(by_suffix[".md"]) as draft:
        draft.write_text(
            "\n\n".join([*sentences, markdown_table(shown[0], shown[1:])]) + "\n", encoding="utf-8"
        )
    write_records(
        page, [{"answers": sentences, "columns": shown[0], "rows": shown[1:]}], "order", results.origin
    )


def _text(column: str, value: object) -> str:
    """A cell; the ends of an interval are rounded outwards."""
    if not isinstance(value, float):
        return str(value)
    if np.isnan(value):
        return ""
    if value == int(value) and column == "value":
        return f"{value:g}"
    return fixed(value, 3, {"low": ROUND_FLOOR, "high": ROUND_CEILING}.get(column, ROUND_HALF_EVEN))


def found(results: Results, scores: Sequence[str]) -> list[Answer]:
    """Return the answers, that about fit and gap first."""
    pairs, cells = _pairs(results), _cells(results)
    told = None if cells is None else cells[~cells["censored"]].reset_index(drop=True)
    if told is not None and told["technique"].nunique() < FEWEST:
        told = None
    last = None if cells is None else cells[cells["step"] == results.last].reset_index(drop=True)
    names = results.study.grid.techniques
    members = list(dict.fromkeys(part for name in names for part in name.split("+") if part != NONE))
    plain = [name for name in names if name not in results.study.grid.variants]
    whole = len(plain) == len(names) == 2 ** len(members)
    answers = [
        of_forecast(told),
        of_pairs(pairs),
        of_equal_fit(pairs, told),
        of_models(*_halves(results, scores)),
        of_techniques(last, members) if whole else None,
    ]
    return [answer for answer in answers if answer is not None]


def _pairs(results: Results) -> list[Pair]:
    """Every two variants at the last step, by intervals that hold for all together."""
    cells = {name: results.cell(name) for name in results.study.grid.techniques}
    fpr, both = max(results.study.attack.fpr), list(combinations(cells, 2))
    asked = QUANTITIES * len(both)
    pairs = []
    for one, other in both:
        gap, fit = (
            results.difference(cells[one], cells[other], name, comparisons=asked)
            for name in ("acc_gap", "train_acc")
        )
        leak = results.contrast(cells[one], cells[other], fpr, comparisons=asked)
        ends = (
            Ends(float(np.log(leak.low)), float(np.log(leak.high))) if leak.low > 0 else Ends(np.nan, np.nan)
        )
        pairs.append(Pair(one, other, Ends(gap.low, gap.high), ends, Ends(fit.low, fit.high)))
    return pairs


def _cells(results: Results) -> pd.DataFrame | None:
    """Variants at steps: generalization from one half of the images, leak from the other; None if undefined."""
    targets, fpr = results.targets(halves=True), max(results.study.attack.fpr)
    if targets[tpr_column(fpr)].isna().any():
        return None
    return between.cells(targets, fpr)


def _halves(
    results: Results, scores: Sequence[str]
) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray]:
    """Gap and AUC of every model on either half of the images, [2, cells, models], and the models' mask pairs.

    The tables have accuracies of all images and of the even ones; those of the odd ones follow from both.
    """
    study = results.study
    masks = list(study.masks)
    pair = np.arange(len(masks)) // 2
    whole, even = (
        {
            (row["technique"], row["step"], row["mask"]): row
            for row in results.targets(LEAVE_ONE_OUT, halves=halves).to_dict("records")
        }
        for halves in (False, True)
    )
    gaps, aucs = [], []
    for technique, path in zip(study.grid.techniques, scores, strict=True):
        attack = study.attack.headline
        if not Path(path).is_file() or attack not in pq.read_schema(path).names:
            return None, None, pair
        frame = pd.read_parquet(path, columns=["step", "mask", "image", "member", attack])
        frame = frame[frame[attack].notna()]
        frame = frame.assign(half=1 - frame["image"] % 2)  # the even ones first, as in `halves`
        for step, part in frame.groupby("step", sort=True):
            own: dict[Any, pd.DataFrame] = dict(iter(part.groupby(["mask", "half"])))
            if any((mask, half) not in own for mask in masks for half in (0, 1)):
                return None, None, pair
            aucs.append([[_auc(own[mask, half], attack) for mask in masks] for half in (1, 0)])
            gap = []
            for mask in masks:
                counts = {half: own[mask, half]["member"].value_counts() for half in (0, 1)}
                every, first = (rows[technique, step, mask] for rows in (whole, even))
                odd = {
                    name: _rest(every[name], first[name], counts[1].get(member, 0), counts[0].get(member, 0))
                    for name, member in (("train_acc", True), ("test_acc", False))
                }
                gap.append((first["train_acc"] - first["test_acc"], odd["train_acc"] - odd["test_acc"]))
            gaps.append(np.array(gap).T)
    return np.array(gaps).transpose(1, 0, 2), np.array(aucs).transpose(1, 0, 2), pair


def _auc(rows: pd.DataFrame, attack: str) -> float:
    return float(auc(rows[attack].to_numpy(np.float64), rows["member"].to_numpy()))


def _rest(whole: float, part: float, size: int, other: int) -> float:
    """The mean over the other records, of a mean over all and over some."""
    return (whole * (size + other) - part * size) / other if other else np.nan
