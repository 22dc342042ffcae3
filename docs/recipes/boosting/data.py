"""5,912 people of the RAND Health Insurance Experiment: public domain, and installed with statsmodels."""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.datasets import randhie

PLAN = ["site", "coins"]  # coins: percent of a bill that is one's own
PERSON = ["income", "xage", "female", "black", "educdec", "num"]  # num: size of the family
HEALTH = [
    "mhi",
    "disea",
    "physlm",
    "ghindx",
]  # mental and general health, chronic diseases, a physical limitation
VISITS = [0, 2, 5]  # a doctor was seen never, up to two times, up to five, more often


def people() -> dict[str, np.ndarray]:
    """Features float32 [people, 12], NaN where unknown, and labels: how often a doctor was seen in the first year.

    The file has a row for every year of a person. One is kept: else a member would return as a non-member.
    """
    years = pd.read_csv(Path(randhie.__file__).parent / "src/randhie.csv")
    first = years.sort_values(["zper", "year"]).drop_duplicates("zper")
    return {
        "features": first[PLAN + PERSON + HEALTH].to_numpy(np.float32),
        "labels": np.searchsorted(VISITS, first["mdvis"]),
    }
