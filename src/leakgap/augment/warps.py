"""The operations of AutoAugment that move pixels.

They take the nearest source pixel and zeros from outside, so that all of them together are one table lookup.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Warp = tuple[str, int, int]
"""Operation, magnitude 0..9, sign +1 or -1."""


def warp(images: Tensor, level: Tensor, warps: tuple[Warp, ...]) -> Tensor:
    """Warp uint8 images [n,C,H,W], each by the one of `warps` that its level [n,1,1,1] numbers."""
    channels, height, width = images.shape[1:]
    tables = torch.from_numpy(_sources(height, width, warps)).to(images.device, non_blocking=True)
    source = tables.index_select(0, level.flatten().long())[:, None].expand(-1, channels, -1)
    return F.pad(images.flatten(2), (1, 0)).gather(2, source).view(images.shape)


def spaced(end: float, magnitude: int) -> float:
    """torch.linspace(0, end, 10)[magnitude], to the bit."""
    step = np.float32(end) / np.float32(9)
    return float(step * magnitude if magnitude < 5 else np.float32(end) - step * (9 - magnitude))


@lru_cache(maxsize=8)
def _sources(height: int, width: int, warps: tuple[Warp, ...]) -> np.ndarray:
    """For each warp and pixel, 1 + the number of its source, or 0 if that is outside: int64 [warps, H * W].

    Computed in float32 and in the order of torchvision's affine grid and grid_sample: near ties break alike.
    """
    f = np.float32
    size = np.array([[width], [height]], f)
    y, x = np.mgrid[:height, :width].astype(f).reshape(2, -1) - (size[::-1] - f(1)) / f(2)
    tables = []
    for operation, magnitude, sign in warps:
        matrix = np.array(_inverse_matrix(operation, magnitude, sign, height, width), f) / (size / f(2))
        grid = (matrix[:, :1] * x + matrix[:, 1:2] * y) + matrix[:, 2:]
        column, row = np.rint(((grid + f(1)) * size - f(1)) / f(2)).astype(np.int64)
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        tables.append(np.where(inside, row * width + column + 1, 0))
    return np.stack(tables)


def _inverse_matrix(operation: str, magnitude: int, sign: int, height: int, width: int) -> list[list[float]]:
    """Where the pixel (x, y, 1), counted from the centre of the image, comes from: [2,3]."""
    if operation == "Rotate":
        angle = math.radians(-sign * spaced(30, magnitude))
        return [[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0]]
    if operation == "ShearY":  # about the left edge
        slope = sign * spaced(0.3, magnitude)
        return [[1, 0, 0], [slope, 1, slope * width / 2]]
    side, axis = {"TranslateX": (width, 0), "TranslateY": (height, 1)}[operation]
    shift = [0, 0]
    shift[axis] = -sign * int(spaced(150 / 331 * side, magnitude))
    return [[1, 0, shift[0]], [0, 1, shift[1]]]
