"""What speaks against an audit's answers: models that are unlike each other."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

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
    return [told for told in audit.about["warnings"] if " unlike " in told]


@pytest.mark.parametrize("kind", ["logits", "loss", "score"])
@pytest.mark.parametrize("shadows", [4, 8])
def test_models_of_one_recipe_are_not_called_unlike(kind: str, shadows: int):
    for seed in range(30):
        assert unlike([model(100 * seed + k, kind=kind) for k in range(1 + shadows)]) == []


@pytest.mark.parametrize("kind", ["logits", "loss", "score"])
@pytest.mark.parametrize("skill", [0.4, 2.4])
def test_shadow_models_that_were_trained_otherwise_are_told(kind: str, skill: float):
    (told,) = unlike([model(0, skill, kind), *(model(k, kind=kind) for k in range(1, 9))])
    assert told.startswith(
        "the target is unlike its shadow models on records that they were not trained on: "
    )
    assert ("share of right answers" in told) == (kind == "logits")


ASKED_OTHERWISE = {
    "a temperature": lambda z: z / 5,
    "a sharper one": lambda z: 5 * z,
    "noise, as of dropout": lambda z: z + 3 * np.random.default_rng(1).normal(size=z.shape),
    "two classes the other way round": lambda z: z[:, [1, 0, 2, 3]],
}


def asked(answers: Answers, how) -> Answers:
    columns = {"record": answers.record, "label": answers.label, "member": answers.member}
    return Answers.of(columns | {"logits": how(answers.logits)}, answers.name)


@pytest.mark.parametrize("how", ASKED_OTHERWISE)
@pytest.mark.parametrize("whose", ["the target", "shadow models"])
def test_models_that_were_asked_otherwise_are_told(how: str, whose: str):
    models = [model(k) for k in range(9)]
    for number in [0] if whose == "the target" else range(1, 9):
        models[number] = asked(models[number], ASKED_OTHERWISE[how])
    assert len(unlike(models)) == 1


def test_predicted_classes_as_probabilities_of_0_and_1_are_told():
    models = [model(k) for k in range(9)]
    columns = {"record": models[0].record, "label": models[0].label, "member": models[0].member}
    hard = np.eye(4)[softmax(models[0].logits, axis=1).argmax(1)]
    assert len(unlike([Answers.of(columns | {"probabilities": hard}, "hard"), *models[1:]])) == 1


def test_a_difference_that_does_not_matter_is_not_told():
    """Deterministic training: the shadow models hardly differ, and the target is a point better."""
    assert unlike([model(0, 1.23, spread=0), *(model(k, 1.2, spread=0) for k in range(1, 30))]) == []


def test_targets_that_were_trained_otherwise_are_told():
    (told,) = unlike([model(0, 0.4), model(1, 2.4)], targets=2)
    assert told.startswith("the targets are unlike each other on records that they were not trained on: ")
    assert re.search(r"the largest share of right answers is \d\d%, the smallest \d\d%\.", told)
    assert unlike([model(0), model(1)], targets=2) == []


def test_one_of_each_that_is_unlike_the_others_is_told():
    models = [model(k) for k in range(8)] + [model(8, 3.0)]
    audit = audit_model(models, each=True, attacks=["loss"])
    assert any("the target is unlike its shadow models" in told for told in audit.about["warnings"])
    audit = audit_model(models[:8], each=True, attacks=["loss"])
    assert audit.about["warnings"] == []


@pytest.mark.parametrize(("lag", "where"), [(1, "before"), (-1, "after")])
def test_members_that_slipped_by_a_row_are_told(lag: int, where: str):
    models = [replace(each, member=np.roll(each.member, lag)) for each in (model(k) for k in range(6))]
    for some in (models, models[:1]):
        warnings = audit_model(some[0], some[1:], attacks=["loss"]).about["warnings"]
        told = [each for each in warnings if "slipped" in each]
        assert len(told) == 1
        assert f"the row {where} each record" in told[0]


@pytest.mark.parametrize("size", [1, 5])
def test_members_in_blocks_have_not_slipped(size: int):
    """Persons of several records, one after another: the row before is often a member too."""
    for seed in range(20):
        models = []
        for number in range(5):
            each = model(100 * seed + number)
            rng = np.random.default_rng(1000 + 100 * seed + number)
            member = (rng.random(S // size) < 0.5).repeat(size)
            phi = each.phi[:, 0] - each.member + member
            columns = {"record": each.record, "label": each.label, "member": member, "phi": phi}
            models.append(Answers.of(columns, each.name))
        warnings = audit_model(models[0], models[1:], attacks=["loss"]).about["warnings"]
        assert not any("slipped" in told for told in warnings)
