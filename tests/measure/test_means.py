"""Means over targets: values and influences against plain recomputation with a pair counted once more."""

import numpy as np
import pytest
from scipy import stats

from leakgap.data.masks import balanced_masks
from leakgap.measure import bootstrap, roc
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.estimate import KINDS, Estimate, interval
from leakgap.measure.means import mean_auc, mean_over, mean_tpr
from leakgap.measure.ranking import rankings


def world(seed=0, targets=4, images=60):
    rng = np.random.default_rng(seed)
    member = balanced_masks(targets, images, seed, reserved=6)
    evaluated = member.any(0)
    score = rng.normal(size=member.shape) + member + rng.normal(0, 0.5, images)
    return score, member, evaluated


def once_more(measure, member, evaluated, t, x, extra=1e-6):
    """By how much a weighted mean over targets changes, per `extra` weight of the pair (t, x)."""
    weight = np.ones(member.shape) * evaluated
    before = measure(weight)
    weight[t, x] += extra
    return (measure(weight) - before) / extra


def test_an_accuracy_and_what_a_pair_adds_to_it():
    score, member, evaluated = world()
    right, side = score > 0, ~member & evaluated
    found = mean_over(right, side)
    assert found.value == pytest.approx(np.mean([r[s].mean() for r, s in zip(right, side, strict=True)]))
    assert found.pairs == side.sum()
    targets, counts = len(member), side.sum(1)
    for t, x in ((0, np.flatnonzero(side[0])[3]), (2, np.flatnonzero(side[2])[0])):
        own = once_more(
            lambda w: np.mean((w * side * right).sum(1) / (w * side).sum(1)), member, evaluated, t, x
        )
        between = (
            (right[t, side[t]].mean() - found.value) / counts[t] / targets
        )  # of a target that counts more
        assert found.influence[t, x] == pytest.approx(own + between, rel=1e-3)
    assert (found.influence[~side] == 0).all()


def test_an_auc_and_what_a_pair_adds_to_it():
    score, member, evaluated = world()
    score = score.round(1)
    score[0, np.flatnonzero(evaluated)[5]] = np.nan
    found = mean_auc(rankings(score, member, evaluated), score.shape[1])
    aucs = [roc.auc(s[evaluated], m[evaluated], abstentions=True) for s, m in zip(score, member, strict=True)]
    assert found.value == pytest.approx(np.mean(aucs))
    filled = np.where(np.isnan(score), -np.inf, score)

    def weighted(w):
        values = []
        for s, m, weight in zip(filled, member, w, strict=True):
            inside, outside = m & (weight > 0), ~m & (weight > 0)
            wins = (s[inside][:, None] > s[outside]) + (s[inside][:, None] == s[outside]) / 2
            total = weight[inside][:, None] * weight[outside]
            values.append((wins * total).sum() / total.sum())
        return np.mean(values)

    inside, outside = member & evaluated, ~member & evaluated
    for t, side in ((0, inside), (1, outside), (3, inside)):
        x = np.flatnonzero(side[t])[4]
        own = once_more(weighted, member, evaluated, t, x)
        between = (aucs[t] - found.value) / side[t].sum() / len(member) if side is inside else 0
        assert found.influence[t, x] == pytest.approx(own + between, rel=1e-3, abs=1e-8)
    assert found.influence.sum() == pytest.approx(0, abs=1e-6)


def test_a_tpr_is_the_mean_of_the_targets_own():
    score, member, evaluated = world(images=500)
    ranked = rankings(score, member, evaluated)
    found = mean_tpr(ranked, score.shape[1], 0.05)
    own = [roc.tpr_at_fpr(s[evaluated], m[evaluated], 0.05) for s, m in zip(score, member, strict=True)]
    assert found.value == pytest.approx(np.mean(own))
    of_target = found.influence.sum(1)
    np.testing.assert_allclose(of_target, (np.array(own) - found.value) / len(own), atol=1e-7)
    assert np.isnan(mean_tpr(ranked, score.shape[1], 0.001).value)


def test_variance_of_a_tpr_is_that_of_new_records():
    """One target's records drawn anew from normal scores: the sum of squared influences is the variance."""
    rng = np.random.default_rng(1)
    member = np.arange(2000) < 1000
    values, variances = [], []
    for _ in range(400):
        score = rng.normal(size=(1, 2000)) + 1.5 * member
        found = mean_tpr(rankings(score, member[None], np.ones(2000, bool)), 2000, 0.05)
        values.append(found.value)
        variances.append((found.influence.astype(float) ** 2).sum())
    assert np.mean(variances) == pytest.approx(np.var(values, ddof=1), rel=0.2)


