"""policy: AutoAugment's policy for CIFAR-10 (Cubuk et al., arXiv:1805.09501), as torchvision defines it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class Policy:
    """One of 25 sub-policies for each image: two operations, each applied with its own probability."""

    columns: ClassVar[int] = 5
    late: ClassVar[bool] = False

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """Draws: sub-policy, two probabilities, two signs (negative below one half)."""
        from leakgap.augment.autoaugment import apply

        return apply(images, draws)
