"""What one model answers about records, read from a file and brought to what attacks take.

An answer is, from the most telling to the least: logits, probabilities, the logit-scaled confidence phi, the loss,
or the predicted label alone. Everything but the last is brought to phi = log(p / (1 - p)), p the probability of
the record's label, and logits and probabilities to log-probabilities up to a constant.

How finely an answer resolves phi: logits and the loss exactly. Probabilities by the sum of the other classes, which
keeps its digits where p itself is 1 in float32; where they don't add up to one, because they are rounded or only
the top k are given, by 1 - p. Missing probabilities are taken as equal shares of what is left, none above the
smallest that is given. An answer of exactly 0 or 1 leaves phi infinite here; whoever puts files side by side
gives it a number that is the same for all of them (`leakgap.answers.joined`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.answers.reading import IDS, MATRICES, is_known, part_of_matrix, read_columns
from leakgap.answers.store import are_probabilities
from leakgap.answers.store import phi as phi_of_logits

__all__ = ["Answers"]

KINDS = ("logits", "probabilities", "phi", "loss", "prediction")  # the first that a file holds is used
SUM = 0.005  # how far probabilities may be from adding up to one, however they were rounded
LARGEST = 1e30  # of a logit: what is beyond has no place in float32
WHOLE = 1e-6  # closer than this to one, a sum of probabilities is whole: none is missing or rounded


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
    kind: str  # one of KINDS
    record: np.ndarray  # int64 or str [S]: ids, each once
    label: np.ndarray  # int64 or str [S]
    member: np.ndarray | None  # bool [S]; None: not known
    reserved: np.ndarray | None  # bool [S]: records set aside, in no model's training set; None: none are
    phi: (
        np.ndarray | None
    )  # float32 [S, V], infinite where the answer is exactly 0 or 1; None for predictions
    logits: np.ndarray | None  # float32 [S, C] of the first view, -inf where a probability is 0
    correct: (
        np.ndarray | None
    )  # bool [S], first view: is the label the prediction? None for phi or loss alone

    @classmethod
    def read(cls, path: str | Path) -> Answers:
        """Read a Parquet, CSV or .npz file: one row a record, or one for each record and view.

        Columns: `record` (any id), `label`, and what the model answered: `logits` or `probabilities` (a list, or
        columns logits_0, logits_1, ...; of the probabilities all but the top k may be missing), or `phi`, or
        `loss` (cross-entropy in nats), or `prediction`. With logits or probabilities a label is the number of a
        class, from 0; otherwise anything. `member` (bool) says which records the model was trained on. Several
        answers about one record are rows that a column `view` tells apart. `reserved` (bool) marks records that
        were set aside from the training of every model, for attacks that need such a population.

        Raises LeakgapError, naming the file and the column, for anything that can't be right.
        """
        return cls.of(read_columns(path), name=str(path))

    @classmethod
    def of(cls, columns: Mapping[str, object], name: str = "answers") -> Answers:
        """Make answers of arrays, a DataFrame or anything that maps the columns of `read` to their values."""
        given = [key for key in columns if is_known(key) and columns[key] is not None]
        known = {key: _array(name, key, columns[key]) for key in given}
        return _answers(name, _side_by_side(name, known))

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


def _array(name: str, column: str, values: object) -> np.ndarray:
    if isinstance(values, np.ndarray):
        return values
    values = values.tolist() if isinstance(values, pd.Series) else list(values)  # type: ignore[call-overload]
    try:
        return np.array(values, dtype=object) if column in IDS else np.asarray(values)
    except ValueError:  # lists of unequal lengths
        raise LeakgapError(f"{name}: {column} does not have as many values for every record") from None


def _side_by_side(name: str, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return columns with logits_0, logits_1, ... as those of one array `logits`, and so with probabilities."""
    found = {key: values for key, values in columns.items() if part_of_matrix(key) is None}
    for matrix in MATRICES:
        parts = {part[1]: key for key in columns if (part := part_of_matrix(key)) and part[0] == matrix}
        if sorted(parts) != list(range(len(parts))):
            raise LeakgapError(
                f"{name}: the columns {matrix}_0.. are not numbered from 0 to {len(parts) - 1} without a gap"
            )
        if len({columns[key].shape for key in parts.values()}) > 1:
            raise LeakgapError(f"{name}: the columns {matrix}_0.. are not equally long")
        if parts:
            found[matrix] = np.stack([columns[parts[place]] for place in sorted(parts)], axis=-1)
    return found


