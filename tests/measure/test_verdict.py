"""Verdicts against intervals, definitions, and simulated truths at the threshold."""

import numpy as np
import pytest
from scipy import stats

from leakgap.measure.estimate import Estimate
from leakgap.measure.verdict import UNDEFINED, Trial, beyond, equivalent, holm, together, verdicts


def ratio(value, se=0.1, df=20.0, level=0.95):
    half = stats.t.isf((1 - level) / 2, df) * se
    return Estimate(value, value * np.exp(-half), value * np.exp(half), np.log(value), se, df, "log")


NAN = Estimate(*[float("nan")] * 6, "log", "no member is caught on either side")


@pytest.mark.parametrize("value", [0.4, 0.7, 0.9, 1.05, 1.2, 1.35, 1.6, 2.0, 3.0])
def test_one_claim_is_read_off_its_interval(value):
    found = ratio(value)
    for threshold in (1, 1.5):
        word = (
            "supported"
            if found.low > threshold
            else "contradicted"
            if found.high < threshold
            else "undecided"
        )
        assert verdicts([beyond(found, threshold)]) == [word]
        turned = {"supported": "contradicted", "contradicted": "supported"}.get(word, word)
        assert verdicts([beyond(found, threshold, below=True)]) == [turned]
    inside = found.low > 1 / 1.5 and found.high < 1.5
    outside = found.low > 1.5 or found.high < 1 / 1.5
    word = "supported" if inside else "contradicted" if outside else "undecided"
    assert verdicts([equivalent(found, 1.5)]) == [word]


def test_undefined_is_undecided():
    assert beyond(NAN, 1) == equivalent(NAN, 1.5)
    assert verdicts([beyond(NAN, 1), beyond(ratio(3), 1)]) == ["undecided", "supported"]


@pytest.mark.parametrize("margin", [1.5, 1 / 1.5])
def test_equivalence_at_the_margin_is_decided_as_rarely_as_it_should(margin):
    """Where the truth is the margin itself both verdicts are false; 5% of 8,000 studies."""
    rng = np.random.default_rng(0)
    se = 0.1 * np.sqrt(rng.chisquare(7, 8000) / 7)
    values = np.exp(np.log(margin) + 0.1 * rng.normal(size=8000))
    words = [verdicts([equivalent(ratio(v, s, 7), 1.5)])[0] for v, s in zip(values, se, strict=True)]
    assert np.mean(np.array(words) != "undecided") == pytest.approx(0.05, abs=0.009)


def by_steps(p):
    """Which of the tests Holm's rule rejects at 5%: the smallest p first, until one fails."""
    rejected, left = set(), sorted(range(len(p)), key=lambda k: p[k])
    while left and p[left[0]] <= 0.05 / len(left):
        rejected.add(left.pop(0))
    return rejected


def test_holm_is_the_step_down_rule():
    rng = np.random.default_rng(1)
    for _ in range(300):
        p = rng.random(8) ** 4
        assert set(np.flatnonzero(holm(p) <= 0.05)) == by_steps(list(p))
        assert (holm(p) >= p).all()
    assert holm([0.5, 0.9]).tolist() == [1.0, 1.0]


def test_an_undefined_test_is_counted():
    assert holm([0.01, np.nan])[0] == 0.02
    assert np.isnan(holm([0.01, np.nan])[1])


def test_any_false_verdict_among_dependent_claims_is_rare():
    """Eight claims at their thresholds, sharing half of their noise."""
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(3000, 1)) * np.sqrt(0.5) + rng.normal(size=(3000, 8)) * np.sqrt(0.5)
    false = [
        any(
            word != "undecided"
            for word in verdicts([beyond(ratio(np.exp(0.1 * z), df=1e9), 1) for z in study])
        )
        for study in noise
    ]
    assert 0.01 < np.mean(false) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 3000)


def test_together_all_parts_or_one_against():
    yes, no, sure_no = Trial(True, 0.01), Trial(False, 0.4), Trial(False, 0.002)
    assert together([yes, Trial(True, 0.03)]) == Trial(True, 0.03)
    assert together([yes, yes, no]) == Trial(False, 1.0)
    assert together([yes, no, sure_no]) == Trial(False, 0.006)
    assert np.isnan(together([yes, UNDEFINED]).p)
    assert together([yes, UNDEFINED, sure_no]) == Trial(False, 0.006)


def test_better_than_every_rival_is_rarely_wrong():
    """Four rivals as good as the gap: neither verdict is right."""
    rng = np.random.default_rng(3)
    words = [
        verdicts([together([beyond(ratio(np.exp(0.1 * z), df=1e9), 1) for z in study])])[0]
        for study in rng.normal(size=(3000, 4))
    ]
    assert 0.01 < np.mean(np.array(words) != "undecided") < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 3000)
