"""Augmentation alone, in images per second of one core, against torchvision image by image.

    python -m benchmarks.augmentation

Ours goes over a whole batch with its own draws for every image. torchvision goes image by image, as in the
`__getitem__` of a data set, on PIL images (ending in PILToTensor) and on uint8 tensors, in its older and its
newer (v2) transforms. Cutout, which torchvision lacks, is DeVries and Taylor's slice assignment. Loading,
collating and normalizing are not in it. Rounds alternate between all; the best round of each counts.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torchvision.transforms as v1
import torchvision.transforms.functional as F
import torchvision.transforms.v2 as v2
from torch import Tensor

from leakgap.augment import Technique

IMAGES = 4096
ONE_BY_ONE = 512
ROUNDS = 9
TECHNIQUES = {"crop+mirror+cutout": 20, "crop+mirror+cutout+policy": 8}
"""Techniques and how many times faster than torchvision they should be."""


@dataclass
class Run:
    """A contestant: how many images it augments, by what, and in which pieces."""

    images: int
    augment: Callable[[Any], object]
    items: Sequence[Any]


def photos(n: int) -> Tensor:
    """Smooth colour images with noise, uint8 [n,3,32,32]."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 4, 4, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(coarse, size=32, mode="bicubic")
    return (smooth + 8 * torch.randn(n, 3, 32, 32, generator=generator)).clamp(0, 255).to(torch.uint8)


def cutout(image: Tensor, size: int = 16) -> Tensor:
    """Erase a square of one image in place."""
    height, width = image.shape[1:]
    y, x = random.randrange(height), random.randrange(width)
    top, left = max(0, y - size // 2), max(0, x - size // 2)
    image[:, top : y + size // 2, left : x + size // 2] = 0
    return image


def one_by_one(technique: str, transforms: ModuleType, pil: bool) -> Callable[[Any], Tensor]:
    """torchvision's pipeline for one image."""
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    if "policy" in technique:
        steps.append(transforms.AutoAugment(v1.AutoAugmentPolicy.CIFAR10))
    return v1.Compose([*steps, transforms.PILToTensor() if pil else torch.clone, cutout])


def contestants(technique: str, images: Tensor) -> dict[str, Run]:
    """Name -> what augments all of some batches or images."""
    augment = partial(Technique.parse(technique), generator=torch.Generator().manual_seed(0))
    runs = {f"leakgap, batches of {size}": Run(IMAGES, augment, images.split(size)) for size in (4096, 128)}
    singles = {"PIL": [F.to_pil_image(x) for x in images[:ONE_BY_ONE]], "tensor": list(images[:ONE_BY_ONE])}
    for version, transforms in {"": v1, " v2": v2}.items():
        for kind, items in singles.items():
            pipeline = one_by_one(technique, transforms, kind == "PIL")
            runs[f"torchvision{version}, {kind}"] = Run(ONE_BY_ONE, pipeline, items)
    return runs


def rates(runs: dict[str, Run]) -> dict[str, float]:
    """Images per CPU-second of the best round of each contestant."""
    best = dict.fromkeys(runs, math.inf)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.process_time()
            for item in run.items:
                run.augment(item)
            best[name] = min(best[name], (time.process_time() - start) / run.images)
    return {name: 1 / seconds for name, seconds in best.items()}


def main() -> None:
    """Print one table per technique."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    random.seed(0)
    images = photos(IMAGES)
    print(f"Images 3x32x32 per CPU-second, best of {ROUNDS} rounds, one thread, torch {torch.__version__}.")
    for technique, goal in TECHNIQUES.items():
        found = rates(contestants(technique, images))
        ours = {name: rate for name, rate in found.items() if name.startswith("leakgap")}
        print(f"\n| {technique} | images/s | {' | '.join(f'{name} / this' for name in ours)} |")
        print("|---" + "|---:" * (1 + len(ours)) + "|")
        for name, rate in found.items():
            print(f"| {name} | {rate:,.0f} | {' | '.join(f'{our / rate:.1f}' for our in ours.values())} |")
        print(f"\nGoal: {goal} times torchvision image by image.")


if __name__ == "__main__":
    main()
