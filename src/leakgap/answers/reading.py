"""Files of answers, as columns: Parquet, CSV and .npz.

A column is an array with one entry for every row of the file; `logits` and `probabilities` are float64
[rows, classes], NaN where the file holds nothing. What the columns mean is `leakgap.answers.answers`' affair.
"""

import json
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from leakgap import LeakgapError
from leakgap.files import read_arrays

IDS = ("record", "label", "prediction", "group", "slice", "view")  # of any type: whole numbers, or text
VALUES = ("step", "member", "reserved", "phi", "loss", "log_density", "score", "probability")
MATRICES = ("logits", "probabilities", "labels")  # a list in every row, or columns logits_0, logits_1, ...
LISTS = ("tokens", "token_means", "token_deviations")  # of any length in every row
LOOKED_AT = 10_000  # rows of a CSV file by which its decimal sign is found out
SEPARATORS = (",", ";", "\t", "|")
NULLS = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?")  # how a missing value is written


class How(NamedTuple):
    """What is told of a CSV file; None is found out."""

    separator: str | None = None
    decimal: str | None = None


FOUND_OUT = How()


def read_columns(path: str | Path, how: How = FOUND_OUT) -> dict[str, np.ndarray]:
    """Return the columns of a file that answers are made of; others are ignored.

    Raises LeakgapError for a file that is missing, damaged, of another kind, or whose columns are not numbers.
    """
    path = Path(path)
    if path.suffix not in READERS:
        raise LeakgapError(
            f"{path}: answers are read from {', '.join(READERS)} files, not from {path.name!r}"
        )
    if not path.is_file():
        raise LeakgapError(f"{path}: no such file")
    try:
        return _csv(path, how) if path.suffix == ".csv" else READERS[path.suffix](path)
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise LeakgapError(f"{path}: can't be read ({str(error).splitlines()[0]})") from None


def _parquet(path: Path) -> dict[str, np.ndarray]:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = [name for name in file.schema_arrow.names if is_known(name)]
        return _of_table(path, file.read(columns=names))


def _csv(path: Path, how: How = FOUND_OUT) -> dict[str, np.ndarray]:
    """Read a CSV file; a separator and a decimal comma that are not told are found out by its first rows."""
    with path.open("rb") as file:
        first, *rows = [*islice(file, 1 + LOOKED_AT)] or [b""]
    if not first.strip():
        raise LeakgapError(f"{path}: can't be read (it is empty, or begins with an empty line)")
    separator = _separator(path, first) if how.separator is None else _told(path, "separator", how.separator)
    parsing = pc.ParseOptions(delimiter=separator)
    header = _header(first, parsing)
    names = [name for name in header if is_known(name)]
    if "record" not in header:
        raise LeakgapError(_no_record(path, first, header))
    decimal = _decimal(rows, separator) if how.decimal is None else _told(path, "decimal", how.decimal, ",.")
    # ids stay text, so that 007 is not 7; ids that are all written as whole numbers become numbers below
    kinds: dict[str, pa.DataType] = dict.fromkeys(IDS + MATRICES + LISTS, pa.string())
    kinds |= {name: pa.float64() for name in names if part_of_matrix(name)}
    convert = pc.ConvertOptions(include_columns=names, column_types=kinds, decimal_point=decimal)
    columns = _of_table(path, pc.read_csv(path, parse_options=parsing, convert_options=convert))
    return columns | {name: _numbers(path, name, columns[name], decimal) for name in IDS if name in columns}


def _told(path: Path, what: str, sign: str, allowed: str = "") -> str:
    """Return the sign that somebody named; a tab may be written as in a shell."""
    sign = {"\\t": "\t", "tab": "\t"}.get(sign, sign)
    if len(sign) != 1 or (allowed and sign not in allowed):
        one = " or ".join(map(repr, allowed)) if allowed else "one sign, such as ';' or tab"
        raise LeakgapError(f"{path}: --{what} is {one}, not {sign!r}")
    return sign


