"""crop: pad every side, then cut the original size out at a random place."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leakgap import LeakgapError


@dataclass(frozen=True)
class Crop:
    """torchvision's RandomCrop of the full size, with zeros around the image or its reflection.

    pad: pixels on every side; None is an eighth of the shorter side (4 at 32 pixels), at least 1.
    """

    pad: int | None = None
    padding: Literal["zero", "reflect"] = "zero"

    columns: ClassVar[int] = 2
    late: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the options."""
        if self.pad is not None and self.pad < 1:
            raise LeakgapError(f"crop.pad must be at least 1 pixel, not {self.pad}")
        if self.padding not in ("zero", "reflect"):
            raise LeakgapError(f"crop.padding must be 'zero' or 'reflect', not {self.padding!r}")

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Draws: top and left of the window."""
        n, channels, height, width = images.shape
        pad = self.pad or max(1, min(height, width) // 8)
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

    def _padded(self, images: Tensor, pad: int) -> Tensor:
        if self.padding == "zero":
            return F.pad(images, (pad,) * 4)
        if pad >= min(images.shape[2:]):
            size = "x".join(map(str, images.shape[2:]))
            raise LeakgapError(
                f"crop.pad {pad} with crop.padding 'reflect' must be smaller than the image, {size} pixels"
            )
        return F.pad(images.float(), (pad,) * 4, mode="reflect").to(torch.uint8)
