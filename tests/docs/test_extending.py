"""Every example of docs/extending.md, executed."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression

from leakgap import LeakgapError, attacks
from leakgap.__main__ import main
from leakgap.answers import store as logits
from leakgap.attacks import plugin
from leakgap.augment import Technique
from leakgap.data.masks import balanced_masks, read_masks
from leakgap.data.pool import read_pool
from leakgap.jobs.status import state_of
from leakgap.report.figures.style import looks
from leakgap.study import Study
from leakgap.study.keys import markdown

TEXT = (Path(__file__).parents[2] / "docs/extending.md").read_text()
FEW = {"attacks": ["lira-online-fixed", "loss"], "bootstrap": 100}


def examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.S)


def example(language: str, containing: str) -> str:
    (found,) = [code for code in examples(language) if containing in code]
    return found


def settings(containing: str) -> dict:
    return yaml.safe_load(example("yaml", containing))


def write(study: dict) -> Study:
    Path("mine.yaml").write_text(yaml.safe_dump(study))
    return Study.load("mine.yaml")


def run(verb: str, *arguments: str) -> None:
    assert main([verb, "--study", "mine.yaml", *arguments]) == 0


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with the files of the page, each named by its first line, and images and records to read."""
    monkeypatch.chdir(tmp_path)
    for code in examples("python"):
        if name := re.match(r"# (\w+\.py)\n", code):
            Path(name[1]).write_text(code)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (300, 6, 7, 3), np.uint8)
    np.savez("mine.npz", images=images, labels=np.arange(300) % 3)
    yield
    Study.load({"name": "none"})  # with no plugin


def plugins() -> dict:
    """The study with all plugins, small."""
    study = settings("plugins:")
    study["grid"]["masks"] = 4
    study["train"] |= {"epochs": 2, "steps": [2], "precision": "fp32"}
    return study | {"attack": FEW | {"attacks": ["margin", "above"]}}


def test_recipe_with_variants_on_records_of_a_function():
    study = settings("./recipe.py:train") | settings("./records.py:records")
    study["grid"] = settings("slow:")["grid"] | {"masks": 4}
    del study["grid"]["variants"]["other"]  # a file that the page does not show
    loaded = write(study | {"attack": FEW | settings("slow:")["attack"]})
    run("pool")
    run("masks")
    member, _ = read_masks(loaded.paths.masks)
    pool = read_pool(loaded.paths.pool)
    accuracy = {}
    for name in ("none", "slow", "long"):
        for mask in loaded.masks:
            run("train", "--technique", name, "--mask", mask)
        answers = logits.read_model(loaded.paths.logits(name, "m000"))
        assert (answers.images, answers.classes, len(answers.epochs)) == (400, 2, 2)
        assert answers.about["settings"]["train.options"] == {"lr": 0.05 if name == "slow" else 0.5}
        table = pd.read_parquet(loaded.paths.logits(name, "m000"))
        last = table[(table["step"] == 2) & (table["view"] == 0)].sort_values("image")
        right = np.stack(last["logits"].to_list()).argmax(1) == pool.labels
        np.testing.assert_array_equal(last["member"], member[0])
        accuracy[name] = right[member[0]].mean()
    assert accuracy["slow"] <= accuracy["none"] <= accuracy["long"]
    run("attack", "--technique", "slow", "--shadow", "none")
    study["train"]["options"] = {"rate": 0.5}
    told = r"^train.options.rate: ./recipe.py:train takes no parameter rate, only data, members, seed, steps, lr$"
    with pytest.raises(LeakgapError, match=told):
        Study.load(study)


