"""The miniature study through the cluster profile: Ctrl-C, then a model that always fails, then all is well."""

import re
import time
from collections.abc import Callable

import pytest
from clone import Clone, Run, Trainer, same_results
from cluster import Cluster

pytestmark = pytest.mark.slurm


class History:
    """Three runs: stopped by Ctrl-C when two models were done; with a faulty model; and with that model mended.

    The faulty model's fault is a resume file that can't be read, which no retry can help.
    """

    def __init__(self, clone: Clone, cluster: Cluster) -> None:
        self.clone = clone
        self.seen: list[list[Trainer]] = []
        first = clone.submit()
        self.watch(first, lambda: len(self.completed(cluster)) >= 2)
        self.finished = self.completed(cluster)
        first.interrupt()
        self.left = cluster.run("squeue", "-h", "-t", "pending,running")
        cluster.wait(lambda: not cluster.run("squeue", "-h"), 30)
        self.stopped = clone.stamps()

        left = sorted({f"none/m{mask:03}" for mask in range(4)} - set(self.stopped))
        assert left, f"Ctrl-C came when no model was left to be stopped:\n{first.output()}"
        self.faulty = left[0]
        torn = clone.resume(self.faulty)
        torn.parent.mkdir(parents=True, exist_ok=True)
        torn.write_text("torn")
        self.failing = clone.submit()
        self.watch(self.failing, lambda: False)
        self.log = clone.results / f"logs/train/{self.faulty}.log"
        self.fault = self.log.read_text()
        self.failed = clone.stamps()
        self.attacked = {path.name.split(".")[1] for path in (clone.results / "attacks").iterdir()}
        self.later = [path.name for path in clone.results.glob("summary.*")]

        torn.unlink()
        self.mending = clone.submit("-R", f"results/mini/logits/{self.faulty}.parquet")
        self.watch(self.mending, lambda: False)
        self.mending.check()
        self.mended = clone.stamps()

    def watch(self, run: Run, enough: Callable[[], bool]) -> None:
        """Note which training processes are at work until the run ends or it is enough."""
        while run.process.poll() is None and not enough():
            self.seen.append(self.clone.trainers())
            time.sleep(0.1)

    def completed(self, cluster: Cluster) -> set[str]:
        """The models whose job has ended well, whether or not Snakemake has noticed."""
        runs = cluster.accounts("train", self.clone.folder)
        return {run["model"] for run in runs if run["State"] == "COMPLETED"}


@pytest.fixture(scope="module")
def history(clone: Callable[..., Clone], cluster: Cluster) -> History:
    return History(clone(), cluster)


def test_the_study_through_the_profile_has_the_bits_of_a_local_run(history: History, local: Clone):
    assert len(history.mended) == 8
    same_results(history.clone, local)
    assert (history.clone.results / "report.html").stat().st_size > 0


def test_every_training_had_one_gpu_of_its_own(history: History, cluster: Cluster):
    assert {trainer.model for trainers in history.seen for trainer in trainers} == set(history.mended)
    for trainers in history.seen:
        gpus = [trainer.gpu for trainer in trainers]
        assert set(gpus) <= {"0", "1"}
        assert len(set(gpus)) == len(gpus), trainers
    assert max(map(len, history.seen)) == 2
    given = [run["AllocTRES"] for run in cluster.accounts("train", history.clone.folder) if run["AllocTRES"]]
    assert len(given) >= 8
    assert all("gres/gpu=1," in tres for tres in given)
    for rule in ("attack", "figures"):
        runs = cluster.accounts(rule, history.clone.folder)
        assert runs
        assert not any("gpu" in run["AllocTRES"] for run in runs)


def test_ctrl_c_cancels_the_jobs_and_a_restart_loses_no_finished_model(history: History):
    assert not history.left.strip()
    assert 2 <= len(history.finished) < 8
    assert history.finished <= set(history.stopped)
    assert {model: history.mended[model] for model in history.stopped} == history.stopped


def test_a_failing_model_stops_only_what_needs_it(history: History):
    assert history.failing.process.returncode != 0
    assert set(history.failed) == set(history.mended) - {history.faulty}
    assert history.attacked == {"by-crop"}
    assert not list(history.later)


def test_a_failure_names_its_log_and_each_attempt_gets_more(history: History, cluster: Cluster):
    assert str(history.log.relative_to(history.clone.folder)) in history.failing.output()
    assert "not a readable resume file" in history.fault
    runs = cluster.accounts("train", history.clone.folder)
    limits = [run["Timelimit"] for run in runs if (run["model"], run["State"]) == (history.faulty, "FAILED")]
    assert limits == ["01:00:00", "02:00:00", "03:00:00"]


def test_one_command_redoes_a_model_and_what_depends_on_it(history: History):
    counts = dict(re.findall(r"^(\w+) +(\d+)$", history.mending.output(), re.MULTILINE))
    del counts["total"]
    assert counts.pop("train") == "1"
    assert counts.pop("attack") == "2"
    assert set(counts) == {"all", "summary", "tables", "figures", "claims", "order", "report"}
    assert {
        model: stamp for model, stamp in history.mended.items() if model != history.faulty
    } == history.failed
