"""Which model trains on which images: balanced random masks and the reserved population."""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from leakgap import LeakgapError
from leakgap.data.pool import read_labels
from leakgap.files import read_npz, write_npz

__all__ = ["balanced_masks", "mask_row", "read_inputs", "read_masks", "write_masks"]


Inclusion = Literal["half", "coin"]
INCLUSIONS = get_args(Inclusion)


class Inputs(NamedTuple):
    """What an attack job reads of a study's records and training sets."""

    labels: np.ndarray  # int64 [S]
    digest: str  # of the pool
    groups: np.ndarray | None  # int64 [S]: whose record each is
    member: np.ndarray  # bool [N, S]
    reserved: np.ndarray  # bool [S]


def balanced_masks(
    n_masks: int,
    n_records: int,
    seed: int,
    reserved: float = 0,
    groups: ArrayLike | None = None,
    inclusion: Inclusion = "half",
) -> np.ndarray:
    """Draw the training sets of the whole study in complementary pairs: bool [N,S], row k the records of mask k.

    Mask 2k is a uniformly random half of the records that are not reserved, drawn from (seed, k) alone, and mask
    2k + 1 the other half: earlier masks do not depend on N, so a grid grows without training a model again.
    Every unreserved record is in exactly N/2 masks, and all masks are of one size (with an odd number of records
    mask 2k + 1 holds one more). `reserved` records (a share of all below 1, or a number; which ones is drawn) are
    in no mask: their columns are False.

    groups: int [S], whose record each is, such as a patient. Groups are then drawn whole, in halves of the groups,
    whose numbers of records differ; so many groups are reserved that their records come nearest to `reserved`.
    inclusion: with `coin` each record (or group) is in mask 2k by a fair coin of its own, so that training sets
    differ by adding or removing one, the neighbours that accountants of differential privacy know; their sizes
    then vary.

    Raises LeakgapError (naming grid.masks, data.reserved, data.groups or data.inclusion) for odd N or N < 4, a
    negative or fractional number reserved, and fewer than 4 records, or groups, left.

    >>> member = balanced_masks(4, 10, seed=0)
    >>> bool((member[0] ^ member[1]).all() and (member[2] ^ member[3]).all())
    True
    >>> visits = balanced_masks(4, 20, seed=0, groups=np.arange(20) // 2)
    >>> bool((visits[:, ::2] == visits[:, 1::2]).all())
    True
    """
    for key, count in (("grid.masks", n_masks), ("the number of images", n_records), ("data.seed", seed)):
        if not isinstance(count, int | np.integer) or isinstance(count, bool):
            raise LeakgapError(f"{key}: {count!r} is not a whole number")
        if count < 0:
            raise LeakgapError(f"{key}: {count} is below 0")
    if n_masks < 4 or n_masks % 2:
        raise LeakgapError(f"grid.masks: {n_masks} is not an even number of at least 4")
    if inclusion not in INCLUSIONS:
        raise LeakgapError(f"data.inclusion: {inclusion!r} is neither of {', '.join(INCLUSIONS)}")
    n_reserved = _count(reserved, n_records)
    unit = _units(groups, n_records)
    sizes = np.bincount(unit, minlength=1)
    order = _stream(seed, 0).permutation(len(sizes))
    taken = np.append(0, np.cumsum(sizes[order]))
    free = np.sort(order[int(np.abs(taken - n_reserved).argmin()) :])
    if len(free) < 4:
        key = "data.reserved" if n_reserved else "grid.masks" if groups is None else "data.groups"
        what = "images" if groups is None else "groups"
        raise LeakgapError(
            f"{key}: {len(free)} of {len(sizes)} {what} are left, too few for masks of half of them"
        )
    member = np.zeros((n_masks, len(sizes)), bool)
    for pair in range(n_masks // 2):
        if inclusion == "coin":
            inside = _stream(seed, 2, pair).random(len(sizes))[free] < 0.5
            member[2 * pair, free[inside]] = True
            member[2 * pair + 1, free[~inside]] = True
        else:
            shuffled = _stream(seed, 1, pair).permutation(free)
            half = len(free) // 2
            member[2 * pair, shuffled[:half]] = True
            member[2 * pair + 1, shuffled[half:]] = True
    return member if groups is None else member[:, unit]


def _units(groups: ArrayLike | None, n_records: int) -> np.ndarray:
    """Return the number of each record's group, int [S], in the order in which groups first appear."""
    if groups is None:
        return np.arange(n_records)
    values = np.asarray(groups)
    if values.shape != (n_records,):
        raise LeakgapError(
            f"data.groups: is {list(values.shape)}, not one value for each of {n_records} records"
        )
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise LeakgapError(f"data.groups: the group of record {int(np.isnan(values).argmax())} is missing")
    return pd.factorize(values)[0]


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _count(reserved: float, n_images: int) -> int:
    count = round(reserved * n_images) if 0 < reserved < 1 else reserved
    if not 0 <= count <= n_images or count != int(count):
        raise LeakgapError(
            f"data.reserved: {reserved} is neither a share below 1 nor a number of the {n_images} images"
        )
    return int(count)


def members_digest(member: np.ndarray) -> str:
    """Return the SHA-256 of a model's members, bool [S], 16 hexadecimal digits."""
    return hashlib.sha256(f"{len(member)} ".encode() + np.packbits(member).tobytes()).hexdigest()[:16]


def mask_row(mask: str, n_masks: int) -> int:
    """Return the mask that a model trains on: its own, or 0 for a replicate."""
    kind, digits = mask[:1], mask[1:]
    if (
        kind not in ("m", "r")
        or not (digits.isascii() and digits.isdigit() and len(digits) < 20)
        or mask != f"{kind}{int(digits):03}"
    ):
        raise LeakgapError(f"mask {mask[:20]!r} is neither a mask m000.. nor a replicate r000..")
    if kind == "r":
        return 0
    if int(digits) >= n_masks:
        raise LeakgapError(f"mask {mask!r} is not in the study, which has m000 to m{n_masks - 1:03}")
    return int(digits)


def read_inputs(pool: str, masks: str) -> Inputs:
    """Return labels, digest and groups of the pool, and the masks; LeakgapError where they are not of one study."""
    (labels, digest, groups), (member, reserved) = read_labels(pool), read_masks(masks)
    if member.shape[1] != len(labels):
        raise LeakgapError(f"{masks}: made for {member.shape[1]} images, not the {len(labels)} of the pool")
    return Inputs(labels, digest, groups, member, reserved)


def write_masks(path: str | Path, member: np.ndarray, reserved: np.ndarray) -> None:
    """Write masks.npz: `member` bool [N,S] and `reserved` bool [S], whole or not at all."""
    _check(member, reserved, path)
    write_npz(path, {"member": member, "reserved": reserved})


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
