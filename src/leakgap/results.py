"""The results of a study: the schema of every joined table, declared once, and the one reader of them.

Attack jobs write tables, `join` joins them, and whatever is shown (tables, figures, claims, report, comparisons)
comes from `Results`, which knows the headline attack, the attacker, the designs and the FPRs, and gives every
pooled TPR and every contrast of them its one interval.

A file's metadata holds a digest of what is in it, which table it is, and its `origin`: a word for what one attack
job has read, and in a joined table the words of all jobs. Tables of different origin are never read together. A
table that somebody else has written has none of these; its rows must be those that the study has, as any table's.

Designs: `leave-one-out`, every model of the grid in turn the target; `replicates`, further models on mask 0.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas.api import types

from leakgap import LeakgapError
from leakgap.data.pool import Pool, read_pool
from leakgap.files import atomic
from leakgap.measure import contrast as measured
from leakgap.measure.estimate import KINDS, Estimate, Scale, interval
from leakgap.measure.estimate import Kind as Drawn
from leakgap.study import Study, attacker
from leakgap.study.variant import compare

__all__ = ["LEAVE_ONE_OUT", "REPLICATES", "TABLES", "Cell", "Results", "join", "read", "write"]

LEAVE_ONE_OUT, REPLICATES = "leave-one-out", "replicates"
MASK_PREFIX = {LEAVE_ONE_OUT: "m", REPLICATES: "r"}  # of a design's targets
FPR_TOLERANCE = 1e-9  # relative; FPRs of a study differ by more
UNKNOWN = "unknown"  # what models written by others may leave out
DIGEST, KIND, ORIGIN = b"leakgap sha256", b"leakgap table", b"leakgap origin"

Kind = Literal["text", "integer", "number", "numbers"]  # numbers: an array in every cell
Columns = dict[str, Kind]
CHECKS: dict[Kind, Callable[[pd.Series], bool]] = {
    "text": types.is_string_dtype,
    "integer": types.is_integer_dtype,
    "number": types.is_float_dtype,
    "numbers": types.is_object_dtype,
}


def _each(kind: Kind, *names: str) -> Columns:
    return dict.fromkeys(names, kind)


HEAD: Columns = {
    "study": "text",
    "technique": "text",
    "step": "integer",
    "epoch": "integer",
    "attacker": "text",
    "attack": "text",
}
MEANS = ("train_acc", "test_acc", "train_loss", "test_loss", "acc_gap", "loss_gap")
OF_TARGETS: Columns = {
    **{"study": "text", "technique": "text", "mask": "text", "step": "integer", "epoch": "integer"},
    **{"attacker": "text", "attack": "text", "n_members": "integer", "n_nonmembers": "integer"},
    **_each("number", *MEANS, "auc", "balanced_acc"),
}
EPSILONS: Columns = _each("number", "epsilon", "together", "recipe", "recipe_gaussian")
OF_RECORDS = ("records_tpr", "records_low", "records_high")  # beside persons', where records have groups
TPR_INTERVAL: Columns = {"fpr": "number", "tpr": "number", "low": "number", "high": "number"}


@dataclass(frozen=True)
class Table:
    """What a joined table holds: columns in order, and those that tell its rows apart.

    With `per_fpr`, one further column `tpr_at_<fpr>` for each FPR of the study. Rows are of all attacks with
    `every_attack`, else of the headline attack at least; of all steps and targets, with `last` of the last step and
    the masks alone. `free`: the column of the key that the study does not set.
    """

    holds: str
    columns: Columns
    key: tuple[str, ...]
    free: str = ""
    every_attack: bool = False
    last: bool = False
    per_fpr: bool = False
    of_records: bool = False  # also columns OF_RECORDS, in a study whose records have groups

    def check(self, frame: pd.DataFrame, where: str | Path) -> pd.DataFrame:
        """Return the frame; LeakgapError naming file and column where it is not such a table."""
        names = [str(name) for name in frame]
        own = [name for name in names if not (self.per_fpr and name.startswith("tpr_at_"))]
        for name in self.columns:
            if name not in own:
                raise LeakgapError(f"{where}: has no column {name}")
        strange = [
            name for name in own if name not in {*self.columns, *(OF_RECORDS if self.of_records else ())}
        ]
        if strange:
            raise LeakgapError(f"{where}: has an unknown column {strange[0]}")
        kinds = {name: self.columns.get(name, "number") for name in names}
        for name, kind in kinds.items():
            if len(frame) and not CHECKS[kind](frame[name]):
                raise LeakgapError(f"{where}: column {name} holds {frame[name].dtype}, not {kind}")
        twice = frame.duplicated(list(self.key))
        if twice.any():
            row = ", ".join(frame.loc[twice, list(self.key)].iloc[0].astype(str))
            raise LeakgapError(f"{where}: two rows for {row}")
        return frame


TABLES: dict[str, Table] = {
    "summary": Table(
        "one row per target, step, attacker and attack: its generalization, and how it is attacked",
        OF_TARGETS,
        ("technique", "mask", "step", "attacker", "attack"),
        every_attack=True,
        per_fpr=True,
    ),
    "halves": Table(
        "as summary, of the headline attack: generalization on one half of the images, attack on the other",
        OF_TARGETS,
        ("technique", "mask", "step", "attacker", "attack"),
        per_fpr=True,
    ),
    "pooled": Table(
        "TPR of all pairs (model, image) of a technique and step under one threshold, with its 95% interval",
        HEAD | {"design": "text"} | TPR_INTERVAL | _each("integer", "n_targets", "n_members", "n_nonmembers"),
        ("technique", "step", "attacker", "attack", "design", "fpr"),
        every_attack=True,
        of_records=True,
    ),
    "means": Table(
        "mean over the targets of a technique and step of what `summary` says of each, of the headline attack, "
        "with its 95% interval and its bootstrap draws by what was resampled",
        HEAD
        | {"design": "text", "quantity": "text"}
        | _each("number", "value", "low", "high")
        | _each("integer", "n_targets", "n_pairs")
        | _each("numbers", *KINDS),
        ("technique", "step", "attacker", "attack", "design", "quantity"),
    ),
    "draws": Table(
        "bootstrap draws of pooled TPRs, by what was resampled: the headline attack; all attacks at the last step, "
        "and at every step of models trained without augmentation",
        HEAD | _each("text", "design", "resampled") | _each("number", "fpr") | _each("numbers", "tprs"),
        ("technique", "step", "attacker", "attack", "design", "fpr", "resampled"),
    ),
    "curves": Table(
        "points of pooled ROC curves",
        HEAD | {"design": "text", "fpr": "number", "tpr": "number"},
        ("technique", "step", "attacker", "attack", "design", "fpr"),
        free="fpr",
    ),
    "shadows": Table(
        "pooled TPR of the headline attack and of lira-pooled at the last step by the number of shadow models",
        HEAD | {"n_shadows": "integer"} | TPR_INTERVAL,
        ("technique", "step", "attacker", "attack", "n_shadows", "fpr"),
        free="n_shadows",
        last=True,
    ),
    "epsilon": Table(
        "one row per target at the last step, of the headline attack: right guesses of the members among matches, "
        "the lower bound of epsilon at 95%, and the one that holds together with all targets' of the technique; in "
        "every row the bounds that all models give together, for delta 0 and for a Gaussian hypothesis",
        HEAD
        | {"mask": "text"}
        | _each("integer", "matches", "guesses", "right", "recipe_guesses", "recipe_right")
        | EPSILONS,
        ("technique", "mask", "step", "attacker", "attack"),
        last=True,
    ),
    "thresholds": Table(
        "one row per target and FPR at the last step, of the headline attack: the threshold with this FPR on the "
        "shadow models, each attacked by the others, and the FPR and TPR that it achieves on the target",
        HEAD | {"mask": "text"} | _each("number", "fpr", "threshold", "achieved_fpr", "achieved_tpr"),
        ("technique", "mask", "step", "attacker", "attack", "fpr"),
        last=True,
    ),
    "models": Table(
        "what trained every model, where, for how long, with which settings (JSON), on which data (digests)",
        _each("text", "technique", "mask")
        | _each("number", "seconds")
        | _each("text", "device", "threads", "torch_version", "code_version", "settings", "pool", "members"),
        ("technique", "mask"),
    ),
    "exposure": Table(
        "one row per image: of the targets trained on it, how many give it away at 1% FPR, its mean exposure in "
        "them, and how much the shadow models memorize it",
        HEAD
        | _each("integer", "image", "label", "caught", "targets")
        | _each("number", "exposure", "memorization", "memorization_error"),
        ("technique", "step", "attacker", "attack", "image"),
        free="image",
        last=True,
    ),
}
SET_BY = {  # columns that rows are told apart by, and the keys of the study file that set what is in them
    "technique": "grid.techniques",
    "attacker": "attack.attackers",
    "attack": "attack.attacks",
    "mask": "grid.masks or grid.replicates",
    "design": "grid.replicates",
    "step": "train.steps",
    "fpr": "attack.fpr",
    "quantity": "attack.fpr",
    "resampled": "attack.bootstrap",
}


def table_of(path: str | Path) -> Table:
    """Return what the table that a path's stem names holds; LeakgapError for another name."""
    if Path(path).stem not in TABLES:
        raise LeakgapError(f"{path}: is not named like a table; these are {', '.join(TABLES)}")
    return TABLES[Path(path).stem]


