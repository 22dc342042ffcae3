"""What one model answers about records, read from a file and brought to what attacks take.

What a file may hold, and what becomes of each kind of answer, is `leakgap.answers.kinds`' affair; here stand the
records, who was a member, and how several answers about one record are put side by side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from leakgap import LeakgapError
from leakgap.answers.grid import is_grids, read_grids
from leakgap.answers.kinds import KINDS, LABELLED, Rows, Signal
from leakgap.answers.reading import IDS, LISTS, MATRICES, How, is_known, part_of_matrix, read_columns
from leakgap.arguments import untensored

__all__ = ["Answers"]

NO_IDS = (list, tuple, set, frozenset, dict, np.ndarray)
ALONE = ("log_density", "score", "prediction")  # kinds with no probability: never beside another kind


@dataclass(frozen=True, repr=False)
class Answers:
    """One model's answers about S records, over V views of each (V = 1 in most files).

    Read a file with `Answers.read`, or bring your own arrays to `Answers.of`. Records are in the order of the
    file.

    Examples
    --------
    >>> import numpy as np
    >>> answers = Answers.of(
    ...     {"record": ["a", "b"], "label": [0, 2], "probabilities": [[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]}
    ... )
    >>> answers.phi[:, 0].round(4), np.log([0.5 / 0.5, 0.8 / 0.2]).round(4)
    (array([0.    , 1.3863], dtype=float32), array([0.    , 1.3863]))
    """

    name: str  # the file, as errors and reports call it
    kind: str  # one of kinds.KINDS, or "regression": numbers predicted
    record: np.ndarray  # int64 or str [S]: ids, each once
    label: np.ndarray  # int64 or str [S]; zeros where the answers are about none
    member: np.ndarray | None  # bool [S]; None: not known
    reserved: np.ndarray | None  # bool [S]: records set aside, in no model's training set; None: none are
    phi: (
        np.ndarray | None
    )  # float32 [S, V], infinite where the answer is exactly 0 or 1; None for predictions
    logits: np.ndarray | None  # float32 [S, C] of the first view, -inf where a probability is 0
    correct: (
        np.ndarray | None
    )  # bool [S], first view: is the label the prediction? None where that can't be told
    code: np.ndarray | None = (
        None  # int64 [S]: the number of the label's class, where the answers know classes
    )
    class_names: tuple[str, ...] | None = None  # of the columns of logits, where they are named by class
    group: np.ndarray | None = (
        None  # int64 or str [S]: whose record it is, such as a patient; None: each its own
    )
    slice: np.ndarray | None = None  # int64 or str [S]: a part of the records that is looked at by itself
    signals: Mapping[str, np.ndarray] = field(
        default_factory=dict
    )  # float32 [S]: further numbers about a record
    view_names: tuple[str, ...] | None = None  # of a record's answers, in their order; None: each has one
    step: str | None = None  # of training, where that is known

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        separator: str | None = None,
        decimal: str | None = None,
        positive: str | None = None,
        step: int | None = None,
    ) -> Answers:
        """Read a Parquet, CSV or .npz file: one row a record, or one for each record and view.

        Columns: `record` (any id), and what the model answered, the first of these that there is:

        - `logits` or `probabilities`: a list, or columns logits_0, logits_1, ..., or columns named by class,
          logit_cat or probability_cat; of the probabilities all but the top k may be missing;
        - `probability` of the positive one of two labels;
        - `phi`, or `loss` (cross-entropy in nats), or `log_density`;
        - `tokens`: the log-probabilities of a sequence's tokens, a list of any length;
        - `score`: any number, such as a risk;
        - `prediction`: a class, or a number beside a `label` that is a number.

        `label` is the number of a class from 0 beside numbered columns, a name beside named ones, otherwise
        anything; kinds that need none may lack it. `labels` (lists of 0 and 1) beside as many probabilities are
        several labels of one record. `member` (bool) says which records the model was trained on. Several answers
        about one record are rows that a column `view` tells apart. `reserved` (bool) marks records that were set
        aside from the training of every model. `group` says whose record it is, `slice` which part it is of.

        Several moments of training are rows that a column `step` tells apart, of which one is read. A file of a
        study's own, results/<study>/logits/<technique>/<mask>.parquet, is read with the study's masks.

        separator, decimal: of a CSV file, where they are not found out; positive: the label that `probability` is
        of; step: the moment of training, by default the last. Raises LeakgapError, naming the file and the column,
        for anything that can't be right.
        """
        if is_grids(Path(path)):
            return cls(**read_grids(Path(path), step))
        columns = read_columns(path, How(separator, decimal))
        return cls.of(columns, name=str(path), positive=positive, step=step)

    @classmethod
    def of(
        cls,
        columns: Mapping[str, object],
        name: str = "answers",
        *,
        positive: str | None = None,
        step: int | None = None,
    ) -> Answers:
        """Make answers of arrays, a DataFrame or anything that maps the columns of `read` to their values."""
        given = [key for key in columns if is_known(key) and columns[key] is not None]
        known = {key: _array(name, key, columns[key]) for key in given}
        told = None if positive is None else str(positive)
        if "step" not in known:
            if step is not None:
                raise LeakgapError(f"{name}: has no column 'step', and step {step} is asked for")
            return _answers(name, *_side_by_side(name, known), told)
        at, several, known = _at_step(name, known, step)
        name = f"{name} at step {at}" if several else name
        return replace(_answers(name, *_side_by_side(name, known), told), step=at)

    def __repr__(self) -> str:
        return f"Answers({self.name!r}, {self.kind} of {len(self.record)} records, {self.views} views)"

    @property
    def views(self) -> int:
        """Number of answers about a record."""
        return 1 if self.phi is None else self.phi.shape[1]

    @property
    def classes(self) -> int | None:
        """Number of classes; None where the answers don't say."""
        return None if self.logits is None else self.logits.shape[1]

    @property
    def has_probability(self) -> bool:
        """Whether phi is of the probability of a record's one label."""
        several = self.kind == "probabilities" and self.logits is None
        return not several and self.kind not in (*ALONE, "regression")


def _array(name: str, column: str, values: object) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray):
        masked: Any = values
        values = masked.filled(np.nan) if masked.dtype.kind == "f" else masked.astype(object).filled(None)
    values = untensored(values)
    if isinstance(values, pa.Array | pa.ChunkedArray):
        values = values.to_pylist()
    if (
        isinstance(values, str | bytes)
        or not hasattr(values, "__len__")
        or getattr(values, "shape", None) == ()
    ):
        raise LeakgapError(f"{name}: {column} is one value, not one for every record")
    if column in LISTS:
        return _lists(name, column, values)
    if isinstance(values, np.ndarray):
        return _without_structure(name, column, np.asarray(values))
    if isinstance(values, pd.Series):
        values = (
            values.astype(object).where(values.notna(), None).tolist()
            if values.isna().any()
            else values.tolist()
        )
    else:
        values = untensored(list(values))  # type: ignore[call-overload]
    try:
        return np.array(values, dtype=object) if column in IDS else np.asarray(values)
    except ValueError:  # lists of unequal lengths
        raise LeakgapError(f"{name}: {column} does not have as many values for every record") from None


