"""One model of the grid: trained by the built-in training or by the user's recipe, and its logits written."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name

from leakgap import LeakgapError
from leakgap.answers import store as logits
from leakgap.data.masks import balanced_masks, mask_row
from leakgap.data.pool import read_pool
from leakgap.files import discard
from leakgap.jobs.gpus import taken, unfit
from leakgap.jobs.running import at_work
from leakgap.objects import staying
from leakgap.study import Study
from leakgap.training import importing
from leakgap.training.job import Answers, Job
from leakgap.training.seeds import derive_seed
from leakgap.versions import version


def train_model(
    study: Study, technique: str, mask: str, *, pool: str, masks: int, save_seconds: int, out: str
) -> None:
    """Train one model, with a progress bar, and write its logits to `out`; then what it could resume from goes.

    `masks`, the number of the study's masks, and `save_seconds`, in place of train.save_seconds, change nothing in
    the results: the model's mask is drawn here, from the seed and its own number, so more masks retrain nothing.
    """
    began = time.perf_counter()
    code = study.training_code(technique)  # before any code of the user's runs: it may be edited meanwhile
    # a job of the workflow is not told of the other techniques, which its rule does not let through
    if "techniques" in vars(study.grid) and technique not in study.grid.techniques:
        known = ", ".join(study.grid.techniques)
        raise LeakgapError(f"technique {technique!r} is not in the study, which has {known}")
    variant, row = study.variant(technique), mask_row(mask, masks)
    data = read_pool(pool)
    drawn = study.data
    member = balanced_masks(
        masks, len(data.labels), drawn.seed, drawn.reserved, data.groups, drawn.inclusion
    )[row]
    seed = derive_seed(variant.train.seed, row, *([int(mask[1:])] if mask[0] == "r" else []))
    train = variant.train.model_copy(update={"save_seconds": save_seconds})
    plugins = tuple(study.training_plugins(variant).digests)
    job = Job(data, member, variant.technique, seed, train, study.query.views, plugins)
    if train.recipe is None:
        kind, resume = "builtin", Path(study.paths.resume(technique, mask))
    else:
        kind, resume = "recipe", Path(study.paths.recipe_state(technique, mask))
    with importing():
        answer: Callable[..., Answers] = resolve_name(f"leakgap.training.{kind}:answer")
    try:
        with at_work(study.paths.at_work(technique, mask)), staying(), taken():
            if kind == "builtin" and (reason := unfit(train.precision)):
                raise LeakgapError(reason)
            given = answer(job, resume, f"{technique}/{mask}")
    except LeakgapError as error:
        raise LeakgapError(f"{technique}/{mask}: {error}") from None
    told = {key: getattr(drawn, key) for key in ("seed", "reserved", "inclusion")}
    settings = {f"data.{key}": value for key, value in {**data.source, **told}.items()} | given.settings
    settings["the user's own files"] = code
    about = {
        "seed": job.seed,
        "config_hash": hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16],
        "pool": data.digest,
        "code_version": version("train"),
        "threads": train.threads,
        "seconds": {"train": round(given.seconds, 3), "job": round(time.perf_counter() - began, 3)},
        "settings": settings,
    }
    logits.write(
        out,
        given.logits,
        data.labels,
        member,
        study=study.name,
        technique=technique,
        mask=mask,
        epochs=train.steps,
        first_view_only=study.query.logits == "first",
        known_logits=True,  # a network's of ours, whatever their size; a recipe's were looked at, step by step
        about=about | given.about,
    )
    if resume.is_dir():
        shutil.rmtree(resume, ignore_errors=True)
    else:
        discard(resume)
