"""The attack jobs' tables, joined over the study: summary, halves, pooled, replicates, curves, shadows, models."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from leakgap import LeakgapError
from leakgap.files import atomic
from leakgap.study import NONE, Study


def join(_: Study, parts: Sequence[str], out: Sequence[str]) -> None:
    """Write each file of `out`, Parquet or CSV, from the files in `parts` of its stem, in their order.

    The row of a model that several attack jobs name is kept once. LeakgapError lists the files that are missing.
    """
    missing = [path for path in parts if not Path(path).is_file()]
    if missing:
        raise LeakgapError(f"{len(missing)} tables of attack jobs are missing: {', '.join(missing)}")
    whole = {}
    for name in {Path(path).stem for path in out}:
        tables = [pd.read_parquet(path) for path in parts if Path(path).stem == name]
        whole[name] = pd.concat(tables, ignore_index=True)
    if "models" in whole:
        whole["models"] = whole["models"].drop_duplicates(["technique", "mask"], ignore_index=True)
    for path in map(Path, out):
        with atomic(path) as temporary:
            if path.suffix == ".csv":
                whole[path.stem].to_csv(temporary, index=False)
            else:
                whole[path.stem].to_parquet(temporary, index=False)


def read(joined: Sequence[str], table: str) -> pd.DataFrame:
    """Read the joined table of this name among the files `joined`; LeakgapError when `summary` has not run."""
    path = next(path for path in joined if Path(path).name == f"{table}.parquet")
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise LeakgapError(f"{path} is missing: run the summary first") from None


def known(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `study.attacker`; against none both attackers are the same, filed as informed."""
    return table[(table["attacker"] == study.attacker) | (table["technique"] == NONE)]
