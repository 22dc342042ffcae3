"""Cancelled, out of time, crashed, preempted, queued again: a study ends with the bits of a run without mishaps."""

from collections.abc import Callable

import pytest
from clone import Clone, Run, Trainer, same_results
from cluster import Cluster

pytestmark = pytest.mark.slurm


def catch(clone: Clone, run: Run, models: set[str], known: dict[str, Trainer]) -> dict[str, Trainer]:
    """Halt the next training process of each model once it is some epochs on; `known` are those of before."""
    caught: dict[str, Trainer] = {}

    def all_caught() -> bool:
        for trainer in clone.trainers():
            new = trainer.model not in known or trainer.pid != known[trainer.model].pid
            if trainer.model in models - set(caught) and new and trainer.epoch >= 3:
                trainer.stop()
                caught[trainer.model] = trainer
        return set(caught) == models

    run.wait_for(all_caught, f"training of {', '.join(sorted(models))}")
    return caught


def queue(cluster: Cluster) -> dict[str, tuple[str, str, str]]:
    """Model -> SLURM job, state, node."""
    text = cluster.run("squeue", "-h", "-t", "all", "-S", "i", "-o", "%i|%T|%N|%k")
    jobs = [line.split("|") for line in text.splitlines()]
    prefix = "rule_train_wildcards_"
    return {
        comment.removeprefix(prefix).replace("_", "/"): (job, state, node)
        for job, state, node, comment in jobs
        if comment.startswith(prefix)
    }


def test_mishaps_cost_time_only(clone: Callable[..., Clone], cluster: Cluster, local: Clone):
    place = clone(techniques="none")
    models = {f"none/m{mask:03}" for mask in range(4)}
    cluster.start_node("spare")
    run = place.submit("results/mini/summary.csv")
    caught = catch(place, run, models, {})
    jobs = queue(cluster)
    struck, bystander = sorted(model for model in models if jobs[model][2] == "node")
    late, queued_again = sorted(models - {struck, bystander})

    def ended(model: str, *states: str) -> None:
        run.wait_for(lambda: queue(cluster)[model][1] in states, f"end of {model}")
        assert place.resume(model).exists()

    # no further job on the spare node: what comes now comes to the node
    cluster.run("scontrol", "update", "nodename=spare", "state=drain", "reason=test")
    cluster.run("scontrol", "update", f"jobid={jobs[late][0]}", "timelimit=1")
    cluster.run("scontrol", "requeue", jobs[queued_again][0])
    cluster.run("scancel", jobs[struck][0])
    ended(queued_again, "PENDING")
    ended(struck, "CANCELLED")
    cluster.kill_daemon()
    cluster.start_node()
    assert queue(cluster)[bystander][:2] == (jobs[bystander][0], "RUNNING")
    again = catch(place, run, {struck}, caught)
    assert place.epochs(struck)[0] > caught[struck].epoch

    cluster.crash_node()
    assert {trainer.model for trainer in place.trainers()} <= {late}
    cluster.start_node()
    # not at once: the order to end the jobs of the crashed node may still be under way
    cluster.hasten(*(queue(cluster)[model][0] for model in (struck, bystander)), seconds=6)
    known = caught | again
    known |= catch(place, run, {struck, bystander}, known)
    cluster.run("sbatch", "-p", "urgent", "-w", "node", "--gpus=2", "-o", "/dev/null", "--wrap", "true")
    ended(struck, "PENDING")
    ended(bystander, "PENDING")
    cluster.run("scontrol", "update", "nodename=spare", "state=resume")
    run.wait_for(lambda: "urgent" not in cluster.run("squeue", "-h", "-o", "%P"), "end of the urgent job")
    cluster.hasten(*(queue(cluster)[model][0] for model in (struck, bystander, queued_again)))
    run.end().check()
    cluster.crash_node("spare")
    same_results(place, local)
    states = {run["State"].split()[0] for run in cluster.accounts("train", place.folder)}
    assert states >= {"TIMEOUT", "CANCELLED", "REQUEUED", "NODE_FAIL", "PREEMPTED", "COMPLETED"}
