"""Is this machine fit to train? Tried in under a minute, in a folder of its own, before a study is submitted.

Every line says what was tried and what came of it; the first that fails says what to do. Made-up images stand for
the data, so nothing is downloaded.
"""

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from leakgap import LeakgapError
from leakgap.data.pool import Pool
from leakgap.jobs.gpus import unfit
from leakgap.jobs.plan import show_plan
from leakgap.jobs.timing import made_up, speed
from leakgap.study import Study
from leakgap.training.job import Job

EPOCHS = 3  # of the trainings that are compared bit by bit
IMAGES = 256  # that they train on


def show_doctor(study: Study) -> None:
    """Print what was found; LeakgapError names what is wrong, after everything has been tried."""
    faults = []
    for name, trial in TRIALS.items():
        try:
            print(f"ok      {name}: {trial(study)}", flush=True)
        except LeakgapError as error:
            faults.append(name)
            print(f"wrong   {name}: {error}", flush=True)
    if faults:
        raise LeakgapError(f"this machine is not fit to train {study.name}: {', '.join(faults)}")
    show_plan(study)


def _versions(_: Study) -> str:
    import torch

    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    )


def _device(study: Study) -> str:
    import torch

    from leakgap.training.loop import pick_device

    if reason := unfit(study.train.precision):
        raise LeakgapError(reason)
    device = pick_device()
    if device.type == "cpu":
        return f"no GPU, {os.cpu_count()} CPUs, {study.train.threads} thread a job"
    major, minor = torch.cuda.get_device_capability(device)
    memory = torch.cuda.get_device_properties(device).total_memory
    return f"{torch.cuda.get_device_name(device)}, sm_{major}{minor}, {memory / 2**30:.0f} GiB"


def _pool(study: Study) -> Pool:
    _, channels, side = study.data.built_in or (0, 3, study.data.side or 32)
    return made_up(study, IMAGES, channels, side, 10)


def _job(study: Study) -> Job:
    """A job of the study's most augmented variant that the built-in training trains, cut short."""
    names = [name for name in study.grid.techniques if study.variant(name).train.recipe is None]
    if not names:
        raise LeakgapError(
            "every variant is trained by a recipe, and the doctor tries the built-in training alone"
        )
    variant = study.variant(max(names, key=len))
    pool = _pool(study)
    # no resume file is kept between two saves but what the kill leaves
    train = variant.train.model_copy(
        update={"steps": (EPOCHS,), "epochs": EPOCHS, "warmup": 0, "save_seconds": 0}
    )
    return Job(pool, np.arange(len(pool.labels)) % 2 == 0, variant.technique, 0, train, study.query.views)


def _step(study: Study) -> str:
    from leakgap.training.builtin import train

    with _folder() as folder:
        loss = train(_job(study), folder / "state.pt").history[-1]["loss"]
    return f"{EPOCHS} epochs of {IMAGES // 2} made-up images end with a loss of {loss:.2f}"


def _same_bits(study: Study) -> str:
    from leakgap.training.builtin import train

    with _folder() as folder:
        first, second = (train(_job(study), folder / f"{each}.pt").logits[-1] for each in "ab")
    if (first != second).any():
        off = float((first - second).abs().max())
        raise LeakgapError(
            f"the same training twice ends {off:.2g} apart: set train.deterministic, or a model that is trained "
            "again will not be the same one"
        )
    return "the same training twice ends in the same bits"


def _resumed(study: Study) -> str:
    from leakgap.training.builtin import train
    from leakgap.training.loop import Progress

    class Killed(Exception):
        """Stands for a signal that nothing can catch: nothing is saved after it."""

    def kill(progress: Progress) -> None:
        if progress.epoch == 2:  # the state after epoch 1 is on the disk
            raise Killed

    with _folder() as folder:
        whole = train(_job(study), folder / "whole.pt").logits[-1]
        with suppress(Killed):
            train(_job(study), folder / "killed.pt", kill)
        if not (folder / "killed.pt").is_file():
            raise LeakgapError("a training that was killed left no resume file")
        resumed = train(_job(study), folder / "killed.pt").logits[-1]
    if (whole != resumed).any():
        raise LeakgapError("a training that was killed and went on ends elsewhere: set train.deterministic")
    return "killed after an epoch, it goes on and ends in the same bits"


def _speed(study: Study) -> str:
    job = _job(study)
    name = max(
        (each for each in study.grid.techniques if study.variant(each).technique == job.technique), key=len
    )
    found = speed(study, name, _pool(study))
    return f"{found.trained:.0f} images a second in training, {found.evaluated:.0f} in evaluation ({name})"


TRIALS: dict[str, Callable[[Study], str]] = {
    "versions": _versions,
    "device": _device,
    "training": _step,
    "twice": _same_bits,
    "killed": _resumed,
    "speed": _speed,
}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="leakgap-doctor-") as folder:
        yield Path(folder)
