"""A study file: what it admits, what it says otherwise, and what each job depends on."""

import json
from itertools import combinations
from pathlib import Path

import pytest
import yaml

from leakgap import LeakgapError
from leakgap.augment import MEMBERS, canonical
from leakgap.study import Study

ROOT = Path(__file__).parents[1]
SMALL = {"name": "small", "grid": {"techniques": ["none", "crop"], "masks": 4}}


def sentence(change: dict) -> str:
    with pytest.raises(LeakgapError) as caught:
        Study.load(SMALL | change)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("change", "key", "allowed"),
    [
        ({"gird": {}}, "gird", "name, data, grid, train, query, attack"),
        ({"grid": {"mask": 4}}, "grid.mask", "techniques, masks, replicates"),
        ({"train": {"crop": {"size": 4}}}, "train.crop.size", "pad, padding"),
        ({"grid": {"techniques": ["none", "crpo"]}}, "grid.techniques", "crop, mirror, cutout, policy"),
        ({"grid": {"techniques": ["none", "mirror+crop"]}}, "grid.techniques", "crop+mirror"),
        ({"grid": {"techniques": ["none", "none"]}}, "grid.techniques", "twice"),
        ({"grid": {"techniques": []}}, "grid.techniques", "at least 1"),
        ({"grid": {"masks": 15}}, "grid.masks", "even number of 4 or more"),
        ({"grid": {"masks": 2}}, "grid.masks", "even number of 4 or more"),
        ({"train": {"epochs": 5, "steps": [2, 6]}}, "train.steps", "train.epochs is 5"),
        ({"train": {"steps": [4, 2]}}, "train.steps", "rising"),
        ({"train": {"steps": []}}, "train.steps", "at least 1"),
        ({"train": {"lr": 0}}, "train.lr", "greater than 0"),
        ({"train": {"lr": "fast"}}, "train.lr", "number"),
        ({"train": {"epochs": 2, "steps": [2], "warmup": 2}}, "train.warmup", "below train.epochs"),
        ({"train": {"nesterov": True, "momentum": 0}}, "train.nesterov", "momentum above 0"),
        ({"train": {"precision": "fp16"}}, "train.precision", "'bf16' or 'fp32'"),
        ({"train": {"crop": {"pad": 8}}}, "train.crop.pad", "below the side of the images, 8"),
        (
            {"train": {"cutout": {"size": 17}}, "grid": {"techniques": ["none", "cutout"]}},
            "train.cutout.size",
            "8",
        ),
        ({"data": {"reserved": -0.1}}, "data.reserved", "greater than or equal to 0"),
        ({"data": {"reserved": 1.5}}, "data.reserved", "share below 1"),
        ({"data": {"reserved": 1797}}, "data.reserved", "1797"),
        ({"data": {"dataset": "digit"}}, "data.dataset", "digits, fashion-mnist, cifar10, cifar100"),
        ({"data": {"size": 2000}}, "data.size", "1797"),
        ({"data": {"side": 16}}, "data.side", "8 pixels"),
        ({"query": {"views": 19}}, "query.views", "18"),
        ({"attack": {"attacks": ["lira"]}}, "attack.attacks", "lira-online"),
        ({"attack": {"attacks": ["loss"], "keep": ["base"]}}, "attack.keep", "attack.attacks"),
        ({"attack": {"attacks": ["rmia"]}, "data": {"reserved": 0}}, "data.reserved", "rmia"),
        ({"attack": {"attacks": ["attack-r"]}}, "grid.masks", "6 or more"),
        ({"attack": {"attackers": ["all"]}}, "attack.attackers", "'informed' or 'uninformed'"),
        ({"attack": {"fpr": [1]}}, "attack.fpr", "less than 1"),
        ({"attack": {"fpr": [0.01, 0.01]}}, "attack.fpr", "twice"),
        ({"grid": {"techniques": ["crop"]}}, "attack.attackers", "none"),
        ({"name": "a b"}, "name", "pattern"),
        ({"name": "../up"}, "name", "pattern"),
        ({"train": {"lr": float("nan")}}, "train.lr", "finite"),
    ],
)
def test_each_fault_is_one_sentence_with_key_and_what_is_allowed(change: dict, key: str, allowed: str):
    text = sentence(change)
    assert text.startswith(key)
    assert allowed in text


