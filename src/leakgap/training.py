"""One training job: a model of one technique on one mask, and its logits of every image at every step."""

import hashlib
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from leakgap import LeakgapError
from leakgap.augment import Technique
from leakgap.files import atomic
from leakgap.pool import Pool
from leakgap.resnet import resnet18
from leakgap.study import Train

AUGMENT_CHUNK = 4096  # images augmented in one call: large enough for the policy's 53 groups to be batches
EVALUATE_CHUNK = 1024
# shifts of the query views, in units of H // 16 pixels: LiRA's 18 views are these, plain and mirrored
SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class Job:
    """One model to be trained. `seed` is the model's own; it trains on the images of `member`, bool [S]."""

    pool: Pool
    member: np.ndarray
    technique: str
    seed: int
    train: Train
    views: int = 1

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the trained weights depend on, to refuse a resume file of another job."""
        data = hashlib.sha256()
        for array in (self.pool.images, self.pool.labels, self.member):
            data.update(np.ascontiguousarray(array))
        return {
            "technique": self.technique,
            "seed": self.seed,
            "views": self.views,
            "data": data.hexdigest(),
            "torch": torch.__version__,
        } | self.train.model_dump(mode="json", exclude={"save_seconds"})


@dataclass
class Progress:
    """How far a job has come: logits of the steps passed, metrics of every epoch, seconds of training."""

    epoch: int = 0
    logits: list[Tensor] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def derive_seed(seed: int, *key: int) -> int:
    """Return an independent 63-bit seed for every key: a model's from its mask, an epoch's from its index."""
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0] >> 1)


def pick_device() -> torch.device:
    """Return CUDA's current device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def normalizer(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation, float32 [1, C, 1, 1] in pixel units."""
    flat = images.transpose(0, 1).flatten(1)
    mean = torch.stack([channel.double().mean() for channel in flat])
    std = torch.stack([channel.double().std(correction=0) for channel in flat])
    return mean.float().view(1, -1, 1, 1), std.clamp(min=1e-3).float().view(1, -1, 1, 1)


