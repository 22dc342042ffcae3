"""What a name of the grid stands for: an augmentation technique and the training of its models."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from leakgap import LeakgapError
from leakgap.augment import MEMBERS, canonical
from leakgap.section import sentence
from leakgap.study.train import COMMON, OF_RECIPE, Train

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
TECHNIQUE = "technique"  # a variant's key beside train.<key>


@dataclass(frozen=True)
class Variant:
    """A name of the grid, the technique that augments its models' images, and how these are trained."""

    name: str
    technique: str
    train: Train


def compare(told: Mapping[str, Any], expected: Mapping[str, Any], where: object) -> None:
    """Raise LeakgapError where models say something else of themselves than the study; other keys don't count.

    >>> compare({"train.lr": 0.1, "version of torch": "3.0"}, {"train.lr": 0.1, "train.width": 8}, "m000.parquet")
    """
    for key in told.keys() & expected.keys():
        if told[key] != expected[key]:
            raise LeakgapError(
                f"{where}: {key} is {expected[key]} in the study, and the models were made with {told[key]}: make "
                "them anew, or put the study back"
            )


def check_name(name: str) -> None:
    """Raise LeakgapError where a variant's name is no part of a path, or is a technique's."""
    if not NAME.fullmatch(name) or ".by-" in name:
        raise LeakgapError(
            f"grid.variants: {name!r} is no name of a variant: letters, digits, dot, dash and underscore, without "
            "'.by-'"
        )
    if name == "none" or name in MEMBERS:
        raise LeakgapError(f"grid.variants.{name}: it is the name of a technique")


def technique_of(name: str, overrides: Mapping[str, Any]) -> str:
    """Return the technique of a variant: none, if it says nothing of it. LeakgapError for an unknown one."""
    technique = overrides.get(TECHNIQUE, "none")
    try:
        canonical(str(technique))
    except LeakgapError as error:
        raise LeakgapError(f"grid.variants.{name}.technique: {error}") from None
    return str(technique)


def trained(name: str, overrides: Mapping[str, Any], base: Train) -> Train:
    """Return `train` as a variant changes it, validated anew.

    A variant that chooses a recipe, or none where the others have one, shares with them the keys alone that any
    training has. LeakgapError names the key, below grid.variants.<name>.
    """
    place = f"grid.variants.{name}."
    changes = {key: value for key, value in overrides.items() if key != TECHNIQUE}
    if not changes:
        return base
    values = base.model_dump(exclude_unset=True)
    if "train.recipe" in changes:
        values = {key: value for key, value in values.items() if key in COMMON}
    elif base.recipe is not None:  # of a part, which says what others have by default too
        values = {key: value for key, value in values.items() if key in (*OF_RECIPE, *COMMON)}
    for key, value in changes.items():
        first, *sections = key.split(".")
        if first != "train" or not all(sections) or not sections:
            raise LeakgapError(
                f"{place}{key}: no such key; a variant has technique, and train.<key> such as train.lr"
            )
        inside = values
        for section in sections[:-1]:
            inside[section] = dict(inside[section]) if isinstance(inside.get(section), dict) else {}
            inside = inside[section]
        inside[sections[-1]] = value
    try:
        return type(base).model_validate(values)
    except ValidationError as error:
        told = sentence(error, type(base), "train")
        raise LeakgapError(place + (told if told.startswith("train.") else f"train.{told}")) from None
