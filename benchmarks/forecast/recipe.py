"""Gradient-boosted trees, as docs/recipes/boosting has them, for two classes too."""

from collections.abc import Iterator

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier


def train(
    data: dict[str, np.ndarray],
    members: np.ndarray,
    seed: int,
    steps: list[int],
    depth: int = 6,
    learning_rate: float = 0.1,
    leaf: int = 20,
) -> Iterator[np.ndarray]:
    """Boost on the members; a step is a number of boosting rounds. leaf: fewest records in a leaf."""
    model = HistGradientBoostingClassifier(
        max_iter=steps[-1],
        max_depth=depth,
        learning_rate=learning_rate,
        min_samples_leaf=leaf,
        early_stopping=False,
        random_state=seed,
    )
    model.fit(data["features"][members], data["labels"][members])
    rounds = list(model.staged_decision_function(data["features"]))
    for step in steps:
        logits = rounds[step - 1]
        two = logits.ndim == 1
        yield np.stack([np.zeros_like(logits), logits], axis=1) if two else logits
