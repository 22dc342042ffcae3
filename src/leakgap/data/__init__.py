"""Datasets, the pool of images that masks are drawn from, and the masks.

To add a dataset, write a module that reads it in this package and an entry of `DATASETS`. Importing this package
reads no data and needs no numpy: a study file is checked against what is said of a dataset here.
"""

from dataclasses import dataclass

LEAST = 16  # images of a study, and those of them that are not reserved


@dataclass(frozen=True)
class Dataset:
    """What a study file may name.

    images: number of images, train and test merged in this order.
    channels: 1 or 3.
    side: height and width in pixels.
    reader: module:function of the folder `data.root` (a Path), which returns images uint8 [S,C,H,W] and labels
        int64 [S] without using the network; LeakgapError naming data.root or the file that is damaged.
    downloader: module:function that fetches the dataset's files into that folder, if any are needed.
    """

    images: int
    channels: int
    side: int
    reader: str
    downloader: str | None = None


DATASETS = {
    "digits": Dataset(1797, 1, 8, "leakgap.data.digits:read"),
    "fashion-mnist": Dataset(
        70_000, 1, 28, "leakgap.data.fashion_mnist:read", "leakgap.data.fashion_mnist:download"
    ),
    "cifar10": Dataset(60_000, 3, 32, "leakgap.data.cifar:read10", "leakgap.data.cifar:download10"),
    "cifar100": Dataset(60_000, 3, 32, "leakgap.data.cifar:read100", "leakgap.data.cifar:download100"),
}
"""The datasets that a study file names by a word; any other is a path."""