def _decimal(rows: list[bytes], separator: str) -> str:
    """Return a comma where a cell of the rows is a number with one, else a point."""
    number = rb"[-+]?\d*,\d+([eE][-+]?\d+)?"
    cell = rb'"%b"' % number if separator == "," else rb'(%b|"%b")' % (number, number)
    edge = re.escape(separator.encode())
    pattern = re.compile(rb"(^|%b) *%b *(%b|$)" % (edge, cell, edge))
    return "," if any(pattern.search(row.rstrip(b"\r\n")) for row in rows) else "."


def _no_record(path: Path, line: bytes, header: list[str]) -> str:
    """Say what is wrong with a header that has no column `record`."""
    told = f"{path}: has no column 'record'"
    if len(header) > 1:
        return told
    text = line.decode("utf-8", "replace").strip("\ufeff\r\n")
    sign = re.search(r"record[\"']?([^\w\"'])", text) or re.search(r"([^\w\"'])[\"']?record", text)
    name = f" {sign[1]!r}" if sign else ""
    return (
        f"{told}, but the one column {text[:60]!r}: a separator other than , ; | and tab is named, "
        f"--separator{name}"
    )


def _header(line: bytes, parsing: pc.ParseOptions) -> list[str]:
    return pc.read_csv(pa.py_buffer(line.rstrip(b"\r\n") + b"\n"), parse_options=parsing).column_names


def _separator(path: Path, header: bytes) -> str:
    """Return the separator under which the header has a column that answers have; a comma where none has."""
    for separator in SEPARATORS:
        names = _header(header, pc.ParseOptions(delimiter=separator))
        if "record" in names and len(names) > 1:
            return separator
    return ","


def _npz(path: Path) -> dict[str, np.ndarray]:
    columns = read_arrays(path, is_known)
    for name, array in columns.items():
        dimensions = 2 if name in MATRICES else 1
        if array.ndim != dimensions or len(array) != len(next(iter(columns.values()))):
            raise LeakgapError(
                f"{path}: {name} must have {dimensions} dimension{'s'[: dimensions - 1]} and as many rows as the "
                f"others, and has shape {list(array.shape)}"
            )
    return columns


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".parquet": _parquet,
    ".csv": _csv,
    ".npz": _npz,
}


PARTS = {"logit": "logits", "probability": "probabilities"}  # how columns named by class begin


def part_of_matrix(name: str) -> tuple[str, str] | None:
    """Return the matrix that a column is a part of, and its class there; None for any other column.

    >>> part_of_matrix("logits_12"), part_of_matrix("probability_cat"), part_of_matrix("logits")
    (('logits', '12'), ('probabilities', 'cat'), None)
    """
    if found := re.fullmatch(rf"({'|'.join(MATRICES)})_(\d+)", name):
        return found[1], found[2]
    if found := re.fullmatch(rf"({'|'.join(PARTS)})_(.+)", name, re.DOTALL):
        return PARTS[found[1]], found[2]
    return None


def is_known(name: object) -> bool:
    """Say whether answers are made of columns of this name."""
    known = (*IDS, *VALUES, *MATRICES, *LISTS)
    return isinstance(name, str) and (name in known or part_of_matrix(name) is not None)


def _of_table(path: Path, table: pa.Table) -> dict[str, np.ndarray]:
    columns = {}
    for name in table.column_names:
        if table.column_names.count(name) > 1:
            raise LeakgapError(f"{path}: has the column {name} twice")
        if name in IDS:
            columns[name] = _ids(path, name, table[name])
        elif name in MATRICES:
            columns[name] = _lists(path, name, table[name])
        elif name in LISTS:
            columns[name] = _ragged(path, name, table[name])
        else:
            columns[name] = _values(path, name, table[name])
    return columns


