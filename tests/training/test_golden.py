"""Results of the expensive stages don't change without their number in leakgap.versions."""

import json

import pytest
import torch

import golden
from leakgap import versions
from leakgap.training import loop

RECORD = json.loads(golden.RECORD.read_text())


@pytest.mark.parametrize("stage", versions.EXPENSIVE)
def test_results_are_those_recorded_under_the_same_number(stage: str):
    assert RECORD[stage]["version"] == versions.version(stage), "run: python tests/golden.py"
    made = golden.STAGES[stage]()
    assert not golden.differs(RECORD[stage], made), (
        f"{stage} gives other results: raise its number in leakgap.versions, run python tests/golden.py"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.099},
        {"momentum": 0.89},
        {"nesterov": True},
        {"weight_decay": 0.29},
        {"warmup": 0.55},
        {"schedule": "constant"},
        {"epochs": 4},
        {"precision": "bf16"},
        {"optimizer": "adamw"},
        {"label_smoothing": 0.1},
        {"dropout": 0.1},
        {"norm": "group"},
        {"crop": {"padding": "reflect"}},
        {"cutout": {"size": 3}},
    ],
    ids=str,
)
def test_a_change_of_the_recipe_is_seen(change: dict):
    assert golden.differs(RECORD["train"], golden.train(**change))


def test_rounding_of_another_cpu_is_not(monkeypatch: pytest.MonkeyPatch):
    """Ten times the rounding of a float32, in every weight."""
    network = loop.network

    def rounded(*shape: object, **layers: object) -> torch.nn.Module:
        model = network(*shape, **layers)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 + 1e-6 * torch.randn_like(weight))
        return model

    monkeypatch.setattr(loop, "network", rounded)
    assert not golden.differs(RECORD["train"], golden.train())


def test_nothing_is_recorded_anew_under_an_old_number(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(golden, "RECORD", tmp_path / "golden.json")
    golden.main()
    before = golden.RECORD.read_text()
    monkeypatch.setitem(golden.STAGES, "masks", lambda: {"digest": "another"})
    with pytest.raises(SystemExit, match="masks gives other results: raise its number"):
        golden.main()
    assert golden.RECORD.read_text() == before
    monkeypatch.setitem(versions.EXPENSIVE, "masks", "1000")
    versions.version.cache_clear()
    golden.main()
    versions.version.cache_clear()
    assert json.loads(golden.RECORD.read_text())["masks"] == {"version": "1000", "digest": "another"}
