"""Intervals of one target, against definitions, scipy, and worlds of known truth."""

import numpy as np
import pytest
from scipy import stats

from leakgap.measure import roc
from leakgap.measure.roc import conformal_curve, threshold
from leakgap.measure.single import auc_interval, precision, share_above, share_interval, tpr_interval


def sample(rng, members=400, others=300, shift=1.0):
    score = np.concatenate([rng.normal(shift, 1.2, members), rng.normal(size=others)])
    return score, np.arange(members + others) < members


@pytest.mark.parametrize(("count", "of"), [(0, 20), (3, 50), (50, 50), (1, 1)])
def test_share_is_scipys_exact_binomial_interval(count: int, of: int):
    found = stats.binomtest(count, of).proportion_ci(0.9, method="exact")
    assert share_interval(count, of, 0.9)[1:3] == pytest.approx([found.low, found.high])


@pytest.mark.parametrize("fpr", [0.005, 0.01, 0.1, 0.5])
@pytest.mark.parametrize("ties", [False, True])
def test_threshold_calls_whom_the_conformal_reading_calls(fpr: float, ties: bool):
    score, member = sample(np.random.default_rng(0))
    score = score.round(1) if ties else score
    score[::7] = np.nan
    expected = roc.flagged(score, member, fpr)
    assert (np.greater(score, threshold(score[~member], fpr)) == expected).all()


def test_curve_is_the_conformal_reading_at_every_rate():
    score, member = sample(np.random.default_rng(2), 60, 40)
    score = score.round(1)
    score[::9] = np.nan
    fprs, tprs = conformal_curve(score, member)
    assert fprs.tolist() == pytest.approx([k / 41 for k in range(1, 42)])
    assert tprs[-1] == 1
    for fpr, tpr in zip(fprs[:-1], tprs[:-1], strict=True):
        assert tpr == roc.tpr_at_fpr(score, member, fpr, abstentions=True)
    few = conformal_curve(score, member, points=10)
    assert set(zip(*few, strict=True)) <= set(zip(fprs, tprs, strict=True))
    assert len(few[0]) <= 10
    assert few[0][0] == fprs[0]
    assert few[0][-1] == 1


def test_auc_interval_is_delongs():
    """Their variance, from the definition: a loop over all pairs."""
    score, member = sample(np.random.default_rng(1), 40, 30)
    score = score.round(1)
    inside, outside = score[member], score[~member]
    kernel = np.array([[(x > y) + (x == y) / 2 for y in outside] for x in inside])
    error = np.sqrt(kernel.mean(1).var(ddof=1) / 40 + kernel.mean(0).var(ddof=1) / 30)
    auc = kernel.mean()
    found = auc_interval(score, member)
    assert found.value == pytest.approx(auc)
    logit = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    assert (logit[1] - logit[0]) / 2 == pytest.approx(1.959964 * error / (auc * (1 - auc)))
    assert logit.mean() == pytest.approx(np.log(auc / (1 - auc)))


def test_perfect_and_missing_classes():
    member = np.arange(60) < 30
    low = auc_interval(np.where(member, 1.0, 0.0), member)
    assert low.value == low.high == 1
    assert low.low == pytest.approx(stats.binomtest(30, 30).proportion_ci(0.95, method="exact").low)
    assert np.isnan(auc_interval(np.zeros(3), np.ones(3, bool))[:3]).all()
    assert np.isnan(tpr_interval(np.arange(60.0), member, 0.01)[:3]).all()  # 30 non-members can't tell 1%


WORLDS = {
    "nothing": (stats.norm(), stats.norm()),
    "a shift": (stats.norm(1), stats.norm()),
    "heavy tails": (stats.t(3, 1), stats.t(3)),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("fpr", "records"), [(0.01, 150), (0.01, 1500), (0.001, 1200)])
def test_tpr_interval_holds_the_truth(name: str, fpr: float, records: int):
    """In 95% of 300 worlds, less four standard errors of the count."""
    inside, outside = WORLDS[name]
    truth = inside.sf(outside.isf(fpr))
    rng = np.random.default_rng(0)
    member = np.arange(2 * records) < records
    held = 0
    for _ in range(300):
        score = np.concatenate([part.rvs(records, random_state=rng) for part in (inside, outside)])
        found = tpr_interval(score, member, fpr)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
    assert held >= 300 * 0.95 - 4 * np.sqrt(300 * 0.95 * 0.05)


