"""Variants: what a name of the grid stands for, what its jobs are given, and what is refused before any job."""

import json

import pytest

from leakgap import LeakgapError
from leakgap.study import Study

VARIANTS = {
    "no-decay": {"train.weight_decay": 0},
    "smooth": {"technique": "crop+mirror", "train.label_smoothing": 0.1, "train.crop.pad": 1},
}
GRID = {"techniques": ["none", "smooth", "crop"], "variants": VARIANTS, "masks": 4}
STUDY = {"name": "v", "grid": GRID, "train": {"weight_decay": 0.01, "crop": {"pad": 2}}}


def changed(grid: dict | None = None, **sections: dict) -> dict:
    return STUDY | {"grid": GRID | (grid or {})} | sections


def told(study: dict) -> str:
    with pytest.raises(LeakgapError) as caught:
        Study.load(study)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_variants_that_are_not_listed_come_last():
    assert Study.load(STUDY).grid.techniques == ("none", "smooth", "crop", "no-decay")
    alone = Study.load({"name": "v", "grid": {"variants": VARIANTS}})
    assert alone.grid.techniques == ("none", "no-decay", "smooth")
    factorial = Study.load(changed({"techniques": {"factorial": ["crop", "mirror"]}}))
    assert factorial.grid.techniques == ("none", "crop", "mirror", "crop+mirror", "no-decay", "smooth")
    assert factorial.augmentations == ("none", "crop", "mirror", "crop+mirror")


def test_a_variant_is_train_with_its_own_values():
    study = Study.load(STUDY)
    smooth, plain = study.variant("smooth"), study.variant("none")
    assert (smooth.technique, smooth.train.label_smoothing, smooth.train.crop.pad) == ("crop+mirror", 0.1, 1)
    assert smooth.train.weight_decay == plain.train.weight_decay == 0.01
    assert (plain.technique, plain.train.label_smoothing, plain.train.crop.pad) == ("none", 0, 2)
    assert study.variant("no-decay").train == plain.train.model_copy(update={"weight_decay": 0})
    with pytest.raises(LeakgapError, match="technique 'rough' is unknown"):
        study.variant("rough")


def test_a_training_job_is_given_its_own_variant_and_no_other():
    study = Study.load(STUDY)
    for name in study.grid.techniques:
        part = Study.load(study.training_part(name))
        assert part.variant(name).technique == study.variant(name).technique
        assert part.variant(name).train.model_dump() == part.train.model_dump()
        for key, value in part.train.model_dump().items():
            assert value == study.variant(name).train.model_dump()[key]
        assert set(part.grid.variants) <= {name}
    assert "crop+mirror" not in study.training_part("no-decay")
    assert "crop" not in json.loads(study.training_part("no-decay"))["part"]["train"]


def test_other_variants_change_nothing_in_a_job():
    before = Study.load(STUDY)
    more = Study.load(changed({"variants": VARIANTS | {"slow": {"train.lr": 0.01}}}))
    other = Study.load(changed({"variants": VARIANTS | {"no-decay": {"train.weight_decay": 0.1}}}))
    for name in ("none", "crop", "smooth"):
        assert before.training_part(name) == more.training_part(name) == other.training_part(name)
    assert before.training_part("no-decay") != other.training_part("no-decay")


