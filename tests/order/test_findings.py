"""What a study's report says of order: verdicts in worlds in which fit, or the gap, or neither orders the leak."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest

from leakgap.order.findings import of_equal_fit, of_forecast, of_models, of_pairs, of_techniques, table
from leakgap.order.pairs import Ends, Pair

STEPS = 4


def cells(rng: np.random.Generator, weight: tuple[float, float], count: int = 16) -> pd.DataFrame:
    """log_tpr follows train accuracy and the gap by their weights; both vary alike and apart."""
    train, gap = rng.uniform(0.7, 1, (count, STEPS)), rng.uniform(0, 0.3, (count, STEPS))
    leak = (
        weight[0] * train + weight[1] * gap + rng.normal(0, 0.05, (count, 1)) + rng.normal(0, 0.03, gap.shape)
    )
    return pd.DataFrame(
        {
            "technique": np.repeat([f"v{k}" for k in range(count)], STEPS),
            "step": np.tile(np.arange(STEPS), count),
            "train_acc": train.ravel(),
            "acc_gap": gap.ravel(),
            "test_acc": (train - gap).ravel(),
            "train_loss": (1.01 - train).ravel(),
            "loss_gap": (3 * gap).ravel(),
            "log_tpr": leak.ravel(),
        }
    )


@pytest.mark.parametrize(
    ("weight", "answer"), [((4, 0), "**Fit orders the leak here"), ((0, 4), "**The gap orders the leak here")]
)
def test_what_orders_the_leak_is_told(weight, answer):
    for seed in range(3):
        found = of_forecast(cells(np.random.default_rng(seed), weight))
        assert found.sentence.startswith(answer)
        (row,) = [row for row in found.rows if row[1] == "train accuracy: band of 90%, factor"]
        assert 1 < row[2] < 4 or weight[0] == 0


def test_where_both_order_alike_a_verdict_is_rare():
    """Fit and gap are exchangeable: at most 5% of studies may say that one is better."""
    said = [of_forecast(cells(np.random.default_rng(seed), (2, 2), 8)).sentence for seed in range(40)]
    assert sum("cannot be told here" not in each for each in said) <= 2 + 3 * np.sqrt(40 * 0.05 * 0.95)


def test_too_few_variants_have_no_order():
    assert "fewer than 3 variants" in of_forecast(None).sentence
    assert of_pairs([]).sentence == "A study of one variant has no order."
    assert of_pairs([]).rows == ()


def pair(names: tuple[str, str], gap: float, leak: float, fit: float, half: float = 0.01) -> Pair:
    return Pair(*names, *(Ends(value - half, value + half) for value in (gap, leak, fit)))


def test_pairs_are_counted_and_one_that_disagrees_is_named():
    found = of_pairs([pair(("a", "b"), -0.1, -1, 0), pair(("a", "c"), 0.1, -1, 0), pair(("b", "c"), 0, 1, 0)])
    assert (
        "leaks less in 1 and more in 1, such as `c`, which has a smaller gap than `a` and leaks more"
        in found.sentence
    )
    assert [row[2] for row in found.rows] == [1, 1, 1]


def test_at_equal_fit_generalization_is_compared():
    close = [pair(("a", "b"), -0.1, -1, 0, 0.001), pair(("a", "c"), -0.1, -1, 0.2, 0.001)]
    found = of_equal_fit(close, cells(np.random.default_rng(0), (4, 1)))
    assert found.sentence.startswith(
        "Of 1 pair that fit alike the one that generalizes better leaks less in 1"
    )
    assert found.rows[-1][2] == pytest.approx(
        10**-0.01, abs=0.01
    )  # one decade less for a unit of test accuracy
    assert found.rows[-1][4] < 1
    assert "not told from 1" in of_equal_fit([], cells(np.random.default_rng(0), (4, 0))).sentence
    assert of_equal_fit([], None).sentence == "No two variants are told to fit alike."


def test_models_of_one_variant():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(6, 32))
    noise = rng.normal(size=(2, 2, 6, 32))
    pairs = np.arange(32) // 2
    more = of_models(truth + noise[0], truth + noise[1], pairs)
    assert "those with a larger gap leak more" in more.sentence
    assert "leak less" in of_models(truth + noise[0], noise[1] - truth, pairs).sentence
    apart = of_models(truth + noise[0], rng.normal(size=(6, 32)) + noise[1], pairs)
    assert "neither more nor less" in apart.sentence
    assert (
        "their gaps differ by no more than the noise"
        in of_models(*rng.normal(size=(2, 2, 6, 32)), pairs).sentence
    )
    assert "were not kept" in of_models(None, None, pairs).sentence


def factorial(through_fit: bool) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    members = ("crop", "mirror", "policy")
    names = ["+".join(part) or "none" for size in range(4) for part in combinations(members, size)]
    crop = np.array(["crop" in name for name in names], float)
    fit = rng.normal(-1, 0.2, 8) + 0.8 * crop
    leak = -0.5 * fit if through_fit else -0.4 * crop
    return pd.DataFrame({"technique": names, "train_loss": 10**fit, "log_tpr": leak + rng.normal(0, 0.01, 8)})


def test_what_a_technique_does_through_the_fit_is_gone_at_equal_fit():
    members = ["crop", "mirror", "policy"]
    assert "crop is not told any more" in of_techniques(factorial(True), members).sentence
    assert "crop is still told" in of_techniques(factorial(False), members).sentence
    assert of_techniques(factorial(True).iloc[:7], members) is None
    assert of_techniques(None, members) is None


def test_the_table_has_every_row():
    pairs = [pair(names, 0.1, 0.1, 0.1) for names in product("ab", "cd")]
    answers = [of_pairs(pairs), of_forecast(cells(np.random.default_rng(0), (4, 0)))]
    rows = table(answers)
    assert len(rows) == sum(len(answer.rows) for answer in answers)
    assert rows["value"].notna().all()
