"""An audit of models that somebody has: from answers of targets and of shadow models to what the targets leak.

What is measured is decided without the targets' membership: which attack leads is the one that does best on the
shadow models themselves, each attacked by the others, and thresholds come from there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from leakgap import LeakgapError, __version__
from leakgap.answers.answers import Answers
from leakgap.answers.joined import Joined, join
from leakgap.attacks import gives_away
from leakgap.audit.achieved import LEVEL, achieved, shadow_nonmembers, shadow_thresholds
from leakgap.audit.canaries import of_canaries, part, read_manifest
from leakgap.audit.chance import check_shadows, signs_against_chance
from leakgap.audit.folder import check_folder
from leakgap.audit.people import about_split, by_person, people_of
from leakgap.audit.records import exposure, memorized_by
from leakgap.audit.scores import Scores, on_shadows, run_attacks
from leakgap.audit.slices import slices_of, stored_records
from leakgap.audit.trust import accuracies, warnings
from leakgap.audit.words import answer, not_looked_at, plural
from leakgap.measure.bound import Bound, recipe_epsilon
from leakgap.measure.epsilon import guesses_for, largest_epsilon, learned_guesses
from leakgap.measure.groups import group_codes
from leakgap.measure.roc import conformal_curve, threshold
from leakgap.measure.single import PRIORS
from leakgap.text import plain

__all__ = ["Audit", "audit_files", "audit_model"]

FPRS = (0.01, 0.001)
FEW = 4  # with fewer shadow models, attacks on them by the others are no guide: the first of these leads
# with two of them `base` finds more than `lira-pooled` where much leaks; without members, the pooled spread most
LEADERS = ("base", "lira-pooled", "lira-offline-within", "calibrated-loss", "loss", "correctness")


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found.

    summary: a row for every attack that ran; where records have a `group`, of persons first, then of records, as
    column `unit` says. records: a row for every target and record, the most exposed first. people: the same for
    every target and person, where records have a `group`; else empty. curves: points of the ROC of every attack,
    `attack`, `fpr` and `tpr`; none where membership is not known.
    about: what was audited, how, and what was not, as it is written to audit.json.

    >>> import numpy as np
    >>> member = np.arange(400) < 200
    >>> columns = {"record": range(400), "label": [0] * 400, "member": member, "phi": np.sin(range(400)) + member}
    >>> audit = audit_model(Answers.of(columns), [])
    >>> print(audit.about["answer"][2])
    Guessing would recognize 1%: this is 11 to 58 times as many.
    >>> audit.summary[["attack", "auc"]].round(2).values.tolist()
    [['loss', 0.82]]
    """

    summary: pd.DataFrame
    records: pd.DataFrame
    curves: pd.DataFrame
    about: dict[str, Any]
    people: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __repr__(self) -> str:
        attacks, records = len(self.summary), len(self.records)
        return f"Audit({attacks} attacks on {records} records, {self.about['leading']} leads)"

    def write(self, folder: str | Path) -> None:
        """Write audit.json, records.parquet, people.parquet and .csv, and report.html, each whole or not at all."""
        from leakgap.audit.page import write_audit

        write_audit(self, Path(folder))


