"""Datasets, as one pool of images that the masks draw training sets from."""

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.files import atomic
from leakgap.study import BUILT_IN

# Of the unpacked files: torchvision checks the publisher's archives only, and packagers compress them anew.
FASHION_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist


@dataclass(frozen=True, eq=False)
class Pool:
    """images uint8 [S,C,H,W] with 1 or 3 channels, labels int64 [S] in 0..classes-1, each class present.

    Raises LeakgapError if that is not so, or if there are fewer than two classes.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: int

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8:
            raise LeakgapError(f"images are {images.dtype}, not uint8 (0..255)")
        if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
            raise LeakgapError(f"images are {images.shape}, not [images, 1 or 3 channels, height, width]")
        if labels.shape != images.shape[:1]:
            raise LeakgapError(f"labels are {labels.shape}, not one for each of the {len(images)} images")
        if labels.dtype != np.int64:
            raise LeakgapError(f"labels are {labels.dtype}, not int64")
        outside = labels[(labels < 0) | (labels >= self.classes)]
        if outside.size:
            raise LeakgapError(f"label {outside[0]} is outside 0..{self.classes - 1}")
        present = np.unique(labels)
        if len(present) < self.classes:
            gap = np.flatnonzero(np.append(present, -1) != np.arange(len(present) + 1))[0]
            raise LeakgapError(f"class {gap} of 0..{self.classes - 1} has no image")
        if self.classes < 2:
            raise LeakgapError("all images have one label, an audit needs at least two classes")


def load(
    dataset: str,
    root: str | Path | None = None,
    size: int | None = None,
    side: int | None = None,
    seed: int = 0,
) -> Pool:
    """Read a dataset that is already here; never uses the network.

    dataset: one of BUILT_IN, train and test images merged in this order; or the path of an .npz with `images`
        uint8 [S,C,H,W], [S,H,W,C] or [S,H,W] (the axis of 1 or 3 is the channels) and integer `labels` [S]
        from 0 without gaps; or a folder in torchvision's ImageFolder layout, classes and files in sorted
        order, one channel if every image is grayscale and three otherwise.
    root: folder of a built-in dataset's files in torchvision's layout, "data" by default; for Fashion-MNIST
        also the folder of the four idx files themselves, gzipped or not. Where it has none of them, Debian's
        package dataset-fashion-mnist serves.
    size: number of images kept, see `subset`. seed: draws them.
    side: see `average_down`; the images of a folder may then differ in size, otherwise not.

    Raises LeakgapError naming the file or the key.
    """
    images, labels = _read(dataset, _folder(root))
    classes = int(labels.max()) + 1
    keep = subset(labels, size, seed) if size is not None else np.arange(len(labels))
    if isinstance(images, np.ndarray):
        kept = images[keep] if side is None else average_down(images[keep], side)
    else:
        kept = _decode([images[i] for i in keep], side)
    return Pool(np.ascontiguousarray(kept), labels[keep], classes)


def download(dataset: str, root: str | Path | None = None) -> None:
    """Fetch a built-in dataset into `root` with torchvision and check it; no network if it is there already.

    The other datasets have nothing to fetch. Raises LeakgapError if the files can't be had or are damaged.
    """
    if dataset not in ("fashion-mnist", "cifar10", "cifar100"):
        return
    folder = _folder(root)
    try:
        _read(dataset, folder)
    except LeakgapError:
        from torchvision import datasets

        names = {"fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10", "cifar100": "CIFAR100"}
        try:
            getattr(datasets, names[dataset])(folder, download=True)
        except Exception as error:  # anything between the network and the archive
            reason = " ".join(str(error).split())
            raise LeakgapError(f"data.root: {dataset} can't be downloaded to {folder} ({reason})") from None
        _read(dataset, folder)


def subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Ascending indices of `size` random images with the classes in proportion, int64 [size].

    Smaller subsets of one seed are parts of larger ones. Raises LeakgapError naming data.size if there are
    fewer images than that, or if a class would lose all of its images.
    """
    if size > len(labels):
        raise LeakgapError(f"data.size: {size} images are asked for, but there are only {len(labels)}")
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(2,)))
    shuffled = generator.permutation(len(labels))
    place = np.empty(len(labels))  # of an image among those of its class, from 0 to 1
    for label in np.unique(labels):
        own = shuffled[labels[shuffled] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    keep = np.sort(shuffled[np.argsort(place[shuffled], kind="stable")][:size])
    lost = np.setdiff1d(labels, labels[keep])
    if lost.size:
        raise LeakgapError(f"data.size: {size} images are too few to keep one of class {lost[0]}")
    return keep


def average_down(images: np.ndarray, side: int) -> np.ndarray:
    """Average uint8 [S,C,H,W] down to uint8 [S,C,side,side].

    Each new pixel is the mean over the area that it covers: old pixels at its border weigh by the part
    covered, halves are rounded up. Raises LeakgapError naming data.side if that is more than H or W.
    """
    height, width = images.shape[2:]
    if side > min(height, width):
        raise LeakgapError(f"data.side: images of {height}x{width} pixels can't be averaged down to {side}")
    rows, columns = _overlaps(height, side), _overlaps(width, side)
    small = np.empty((*images.shape[:2], side, side), np.uint8)
    for start in range(0, len(images), 1024):
        block = slice(start, start + 1024)
        totals = rows @ images[block].astype(np.float64) @ columns.T  # whole numbers: exact in any order
        small[block] = np.floor(totals / (height * width) + 0.5)
    return small


def _overlaps(old: int, new: int) -> np.ndarray:
    """Length shared by new pixel j (`old` units long) and old pixel i (`new` units): float64 [new, old]."""
    j, i = np.arange(new)[:, None], np.arange(old)
    return np.clip(np.minimum((j + 1) * old, (i + 1) * new) - np.maximum(j * old, i * new), 0, None) * 1.0


def _folder(root: str | Path | None) -> Path:
    return Path("data" if root is None else root).expanduser()


def _read(dataset: str, root: Path) -> tuple[np.ndarray | list[Path], np.ndarray]:
    """Images uint8 [S,C,H,W], or the files that hold them, and labels int64 [S]."""
    if dataset == "digits":
        return _digits()
    if dataset == "fashion-mnist":
        return _fashion_mnist(root)
    if dataset in ("cifar10", "cifar100"):
        return _cifar(dataset, root)
    path = Path(dataset).expanduser()
    if path.suffix == ".npz":
        return _npz(path)
    if path.is_dir():
        return _image_folder(path)
    raise LeakgapError(f"data.dataset: {dataset} is no .npz, no folder and none of {', '.join(BUILT_IN)}")


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * 255 / 16).astype(np.uint8)
    return images[:, None], digits.target.astype(np.int64)


