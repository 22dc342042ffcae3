"""The results of a study: what its tables hold, declared once, and the one reader of them.

An attack job writes one file of tables, `join` makes one of all jobs', and whatever is shown (tables, figures,
claims, report, comparisons) comes from `Results`, which knows the headline attack, the attacker, the designs and
the FPRs, and gives every pooled TPR and every contrast of them its one interval. Such a file says which study, of
which settings, it was made of; one that was made of another is refused.

Designs: `leave-one-out`, every model of the grid in turn the target; `replicates`, further models on mask 0;
`halves`, single targets that generalize on one half of the records and are attacked on the other.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types

from leakgap import LeakgapError, estimates
from leakgap.archive import Archive, write_archive
from leakgap.data.pool import Pool, read_pool
from leakgap.estimates import ALL, GENERALIZATION, LEAVE_ONE_OUT, NO_ATTACK, REPLICATES, at_fpr
from leakgap.files import atomic
from leakgap.measure import contrast as measured
from leakgap.measure.estimate import Estimate, Scale, interval
from leakgap.measure.estimate import Kind as Drawn
from leakgap.study import Study
from leakgap.study.variant import compare

__all__ = ["TABLES", "Cell", "Results", "about", "join", "scale_of"]

MASK_PREFIX = {LEAVE_ONE_OUT: "m", REPLICATES: "r"}  # of a design's targets
UNKNOWN = "unknown"  # what models written by others may leave out
FORMAT = 1  # of files of tables; another one can't be read
DRAWN: tuple[Drawn, ...] = ("models", "images", "groups", "pairs")

CHECKS: dict[str, Callable[[pd.Series], bool]] = {  # numbers: an array in every cell
    "text": types.is_string_dtype,
    "integer": types.is_integer_dtype,
    "number": types.is_float_dtype,
    "numbers": types.is_object_dtype,
}
# keys of a study that what is in the tables depends on, beside what models are trained by
OF_JOBS = (
    *("grid.masks", "grid.replicates", "attack.attacks", "attack.fpr", "attack.keep"),
    *("attack.bootstrap", "attack.seed"),
)
OF_ALL = ("grid.techniques", "attack.attackers", "attack.baseline")


class Column(NamedTuple):
    """What a column holds; its unit stands in the meaning, where it has one."""

    kind: str  # one of CHECKS, in the tables here
    meaning: str


@dataclass(frozen=True)
class Table:
    """What a table holds, and its columns in order."""

    holds: str
    columns: dict[str, Column]

    def check(self, frame: pd.DataFrame, name: str) -> pd.DataFrame:
        """Return the frame with the columns in order; ValueError where it is not such a table: a fault of ours."""
        if set(frame) != set(self.columns):
            raise ValueError(
                f"{name}: has the columns {', '.join(map(str, frame))}, not {', '.join(self.columns)}"
            )
        for column, (kind, _) in self.columns.items():
            if len(frame) and not CHECKS[kind](frame[column]):
                raise ValueError(f"{name}: column {column} holds {frame[column].dtype}, not {kind}")
        return frame[list(self.columns)]


HEAD = {
    "technique": Column("text", "technique of augmentation, or variant, that the targets were trained with"),
    "step": Column("integer", "checkpoint, numbered from 1"),
    "epoch": Column("integer", "epochs of training at this step"),
    "attacker": Column(
        "text", "`informed`: shadow models trained like the targets; `uninformed`: like the baseline"
    ),
    "attack": Column(
        "text", "name of the attack (docs/attack-list.md); empty: of the models, whatever attacks them"
    ),
    "design": Column(
        "text",
        "`leave-one-out`: every model of the grid in turn the target; `replicates`: further models on mask 0; "
        "`halves`: generalization on one half of the records, attack on the other",
    ),
}
QUANTITIES = {
    "train_acc, test_acc": "accuracy on members, and on non-members that are not reserved; share",
    "train_loss, test_loss": "mean cross-entropy on members, and on such non-members; nats",
    "acc_gap, loss_gap": "train_acc - test_acc, and test_loss - train_loss",
    "n_members, n_nonmembers": "records that were trained on, and were not; persons where records have groups",
    "auc, balanced_acc": "area under the ROC, and the largest mean of TPR and TNR; share",
    "tpr": "true positive rate at column `fpr`, conformal; of `all` masks its mean over targets; share",
    "pooled_tpr": "TPR of all pairs of a model and a record under one threshold; share",
    "pooled_tpr_of_records": "the same of single records, where records have groups and all else is of persons",
    "pooled_tpr_by_shadows": "pooled_tpr when column `n` shadow models are known",
    "matches, guesses, right": "pairs of a member and a non-member, guesses made on them, and right ones",
    "epsilon, together": "lower bound of epsilon at 95% of this target, and one that holds with all targets'",
    "recipe, recipe_gaussian": "lower bounds of epsilon that all models give together: delta 0, and by a Gaussian "
    "hypothesis at delta 1e-5",
    "recipe_guesses, recipe_right": "guesses behind `recipe`, and right ones",
    "threshold": "score that a share `fpr` of the shadow models' non-members exceed",
    "achieved_fpr, achieved_tpr": "what this threshold achieves on the target; share",
}
TABLES = {
    "estimates": Table(
        "one row per number: what models and attacks achieve",
        HEAD
        | {
            "mask": Column("text", "the target: m000.., a replicate r000.., or `all` targets of the design"),
            "quantity": Column("text", "what the number is: see the quantities"),
            "fpr": Column(
                "number", "false positive rate that the attack is read at; NaN where there is none"
            ),
            "value": Column("number", "the number; NaN where it is undefined"),
            "low": Column("number", "lower end of its 95% interval; NaN where it has none"),
            "high": Column("number", "upper end"),
            "n": Column(
                "integer", "what it is made of: targets, of pooled_tpr_by_shadows shadow models; else 0"
            ),
        },
    ),
    "draws": Table(
        "bootstrap draws behind the intervals: of the headline attack; of all attacks at the last step, and at "
        "every step of models trained without augmentation",
        HEAD
        | {
            "quantity": Column("text", "`pooled_tpr`, or a quantity whose mean over targets it is"),
            "fpr": Column("number", "false positive rate; NaN where there is none"),
            "value": Column("number", "the estimate"),
            "n_targets": Column("integer", "targets"),
            "n_pairs": Column("integer", "pairs of a model and a record that it is a share of"),
            "models": Column("numbers", "the estimate in every resampling of models"),
            "images": Column("numbers", "in every resampling of records; empty where records have groups"),
            "groups": Column("numbers", "without each group of records; empty where they have none"),
            "pairs": Column("numbers", "in every resampling of pairs of model and record"),
        },
    ),
    "curves": Table(
        "points of pooled ROC curves",
        HEAD
        | {
            "fpr": Column("number", "false positive rate; share"),
            "tpr": Column("number", "true positive rate; share"),
        },
    ),
    "records": Table(
        "one row per record at the last step: how exposed it is in the models that were trained on it; of all jobs "
        "together, the headline attack's by the attacker that is shown",
        {name: column for name, column in HEAD.items() if name != "design"}
        | {
            "image": Column("integer", "number of the record in the pool, from 0"),
            "label": Column("integer", "its class"),
            "caught": Column("integer", "of the targets trained on it, how many give it away at 1% FPR"),
            "targets": Column("integer", "how many targets were trained on it"),
            "exposure": Column(
                "number", "mean over them: 0 at the threshold of 1% FPR, -1 at a middle non-member"
            ),
            "memorization": Column("number", "how much likelier shadow models trained on it give its label"),
            "memorization_error": Column("number", "its standard error"),
        },
    ),
    "models": Table(
        "one row per model: what trained it, where, for how long, with which settings and on which data",
        {
            "technique": HEAD["technique"],
            "mask": Column("text", "its training set: m000.., or a replicate r000.."),
            "seconds": Column("number", "time of its training job; seconds"),
            "device": Column("text", "what it was trained on"),
            "threads": Column("text", "CPU threads"),
            "torch_version": Column("text", "version of torch"),
            "code_version": Column("text", "version of the training code"),
            "settings": Column("text", "all settings that trained it, as JSON"),
            "pool": Column("text", "digest of the records and labels"),
            "members": Column("text", "digest of its training set"),
        },
    ),
}


def scale_of(quantity: str) -> Scale:
    """Say on which scale a mean over targets has its interval: gaps as they are, losses log, shares logit."""
    if quantity in ("acc_gap", "loss_gap"):
        return "plain"
    return "log" if quantity in ("train_loss", "test_loss") else "logit"


# --- what a file of tables says of itself


def about(study: Study, names: Sequence[str], keys: Sequence[str]) -> dict[str, Any]:
    """Return what tables of these variants are made of: the study's values, and the settings of the models."""
    return {
        "format": FORMAT,
        "study": study.name,
        "settings": {name: study.settings(name) for name in names},
        "values": {key: value for key in keys if (value := _held(study, key)) is not None},
    }


