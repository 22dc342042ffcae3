"""The order of scores against numpy's, and who is above whom against a loop over all pairs."""

import numpy as np
import pytest

from leakgap.measure.ranking import Ranking, ascending, at_ranks


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_ranks_is_what_sorting_brings_there(dtype):
    for seed in range(5):
        values = scores(seed).astype(dtype)
        rng = np.random.default_rng(seed)
        for ranks in (
            rng.integers(len(values), size=100),
            [0, len(values) - 1, 7, 7],
            np.arange(len(values)),
        ):
            np.testing.assert_array_equal(at_ranks(values, np.array(ranks)), np.sort(values)[ranks])


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_how_many_of_the_others_each_is_above(decimals):
    rng = np.random.default_rng(decimals)
    score, member = rng.normal(size=300).round(decimals).astype(np.float32), rng.random(300) < 0.4
    score[:7] = np.nan
    some = rng.random(300) < 0.8
    filled = np.where(np.isnan(score), -np.inf, score)
    for where, ranking in (
        (np.ones(300, bool), Ranking.of(score, member)),
        (some, Ranking.of(score, member, some)),
        (some, Ranking.of(score, member).among(some)),
    ):
        np.testing.assert_array_equal(ranking.score, np.sort(filled[where]))
        np.testing.assert_array_equal(ranking.score, filled[ranking.place])
        for inside, which in ((True, ranking.inside), (False, ranking.outside)):
            own, others = filled[where & (member == inside)], filled[where & (member != inside)]
            np.testing.assert_array_equal(ranking.score[which], np.sort(own))
            for value, b, u in zip(ranking.score[which], *ranking.outscored(inside), strict=True):
                assert (b, u) == ((others < value).sum(), (others <= value).sum())
        best = np.sort(filled[where & ~member])[::-1]
        for rank in (1, 2, 50, len(best)):
            expected = [(filled[where & side] > best[rank - 1]).sum() for side in (~member, member)]
            assert list(ranking.above(rank)) == expected


def test_one_class_alone():
    for member in (np.ones(5, bool), np.zeros(5, bool)):
        below, upto = Ranking.of(np.zeros(5), member).outscored(bool(member[0]))
        assert below.tolist() == upto.tolist() == [0] * 5