def _fashion_mnist(root: Path) -> tuple[np.ndarray, np.ndarray]:
    x, y, test_x, test_y = (_idx(root, name) for name in FASHION_SHA256)
    return np.concatenate([x, test_x])[:, None], np.concatenate([y, test_y]).astype(np.int64)


def _idx(root: Path, name: str) -> np.ndarray:
    """The array of an idx file (bytes 0, 0, 8, dimensions; big-endian sizes; data), checked by SHA-256."""
    folders = (root, root / "FashionMNIST" / "raw", DEBIAN_FASHION)
    found = [path for f in folders for path in (f / name, f / f"{name}.gz") if path.is_file()]
    if not found:
        raise LeakgapError(f"data.root: none of {', '.join(map(str, folders))} has {name} or {name}.gz")
    try:
        data = found[0].read_bytes()
        if found[0].suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise LeakgapError(f"{found[0]}: can't be unpacked ({error}), delete it and get it anew") from None
    if hashlib.sha256(data).hexdigest() != FASHION_SHA256[name]:
        raise LeakgapError(f"{found[0]}: has the wrong checksum, delete it and get it anew")
    shape = np.frombuffer(data, ">u4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def _cifar(dataset: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import CIFAR10, CIFAR100
    from torchvision.datasets.utils import check_integrity

    kind = CIFAR10 if dataset == "cifar10" else CIFAR100
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


def _npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    images, labels = read_npz(path, "images", "labels")
    if labels.dtype.kind not in "iu":
        raise LeakgapError(f"{path}: labels are {labels.dtype}, not integers")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        if images.shape[1] in (1, 3):
            raise LeakgapError(f"{path}: images are {images.shape}, axis 1 or axis 3 could be the channels")
        images = images.transpose(0, 3, 1, 2)
    labels = labels.astype(np.int64)
    with _naming(path):
        Pool(images, labels, int(labels.max(initial=-1)) + 1)
    return images, labels


def _image_folder(path: Path) -> tuple[list[Path], np.ndarray]:
    from torchvision.datasets import ImageFolder

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


def _decode(files: Sequence[Path], side: int | None) -> np.ndarray:
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

    with _naming(path):
        try:
            with Image.open(path) as image:
                mode, pixels = image.mode, image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
        except Exception as error:  # image decoders raise nearly anything on damaged files
            raise LeakgapError(f"can't be read as an image ({error})") from None
        if mode[0] in "IF":
            raise LeakgapError(f"has pixels of more than 8 bits (mode {mode})")
        planes = np.atleast_3d(np.asarray(pixels)).transpose(2, 0, 1)
        return planes if side is None else average_down(planes[None], side)[0]


def write_pool(path: str | Path, pool: Pool) -> None:
    """Write pool.npz: images, labels and classes (a scalar), whole or not at all."""
    write_npz(path, images=pool.images, labels=pool.labels, classes=np.int64(pool.classes))


def read_pool(path: str | Path) -> Pool:
    """Read what write_pool wrote; LeakgapError naming the file if it is damaged or holds no pool."""
    images, labels, classes = read_npz(path, "images", "labels", "classes")
    if classes.shape or classes.dtype.kind not in "iu":
        raise LeakgapError(f"{path}: classes is {classes.dtype} {classes.shape}, not an integer")
    with _naming(path):
        return Pool(images, labels, int(classes))


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    try:
        yield
    except LeakgapError as error:
        raise LeakgapError(f"{path}: {error}") from None


def write_npz(path: str | Path, **arrays: np.ndarray | np.generic) -> None:
    """Write arrays uncompressed (every training job reads them), whole or not at all."""
    with atomic(path) as temporary:
        np.savez(temporary, **arrays)  # type: ignore[arg-type]


def read_npz(path: str | Path, *names: str) -> list[np.ndarray]:
    """The named arrays of an .npz, read without pickle; LeakgapError naming a damaged file or one without."""
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names if name in stored}
            present = list(stored)
    except FileNotFoundError:
        raise LeakgapError(f"{path}: there is no such file") from None
    except Exception as error:  # damaged headers make zipfile and numpy raise nearly anything
        raise LeakgapError(f"{path}: is not a readable .npz ({error})") from None
    for name in names:
        if name not in arrays:
            raise LeakgapError(f"{path}: has no array {name}, only {', '.join(present) or 'none'}")
    return [arrays[name] for name in names]
