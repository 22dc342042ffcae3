"""mirror: flip half of the images left to right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Mirror:
    """torchvision's RandomHorizontalFlip with probability one half."""

    columns: ClassVar[int] = 1
    late: ClassVar[bool] = False

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Draws: flipped where below one half."""
        import numpy as np
        import torch

        flipped = torch.from_numpy(np.where(draws < 0.5, 255, 0).astype(np.uint8))
        mask = flipped.to(images.device, non_blocking=True)[:, :, None, None]
        # On bytes several times faster than torch.where.
        return images.flip(3).bitwise_xor_(images).bitwise_and_(mask).bitwise_xor_(images)
