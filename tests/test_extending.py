"""Every example of docs/extending.md, executed."""

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from leakgap import LeakgapError, attacks, augment, data, logits, training
from leakgap.__main__ import main
from leakgap.data.masks import read_masks
from leakgap.data.pool import read_pool
from leakgap.study import Study
from leakgap.study.keys import markdown
from leakgap.training.loop import network

TEXT = (Path(__file__).parents[1] / "docs/extending.md").read_text()


def example(language: str, containing: str) -> str:
    (found,) = [code for code in re.findall(rf"```{language}\n(.*?)```", TEXT, re.S) if containing in code]
    return found


def module(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    made = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(code, name, "exec"), made.__dict__)
    return made


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The study of the first example, four masks, with its pool and masks made by the verbs."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    np.savez(
        "mine.npz",
        images=generator.integers(0, 256, (300, 6, 7, 3), np.uint8),
        labels=np.arange(300) % 3,
    )
    settings = yaml.safe_load(example("yaml", "mine.npz"))
    settings["grid"]["masks"] = 4
    settings["train"] = {"steps": [30]}
    settings["attack"] = {"attacks": ["lira-online-fixed", "loss"], "bootstrap": 100}
    Path("mine.yaml").write_text(yaml.safe_dump(settings))
    for verb in ("pool", "masks"):
        assert main([verb, "--study", "mine.yaml"]) == 0
    return Study.load("mine.yaml")


def test_technique(monkeypatch: pytest.MonkeyPatch):
    module("leakgap.augment.invert", example("python", "class Invert"), monkeypatch)
    monkeypatch.setitem(augment.MEMBERS, "invert", "")  # so that the example's line is undone
    exec(example("python", 'MEMBERS["invert"]'), vars(augment))
    images = torch.randint(0, 256, (1000, 1, 4, 5), dtype=torch.uint8)
    grid = {"techniques": ["none", "invert", "crop+invert"], "masks": 4}
    loaded = Study.load({"name": "x", "grid": grid} | yaml.safe_load(example("yaml", "share")))
    for options, least, most in (({}, 150, 250), (loaded.train.options_of("invert"), 440, 560)):
        technique = augment.Technique.parse("invert", options=options)
        out = technique(images, torch.Generator().manual_seed(0))
        inverted = (out == 255 - images).all(dim=(1, 2, 3))
        assert ((out == images).all(dim=(1, 2, 3)) | inverted).all()
        assert least < inverted.sum() < most
    assert loaded.training_part("none") == Study.load({"name": "x", "grid": grid}).training_part("none")
    assert loaded.training_part("crop+invert") != Study.load({"name": "x", "grid": grid}).training_part(
        "crop+invert"
    )
    assert "train.invert.share" in markdown()
    with pytest.raises(LeakgapError, match=r"^train\.invert\.share: .* less than or equal to 1"):
        Study.load({"name": "x", "train": {"invert": {"share": 2}}})
    from leakgap.report.figures.style import look

    assert look("crop+invert") != look("crop") != look("invert")


def test_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    module("leakgap.data.halves", example("python", "halves.py"), monkeypatch)
    monkeypatch.setitem(data.DATASETS, "halves", None)  # so that the example's line is undone
    exec(example("python", 'DATASETS["halves"]'), vars(data))
    settings = {"name": "h"} | {"data": yaml.safe_load(re.search(r"`data: ({dataset: .*?})`", TEXT)[1])}
    for verb in ("download", "pool", "masks"):
        assert main([verb, "--study", json.dumps(settings)]) == 0
    pool = read_pool(Study.load(settings).paths.pool)
    assert pool.images.shape == (200, 1, 6, 6)
    upper = pool.images[:, 0, :3].mean((1, 2)) > pool.images[:, 0, 3:].mean((1, 2))
    np.testing.assert_array_equal(pool.labels, ~upper)
    with pytest.raises(LeakgapError, match=r"^data.side: halves is 6 pixels wide"):
        Study.load({"name": "h", "data": {"dataset": "halves", "side": 8}})


def test_architecture(mine: Study, monkeypatch: pytest.MonkeyPatch):
    module("leakgap.convnet", example("python", "def convnet"), monkeypatch)
    monkeypatch.setitem(training.ARCHITECTURES, "convnet", "")  # so that the example's line is undone
    exec(example("python", 'ARCHITECTURES["convnet"]'), vars(training))
    settings = yaml.safe_load(Path("mine.yaml").read_text())
    settings["train"] = {"epochs": 2, "steps": [2]} | yaml.safe_load(
        re.search(r"`train: ({architecture: .*?})`", TEXT)[1]
    )
    Path("mine.yaml").write_text(yaml.safe_dump(settings))
    assert main(["train", "--study", "mine.yaml", "--technique", "none", "--mask", "m001"]) == 0
    found = logits.read_model(mine.paths.logits("none", "m001"))
    assert (found.images, found.classes) == (300, 3)
    assert found.about["settings"]["train.architecture"] == "convnet"
    assert isinstance(network("convnet", 3, 3, 8), torch.nn.Sequential)
    settings["train"]["architecture"] = "resnet"
    with pytest.raises(LeakgapError, match=r"train.architecture: resnet is none of resnet18, convnet"):
        Study.load(settings)


def test_attack(monkeypatch: pytest.MonkeyPatch):
    module("leakgap.attacks.margin", example("python", "def margin"), monkeypatch)
    monkeypatch.setattr(attacks, "ATTACKS", dict(attacks.ATTACKS))
    exec(example("python", 'ATTACKS["margin"]'), vars(attacks))
    generator = np.random.default_rng(0)
    member = np.tile([[True], [False]], (2, 5))
    z = generator.normal(size=(4, 5, 3)).astype(np.float32)
    evidence = attacks.Evidence(
        z[..., :1], z[..., :1], member, np.eye(4, dtype=bool), np.arange(5) % 3, np.zeros(5, bool), z, z
    )
    score = attacks.run("margin", evidence)
    for t in range(4):
        for x in range(5):
            others = np.delete(z[t, x], x % 3)
            assert score[t, x] == z[t, x, x % 3] - max(others)


def test_own_models(mine: Study, capsys: pytest.CaptureFixture):
    member, _ = read_masks(mine.paths.masks)
    labels = np.load(mine.paths.pool)["labels"]
    generator = np.random.default_rng(0)
    code = example("python", "logits.write")
    for row, mask in enumerate(mine.masks):
        push = 4 * member[row][:, None] * (np.arange(3) == labels[:, None])
        answers = generator.normal(size=(1, 300, 3)) + push
        exec(
            code.replace("m000", mask).replace("member[0]", f"member[{row}]"),
            {"answers": answers, "labels": labels, "member": member},
        )
    assert logits.read_model(mine.paths.logits("none", "m003")).mask == "m003"
    command = re.search(r"`python -m leakgap (attack [^`]*)`", TEXT)[1].split()
    assert main(command) == 0
    Path(mine.paths.logits("none", "m002")).unlink()
    assert main(command) == 1
    assert "results/mine/logits/none/m002.parquet" in capsys.readouterr().err


def test_library(capsys: pytest.CaptureFixture):
    exec(example("python", "balanced_masks"), {})
    assert (
        0.1 < float(capsys.readouterr().out.splitlines()[0]) < 0.6
    )  # Phi(2 - 2.33) = 0.37 with known parameters
