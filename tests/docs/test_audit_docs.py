"""The examples of docs/audit-a-model.md, executed: from a predict to files to an audit."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.neural_network import MLPClassifier

from leakgap.answers.answers import Answers
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
