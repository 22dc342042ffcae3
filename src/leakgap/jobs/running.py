"""Trainings at work: each leaves a file that says where it runs and is touched while it does."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from leakgap.files import HOST

BEAT = 30  # seconds between two touches
SILENT = 4 * BEAT  # after which a training on another host is taken for dead
BAR = re.compile(r"(\d+)/(\d+) \[([\d:]+)<([\d:?]+),")  # of tqdm: done, total, seconds gone, seconds left


@contextmanager
def at_work(path: str | Path) -> Iterator[None]:
    """Keep the file of a training while the block runs."""
    told = {"host": HOST, "process": os.getpid(), "folder": os.getcwd()}
    with suppress(OSError):  # of a full disk, which the training itself tells
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(told), encoding="utf-8")
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT):
            with suppress(OSError):
                os.utime(path)

    threading.Thread(target=beat, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        with suppress(OSError):
            Path(path).unlink()


def is_at_work(path: str | Path) -> bool:
    """Say whether the training that left this file still runs, in this folder: a copy of the folder has none."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        silent = time.time() - Path(path).stat().st_mtime
        if not os.path.samefile(told["folder"], os.getcwd()) or silent > SILENT:
            return False
        if told["host"] == HOST:
            os.kill(told["process"], 0)
    except PermissionError:  # another user's process
        return True
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return True


@dataclass(frozen=True)
class Bar:
    """What a training's progress bar said at last, by its log; seconds are None where it could not tell yet."""

    done: int
    total: int
    gone: float
    left: float | None


def progress(log: str | Path) -> Bar | None:
    """Return how far a training is by its log, less the time since it wrote; None without one that says so."""
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            text = file.read().decode(errors="replace")
            silent = max(0.0, time.time() - os.fstat(file.fileno()).st_mtime)
    except OSError:
        return None
    found = BAR.findall(text)
    if not found:
        return None
    done, total, gone, left = found[-1]
    seconds = None if "?" in left else max(0.0, _seconds(left) - silent)
    return Bar(int(done), int(total), _seconds(gone) + silent, seconds)


def _seconds(clock: str) -> float:
    """Read tqdm's clock.

    >>> _seconds("01:05"), _seconds("1:00:05")
    (65.0, 3605.0)
    """
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total
