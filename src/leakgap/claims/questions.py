"""The paper's eight claims on trial: estimand, statistic, interval, verdict.

Claims 1 to 4 compare pooled TPRs of T target models: the logarithm of a ratio, with the standard deviation of its
paired bootstrap replicates times sqrt(T / (T - 1)) and Student's t on T - 1 degrees of freedom. Claims 5 to 8
compare techniques: predictors from one half of the images, TPR from the other, as in `leakgap.claims.between`.
A verdict is read off an interval: beyond the threshold `supported`, short of it `contradicted`, else `undecided`.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pandas as pd

from leakgap.claims import between as predict
from leakgap.claims.between import Estimate
from leakgap.claims.record import MASK_PREFIX, Record, Rows, Undecidable
from leakgap.files import atomic
from leakgap.results import read
from leakgap.study import Study

NONE, ALL = "none", "crop+mirror+cutout+policy"
HELP = 1.1  # a ratio up to this is not called help
FALL = 0.8  # a ratio of consecutive steps down to this is not called a fall


@dataclass(frozen=True)
class Finding:
    """What the statistic of one claim says."""

    value: Estimate
    verdict: str
    reason: str
    rows: tuple[Rows, ...]
    secondary: tuple[Estimate, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """One claim with its verdict: `supported`, `contradicted` or `undecided`. Undefined numbers are None."""

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
    verdict: str
    reason: str
    notes: tuple[str, ...] = ()
    rows: tuple[Rows, ...] = ()
    secondary: tuple[Estimate, ...] = ()


def augmentation(record: Record) -> Finding:
    """Claim 1."""
    names = list(record.at_fpr.index.unique("technique"))
    if NONE not in names or len(names) < 2:
        raise Undecidable("the grid needs `none` and an augmentation technique")
    size = {name: len(name.split("+")) for name in names if name != NONE}
    most = [name for name in size if size[name] == max(size.values())]

    def key(name: str) -> tuple:
        return (name, record.last, "informed")

    value = record.ratio(f"none / {' and '.join(most)}", [key(NONE)], [key(name) for name in most])
    each = tuple(record.ratio(f"none / {name}", [key(NONE)], [key(name)], len(size)) for name in size)
    lower = sum(one.verdict(1) == "supported" for one in each)
    higher = sum(one.verdict(1) == "contradicted" for one in each)
    notes = (
        f"pooled at {record.pooled_fpr:g} FPR; of {len(each)} techniques {lower} are below `none` and {higher} "
        "above, by simultaneous intervals (Bonferroni)",
        value.compared(109)
        + " (19.56/0.18 on one CIFAR-10 target at 0.1% FPR, itself uncertain from 71 to 185)",
        *record.chance([key(name) for name in most]),
    )
    rows = record.pooled_query(f"step == {record.last} and attacker == 'informed'")
    return Finding(value, value.verdict(1), value.against(1), rows, each, notes)


def early_stopping(record: Record) -> Finding:
    """Claim 2: supported if the last step is above the first and no step falls, contradicted if either fails."""
    keys = sorted(key for key in record.at_fpr.index if key[0] == NONE and key[2] == "informed")
    if len(keys) < 2:
        raise Undecidable("the grid has no `none` with two steps or more")
    value = record.ratio("last step / first step", keys[-1:], keys[:1])
    pairs = tuple(
        record.ratio(f"step {after[1]} / step {before[1]}", [after], [before], len(keys) - 1)
        for before, after in pairwise(keys)
    )
    rise, monotone = value.verdict(1), [pair.verdict(FALL) for pair in pairs]
    together = {rise, *monotone}
    decided = next(name for name in ("contradicted", "undecided", "supported") if name in together)
    reason = (
        f"last against first: {value.against(1)}; of {len(pairs)} consecutive steps {monotone.count('supported')} "
        f"show no fall below {FALL:g} times the step before, {monotone.count('contradicted')} show one (Bonferroni)"
    )
    rows = record.pooled_query(f"technique == '{NONE}' and attacker == 'informed'")
    notes = (f"pooled at {record.pooled_fpr:g} FPR; the paper: 18.28 / 0.10 = 183", *record.chance(keys))
    return Finding(value, decided, reason, rows, pairs, notes)


def _knowledge(record: Record, technique: str) -> tuple[Estimate, tuple[Rows, ...], tuple[str, ...]]:
    if technique not in record.at_fpr.index.unique("technique"):
        raise Undecidable(f"the grid has no `{technique}`")
    keys = [(technique, record.last, attacker) for attacker in ("informed", "uninformed")]
    value = record.ratio("informed / uninformed", keys[:1], keys[1:])
    rows = record.pooled_query(f"technique == '{technique}' and step == {record.last}")
    return value, rows, (f"pooled at {record.pooled_fpr:g} FPR, last step", *record.chance(keys))


def knowing_policy(record: Record) -> Finding:
    """Claim 3."""
    value, rows, notes = _knowledge(record, "policy")
    return Finding(value, value.verdict(HELP), value.against(HELP), rows, (), (*notes, value.compared(5)))


def knowing_all(record: Record) -> Finding:
    """Claim 4."""
    value, rows, notes = _knowledge(record, ALL)
    return Finding(value, value.verdict(HELP, below=True), value.against(HELP), rows, (), notes)


def gap_raises(record: Record) -> Finding:
    """Claim 5."""
    value = predict.correlation("accuracy gap", record.cells, "acc_gap", level=record.level)
    return Finding(value, value.verdict(0), value.against(0), record.target_rows, (), record.target_notes)


def gap_predicts(record: Record) -> Finding:
    """Claim 6: against test accuracy; the other rivals are reported beside it."""
    table, level = record.cells, record.level
    rivals = {name: predict.PREDICTORS[name] for name in ("test_acc", "train_acc", "train_loss", "step")}
    results = {
        title: predict.error_difference(f"error by {title} - by gap", table, name, "acc_gap", level)
        for name, title in rivals.items()
    }
    value, each = results.pop(rivals["test_acc"])
    bootstrap = predict.bootstrap_interval(
        f"{value.name}, percentile cluster bootstrap", each, record.seed, level
    )
    against: dict[str, list[str]] = {"supported": [], "contradicted": [], "undecided": []}
    for title, (difference, _) in results.items():
        against[difference.verdict(0)].append(title)
    better, worse, open_ = (
        ", ".join(against[name]) or "none" for name in ("contradicted", "supported", "undecided")
    )
    notes = (
        *record.target_notes,
        f"other rivals: better than the gap {better}; worse {worse}; not told apart from it {open_}",
        "gap, train and test accuracy span one space: any two of them carry what the third carries",
    )
    secondary = (*(difference for difference, _ in results.values()), bootstrap, *rank_correlations(record))
    return Finding(value, value.verdict(0), value.against(0), record.target_rows, secondary, notes)


def rank_correlations(record: Record) -> Iterable[Estimate]:
    """Spearman with TPR of each predictor: between techniques, across steps, across masks of a cell."""
    table, level = record.cells, record.level
    for column, title in predict.PREDICTORS.items():
        if column != "step":
            name = f"Spearman, {title}, between techniques at a fixed step"
            yield predict.correlation(name, table, column, level=level, within="step")
        each = [
            predict.spearman(part[column].to_numpy(float), part.log_tpr.to_numpy())
            for _, part in table.groupby("technique")
        ]
        name = f"Spearman, {title}, across steps within a technique"
        yield predict.mean_interval(name, np.array(each), level, bound=1)
        if column != "step":
            name = f"Spearman, {title}, across masks within a cell"
            yield predict.correlation_within_cells(name, record.informed, column, record.target_fpr, level)


def test_at_equal_gap(record: Record) -> Finding:
    """Claim 7."""
    value = predict.slope_at_equal("slope", record.cells, "test_acc", "acc_gap", record.level)
    return Finding(value, value.verdict(0), value.against(0), record.target_rows, (), record.target_notes)


def loss_gap(record: Record) -> Finding:
    """Claim 8: supported if TPR rises with the loss gap and its error is smaller, contradicted if either fails."""
    table, level = record.cells, record.level
    value, _ = predict.error_difference(
        "error by accuracy gap - by loss gap", table, "acc_gap", "loss_gap", level
    )
    rise = predict.correlation("Spearman, loss gap and TPR", table, "loss_gap", level=level)
    both = predict.correlation(
        "Spearman, loss gap and accuracy gap", table, "loss_gap", "acc_gap", level=level
    )
    together = {value.verdict(0), rise.verdict(0)}
    decided = next(name for name in ("contradicted", "undecided", "supported") if name in together)
    reason = f"smoother: {value.against(0)}; agrees: {rise.against(0)}"
    return Finding(value, decided, reason, record.target_rows, (rise, both), record.target_notes)


@dataclass(frozen=True)
class Question:
    """What is asked of a study; `answer` finds out."""

    title: str
    statement: str
    estimand: str
    statistic: str
    threshold: float
    answer: Callable[[Record], Finding]


CELL = "cells: each technique at each step, mean over its masks"
QUESTIONS = (
    Question(
        "Augmentation lowers the attack's TPR",
        "Without augmentation TPR at 0.1% FPR is 19.56%, with all techniques 0.18%.",
        "pooled TPR of models trained without augmentation over that with the most techniques, last step, informed",
        "ratio of pooled TPRs",
        1,
        augmentation,
    ),
    Question(
        "Early stopping lowers TPR, monotone in the step",
        "From step 1 to step 6 TPR rises from 0.1% to 18.28%, every step above the one before.",
        f"pooled TPR, `none`, at the last step over that at the first; none below {FALL:g} times the step before",
        "ratio of pooled TPRs",
        1,
        early_stopping,
    ),
    Question(
        "Knowing the technique helps against `policy`",
        "Shadow models trained with `policy` too raise the attack's TPR up to 5 times.",
        f"pooled TPR of the informed attacker over the uninformed one's; help is a ratio above {HELP:g}",
        "ratio of pooled TPRs",
        HELP,
        knowing_policy,
    ),
    Question(
        "Knowing the technique does not help against all techniques combined",
        "With all techniques, knowledge of the training procedure cannot enhance the attack.",
        f"pooled TPR of the informed attacker over the uninformed one's; help is a ratio above {HELP:g}",
        "ratio of pooled TPRs",
        HELP,
        knowing_all,
    ),
    Question(
        "TPR rises with the accuracy gap",
        "There is a clear upward trend in attack success as the train-test accuracy gap increases.",
        f"rank correlation of accuracy gap and TPR over {CELL}",
        "Spearman correlation",
        0,
        gap_raises,
    ),
    Question(
        "The gap predicts TPR better than test accuracy",
        "Compared with test accuracy, the accuracy gap is the better predictor of vulnerability.",
        "mean absolute error in log10 TPR on a technique left out of a monotone fit: by test accuracy less by gap",
        "difference of left-out errors, decades",
        0,
        gap_predicts,
    ),
    Question(
        "At equal gap, higher test accuracy goes with higher TPR",
        "Among models with the same accuracy gap, those with higher test accuracy are attacked better.",
        "slope of log10 TPR on test accuracy over cells, both less their monotone fits on the gap",
        "partial slope, decades of TPR per unit of accuracy",
        0,
        test_at_equal_gap,
    ),
    Question(
        "The loss gap agrees with the accuracy gap and is smoother",
        "Outcomes by loss gap and accuracy gap closely align; those by loss gap are smoother.",
        "left-out error in log10 TPR by the accuracy gap less by the loss gap; and TPR rises with the loss gap",
        "difference of left-out errors, decades",
        0,
        loss_gap,
    ),
)


def judge(
    summary: pd.DataFrame,
    halves: pd.DataFrame,
    pooled: pd.DataFrame,
    replicates: pd.DataFrame,
    *,
    attack: str,
    fpr: float | None = None,
    design: str = "leave-one-out",
    level: float = 0.95,
    seed: int = 0,
) -> list[Claim]:
    """Put the eight claims on trial with one attack's rows of one study's tables.

    `design`: `leave-one-out` or `replicates`. `fpr`: where TPRs are compared; without it, the smallest at which all
    pooled TPRs are defined; single targets use the smallest one defined for all of them from there on, and say so.
    The order of the rows does not matter. Raises LeakgapError for a missing column, an attack that was not run, two
    rows of one target, or an unknown design.
    """
    tables = {"summary": summary, "halves": halves, "pooled": pooled, "replicates": replicates}
    record = Record.of(tables, attack=attack, fpr=fpr, design=design, level=level, seed=seed)
    return [_answer(number, question, record) for number, question in enumerate(QUESTIONS, 1)]


def _answer(number: int, question: Question, record: Record) -> Claim:
    try:
        found = question.answer(record)
    except Undecidable as lack:
        found = Finding(Estimate(question.statistic, None), "undecided", str(lack), ())
    fields: dict[str, Any] = {name: value for name, value in vars(found).items() if name != "value"}
    fields |= {name: value for name, value in vars(question).items() if name != "answer"}
    fields |= {name: getattr(found.value, name) for name in ("value", "low", "high")}
    fields |= {name: getattr(record, name) for name in ("study", "design", "attack", "level")}
    return Claim(id=number, **fields)


def write_claims(study: Study, joined: Sequence[str], out: str, page: str) -> None:
    """Judge a study's headline attack, in each design that has targets, into JSON and a Markdown page."""
    needed = ("summary", "halves", "pooled", "replicates")
    summary, halves, pooled, replicates = (read(joined, name) for name in needed)
    starts = set(summary["mask"].str[0])
    designs = [design for design, first in MASK_PREFIX.items() if first in starts]
    attack, seed = study.attack.headline, study.attack.seed
    found = [
        judge(summary, halves, pooled, replicates, attack=attack, design=design, seed=seed)
        for design in designs
    ]
    for path, text in ((out, to_json([*chain(*found)])), (page, "\n".join(map(to_markdown, found)))):
        with atomic(path) as temporary:
            temporary.write_text(text)


