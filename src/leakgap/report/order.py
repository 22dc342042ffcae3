"""The section of a study's page on what orders the leak: sentences and cells, as the order job wrote them."""

from pathlib import Path
from typing import Any

from leakgap.files import read_records

HOLDS = {"answers": list, "columns": list, "rows": list}


def read_order(path: str | Path | None, origin: str) -> dict[str, Any] | None:
    """Return what the section shows; None where the job has not run, or has no row to show.

    LeakgapError for a file that is damaged or of other results.
    """
    if path is None or not Path(path).is_file():
        return None
    (found,) = read_records(path, "order", origin, HOLDS)[:1]
    return found if found["rows"] else None
