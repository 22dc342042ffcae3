"""Which models of a study are there or at work, and what Snakemake would do about the others."""

import json
import sys
import time
from base64 import b64encode
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from leakgap import LeakgapError
from leakgap.answers.store import Model, read_model
from leakgap.jobs.plan import duration
from leakgap.jobs.queue import still_queued
from leakgap.jobs.running import Bar, is_at_work, progress
from leakgap.study import Study
from leakgap.versions import version

STATES = {  # in the order of the table, with what is to be done about it
    "done": "",
    "running": "",
    "stale": "trained under other settings or another version of the code: Snakemake trains them anew",
    "older": "older than the data or the pool, as after a copy without times (cp -r): Snakemake trains them anew, "
    "unless `snakemake --touch` tells it that nothing but times has changed",
    "begun": "stopped on the way: Snakemake lets them go on from their last save",
    "missing": "Snakemake trains them",
    "unreadable": "damaged, and Snakemake does not see it: delete them",
    "foreign": "another model under this model's name, and Snakemake does not see it: delete them",
}
NAMED = 5  # files of a state that are named without being asked for
CHECKSUM = 1_000_000  # bytes from which on Snakemake goes by a file's time alone
AGAIN = 5  # seconds between two looks


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


@dataclass
class Look:
    """Looks at a study's models, one after another: what was read of a file is read again when that has changed.

    Of a file, only what it says of itself is read, not its logits.
    """

    study: Study
    read: dict[str, tuple[tuple[int, int], str, float | None]] = field(default_factory=dict)

    def states(self, models: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return (technique, mask) -> which of STATES it is in."""
        since = _trained_since(self.study)
        return {model: self._state(*model, since) for model in models}

    def _state(self, technique: str, mask: str, since: float) -> str:
        paths = self.study.paths
        name = paths.logits(technique, mask)
        if is_at_work(paths.at_work(technique, mask)):
            return "running"
        try:
            found = Path(name).stat()
        except OSError:
            begun = Path(paths.resume(technique, mask)), Path(paths.recipe_state(technique, mask))
            return "begun" if any(each.exists() for each in begun) else "missing"
        stamp = found.st_size, found.st_mtime_ns
        if self.read.get(name, (None,))[0] != stamp:
            self.read[name] = stamp, *self._read(name, technique, mask)
        state = self.read[name][1]
        return "older" if state == "done" and found.st_mtime < since else state

    def _read(self, name: str, technique: str, mask: str) -> tuple[str, float | None]:
        if not Path(name).is_file():
            return "missing", None
        try:
            model = read_model(name)
        except LeakgapError:
            return "unreadable", None
        if (model.study, model.technique, model.mask) != (self.study.name, technique, mask):
            return "foreign", None
        seconds = model.about.get("seconds")
        took = seconds.get("job") if isinstance(seconds, dict) else None
        return "done" if matches(self.study, model) else "stale", took

    def seconds(self, technique: str) -> float | None:
        """Return what a model of a technique took, on average, or one of any technique; None while none is done."""
        took: dict[str, list[float]] = defaultdict(list)
        for name, (_, _, seconds) in self.read.items():
            if seconds is not None:
                took[Path(name).parent.name].append(seconds)
        known = took.get(technique) or [each for some in took.values() for each in some]
        return fmean(known) if known else None


def state_of(study: Study, technique: str, mask: str) -> str:
    """Return which of STATES a model is in."""
    return Look(study).states([(technique, mask)])[technique, mask]


def _trained_since(study: Study) -> float:
    """Return the time before which Snakemake takes a model for outdated, by times and by its notes on the pool."""
    pool = Path(study.paths.pool)
    if not pool.is_file():
        return -float("inf")
    note = Path(".snakemake/metadata") / b64encode(str(pool).encode()).decode()
    try:
        params = json.loads(note.read_text(encoding="utf-8"))["params"]
    except (OSError, ValueError, LookupError):
        params = []
    if params and study.data.files and repr(study.data.stamp) not in params:
        return float("inf")  # it makes the pool anew, since the data's file is another
    found = pool.stat()
    return found.st_mtime if found.st_size > CHECKSUM else -float("inf")


def show_status(study: Study, all: bool, watch: bool) -> None:
    """Print how many models of each technique are in each state, and what that means; or each with its state.

    `watch`: again and again, until every model is there or Ctrl-C.
    """
    look = Look(study)
    models = [(technique, mask) for technique in study.grid.techniques for mask in study.models]
    while True:
        states = look.states(models)
        text = "\n".join(_each(study, states) if all else _page(look, states))
        if watch and sys.stdout.isatty():
            text = f"\x1b[H\x1b[J{text}"
        print(text, flush=True)
        if not watch or set(states.values()) <= {"done"}:
            return
        try:
            time.sleep(AGAIN)
        except KeyboardInterrupt:
            return


def _each(study: Study, states: dict[tuple[str, str], str]) -> list[str]:
    return [f"{state:12}{study.paths.logits(*model)}" for model, state in states.items()]


def _page(look: Look, states: dict[tuple[str, str], str]) -> list[str]:
    paths, counts = look.study.paths, Counter((technique, state) for (technique, _), state in states.items())
    lines = ["".join(f"{state:>12}" for state in STATES) + "  technique"]
    for technique in look.study.grid.techniques:
        lines.append("".join(f"{counts[technique, state]:12}" for state in STATES) + f"  {technique}")
    running = {
        model: progress(paths.log("train/{}/{}".format(*model)))
        for model, state in states.items()
        if state == "running"
    }
    lines += _running(look, running)
    if left := _left(look, states, running):
        lines.append(left)
    for state, meaning in STATES.items():
        of_state = [paths.logits(*model) for model, its in states.items() if its == state]
        if meaning and of_state:
            lines.append(f"{len(of_state)} {state}: {meaning}")
            if state in ("unreadable", "foreign"):
                lines += _named([f"  {path}" for path in of_state])
    return [*lines, *(f"{told}." for told in still_queued())]


def _named(lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - NAMED} more: --all"] if len(lines) > NAMED else []
    return [*lines[:NAMED], *more]


def _running(look: Look, running: dict[tuple[str, str], Bar | None]) -> list[str]:
    """Say how far each training is; those that are furthest first."""
    lines = []
    for (technique, mask), bar in running.items():
        left = _model_left(look, technique, bar)
        said = f"{bar.done} of {bar.total}" if bar else "at work"
        told = "" if left is None else f", about {duration(left)} left"
        lines.append((-(bar.done / bar.total if bar else 0), f"  {technique}/{mask}: {said}{told}"))
    lines.sort()
    return [f"{len(running)} running", *_named([line for _, line in lines])] if running else []


def _model_left(look: Look, technique: str, bar: Bar | None) -> float | None:
    """Seconds left of a training: by its own bar, or by what others of its technique took."""
    if bar and bar.left is not None and bar.done:
        return bar.left
    took = look.seconds(technique)
    return None if took is None else max(0.0, took - (bar.gone if bar else 0))


def _left(
    look: Look, states: dict[tuple[str, str], str], running: dict[tuple[str, str], Bar | None]
) -> str | None:
    """Say when all models will be there if as many run at a time as do now; None where that can't be told."""
    if not running:
        return None
    known = {model: bar.gone + bar.left for model, bar in running.items() if bar and bar.left is not None}
    own = fmean(known.values()) if known else None
    parts = [_model_left(look, technique, bar) for (technique, _), bar in running.items()]
    for (technique, _), state in states.items():
        if state in ("stale", "older", "begun", "missing"):
            took = look.seconds(technique)
            parts.append(own if took is None else took)
    seconds = [part for part in parts if part is not None]
    if len(seconds) < len(parts):
        return None
    there = sum(state == "done" for state in states.values())
    left = max(sum(seconds) / len(running), *seconds)
    return (
        f"{there} of {len(states)} models; about {duration(left)} of training left, {len(running)} at a time"
    )
