"""Gradient-boosted trees on tabular records."""

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
    l2: float = 0.0,
    leaf: int = 20,
    early_stopping: bool = False,
) -> Iterator[np.ndarray]:
    """Boost on the members; a step is a number of boosting rounds. leaf: fewest records in a leaf."""
    model = HistGradientBoostingClassifier(
        max_iter=steps[-1],
        max_depth=depth,
        learning_rate=learning_rate,
        l2_regularization=l2,
        min_samples_leaf=leaf,
        early_stopping=early_stopping,  # on a tenth of the members
        random_state=seed,
    )
    model.fit(data["features"][members], data["labels"][members])
    rounds = list(model.staged_decision_function(data["features"]))
    for step in steps:
        yield rounds[min(step, len(rounds)) - 1]  # who stopped early answers as when it stopped
