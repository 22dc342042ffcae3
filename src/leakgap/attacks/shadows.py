"""What the calibrated attacks share: means over the shadow models that are kept, on the clean view (view 0).

All of it is in float64, and sums are over the models that are kept: nothing is subtracted, so nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leakgap.attacks import Evidence

BLOCK = 1 << 18  # values of phi per block of images, so that its temporaries stay small


@dataclass(frozen=True)
class Block:
    """A block of b images: phi of T targets and N shadow models on the clean view, float64."""

    target: np.ndarray  # [T,b]
    shadow: np.ndarray  # [N,b]
    member: np.ndarray  # bool [N,b]
    kept: np.ndarray  # [T,N]: 1 for the shadow models used against each target, 0 for those left out

    def mean(self, values: np.ndarray, side: bool) -> np.ndarray:
        """Mean of values [N,b] over the in-models (side True) or out-models that are kept: [T,b], NaN over none."""
        models = self.member == side
        with np.errstate(invalid="ignore"):
            return self.kept @ np.where(models, values, 0) / self.count(side)

    def count(self, side: bool) -> np.ndarray:
        """Number of in- or out-models that are kept: [T,b]."""
        return self.kept @ (self.member == side)


def by_image(evidence: Evidence, score: Callable[[Block], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Score the given images block by block: float32 [T,S], NaN at all others."""
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    kept = (~evidence.left_out).astype(float)
    size = max(1, BLOCK // len(evidence.shadow))
    for block in np.split(images, range(size, len(images), size)):
        target, shadow = (phi[:, block, 0].astype(float) for phi in (evidence.target, evidence.shadow))
        scores[:, block] = score(Block(target, shadow, evidence.member[:, block], kept))
    return scores


def unreserved(evidence: Evidence) -> np.ndarray:
    """Return the images that are not reserved, int [images]."""
    return np.flatnonzero(~evidence.reserved)