def check_rows(
    study: Study, path: str | Path, frame: pd.DataFrame, job: tuple[str, str] | None = None
) -> None:
    """Raise LeakgapError where a table lacks rows that the study asks for, or has rows of what it doesn't have.

    job: (technique, shadow technique) of the attack job that the table is of, by default all jobs of the study.
    """
    table, last = table_of(path), len(study.train.steps)
    pairs = [
        (technique, attacker(technique, shadow))
        for technique, shadow in ([job] if job else study.attack_jobs)
    ]
    known: dict[str, Iterable[object]] = {
        "technique": [technique for technique, _ in pairs],
        "attacker": [name for _, name in pairs],
        "attack": study.attack.attacks,
        "mask": study.masks if table.last else study.models,
        "design": designs_of(study),
        "step": [last] if table.last else range(1, last + 1),
        "fpr": map("{:g}".format, study.attack.fpr),
        "quantity": [*MEANS, "auc", *map(tpr_column, study.attack.fpr)],
        "resampled": KINDS,
    }
    rates = {str(name) for name in frame if str(name).startswith("tpr_at_")} if table.per_fpr else set()
    for name in sorted(rates ^ set(map(tpr_column, study.attack.fpr) if table.per_fpr else ())):
        odd = "an unknown" if name in rates else "no"
        raise LeakgapError(f"{path}: has {odd} column {name}: attack.fpr changed since; attack anew")
    columns = [name for name in SET_BY if name in table.key and name != table.free]
    allowed = {name: [str(value) for value in known[name]] for name in columns}
    asked = allowed if table.every_attack else allowed | {"attack": [study.attack.headline]}
    rows = frame[columns].drop_duplicates()
    held = {name: rows[name].map("{:g}".format if name == "fpr" else str) for name in columns}
    for name in columns:
        strange, lacking = set(held[name]) - set(allowed[name]), set(asked[name]) - set(held[name])
        if strange or lacking:
            odd = f"holds {min(strange)}" if strange else f"lacks {min(lacking)}"
            raise LeakgapError(
                f"{path}: its column {name} {odd}: it is not whole, or {SET_BY[name]} changed since; attack anew"
            )
    found = set(zip(*held.values(), strict=True))
    own = [pair if "attacker" in columns else pair[:1] for pair in pairs]
    for job_row, rest in product(own, product(*(asked[name] for name in columns[len(own[0]) :]))):
        row = (*job_row, *rest)
        if row not in found:
            raise LeakgapError(f"{path}: is not whole: it has no row for {', '.join(row)}; attack anew")


