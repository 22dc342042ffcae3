"""A study file, validated, and the grid that it spans.

Imported by the Snakefile at every start, so it must stay light: no numpy, no torch.
"""

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, create_model, model_validator

from leakgap import LeakgapError
from leakgap.attacks import ATTACKS
from leakgap.augment import MEMBERS, Technique, canonical, options
from leakgap.data import DATASETS
from leakgap.section import Section, sentence
from leakgap.study.grid import NONE, Headline, Span
from leakgap.study.reading import parse, read
from leakgap.training import ARCHITECTURES

FACTORS = ("crop", "mirror", "cutout", "policy")  # of the bare word, whatever else is registered
PART = "part"  # the key that marks JSON as the part of a study that a job is given


class Data(Section):
    """The images that masks are drawn from."""

    dataset: str = Field(
        "digits",
        min_length=1,
        description=f"{', '.join(DATASETS)}, a path to an .npz (images uint8, labels) "
        "or a folder of images in torchvision's ImageFolder layout",
    )
    root: str = Field("data", description="folder with the dataset's files, or where they are downloaded to")
    size: int | None = Field(None, ge=16, description="number of images kept, drawn by class; all by default")
    side: int | None = Field(None, ge=4, description="images are averaged down to side x side pixels")
    reserved: float = Field(
        0.1, ge=0, description="images in no mask, for attacks that need them: a share below 1, or a number"
    )
    seed: int = Field(0, ge=0, description="draws the kept images, the reserved ones and the masks")

    @property
    def built_in(self) -> tuple[int, int, int] | None:
        """(images, channels, side) after `size` and `side` of a built-in dataset, None for a user's own."""
        if self.dataset not in DATASETS:
            return None
        known = DATASETS[self.dataset]
        return self.size or known.images, known.channels, self.side or known.side

    def unreserved(self, images: int) -> int:
        """Return how many of so many images masks are drawn from."""
        return images - round(self.reserved * images if self.reserved < 1 else self.reserved)

    @model_validator(mode="after")
    def _possible(self) -> "Data":
        if self.built_in is None:
            if Path(self.dataset).suffix != ".npz" and "/" not in self.dataset:
                raise ValueError(
                    f"data.dataset: {self.dataset!r} is unknown; allowed are {', '.join(DATASETS)}, a path "
                    "that ends in .npz, or a path with a slash to a folder of images"
                )
            return self
        images, side = DATASETS[self.dataset].images, DATASETS[self.dataset].side
        if self.size and self.size > images:
            raise ValueError(f"data.size: {self.dataset} holds {images} images, not {self.size}")
        if self.side and self.side > side:
            raise ValueError(
                f"data.side: {self.dataset} is {side} pixels wide and can't be averaged to {self.side}"
            )
        if self.reserved >= 1 and self.reserved != int(self.reserved):
            raise ValueError(
                f"data.reserved: {self.reserved:g} is neither a share below 1 nor a whole number of images"
            )
        if self.reserved > (self.size or images) - 16:
            raise ValueError(
                f"data.reserved: {self.reserved:g} leaves fewer than 16 of {self.size or images} images"
            )
        return self


def _expand(techniques: object) -> object:
    """`factorial`, or {factorial: members} -> all combinations of these members, the smallest first."""
    match techniques:
        case "factorial":
            members: tuple[str, ...] = FACTORS
        case {"factorial": [_, *_] as given, **others} if not others:
            try:
                members = canonical("+".join(str(member) for member in given))
            except LeakgapError as error:
                raise ValueError(f"grid.techniques.factorial: {error}") from None
        case _:
            return techniques
    subsets = range(2 ** len(members))
    chosen = [[name for bit, name in enumerate(members) if subset >> bit & 1] for subset in subsets]
    return ["+".join(names) or NONE for names in sorted(chosen, key=len)]


Names = tuple[str, ...]
Factorial = Literal["factorial"] | dict[Literal["factorial"], Names]


class Grid(Section):
    """One model for every technique and mask."""

    techniques: Annotated[Names, BeforeValidator(_expand, json_schema_input_type=Names | Factorial)] = Field(
        (NONE, "crop", "cutout", "crop+cutout", "crop+mirror+cutout+policy"),
        min_length=1,
        description=f"none, or members of {', '.join(MEMBERS)} joined by + in this order; or "
        "{factorial: [members]} for all their combinations; or the word factorial for those of "
        f"{', '.join(FACTORS)}",
    )
    masks: int = Field(
        16, le=10_000, description="training sets, shared by all techniques: an even number, 4 or more"
    )
    replicates: int = Field(
        0,
        ge=0,
        le=10_000,
        description="further models on mask 0 with other seeds: targets only, never shadow models",
    )

    @model_validator(mode="after")
    def _possible(self) -> "Grid":
        if self.masks < 4 or self.masks % 2:
            raise ValueError(f"grid.masks: {self.masks} is not an even number of 4 or more")
        for technique in self.techniques:
            try:
                canonical(technique)
            except LeakgapError as error:
                raise ValueError(f"grid.techniques: {error}") from None
        twice = {technique for technique in self.techniques if self.techniques.count(technique) > 1}
        if twice:
            raise ValueError(f"grid.techniques: {min(twice)} is named twice")
        return self


