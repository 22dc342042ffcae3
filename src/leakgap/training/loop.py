"""One training job: a model of one technique on one mask, and its logits of every image at every step."""

import hashlib
import io
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from leakgap import LeakgapError
from leakgap.augment import Technique, canonical
from leakgap.data.pool import Pool
from leakgap.files import atomic
from leakgap.study import ARCHITECTURES, Train
from leakgap.versions import version

AUGMENT_CHUNK = 4096  # images augmented in one call: the policy's operations then work on whole batches
EVALUATE_CHUNK = 512
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
    def settings(self) -> dict[str, Any]:
        """What all models of a technique share, by the names of the study file."""
        unused = {"save_seconds"} | {"crop", "cutout"} - set(canonical(self.technique))
        train = self.train.model_dump(mode="json", exclude=unused)
        return {f"train.{key}": value for key, value in train.items()} | {
            "query.views": self.views,
            "technique": self.technique,
            "version of torch": torch.__version__,
            "version of the code": version("train"),
        }

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Everything that the logits depend on, to refuse the state of another job."""
        data = hashlib.sha256()
        for array in (self.pool.images, self.pool.labels, self.member):
            data.update(np.ascontiguousarray(array).data)
        return self.settings | {"model seed": self.seed, "images, labels or mask": data.hexdigest()}


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


def network(architecture: str, classes: int, channels: int, width: int) -> nn.Module:
    """Return a new model of a registered architecture: float [B, channels, H, W] -> logits [B, classes]."""
    return resolve_name(ARCHITECTURES[architecture])(classes, channels, width)


def normalizer(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return each channel's mean and standard deviation (at least 1e-3), in pixel units, of uint8 [S, C, H, W].

    Summed up in whole numbers, so that nothing depends on the order.
    """
    chunks = [images[start : start + 4096] for start in range(0, len(images), 4096)]
    total = sum(chunk.sum((0, 2, 3), dtype=np.int64) for chunk in chunks)
    squares = sum(np.square(chunk, dtype=np.uint16).sum((0, 2, 3), dtype=np.int64) for chunk in chunks)
    mean = total / (images.size // images.shape[1])
    variance = squares / (images.size // images.shape[1]) - mean**2
    return mean.tolist(), np.sqrt(variance.clip(1e-6)).tolist()


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
    """torch.optim.SGD(fused=True)'s update: weight decay, momentum, Nesterov's option, one kernel for all weights.

    torch.optim's own class imports torch's compiler when it is made, over a second: as long as it takes to train
    a tenth of a small model.
    """

    def __init__(self, weights: list[Tensor], momentum: float, weight_decay: float, nesterov: bool):
        self.weights = weights
        self.buffers = [torch.zeros_like(weight) for weight in weights if momentum]
        self.settings: dict[str, Any] = {
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "dampening": 0.0,
            "maximize": False,
            "is_first_step": False,
        }

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the weights from their gradients, and drop these."""
        gradients: list[Any] = [weight.grad for weight in self.weights]
        torch._fused_sgd_(self.weights, gradients, self.buffers, lr=lr, **self.settings)
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
        torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32: TF32 keeps 10 bits of the mantissa
        torch.manual_seed(job.seed)
        self.job, self.device, self.progress = job, device, Progress()
        mean, std = normalizer(pool.images)
        self.technique = Technique.parse(job.technique, fill=mean, options=technique_options(train))
        self.mean = torch.tensor(mean).view(1, -1, 1, 1).to(device)
        self.scale = (1 / torch.tensor(std)).view(1, -1, 1, 1).to(device)
        self.images = torch.from_numpy(pool.images).to(device)
        self.labels = torch.from_numpy(pool.labels).to(device)
        self.ids = torch.from_numpy(np.flatnonzero(job.member))
        model = network(train.architecture, pool.classes, pool.images.shape[1], train.width)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        compiled = train.compile and device.type == "cuda"
        # batches have two sizes at most: two fixed programs, not one for any size
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.optimizer = SGD(
            list(self.model.parameters()), train.momentum, train.weight_decay, train.nesterov
        )

    def normalize(self, images: Tensor) -> Tensor:
        """Return uint8 images as channels_last float32 of mean 0 and standard deviation 1."""
        x = images.to(torch.float32, memory_format=torch.channels_last)
        return x.sub_(self.mean).mul_(self.scale)

    def run(self, passed: Callable[["Trainer"], None] = lambda _: None) -> Progress:
        """Train from the epoch reached to the last step, calling `passed` after every epoch.

        Raises LeakgapError when the loss or a logit is no longer finite.
        """
        progress, steps = self.progress, self.job.train.steps
        while progress.epoch < steps[-1]:
            began = time.perf_counter()
            metrics = self.epoch(progress.epoch)
            progress.epoch += 1
            progress.history.append(metrics)
            if not math.isfinite(metrics["loss"]):
                raise _diverged(f"the training loss is {metrics['loss']}", progress.epoch)
            if progress.epoch in steps:
                progress.logits.append(self.logits())
                if not progress.logits[-1].isfinite().all():
                    raise _diverged("some logits are not finite", progress.epoch)
            progress.seconds += time.perf_counter() - began
            passed(self)
        return progress

    def epoch(self, index: int) -> dict[str, float]:
        """Train one epoch; return its mean loss and accuracy on the augmented batches.

        Batches are of nearly equal size: a small last one would spoil BatchNorm's running statistics.
        """
        order, draws = self.draw(index)
        images = torch.cat([self.augmented(ids, draws[ids]) for ids in order.split(AUGMENT_CHUNK)])
        labels = self.labels[order.to(self.device)]
        train, batches = self.job.train, math.ceil(len(labels) / self.job.train.batch_size)
        self.model.train()
        logits = torch.cat(
            [
                self.step(x, y, learning_rate(train, index + (batch + 0.5) / batches))
                for batch, (x, y) in enumerate(
                    zip(images.tensor_split(batches), labels.tensor_split(batches), strict=True)
                )
            ]
        )
        correct = (logits.argmax(1) == labels).double().mean()
        return {"loss": F.cross_entropy(logits, labels).item(), "accuracy": correct.item()}

    def draw(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw an epoch: ids of the members in random order, and [S, K] draws of the technique, by image id.

        On the CPU, from (model seed, epoch) alone: neither batch size, device nor resuming changes them.
        """
        generator = torch.Generator().manual_seed(derive_seed(self.job.seed, index))
        draws = self.technique.draw(len(self.images), generator)
        return self.ids[torch.randperm(len(self.ids), generator=generator)], draws

    def augmented(self, ids: Tensor, draws: Tensor) -> Tensor:
        """Return augmented images, uint8 [B, C, H, W] on the device, by their ids [B] and draws [B, K]."""
        return self.technique.apply(self.images[ids.to(self.device, non_blocking=True)], draws)

    def step(self, images: Tensor, labels: Tensor, lr: float) -> Tensor:
        """Do one step of SGD on uint8 images, without ever waiting for the device; return the float32 logits."""
        logits = self.predict(images)
        F.cross_entropy(logits, labels).backward()
        self.optimizer.step(lr)
        return logits.detach()

    def predict(self, images: Tensor) -> Tensor:
        """Return the logits of uint8 images under the training precision, as float32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.job.train.precision == "bf16"):
            return self.forward(self.normalize(images)).float()

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


def _diverged(what: str, epoch: int) -> LeakgapError:
    return LeakgapError(f"{what} after epoch {epoch}; lower train.lr or raise train.warmup")


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
            _save(trainer, resume)
            saved = time.monotonic()
        if stop:
            raise SystemExit(128 + signal.SIGTERM)

    with _sigterm() as stop:
        return trainer.run(after_epoch)


def _save(trainer: Trainer, resume: Path) -> None:
    buffer = io.BytesIO()  # torch.save to a full disk is no OSError
    torch.save(trainer.state(), buffer)
    with atomic(resume) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _restore(trainer: Trainer, resume: Path) -> None:
    try:
        trainer.restore(torch.load(resume, map_location="cpu", weights_only=True))
    except LeakgapError as error:
        raise LeakgapError(f"{resume}: {error}; delete it to start anew, or put the settings back") from None
    except Exception as error:  # torch raises pickle, zip, value and runtime errors alike
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise LeakgapError(
            f"{resume}: not a readable resume file ({reason}); delete it to start anew"
        ) from None


@contextmanager
def _sigterm() -> Iterator[list[int]]:
    """Collect SIGTERM in a list instead of dying of it."""
    caught: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: caught.append(number))
    try:
        yield caught
    finally:
        signal.signal(signal.SIGTERM, before)