def scale_of(quantity: str) -> Scale:
    """Say on which scale a mean over targets has its interval: gaps as they are, losses log, shares logit."""
    return "plain" if quantity.endswith("_gap") else "log" if quantity.endswith("_loss") else "logit"


def designs_of(study: Study) -> list[str]:
    """Return the designs that a study has targets of."""
    return [LEAVE_ONE_OUT, REPLICATES] if study.grid.replicates else [LEAVE_ONE_OUT]


def tpr_column(fpr: float) -> str:
    """Name the column of the TPR at an FPR: 0.001 -> tpr_at_0.001."""
    return f"tpr_at_{fpr:g}"


def at_fpr(frame: pd.DataFrame, fpr: float) -> pd.DataFrame:
    """Return the rows at one FPR."""
    return frame[np.isclose(frame["fpr"], fpr, rtol=FPR_TOLERANCE, atol=0)]


def write(path: str | Path, frame: pd.DataFrame, origin: str | None = None) -> None:
    """Write the table that the path's stem names, Parquet or CSV, whole or not at all."""
    path = Path(path)
    table_of(path).check(frame, path)
    with atomic(path) as temporary:
        if path.suffix == ".csv":
            frame.to_csv(temporary, index=False)
            return
        table = pa.Table.from_pandas(frame, preserve_index=False)
        about = {DIGEST: _digest(frame, origin).encode(), KIND: path.stem.encode()}
        about |= {ORIGIN: origin.encode()} if origin else {}
        table = table.replace_schema_metadata(table.schema.metadata | about)
        pq.write_table(table, temporary, write_page_checksum=True)


