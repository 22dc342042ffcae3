"""Snakemake is killed, and its jobs go on without it: what is told of them, and what second jobs do to models."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from clone import Clone, same_results
from cluster import Cluster

pytestmark = pytest.mark.slurm


def training_jobs(cluster: Cluster) -> dict[str, str]:
    """Job -> its model, of those that SLURM has."""
    lines = [line.split("|") for line in cluster.run("squeue", "-h", "-o", "%i|%k").splitlines()]
    prefix = "rule_train_wildcards_"
    return {
        job: rule.removeprefix(prefix).replace("_", "/") for job, rule in lines if rule.startswith(prefix)
    }


def told(place: Clone) -> tuple[str, str]:
    """What `status` prints, and the command in it."""
    status = subprocess.run(
        [sys.executable, "-m", "leakgap", "status", "--study", "mini.yaml"],
        cwd=place.folder,
        env=place.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (command,) = re.findall(r"scancel --name [\w-]+", status)
    return status, command


def test_jobs_that_a_killed_snakemake_left_are_told_and_do_no_harm(
    clone: Callable[..., Clone], cluster: Cluster, local: Clone
):
    place = clone(techniques="none")
    try:
        _left_and_told(place, cluster, local)
    finally:  # a job that is left stopped would hold its GPU, and what follows would wait for it
        for trainer in place.trainers():
            os.kill(trainer.pid, signal.SIGKILL)
        if left := training_jobs(cluster):
            cluster.run("scancel", *left)


def _left_and_told(place: Clone, cluster: Cluster, local: Clone) -> None:
    killed = place.submit("--until", "train")
    killed.wait_for(lambda: len(place.trainers()) == 2 and len(training_jobs(cluster)) == 4, "two trainings")
    halted = place.trainers()
    for trainer in halted:
        trainer.stop()
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    left = training_jobs(cluster)
    waiting = cluster.run("squeue", "-h", "-t", "pending", "-o", "%i").split()
    assert (len(left), len(waiting)) == (4, 2)

    status, command = told(place)
    assert "4 jobs of this folder (2 pending, 2 running)" in status
    refused = place.submit("--until", "train").end()
    assert refused.process.returncode != 0
    assert command in refused.output()
    assert "--unlock" in refused.output()

    # the command is not followed at once: of one model the left job goes on beside the next Snakemake's, of one it
    # ends after it, of one it begins after it, and of one it is cancelled
    cluster.run("scontrol", "hold", *waiting)
    place.run("--unlock", "--configfile", "mini.yaml").check()
    run = place.submit("--until", "train")
    run.wait_for(lambda: len(training_jobs(cluster)) == 8, "submission of the same models")
    os.kill(halted[0].pid, signal.SIGCONT)
    run.wait_for(
        lambda: any(left[job] in place.logits() for job in waiting), "a model whose other job is held", 300
    )
    begun = next(job for job in waiting if left[job] in place.logits())
    cluster.run("scontrol", "release", begun)
    run.end().check()
    # until it ends, the logits of its model may be gone: a job deletes them before it writes them again
    assert cluster.wait(lambda: begun not in training_jobs(cluster), 120)
    assert len(place.logits()) == 4
    os.kill(halted[1].pid, signal.SIGCONT)
    held = [job for job in waiting if job != begun]
    assert cluster.wait(lambda: list(training_jobs(cluster)) == held, 120)
    cluster.run(*told(place)[1].split())
    assert cluster.wait(lambda: not training_jobs(cluster), 60)
    states = [run["State"].split()[0] for run in cluster.accounts("train", place.folder)]
    assert states.count("COMPLETED") == 7
    assert set(states) <= {"COMPLETED", "CANCELLED"}
    place.submit("results/mini/summary.csv").end().check()
    same_results(place, local)