def _without_structure(name: str, column: str, values: np.ndarray) -> np.ndarray:
    if values.dtype.names is not None:
        raise LeakgapError(f"{name}: {column} holds records of several fields, not one value for every row")
    return values


def _lists(name: str, column: str, values: object) -> np.ndarray:
    """Return lists of any lengths as an array of arrays."""
    try:
        lists = [np.asarray(untensored(each), np.float64) for each in values]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise LeakgapError(f"{name}: {column} does not hold a list of numbers in every row") from None
    found = np.empty(len(lists), object)
    found[:] = lists
    return found


def _at_step(
    name: str, columns: dict[str, np.ndarray], wanted: int | None
) -> tuple[str, bool, dict[str, np.ndarray]]:
    """Return a step, by default the last, whether there are others, and its rows without the column `step`."""
    step = columns["step"]
    if step.dtype.kind == "O":
        step = np.array([np.nan if each is None else each for each in step.tolist()])
    if step.dtype.kind not in "iuf" or not np.isfinite(step).all() or not len(step):
        raise LeakgapError(f"{name}: step does not hold a number in every row")
    every = [f"{each:g}" for each in np.unique(step)]
    if step.ndim > 1:
        raise LeakgapError(f"{name}: step does not hold a number in every row")
    if wanted is not None and wanted not in step:
        raise LeakgapError(f"{name}: has no step {wanted}, only {', '.join(every[:12])}")
    if len({len(values) for values in columns.values()}) > 1:
        raise LeakgapError(f"{name}: its columns are not equally long")
    at = step.max() if wanted is None else wanted
    rows = {key: values[step == at] for key, values in columns.items() if key != "step"}
    return f"{at:g}", len(every) > 1, rows


