"""One attack job: all models of one technique, attacked with the shadow models of one technique.

Works through the steps one at a time, so that its memory is one step's. Writes the tables that `summary`
joins and the per-image scores of the attacks that are kept; what each holds is said in the function that
fills it.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import expit

from leakgap import LeakgapError, attacks, results
from leakgap.answers.store import Model, Reader, StepLogits
from leakgap.attacks import plugin
from leakgap.attacks.threshold import cross_entropy
from leakgap.audit.records import memorization, over_targets
from leakgap.data.masks import mask_row, members_digest, read_inputs
from leakgap.files import atomic
from leakgap.jobs.people import Persons
from leakgap.measure import roc
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.bound import recipe_epsilon
from leakgap.measure.epsilon import epsilon_of, guesses_for, right_guesses
from leakgap.measure.estimate import KINDS, Estimate
from leakgap.measure.groups import group_codes
from leakgap.measure.means import mean_auc, mean_over, mean_tpr, means_of
from leakgap.measure.ranking import Ranking, among, rankings
from leakgap.measure.roc import threshold
from leakgap.objects import staying
from leakgap.results import LEAVE_ONE_OUT, OF_RECORDS, REPLICATES, UNKNOWN, scale_of, tpr_column
from leakgap.study import NONE, Study, attacker
from leakgap.study.variant import compare

ABOUT = ("device", "threads", "torch_version", "code_version")
LEVEL, DELTA = 0.95, 1e-5  # of the bounds of epsilon
LOSS = "loss"  # needs no shadow models; its TNR is a rival of the accuracy gap
FEW_SHADOWS = "lira-pooled"  # its TPR by the number of shadow models stands beside the headline's
Tables = dict[str, list[pd.DataFrame]]


@dataclass(frozen=True)
class Targets:
    """The attacked models of one step: T targets, S images."""

    names: list[str]  # m000.., r000..
    member: np.ndarray  # bool [T, S]
    evaluated: np.ndarray  # bool [S]: not reserved
    correct: np.ndarray  # bool [T, S], clean view
    loss: np.ndarray  # float32 [T, S], cross-entropy of the clean view
    generalization: pd.DataFrame  # one row per target: accuracies and losses on the evaluated images
    of_even: pd.DataFrame  # the same, on those with an even number; or of those whose person has one


def attack_technique(
    study: Study,
    technique: str,
    shadow: str,
    *,
    pool: str,
    masks: str,
    targets: Sequence[str],
    shadows: Sequence[str],
    out: Sequence[str],
    scores: str,
) -> None:
    """Attack every model of `technique` at every step with the shadow models of `shadow`; write the tables.

    `targets` and `shadows` are the files with the logits of `study.models` and `study.masks`. Each file of `out` is
    filled with the table that its stem names. Raises LeakgapError when logits are missing or are of another model.
    """
    for path in out:
        results.table_of(path)
    labels, digest, groups, member, reserved = read_inputs(pool, masks)
    group = group_codes(groups, len(labels))
    if len(member) != len(study.masks):
        raise LeakgapError(f"{masks}: holds {len(member)} masks, and grid.masks is {len(study.masks)}")
    rows = np.array([mask_row(mask, len(member)) for mask in study.models])
    left_out = attacks.gives_away(member[rows], member)
    shadow_files = _reader(study, shadow, study.masks, shadows, member, labels)
    same = technique == shadow and list(targets) == list(shadows)
    target_files = (
        shadow_files if same else _reader(study, technique, study.models, targets, member[rows], labels)
    )
    _check_alike(study, target_files, shadow_files, digest)
    passed: list[tuple[np.ndarray, np.ndarray]] = []  # phi of the clean view at earlier steps
    persons = None if group is None else Persons(group, reserved, member, max(study.attack.fpr))
    of_records = resampled = _resampled(study, member[rows], ~reserved, group)
    if persons is not None:
        resampled = _resampled(study, persons.some(member[rows]), persons.evaluated)
    epochs = target_files.model.epochs

    read = (
        technique,
        shadow,
        study.attack.attacks,
        study.attack.fpr,
        study.attack.bootstrap,
        study.attack.seed,
    )
    origin = hashlib.sha256(repr(read).encode())  # of the tables: what they were computed from
    tables: Tables = defaultdict(list)
    tables["models"].append(_models(target_files.models, member[rows]))
    own = study.plugins.used(attacks=study.attack.attacks).attacks
    with plugin.loaded(own), _scores_file(scores, study.attack.kept) as scores_file:
        _check_needs(own, len(member), reserved)
        needs_logits = any(attacks.ATTACKS[name].needs_logits for name in study.attack.attacks)
        needs_steps = any(attacks.ATTACKS[name].needs_steps for name in study.attack.attacks)
        for step, epoch in enumerate(epochs, 1):
            target = target_files.read(step, with_logits=needs_logits, with_correct=True)
            known = target if same else shadow_files.read(step, with_logits=needs_logits)
            for phi in (target.phi,) if same else (target.phi, known.phi):
                origin.update(phi[..., 0].tobytes())
            evidence = attacks.Evidence(
                target=target.phi,
                shadow=known.phi,
                member=member,
                left_out=left_out,
                labels=labels,
                reserved=reserved,
                target_logits=target.logits if needs_logits else None,
                shadow_logits=known.logits if needs_logits else None,
                seed=study.attack.seed,
                target_earlier=np.stack([of for of, _ in passed], 1) if passed else None,
                shadow_earlier=np.stack([of for _, of in passed], 1) if passed else None,
            )
            if needs_steps:
                passed.append((target.phi[..., 0], known.phi[..., 0]))
            attacked = units = _targets(study, target, member[rows], reserved, group)
            if persons is not None:
                units = replace(attacked, member=persons.some(attacked.member), evaluated=persons.evaluated)
            last = step == len(epochs)
            memorized = _memorized(attacked, evidence) if last else {}
            with staying():
                scored = attacks.run_all(study.attack.attacks, evidence)
            for name, score in scored.items():
                head = {
                    "study": study.name,
                    "technique": technique,
                    "step": step,
                    "epoch": epoch,
                    "attacker": attacker(technique, shadow),
                    "attack": name,
                }
                others, ways, told, beside = score, None, score, None
                if technique != shadow and (persons or (last and name == study.attack.headline)):
                    others = _of_shadows(name, evidence)
                if persons is not None:
                    ways = persons.ways(others[: len(member)], left_out)
                    told = persons.score(score, ways)
                    beside = _pooled(study, attacked, score, of_records)
                pooled = _measure(tables, head, study, units, told, resampled, last, beside)
                if name == study.attack.headline:
                    means = _means(head, study, attacked, units, told, of_records, resampled)
                    tables["means"].append(means)
                if last:
                    tables["exposure"].append(_exposure(head, attacked, score, labels, memorized))
                    if name in (study.attack.headline, FEW_SHADOWS):
                        curve = _by_shadows(head, study, units, evidence, resampled, pooled, persons, ways)
                        tables["shadows"].append(curve)
                    if name == study.attack.headline:
                        bounds = _of_recipe(study, attacked, target.phi[..., 0], groups)
                        tables["epsilon"].append(_epsilon(head, study, units, told).assign(**bounds))
                        tables["thresholds"].append(
                            _thresholds(head, study, units, told, evidence, others, persons, ways)
                        )
            _append(scores_file, step, attacked, scored)
    for path in out:
        results.write(path, pd.concat(tables[Path(path).stem], ignore_index=True), origin.hexdigest()[:16])


def _check_needs(own: Iterable[str], masks: int, reserved: np.ndarray) -> None:
    """Raise LeakgapError where an attack of the user's own needs what there is not.

    Those of the others were checked with the study file, which imports no attack.
    """
    for name in own:
        attack = attacks.ATTACKS[name]
        if attack.needs_reserved and not reserved.any():
            raise LeakgapError(f"data.reserved: {name} needs reserved images, and there are none")
        if masks < attack.min_masks:
            raise LeakgapError(f"grid.masks: {name} needs {attack.min_masks} or more, not {masks}")


def _models(models: Iterable[Model], member: np.ndarray) -> pd.DataFrame:
    """Return one row per attacked model: what trained it, where, on what, and for how long."""
    rows = [
        {
            "technique": model.technique,
            "mask": model.mask,
            "seconds": model.about.get("seconds", {}).get("job", 0.0),
            **{name: str(model.about.get(name, UNKNOWN)) for name in ABOUT},
            "settings": json.dumps(model.settings),
            "pool": str(model.about.get("pool", UNKNOWN)),
            "members": members_digest(inside),
        }
        for model, inside in zip(models, member, strict=True)
    ]
    return pd.DataFrame(rows)


def _resampled(
    study: Study, member: np.ndarray, evaluated: np.ndarray, group: np.ndarray | None = None
) -> dict[str, Resampling]:
    """Draw the bootstrap of each design once, for all steps and attacks: mask pairs, or single replicates."""
    return {
        design: _resampling(study, member[rows], evaluated, None if design == LEAVE_ONE_OUT else rows, group)
        for design, rows in designs(study.models).items()
    }


def _resampling(
    study: Study,
    member: np.ndarray,
    evaluated: np.ndarray,
    unit: np.ndarray | None = None,
    group: np.ndarray | None = None,
) -> Resampling:
    return Resampling(member, evaluated, unit, study.attack.bootstrap, study.attack.seed, group)


def designs(names: list[str]) -> dict[str, np.ndarray]:
    """Return the rows of each design that has any among m000.., r000..: every mask in turn, replicates of one."""
    replicate = np.array([name[0] == "r" for name in names])
    rows = {LEAVE_ONE_OUT: np.flatnonzero(~replicate), REPLICATES: np.flatnonzero(replicate)}
    return {design: chosen for design, chosen in rows.items() if len(chosen)}


def _reader(
    study: Study,
    technique: str,
    masks: list[str],
    paths: Sequence[str],
    member: np.ndarray,
    labels: np.ndarray,
) -> Reader:
    if len(paths) != len(masks):
        raise LeakgapError(f"{technique}: {len(paths)} files with logits are given for {len(masks)} models")
    return Reader(paths, study=study.name, technique=technique, masks=masks, member=member, labels=labels)


def _check_alike(study: Study, targets: Reader, shadows: Reader, pool: str) -> None:
    """Raise LeakgapError for models of other data than the pool, of settings that the study does not have, and for
    targets that can't be attacked with these shadow models."""
    for reader in (targets, shadows):
        expected = study.settings(reader.model.technique)
        for path, model in zip(reader.paths, reader.models, strict=True):
            if model.about.get("pool", pool) != pool:
                raise LeakgapError(f"{path}: its model was trained on other data than the pool holds")
            compare(model.settings, expected, path)
    for name in ("views", "classes"):
        if getattr(targets.model, name) != getattr(shadows.model, name):
            raise LeakgapError(f"{targets.paths[0]}: differs from {shadows.paths[0]} in {name}")
    if len(targets.model.epochs) != len(shadows.model.epochs):
        raise LeakgapError(f"{targets.paths[0]}: differs from {shadows.paths[0]} in the number of steps")


