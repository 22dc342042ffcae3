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
    first = _file().drop_duplicates("zper")
    return {"features": _features(first), "labels": _labels(first)}


def years() -> dict[str, np.ndarray]:
    """The same with every year of 2,000 people, and whose it is: `person`."""
    every = _file()
    some = np.random.default_rng(0).permutation(every["zper"].unique())[:2000]
    every = every[every["zper"].isin(some)]
    return {"features": _features(every), "labels": _labels(every), "person": every["zper"].to_numpy()}


def _file() -> pd.DataFrame:
    path = Path(randhie.__file__).parent / "src/randhie.csv"
    return pd.read_csv(path).sort_values(["zper", "year"])


def _features(table: pd.DataFrame) -> np.ndarray:
    return table[PLAN + PERSON + HEALTH].to_numpy(np.float32)


def _labels(table: pd.DataFrame) -> np.ndarray:
    return np.searchsorted(VISITS, table["mdvis"])
