"""Two audits side by side: which model leaks less, how sure that is, and who is exposed in one alone.

Each model is read by the attack that leads its own audit: what counts is what an attacker finds. Where both audits
are of the same records, records (or persons) are drawn together for both, so that what makes a record easy to
recognize in any model does not count as noise of the comparison; else the errors of both sides add.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.audit.model import Audit
from leakgap.audit.words import names, plural
from leakgap.files import atomic
from leakgap.measure.roc import conformal_curve, conformal_rank
from leakgap.measure.verdict import holm
from leakgap.numbers import between, factor, one_in
from leakgap.text import for_spreadsheets, markdown_table, plain

__all__ = ["Comparison", "compare_audits", "compare_folders", "read_audit"]

DRAWS = 2000
BLOCK = 200  # draws whose weights are held at once
LEVEL = 0.95
SHARED = 0.5  # of the smaller audit's records must be in both for a paired comparison
NAMED = 20  # records that are exposed in one model alone


@dataclass(frozen=True)
class Comparison:
    """What two audits say beside each other.

    answer: one sentence that decides, or says that this can't be decided and what would decide it; over the FPRs by
    Holm, at 5%. table: a row for each FPR and for the AUC, the number in either audit, and second / first (of AUCs
    second - first) with its 95% interval and p of no change, each row by itself. exposed: members of both models,
    records or persons, that one gives away and the other does not, those apart most first; who: how many, in one
    sentence. curves: `side`, `fpr` and `tpr` of the ROC of either.

    >>> table = pd.DataFrame({"quantity": ["AUC"], "first": [0.9], "second": [0.6], "change": [-0.3]})
    >>> found = Comparison("b leaks less than a", table, pd.DataFrame(), True, "nobody", pd.DataFrame(), {})
    >>> found.table["change"].tolist()
    [-0.3]
    """

    answer: str
    table: pd.DataFrame
    exposed: pd.DataFrame
    paired: bool
    who: str
    curves: pd.DataFrame
    about: dict[str, Any]  # names and leading attacks of either, what a unit is, whether units are persons

    def write(self, folder: str | Path) -> Path:
        """Write comparison.html, .md and .csv, and exposed.csv; return the path of the first."""
        from leakgap.audit.page import render_comparison

        folder = Path(folder)
        for name, table in (("comparison.csv", self.table), ("exposed.csv", self.exposed)):
            with atomic(folder / name) as temporary:
                for_spreadsheets(table).to_csv(temporary, index=False)
        text = [f"# {self.answer}", self.who, f"Intervals are of {self.how}.", _markdown(self.table)]
        if len(self.exposed):
            text += ["## Exposed in one model alone", _markdown(self.exposed.head(NAMED))]
        with atomic(folder / "comparison.md") as temporary:
            temporary.write_text("\n\n".join(text) + "\n", encoding="utf-8")
        with atomic(folder / "comparison.html") as temporary:
            temporary.write_text(render_comparison(self, NAMED), encoding="utf-8")
        return folder / "comparison.html"

    @property
    def how(self) -> str:
        """What the intervals take for a sample."""
        if self.paired:
            return "the same records, drawn together"
        return "different records: the errors of both add"


def compare_audits(first: Audit, second: Audit, *, seed: int = 0) -> Comparison:
    """Compare what two models leak.

    first, second: audits with membership, of `audit_model` or `read_audit`. Raises LeakgapError where one has none,
    or where they have no FPR in common.

    Examples
    --------
    >>> from leakgap import Answers, audit_model
    >>> rng = np.random.default_rng(0)
    >>> def audited(leak):
    ...     member = rng.random(4000) < 0.5
    ...     columns = {"record": range(4000), "label": [0] * 4000, "member": member}
    ...     return audit_model(Answers.of(columns | {"phi": rng.normal(leak * member)}, f"leak {leak}"), [])
    >>> found = compare_audits(audited(3.0), audited(0.5))
    >>> print(found.answer.partition(",")[0].split(" leaks ")[0])
    leak 0.5
    """
    persons = bool(len(first.people) and len(second.people))
    sides = [_Side.of(audit, persons) for audit in (first, second)]
    fprs = [fpr for fpr in first.about["fprs"] if fpr in second.about["fprs"]]
    if not fprs:
        raise LeakgapError("the two audits have no false positive rate in common")
    common = np.intersect1d(sides[0].ids, sides[1].ids)
    paired = len(common) >= SHARED * min(len(side.ids) for side in sides)
    draws = _drawn(sides, paired, seed)
    rows = [_row(sides, draws, fpr) for fpr in fprs]
    rows.append(_row(sides, draws, None))
    table = pd.DataFrame(rows)
    units, kind = (plural(first.about["unit"]), "group") if persons else ("records", "record")
    exposed, who = _exposed(sides, max(fprs), units, kind)
    curves = []
    for number, side in enumerate(sides):
        fpr, tpr = conformal_curve(side.score, side.member, points=200)
        curves.append(pd.DataFrame({"side": number, "fpr": fpr, "tpr": tpr}))
    about = {
        "names": [side.name for side in sides],
        "attacks": [each.about["leading"] for each in (first, second)],
        "units": units,
        "kind": first.about["unit"] if persons else "record",
    }
    answer = _answer(sides, table, first.about, second.about)
    return Comparison(answer, table, exposed, paired, who, pd.concat(curves, ignore_index=True), about)


@dataclass(frozen=True)
class _Side:
    """One audit's leading attack: P pairs of a target and a record, or a person, that were judged."""

    name: str
    ids: np.ndarray  # str [U]: persons, or records
    unit: np.ndarray  # int [P], place in ids
    score: np.ndarray  # float64 [P]
    member: np.ndarray  # bool [P]
    what: np.ndarray  # str [P], the person or the record
    accuracy: float | None  # on records that the target was not trained on

    @classmethod
    def of(cls, audit: Audit, persons: bool) -> _Side:
        about, table = audit.about, audit.people if persons else audit.records
        name = names(about["targets"])
        if "member" not in table:
            raise LeakgapError(f"{name}: its audit does not know the members, so there is no leak to compare")
        told = table.dropna(subset=[about["leading"]])
        whose = told["group"] if "group" in told else told["record"]
        ids, unit = np.unique(whose.astype(str).to_numpy(), return_inverse=True)
        accuracy = (about.get("accuracy") or {}).get("target", {}).get("others")
        member = told["member"].to_numpy(bool)
        score = told[about["leading"]].to_numpy(np.float64)
        what = told["group" if persons else "record"].astype(str).to_numpy()
        return cls(name, ids, unit.reshape(-1), score, member, what, accuracy)


