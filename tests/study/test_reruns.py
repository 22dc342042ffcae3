"""Which jobs a change of each key of a study reruns: those whose values it is among.

That a job is given what it reads, and nothing else, is shown by tests/jobs/test_workflow.py, which runs them.
"""

from collections.abc import Iterator

import pytest

from leakgap.study import Study
from rules import SHOWN, parts

STUDY = {
    "name": "reruns",
    "data": {"dataset": "digits", "reserved": 0.1},
    "grid": {"techniques": ["none", "crop", "slow"], "variants": {"slow": {"train.epochs": 30}}, "masks": 4},
}
RESULTS = {"attack", *SHOWN}
MODELS = {"train", *RESULTS, "report"}
EVERY = {"pool", *MODELS}
# key -> another value, and the rules that read it
NAMED = {
    "train.architecture",
    "train.recipe",
    "train.options",
}  # code of the user's own: tests/study/test_plugins.py
KEYS: dict[str, tuple[object, set[str]]] = {
    "name": ("other", {"download", "masks", "models", *EVERY}),
    "data.dataset": ("fashion-mnist", {"download", "pool", *RESULTS, "report"}),
    "data.root": ("elsewhere", {"download", "pool", "report"}),
    "data.size": (500, {"pool", *RESULTS, "report"}),
    "data.side": (4, {"pool", *RESULTS, "report"}),
    "data.reserved": (0.2, {"masks", *MODELS}),
    "data.seed": (3, {"masks", *EVERY}),
    "data.groups": ("person", {"pool", *RESULTS, "report"}),
    "data.inclusion": ("coin", {"masks", *MODELS}),
    "grid.techniques": (["none", "crop"], {"models", *SHOWN, "report"}),
    "grid.variants": ({"slow": {"train.lr": 0.02}}, MODELS),
    "grid.masks": (6, {"masks", "models", *RESULTS, "report"}),
    "grid.replicates": (2, {"models", *RESULTS, "report"}),
    **{f"train.{key}": (value, MODELS) for key, value in {
        "epochs": 31, "steps": [1, 2], "width": 9, "norm": "group", "dropout": 0.1,
        "label_smoothing": 0.1, "batch_size": 32, "optimizer": "adamw", "lr": 0.01, "momentum": 0.5,
        "nesterov": True, "weight_decay": 0.1, "schedule": "constant", "warmup": 0.5, "precision": "fp32",
        "compile": True, "deterministic": True, "threads": 2, "seed": 4,
    }.items()},
    "train.save_seconds": (7, {"report"}),
    "train.crop": ({"padding": "reflect"}, MODELS),
    "train.cutout": ({"size": 3}, {"report"}),  # no variant uses it
    "query.views": (3, MODELS),
    "query.logits": ("all", {"train", "report"}),
    "attack.attacks": (["loss"], {*RESULTS, "report"}),
    "attack.attackers": (["informed"], {*SHOWN, "report"}),
    "attack.baseline": ("crop", {*SHOWN, "report"}),
    "attack.fpr": ([0.05], {*RESULTS, "report"}),
    "attack.bootstrap": (50, {"attack", "report"}),
    "attack.keep": (["loss"], {"attack", "report"}),
    "attack.seed": (5, {"attack", "report"}),
    "report.margin": (0.02, {"report"}),
}  # fmt: skip


def leaves() -> Iterator[str]:
    study = Study.load(STUDY)
    for section in type(study).model_fields:
        value = getattr(study, section)
        if section == "plugins":
            continue  # by the digests of their files: tests/study/test_plugins.py
        fields = getattr(type(value), "model_fields", None)
        yield from [f"{section}.{key}" for key in fields] if fields else [section]


def test_every_key_of_a_study_is_in_the_list():
    assert set(leaves()) - NAMED == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_change_of_a_key_reruns_what_reads_it_and_nothing_else(key: str):
    value, expected = KEYS[key]
    section, _, name = key.partition(".")
    before = Study.load(STUDY)
    if name:
        held = getattr(before, section)
        kind = type(held).model_fields[name].annotation
        made = kind.model_validate(value) if hasattr(kind, "model_validate") else tuple_of(value)
        after = before.model_copy(update={section: held.model_copy(update={name: made})})
    else:
        after = before.model_copy(update={section: value})
    one, other = parts(before), parts(after)
    changed = {
        rule for rule in one
        if (one[rule] != other[rule] if not isinstance(one[rule], dict)
            else any(other[rule].get(job, part) != part for job, part in one[rule].items()))
    }  # fmt: skip
    assert changed == expected


def tuple_of(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
