"""Which models of a study are there, and what Snakemake would do about the others."""

from collections import Counter
from pathlib import Path

from leakgap import LeakgapError
from leakgap.answers.store import Model, read_model
from leakgap.jobs.queue import still_queued
from leakgap.study import Study
from leakgap.versions import version

STATES = {  # in the order of the table, with what is to be done about it
    "done": "",
    "stale": "trained under other settings or another version of the code: Snakemake trains them anew",
    "begun": "stopped on the way: Snakemake lets them go on from their last save",
    "missing": "Snakemake trains them",
    "unreadable": "damaged, and Snakemake does not see it: delete them",
    "foreign": "another model under this model's name, and Snakemake does not see it: delete them",
}
NAMED = 5  # files of a state that are named without being asked for


def matches(study: Study, model: Model) -> bool:
    """Return whether a model was trained as the study says; one made elsewhere may tell of its steps alone."""
    if "settings" not in model.about:
        return model.epochs == list(study.variant(model.technique).train.steps)
    expected = study.settings(model.technique) | {"version of the code": version("train")}
    stored = model.settings
    images = study.data.built_in[0] if study.data.built_in else model.images
    return (model.epochs, model.images) == (expected["train.steps"], images) and all(
        stored.get(key) == value
        for key, value in expected.items()
        if key in stored or key.startswith("train.")
    )


def state_of(study: Study, technique: str, mask: str) -> str:
    """Return which of STATES a model is in. Of its file, only what that says of itself is read, not its logits."""
    path = Path(study.paths.logits(technique, mask))
    if not path.is_file():
        begun = Path(study.paths.resume(technique, mask)), Path(study.paths.recipe_state(technique, mask))
        return "begun" if any(each.exists() for each in begun) else "missing"
    try:
        model = read_model(path)
    except LeakgapError:
        return "unreadable"
    if (model.study, model.technique, model.mask) != (study.name, technique, mask):
        return "foreign"
    return "done" if matches(study, model) else "stale"


def show_status(study: Study, all: bool) -> None:
    """Print how many models of each technique are in each state, and what that means; or each with its state."""
    models = [(technique, mask) for technique in study.grid.techniques for mask in study.models]
    states = {study.paths.logits(*model): state_of(study, *model) for model in models}
    if all:
        for path, state in states.items():
            print(f"{state:12}{path}")
        return
    counts = Counter(zip((technique for technique, _ in models), states.values(), strict=True))
    print("".join(f"{state:>12}" for state in STATES) + "  technique")
    for technique in study.grid.techniques:
        print("".join(f"{counts[technique, state]:12}" for state in STATES) + f"  {technique}")
    for state, meaning in STATES.items():
        paths = [path for path, its in states.items() if its == state]
        if meaning and paths:
            print(f"{len(paths)} {state}: {meaning}")
            in_the_way = paths if state in ("unreadable", "foreign") else []
            print("".join(f"  {path}\n" for path in in_the_way[:NAMED]), end="")
            if len(in_the_way) > NAMED:
                print(f"  and {len(in_the_way) - NAMED} more: --all")
    for told in still_queued():
        print(f"{told}.")