class Train(Section):
    """How every model is trained."""

    # `Study.model` adds a section for each member of techniques that has options: train.crop, train.cutout, ...

    epochs: int = Field(30, ge=1, description="length of the learning-rate schedule")
    steps: tuple[int, ...] = Field(
        (2, 4, 8, 15, 22, 30),
        min_length=1,
        max_length=100,
        description="epochs whose models are attacked, rising; training ends with the last",
    )
    architecture: str = Field("resnet18", description="name in the registry of architectures")
    width: int = Field(
        8, ge=1, le=4096, description="channels of ResNet-18's first stage; 64 is the full model"
    )
    batch_size: int = Field(128, ge=2, description="largest batch; an epoch is split into nearly equal ones")
    lr: float = Field(0.1, gt=0, description="peak learning rate of SGD")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: bool = Field(False, description="Nesterov's form of the momentum")
    weight_decay: float = Field(5e-4, ge=0, description="on all weights")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="learning rate after the warm-up, set anew for every batch"
    )
    warmup: float = Field(0, ge=0, description="epochs of linear warm-up")
    precision: Literal["bf16", "fp32"] = Field(
        "bf16", description="autocast of the training step; evaluation is always fp32"
    )
    compile: bool = Field(False, description="torch.compile on a GPU; ignored on a CPU")
    deterministic: bool = Field(False, description="bit-reproducible kernels on a GPU; a CPU always is")
    threads: int = Field(
        1, ge=1, le=1024, description="CPU threads of a job; another number gives other bits"
    )
    save_seconds: int = Field(60, ge=0, description="least seconds between two saves of the resume file")
    seed: int = Field(0, ge=0, description="initial weights, order and augmentation of all models")

    def options(self, technique: str) -> dict[str, dict[str, Any]]:
        """Return the options of those members of a technique that have some."""
        return {
            member: dict(getattr(self, member))
            for member in canonical(technique)
            if member in type(self).model_fields
        }

    def check_images(self, technique: str, height: int, width: int) -> None:
        """Raise LeakgapError where an option of a technique does not suit images of this size.

        Done when the study file is read if it tells the size, else when a training job has read the pool.
        """
        try:
            Technique.parse(technique, options=self.options(technique)).check(height, width)
        except LeakgapError as error:
            raise LeakgapError(f"train.{error}") from None

    @model_validator(mode="after")
    def _possible(self) -> "Train":
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"train.architecture: {self.architecture} is none of {', '.join(ARCHITECTURES)}")
        if list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 1:
            raise ValueError(f"train.steps: {list(self.steps)} are not rising epochs from 1 on")
        if self.steps[-1] > self.epochs:
            raise ValueError(
                f"train.steps: {self.steps[-1]} is past the last epoch, train.epochs is {self.epochs}"
            )
        if self.nesterov and not self.momentum:
            raise ValueError("train.nesterov: true needs train.momentum above 0")
        if self.warmup >= self.epochs:
            raise ValueError(
                f"train.warmup: {self.warmup:g} epochs are not below train.epochs, {self.epochs}"
            )
        return self


class Query(Section):
    """What the attacker sees of every model."""

    views: int = Field(
        1, ge=1, le=18, description="queries an image: 1 clean, 2 with its mirror image, up to 18 with shifts"
    )
    logits: Literal["all", "first"] = Field(
        "first", description="views whose logits are stored: all, or the clean one and phi alone for the rest"
    )


