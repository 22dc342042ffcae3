"""scikit-learn's digits: 1,797 images of 8x8 pixels in 17 levels of grey, installed with scikit-learn."""

from pathlib import Path

import numpy as np


def read(_: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [1797,1,8,8], levels 0..16 stretched to 0..255, and labels int64 [1797]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    return images[:, None], digits.target.astype(np.int64)