def _ids(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    if column.null_count:
        raise LeakgapError(f"{path}: {name} is empty in row {_first_null(column)}")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.to_numpy()
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return np.array(column.to_pylist(), dtype=object)
    try:
        return np.array(column.cast(pa.string()).to_pylist(), dtype=str)
    except pa.ArrowException:
        raise LeakgapError(f"{path}: {name} holds {kind}, neither numbers nor text") from None


def _numbers(path: Path, name: str, ids: np.ndarray, decimal: str) -> np.ndarray:
    """Return text ids as int64 where all are whole numbers as usually written, as bool where all are truths.

    Labels and predictions that are numbers with a fraction become float64: they are predicted numbers.
    """
    # the second as pandas writes numbers beside a gap
    absent = [text in NULLS or text == "" for text in ids]
    present = [text for text, missing in zip(ids, absent, strict=True) if not missing]
    for whole in (r"0|-?[1-9]\d{0,17}", r"(0|-?[1-9]\d{0,17})\.0"):
        if present and all(re.fullmatch(whole, text) for text in present):
            _check_present(path, name, ids, absent)
            return np.array([int(text.removesuffix(".0")) for text in ids])
    if {text.lower() for text in ids} <= {"true", "false"}:
        return np.array([text.lower() == "true" for text in ids])
    number = rf"[-+]?(\d+([{decimal}]\d*)?|[{decimal}]\d+)([eE][-+]?\d+)?"
    if name in ("label", "prediction") and present and all(re.fullmatch(number, text) for text in present):
        _check_present(path, name, ids, absent)
        return np.array([float(text.replace(decimal, ".")) for text in ids])
    return ids


def _check_present(path: Path, name: str, ids: np.ndarray, absent: list[bool]) -> None:
    if any(absent):
        row = absent.index(True)
        raise LeakgapError(f"{path}: {name} is missing in row {row}: {str(ids[row])!r}")


def _values(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_boolean(column.type):
        if column.null_count:
            raise LeakgapError(f"{path}: {name} is empty in row {_first_null(column)}")
        return column.to_numpy()
    if pa.types.is_integer(column.type) and not column.null_count:
        return column.to_numpy()
    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowException:
        wanted = "true and false" if name in ("member", "reserved") else "numbers"
        raise LeakgapError(f"{path}: {name} holds {column.type}, not {wanted}{_first_text(column)}") from None


def _first_text(column: pa.ChunkedArray) -> str:
    """Name the first row of a column of text that holds no number."""
    if not pa.types.is_string(column.type):
        return ""
    for row, text in enumerate(column.to_pylist()):
        try:
            float(text or "nan")
        except ValueError:
            return f", such as {text!r} in row {row}"
    return ""


def _lists(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_string(column.type):  # as CSV holds a list
        column = _parsed(column)
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise LeakgapError(
            f"{path}: {name} holds {kind}, not a list in every row, nor are there columns {name}_0, {name}_1, ..."
        )
    if column.null_count:
        raise LeakgapError(f"{path}: {name} is empty in row {_first_null(column)}")
    arrays = [chunk for chunk in column.chunks if len(chunk)]
    lengths = np.concatenate([np.asarray(chunk.value_lengths()) for chunk in arrays] or [np.zeros(0, int)])
    if len(set(lengths)) > 1:
        odd = int((lengths != lengths[0]).argmax())
        raise LeakgapError(
            f"{path}: {name} has {lengths[0]} classes in row 0 and {lengths[odd]} in row {odd}"
        )
    if not len(lengths):
        return np.empty((0, 0))
    values = pa.chunked_array([chunk.flatten() for chunk in arrays])
    return _values(path, name, values).reshape(len(lengths), -1)


def _ragged(path: Path, name: str, column: pa.ChunkedArray) -> np.ndarray:
    """Return lists of any length, float64, as an array of arrays."""
    if pa.types.is_string(column.type):
        column = _parsed(column)
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        raise LeakgapError(f"{path}: {name} holds {kind}, not a list of numbers in every row")
    if column.null_count:
        raise LeakgapError(f"{path}: {name} is empty in row {_first_null(column)}")
    try:
        lists = [np.asarray(each, np.float64) for each in column.to_pylist()]
    except (TypeError, ValueError):
        raise LeakgapError(f"{path}: {name} holds {kind}, not a list of numbers in every row") from None
    found = np.empty(len(lists), object)
    found[:] = lists
    return found


def _parsed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return lists of numbers that are written as text, such as [0.5, 1]; any other text as it is."""
    try:
        lists = [json.loads(text) for text in column.to_pylist() if text is not None]
        return pa.chunked_array([pa.array(lists, pa.list_(pa.float64()))])
    except (ValueError, pa.ArrowException, RecursionError):
        return column


def _first_null(column: pa.ChunkedArray) -> int:
    return int(np.asarray(column.is_null()).argmax())
