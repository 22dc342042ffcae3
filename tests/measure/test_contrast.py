"""Intervals and contrasts against their formulas, literal resampling, zeros, and simulated worlds."""

import numpy as np
import pytest
from scipy import stats

from leakgap.data.masks import balanced_masks
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast
from leakgap.measure.estimate import KINDS, Estimate, interval


def pooled(tpr, seed, sds=(0.01, 0.02, 0.005), units=8, members=1000, replicates=400):
    """A TPR whose replicates have known standard deviations."""
    rng = np.random.default_rng(seed)
    return Estimate.of_draws(
        tpr,
        {k: tpr + sd * rng.normal(size=replicates) for k, sd in zip(KINDS, sds, strict=True)},
        units,
        members,
        "logit",
    )


def variances(terms, units):
    """V(models), corrected for few mask pairs, V(images) and V(pairs) of replicates [kinds][R]."""
    models, images, pairs = (np.var(terms[kind], ddof=1) for kind in KINDS)
    return models * units / (units - 1), images, pairs


def test_a_ratio_by_its_formula():
    first, second = pooled(0.2, 1), pooled(0.1, 2)
    found = contrast(first, second, "ratio", level=0.9)
    terms = {k: first.draws[k] / 0.2 - second.draws[k] / 0.1 for k in KINDS}
    models, images, pairs = variances(terms, 8)
    total = models + images - pairs
    assert total > pairs
    df = 7 * (total / models) ** 2
    half = stats.t.ppf(0.95, df) * np.sqrt(total)
    assert found[:3] == pytest.approx((2, 2 * np.exp(-half), 2 * np.exp(half)))
    assert (found.se, found.df) == pytest.approx((np.sqrt(total), df))
    assert found.note == ""


def test_a_difference_by_its_formula():
    first, second = pooled(0.2, 1), pooled(0.1, 2)
    found = contrast(first, second, "difference")
    models, images, pairs = variances({k: first.draws[k] - second.draws[k] for k in KINDS}, 8)
    half = stats.t.ppf(0.975, found.df) * np.sqrt(models + images - pairs)
    assert found[:3] == pytest.approx((0.1, 0.1 - half, 0.1 + half))


def test_a_pooled_tpr_by_its_formula():
    one = pooled(0.2, 1)
    found = interval(one)
    models, images, pairs = variances(one.draws, 8)
    half = stats.t.ppf(0.975, found.df) * np.sqrt(models + images - pairs) / (0.2 * 0.8)
    odds = 0.25 * np.exp([0, -half, half])
    assert found[:3] == pytest.approx(tuple(odds / (1 + odds)))


def test_not_less_than_the_noise_of_single_pairs():
    found = interval(pooled(0.2, 1, sds=(0.001, 0.001, 0.02)))
    assert found.se * 0.16 == pytest.approx(0.02, rel=0.1)
    assert found.df >= 7


def test_few_mask_pairs_and_models_alone():
    """With images that make no difference the degrees of freedom are the number of mask pairs less one."""
    for units in (2, 8, 32):
        assert interval(pooled(0.2, 1, sds=(0.01, 0, 0), units=units)).df == pytest.approx(units - 1)


def test_geometric_and_arithmetic_means_of_several():
    many = [pooled(tpr, seed) for seed, tpr in enumerate((0.1, 0.2, 0.4, 0.3))]
    ratio = contrast(many[:2], many[2:])
    assert ratio.value == pytest.approx(np.sqrt(0.1 * 0.2 / (0.4 * 0.3)))
    terms = {
        k: sum(s * p.draws[k] / p.value / 2 for s, p in zip((1, 1, -1, -1), many, strict=True)) for k in KINDS
    }
    models, images, pairs = variances(terms, 8)
    assert ratio.se == pytest.approx(np.sqrt(models + images - pairs))
    assert contrast(many[:2], many[2:], "difference").value == pytest.approx(0.15 - 0.35)
    assert contrast(many[:1], many[1:2])[:3] == contrast(many[0], many[1])[:3]


