"""CIFAR-10 and CIFAR-100: 50,000 + 10,000 images of 32x32 pixels in torchvision's layout (Krizhevsky 2009)."""

from pathlib import Path
from typing import Any

import numpy as np

from leakgap import LeakgapError


def read10(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [60000,3,32,32] and labels int64 [60000] of CIFAR-10, its files checked by MD5."""
    from torchvision.datasets import CIFAR10

    return _read(CIFAR10, root)


def download10(root: Path) -> None:
    """Fetch CIFAR-10 with torchvision."""
    from torchvision.datasets import CIFAR10

    CIFAR10(root, download=True)


def read100(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [60000,3,32,32] and labels int64 [60000] of CIFAR-100, its files checked by MD5."""
    from torchvision.datasets import CIFAR100

    return _read(CIFAR100, root)


def download100(root: Path) -> None:
    """Fetch CIFAR-100 with torchvision."""
    from torchvision.datasets import CIFAR100

    CIFAR100(root, download=True)


def _read(kind: Any, root: Path) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets.utils import check_integrity

    meta = (kind.meta["filename"], kind.meta["md5"])
    for name, md5 in (*kind.train_list, *kind.test_list, meta):
        path = root / kind.base_folder / name
        if not path.is_file():
            raise LeakgapError(f"data.root: there is no {path}")
        if not check_integrity(path, md5):
            raise LeakgapError(f"{path}: has the wrong checksum, delete it and get it anew")
    parts = [kind(root, train=train) for train in (True, False)]
    images = np.concatenate([part.data for part in parts]).transpose(0, 3, 1, 2)
    return images, np.concatenate([part.targets for part in parts]).astype(np.int64)
