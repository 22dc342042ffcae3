"""Which records are caught more often than chance explains, after many were looked at."""

import pandas as pd
from scipy.stats import binom

CAUGHT_FPR = 0.01  # of the columns `caught` and `targets` of the table exposure
LEVEL = 0.05  # of naming any record, were nothing given away


def exposed_images(exposure: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `exposure` that are caught more often than chance explains, most often first.

    By chance each of the n targets trained on an image catches it with a probability of 1% at most, given a
    conformal threshold: Binomial(n, 1%). A row stays where as many catches or more have a probability of at most 5%
    over the number of rows (Bonferroni), so that together the probability of a false one is 5% at most.

    >>> rows = pd.DataFrame({"image": [0, 1, 2], "caught": [0, 3, 1], "targets": 8})
    >>> list(exposed_images(rows)["image"])
    [1]
    """
    p = binom.sf(exposure["caught"] - 1, exposure["targets"], CAUGHT_FPR)
    rows = exposure[p <= LEVEL / max(1, len(exposure))]
    rows = rows.assign(share=rows["caught"] / rows["targets"])
    return rows.sort_values(["share", "image"], ascending=[False, True])
