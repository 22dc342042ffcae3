"""Augmentation techniques: every image of a batch gets its own draw, on whatever device the batch is.

A technique is `none` or some of `MEMBERS` joined by `+`, always in their order. To add a member, write a
frozen dataclass in this package and name it in `MEMBERS`; a study file has others as `plugins`. Its fields are its
options, keys of the study file under `train.<member>`; pydantic's `Field` in their annotations says bounds and
meaning. A field `fill` is no option but gets the technique's fill colour. `columns` is how many uniform draws an
image takes, `late` puts the member behind all that are not late, and calling it with images [B,C,H,W] and draws
[B,columns] gives the new images. A method `check(height, width)` may refuse options that do not suit images of this
size.

The study file is checked wherever the workflow starts, so neither this module nor a member's imports torch or
numpy before it is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from inspect import getdoc
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, get_type_hints

from pydantic import Field, ValidationError, create_model

from leakgap import LeakgapError
from leakgap.objects import Object
from leakgap.section import Section, sentence

if TYPE_CHECKING:
    import numpy as np
    from torch import Generator, Tensor

__all__ = ["MEMBERS", "Operation", "Technique", "canonical", "options"]

MEMBERS = {
    "crop": "leakgap.augment.crop:Crop",
    "mirror": "leakgap.augment.mirror:Mirror",
    "cutout": "leakgap.augment.cutout:Cutout",
    "policy": "leakgap.augment.policy:Policy",
}
"""Where each member of a technique is, in the order in which a technique's name lists them."""


class Operation(Protocol):
    """One member of a technique: a pure function of images [B,C,H,W] and uniform draws [B,columns]."""

    columns: ClassVar[int]
    late: ClassVar[bool]

    def __call__(self, images: Tensor, draws: np.ndarray) -> Tensor:
        """New uint8 images, same shape and device; the b-th depends on images[b] and draws[b] alone."""
        ...


def canonical(name: str) -> tuple[str, ...]:
    """The members of a technique; `none` has none. LeakgapError for any other spelling of a technique."""
    if name == "none":
        return ()
    members = name.split("+")
    ordered = [member for member in MEMBERS if member in members]
    if members == ordered:
        return tuple(members)
    if set(members) == set(ordered):
        raise LeakgapError(
            f"technique {name!r} must be written {'+'.join(ordered)!r}: each member once, in this order"
        )
    raise LeakgapError(
        f"technique {name!r} is unknown: it is 'none' or some of {', '.join(MEMBERS)}, joined by '+' in this "
        "order"
    )


@dataclass(frozen=True)
class Technique:
    """Operations in the order they are applied: crop, mirror, policy, cutout.

    >>> import torch
    >>> images = torch.arange(2 * 3 * 8 * 8).reshape(2, 3, 8, 8).to(torch.uint8)
    >>> technique = Technique.parse("crop+mirror", fill=0)
    >>> technique(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 8, 8])
    """

    name: str
    operations: tuple[Operation, ...]

    @classmethod
    def parse(
        cls,
        name: str,
        fill: float | Sequence[float] = 0,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Technique:
        """The technique of this name.

        fill: the colour, 0..255, one value or one per channel, that cutout erases with.
        options: fields of a member, as `{"crop": {"pad": 4, "padding": "reflect"}, "cutout": {"size": 16}}`;
        those of members that the technique lacks do nothing. LeakgapError for unknown names and bad values.
        """
        options = options or {}
        for member in options:
            if member not in MEMBERS:
                raise LeakgapError(f"augmentation options are for {', '.join(MEMBERS)}, not for {member!r}")
        operations = [_operation(member, fill, options.get(member, {})) for member in canonical(name)]
        return cls(name, tuple(sorted(operations, key=lambda operation: operation.late)))

    def check(self, height: int, width: int) -> None:
        """Raise LeakgapError, which starts with `<member>.<option>`, where one does not suit such images."""
        for operation in self.operations:
            if hasattr(operation, "check"):
                operation.check(height, width)

    @property
    def columns(self) -> int:
        """Number of uniform draws that an image takes (K)."""
        return sum(operation.columns for operation in self.operations)

    def draw(self, n: int, generator: Generator | None = None) -> Tensor:
        """A table of float32 uniform draws in [0, 1), [n,K] on the CPU, one row per image."""
        import torch

        return torch.rand(n, self.columns, generator=generator)

    def apply(self, images: Tensor, draws: Tensor) -> Tensor:
        """Augment uint8 images [B,C,H,W] on any device by draws [B,K] on the CPU.

        The result has the same shape, dtype and device; `none` returns the images themselves. An image's
        result depends on its own pixels and draws only. Nothing waits for the device: whatever depends on the
        draws is decided on the CPU. LeakgapError where shapes or dtypes are wrong.
        """
        import numpy as np
        import torch

        if images.ndim != 4 or str(images.dtype) != "torch.uint8":
            raise LeakgapError(
                f"images to augment must be uint8 [B,C,H,W], not {images.dtype} {list(images.shape)}"
            )
        expected = (len(images), self.columns)
        if draws.shape != expected or draws.device.type != "cpu" or not draws.dtype.is_floating_point:
            raise LeakgapError(
                f"draws of {self.name} must be floats {list(expected)} on the CPU, "
                f"not {draws.dtype} {list(draws.shape)} on {draws.device.type}"
            )
        if not images.numel():
            return images
        table = np.from_dlpack(draws)  # as draws.numpy(), which FakeTensorMode cannot do
        start = 0
        for operation in self.operations:
            given = images
            images = operation(given, table[:, start : start + operation.columns])
            if not isinstance(images, torch.Tensor):
                raise LeakgapError(f"{type(operation).__name__} of {self.name} made {type(images).__name__}")
            if images.shape != given.shape or images.dtype != given.dtype:
                raise LeakgapError(
                    f"{type(operation).__name__} of {self.name} made {images.dtype} {list(images.shape)} of "
                    f"{given.dtype} {list(given.shape)}; images keep type and shape"
                )
            start += operation.columns
        return images

    def __call__(self, images: Tensor, generator: Generator | None = None) -> Tensor:
        """Augment uint8 images [B,C,H,W] by fresh draws."""
        return self.apply(images, self.draw(len(images), generator))


def options(member: str) -> type[Section]:
    """The options of a member as a section of the study file: its fields, without `fill`."""
    return _options(Object(MEMBERS[member]).load())


@cache
def _options(operation: type[Operation]) -> type[Section]:
    hints = get_type_hints(operation, include_extras=True)
    keys: dict[str, Any] = {}
    for field in fields(operation):  # type: ignore[arg-type]
        if field.name == "fill":
            continue
        if field.default_factory is not MISSING:
            default = Field(default_factory=field.default_factory)
        else:
            default = ... if field.default is MISSING else field.default
        keys[field.name] = (hints[field.name], default)
    about = (getdoc(operation) or "").partition("\n\n")[0]
    return create_model(operation.__name__, __base__=Section, __doc__=about, **keys)


def _operation(member: str, fill: float | Sequence[float], chosen: Mapping[str, Any]) -> Operation:
    operation, section = Object(MEMBERS[member]).load(), options(member)
    try:
        values = dict(section(**chosen))
    except ValidationError as error:
        raise LeakgapError(f"{member}.{sentence(error, section, member)}") from None
    if "fill" in {field.name for field in fields(operation)}:
        values["fill"] = fill
    return operation(**values)