def _drawn(sides: list[_Side], paired: bool, seed: int) -> list[np.ndarray]:
    """Return how often each draw counts each unit of either side, float32 [DRAWS + 1, U]; the first is 1 for all.

    Poisson counts of mean 1: a bootstrap in which units are independent, so that those that only one side has need
    no rule of their own.
    """
    rng = np.random.default_rng(seed)
    everyone = np.unique(np.concatenate([side.ids for side in sides])) if paired else None
    shared = rng.poisson(1.0, (DRAWS, len(everyone))) if everyone is not None else None
    found = []
    for side in sides:
        counts = rng.poisson(1.0, (DRAWS, len(side.ids))) if shared is None else shared
        if everyone is not None:
            counts = counts[:, np.searchsorted(everyone, side.ids)]
        found.append(np.concatenate([np.ones((1, len(side.ids))), counts]).astype(np.float32))
    return found


def _row(sides: list[_Side], draws: list[np.ndarray], fpr: float | None) -> dict[str, Any]:
    """One row of the table: TPR at an FPR as a ratio, or AUC as a difference where there is no FPR."""
    values = [
        _tprs(side, drawn, fpr) if fpr else _aucs(side, drawn)
        for side, drawn in zip(sides, draws, strict=True)
    ]
    row: dict[str, Any] = {
        "quantity": f"TPR at {100 * fpr:g}% FPR" if fpr else "AUC",
        "first": float(values[0][0]),
        "second": float(values[1][0]),
    }
    if fpr:
        # nobody recognized counts as half a member, as everywhere
        half = [0.5 / side.member.sum() for side in sides]
        one, other = (np.log(np.maximum(value, least)) for value, least in zip(values, half, strict=True))
    else:
        one, other = values
    change = other - one
    if np.isnan(change[0]) or np.isnan(change[1:]).mean() > 0.05:
        return row | dict.fromkeys(("change", "low", "high", "p"), math.nan)
    low, high = np.nanquantile(change[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    back = np.exp if fpr else float
    drawn = change[1:][~np.isnan(change[1:])]
    beyond = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (1 + len(drawn)))
    return row | {
        "change": float(back(change[0])),
        "low": float(back(low)),
        "high": float(back(high)),
        "p": p,
    }


def _tprs(side: _Side, drawn: np.ndarray, fpr: float) -> np.ndarray:
    """The conformal TPR of every draw, float64 [DRAWS + 1]; NaN where a draw has too few non-members."""
    order = np.argsort(-side.score, kind="stable")
    score, member, unit = side.score[order], side.member[order], side.unit[order]
    last = np.flatnonzero(np.append(score[1:] != score[:-1], True))  # ties stand or fall together
    found = []
    for start in range(0, len(drawn), BLOCK):
        weights = drawn[start : start + BLOCK][:, unit]
        others = np.cumsum(weights * ~member, axis=1)[:, last]
        inside = np.cumsum(weights * member, axis=1)[:, last]
        allowed = conformal_rank(others[:, -1], fpr) - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            # members above the threshold: at the last score at which the non-members at or above it are allowed
            place = (others <= np.maximum(allowed, 0)[:, None]).sum(1)
            caught = np.where(
                place > 0, np.take_along_axis(inside, np.maximum(place - 1, 0)[:, None], 1)[:, 0], 0
            )
            found.append(np.where(allowed >= 0, caught / inside[:, -1], np.nan))
    return np.concatenate(found).astype(np.float64)


def _aucs(side: _Side, drawn: np.ndarray) -> np.ndarray:
    """The AUC of every draw, ties half, float64 [DRAWS + 1]."""
    order = np.argsort(side.score, kind="stable")
    score, member, unit = side.score[order], side.member[order], side.unit[order]
    first = np.flatnonzero(np.append(True, score[1:] != score[:-1]))
    found = []
    for start in range(0, len(drawn), BLOCK):
        weights = drawn[start : start + BLOCK][:, unit].astype(np.float64)
        others = np.add.reduceat(weights * ~member, first, axis=1)
        inside = np.add.reduceat(weights * member, first, axis=1)
        below = np.cumsum(others, axis=1) - others / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            found.append((inside * below).sum(1) / (inside.sum(1) * others.sum(1)))
    return np.concatenate(found)


def _exposed(sides: list[_Side], fpr: float, units: str, kind: str) -> tuple[pd.DataFrame, str]:
    """Return members of both models that one gives away and the other does not, by how far; and a sentence."""
    above = []
    for side in sides:
        others = np.sort(side.score[~side.member])[::-1]
        rank = int(conformal_rank(len(others), fpr))
        if rank < 1:
            told = f"{side.name}: too few {units} that it was not trained on to say who is exposed."
            return pd.DataFrame({kind: [], "exposed in": []}), told
        limit = others[rank - 1]
        spread = max(float(np.std(others)), 1e-12) if len(others) else 1.0
        by = pd.Series((side.score - limit) / spread, index=side.what)[side.member]
        above.append(by.groupby(level=0).max())
    both = pd.concat(above, axis=1, join="inner", keys=["first", "second"])
    if not len(both):
        told = f"The two models were trained on no {units} in common: nobody is exposed in one of them alone."
        return pd.DataFrame({kind: [], "exposed in": []}), told
    given = both > 0
    apart = both[given["first"] != given["second"]]
    order = (apart["first"] - apart["second"]).abs().sort_values(ascending=False, kind="stable").index
    apart = apart.loc[order]
    counts = given.value_counts()
    alone = [int(counts.get(each, 0)) for each in ((True, False), (False, True), (True, True))]
    told = (
        f"Of {len(both):,} {units} that both models were trained on, {alone[0]:,} are recognized in "
        f"{sides[0].name} alone, {alone[1]:,} in {sides[1].name} alone and {alone[2]:,} in both, at {one_in(fpr)}."
    )
    where = np.where(apart["first"] > 0, sides[0].name, sides[1].name)
    return pd.DataFrame({kind: apart.index, "exposed in": where}), told


def _answer(sides: list[_Side], table: pd.DataFrame, first: dict[str, Any], second: dict[str, Any]) -> str:
    """One sentence that decides."""
    doubt = [about for about in (first, second) if about["signs_against_chance"] or about["warnings"]]
    told = table.dropna(subset=["change"])
    rates = told[told["quantity"] != "AUC"]
    if doubt:
        return (
            f"This can't be decided with these audits: the first screen of {doubt[0]['targets'][0]['name']}'s says "
            "why its numbers are doubtful"
        )
    decided = rates[np.array(holm(rates["p"].tolist())) < 1 - LEVEL] if len(rates) else rates
    if decided.empty:
        auc = told[told["quantity"] == "AUC"]
        unequal = len(auc) and (auc["low"].iloc[0] > 0 or auc["high"].iloc[0] < 0)
        more = (
            "; over all thresholds one is told from the other (AUC), which is no basis for a release"
            if unequal
            else ""
        )
        return (
            f"This can't be decided with this: {sides[0].name} and {sides[1].name} can't be told apart{more}; more "
            "records that neither model was trained on would tell"
        )
    row = decided.iloc[0]
    less = 1 if row["change"] < 1 else 0
    shadows = [about["shadow_models"] for about in (first, second)]
    if shadows[less] < shadows[1 - less] and 2 * shadows[less] <= shadows[1 - less]:
        return (
            f"This can't be decided with these audits: {sides[less].name} was attacked with {shadows[less]} shadow "
            f"models and {sides[1 - less].name} with {shadows[1 - less]}, and more find more; give both as many"
        )
    better, worse = (sides[1], sides[0]) if row["change"] < 1 else (sides[0], sides[1])
    less_by, low, high = (
        (1 / row["change"], 1 / row["high"], 1 / row["low"])
        if row["change"] < 1
        else (row["change"], row["low"], row["high"])
    )
    sentence = (
        f"{better.name} leaks {factor(less_by)} times less than {worse.name} ({between(low, high, factor)}, "
        f"{row['quantity']})"
    )
    if not max(shadows):
        return (
            f"{sentence}, to an attacker without shadow models; with them others may be recognized: train four or "
            "more for each model, and compare again"
        )
    if better.accuracy is None or worse.accuracy is None:
        return sentence
    points = 100 * (worse.accuracy - better.accuracy)
    if points > 0.05:
        return f"{sentence}; use it if {points:.1f} points of accuracy are worth it"
    return (
        f"{sentence}, and it is {-points:.1f} points more accurate: use it"
        if points < -0.05
        else f"{sentence}: use it"
    )


def _markdown(table: pd.DataFrame) -> str:
    def cell(value: Any) -> str:
        return (
            "undefined"
            if isinstance(value, float) and math.isnan(value)
            else f"{value:.4g}"
            if isinstance(value, float)
            else str(value)
        )

    return markdown_table(map(str, table), (map(cell, row) for row in table.itertuples(index=False)))


def read_audit(folder: str | Path) -> Audit:
    """Return the audit that was written to a folder; LeakgapError where there is none, or it is damaged."""
    folder = Path(folder)
    try:
        about = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
        records = pd.read_parquet(folder / "records.parquet")
        people = folder / "people.parquet"
        found = pd.read_parquet(people) if people.is_file() else pd.DataFrame()
        summary, curves = pd.DataFrame(about.pop("attacks")), about.pop("curves")
        points = [pd.DataFrame(curve).assign(attack=name) for name, curve in curves.items()]
        about["leading"], about["targets"], about["fprs"]
    except Exception as error:  # a damaged file makes its reader raise nearly anything
        reason = str(error).partition("\n")[0]
        raise LeakgapError(f"{folder}: holds no audit that can be read ({reason})") from None
    curves = (
        pd.concat(points, ignore_index=True) if points else pd.DataFrame({"attack": [], "fpr": [], "tpr": []})
    )
    return Audit(summary, records, curves, about, found)


def compare_folders(first: str, second: str, out: str | None = None) -> None:
    """Compare the audits in two folders, write that into `out`, by default in the first one, and print it."""
    audits = read_audit(first), read_audit(second)
    of = [[each["name"] for each in audit.about["targets"]] for audit in audits]
    if of[0] == of[1]:  # as when files of the same name lie in two folders
        for audit, folder in zip(audits, (first, second), strict=True):
            for each in audit.about["targets"]:
                each["name"] = f"{each['name']} of {Path(folder).name}"
    found = compare_audits(*audits)
    page = found.write(out or Path(first) / f"beside-{Path(second).name}")
    print(plain(f"{found.answer}."), plain(found.who), f"The whole page: {page}", sep="\n")