def _targets(
    study: Study, column: StepLogits, member: np.ndarray, reserved: np.ndarray, group: np.ndarray | None
) -> Targets:
    assert column.correct is not None
    correct, loss = column.correct, cross_entropy(column.phi[:, :, 0])
    even = (np.arange(len(reserved)) if group is None else group) % 2 == 0
    return Targets(
        study.models,
        member,
        ~reserved,
        correct,
        loss,
        _generalization(correct, loss, member, ~reserved),
        _generalization(correct, loss, member, ~reserved & even),
    )


def _generalization(
    correct: np.ndarray, loss: np.ndarray, member: np.ndarray, seen: np.ndarray
) -> pd.DataFrame:
    """Return one row per target: accuracy and loss on members and others among the images `seen`, and the gaps."""
    means = {
        f"{split}_{what}": means_of(values, images)
        for what, values in (("acc", correct), ("loss", loss))
        for split, images in (("train", member & seen), ("test", ~member & seen))
    }
    return pd.DataFrame(means).assign(
        acc_gap=means["train_acc"] - means["test_acc"], loss_gap=means["test_loss"] - means["train_loss"]
    )


def _measure(
    tables: Tables,
    head: dict[str, Any],
    study: Study,
    targets: Targets,
    score: np.ndarray,
    resampled: dict[str, Resampling],
    last: bool,
    beside: dict[str, list[Estimate]] | None = None,
) -> list[Estimate]:
    """Append what one attack at one step achieves on single targets and pooled; return the latter, for every FPR.

    Halves of the images are what claims are made of: the headline attack's alone. Bootstrap draws are kept of
    it, of all attacks at the last step, and without augmentation at every step: which attack is the strongest
    there is known only when all jobs are done, and claim 2 follows it over the steps. Curves are drawn of the
    headline attack, are what claim 6 reads the loss attack's TNR off, and are kept of the attacks whose scores are.
    beside: the pooled TPRs of single records, where what is measured is persons.
    """
    seen, headline = targets.evaluated, head["attack"] == study.attack.headline
    ranked = rankings(score, targets.member, seen)
    tables["summary"].append(_per_target(head, study, targets, ranked, targets.generalization))
    if headline:
        odd = among(ranked, np.arange(len(seen)) % 2 == 1)
        tables["halves"].append(_per_target(head, study, targets, odd, targets.of_even))
    found = _pooled(study, targets, score, resampled)
    for design, rows in designs(targets.names).items():
        place = head | {"design": design}
        inside, outside = targets.member[rows] & seen, ~targets.member[rows] & seen
        counts = {"n_targets": len(rows), "n_members": int(inside.sum()), "n_nonmembers": int(outside.sum())}
        for number, (fpr, result) in enumerate(zip(study.attack.fpr, found[design], strict=True)):
            row = place | _with_interval(fpr, result) | counts
            if beside is not None:
                row |= dict(zip(OF_RECORDS, beside[design][number][:3], strict=True))
            tables["pooled"].append(pd.DataFrame([row]))
            if headline or last or head["technique"] == NONE:
                draws = [{"resampled": kind, "tprs": tprs} for kind, tprs in result.draws.items()]
                tables["draws"].append(pd.DataFrame([place | {"fpr": fpr} | draw for draw in draws]))
        if headline or head["attack"] in (LOSS, *study.attack.kept):
            curve = roc.curve([ranked[row] for row in rows])
            tables["curves"].append(pd.DataFrame(place | {"fpr": curve.fpr, "tpr": curve.tpr}))
    return found[LEAVE_ONE_OUT]


