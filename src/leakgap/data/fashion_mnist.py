"""Fashion-MNIST: 60,000 + 10,000 images of 28x28 pixels in four idx files (Xiao et al., arXiv:1708.07747)."""

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

from leakgap import LeakgapError

# Of the unpacked files: torchvision checks the publisher's archives only, and packagers compress them anew.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist


def read(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [70000,1,28,28] and labels int64 [70000] from idx files, gzipped or not.

    Looked for in `root` itself, in torchvision's layout below it, and where Debian's package has them.
    """
    x, y, test_x, test_y = (_idx(root, name) for name in SHA256)
    return np.concatenate([x, test_x])[:, None], np.concatenate([y, test_y]).astype(np.int64)


def _idx(root: Path, name: str) -> np.ndarray:
    """The array of an idx file (bytes 0, 0, 8, dimensions; big-endian sizes; data), checked by SHA-256."""
    folders = (root, root / "FashionMNIST" / "raw", DEBIAN)
    found = [path for f in folders for path in (f / name, f / f"{name}.gz") if path.is_file()]
    if not found:
        raise LeakgapError(f"data.root: none of {', '.join(map(str, folders))} has {name} or {name}.gz")
    try:
        data = found[0].read_bytes()
        if found[0].suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise LeakgapError(f"{found[0]}: can't be unpacked ({error}), delete it and get it anew") from None
    if hashlib.sha256(data).hexdigest() != SHA256[name]:
        raise LeakgapError(f"{found[0]}: has the wrong checksum, delete it and get it anew")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def download(root: Path) -> None:
    """Fetch the files with torchvision, into its layout."""
    from torchvision.datasets import FashionMNIST

    FashionMNIST(root, download=True)
