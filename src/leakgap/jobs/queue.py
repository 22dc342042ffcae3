"""What SLURM has of this folder, and what it allows.

Jobs of a Snakemake that was killed run on, beside the next one's.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from getpass import getuser
from pathlib import Path

RULE = (
    "rule_"  # begins the comment that Snakemake's SLURM plugin gives a job; the job's name is that of the run
)
USER = "{user}"  # stands for the user's name


def _asked(command: str, *words: str) -> list[str]:
    """Return the lines that a command of SLURM's answers; none where it does not within ten seconds."""
    place = shutil.which(command)
    if place is None:
        return []
    try:  # a user without an entry in passwd has no name
        given = [word.replace(USER, getuser()) for word in words]
        done = subprocess.run([place, *given], capture_output=True, timeout=10, check=True)
    except (KeyError, OSError, subprocess.SubprocessError):
        return []
    return done.stdout.decode(errors="replace").splitlines()


def most_submitted() -> int | None:
    """Return how many jobs more SLURM takes of this user, by account and QOS; None where it tells no limit."""
    told = _asked("sacctmgr", "-nP", "show", "assoc", "user=" + USER, "format=MaxSubmitJobs,DefaultQOS")
    rows = [line.split("|") for line in told]
    limits = [int(row[0]) for row in rows if row[0].isdigit()]
    default = {row[1] for row in rows if len(row) > 1 and row[1]} or {"normal"}
    for line in _asked("sacctmgr", "-nP", "show", "qos", "format=Name,MaxSubmitJobsPU") if rows else []:
        name, _, limit = line.partition("|")
        if name in default and limit.isdigit():
            limits.append(int(limit))
    if not limits:
        return None
    return max(1, min(limits) - len(_asked("squeue", "--noheader", "--user", USER, "--format", "%i")))


def forgets_after() -> int | None:
    """Return the seconds after which SLURM forgets a job that has ended, MinJobAge; None where it is not told."""
    for line in _asked("scontrol", "show", "config"):
        if found := re.match(r"MinJobAge\s*=\s*(\d+)", line):
            return int(found[1])
    return None


def still_queued() -> list[str]:
    """Return a sentence for each run of Snakemake in the working directory whose jobs SLURM has: how to end them.

    None where there is no SLURM, or it does not answer within ten seconds.
    """
    states: dict[str, Counter[str]] = {}
    for line in _asked("squeue", "--noheader", "--user", USER, "--format", "%j|%T|%k|%Z"):
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
