"""The pool of records, images or others, that masks draw training sets from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from leakgap import LeakgapError
from leakgap.files import naming, read_arrays, write_npz

DIGEST = "digest"
GROUPS = "groups of records"
OURS = ("labels", "classes", "source", GROUPS)  # in a pool's file, beside its arrays


@dataclass(frozen=True, eq=False)
class Pool:
    """Equally long arrays by name, and labels int64 [S] in 0..classes-1, each class present.

    source: the keys of `data` in a study that it was gathered by, as far as they are known.
    Raises LeakgapError if that is not so, or if there are fewer than two classes.

    >>> Pool({"features": np.zeros((4, 2)), "length": np.ones(3)}, np.array([0, 1, 0, 1]), 2)
    Traceback (most recent call last):
    ...
    leakgap.LeakgapError: length has 3 rows, and labels has 4
    """

    arrays: Mapping[str, np.ndarray]
    labels: np.ndarray
    classes: int
    source: Mapping[str, Any] = field(default_factory=dict)
    groups: np.ndarray | None = None  # int64 [S]: whose record each is, such as a patient; None: each its own

    def __post_init__(self) -> None:
        labels = self.labels
        if labels.ndim != 1 or not len(labels):
            raise LeakgapError(f"labels are {labels.shape}, not one for each record")
        for name, array in self.arrays.items():
            if name in OURS:
                raise LeakgapError(f"{name} can't be the name of an array beside labels")
            if not name.isprintable() or name.endswith(".npy"):  # an .npz has the array `a` as `a.npy`
                raise LeakgapError(f"{name!r} can't be the name of an array: an .npz would not tell it apart")
            if array.dtype.kind == "O":
                raise LeakgapError(f"{name} holds Python objects, not numbers or text")
            if array.shape[:1] != labels.shape:
                rows = f"has {len(array)} rows" if array.ndim else "is a single value"
                raise LeakgapError(f"{name} {rows}, and labels has {len(labels)}")
        if labels.dtype != np.int64:
            raise LeakgapError(f"labels are {labels.dtype}, not int64")
        if self.groups is not None and (self.groups.shape, self.groups.dtype) != (labels.shape, np.int64):
            raise LeakgapError(
                f"groups are {self.groups.dtype} {self.groups.shape}, not int64 for each record"
            )
        outside = labels[(labels < 0) | (labels >= self.classes)]
        if outside.size:
            raise LeakgapError(f"label {outside[0]} is outside 0..{self.classes - 1}")
        present = np.unique(labels)
        if len(present) < self.classes:
            gap = np.flatnonzero(np.append(present, -1) != np.arange(len(present) + 1))[0]
            raise LeakgapError(f"class {gap} of 0..{self.classes - 1} has no record")
        if self.classes < 2:
            raise LeakgapError("all records have one label, an audit needs at least two classes")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of arrays and labels, 16 hexadecimal digits."""
        whole = hashlib.sha256()
        parts = {**self.arrays, "labels": self.labels} | (
            {} if self.groups is None else {GROUPS: self.groups}
        )
        for name, array in sorted(parts.items()):
            whole.update(f"{name} {array.dtype} {array.shape} ".encode())
            plain = array.view(np.int64) if array.dtype.kind in "mM" else array  # times have no buffer
            whole.update(np.ascontiguousarray(plain).data if array.size else b"")
        return whole.hexdigest()[:16]

    @property
    def images(self) -> np.ndarray:
        """The array `images`, uint8 [S,C,H,W] with 1 or 3 channels; LeakgapError if there are no such images."""
        if "images" not in self.arrays:
            raise LeakgapError(f"has no array images, only {', '.join(self.arrays)}: {FOR_RECIPES}")
        images = self.arrays["images"]
        if images.dtype != np.uint8:
            raise LeakgapError(f"images are {images.dtype}, not uint8 (0..255): {FOR_RECIPES}")
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
            raise LeakgapError(
                f"images are {images.shape}, not [images, 1 or 3 channels, height, width]: {FOR_RECIPES}"
            )
        return images

    @property
    def names(self) -> np.ndarray | None:
        """The array `names`, text [S], what the dataset calls its records; None where it has no names for them."""
        names = self.arrays.get("names")
        return names if names is not None and names.dtype.kind == "U" and names.ndim == 1 else None


FOR_RECIPES = "other arrays need train.recipe, a training of your own"


def subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Ascending indices of `size` random images with the classes in proportion, int64 [size].

    Smaller subsets of one seed are parts of larger ones. Raises LeakgapError naming data.size if there are
    fewer images than that, or if a class would lose all of its images.
    """
    if size > len(labels):
        raise LeakgapError(f"data.size: {size} images are asked for, but there are only {len(labels)}")
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    shuffled = generator.permutation(len(labels))
    place = np.empty(len(labels))  # of an image among those of its class, from 0 to 1
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    keep = np.sort(shuffled[np.argsort(place[shuffled], kind="stable")][:size])
    lost = np.setdiff1d(labels, labels[keep])
    if lost.size:
        raise LeakgapError(f"data.size: {size} images are too few to keep one of class {lost[0]}")
    return keep


def average_down(images: np.ndarray, side: int) -> np.ndarray:
    """Average uint8 [S,C,H,W] down to uint8 [S,C,side,side].

    Each new pixel is the mean over the area that it covers: old pixels at its border weigh by the part
    covered, halves are rounded up. Raises LeakgapError naming data.side if that is more than H or W.
    """
    height, width = images.shape[2:]
    if side > min(height, width):
        raise LeakgapError(f"data.side: images of {height}x{width} pixels can't be averaged down to {side}")
    rows, columns = _overlaps(height, side), _overlaps(width, side)
    small = np.empty((*images.shape[:2], side, side), np.uint8)
    size = at_once(1024, height, width)
    for start in range(0, len(images), size):
        block = slice(start, start + size)
        totals = rows @ images[block].astype(np.float64) @ columns.T  # whole numbers: exact in any order
        small[block] = np.floor(totals / (height * width) + 0.5)
    return small


def at_once(most: int, height: int, width: int) -> int:
    """Return how many images to work on at once: `most` of 32x32 pixels or fewer, and no more pixels of others.

    >>> at_once(512, 28, 28), at_once(512, 64, 64), at_once(512, 5000, 5000)
    (512, 128, 1)
    """
    return max(1, most * min(1024, height * width) // (height * width))


def _overlaps(old: int, new: int) -> np.ndarray:
    """Length shared by new pixel j (`old` units long) and old pixel i (`new` units): float64 [new, old]."""
    j, i = np.arange(new)[:, None], np.arange(old)
    return np.clip(np.minimum((j + 1) * old, (i + 1) * new) - np.maximum(j * old, i * new), 0, None) * 1.0


def write_pool(path: str | Path, pool: Pool) -> None:
    """Write pool.npz: the arrays, labels, classes (a scalar) and source (JSON), whole or not at all.

    The digest of arrays and labels stands in `source`.
    """
    source = np.array(json.dumps(dict(pool.source) | {DIGEST: pool.digest}))
    arrays: dict[str, np.ndarray | np.generic] = dict(pool.arrays)
    if pool.groups is not None:
        arrays[GROUPS] = pool.groups
    arrays |= {"labels": pool.labels, "classes": np.int64(pool.classes), "source": source}
    write_npz(path, arrays)


def read_pool(path: str | Path) -> Pool:
    """Read what write_pool wrote; LeakgapError naming the file if it is damaged or holds no pool."""
    pool, told = _parsed(path, read_arrays(path, made_by="pool"))
    if told not in (None, pool.digest):  # without one: written by others, or before there was any
        raise LeakgapError(f"{path}: its records are not as they were written")
    return pool


def read_labels(path: str | Path) -> tuple[np.ndarray, str, np.ndarray | None]:
    """Return labels int64 [S], digest and groups int64 [S] of a pool's file.

    Its records, often large, are not read if it tells the digest.

    LeakgapError as read_pool.
    """
    pool, told = _parsed(path, read_arrays(path, OURS.__contains__, made_by="pool"))
    return pool.labels, read_pool(path).digest if told is None else str(told), pool.groups


def _parsed(path: str | Path, arrays: dict[str, np.ndarray]) -> tuple[Pool, Any]:
    """Return the pool, and the digest that its file tells or None."""
    for name in ("labels", "classes"):
        if name not in arrays:
            raise LeakgapError(f"{path}: has no array {name}, only {', '.join(arrays) or 'none'}")
    groups = arrays.pop(GROUPS, None)
    labels, classes, source = (arrays.pop(name, np.array("{}")) for name in ("labels", "classes", "source"))
    if classes.shape or classes.dtype.kind not in "iu":
        raise LeakgapError(f"{path}: classes is {classes.dtype} {classes.shape}, not an integer")
    try:
        about = json.loads(str(source))
    except ValueError:
        raise LeakgapError(f"{path}: source is not what a pool says of its source") from None
    about = about if isinstance(about, dict) else {}
    told = about.pop(DIGEST, None)
    with naming(path):
        return Pool(arrays, labels, int(classes), about, groups), told
