"""A folder with the workflow's files and a miniature study, and runs of Snakemake in it."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow.parquet as pq

REPOSITORY = Path(__file__).parents[2]
WORKFLOW = ("Snakefile", "config.yaml", "workflow", "profiles", "slurm", "envs", "src")
STUDY = """\
name: mini
data: {dataset: digits, size: 300}
grid: {techniques: [TECHNIQUES], masks: 4}
train: {epochs: 60, steps: [2, 60], width: 4, save_seconds: 0}
attack: {attacks: [lira-online-fixed, loss], bootstrap: 100}
"""


class Trainer(NamedTuple):
    """A training process at work: its model, its GPU as it sees it, and how far its log says it is."""

    pid: int
    model: str
    gpu: str
    epoch: int

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)


class Clone:
    """A copy of the workflow's files in a folder of its own, with the miniature study's file."""

    def __init__(self, folder: Path, environment: dict[str, str], techniques: str = "none, crop") -> None:
        self.folder = folder
        self.results = folder / "results/mini"
        self.environment = environment
        self.runs: list[Run] = []
        folder.mkdir(parents=True, exist_ok=True)
        for name in WORKFLOW:
            source = REPOSITORY / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, folder / name, dirs_exist_ok=True)
            else:
                shutil.copy2(source, folder / name, follow_symlinks=False)
        with (folder / "src/leakgap/jobs/gpus.py").open(
            "a"
        ) as gpus:  # its GPUs are stand-ins, which is refused
            gpus.write("\n\nunfit = lambda precision: None\n")
        (folder / "mini.yaml").write_text(STUDY.replace("TECHNIQUES", techniques))

    def start(self, *arguments: str) -> "Run":
        self.runs.append(Run(self, arguments))
        return self.runs[-1]

    def kill(self) -> None:
        """End what a failed test left running."""
        for run in self.runs:
            run.kill()

    def run(self, *arguments: str) -> "Run":
        return self.start(*arguments).end()

    def submit(self, *arguments: str) -> "Run":
        """Start Snakemake with the cluster's profile; only the first look at the jobs comes sooner."""
        sooner = ("--slurm-init-seconds-before-status-checks", "1")
        return self.start("--profile", "slurm", "--configfile", "mini.yaml", *sooner, *arguments)

    def resume(self, model: str) -> Path:
        return self.results / f"resume/{model}.pt"

    def logits(self) -> dict[str, Path]:
        """Model -> its finished file."""
        files = sorted((self.results / "logits").glob("*/[mr]*.parquet"))
        return {f"{path.parent.name}/{path.stem}": path for path in files}

    def stamps(self) -> dict[str, int]:
        """Model -> when its file was last written."""
        return {model: path.stat().st_mtime_ns for model, path in self.logits().items()}

    def trainers(self) -> list[Trainer]:
        """The training processes of this folder that are at work now.

        Not the processes that they start: torch's import runs ldconfig, whose process has the training's command
        line for the moment between its fork and its exec.
        """
        found: dict[int, Trainer] = {}
        parents: dict[int, int] = {}
        for process in Path("/proc").iterdir():
            try:
                words = (process / "cmdline").read_bytes().decode().split("\0")
                if words[1:5] != ["-P", "-m", "leakgap", "train"] or not self.folder.samefile(
                    process / "cwd"
                ):
                    continue
                variables = (process / "environ").read_bytes().decode().split("\0")
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, UnicodeDecodeError):
                continue
            pid = int(process.name)
            model = "/".join(words[words.index(option) + 1] for option in ("--technique", "--mask"))
            gpu = next((v.partition("=")[2] for v in variables if v.startswith("CUDA_VISIBLE_DEVICES=")), "")
            found[pid] = Trainer(pid, model, gpu, max(self.epochs(model), default=0))
            parents[pid] = parent
        return [trainer for pid, trainer in found.items() if parents[pid] not in found]

    def epochs(self, model: str) -> list[int]:
        """The epochs that a model's log shows so far, less the epoch 0 that every attempt begins with."""
        log = self.results / f"logs/train/{model}.log"
        text = log.read_text() if log.exists() else ""
        return [int(epoch) for epoch in re.findall(r"\| (\d+)/60 ", text) if epoch != "0"]


class Run:
    """One run of Snakemake in a clone; what it prints goes to a file."""

    def __init__(self, clone: Clone, arguments: tuple[str, ...]) -> None:
        self.printed = clone.folder / f"snakemake.{time.monotonic_ns()}.out"
        with self.printed.open("wb") as file:
            self.process = subprocess.Popen(
                ["snakemake", *arguments],
                cwd=clone.folder,
                env=clone.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                # a runner that ignores Ctrl-C, as a background shell does, has its children ignore it too
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def output(self) -> str:
        return self.printed.read_text()

    def interrupt(self) -> "Run":
        """Ctrl-C: SIGINT to everything in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.end()

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, f"Snakemake ended before {what}:\n{self.output()}"
            assert time.monotonic() < end, f"no {what} within {seconds} s:\n{self.output()}"
            time.sleep(0.1)

    def end(self, seconds: float = 400) -> "Run":
        try:
            self.process.wait(seconds)
        finally:
            self.kill()
        return self

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def check(self) -> None:
        assert self.process.returncode == 0, self.output()


def same_results(one: Clone, other: Clone) -> None:
    """Every model of `one`, and its rows of the summary, are those of `other` to the last bit."""
    for model, path in one.logits().items():
        assert pq.read_table(path).equals(pq.read_table(other.logits()[model])), model
    ours, theirs = (pd.read_parquet(clone.results / "summary.parquet") for clone in (one, other))
    theirs = theirs[theirs.technique.isin(ours.technique)].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
