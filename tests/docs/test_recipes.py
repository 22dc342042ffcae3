"""The recipes of docs/recipes: each runs from data to the joined tables, and does what its page says."""

import importlib.util
import json
import math
import sys
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier

from leakgap.__main__ import main
from leakgap.objects import Object
from leakgap.study import Study

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs/recipes"


def script(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


accounting = script(RECIPES / "dp-sgd/accounting.py")
TINY = {
    "boosting": {"train.steps": [1, 3]},
    "text": {"train.steps": [1, 2]},
    "dp-sgd": {"train.steps": [1, 2]},
    "early-stopping": {"train.steps": [1, 2]},
    "regularization": {"train.steps": [1], "train.epochs": 1, "train.width": 2},
}


def settings(name: str) -> dict:
    return yaml.safe_load((RECIPES / name / "study.yaml").read_text())


def function(place: str):
    return Object(str(RECIPES / place)).load()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory in which docs/recipes is there."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RECIPES.glob("*/study.yaml")))
def test_runs_from_data_to_the_joined_tables(name: str, here: Path):
    values = settings(name)
    for key, value in TINY[name].items():
        section, _, rest = key.partition(".")
        values[section][rest] = value
    values["data"] |= {"size": 300, "reserved": 100}
    values["grid"]["masks"] = 4
    values["attack"] |= {
        "attacks": ["lira-online-fixed", "loss"],
        "attackers": ["informed"],
        "bootstrap": 100,
    }
    study = Study.load(values)
    given = ["--study", json.dumps(values)]
    for verb in ("pool", "masks"):
        assert main([verb, *given]) == 0
    for variant in study.grid.techniques:
        for mask in study.masks:
            assert main(["train", *given, "--technique", variant, "--mask", mask]) == 0
        assert main(["attack", *given, "--technique", variant, "--shadow", variant]) == 0
    assert main(["summary", *given]) == 0
    summary = pd.read_parquet(study.paths.summary)
    rows = len(study.masks) * len(study.attack.attacks)
    assert summary.groupby(["technique", "step"]).size().eq(rows).all()
    assert set(summary["technique"]) == {"none", *values["grid"]["variants"]}
    z = {variant: last_logits(study.paths.logits(variant, "m000")) for variant in study.grid.techniques}
    for variant in values["grid"]["variants"]:
        assert not np.array_equal(z[variant], z["none"]), f"{variant} changes nothing"


def last_logits(path: str) -> np.ndarray:
    rows = pd.read_parquet(path)
    return np.stack(rows.loc[rows["step"] == rows["step"].max(), "logits"])


def test_boosting_answers_as_a_classifier_of_so_many_rounds():
    rng = np.random.default_rng(0)
    data = {"features": rng.normal(size=(300, 5)).astype(np.float32), "labels": rng.integers(0, 3, 300)}
    members, train = np.arange(0, 300, 2), function("boosting/recipe.py:train")
    for step, z in zip([2, 7], train(data, members, 3, [2, 7], depth=3), strict=True):
        alone = HistGradientBoostingClassifier(
            max_iter=step, max_depth=3, early_stopping=False, random_state=3
        )
        alone.fit(data["features"][members], data["labels"][members])
        np.testing.assert_allclose(z, alone.decision_function(data["features"]))


def test_people_are_there_once_and_what_is_predicted_is_no_feature():
    data = function("boosting/data.py:people")()
    assert data["features"].shape == (5912, 12)
    assert len(np.unique(data["features"][:, :5], axis=0)) > 4000  # not the years of some hundreds
    best = max(abs(np.corrcoef(np.nan_to_num(column), data["labels"])[0, 1]) for column in data["features"].T)
    assert best < 0.5


def test_sentences_are_tokenized_by_their_first_sentence():
    tokens = function("text/data.py:tokens")
    one = tokens("""
        Return the mean of an array. Further sentences
        say more.
    """)
    assert one == tokens("return the MEAN of an array")
    assert np.count_nonzero(one) == 6
    assert len(one) == len(tokens("word " * 40)) == np.count_nonzero(tokens("word " * 40))
    assert max(tokens(" ".join(sys.stdlib_module_names))) < 4096


def test_text_classifier_is_the_mean_of_embeddings():
    """Words in another order, or all of them twice, have the same mean."""
    rng = np.random.default_rng(0)
    words = rng.integers(1, 50, (40, 4))
    tokens = np.concatenate([np.pad(words, ((0, 0), (0, 4))), np.tile(words[:, ::-1], 2)])
    data = {"tokens": tokens, "labels": np.tile(np.arange(40) % 3, 2)}
    (z,) = function("text/recipe.py:train")(data, np.arange(40), 0, [3])
    torch.testing.assert_close(z[:40], z[40:])
    assert not torch.allclose(z[0], z[1])


def test_early_stopping_answers_as_the_epoch_that_is_best_on_those_held_out():
    rng = np.random.default_rng(0)
    data = {"features": rng.normal(size=(200, 3)).astype(np.float32), "labels": rng.integers(0, 2, 200)}
    members, steps, train = (
        np.arange(0, 200, 2),
        list(range(1, 31)),
        function("early-stopping/recipe.py:train"),
    )
    every = list(train(data, members, 5, steps, validation=0.3, lr=0.01))
    held_out = np.random.default_rng(5).permutation(members)[:30]
    loss = [-torch.log_softmax(z[held_out], 1)[np.arange(30), data["labels"][held_out]].mean() for z in every]
    best = [int(np.argmin(loss[:step])) for step in steps]
    assert best[-1] < 29, "this test is of epochs that are not the last"
    for z, epoch in zip(
        train(data, members, 5, steps, validation=0.3, keep="best", lr=0.01), best, strict=True
    ):
        torch.testing.assert_close(z, every[epoch])


@pytest.fixture
def digits() -> dict[str, np.ndarray]:
    return function("dp-sgd/data.py:digits_with_canaries")()


def test_clipping_bounds_what_a_step_changes(digits):
    """Weights move by at most lr x clip x (records in the batch) / (records expected): here next to nothing."""
    train = function("dp-sgd/recipe.py:train")
    start, clipped, noisy, free = (
        next(train(digits, np.arange(800), 0, [1], **options))
        for options in ({"clip": 1e-9}, {"clip": 1e-3}, {"clip": 1e-3, "noise": 1e4}, {})
    )
    assert (clipped - start).abs().max() < 0.1 < 1 < (noisy - start).abs().max()
    assert (free - start).abs().max() > 1


def test_dp_sgd_draws_from_its_seed_alone(digits):
    train = function("dp-sgd/recipe.py:train")
    first, same, other = (next(train(digits, np.arange(800), seed, [1], noise=1.0)) for seed in (1, 1, 2))
    torch.testing.assert_close(first, same, rtol=0, atol=0)
    assert not torch.allclose(first, other)


def test_canaries_are_a_tenth_of_the_digits(digits):
    from sklearn.datasets import load_digits

    assert (digits["labels"] != load_digits().target).mean() == pytest.approx(0.1, abs=1e-3)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon of telling N(0, 1) from N(mu, 1), in closed form (Balle and Wang 2018, theorem 8)."""

    def excess(epsilon: float) -> float:
        upper, lower = norm.cdf(mu / 2 - epsilon / mu), norm.cdf(-mu / 2 - epsilon / mu)
        return upper - math.exp(epsilon) * lower - delta

    return brentq(excess, 0, 100)


@pytest.mark.parametrize(("relation", "distance"), [("ADD_OR_REMOVE_ONE", 1), ("REPLACE_ONE", 2)])
def test_accounted_epsilon_is_the_gaussians_if_every_record_is_in_every_batch(relation: str, distance: int):
    """Adding a record moves a sum by its clipped norm, replacing one by another moves it by twice that."""
    found = accounting.accounted(4.0, 1.0, 5, relation)
    assert found == pytest.approx(gaussian_epsilon(distance * math.sqrt(5) / 4, accounting.DELTA), abs=0.01)


@pytest.mark.parametrize(("noise", "smaller"), [(0.94, 1e-24), (2.29, 1e-9), (7.43, 1e-6)])
def test_accounted_epsilon_of_poisson_samples(noise: float, smaller: float):
    """Added or removed: what Opacus says. Replaced: above it, and below what group privacy makes of two of these.

    To remove one and to add another is (2 epsilon, (1 + exp epsilon) delta)-private if each is (epsilon, delta).
    """
    added, replaced = (
        accounting.accounted(noise, 1 / 8, 240, name) for name in ("ADD_OR_REMOVE_ONE", "REPLACE_ONE")
    )
    opacus, each = PRVAccountant(), RDPAccountant()
    opacus.history = each.history = [(noise, 1 / 8, 240)]
    assert added == pytest.approx(opacus.get_epsilon(accounting.DELTA), abs=0.02)
    epsilon = each.get_epsilon(smaller)
    assert (1 + math.exp(epsilon)) * smaller <= accounting.DELTA
    assert added < replaced < 2 * epsilon


def test_what_is_proved_of_dp_sgd_is_written_for_every_training_and_set_of_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(RECIPES / "dp-sgd"))
    proved = script(RECIPES / "dp-sgd/proved.py")
    monkeypatch.setattr(proved, "EPOCHS", 1)
    monkeypatch.setattr(sys, "argv", ["proved.py", str(tmp_path), "--masks", "4", "--inclusion", "coin"])
    proved.main()
    found = pd.read_csv(tmp_path / "proved.csv")
    assert len(found) == 3 * len(proved.ACCURATE | proved.BROKEN)
    assert (found["gaussian"] < found["claimed"])[found["claimed"] > 0.5].all()
    assert found["p"].notna().equals(found["claimed"] < math.inf)
    assert (tmp_path / "proved.svg").stat().st_size > 1000


@pytest.mark.parametrize("study", sorted(RECIPES.glob("*/study.yaml")), ids=lambda path: path.parent.name)
def test_pages_say_how_their_numbers_were_made(study: Path):
    page, overview = study.with_name("README.md"), (RECIPES / "README.md").read_text()
    assert f"--configfile {study.relative_to(ROOT)}" in page.read_text()
    assert f"]({study.parent.name}/README.md)" in overview
