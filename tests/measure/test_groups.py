"""Records that belong to groups: leaving out each group literally, groups of one, intervals that hold."""

import numpy as np
import pytest

from leakgap import ArgumentError
from leakgap.data.masks import balanced_masks
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast
from leakgap.measure.estimate import interval
from leakgap.measure.means import mean_over
from leakgap.measure.roc import tpr_at_fpr


def world(seed, models=8, sizes=(5,) * 24, decimals=6):
    """Scores with a part that the records of a group share: score, member [T,S], group [S]."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    member = balanced_masks(models, len(group), seed)
    gain = np.exp(rng.normal(0, 0.7, len(sizes)))[group]
    noise = rng.normal(size=(models, len(sizes)))[:, group] + rng.normal(size=member.shape)
    return (noise + gain * member).round(decimals).astype(np.float32), member, rng.permutation(99)[group]


def jackknife(values):
    groups = len(values)
    return (groups - 1) / groups * ((values - values.mean()) ** 2).sum()


@pytest.mark.parametrize("sizes", [(5,) * 24, (1, 2, 3, 20, 40, 1, 1, 7, 9), (1, 99)])
@pytest.mark.parametrize("decimals", [6, 1, 0])  # ties
@pytest.mark.parametrize("fpr", [0.01, 0.1, 0.7])
def test_each_group_is_left_out_as_if_it_had_never_been(sizes, decimals, fpr, monkeypatch):
    monkeypatch.setattr("leakgap.measure.bootstrap.SMOOTH", 0)
    score, member, group = world(1, sizes=sizes, decimals=decimals)
    (found,) = Resampling(member, np.ones(len(group), bool), replicates=20, group=group).pooled(score, [fpr])
    without = [tpr_at_fpr(score[:, group != g], member[:, group != g], fpr) for g in np.unique(group)]
    variance = np.var(found.draws["groups"], ddof=1)
    assert variance == pytest.approx(jackknife(np.array(without)), nan_ok=True)
    if np.isnan(variance):  # too few non-members are left
        assert found.note == "without its largest group, nothing could be measured"
    assert found.value == tpr_at_fpr(score, member, fpr)


def test_records_that_are_not_evaluated_and_abstentions_count_for_nothing(monkeypatch):
    monkeypatch.setattr("leakgap.measure.bootstrap.SMOOTH", 0)
    score, member, group = world(2)
    evaluated = np.random.default_rng(0).random(len(group)) < 0.8
    score[:, ::7] = np.nan
    member &= evaluated
    draws = Resampling(member, evaluated, replicates=20, group=group)
    (found,) = draws.pooled(score, [0.05], abstentions=True)
    without = []
    for g in np.unique(group):
        kept = evaluated & (group != g)
        without.append(tpr_at_fpr(score[:, kept], member[:, kept], 0.05, abstentions=True))
    assert np.var(found.draws["groups"], ddof=1) == pytest.approx(jackknife(np.array(without)))


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_many_small_groups_have_the_variance_of_a_bootstrap_of_them(seed, monkeypatch):
    """Which the jackknife of a quantile misses if it trusts the few scores next to the threshold."""
    rng = np.random.default_rng(seed)
    member = balanced_masks(16, 8000, seed)
    score = rng.normal(size=member.shape).astype(np.float32) + member * rng.exponential(0.5, 8000).astype(
        np.float32
    )
    every = np.ones(8000, bool)
    spread = {}
    for name, group, smooth in (("drawn", None, 0), ("left out", np.arange(8000) // 2, 0.25)):
        monkeypatch.setattr("leakgap.measure.bootstrap.SMOOTH", smooth)
        (found,) = Resampling(member, every, replicates=1000, group=group, seed=seed).pooled(score, [0.01])
        spread[name] = np.std(found.draws["images" if group is None else "groups"], ddof=1)
    assert spread["left out"] == pytest.approx(spread["drawn"], rel=0.15)


def test_a_mean_without_each_group():
    score, member, group = world(3, sizes=(1, 2, 3, 20, 9, 1, 7, 9) * 2)
    every = np.ones(member.shape, bool)
    draws = Resampling(member, every, replicates=20, group=group)
    found = draws.mean(mean_over(score, every), "plain")
    without = np.array([score[:, group != g].mean() for g in np.unique(group)])
    assert np.var(found.draws["groups"], ddof=1) == pytest.approx(jackknife(without), rel=1e-4)
    members = draws.mean(mean_over(score, member), "plain")  # of other sizes in each target: to first order
    without = []
    for g in np.unique(group):
        side = member & (group != g)
        without.append(((score * side).sum(1) / side.sum(1)).mean())
    assert np.var(members.draws["groups"], ddof=1) == pytest.approx(jackknife(np.array(without)), rel=0.1)


def test_groups_of_one_record_are_no_groups_to_the_last_bit():
    score, member, group = world(4)
    alone = np.random.default_rng(0).permutation(len(group)) + 7
    plain, grouped = (
        Resampling(member, np.ones(len(group), bool), replicates=50, group=codes).pooled(score, [0.1])[0]
        for codes in (None, alone)
    )
    assert plain[:6] == grouped[:6]
    for kind, draws in plain.draws.items():
        np.testing.assert_array_equal(draws, grouped.draws[kind])


def test_many_groups_are_dealt_into_fewer(monkeypatch):
    score, member, group = world(5, sizes=(2,) * 60)
    monkeypatch.setattr("leakgap.measure.bootstrap.GROUPS", 20)
    (found,) = Resampling(member, np.ones(120, bool), replicates=20, group=group).pooled(score, [0.1])
    assert len(found.draws["groups"]) == 20
    assert found.low < found.value < found.high


def test_one_group_has_no_interval_and_groups_are_one_for_each_record():
    score, member, _ = world(6)
    (found,) = Resampling(member, np.ones(120, bool), replicates=20, group=np.zeros(120)).pooled(score, [0.1])
    assert found.note == "without its largest group, nothing could be measured"
    assert np.isnan([found.low, found.high]).all()
    with pytest.raises(ArgumentError, match="group must hold a number for each of the 120 records, not 7"):
        Resampling(member, np.ones(120, bool), group=np.zeros(7))


def test_a_contrast_of_groups_and_none_is_refused():
    score, member, group = world(7)
    (one,) = Resampling(member, np.ones(120, bool), replicates=20, group=group).pooled(score, [0.1])
    (other,) = Resampling(member, np.ones(120, bool), replicates=20).pooled(score, [0.1])
    with pytest.raises(ArgumentError, match="resampled differently"):
        contrast(one, other)
    assert contrast(one, one).value == 1
    assert interval(one, 0.5).low > one.low


def test_few_groups_and_unequal_ones_have_fewer_degrees_of_freedom():
    found = {}
    for name, sizes in (("equal", (4,) * 60), ("unequal", (60, 50, 40, *(1,) * 90))):
        score, member, group = world(8, models=64, sizes=sizes)
        (found[name],) = Resampling(member, np.ones(240, bool), replicates=50, group=group).pooled(
            score, [0.1]
        )
    assert found["unequal"].df < 6 < found["equal"].df


def test_intervals_cover_what_single_records_do_not():
    """Groups of 10, a part of whose noise is shared: 95% by group, far fewer by record."""
    score, member = [], []
    for seed in range(100, 500):
        one = world(seed, sizes=(10,) * 40)
        score.append(one[0]), member.append(one[1])
    truth = tpr_at_fpr(np.stack(score), np.stack(member), 0.05)
    covered = []
    for seed in range(100):
        score, member, group = world(seed, sizes=(10,) * 40)
        every = np.ones(len(group), bool)
        by = [Resampling(member, every, replicates=100, seed=seed, group=codes) for codes in (None, group)]
        covered.append(
            [one.low <= truth <= one.high for one in (each.pooled(score, [0.05])[0] for each in by)]
        )
    single, grouped = np.mean(covered, axis=0)
    assert single < 0.85
    assert grouped >= 0.9