def test_file_faults(tmp_path: Path):
    with pytest.raises(LeakgapError, match=r"absent\.yaml: No such file"):
        Study.load(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("name: [")
    with pytest.raises(LeakgapError, match=r"bad\.yaml: not valid YAML"):
        Study.load(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- name")
    with pytest.raises(LeakgapError, match=r"list\.yaml: a study file is a mapping"):
        Study.load(tmp_path / "list.yaml")
    with pytest.raises(LeakgapError, match="name: the key is missing"):
        Study.load({})


@pytest.mark.parametrize(
    "path", ["config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))], ids=str
)
def test_shipped_studies_are_valid(path: str):
    Study.load(ROOT / path)


def test_factorial_is_every_combination_in_canonical_spelling():
    techniques = Study.load(SMALL | {"grid": {"techniques": "factorial"}}).grid.techniques
    subsets = [subset for size in range(5) for subset in combinations(MEMBERS, size)]
    assert sorted(techniques) == sorted("+".join(subset) or "none" for subset in subsets)
    assert all(canonical(technique) is not None for technique in techniques)
    assert techniques[0] == "none"


def test_attack_jobs():
    study = Study.load(SMALL)
    assert study.attack_jobs == [("none", "none"), ("crop", "crop"), ("crop", "none")]
    uninformed = Study.load(SMALL | {"attack": {"attackers": ["uninformed"]}})
    assert uninformed.attack_jobs == [("none", "none"), ("crop", "none")]
    alone = Study.load({"name": "x", "grid": {"techniques": ["crop"]}, "attack": {"attackers": ["informed"]}})
    assert alone.attack_jobs == [("crop", "crop")]
    factorial = Study.load({"name": "x", "grid": {"techniques": "factorial", "masks": 64}})
    assert len(factorial.attack_jobs) == 31


def test_models_are_masks_then_replicates():
    study = Study.load(SMALL | {"grid": {"techniques": ["none"], "masks": 4, "replicates": 2}})
    assert study.models == ["m000", "m001", "m002", "m003", "r000", "r001"]


def test_every_part_is_a_study_that_says_the_same():
    study = Study.load(ROOT / "workflow/studies/cifar10.yaml")
    for technique in study.grid.techniques:
        part = Study.load(study.training_part(technique))
        assert part.name == study.name
        assert part.train.model_dump(exclude={"crop", "cutout", "save_seconds"}) == study.train.model_dump(
            exclude={"crop", "cutout", "save_seconds"}
        )
        assert part.grid.techniques == (technique,)
        if "crop" in technique:
            assert part.train.crop == study.train.crop
    attack = Study.load(study.part("grid.masks", "grid.replicates", "attack"))
    assert (attack.attack, attack.grid.masks) == (study.attack, study.grid.masks)


def changed_parts(change: dict) -> set[str]:
    """Names of the jobs whose part differs between SMALL and a change of it."""
    before, after = Study.load(SMALL), Study.load(SMALL | change)
    parts = {technique: lambda study, t=technique: study.training_part(t) for technique in ("none", "crop")}
    parts["attack"] = lambda study: study.part("grid.masks", "grid.replicates", "attack")
    return {name for name, part in parts.items() if part(before) != part(after)}


def test_a_job_depends_on_its_own_values_alone():
    assert changed_parts({"train": {"lr": 0.2}}) == {"none", "crop"}
    assert changed_parts({"train": {"crop": {"padding": "reflect"}}}) == {"crop"}
    assert changed_parts({"train": {"cutout": {"size": 2}}}) == set()
    assert changed_parts({"train": {"save_seconds": 1}}) == set()
    assert changed_parts({"attack": {"bootstrap": 200}}) == {"attack"}
    assert changed_parts({"grid": {"techniques": ["none", "crop", "mirror"], "masks": 4}}) == set()


def test_json_text_and_yaml_file_are_the_same_study(tmp_path: Path):
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(SMALL))
    assert Study.load(json.dumps(SMALL)) == Study.load(tmp_path / "study.yaml") == Study.load(SMALL)
