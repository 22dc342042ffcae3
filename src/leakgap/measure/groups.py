"""Records that belong together: the visits of a patient, the photos of a face, the documents of an author."""

import numpy as np
from numpy.typing import ArrayLike

from leakgap import ArgumentError

__all__ = ["effective_groups", "group_codes"]


def group_codes(group: ArrayLike | None, records: int) -> np.ndarray | None:
    """Return groups numbered from 0, int [S]; None where there are none, or one for each record.

    group: [S], records of the same value belong together. ArgumentError for another length.

    >>> group_codes([7, 9, 7], 3)
    array([0, 1, 0])
    >>> group_codes([7, 9, 8], 3) is None
    True
    """
    if group is None:
        return None
    codes = np.unique(np.asarray(group), return_inverse=True)[1].reshape(-1)
    if len(codes) != records:
        raise ArgumentError(f"group must hold a number for each of the {records} records, not {len(codes)}")
    return codes if records and codes.max() + 1 < records else None


def effective_groups(size: np.ndarray) -> float:
    """Return how many groups of one size tell as much about a variance as groups of these sizes do.

    (sum n^2)^2 / sum n^4 (after Carter, Schnepel and Steigerwald 2017, "Asymptotic behavior of a t-test robust to
    cluster heterogeneity", for records of a group that are all alike).

    >>> effective_groups(np.array([5, 5, 5])), round(effective_groups(np.array([100, 5, 5])), 2)
    (3.0, 1.01)
    """
    size = np.asarray(size, np.float64)
    return float((size**2).sum() ** 2 / (size**4).sum())


def drawn_together(member: np.ndarray, group: ArrayLike | None) -> np.ndarray:
    """Return which records of a training set were drawn as one, int [S] from 0, all of them members or none.

    member: bool [S]; group: [S] or None. Groups, where all are whole: on one side, members or not. Single records,
    where no more groups are whole than drawing records one by one leaves. Otherwise, where most are whole and some
    are not, a group's members are one and its others are one.

    >>> drawn_together(np.array([True, True, False, False, True, True]), [0, 0, 1, 1, 2, 2])
    array([0, 0, 1, 1, 2, 2])
    """
    alone = np.arange(len(member))
    codes = group_codes(group, len(member))
    if codes is None:
        return alone
    size, inside = np.bincount(codes), np.bincount(codes, member)
    whole = (inside == 0) | (inside == size)
    if whole.all():
        return codes
    several, share = size > 1, member.mean()
    by_chance = (share**size + (1 - share) ** size)[several]
    most = by_chance.sum() + 4 * np.sqrt((by_chance * (1 - by_chance)).sum())
    if whole[several].sum() <= most:
        return alone
    return np.unique(2 * codes + member, return_inverse=True)[1].reshape(-1)