@pytest.mark.parametrize("groups", [150, bootstrap.GROUPS])
def test_replicates_are_means_of_resampled_pairs(groups, monkeypatch):
    """To first order: close to the mean of literally repeated pairs, and exact where only models are drawn."""
    monkeypatch.setattr(bootstrap, "GROUPS", groups)
    score, member, evaluated = world(targets=8, images=400)
    right, side = score > 0, ~member & evaluated
    draws = Resampling(member, evaluated, replicates=60, seed=3)
    mean = draws.mean(mean_over(right, side), "logit")
    for kind in KINDS:
        literal = []
        for r in range(60):
            weight = draws.multiplicity(kind, r) * side
            literal.append((weight * right).sum() / weight.sum())
        exact = 1e-6 if kind == "models" else (0.1 if groups > 400 else 0.2) * np.std(literal)
        np.testing.assert_allclose(mean.draws[kind], literal, atol=exact)
    assert (mean.units, mean.pairs) == (4, side.sum())


def drawn(value, scale, sds=(0.02, 0.03, 0.01), pairs=1000, seed=0):
    rng = np.random.default_rng(seed)
    noise = {kind: value + sd * rng.normal(size=500) for kind, sd in zip(KINDS, sds, strict=True)}
    return Estimate.of_draws(value, noise, 8, pairs, scale)


@pytest.mark.parametrize(
    ("scale", "value", "there", "slope"),
    [
        ("logit", 0.8, lambda p: np.log(p / (1 - p)), 1 / 0.16),
        ("log", 0.5, np.log, 2),
        ("plain", -0.1, lambda v: v, 1),
    ],
)
def test_an_interval_by_its_formula(scale, value, there, slope):
    one = drawn(value, scale)
    found = interval(one, level=0.9)
    models, images, pairs = (np.var(one.draws[kind], ddof=1) for kind in KINDS)
    total = models * 8 / 7 + images - pairs
    half = slope * np.sqrt(total) * stats.t.ppf(0.95, 7 * (total / (models * 8 / 7)) ** 2)
    assert [there(end) for end in (found.low, found.high)] == pytest.approx(
        [there(value) - half, there(value) + half]
    )


def test_a_difference_is_paired():
    first, second = drawn(0.8, "logit"), drawn(0.7, "logit", seed=0)
    change = interval(first - second)
    assert change.value == pytest.approx(0.1)
    assert np.isnan(change.low)  # the same draws: nothing varies
    other = drawn(0.7, "logit", seed=1)
    variances = [np.var(first.draws[k] - other.draws[k], ddof=1) for k in KINDS]
    assert interval(first - other).se ** 2 == pytest.approx(
        variances[0] * 8 / 7 + variances[1] - variances[2]
    )


def test_every_image_right_has_an_interval_and_no_spread_has_none():
    every = Estimate.of_draws(1.0, dict.fromkeys(KINDS, np.ones(100)), 8, 1000, "logit")
    found = interval(every)
    assert found[0] == found[2] == 1
    assert 0.98 < found.low < 0.998
    tied = Estimate.of_draws(0.5, dict.fromkeys(KINDS, np.full(100, 0.5)), 8, 1000, "logit")
    found = interval(tied)
    assert found.value == 0.5
    assert np.isnan([found.low, found.high, found.p_value(0.4)]).all()
    assert found.note == "the same in every draw, so its error is not known"


def test_the_interval_of_an_auc_holds_the_truth():
    """Targets share records, and vary: the truth is the mean over all targets and records."""
    rng = np.random.default_rng(3)
    held, targets, records = 0, 6, 120
    for _ in range(300):
        member = rng.random((targets, records)) < 0.5
        hard, strength = rng.normal(size=records), rng.normal(0.8, 0.3, (targets, 1))
        score = hard + strength * member + rng.normal(size=member.shape)
        draws = Resampling(member, np.ones(records, bool), unit=np.arange(targets), replicates=200)
        found = interval(
            draws.mean(mean_auc(rankings(score, member, np.ones(records, bool)), records), "logit")
        )
        truth = stats.norm.cdf(0.8 / np.sqrt(4 + 0.3**2))
        held += found.low <= truth <= found.high
    assert 300 * 0.95 - 4 * np.sqrt(300 * 0.95 * 0.05) <= held <= 300
