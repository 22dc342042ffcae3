"""Size and number of a user's own records, from the headers of their files: light, since the Snakefile asks."""

import ast
import os
import zipfile
from pathlib import Path

from leakgap.objects import expanded

CHANNELS = (1, 3)
ORIENTATION = 274  # EXIF's tag: from 5 on, rows are columns
# Pillow's decoders of these alone are tried, whatever a file is named: that of PostScript starts Ghostscript
FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")
# of torchvision's ImageFolder
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def image_size(dataset: str) -> tuple[int, int] | None:
    """Return height and width of the uint8 `images` in an .npz, or of the first image in a folder.

    None where there are none, or it can't be told. Images of a folder that differ in size are refused, as whatever
    is wrong with a file, by the job that reads them.
    """
    path = expanded(dataset)
    if "/" in dataset and path.is_dir():
        return _of_folder(path)
    return _of_arrays(path) if path.suffix == ".npz" and path.is_file() else None


def _of_folder(path: Path) -> tuple[int, int] | None:
    """Return the size of the first image in the folder of a class, whose header alone is read."""
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for file in (Path(folder, name) for name in sorted(files) if folder != str(path) and name[0] != "."):
            if file.suffix.lower() not in SUFFIXES or not file.is_file():  # a pipe would be waited for
                continue
            try:
                from PIL import Image

                with Image.open(file, formats=FORMATS) as image:
                    lying = image.getexif().get(ORIENTATION, 1) > 4
                    return (image.width, image.height) if lying else (image.height, image.width)
            except Exception:  # of a damaged file, nearly anything
                return None
    return None


def number_of_records(dataset: str) -> int | None:
    """Return how many labels an .npz holds; None of any other dataset, or where it can't be told."""
    path = expanded(dataset)
    told = _header(path, "labels") if path.suffix == ".npz" and path.is_file() else None
    return told[0][0] if told and told[0] else None


def _header(path: Path, name: str) -> tuple[tuple[int, ...], str] | None:
    """Return shape and kind of an array of an .npz; None where there is none.

    Source: numpy.lib.format, versions 1 to 3.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            start = file.read(8)
            length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
            header = ast.literal_eval(file.read(min(length, 10_000)).decode())
        return tuple(header["shape"]), header["descr"]
    except Exception:  # of a damaged file, nearly anything
        return None


def _of_arrays(path: Path) -> tuple[int, int] | None:
    told = _header(path, "images")
    if told is None:
        return None
    shape, kind = told
    if (
        kind != "|u1"
        or len(shape) not in (3, 4)
        or (len(shape) == 4 and {shape[1], shape[3]} <= set(CHANNELS))
    ):
        return None
    height, width = shape[1:3] if len(shape) == 3 or shape[3] in CHANNELS else shape[2:]
    return height, width
