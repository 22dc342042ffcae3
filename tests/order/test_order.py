"""What orders the leak: against loops plainer than the code, and worlds whose truth is known."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from leakgap.order.explained import explained
from leakgap.order.forecast import Forecast, compared, conformal_band, left_out
from leakgap.order.pairs import Concordance, Ends, Pair, alike, concordance
from leakgap.order.within import within_cells


@pytest.fixture
def cells() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    names = np.repeat(["a", "b", "c", "d", "e"], 6)
    train, gap = rng.random(30), rng.random(30)
    leak = train**3 + 0.3 * gap + 0.01 * rng.normal(size=30)
    return pd.DataFrame({"technique": names, "train_acc": train, "acc_gap": gap, "log_tpr": leak})


def test_a_left_out_variant_is_forecast_by_the_others_alone(cells):
    errors = left_out(cells, ["train_acc"])
    for name in "abcde":
        out = cells["technique"] == name
        fit = IsotonicRegression(out_of_bounds="clip").fit(cells["train_acc"][~out], cells["log_tpr"][~out])
        expected = fit.predict(cells["train_acc"][out]) - cells["log_tpr"][out]
        np.testing.assert_allclose(errors[out], expected)
    changed = cells.assign(log_tpr=np.where(cells["technique"] == "a", 9.0, cells["log_tpr"]))
    np.testing.assert_allclose((left_out(changed, ["train_acc"]) - errors)[:6], -9.0 + cells["log_tpr"][:6])


def test_a_second_signal_that_matters_lowers_the_error(cells):
    table = compared(cells, [["train_acc"], ["train_acc", "acc_gap"]], level=0.8)
    assert table["error"][1] < 0.7 * table["error"][0]


def test_what_the_first_signal_says_is_not_said_twice_by_the_second(cells):
    """A second signal that is the first one adds nothing."""
    twice = cells.assign(test_acc=cells["train_acc"])
    np.testing.assert_allclose(
        Forecast.fit(twice, ["train_acc", "test_acc"])(twice),
        Forecast.fit(twice, ["train_acc"])(twice),
        atol=0.05,
    )


def test_the_band_is_the_conformal_quantile_of_the_clusters_largest_errors():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(4000):  # exchangeable clusters: the coverage is known, 18 / 20
        errors = np.abs(rng.standard_t(2, (20, 3)))
        half = conformal_band(errors[:19].ravel(), np.repeat(np.arange(19), 3), 0.9)
        inside.append(errors[19].max() <= half)
    assert np.mean(inside) == pytest.approx(0.9, abs=3 * np.sqrt(0.09 / 4000))
    assert conformal_band(np.ones(8), np.arange(8), 0.9) == np.inf


def test_pairs_are_counted_by_simultaneous_signs():
    ends = {1: Ends(0.1, 0.3), -1: Ends(-0.3, -0.1), 0: Ends(-0.1, 0.1)}
    pairs = [Pair("x", "y", ends[gap], ends[leak], ends[0]) for gap, leak in product(ends, repeat=2)]
    assert concordance(pairs) == Concordance(same=2, other=2, open=5)
    assert concordance(pairs).bounds == pytest.approx((2 / 9, 7 / 9))
    assert np.isnan(concordance([]).bounds).all()
    assert alike(pairs, 0.2) == pairs
    assert alike(pairs, 0.1) == []
    undefined = Pair("x", "y", Ends(np.nan, np.nan), ends[1], Ends(np.nan, np.nan))
    assert undefined.agrees == 0
    assert alike([undefined], 1.0) == []


def test_the_rest_of_an_effect_is_the_coefficient_beside_the_fit():
    rng = np.random.default_rng(1)
    has, fit = np.arange(16) % 2 == 0, rng.normal(size=16)
    leak = 0.5 * has + fit - 0.2 * fit**2 + 0.01 * rng.normal(size=16)
    found = explained(has, fit, leak, np.arange(16))
    assert found.rest[0] == pytest.approx(0.5, abs=0.02)
    assert found.total[0] == pytest.approx(leak[has].mean() - leak[~has].mean())
    fits = [explained(has[keep], fit[keep], leak[keep], np.arange(15)).rest[0] for keep in 1 - np.eye(16) > 0]
    half = stats.t.isf(0.025, 15) * np.sqrt(((np.array(fits) - np.mean(fits)) ** 2).sum())
    assert found.rest[2] - found.rest[1] == pytest.approx(2 * half)


def test_a_correlation_is_corrected_by_the_reliabilities():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 2, 4, 40))
    x[1] += x[0]
    y[1] += y[0] + x[0]
    pair = np.arange(40) // 2
    rho = np.array(
        [
            [
                np.mean([stats.spearmanr(one[c], other[c])[0] for c in range(4)])
                for one, other in ((x[0], y[1]), (x[1], y[0]))
            ],
            [np.mean([stats.spearmanr(each[0][c], each[1][c])[0] for c in range(4)]) for each in (x, y)],
        ]
    )
    found = within_cells(x, y, pair, draws=100)
    assert (found.x_reliability, found.y_reliability) == pytest.approx(rho[1])
    assert found.value == pytest.approx(rho[0].mean() / np.sqrt(rho[1].prod()))


def test_noise_has_no_corrected_correlation():
    x, y = np.random.default_rng(0).normal(size=(2, 2, 4, 40))
    found = within_cells(x, y, np.arange(40) // 2, draws=100)
    assert np.isnan(found.value)
    assert "not told from 0" in found.note
