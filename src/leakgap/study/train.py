"""The section `train` of a study file: the built-in training, or a recipe of the user's own."""

import json
from typing import Any, Literal

from pydantic import Field, model_validator

from leakgap import LeakgapError
from leakgap.augment import MEMBERS, Technique, canonical
from leakgap.objects import Object, check_call, keywords
from leakgap.section import Section
from leakgap.training import ARCHITECTURES, RECIPE, RESUME, shift

COMMON = ("steps", "seed", "threads", "save_seconds")  # keys of any training; the others are of one kind
OF_RECIPE = ("recipe", "options")
LAYERS = {"dropout": 0.0, "norm": "batch"}  # what an architecture may take besides, and what it is without


class Train(Section):
    """How every model is trained: by a `recipe` with `options`, `steps`, `seed` and `threads`, or without one."""

    # `Study.model` adds a section for each member of techniques that has options: train.crop, train.cutout, ...

    epochs: int = Field(30, ge=1, description="length of the learning-rate schedule")
    steps: tuple[int, ...] = Field(
        (2, 4, 8, 15, 22, 30),
        min_length=1,
        max_length=100,
        description="epochs whose models are attacked, rising; training ends with the last. A recipe gives the "
        "numbers their meaning",
    )
    architecture: str = Field("resnet18", description="name in the registry of architectures")
    width: int = Field(
        8, ge=1, le=4096, description="channels of ResNet-18's first stage; 64 is the full model"
    )
    norm: Literal["batch", "group"] = Field(
        "batch", description="batch normalization, or group normalization of 16 channels each"
    )
    dropout: float = Field(0, ge=0, lt=1, description="share of features dropped before the last layer")
    label_smoothing: float = Field(
        0, ge=0, lt=1, description="share of the label's probability that is spread over all classes"
    )
    batch_size: int = Field(128, ge=2, description="largest batch; an epoch is split into nearly equal ones")
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="SGD with momentum, or AdamW with PyTorch's betas"
    )
    lr: float = Field(0.1, gt=0, description="peak learning rate; AdamW wants a smaller one, such as 0.001")
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
    recipe: str | None = Field(
        None,
        description="your own training, in place of the built-in one: `file.py:function` or `module:function`, a "
        "generator of logits (docs/extending.md)",
    )
    options: dict[str, Any] = Field({}, description="keywords that the recipe is called with")

    def options_of(self, technique: str) -> dict[str, dict[str, Any]]:
        """Return the options of those members of a technique that have some."""
        return {
            member: dict(getattr(self, member))
            for member in canonical(technique)
            if member in type(self).model_fields
        }

    def keys_of(self, technique: str) -> list[str]:
        """Return the keys that models of a technique depend on, and save_seconds."""
        if self.recipe is not None:
            return [*OF_RECIPE, *COMMON]
        unused = {"options"} | set(MEMBERS) - set(canonical(technique))
        return [key for key in type(self).model_fields if key not in unused]

    def settings_of(self, technique: str, views: int) -> dict[str, Any]:
        """Return what all models of a variant share, by the names of the study file, as their logits tell."""
        keys = set(self.keys_of(technique)) - {"save_seconds"}
        found = {f"train.{key}": value for key, value in self.model_dump(mode="json", include=keys).items()}
        if self.recipe is None:
            return found | {"query.views": views, "technique": technique}
        return found | {"train.recipe's file": Object(self.recipe).digest, "query.views": views}

    @property
    def layers(self) -> dict[str, Any]:
        """What an architecture is called with besides classes, channels and width: what is not its default."""
        return {key: getattr(self, key) for key, usual in LAYERS.items() if getattr(self, key) != usual}

    def check_images(self, technique: str, height: int, width: int, views: int) -> None:
        """Raise LeakgapError where an option of a technique, or a view, does not suit images of this size.

        Done when the study file is read if it tells the size, else when a training job has read the pool.
        """
        try:
            Technique.parse(technique, options=self.options_of(technique)).check(height, width)
        except LeakgapError as error:
            raise LeakgapError(f"train.{error}") from None
        if views > 2 and shift(height) >= min(height, width):
            raise LeakgapError(
                f"query.views: images of {height}x{width} pixels can't be shifted, 2 views the most"
            )

    @model_validator(mode="after")
    def _possible(self) -> "Train":
        least = 0 if self.recipe else 1
        if list(self.steps) != sorted(set(self.steps)) or self.steps[0] < least or self.steps[-1] >= 2**31:
            raise ValueError(
                f"train.steps: {list(self.steps)} are not rising {'whole numbers' if self.recipe else 'epochs'} "
                f"from {least} on, below 2**31"
            )
        if self.recipe is None:
            self._check_engine()
        else:
            self._check_recipe(Object(self.recipe))
        return self

    def _check_engine(self) -> None:
        if self.options:
            raise ValueError("train.options has no effect without train.recipe, whose keywords they are")
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"train.architecture: {self.architecture} is none of {', '.join(ARCHITECTURES)}")
        signature = Object(ARCHITECTURES[self.architecture]).signature if self.layers else None
        if signature and (wrong := check_call(signature, {"classes", "channels", "width", *self.layers})):
            raise ValueError(
                f"train.{wrong[0]}: the architecture {self.architecture} does not take it, only "
                f"{', '.join(keywords(signature))}"
            )
        if self.steps[-1] < self.epochs and "steps" not in self.model_fields_set:
            raise ValueError(
                f"train.steps: not given, and the usual ones, and with them the training, end at epoch "
                f"{self.steps[-1]}: say at which of the {self.epochs} epochs models are attacked"
            )
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

    def _check_recipe(self, recipe: Object) -> None:
        """Check what a recipe's file says of its parameters; nothing is imported."""
        for key in type(self).model_fields:  # in the order of the study file
            if key in self.model_fields_set - {*COMMON, *OF_RECIPE}:
                raise ValueError(
                    f"train.{key} has no effect with train.recipe; with a recipe, train has "
                    f"{', '.join((*OF_RECIPE, *COMMON))}"
                )
        try:
            json.dumps(self.options, allow_nan=False)
        except ValueError:
            raise ValueError("train.options: holds a number that is not finite") from None
        for name in self.options:
            if name in (*RECIPE, RESUME):
                raise ValueError(f"train.options.{name}: every recipe is given its {name} by leakgap")
        try:
            signature = recipe.signature
        except LeakgapError as error:
            raise ValueError(f"train.recipe: {error}") from None
        if signature is None:
            return
        own = {RESUME} & set(keywords(signature))
        wrong = check_call(signature, {*RECIPE, *self.options} | own)
        if wrong is None:
            return
        name, how = wrong
        if how == "missing":
            raise ValueError(f"train.options.{name}: {self.recipe} needs it, and it is not given")
        takes = ", ".join(keywords(signature)) or "none"
        key = "train.recipe" if name in RECIPE else f"train.options.{name}"
        raise ValueError(f"{key}: {self.recipe} takes no parameter {name}, only {takes}")
