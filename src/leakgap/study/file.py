"""A study file, validated, and the grid that it spans.

Imported by the Snakefile at every start, so it must stay light: no numpy, no torch.
"""

import json
import os
import re
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, create_model, model_validator

from leakgap import LeakgapError
from leakgap.attacks import ATTACKS
from leakgap.augment import MEMBERS, canonical, options
from leakgap.data import DATASETS, LEAST
from leakgap.data.header import number_of_records
from leakgap.objects import Object, check_call, expanded, is_place
from leakgap.section import Section, sentence
from leakgap.study.grid import NONE, Headline, Span
from leakgap.study.plugins import Plugins
from leakgap.study.reading import parse, read
from leakgap.study.train import Train
from leakgap.study.variant import (
    TECHNIQUE,
    Variant,
    check_name,
    technique_of,
    trained,
)

__all__ = ["Attack", "Data", "Grid", "Query", "Report", "Study"]

WIDEST = 2**20  # pixels, of any image
FACTORS = ("crop", "mirror", "cutout", "policy")  # of the bare word, whatever else is registered
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')  # in JSON
PART = "part"  # the key that marks JSON as the part of a study that a job is given


def _stamp(path: Path) -> str:
    """Return size and time of a file, or count, sizes and times of a folder's files."""
    if path.is_file():
        return f"{path.stat().st_size} {path.stat().st_mtime_ns}"
    found = [entry.stat() for entry in os.scandir(path) if entry.is_file()]
    return f"{len(found)} {sum(each.st_size for each in found)} {sum(each.st_mtime_ns for each in found)}"


