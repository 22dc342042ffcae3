"""How fast this machine trains a study's models, measured in seconds on made-up images of the study's size."""

import time
from dataclasses import dataclass

import numpy as np

from leakgap.data.pool import Pool, at_once
from leakgap.study import Study
from leakgap.training.job import Job

BATCHES, WARM = 6, 2  # timed steps, after steps that choose kernels and fill caches
CHUNKS = 2  # evaluated


@dataclass(frozen=True)
class Speed:
    """Images a second of one process: through training with its augmentation, and through evaluation."""

    device: str
    trained: float
    evaluated: float

    def seconds(self, members: int, images: int, epochs: int, evaluations: int) -> float:
        """Return the seconds of one model: `evaluations` are steps times views."""
        return epochs * members / self.trained + evaluations * images / self.evaluated


def made_up(study: Study, images: int, channels: int, side: int, classes: int) -> Pool:
    """Return a pool of random images, as many as the timed batches take and one of every class at the least."""
    count = max(classes, min(images, study.train.batch_size * (BATCHES + WARM)))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, channels, side, side), dtype=np.uint8)
    return Pool({"images": pixels}, np.arange(count) % classes, classes)


def speed(study: Study, name: str, pool: Pool) -> Speed:
    """Train a few batches of a variant and evaluate a few chunks; the built-in training alone.

    Augmentation, batches, precision and device are the training's own; what is left out is reading the pool and
    starting Python.
    """
    import torch

    from leakgap.training.loop import EVALUATE_CHUNK, Trainer, pick_device

    variant = study.variant(name)
    job = Job(pool, np.ones(len(pool.labels), bool), variant.technique, 0, variant.train, 1)
    device = pick_device()
    trainer = Trainer(job, device)

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    order, draws = trainer.draw(0)
    batches = order.split(min(variant.train.batch_size, max(2, len(order) // (BATCHES + WARM))))
    trainer.model.train()
    began, seen = 0.0, 0
    for number, ids in enumerate(batches[: BATCHES + WARM]):
        if number == min(WARM, len(batches) - 1):
            wait()
            began, seen = time.perf_counter(), 0
        images = trainer.augmented(ids, draws[ids])
        trainer.step(images, trainer.labels[ids.to(device)], variant.train.lr)
        seen += len(ids)
    wait()
    trained = seen / (time.perf_counter() - began)
    trainer.images = trainer.images[: CHUNKS * at_once(EVALUATE_CHUNK, *trainer.images.shape[2:])]
    trainer.logits()
    began = time.perf_counter()
    trainer.logits()
    evaluated = len(trainer.images) / (time.perf_counter() - began)
    called = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return Speed(called, trained, evaluated)