def audit_model(
    target: Answers | str | Path | Sequence[Answers | str | Path],
    shadows: Sequence[Answers | str | Path] = (),
    *,
    attacks: Sequence[str] | None = None,
    fprs: Sequence[float] = (0.01, 0.001),
    seed: int = 0,
    unit: str = "person",
    canaries: str | Path | None = None,
    base: Answers | str | Path | None = None,
    each: bool = False,
) -> Audit:
    """Attack a target, or several of one training recipe, with shadow models, and say how much it leaks.

    Parameters
    ----------
    target
        Answers of the model, or the file that holds them; or those of several models trained alike. With membership
        its leak is measured; without, records are scored, and called at thresholds that the shadow models set.
    shadows
        Answers of models trained like the target on other draws of the records, and on which ones; any number,
        none included. A shadow model trained on exactly the target's members, or exactly the rest, is left out.
    attacks
        Names of the registry; all that the answers allow by default.
    fprs
        False positive rates at which attacks are read.
    seed
        Of attacks that learn, resampling, and the matching behind the bound of epsilon.
    base
        Answers of the model that training started from, trained on none of the records: a reference for attacks.
    each
        The targets were trained alike, each on a random split of its own: every one is attacked by the others, and
        those that give its training set away are left out by rule.
    unit
        What a group of records is, in the words of the page: patient, customer, author, household.
    canaries
        Manifest of canaries among the records of one target (`leakgap canaries`), which are measured by
        themselves: `about["canaries"]`.

    Raises
    ------
    LeakgapError
        For files that can't be read, answers that can't be about the same records, and unknown attacks.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> def model(name):
    ...     member = rng.random(500) < 0.5
    ...     phi = rng.normal(2.0 * member)
    ...     return Answers.of({"record": range(500), "label": [0] * 500, "member": member, "phi": phi}, name)
    >>> audit = audit_model(model("mine"), [model(f"shadow {k}") for k in range(8)], attacks=["loss", "base"])
    >>> bool(audit.summary.set_index("attack").loc["loss", "auc"] > 0.85)
    True
    """
    targets = _read([target] if isinstance(target, Answers | str | Path) else target)
    shadows = _read(shadows)
    if each:
        shadows = _each(targets, shadows)
    fprs = list(dict.fromkeys(np.atleast_1d(fprs).tolist()))
    attacks = [attacks] if isinstance(attacks, str) else attacks
    if not fprs:
        raise LeakgapError("fprs: an audit reads attacks at one false positive rate at least")
    for fpr in fprs:
        if not 0 < fpr < 1:
            raise LeakgapError(f"fprs: {fpr} does not lie between 0 and 1")
    planted: dict[str, Any] = {}
    if canaries is not None:
        targets, shadows, planted = _apart(targets, shadows, canaries, seed)
    joined = join(targets, shadows, None if base is None else _read([base])[0], each=each)
    check_shadows(joined)
    scores, not_run = run_attacks(joined, tuple(attacks) if attacks is not None else None, seed)
    names, measured = [model.name for model in targets], joined.target_member is not None
    about: dict[str, Any] = {
        "leakgap": __version__,
        "measured": measured,
        "targets": [_model(each) for each in targets],
        "shadows": [
            _model(each) | {"left_out": bool(joined.left_out[:, n].all())} for n, each in enumerate(shadows)
        ],
        "records": int((~joined.reserved).sum()),
        "reserved": int(joined.reserved.sum()),
        "views": targets[0].views,
        "classes": targets[0].classes,
        "shadow_models": int((~joined.left_out).sum(1).max()),
        "answered": float(joined.asked.mean()) if shadows else 1.0,
        "saturated": joined.saturated,
        "not_run": not_run,
        "fprs": fprs,
        "level": LEVEL,
        "seed": seed,
        "priors": list(PRIORS),
        "accuracy": accuracies(joined),
    } | planted
    if measured:
        signs = [signs_against_chance(joined, t, joined.group) for t in range(len(targets))]
        about["signs_against_chance"] = sorted({sign for each in signs for sign in each})
    memorized = memorized_by(joined)
    grouped = group_codes(joined.group, len(joined.record)) is not None
    drawn, told = about_split(joined, unit) if grouped else ("record", [])
    of_records = _found(names, joined, scores, about, "record", fair=drawn == "record", columns=memorized)
    about["warnings"] = warnings(joined, scores[of_records.about["leading"]]) + told
    about |= slices_of(joined, scores[of_records.about["leading"]].target, max(fprs))
    about["stored"] = _stored(joined)
    if not grouped:
        return Audit(
            of_records.summary,
            of_records.table,
            of_records.curves,
            _told(about | of_records.about, of_records),
        )
    people, whose = people_of(joined)
    of_people, ways = by_person(scores, people, whose, max(fprs))
    size = np.bincount(whose[~joined.reserved], minlength=len(people.record))
    found = _found(
        names, people, of_people, about, unit, fair=drawn == unit, columns={"records": size}, ways=ways
    )
    cautioned = about | {"warnings": [], "signs_against_chance": []}  # which the persons' answer begins with
    records_too = {
        "of_records": of_records.about | {"answer": answer(cautioned | of_records.about, of_records.leading)}
    }
    return Audit(
        pd.concat([found.summary, of_records.summary], ignore_index=True),
        of_records.table,
        found.curves,
        _told(about | found.about, found) | records_too,
        found.table.rename(columns={"record": "group"}).drop(columns="label"),
    )


