"""What is told of models while they train, after a kill and after a copy of the folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_workflow import MINI, copy_sources, planned, snakemake, status

from leakgap.__main__ import main
from leakgap.jobs import running
from leakgap.jobs.running import Bar, at_work, is_at_work, progress
from leakgap.study import Study

LONG = MINI | {"train": MINI["train"] | {"epochs": 5000, "steps": [5000], "save_seconds": 0}}
MODEL = "results/mini/logits/none/m000.parquet"


@pytest.fixture
def training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen]:
    """A training of minutes, begun, with its log where Snakemake would put it."""
    monkeypatch.chdir(tmp_path)
    assert main(["pool", "--study", json.dumps(LONG)]) == 0
    log = Path(Study.load(LONG).paths.log("train/none/m000"))
    log.parent.mkdir(parents=True)
    words = ["train", "--study", json.dumps(LONG), "--technique", "none", "--mask", "m000"]
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "leakgap", *words], stderr=file)
    try:
        end = time.monotonic() + 60
        while not ((bar := progress(log)) and bar.done > 2):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_model_at_work_is_running_and_begun_once_it_is_killed(training, capsys):
    capsys.readouterr()
    assert main(["status", "--study", json.dumps(LONG)]) == 0
    told = capsys.readouterr().out
    assert "begun:" not in told
    assert "\n1 running\n  none/m000: " in told
    assert " of 5000, about " in told
    assert "0 of 10 models; about " in told
    assert " of training left, 1 at a time\n" in told
    training.send_signal(signal.SIGKILL)
    training.wait()
    assert status(Path(), LONG)[MODEL] == "begun"
    assert Path("results/mini/resume/none/m000.running").is_file()


def test_nothing_runs_in_a_copy_of_the_folder(training, tmp_path):
    copy = tmp_path.with_name(f"{tmp_path.name}-copy")
    shutil.copytree(tmp_path, copy)
    assert status(copy, LONG)[MODEL] == "begun"
    assert status(tmp_path, LONG)[MODEL] == "running"


def test_a_training_that_ends_leaves_nothing(training):
    training.send_signal(signal.SIGTERM)
    assert training.wait(60) == 143
    assert status(Path(), LONG)[MODEL] == "begun"
    assert os.listdir("results/mini/resume/none") == ["m000.pt"]


def test_a_training_of_another_host_runs_while_it_is_heard_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "HOST", "elsewhere")
    with at_work("a.running"):
        monkeypatch.setattr(running, "HOST", "here")
        assert is_at_work("a.running")
        old = time.time() - running.SILENT - 1
        os.utime("a.running", (old, old))
        assert not is_at_work("a.running")
    assert not Path("a.running").exists()
    Path("a.running").write_text("{")
    assert not is_at_work("a.running")


def test_a_training_touches_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(running, "BEAT", 0.05)
    with at_work("a.running"):
        os.utime("a.running", (0, 0))
        end = time.monotonic() + 10
        while os.stat("a.running").st_mtime == 0:
            assert time.monotonic() < end
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("text", "bar"),
    [
        ("a:   0%|          | 0/30 [00:00<?, ?epoch/s]", Bar(0, 30, 0, None)),
        ("a:  10%|█         | 3/30 [00:06<00:54,  2.00s/epoch, loss=1]", Bar(3, 30, 6, 54)),
        ("\ra: | 3/30 [00:06<00:54, 1]\ra: | 9/30 [1:00:00<2:20:00, 400s/epoch]", Bar(9, 30, 3600, 8400)),
        ("leakgap train: a sentence", None),
        ("", None),
    ],
)
def test_how_far_a_training_is_is_what_its_bar_says(tmp_path, text, bar):
    (tmp_path / "log").write_text(text)
    found = progress(tmp_path / "log")
    assert (found is None) == (bar is None)
    if bar:
        assert (found.done, found.total) == (bar.done, bar.total)
        assert found.gone == pytest.approx(bar.gone, abs=2)
        assert found.left == (None if bar.left is None else pytest.approx(bar.left, abs=2))
        past = time.time() - 40
        os.utime(tmp_path / "log", (past, past))
        assert progress(tmp_path / "log").gone == pytest.approx(bar.gone + 40, abs=2)


def test_watching_ends_when_all_models_are_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen = iter(["missing", "running", "done"])
    monkeypatch.setattr(
        "leakgap.jobs.status.Look.states", lambda _, models: dict.fromkeys(models, next(seen))
    )
    monkeypatch.setattr("leakgap.jobs.status.time.sleep", lambda _: None)
    assert main(["status", "--watch", "--study", json.dumps(MINI)]) == 0
    told = capsys.readouterr().out
    assert told.count("technique") == 3
    assert "10 running" in told
    assert next(seen, None) is None


def test_models_that_snakemake_trains_anew_for_their_times_are_told(tmp_path):
    """After a copy that keeps no times, where the pool is too large for Snakemake's checksums; and the cure."""
    where = tmp_path / "first"
    where.mkdir()
    copy_sources(where)
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 4
    images = (rng.integers(0, 90, (600, 3, 32, 32)) + 40 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(where / "own.npz", images=images, labels=labels)
    study = MINI | {
        "data": {"dataset": "./own.npz", "reserved": 0},
        "grid": {"techniques": ["none"], "masks": 4},
        "train": MINI["train"] | {"epochs": 1, "steps": [1]},
    }
    (where / "study.yaml").write_text(yaml.safe_dump(study))
    run = snakemake(where, "--until", "train", study=study)
    assert run.returncode == 0, run.stderr
    assert set(status(where, study).values()) == {"done"}
    assert "train" not in planned(where, study)

    pool = where / "results/mini/pool.npz"
    os.utime(pool)  # newer than the models, of the same content
    assert set(status(where, study).values()) == {"older"}
    assert planned(where, study)["train"] == 4
    assert snakemake(where, "--touch", "--until", "train", study=study).returncode == 0
    assert "train" not in planned(where, study)

    copy = tmp_path / "second"
    shutil.copytree(where, copy, copy_function=shutil.copyfile)
    assert set(status(copy, study).values()) == {"older"}
    assert planned(copy, study)["train"] == 4
