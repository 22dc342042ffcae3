"""A study through `snakemake --profile slurm` while its jobs, its node and Snakemake itself come to harm.

    python -m benchmarks.slurm [--models 1024] [--minutes 240] [--seed 0] [--folder slurm-benchmark]

Starts the one-node SLURM of tests/slurm (as root; tests/slurm/install.sh installs it), which pretends two GPUs, and
drives the trainings of tiny models through it. From the seed follows what happens when so many models are done: a
random job is cancelled (for every third model), the node crashes with all that runs on it, Snakemake is killed
(SIGKILL) or interrupted (SIGINT). After each end of Snakemake the benchmark does what a user would: the jobs that
`python -m leakgap status` names are ended by the command that it gives (every other time: else they run on beside
the next ones), the folder is unlocked where Snakemake says so, and the same command is given again.

At last every model is trained anew in this process, without Snakemake or SLURM, and compared to the last bit.
Prints models lost and differing, attempts, mishaps, what the head process took, and the seconds that a job takes
beside its training. Stops after --minutes; the same command goes on in --folder.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
import yaml

from leakgap.answers.store import read_model
from leakgap.jobs.train import train_model
from leakgap.study import Study

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests/slurm"))

from clone import Clone, Run  # noqa: E402
from cluster import Cluster, missing  # noqa: E402

TECHNIQUES = ["none", "crop"]
PER_MISHAP = {"cancel": 3, "crash": 85, "kill": 128, "interrupt": 128}  # models for each mishap
IN_VAIN = 5  # ends of Snakemake without a further model before the benchmark gives up


def study_of(models: int) -> dict[str, Any]:
    """Return the study: models of one channel that learn 32 images of 4 x 4 pixels for two epochs."""
    return {
        "name": "mini",
        "data": {"dataset": "digits", "size": 64, "side": 4, "reserved": 0},
        "grid": {"techniques": TECHNIQUES, "masks": models // len(TECHNIQUES)},
        "train": {"epochs": 2, "steps": [1, 2], "width": 1, "precision": "fp32", "save_seconds": 0},
        "attack": {"attacks": ["lira-online-fixed"]},
    }


def plan(models: int, seed: int) -> list[tuple[int, str]]:
    """Return all mishaps in order: at how many finished models, and what."""
    draw = random.Random(seed)
    kinds = [kind for kind, each in PER_MISHAP.items() for _ in range(-(-models // each))]
    return sorted((draw.randrange(models), kind) for kind in kinds)


class Harm:
    """One study under harm; `record` is what is kept in the folder from one run of the benchmark to the next."""

    def __init__(self, folder: Path, cluster: Cluster, models: int, seed: int) -> None:
        self.cluster = cluster
        path = [str(cluster.bin), str(Path(sys.executable).parent), os.environ["PATH"]]
        settings = {"PATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self.clone = Clone(folder, cluster.environment | settings)
        (folder / "mini.yaml").write_text(yaml.safe_dump(study_of(models)), encoding="utf-8")
        self.kept = folder / "record.json"
        if self.kept.exists():
            self.record = json.loads(self.kept.read_text(encoding="utf-8"))
        else:
            counts = {"passed": 0, "heads": 0, "cpu": 0.0, "memory": 0.0, "seconds": 0.0, "doubled": 0}
            self.record = counts | {"happened": {}, "jobs": []}
        self.plan = plan(models, seed)
        self.draw = random.Random(f"{seed} {self.record['passed']}")

    def run(self, end: float) -> bool:
        """Drive the study, and harm it on the way; return whether it is done before the time `end`."""
        earlier, last, in_vain, clock = list(self.record["jobs"]), -1, 0, time.monotonic()
        self.start()
        try:
            while time.monotonic() < end:
                time.sleep(0.5)
                done = len(self.clone.logits())
                if self.ended():
                    if self.head.process.returncode == 0:
                        return True
                    in_vain = in_vain + 1 if done == last else 0
                    if in_vain > IN_VAIN:
                        raise SystemExit(f"Snakemake ends without progress:\n{self.head.output()[-3000:]}")
                    last = done
                    self.again()
                self.mishap(done)
                self.record["seconds"] += time.monotonic() - clock
                clock = time.monotonic()
            return False
        finally:
            if not self.ended():
                self.interrupt()
            self.cluster.wait(lambda: not self.queue(), 300)
            self.record["jobs"] = earlier + self.cluster.accounts("train", self.clone.folder)
            self.kept.write_text(json.dumps(self.record), encoding="utf-8")

    def start(self) -> None:
        """Give the command that a user would."""
        self.head: Run = self.clone.submit("--until", "train")
        self.record["heads"] += 1

    def ended(self, wait: bool = False) -> bool:
        """Whether Snakemake has ended. What it took is noted then, with the sbatch and squeue that it called."""
        process = self.head.process
        if process.returncode is None:
            pid, status, used = os.wait4(process.pid, 0 if wait else os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                self.record["cpu"] += used.ru_utime + used.ru_stime
                self.record["memory"] = max(self.record["memory"], used.ru_maxrss / 1024)
        return process.returncode is not None

    def again(self) -> None:
        """Give the command again after an early end; unlock the folder first where Snakemake said so."""
        if "--unlock" in self.head.output():
            self.call("snakemake", "--unlock", "--configfile", "mini.yaml")
        self.start()

    def call(self, *command: str) -> str:
        """Run a command in the folder and return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.clone.folder,
            env=self.clone.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def queue(self) -> list[tuple[str, str, str]]:
        """Return number, state and reason to wait of every training job that SLURM has."""
        lines = self.cluster.run("squeue", "-h", "-o", "%k|%i|%T|%r").splitlines()
        fields = [line.split("|") for line in lines if line.startswith("rule_train")]
        return [(job, state, reason) for _, job, state, reason in fields]

    def mishap(self, done: int) -> None:
        """Let the next mishap of the plan happen, if it is due and there is something to harm."""
        if self.record["passed"] == len(self.plan) or self.ended():
            return
        due, kind = self.plan[self.record["passed"]]
        jobs = self.queue() if due <= done else []
        if not jobs:
            return
        {"cancel": self.cancel, "crash": self.crash, "kill": self.kill, "interrupt": self.interrupt}[kind](
            jobs
        )
        self.record["passed"] += 1
        self.record["happened"][kind] = self.record["happened"].get(kind, 0) + 1
        print(f"{done} models: {kind}", flush=True)

    def cancel(self, jobs: list[tuple[str, str, str]]) -> None:
        """Cancel a job, as often one that runs as one that waits."""
        running = [job for job in jobs if job[1] == "RUNNING"]
        chosen = running if running and self.draw.random() < 0.5 else jobs
        self.cluster.run("scancel", self.draw.choice(chosen)[0])

    def crash(self, _: list[tuple[str, str, str]]) -> None:
        """Crash the node and start it again; its jobs are queued again, and need not wait the two minutes."""
        self.cluster.crash_node()
        self.cluster.start_node()
        for job, _, reason in self.queue():
            if reason == "BeginTime":
                with contextlib.suppress(RuntimeError):  # it may have ended
                    self.cluster.hasten(job, seconds=6)

    def kill(self, _: list[tuple[str, str, str]]) -> None:
        """Kill Snakemake alone. Every other time its jobs are ended as `status` says, else they run on."""
        os.kill(self.head.process.pid, signal.SIGKILL)
        self.ended(wait=True)
        told = self.call(sys.executable, "-m", "leakgap", "status", "--study", "mini.yaml")
        commands = re.findall(r"scancel --name [\w-]+", told)
        if not commands and self.queue():
            raise SystemExit(f"status does not tell of the jobs that are left:\n{told}")
        if self.record["happened"].get("kill", 0) % 2:
            for command in commands:
                self.call(*command.split())
            self.cluster.wait(lambda: not self.queue(), 60)
        self.record["doubled"] += len(self.queue())
        self.start()

    def interrupt(self, _: object = None) -> None:
        """Ctrl-C; Snakemake cancels its jobs."""
        os.killpg(self.head.process.pid, signal.SIGINT)
        self.ended(wait=True)


