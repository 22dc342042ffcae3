"""What is tried before a training, on a few images: memory, and techniques and architectures of the user's own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leakgap import LeakgapError
from leakgap.augment import MEMBERS, Technique, canonical
from leakgap.objects import Object, said
from leakgap.training import ARCHITECTURES

FEW = 8  # images
CLOSE = 1e-3  # of the largest logit: far above rounding, far below what neighbours or noise change


def of_the_user(places: list[str]) -> list[Object]:
    """Return those objects that are no part of leakgap."""
    return [Object(place) for place in places if not place.startswith("leakgap.")]


@contextmanager
def blaming(architecture: str, technique: str) -> Iterator[None]:
    """Make one sentence of what the user's own architecture and technique raise, and of memory that runs out."""
    own = of_the_user([ARCHITECTURES[architecture], *(MEMBERS[name] for name in canonical(technique))])
    for each in own:
        _ = each.source  # found now: code may change the working directory
    try:
        yield
    except LeakgapError:
        raise
    except Exception as error:  # anything: it may be the user's code
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in said(error):
            raise LeakgapError(
                f"memory runs out ({said(error).partition('. ')[0]}): lower train.batch_size or train.width"
            ) from None
        if not own:
            raise
        raise next((each for each in own if each.has_part_in(error)), own[0]).blamed(error) from None


def check_pure(technique: Technique, images: np.ndarray) -> None:
    """Raise LeakgapError for a technique that depends on more than images and draws, as torchvision's do.

    Tried on a few images, twice, in the other order, and one by one: an image must not depend on its neighbours,
    nor on a generator that nobody else knows of.
    """
    some = torch.from_numpy(images[:FEW])
    draws = technique.draw(len(some), torch.Generator().manual_seed(0))
    first = technique.apply(some.clone(), draws)
    again = technique.apply(some.clone(), draws)
    back = technique.apply(some.flip(0).clone(), draws.flip(0)).flip(0)
    alone = torch.cat([technique.apply(some[k : k + 1].clone(), draws[k : k + 1]) for k in range(len(some))])
    for other, how in ((again, "called twice"), (back, "in another order"), (alone, "one by one")):
        if not torch.equal(first, other):
            raise LeakgapError(
                f"technique {technique.name}: {how} on the same images and draws, it gives other images; it must "
                "draw nothing itself, and use `draws` alone"
            )


def check_network(
    model: nn.Module, other: nn.Module, place: Object, x: Tensor, classes: int, bf16: bool
) -> None:
    """Raise LeakgapError for an architecture that can't be trained, or whose answers say nothing of an image.

    model, other: two of its models, made under one seed; the other's gradients and statistics change.
    x: a few images as the training has them.
    """
    one, two = model.state_dict(), other.state_dict()
    if model is other or one.keys() != two.keys():
        raise LeakgapError(f"{place.text} does not make a new model whenever it is called")
    named = dict(other.named_parameters())
    for name in named:
        if not torch.equal(one[name], two[name]):
            raise LeakgapError(
                f"{place.text}: {name} differs under one seed; it must be drawn by torch alone"
            )
    if not any(weights.requires_grad for weights in named.values()):
        raise LeakgapError(f"{place.text} has no weights that can be trained")

    def answered(images: Tensor) -> Tensor:
        logits = other(images)
        if not isinstance(logits, Tensor):
            raise LeakgapError(
                f"{place.text} answers with {type(logits).__name__}, not with a tensor of logits"
            )
        if logits.shape != (len(images), classes) or not logits.is_floating_point():
            raise LeakgapError(
                f"{place.text} answers {len(images)} images with {str(logits.dtype).removeprefix('torch.')} "
                f"{list(logits.shape)}, not with a logit for each class, [{len(images)}, {classes}]"
            )
        return logits.float()

    try:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            logits = answered(x)
        F.cross_entropy(logits, torch.zeros(len(x), dtype=torch.int64, device=x.device)).backward()
        for name, weights in named.items():
            if weights.requires_grad and weights.grad is None:
                raise LeakgapError(
                    f"{place.text}: {name} has no part in the logits, and gets no gradient; leave it out, or "
                    "freeze it by requires_grad_(False)"
                )
        other.eval()
        with torch.inference_mode():
            first, again = answered(x), answered(x)
            alone = torch.cat([answered(x[k : k + 1]) for k in range(len(x))])
    except LeakgapError:
        raise
    except Exception as error:  # anything: it is the user's code
        raise place.blamed(error) from None
    for second, told in (
        (
            again,
            "answers the same images otherwise when it is asked again; draw in training alone (self.training)",
        ),
        (
            alone,
            "answers an image otherwise without others beside it: its logits say nothing of one image",
        ),
    ):
        if (second - first).abs().max() > CLOSE * first.abs().max():
            raise LeakgapError(f"{place.text}: in eval mode, it {told}")


def check_memory(weights: Iterator[Tensor], width: int, device: torch.device) -> None:
    """Raise LeakgapError for a model that can't fit: systems promise memory that they lack, and kill later."""
    needed = 3 * sum(weight.numel() * weight.element_size() for weight in weights)
    if device.type == "cuda":
        there = torch.cuda.get_device_properties(device).total_memory
    else:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise LeakgapError(
            f"train.width: weights, gradients and momentum of a model of width {width} take "
            f"{needed / 2**30:.0f} GiB, and there are {there / 2**30:.0f}"
        )