def _pooled(
    study: Study, targets: Targets, score: np.ndarray, resampled: dict[str, Resampling]
) -> dict[str, list[Estimate]]:
    """Return the pooled TPRs of every design, for every FPR."""
    return {
        design: resampled[design].pooled(score[rows], study.attack.fpr, abstentions=True)
        for design, rows in designs(targets.names).items()
    }


def _means(
    head: dict[str, Any],
    study: Study,
    targets: Targets,
    units: Targets,
    score: np.ndarray,
    of_records: dict[str, Resampling],
    resampled: dict[str, Resampling],
) -> pd.DataFrame:
    """Return one row per design and quantity: its mean over targets, interval and draws.

    How targets generalize is said of records, how they are attacked of the units that `score` is of: these records,
    or the persons whose they are.
    """
    seen, tables = targets.evaluated, []
    ranked = rankings(score, units.member, units.evaluated)
    for design, rows in designs(targets.names).items():
        member = targets.member[rows]
        found = {
            f"{split}_{what}": mean_over(values[rows], side & seen)
            for what, values in (("acc", targets.correct), ("loss", targets.loss))
            for split, side in (("train", member), ("test", ~member))
        }
        own, count = [ranked[row] for row in rows], len(units.evaluated)
        attacked = {"auc": mean_auc(own, count)}
        attacked |= {tpr_column(fpr): mean_tpr(own, count, fpr) for fpr in study.attack.fpr}
        means: dict[str, Estimate] = {}
        for part, draws in ((found, of_records[design]), (attacked, resampled[design])):
            scales = [scale_of(name) for name in part]
            means |= dict(zip(part, draws.means(list(part.values()), scales), strict=True))
        means["acc_gap"] = means["train_acc"] - means["test_acc"]
        means["loss_gap"] = means["test_loss"] - means["train_loss"]
        for quantity, mean in means.items():
            value, low, high, *_ = mean
            row = {"design": design, "quantity": quantity, "value": value, "low": low, "high": high}
            counts = {"n_targets": len(rows), "n_pairs": mean.pairs}
            # each group of records left out stands in the column of images, of which `Results.mean` knows
            drawn = [mean.draws["groups" if kind not in mean.draws else kind] for kind in KINDS]
            draws_of = {kind: each.astype(np.float32) for kind, each in zip(KINDS, drawn, strict=True)}
            tables.append(head | row | counts | draws_of)
    return pd.DataFrame(tables)