def to_json(claims: Sequence[Claim]) -> str:
    """The claims as a JSON list of objects; undefined numbers are null."""
    return json.dumps([asdict(claim) for claim in claims], indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> list[Claim]:
    """The claims that `to_json` wrote."""
    parts = {"rows": Rows, "secondary": Estimate}
    claims = json.loads(text)
    for claim in claims:
        claim |= {name: tuple(make(**part) for part in claim[name]) for name, make in parts.items()}
        claim["notes"] = tuple(claim["notes"])
    return [Claim(**claim) for claim in claims]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _interval(value: Claim | Estimate) -> str:
    return f"{_number(value.value)} | {_number(value.low)} to {_number(value.high)}"


def to_markdown(claims: Sequence[Claim]) -> str:
    """A table of one design's verdicts, then a section for each claim."""
    title = f"# The claims on trial: {claims[0].study}, {claims[0].attack}, {claims[0].design}"
    lines = [
        title,
        "",
        "| | claim | statistic | value | interval | threshold | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for claim in claims:
        cells = (
            claim.id,
            claim.title,
            claim.statistic,
            _interval(claim),
            f"{claim.threshold:g}",
            f"**{claim.verdict}**",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for claim in claims:
        lines += [
            "",
            f"## {claim.id}. {claim.title}: {claim.verdict}",
            "",
            f"The paper: {claim.statement}",
            "",
        ]
        lines += [f"- Estimand: {claim.estimand}.", f"- Verdict at level {claim.level:g}: {claim.reason}."]
        lines += [f"- {note[0].upper() + note[1:]}." for note in claim.notes]
        lines += [f"- Rows: {rows.count} of `{rows.table}`: `{rows.query}`" for rows in claim.rows]
        if claim.secondary:
            lines += ["", "| beside it | value | interval |", "|---|---|---|"]
            lines += [f"| {one.name} | {_interval(one)} |" for one in claim.secondary]
    return "\n".join(lines) + "\n"
