"""A forecast from a training log: its band in worlds whose truth is known, its words, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap.__main__ import main
from leakgap.jobs.forecast import published, read_log, read_study
from leakgap.order.forecast import Forecast, band_of_one
from leakgap.order.outlook import LEVELS, band, cells, left_out_coverage, outlook, usable


def world(
    rng: np.random.Generator, data: int, variants: int = 4, models: int = 5, steps: int = 3
) -> pd.DataFrame:
    """Studies, each on data of its own, whose leak follows the gap, with an effect of the data."""
    rows = []
    for place in range(data):
        of_data = rng.normal(0, 0.1)
        for variant in range(variants):
            effect = of_data + rng.normal(0, 0.05)
            gap = np.sort(rng.uniform(0, 0.3, steps))
            tpr = np.minimum(0.01 * 10 ** (4 * gap + effect), 1)
            for model in range(models):
                train = rng.uniform(0.8, 1) + np.zeros(steps)
                rows.append(
                    pd.DataFrame(
                        {
                            **{"study": f"s{place}", "data": f"d{place}", "technique": f"v{variant}"},
                            **{"mask": f"m{model:03d}", "step": np.arange(steps), "train_acc": train},
                            "test_acc": train - gap + rng.normal(0, 0.01, steps),
                            "pooled_tpr_at_0.01": tpr,
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


def test_the_band_of_one_model_is_a_weighted_quantile():
    """Against a loop: every cluster has the same weight, however many models it has, and so has the new one."""
    rng = np.random.default_rng(0)
    sizes = [2, 30, 5, 9, 1, 4, 4, 4, 7]
    cluster = np.repeat(np.arange(9), sizes)
    model = np.repeat(np.arange(len(cluster)), 3)
    errors = rng.normal(size=3 * len(cluster))
    score = np.abs(errors).reshape(-1, 3).max(1)
    for level in (0.5, 0.8, 0.9):
        held = next(
            half
            for half in np.sort(score)
            if np.mean([*(np.mean(score[cluster == each] <= half) for each in range(9)), 0]) >= level - 1e-9
        )
        assert band_of_one(errors, np.repeat(cluster, 3), model, level) == held
    assert band_of_one(errors, np.repeat(cluster, 3), model, 0.91) == np.inf


def test_a_model_of_a_further_cluster_lies_in_the_band_as_often_as_is_said():
    rng = np.random.default_rng(1)
    inside = []
    for _ in range(1000):
        sizes = rng.integers(1, 20, 10)
        of_cluster = np.abs(rng.standard_t(2, 10))
        score = [
            spread * np.abs(rng.normal(size=size)) for spread, size in zip(of_cluster, sizes, strict=True)
        ]
        known = np.concatenate(score[:9])
        half = band_of_one(known, np.repeat(np.arange(9), sizes[:9]), np.arange(len(known)), 0.8)
        inside.append(score[9][0] <= half)
    assert np.mean(inside) > 0.8 - 3 * np.sqrt(0.16 / 1000)


def test_a_band_holds_models_of_other_data():
    inside = []
    for seed in range(60):
        whole = world(np.random.default_rng(seed), 6, variants=2, models=2)
        out = whole["data"] == "d5"
        model = whole[out & (whole["technique"] == "v0") & (whole["mask"] == "m000")]
        found = outlook(whole[~out], model, 0.01)
        assert (found.signal, found.level, found.clusters) == ("acc_gap", 0.8, 5)
        truth = model["pooled_tpr_at_0.01"]
        inside.append(((found.low <= truth) & (truth <= found.high)).all())
    assert np.mean(inside) > 0.8 - 3 * np.sqrt(0.16 / 60)


def test_no_band_where_too_little_was_left_out():
    whole = world(np.random.default_rng(0), 3)
    log = whole.iloc[:1]
    found = outlook(whole, log, 0.01)
    assert np.isnan([found.level, found.low[0], found.high[0]]).all()
    assert found.value[0] > 0
    known = usable(whole.assign(acc_gap=whole["train_acc"] - whole["test_acc"]), "acc_gap", 0.01)
    for count, level in ((4, LEVELS[1]), (9, LEVELS[0])):
        some = pd.concat([known.assign(technique=f"x{k}") for k in range(count)])
        assert band(some, "acc_gap", "technique")[1] == level


def test_a_variant_of_a_study_is_forecast_from_fit_by_its_own_study_alone():
    whole = world(np.random.default_rng(0), 3, variants=5)
    log = pd.DataFrame({"train_acc": [0.9], "test_acc": [0.7]})
    found = outlook(whole, log, 0.01, "s1")
    own = usable(whole[whole["study"] == "s1"], "train_acc", 0.01)
    assert found.signal == "train_acc"
    assert found.value[0] == pytest.approx(10 ** Forecast.fit(cells(own, "train_acc"), ["train_acc"])(log)[0])
    changed = whole.assign(
        **{"pooled_tpr_at_0.01": np.where(whole["study"] == "s1", whole["pooled_tpr_at_0.01"], 1)}
    )
    assert outlook(changed, log, 0.01, "s1").value[0] == found.value[0]
    assert outlook(whole, log[["test_acc"]], 0.01) is None


def test_the_coverage_on_other_data_is_that_of_bands_made_without_them():
    whole = world(np.random.default_rng(0), 6)
    table = left_out_coverage(whole, 0.01, "acc_gap")
    assert table["level"].tolist() == [0.8] * 6
    assert (
        left_out_coverage(world(np.random.default_rng(0), 3), 0.01, "acc_gap")["level"].tolist()
        == [2 / 3] * 3
    )
    shifted = whole.assign(
        **{"pooled_tpr_at_0.01": whole["pooled_tpr_at_0.01"] * np.where(whole["data"] == "d0", 20, 1)}
    )
    held = left_out_coverage(shifted, 0.01, "acc_gap").set_index("data")["held"]
    assert held["d0"] < 0.5 < held["d1"]


# --- the command


def said(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    assert main(["forecast", *arguments]) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_options_and_logs_of_others_say_the_same(capsys):
    by_options = said(capsys, "--train-acc", "0.99", "--test-acc", "0.81")
    Path("keras.json").write_text(json.dumps({"accuracy": [0.99], "val_accuracy": [0.81], "loss": [0.1]}))
    Path("own.csv").write_text("train_acc,test_acc\n.99,.81\n")
    Path("lines.jsonl").write_text(
        '{"train_acc": 0.5, "val_acc": 0.5}\n{"train_acc": 0.99, "val_acc": 0.81}\n'
    )
    assert said(capsys, "keras.json") == said(capsys, "own.csv") == by_options
    assert "recognize about" in by_options
    assert len(read_log("lines.jsonl")) == 2
    assert "| 2 |" in said(capsys, "lines.jsonl")


def test_a_study_of_ones_own_is_taken_in_the_place_of_the_published_one_of_its_name(capsys):
    own = published()[lambda table: table["study"] == "digits"]
    own.assign(**{"pooled_tpr_at_0.01": 0.5}).to_parquet("mine.parquet")
    text = said(
        capsys, "--train-acc", "0.9", "--studies", "mine.parquet", "--like", "digits", "--out", "found.json"
    )
    assert "about 50% (50% to 50%)" in text
    assert "the 5 variants of digits" in text
    told = json.loads(Path("found.json").read_text())
    assert told["forecasts"][0]["tpr"] == [pytest.approx(0.5)]
    assert {row["study"] for row in told["forecasts"][0]["held"]} >= {"fashion-mnist"}


def test_the_results_of_a_study_are_read_with_the_pooled_tpr():
    rows = [
        {"study": "s", "technique": "none", "mask": mask, "step": 1, "attacker": who, "attack": "base"}
        | {"train_acc": 0.9, "test_acc": 0.8, "tpr_at_0.01": 0.1}
        for mask in ("m000", "m001", "r000")
        for who in ("informed", "uninformed")
    ]
    Path("results/s").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet("results/s/summary.parquet")
    alone = read_study("results/s")
    assert (len(alone), set(alone["pooled_tpr_at_0.01"])) == (2, {0.1})
    pooled = {
        "technique": "none",
        "step": 1,
        "attack": "base",
        "attacker": "informed",
        "design": "leave-one-out",
    }
    pd.DataFrame([pooled | {"fpr": 0.01, "tpr": 0.2}]).to_csv("results/s/pooled.csv")
    assert set(read_study("results/s")["pooled_tpr_at_0.01"]) == {0.2}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name the log of a training, or give its accuracies and losses, and not both"),
        (("--train-acc", "99", "--test-acc", "81"), "train_acc is a share from 0 to 1, not 99"),
        (("--train-acc", "0.9"), "nothing can be forecast"),
        (("--train-acc", "0.9", "--like", "mine"), "--like: mine is none of the studies fashion-mnist"),
        (("empty.csv",), "is no table of a training"),
        (("words.csv",), "train_acc is not a number in row 2"),
        (("other.json",), "has none of train_acc"),
        (("missing.csv",), "missing.csv: No such file"),
        (("--train-acc", "0.9", "--studies", "nowhere"), "nowhere: is missing"),
        (("--train-acc", "0.9", "--studies", "words.csv"), "a study's summary has no column study"),
        (("--train-acc", "0.9", "--studies", "."), "has no summary.parquet"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, sentence, capsys):
    Path("empty.csv").write_text("")
    Path("words.csv").write_text("train_acc,test_acc\n.9,.8\ngood,.8\n")
    Path("other.json").write_text('{"f1": 0.5}')
    assert main(["forecast", *arguments]) == 1
    assert sentence in capsys.readouterr().err


def test_what_lies_beyond_the_studies_says_so(capsys):
    assert "lies outside of what the studies have seen" in said(
        capsys, "--train-acc", "1", "--test-acc", "0.1"
    )
    assert "on other data, or for another kind of model" in said(
        capsys, "--train-acc", "1", "--test-acc", "0.9", "--like", "fashion-mnist"
    )