def view_of(images: Tensor, view: int) -> Tensor:
    """Return query view 0 (clean), 1 (mirrored), 2.. (shifted by H // 16 pixels, mirrored if odd)."""
    rows, columns = SHIFTS[view // 2]
    if view % 2:
        images = images.flip(-1)
    if rows or columns:
        by = max(1, images.shape[-2] // 16)
        padded = F.pad(images.float(), (by, by, by, by), mode="reflect").to(images.dtype)
        top, left = by + rows * by, by + columns * by
        images = padded[..., top : top + images.shape[-2], left : left + images.shape[-1]]
    return images


def learning_rate(train: Train, done: float) -> float:
    """Return the learning rate after `done` epochs: linear warm-up, then constant or cosine to zero."""
    if done < train.warmup:
        return train.lr * done / train.warmup
    if train.schedule == "constant":
        return train.lr
    return train.lr * 0.5 * (1 + math.cos(math.pi * (done - train.warmup) / (train.epochs - train.warmup)))


class SGD:
    """torch.optim.SGD's update with momentum, weight decay and Nesterov's option, in a few kernels for all weights.

    torch.optim's own class imports torch's compiler when it is made, over a second: as long as it takes to train
    a tenth of a small model.
    """

    def __init__(self, weights: list[Tensor], momentum: float, weight_decay: float, nesterov: bool):
        self.weights, self.momentum, self.decay, self.nesterov = weights, momentum, weight_decay, nesterov
        self.buffers = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the weights from their gradients, and drop these."""
        gradients = [weight.grad for weight in self.weights]
        torch._foreach_add_(gradients, self.weights, alpha=self.decay)
        torch._foreach_mul_(self.buffers, self.momentum)
        torch._foreach_add_(self.buffers, gradients)
        if self.nesterov:
            torch._foreach_add_(gradients, self.buffers, alpha=self.momentum)
        torch._foreach_add_(self.weights, gradients if self.nesterov else self.buffers, alpha=-lr)
        for weight in self.weights:
            weight.grad = None


class Trainer:
    """Model, optimizer and data of one job on one device; `state` and `restore` carry them over a kill."""

    def __init__(self, job: Job, device: torch.device):
        train, pool = job.train, job.pool
        torch.set_num_threads(train.threads)
        if train.deterministic and device.type == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = not train.deterministic
        torch.manual_seed(job.seed)
        self.job, self.device, self.progress = job, device, Progress()
        images = torch.from_numpy(pool.images)
        mean, std = normalizer(images)
        self.technique = Technique.parse(
            job.technique, fill=mean.flatten().tolist(), options=technique_options(train)
        )
        self.images, self.mean, self.scale = images.to(device), mean.to(device), (1 / std).to(device)
        self.labels = torch.from_numpy(pool.labels).to(device)
        self.ids = torch.from_numpy(np.flatnonzero(job.member))
        model = resnet18(pool.classes, images.shape[1], train.width)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.forward = torch.compile(self.model) if train.compile and device.type == "cuda" else self.model
        self.optimizer = SGD(
            list(self.model.parameters()), train.momentum, train.weight_decay, train.nesterov
        )

    def normalize(self, images: Tensor) -> Tensor:
        """Return uint8 images as channels_last float32 of mean 0 and standard deviation 1."""
        x = images.to(torch.float32, memory_format=torch.channels_last)
        return x.sub_(self.mean).mul_(self.scale)

    def run(self, passed: Callable[["Trainer"], None] = lambda _: None) -> Progress:
        """Train from the epoch reached to the last step, calling `passed` after every epoch.

        Raises LeakgapError when the loss is no longer finite.
        """
        while self.progress.epoch < self.job.train.steps[-1]:
            began = time.perf_counter()
            metrics = self.epoch(self.progress.epoch)
            self.progress.epoch += 1
            self.progress.history.append(metrics)
            if not math.isfinite(metrics["loss"]):
                raise LeakgapError(
                    f"{self.job.technique}: the training loss is {metrics['loss']} after epoch "
                    f"{self.progress.epoch}; lower train.lr or raise train.warmup"
                )
            if self.progress.epoch in self.job.train.steps:
                self.progress.logits.append(self.logits())
            self.progress.seconds += time.perf_counter() - began
            passed(self)
        return self.progress

    def epoch(self, index: int) -> dict[str, float]:
        """Train one epoch; return its mean loss and accuracy on the augmented batches.

        Order and augmentation are drawn on the CPU from (model seed, epoch) and the draws belong to image
        ids, so neither batch size, device nor resuming changes them.
        """
        train, members = self.job.train, len(self.ids)
        generator = torch.Generator().manual_seed(derive_seed(self.job.seed, index))
        draws = self.technique.draw(len(self.images), generator)
        order = self.ids[torch.randperm(members, generator=generator)]
        on_device = order.to(self.device, non_blocking=True)
        images = torch.cat(
            [
                self.technique.apply(self.images[there], draws[here])
                for here, there in zip(
                    order.split(AUGMENT_CHUNK), on_device.split(AUGMENT_CHUNK), strict=True
                )
            ]
        )
        labels = self.labels[on_device]
        batches = math.ceil(members / train.batch_size)
        self.model.train()
        loss_sum = torch.zeros((), device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for batch, (x, y) in enumerate(
            zip(images.tensor_split(batches), labels.tensor_split(batches), strict=True)
        ):
            loss, logits = self.step(x, y, learning_rate(train, index + (batch + 0.5) / batches))
            loss_sum += loss.detach() * len(y)
            correct += (logits.detach().argmax(1) == y).sum()
        return {"loss": loss_sum.item() / members, "accuracy": correct.item() / members}

    def step(self, images: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        """Do one step of SGD on uint8 images, without ever waiting for the device; return loss and logits."""
        logits = self.predict(images)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimizer.step(lr)
        return loss, logits

    def predict(self, images: Tensor) -> Tensor:
        """Return the logits of uint8 images under the training precision."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.job.train.precision == "bf16"):
            return self.forward(self.normalize(images))

    @torch.inference_mode()
    def logits(self) -> Tensor:
        """Return float32 [views, S, classes] on the CPU: BatchNorm in eval mode, no autocast."""
        self.model.eval()
        views = []
        for view in range(self.job.views):
            chunks = [
                self.model(self.normalize(view_of(images, view)))
                for images in self.images.split(EVALUATE_CHUNK)
            ]
            views.append(torch.cat(chunks))
        return torch.stack(views).cpu()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on as if nothing had happened."""
        return {
            "fingerprint": json.dumps(self.job.fingerprint),
            "model": self.model.state_dict(),
            "momentum": self.optimizer.buffers,
            "epoch": self.progress.epoch,
            "logits": self.progress.logits,
            "history": self.progress.history,
            "seconds": self.progress.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a state; raises LeakgapError naming the settings in which it is of another job."""
        before, now = json.loads(state["fingerprint"]), json.loads(json.dumps(self.job.fingerprint))
        changed = sorted(key for key in before | now if before.get(key) != now.get(key))
        if changed:
            raise LeakgapError(f"it was saved under other settings ({', '.join(changed)})")
        self.model.load_state_dict(state["model"])
        for buffer, saved in zip(self.optimizer.buffers, state["momentum"], strict=True):
            buffer.copy_(saved)
        self.progress = Progress(state["epoch"], state["logits"], state["history"], state["seconds"])


def technique_options(train: Train) -> dict[str, dict[str, Any]]:
    """Return the options of the techniques that have some."""
    return {"crop": train.crop.model_dump(), "cutout": train.cutout.model_dump()}


def train(job: Job, resume: str | Path, passed: Callable[[Progress], None] = lambda _: None) -> Progress:
    """Train a job to its last step, going on from the file `resume` if there is one.

    The file is rewritten, whole, when `train.save_seconds` have passed since the last time, and when SIGTERM
    asks the job to stop (exit status 143, after the epoch at hand); the caller removes it when the logits are
    safe. `passed` is called after every epoch. Raises LeakgapError for a diverged loss, or for a resume file
    that can't be read or belongs to other settings.
    """
    resume = Path(resume)
    trainer = Trainer(job, pick_device())
    if resume.is_file():
        _restore(trainer, resume)
    saved = time.monotonic()

    def after_epoch(trainer: Trainer) -> None:
        nonlocal saved
        passed(trainer.progress)
        if stop or time.monotonic() - saved >= job.train.save_seconds:
            with atomic(resume) as temporary:
                torch.save(trainer.state(), temporary)
            saved = time.monotonic()
        if stop:
            raise SystemExit(128 + signal.SIGTERM)

    with _sigterm() as stop:
        return trainer.run(after_epoch)


def _restore(trainer: Trainer, resume: Path) -> None:
    try:
        state = torch.load(resume, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, value and runtime errors alike
        raise LeakgapError(
            f"{resume}: not a readable resume file ({error}); delete it to start anew"
        ) from None
    try:
        trainer.restore(state)
    except LeakgapError as error:
        raise LeakgapError(f"{resume}: {error}; delete it to start anew, or put the settings back") from None


@contextmanager
def _sigterm() -> Iterator[list[int]]:
    """Collect SIGTERM in a list instead of dying of it."""
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        signal.signal(signal.SIGTERM, before)
