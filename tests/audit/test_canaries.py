"""Canaries: what is made, exposure by its definition, bounds under fair coins, and audits with a manifest."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap import Answers, LeakgapError, audit_model
from leakgap.__main__ import main
from leakgap.audit.canaries import exposures, make_canaries
from leakgap.measure.epsilon import epsilon_of, inclusion_epsilon


def test_exposure_is_its_definition():
    rng = np.random.default_rng(0)
    score, member = rng.normal(size=60).round(1), rng.random(60) < 0.5
    others = score[~member]
    rank = [1 + int((others >= mine).sum()) for mine in score[member]]
    expected = [math.log2(len(others) + 1) - math.log2(place) for place in rank]
    np.testing.assert_allclose(exposures(score, member), expected)


def test_guesses_in_and_out_are_a_naive_auditors_and_noise_bounds_0():
    above = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        member = rng.random(100) < 0.5
        above += inclusion_epsilon(rng.normal(size=100).round(), member, guesses=50, seed=seed) > 0
    assert above / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    member = np.arange(100) < 50
    score = np.where(member, 1.0, 0.0) + np.linspace(0, 0.5, 100)
    score[99] = 3.0  # the surest guess is wrong
    assert inclusion_epsilon(score, member, guesses=50) == epsilon_of(49, 50, 100)


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_randomized_response_of_fair_coins_is_not_exceeded(epsilon: float):
    bounds = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        member = rng.random(200) < 0.5
        told = np.where(rng.random(200) < 1 / (1 + math.exp(-epsilon)), member, ~member)
        bounds.append(inclusion_epsilon(1.0 * told, member, guesses=100, seed=seed))
    assert np.mean(np.array(bounds) > epsilon) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert np.median(bounds) > epsilon / 4


def test_what_canaries_hold():
    data = pd.DataFrame({"record": range(100), "label": np.arange(100) % 4, "age": range(100), "dose": 0.5})
    wrong = make_canaries("labels", 40, data=data, seed=1)
    assert wrong["source"].is_unique
    assert (wrong["label"].to_numpy() != data["label"].to_numpy()[wrong["source"]]).all()
    odd = make_canaries("outliers", 40, data=data)
    assert odd["age"].between(0, 99).all()
    assert odd["age"].dtype.kind == "i"
    assert set(odd["label"]) <= {0, 1, 2, 3}
    spans = make_canaries("tokens", 40, vocabulary=10, length=3)
    assert all(0 <= int(token) < 10 for span in spans["tokens"] for token in span.split())
    same, other = make_canaries("tokens", 40), make_canaries("tokens", 40, seed=1)
    assert same.equals(make_canaries("tokens", 40))
    assert not same.equals(other)


def answers(manifest: pd.DataFrame, leak: float, name: str, seed: int = 0) -> Answers:
    rng = np.random.default_rng(seed)
    member = np.r_[rng.random(300) < 0.5, manifest["member"]]
    record = [f"r{k}" for k in range(300)] + manifest["record"].tolist()
    phi = rng.normal(size=len(member)) + np.where(np.arange(len(member)) < 300, 0.0, leak) * member
    return Answers.of({"record": record, "label": [0] * len(member), "member": member, "phi": phi}, name)


def test_an_audit_measures_canaries_apart(tmp_path: Path):
    assert main(["canaries", "tokens", "--count", "120", "--out", str(tmp_path)]) == 0
    manifest = pd.read_csv(tmp_path / "manifest.csv")
    inserted = pd.read_csv(tmp_path / "insert.csv")
    assert inserted["record"].tolist() == manifest.loc[manifest["member"], "record"].tolist()
    assert "member" not in inserted
    audit = audit_model(answers(manifest, 8.0, "mine", seed=1), [], canaries=tmp_path / "manifest.csv")
    found = audit.about["canaries"]
    assert (found["canaries"], found["members"]) == (120, manifest["member"].sum())
    assert found["exposure_median"] == found["most_exposure"] == math.log2((~manifest["member"]).sum() + 1)
    assert found["epsilon"]["bound"] > 2.5
    assert found["tpr_at_0.1"][0] == 1
    assert len(audit.records) == 300
    assert audit.summary["tpr_at_0.01"][0] < 0.05, (
        "natural records do not leak, and canaries are not among them"
    )
    audit.write(tmp_path / "audit")
    page = (tmp_path / "audit/report.html").read_text()
    assert "120 records were made to be remembered" in page
    quiet = audit_model(answers(manifest, 0.0, "mine"), [], canaries=tmp_path / "manifest.csv")
    assert quiet.about["canaries"]["epsilon"]["bound"] < 1


def test_shadow_models_that_never_saw_a_canary_calibrate_it(tmp_path: Path):
    manifest = make_canaries("tokens", 120)
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    hard = np.r_[np.zeros(300), 10 * np.random.default_rng(9).normal(size=120)]

    def model(name: str, seed: int, trained: bool) -> Answers:
        rng = np.random.default_rng(seed)
        member = np.r_[rng.random(300) < 0.5, manifest["member"] & trained]
        record = [f"r{k}" for k in range(300)] + manifest["record"].tolist()
        phi = rng.normal(size=420) + hard + 4 * member
        return Answers.of({"record": record, "label": [0] * len(member), "member": member, "phi": phi}, name)

    target, shadows = model("mine", 0, True), [model(f"shadow {k}", k, False) for k in range(1, 5)]
    alone = audit_model(target, [], canaries=tmp_path / "manifest.csv", attacks=["loss"]).about["canaries"]
    beside = audit_model(target, shadows, canaries=tmp_path / "manifest.csv", attacks=["loss"]).about[
        "canaries"
    ]
    assert (alone["calibrated"], beside["calibrated"]) == (False, True)
    assert beside["epsilon"]["bound"] > alone["epsilon"]["bound"] + 1


def test_bad_manifests_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture):
    manifest = make_canaries("tokens", 40)
    place = tmp_path / "manifest.csv"
    mine = answers(manifest, 1.0, "mine")
    for change, told in (
        ({"member": None}, "does not say whether"),
        ({"record": "canary-00000"}, "names a canary twice"),
        ({"member": ~manifest["member"]}, "was trained on by one of file and manifest"),
        ({"record": [f"x{k}" for k in range(40)]}, "none of the canaries"),
    ):
        manifest.assign(**change).to_csv(place, index=False)
        with pytest.raises(LeakgapError, match=told):
            audit_model(mine, [], canaries=place)
    manifest.drop(columns="member").to_csv(place, index=False)
    with pytest.raises(LeakgapError, match="lacks column member"):
        audit_model(mine, [], canaries=place)
    assert main(["canaries", "labels", "--out", str(tmp_path)]) == 1
    assert main(["canaries", "tokens", "--count", "3", "--out", str(tmp_path)]) == 1
    assert main(["canaries", "outliers", "--data", str(tmp_path / "none.csv"), "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert said.count("leakgap canaries: ") == 3
    assert "count must be at least 20" in said
