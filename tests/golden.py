"""What the expensive stages make of tiny inputs, by value: recorded in golden.json, compared by test_golden.py.

Their versions are numbers in leakgap.versions, raised by hand, so something has to notice when results change and
the number doesn't. To record anew, which is refused for a stage whose number is still the same:

    python tests/golden.py
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from leakgap.data.datasets import load
from leakgap.data.masks import balanced_masks
from leakgap.data.pool import Pool
from leakgap.study import Study
from leakgap.training.loop import Job, Trainer
from leakgap.versions import version

RECORD = Path(__file__).with_suffix(".json")
TOLERANCE = 1e-3
# Two epochs of two batches: too short for rounding, which differs between CPUs, to grow beyond the tolerance.
# Large values, so that a change of the recipe does.
TRAIN = {
    "width": 2,
    "epochs": 3,
    "steps": [1, 2],
    "batch_size": 20,
    "lr": 0.1,
    "warmup": 0.6,
    "weight_decay": 0.3,
    "precision": "fp32",
}


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the bytes of arrays, their dtypes and shapes."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def pool() -> dict[str, Any]:
    """A subset of the digits, averaged down."""
    small = load("digits", size=300, side=5, seed=3)
    return {"digest": digest(small.images, small.labels)}


def masks() -> dict[str, Any]:
    """Masks with reserved images."""
    return {"digest": digest(balanced_masks(6, 101, seed=3, reserved=0.1))}


def train(**changes: Any) -> dict[str, Any]:
    """A model of all four techniques: what it was shown, exactly, and what it answers."""
    digits = load("digits", size=40)
    three = Pool({"images": digits.images.repeat(3, 1)}, digits.labels, 10)
    study = Study.load({"name": "golden", "train": TRAIN | changes})
    job = Job(three, np.arange(40) % 4 < 3, "crop+mirror+cutout+policy", 5, study.train, views=4)
    trainer = Trainer(job, torch.device("cpu"))
    order, draws = trainer.draw(1)
    shown = trainer.augmented(order, draws[order])
    *_, progress = trainer.run()
    return {
        "digest": digest(order.numpy(), draws.numpy(), shown.numpy()),
        "logits": torch.stack(progress.logits)[:, :, ::8].double().round(decimals=5).tolist(),
    }


STAGES = {"pool": pool, "masks": masks, "train": train}


def differs(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether results differ by more than the rounding of another CPU."""
    if one["digest"] != other["digest"] or ("logits" in one) != ("logits" in other):
        return True
    return not np.allclose(one.get("logits", 0), other.get("logits", 0), rtol=0, atol=TOLERANCE)


def main() -> None:
    """Record all stages, unless one has changed under its old number."""
    before = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    now = {name: {"version": version(name)} | make() for name, make in STAGES.items()}
    for name, made in now.items():
        if name in before and before[name]["version"] == made["version"] and differs(before[name], made):
            raise SystemExit(f"{name} gives other results: raise its number in leakgap.versions first")
    lines = ",\n".join(f'"{name}": {json.dumps(made)}' for name, made in now.items())
    RECORD.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
