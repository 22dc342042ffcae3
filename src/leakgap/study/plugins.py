"""The section `plugins` of a study file: attacks, techniques and architectures of the user's own."""

import re
from dataclasses import is_dataclass
from inspect import Signature
from typing import Any

from pydantic import Field, ValidationError, model_validator

from leakgap import LeakgapError
from leakgap.attacks import ATTACKS
from leakgap.augment import MEMBERS, options
from leakgap.objects import Object
from leakgap.section import Section
from leakgap.study.train import Train
from leakgap.training import ARCHITECTURES

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")  # part of paths, keys and names of columns
REGISTRIES: dict[str, dict[str, Any]] = {
    "attacks": ATTACKS,
    "techniques": MEMBERS,
    "architectures": ARCHITECTURES,
}
CALLED_WITH = {"attacks": ("evidence",), "architectures": ("classes", "channels", "width")}
COLUMNS = ("step", "mask", "image", "member")  # beside which scores have a column for an attack
IN_USE: dict[str, set[str]] = {kind: set() for kind in REGISTRIES}  # names in the registries that are plugins


class Plugins(Section):
    """Your own, by name: `file.py:object` or `module:object` (docs/extending.md)."""

    attacks: dict[str, str] = Field(
        {},
        description="functions of the evidence that return scores, or instances of Attack, which tell needs",
    )
    techniques: dict[str, str] = Field(
        {}, description="dataclasses, members of techniques; their fields are keys below `train.<name>`"
    )
    architectures: dict[str, str] = Field(
        {}, description="functions of classes, channels and width that return a module of torch"
    )

    @model_validator(mode="after")
    def _possible(self) -> "Plugins":
        """Check all that can be told without importing anything."""
        for kind, name, place in self.all():
            if name in REGISTRIES[kind].keys() - IN_USE[kind] or _is_taken(kind, name):
                raise ValueError(f"plugins.{kind}.{name}: the name is taken by leakgap; choose another")
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"plugins.{kind}: {name!r} is no name of a plugin: a letter, then letters, digits, dash and "
                    "underscore"
                )
            try:
                _check_parameters(kind, Object(place))
            except LeakgapError as error:
                raise ValueError(f"plugins.{kind}.{name}: {error}") from None
        return self

    def all(self) -> list[tuple[str, str, str]]:
        """Return (kind, name, place) of every plugin."""
        return [(kind, name, place) for kind in REGISTRIES for name, place in getattr(self, kind).items()]

    def used(self, **names: object) -> "Plugins":
        """Return those among the given names of each kind; without a kind, none of it."""
        chosen: dict[str, dict[str, str]] = {}
        for kind, name, place in self.all():
            if name in names.get(kind, ()):  # type: ignore[operator]
                chosen.setdefault(kind, {})[name] = place
        return self.model_copy(update={kind: chosen.get(kind, {}) for kind in REGISTRIES})

    @property
    def places(self) -> dict[str, dict[str, str]]:
        """The plugins as a study file has them, without the kinds that there are none of."""
        return {kind: dict(getattr(self, kind)) for kind in REGISTRIES if getattr(self, kind)}

    @property
    def digests(self) -> list[str]:
        """The name of every plugin with the digest of its file."""
        return [f"{kind}.{name}: {Object(place).digest}" for kind, name, place in self.all()]

    def register(self) -> None:
        """Put these techniques and architectures, and no other study's, into the registries.

        Techniques are imported, since their fields are keys of the study file. LeakgapError names the key of one
        that can't be, or is no technique. Attacks are the matter of the jobs that run them.
        """
        for kind in ("techniques", "architectures"):
            registry, places = REGISTRIES[kind], getattr(self, kind)
            for name in IN_USE[kind]:
                registry.pop(name, None)
            registry.update(places)
            IN_USE[kind] = set(places)
        for name, place in self.techniques.items():
            try:
                _check_technique(name, Object(place))
            except LeakgapError as error:
                raise LeakgapError(f"plugins.techniques.{name}: {error}") from None


def _is_taken(kind: str, name: str) -> bool:
    if kind == "techniques":
        return name in ("none", "factorial") or hasattr(Train, name) or name in Train.model_fields
    return kind == "attacks" and name in COLUMNS


def _check_parameters(kind: str, plugin: Object) -> None:
    signature = plugin.signature
    if kind == "techniques" and signature is not None:
        raise LeakgapError(f"{plugin.text} is a function; a technique is a dataclass")
    if signature is None:
        return
    given = CALLED_WITH[kind]
    try:
        signature.bind(*given)
    except TypeError:
        raise LeakgapError(
            f"{plugin.text} is called with ({', '.join(given)}), and takes ({_told(signature)})"
        ) from None


def _told(signature: Signature) -> str:
    return ", ".join(str(parameter) for parameter in signature.parameters.values())


def _check_technique(name: str, plugin: Object) -> None:
    """Raise LeakgapError unless a registered technique can be imported, is a dataclass and has its attributes."""
    try:
        technique = plugin.load()
    except Exception as error:  # anything: it is the user's code
        raise plugin.blamed(error) from None
    if not isinstance(technique, type) or not is_dataclass(technique):
        raise LeakgapError(f"{plugin.text} is no dataclass")
    for attribute, kind in (("columns", int), ("late", bool)):
        if not isinstance(getattr(technique, attribute, None), kind):
            raise LeakgapError(f"{plugin.text} has no {attribute}, {kind.__name__}")
    if not any("__call__" in vars(base) for base in technique.__mro__):
        raise LeakgapError(f"{plugin.text} has no method __call__(self, images, draws)")
    try:
        options(name)()
    except ValidationError as error:
        raise LeakgapError(f"{plugin.text}: its field {error.errors()[0]['loc'][0]} has no default") from None
    except Exception as error:  # of annotations that are no types, say
        raise plugin.blamed(error) from None
