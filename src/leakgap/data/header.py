"""The size of a user's own images, from their file's header: light, since the Snakefile asks."""

import ast
import zipfile
from pathlib import Path

CHANNELS = (1, 3)


def image_size(dataset: str) -> tuple[int, int] | None:
    """Return height and width of the uint8 `images` in an .npz; None where there are none, or it can't be told.

    Whatever is wrong with the file is said by the job that reads it. Source: numpy.lib.format, versions 1 to 3.
    """
    path = Path(dataset).expanduser()
    if path.suffix != ".npz" or not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive, archive.open("images.npy") as file:
            start = file.read(8)
            length = int.from_bytes(file.read(2 if start[6] == 1 else 4), "little")
            header = ast.literal_eval(file.read(min(length, 10_000)).decode())
        shape, kind = tuple(header["shape"]), header["descr"]
    except Exception:  # of a damaged file, nearly anything
        return None
    if (
        kind != "|u1"
        or len(shape) not in (3, 4)
        or (len(shape) == 4 and {shape[1], shape[3]} <= set(CHANNELS))
    ):
        return None
    return shape[1:3] if len(shape) == 3 or shape[3] in CHANNELS else shape[2:]
