"""A user's own arrays: those of an .npz, or those that a function returns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from leakgap import LeakgapError
from leakgap.arguments import untensored
from leakgap.data.pool import Pool
from leakgap.files import naming, read_arrays
from leakgap.objects import Object, said

Arrays = dict[str, np.ndarray]


def read(path: Path) -> tuple[Arrays, np.ndarray]:
    """Return the arrays of an .npz by name, and its labels, int64 [S]: see `checked`."""
    arrays = read_arrays(path)
    with naming(path):
        return checked(arrays)


def call(place: str) -> tuple[Arrays, np.ndarray]:
    """Return the arrays that a function `file.py:function` or `module:function` returns by name, and its labels."""
    source = Object(place)
    try:
        given = source.load()()
        items = list(given.items()) if isinstance(given, Mapping) else None
    except Exception as error:  # anything: it is the user's code
        raise source.blamed(error) from None
    if items is None:
        raise LeakgapError(f"{place}: returned {type(given).__name__}, not a dict of arrays by name")
    with naming(place):
        return checked({name: _array(name, values) for name, values in items})


def _array(name: Any, values: Any) -> np.ndarray:
    if not isinstance(name, str):
        raise LeakgapError(f"{name!r} is {type(name).__name__}, not the name of an array")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):
        raise LeakgapError(f"{name} has masked values: fill them, or leave their records out")
    try:
        return np.asarray(untensored(values))
    except Exception as error:  # lists of unequal lengths, and whatever an object of the user's raises
        raise LeakgapError(f"{name} can't be made an array ({said(error)})") from None


def checked(arrays: Arrays) -> tuple[Arrays, np.ndarray]:
    """Take the labels, integers from 0 on, out of equally long arrays.

    `images`, if uint8, may be [S,C,H,W], [S,H,W,C] or [S,H,W] and become [S,C,H,W]; the axis of 1 or 3 is the
    channels. Raises LeakgapError that names the array.
    """
    if "labels" not in arrays:
        raise LeakgapError(f"has no array labels, only {', '.join(arrays) or 'none'}")
    labels, rest = arrays["labels"], {name: array for name, array in arrays.items() if name != "labels"}
    if not rest:
        raise LeakgapError("has labels alone, and nothing to train on")
    if labels.dtype.kind not in "iu":
        raise LeakgapError(f"labels are {labels.dtype}, not integers")
    if "images" in rest and rest["images"].dtype == np.uint8:
        rest["images"] = _channels_first(rest["images"])
    labels = labels.astype(np.int64)
    Pool(rest, labels, int(labels.max(initial=-1)) + 1)
    return rest, labels


def _channels_first(images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[3] in (1, 3):
        if images.shape[1] in (1, 3):
            raise LeakgapError(f"images are {images.shape}, axis 1 or axis 3 could be the channels")
        return images.transpose(0, 3, 1, 2)
    return images