def _side_by_side(
    name: str, columns: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], tuple[str, ...] | None]:
    """Return columns of classes as one array `logits` or `probabilities`, and the names of classes that have any.

    Named classes are in alphabetical order, whatever the order of the columns: they are the same in every file.
    """
    found = {key: values for key, values in columns.items() if part_of_matrix(key) is None}
    classes: tuple[str, ...] | None = None
    for matrix in MATRICES:
        parts = {part[1]: key for key in columns if (part := part_of_matrix(key)) and part[0] == matrix}
        if not parts:
            continue
        if matrix in found:
            raise LeakgapError(
                f"{name}: has both a column {matrix} and columns {next(iter(parts.values()))}, ..."
            )
        numbered = {int(place): key for place, key in parts.items() if place.isdecimal()}
        if len(numbered) < len(parts) and (numbered or len(parts) < 2):
            raise LeakgapError(
                f"{name}: the columns {', '.join(list(parts.values())[:3])} are neither all named by class nor all "
                "numbered, each once"
            )
        if numbered and sorted(numbered) != list(range(len(parts))):
            absent = next(place for place in range(len(parts) + 1) if place not in numbered)
            raise LeakgapError(
                f"{name}: has {', '.join(parts[each] for each in list(parts)[:3])}, ... but no column for class "
                f"{absent}: number the columns of all classes from 0"
            )
        if not numbered:
            classes = tuple(sorted(parts))
        order = [numbered[place] for place in sorted(numbered)] or [parts[each] for each in sorted(parts)]
        if len({columns[key].shape for key in order}) > 1:
            raise LeakgapError(f"{name}: the columns {order[0]}, ... are not equally long")
        found[matrix] = np.stack([columns[key] for key in order], axis=-1)
    return found, classes


def _answers(
    name: str, columns: Mapping[str, np.ndarray], classes: tuple[str, ...] | None, positive: str | None
) -> Answers:
    if "record" not in columns:
        raise LeakgapError(f"{name}: has no column 'record'")
    kind = next((kind for kind in KINDS if kind in columns), None)
    if kind is None:
        raise LeakgapError(f"{name}: has none of the columns {', '.join(KINDS)}")
    if "label" not in columns and kind in LABELLED and "labels" not in columns:
        raise LeakgapError(f"{name}: has no column 'label'")
    rows = len(columns["record"])
    if not rows:
        raise LeakgapError(f"{name}: holds no records")
    for column, values in columns.items():
        if len(values) != rows or values.ndim != 1 + (column in MATRICES):
            shape = "[records, classes]" if column in MATRICES else "[records]"
            raise LeakgapError(
                f"{name}: {column} has the shape {list(values.shape)}, not {shape} for {rows} records"
            )
    record = _ids(name, "record", columns["record"])
    label = _label(name, kind, columns["label"]) if "label" in columns else None
    view = _ids(name, "view", columns["view"]) if "view" in columns else None
    order, views = _by_view(name, record, view)
    first = order[:, 0]
    if label is not None:
        _same_in_views(name, "label", label, order, record)

    flags: dict[str, np.ndarray | None] = {"member": None, "reserved": None}
    for flag in flags:
        if flag in columns:
            values = _bool(name, flag, columns[flag], record)
            _same_in_views(name, flag, values, order, record)
            flags[flag] = values[first]
    _check_flags(name, record[first], flags["member"], flags["reserved"])
    parts: dict[str, np.ndarray | None] = {"group": None, "slice": None}
    for part in parts:
        if part in columns:
            values = _ids(name, part, columns[part])
            _same_in_views(name, part, values, order, record)
            parts[part] = values[first]

    used = dict(columns)
    if kind == "prediction":
        used["prediction"] = _label(name, kind, columns["prediction"], "prediction")
    found = KINDS[kind](Rows(name, record, label, used, classes, positive))
    phi = _phi_by_view(found, order)
    if kind == "prediction":
        kind = "regression" if found.phi is not None else kind
    correct = found.correct
    if correct is None and kind != "regression" and "prediction" in columns and label is not None:
        given = _label(name, "prediction", columns["prediction"], "prediction")
        correct = given.astype(str) == label.astype(str)
    return Answers(
        name=name,
        kind=kind,
        record=record[first],
        label=np.zeros(len(first), np.int64) if label is None else label[first],
        member=flags["member"],
        reserved=flags["reserved"],
        phi=None if phi is None else phi.astype(np.float32),
        logits=None if found.logits is None else found.logits[first].astype(np.float32),
        correct=None if correct is None else correct[first],
        code=None if found.code is None else found.code[first],
        class_names=classes,
        group=parts["group"],
        slice=parts["slice"],
        signals={key: values[order].mean(1).astype(np.float32) for key, values in found.signals.items()},
        view_names=views,
    )


def _phi_by_view(found: Signal, order: np.ndarray) -> np.ndarray | None:
    """Return phi [S, V] of rows put side by side: labels of one record are views of it as well.

    Of predicted classes over several views what is seen is their agreement with the label (Choquette-Choo et al.
    2021, "Label-only membership inference attacks"): log odds of its share, half a view added to either side.
    """
    if found.phi is not None:
        return found.phi[order].reshape(len(order), -1)
    if order.shape[1] == 1 or found.correct is None:
        return None
    right, views = found.correct[order].sum(1), order.shape[1]
    return np.log((right + 0.5) / (views - right + 0.5))[:, None]


