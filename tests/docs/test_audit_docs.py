"""The examples of docs/audit-a-model.md, executed: from a predict to files to an audit."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit, softmax
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier

from leakgap.__main__ import main, parser
from leakgap.answers.answers import Answers
from leakgap.answers.reading import IDS, LISTS, MATRICES, VALUES
from leakgap.audit.model import audit_model

TEXT = (Path(__file__).parents[2] / "docs/audit-a-model.md").read_text()


def example(containing: str) -> str:
    (found,) = [code for code in re.findall(r"```python\n(.*?)```", TEXT, re.S) if containing in code]
    return found


def write_answers(containing: str):
    names: dict = {}
    exec(example(containing), names)
    return names["write_answers"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_examples_are_short():
    for containing in ("predict_proba", "torch.cat", "top_k=None"):
        body = example(containing).partition("def write_answers")[2]
        assert len(body.strip().splitlines()) <= 10


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learn_and_its_shadow_models():
    x, label = load_breast_cancer(return_X_y=True)
    names = {"model": MLPClassifier((8,), max_iter=30), "x": x / x.max(0), "label": label}
    exec(example("predict_proba"), names)
    exec(example("clone(model)"), names)
    paths = sorted(Path().glob("shadow-*.parquet"))
    assert len(paths) == 8
    exec(example("audit.write"), {"paths": paths})
    assert json.loads(Path("audit/audit.json").read_text())["shadow_models"] == 7


def test_torch():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(5, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(), torch.nn.Linear(8, 3)
    )
    x, label = torch.randn(700, 5), np.arange(700) % 3
    member = np.arange(700) < 300
    write_answers("torch.cat")(model, x, label, member, "torch.npz")
    with torch.no_grad():
        expected = model.eval()(x)
    answers = Answers.read("torch.npz")
    np.testing.assert_allclose(answers.logits, expected, rtol=1e-5, atol=1e-6)
    assert (answers.member == member).all()


def test_hugging_face_style():
    """A stand-in that answers as pipelines do: every class by name, the likeliest first."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 40)
    names = ["neg", "mid", "pos"]

    def classifier(texts, top_k):
        assert top_k is None
        return [
            sorted(({"label": names[c], "score": q[c]} for c in range(3)), key=lambda each: -each["score"])
            for q in p[: len(texts)]
        ]

    label2id = {name: c for c, name in enumerate(names)}
    classifier.model = SimpleNamespace(config=SimpleNamespace(label2id=label2id))
    label, member = rng.integers(3, size=40), np.arange(40) < 15
    write_answers("top_k=None")(classifier, ["a text"] * 40, label, member, "texts.csv")
    answers = Answers.read("texts.csv")
    np.testing.assert_allclose(np.exp(answers.logits), p, rtol=1e-5)
    assert audit_model(answers, []).about["measured"]


# --- every kind of answers: what the page writes is read as its definition says, and a leak in it is found

S = 600
RECORD = np.arange(S)


def said(rng: np.random.Generator, member: np.ndarray, hard: np.ndarray) -> dict:
    """What a model that leaks says of S records, by the names that the examples use."""
    label = RECORD % 3
    easy = hard + rng.normal(size=S) + 3 * member
    logits = rng.normal(size=(S, 3))
    logits[RECORD, label] += easy
    probabilities = softmax(logits, axis=1)
    yes, price = np.where(RECORD % 2, "yes", "no"), 100 + 10 * np.sin(RECORD)
    truths = np.stack([RECORD % 2, RECORD % 3 == 0], axis=1)
    right = expit(easy)
    loss = -np.log(probabilities[RECORD, label])
    copies = ("plain", "mirrored", "noisy")
    noisy = {name: np.where(rng.random(S) < right, label, (label + 1) % 3) for name in copies}
    return {
        "np": np,
        "pd": pd,
        "record": RECORD,
        "member": member,
        "label": label,
        "names": np.array(["cat", "dog", "ape"]),
        "probabilities": probabilities,
        "yes": yes,
        "probability_of_yes": np.where(yes == "yes", right, 1 - right),
        "price": price,
        "predicted_price": price + rng.normal(size=S) * np.exp(-easy / 2),
        "truths": truths.astype(int),
        "probabilities_of_each": np.where(truths == 1, right[:, None], 1 - right[:, None]),
        "log_probabilities": [-rng.exponential(np.exp(-easy[i] / 2), 5 + i % 7) for i in RECORD],
        "losses": loss,
        "log_densities": easy - 100,
        "risks": easy,
        "predictions_of_copies": noisy,
        "losses_after": {1: loss[::-1], 5: loss},
    }


