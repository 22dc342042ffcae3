"""GPUs of this machine: how many there are, which one a model takes, and whether it can train there."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, takewhile

from leakgap import LeakgapError

VISIBLE = "CUDA_VISIBLE_DEVICES"
NONE = ("", "-1", "NoDevFiles")  # names of no GPU, the last one SLURM's
ALLOTTED = {"SLURM_JOB_GPUS": "", "SLURM_STEP_GPUS": "", "SLURM_GPUS": "0", "SLURM_GPUS_ON_NODE": "0"}  # none
SECONDS = 30  # a driver that was asleep takes some
BF16 = 8  # the first generation whose convolutions know bfloat16: sm_80


def visible() -> list[str]:
    """Return the names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them; none if unknown.

    torch is not asked: its import takes a second.
    """
    told = os.environ.get(VISIBLE)
    if told is None:
        with suppress(LeakgapError):
            return listed()
        return []
    return list(takewhile(lambda name: name not in NONE, map(str.strip, told.split(","))))


def listed() -> list[str]:
    """Return the names of NVIDIA's GPUs of this machine; none without its driver, LeakgapError where that fails."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run([command, "-L"], capture_output=True, timeout=SECONDS, check=True)
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).decode(errors="replace").strip().partition("\n")[0]
        raise LeakgapError(f"nvidia-smi fails ({said or error.returncode}): no GPU is used") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LeakgapError(f"nvidia-smi does not answer ({error}): no GPU is used") from None
    return [str(k) for k in range(sum(line.startswith(b"GPU ") for line in done.stdout.splitlines()))]


def counted() -> int:
    """Return how many GPUs Snakemake may hand out here; LeakgapError where their driver fails."""
    there = listed()
    return len(visible()) if there else 0


@contextmanager
def taken() -> Iterator[None]:
    """Put the GPU first that the fewest of one's trainings hold, and hold it; where none is visible, do nothing.

    A file for each GPU and holder is locked until the process ends, however it ends. The others stay visible, for
    recipes that use several; nothing waits: how many trainings run at a time is for Snakemake to say.
    """
    names = visible()
    if not names:
        yield
        return
    before = os.environ.get(VISIBLE)
    name, lock = next(
        (name, lock) for turn in count() for name in names if (lock := _lock(name, turn)) is not None
    )
    os.environ[VISIBLE] = ",".join([name, *(other for other in names if other != name)])
    try:
        yield
    finally:
        os.close(lock)
        if before is None:
            del os.environ[VISIBLE]
        else:
            os.environ[VISIBLE] = before


def _lock(name: str, turn: int) -> int | None:
    """Return an open file that stands for the `turn`-th holder of a GPU; None where another process has it."""
    file = f"leakgap-{os.getuid()}-gpu-{re.sub(r'[^A-Za-z0-9-]', '_', name)}-{turn}.lock"
    opened = os.open(os.path.join(tempfile.gettempdir(), file), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
    with suppress(BlockingIOError):
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return opened
    os.close(opened)
    return None


def unfit(precision: str) -> str | None:
    """Say why torch can't train on the GPU that is there, and what to do; None where it can, or there is none."""
    # SLURM tells the names of GPUs by CUDA_VISIBLE_DEVICES, unless a container or a shell's start has lost them
    lost = next((name for name, none in ALLOTTED.items() if os.environ.get(name, none) not in ("", none)), "")
    if not visible() and (not lost or VISIBLE in os.environ):
        return None
    import torch

    build = f"torch {torch.__version__}, built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPUs'}"
    if not torch.cuda.is_available():
        there = "there is a GPU" if visible() else f"SLURM has allotted a GPU ({lost}={os.environ[lost]})"
        return (
            f"{there}, and {build}, can't use it (its driver may be too old, or the container started "
            f"without it); to train on the CPU all the same: {VISIBLE}= in the environment"
        )
    if not torch.version.cuda:  # AMD's numbers are others
        return None
    name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    built = torch.cuda.get_arch_list()
    if not _runs_on(capability, built):
        kind = "sm_{}{}".format(*capability)
        return f"{name} is {kind}, and {build}, knows {', '.join(built)}: take another torch"
    if precision == "bf16" and capability[0] < BF16:
        return f"{name} is too old for bfloat16: train.precision: fp32"
    return None


def _runs_on(capability: tuple[int, int], built: list[str]) -> bool:
    """Say whether kernels of these architectures run on a GPU.

    A kernel runs on later GPUs of its generation, and compute_ is compiled for any later one.

    >>> _runs_on((8, 9), ["sm_80"]), _runs_on((7, 0), ["sm_75", "sm_80"]), _runs_on((9, 0), ["compute_80"])
    (True, False, True)
    """
    major, minor = capability
    for kind, first, second in re.findall(r"\b(sm|compute)_(\d+)(\d)", " ".join(built)):
        if kind == "sm" and int(first) == major and int(second) <= minor:
            return True
        if kind == "compute" and (int(first), int(second)) <= capability:
            return True
    return False
