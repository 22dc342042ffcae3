"""ROC measures against their definitions and scikit-learn; the bootstrap against literally resampled pairs."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from leakgap import ArgumentError, LeakgapError
from leakgap.measure import roc
from leakgap.measure.least import least_nonmembers
from leakgap.measure.ranking import Ranking, rankings


def sample(seed, size=400, ties=False, abstain=0.0):
    rng = np.random.default_rng(seed)
    member = rng.random(size) < 0.5
    score = rng.normal(size=size) + 1.5 * member
    if ties:
        score = score.round(1)
    score[rng.random(size) < abstain] = np.nan
    return score.astype(np.float32), member


def naive_conformal(score, member, fpr):
    score = np.where(np.isnan(score), -np.inf, score)
    others = score[~member]
    called = [(1 + (others >= s).sum()) / (len(others) + 1) <= fpr + 1e-12 for s in score]
    return np.array(called)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("abstain", [0.0, 0.3])
@pytest.mark.parametrize("fpr", [0.5, 0.1, 0.01])
def test_conformal_reading_is_its_definition(fpr, abstain, ties):
    for seed in range(5):
        score, member = sample(seed, ties=ties, abstain=abstain)
        called = naive_conformal(score, member, fpr)
        assert roc.tpr_at_fpr(score, member, fpr, abstentions=abstain > 0) == called[member].mean()
        np.testing.assert_array_equal(roc.flagged(score, member, fpr), called)
        assert called[~member].mean() <= fpr


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("fpr", [0.5, 0.1, 0.01, 0.001])
def test_reference_readings_are_points_of_the_roc(fpr, ties):
    for seed in range(5):
        score, member = sample(seed, ties=ties)
        fprs, tprs, _ = roc_curve(member, score, drop_intermediate=False)
        assert roc.tpr_at_fpr(score, member, fpr, "strict") == tprs[fprs < fpr][-1]
        assert roc.tpr_at_fpr(score, member, fpr, "last-point") == tprs[fprs <= fpr][-1]


def test_readings_where_the_fpr_is_met_exactly():
    """Of 1,000 non-members one beats no, two or three of four members; 1 / 1000 is 0.001, not below it."""
    member = np.arange(1004) < 4
    score = np.concatenate([[9, 8, 6, 4], [7, 5], np.zeros(998)])
    readings = [roc.tpr_at_fpr(score, member, 0.001, r) for r in ("conformal", "last-point", "strict")]
    assert readings == [0.5, 0.75, 0.5]


@pytest.mark.parametrize(
    ("n0", "fpr", "defined"),
    [
        (999, 0.001, True),
        (998, 0.001, False),
        (99, 0.01, True),
        (98, 0.01, False),
        (9, 0.1, True),
        (2, 0.3, False),
    ],
)
def test_too_few_nonmembers_are_undefined(n0, fpr, defined):
    score = np.append(1.0, np.zeros(n0))
    assert roc.tpr_at_fpr(score, score > 0, fpr) == pytest.approx(1 if defined else np.nan, nan_ok=True)
    assert roc.tpr_at_fpr(score, score > 0, fpr, "last-point") == 1
    assert roc.flagged(score, score > 0, fpr).tolist() == [defined] + [False] * n0


@pytest.mark.parametrize("n0", [99, 999, 1999, 9999, 99_999])
def test_rounding_of_the_fpr_does_not_lose_a_nonmember(n0):
    """At FPR 0.01, (n0 + 1) / 100 - 1 non-members may be called: one more member than that is caught here."""
    member = np.arange(2 * n0) % 2 == 0
    score = -np.arange(2 * n0, dtype=float)
    assert roc.tpr_at_fpr(score, member, 0.01) == (n0 + 1) // 100 / n0


def test_constant_scores_tell_nothing():
    member = np.arange(3000) % 2 == 0
    score = np.zeros(3000)
    assert roc.tpr_at_fpr(score, member, 0.01) == 0
    assert roc.tpr_at_fpr(score, member, 0.01, "last-point") == 0
    assert roc.tpr_at_fpr(np.full(3000, np.nan), member, 0.01, abstentions=True) == 0
    assert (roc.auc(score, member), roc.balanced_accuracy(score, member)) == (0.5, 0.5)


@pytest.mark.parametrize("of_class", [True, False])
def test_a_missing_class_is_undefined(of_class):
    score, member = np.arange(2000.0), np.full(2000, of_class)
    for reading in ("conformal", "last-point", "strict"):
        assert np.isnan(roc.tpr_at_fpr(score, member, 0.01, reading))
    assert np.isnan(roc.auc(score, member))
    assert np.isnan(roc.balanced_accuracy(score, member))
    assert len(roc.curve([Ranking.of(score, member)]).fpr) == 0
    assert np.isnan(list(roc.per_target([Ranking.of(score, member)], [0.01]).values())).all()
    assert np.isnan(roc.auc(score[:0], member[:0]))


@pytest.mark.parametrize("ties", [False, True])
def test_auc_and_balanced_accuracy(ties):
    for seed in range(5):
        score, member = sample(seed, ties=ties)
        assert roc.auc(score, member) == pytest.approx(roc_auc_score(member, score), abs=1e-12)
        fprs, tprs, _ = roc_curve(member, score)
        assert roc.balanced_accuracy(score, member) == pytest.approx((1 + tprs - fprs).max() / 2, abs=1e-12)
    score, member = sample(0, abstain=0.3)
    lowest = np.where(np.isnan(score), -1e9, score)
    assert roc.auc(score, member, abstentions=True) == pytest.approx(roc_auc_score(member, lowest), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_curve(ties):
    score, member = sample(1, 5000, ties=ties)
    some = np.arange(5000) % 7 < 3  # two targets, pooled
    curve = roc.curve([Ranking.of(score, member, where) for where in (some, ~some)], 50)
    n0 = (~member).sum()
    assert (curve.fpr[0], curve.fpr[-1], curve.tpr[-1]) == (1 / n0, 1, 1)
    assert 40 <= len(curve.fpr) <= 50
    assert (np.diff(curve.fpr) > 0).all()
    for fpr, tpr in zip(curve.fpr[:-1], curve.tpr, strict=False):
        assert tpr == roc.tpr_at_fpr(score, member, fpr, "last-point")


def test_per_target_measures_each_target():
    rng = np.random.default_rng(2)
    score, member = rng.normal(size=(4, 3000)).round(2), rng.random((4, 3000)) < 0.5
    score[rng.random(score.shape) < 0.1] = np.nan
    evaluated = rng.random(3000) < 0.6
    found = roc.per_target(rankings(score, member, evaluated), (0.01, 0.0001))
    assert list(found) == ["auc", "balanced_acc", "tpr_at_0.01", "tpr_at_0.0001"]
    for t in range(4):
        s, m = score[t, evaluated], member[t, evaluated]
        assert found["auc"][t] == roc.auc(s, m, abstentions=True)
        assert found["balanced_acc"][t] == roc.balanced_accuracy(s, m)
        assert found["tpr_at_0.01"][t] == roc.tpr_at_fpr(s, m, 0.01, abstentions=True)
        assert np.isnan(found["tpr_at_0.0001"][t])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: roc.auc(np.zeros(3), np.zeros(3)), "member must be boolean, not float64"),
        (lambda: roc.auc(np.zeros(3), np.zeros(4, bool)), r"one shape, not \(3,\) and \(4,\)"),
        (
            lambda: roc.tpr_at_fpr(np.zeros(3), np.zeros(3, bool), 1.0),
            "fpr must lie between 0 and 1, not 1.0",
        ),
        (lambda: roc.tpr_at_fpr(np.zeros(3), np.zeros(3, bool), 0.1, "best"), "not 'best'"),
        (lambda: roc.auc(["high", "low"], [True, False]), "score must be numbers, not <U4"),
    ],
)
def test_bad_input_is_one_clear_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("measure", [roc.auc, lambda s, m, **told: roc.tpr_at_fpr(s, m, 0.1, **told)])
def test_nan_is_refused_unless_it_is_said_to_be_an_abstention(measure):
    """Reserved images that are passed on by mistake would count as non-members that nobody calls."""
    rng = np.random.default_rng(0)
    score, member = rng.normal(size=300), np.arange(300) < 100
    score[200:] = np.nan
    with pytest.raises(LeakgapError, match="100 of 300 are NaN; leave them out"):
        measure(score, member)
    assert measure(score, member, abstentions=True) > measure(score[:200], member[:200])


def test_lists_are_taken():
    score, member = [3, 1.0, 2, 0], [True, True, False, False]
    assert roc.auc(score, member) == 0.75
    assert roc.tpr_at_fpr([score], [member], 0.5) == 0.5


def test_whole_numbers_above_2_to_the_53_are_told_apart():
    score, member = 2**53 + np.arange(4), np.array([False, True, False, True])
    assert roc.auc(score, member) == 0.75
    assert roc.tpr_at_fpr(score, member, 0.4) == 0.5
    assert roc.flagged(score, member, 0.4).tolist() == [False, False, False, True]


def test_masked_values_and_tables_in_another_order_are_refused():
    score, member = np.arange(4.0), np.array([False, True, False, True])
    masked = np.ma.array(score, mask=[False, False, True, False])
    with pytest.raises(ArgumentError, match="score has masked values"):
        roc.auc(masked, member)
    assert roc.auc(np.ma.array(score), member) == 0.75  # none is masked
    table = pd.DataFrame({"score": score, "member": member})
    assert roc.auc(table.score, table.member) == 0.75
    with pytest.raises(ArgumentError, match="different indices"):
        roc.auc(table.score[::-1], table.member)


@pytest.mark.parametrize("fpr", ["0.01", 0, 1, 2, None, float("nan")])
def test_an_fpr_lies_between_0_and_1(fpr):
    with pytest.raises(ArgumentError, match="fpr must lie between 0 and 1"):
        roc.tpr_at_fpr(np.arange(4.0), np.arange(4) < 2, fpr)


@pytest.mark.parametrize("fpr", [0.001, 0.01, 0.05, 0.1, 1 / 3, 0.5])
def test_the_fewest_nonmembers_are_those_with_a_rank(fpr):
    least = least_nonmembers(fpr)
    assert roc.conformal_rank(least, fpr) == 1
    assert roc.conformal_rank(least - 1, fpr) == 0
