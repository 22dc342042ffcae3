"""The built-in training: one model of one technique on one mask, and its logits of every image at every step."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd  # the functions alone: the classes import torch's compiler, a second

from leakgap import LeakgapError
from leakgap.augment import Technique
from leakgap.data.pool import at_once
from leakgap.objects import Object
from leakgap.training import ARCHITECTURES, shift
from leakgap.training.checks import FEW, blaming, check_memory, check_network, check_pure, of_the_user
from leakgap.training.job import Job
from leakgap.training.seeds import derive_seed

if TYPE_CHECKING:
    from leakgap.study.train import Train

# images of 32 pixels at once, fewer of larger ones (`at_once`)
AUGMENT_CHUNK = 4096  # the policy's operations then work on whole batches
EVALUATE_CHUNK = 512
WIDE = 512  # 700 million weights, in ResNet-18
# shifts of the query views, in units of H // 16 pixels: LiRA's 18 views are these, plain and mirrored
SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass
class Progress:
    """How far a job has come: logits of the steps passed, metrics of every epoch, seconds of training."""

    epoch: int = 0
    logits: list[Tensor] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0


def pick_device() -> torch.device:
    """Return CUDA's current device where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def network(architecture: str, classes: int, channels: int, width: int, **layers: Any) -> nn.Module:
    """Return a new model of a registered architecture: float [B, channels, H, W] -> logits [B, classes].

    layers: `Train.layers`, for architectures that take them.
    """
    place = Object(ARCHITECTURES[architecture])
    try:
        model = place.load()(classes, channels, width, **layers)
    except Exception as error:  # anything: it may be the user's code
        raise place.blamed(error) from None
    if not isinstance(model, nn.Module):
        raise LeakgapError(f"{place.text} returned {type(model).__name__}, not a torch.nn.Module")
    for name, weights in model.named_parameters():
        if isinstance(weights, UninitializedParameter):
            raise LeakgapError(f"{place.text}: the size of {name} is not known before it is used")
    return model


