"""AutoAugment's policy for CIFAR-10 (Cubuk et al., arXiv:1805.09501), as torchvision defines it.

Results equal those of `torchvision.transforms.AutoAugment` on one uint8 tensor at a time, to the bit, without
its loop over images and without importing torchvision (seconds): all images of a batch that drew the same
operation go through it together, whatever their magnitudes.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from leakgap import LeakgapError
from leakgap.augment import tones
from leakgap.augment.warps import spaced, warp

SUB_POLICIES = (  # two steps each: operation, probability, magnitude 0..9
    (("Invert", 0.1, 0), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, 0), ("Equalize", 0.9, 0)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, 0), ("Equalize", 0.5, 0)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, 0), ("AutoContrast", 0.4, 0)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, 0)),
    (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
    (("Equalize", 0.2, 0), ("Equalize", 0.6, 0)),
    (("Color", 0.9, 9), ("Equalize", 0.6, 0)),
    (("AutoContrast", 0.8, 0), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 0)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, 0), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, 0), ("Invert", 0.1, 0)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 0)),
)
WARPS = tuple(
    (operation, magnitude, sign)
    for operation, magnitude in sorted(
        {(operation, magnitude) for steps in SUB_POLICIES for operation, _, magnitude in steps}
    )
    if operation in ("ShearY", "TranslateX", "TranslateY", "Rotate")
    for sign in (1, -1)
)
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Brightness": tones.brightness,
    "Color": tones.color,
    "Contrast": tones.contrast,
    "Sharpness": tones.sharpness,
    "Posterize": tones.posterize,
    "Solarize": tones.solarize,
    "Invert": tones.invert,
    "AutoContrast": tones.autocontrast,
    "Equalize": tones.equalize,
    "Warp": partial(warp, warps=WARPS),
}
NUMBERS = {name: number for number, name in enumerate(OPERATIONS)}


def _level(operation: str, magnitude: int, sign: int) -> float:
    """What an operation is told: a blending factor, a bit mask, a threshold or the number of a warp."""
    if (operation, magnitude, sign) in WARPS:
        return WARPS.index((operation, magnitude, sign))
    if operation == "Posterize":
        return 256 - 2 ** round(magnitude * 4 / 9)
    if operation == "Solarize":
        return math.ceil(255 - 255 * magnitude / 9)
    return 1 + sign * spaced(0.9, magnitude)


# By sub-policy and step; levels also by the bit that says a negative sign.
OPERATION = np.array(
    [[NUMBERS.get(operation, NUMBERS["Warp"]) for operation, _, _ in steps] for steps in SUB_POLICIES]
)
PROBABILITY = np.array([[p for _, p, _ in steps] for steps in SUB_POLICIES], np.float32)
LEVEL = np.array(
    [
        [[_level(operation, magnitude, sign) for sign in (1, -1)] for operation, _, magnitude in steps]
        for steps in SUB_POLICIES
    ]
)


def apply(images: Tensor, draws: np.ndarray) -> Tensor:
    """Augment uint8 [B,C,H,W] by draws [B,5]: sub-policy, two probabilities, two signs (negative below 1/2)."""
    if images.shape[1] not in (1, 3):
        raise LeakgapError(f"policy takes images of 1 or 3 channels, not {images.shape[1]}")
    choice = (draws[:, 0].astype(np.float64) * len(SUB_POLICIES)).astype(int)
    negative = (draws[:, 3:] < 0.5).astype(int)
    drawn = draws[:, 1:3] <= PROBABILITY[choice]
    images = images.clone(memory_format=torch.contiguous_format)
    for step in (0, 1):
        operation = np.where(drawn[:, step], OPERATION[choice, step], len(OPERATIONS))
        _step(images, operation, LEVEL[choice, step, negative[:, step]])
    return images


def _step(images: Tensor, operation: np.ndarray, level: np.ndarray) -> None:
    """Replace each image by its operation at its level; a number past the last operation leaves it alone."""
    order = np.argsort(operation, kind="stable")
    counts = np.bincount(operation, minlength=len(OPERATIONS) + 1).tolist()
    index = torch.from_numpy(order).to(images.device, non_blocking=True)
    levels = torch.from_numpy(level[order]).to(images.device, non_blocking=True)[:, None, None, None]
    groups = zip(OPERATIONS.values(), index.split(counts), levels.split(counts), strict=False)
    for change, rows, values in groups:
        if len(rows):
            images.index_copy_(0, rows, change(images.index_select(0, rows), values))
