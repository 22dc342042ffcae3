"""The paper's eight claims on trial: estimand, statistic, interval, verdict.

Claims 1 to 4 compare pooled TPRs (`Results.contrast`), for the headline attack and for the strongest one. Claims
5 to 8 compare techniques: predictors from one half of the images, TPR from the other (`leakgap.order.between`), on
the cells whose TPR can be told from chance. Each verdict is `supported`, `contradicted` or `undecided`; that any of
the claims judged with one attack is false has probability 1 - level at most (`measure.verdict`).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.estimates import LEAVE_ONE_OUT
from leakgap.files import atomic
from leakgap.measure.estimate import Estimate as Measured
from leakgap.measure.stability import spearman
from leakgap.measure.verdict import UNDEFINED, Trial, beyond, equivalent, holm, together, verdicts
from leakgap.numbers import span
from leakgap.order import between
from leakgap.paper import printed
from leakgap.paper.case import LOSS, Case, Undecidable, smallest_fpr, strongest
from leakgap.paper.claim import (
    QUESTIONS,
    Claim,
    Estimate,
    Finding,
    Question,
    against,
    compared,
    question,
    read,
    to_markdown,
    write,
)
from leakgap.results import Results
from leakgap.study import NONE, Study

__all__ = ["Claim", "judge", "read", "side_by_side", "to_markdown", "write", "write_claims"]

ALL = "crop+mirror+cutout+policy"
HELP = 1.1  # a ratio up to this is not called help
FALL = 0.8  # a ratio of consecutive steps down to this is not called a fall
MARGIN, MARGIN_FPR = 1.5, 0.01  # ratios from 1 / MARGIN to MARGIN at this FPR are not called help either
LOOKS = "looks.json"
POOLED = 4  # the first so many claims compare pooled TPRs, of any attack; the others are the headline's


# --- pooled TPRs


@question(
    "Augmentation lowers the attack's TPR",
    "Without augmentation TPR at 0.1% FPR is 19.56%, with all techniques 0.18%.",
    "pooled TPR of models trained without augmentation over that with the most techniques, last step, informed",
    "ratio of pooled TPRs",
    1,
)
def augmentation(case: Case) -> Finding:
    """None over the techniques of most members (their geometric mean); beside it none over each technique."""
    names = list(dict.fromkeys(case.pooled["technique"]))
    if NONE not in names or len(names) < 2:
        raise Undecidable("the grid needs `none` and an augmentation technique")
    size = {name: len(name.split("+")) for name in sorted(names) if name != NONE}
    most = [name for name in size if size[name] == max(size.values())]
    none, cells = case.cell(NONE), [case.cell(name) for name in most]
    found = case.contrast([none], cells)
    each = {name: case.contrast([none], [case.cell(name)], len(size)) for name in size}
    notes = (
        f"pooled at {case.fpr:g} FPR; of {len(each)} techniques {sum(one.low > 1 for one in each.values())} are "
        f"below `none` and {sum(one.high < 1 for one in each.values())} above, by simultaneous intervals "
        "(Bonferroni)",
        compared(found, 109)
        + " (19.56/0.18 on one CIFAR-10 target at 0.1% FPR, itself uncertain from 71 to 185)",
        *case.chance(cells),
    )
    return Finding(
        Estimate.of(f"none / {' and '.join(most)}", found),
        beyond(found, 1),
        against(found, 1),
        case.pooled_rows(f"step == {case.results.last} and attacker == 'informed'"),
        tuple(Estimate.of(f"none / {name}", one) for name, one in each.items()),
        notes,
    )


@question(
    "Early stopping lowers TPR, monotone in the step",
    "From step 1 to step 6 TPR rises from 0.1% to 18.28%, every step above the one before.",
    f"pooled TPR, `none`, at the last step over that at the first; none below {FALL:g} times the step before, "
    "where one of the two can be told from chance",
    "ratio of pooled TPRs",
    1,
)
def early_stopping(case: Case) -> Finding:
    """The last step is above the first, and no step falls. Chance followed by chance is a tie, which is no fall."""
    rows = case.pooled[(case.pooled["technique"] == NONE) & (case.pooled["attacker"] == "informed")]
    cells = [case.cell(NONE, int(step)) for step in sorted(rows["step"])]
    if len(cells) < 2:
        raise Undecidable("the grid has no `none` with two steps or more")
    found = case.contrast(cells[-1:], cells[:1])
    pairs = {pair: case.contrast([pair[1]], [pair[0]], len(cells) - 1) for pair in pairwise(cells)}
    tied = [pair for pair in pairs if all(case.at_chance(cell) for cell in pair)]
    trials = [beyond(one, FALL) for pair, one in pairs.items() if pair not in tied]
    falls = sum(one.high < FALL for pair, one in pairs.items() if pair not in tied)
    holds = sum(one.low > FALL for pair, one in pairs.items() if pair not in tied)
    reason = (
        f"last against first: {against(found, 1)}; of {len(pairs)} consecutive steps {holds} show no fall below "
        f"{FALL:g} times the step before, {falls} show one (Bonferroni), {len(tied)} are a tie at chance"
    )
    return Finding(
        Estimate.of("last step / first step", found),
        together([beyond(found, 1), *trials]),
        reason,
        case.pooled_rows(f"technique == '{NONE}' and attacker == 'informed'"),
        tuple(
            Estimate.of(f"step {after.step} / step {before.step}", one)
            for (before, after), one in pairs.items()
        ),
        (f"pooled at {case.fpr:g} FPR; the paper: 18.28 / 0.10 = 183", *case.chance(cells)),
    )


def _knowledge(
    case: Case, technique: str, fpr: float, judged: Callable[[Measured], Trial]
) -> tuple[Measured, Finding]:
    """Informed over uninformed attacker, last step, judged; the finding still without its reason.

    Beside it, over the uninformed attacker's best attack: an attack that is strong with the right shadow models may
    be weak with others, and then the ratio is the attack's rather than the knowledge's. Last stands the best attack
    of the informed over the best of the uninformed attacker, with the same margin: what knowledge is worth to who
    chooses well.
    """
    if technique not in set(case.pooled["technique"]):
        raise Undecidable(f"the grid has no `{technique}`")
    if case.results.study.attack.baseline != NONE:
        raise Undecidable("the uninformed attacker's shadow models are not those of `none`")
    attackers = ("informed", "uninformed")
    cells = [case.cell(technique, attacker=attacker) for attacker in attackers]
    found = case.contrast(cells[:1], cells[1:], fpr=fpr)
    chosen = [strongest(case.results, case.design, fpr, technique, attacker) for attacker in attackers]
    best = [
        case.results.cell(technique, None, attacker, attack, case.design)
        for attacker, attack in zip(attackers, chosen, strict=True)
    ]
    beside: list[Estimate] = []
    if chosen[1] != case.attack:
        name = f"informed / uninformed by {chosen[1]}, which finds most there (in hindsight)"
        beside.append(Estimate.of(name, case.contrast(cells[:1], best[1:], fpr=fpr)))
    if chosen[0] != case.attack:
        name = f"informed by {chosen[0]} / uninformed by {chosen[1]}, the best of either (in hindsight)"
        beside.append(Estimate.of(name, case.contrast(best[:1], best[1:], fpr=fpr)))
    notes = [f"pooled at {fpr:g} FPR, last step", *case.chance(cells, fpr)]
    if beside:
        both = case.contrast(best[:1], best[1:], fpr=fpr)
        (own,), (alone,) = (verdicts([judged(each)], 1 - case.level) for each in (found, both))
        differs = "" if alone == own else f", where {case.attack} on both sides is {own}"
        notes.append(
            f"by the best attack of either attacker, in hindsight ({chosen[0]} against {chosen[1]}), "
            f"{both.value:.3g}: {against(both, 1)}; by the same margin alone {alone}{differs}"
        )
    rows = case.pooled_rows(f"technique == '{technique}' and step == {case.results.last}", fpr)
    own_estimate = Estimate.of("informed / uninformed", found)
    return found, Finding(own_estimate, judged(found), "", rows, tuple(beside), tuple(notes))


def _helps(found: Measured) -> Trial:
    return beyond(found, HELP)


def _equal(found: Measured) -> Trial:
    return equivalent(found, MARGIN)


@question(
    "Knowing the technique helps against `policy`",
    "Shadow models trained with `policy` too raise the attack's TPR up to 5 times.",
    f"pooled TPR of the informed attacker over the uninformed one's; help is a ratio above {HELP:g}",
    "ratio of pooled TPRs",
    HELP,
)
def knowing_policy(case: Case) -> Finding:
    """The ratio is above HELP."""
    found, finding = _knowledge(case, "policy", case.fpr, _helps)
    notes = (*finding.notes, compared(found, 5))
    return replace(finding, reason=against(found, HELP), notes=notes)


@question(
    "Knowing the technique does not help against all techniques combined",
    "With all techniques, knowledge of the training procedure cannot enhance the attack.",
    f"pooled TPR of the informed attacker over the uninformed one's at {100 * MARGIN_FPR:g}% FPR; a ratio from "
    f"{1 / MARGIN:.3g} to {MARGIN:g}, stated beforehand, is no help",
    "ratio of pooled TPRs",
    MARGIN,
)
def knowing_all(case: Case) -> Finding:
    """The ratio is equivalent to 1, by a margin stated before any study: that nothing was shown shows nothing."""
    if not np.isclose(case.results.pooled["fpr"], MARGIN_FPR, rtol=1e-9).any():
        raise Undecidable(f"the study has no TPR at {MARGIN_FPR:g} FPR, for which the margin is stated")
    found, finding = _knowledge(case, ALL, MARGIN_FPR, _equal)
    if not np.isfinite(found.low):
        return replace(finding, trial=UNDEFINED, reason=against(found, MARGIN))
    inside = found.low > 1 / MARGIN and found.high < MARGIN
    outside = found.high < 1 / MARGIN or found.low > MARGIN
    where = "inside" if inside else "outside" if outside else "neither inside nor outside"
    return replace(
        finding,
        reason=f"the interval {span(found.low, found.high)} is {where} {1 / MARGIN:.3g} to {MARGIN:g}",
    )


# --- cells of techniques and steps

CELL = "cells: each technique at each step, mean over its targets, where it can be told from chance"


def _both(name: str, case: Case, estimate: Callable[[pd.DataFrame], Measured]) -> tuple[Measured, Estimate]:
    """The estimate on the cells told from chance, and on all cells as what stands beside it."""
    return estimate(case.cells), Estimate.of(f"{name}, all cells", estimate(case.all_cells))


def _above_0(name: str, case: Case, estimate: Callable[[pd.DataFrame], Measured]) -> Finding:
    """The claim that one estimate is above 0."""
    found, beside = _both(name, case, estimate)
    own, trial = Estimate.of(name, found), beyond(found, 0)
    return Finding(own, trial, against(found, 0), case.target_rows, (beside,), case.target_notes)


@question(
    "TPR rises with the accuracy gap",
    "There is a clear upward trend in attack success as the train-test accuracy gap increases.",
    f"rank correlation of accuracy gap and TPR over {CELL}",
    "Spearman correlation",
    0,
)
def gap_raises(case: Case) -> Finding:
    """Spearman's correlation is above 0."""
    name = "Spearman, accuracy gap and TPR"
    return _above_0(name, case, lambda cells: between.correlation(cells, "acc_gap", level=case.level))


