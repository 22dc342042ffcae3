"""The folder that an audit is written to: never one with files of other makers under the same names."""

import json
from pathlib import Path

from leakgap import LeakgapError

PEOPLE = ("people.parquet", "people.csv")
WRITTEN = ("audit.json", "records.parquet", "records.csv", *PEOPLE, "report.html")


def check_folder(folder: Path) -> None:
    """Raise LeakgapError where an audit written to `folder` would overwrite files that are no audit's."""
    if folder.exists() and not folder.is_dir():
        raise LeakgapError(f"{folder}: is a file, and the audit writes a folder")
    there = [name for name in WRITTEN if (folder / name).exists()]
    if there and not _is_audit(folder / "audit.json"):
        raise LeakgapError(f"{folder}: holds a {there[0]} that is no audit's; name another folder")


def remove_people(folder: Path) -> None:
    """Remove the tables of people that an earlier audit left: this one knows of none."""
    for name in PEOPLE:
        (folder / name).unlink(missing_ok=True)


def _is_audit(path: Path) -> bool:
    """Whether a file is an audit.json as `leakgap` writes it."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and {"leakgap", "attacks", "answer"} <= about.keys()
