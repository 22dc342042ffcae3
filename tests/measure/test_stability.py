"""How alike two runs rank images: against sets, scipy, and pairs of runs of known correlation."""

import numpy as np
import pytest
from scipy import stats

from leakgap.measure.stability import most, overlap, rank_correlation


def runs(seed: int, images: int, shared: float) -> tuple[np.ndarray, np.ndarray]:
    """Exposures of the same images in two runs: what they share, and noise of their own."""
    rng = np.random.default_rng(seed)
    both = rng.normal(0, shared, images)
    return both + rng.normal(size=images), both + rng.normal(size=images)


@pytest.mark.parametrize(("images", "top"), [(300, 20), (2000, 20), (5000, 50)])
def test_the_most_exposed_are_a_hundredth_and_twenty_at_least(images: int, top: int):
    first, _ = runs(0, images, 1)
    assert most(first).tolist() == sorted(range(images), key=lambda image: -first[image])[:top]


@pytest.mark.parametrize("shared", [0.0, 1.0, 5.0])
def test_overlap_of_sets(shared: float):
    first, second = runs(1, 3000, shared)
    one, other = (set(np.argsort(run)[-30:].tolist()) for run in (first, second))
    found, chance = overlap(first, second, level=0.9)
    assert found.value == pytest.approx(len(one & other) / len(one | other))
    exact = stats.binomtest(len(one & other), 30).proportion_ci(0.9, method="exact")
    assert found.low == pytest.approx(exact.low / (2 - exact.low))
    assert found.high == pytest.approx(exact.high / (2 - exact.high))
    assert chance == pytest.approx(0.3 / (60 - 0.3))  # 30 images at random hold .3 of 30 others of 3,000


def test_runs_that_share_nothing_overlap_as_chance_says():
    values = [overlap(*runs(seed, 2000, 0))[0].value for seed in range(200)]
    assert np.mean(values) == pytest.approx(overlap(*runs(0, 2000, 0))[1], abs=0.0025)


def test_intervals_hold_the_truth():
    """Of 100 pairs of runs, less four standard errors of the count; the overlap's interval is cautious."""
    first, second = runs(99, 400_000, 2.0)
    tops = [set(np.argsort(run)[-20_000:].tolist()) for run in (first, second)]  # 20 of 400
    share, rho = len(tops[0] & tops[1]) / len(tops[0] | tops[1]), 6 / np.pi * np.arcsin(0.8 / 2)
    held = np.zeros(2)
    for seed in range(100):
        pair = runs(seed, 400, 2.0)
        found = overlap(*pair)[0], rank_correlation(*pair, replicates=60)
        held += [one.low <= truth <= one.high for one, truth in zip(found, (share, rho), strict=True)]
    assert (held >= 100 * 0.95 - 4 * np.sqrt(100 * 0.95 * 0.05)).all()


def test_rank_correlation_is_scipys():
    first, second = (run.round(1) for run in runs(2, 500, 1))
    found = rank_correlation(first, second)
    assert found.value == pytest.approx(stats.spearmanr(first, second)[0])
    assert found.low < found.value < found.high


def test_what_has_no_rank_correlation():
    assert np.isnan(rank_correlation(np.ones(50), np.arange(50.0))[:3]).all()
    assert np.isnan(rank_correlation(np.arange(3.0), np.arange(3.0))[:3]).all()
