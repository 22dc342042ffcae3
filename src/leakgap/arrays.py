"""What the public functions take: anything that numpy makes an array of numbers, or of truths, of."""

import numpy as np
from numpy.typing import ArrayLike

from leakgap import ArgumentError

__all__ = ["numbers", "truths"]


def numbers(values: ArrayLike, name: str) -> np.ndarray:
    """Return an array of numbers; ArgumentError, with the argument's name, for anything else.

    >>> numbers([1, 2.5], "score")
    array([1. , 2.5])
    """
    array = _array(values, name)
    if array.dtype.kind not in "fiub":
        raise ArgumentError(f"{name} must be numbers, not {array.dtype}")
    return array


def truths(values: ArrayLike, name: str) -> np.ndarray:
    """Return an array of bool; ArgumentError, with the argument's name, for anything else: 0 and 1 may be labels.

    >>> truths([True, False], "member")
    array([ True, False])
    """
    array = _array(values, name)
    if array.dtype != bool:
        raise ArgumentError(f"{name} must be boolean, not {array.dtype}")
    return array


def _array(values: ArrayLike, name: str) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:  # lists of unequal lengths
        raise ArgumentError(f"{name} must be an array, not lists of unequal lengths") from None
