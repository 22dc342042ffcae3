"""What the calibrated attacks share: means over the shadow models that are kept, on the clean view (view 0).

All of it is in float64, and sums are over the models that are kept: nothing is subtracted, so nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leakgap.attacks import Evidence

BLOCK = 1 << 18  # values of phi per block of images, so that its temporaries stay small


@dataclass(frozen=True)
class Block:
    """A block of b images: phi of T targets and N shadow models on the clean view, float64."""

    target: np.ndarray  # [T,b]
    shadow: np.ndarray  # [N,b]; the very array `target` where the targets are the shadow models
    member: np.ndarray  # bool [N,b]
    kept: np.ndarray  # [T,N]: 1 for the shadow models used against each target, 0 for those left out

    def both(self, statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """A statistic of the targets' phi and of the shadow models'."""
        own = statistic(self.target)
        return own, own if self.shadow is self.target else statistic(self.shadow)

    def mean(self, values: np.ndarray, side: bool) -> np.ndarray:
        """Mean of values [N,b] over the in-models (side True) or out-models that are kept: [T,b], NaN over none."""
        with np.errstate(invalid="ignore"):
            return self.kept @ np.where(self.member == side, values, 0) / self.count(side)

    def count(self, side: bool) -> np.ndarray:
        """Number of in- or out-models that are kept: [T,b]."""
        return self._inside if side else self.kept.sum(1, keepdims=True) - self._inside

    @cached_property
    def _inside(self) -> np.ndarray:
        whole = self.kept.astype(np.float32) @ self.member.astype(np.float32)  # exact up to 16 million models
        return whole.astype(np.float64)


def by_image(evidence: Evidence, score: Callable[[Block], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Score the given images block by block: float32 [T,S], NaN at all others."""
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    kept = (~evidence.left_out).astype(float)
    size = max(1, BLOCK // len(evidence.shadow))
    for block in np.split(images, range(size, len(images), size)):
        shadow = evidence.shadow[:, block, 0].astype(float)
        target = shadow if evidence.target is evidence.shadow else evidence.target[:, block, 0].astype(float)
        scores[:, block] = score(Block(target, shadow, evidence.member[:, block], kept))
    return scores


def unreserved(evidence: Evidence) -> np.ndarray:
    """Return the images that are not reserved, int [images]."""
    return np.flatnonzero(~evidence.reserved)