@question(
    "The gap predicts TPR better than test accuracy",
    "Compared with test accuracy, the accuracy gap is the better predictor of vulnerability.",
    "mean absolute error in log10 TPR on a technique left out of a monotone fit, by test accuracy less by gap, "
    f"over {CELL}",
    "difference of left-out errors, decades",
    0,
)
def gap_predicts(case: Case) -> Finding:
    """The gap's error is smaller. Beside it the gap's other rivals, by simultaneous intervals (Bonferroni)."""
    rivals = {name: between.PREDICTORS[name] for name in ("train_acc", "train_loss", "step")}
    rivals["loss_ratio"] = "loss ratio (test / train)"
    if "loss_tnr" in case.all_cells:
        rivals["loss_tnr"] = "TNR of the loss attack"
        tnr = f"TNR of the loss attack: where its FNR is {case.target_fpr:g}, off its pooled curve of all images"
    else:
        tnr = f"no TNR of the loss attack: it needs the curves of `{LOSS}` in every cell (attack.attacks)"
    name = "error by test accuracy - by gap"
    found, beside = _both(
        name, case, lambda cells: between.error_difference(cells, "test_acc", "acc_gap", case.level)
    )
    each = {
        title: between.error_difference(case.cells, column, "acc_gap", 1 - (1 - case.level) / len(rivals))
        for column, title in rivals.items()
    }
    better = ", ".join(title for title, one in each.items() if one.high < 0) or "none"
    worse = ", ".join(title for title, one in each.items() if one.low > 0) or "none"
    other = ", ".join(title for title, one in each.items() if not (one.high < 0 or one.low > 0)) or "none"
    notes = (
        *case.target_notes,
        f"other rivals: better than the gap {better}; worse {worse}; not told apart from it {other}",
        tnr,
        "gap, train and test accuracy span one space: any two of them carry what the third carries",
        *_referee_on_the_gap(better),
        "across targets within a cell neither gap nor TPR is measured well: order.csv has both corrected for noise",
    )
    errors = (Estimate.of(f"error by {title} - by gap", one) for title, one in each.items())
    return Finding(
        Estimate.of(name, found),
        beyond(found, 0),
        against(found, 0),
        case.target_rows,
        (beside, *errors, *_rank_correlations(case)),
        notes,
    )


