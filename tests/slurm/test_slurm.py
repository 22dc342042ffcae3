"""The cluster profile on a real SLURM: the same bits as a local run, one GPU a job, nothing lost to mishaps."""

import re
import time
from collections.abc import Callable

import pandas as pd
import pyarrow.parquet as pq
import pytest
from clone import Clone, Run, Trainer
from cluster import Cluster

pytestmark = pytest.mark.slurm
FAULTY = "none/m001"
SOUND = "crop/m002"


def same_results(one: Clone, other: Clone) -> None:
    """Every model of `one`, and its rows of the summary, are those of `other` to the last bit."""
    for model, path in one.logits().items():
        assert pq.read_table(path).equals(pq.read_table(other.logits()[model])), model
    ours, theirs = (pd.read_parquet(clone.results / "summary.parquet") for clone in (one, other))
    theirs = theirs[theirs.technique.isin(ours.technique)].reset_index(drop=True)
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def stamps(clone: Clone) -> dict[str, int]:
    return {model: path.stat().st_mtime_ns for model, path in clone.logits().items()}


def accounted(cluster: Cluster, rule: str) -> pd.DataFrame:
    """Every run of every job of a rule in the accounting, also of jobs that were queued again."""
    columns = ["JobID", "State", "AllocTRES", "Timelimit", "Submit", "Comment"]
    text = cluster.run("sacct", "--duplicates", "-X", "-n", "-P", "-o", ",".join(columns))
    rows = pd.DataFrame([line.split("|") for line in text.splitlines()], columns=columns)
    return rows[rows.Comment.str.startswith(f"rule_{rule}")]


def completed(cluster: Cluster) -> set[str]:
    """The models whose job has ended well, whether or not Snakemake has noticed."""
    rows = accounted(cluster, "train")
    return set(
        rows[rows.State == "COMPLETED"]
        .Comment.str.removeprefix("rule_train_wildcards_")
        .str.replace("_", "/")
    )


class Interrupted:
    """The miniature study on the cluster, stopped by Ctrl-C when two models were done, and begun again."""

    def __init__(self, clone: Clone, cluster: Cluster) -> None:
        self.clone = clone
        self.seen: list[list[Trainer]] = []
        first = clone.submit()
        self.watch(first, lambda: len(completed(cluster)) >= 2)
        self.finished = completed(cluster)
        first.interrupt()
        self.left = cluster.run("squeue", "-h", "-t", "pending,running")
        cluster.wait(lambda: not cluster.run("squeue", "-h"), 30)
        self.before = stamps(clone)
        second = clone.submit()
        self.watch(second, lambda: second.process.poll() is not None)
        second.check()
        self.output = second.output()

    def watch(self, run: Run, enough: Callable[[], bool]) -> None:
        while run.process.poll() is None and not enough():
            self.seen.append(self.clone.trainers())
            time.sleep(0.1)


@pytest.fixture(scope="module")
def interrupted(clone: Callable[..., Clone], cluster: Cluster) -> Interrupted:
    return Interrupted(clone(), cluster)


def test_the_study_through_the_profile_has_the_bits_of_a_local_run(interrupted: Interrupted, local: Clone):
    assert len(interrupted.clone.logits()) == 8
    same_results(interrupted.clone, local)
    assert (interrupted.clone.results / "report.html").stat().st_size > 0


def test_ctrl_c_cancels_the_jobs_and_a_restart_loses_no_finished_model(interrupted: Interrupted):
    assert not interrupted.left.strip()
    assert 2 <= len(interrupted.finished) < 8
    assert interrupted.finished <= set(interrupted.before)
    after = stamps(interrupted.clone)
    assert {model: after[model] for model in interrupted.before} == interrupted.before


def test_every_training_had_one_gpu_of_its_own(interrupted: Interrupted, cluster: Cluster):
    trained = {trainer.model for trainers in interrupted.seen for trainer in trainers}
    assert trained == set(interrupted.clone.logits())
    for trainers in interrupted.seen:
        gpus = [trainer.gpu for trainer in trainers]
        assert set(gpus) <= {"0", "1"}
        assert len(set(gpus)) == len(gpus), trainers
    assert max(map(len, interrupted.seen)) == 2
    trainings = accounted(cluster, "train")
    ran = trainings[trainings.AllocTRES != ""]
    assert ran.AllocTRES.str.contains(r"gres/gpu=1\b").all()
    for rule in ("attack", "summary"):
        rows = accounted(cluster, rule)
        assert len(rows) >= 1
        assert not rows.AllocTRES.str.contains("gpu").any()


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
    same_results(place, local)

    rows = accounted(cluster, "train")
    states = set(rows.State.str.split().str[0])
    assert states >= {"TIMEOUT", "CANCELLED", "REQUEUED", "NODE_FAIL", "PREEMPTED", "COMPLETED"}


def test_a_failing_model_stops_only_what_needs_it(
    clone: Callable[..., Clone], cluster: Cluster, interrupted: Interrupted, local: Clone
):
    place = clone()
    place.adopt(interrupted.clone)
    for model in (FAULTY, SOUND):
        place.logits()[model].unlink()
    for path in [*(place.results / "attacks").iterdir(), *place.results.glob("summary.*")]:
        path.unlink()
    before = stamps(place)
    torn = place.resume(FAULTY)
    torn.parent.mkdir(parents=True, exist_ok=True)
    torn.write_text("torn")

    run = place.submit("results/mini/summary.csv").end()
    assert run.process.returncode != 0
    log = f"results/mini/logs/train/{FAULTY}.log"
    assert log in run.output()
    assert "not a readable resume file" in (place.folder / log).read_text()
    rows = accounted(cluster, "train")
    attempts = rows[
        (rows.Comment == f"rule_train_wildcards_{FAULTY.replace('/', '_')}") & (rows.State == "FAILED")
    ]
    assert list(attempts.Timelimit) == ["01:00:00", "02:00:00", "03:00:00"]
    after = stamps(place)
    assert set(after) == set(before) | {SOUND}
    attacked = {path.name.split(".by-")[0] for path in (place.results / "attacks").iterdir()}
    assert attacked == {"crop"}
    assert not list((place.results / "attacks").glob("*.by-none.*"))
    assert not list(place.results.glob("summary.*"))

    torn.unlink()
    again = place.submit("results/mini/summary.csv", "-R", f"results/mini/logits/{FAULTY}.parquet").end()
    again.check()
    counts = dict(re.findall(r"^(\w+) +(\d+)$", again.output(), re.MULTILINE))
    assert counts == {"train": "1", "attack": "2", "summary": "1", "total": "4"}
    assert {model: stamp for model, stamp in stamps(place).items() if model != FAULTY} == after
    same_results(place, local)
