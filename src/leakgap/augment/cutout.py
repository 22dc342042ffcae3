"""cutout: erase a square (DeVries and Taylor, arXiv:1708.04552)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from leakgap import LeakgapError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Cutout:
    """DeVries and Taylor's erased square: its centre is any pixel with equal chance, the border clips it.

    The square covers rows y - size // 2 up to, not including, y - size // 2 + size, and columns alike.
    fill: colour, 0..255, one value or one per channel; rounded.
    """

    size: Annotated[
        int | None, Field(ge=1, description="side in pixels; 16 at 32 pixels, else max(1, H // 2)")
    ] = None
    fill: float | Sequence[float] = 0

    columns: ClassVar[int] = 2
    late: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the colour."""
        if not all(0 <= value <= 255 for value in self._colour):
            raise LeakgapError(f"cutout's fill must be 0..255, not {self.fill}")

    @property
    def _colour(self) -> list[float]:
        return list(self.fill) if isinstance(self.fill, Iterable) else [self.fill]

    def check(self, height: int, width: int) -> None:
        """A square of twice the side erases the whole image wherever its centre is."""
        side = min(height, width)
        if self.size is not None and self.size > 2 * side:
            raise LeakgapError(f"cutout.size: {self.size} is over twice the side of the images, {side}")

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Draws: row and column of the centre."""
        import numpy as np
        import torch

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
        import numpy as np

        fill = np.rint(self._colour).astype(np.uint8)
        if len(fill) not in (1, images.shape[1]):
            raise LeakgapError(
                f"cutout's fill has {len(fill)} values for images of {images.shape[1]} channels"
            )
        return fill[:, None, None]


def _covered(centre: np.ndarray, side: int, size: int) -> np.ndarray:
    """Bool [len(centre), side]: the pixels of a side that a square around each centre covers."""
    import numpy as np

    offset = np.arange(side) - centre[:, None] + size // 2
    return (offset >= 0) & (offset < size)
