"""The models of a study: all of them listed, and which are done."""

import csv
from collections import Counter
from pathlib import Path

from leakgap.files import atomic
from leakgap.study.file import Study


def state_of(study: Study, technique: str, mask: str) -> str:
    """Return done, begun (a resume file or folder is there) or missing."""
    if Path(study.paths.logits(technique, mask)).is_file():
        return "done"
    begun = Path(study.paths.resume(technique, mask)), Path(study.paths.recipe_state(technique, mask))
    return "begun" if any(path.exists() for path in begun) else "missing"


def rows(study: Study) -> list[dict[str, str]]:
    """Return one row per model of the grid: technique, mask, role, mask trained on, path of its logits."""
    return [
        {
            "technique": technique,
            "mask": mask,
            "role": "target and shadow" if mask[0] == "m" else "target",
            "trained_on": mask if mask[0] == "m" else "m000",
            "logits": study.paths.logits(technique, mask),
        }
        for technique in study.grid.techniques
        for mask in study.models
    ]


def write_models(study: Study, out: str) -> None:
    """Write models.csv."""
    models = rows(study)
    with atomic(out) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, models[0])
        writer.writeheader()
        writer.writerows(models)


def show_status(study: Study, all: bool) -> None:
    """Print how many models of each technique are done, begun and missing, or the state of every model."""
    states = {
        (row["technique"], row["mask"]): state_of(study, row["technique"], row["mask"]) for row in rows(study)
    }
    if all:
        for (technique, mask), state in states.items():
            print(f"{state:8}{study.paths.logits(technique, mask)}")
        return
    counts = Counter((technique, state) for (technique, _), state in states.items())
    print(f"{'done':>6}{'begun':>7}{'missing':>9}  technique")
    for technique in study.grid.techniques:
        done, begun, missing = (counts[technique, state] for state in ("done", "begun", "missing"))
        print(f"{done:6}{begun:7}{missing:9}  {technique}")
