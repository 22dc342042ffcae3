"""Answers of a study's own models, and of several moments of training."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap import LeakgapError, audit_model
from leakgap.__main__ import main
from leakgap.answers import store
from leakgap.answers.answers import Answers
from leakgap.data.masks import balanced_masks, write_masks
from leakgap.data.pool import Pool, write_pool

IMAGES, MASKS = 400, 8
NAMES = np.array([f"image {k}.png" for k in range(IMAGES)])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study's folder: models that remember their training images at the last step alone."""
    folder = tmp_path / "results/made"
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % 4
    arrays = {"images": rng.integers(0, 256, (IMAGES, 1, 4, 4), np.uint8), "names": NAMES}
    folder.mkdir(parents=True)
    write_pool(folder / "pool.npz", Pool(arrays, labels, 4, groups=labels // 2 + np.arange(IMAGES) // 4 * 2))
    member = balanced_masks(MASKS, IMAGES, 0, 0.1)
    write_masks(folder / "masks.npz", member, member.sum(axis=0) == 0)
    for row in range(MASKS):
        push = 3 * member[row][:, None] * (np.arange(4) == labels[:, None])
        steps = [rng.normal(size=(2, IMAGES, 4)).astype(np.float32) + k * push for k in (0, 1)]
        named = {"study": "made", "technique": "none", "mask": f"m{row:03}", "epochs": (3, 7)}
        store.write(path(folder, row), steps, labels, member[row], first_view_only=True, **named)
    return folder


def path(folder: Path, row: int) -> Path:
    (folder / "logits/none").mkdir(parents=True, exist_ok=True)
    return folder / f"logits/none/m{row:03}.parquet"


@pytest.mark.parametrize(("step", "at"), [(None, 7), (3, 3), (7, 7)])
def test_a_model_of_a_study_is_read_with_the_study_s_masks_and_names(study: Path, step, at):
    found = Answers.read(path(study, 5), step=step)
    member = balanced_masks(MASKS, IMAGES, 0, 0.1)
    stored = pd.read_parquet(path(study, 5)).query("step == @at // 3")
    assert (found.record == NAMES).all()
    assert (found.member == member[5]).all()
    assert (found.reserved == (member.sum(axis=0) == 0)).all()
    for view in range(2):
        np.testing.assert_array_equal(found.phi[:, view], stored.query("view == @view")["phi"])
    np.testing.assert_array_equal(found.logits, np.stack(stored.query("view == 0")["logits"]))
    assert (found.correct == (found.logits.argmax(1) == found.label)).all()
    assert (found.step, found.name) == (str(at), f"{path(study, 5)} at step {at}")
    assert len(set(found.group.tolist())) == IMAGES // 2


def test_an_audit_of_a_study_s_models_is_that_of_their_answers(study: Path, monkeypatch):
    """The same numbers in files of no study; the model on the rest of the target's images is left out."""
    monkeypatch.chdir(study / "logits/none")
    audit = audit_model("m000.parquet", [f"m{row:03}.parquet" for row in range(1, MASKS)])
    assert audit.about["shadow_models"] == MASKS - 2

    def copy(row: int) -> Answers:
        mine = Answers.read(path(study, row))
        columns = {"record": mine.record, "label": mine.label, "member": mine.member, "group": mine.group}
        columns |= {"reserved": mine.reserved, "logits": mine.logits}
        views = [pd.DataFrame(columns | {"logits": list(mine.logits), "view": view}) for view in range(2)]
        found = Answers.of(pd.concat(views, ignore_index=True), mine.name)
        np.testing.assert_allclose(found.phi[:, 0], mine.phi[:, 0], rtol=1e-3, atol=1e-5)
        return found

    attacks = ["correctness", "entropy"]
    other = audit_model(copy(0), [copy(row) for row in range(1, MASKS)], attacks=attacks)
    mine, theirs = (
        each.summary.query("unit == 'record'").set_index("attack")["auc"] for each in (audit, other)
    )
    np.testing.assert_allclose(mine[attacks], theirs[attacks])


def test_each_model_of_a_study_in_turn(study: Path, tmp_path: Path, capsys):
    files = [str(path(study, row)) for row in range(MASKS)]
    told = ["audit", *files, "--each", "--attacks", "base", "--out", str(tmp_path / "audit")]
    assert main(told) == 0
    assert "recognizes" in capsys.readouterr().out
    assert main([*told, "--step", "3"]) == 0
    about = json.loads((tmp_path / "audit/audit.json").read_text())
    assert about["targets"][0]["name"] == f"{files[0]} at step 3"


def test_what_is_wrong_with_a_study_s_file_is_said(study: Path, capsys):
    with pytest.raises(LeakgapError, match="has no step 5, only 3, 7"):
        Answers.read(path(study, 0), step=5)
    with pytest.raises(LeakgapError, match=r"m001.parquet at step 3 and .* are of different steps .* --step"):
        audit_model(Answers.read(path(study, 0)), [Answers.read(path(study, 1), step=3)])
    path(study, 1).rename(path(study, 2))
    Answers.read(path(study, 2))  # it says itself which mask it is of
    (study / "masks.npz").unlink()
    with pytest.raises(
        LeakgapError, match=r"is a model of a study, and .*masks.npz, of that study, is not there"
    ):
        Answers.read(path(study, 0))


# --- a column `step`


def test_the_last_step_or_the_one_named_is_read(tmp_path: Path):
    table = pd.DataFrame({"record": [1, 2, 1, 2], "step": [10, 10, 5, 5], "phi": [1.0, 2.0, 3.0, 4.0]})
    table.to_csv(tmp_path / "a.csv", index=False)
    last = Answers.read(tmp_path / "a.csv")
    assert (last.phi[:, 0].tolist(), last.step) == ([1, 2], "10")
    assert last.name.endswith("a.csv at step 10")
    assert Answers.read(tmp_path / "a.csv", step=5).phi[:, 0].tolist() == [3, 4]
    with pytest.raises(LeakgapError, match="has no step 7, only 5, 10"):
        Answers.read(tmp_path / "a.csv", step=7)
    with pytest.raises(LeakgapError, match="has no column 'step', and step 7 is asked for"):
        Answers.of(table.drop(columns="step")[:2], step=7)
    for value in (None, np.nan, "late"):
        with pytest.raises(LeakgapError, match="step does not hold a number in every row"):
            Answers.of({"record": [1, 2], "step": [1, value], "phi": [1.0, 2.0]})
    assert Answers.of(table[:2], "one").name == "one"


@pytest.mark.parametrize("told", [{}, {"step": 0}])
def test_a_base_model_is_of_no_step(tmp_path: Path, told: dict):
    rng = np.random.default_rng(0)
    for name in ("base", "target"):
        steps = [pd.DataFrame({"record": range(400), "phi": rng.normal(size=400)} | told)]
        if name == "target":
            member = np.arange(400) % 2 == 0
            more = {"member": member, "phi": rng.normal(size=400) + member}
            steps = [steps[0].assign(**more, step=step) for step in (1, 2)]
        pd.concat(steps).to_csv(tmp_path / f"{name}.csv", index=False)
    files = [str(tmp_path / name) for name in ("target.csv", "base.csv", "audit")]
    assert main(["audit", files[0], "--base", files[1], "--step", "1", "--out", files[2]]) == 0
