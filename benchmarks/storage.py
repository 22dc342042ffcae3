"""Storage: bytes of a model's logits, and the time that an attack takes to read one step of many models.

    python -m benchmarks.storage [--models 64] [--images 60000] [--classes 10]

One file is a model of the CIFAR-10 study: 6 steps, 2 views, logits of the clean view alone (`query.logits: first`).
Against it: a float32 .npy of all logits, as the reference implementation of LiRA writes them, and pickles. The
logits are synthetic: normal scores that models share in part, and a true class that stands out more for members
and with every step. Files are read just after they were written, so from memory: decoding and copying is
compared, not disks. The attack needs phi, which has to be computed from an .npy of logits.
"""

import argparse
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from leakgap.answers.confidence import phi
from leakgap.answers.store import Reader, write

STEPS, VIEWS, STUDY = 6, 2, 1024


class Models:
    """Logits files of synthetic models in a folder, and .npy files of their last step."""

    def __init__(self, folder: Path, models: int, images: int, classes: int):
        rng = np.random.default_rng(0)
        self.folder, self.labels = folder, rng.integers(0, classes, images)
        self.looks = rng.normal(0, 1.5, (images, classes)).astype(np.float32)  # of an image, to any model
        self.easiness = rng.normal(4, 3, images)
        self.member = rng.random((models, images)) < 0.5
        self.masks = [f"m{index:03}" for index in range(models)]
        self.files = [folder / f"{mask}.parquet" for mask in self.masks]
        self.arrays = [folder / f"{mask}.npy" for mask in self.masks]
        for index in range(models):
            z = self.draw(index)
            self.write(index, self.files[index], z, first_view_only=True)
            np.save(self.arrays[index], z[-1])

    def draw(self, index: int) -> np.ndarray:
        """Return float32 [steps, views, images, classes] of a model."""
        rng, images = np.random.default_rng(index), len(self.labels)
        z = self.looks + 0.7 * rng.standard_normal((STEPS, VIEWS, *self.looks.shape), np.float32)
        for step in range(STEPS):
            push = (1 + step) * (0.6 + 0.8 * self.member[index])
            z[step, :, np.arange(images), self.labels] += (self.easiness + push)[:, None]
        return z

    def write(self, index: int, path: Path, z: np.ndarray, first_view_only: bool) -> None:
        """Write a model's logits file."""
        names = {"study": "s", "technique": "none", "mask": self.masks[index]}
        epochs = range(1, STEPS + 1)
        member = self.member[index]
        write(path, list(z), self.labels, member, **names, epochs=epochs, first_view_only=first_view_only)

    def reader(self) -> Reader:
        """Open and check all files."""
        names = {"study": "s", "technique": "none", "masks": self.masks}
        return Reader(self.files, **names, member=self.member, labels=self.labels)


def sizes(models: Models) -> None:
    """Print bytes of one model, and of the study's 1,024."""
    z, both = models.draw(0), models.folder / "both.parquet"
    models.write(0, both, z, first_view_only=False)
    np.save(models.folder / "both.npy", z)
    some = z[0, 0, :1000]
    rows = {
        "Parquet, logits of the clean view, phi of both": models.files[0].stat().st_size,
        "Parquet, logits of both views": both.stat().st_size,
        ".npy, logits of both views": (models.folder / "both.npy").stat().st_size,
        "pickle of the same array": len(pickle.dumps(z)),
        "pickle of lists of floats": len(pickle.dumps(some.tolist())) * z.size // some.size,
    }
    base = rows[".npy, logits of both views"]
    print(f"\nOne model: {STEPS} steps, {VIEWS} views, {z.shape[2]:,} images, {z.shape[3]} classes.\n")
    print(f"| file | bytes | to .npy | {STUDY:,} models |\n|---|---:|---:|---:|")
    for name, size in rows.items():
        print(f"| {name} | {size:,} | {size / base:.2f} | {size * STUDY / 1e9:.1f} GB |")


def seconds(task: Callable[[], object], rounds: int) -> float:
    """Return the median time of a task."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        task()
        times.append(time.perf_counter() - began)
    return median(times)


def reading(models: Models, rounds: int) -> None:
    """Print the seconds it takes to have phi, and logits, of the last step of all models."""
    reader, arrays, labels = models.reader(), models.arrays, np.stack([models.labels] * VIEWS)
    held = reader.read(STEPS, with_logits=True)
    for row, array in enumerate(arrays):  # both ways to the same numbers
        z = np.load(array)
        np.testing.assert_array_equal(held.phi[row].T, phi(z, labels))
        np.testing.assert_array_equal(held.logits[row], z[0])
    tasks: dict[str, Callable[[], object]] = {
        "ours: check all files against masks, labels and settings, once": models.reader,
        "ours: phi of both views": lambda: reader.read(STEPS),
        ".npy: logits of both views": lambda: np.stack([np.load(array) for array in arrays]),
        ".npy: logits of both views, phi from them": lambda: [
            phi(np.load(array), labels) for array in arrays
        ],
        "ours: phi of both views and logits of the clean one": lambda: reader.read(STEPS, with_logits=True),
        ".npy: logits of the clean view": lambda: np.stack([np.load(a, mmap_mode="r")[0] for a in arrays]),
    }
    print(f"\n| one step of {len(arrays)} models, {labels.shape[1]:,} images | seconds |\n|---|---:|")
    for name, task in tasks.items():
        print(f"| {name} | {seconds(task, rounds):.3f} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", type=int, default=64)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        models = Models(Path(folder), options.models, options.images, options.classes)
        sizes(models)
        reading(models, options.rounds)


if __name__ == "__main__":
    main()