def _apart(
    targets: list[Answers], shadows: list[Answers], manifest: str | Path, seed: int
) -> tuple[list[Answers], list[Answers], dict[str, Any]]:
    """Return the answers about natural records, and what is said of canaries."""
    if len(targets) > 1:
        raise LeakgapError(
            f"{manifest}: canaries were drawn for one model, and {len(targets)} targets are named"
        )
    told = read_manifest(manifest)
    which = {id(each): np.isin(each.record.astype(str), told.index) for each in (*targets, *shadows)}
    if not which[id(targets[0])].any():
        raise LeakgapError(f"{targets[0].name}: answers about none of the canaries in {manifest}")
    if which[id(targets[0])].all():
        raise LeakgapError(f"{targets[0].name}: answers about canaries alone, and no other record")
    about = of_canaries(
        part(targets[0], which[id(targets[0])]),
        [part(each, which[id(each)]) for each in shadows],
        told,
        level=LEVEL,
        seed=seed,
    )
    natural = [[part(each, ~which[id(each)]) for each in models] for models in (targets, shadows)]
    return natural[0], natural[1], {"canaries": about}


class Found(NamedTuple):
    """What was found about records, or about persons."""

    about: dict[str, Any]
    leading: dict[str, Any]  # the first row of the summary
    summary: pd.DataFrame  # a row for every attack, the leading one first
    table: pd.DataFrame  # a row for every target and record or person, the most exposed first
    curves: pd.DataFrame


def _found(
    names: Sequence[str],
    joined: Joined,
    scores: dict[str, Scores],
    about: dict[str, Any],
    unit: str,
    *,
    fair: bool = True,
    columns: dict[str, np.ndarray],
    ways: dict[str, list[str]] | None = None,
) -> Found:
    """Measure every attack, and say what the one that leads finds.

    unit: what the S of `joined` are, a record or a patient; fair: whether each may have been drawn by a coin of its
    own; columns: more to say of each in the table; ways: how attacks make a person's score of her records'.
    """
    fprs, seed = about["fprs"], about["seed"]
    leading, chosen_by = _leading(scores, joined, max(fprs), plural(unit))
    rows = [
        {"attack": name, "unit": unit} | achieved(score, joined, fprs, seed) for name, score in scores.items()
    ]
    rows.sort(key=lambda row: row["attack"] != leading)
    found: dict[str, Any] = {
        "unit": unit,
        "leading": leading,
        "chosen_by": chosen_by,
        "counted": int((~joined.reserved).sum()),
    }
    if ways is not None:
        found["way"] = ways[leading][
            0
        ]  # of the first target: others differ where they are each other's shadows
        rows = [row | {"way": ways[row["attack"]][0]} for row in rows]
    if joined.target_member is not None:
        # where targets are each other's shadow models, what leads was chosen with a look at their own membership
        own = np.array_equal(joined.member, joined.target_member)
        name = _usual(scores) if own else leading
        drawn = fair and not about["signs_against_chance"]
        found |= _sureness(joined, scores[name], seed, drawn, learn=not own)
        found["epsilon"]["attack"] = (
            name if not found["epsilon"]["together"] else "the models before each target"
        )
    table = _table(names, joined, scores, leading, fprs, columns)
    return Found(found, rows[0], pd.DataFrame(rows), table, _curves(joined, scores))


def _told(about: dict[str, Any], found: Found) -> dict[str, Any]:
    """What was found, begun by what it says in words."""
    words = {"answer": answer(about, found.leading), "not_looked_at": not_looked_at(about, found.leading)}
    return words | about


def _read(models: Sequence[Answers | str | Path]) -> list[Answers]:
    return [each if isinstance(each, Answers) else Answers.read(each) for each in models]


def _each(targets: list[Answers], shadows: list[Answers]) -> list[Answers]:
    """Return the shadow models of an audit in which every model is a target in turn: the targets themselves."""
    if shadows:
        raise LeakgapError(
            "each: every model is a target and a shadow model of the others; name no further shadows"
        )
    if len(targets) < 3:
        raise LeakgapError(
            f"each: {len(targets)} models; it takes three or more, each with a split of its own"
        )
    silent = [model.name for model in targets if model.member is None]
    if silent:
        raise LeakgapError(f"{silent[0]}: has no column 'member', which a shadow model needs")
    return targets