def _held(study: Study, key: str) -> Any:
    """Return a value of the study as JSON has it; None where it is a job's part that does not hold the key."""
    section, _, name = key.partition(".")
    held = getattr(study, section)
    return json.loads(json.dumps(getattr(held, name))) if name in vars(held) else None


def check_about(told: Mapping[str, Any], study: Study, where: str | Path) -> None:
    """Raise LeakgapError where tables are of another study, or of one with other values."""
    if told.get("format") != FORMAT:
        raise LeakgapError(f"{where}: is of another version of leakgap; make it anew")
    if told["study"] != study.name:
        raise LeakgapError(f"{where}: holds the study {told['study']}, not {study.name}")
    for key, value in told["values"].items():
        ours = _held(study, key)
        if ours is not None and ours != value:
            raise LeakgapError(
                f"{where}: {key} is {ours} in the study, and it was made with {value}: make it anew, or put the "
                "study back"
            )
    for name, settings in told["settings"].items():
        compare(settings, study.settings(name), where)


def write_job(
    study: Study, path: str, tables: Mapping[str, pd.DataFrame], job: tuple[str, str], pool: str
) -> None:
    """Write what one attack job found. job: the technique of the targets, and that of their shadow models."""
    checked = {name: table.check(tables[name], name) for name, table in TABLES.items()}
    made_of = about(study, list(dict.fromkeys(job)), OF_JOBS) | {"job": list(job), "pool": pool}
    write_archive(path, checked, made_of)