def test_tpr_interval_is_not_empty_where_nothing_or_all_is_recognized():
    member = np.arange(400) < 200
    none = tpr_interval(np.where(member, 0.0, 1.0), member, 0.01)
    every = tpr_interval(np.where(member, 1.0, np.arange(400) / 1000), member, 0.01)
    assert (none.value, none.low) == (0, 0)
    assert none.high > 1 / 200
    assert (every.value, every.high) == (1, 1)
    assert every.low < 199 / 200


@pytest.mark.parametrize("prior", [0.01, 0.1, 0.5])
def test_precision_is_the_share_of_members_among_the_called(prior: float):
    people, tpr, fpr = 1_000_000, 0.07, 0.01
    right, wrong = people * prior * tpr, people * (1 - prior) * fpr
    assert precision(tpr, fpr, prior) == pytest.approx(right / (right + wrong))
    assert precision(0.01, 0.01, prior) == pytest.approx(prior)  # guessing


def persons(rng, persons=60, records=5, shift=1.0, whole=True):
    """Scores that the records of a person share a part of; members whole persons, or single records."""
    group = np.arange(persons * records) // records
    member = (rng.permutation(persons) < persons // 2)[group] if whole else rng.random(len(group)) < 0.5
    return rng.normal(size=persons)[group] + rng.normal(size=len(group)) + shift * member, member, group


def test_groups_of_one_record_are_none_to_the_last_bit():
    rng = np.random.default_rng(0)
    score, member = sample(rng)
    alone = rng.permutation(len(score)) + 5
    assert tpr_interval(score, member, 0.01, group=alone) == tpr_interval(score, member, 0.01)
    assert auc_interval(score, member, group=alone) == auc_interval(score, member)
    assert share_above(score > 1, group=alone) == share_above(score > 1)


@pytest.mark.parametrize("whole", [True, False])
def test_an_auc_by_group_has_the_variance_of_leaving_out_each_group(whole):
    score, member, group = persons(np.random.default_rng(1), 200, 4, whole=whole)
    without = [roc.auc(score[group != g], member[group != g]) for g in range(200)]
    variance = 199 / 200 * ((without - np.mean(without)) ** 2).sum()
    found = auc_interval(score, member, group=group)
    logit = np.log([found.low / (1 - found.low), found.high / (1 - found.high)])
    error = np.ptp(logit) / 2 / stats.t.isf(0.025, 199) * found.value * (1 - found.value)
    assert error == pytest.approx(np.sqrt(variance), rel=0.02)


def test_records_that_are_all_alike_count_as_one():
    rng = np.random.default_rng(2)
    above = rng.random(100) < 0.3
    one = share_above(above)
    copies = share_above(np.repeat(above, 7), group=np.repeat(np.arange(100), 7))
    assert copies[:3] == pytest.approx(one[:3], rel=0.03)
    nobody = share_above(np.zeros(700, bool), group=np.repeat(np.arange(100), 7))
    assert nobody[:3] == pytest.approx(share_above(np.zeros(100, bool))[:3])


def test_no_more_records_are_independent_than_there_are():
    group = np.arange(60) // 2
    apart = (
        np.arange(60) % 2 == 0
    )  # one of every two: shares that vary less than those of independent records
    assert share_above(apart, group=group) == share_above(apart)
    assert np.isnan(share_above(np.zeros(0, bool), group=np.zeros(0))[:3]).all()
    assert np.ptp(share_above(np.arange(9) < 4, group=np.zeros(9))[1:3]) > 0.9  # one person


@pytest.mark.parametrize("whole", [True, False])
def test_intervals_by_group_cover(whole):
    rng, fpr = np.random.default_rng(3), 0.05
    worlds = [persons(rng, 80, 10, whole=whole) for _ in range(300)]
    score, member = (np.concatenate(part) for part in list(zip(*worlds, strict=True))[:2])
    truth = roc.tpr_at_fpr(score, member, fpr), roc.auc(score, member)
    covered = {"record": [], "group": []}
    for score, member, group in worlds:
        for name, codes in (("record", None), ("group", group)):
            found = tpr_interval(score, member, fpr, group=codes), auc_interval(score, member, group=codes)
            covered[name].append(
                [one.low <= true <= one.high for one, true in zip(found, truth, strict=True)]
            )
    assert (np.mean(covered["group"], 0) > 0.92).all()
    if whole:
        assert (np.mean(covered["record"], 0) < 0.9).all()