def read(path: str | Path) -> pd.DataFrame:
    """Read the table that the path's stem names; LeakgapError when it is missing, damaged or another table."""
    return read_with_origin(path)[0]


def read_with_origin(path: str | Path) -> tuple[pd.DataFrame, str | None]:
    """Return what `read` returns, and the origin that it was written with, if any."""
    expected = table_of(path)
    if not Path(path).is_file():
        raise LeakgapError(f"{path} is missing: run the attacks and the summary first")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        about = table.schema.metadata or {}
        frame, origin = table.to_pandas(), about.get(ORIGIN, b"").decode() or None
        kind = about.get(KIND, b"").decode()
        intact = DIGEST not in about or about[DIGEST] == _digest(frame, origin).encode()
    except Exception as error:  # a damaged file makes pyarrow raise nearly anything
        reason = str(error).partition("\n")[0]
        raise LeakgapError(f"{path}: not a readable Parquet file ({reason})") from None
    if kind not in ("", Path(path).stem):
        raise LeakgapError(f"{path}: holds the table {kind}, not {Path(path).stem}")
    frame = expected.check(frame, path)
    if not intact:
        raise LeakgapError(f"{path}: is damaged, its content is not as it was written")
    return frame, origin


def _digest(frame: pd.DataFrame, origin: str | None) -> str:
    """Return the SHA-256 of names and values; a wider type of number changes nothing, a lost digit does."""
    whole = hashlib.sha256(f"{origin} {len(frame)} ".encode())
    for name in frame:
        column, kind = frame[name], "text"
        if types.is_numeric_dtype(column):
            kind = "float64" if types.is_float_dtype(column) else "int64"
            values = _bits(column.to_numpy(), kind)
        elif len(column) and isinstance(column.iloc[0], np.ndarray):
            kind = " ".join(str(len(cell)) for cell in column)
            values = _bits(np.concatenate(list(column)), "float64")
        else:
            codes, texts = pd.factorize(column)
            values = _bits(codes, "int64") + "\0".join(map(str, texts)).encode()
        whole.update(f"{name} {kind} ".encode() + values)
    return whole.hexdigest()


def _bits(values: np.ndarray, kind: str) -> bytes:
    """Return the bytes of numbers of a type; there are many NaNs, and one of them stands for all."""
    values = values.astype(kind)
    return np.where(np.isnan(values), np.nan, values).astype(kind).tobytes()


def join(study: Study, parts: Sequence[str], out: Sequence[str]) -> None:
    """Write each file of `out`, Parquet or CSV, from the files in `parts` of its stem, in their order.

    The row of a model that several attack jobs name is kept once. LeakgapError names a file that is missing, or
    one that is of another study, another job or another run of its job than the files beside it, or a table
    that is not whole.
    """
    missing = [path for path in parts if not Path(path).is_file()]
    if missing:
        raise LeakgapError(
            f"{missing[0]} is missing: run the attacks first ({len(missing)} of {len(parts)} tables are not there)"
        )
    tables: dict[str, list[pd.DataFrame]] = {}
    first: dict[Path, tuple[str, str | None]] = {}  # by the folder of a job: a table of it, and its origin
    for path in parts:
        frame, origin = _of_study(study, path)
        other, expected = first.setdefault(Path(path).parent, (path, origin))
        if None not in (origin, expected) and origin != expected:
            raise LeakgapError(f"{path}: was not made together with {other}; attack anew")
        tables.setdefault(Path(path).stem, []).append(frame)
    whole = {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}
    lacking = [path for path in [*out, "models"] if Path(path).stem not in whole]
    if lacking:
        raise LeakgapError(f"--parts: has no {Path(lacking[0]).stem}.parquet of any attack job")
    whole["models"] = whole["models"].drop_duplicates(["technique", "mask"], ignore_index=True)
    check_models(study, whole["models"], "the models of the attack jobs")
    for path in out:
        check_rows(study, path, whole[Path(path).stem])
    origins = [origin or "unknown" for _, origin in first.values()]
    for path in out:
        write(path, whole[Path(path).stem], " ".join(origins))


