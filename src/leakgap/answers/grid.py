"""Answers of a study's own models: a file of a grid's logits, the study's masks and what its pool calls records."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from leakgap import LeakgapError
from leakgap.data.masks import Inputs, mask_row, read_inputs
from leakgap.files import read_arrays

__all__ = ["is_grids", "read_grids"]


def is_grids(path: Path) -> bool:
    """Say whether a file is one that a grid's training wrote."""
    if path.suffix != ".parquet":
        return False
    try:
        return b"leakgap" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError, ValueError):
        return False  # whoever reads it says what is wrong


def read_grids(path: Path, step: int | None) -> dict[str, Any]:
    """Return a model's answers at a step, by the names of `Answers`.

    step: epochs of training, as in the study file; None is the last. `masks.npz` and `pool.npz` of the study must
    stand where the study wrote them, two folders above. LeakgapError where something is not as it was written.
    """
    from leakgap.answers.store import Reader, read_model  # needs pydantic, which audits of other files do not

    model = read_model(path)
    if step is not None and step not in model.epochs:
        raise LeakgapError(f"{path}: has no step {step}, only {', '.join(map(str, model.epochs))}")
    at = len(model.epochs) if step is None else model.epochs.index(step) + 1
    folder = path.absolute().parent.parent.parent
    beside = [folder / "masks.npz", folder / "pool.npz"]
    for file in beside:
        if not file.is_file():
            raise LeakgapError(f"{path}: is a model of a study, and {file}, of that study, is not there")
    inputs, record = _inputs(str(folder), *(file.stat().st_mtime_ns for file in beside))
    member = inputs.member[mask_row(model.mask, len(inputs.member))]
    known: dict[str, Any] = {"study": model.study, "technique": model.technique, "masks": [model.mask]}
    answers = Reader([path], **known, member=member[None], labels=inputs.labels).read(at, with_logits=True)
    assert answers.logits is not None
    return {
        "name": f"{path} at step {model.epochs[at - 1]}" if len(model.epochs) > 1 else str(path),
        "kind": "logits",
        "record": record,
        "label": inputs.labels,
        "member": member,
        "reserved": inputs.reserved if inputs.reserved.any() else None,
        "phi": answers.phi[0],
        "logits": answers.logits[0],
        "correct": answers.logits[0].argmax(-1) == inputs.labels,
        "code": inputs.labels,
        "group": inputs.groups,
        "view_names": tuple(map(str, range(model.views))) if model.views > 1 else None,
        "step": str(model.epochs[at - 1]),
    }


@lru_cache(maxsize=1)
def _inputs(folder: str, *changed: int) -> tuple[Inputs, np.ndarray]:
    """Return what the models of a study share: masks and labels, and the ids of its records.

    changed: when the files were, so that files written anew are read anew.
    """
    pool = f"{folder}/pool.npz"
    inputs = read_inputs(pool, f"{folder}/masks.npz")
    names = read_arrays(pool, lambda name: name == "names").get("names")
    whole = names is not None and names.shape == inputs.labels.shape and names.dtype.kind == "U"
    if names is not None and whole and len(np.unique(names)) == len(names) and (names != "").all():
        return inputs, names
    return inputs, np.arange(len(inputs.labels))
