"""The training sets of a study, drawn over the records of its pool."""

from leakgap import LeakgapError
from leakgap.data import LEAST
from leakgap.data.masks import balanced_masks, write_masks
from leakgap.data.pool import read_pool
from leakgap.study import Study


def draw_masks(study: Study, pool: str, out: str) -> None:
    """Draw a study's masks over the images of a pool file and write them."""
    found, data = read_pool(pool), study.data
    images = len(found.labels)
    if data.unreserved(images) < LEAST:
        raise LeakgapError(f"data.reserved: {data.reserved:g} leaves fewer than {LEAST} of {images} images")
    member = balanced_masks(study.grid.masks, images, data.seed, data.reserved, found.groups, data.inclusion)
    write_masks(out, member, member.sum(axis=0) == 0)