def join(study: Study, parts: Sequence[str], out: Sequence[str]) -> None:
    """Write the file of tables of all attack jobs, and `summary` and `pooled`, as Parquet or CSV, for people.

    parts: the files of the study's attack jobs, in their order. The row of a model that several of them name is
    kept once. LeakgapError names a file that is missing, damaged, or of another study or job.
    """
    for path in out:
        if Path(path).suffix != ".zip" and Path(path).stem not in PIVOTS:
            raise LeakgapError(f"{path}: is not named like a table; these are {', '.join(PIVOTS)}")
    if len(parts) != len(study.attack_jobs):
        raise LeakgapError(f"--parts: {len(parts)} files for {len(study.attack_jobs)} attack jobs")
    missing = [path for path in parts if not Path(path).is_file()]
    if missing:
        raise LeakgapError(
            f"{missing[0]} is missing: run the attacks first ({len(missing)} of {len(parts)} are not there)"
        )
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    pools: dict[str, str] = {}
    for path, job in zip(parts, study.attack_jobs, strict=True):
        part = Archive(path)
        check_about(part.about, study, path)
        held = part.about.get("job", ["all jobs"])
        if held != list(job):
            raise LeakgapError(f"{path}: is of {' by '.join(held)}, not of {' by '.join(job)}")
        pools[part.about["pool"]] = path
        for name, tables in found.items():
            table = part.table(name)
            if name == "records":
                shown = job[1] == study.shadow(job[0])
                table = table[(table["attack"] == study.attack.headline) & shown]
            tables.append(table)
    if len(pools) > 1:
        one, other = list(pools.values())[:2]
        raise LeakgapError(f"{one} and {other}: their models were trained on different data")
    whole = {name: pd.concat(tables, ignore_index=True) for name, tables in found.items()}
    whole["models"] = whole["models"].drop_duplicates(["technique", "mask"], ignore_index=True)
    made_of = about(study, study.grid.techniques, (*OF_ALL, *OF_JOBS)) | {"pool": next(iter(pools))}
    for path in out:
        if Path(path).suffix == ".zip":
            write_archive(path, whole, made_of)
        else:
            write_pivot(path, PIVOTS[Path(path).stem](study, whole["estimates"]))


def write_pivot(path: str, table: pd.DataFrame) -> None:
    """Write a table for people, Parquet or CSV, whole or not at all."""
    with atomic(path) as temporary:
        if Path(path).suffix == ".csv":
            table.to_csv(temporary, index=False)
        else:
            table.to_parquet(temporary, index=False)


