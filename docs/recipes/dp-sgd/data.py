"""scikit-learn's digits with canaries: records made to be remembered, for a stricter audit."""

import numpy as np
from sklearn.datasets import load_digits

SHARE = 0.1


def digits_with_canaries() -> dict[str, np.ndarray]:
    """Images uint8 [1797,8,8] and labels, of which a tenth are wrong: only a model that saw one knows it."""
    digits, rng = load_digits(), np.random.default_rng(0)
    labels = digits.target.copy()
    planted = rng.permutation(len(labels))[: round(SHARE * len(labels))]
    labels[planted] = (labels[planted] + rng.integers(1, 10, len(planted))) % 10
    return {"images": np.rint(digits.images * 255 / 16).astype(np.uint8), "labels": labels}


def canaries() -> np.ndarray:
    """Which of the digits are canaries, bool [1797]."""
    return digits_with_canaries()["labels"] != load_digits().target
