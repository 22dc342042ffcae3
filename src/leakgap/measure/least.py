"""How many non-members an FPR needs; apart, since a study file is read without numpy."""

from math import ceil


def least_nonmembers(fpr: float) -> int:
    """How many non-members a threshold at this FPR needs: the least n0 with a conformal rank of 1.

    >>> least_nonmembers(0.01), least_nonmembers(0.001)
    (99, 999)
    """
    return ceil(1 / fpr - 1 - 1e-9)
