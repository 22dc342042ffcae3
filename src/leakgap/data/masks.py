"""Which model trains on which images: balanced random masks and the reserved population."""

import hashlib
from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.data import LEAST
from leakgap.data.pool import read_labels, read_pool
from leakgap.files import read_npz, write_npz
from leakgap.study import Study

__all__ = ["balanced_masks", "draw_masks", "mask_row", "read_inputs", "read_masks", "write_masks"]


def balanced_masks(n_masks: int, n_images: int, seed: int, reserved: float = 0) -> np.ndarray:
    """Draw the training sets of the whole study in complementary pairs: bool [N,S], row k the images of mask k.

    Mask 2k is a uniformly random half of the images that are not reserved, drawn from (seed, k) alone, and mask
    2k + 1 the other half: earlier masks do not depend on N, so a grid grows without training a model again.
    Every unreserved image is in exactly N/2 masks, and all masks are of one size (with an odd number of images
    mask 2k + 1 holds one more). `reserved` images (a share of all below 1, or a number; which ones is drawn) are
    in no mask: their columns are False.

    Raises LeakgapError (naming grid.masks or data.reserved) for odd N or N < 4, a negative or fractional
    number reserved, and fewer than 4 images left.

    >>> member = balanced_masks(4, 10, seed=0)
    >>> bool((member[0] ^ member[1]).all() and (member[2] ^ member[3]).all())
    True
    """
    for key, count in (("grid.masks", n_masks), ("the number of images", n_images), ("data.seed", seed)):
        if not isinstance(count, int | np.integer) or isinstance(count, bool):
            raise LeakgapError(f"{key}: {count!r} is not a whole number")
    if n_masks < 4 or n_masks % 2:
        raise LeakgapError(f"grid.masks: {n_masks} is not an even number of at least 4")
    n_reserved = _count(reserved, n_images)
    if n_images - n_reserved < 4:
        key = "data.reserved" if n_reserved else "grid.masks"
        raise LeakgapError(
            f"{key}: {n_images - n_reserved} of {n_images} images are left, too few for masks of half of them"
        )
    free = np.sort(_stream(seed, 0).permutation(n_images)[n_reserved:])
    member = np.zeros((n_masks, n_images), bool)
    for pair in range(n_masks // 2):
        shuffled = _stream(seed, 1, pair).permutation(free)
        half = len(free) // 2
        member[2 * pair, shuffled[:half]] = True
        member[2 * pair + 1, shuffled[half:]] = True
    return member


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _count(reserved: float, n_images: int) -> int:
    count = round(reserved * n_images) if 0 < reserved < 1 else reserved
    if not 0 <= count <= n_images or count != int(count):
        raise LeakgapError(
            f"data.reserved: {reserved} is neither a share below 1 nor a number of the {n_images} images"
        )
    return int(count)


def draw_masks(study: Study, pool: str, out: str) -> None:
    """Draw a study's masks over the images of a pool file and write them."""
    images = len(read_pool(pool).labels)
    if study.data.unreserved(images) < LEAST:
        raise LeakgapError(
            f"data.reserved: {study.data.reserved:g} leaves fewer than {LEAST} of {images} images"
        )
    member = balanced_masks(study.grid.masks, images, study.data.seed, study.data.reserved)
    write_masks(out, member, member.sum(axis=0) == 0)


def members_digest(member: np.ndarray) -> str:
    """Return the SHA-256 of a model's members, bool [S], 16 hexadecimal digits."""
    return hashlib.sha256(f"{len(member)} ".encode() + np.packbits(member).tobytes()).hexdigest()[:16]


def mask_row(mask: str, n_masks: int) -> int:
    """Return the mask that a model trains on: its own, or 0 for a replicate."""
    kind, digits = mask[:1], mask[1:]
    if (
        kind not in ("m", "r")
        or not (digits.isascii() and digits.isdigit())
        or mask != f"{kind}{int(digits):03}"
    ):
        raise LeakgapError(f"mask {mask!r} is neither a mask m000.. nor a replicate r000..")
    if kind == "r":
        return 0
    if int(digits) >= n_masks:
        raise LeakgapError(f"mask {mask!r} is not in the study, which has m000 to m{n_masks - 1:03}")
    return int(digits)


def read_inputs(pool: str, masks: str) -> tuple[np.ndarray, str, np.ndarray, np.ndarray]:
    """Return the pool's labels int64 [S] and digest, member bool [N, S] and reserved bool [S].

    LeakgapError where pool and masks are not of one study.
    """
    (labels, digest), (member, reserved) = read_labels(pool), read_masks(masks)
    if member.shape[1] != len(labels):
        raise LeakgapError(f"{masks}: made for {member.shape[1]} images, not the {len(labels)} of the pool")
    return labels, digest, member, reserved


def write_masks(path: str | Path, member: np.ndarray, reserved: np.ndarray) -> None:
    """Write masks.npz: `member` bool [N,S] and `reserved` bool [S], whole or not at all."""
    _check(member, reserved, path)
    write_npz(path, member=member, reserved=reserved)


def read_masks(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read (member bool [N,S], reserved bool [S]); LeakgapError if the file is damaged or no such pair."""
    member, reserved = read_npz(path, "member", "reserved", made_by="masks")
    _check(member, reserved, path)
    return member, reserved


def _check(member: np.ndarray, reserved: np.ndarray, path: str | Path) -> None:
    if member.dtype != bool or reserved.dtype != bool:
        raise LeakgapError(f"{path}: member is {member.dtype} and reserved {reserved.dtype}, not bool")
    if member.ndim != 2 or reserved.shape != member.shape[1:]:
        raise LeakgapError(
            f"{path}: member {member.shape} and reserved {reserved.shape} are not [masks,images] and [images]"
        )
    if len(member) % 2 or np.any(member[0::2] ^ member[1::2] != ~reserved):
        raise LeakgapError(
            f"{path}: its masks are not pairs (rows 2k and 2k + 1) that share the unreserved images between them"
        )
