"""Datasets, as one pool of images that the masks draw training sets from."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.files import atomic


# what zipfile and numpy raise on damaged files
DAMAGED = (OSError, EOFError, ValueError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Pool:
    """images uint8 [S,C,H,W] with 1 or 3 channels, labels int64 [S] in 0..classes-1, each class present.

    Raises LeakgapError if that is not so, or if there are fewer than two classes.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: int

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8:
            raise LeakgapError(f"images are {images.dtype}, not uint8 (0..255)")
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
            raise LeakgapError(f"images are {images.shape}, not [images, 1 or 3 channels, height, width]")
        if labels.shape != images.shape[:1] or labels.dtype != np.int64:
            raise LeakgapError(
                f"labels are {labels.dtype} {labels.shape}, not one integer for each of {len(images)} images"
            )
        if self.classes < 2:
            raise LeakgapError(f"there is {self.classes} class, an audit needs at least two")
        present = np.unique(labels)
        if not np.array_equal(present, np.arange(self.classes)):
            wrong = np.setxor1d(present, np.arange(self.classes))[0]
            raise LeakgapError(
                f"label {wrong} has no image"
                if 0 <= wrong < self.classes
                else f"label {wrong} is outside 0..{self.classes - 1}"
            )


def load(
    dataset: str,
    root: str | Path | None = None,
    size: int | None = None,
    side: int | None = None,
    seed: int = 0,
) -> Pool:
    """Load a dataset."""
    if dataset != "digits":
        raise LeakgapError(f"data.dataset: {dataset!r} is unknown")
    images, labels = _digits()
    return Pool(images, labels, int(labels.max()) + 1)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return images[:, None], digits.target.astype(np.int64)


def write_pool(path: str | Path, pool: Pool) -> None:
    """Write pool.npz: images, labels and classes (a scalar), whole or not at all."""
    write_npz(path, images=pool.images, labels=pool.labels, classes=np.int64(pool.classes))


def read_pool(path: str | Path) -> Pool:
    """Read what write_pool wrote; LeakgapError naming the file if it is damaged or holds no pool."""
    images, labels, classes = read_npz(path, "images", "labels", "classes")
    try:
        return Pool(images, labels, int(classes))
    except (LeakgapError, TypeError, ValueError) as error:
        raise LeakgapError(f"{path}: {error}") from None


def write_npz(path: str | Path, **arrays: np.ndarray | np.generic) -> None:
    """Write arrays uncompressed (a training job reads them in a moment), whole or not at all."""
    with atomic(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)  # type: ignore[arg-type]


def read_npz(path: str | Path, *names: str) -> list[np.ndarray]:
    """The named arrays of an .npz, read without pickle; LeakgapError naming a file without them or damaged."""
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as stored:
            missing = [name for name in names if name not in stored]
            if missing:
                raise LeakgapError(f"{path}: has no array {missing[0]!r}, only {', '.join(stored) or 'none'}")
            return [stored[name] for name in names]
    except FileNotFoundError:
        raise LeakgapError(f"{path}: there is no such file") from None
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise LeakgapError(f"{path}: is not a readable .npz ({error})") from None
