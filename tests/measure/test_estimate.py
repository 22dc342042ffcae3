"""Estimates: what they refuse, and what they keep."""

import numpy as np
import pytest

from leakgap import ArgumentError
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast, unpaired
from leakgap.measure.estimate import KINDS, Estimate, interval


def drawn(value, seed=0, replicates=200, which=None):
    noise = 0.01 * np.random.default_rng(seed).normal(size=(3, replicates))
    draws = dict(zip(KINDS, value + noise, strict=True))
    return Estimate.of_draws(value, draws, units=8, pairs=4000, scale="logit", drawn=which)


@pytest.mark.parametrize("level", [1, 0, 95, -0.1, "0.95", float("nan")])
def test_a_level_lies_between_0_and_1(level):
    for made in (interval, lambda one, level: contrast(one, one, level=level)):
        with pytest.raises(ArgumentError, match="level must lie between 0 and 1"):
            made(drawn(0.2), level)


def test_an_interval_at_another_level_keeps_the_estimate_and_its_draws():
    one = drawn(0.2)
    wide = interval(one, 0.99)
    assert wide.low < one.low < one.value == wide.value < one.high < wide.high
    assert wide.draws is one.draws
    assert interval(wide, 0.95)[:3] == one[:3]
    with pytest.raises(ArgumentError, match="without draws"):
        interval(Estimate(0.2, 0.1, 0.3))


def test_unrelated_resamplings_are_no_pair():
    one, longer = drawn(0.2), drawn(0.1, replicates=300)
    for make in (contrast, lambda a, b: a - b):
        with pytest.raises(ArgumentError, match="resampled differently"):
            make(one, longer)
        with pytest.raises(ArgumentError, match="resampled differently"):
            make(drawn(0.2, which=(8, 100, 200, 0)), drawn(0.1, which=(8, 100, 200, 1)))
    assert unpaired(one, longer).value == pytest.approx(2)


@pytest.mark.parametrize("name", ["seed", "replicates"])
@pytest.mark.parametrize("value", [-1, 1.5, "3", None])
def test_seeds_and_replicates_are_whole_numbers(name, value):
    with pytest.raises(ArgumentError, match=f"{name} must be a whole number of 0 or more"):
        Resampling(np.eye(4, 6, dtype=bool), np.ones(6, bool), **{name: value})
