"""What speaks against an audit's answers: models that are unlike each other."""

import numpy as np
import pytest

from leakgap import Answers, audit_model

S = 800
LABEL = np.arange(S) % 4


def model(seed: int, skill: float = 1.2, kind: str = "logits", spread: float = 0.05) -> Answers:
    """A classifier that varies a little in skill, and is surer of its own records; or its loss, or its phi."""
    rng = np.random.default_rng(seed)
    member = rng.random(S) < rng.uniform(0.4, 0.6)
    z = rng.normal(size=(S, 4)) + (skill + spread * rng.normal() + member[:, None]) * np.eye(4)[LABEL]
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(S), LABEL]
    told = {"logits": z} if kind == "logits" else {"loss": loss} if kind == "loss" else {"score": -loss}
    return Answers.of({"record": np.arange(S), "label": LABEL, "member": member} | told, f"model {seed}")


def unlike(models: list[Answers], targets: int = 1) -> list[str]:
    audit = audit_model(models[:targets], models[targets:], attacks=["loss"])
    return [told for told in audit.about["warnings"] if "unlike" in told]


@pytest.mark.parametrize("kind", ["logits", "loss", "score"])
@pytest.mark.parametrize("shadows", [4, 8])
def test_models_of_one_recipe_are_not_called_unlike(kind: str, shadows: int):
    for seed in range(40):
        assert unlike([model(100 * seed + k, kind=kind) for k in range(1 + shadows)]) == []


@pytest.mark.parametrize("kind", ["logits", "loss", "score"])
@pytest.mark.parametrize("skill", [0.4, 2.4])
def test_shadow_models_that_were_trained_otherwise_are_told(kind: str, skill: float):
    (told,) = unlike([model(0, skill, kind), *(model(k, kind=kind) for k in range(1, 9))])
    assert told.startswith(
        "the target is unlike its shadow models: on records that it was not trained on it "
    )
    assert ("right" in told) == (kind == "logits")


def test_a_difference_that_does_not_matter_is_not_told():
    """Deterministic training: the shadow models hardly differ, and the target is a point better."""
    assert unlike([model(0, 1.23, spread=0), *(model(k, 1.2, spread=0) for k in range(1, 30))]) == []


def test_targets_that_were_trained_otherwise_are_told():
    (told,) = unlike([model(0, 0.4), model(1, 2.4)], targets=2)
    assert told.startswith("the targets are unlike each other: on records not trained on one is right ")
    assert unlike([model(0), model(1)], targets=2) == []


def test_one_of_each_that_is_unlike_the_others_is_told():
    models = [model(k) for k in range(8)] + [model(8, 3.0)]
    audit = audit_model(models, each=True, attacks=["loss"])
    assert any("the target is unlike its shadow models" in told for told in audit.about["warnings"])
    audit = audit_model(models[:8], each=True, attacks=["loss"])
    assert audit.about["warnings"] == []
