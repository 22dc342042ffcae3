"""A user's own images in a folder of torchvision's ImageFolder layout."""

import os
from collections.abc import Sequence
from mimetypes import guess_type
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from leakgap import LeakgapError
from leakgap.data.header import FORMATS, SUFFIXES
from leakgap.data.pool import average_down
from leakgap.files import naming


def read(path: Path) -> tuple[list[Path], np.ndarray]:
    """Image files and labels int64 [S] of a folder with one folder for each class, both in sorted order.

    Hidden folders and files, which notebooks and file managers leave, are no classes and no images.
    """
    from torchvision.datasets import ImageFolder

    class Visible(ImageFolder):
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            names = sorted(
                each.name for each in os.scandir(directory) if each.is_dir() and each.name[0] != "."
            )
            if not names:
                raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
            return names, {name: number for number, name in enumerate(names)}

    def visible(file: str) -> bool:
        return file.lower().endswith(SUFFIXES) and not any(
            part.startswith(".") for part in Path(file).relative_to(path).parts
        )

    _check_links(path)
    _check_kinds(path)
    try:
        folder = Visible(path, is_valid_file=visible)
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


def _check_kinds(path: Path) -> None:
    """Raise LeakgapError where an image is of a kind that is not read: its class would lack it."""
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if name[0] != "."]
        for name in files if Path(folder) != path else []:
            kind = guess_type(name)[0] or ""
            if name[0] != "." and kind.startswith("image/") and not name.lower().endswith(SUFFIXES):
                raise LeakgapError(
                    f"{Path(folder, name)}: is {kind}, and images are read of {', '.join(FORMATS)}"
                )


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
    """uint8 [1,H,W] of a grayscale image, [3,H,W] of any other; upright (EXIF), without transparency."""
    with naming(path):
        if not path.is_file():
            raise LeakgapError("is no file")
        try:
            with Image.open(path, formats=FORMATS) as image:
                _check_whole(image)
                upright = ImageOps.exif_transpose(image)
                pixels = upright.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
                if image.has_transparency_data:
                    _check_visible(pixels, upright)
        except LeakgapError:
            raise
        except Exception as error:  # image decoders raise nearly anything on damaged files
            raise LeakgapError(f"can't be read as an image ({error})") from None
        planes = np.atleast_3d(np.asarray(pixels)).transpose(2, 0, 1)
        return planes if side is None else average_down(planes[None], side)[0]


def _check_whole(image: Image.Image) -> None:
    """Raise LeakgapError for an image of which 8 bits a pixel and one picture are not all."""
    # how Pillow names what is coded: RGB;16B, or RGB and the brightest value of a portable pixmap
    coded = [word for tile in getattr(image, "tile", ()) for word in _words(tile[3])]
    deep = any(";16" in word if isinstance(word, str) else word > 255 for word in coded)
    if deep or image.mode[0] in "IF":
        raise LeakgapError(f"has pixels of more than 8 bits (mode {image.mode})")
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1:
        raise LeakgapError(f"holds {pictures} pictures, and one is asked for")


def _words(coded: object) -> list[str | int]:
    every = coded if isinstance(coded, tuple) else (coded,)
    return [word for word in every if isinstance(word, str | int)]


def _check_visible(pixels: Image.Image, image: Image.Image) -> None:
    """Raise LeakgapError for an image whose picture is in its transparency, which is left out."""
    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    if np.ptp(alpha) and not np.ptp(np.asarray(pixels).reshape(-1, len(pixels.getbands())), axis=0).any():
        raise LeakgapError("is of one colour but for its transparency: put it on a background")
