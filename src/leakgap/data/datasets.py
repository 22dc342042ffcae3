"""Reading any dataset that a study file may name, as one pool."""

from pathlib import Path
from pkgutil import resolve_name

import numpy as np

from leakgap import LeakgapError
from leakgap.data import DATASETS, folder, npz
from leakgap.data.pool import Pool, average_down, subset, write_pool
from leakgap.study import Study


def fetch(study: Study) -> None:
    """Fetch a study's dataset."""
    download(study.data.dataset, study.data.root)


def gather(study: Study, out: str) -> None:
    """Gather a study's images and labels and write them."""
    data = study.data
    write_pool(out, load(data.dataset, data.root, data.size, data.side, data.seed))


def load(
    dataset: str,
    root: str | Path | None = None,
    size: int | None = None,
    side: int | None = None,
    seed: int = 0,
) -> Pool:
    """Read a dataset that is already here; never uses the network.

    dataset: one of DATASETS, or the path of an .npz (see leakgap.data.npz) or of a folder of images (see
        leakgap.data.folder).
    root: folder of the files of one of DATASETS, "data" by default.
    size: number of images kept, see `subset`. seed: draws them.
    side: see `average_down`; the images of a folder may then differ in size, otherwise not.

    Raises LeakgapError naming the file or the key.
    """
    images, labels = _read(dataset, _root(root))
    classes = int(labels.max()) + 1
    keep = subset(labels, size, seed) if size is not None else np.arange(len(labels))
    if isinstance(images, np.ndarray):
        kept = images[keep] if side is None else average_down(images[keep], side)
    else:
        kept = folder.decode([images[i] for i in keep], side)
    return Pool(np.ascontiguousarray(kept), labels[keep], classes)


def download(dataset: str, root: str | Path | None = None) -> None:
    """Fetch the files of one of DATASETS into `root` and check them; no network if they are there already.

    Other datasets have nothing to fetch. Raises LeakgapError if the files can't be had or are damaged.
    """
    downloader = DATASETS[dataset].downloader if dataset in DATASETS else None
    if downloader is None:
        return
    root = _root(root)
    try:
        _read(dataset, root)
        return
    except LeakgapError:
        pass
    try:
        resolve_name(downloader)(root)
    except Exception as error:  # anything between the network and the archive
        reason = " ".join(str(error).split())
        raise LeakgapError(f"data.root: {dataset} can't be downloaded to {root} ({reason})") from None
    _read(dataset, root)


def _root(root: str | Path | None) -> Path:
    return Path("data" if root is None else root).expanduser()


def _read(dataset: str, root: Path) -> tuple[np.ndarray | list[Path], np.ndarray]:
    """Images uint8 [S,C,H,W], or the files that hold them, and labels int64 [S]."""
    if dataset in DATASETS:
        return resolve_name(DATASETS[dataset].reader)(root)
    path = Path(dataset).expanduser()
    if path.suffix == ".npz":
        return npz.read(path)
    if path.is_dir():
        return folder.read(path)
    raise LeakgapError(f"data.dataset: {dataset} is no .npz, no folder and none of {', '.join(DATASETS)}")
