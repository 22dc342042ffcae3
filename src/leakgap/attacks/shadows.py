"""What the calibrated attacks share: statistics over the shadow models, without the one left out for each target.

All of it is on the clean view (view 0) and in float64. A sum that leaves one model out is the sum of those before
it and of those after it: nothing cancels, so removing the only large value leaves exactly the small ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leakgap.attacks import Evidence

BLOCK = 1 << 18  # values of phi per block of images, so that its temporaries stay small

# (phi of the targets [T,b], phi of the shadow models [N,b], membership [N,b], excluded rows [T]) -> scores [T,b]
Score = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def by_image(evidence: Evidence, score: Score, images: np.ndarray) -> np.ndarray:
    """Score the given images block by block: float32 [T,S], NaN at all others."""
    scores = np.full(evidence.target.shape[:2], np.nan, np.float32)
    size = max(1, BLOCK // len(evidence.shadow))
    for block in np.split(images, range(size, len(images), size)):
        target, shadow = (phi[:, block, 0].astype(float) for phi in (evidence.target, evidence.shadow))
        scores[:, block] = score(target, shadow, evidence.member[:, block], evidence.exclude)
    return scores


def unreserved(evidence: Evidence, n_in: int = 0, n_out: int = 0) -> np.ndarray:
    """Return the images that are not reserved, int [images].

    ValueError, naming the first, if one has not n_in in-models and n_out out-models besides each one left out.
    """
    images = np.flatnonzero(~evidence.reserved)
    member = evidence.member[:, images]
    for kind, side, needed in (("in", member, n_in), ("out", ~member, n_out)):
        few = side.sum(0) - side[evidence.exclude].any(0) < needed
        if few.any():
            raise ValueError(
                f"image {images[few.argmax()]} has fewer than {needed} {kind}-models besides the one left out"
            )
    return images


def others(values: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """Sum values [N,b] over all rows but exclude[t]: [T,b]."""
    before, after = np.zeros((2, len(values) + 1, *values.shape[1:]), np.result_type(values, np.int64))
    np.cumsum(values, 0, out=before[1:])
    np.cumsum(values[::-1], 0, out=after[1:])
    return before[exclude] + after[len(values) - 1 - exclude]


def mean(values: np.ndarray, kept: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """Mean of values [N,b] over the kept models [N,b] but row exclude[t]: [T,b], NaN where none is left."""
    with np.errstate(invalid="ignore"):
        return others(np.where(kept, values, 0.0), exclude) / others(kept, exclude)


def mean_out(values: np.ndarray, member: np.ndarray, exclude: np.ndarray) -> np.ndarray:
    """Mean of values [N,b] over the out-models but row exclude[t] and the spare one: [T,b]."""
    out = ~member
    row, spare = spare_out(out, exclude)
    total = others(np.where(out, values, 0.0), exclude)
    total -= np.where(spare, np.take_along_axis(values, row, 0), 0)
    return total / (out.sum(0) - out[exclude] - spare)


def spare_out(out: np.ndarray, exclude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an out-model not to be used, row int [T,b], where more than N/2 - 1 are left for a target, bool [T,b].

    Under balanced masks N/2 out-models are left for a member and N/2 - 1 for others. The noise of any statistic of
    all of them would tell which, so one that is skewed, or that images are chosen by, does without the surplus one:
    the last before exclude[t], the rows being a circle.
    """
    latest = np.zeros(out.shape, np.int16)
    for row in (*range(len(out)), *range(len(out))):
        latest[row] = np.where(out[row], row, latest[row - 1])
    return latest[exclude - 1], out.sum(0) - out[exclude] > (len(out) - 1) // 2
