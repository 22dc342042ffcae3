"""Seeds of models and of what is drawn in their training."""

import numpy as np


def derive_seed(seed: int, *key: int) -> int:
    """Return an independent 63-bit seed for every key: a model's from its mask, an epoch's from its index."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0] >> 1)
