"""What the rules of the workflow give their jobs of a study."""

from leakgap.study import Study

SHOWN = ("summary", "tables", "figures", "claims", "order")


def parts(study: Study) -> dict[str, object]:
    """What the jobs of every rule are given of a study, as the rules' `params:` have it."""
    shown = study.results_part
    return {
        "download": study.part("data.dataset", "data.root"),
        "pool": study.part(*(f"data.{key}" for key in ("dataset", "root", "size", "side", "seed", "groups"))),
        "masks": study.part("data.reserved", "data.seed", "data.inclusion", "grid.masks"),
        "models": study.part("grid.techniques", "grid.masks", "grid.replicates"),
        "train": {name: study.training_part(name) for name in study.grid.techniques},
        "attack": {job: study.attack_part(*job) for job in study.attack_jobs},
        **dict.fromkeys(SHOWN, shown),
        "report": study.part("data", "grid", "train", "query", "attack", "report"),
    }
