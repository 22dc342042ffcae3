"""cutout: erase a square (DeVries and Taylor, arXiv:1708.04552)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from leakgap import LeakgapError


@dataclass(frozen=True)
class Cutout:
    """Fill a square whose centre is any pixel of the image with equal chance, and which the border clips.

    The square covers rows y - size // 2 up to, not including, y - size // 2 + size, and columns alike.
    size: side in pixels; None is half of the shorter side (16 at 32 pixels), at least 1.
    fill: colour, 0..255, one value or one per channel; rounded.
    """

    size: int | None = None
    fill: float | Sequence[float] = 0

    columns: ClassVar[int] = 2
    late: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the options."""
        if self.size is not None and self.size < 1:
            raise LeakgapError(f"cutout.size must be at least 1 pixel, not {self.size}")
        if not all(0 <= value <= 255 for value in np.atleast_1d(self.fill)):
            raise LeakgapError(f"cutout's fill must be 0..255, not {self.fill}")

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Draws: row and column of the centre."""
        height, width = images.shape[2:]
        size = self.size or max(1, min(height, width) // 2)
        y, x = (draws.T.astype(np.float64) * [[height], [width]]).astype(np.int64)
        # Row c of the table: 255 in the columns that a square around column c erases; the last row: none.
        table = np.zeros((width + 1, width), np.uint8)
        table[:width] = 255 * _covered(np.arange(width), width, size)
        row = np.where(_covered(y, height, size), x[:, None], width)
        mask, index, fill = (
            torch.from_numpy(a).to(images.device, non_blocking=True) for a in (table, row, self._fill(images))
        )
        erased = mask.index_select(0, index.flatten()).view(-1, 1, height, width)
        # On bytes several times faster than torch.where.
        return images.bitwise_xor(fill).bitwise_and_(erased).bitwise_xor_(images)

    def _fill(self, images: Tensor) -> np.ndarray:
        fill = np.rint(np.atleast_1d(self.fill)).astype(np.uint8)
        if len(fill) not in (1, images.shape[1]):
            raise LeakgapError(
                f"cutout's fill has {len(fill)} values for images of {images.shape[1]} channels"
            )
        return fill[:, None, None]


def _covered(centre: np.ndarray, side: int, size: int) -> np.ndarray:
    """Bool [len(centre), side]: the pixels of a side that a square around each centre covers."""
    offset = np.arange(side) - centre[:, None] + size // 2
    return (offset >= 0) & (offset < size)
