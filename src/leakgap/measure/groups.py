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
