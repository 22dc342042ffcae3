"""Training: images per second against the plain loop, start-up, logits and memory.

    python -m benchmarks.training             # about five minutes on two cores
    python -m benchmarks.training --quick     # fewer rounds, without the full-width model

The plain loop is what users have today: fp32, contiguous memory, torch.optim.SGD, a DataLoader of two worker
processes that live on from epoch to epoch, torchvision's transforms on PIL images (crop, mirror, AutoAugment,
then DeVries' cutout). Ours is `leakgap.training.loop.Trainer.epoch`: it augments the epoch's images, then does its
steps. Both train one epoch in turn, with the same number of threads for arithmetic; the workers come on top, as
users have them. The ratio is the median over pairs of epochs. Images are noise: speed doesn't depend on what
they show.

Not measured: accuracy, several processes at a time, disks slower than this one.
"""

import argparse
import math
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
import torchvision.transforms as T
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from leakgap.answers import store as logits
from leakgap.data.pool import Pool
from leakgap.study import Study, Train
from leakgap.training.loop import EVALUATE_CHUNK, Job, Trainer, pick_device
from leakgap.training.resnet import resnet18

ALL = "crop+mirror+cutout+policy"
GFLOP = 3.329  # an image's forward and backward pass through the full model at 3x32x32
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}  # dense bf16
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Case:
    """A model, its images, how we train it, and how many times the plain loop's speed we want."""

    name: str
    channels: int
    side: int
    width: int
    precision: str
    members: int
    goal: float


FULL = Case("ResNet-18 of width 64, 3x32x32", 3, 32, 64, "bf16", 256, 2.0)
NARROW = Case("default study: width 8, 1x8x8", 1, 8, 8, "fp32", 808, 1.5)


