"""One model by the built-in training: resumed where a killed job left off."""

import hashlib
import io
import json
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from leakgap import LeakgapError
from leakgap.files import atomic
from leakgap.training.job import Answers, Job
from leakgap.training.loop import Progress, Trainer, pick_device
from leakgap.versions import version


def answer(job: Job, resume: Path, name: str) -> Answers:
    """Train a model by the built-in training, under a progress bar with its name; `resume` is its resume file."""
    with tqdm(total=job.train.steps[-1], unit="epoch", desc=name, mininterval=1) as bar:

        def passed(progress: Progress) -> None:
            bar.update(progress.epoch - bar.n)
            bar.set_postfix(progress.history[-1])

        progress = train(job, resume, passed)
    device = pick_device()
    about = {
        "torch_version": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "history": progress.history,
    }
    return Answers([step.numpy() for step in progress.logits], progress.seconds, settings(job), about)


def settings(job: Job) -> dict[str, Any]:
    """Return what all models of a technique share, by the names of the study file."""
    plugins = {"train.plugins' files": list(job.plugins)} if job.plugins else {}
    return (
        job.train.settings_of(job.technique, job.views)
        | plugins
        | {"version of torch": torch.__version__, "version of the code": version("train")}
    )


def fingerprint(job: Job) -> dict[str, Any]:
    """Return everything that the logits depend on, to refuse the state of another job."""
    data = hashlib.sha256()
    for array in (job.pool.images, job.pool.labels, job.member):
        data.update(np.ascontiguousarray(array).data)
    return settings(job) | {"model seed": job.seed, "images, labels or mask": data.hexdigest()}


def train(job: Job, resume: str | Path, passed: Callable[[Progress], None] = lambda _: None) -> Progress:
    """Train a job to its last step, going on from the file `resume` if there is one.

    The file is rewritten, whole, when `train.save_seconds` have passed since the last time, and when SIGTERM
    or Ctrl-C asks the job to stop (exit status 143 or 130, after the epoch at hand); the caller removes it when
    the logits are safe. `passed` is called after every epoch. Raises LeakgapError for a diverged loss, or for a
    resume file that can't be read or belongs to other settings.
    """
    resume, mark = Path(resume), fingerprint(job)
    trainer = Trainer(job, pick_device())
    if resume.is_file():
        _restore(trainer, mark, resume)
    saved = time.monotonic()
    with _asked_to_stop() as stop:
        for progress in trainer.run():
            passed(progress)
            if stop or time.monotonic() - saved >= job.train.save_seconds:
                _save(trainer, mark, resume)
                saved = time.monotonic()
            if stop:
                raise SystemExit(128 + stop[0])
    return trainer.progress


def _save(trainer: Trainer, mark: dict[str, Any], resume: Path) -> None:
    buffer = io.BytesIO()  # torch.save to a full disk is no OSError
    state = trainer.state() | {"fingerprint": json.dumps(mark)}
    torch.save(state | {"digest": digest(state)}, buffer)
    with atomic(resume) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def digest(state: object) -> str:
    """Return the SHA-256 of tensors (type, shape and bits), numbers and text in dicts and lists.

    >>> digest({"epoch": 1}) == digest({"epoch": 2})
    False
    """
    whole, left = hashlib.sha256(), [state]
    while left:
        value = left.pop()
        if isinstance(value, torch.Tensor):
            whole.update(f"{value.dtype} {tuple(value.shape)} ".encode())
            whole.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        elif isinstance(value, dict | list | tuple):
            whole.update(f"{len(value)} ".encode())
            left += [part for item in value.items() for part in item] if isinstance(value, dict) else value
        else:
            whole.update(f"{value!r} ".encode())
    return whole.hexdigest()


def _restore(trainer: Trainer, mark: dict[str, Any], resume: Path) -> None:
    try:
        state = torch.load(resume, map_location="cpu", weights_only=True)
        if state.pop("digest") != digest(state):
            raise ValueError("its content is not as it was saved")
        before, now = json.loads(state["fingerprint"]), json.loads(json.dumps(mark))
        changed = sorted(key for key in before | now if before.get(key) != now.get(key))
        if not changed:
            trainer.restore(state)
    except Exception as error:  # torch raises pickle, zip, value and runtime errors alike
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(
            error, pickle.UnpicklingError
        ):  # torch advises to load it all the same, running its code
            reason = "it is damaged, or holds more than tensors, numbers and text"
        raise LeakgapError(
            f"{resume}: not a readable resume file ({reason}); delete it to start anew"
        ) from None
    if changed:
        raise LeakgapError(
            f"{resume}: it was saved under other settings ({', '.join(changed)}); "
            "delete it to start anew, or put the settings back"
        )


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C in a list instead of dying of them; a second Ctrl-C does not wait."""
    caught: list[int] = []

    def catch(number: int, _: object) -> None:
        if number == signal.SIGINT and caught:
            raise KeyboardInterrupt
        caught.append(number)

    before = {number: signal.signal(number, catch) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