def test_the_recipe_is_softmax_regression():
    """Its answers are those of torch's gradient descent on the members alone."""
    space: dict = {}
    for name in ("recipe.py", "records.py"):
        exec(Path(name).read_text(), space)
    data, members = space["records"](), np.arange(0, 400, 3)
    found = list(space["train"](data, members, 0, [5, 20], lr=0.5))
    weights = torch.tensor(np.random.default_rng(0).normal(0, 0.01, (20, 2)), requires_grad=True)
    known, labels = (torch.tensor(data[name][members]) for name in ("features", "labels"))
    optimizer = torch.optim.SGD([weights], lr=0.5)
    for step in range(1, 21):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(known @ weights, labels).backward()
        optimizer.step()
        if step in (5, 20):
            np.testing.assert_allclose(
                found[step // 20], data["features"] @ weights.detach().numpy(), atol=1e-9
            )


def test_variants_of_the_built_in_training():
    study = write(settings("label_smoothing") | {"name": "mine"})
    assert study.grid.techniques == ("none", "crop+mirror", "no-decay", "smooth")
    smooth = study.variant("smooth")
    assert (smooth.technique, smooth.train.label_smoothing) == ("crop+mirror", 0.1)
    assert study.variant("no-decay").train.weight_decay == 0 < smooth.train.weight_decay


def test_images():
    study = write(settings("./photos/"))
    run("pool")
    pool = read_pool(study.paths.pool)
    assert (pool.images.shape, pool.classes) == ((300, 3, 6, 7), 3)


def test_technique():
    study = write(plugins())
    images = torch.randint(0, 256, (1000, 1, 4, 5), dtype=torch.uint8)
    for options, least, most in (({}, 150, 250), (study.train.options_of("invert"), 440, 560)):
        out = Technique.parse("invert", options=options)(images, torch.Generator().manual_seed(0))
        inverted = (out == 255 - images).all(dim=(1, 2, 3))
        assert ((out == images).all(dim=(1, 2, 3)) | inverted).all()
        assert least < inverted.sum() < most
    assert (
        "| `train.invert.share` | number ≥ 0, ≤ 1 | `0.2` | probability that an image is inverted |"
        in markdown()
    )
    with pytest.raises(LeakgapError, match=r"^train\.invert\.share: .* less than or equal to 1"):
        Study.load(plugins() | {"train": {"invert": {"share": 2}}})
    drawn = looks(["none", "crop", "invert", "crop+invert"])
    assert len({repr(look) for look in drawn.values()}) == 4


def test_plugins_train_and_attack():
    study = write(plugins())
    run("pool")
    run("masks")
    for mask in study.masks:
        run("train", "--technique", "crop+invert", "--mask", mask)
    found = logits.read_model(study.paths.logits("crop+invert", "m001"))
    assert (found.images, found.classes) == (300, 3)
    assert found.about["settings"]["train.architecture"] == "convnet"
    assert found.about["settings"]["train.invert"] == {"share": 0.5}
    run("attack", "--technique", "crop+invert", "--shadow", "crop+invert")
    assert Path(study.paths.scores("crop+invert", "crop+invert")).is_file()
    assert state_of(study, "crop+invert", "m001") == "done"
    Path("invert.py").write_text(Path("invert.py").read_text() + "# edited")
    assert state_of(Study.load("mine.yaml"), "crop+invert", "m001") == "stale"


def test_attacks():
    generator = np.random.default_rng(0)
    member = balanced_masks(6, 20, seed=0)
    z = generator.normal(size=(6, 20, 3)).astype(np.float32)
    phi = generator.normal(size=(6, 20, 1)).astype(np.float32)
    labels, left_out = np.arange(20) % 3, attacks.gives_away(member, member)
    evidence = attacks.Evidence(phi, phi, member, left_out, labels, np.zeros(20, bool), z, z)
    with plugin.loaded(plugins()["plugins"]["attacks"]):
        margin, above = (attacks.run(name, evidence) for name in ("margin", "above"))
        assert attacks.ATTACKS["above"].min_out == 1
    for t in range(6):
        for x in range(20):
            assert margin[t, x] == z[t, x, x % 3] - max(np.delete(z[t, x], x % 3))
            out = [phi[n, x, 0] for n in range(6) if n // 2 != t // 2 and not member[n, x]]
            assert above[t, x] == pytest.approx(phi[t, x, 0] - np.mean(out), abs=1e-6)


def test_own_models(capsys: pytest.CaptureFixture):
    """Every command and file of that section; then a model that is missing."""
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 2
    features = generator.normal(labels[:, None], 1, (300, 20))
    np.savez("records.npz", features=features, labels=labels)
    Path("elsewhere.yaml").write_text(example("yaml", "name: elsewhere"))
    section = TEXT.split("## Models trained elsewhere")[1].split("\n## ")[0]
    commands = [
        line.split("#")[0].split()[3:] for line in re.findall(r"^python -m leakgap .*", section, re.M)
    ]
    assert [command[0] for command in commands] == ["pool", "masks", "attack", "summary"]
    for command in commands[:2]:
        assert main(command) == 0
    exec(Path("elsewhere.py").read_text(), {})
    study = Study.load("elsewhere.yaml")
    assert {state_of(study, "none", mask) for mask in study.masks} == {"done"}
    for command in [
        *commands[2:],
        *([verb, *commands[3][1:]] for verb in ("tables", "figures", "claims", "report")),
    ]:
        assert main(command) == 0
    assert Path(study.paths.report).is_file()
    summary = pd.read_parquet(study.paths.summary)
    member, _ = read_masks(study.paths.masks)
    model = LogisticRegression().fit(features[member[2]], labels[member[2]])
    assert set(summary.loc[summary["mask"] == "m002", "train_acc"]) == {
        model.score(features[member[2]], labels[member[2]])
    }
    Path(study.paths.logits("none", "m002")).unlink()
    assert main(commands[2]) == 1
    assert "results/elsewhere/logits/none/m002.parquet" in capsys.readouterr().err


def test_library(capsys: pytest.CaptureFixture):
    exec(example("python", "balanced_masks"), {})
    assert (
        0.1 < float(capsys.readouterr().out.splitlines()[0]) < 0.6
    )  # Phi(2 - 2.33) = 0.37 with known parameters
