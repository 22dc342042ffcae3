"""Which model trains on which images: balanced random masks and the reserved population."""

from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.pool import read_npz, write_npz


def balanced_masks(n_masks: int, n_images: int, seed: int, reserved: float = 0) -> np.ndarray:
    """Draw the training sets of the whole study: bool [N,S], row k the images of mask k.

    Every image that is not reserved is in exactly N/2 masks, all such choices being equally likely and
    independent between images; so a mask holds about half of the images. `reserved` images (a share of all
    below 1, or a number; which ones is drawn) are in no mask: their columns are False. Reserving images, or
    adding images at the end, leaves the columns of the others unchanged.

    Raises LeakgapError (naming grid.masks or data.reserved) for odd N or N < 4, a negative or fractional
    number reserved, and so few images that a mask is empty or holds them all.
    """
    if n_masks < 4 or n_masks % 2:
        raise LeakgapError(f"grid.masks: {n_masks} is not an even number of at least 4")
    n_reserved = _count(reserved, n_images)
    chosen, drawn = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    columns = np.zeros((n_images, n_masks), bool)
    columns[:, : n_masks // 2] = True
    drawn.permuted(columns, axis=1, out=columns)
    columns[chosen.permutation(n_images)[:n_reserved]] = False
    members = columns.sum(axis=0)
    free = n_images - n_reserved
    if free < 4 or members.min() == 0 or members.max() == free:
        key = "data.reserved" if n_reserved else "grid.masks"
        raise LeakgapError(
            f"{key}: {free} of {n_images} images are left, too few for {n_masks} masks of half of them"
        )
    return np.ascontiguousarray(columns.T)


def _count(reserved: float, n_images: int) -> int:
    count = round(reserved * n_images) if 0 < reserved < 1 else reserved
    if not 0 <= count <= n_images or count != int(count):
        raise LeakgapError(
            f"data.reserved: {reserved} is neither a share below 1 nor a number of the {n_images} images"
        )
    return int(count)


def write_masks(path: str | Path, member: np.ndarray, reserved: np.ndarray) -> None:
    """Write masks.npz: `member` bool [N,S] and `reserved` bool [S], whole or not at all."""
    _check(member, reserved, path)
    write_npz(path, member=member, reserved=reserved)


def read_masks(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (member bool [N,S], reserved bool [S]); LeakgapError if the file is damaged or no such pair."""
    member, reserved = read_npz(path, "member", "reserved")
    _check(member, reserved, path)
    return member, reserved


def _check(member: np.ndarray, reserved: np.ndarray, path: str | Path) -> None:
    if member.dtype != bool or reserved.dtype != bool:
        raise LeakgapError(f"{path}: member is {member.dtype} and reserved {reserved.dtype}, not bool")
    if member.ndim != 2 or reserved.shape != member.shape[1:]:
        raise LeakgapError(
            f"{path}: member {member.shape} and reserved {reserved.shape} are not [masks,images] and [images]"
        )
    per_image = member.sum(axis=0)
    if np.any(per_image != np.where(reserved, 0, len(member) / 2)):
        raise LeakgapError(f"{path}: not every unreserved image is in half of the {len(member)} masks")