class Data(Section):
    """The records, images or others, that masks are drawn from."""

    dataset: str = Field(
        "digits",
        min_length=1,
        description=f"{', '.join(DATASETS)}; a path to an .npz (labels, and images or other arrays as long), a "
        "function that returns such arrays, `file.py:function` or `module:function`, or a folder of images in "
        "torchvision's ImageFolder layout",
    )
    root: str = Field("data", description="folder with the dataset's files, or where they are downloaded to")
    size: int | None = Field(
        None, ge=LEAST, description="number of records kept, drawn by class; all by default"
    )
    side: int | None = Field(None, ge=4, description="images are averaged down to side x side pixels")
    reserved: float = Field(
        0.1, ge=0, description="images in no mask, for attacks that need them: a share below 1, or a number"
    )
    seed: int = Field(0, ge=0, description="draws the kept images, the reserved ones and the masks")
    groups: str | None = Field(
        None,
        min_length=1,
        description="whose record each is, such as a patient's: the name of an array of the dataset, or for a "
        "folder of images a pattern such as `{person}_{visit}.png`; masks then hold whole groups (docs/persons.md)",
    )
    inclusion: Literal["half", "coin"] = Field(
        "half",
        description="masks in pairs of a random half and its complement; or `coin`, each record by a fair coin of "
        "its own and the complement, for bounds under adding or removing one record",
    )

    @property
    def built_in(self) -> tuple[int, int, int] | None:
        """(images, channels, side) after `size` and `side` of a built-in dataset, None for a user's own."""
        if self.dataset not in DATASETS:
            return None
        known = DATASETS[self.dataset]
        return self.size or known.images, known.channels, self.side or known.side

    @property
    def records(self) -> int | None:
        """How many records are kept, of a built-in dataset or an .npz; of others that takes a reading of all."""
        if self.built_in:
            return self.built_in[0]
        found = number_of_records(self.dataset)
        return found if found is None or self.size is None else min(found, self.size)

    def unreserved(self, images: int) -> int:
        """Return how many of so many images masks are drawn from."""
        return images - round(self.reserved * images if self.reserved < 1 else self.reserved)

    @model_validator(mode="after")
    def _possible(self) -> "Data":
        if self.reserved >= 1 and self.reserved != int(self.reserved):
            raise ValueError(
                f"data.reserved: {self.reserved:g} is neither a share below 1 nor a whole number of images"
            )
        if self.built_in is None:
            if is_place(self.dataset):
                self._check_function(Object(self.dataset))
            elif Path(self.dataset).suffix != ".npz" and "/" not in self.dataset:
                raise ValueError(
                    f"data.dataset: {self.dataset!r} is unknown; allowed are {', '.join(DATASETS)}, a path "
                    "that ends in .npz, a function file.py:function, or a path with a slash to a folder of images"
                )
            return self
        images, side = DATASETS[self.dataset].images, DATASETS[self.dataset].side
        if self.size and self.size > images:
            raise ValueError(f"data.size: {self.dataset} holds {images} images, not {self.size}")
        if self.side and self.side > side:
            raise ValueError(
                f"data.side: {self.dataset} is {side} pixels wide and can't be averaged to {self.side}"
            )
        if self.reserved > (self.size or images) - LEAST:
            raise ValueError(
                f"data.reserved: {self.reserved:g} leaves fewer than {LEAST} of {self.size or images} images"
            )
        return self

    @property
    def files(self) -> list[str]:
        """What of a user's own data is seen to change, inputs of the pool: the .npz, or the folders of the classes.

        None where the path has braces, which Snakemake takes for wildcards in every input.
        """
        path = expanded(self.dataset)
        if self.built_in or is_place(self.dataset):
            return []
        found = [path] if path.is_file() else [each for each in path.glob("*") if each.is_dir()]
        return [] if set("{}") & set("".join(map(str, found))) else sorted(map(str, found))

    @property
    def stamp(self) -> list[str]:
        """Sizes and times of the user's own files, a parameter of the pool: a file may be replaced by an older one.

        Of a folder of images, those of all its files together.
        """
        return [_stamp(Path(path)) for path in self.files]

    @property
    def code(self) -> str | None:
        """Digest of the file of the function that gives the data, a parameter of the pool; None without one."""
        function = self.built_in is None and is_place(self.dataset)
        return Object(self.dataset).digest if function else None

    @staticmethod
    def _check_function(function: Object) -> None:
        try:
            signature = function.signature
        except LeakgapError as error:
            raise ValueError(f"data.dataset: {error}") from None
        if signature and (wrong := check_call(signature, set())):
            raise ValueError(f"data.dataset: {function.text} is called with nothing, and needs {wrong[0]}")


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
    """One model for every technique, or variant of the training, and mask."""

    techniques: Annotated[Names, BeforeValidator(_expand, json_schema_input_type=Names | Factorial)] = Field(
        (NONE, "crop", "cutout", "crop+cutout", "crop+mirror+cutout+policy"),
        min_length=1,
        description=f"none, or members of {', '.join(MEMBERS)} joined by + in this order, or names of variants; or "
        "{factorial: [members]} for all combinations of members; or the word factorial for those of "
        f"{', '.join(FACTORS)}. Variants that are not listed come after those that are. With variants or a recipe, "
        "none alone by default",
    )
    variants: dict[str, dict[str, Any]] = Field(
        {},
        description="named variants of the training: {name: {train.<key>: value}}, and the key technique for one "
        "other than none",
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

    @model_validator(mode="before")
    @classmethod
    def _all_variants(cls, values: Any) -> Any:
        """Name the variants that `techniques` leaves out after those that it names."""
        variants = values.get("variants") if isinstance(values, dict) else None
        if not isinstance(variants, dict) or not variants:
            return values
        named = _expand(values.get("techniques", [NONE]))
        if not isinstance(named, list | tuple):
            return values
        return values | {"techniques": [*named, *(name for name in variants if name not in named)]}

    @model_validator(mode="after")
    def _possible(self) -> "Grid":
        if self.masks < 4 or self.masks % 2:
            raise ValueError(f"grid.masks: {self.masks} is not an even number of 4 or more")
        for name, overrides in self.variants.items():
            check_name(name)
            technique_of(name, overrides)
        for technique in self.techniques:
            if technique in self.variants:
                continue
            try:
                canonical(technique)
            except LeakgapError as error:
                others = f"; variants are {', '.join(self.variants)}" if self.variants else ""
                raise ValueError(f"grid.techniques: {error}{others}") from None
        twice = {technique for technique in self.techniques if self.techniques.count(technique) > 1}
        if twice:
            raise ValueError(f"grid.techniques: {min(twice)} is named twice")
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
        description="informed: shadow models of the target's technique or variant; uninformed: of the baseline",
    )
    baseline: str = Field(
        NONE,
        description="technique or variant whose models are the uninformed attacker's shadow models, and to which "
        "the others are compared; without none in the grid, the first of the grid by default",
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
        for key in ("attacks", "attackers", "fpr", "keep"):
            # FPRs as they name columns: six digits
            values = [f"{value:g}" if key == "fpr" else value for value in getattr(self, key) or ()]
            if len(set(values)) < len(values):
                raise ValueError(f"attack.{key}: a value is named twice")
        strangers = set(self.kept) - set(self.attacks)
        if strangers:
            raise ValueError(f"attack.keep: {min(strangers)!r} is not among attack.attacks")
        return self


class Report(Section):
    """What the report decides by."""

    margin: float = Field(
        0.01,
        ge=0,
        lt=1,
        description="what to choose is the least leak among variants whose accuracy is not told to be more than "
        "this below the best",
    )


class Study(Section, Span):
    """A study file. `Study.load` reads one; `part` cuts out what a single job depends on.

    >>> study = Study.load({"name": "mine", "grid": {"techniques": ["none", "crop"], "masks": 8}})
    >>> study.grid.masks, study.paths.logits("crop", "m007")
    (8, 'results/mine/logits/crop/m007.parquet')
    """

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
    report: Report = Field(default_factory=Report)
    plugins: Plugins = Field(default_factory=Plugins)

    @model_validator(mode="before")
    @classmethod
    def _without_augmentation(cls, values: Any) -> Any:
        """Leave the default techniques to the built-in training: a recipe's grid has none alone by default."""
        grid, train = (
            (values.get(key, {}) for key in ("grid", "train")) if isinstance(values, dict) else ({}, {})
        )
        if not isinstance(grid, dict) or not isinstance(train, dict) or not train.get("recipe"):
            return values
        return values | {"grid": {"techniques": [NONE]} | grid}

    @model_validator(mode="after")
    def _with_baseline(self) -> "Study":
        names, attack = self.grid.techniques, self.attack
        if "baseline" in attack.model_fields_set or NONE in names:
            return self
        return self.model_copy(update={"attack": attack.model_copy(update={"baseline": names[0]})})

    @model_validator(mode="after")
    def _possible(self) -> "Study":
        names = self.grid.techniques
        if self.attack.baseline not in names:
            raise ValueError(f"attack.baseline: {self.attack.baseline} is not among {', '.join(names)}")
        for name in self.attack.attacks:
            if name in self.plugins.attacks:
                continue  # its job imports it, and learns what it needs
            if name not in ATTACKS:
                known = ", ".join([*ATTACKS, *self.plugins.attacks])
                raise ValueError(f"attack.attacks: {name!r} is unknown; allowed are {known}")
            least = ATTACKS[name].min_masks
            if ATTACKS[name].of_files_alone:
                raise ValueError(f"attack.attacks: {name} is for audits of files, which hold what it needs")
            if ATTACKS[name].needs_views and self.query.views < 2:
                raise ValueError(f"query.views: {name} needs several views, 2 or more")
            if ATTACKS[name].needs_reserved and not self.data.reserved:
                raise ValueError(f"data.reserved: {name} needs reserved images, and there are none")
            if self.grid.masks < least:
                raise ValueError(f"grid.masks: {name} needs {least} or more, not {self.grid.masks}")
        for name in names:
            try:
                self._check_variant(self.variant(name))
            except LeakgapError as error:
                raise ValueError(str(error)) from None
        return self

    def _check_variant(self, variant: Variant) -> None:
        own = variant.name in self.grid.variants
        place = f"grid.variants.{variant.name}." if own else ""
        if len(variant.train.steps) != len(self.train.steps):
            raise LeakgapError(
                f"{place}train.steps: {len(variant.train.steps)} steps, where train.steps has "
                f"{len(self.train.steps)}: attacks compare the models of all variants step by step"
            )
        if variant.train.recipe is not None and variant.technique != NONE:
            key = f"{place}technique" if own else "grid.techniques"
            raise LeakgapError(
                f"{key}: {variant.technique} augments the images of the built-in training, and "
                f"{variant.train.recipe} is a training of its own; write none, and variants of its options"
            )
        side = self.data.side or (self.data.built_in and self.data.built_in[2])
        if side:
            self._check_images(variant, side, side)

    def check_size(self, height: int, width: int) -> None:
        """Raise LeakgapError where an option of any variant does not suit images of this size, before any job runs.

        Of the user's own: the size of others is known when the study file is read.
        """
        if self.data.side is None:
            for name in self.grid.techniques:
                self._check_images(self.variant(name), height, width)

    @property
    def least_side(self) -> int:
        """Side in pixels of the smallest square images that the built-in training suits; 0 if it trains nothing.

        Where the study file tells the size it has been checked, and this is 1. What a user's own techniques ask of
        images is left to them.
        """
        variants = [self.variant(name) for name in self.grid.techniques]
        built_in = [variant for variant in variants if variant.train.recipe is None]
        if not built_in or self.data.side or self.data.built_in:
            return int(bool(built_in))
        mine = set(self.plugins.techniques)
        known = [variant for variant in built_in if not mine & set(canonical(variant.technique))]

        def suits(side: int) -> bool:
            try:
                for variant in known:
                    self._check_images(variant, side, side)
            except LeakgapError:
                return False
            return True

        return 1 + bisect_left(range(1, WIDEST), True, key=suits)

    def _check_images(self, variant: Variant, height: int, width: int) -> None:
        if variant.train.recipe is not None:
            return
        try:
            variant.train.check_images(variant.technique, height, width, self.query.views)
        except LeakgapError as error:
            place = f"grid.variants.{variant.name}." if variant.name in self.grid.variants else ""
            told = str(error)
            raise LeakgapError(place + told if told.startswith("train.") else told) from None

    def variant(self, name: str) -> Variant:
        """Return what a name of the grid stands for; in a part of a study, of the one that it is about.

        LeakgapError for a name that is neither a variant nor a technique, and for what the variant changes wrongly.
        """
        overrides = self.grid.variants.get(name)
        if overrides is None:
            canonical(name)
            return Variant(name, name, self.train)
        return Variant(name, technique_of(name, overrides), trained(name, overrides, self.train))

    @classmethod
    def model(cls) -> type["Study"]:
        """Return this class with the options of every registered member as sections of `train`."""
        return _with_options(tuple((member, options(member)) for member in MEMBERS))

    @classmethod
    def load(cls, source: str | Path | dict[str, Any]) -> "Study":
        """Read a study from a YAML file, from JSON text that starts with a brace (a `part` too), or from a dict.

        Its plugins take the place of those of the study that was read before. Raises LeakgapError, one sentence
        that names the key and what is allowed.
        """
        values, where = _read(source)
        is_part = set(values) == {PART}
        held = values[PART] if is_part else values
        try:
            if is_part and not isinstance(held, dict):
                raise LeakgapError(f"{PART}: holds no sections of a study")
            plugins = _Plugged.model_validate({key: held[key] for key in held if key == "plugins"}).plugins
            plugins.register()
            if is_part:
                return cls.model().given(held | {"plugins": plugins.model_dump()})
            return cls.model().model_validate(values)
        except ValidationError as error:
            raise LeakgapError(f"{where}{sentence(error, cls.model(), 'a study file')}") from None
        except LeakgapError as error:
            raise LeakgapError(f"{where}{error}") from None

    def part(self, *keys: str) -> str:
        """Return as JSON what one job is given: the name and the given `section` or `section.key` alone.

        A job so reruns when, and only when, one of its own values changed. `Study.load` makes a study of it in
        which reading any other value raises LeakgapError. Where the names of techniques or attacks are given,
        so are the plugins among them.
        """
        names: dict[str, Any] = {}
        if {"grid", "grid.techniques", "grid.variants"} & set(keys):
            techniques = [self.variant(name).technique for name in self.grid.techniques]
            names["techniques"] = {member for technique in techniques for member in canonical(technique)}
        if "train" in keys:
            names["techniques"] = self.plugins.techniques  # whose options it has
        if {"train", "train.architecture"} & set(keys):
            names["architectures"] = {self.variant(name).train.architecture for name in self.grid.techniques}
        if {"attack", "attack.attacks"} & set(keys):
            names["attacks"] = self.attack.attacks
        return _part(self.only(["name", *keys]) | _key(self.plugins.used(**names)))

    def training_part(self, name: str) -> str:
        """Return what the training jobs of a technique or variant are given: all of its own values, no others'.

        Of the variants it has this one with its technique, since `train` holds what it changes.
        """
        variant = self.variant(name)
        keys = [key for key in variant.train.keys_of(variant.technique) if key != "save_seconds"]
        part = self.only(["name", "data.seed", "data.reserved", "data.inclusion", "query"])
        own = {name: {TECHNIQUE: variant.technique}} if name in self.grid.variants else {}
        part |= {"grid": {"variants": own}, "train": variant.train.only(keys)}
        return _part(part | _key(self.training_plugins(variant)))

    def training_code(self, name: str) -> str | None:
        """Digest the user's own files that train a technique or variant; None without any."""
        variant = self.variant(name)
        if variant.train.recipe is not None:
            return Object(variant.train.recipe).digest
        return " ".join(self.training_plugins(variant).digests) or None

    @property
    def attack_code(self) -> str | None:
        """Digests of the files of those plugins that attack; None without any."""
        return " ".join(self.plugins.used(attacks=self.attack.attacks).digests) or None

    def training_plugins(self, variant: Variant) -> Plugins:
        """Return the plugins that a variant's models are trained with."""
        if variant.train.recipe is not None:
            return self.plugins.used()
        return self.plugins.used(
            techniques=canonical(variant.technique), architectures=[variant.train.architecture]
        )

    @property
    def results_part(self) -> str:
        """Return what a job is given that reads results: which rows there are to be, and of which settings."""
        attack = [f"attack.{key}" for key in ("attacks", "attackers", "baseline", "fpr")]
        grid = [f"grid.{key}" for key in ("techniques", "masks", "replicates")]
        return self._settings_part(self.grid.techniques, *grid, *attack)

    def attack_part(self, technique: str, shadow: str) -> str:
        """Return what an attack job is given: how to attack, and what `settings` of its two names need."""
        attack = [f"attack.{key}" for key in ("attacks", "keep", "fpr", "bootstrap", "seed")]
        names = tuple(dict.fromkeys((technique, shadow)))
        return self._settings_part(names, "grid.masks", "grid.replicates", *attack)

    def _settings_part(self, names: Names, *keys: str) -> str:
        """Return the part with these keys, and with all that `settings` of these names of the grid needs."""
        variants = {name: self.grid.variants[name] for name in names if name in self.grid.variants}
        grid = self.grid.model_copy(update={"techniques": names, "variants": variants})
        used = {member for name in names for member in canonical(self.variant(name).technique)}
        unneeded = {"save_seconds"} | set(MEMBERS) - used
        train = [f"train.{key}" for key in type(self.train).model_fields if key not in unneeded]
        data = [f"data.{key}" for key in type(self.data).model_fields if key != "root"]
        all_keys = ("grid.variants", "query.views", *data, *train, *keys)
        return self.model_copy(update={"grid": grid}).part(*all_keys)

    @property
    def is_part(self) -> bool:
        """Whether it is what one job is given, without what models are trained by."""
        return "train" not in self.__dict__

    def settings(self, name: str) -> dict[str, Any]:
        """Return what the models of a technique or variant are to have in common, by key."""
        variant, data = self.variant(name), self.data.model_dump(mode="json", exclude={"root"})
        found = variant.train.settings_of(variant.technique, self.query.views)
        found["the user's own files"] = self.training_code(name)
        return {f"data.{key}": value for key, value in data.items()} | found


def _part(values: dict[str, Any]) -> str:
    r"""Return JSON with no braces in its texts: Snakemake takes those in a parameter for wildcards.

    >>> _part({"name": "a{b}"})
    '{"part": {"name": "a\\u007bb\\u007d"}}'
    """
    whole = json.dumps({PART: values})
    return TEXT.sub(lambda text: text[0].replace("{", "\\u007b").replace("}", "\\u007d"), whole)


@cache
def _with_options(members: tuple[tuple[str, type[Section]], ...]) -> type[Study]:
    """Return the study file's model under a registry of members with these options."""
    sections: dict[str, Any] = {}
    for member, section in members:
        if section.model_fields:
            sections[member] = (section, Field(default_factory=section))
    train = create_model("Train", __base__=Train, __doc__=Train.__doc__, **sections)
    return create_model(
        "Study", __base__=Study, __doc__=Study.__doc__, train=(train, Field(default_factory=train))
    )


class _Plugged(Section):
    """What is read of a study file before the rest, for which the names of its plugins must be known."""

    plugins: Plugins = Field(default_factory=Plugins)


def _key(plugins: Plugins) -> dict[str, Any]:
    """Return what a part has of plugins: nothing, without any."""
    return {"plugins": plugins.places} if plugins.places else {}


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