def _model(answers: Answers) -> dict[str, Any]:
    member = answers.member
    return {
        "name": answers.name,
        "kind": answers.kind,
        "records": len(answers.record),
        "members": None if member is None else int(member.sum()),
    }


def _usual(scores: dict[str, Scores]) -> str:
    """Return the attack that usually does best, of those that ran."""
    return next(iter([name for name in LEADERS if name in scores] or scores))


def _leading(scores: dict[str, Scores], joined: Joined, fpr: float, units: str) -> tuple[str, str]:
    """Choose the attack that leads, without a look at the targets."""
    tried = {name: on_shadows(score, joined, fpr) for name, score in scores.items()}
    success = {name: value for name, value in tried.items() if value is not None}
    if len(joined.member) < FEW or not success:
        return (
            _usual(scores),
            "the shadow models are too few to try attacks on, and of those that ran it usually does best",
        )
    return max(success, key=lambda name: success[name]), (
        f"of the attacks that ran it recognizes most of the shadow models' own {units} at {100 * fpr:g}% false "
        "positives, each attacked by the others"
    )


def _sureness(joined: Joined, score: Scores, seed: int, fair: bool, *, learn: bool) -> dict[str, Any]:
    """What the number of non-members and the way that members were drawn allow to say.

    learn: how many guesses are made may be learned on the shadow models, none of which is a target.
    """
    assert joined.target_member is not None
    seen = score.judged.all(0)
    member = joined.target_member[:, seen]
    values = score.target[:, seen].astype(np.float64)
    matches = int(min(member.sum(1).min(), (~member).sum(1).min()))
    guesses, epsilon = guesses_for(matches), None
    if fair and matches:
        if learn and len(joined.member) >= FEW:
            told = np.where(joined.asked & ~joined.reserved, score.shadow.astype(np.float64), np.nan)
            guesses = learned_guesses(told, joined.member, matches, seed=seed)
        epsilon = largest_epsilon(values, member, guesses=guesses, level=LEVEL, seed=seed)
    together = _together(joined, seed) if fair and matches else None
    if together is not None:
        guesses, epsilon = together.guesses, together.epsilon
    nonmembers = int((~member).sum())
    return {
        "nonmembers": nonmembers,
        "lowest_fpr": 1 / (nonmembers + 1),
        "epsilon": {"bound": epsilon, "guesses": guesses, "matches": matches, "delta": 0.0, "level": LEVEL}
        | {"together": together is not None},
    }


def _together(joined: Joined, seed: int) -> Bound | None:
    """The bound that several targets give together, each attacked by the models before it; None: there is none.

    Every target's members must be a draw of their own: none where a model gives another's members away.
    """
    if joined.phi is None or joined.target_member is None or len(joined.target_member) < 2:
        return None
    every = np.array_equal(joined.member, joined.target_member)  # each target is a shadow model of the others
    apart = joined.left_out.sum() == (len(joined.left_out) if every else 0)
    alike = gives_away(joined.target_member, joined.target_member)
    if not apart or alike.sum() > len(alike) or not joined.asked.all():
        return None
    shadows = 0 if every else len(joined.member)
    phi = joined.phi[0] if every else np.concatenate([joined.phi[1], joined.phi[0]])
    member = joined.target_member if every else np.concatenate([joined.member, joined.target_member])
    if len(member) < 3:
        return None
    seen = ~joined.reserved
    return recipe_epsilon(phi[:, seen], member[:, seen], level=LEVEL, seed=seed, known=shadows)


