"""The epsilon that DP-SGD accounts for, by privacy loss distributions."""

import math
from functools import cache

from dp_accounting import NeighboringRelation
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution, from_gaussian_mechanism

DELTA = 1e-5
BATCHES = 8  # an epoch, as in recipe.py


@cache
def loss_distribution(noise: float, rate: float, batches: int, relation: str) -> PrivacyLossDistribution:
    """What that many noisy sums of a Poisson sample give away at most; relation: ADD_OR_REMOVE_ONE, REPLACE_ONE."""
    one = from_gaussian_mechanism(
        noise,
        sampling_prob=rate,
        neighboring_relation=NeighboringRelation[relation],
        value_discretization_interval=1e-3,
    )
    return one.self_compose(batches)


def accounted(noise: float, rate: float, batches: int, relation: str) -> float:
    """Epsilon at DELTA of that many noisy sums of a Poisson sample, bounded from above; infinite without noise."""
    return (
        loss_distribution(noise, rate, batches, relation).get_epsilon_for_delta(DELTA) if noise else math.inf
    )