def check_models(study: Study, models: pd.DataFrame, where: str | Path) -> None:
    """Raise LeakgapError where models were made with other settings than the study has, or on several pools."""
    pools = sorted(set(models["pool"]) - {UNKNOWN})
    if len(pools) > 1:
        raise LeakgapError(f"{where}: were trained on different data (pools {' and '.join(pools[:2])})")
    for technique, rows in models.groupby("technique", sort=False):
        expected = study.settings(str(technique))
        for text in rows["settings"].unique():
            try:
                told = json.loads(text)
            except ValueError:
                told = None
            if not isinstance(told, dict):
                raise LeakgapError(f"{where}: its column settings holds no JSON object")
            compare(told, expected, where)


def _of_study(study: Study, path: str | Path) -> tuple[pd.DataFrame, str | None]:
    """Read a table; LeakgapError where it is of another study."""
    frame, origin = read_with_origin(path)
    if "study" in frame and len(frame) and set(frame["study"]) != {study.name}:
        raise LeakgapError(f"{path}: holds the study {frame['study'].iloc[0]}, not {study.name}")
    return frame, origin


class Cell(NamedTuple):
    """What a pooled TPR is of."""

    technique: str
    step: int
    attacker: str
    attack: str
    design: str = LEAVE_ONE_OUT


