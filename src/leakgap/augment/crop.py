"""crop: pad every side, then cut the original size out at a random place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from leakgap import LeakgapError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Crop:
    """Random crop of the padded image: torchvision's RandomCrop of the full size."""

    pad: Annotated[
        int | None, Field(ge=1, description="pixels on every side; 4 at 32 pixels, else max(1, H // 8)")
    ] = None
    padding: Annotated[
        Literal["zero", "reflect"], Field(description="what the padding holds: zero or reflect")
    ] = "zero"

    columns: ClassVar[int] = 2
    late: ClassVar[bool] = False

    def check(self, height: int, width: int) -> None:
        """A crop must hold a part of the image, and a reflection repeats no border pixel."""
        pad, side = self._pad(height, width), min(height, width)
        if pad >= side:
            raise LeakgapError(f"crop.pad: {pad} is not below the side of the images, {side}")

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Draws: top and left of the window."""
        import numpy as np
        import torch

        n, channels, height, width = images.shape
        self.check(height, width)
        pad = self._pad(height, width)
        padded = self._padded(images, pad)
        rows, columns = height + 2 * pad, width + 2 * pad
        top, left = (draws.T.astype(np.float64) * (2 * pad + 1)).astype(np.int64)
        corner = (np.arange(n) * channels * rows + top) * columns + left
        # A row of the result is a run of `width` pixels in the padded batch: find where each begins.
        row = torch.arange(channels, device=images.device)[:, None] * rows + torch.arange(
            height, device=images.device
        )
        start = torch.from_numpy(corner).to(images.device, non_blocking=True)[:, None, None] + row * columns
        return padded.flatten().unfold(0, width, 1).index_select(0, start.flatten()).view(images.shape)

    def _pad(self, height: int, width: int) -> int:
        return self.pad or max(1, min(height, width) // 8)

    def _padded(self, images: Tensor, pad: int) -> Tensor:
        from torch.nn.functional import pad as padded

        if self.padding == "zero":
            return padded(images, (pad,) * 4)
        return padded(images.float(), (pad,) * 4, mode="reflect").to(images.dtype)