def _referee_on_the_gap(better: str) -> tuple[str, ...]:
    """That the gap beats test accuracy says little where what is as easy to have beats the gap."""
    if better == "none":
        return ()
    return (f"that the gap beats test accuracy would say little: it is itself beaten by {better}",)


def _rank_correlations(case: Case) -> Iterable[Estimate]:
    """Spearman with TPR of each predictor: between techniques, across steps, across targets of a cell."""
    for column, title in between.PREDICTORS.items():
        if column != "step":
            name = f"Spearman, {title}, between techniques at a fixed step"
            yield Estimate.of(name, between.correlation(case.cells, column, level=case.level, within="step"))
        each = [
            spearman(part[column].to_numpy(float), part["log_tpr"].to_numpy())
            for _, part in case.cells.groupby("technique")
        ]
        name = f"Spearman, {title}, across steps within a technique"
        yield _bounded(name, between.mean_interval(np.array(each), case.level))
        if column != "step":
            name = f"Spearman, {title}, across targets within a cell, all cells"
            yield _bounded(
                name,
                between.correlation_within_cells(case.targets, column, case.target_fpr, case.level),
            )


def _bounded(name: str, found: Measured) -> Estimate:
    """A mean of correlations, its interval cut at -1 and 1."""
    return Estimate.of(name, found._replace(low=np.maximum(found.low, -1), high=np.minimum(found.high, 1)))


