"""What is told of the jobs that SLURM still has, by a squeue that says what a real one says."""

import os
from pathlib import Path

import pytest

from leakgap.jobs.queue import forgets_after, most_submitted, still_queued


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A squeue, alone on PATH, that prints a file which stands beside it."""
    command = tmp_path / "squeue"
    command.write_text(f'#!/bin/sh\nwhile read -r line; do echo "$line"; done < {tmp_path}/jobs\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "jobs"


def test_jobs_of_this_folder_are_told_by_run_with_what_ends_them(squeue: Path):
    here = os.getcwd()
    squeue.write_text(
        f"run-a|RUNNING|rule_train_wildcards_none_m000|{here}\n"
        f"run-a|PENDING|rule_train_wildcards_none_m001|{here}\n"
        f"run-a|PENDING|rule_train_wildcards_none_m002|{here}\n"
        f"run-b|RUNNING|rule_summary|{here}\n"
        f"run-c|RUNNING|rule_train_wildcards_none_m000|{here}/elsewhere\n"
        f"mine|RUNNING|(null)|{here}\n"
    )
    first, second = still_queued()
    assert "3 jobs of this folder (2 pending, 1 running) from the Snakemake run run-a" in first
    assert first.endswith("scancel --name run-a")
    assert second.endswith("scancel --name run-b")


def test_nothing_is_told_where_there_are_none(squeue: Path, monkeypatch: pytest.MonkeyPatch):
    squeue.write_text("")
    assert still_queued() == []
    squeue.unlink()  # it fails
    assert still_queued() == []
    monkeypatch.setenv("PATH", "")
    assert still_queued() == []


def command(folder: Path, name: str, *answers: str) -> None:
    """A command that answers by its words: the first of `answers`, "pattern|lines", whose pattern is among them."""
    cases = "".join(
        f'  *{pattern}*) echo "{text}" ;;\n' for pattern, _, text in (a.partition("=>") for a in answers)
    )
    (folder / name).write_text(f'#!/bin/sh\ncase "$*" in\n{cases}esac\n')
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("assoc", "qos", "queued", "most"),
    [
        ("|normal", "normal|", 0, None),
        ("100|", "normal|", 0, 100),
        ("100|", "normal|40", 3, 37),
        ("|short", "normal|40\nshort|60", 0, 60),
        ("5|", "", 9, 1),
        ("", "", 0, None),
    ],
)
def test_no_more_is_submitted_than_slurm_takes(squeue, tmp_path, assoc, qos, queued, most):
    squeue.write_text("1\n" * queued)
    command(tmp_path, "sacctmgr", f"assoc=>{assoc}", f"qos=>{qos}")
    assert most_submitted() == most


def test_the_time_after_which_slurm_forgets_is_its_own(squeue, tmp_path):
    assert forgets_after() is None
    assert most_submitted() is None
    command(tmp_path, "scontrol", "config=>MessageTimeout = 10 sec\nMinJobAge               = 300 sec")
    assert forgets_after() == 300