def _with_interval(fpr: float, pooled: Estimate) -> dict[str, float]:
    value, low, high, *_ = pooled
    return {"fpr": fpr, "tpr": value, "low": low, "high": high}


def _per_target(
    head: dict[str, Any],
    study: Study,
    targets: Targets,
    ranked: list[Ranking],
    generalization: pd.DataFrame,
) -> pd.DataFrame:
    """Return one row per target: how it generalizes, and the attack's success on the images ranked."""
    success = roc.per_target(ranked, study.attack.fpr)
    place = {key: head[key] for key in ("study", "technique")} | {"mask": targets.names}
    counts = {
        "n_members": np.array([len(target.inside) for target in ranked]),
        "n_nonmembers": np.array([len(target.outside) for target in ranked]),
    }
    return pd.DataFrame(place | head | counts | dict(generalization.items()) | success)


def _memorized(targets: Targets, known: attacks.Evidence) -> dict[str, np.ndarray]:
    """Return how much the shadow models memorize each image, whatever the attack."""
    images = np.flatnonzero(targets.evaluated)
    value, error = memorization(expit(known.shadow[:, images, 0]), known.member[:, images])
    return {"memorization": value.astype(np.float32), "memorization_error": error.astype(np.float32)}


def _exposure(
    head: dict[str, Any],
    targets: Targets,
    score: np.ndarray,
    labels: np.ndarray,
    memorized: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Return one row per image: of the targets that trained on it, how many are caught at 1% FPR, how exposed it
    is in them, and how much the shadow models memorize it."""
    rows, images = designs(targets.names)[LEAVE_ONE_OUT], np.flatnonzero(targets.evaluated)
    of_image = over_targets(score[np.ix_(rows, images)], targets.member[np.ix_(rows, images)], fpr=0.01)
    place = {"image": images.astype(np.int32), "label": labels[images]}
    return pd.DataFrame(head | place | of_image | memorized)


def _by_shadows(
    head: dict[str, Any],
    study: Study,
    targets: Targets,
    known: attacks.Evidence,
    resampled: dict[str, Resampling],
    everyone: list[Estimate],
    persons: Persons | None,
    ways: list[str] | None,
) -> pd.DataFrame:
    """Return an attack's pooled TPR when 2, 6, 14, ... shadow models are known; `everyone`: that of all.

    The pairs of masks are dealt into groups of 4, 8, 16, ... masks; every target is attacked by the models of its
    own group, its pair left out.
    """
    total, tables = len(known.shadow), []
    least = attacks.ATTACKS[head["attack"]].min_masks
    pairs = np.random.default_rng(study.attack.seed).permutation(total // 2)
    order = (2 * pairs[:, None] + [0, 1]).ravel()
    for size in [*(2**power for power in range(2, total.bit_length()) if least <= 2**power < total), total]:
        pooled = everyone
        if size < total:
            groups = np.sort(order[: total - total % size].reshape(-1, size))
            score = np.concatenate([_within(known, group, head["attack"]) for group in groups])
            rows, draws = np.sort(groups, axis=None), resampled[LEAVE_ONE_OUT]
            if len(rows) < total:
                draws = _resampling(study, targets.member[rows], targets.evaluated)
            score = score[np.argsort(groups, axis=None)]
            if persons is not None and ways is not None:
                score = persons.score(score, [ways[row] for row in rows])
            pooled = draws.pooled(score, study.attack.fpr, abstentions=True)
        for fpr, result in zip(study.attack.fpr, pooled, strict=True):
            tables.append(head | {"n_shadows": size - 2} | _with_interval(fpr, result))
    return pd.DataFrame(tables)


def _epsilon(head: dict[str, Any], study: Study, targets: Targets, score: np.ndarray) -> pd.DataFrame:
    """Return one row per target, single and corrected bound of epsilon: see `measure.epsilon`.

    Seeds and levels are those of `largest_epsilon`, whose result is the largest `together` of a technique.
    """
    rows, tables = designs(targets.names)[LEAVE_ONE_OUT], []
    for place, row in enumerate(rows):
        member = targets.member[row, targets.evaluated]
        values = score[row, targets.evaluated].astype(np.float64)
        matches = int(min(member.sum(), (~member).sum()))
        guesses, seed = guesses_for(matches), study.attack.seed + place
        right, made = right_guesses(values, member, guesses, seed)
        bounds = {
            name: epsilon_of(right, made, matches, level=level)
            for name, level in (("epsilon", LEVEL), ("together", 1 - (1 - LEVEL) / len(rows)))
        }
        counts = {"mask": targets.names[row], "matches": matches, "guesses": made, "right": right}
        tables.append(head | counts | bounds)
    return pd.DataFrame(tables)


def _of_recipe(
    study: Study, targets: Targets, phi: np.ndarray, groups: np.ndarray | None
) -> dict[str, float | int]:
    """Return what all models of a technique prove together, whatever the attack: see `measure.bound`."""
    rows = designs(targets.names)[LEAVE_ONE_OUT]
    how: dict[str, Any] = {"level": LEVEL, "seed": study.attack.seed, "inclusion": study.data.inclusion}
    pure, noisy = (
        recipe_epsilon(phi[rows], targets.member[rows], delta=delta, groups=groups, **how)
        for delta in (0.0, DELTA)
    )
    return {
        "recipe": pure.epsilon,
        "recipe_guesses": pure.guesses,
        "recipe_right": pure.right,
        "recipe_gaussian": noisy.epsilon,
    }


def _thresholds(
    head: dict[str, Any],
    study: Study,
    targets: Targets,
    score: np.ndarray,
    known: attacks.Evidence,
    others: np.ndarray,
    persons: Persons | None,
    ways: list[str] | None,
) -> pd.DataFrame:
    """Return one row per target and FPR: the threshold that its shadow models set, and what it achieves.

    others: float [N or more, S], the scores of the N shadow models, each attacked by the others.
    """
    if persons is None or ways is None:
        return _limits(head, study, targets, score, known.member, known.left_out, others)
    tables = []  # of the targets whose persons' scores are made in one way
    for way in sorted(set(ways)):
        theirs = persons.score(others[: len(known.member)], [way] * len(known.member))
        table = _limits(head, study, targets, score, persons.member, known.left_out, theirs)
        of_way = [name for name, own in zip(targets.names, ways, strict=True) if own == way]
        tables.append(table[table["mask"].isin(of_way)])
    return pd.concat(tables)


def _limits(
    head: dict[str, Any],
    study: Study,
    targets: Targets,
    score: np.ndarray,
    member: np.ndarray,
    left_out: np.ndarray,
    others: np.ndarray,
) -> pd.DataFrame:
    """Return the rows of `_thresholds`; member, others: [N or more, S], left_out: [T,N]."""
    rows, fprs = designs(targets.names)[LEAVE_ONE_OUT], study.attack.fpr
    nonmember = ~member & targets.evaluated
    others, count = others[: len(nonmember)], nonmember.sum(1)
    # the best of all, in order: the thresholds of all targets are among them, unless very few of theirs are
    best = nonmember & (others > threshold(others[nonmember], min(2 * max(fprs), 0.5)))
    of, theirs = np.nonzero(best)[0], others[best]
    order = np.argsort(-theirs)
    of, theirs = of[order], theirs[order]
    limits = np.empty((len(fprs), len(rows)))
    for place, row in enumerate(rows):
        used = ~left_out[row]
        own = theirs[used[of]]
        for limit, fpr in zip(limits, fprs, strict=True):
            rank = int(roc.conformal_rank(count[used].sum(), fpr))
            known_best = 1 <= rank <= len(own)
            limit[place] = own[rank - 1] if known_best else threshold(others[used][nonmember[used]], fpr)
    tables = []
    for limit, fpr in zip(limits, fprs, strict=True):
        table = {"mask": [targets.names[row] for row in rows], "fpr": fpr, "threshold": limit}
        for rate, side in (("achieved_fpr", ~targets.member), ("achieved_tpr", targets.member)):
            those = side[rows] & targets.evaluated
            share = (those & (score[rows] > limit[:, None])).sum(1) / those.sum(1)
            table[rate] = np.where(np.isnan(limit), np.nan, share)
        tables.append(pd.DataFrame(head | table))
    return pd.concat(tables)


def _of_shadows(attack: str, known: attacks.Evidence) -> np.ndarray:
    """Attack the shadow models with one another: float32 [N, S]."""
    evidence = replace(
        known,
        target=known.shadow,
        left_out=attacks.gives_away(known.member, known.member),
        target_logits=known.shadow_logits,
        target_earlier=known.shadow_earlier,
    )
    return attacks.run(attack, evidence)


def _within(known: attacks.Evidence, group: np.ndarray, attack: str) -> np.ndarray:
    """Attack a group's models with one another: float32 [group, S]."""

    def of_group(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[group]

    evidence = replace(
        known,
        target=known.target[group],
        shadow=known.shadow[group],
        member=known.member[group],
        left_out=known.left_out[np.ix_(group, group)],
        target_logits=of_group(known.target_logits),
        shadow_logits=of_group(known.shadow_logits),
        target_earlier=of_group(known.target_earlier),
        shadow_earlier=of_group(known.shadow_earlier),
    )
    return attacks.run(attack, evidence)


@contextmanager
def _scores_file(path: str, kept: Sequence[str]) -> Iterator[pq.ParquetWriter]:
    """Open the file of per-image scores: one row for every step, target and image that is not reserved."""
    schema = pa.schema(
        [
            ("step", pa.int16()),
            ("mask", pa.string()),
            ("image", pa.int32()),
            ("member", pa.bool_()),
            *((name, pa.float32()) for name in kept),
        ]
    )
    with (
        atomic(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            write_page_checksum=True,
            use_dictionary=["step", "mask"],  # a dictionary of scores is built for nothing
            use_byte_stream_split=list(kept),
            column_encoding={"image": "DELTA_BINARY_PACKED"},
        ) as writer,
    ):
        yield writer


def _append(writer: pq.ParquetWriter, step: int, targets: Targets, scores: dict[str, np.ndarray]) -> None:
    """Append one step: of the attacks that the file has a column for, the scores, float32 [T, S]."""
    images = np.flatnonzero(targets.evaluated)
    kept = [name for name in writer.schema.names if name in scores]
    for row, name in enumerate(targets.names):
        columns = {
            "step": np.full(len(images), step, np.int16),
            "mask": pa.repeat(name, len(images)),
            "image": images.astype(np.int32),
            "member": targets.member[row, images],
        } | {attack: scores[attack][row, images] for attack in kept}
        writer.write_table(pa.table(columns, schema=writer.schema))