@question(
    "At equal gap, higher test accuracy goes with higher TPR",
    "Among models with the same accuracy gap, those with higher test accuracy are attacked better.",
    f"slope of log10 TPR on test accuracy, both less their monotone fits on the gap, over {CELL}",
    "partial slope, decades of TPR per unit of accuracy",
    0,
)
def test_at_equal_gap(case: Case) -> Finding:
    """The partial slope is above 0. Beside it that at equal train accuracy, which a referee would ask for.

    gap = train - test: at equal gap, more test accuracy is as much more train accuracy, and what is called an
    effect of the one may be that of the other. At equal train accuracy test accuracy alone differs.
    """
    name, beside = "partial slope at equal gap", "partial slope at equal train accuracy"
    finding = _above_0(
        name, case, lambda cells: between.slope_at_equal(cells, "test_acc", "acc_gap", case.level)
    )
    fit, all_cells = _both(
        beside, case, lambda cells: between.slope_at_equal(cells, "test_acc", "train_acc", case.level)
    )
    note = (
        f"at equal gap, more test accuracy is as much more train accuracy; at equal train accuracy the slope is "
        f"{fit.value:.3g}, and {against(fit, 0)}"
    )
    secondary = (*finding.secondary, Estimate.of(beside, fit), all_cells)
    return replace(finding, secondary=secondary, notes=(*finding.notes, note))


@question(
    "The loss gap agrees with the accuracy gap and is smoother",
    "Outcomes by loss gap and accuracy gap closely align; those by loss gap are smoother.",
    "left-out error in log10 TPR by the accuracy gap less by the loss gap; and TPR rises with the loss gap; "
    f"over {CELL}",
    "difference of left-out errors, decades",
    0,
)
def loss_gap(case: Case) -> Finding:
    """TPR rises with the loss gap, and its error is smaller; contradicted if either fails."""
    smoother, agree = "error by accuracy gap - by loss gap", "Spearman, loss gap and TPR"
    found, beside = _both(
        smoother, case, lambda cells: between.error_difference(cells, "acc_gap", "loss_gap", case.level)
    )
    rise, rise_beside = _both(
        agree, case, lambda cells: between.correlation(cells, "loss_gap", level=case.level)
    )
    both = between.correlation(case.cells, "loss_gap", "acc_gap", level=case.level)
    secondary = (
        Estimate.of(agree, rise),
        Estimate.of("Spearman, loss gap and accuracy gap", both),
        beside,
        rise_beside,
    )
    return Finding(
        Estimate.of(smoother, found),
        together([beyond(found, 0), beyond(rise, 0)]),
        f"smoother: {against(found, 0)}; agrees: {against(rise, 0)}",
        case.target_rows,
        secondary,
        case.target_notes,
    )


