"""Models with splits of their own, a base model, thresholds of the user's, from the command line too."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap import Answers, LeakgapError, audit_model
from leakgap.__main__ import main
from leakgap.measure.epsilon import guesses_for


def world(models: int = 6, records: int = 700, leak: float = 1.5, seed: int = 0) -> list[pd.DataFrame]:
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 2, records)
    tables = []
    for _ in range(models):
        member = rng.random(records) < 0.5
        phi = own + rng.normal(size=records) + leak * member
        tables.append(pd.DataFrame({"record": range(records), "label": 0, "member": member, "phi": phi}))
    return tables


def answers(tables: list[pd.DataFrame]) -> list[Answers]:
    return [Answers.of(table, f"model {k}") for k, table in enumerate(tables)]


def test_each_model_is_attacked_by_the_others():
    models = answers(world())
    audit = audit_model(models, each=True, attacks=["base", "mast"])
    assert audit.about["shadow_models"] == 5
    for k, model in enumerate(models):
        alone = audit_model(model, models[:k] + models[k + 1 :], attacks=["base"]).records.set_index("record")
        mine = audit.records[audit.records["target"] == model.name].set_index("record").loc[alone.index]
        np.testing.assert_allclose(mine["base"], alone["base"], rtol=1e-5, atol=1e-6)


def test_a_model_s_complement_is_left_out_too():
    tables = world()
    tables[1]["member"] = ~tables[0]["member"]
    audit = audit_model(answers(tables), each=True, attacks=["base"])
    counts = audit.records.groupby("target")[["in_models", "out_models"]].sum().sum(axis=1) / 700
    assert counts["model 0"] == counts["model 1"] == 4
    assert counts["model 2"] == 5


def test_without_a_leak_nothing_is_found():
    aucs = [
        audit_model(answers(world(leak=0, seed=s)), each=True, attacks=["base"]).summary["auc"][0]
        for s in range(5)
    ]
    assert np.abs(np.mean(aucs) - 0.5) < 0.01


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (lambda models: (models[:2], []), "2 models; it takes three or more"),
        (lambda models: (models[:4], models[4:]), "name no further shadows"),
        (lambda models: ([*models, models[0]], []), "are one model"),
    ],
)
def test_what_each_can_not_be_is_one_sentence(models, told):
    targets, shadows = models(answers(world()))
    with pytest.raises(LeakgapError, match=told):
        audit_model(targets, shadows, each=True)


def written(folder: Path, tables: list[pd.DataFrame]) -> list[str]:
    for k, table in enumerate(tables):
        table.to_csv(folder / f"{k}.csv", index=False, sep=";", decimal=",")
    return [str(folder / f"{k}.csv") for k in range(len(tables))]


def test_from_the_command_line_with_another_separator(tmp_path, capsys):
    files = written(tmp_path, world())
    assert main(["audit", *files, "--each", "--out", str(tmp_path / "a"), "--attacks", "base"]) == 0
    expected = audit_model(answers(world()), each=True, attacks=["base"])
    assert expected.about["answer"][0] in capsys.readouterr().out


@pytest.mark.parametrize(("limit", "status"), [("0.9@0.01", 0), ("0.02@0.01", 3), ("0.9@0.0001", 3)])
def test_a_threshold_of_the_user_s_is_an_exit_status(tmp_path, capsys, limit, status):
    target, *shadows = written(tmp_path, world(leak=2.5))
    arguments = ["audit", target, "--shadows", *shadows, "--out", str(tmp_path / "a"), "--attacks", "base"]
    assert main([*arguments, "--fail-above", limit]) == status
    assert ("fail-above: the TPR" in capsys.readouterr().out) == (status == 3)


@pytest.mark.parametrize("limit", ["much", "5@1", "0.1"])
def test_a_threshold_that_is_none_is_one_sentence(tmp_path, capsys, limit):
    target, *shadows = written(tmp_path, world())
    arguments = ["audit", target, "--shadows", *shadows, "--out", str(tmp_path / "a"), "--fail-above", limit]
    assert main(arguments) == 1
    assert "fail-above" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_base_model_has_no_members():
    tables = world(3)
    base = Answers.of(tables[2], "base")
    with pytest.raises(LeakgapError, match="base: has members, and the base model is one"):
        audit_model(*[[model] for model in answers(tables[:2])], base=base)
    blank = Answers.of(tables[2].drop(columns="member"), "base")
    assert audit_model(*[[model] for model in answers(tables[:2])], base=blank).about["measured"]


def test_epsilon_of_targets_that_are_shadow_models_is_of_an_attack_that_no_membership_chose():
    told = audit_model(answers(world()), each=True, attacks=["mast", "base", "loss"]).about["epsilon"]
    assert told["attack"] == "the models before each target"
    other = audit_model(answers(world()), each=True, attacks=["loss"]).about["epsilon"]
    assert (told["bound"], told["guesses"]) == (other["bound"], other["guesses"])
    tables = world()
    tables[1]["member"] = ~tables[0][
        "member"
    ]  # a model that tells another's coins: one bound each, by a fixed attack
    told = audit_model(answers(tables), each=True, attacks=["mast", "base", "loss"]).about["epsilon"]
    assert told["attack"] == "base"
    assert told["guesses"] == guesses_for(told["matches"])
