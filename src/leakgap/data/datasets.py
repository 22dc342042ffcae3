"""Reading any dataset that a study file may name, as one pool."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.data import DATASETS, arrays, folder
from leakgap.data.pool import Pool, average_down, subset
from leakgap.files import naming
from leakgap.objects import expanded, is_place

MOST_CLASSES = 2**15  # labels are int16 in the logits' files


def copies_in(pool: Pool) -> int:
    """Return how many records are equal to an earlier one in all arrays but what they are called."""
    records = zip(*(array for array in pool.arrays.values() if array is not pool.names), strict=True)
    seen = {
        hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in record)).digest() for record in records
    }
    return len(pool.labels) - len(seen)


def load(
    dataset: str,
    root: str | Path | None = None,
    size: int | None = None,
    side: int | None = None,
    seed: int = 0,
    *,
    images: bool = True,
    groups: str | None = None,
) -> Pool:
    """Read a dataset that is already here; never uses the network.

    dataset: one of DATASETS, the path of an .npz or a function `file.py:function` (see leakgap.data.arrays), or the
        path of a folder of images (see leakgap.data.folder).
    root: folder of the files of one of DATASETS, "data" by default.
    size: number of images kept, see `subset`. seed: draws them.
    side: see `average_down`; the images of a folder may then differ in size, otherwise not.
    images: refuse arrays other than images, which the built-in training can't train on.
    groups: whose record each is: the name of an array, or for a folder of images a pattern, see `grouped`.

    Raises LeakgapError naming the file or the key.
    """
    found, labels = _read(dataset, _root(root))
    keep = subset(labels, size, seed) if size is not None else np.arange(len(labels))
    kept: dict[str, np.ndarray] = {}
    for name, array in found.items():
        chosen = (
            array[keep] if isinstance(array, np.ndarray) else folder.decode([array[i] for i in keep], side)
        )
        kept[name] = np.ascontiguousarray(chosen)
    whose = None if groups is None else grouped(kept, groups, dataset)
    if whose is not None and groups in kept and groups != "images":
        del kept[groups]  # it says whose a record is, and is no part of it
    pool = Pool(kept, labels[keep], int(labels.max()) + 1, groups=whose)
    with naming(dataset):
        if images or side is not None:
            shape = pool.images.shape
    if side is not None and shape[2:] != (side, side):
        pool = replace(pool, arrays=kept | {"images": average_down(pool.images, side)})
    return pool


FEWEST_GROUPS = 8
FIELD = re.compile(r"\{(\w+)\}")


def grouped(arrays: Mapping[str, np.ndarray], groups: str, dataset: str) -> np.ndarray:
    """Return the number of each record's group, int64 [S], in the order in which groups first appear.

    groups: the name of one of the arrays, of any type; or, for a folder of images, a pattern with fields in braces
    on the file's name, or on its parent folder and name: the first field is the group, as person in
    `{person}_{visit}.png`. LeakgapError (data.groups) where it fits no array or not every file, where there are
    fewer than 8 groups, and where one of them holds more than half of all records.
    """
    if FIELD.search(groups):
        if "names" not in arrays:
            raise LeakgapError(
                f"data.groups: {groups} is a pattern of file names, and {dataset} is no folder"
            )
        values = _of_names(arrays["names"], groups)
    elif groups in arrays:
        values = arrays[groups]
        if values.ndim != 1 or (values.dtype.kind == "f" and np.isnan(values).any()):
            raise LeakgapError(f"data.groups: the array {groups} is not one value for each record")
    else:
        raise LeakgapError(f"data.groups: {dataset} has no array {groups}, only {', '.join(arrays)}")
    _, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(counts) < FEWEST_GROUPS:
        raise LeakgapError(
            f"data.groups: {len(counts)} groups are too few for halves, {FEWEST_GROUPS} the least"
        )
    if 2 * counts.max() > len(values):
        name = values[int(counts[numbers].argmax())]
        raise LeakgapError(
            f"data.groups: {name} holds {counts.max()} of {len(values)} records, more than half"
        )
    return pd.factorize(values)[0].astype(np.int64)


def _of_names(names: np.ndarray, pattern: str) -> np.ndarray:
    """Return the first field of a pattern in every file's path below the dataset's folder."""
    depth = pattern.count("/") + 1
    fields = FIELD.findall(pattern)
    if len(set(fields)) < len(fields):
        raise LeakgapError(f"data.groups: {pattern} names a field twice")
    parts = FIELD.split(pattern)  # text, field, text, ...
    text = "".join(
        f"(?P<{part}>[^/]+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts)
    )
    wanted = re.compile(text)
    found = []
    for name in names.tolist():
        matched = wanted.fullmatch("/".join(name.split("/")[-depth:]))
        if matched is None:
            raise LeakgapError(f"data.groups: the pattern {pattern} does not fit {name}")
        found.append(matched[1])
    return np.array(found)


def download(dataset: str, root: str | Path | None = None) -> None:
    """Fetch the files of one of DATASETS into `root` and check them; no network if they are there already.

    Other datasets have nothing to fetch. Raises LeakgapError if the files can't be had or are damaged.
    """
    downloader = DATASETS[dataset].downloader if dataset in DATASETS else None
    if downloader is None:
        return
    root = _root(root)
    try:
        _read(dataset, root)
        return
    except LeakgapError:
        pass
    try:
        resolve_name(downloader)(root)
    except Exception as error:  # anything between the network and the archive
        reason = " ".join(str(error).split())
        raise LeakgapError(f"data.root: {dataset} can't be downloaded to {root} ({reason})") from None
    _read(dataset, root)


def _root(root: str | Path | None) -> Path:
    return expanded("data" if root is None else root)


def _read(dataset: str, root: Path) -> tuple[Mapping[str, np.ndarray | list[Path]], np.ndarray]:
    """Arrays by name, or the files that hold the images, and labels int64 [S]."""
    if dataset in DATASETS:
        images, labels = resolve_name(DATASETS[dataset].reader)(root)
        return {"images": images}, labels
    path = expanded(dataset)
    if path.suffix == ".npz":
        return arrays.read(path)
    if is_place(dataset):
        return arrays.call(dataset)
    if path.is_dir():
        files, labels = folder.read(path)
        names = np.array([file.relative_to(path).as_posix() for file in files])  # class/file, for the report
        return {"images": files, "names": names}, labels
    raise LeakgapError(
        f"data.dataset: {dataset} is no .npz, no folder, no function and none of {', '.join(DATASETS)}"
    )