class Photos(Dataset[tuple[torch.Tensor, int]]):
    """A data set of PIL images, as torchvision's are: transformed one by one in `__getitem__`."""

    def __init__(self, pool: Pool, technique: str):
        self.images = [Image.fromarray(image.squeeze()) for image in pool.images.transpose(0, 2, 3, 1)]
        self.labels, side = pool.labels.tolist(), pool.images.shape[-1]
        steps = {
            "crop": T.RandomCrop(side, padding=max(1, side // 8)),
            "mirror": T.RandomHorizontalFlip(),
            "policy": T.AutoAugment(T.AutoAugmentPolicy.CIFAR10),
        }
        half = [0.5] * pool.images.shape[1]
        self.transform = T.Compose(
            [step for name, step in steps.items() if name in technique]
            + [T.ToTensor(), T.Normalize(half, half)]
            + [cutout] * ("cutout" in technique)
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def cutout(image: torch.Tensor) -> torch.Tensor:
    """Erase a square of half the side, clipped at the border."""
    height, width = image.shape[1:]
    y, x, half = random.randrange(height), random.randrange(width), height // 4
    image[:, max(0, y - half) : y + half, max(0, x - half) : x + half] = 0
    return image


class Plain:
    """The loop of a tutorial."""

    def __init__(self, pool: Pool, width: int, technique: str, device: torch.device):
        self.loader = DataLoader(
            Photos(pool, technique), 128, shuffle=True, num_workers=2, persistent_workers=True
        )
        self.model = resnet18(pool.classes, pool.images.shape[1], width).to(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, 0.9, weight_decay=5e-4)
        self.device = device

    def epoch(self) -> float:
        """Train one epoch; return the mean loss."""
        self.model.train()
        total = torch.zeros((), device=self.device)
        for images, labels in self.loader:
            loss = F.cross_entropy(self.model(images.to(self.device)), labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return total.item() / len(self.loader)


def noise(case: Case) -> Pool:
    """As many images of noise as the case has members."""
    shape = (case.members, case.channels, case.side, case.side)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Pool({"images": images}, np.arange(case.members) % 10, 10)


def trainer(case: Case, technique: str, threads: int) -> Trainer:
    """Our loop on all images of the case."""
    settings = Train(width=case.width, precision=case.precision, threads=threads, batch_size=128)
    everyone = np.ones(case.members, bool)
    return Trainer(Job(noise(case), everyone, technique, 0, settings), pick_device())


def timed(epoch: object, *arguments: object) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    epoch(*arguments)  # type: ignore[operator]
    return time.perf_counter() - began


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a Markdown table; all columns but the first are numbers."""
    head = list(head)
    print(f"\n| {' | '.join(head)} |\n|---{'|---:' * (len(head) - 1)}|")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def steps(cases: list[tuple[Case, str, int]], rounds: int) -> None:
    """(a) Epochs of ours and of the plain loop in turn."""
    rows = []
    for case, technique, threads in cases:
        ours = trainer(case, technique, threads)
        plain = Plain(ours.job.pool, case.width, technique, ours.device)
        ours.epoch(0), plain.epoch()
        pairs = [(timed(ours.epoch, i), timed(plain.epoch)) for i in range(rounds)]
        mine, theirs = (case.members / median(times) for times in zip(*pairs, strict=True))
        ratios = sorted(other / own for own, other in pairs)
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        goal = f"{case.goal}" if technique == ALL else ""
        rows.append((case.name, technique, str(threads), f"{theirs:,.0f}", f"{mine:,.0f}", spread, goal))
        if ours.device.type == "cuda":
            name = torch.cuda.get_device_name()
            peak = next((peak for key, peak in PEAKS.items() if key in name), math.nan)
            if case is FULL:
                print(f"{name}: {mine * GFLOP * 1e9 / peak:.1%} of the peak in bf16")
    table(("model", "technique", "threads", "plain images/s", "ours images/s", "ours / plain", "goal"), rows)


FIRST_BATCH = """
import time
began = time.perf_counter()
from leakgap.training import importing
with importing():
    from leakgap.training import builtin, loop as training
imported = time.perf_counter()
import numpy as np
from leakgap.data.pool import Pool
from leakgap.study import Train
pool = Pool({"images": np.zeros((1797, 1, 8, 8), np.uint8)}, np.arange(1797) % 10, 10)
job = training.Job(pool, np.arange(1797) < 808, "{technique}", 0, Train(width=8, precision="fp32"))
trainer = training.Trainer(job, training.pick_device())
made = time.perf_counter()
images = trainer.augmented(trainer.ids[:128], trainer.technique.draw(128))
trainer.step(images, trainer.labels[:128], 0.1)
print(imported - began, made - imported, time.perf_counter() - made)
"""
JOB = """
import sys
from leakgap.__main__ import main
status = main({words})
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
sys.exit(status)
"""
MEMORY = """
import numpy as np
from leakgap.training import loop as training
from leakgap.data.pool import Pool
from leakgap.study import Train
def peak():
    print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
peak()
images = np.random.default_rng(0).integers(0, 256, (60000, 3, 32, 32), np.uint8)
pool = Pool({"images": images}, np.arange(60000) % 10, 10)
peak()
job = training.Job(pool, np.arange(60000) < 30000, "{technique}", 0, Train(width=64))
trainer = training.Trainer(job, training.pick_device())
peak()
order, draws = trainer.draw(0)
images = torch.cat([trainer.augmented(ids, draws[ids]) for ids in order.split(training.AUGMENT_CHUNK)])
peak()
trainer.model.train()
trainer.step(images[:128], trainer.labels[:128], 0.1)
peak()
trainer.images = trainer.images[: training.EVALUATE_CHUNK]
trainer.logits()
peak()
""".replace("import numpy as np", "import numpy as np, torch")


def python(code: str, folder: Path | None = None) -> tuple[float, list[float]]:
    """Seconds of a Python process of its own, start and end included, and the numbers that it printed."""
    began = time.perf_counter()
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder)
    return time.perf_counter() - began, [float(word) for word in told.stdout.split()]


def start_up(rounds: int) -> None:
    """(c) Import and first batch, each in a new process."""
    rows: list[tuple[str, ...]] = []
    for code in ("pass", "import torch"):
        seconds = median(python(code)[0] for _ in range(rounds))
        rows.append((f"python -c '{code}', whole", f"{seconds:.2f}", "", ""))
    for technique in ("none", ALL):
        told = [python(FIRST_BATCH.format(technique=technique))[1] for _ in range(rounds)]
        stages = (f"{median(seconds):.2f}" for seconds in zip(*told, strict=True))
        rows.append((f"training job, {technique}", *stages))
    table(("process", "imports, s", "trainer, s", "first batch, s"), rows)


def jobs(rounds: int) -> None:
    """(c, e) Whole jobs of the default study: start-up and memory."""
    study, rows = Study.load(ROOT / "config.yaml"), []
    words = ["--study", str(ROOT / "config.yaml")]
    with tempfile.TemporaryDirectory() as folder:
        for verb in ("pool", "masks"):
            python(JOB.format(words=[verb, *words]), Path(folder))
        for technique in ("none", ALL):
            code = JOB.format(words=["train", *words, "--technique", technique, "--mask", "m000"])
            measured = []
            for _ in range(rounds):
                whole, (peak,) = python(code, Path(folder))
                about = logits.read_model(Path(folder) / study.paths.logits(technique, "m000")).about
                measured.append((whole, about["seconds"]["train"], peak / 1024))
            whole, trained, peak = (median(column) for column in zip(*measured, strict=True))
            share = f"{1 - trained / whole:.0%}"
            rows.append((technique, f"{whole:.1f}", f"{trained:.1f}", share, f"{peak:,.0f}"))
    head = ("default study's job", "whole, s", "epochs and logits, s", "the rest (goal: 33%)", "peak MiB")
    table(head, rows)


def evaluation(cases: list[tuple[Case, int, int, int, int]], rounds: int) -> None:
    """(d) Logits of the whole pool at all steps against the training itself."""
    rows = []
    for case, pool, members, passes, epochs in cases:
        ours = trainer(case, ALL, 1)
        ours.epoch(0), ours.logits()
        pairs = [(timed(ours.epoch, i), timed(ours.logits)) for i in range(rounds)]
        train, query = (median(times) / case.members for times in zip(*pairs, strict=True))
        share = query * pool * passes / (train * members * epochs)
        told = f"{members:,} x {epochs} epochs", f"{pool:,} x {passes} steps and views"
        rows.append((case.name, f"{train * 1e3:.3f}", f"{query * 1e3:.3f}", *told, f"{share:.0%}"))
    head = ("model", "ms an image trained", "ms an image queried", "trained", "queried", "logits / training")
    table(head, rows)


def memory() -> None:
    """(e) Peak memory of a full-size CIFAR job, up to each stage."""
    _, peaks = python(MEMORY.format(technique=ALL))
    stages = (
        "imports",
        "pool of 60,000 images 3x32x32",
        "trainer",
        "30,000 augmented images of an epoch",
        "step of 128",
        f"logits of {EVALUATE_CHUNK} images",
    )
    rows = [(stage, f"{peak / 1024:,.0f}") for stage, peak in zip(stages, peaks, strict=True)]
    table(("full-size CIFAR job, one process", "peak MiB so far"), rows)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, without the full-width model")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {pick_device()}, {torch.get_num_threads()} threads by default.")
    narrow = [(NARROW, ALL, 1), (NARROW, "crop+mirror+cutout", 1), (NARROW, "none", 1)]
    full = [] if quick else [(FULL, ALL, 1), (FULL, ALL, 2)]
    steps(narrow + full, 5)
    start_up(3 if quick else 5)
    jobs(1 if quick else 3)
    small, large = (NARROW, 1797, 808, 6, 30), (FULL, 60_000, 30_000, 12, 100)
    evaluation([small] if quick else [small, large], 3)
    memory()


if __name__ == "__main__":
    main()