def odds(p):
    return np.log(p) - np.log1p(-p)


KINDS = {
    "named.csv": ("probabilities", lambda t: odds(t["probabilities"][RECORD, t["label"]])),
    "yes-or-no.csv": (
        "probability",
        lambda t: np.where(t["yes"] == "yes", 1, -1) * odds(t["probability_of_yes"]),
    ),
    "number.csv": ("regression", lambda t: -np.log((t["predicted_price"] - t["price"]) ** 2)),
    "several.parquet": (
        "probabilities",
        lambda t: np.where(t["truths"] == 1, 1, -1) * odds(t["probabilities_of_each"]),
    ),
    "texts.parquet": (
        "tokens",
        lambda t: odds(np.exp([each.mean() for each in t["log_probabilities"]])),
    ),
    "loss.csv": ("loss", lambda t: odds(np.exp(-t["losses"]))),
    "density.csv": ("log_density", lambda t: t["log_densities"]),
    "score.csv": ("score", lambda t: t["risks"]),
    "predicted.csv": (
        "prediction",
        lambda t: odds((sum(each == t["label"] for each in t["predictions_of_copies"].values()) + 0.5) / 4),
    ),
    "moments.csv": ("loss", lambda t: odds(np.exp(-t["losses_after"][5]))),
}


def written(file: str, folder: Path, member: np.ndarray, rng: np.random.Generator, hard: np.ndarray) -> dict:
    """Run the page's example that writes a file, in a folder of a model's own."""
    folder.mkdir(parents=True)
    told = said(rng, member, hard)
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", TEXT, re.S) if f'"{file}"' in code]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(code, told)
    return told


@pytest.mark.parametrize("file", KINDS)
def test_every_kind_is_read_as_its_definition_and_its_leak_is_found(file: str, tmp_path: Path):
    kind, definition = KINDS[file]
    rng = np.random.default_rng(0)
    hard, paths = rng.normal(0, 1, S), []
    for number in range(7):
        member = rng.random(S) < 0.5
        told = written(file, tmp_path / str(number), member, rng, hard)
        paths.append(str(tmp_path / str(number) / file))
        answers = Answers.read(paths[-1])
        assert answers.kind == kind
        assert (answers.member == member).all()
        expected = np.asarray(definition(told)).reshape(S, -1)
        np.testing.assert_allclose(answers.phi, expected, rtol=2e-4, atol=2e-4)
    assert main(["audit", paths[0], "--shadows", *paths[1:], "--attacks", "base", "--out", "audit"]) == 0
    (found,) = json.loads(Path("audit/audit.json").read_text())["attacks"]
    assert found["auc_low"] > 0.55


# --- the tables are whole


def table(head: str) -> str:
    rows = TEXT[TEXT.index(f"| {head} |") :].partition("\n\n")[0].splitlines()[2:]
    return " ".join(row.split("|")[1] for row in rows)


def test_every_column_is_in_the_table():
    named = set(re.findall(r"`(\w+)`", table("column"))) | {"token_means", "token_deviations"}
    assert named == {*IDS, *VALUES, *MATRICES, *LISTS}
    assert "`token_means` and `token_deviations`" in TEXT
    assert all(name in TEXT for name in ("`logits_0`", "`logit_cat`", "`probability_cat`"))


def test_every_option_is_in_the_table():
    verb = next(action for action in parser()._actions if action.choices).choices["audit"]
    options = {each for action in verb._actions for each in action.option_strings} - {"-h", "--help"}
    assert set(re.findall(r"`(--[\w-]+)", table("option"))) == options
