"""One attack job: all models of one technique, attacked with the shadow models of one technique.

A job is an audit of its models at every step: answers side by side, scores, what they achieve. What is here turns a
study and its files into that, one step at a time, so that its memory is one step's, and the findings into tables.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from leakgap import LeakgapError, attacks, estimates
from leakgap.answers.joined import Joined
from leakgap.answers.store import Model, Reader, parquet_writer
from leakgap.attacks import plugin
from leakgap.attacks.threshold import cross_entropy
from leakgap.audit.achieved import shadow_thresholds
from leakgap.audit.people import by_person, of_people, people_of
from leakgap.audit.records import memorized_by, over_targets
from leakgap.audit.scores import Scores, scores_of
from leakgap.data.masks import mask_row, members_digest, read_inputs
from leakgap.estimates import ALL, HALVES, LEAVE_ONE_OUT, NO_ATTACK, REPLICATES
from leakgap.measure import roc
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.bound import recipe_epsilon
from leakgap.measure.epsilon import each_epsilon
from leakgap.measure.estimate import Estimate
from leakgap.measure.groups import group_codes
from leakgap.measure.means import mean_auc, mean_over, mean_tpr, means_of
from leakgap.measure.ranking import Ranking, among, rankings
from leakgap.results import DRAWN, UNKNOWN, scale_of, write_job
from leakgap.study import NONE, Study, attacker
from leakgap.study.variant import compare

MODEL_SAYS = ("device", "threads", "torch_version", "code_version")
LEVEL, DELTA = 0.95, 1e-5  # of the bounds of epsilon
LOSS = "loss"  # needs no shadow models; its TNR is a rival of the accuracy gap
FEW_SHADOWS = "lira-pooled"  # its TPR by the number of shadow models stands beside the headline's
EXPOSED_AT = 0.01  # FPR at which a record counts as given away


def attack_technique(
    study: Study,
    technique: str,
    shadow: str,
    *,
    pool: str,
    masks: str,
    targets: Sequence[str],
    shadows: Sequence[str],
    out: str,
    scores: str,
) -> None:
    """Attack every model of `technique` at every step with the shadow models of `shadow`.

    `targets` and `shadows` are the files with the logits of `study.models` and `study.masks`. `out` is filled with
    the tables of `leakgap.results`, `scores` with the scores of the attacks that are kept. Raises LeakgapError when
    logits are missing or are of another model.
    """
    labels, digest, groups, member, reserved = read_inputs(pool, masks)
    if len(member) != len(study.masks):
        raise LeakgapError(f"{masks}: holds {len(member)} masks, and grid.masks is {len(study.masks)}")
    of_targets = member[[mask_row(mask, len(member)) for mask in study.models]]
    shadow_files = _reader(study, shadow, study.masks, shadows, member, labels)
    same = technique == shadow and list(targets) == list(shadows)
    target_files = (
        shadow_files if same else _reader(study, technique, study.models, targets, of_targets, labels)
    )
    _check_alike(study, target_files, shadow_files, digest)

    models = _Models(target_files, shadow_files, of_targets, member, reserved, labels, groups)
    own = study.plugins.used(attacks=study.attack.attacks).attacks
    with plugin.loaded(own), _scores_file(scores, study.attack.kept) as scores_file:
        _check_needs(own, len(member), reserved)
        job = _Job(study, technique, shadow, models)
        for step, epoch in enumerate(target_files.model.epochs, 1):
            joined = models.at(step, study.attack.attacks)
            found = scores_of(study.attack.attacks, joined, study.attack.seed)
            job.measure(step, epoch, joined, found)
            _append(scores_file, step, study.models, joined, found)
    write_job(study, out, job.tables(), (technique, shadow), digest)


class _Models:
    """The answers of T targets and N shadow models, step by step."""

    def __init__(
        self,
        targets: Reader,
        shadows: Reader,
        of_targets: np.ndarray,
        member: np.ndarray,
        reserved: np.ndarray,
        labels: np.ndarray,
        groups: np.ndarray | None,
    ):
        self.targets, self.shadows = targets, shadows
        self.of_targets, self.member, self.reserved = of_targets, member, reserved
        self.labels, self.groups = labels, groups
        self._left_out = attacks.gives_away(of_targets, member)
        self._asked = np.ones(member.shape, bool)
        self._passed: list[tuple[np.ndarray, np.ndarray]] = []  # phi of the clean view at earlier steps

    def at(self, step: int, names: Sequence[str]) -> Joined:
        """Put the answers at a step side by side; to be called for every step in turn."""
        chosen = [attacks.ATTACKS[name] for name in names]
        how = {"with_logits": any(attack.needs_logits for attack in chosen), "with_correct": True}
        target = self.targets.read(step, **how)
        shadow = target if self.shadows is self.targets else self.shadows.read(step, **how)
        assert target.correct is not None
        assert shadow.correct is not None
        earlier = None
        if any(attack.needs_steps for attack in chosen):
            nothing = [
                np.empty((len(phi), 0, len(self.labels)), np.float32) for phi in (target.phi, shadow.phi)
            ]
            before = (
                [np.stack(side, 1) for side in zip(*self._passed, strict=True)] if self._passed else nothing
            )
            earlier = before[0], before[1]
            self._passed.append((target.phi[..., 0], shadow.phi[..., 0]))
        logits = None
        if target.logits is not None and shadow.logits is not None:
            logits = target.logits, shadow.logits
        return Joined(
            record=np.arange(len(self.labels)),
            label=self.labels,
            reserved=self.reserved,
            target_member=self.of_targets,
            member=self.member,
            asked=self._asked,
            left_out=self._left_out,
            phi=(target.phi, shadow.phi),
            logits=logits,
            correct=(target.correct, shadow.correct),
            saturated=0.0,
            code=self.labels,
            group=self.groups,
            earlier=earlier,
            among_targets=self.targets.model.technique == self.shadows.model.technique,
        )


@dataclass(frozen=True)
class _Units:
    """What an attack is counted over: records, or the persons whose they are; T targets, U units."""

    member: np.ndarray  # bool [T, U]
    evaluated: np.ndarray  # bool [U]: not reserved
    draws: dict[str, Resampling]  # by design


class _Job:
    """The tables of one attack job, filled step by step."""

    def __init__(self, study: Study, technique: str, shadow: str, models: _Models):
        self.study, self.models = study, models
        self.fprs, self.headline = study.attack.fpr, study.attack.headline
        self.about = {"technique": technique, "attacker": attacker(technique, shadow)}
        self.names, self.last = study.models, len(models.targets.model.epochs)
        self.designs = _designs(study.models)
        self.design_of = np.full(len(self.names), LEAVE_ONE_OUT, object)
        if REPLICATES in self.designs:
            self.design_of[self.designs[REPLICATES]] = REPLICATES
        self.group = group_codes(models.groups, len(models.labels))
        self.records = self._units(models.of_targets, ~models.reserved, self.group)
        self.persons: _Units | None = None  # drawn when first counted
        self.memorized: dict[str, np.ndarray] | None = None  # whatever the attack
        self.estimates: list[pd.DataFrame] = []
        self.draws: list[pd.DataFrame] = []
        self.curves: list[pd.DataFrame] = []
        self.exposed: list[pd.DataFrame] = []

    def _units(self, member: np.ndarray, evaluated: np.ndarray, group: np.ndarray | None = None) -> _Units:
        """Draw the bootstrap of each design once, for all steps and attacks: mask pairs, or single replicates."""
        draws = {
            design: self._resampling(
                member[rows], evaluated, None if design == LEAVE_ONE_OUT else rows, group
            )
            for design, rows in self.designs.items()
        }
        return _Units(member, evaluated, draws)

    def _resampling(
        self,
        member: np.ndarray,
        evaluated: np.ndarray,
        unit: np.ndarray | None = None,
        group: np.ndarray | None = None,
    ) -> Resampling:
        return Resampling(member, evaluated, unit, self.study.attack.bootstrap, self.study.attack.seed, group)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables, by name."""
        found = {
            "estimates": self.estimates,
            "draws": self.draws,
            "curves": self.curves,
            "records": self.exposed,
        }
        tables = {name: pd.concat(parts, ignore_index=True) for name, parts in found.items()}
        return tables | {"models": _model_table(self.models.targets.models, self.models.of_targets)}

    # --- one step

    def measure(self, step: int, epoch: int, joined: Joined, found: dict[str, Scores]) -> None:
        """Fill in what attacks achieve at one step, and how the models generalize there."""
        at = self.about | {"step": step, "epoch": epoch}
        units, scores, ways = self.records, found, None
        counted = joined
        if self.group is not None:
            counted, whose = people_of(joined)
            scores, ways = by_person(found, counted, whose, max(self.fprs))
            units = self._persons(counted)
        self._generalization(at, joined, units)
        for name, score in scores.items():
            head = at | {"attack": name}
            pooled = self._attacked(head, units, score.target)
            if self.group is not None:
                self._records_pooled(head, found[name].target)
            if step < self.last:
                continue
            self._exposed(head, joined, found[name].target)
            if name in (self.headline, FEW_SHADOWS):
                self._by_shadows(
                    head, joined, units, pooled[LEAVE_ONE_OUT], None if ways is None else ways[name]
                )
            if name == self.headline:
                self._epsilon(head, joined, units, score.target)
                self._thresholds(head, counted, units, score)

    def _persons(self, people: Joined) -> _Units:
        if self.persons is None:
            assert people.target_member is not None
            self.persons = self._units(people.target_member, ~people.reserved)
        return self.persons

    def _generalization(self, at: dict[str, Any], joined: Joined, units: _Units) -> None:
        """How targets generalize, on all records and on half of them, and how many units there are to be attacked.

        Half of the records are what claims are made of, the attack on the other half: those with an even number; or
        those whose person has one.
        """
        assert joined.correct is not None
        assert joined.phi is not None
        correct, loss = joined.correct[0], cross_entropy(joined.phi[0][..., 0])
        member, seen = self.records.member, self.records.evaluated
        head = at | {"attack": NO_ATTACK}
        even = (np.arange(len(seen)) if self.group is None else self.group) % 2 == 0
        odd_units = np.arange(len(units.evaluated)) % 2 == 1
        for design, half, counted in (
            (self.design_of, seen, units.evaluated),
            (HALVES, seen & even, units.evaluated & odd_units),
        ):
            values = _generalization(correct, loss, member, half)
            values |= {
                "n_members": (units.member & counted).sum(1),
                "n_nonmembers": (~units.member & counted).sum(1),
            }
            self.estimates += [estimates.rows(head, design, self.names, *value) for value in values.items()]
        for design, rows in self.designs.items():
            inside, counted = units.member[rows], units.evaluated
            for name, side in (("n_members", inside), ("n_nonmembers", ~inside)):
                self.estimates.append(estimates.rows(head, design, ALL, name, (side & counted).sum()))
            own = member[rows]
            found = {
                f"{split}_{what}": mean_over(values[rows], side & seen)
                for what, values in (("acc", correct), ("loss", loss))
                for split, side in (("train", own), ("test", ~own))
            }
            draws = self.records.draws[design]
            means = dict(
                zip(found, draws.means(list(found.values()), [scale_of(name) for name in found]), strict=True)
            )
            means["acc_gap"] = means["train_acc"] - means["test_acc"]
            means["loss_gap"] = means["test_loss"] - means["train_loss"]
            for quantity, mean in means.items():
                self._mean(head, design, quantity, mean)

    def _attacked(self, head: dict[str, Any], units: _Units, score: np.ndarray) -> dict[str, list[Estimate]]:
        """What one attack achieves on single targets and pooled; return the latter by design, for every FPR.

        Means over targets and halves are the headline attack's alone. Bootstrap draws are kept of it, of all
        attacks at the last step, and without augmentation at every step: which attack is the strongest there is
        known only when all jobs are done, and claim 2 follows it over the steps. Curves are drawn of the headline
        attack, are what claim 6 reads the loss attack's TNR off, and are kept of the attacks whose scores are.
        """
        headline, last = head["attack"] == self.headline, head["step"] == self.last
        ranked = rankings(score, units.member, units.evaluated)
        self._per_target(head, self.design_of, ranked)
        if headline:
            self._per_target(head, HALVES, among(ranked, np.arange(len(units.evaluated)) % 2 == 1))
        pooled = {}
        for design, rows in self.designs.items():
            draws, own = units.draws[design], [ranked[row] for row in rows]
            pooled[design] = draws.pooled(score[rows], self.fprs, abstentions=True)
            for fpr, tpr in zip(self.fprs, pooled[design], strict=True):
                self._of_all(head, design, "pooled_tpr", tpr, fpr, len(rows))
                if headline or last or head["technique"] == NONE:
                    self._keep(head, design, "pooled_tpr", tpr, fpr)
            if headline:
                count = len(units.evaluated)
                success = [mean_auc(own, count), *(mean_tpr(own, count, fpr) for fpr in self.fprs)]
                auc, *tprs = draws.means(success, ["logit"] * len(success))
                self._mean(head, design, "auc", auc)
                for fpr, tpr in zip(self.fprs, tprs, strict=True):
                    self._mean(head, design, "tpr", tpr, fpr)
            if headline or head["attack"] in (LOSS, *self.study.attack.kept):
                curve = roc.curve(own)
                self.curves.append(
                    pd.DataFrame(head | {"design": design, "fpr": curve.fpr, "tpr": curve.tpr})
                )
        return pooled

    def _records_pooled(self, head: dict[str, Any], score: np.ndarray) -> None:
        """Pooled TPRs of single records, where what is measured is persons."""
        for design, rows in self.designs.items():
            tprs = self.records.draws[design].pooled(score[rows], self.fprs, abstentions=True)
            for fpr, tpr in zip(self.fprs, tprs, strict=True):
                self._of_all(head, design, "pooled_tpr_of_records", tpr, fpr, len(rows))

    def _per_target(self, head: dict[str, Any], design: Any, ranked: list[Ranking]) -> None:
        success = roc.per_target(ranked, self.fprs)
        for quantity in ("auc", "balanced_acc"):
            self.estimates.append(estimates.rows(head, design, self.names, quantity, success[quantity]))
        for fpr in self.fprs:
            tpr = success[estimates.tpr_column(fpr)]
            self.estimates.append(estimates.rows(head, design, self.names, "tpr", tpr, fpr=fpr))

    def _of_all(
        self, head: dict[str, Any], design: str, quantity: str, found: Estimate, fpr: float, n: int
    ) -> None:
        ends = {"low": found.low, "high": found.high}
        self.estimates.append(estimates.rows(head, design, ALL, quantity, found.value, fpr=fpr, n=n, **ends))

    def _mean(
        self, head: dict[str, Any], design: str, quantity: str, mean: Estimate, fpr: float = float("nan")
    ) -> None:
        self._of_all(head, design, quantity, mean, fpr, len(self.designs[design]))
        self._keep(head, design, quantity, mean, fpr)

    def _keep(self, head: dict[str, Any], design: str, quantity: str, found: Estimate, fpr: float) -> None:
        """Keep the bootstrap draws of an estimate."""
        place = head | {"design": design, "quantity": quantity, "fpr": fpr, "value": found.value}
        counts = {"n_targets": len(self.designs[design]), "n_pairs": found.pairs}
        draws = {kind: [np.asarray(found.draws.get(kind, ()), np.float32)] for kind in DRAWN}
        self.draws.append(pd.DataFrame(place | counts | draws))

    # --- at the last step

    def _exposed(self, head: dict[str, Any], joined: Joined, score: np.ndarray) -> None:
        """A row per record: of the targets that trained on it, how many are caught at 1% FPR, how exposed it is in
        them, and how much the shadow models memorize it."""
        rows, images = self.designs[LEAVE_ONE_OUT], np.flatnonzero(self.records.evaluated)
        some = np.ix_(rows, images)
        of_record = over_targets(score[some], self.records.member[some], fpr=EXPOSED_AT)
        place = {"image": images.astype(np.int32), "label": joined.label[images]}
        memorized = {name: values[images] for name, values in self._memorized(joined).items()}
        self.exposed.append(pd.DataFrame(head | place | of_record | memorized))

    def _memorized(self, joined: Joined) -> dict[str, np.ndarray]:
        if self.memorized is None:
            self.memorized = memorized_by(joined)
        return self.memorized

    def _by_shadows(
        self,
        head: dict[str, Any],
        joined: Joined,
        units: _Units,
        everyone: list[Estimate],
        ways: list[str] | None,
    ) -> None:
        """An attack's pooled TPR when 2, 6, 14, ... shadow models are known; `everyone`: that of all.

        The pairs of masks are dealt into groups of 4, 8, 16, ... masks; every target is attacked by the models of
        its own group, its pair left out.
        """
        total, attack = len(joined.member), head["attack"]
        least = attacks.ATTACKS[attack].min_masks
        pairs = np.random.default_rng(self.study.attack.seed).permutation(total // 2)
        order = (2 * pairs[:, None] + [0, 1]).ravel()
        sizes = [2**power for power in range(2, total.bit_length()) if least <= 2**power < total]
        for size in [*sizes, total]:
            pooled = everyone
            if size < total:
                groups = np.sort(order[: total - total % size].reshape(-1, size))
                score = np.concatenate(
                    [
                        scores_of([attack], joined.among(group), self.study.attack.seed)[attack].target
                        for group in groups
                    ]
                )
                rows, draws = np.sort(groups, axis=None), units.draws[LEAVE_ONE_OUT]
                if len(rows) < total:
                    draws = self._resampling(units.member[rows], units.evaluated)
                score = score[np.argsort(groups, axis=None)]
                if ways is not None and self.group is not None:
                    pieces = zip(score, rows, strict=True)
                    score = np.array(
                        [of_people(row, self.group, ways[place]) for row, place in pieces], np.float32
                    )
                pooled = draws.pooled(score, self.fprs, abstentions=True)
            for fpr, tpr in zip(self.fprs, pooled, strict=True):
                self._of_all(head, LEAVE_ONE_OUT, "pooled_tpr_by_shadows", tpr, fpr, size - 2)

    def _epsilon(self, head: dict[str, Any], joined: Joined, units: _Units, score: np.ndarray) -> None:
        """Bounds of epsilon: of every target (`measure.epsilon`), and of all models together (`measure.bound`)."""
        rows, seed = self.designs[LEAVE_ONE_OUT], self.study.attack.seed
        seen = units.evaluated
        bounds = each_epsilon(score[rows][:, seen], units.member[rows][:, seen], level=LEVEL, seed=seed)
        names = [self.names[row] for row in rows]
        self.estimates += [estimates.rows(head, LEAVE_ONE_OUT, names, *bound) for bound in bounds.items()]
        assert joined.phi is not None
        how: dict[str, Any] = {"level": LEVEL, "seed": seed, "inclusion": self.study.data.inclusion}
        pure, noisy = (
            recipe_epsilon(
                joined.phi[0][rows, :, 0],
                self.records.member[rows],
                delta=delta,
                groups=self.models.groups,
                **how,
            )
            for delta in (0.0, DELTA)
        )
        for quantity, value in (
            ("recipe", pure.epsilon),
            ("recipe_guesses", pure.guesses),
            ("recipe_right", pure.right),
            ("recipe_gaussian", noisy.epsilon),
        ):
            self.estimates.append(estimates.rows(head, LEAVE_ONE_OUT, ALL, quantity, value))

    def _thresholds(self, head: dict[str, Any], joined: Joined, units: _Units, score: Scores) -> None:
        """The thresholds that shadow models set, and what they achieve on every target."""
        rows = self.designs[LEAVE_ONE_OUT]
        names = [self.names[row] for row in rows]
        for fpr, limits in zip(self.fprs, shadow_thresholds(score, joined, self.fprs)[:, rows], strict=True):
            shares = {"threshold": limits}
            for rate, side in (("achieved_fpr", ~units.member), ("achieved_tpr", units.member)):
                those = side[rows] & units.evaluated
                share = (those & (score.target[rows] > limits[:, None])).sum(1) / those.sum(1)
                shares[rate] = np.where(np.isnan(limits), np.nan, share)
            self.estimates += [
                estimates.rows(head, LEAVE_ONE_OUT, names, quantity, values, fpr=fpr)
                for quantity, values in shares.items()
            ]


def _designs(names: list[str]) -> dict[str, np.ndarray]:
    """Return the rows of each design that has any among m000.., r000..: every mask in turn, replicates of one."""
    replicate = np.array([name[0] == "r" for name in names])
    rows = {LEAVE_ONE_OUT: np.flatnonzero(~replicate), REPLICATES: np.flatnonzero(replicate)}
    return {design: chosen for design, chosen in rows.items() if len(chosen)}


def _generalization(
    correct: np.ndarray, loss: np.ndarray, member: np.ndarray, seen: np.ndarray
) -> dict[str, np.ndarray]:
    """Accuracy and loss of each target on members and others among the records `seen`, and the gaps: [T] each."""
    means = {
        f"{split}_{what}": means_of(values, records)
        for what, values in (("acc", correct), ("loss", loss))
        for split, records in (("train", member & seen), ("test", ~member & seen))
    }
    means["acc_gap"] = means["train_acc"] - means["test_acc"]
    means["loss_gap"] = means["test_loss"] - means["train_loss"]
    return means


def _model_table(models: Iterable[Model], member: np.ndarray) -> pd.DataFrame:
    """Return one row per attacked model: what trained it, where, on what, and for how long."""
    rows = [
        {
            "technique": model.technique,
            "mask": model.mask,
            "seconds": float(model.about.get("seconds", {}).get("job", 0.0)),
            **{name: str(model.about.get(name, UNKNOWN)) for name in MODEL_SAYS},
            "settings": json.dumps(model.settings),
            "pool": str(model.about.get("pool", UNKNOWN)),
            "members": members_digest(inside),
        }
        for model, inside in zip(models, member, strict=True)
    ]
    return pd.DataFrame(rows)


# --- what goes in, and what is checked before


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


# --- scores of single records


@contextmanager
def _scores_file(path: str, kept: Sequence[str]) -> Iterator[Any]:
    """Open the file of scores: one row for every step, target and record that is not reserved."""
    schema = pa.schema(
        [
            ("step", pa.int16()),
            ("mask", pa.string()),
            ("image", pa.int32()),
            ("member", pa.bool_()),
            *((name, pa.float32()) for name in kept),
        ]
    )
    with parquet_writer(path, schema, repeated=["step", "mask"], numbers=kept, counted=["image"]) as writer:
        yield writer


def _append(writer: Any, step: int, names: Sequence[str], joined: Joined, found: dict[str, Scores]) -> None:
    """Append one step, of the attacks that the file has a column for."""
    assert joined.target_member is not None
    images = np.flatnonzero(~joined.reserved)
    kept = [name for name in writer.schema.names if name in found]
    for row, name in enumerate(names):
        columns = {
            "step": np.full(len(images), step, np.int16),
            "mask": pa.repeat(name, len(images)),
            "image": images.astype(np.int32),
            "member": joined.target_member[row, images],
        } | {attack: found[attack].target[row, images] for attack in kept}
        writer.write_table(pa.table(columns, schema=writer.schema))
