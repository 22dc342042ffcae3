"""Intervals of one target, against definitions, scipy, and worlds of known truth."""

import numpy as np
import pytest
from scipy import stats

from leakgap.measure import roc
from leakgap.measure.roc import conformal_curve, threshold
from leakgap.measure.single import auc_interval, precision, share_interval, tpr_interval


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