def _label(name: str, kind: str, values: np.ndarray, column: str = "label") -> np.ndarray:
    """Return labels: ids, or numbers with a fraction beside a predicted number."""
    if kind == "prediction" and values.dtype.kind in "fiu":
        if np.isnan(values.astype(np.float64)).any():
            raise LeakgapError(
                f"{name}: {column} is missing in row {int(np.isnan(values.astype(np.float64)).argmax())}"
            )
        if not np.isfinite(values.astype(np.float64)).all():
            raise LeakgapError(f"{name}: {column} is infinite in row {int((~np.isfinite(values)).argmax())}")
        if (values % 1).any():
            return values.astype(np.float64)
    return _ids(name, column, values)


def _ids(name: str, column: str, values: np.ndarray) -> np.ndarray:
    """Return ids as int64 where they are whole numbers (float beside a gap), else as text.

    LeakgapError where one is missing.
    """
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise LeakgapError(f"{name}: {column} is missing in row {int(np.isnan(values).argmax())}")
    if values.dtype.kind == "O":
        for row, value in enumerate(values.ravel()):
            if isinstance(value, NO_IDS) or type(value).__repr__ is object.__repr__:
                raise LeakgapError(
                    f"{name}: {column} in row {row} is a {type(value).__name__}, not a number or text"
                )
        absent = [value is None or value != value for value in values]
        if any(absent):
            raise LeakgapError(f"{name}: {column} is missing in row {absent.index(True)}")
        values = np.array([_text_of_bytes(value) if isinstance(value, bytes) else value for value in values])
    if values.dtype.kind == "S":
        values = np.array([_text_of_bytes(value) for value in values.tolist()])
    if values.dtype.kind == "f":
        whole = bool((np.isfinite(values) & (values == np.round(values))).all())
    else:
        whole = values.dtype.kind in "biu"
    if whole:
        if not len(values) or max(abs(int(values.min())), abs(int(values.max()))) < 2**63:
            return values.astype(np.int64)
        values = np.array([str(int(value)) for value in values])
    text = values.astype(str)
    if (text == "").any():
        raise LeakgapError(f"{name}: {column} is empty in row {int((text == '').argmax())}")
    return text


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _by_view(
    name: str, record: np.ndarray, view: np.ndarray | None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the rows of each record, int [S, V], and the names of the views, which are in ascending order.

    Records are as they first appear. Whole numbers are in the order of numbers, also where they are text.
    """
    codes, unique = pd.factorize(record)
    if view is None:
        if len(unique) < len(record):
            twice = record[pd.Series(codes).duplicated().to_numpy()][0]
            raise LeakgapError(
                f"{name}: record {twice} is there twice; several answers to one take a column 'view'"
            )
        return np.arange(len(record))[:, None], None
    if view.dtype.kind != "i" and all(re.fullmatch(r"0|-?[1-9]\d{0,17}", text) for text in np.unique(view)):
        view = view.astype(np.int64)
    pairs = pd.DataFrame({"record": codes, "view": view})
    twice = pairs.duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise LeakgapError(f"{name}: record {record[row]} has the view {view[row]} twice")
    every, count = np.unique(view), np.bincount(codes)
    if (count != len(every)).any():
        odd = int((count != len(every)).argmax())
        raise LeakgapError(f"{name}: record {unique[odd]} has {count[odd]} of the {len(every)} views")
    order = np.lexsort([view, codes])
    return order.reshape(len(unique), len(every)), tuple(str(each) for each in every)


def _same_in_views(name: str, column: str, values: np.ndarray, order: np.ndarray, record: np.ndarray) -> None:
    differs = (values[order] != values[order[:, :1]]).any(1)
    if differs.any():
        raise LeakgapError(
            f"{name}: {column} differs between the views of record {record[order[differs][0, 0]]}"
        )


def _bool(name: str, column: str, values: np.ndarray, record: np.ndarray) -> np.ndarray:
    """Return True, False, 1 and 0 as bool; anything else is an error."""
    allowed = np.array([value in (0, 1) for value in values.tolist()])
    if not allowed.all():
        row = int((~allowed).argmax())
        raise LeakgapError(
            f"{name}: {column} of record {record[row]} is {values[row]}, not true or false; where it is not known, "
            "leave the whole column out"
        )
    return values.astype(bool)


def _check_flags(
    name: str, record: np.ndarray, member: np.ndarray | None, reserved: np.ndarray | None
) -> None:
    if member is not None and reserved is not None and (member & reserved).any():
        raise LeakgapError(f"{name}: record {record[member & reserved][0]} is reserved, yet a member")
