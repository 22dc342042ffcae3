"""What the claims' job has found, for the pages: records, of which a page knows no more than their names."""

from pathlib import Path
from typing import Any

from leakgap.files import read_records

HOLDS = {
    **dict.fromkeys(
        ("attack", "design", "title", "statement", "statistic", "estimand", "verdict", "reason"), str
    ),
    **{"id": int, "notes": list, "rows": list, "secondary": list},
}


def read_claims(path: str | Path | None, origin: str) -> list[dict[str, Any]]:
    """Return the claims of claims.json; none of a study that has no such file, as none was asked.

    LeakgapError where the file is missing, damaged, or of other results.
    """
    return [] if path is None else read_records(path, "claims", origin, HOLDS)
