"""A user's own images in a folder of torchvision's ImageFolder layout."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.data.pool import average_down
from leakgap.files import naming


def read(path: Path) -> tuple[list[Path], np.ndarray]:
    """Image files and labels int64 [S] of a folder with one folder for each class, both in sorted order."""
    from torchvision.datasets import ImageFolder

    _check_links(path)
    try:
        folder = ImageFolder(path)
    except OSError as error:
        raise LeakgapError(f"{path}: does not hold one folder of images for each class ({error})") from None
    names = set(folder.classes)
    if len(names) < 2:
        raise LeakgapError(f"{path}: holds the folder of one class only, an audit needs at least two")
    if names <= {"train", "test", "val", "valid", "validation"}:
        raise LeakgapError(f"{path}: its folders {' and '.join(sorted(names))} are splits, not classes")
    return [Path(name) for name, _ in folder.samples], np.array(folder.targets, np.int64)


def _check_links(path: Path) -> None:
    """Raise LeakgapError where links lead into a folder twice: its images would count twice, or endlessly."""
    seen: dict[str, str] = {}
    for folder, _, _ in os.walk(path, followlinks=True):
        place = os.path.realpath(folder)
        if place in seen:
            raise LeakgapError(
                f"{folder}: is the same folder as {seen[place]}, so its images would count twice"
            )
        seen[place] = folder


def decode(files: Sequence[Path], side: int | None) -> np.ndarray:
    """Images uint8 [S,C,H,W] of files: one channel if every image is grayscale, three otherwise.

    side: see `average_down`; without it all images must be of one size, else LeakgapError names one that isn't.
    """
    images = [_decode_one(path, side) for path in files]
    for path, image in zip(files, images, strict=True):
        if image.shape[1:] != images[0].shape[1:]:
            sizes = ["x".join(map(str, i.shape[1:])) for i in (image, images[0])]
            raise LeakgapError(f"{path}: has {sizes[0]} pixels, {files[0]} {sizes[1]}: set data.side")
    channels = max(len(image) for image in images)
    return np.stack([np.broadcast_to(image, (channels, *image.shape[1:])) for image in images])


def _decode_one(path: Path, side: int | None) -> np.ndarray:
    """uint8 [1,H,W] of a grayscale image, [3,H,W] of any other; without transparency."""
    from PIL import Image

    with naming(path):
        if not path.is_file():
            raise LeakgapError("is no file")
        try:
            with Image.open(path) as image:
                mode, pixels = image.mode, image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
        except Exception as error:  # image decoders raise nearly anything on damaged files
            raise LeakgapError(f"can't be read as an image ({error})") from None
        if mode[0] in "IF":
            raise LeakgapError(f"has pixels of more than 8 bits (mode {mode})")
        planes = np.atleast_3d(np.asarray(pixels)).transpose(2, 0, 1)
        return planes if side is None else average_down(planes[None], side)[0]
