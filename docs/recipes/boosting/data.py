"""The first year of 5,912 people in the RAND Health Insurance Experiment, as statsmodels carries it (public domain)."""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.datasets import randhie

ASKED = "site coins income xage female black educdec num mhi disea physlm ghindx".split()
VISITS = [0, 2, 5]  # a doctor was seen never, once or twice, up to five times, more often


def people() -> dict[str, np.ndarray]:
    """Features float32 [people, 12], of what was known at the start, and labels: how often a doctor was seen.

    One row a person, who is in the file once a year, so that a member and a non-member are never the same person.
    Unknown values are NaN.
    """
    years = pd.read_csv(Path(randhie.__file__).parent / "src/randhie.csv")
    first = years.sort_values(["zper", "year"]).drop_duplicates("zper")
    return {
        "features": first[ASKED].to_numpy(np.float32),
        "labels": np.searchsorted(VISITS, first["mdvis"]),
    }
