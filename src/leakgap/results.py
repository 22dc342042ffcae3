"""The attack jobs' tables, joined over the study: summary, halves, pooled, replicates, curves, shadows."""

import pandas as pd

from leakgap import LeakgapError
from leakgap.files import atomic
from leakgap.study import NONE, Study

CSV = ("metrics", "pooled")  # also written as CSV: what people open first


def join(study: Study) -> None:
    """Join every table of every attack job; LeakgapError lists the jobs whose tables are missing."""
    for table in study.paths.ATTACK_TABLES:
        parts, missing = [], []
        for job in study.attack_jobs:
            try:
                parts.append(pd.read_parquet(study.paths.attack(*job, table)))
            except FileNotFoundError:
                missing.append(study.paths.attack(*job, table))
        if missing:
            raise LeakgapError(f"tables of {len(missing)} attack jobs are missing: {', '.join(missing)}")
        joined, path = pd.concat(parts, ignore_index=True), study.paths.joined(table)
        with atomic(path) as temporary:
            joined.to_parquet(temporary, index=False)
        if table in CSV:
            with atomic(path.replace(".parquet", ".csv")) as temporary:
                joined.to_csv(temporary, index=False)


def read(study: Study, table: str) -> pd.DataFrame:
    """Read one joined table; LeakgapError when `summary` has not run."""
    path = study.paths.joined(table)
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise LeakgapError(f"{path} is missing: run the summary first") from None


def known(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `study.attacker`; against none both attackers are the same, filed as informed."""
    return table[(table["attacker"] == study.attacker) | (table["technique"] == NONE)]
