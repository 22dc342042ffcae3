"""The models of a study, listed."""

import csv

from leakgap.files import atomic
from leakgap.study import Study


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
