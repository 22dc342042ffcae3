"""A user's own images in an .npz."""

from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.data.pool import Pool
from leakgap.files import naming, read_npz


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [S,C,H,W] and labels int64 [S] of an .npz with `images` and integer `labels` from 0 on.

    The images may be [S,C,H,W], [S,H,W,C] or [S,H,W]; the axis of 1 or 3 is the channels.
    """
    images, labels = read_npz(path, "images", "labels")
    if labels.dtype.kind not in "iu":
        raise LeakgapError(f"{path}: labels are {labels.dtype}, not integers")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        if images.shape[1] in (1, 3):
            raise LeakgapError(f"{path}: images are {images.shape}, axis 1 or axis 3 could be the channels")
        images = images.transpose(0, 3, 1, 2)
    labels = labels.astype(np.int64)
    with naming(path):
        Pool(images, labels, int(labels.max(initial=-1)) + 1)
    return images, labels