@pytest.mark.parametrize(
    ("variants", "sentence"),
    [
        (
            {"smooth": {"train.lebel_smoothing": 0.1}},
            "grid.variants.smooth.train.lebel_smoothing: no such key; train has epochs, steps",
        ),
        (
            {"a": {"train.crop.size": 1}},
            "grid.variants.a.train.crop.size: no such key; crop has pad, padding",
        ),
        ({"a": {"train.lr": -1}}, "grid.variants.a.train.lr: input should be greater than 0 (given: -1)"),
        ({"a": {"train.lr.x": 1}}, "grid.variants.a.train.lr: input should be a valid number"),
        ({"a": {"train.lr": True}}, "grid.variants.a.train.lr: input should not be yes or no"),
        ({"a": {"lr": 1}}, "grid.variants.a.lr: no such key; a variant has technique, and train.<key>"),
        ({"a": {"train": {"lr": 1}}}, "grid.variants.a.train: no such key; a variant has technique"),
        ({"a": {"train.": 1}}, "grid.variants.a.train.: no such key"),
        ({"a": {"data.seed": 1}}, "grid.variants.a.data.seed: no such key"),
        ({"a": {"technique": "crpo"}}, "grid.variants.a.technique: technique 'crpo' is unknown"),
        ({"a": {"technique": ["crop"]}}, "grid.variants.a.technique: "),
        ({"a": None}, "grid.variants.a: input should be a valid dictionary"),
        ({"a": {"train.epochs": 5}}, "grid.variants.a.train.steps: 30 is past the last epoch"),
        (
            {"a": {"train.steps": [30]}},
            "grid.variants.a.train.steps: 1 steps, where train.steps has 6: attacks compare",
        ),
        (
            {"a": {"technique": "crop", "train.crop.pad": 8}},
            "grid.variants.a.train.crop.pad: 8 is not below the side",
        ),
        ({"crop": {"train.lr": 1}}, "grid.variants.crop: it is the name of a technique"),
        ({"none": {"train.lr": 1}}, "grid.variants.none: it is the name of a technique"),
        ({"crop+mirror": {}}, "grid.variants: 'crop+mirror' is no name of a variant"),
        ({"a.by-b": {}}, "grid.variants: 'a.by-b' is no name of a variant"),
        ({"../up": {}}, "grid.variants: '../up' is no name of a variant"),
        ({"": {}}, "grid.variants: '' is no name of a variant"),
        ({"a" * 101: {}}, "grid.variants: 'aaa"),
        (["a"], "grid.variants: input should be a valid dictionary"),
    ],
    ids=str,
)
def test_each_fault_is_one_sentence_with_its_key(variants: object, sentence: str):
    assert told({"name": "v", "grid": {"masks": 4, "variants": variants}}).startswith(sentence)


def test_a_misspelt_variant_is_told_the_names_that_there_are():
    assert told(changed({"techniques": ["none", "smoth"]})).endswith("variants are no-decay, smooth")


def test_a_variant_s_own_epochs_and_steps():
    study = Study.load(
        changed(
            {"variants": {"short": {"train.epochs": 12, "train.steps": [1, 2, 3, 6, 9, 12]}}}
            | {"techniques": ["none"]}
        )
    )
    assert study.variant("short").train.steps[-1] == 12
    assert study.variant("none").train.epochs == 30


def test_the_baseline_is_none_or_the_first():
    def loaded(techniques: list[str], **attack: str) -> Study:
        return Study.load(changed({"techniques": techniques}, attack=attack))

    assert loaded(["smooth", "none"]).attack.baseline == "none"
    assert loaded(["smooth", "crop"]).attack.baseline == "smooth"
    study = loaded(["none", "crop"], baseline="no-decay")
    assert study.attack_jobs == [
        *(("none", "none"), ("none", "no-decay"), ("crop", "crop"), ("crop", "no-decay")),
        *(("no-decay", "no-decay"), ("smooth", "smooth"), ("smooth", "no-decay")),
    ]
    assert told(changed(attack={"baseline": "rough"})).startswith("attack.baseline: rough is not among none,")


@pytest.mark.parametrize("layers", [{"dropout": 0.1}, {"norm": "group"}])
def test_an_architecture_is_given_the_layers_that_it_takes(layers: dict, monkeypatch, tmp_path):
    (tmp_path / "net.py").write_text(
        "def net(classes, channels, width): ...\ndef all(classes, **others): ...\n"
    )
    monkeypatch.setitem(
        __import__("leakgap.training").training.ARCHITECTURES, "net", f"{tmp_path}/net.py:net"
    )
    monkeypatch.setitem(
        __import__("leakgap.training").training.ARCHITECTURES, "all", f"{tmp_path}/net.py:all"
    )
    (key,) = layers
    sentence = told({"name": "v", "train": {"architecture": "net"} | layers})
    assert sentence == f"train.{key}: the architecture net does not take it, only classes, channels, width"
    assert Study.load({"name": "v", "train": {"architecture": "net"}}).train.layers == {}
    assert Study.load({"name": "v", "train": {"architecture": "all"} | layers}).train.layers == layers