def _table(
    names: Sequence[str],
    joined: Joined,
    scores: dict[str, Scores],
    leading: str,
    fprs: Sequence[float],
    more: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Return a row for every target and record (or person) that is not reserved, the most exposed first."""
    seen, score = ~joined.reserved, scores[leading]
    if joined.target_member is not None:
        others = score.target[score.judged & ~joined.target_member]
        limits = np.array([[threshold(others, fpr)] * len(names) for fpr in fprs])
    else:
        others = shadow_nonmembers(score, joined)
        limits = shadow_thresholds(score, joined, fprs)
    exposed = exposure(score.target, others, max(fprs))
    tables = []
    for t, model in enumerate(names):
        used = joined.asked & ~joined.left_out[t][:, None]
        columns: dict[str, Any] = {"target": model, "record": joined.record, "label": joined.label}
        if joined.target_member is not None:
            columns["member"] = joined.target_member[t]
        columns["in_models"] = (used & joined.member).sum(0).astype(np.int32)
        columns["out_models"] = (used & ~joined.member).sum(0).astype(np.int32)
        columns["exposure"] = exposed[t]
        for fpr, limit in zip(fprs, limits[:, t], strict=True):
            if np.isfinite(limit):
                columns[f"called_at_{fpr:g}"] = score.target[t] > limit
        columns |= more
        columns |= {name: each.target[t].astype(np.float32) for name, each in scores.items()}
        tables.append(pd.DataFrame(columns)[seen])
    return pd.concat(tables).sort_values("exposure", ascending=False, kind="stable", ignore_index=True)


def _stored(joined: Joined) -> list[str | None]:
    """Return, for each target, a sentence where it stores its training records."""
    if joined.phi is None or joined.target_member is None:
        return [None] * len(joined.left_out)
    seen = ~joined.reserved
    targets = zip(joined.phi[0], joined.target_member, strict=True)
    return [stored_records(phi[seen, 0], inside[seen]) for phi, inside in targets]


def _curves(joined: Joined, scores: dict[str, Scores]) -> pd.DataFrame:
    if joined.target_member is None:
        return pd.DataFrame({"attack": [], "fpr": [], "tpr": []})
    tables = []
    for name, score in scores.items():
        fpr, tpr = conformal_curve(score.target[score.judged], joined.target_member[score.judged], points=200)
        tables.append(pd.DataFrame({"attack": name, "fpr": fpr, "tpr": tpr}))
    return pd.concat(tables, ignore_index=True)


def audit_files(
    targets: Sequence[str],
    shadows: Sequence[str],
    out: str,
    attacks: Sequence[str] | None = None,
    unit: str = "person",
    canaries: str | None = None,
    base: str | None = None,
    each: bool = False,
    separator: str | None = None,
    decimal: str | None = None,
    positive: str | None = None,
    step: int | None = None,
    fail_above: str | None = None,
) -> bool:
    """Audit files of answers, write audit.json, the tables and report.html below `out`, print the answer.

    fail_above: `TPR@FPR`, such as 0.05@0.01. Returns False where the TPR at this FPR is not told to be below it:
    its interval reaches above, or it is undefined.
    """
    limit = None if fail_above is None else _limit(fail_above)
    check_folder(Path(out))
    how: dict[str, Any] = {"separator": separator, "decimal": decimal, "positive": positive, "step": step}
    read = [[Answers.read(path, **how) for path in paths] for paths in (targets, shadows)]
    fprs = FPRS if limit is None else tuple(dict.fromkeys((*FPRS, limit[1])))
    audit = audit_model(
        *read,
        attacks=attacks,
        unit=unit,
        canaries=canaries,
        base=Answers.read(base, **(how | {"step": None}))
        if base
        else None,  # it is of no step of this training
        each=each,
        fprs=fprs,
    )
    audit.write(out)
    said = [*audit.about["answer"], f"The whole page: {Path(out, 'report.html')}"]
    print(*map(plain, said), sep="\n")
    return limit is None or _below(audit, *limit)


def _limit(text: str) -> tuple[float, float]:
    """Return the TPR and the FPR of a threshold such as 0.05@0.01."""
    try:
        tpr, fpr = (float(part) for part in text.split("@"))
    except ValueError:
        raise LeakgapError(f"fail-above: {text!r} is no TPR@FPR, such as 0.05@0.01") from None
    if not (0 < tpr < 1 and 0 < fpr < 1):
        raise LeakgapError(f"fail-above: {text!r}: both are shares between 0 and 1")
    return tpr, fpr


def _below(audit: Audit, tpr: float, fpr: float) -> bool:
    """Whether the leading attack's TPR is told to be below a threshold; False, with a sentence, where it is not."""
    if not audit.about["measured"]:
        print(f"fail-above: the targets' members are not known, so no TPR is told to be below {tpr:g}")
        return False
    high = audit.summary[f"tpr_at_{fpr:g}_high"][0]
    if high < tpr and not audit.about["signs_against_chance"] and not audit.about["warnings"]:
        return True
    reaches = f"may be as high as {high:.4g}" if np.isfinite(high) else "is undefined"
    print(
        f"fail-above: the TPR at {100 * fpr:g}% FPR {reaches}, or its audit is doubtful; {tpr:g} is the limit"
    )
    return False
