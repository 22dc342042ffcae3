"""One model by a recipe of the user's own: called, watched at every step, and what it yields checked."""

import hashlib
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from leakgap import LeakgapError
from leakgap.answers.confidence import mistaken_for_logits
from leakgap.arguments import untensored
from leakgap.data.masks import members_digest
from leakgap.objects import Object, check_call, said
from leakgap.training import RECIPE, RESUME
from leakgap.training.job import Answers, Job
from leakgap.versions import version

SMALLEST = float(np.log(np.finfo(np.float32).smallest_subnormal))
MOST_VIEWS = 127  # a view's number is int8 in the logits' files


def answer(job: Job, resume: Path, name: str) -> Answers:
    """Train a model by its recipe, under a progress bar with its name; `resume` is a folder for the recipe's state.

    The recipe gets the arrays by name (labels too), the ids of the records to train on, int64 [members], a seed
    below 2**31, the steps, and its options. Raises LeakgapError for what it raises, after the traceback, and for a
    step's logits that are not finite floats [records, classes] or [views, records, classes], or missing.
    """
    assert job.train.recipe is not None
    recipe, told = Object(job.train.recipe), settings(job)  # now: the file may be edited while its code runs
    given: dict[str, Any] = {
        "data": {**job.pool.arrays, "labels": job.pool.labels.copy()},  # a recipe may add noise to its labels
        "members": np.flatnonzero(job.member),
        "seed": job.seed % 2**31,  # libraries in C take no larger one
        "steps": list(job.train.steps),
    }
    try:
        function = recipe.load()
        _use_threads(job.train.threads)
        if _takes_resume(function, {*RECIPE, *job.train.options}, recipe):
            given[RESUME] = _folder(job, recipe, resume)
        began = time.perf_counter()
        logits = _watched(function(**given, **job.train.options), job, name)
    except LeakgapError:
        raise
    except SystemExit as stop:
        if isinstance(stop.code, int) and stop.code > 128:  # a signal's
            raise
        raise recipe.blamed(stop) from None  # there are no logits
    except Exception as error:  # anything: it is the user's code
        raise recipe.blamed(error) from None
    return Answers(logits, time.perf_counter() - began, told, _machine())


def settings(job: Job) -> dict[str, Any]:
    """Return what all models of a variant share, by the names of the study file."""
    return job.train.settings_of(job.technique, job.views) | {"version of the code": version("train")}


def _takes_resume(function: Callable[..., Any], names: set[str], recipe: Object) -> bool:
    """Say whether a recipe has a parameter `resume`; raise LeakgapError where it can't be called as it will be.

    The study file's check could not see the parameters of every function.
    """
    if not callable(function):
        raise LeakgapError(f"{recipe.text} is {type(function).__name__}, not a function")
    signature = inspect.signature(function)
    has_resume = RESUME in signature.parameters
    if wrong := check_call(signature, names | ({RESUME} if has_resume else set())):
        raise LeakgapError(f"{recipe.text}: its parameter {wrong[0]} is {wrong[1]}")
    return has_resume


def _folder(job: Job, recipe: Object, resume: Path) -> Path:
    """Make the folder for the state of exactly this model: other settings, data or code never find it."""
    told = json.dumps([settings(job), job.seed, job.pool.digest, members_digest(job.member)])
    folder = resume / hashlib.sha256(told.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _watched(yielded: Any, job: Job, name: str) -> list[np.ndarray]:
    """Return the checked logits of every step, moving a progress bar with their accuracy."""
    if inspect.iscoroutine(yielded):
        yielded.close()  # else Python warns, after the sentence, that nobody awaited it
    if not isinstance(yielded, Iterator):
        raise LeakgapError(
            f"the recipe returned {type(yielded).__name__}; it has to yield logits, step by step"
        )
    steps, found = job.train.steps, list[np.ndarray]()
    with tqdm(total=len(steps), unit="step", desc=name, mininterval=1) as bar:
        for value in yielded:
            if len(found) == len(steps):
                raise LeakgapError(f"the recipe yields more than once for each of the {len(steps)} steps")
            found.append(checked(value, job, steps[len(found)], found))
            right = found[-1][0].argmax(1) == job.pool.labels
            bar.set_postfix(
                members=f"{right[job.member].mean():.3f}", others=f"{right[~job.member].mean():.3f}"
            )
            bar.update()
    if len(found) < len(steps):
        raise LeakgapError(f"the recipe ended after {len(found)} of {len(steps)} steps")
    return found


def checked(value: Any, job: Job, step: int, before: list[np.ndarray]) -> np.ndarray:
    """Return what was yielded as a float32 copy [views, records, classes], LeakgapError if it is no such logits."""
    what = f"the logits of step {step}"
    if np.ma.is_masked(value):
        raise LeakgapError(f"{what} have masked values")
    try:
        logits = np.array(untensored(value))
    except Exception as error:  # lists of unequal lengths, and whatever an object of the user's raises
        raise LeakgapError(f"{what} are no array ({said(error)})") from None
    if logits.dtype.kind != "f":
        raise LeakgapError(f"{what} are {logits.dtype}, not floats")
    if logits.ndim == 2:
        logits = logits[None]
    records, classes = len(job.pool.labels), job.pool.classes
    if logits.ndim != 3 or logits.shape[1:] != (records, classes) or not len(logits):
        raise LeakgapError(
            f"{what} are {list(np.shape(value))}, not [records, classes], here {[records, classes]}, or "
            "[views, records, classes]"
        )
    if len(logits) > MOST_VIEWS:
        raise LeakgapError(f"{what} are of {len(logits)} views, more than {MOST_VIEWS}")
    views = len(before[0]) if before else job.views if job.views > 1 else len(logits)
    if len(logits) != views:
        told = "the steps before" if before else "query.views"
        raise LeakgapError(f"{what} are of {len(logits)} views, and {told} of {views}")
    with np.errstate(over="ignore"):
        logits = logits.astype(np.float32)
    # the logarithm of a probability of 0, as trees answer: that of the smallest number that is told from 0
    least = logits.max(-1, keepdims=True) + SMALLEST
    logits = np.where(np.isneginf(logits) & np.isfinite(least), least, logits)
    if not np.isfinite(logits).all():
        view, record = np.argwhere(~np.isfinite(logits).all(2))[0]
        raise LeakgapError(f"{what} are not finite for record {record} (view {view}): {logits[view, record]}")
    if called := mistaken_for_logits(logits):
        raise LeakgapError(f"{what} are {called}: yield their logarithm")
    return logits


def _use_threads(threads: int) -> None:
    """Tell torch, if the recipe uses it; the workflow has told the other libraries by OMP_NUM_THREADS."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _machine() -> dict[str, Any]:
    """Return device and version of torch, as far as the recipe used it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return {"device": "cpu", "torch_version": "not used"}
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_initialized() else "cpu",
        "torch_version": torch.__version__,
    }
