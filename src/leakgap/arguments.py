"""What the public functions take: anything that numpy makes an array of numbers, or of truths, of."""

from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from leakgap import ArgumentError

__all__ = ["fraction", "numbers", "truths", "untensored", "whole"]

NO_NUMPY = ("torch.bfloat16", "torch.float8")  # types that numpy does not have


def untensored(values: Any) -> Any:
    """Return what numpy can read: tensors of torch, of any type, on any device and with a gradient, as arrays.

    Lists and tuples may hold them; anything else is returned as it is.

    >>> untensored([1, 2.5])
    [1, 2.5]
    """
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        tensor = tensor if str(tensor.layout) == "torch.strided" else tensor.to_dense()
        return (tensor.float() if str(tensor.dtype).startswith(NO_NUMPY) else tensor).numpy()
    if isinstance(values, list | tuple) and any(
        hasattr(each, "detach") or isinstance(each, list | tuple) for each in values
    ):
        return [untensored(each) for each in values]
    return values


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


def fraction(value: Any, name: str) -> float:
    """Return a number strictly between 0 and 1; ArgumentError, with the argument's name, for anything else.

    >>> fraction(0.95, "level")
    0.95
    """
    if not isinstance(value, Real) or not 0 < float(value) < 1:
        raise ArgumentError(f"{name} must lie between 0 and 1, not {value!r}")
    return float(value)


def whole(value: Any, name: str) -> int:
    """Return a whole number of 0 or more, as seeds are; ArgumentError, with the argument's name, for anything else.

    >>> whole(np.int64(3), "seed")
    3
    """
    if not isinstance(value, Integral) or value < 0:
        raise ArgumentError(f"{name} must be a whole number of 0 or more, not {value!r}")
    return int(value)


def _array(values: ArrayLike, name: str) -> np.ndarray:
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        raise ArgumentError(f"{name} has masked values: leave them out, or fill them (NaN is an abstention)")
    try:
        return np.asarray(untensored(values))
    except ValueError:  # lists of unequal lengths
        raise ArgumentError(f"{name} must be an array, not lists of unequal lengths") from None