def _named(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    table.insert(0, "study", study.name)
    return table


PIVOTS: dict[str, Callable[[Study, pd.DataFrame], pd.DataFrame]] = {
    "summary": lambda study, rows: _named(study, estimates.of_targets(rows, study.attack.fpr)),
    "halves": lambda study, rows: _named(study, estimates.of_targets(rows, study.attack.fpr, halves=True)),
    "pooled": lambda study, rows: _named(study, estimates.pooled(rows)),
    "shadows": lambda study, rows: _named(study, estimates.shadows(rows)),
    "epsilon": lambda study, rows: _named(study, estimates.epsilon(rows)),
    "thresholds": lambda study, rows: _named(study, estimates.thresholds(rows)),
}


class Cell(NamedTuple):
    """What a pooled TPR is of."""

    technique: str
    step: int
    attacker: str
    attack: str
    design: str = LEAVE_ONE_OUT


class Results:
    """The results of a study, read and checked when they are first asked for.

    Tables, as DataFrames (docs/data-dictionary.md): `estimates`, `draws`, `curves`, `records` and `models`; made of
    the estimates, a row per target or per pooled TPR: `summary`, `halves`, `pooled`, `shadows`, `epsilon` and
    `thresholds`. `contrast` and `difference` compare two cells, paired.

    >>> Results(Study.load({"name": "not-run-yet"})).pooled
    Traceback (most recent call last):
    ...
    leakgap.LeakgapError: results/not-run-yet/results.zip is missing: run the attacks and the summary first
    """

    def __init__(self, study: Study, joined: str | Path | None = None):
        """joined: the file of tables, by default the study's."""
        self.study = study
        self._path = joined or study.paths.results

    @cached_property
    def _archive(self) -> Archive:
        archive = Archive(self._path)
        check_about(archive.about, self.study, self._path)
        if "job" in archive.about:
            raise LeakgapError(f"{self._path}: is of one attack job, not of the study")
        return archive

    @property
    def origin(self) -> str:
        """A word for all that the results hold."""
        return self._archive.digest

    def attacked(self, path: str) -> Pool:
        """Return the pool; LeakgapError where it is not that of the attacked models."""
        pool = read_pool(path)
        if pool.digest != self._archive.about["pool"]:
            raise LeakgapError(f"{path}: does not hold the records that were attacked")
        return pool

    def _table(self, name: str) -> pd.DataFrame:
        return self._archive.table(name)

    def _pivot(self, name: str) -> pd.DataFrame:
        return PIVOTS[name](self.study, self.estimates)

    estimates = cached_property(lambda self: self._table("estimates"))
    draws = cached_property(lambda self: self._table("draws"))
    curves = cached_property(lambda self: self._table("curves"))
    records = cached_property(lambda self: self._table("records"))
    models = cached_property(lambda self: self._table("models"))

    summary = cached_property(lambda self: self._pivot("summary"))
    halves = cached_property(lambda self: self._pivot("halves"))
    pooled = cached_property(lambda self: self._pivot("pooled"))
    shadows = cached_property(lambda self: self._pivot("shadows"))
    epsilon = cached_property(lambda self: self._pivot("epsilon"))
    thresholds = cached_property(lambda self: self._pivot("thresholds"))

    @cached_property
    def means(self) -> pd.DataFrame:
        """Means over targets, of the models and of the headline attack: quantity, fpr, value, low, high, n."""
        quantities = (*GENERALIZATION, "auc", "tpr")
        chosen = (self.estimates["mask"] == ALL) & self.estimates["quantity"].isin(quantities)
        return self.estimates[chosen].drop(columns="mask")

    @cached_property
    def _by_cell(self) -> pd.DataFrame:
        return self.pooled.set_index([*Cell._fields, "fpr"]).sort_index()

    @cached_property
    def _drawn(self) -> dict[tuple, dict[str, Any]]:
        key = (*Cell._fields, "quantity", "fpr")
        rows = self.draws.to_dict("records")
        return {(*(row[name] for name in key[:-1]), f"{row['fpr']:g}"): row for row in rows}

    # --- what is shown

    @property
    def last(self) -> int:
        """The last step."""
        return int(self.pooled["step"].max())

    @cached_property
    def designs(self) -> list[str]:
        """Designs that have targets."""
        present = set(self.pooled["design"])
        return [design for design in MASK_PREFIX if design in present]

    def shown(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `study.attacker`; on the baseline both attackers are the same, filed as informed."""
        baseline = frame["technique"] == self.study.attack.baseline
        return frame[(frame["attacker"] == self.study.attacker) | baseline]

    def targets(
        self, design: str = LEAVE_ONE_OUT, attack: str | None = None, *, halves: bool = False
    ) -> pd.DataFrame:
        """Return one row per target and step: one attack (the headline by default), the attacker that is shown.

        halves: generalization from one half of the images, TPR from the other.
        """
        rows = self.shown(self.halves if halves else self.summary)
        rows = rows[rows["attack"] == (attack or self.study.attack.headline)]
        return rows[rows["mask"].str.startswith(MASK_PREFIX[design])]

    def cell(
        self,
        technique: str,
        step: int | None = None,
        attacker: str | None = None,
        attack: str | None = None,
        design: str = LEAVE_ONE_OUT,
    ) -> Cell:
        """Name a cell: by default the last step, the attacker that is shown, the headline attack."""
        attacker = (
            "informed" if technique == self.study.attack.baseline else (attacker or self.study.attacker)
        )
        return Cell(technique, step or self.last, attacker, attack or self.study.attack.headline, design)

    # --- one estimand, one interval

    def row(self, cell: Cell, fpr: float) -> pd.Series:
        """Return the row of `pooled`; KeyError where there is none."""
        return at_fpr(self._by_cell.xs(tuple(cell)).reset_index(), fpr).iloc[0]

    def replicated(self, cell: Cell, fpr: float) -> Estimate:
        """Return a pooled TPR with its bootstrap draws; KeyError where these are not kept."""
        return self._estimate(cell, "pooled_tpr", fpr, "logit")

    def _estimate(self, cell: Cell, quantity: str, fpr: float | None, scale: Scale) -> Estimate:
        row = self._drawn[*cell, quantity, "nan" if fpr is None else f"{fpr:g}"]
        draws: dict[Drawn, np.ndarray] = {
            kind: np.asarray(row[kind], np.float64) for kind in DRAWN if len(row[kind])
        }
        units = int(row["n_targets"]) // _per_unit(cell)
        return Estimate.of_draws(row["value"], draws, units, int(row["n_pairs"]), scale)

    def contrast(
        self,
        first: Cell | Sequence[Cell],
        second: Cell | Sequence[Cell],
        fpr: float,
        function: Literal["ratio", "difference"] = "ratio",
        *,
        comparisons: int = 1,
        level: float = 0.95,
    ) -> Estimate:
        """Return first / second or first - second of pooled TPRs, paired, with the interval of `measure.contrast`.

        Several cells stand for their mean, geometric in a ratio. comparisons: how many such intervals are to hold
        together (Bonferroni). KeyError where a cell has no draws.
        """
        firsts, seconds = (
            [self.replicated(cell, fpr) for cell in ([side] if isinstance(side, Cell) else side)]
            for side in (first, second)
        )
        return measured.contrast(firsts, seconds, function, 1 - (1 - level) / comparisons)

    def mean(self, cell: Cell, quantity: str, fpr: float | None = None) -> Estimate:
        """Return a mean over targets with its bootstrap draws; KeyError where there is none.

        quantity: train_acc, test_acc, train_loss, test_loss, acc_gap, loss_gap, auc, or tpr at an FPR; of the
        headline attack.
        """
        of_models = quantity in GENERALIZATION
        return self._estimate(
            cell._replace(attack=NO_ATTACK) if of_models else cell, quantity, fpr, scale_of(quantity)
        )

    def difference(
        self,
        first: Cell,
        second: Cell,
        quantity: str,
        fpr: float | None = None,
        *,
        comparisons: int = 1,
        level: float = 0.95,
    ) -> Estimate:
        """Return first - second of a mean over targets, paired: techniques share mask pairs, images and draws.

        comparisons: how many such intervals are to hold together (Bonferroni). KeyError as `mean`.
        """
        change = self.mean(first, quantity, fpr) - self.mean(second, quantity, fpr)
        return interval(change, 1 - (1 - level) / comparisons)

    def exposures(self, among: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the table of records, of the techniques in `among` or of all."""
        techniques = self.study.grid.techniques if among is None else list(among)
        return self.records[self.records["technique"].isin(techniques)]


def _per_unit(cell: Cell) -> int:
    """How many targets are resampled as one: a mask pair's two, or single replicates."""
    return 2 if cell.design == LEAVE_ONE_OUT else 1