# --- verdicts


def judge(
    results: Results,
    attack: str | None = None,
    design: str = LEAVE_ONE_OUT,
    fpr: float | None = None,
    level: float = 0.95,
) -> list[Claim]:
    """Put the claims on trial: all eight with the headline attack, the first four with any other.

    fpr: of the pooled TPRs; without it, the smallest at which all of them are defined. Claim 4 is always judged at
    MARGIN_FPR, single targets at the smallest FPR from `fpr` on that is defined for all of them. LeakgapError for
    an attack without rows or an unknown design.
    """
    headline = results.study.attack.headline
    attack = attack or headline
    case = Case(results, attack, design, fpr or smallest_fpr(results, attack, design), level)
    questions = QUESTIONS if attack == headline else QUESTIONS[:POOLED]
    findings = [_answer(question, case) for question in questions]
    trials = [finding.trial for finding in findings]
    p_values, words = holm([trial.p for trial in trials]), verdicts(trials, 1 - level)
    return [Claim.of(case, *each) for each in zip(questions, findings, p_values, words, strict=True)]


def _answer(question: Question, case: Case) -> Finding:
    try:
        return question.answer(case)
    except Undecidable as lack:
        return Finding(Estimate(question.statistic, None), UNDEFINED, str(lack))


def side_by_side(results: Results, design: str = LEAVE_ONE_OUT) -> list[Claim]:
    """The claims judged with the headline attack, then those on pooled TPRs with the strongest, if it is another.

    Where the two disagree, a note on both says so.
    """
    ours = judge(results, design=design)
    fpr = smallest_fpr(results, ours[0].attack, design)
    attack = strongest(results, design, fpr)
    if attack == ours[0].attack:
        return ours
    theirs = judge(results, attack, design, fpr)
    others = {claim.id: claim for claim in ours}
    first = {claim.id: claim for claim in theirs}
    return [_beside(claim, first.get(claim.id), "strongest") for claim in ours] + [
        _beside(claim, others[claim.id], "headline") for claim in theirs
    ]


def _beside(claim: Claim, other: Claim | None, kind: str) -> Claim:
    """Add a sentence to a claim on which another attack's verdict is another, both having been put on trial."""
    if other is None or None in (claim.p, other.p) or other.verdict == claim.verdict:
        return claim
    sentence = (
        f"attacks disagree: {claim.verdict} by {claim.attack}, {other.verdict} by the {kind} attack, "
        f"{other.attack} ({other.statistic} {other.value:.3g})"
    )
    return replace(claim, notes=(*claim.notes, sentence))


def write_claims(study: Study, joined: str, out: str, page: str) -> None:
    """Judge a study, in each design that has targets, into JSON and a Markdown page.

    Beside them looks.json keeps with how many masks it was judged before: a study that grows until a claim is
    decided has looked more than once, and its p-values are those of the last look alone.
    """
    results, record = Results(study, joined), Path(out).with_name(LOOKS)
    looks = looked(record)
    found = [side_by_side(results, design) for design in results.designs]
    if earlier := [masks for masks in looks if masks != study.grid.masks]:
        note = (
            f"judged before with {', '.join(map(str, earlier))} masks: p-values are those of this look alone, "
            "and that one of several looks is wrong is more probable than they say"
        )
        found = [[replace(claim, notes=(*claim.notes, note)) for claim in claims] for claims in found]
    write(out, [claim for claims in found for claim in claims], results.origin)
    with atomic(page) as temporary:
        pages = [to_markdown(claims) for claims in found]
        temporary.write_text("\n".join([*pages, *printed.beside(results)]), encoding="utf-8")
    if study.grid.masks not in looks:
        with atomic(record) as temporary:
            temporary.write_text(json.dumps([*looks, study.grid.masks]) + "\n", encoding="utf-8")


def looked(record: str | Path) -> list[int]:
    """Return with how many masks a study was judged before, in order; LeakgapError for a file that says no such."""
    if not Path(record).is_file():
        return []
    try:
        looks = json.loads(Path(record).read_text(encoding="utf-8"))
    except ValueError:
        looks = None
    if not isinstance(looks, list) or not all(isinstance(masks, int) for masks in looks):
        raise LeakgapError(f"{record}: is no list of numbers of masks: move it; claims writes another one")
    return looks
