"""What version of the code a stage's results depend on: a parameter of its rule, so that edits rerun it.

What is expensive has a number, raised by hand when results change. What follows is cheap: its version is a digest
of files, listed here; a test sees to it that all are listed that a stage imports. A comment reruns a stage, too.

Imports nothing heavy: the Snakefile asks for every stage at every start.
"""

import hashlib
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODE = "LEAKGAP_CODE"  # environment variable
EXPENSIVE = {"pool": "1", "masks": "2", "train": "1"}
GRID = ("study/grid.py", "study/paths.py", "study/variant.py")
RESULTS = (
    *GRID,
    "arguments.py",
    "archive.py",
    "data/pool.py",
    "estimates.py",
    "files.py",
    "measure",
    "numbers.py",
    "results.py",
)
TABLES = (
    "report/chance.py",
    "report/columns.py",
    "report/decision.py",
    "report/topics.py",
)
AUDIT = ("achieved", "people", "records", "scores", "words")
STAGES = {  # files and folders
    "models": (*GRID, "files.py", "jobs/models.py", "measure/least.py"),
    "attack": (
        *(*RESULTS, "answers", "attacks", "data/masks.py", "jobs/attack.py"),
        *(f"audit/{name}.py" for name in AUDIT),
    ),
    "summary": RESULTS,
    "tables": (*RESULTS, *TABLES, "report/tables.py", "text.py"),
    "figures": (*RESULTS, *TABLES, "order", "report/figures", "text.py"),
    "claims": (*RESULTS, "order", "paper"),
    "order": (*RESULTS, "jobs/order.py", "order", "text.py"),
    "report": (*RESULTS, "order", "report", "text.py"),
}


@cache
def version(stage: str) -> str:
    """Return the code version of a stage: a number raised by hand, or 12 hexadecimal digits.

    >>> version("masks")
    '2'
    """
    if stage in EXPENSIVE:
        return EXPENSIVE[stage]
    return _digest(files(stage))


def files(stage: str) -> list[Path]:
    """Return the files that a stage's version is of."""
    found: set[Path] = set()
    for name in STAGES[stage]:
        path = HERE / name
        found |= {path} if path.is_file() else {*path.rglob("*.py"), *path.rglob("*.j2")}
    return sorted(found)


def package() -> str:
    """Return where this leakgap is, after a digest of its files: `CODE` says so to the jobs of a workflow."""
    return f"{_digest(sorted(HERE.rglob('*.py')))} {HERE}"


def _digest(paths: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(path.relative_to(HERE).as_posix().encode() + path.read_bytes())
    return whole.hexdigest()[:12]