def differing(clone: Clone) -> tuple[int, list[str]]:
    """Train every model here; return how many are lost, and the paths of those that differ."""
    study = Study.load(clone.folder / "mini.yaml")
    lost, different = 0, []
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        open(os.devnull, "w") as null,
        contextlib.redirect_stderr(null),
    ):
        for technique in study.grid.techniques:
            for mask in study.models:
                path = study.paths.logits(technique, mask)
                train_model(
                    study,
                    technique,
                    mask,
                    pool=str(clone.folder / study.paths.pool),
                    masks=study.grid.masks,
                    save_seconds=3600,
                    out=path,
                )
                if not (clone.folder / path).exists():
                    lost += 1
                elif not pq.read_table(clone.folder / path).equals(pq.read_table(path)):
                    different.append(path)
    return lost, different


def report(harm: Harm, models: int) -> None:
    """Print what is to be published, as rows of a Markdown table."""
    lost, different = differing(harm.clone)
    record = harm.record
    states = Counter(job["State"].split()[0] for job in record["jobs"])
    well = {job["model"]: int(job["ElapsedRaw"]) for job in record["jobs"] if job["State"] == "COMPLETED"}
    beside = [
        well[model] - read_model(path).about["seconds"]["job"]
        for model, path in harm.clone.logits().items()
        if model in well
    ]
    rows = {
        "models": models,
        "models lost": lost,
        "models differing": len(different),
        "mishaps": ", ".join(f"{count} {kind}" for kind, count in record["happened"].items()),
        "jobs left to run beside the next Snakemake's": record["doubled"],
        "runs of Snakemake": record["heads"],
        "runs of jobs": f"{len(record['jobs'])} ({', '.join(f'{n} {state}' for state, n in states.most_common())})",
        "minutes": f"{record['seconds'] / 60:.1f}",
        "head process, CPU seconds": f"{record['cpu']:.1f}",
        "head process, most memory": f"{record['memory']:.0f} MiB",
        "seconds of a job beside its training, median": f"{median(beside):.1f}",
    }
    print("| what | measured |\n| --- | --- |")
    for what, measured in rows.items():
        print(f"| {what} | {measured} |")
    for path in different:
        print(f"differs: {path}")
    if lost or different:
        raise SystemExit(1)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=int, default=1024, help="a multiple of 4, 8 or more")
    parser.add_argument("--minutes", type=float, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path("slurm-benchmark"))
    chosen = parser.parse_args()
    if reason := missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder))
        cluster.start()
        try:
            harm = Harm(chosen.folder.resolve(), cluster, chosen.models, chosen.seed)
            if not harm.run(time.monotonic() + 60 * chosen.minutes):
                done = len(harm.clone.logits())
                raise SystemExit(f"{done} of {chosen.models} models in time; the same command goes on")
        finally:
            cluster.stop()
    report(harm, chosen.models)


if __name__ == "__main__":
    main()
