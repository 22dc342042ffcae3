"""Jobs that SLURM still has of this folder: those of a Snakemake that was killed run on, beside the next one's."""

import os
import shutil
import subprocess
from collections import Counter
from getpass import getuser
from pathlib import Path

RULE = (
    "rule_"  # begins the comment that Snakemake's SLURM plugin gives a job; the job's name is that of the run
)


def still_queued() -> list[str]:
    """Return a sentence for each run of Snakemake in the working directory whose jobs SLURM has: how to end them.

    None where there is no SLURM, or it does not answer within ten seconds.
    """
    squeue = shutil.which("squeue")
    if squeue is None:
        return []
    try:  # a user without an entry in passwd has no name
        command = [squeue, "--noheader", "--user", getuser(), "--format", "%j|%T|%k|%Z"]
        done = subprocess.run(command, capture_output=True, timeout=10, check=True)
    except (KeyError, OSError, subprocess.SubprocessError):
        return []
    states: dict[str, Counter[str]] = {}
    for line in done.stdout.decode(errors="replace").splitlines():
        if line.count("|") < 3:  # a notice of the centre's
            continue
        run, state, comment, folder = line.split("|", 3)
        if comment.startswith(RULE) and Path(folder) == Path(os.getcwd()):
            states.setdefault(run, Counter())[state.lower()] += 1
    return [_told(run, counts) for run, counts in states.items()]


def _told(run: str, counts: Counter[str]) -> str:
    what = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return (
        f"SLURM has {counts.total()} jobs of this folder ({what}) from the Snakemake run {run}. If that Snakemake "
        f"was killed, end them before the next one submits the same models again: scancel --name {run}"
    )
