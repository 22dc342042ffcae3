"""The models of a study: training one, listing all, and which of them are done."""

import csv
import gc
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.augment import canonical
from leakgap.data.masks import read_masks
from leakgap.data.pool import Pool, read_pool
from leakgap.files import atomic, discard
from leakgap.study import Study
from leakgap.versions import version


def mask_row(mask: str, member: np.ndarray) -> int:
    """Return the row of `member` that a model trains on: its own, or 0 for a replicate."""
    kind, digits = mask[:1], mask[1:]
    if kind not in ("m", "r") or not digits.isdigit() or mask != f"{kind}{int(digits):03}":
        raise LeakgapError(f"mask {mask!r} is neither a mask m000.. nor a replicate r000..")
    if kind == "r":
        return 0
    if int(digits) >= len(member):
        raise LeakgapError(f"mask {mask!r} is not in the study, which has m000 to m{len(member) - 1:03}")
    return int(digits)


def train_model(study: Study, technique: str, mask: str, save_seconds: int | None = None) -> None:
    """Train one model, with a progress bar, and write its logits; the resume file goes when they are safe.

    `save_seconds` stands in for train.save_seconds, which changes nothing in the results.
    """
    with _importing():
        import torch
        from tqdm import tqdm

        from leakgap import logits
        from leakgap.training import loop as training

    canonical(technique)
    pool, member, _ = read_inputs(study)
    row = mask_row(mask, member)
    seed = training.derive_seed(study.train.seed, row, *([int(mask[1:])] if mask[0] == "r" else []))
    saves = {} if save_seconds is None else {"save_seconds": save_seconds}
    settings = study.train.model_copy(update=saves)
    job = training.Job(pool, member[row], technique, seed, settings, study.query.views)
    resume, output = (Path(path(technique, mask)) for path in (study.paths.resume, study.paths.logits))
    began = time.perf_counter()
    with tqdm(total=study.train.steps[-1], unit="epoch", desc=f"{technique}/{mask}", mininterval=1) as bar:

        def passed(progress: training.Progress) -> None:
            bar.update(progress.epoch - bar.n)
            bar.set_postfix(progress.history[-1])

        try:
            progress = training.train(job, resume, passed)
        except LeakgapError as error:
            raise LeakgapError(f"{technique}/{mask}: {error}") from None
    device = training.pick_device()
    about = {
        "seed": seed,
        "config_hash": hashlib.sha256(json.dumps(job.settings).encode()).hexdigest()[:16],
        "code_version": version("train"),
        "torch_version": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": study.train.threads,
        "seconds": {"train": round(progress.seconds, 3), "job": round(time.perf_counter() - began, 3)},
        "history": progress.history,
        "settings": job.settings,
    }
    logits.write(
        output,
        [step.numpy() for step in progress.logits],
        pool.labels,
        member[row],
        study=study.name,
        technique=technique,
        mask=mask,
        epochs=study.train.steps,
        first_view_only=study.query.logits == "first",
        about=about,
    )
    discard(resume)


@contextmanager
def _importing() -> Iterator[None]:
    """Collect no garbage while modules are imported, nor theirs ever: importing torch takes 0.8 s less of 2.2."""
    gc.disable()
    yield
    gc.enable()
    gc.freeze()


def read_inputs(study: Study) -> tuple[Pool, np.ndarray, np.ndarray]:
    """Return the pool, member bool [N, S] and reserved bool [S]; LeakgapError where they are not of one study."""
    pool = read_pool(study.paths.pool)
    member, reserved = read_masks(study.paths.masks)
    if member.shape[1] != len(pool.labels):
        raise LeakgapError(
            f"{study.paths.masks}: made for {member.shape[1]} images, not the {len(pool.labels)} of the pool"
        )
    return pool, member, reserved


def state_of(study: Study, technique: str, mask: str) -> str:
    """Return done, begun (a resume file is there) or missing."""
    if Path(study.paths.logits(technique, mask)).is_file():
        return "done"
    return "begun" if Path(study.paths.resume(technique, mask)).is_file() else "missing"


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


def write_models(study: Study) -> None:
    """Write models.csv."""
    models = rows(study)
    with atomic(study.paths.models) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, models[0])
        writer.writeheader()
        writer.writerows(models)


def show_status(study: Study, every: bool) -> None:
    """Print how many models of each technique are done, begun and missing, or the state of every model."""
    states = {
        (row["technique"], row["mask"]): state_of(study, row["technique"], row["mask"]) for row in rows(study)
    }
    if every:
        for (technique, mask), state in states.items():
            print(f"{state:8}{study.paths.logits(technique, mask)}")
        return
    counts = Counter((technique, state) for (technique, _), state in states.items())
    print(f"{'done':>6}{'begun':>7}{'missing':>9}  technique")
    for technique in study.grid.techniques:
        done, begun, missing = (counts[technique, state] for state in ("done", "begun", "missing"))
        print(f"{done:6}{begun:7}{missing:9}  {technique}")
