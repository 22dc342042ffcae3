"""The dataset of a study: fetched, and gathered into one pool of records."""

import sys
from dataclasses import replace

from leakgap import LeakgapError
from leakgap.data import DATASETS, LEAST
from leakgap.data.datasets import MOST_CLASSES, copies_in, download, load
from leakgap.data.pool import Pool, write_pool
from leakgap.objects import staying
from leakgap.study import Study


def fetch(study: Study) -> None:
    """Fetch a study's dataset."""
    download(study.data.dataset, study.data.root)


def gather(study: Study, images: int, out: str) -> None:
    """Gather a study's arrays and labels and write them; `images`: the least side of images, 0 for any arrays."""
    data = study.data
    with staying():
        pool = load(
            data.dataset, data.root, data.size, data.side, data.seed, images=bool(images), groups=data.groups
        )
    if len(pool.labels) < LEAST:
        raise LeakgapError(
            f"data.dataset: {data.dataset} holds {len(pool.labels)} records, fewer than {LEAST}"
        )
    if pool.classes > MOST_CLASSES:
        raise LeakgapError(
            f"data.dataset: {data.dataset} holds {pool.classes} classes, more than {MOST_CLASSES}"
        )
    if images:
        _check_size(study, pool, images)
    copies = 0 if data.dataset in DATASETS else copies_in(pool)
    if copies:
        print(
            f"leakgap pool: warning: {copies} of {len(pool.labels)} records are exact copies of others; a model "
            "trained on one of them knows the other too, which hides how much it leaks",
            file=sys.stderr,
        )
    source = {key: getattr(data, key) for key in ("dataset", "size", "side", "seed", "groups")}
    write_pool(out, replace(pool, source=source))


def _check_size(study: Study, pool: Pool, least: int) -> None:
    """Raise LeakgapError where an option does not suit the images: the job's part of a study can't tell which."""
    height, width = pool.images.shape[2:]
    if not study.is_part:
        study.check_size(height, width)
    if min(height, width) < least:
        raise LeakgapError(
            f"data.dataset: {study.data.dataset} holds images of {height}x{width} pixels, and the study's options "
            f"of techniques, such as train.crop.pad, or query.views need a side of {least}"
        )
