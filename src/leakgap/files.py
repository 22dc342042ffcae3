"""Files that are either whole or absent, however many processes write them and whenever one is killed."""

import glob
import hashlib
import json
import os
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from leakgap import LeakgapError

HOST = socket.gethostname()
MARK = "leakgap-writes"  # in the names of temporary files


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it becomes `path` when the block ends well, else it is removed.

    The temporary name keeps the suffix (writers that append one leave it alone) and is this call's own on any
    host, so that an orphaned process never writes into another's file. What killed processes left behind is
    removed. Raises LeakgapError naming `path` for a full disk and any other OSError.
    """
    path = Path(path)
    token = f"{MARK}-{HOST}-{os.getpid()}-{os.urandom(4).hex()}"
    temporary = path.with_name(f".{path.stem}.{token}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sweep(path)
    except OSError as error:
        raise LeakgapError(f"{path}: can't be written ({str(error).partition(chr(10))[0]})") from None


def discard(path: str | Path) -> None:
    """Remove a file that has served, and what killed processes left behind of it."""
    Path(path).unlink(missing_ok=True)
    _sweep(Path(path))


def replace_index(
    index: str | Path,
    records: list[dict[str, Any]],
    made_by: str,
    origin: str,
    kept: set[str],
    suffixes: Sequence[str],
) -> None:
    """Write the index of a folder, and remove what the index before it lists by name and this run does not make.

    kept: the names of the files that this run makes; of a listed name those with `suffixes` are ours. Any other
    file of the folder is somebody's own. LeakgapError where the index is somebody's own, too.
    """
    for name in _listed(Path(index)):
        for suffix in suffixes:
            if Path(name).name == name and name + suffix not in kept:
                Path(index).with_name(name + suffix).unlink(missing_ok=True)
    write_records(index, records, made_by, origin)


def _listed(index: Path) -> list[str]:
    if not index.exists():
        return []
    try:
        return [str(record["name"]) for record in json.loads(index.read_bytes()) if record["digest"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise LeakgapError(f"{index}: is no index of leakgap's: move it, or name another folder") from None


def _sweep(path: Path) -> None:
    """Remove temporary files of `path` whose process on this host is dead, or that are an hour old.

    Only `atomic` gives such names, which end with its mark, a host, a process and eight hexadecimal digits.
    """
    ours = re.compile(rf"\.{re.escape(path.stem)}\.{MARK}-(.+)-(\d+)-[0-9a-f]{{8}}{re.escape(path.suffix)}")
    for left in path.parent.glob(f".{glob.escape(path.stem)}.{MARK}-*"):
        named = ours.fullmatch(left.name)
        if named is None:
            continue
        with suppress(OSError, ValueError):  # another process may have been quicker
            if (named[1] == HOST and not _alive(int(named[2]))) or time.time() - left.stat().st_mtime > 3600:
                left.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Put a file's name before what a LeakgapError says of its content."""
    try:
        yield
    except LeakgapError as error:
        raise LeakgapError(f"{path}: {error}") from None


def write_records(path: str | Path, records: list[dict[str, Any]], made_by: str, origin: str = "") -> None:
    """Write a JSON list of objects, whole or not at all, each with a digest of them all, the verb and their origin.

    made_by: the verb that writes them; origin: a word for what the records were made of.
    """
    digest = _digest(records, made_by, origin)
    text = json.dumps([record | {"digest": digest} for record in records], indent=2, allow_nan=False) + "\n"
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_records(
    path: str | Path, made_by: str, origin: str = "", holding: Mapping[str, type] | None = None
) -> list[dict[str, Any]]:
    """Return the records that `write_records` wrote; those that others wrote have no digest.

    holding: what every record has by name, at least. Raises LeakgapError that names the file and the verb to run,
    `made_by`, where it is missing or damaged, or was made by another verb or of another origin.
    """
    if not Path(path).is_file():
        raise LeakgapError(f"{path} is missing: run {made_by} first")
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LeakgapError(f"{path}: can't be read ({error}); run {made_by} anew") from None
    if (
        not isinstance(records, list)
        or not records
        or not all(isinstance(record, dict) for record in records)
    ):
        raise LeakgapError(f"{path}: is no list of objects; run {made_by} anew")
    digests = [record.pop("digest", None) for record in records]
    if any(digests) and digests != len(records) * [_digest(records, made_by, origin)]:
        raise LeakgapError(f"{path}: is damaged, or was made from other results; run {made_by} anew")
    for name, kind in (holding or {}).items():
        if not all(isinstance(record.get(name), kind) for record in records):
            raise LeakgapError(f"{path}: an object in it has no {name}; run {made_by} anew")
    return records


def _digest(records: list[dict[str, Any]], made_by: str, origin: str) -> str:
    return hashlib.sha256(json.dumps([records, made_by, origin], sort_keys=True).encode()).hexdigest()


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray | np.generic]) -> None:
    """Write arrays uncompressed (every training job reads them), whole or not at all.

    As np.savez does, which would take arrays named `file` or `allow_pickle` for parameters of its own.
    """
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as stored:
        for name, array in arrays.items():
            with stored.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)


def read_arrays(
    path: str | Path, wanted: Callable[[str], bool] = lambda name: True, made_by: str = ""
) -> dict[str, np.ndarray]:
    """All arrays of an .npz by name, or those whose name is wanted; without pickle.

    LeakgapError naming a file that is missing, with the verb that makes it, or damaged.
    """
    if not Path(path).is_file():  # a pipe would be waited for
        raise LeakgapError(f"{path}: there is no such file" + (made_by and f": run {made_by} first"))
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored if wanted(name)}
    except Exception as error:  # damaged headers make zipfile and numpy raise nearly anything
        raise LeakgapError(f"{path}: is not a readable .npz ({error})") from None
    for name, array in found.items():
        if not isinstance(array, np.ndarray):
            raise LeakgapError(f"{path}: {name} in it is no array")
    return found


def read_npz(path: str | Path, *names: str, made_by: str = "") -> list[np.ndarray]:
    """The named arrays of an .npz, read without pickle; LeakgapError as `read_arrays`, or naming one without."""
    arrays = read_arrays(path, made_by=made_by)
    for name in names:
        if name not in arrays:
            raise LeakgapError(f"{path}: has no array {name}, only {', '.join(arrays) or 'none'}")
    return [arrays[name] for name in names]