@pytest.mark.parametrize("function", ["ratio", "difference"])
def test_p_value_and_interval_agree(function):
    first, second = pooled(0.2, 1), pooled(0.15, 2)
    found = contrast(first, second, function)
    for end in (found.low, found.high):
        assert found.p_value(end) == pytest.approx(0.05)
    assert found.p_value(found.value) == 1
    assert interval(first).p_value(interval(first).low) == pytest.approx(0.05)


def test_a_contrast_turned_round():
    first, second = pooled(0.2, 1), pooled(0.15, 2)
    there, back = contrast(first, second), contrast(second, first)
    assert there[:3] == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))
    there, back = contrast(first, second, "difference"), contrast(second, first, "difference")
    assert there[:3] == pytest.approx((-back.value, -back.high, -back.low))


def zero(members=1000):
    return Estimate.of_draws(0.0, {kind: np.zeros(400) for kind in KINDS}, 8, members, "logit")


def test_zero_counts_as_half_a_member():
    first, none = pooled(0.2, 1), zero()
    found = contrast(first, none)
    assert found.value == pytest.approx(0.2 / 0.0005)
    relative = {k: first.draws[k] / 0.2 for k in KINDS}
    models, images, pairs = variances(relative, 8)
    assert found.se == pytest.approx(np.sqrt(models + images - pairs + 2))
    assert 5 < found.low < found.high < np.inf
    assert contrast(none, first).high == pytest.approx(1 / found.low)
    assert contrast(first, none, "difference").value == 0.2


def test_the_interval_of_zero_and_of_one():
    """About as wide as Clopper and Pearson's for independent pairs, and never outside 0 and 1."""
    none = interval(zero())
    assert none[:2] == (0, 0)
    assert 0.0037 <= none.high < 0.012  # Clopper and Pearson: 0.0037
    assert none.p_value(none.high) == pytest.approx(0.05)
    every = Estimate.of_draws(1.0, {kind: np.ones(400) for kind in KINDS}, 8, 1000, "logit")
    assert interval(every)[:3] == pytest.approx((1, 1 - none.high, 1))


@pytest.mark.parametrize("function", ["ratio", "difference"])
def test_undefined_contrasts_say_why(function):
    nothing = contrast(zero(), zero(), function)
    assert np.isnan(nothing[:6]).all()
    assert nothing.note == "no member is caught on either side"
    nan = Estimate.of_draws(np.nan, {kind: np.full(400, np.nan) for kind in KINDS}, 8, 1000, "logit")
    assert "too few non-members" in contrast(pooled(0.2, 1), nan, function).note
    assert "too few non-members" in interval(nan).note
    alone = contrast(pooled(0.2, 1, units=1), pooled(0.2, 2, units=1), function)
    assert alone.note == "one mask pair has no interval"
    assert np.isnan(alone[:6]).all()


def test_one_mask_pair_has_a_value_and_no_interval():
    found = interval(pooled(0.2, 1, units=1))
    assert found.value == 0.2
    assert found.note == "one mask pair has no interval"
    assert np.isnan(found[1:6]).all()


def world(seed, gains, masks=16, images=300):
    """LiRA-like scores with image and model effects, the same images and masks for each gain."""
    rng = np.random.default_rng(seed)
    member = balanced_masks(masks, images, seed)
    vulnerable = np.exp(rng.normal(-0.5, 1, images))
    scores = [
        rng.normal(size=member.shape) + rng.normal(0, 0.2, (masks, 1)) + gain * vulnerable * member
        for gain in gains
    ]
    return member, scores


def contrasts(gains, worlds=120):
    for seed in range(worlds):
        member, scores = world(seed, gains)
        draws = Resampling(member, np.ones(300, bool), replicates=200, seed=seed)
        yield contrast(*(draws.pooled(score, [0.05])[0] for score in scores))


def test_equal_leakage_is_rejected_about_as_often_as_it_should():
    """A coarse check, benchmarks/coverage.py is the fine one: of 120 worlds 6 are expected."""
    rejected = sum(not found.low <= 1 <= found.high for found in contrasts((1.0, 1.0)))
    assert 1 <= rejected <= 14


def test_a_larger_leak_is_found():
    found = list(contrasts((1.5, 1.0), worlds=30))
    assert np.median([one.value for one in found]) > 1.2
    assert sum(one.low > 1 for one in found) > 20
