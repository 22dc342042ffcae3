"""A study file: what it admits, what it says otherwise, and what each job depends on."""

import json
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from leakgap import LeakgapError
from leakgap.augment import MEMBERS, canonical
from leakgap.study import Study
from leakgap.study.keys import markdown, schema

ROOT = Path(__file__).parents[2]
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
        ({"grid": {"mask": 4}}, "grid.mask", "techniques, variants, masks, replicates"),
        ({"train": {"crop": {"size": 4}}}, "train.crop.size", "pad, padding"),
        ({"grid": {"techniques": ["none", "crpo"]}}, "grid.techniques", "crop, mirror, cutout, policy"),
        ({"grid": {"techniques": ["none", "mirror+crop"]}}, "grid.techniques", "crop+mirror"),
        ({"grid": {"techniques": ["none", "none"]}}, "grid.techniques", "twice"),
        (
            {"grid": {"techniques": {"factorial": ["crop", "flip"]}}},
            "grid.techniques.factorial",
            "crop, mirror",
        ),
        (
            {"grid": {"techniques": {"factorial": ["crop", "crop"]}}},
            "grid.techniques.factorial",
            "each member once",
        ),
        ({"grid": {"techniques": {"factorial": []}}}, "grid.techniques", "tuple"),
        ({"grid": {"techniques": {"factorials": ["crop"]}}}, "grid.techniques", "tuple"),
        ({"train": {"mirror": {}}}, "train.mirror", "crop, cutout"),
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
        (
            {"data": {"dataset": "./mine.npz", "side": 6}, "train": {"crop": {"pad": 6}}},
            "train.crop.pad",
            "6",
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
        ({"attack": {"fpr": [0.01, 0.0100000001]}}, "attack.fpr", "twice"),
        ({"attack": {"attacks": ["loss"], "keep": ["loss", "loss"]}}, "attack.keep", "twice"),
        ({"attack": {"bootstrap": 10**9}}, "attack.bootstrap", "less than or equal to 100000"),
        ({"train": {"threads": 10**6}}, "train.threads", "less than or equal to 1024"),
        ({"attack": {"baseline": "mirror"}}, "attack.baseline", "none, crop"),
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
    ("text", "told"),
    [
        ("name: a\ngrid: {masks: 4}\ngrid: {techniques: [none]}", "grid: the key is given twice"),
        ("name: a\ngrid: {masks: 4, masks: 6}", "grid.masks: the key is given twice"),
        ('{"name": "a", "grid": {"masks": 4, "masks": 6}}', "masks: the key is given twice"),
        ("name: a\ntrain: {seed: 0400}", "train.seed: 0400 is not what YAML reads"),
        ("name: a\ntrain: {seed: 5:00}", "train.seed: 5:00 is not what YAML reads"),
        ("name: a\ntrain: {lr: 5:00.5}", "train.lr: 5:00.5 is not what YAML reads"),
        ("name: a\ntrain: {steps: [1, 1_0]}", "train.steps.1: 1_0 is not what YAML reads"),
        ("name: 2026-13-45", "name: 2026-13-45 is a date to YAML; put it in quotes"),
        ("name: a\ntrain: {seed: yes}", "train.seed: input should not be yes or no"),
        ("name: a\ngrid: {techniques: [none, no]}", "grid.techniques: input should not be yes or no"),
        ("name: no", "name: input should not be yes or no"),
        ("name: caf\xe9".encode("latin-1"), "not UTF-8 text"),
        ("name: a" + " " * 2**20, "longer than 256 KiB"),
        (b"name: " + b"\xff" * 2**20, "longer than 256 KiB"),
        ("name: " + "[" * 100_000, "nested more than 20 levels deep"),
        ("name: " + "[" * 30 + "]" * 30, "nested more than 20 levels deep"),
        ('{"name": ' + "[" * 100_000, "nested more than 20 levels deep"),
        ("name: &a [*a]", "nested more than 20 levels deep"),
        (
            "\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 12))]),
            "holds more than 10000 values",
        ),
        (f"name: a\ntrain: {{seed: {'9' * 5000}}}", "train.seed: 9999"),
        ('{"name": "a", "train": {"seed": ' + "9" * 5000 + "}}", "holds too large a number"),
        ('{"name": "a", "train": {"seed": ' + "9" * 50 + "}}", "train.seed: input should be a number of 64"),
        ("!!int abc", "the whole: abc is not what YAML reads"),
        ("name: !!python/object:os.getcwd {}", "not valid YAML"),
        ("name: a\0b", "not valid YAML"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_yaml_would_drop_or_change_is_one_sentence(text: str | bytes, told: str, tmp_path: Path):
    file = tmp_path / "study.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(LeakgapError) as caught:
        Study.load(file)
    assert str(caught.value).startswith(f"{file}: {told}")
    assert len(str(caught.value)) < 300 + len(str(file))
    assert "\n" not in str(caught.value)


def test_a_given_value_is_shown_short():
    assert len(sentence({"train": {"lr": "x" * 10**6}})) < 300
    bomb: list = []
    for _ in range(30):
        bomb = [bomb] * 9
    assert len(sentence({"train": {"lr": bomb}})) < 300


def test_what_people_mean_is_read(tmp_path: Path):
    file = tmp_path / "study.yaml"
    file.write_text(
        "name: '0400'\ntrain: &t {nesterov: yes, lr: 1e-3, weight_decay: 5.0e-4, seed: 12}\n"
        "data: {dataset: ./grüße-\U0001f600/x.npz, seed: 0}",
        encoding="utf-8",
    )
    study = Study.load(file)
    assert (study.name, study.train.nesterov, study.train.lr) == ("0400", True, 0.001)
    assert study.data.dataset == "./grüße-\U0001f600/x.npz"
    assert Study.load(study.part("data")).data == study.data  # JSON writes it as a pair of surrogates


@pytest.mark.parametrize(
    "path", ["config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))], ids=str
)
def test_shipped_studies_are_valid(path: str):
    Study.load(ROOT / path)


def test_factorial_is_every_combination_in_canonical_spelling():
    techniques = Study.load(SMALL | {"grid": {"techniques": "factorial"}}).grid.techniques
    subsets = [subset for size in range(5) for subset in combinations(MEMBERS, size)]
    assert sorted(techniques) == sorted("+".join(subset) or "none" for subset in subsets)
    assert techniques[0] == "none"


def test_what_the_images_are_too_few_for_is_told(tmp_path):
    def told(**data):
        return Study.load({"name": "s", "data": {"dataset": "digits"} | data}).shortages

    (one,) = told(reserved=181)  # 1,616 of 1,797 images: 808 non-members, and 999 are needed at 0.1%
    assert (
        "a single target has 808 non-members, and its TPR at 0.1% FPR is undefined with fewer than 999" in one
    )
    assert "that takes 1998 images that are not reserved, and there are 1616" in one
    assert len(told(reserved=0.9)) == 2
    assert len(told(reserved=1700)) == 2
    assert told(dataset="cifar10") == []
    np.savez(tmp_path / "own.npz", features=np.zeros((500, 3)), labels=np.zeros(500, int))
    assert "a single target has 225 non-members" in told(dataset=f"{tmp_path}/own.npz")[0]
    assert "a single target has 90 non-members" in told(dataset=f"{tmp_path}/own.npz", size=200)[0]
    assert told(dataset=f"{tmp_path}/none.npz") == []


def test_factorial_of_named_members():
    def techniques(chosen: object) -> tuple[str, ...]:
        return Study.load(SMALL | {"grid": {"techniques": chosen}}).grid.techniques

    assert techniques({"factorial": ["crop", "cutout"]}) == ("none", "crop", "cutout", "crop+cutout")
    assert techniques({"factorial": ["crop", "mirror", "cutout", "policy"]}) == techniques("factorial")


def test_a_fifth_member_changes_no_existing_study(monkeypatch: pytest.MonkeyPatch):
    """Neither the techniques of a factorial nor what any training job is given."""

    def jobs() -> dict[str, str]:
        files = [ROOT / "config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))]
        loaded = [Study.load(file) for file in files]
        return {f"{each.name} {t}": each.training_part(t) for each in loaded for t in each.grid.techniques}

    before = jobs()
    monkeypatch.setitem(MEMBERS, "fade", f"{__name__}:Fade")
    assert jobs() == before
    named = Study.load(SMALL | {"grid": {"techniques": {"factorial": ["crop", "fade"]}}})
    assert named.grid.techniques == ("none", "crop", "fade", "crop+fade")


@dataclass(frozen=True)
class Fade:
    """Divide every value."""

    by: Annotated[int, Field(ge=1, description="divisor")] = 2
    start: float = 0.5

    columns: ClassVar[int] = 1
    late: ClassVar[bool] = False

    def check(self, height: int, width: int) -> None:
        if self.by > height:
            raise LeakgapError(f"fade.by: {self.by} is above the height, {height}")


def test_a_member_s_fields_are_keys_of_the_study_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MEMBERS, "fade", f"{__name__}:Fade")
    grid = {"techniques": ["none", "fade"]}
    study = Study.load(SMALL | {"grid": grid, "train": {"fade": {"by": 3}}})
    assert study.train.options_of("crop+fade")["fade"] == {"by": 3, "start": 0.5}
    assert Study.load(study.training_part("fade")).train.options_of("fade")["fade"] == {"by": 3, "start": 0.5}
    assert "fade" not in study.training_part("none")
    assert "| `train.fade.by` | integer ≥ 1 | `2` | divisor |" in markdown()
    assert "fade" in json.dumps(schema())
    assert sentence({"train": {"fade": {"by": 0}}}).startswith("train.fade.by: input should be greater than")
    assert sentence({"train": {"fade": {"on": 1}}}) == "train.fade.on: no such key; train.fade has by, start"
    told = sentence({"grid": grid, "train": {"fade": {"by": 9}}})
    assert told == "train.fade.by: 9 is above the height, 8"
    Study.load(SMALL | {"train": {"fade": {"by": 9}}})  # no technique of this grid fades


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


CIFAR10 = Study.load(ROOT / "workflow/studies/cifar10.yaml")


def leaves(section: BaseModel, prefix: str = "") -> dict[str, object]:
    """Every value of a study by its dotted key."""
    found: dict[str, object] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        nested = isinstance(value, BaseModel)
        found |= leaves(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


@given(st.sets(st.sampled_from(sorted(leaves(CIFAR10)))))
def test_a_part_says_what_the_study_says_and_nothing_else(keys: set[str]):
    part = Study.load(CIFAR10.part(*keys))
    for key, value in leaves(CIFAR10).items():
        if key in keys or key == "name" or key.startswith("plugins."):  # all that it uses: none here
            assert attrgetter(key)(part) == value
        else:
            with pytest.raises(LeakgapError, match=f"{key.split('.')[-1]}|{key.split('.')[0]}") as caught:
                attrgetter(key)(part)
            assert "is read, but the job's part of the study does not have it" in str(caught.value)


def test_a_section_is_a_part_too():
    part = Study.load(CIFAR10.part("attack"))
    assert part.attack == CIFAR10.attack
    assert part.attack.headline == CIFAR10.attack.headline
    with pytest.raises(LeakgapError, match=r"study\.grid is read"):
        _ = part.masks
    with pytest.raises(AttributeError, match="nonsense"):
        _ = part.nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"grid": {"masks": "many"}}, "grid.masks: Input should be a valid integer"),
        ({"grid": {"mask": 4}}, "grid.mask: no such key in a study"),
        ({"train": {"cutout": {"size": 0}}}, "train.cutout.size: Input should be greater than or equal to 1"),
        ({"train": 3}, "train: is 3, not a section of a study"),
        ({"train": {"cutout": None}}, "train.cutout: is None, not a section of a study"),
    ],
)
def test_a_parts_values_are_checked(values: dict, told: str):
    with pytest.raises(LeakgapError) as caught:
        Study.load(json.dumps({"part": {"name": "small"} | values}))
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("part", [3, [], None, "x"])
def test_a_part_is_sections(part: object):
    with pytest.raises(LeakgapError, match=r"^part: holds no sections of a study"):
        Study.load(json.dumps({"part": part}))


def test_a_training_job_is_given_its_own_members_options_alone():
    for technique in CIFAR10.grid.techniques:
        part = Study.load(CIFAR10.training_part(technique))
        unused = {"save_seconds", "options", "crop", "cutout"} - set(canonical(technique))
        assert part.train.model_dump() == CIFAR10.train.model_dump(exclude=unused)
        with pytest.raises(LeakgapError, match=r"train\.save_seconds is read"):
            _ = part.train.save_seconds


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