def normalizer(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Return each channel's mean and standard deviation (at least 1e-3), in pixel units, of uint8 [S, C, H, W].

    Summed up in whole numbers, so that nothing depends on the order.
    """
    size = at_once(4096, *images.shape[2:])
    chunks = [images[start : start + size] for start in range(0, len(images), size)]
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
        by = shift(images.shape[-2])
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
    """Stochastic gradient descent; `state` is what it remembers between steps."""

    def __init__(self, weights: list[Tensor], train: Train):
        self.weights, self.train = weights, train
        self.state = [torch.zeros_like(weight) for weight in weights if train.momentum]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Change the weights by their gradients."""
        sgd(
            self.weights,
            [weight.grad for weight in self.weights],  # type: ignore[misc]
            self.state,  # type: ignore[arg-type]
            fused=True,
            lr=lr,
            momentum=self.train.momentum,
            nesterov=self.train.nesterov,
            weight_decay=self.train.weight_decay,
            dampening=0.0,
            maximize=False,
        )


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), PyTorch's betas and epsilon."""

    def __init__(self, weights: list[Tensor], train: Train):
        self.weights, self.train = weights, train
        self.means = [torch.zeros_like(weight) for weight in weights]
        self.squares = [torch.zeros_like(weight) for weight in weights]
        self.steps = [torch.zeros((), device=weight.device) for weight in weights]
        self.state = [*self.means, *self.squares, *self.steps]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Change the weights by their gradients."""
        adamw(
            self.weights,
            [weight.grad for weight in self.weights],  # type: ignore[misc]
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            lr=lr,
            weight_decay=self.train.weight_decay,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


OPTIMIZERS: dict[str, type[SGD | AdamW]] = {"sgd": SGD, "adamw": AdamW}


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
        self.job, self.device, self.progress = job, device, Progress()
        height, width = pool.images.shape[2:]
        train.check_images(job.technique, height, width, job.views)
        mean, std = normalizer(pool.images)
        self.technique = Technique.parse(job.technique, fill=mean, options=train.options_of(job.technique))
        if job.plugins:
            with self.blaming():
                check_pure(self.technique, pool.images)
        self.mean = torch.tensor(mean).view(1, -1, 1, 1).to(device)
        self.scale = (1 / torch.tensor(std)).view(1, -1, 1, 1).to(device)
        self.images = torch.from_numpy(pool.images).to(device)
        self.labels = torch.from_numpy(pool.labels).to(device)
        self.ids = torch.from_numpy(np.flatnonzero(job.member))
        shape = (pool.classes, pool.images.shape[1], train.width)
        if train.width >= WIDE:
            with torch.device("meta"):
                weights = network(train.architecture, *shape, **train.layers).parameters()
            check_memory(weights, train.width, device)

        def new() -> nn.Module:
            torch.manual_seed(job.seed)
            model = network(train.architecture, *shape, **train.layers)
            return model.to(device).to(memory_format=torch.channels_last)

        self.model = new()
        for place in of_the_user([ARCHITECTURES[train.architecture]]):
            few, bf16 = self.normalize(self.images[:FEW]), train.precision == "bf16"
            check_network(self.model, new(), place, few, pool.classes, bf16)
        compiled = train.compile and device.type == "cuda"
        # batches have two sizes at most: two fixed programs, not one for any size
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.weights: list[Tensor] = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = OPTIMIZERS[train.optimizer](self.weights, train)

    def blaming(self) -> AbstractContextManager[None]:
        """Return a context in which what the user's own code raises becomes one sentence."""
        return blaming(self.job.train.architecture, self.job.technique)

    def normalize(self, images: Tensor) -> Tensor:
        """Return uint8 images as channels_last float32 of mean 0 and standard deviation 1."""
        x = images.to(torch.float32, memory_format=torch.channels_last)
        return x.sub_(self.mean).mul_(self.scale)

    def run(self) -> Iterator[Progress]:
        """Train from the epoch reached to the last step; yield the progress after every epoch.

        Raises LeakgapError when the loss or a logit is no longer finite.
        """
        progress, steps = self.progress, self.job.train.steps
        while progress.epoch < steps[-1]:
            began = time.perf_counter()
            with self.blaming():
                metrics = self.epoch(progress.epoch)
            progress.epoch += 1
            progress.history.append(metrics)
            if not math.isfinite(metrics["loss"]):
                raise _diverged(f"the training loss is {metrics['loss']}", progress.epoch)
            if progress.epoch in steps:
                with self.blaming():
                    progress.logits.append(self.logits())
                if not progress.logits[-1].isfinite().all():
                    raise _diverged("some logits are not finite", progress.epoch)
            progress.seconds += time.perf_counter() - began
            yield progress

    def epoch(self, index: int) -> dict[str, float]:
        """Train one epoch; return its mean loss and accuracy on the augmented batches."""
        train = self.job.train
        order, draws = self.draw(index)
        size = at_once(AUGMENT_CHUNK, *self.images.shape[2:])
        images = torch.cat([self.augmented(ids, draws[ids]) for ids in order.split(size)])
        labels = self.labels[order.to(self.device)]
        # nearly equal batches: a small last one would spoil BatchNorm's running statistics
        batches = math.ceil(len(order) / train.batch_size)
        pairs = zip(images.tensor_split(batches), labels.tensor_split(batches), strict=True)
        self.model.train()
        torch.manual_seed(derive_seed(self.job.seed, index, 1))  # for layers that draw, such as dropout
        answers = []
        for batch, (x, y) in enumerate(pairs):
            lr = learning_rate(train, index + (batch + 0.5) / batches)
            answers.append(self.step(x, y, lr))
        logits = torch.cat(answers)
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
        """Do one step on uint8 images, without ever waiting for the device; return the float32 logits."""
        logits = self.predict(images)
        F.cross_entropy(logits, labels, label_smoothing=self.job.train.label_smoothing).backward()
        self.optimizer.step(lr)
        self.model.zero_grad()
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
        parts = self.images.split(at_once(EVALUATE_CHUNK, *self.images.shape[2:]))
        for view in range(self.job.views):
            chunks = [self.model(self.normalize(view_of(images, view))) for images in parts]
            views.append(torch.cat(chunks))
        return torch.stack(views).cpu()

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to go on as if nothing had happened."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state,
            "epoch": self.progress.epoch,
            "logits": self.progress.logits,
            "history": self.progress.history,
            "seconds": self.progress.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.model.load_state_dict(state["model"])
        for buffer, saved in zip(self.optimizer.state, state["optimizer"], strict=True):
            buffer.copy_(saved)
        self.progress = Progress(state["epoch"], state["logits"], state["history"], state["seconds"])


def _diverged(what: str, epoch: int) -> LeakgapError:
    return LeakgapError(f"{what} after epoch {epoch}; lower train.lr or raise train.warmup")