class Attack(Section, Headline):
    """How the models are attacked."""

    attacks: tuple[str, ...] = Field(
        ("lira-pooled", "lira-online", "lira-online-fixed", "lira-offline", "base", "mast", "loss"),
        min_length=1,
        description="names in the registry of attacks; the first, said before the run, is the headline of figures "
        "and claims",
    )
    attackers: tuple[Literal["informed", "uninformed"], ...] = Field(
        ("informed", "uninformed"),
        min_length=1,
        description="informed: shadow models of the target's technique; uninformed: of none",
    )
    fpr: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.01, 0.001), min_length=1, description="false positive rates at which the TPR is read"
    )
    bootstrap: int = Field(1000, ge=100, le=100_000, description="replicates of each of the three bootstraps")
    keep: tuple[str, ...] | None = Field(
        None, description="attacks whose score of every image is stored; the headline attack by default"
    )
    seed: int = Field(0, ge=0, description="bootstrap and learned attacks")

    @model_validator(mode="after")
    def _possible(self) -> "Attack":
        for name in self.attacks:
            if name not in ATTACKS:
                raise ValueError(f"attack.attacks: {name!r} is unknown; allowed are {', '.join(ATTACKS)}")
        for key in ("attacks", "attackers", "fpr"):
            values = getattr(self, key)
            if len(set(values)) < len(values):
                raise ValueError(f"attack.{key}: a value is named twice")
        strangers = set(self.kept) - set(self.attacks)
        if strangers:
            raise ValueError(f"attack.keep: {min(strangers)!r} is not among attack.attacks")
        return self


class Study(Section, Span):
    """A study file. `Study.load` reads one; `part` cuts out what a single job depends on."""

    name: str = Field(
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="names the folder under results/: letters, digits, dot, dash and underscore",
    )
    data: Data = Field(default_factory=Data)
    grid: Grid = Field(default_factory=Grid)
    train: Train = Field(default_factory=Train)
    query: Query = Field(default_factory=Query)
    attack: Attack = Field(default_factory=Attack)

    @model_validator(mode="after")
    def _possible(self) -> "Study":
        if "uninformed" in self.attack.attackers and NONE not in self.grid.techniques:
            raise ValueError(
                "attack.attackers: uninformed needs shadow models of none, not in grid.techniques"
            )
        for name in self.attack.attacks:
            least = ATTACKS[name].min_masks
            if ATTACKS[name].needs_reserved and not self.data.reserved:
                raise ValueError(f"data.reserved: {name} needs reserved images, and there are none")
            if self.grid.masks < least:
                raise ValueError(f"grid.masks: {name} needs {least} or more, not {self.grid.masks}")
        side = self.data.side or (self.data.built_in and self.data.built_in[2])
        if side:
            for technique in self.grid.techniques:
                try:
                    self.train.check_images(technique, side, side)
                except LeakgapError as error:
                    raise ValueError(str(error)) from None
        return self

    @classmethod
    def model(cls) -> type["Study"]:
        """Return this class with the options of every registered member as sections of `train`."""
        return _with_options(tuple(MEMBERS.items()))

    @classmethod
    def load(cls, source: str | Path | dict[str, Any]) -> "Study":
        """Read a study from a YAML file, from JSON text that starts with a brace (a `part` too), or from a dict.

        Raises LeakgapError, one sentence that names the key and what is allowed.
        """
        values, where = _read(source)
        try:
            return (
                cls.model().given(values[PART])
                if set(values) == {PART}
                else cls.model().model_validate(values)
            )
        except ValidationError as error:
            raise LeakgapError(f"{where}{sentence(error, cls.model(), 'a study file')}") from None

    def part(self, *keys: str) -> str:
        """Return as JSON what one job is given: the name and the given `section` or `section.key` alone.

        A job so reruns when, and only when, one of its own values changed. `Study.load` makes a study of it in
        which reading any other value raises LeakgapError.
        """
        return json.dumps({PART: self.only(["name", *keys])})

    def training_part(self, technique: str) -> str:
        """Return what a training job of a technique is given: its own members' options, nothing of the others."""
        unused = {"save_seconds"} | set(MEMBERS) - set(canonical(technique))
        keys = [key for key in type(self.train).model_fields if key not in unused]
        return self.part("data.seed", "data.reserved", "query", *(f"train.{key}" for key in keys))


@cache
def _with_options(members: tuple[tuple[str, str], ...]) -> type[Study]:
    """Return the study file's model under a registry of members."""
    sections: dict[str, Any] = {}
    for member, _ in members:
        section = options(member)
        if section.model_fields:
            sections[member] = (section, Field(default_factory=section))
    train = create_model("Train", __base__=Train, __doc__=Train.__doc__, **sections)
    return create_model(
        "Study", __base__=Study, __doc__=Study.__doc__, train=(train, Field(default_factory=train))
    )


def _read(source: str | Path | dict[str, Any]) -> tuple[Any, str]:
    if isinstance(source, dict):
        return source, ""
    if str(source).lstrip().startswith("{"):
        where, values = "", parse(str(source))
    else:
        where, values = f"{source}: ", read(source)
    if not isinstance(values, dict):
        raise LeakgapError(f"{where}a study file is a mapping with the keys {', '.join(Study.model_fields)}")
    return values, where
