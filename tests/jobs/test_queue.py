"""What is told of the jobs that SLURM still has, by a squeue that says what a real one says."""

import os
from pathlib import Path

import pytest

from leakgap.jobs.queue import still_queued


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