def _answers(name: str, columns: Mapping[str, np.ndarray]) -> Answers:
    for required in ("record", "label"):
        if required not in columns:
            raise LeakgapError(f"{name}: has no column {required!r}")
    kind = next((kind for kind in KINDS if kind in columns), None)
    if kind is None:
        raise LeakgapError(f"{name}: has none of the columns {', '.join(KINDS)}")
    rows = len(columns["record"])
    if not rows:
        raise LeakgapError(f"{name}: holds no records")
    for column, values in columns.items():
        if len(values) != rows or values.ndim != 1 + (column in MATRICES):
            shape = "[records, classes]" if column in MATRICES else "[records]"
            raise LeakgapError(
                f"{name}: {column} has the shape {list(values.shape)}, not {shape} for {rows} records"
            )
    record, label = _ids(name, "record", columns["record"]), _ids(name, "label", columns["label"])
    order = _by_view(name, record, columns.get("view"))
    first = order[:, 0]
    _same_in_views(name, "label", label, order, record)

    flags: dict[str, np.ndarray | None] = {"member": None, "reserved": None}
    for flag in flags:
        if flag in columns:
            values = _bool(name, flag, columns[flag], record)
            _same_in_views(name, flag, values, order, record)
            flags[flag] = values[first]
    _check_flags(name, record[first], flags["member"], flags["reserved"])

    phi = logits = correct = None
    if kind == "logits":
        given = _finite(name, kind, columns[kind], record)
        if are_probabilities(given):
            raise LeakgapError(f"{name}: logits are probabilities; call the column probabilities")
        codes = _classes(name, kind, label, given.shape[1], record)
        phi, logits = phi_of_logits(given, codes), given
    elif kind == "probabilities":
        given = _numeric(name, kind, columns[kind])
        codes = _classes(name, kind, label, given.shape[1], record)
        probabilities, whole = _probabilities(name, given, record)
        phi = _phi_of_probabilities(probabilities, whole, codes)
        with np.errstate(divide="ignore"):
            logits = np.log(probabilities)
    elif kind == "loss":
        phi = _phi_of_loss(name, columns[kind], record)
    elif kind == "phi":
        phi = _number(name, kind, columns[kind], record)
    if logits is not None:
        correct = logits[first].argmax(-1) == label[first]
    elif "prediction" in columns:
        correct = _text(_ids(name, "prediction", columns["prediction"]))[first] == _text(label)[first]
    return Answers(
        name=name,
        kind=kind,
        record=record[first],
        label=label[first],
        member=flags["member"],
        reserved=flags["reserved"],
        phi=None if phi is None else phi.astype(np.float32)[order],
        logits=None if logits is None else logits[first].astype(np.float32),
        correct=correct,
    )


def _ids(name: str, column: str, values: np.ndarray) -> np.ndarray:
    """Return ids as int64 where they are whole numbers (float beside a gap), else as text.

    LeakgapError where one is missing.
    """
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise LeakgapError(f"{name}: {column} is missing in row {int(np.isnan(values).argmax())}")
    if values.dtype.kind == "O":
        absent = [value is None or value != value for value in values]
        if any(absent):
            raise LeakgapError(f"{name}: {column} is missing in row {absent.index(True)}")
        values = np.array([_text_of_bytes(value) if isinstance(value, bytes) else value for value in values])
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


def _text(ids: np.ndarray) -> np.ndarray:
    return ids.astype(str)


def _by_view(name: str, record: np.ndarray, view: np.ndarray | None) -> np.ndarray:
    """Return the rows of each record, int [S, V], records as they first appear and views in ascending order."""
    codes, unique = pd.factorize(record)
    if view is None:
        if len(unique) < len(record):
            twice = record[pd.Series(codes).duplicated().to_numpy()][0]
            raise LeakgapError(
                f"{name}: record {twice} is there twice; several answers to one take a column 'view'"
            )
        return np.arange(len(record))[:, None]
    pairs = pd.DataFrame({"record": codes, "view": view})
    if pairs["view"].isna().any():
        raise LeakgapError(f"{name}: view is missing for record {record[pairs['view'].isna().to_numpy()][0]}")
    twice = pairs.duplicated().to_numpy()
    if twice.any():
        row = int(twice.argmax())
        raise LeakgapError(f"{name}: record {record[row]} has the view {view[row]} twice")
    every, count = np.unique(view), np.bincount(codes)
    if (count != len(every)).any():
        odd = int((count != len(every)).argmax())
        raise LeakgapError(f"{name}: record {unique[odd]} has {count[odd]} of the {len(every)} views")
    order = np.lexsort([view, codes])
    return order.reshape(len(unique), len(every))


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