class Results:
    """The joined tables of a study, each read and checked when it is first asked for.

    `summary`, `pooled`, `means` and the others are DataFrames; `contrast` and `difference` compare two
    cells, paired.

    >>> Results(Study.load({"name": "not-run-yet"})).pooled
    Traceback (most recent call last):
    ...
    leakgap.LeakgapError: results/not-run-yet/pooled.parquet is missing: run the attacks and the summary first
    """

    def __init__(self, study: Study, joined: Iterable[str] | None = None):
        """joined: the files, by default those of the study."""
        self.study = study
        self._paths = {Path(path).stem: path for path in (joined or study.paths.all_joined)}
        self._first: tuple[str, str] | None = None  # a table that was read, and its origin

    def table(self, name: str) -> pd.DataFrame:
        """Return a whole table, all attacks, attackers and designs.

        LeakgapError where it is not whole or not of the study, or where the models were not made as the study says:
        whatever is read, they are checked.
        """
        if name not in self._paths:
            raise LeakgapError(f"--joined: {name}.parquet is not among the joined tables")
        path = self._paths[name]
        frame, origin = _of_study(self.study, path)
        if origin is not None:
            other, expected = self._first = self._first or (path, origin)
            if origin != expected:
                raise LeakgapError(f"{path}: was not made together with {other}; run the summary anew")
        check_rows(self.study, path, frame)
        if name == "models":
            check_models(self.study, frame, path)
        else:
            _ = self.models
        return frame

    @property
    def origin(self) -> str:
        """A word for every attack job that the tables were joined from; empty where they don't say."""
        _ = self.pooled
        return self._first[1] if self._first else ""

    def attacked(self, path: str, exposure: pd.DataFrame) -> Pool:
        """Return the pool; LeakgapError where it is not that of the attacked models, as far as they tell."""
        pool = read_pool(path)
        told = set(self.models["pool"]) - {UNKNOWN}
        records = exposure.drop_duplicates("image")
        known = len(records) == 0 or records["image"].max() < len(pool.labels)
        if told - {pool.digest} or not known or (pool.labels[records["image"]] != records["label"]).any():
            raise LeakgapError(f"{path}: does not hold the records that were attacked")
        return pool

    def exposures(self, paths: Sequence[str], among: Iterable[str] | None = None) -> pd.DataFrame:
        """Return the headline attack's rows of exposed images, of the techniques in `among` or of all.

        paths: a file per technique of the grid, in its order.
        """
        techniques = self.study.grid.techniques
        if len(paths) != len(techniques):
            raise LeakgapError(f"--exposures: {len(paths)} files for {len(techniques)} techniques")
        chosen = set(techniques if among is None else among)
        files = [pair for pair in zip(techniques, paths, strict=True) if pair[0] in chosen]
        rows = pd.concat([self.exposure(*pair) for pair in files], ignore_index=True)
        return rows[rows["attack"] == self.study.attack.headline]

    def exposure(self, technique: str, path: str) -> pd.DataFrame:
        """Return a technique's table of exposed images; LeakgapError if the file is another's."""
        frame, origin = _of_study(self.study, path)
        shadow = self.study.shadow(technique)
        asked = technique, attacker(technique, shadow)
        if set(zip(frame["technique"], frame["attacker"], strict=True)) != {asked}:
            raise LeakgapError(f"{path}: is not of {' '.join(asked)}")
        check_rows(self.study, path, frame, (technique, shadow))
        if origin is not None and self.origin and origin not in self.origin.split():
            raise LeakgapError(f"{path}: is not of the attack jobs that the summary has joined; run it anew")
        return frame

    summary = cached_property(lambda self: self.table("summary"))
    halves = cached_property(lambda self: self.table("halves"))
    pooled = cached_property(lambda self: self.table("pooled"))
    means = cached_property(lambda self: self.table("means"))
    curves = cached_property(lambda self: self.table("curves"))
    shadows = cached_property(lambda self: self.table("shadows"))
    epsilon = cached_property(lambda self: self.table("epsilon"))
    thresholds = cached_property(lambda self: self.table("thresholds"))
    models = cached_property(lambda self: self.table("models"))

    @cached_property
    def _by_cell(self) -> pd.DataFrame:
        return self.pooled.set_index([*Cell._fields, "fpr"]).sort_index()

    @cached_property
    def _draws(self) -> dict[tuple, np.ndarray]:
        frame = self.table("draws")
        key = zip(*(frame[name] for name in (*Cell._fields, "fpr", "resampled")), strict=True)
        return dict(zip(key, frame["tprs"], strict=True))

    @cached_property
    def _means(self) -> dict[tuple, dict[str, Any]]:
        key = (*Cell._fields, "quantity")
        return {tuple(row[str(name)] for name in key): row for row in self.means.to_dict("records")}

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
        row = self.row(cell, fpr)
        draws = {kind: self._draws[*cell, row["fpr"], kind] for kind in KINDS}
        units = int(row["n_targets"]) // _per_unit(cell)
        return Estimate.of_draws(row["tpr"], draws, units, int(row["n_members"]), "logit")

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

    def mean(self, cell: Cell, quantity: str) -> Estimate:
        """Return a mean over targets with its bootstrap draws; KeyError where there is none.

        quantity: train_acc, test_acc, train_loss, test_loss, acc_gap, loss_gap, auc, or `tpr_column` of an FPR; of
        the headline attack.
        """
        row = self._means[*cell, quantity]
        units = int(row["n_targets"]) // _per_unit(cell)
        draws: dict[Drawn, np.ndarray] = {kind: row[kind].astype(np.float64) for kind in KINDS}
        if quantity in MEANS and len(draws["images"]) != len(draws["models"]):
            draws["groups"] = draws.pop("images")  # of records that belong to groups, each left out in turn
        return Estimate.of_draws(row["value"], draws, units, int(row["n_pairs"]), scale_of(quantity))

    def difference(
        self, first: Cell, second: Cell, quantity: str, *, comparisons: int = 1, level: float = 0.95
    ) -> Estimate:
        """Return first - second of a mean over targets, paired: techniques share mask pairs, images and draws.

        comparisons: how many such intervals are to hold together (Bonferroni). KeyError as `mean`.
        """
        change = self.mean(first, quantity) - self.mean(second, quantity)
        return interval(change, 1 - (1 - level) / comparisons)


def _per_unit(cell: Cell) -> int:
    """How many targets are resampled as one: a mask pair's two, or single replicates."""
    return 2 if cell.design == LEAVE_ONE_OUT else 1
