"""The order of scores against numpy's, and who is above whom against a loop over all pairs."""

import numpy as np
import pytest

from leakgap.measure.ranking import Ranking, ascending


def scores(seed, count=5000):
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=count) * 10.0 ** rng.integers(-42, 38, count)
    special = [0.0, -0.0, np.inf, -np.inf, np.finfo(np.float32).tiny, 1e-45, -1e-45, 3.4e38, -3.4e38]
    return rng.permutation(np.concatenate([spread, special * 5])).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ascending_is_numpys_stable_order(dtype):
    for seed in range(5):
        values = scores(seed).astype(dtype)
        np.testing.assert_array_equal(ascending(values), np.argsort(values, kind="stable"))
    assert len(ascending(np.zeros(0, dtype))) == 0


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_how_many_of_the_others_each_is_above(decimals):
    rng = np.random.default_rng(decimals)
    score, member = rng.normal(size=300).round(decimals).astype(np.float32), rng.random(300) < 0.4
    score[:7] = np.nan
    ranking = Ranking.of(score, member)
    below, upto = ranking.outscored()
    filled = np.where(np.isnan(score), -np.inf, score)
    for place, b, u in zip(ranking.place, below, upto, strict=True):
        others = filled[member != member[place]]
        assert b == (others < filled[place]).sum()
        assert u == (others <= filled[place]).sum()
    np.testing.assert_array_equal(ranking.inside, np.sort(filled[member]))
    np.testing.assert_array_equal(ranking.outside, np.sort(filled[~member]))


def test_one_class_alone():
    for member in (np.ones(5, bool), np.zeros(5, bool)):
        below, upto = Ranking.of(np.arange(5.0), member).outscored()
        assert (below == 0).all()
        assert (upto == 0).all()