def _classes(name: str, kind: str, label: np.ndarray, classes: int, record: np.ndarray) -> np.ndarray:
    """Return labels that are numbers of classes."""
    if label.dtype.kind != "i":
        raise LeakgapError(
            f"{name}: label is text, such as {str(label[0])!r}; beside {kind} it is the number of a class, from 0"
        )
    if classes < 2:
        raise LeakgapError(f"{name}: {kind} of {classes} classes: an answer needs two or more")
    outside = (label < 0) | (label >= classes)
    if outside.any():
        row = int(outside.argmax())
        raise LeakgapError(
            f"{name}: label {label[row]} of record {record[row]} is none of the {classes} classes of {kind}"
        )
    return label


def _numeric(name: str, column: str, values: np.ndarray) -> np.ndarray:
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        raise LeakgapError(f"{name}: {column} does not hold numbers") from None


def _number(name: str, column: str, values: np.ndarray, record: np.ndarray) -> np.ndarray:
    """Return numbers as float64; NaN is an error."""
    values = _numeric(name, column, values)
    absent = np.isnan(values).reshape(len(values), -1).any(1)
    if absent.any():
        raise LeakgapError(f"{name}: {column} of record {record[absent.argmax()]} is NaN or missing")
    return values


def _finite(name: str, column: str, values: np.ndarray, record: np.ndarray) -> np.ndarray:
    values = _number(name, column, values, record)
    infinite = (np.abs(values) > LARGEST).any(-1)
    if infinite.any():
        raise LeakgapError(
            f"{name}: {column} of record {record[infinite.argmax()]} are infinite, or nearly so"
        )
    return values


def _phi_of_loss(name: str, values: np.ndarray, record: np.ndarray) -> np.ndarray:
    """phi of the loss l = -log p: -log(exp(l) - 1)."""
    loss = _number(name, "loss", values, record)
    if (loss < -WHOLE).any():
        row = int((loss < -WHOLE).argmax())
        raise LeakgapError(
            f"{name}: loss of record {record[row]} is {loss[row]:g}; a cross-entropy is never negative"
        )
    loss = np.maximum(loss, 0)
    with np.errstate(divide="ignore"):
        return -(loss + np.log(-np.expm1(-loss)))


def _probabilities(name: str, given: np.ndarray, record: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities with the missing filled in, and which rows are whole: all given, adding up to one."""
    known = ~np.isnan(given)
    outside = (known & ((given < 0) | (given > 1 + WHOLE))).any(1)
    if outside.any():
        raise LeakgapError(
            f"{name}: probabilities of record {record[outside.argmax()]} are not between 0 and 1"
        )
    count = known.sum(1)
    if not count.all():
        raise LeakgapError(f"{name}: probabilities of record {record[count.argmin()]} are all NaN or missing")
    if (count != count[0]).any():
        row = int((count != count[0]).argmax())
        raise LeakgapError(
            f"{name}: record {record[row]} has {count[row]} probabilities and record {record[0]} {count[0]}: "
            "one is NaN, or these are the top k, and then each record has the same k"
        )
    total = np.where(known, given, 0).sum(1)
    classes = given.shape[1]
    allowed = max(SUM, classes * _step(given[known]) / 2)
    off = (total > 1 + allowed) | ((count == classes) & (total < 1 - allowed))
    if off.any():
        row = int(off.argmax())
        raise LeakgapError(
            f"{name}: probabilities of record {record[row]} add up to {total[row]:.4g}, not to 1"
        )
    missing = classes - count
    left = np.maximum(1 - total, 0) / np.maximum(missing, 1)
    share = np.minimum(left, np.where(known, given, np.inf).min(1))
    return np.where(known, given, share[:, None]), (missing == 0) & (np.abs(total - 1) <= WHOLE)


def _step(values: np.ndarray) -> float:
    """Return what probabilities are rounded to, .01 or finer, such as .001; 0 where they are not rounded."""
    for decimals in range(2, 6):
        scaled = values * 10**decimals
        if (np.abs(scaled - np.round(scaled)) < 1e-3).all():
            return 10.0**-decimals
    return 0.0


def _phi_of_probabilities(probabilities: np.ndarray, whole: np.ndarray, label: np.ndarray) -> np.ndarray:
    at_label = label[:, None]
    of_label = np.take_along_axis(probabilities, at_label, 1)[:, 0]
    others = probabilities.copy()
    np.put_along_axis(others, at_label, 0, 1)
    rest = np.where(whole, others.sum(1), 1 - of_label)
    with np.errstate(divide="ignore"):
        return np.log(of_label) - np.log(np.maximum(rest, 0))
