"""What a claim on trial consists of, and its two forms on disk: JSON for programs, Markdown for reading."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import TypeAdapter, ValidationError

from leakgap import LeakgapError
from leakgap.files import read_records, write_records
from leakgap.measure.estimate import Estimate as Measured
from leakgap.measure.verdict import Trial
from leakgap.numbers import span
from leakgap.paper.case import Case, Rows


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; None where it is undefined."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, name: str, found: Measured) -> Self:
        """Give an interval its name; NaN becomes None.

        >>> from leakgap.order.between import student
        >>> Estimate.of("slope", student(0.5, float("nan"), 4))
        Estimate(name='slope', value=0.5, low=None, high=None)
        """
        return cls(name, *(float(end) if np.isfinite(end) else None for end in found[:3]))


@dataclass(frozen=True)
class Finding:
    """What the statistic of one claim says: the estimate, how it was judged, the rows, what stands beside it."""

    estimate: Estimate
    trial: Trial
    reason: str
    rows: tuple[Rows, ...] = ()
    secondary: tuple[Estimate, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """One claim of the paper, and what is estimated to judge it; the verdict is about `threshold`."""

    id: int
    title: str
    statement: str
    estimand: str
    statistic: str
    threshold: float
    answer: Callable[[Case], Finding]


QUESTIONS: list[Question] = []


def question(title: str, statement: str, estimand: str, statistic: str, threshold: float) -> Callable:
    """Register the function below as the next claim's answer."""

    def register(answer: Callable[[Case], Finding]) -> Callable[[Case], Finding]:
        number = len(QUESTIONS) + 1
        QUESTIONS.append(Question(number, title, statement, estimand, statistic, threshold, answer))
        return answer

    return register


def against(found: Measured, threshold: float) -> str:
    """Where the interval lies, in words."""
    if not np.isfinite(found.low):
        return "the interval is undefined" + (f": {found.note}" if found.note else "")
    side = "above" if found.low > threshold else "below" if found.high < threshold else "on both sides of"
    return f"the interval {span(found.low, found.high)} is {side} {threshold:g}"


def compared(found: Measured, paper: float) -> str:
    """Where the paper's number lies, in words."""
    if not np.isfinite(found.low):
        return f"the paper's {paper:g} can't be compared"
    where = "above" if paper > found.high else "below" if paper < found.low else "inside"
    return f"the paper's {paper:g} lies {where} the interval"


@dataclass(frozen=True)
class Claim:
    """A question answered by one study under one attack and design, as claims.json holds it.

    p: two-sided p-value against the threshold, adjusted by Holm's rule for the claims judged together; None where
    undefined. The interval is that of this claim alone.
    """

    study: str
    design: str
    attack: str
    id: int
    title: str
    statement: str
    estimand: str
    statistic: str
    value: float | None
    low: float | None
    high: float | None
    level: float
    threshold: float
    p: float | None
    verdict: str
    reason: str
    notes: tuple[str, ...]
    rows: tuple[Rows, ...]
    secondary: tuple[Estimate, ...]

    @classmethod
    def of(cls, case: Case, question: Question, finding: Finding, p: float, verdict: str) -> Self:
        """Write down a case, a question and what was found; p: adjusted. The reason says where Holm decides."""
        reason = finding.reason
        if verdict == "undecided" and finding.trial.p <= 1 - case.level:
            reason += (
                f"; alone that decides, among the claims judged together it does not (adjusted p {p:.2g})"
            )
        return cls(
            study=case.results.study.name,
            design=case.design,
            attack=case.attack,
            id=question.id,
            title=question.title,
            statement=question.statement,
            estimand=question.estimand,
            statistic=question.statistic,
            value=finding.estimate.value,
            low=finding.estimate.low,
            high=finding.estimate.high,
            level=case.level,
            threshold=question.threshold,
            p=None if np.isnan(p) else float(p),
            verdict=verdict,
            reason=reason,
            notes=finding.notes,
            rows=finding.rows,
            secondary=finding.secondary,
        )


def write(path: str | Path, claims: Sequence[Claim], origin: str = "") -> None:
    """Write claims as a JSON list of objects, undefined numbers null; origin: of the results that were judged."""
    write_records(path, json.loads(json.dumps([asdict(claim) for claim in claims])), "claims", origin)


def read(path: str | Path, origin: str = "") -> list[Claim]:
    """Read what `write` wrote; LeakgapError where the file is missing, damaged, or of other results."""
    records = read_records(path, "claims", origin)
    try:
        return TypeAdapter(list[Claim]).validate_python(records)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise LeakgapError(f"{path}: does not hold claims ({place}); run claims anew") from None


def _interval(value: Claim | Estimate) -> str:
    number = "–" if value.value is None else f"{value.value:.3g}"
    if value.low is None or value.high is None:
        return f"{number} | undefined"
    return f"{number} | {span(value.low, value.high)}"


def to_markdown(claims: Sequence[Claim]) -> str:
    """A table of one design's verdicts, the attacks side by side, then a section for each claim."""
    lines = [
        f"# The claims on trial: {claims[0].study}, {claims[0].design}",
        "",
        f"The headline attack is {claims[0].attack}. Intervals are each claim's own; verdicts are by p-values "
        "adjusted for all claims judged with one attack (Holm).",
        "",
        "| | claim | attack | statistic | value | interval | threshold | adjusted p | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for claim in claims:
        p = "–" if claim.p is None else f"{claim.p:.2g}"
        cells = (
            *(claim.id, claim.title, claim.attack, claim.statistic, _interval(claim)),
            *(f"{claim.threshold:g}", p, f"**{claim.verdict}**"),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for claim in claims:
        lines += ["", f"## {claim.id}. {claim.title}: {claim.verdict} ({claim.attack})", ""]
        lines += [f"The paper: {claim.statement}", ""]
        lines += [f"- Estimand: {claim.estimand}.", f"- Verdict at level {claim.level:g}: {claim.reason}."]
        lines += [f"- {note[0].upper() + note[1:]}." for note in claim.notes]
        lines += [f"- Rows: {rows.count} of `{rows.table}`: `{rows.query}`" for rows in claim.rows]
        if claim.secondary:
            lines += ["", "| beside it | value | interval |", "|---|---|---|"]
            lines += [f"| {one.name} | {_interval(one)} |" for one in claim.secondary]
    return "\n".join(lines) + "\n"
