"""The workflow on a scheduler that Snakemake knows by its commands alone, with and without a shared file system."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from test_workflow import MINI, copy_sources

pytest.importorskip("snakemake_executor_plugin_cluster_generic")
STUDY = MINI | {"grid": {"techniques": ["none"], "masks": 4}}
SUBMIT = """\
#!/bin/sh
# a scheduler of one machine: a job's folder holds its script, what it prints and, at its end, its exit status
job=$(mktemp -d "$(dirname "$0")/jobs/XXXXXX")
cp "$1" "$job/script"
(JOB="$job" setsid sh "$job/script" > "$job/printed" 2>&1; echo $? > "$job/ended") > /dev/null 2>&1 &
echo "$job"
"""
STATUS = """\
#!/bin/sh
if [ ! -f "$1/ended" ]; then echo running; elif [ "$(cat "$1/ended")" = 0 ]; then echo success; else echo failed; fi
"""
STORAGE = [
    "--shared-fs-usage",
    "none",
    "--default-storage-provider",
    "fs",
    "--default-storage-prefix",
    "store",
]
OF_THE_JOB = ["--remote-job-local-storage-prefix", "$JOB/files"]  # or one job removes what another reads


def submitted(
    where: Path, *arguments: str, study: dict = STUDY, look: int = 1
) -> subprocess.CompletedProcess:
    """Run Snakemake in a copy of the sources through the stand-in scheduler; commands in `bin` go first."""
    copy_sources(where)
    (where / "jobs").mkdir()
    (where / "study.yaml").write_text(yaml.safe_dump(study))
    for name, script in (("submit", SUBMIT), ("status", STATUS)):
        (where / name).write_text(script)
        (where / name).chmod(0o755)
    scheduler = [
        "--cluster-generic-submit-cmd",
        f"{where}/submit",
        "--seconds-between-status-checks",
        f"{look}",
    ]
    scheduler += ["--cluster-generic-status-cmd", f"{where}/status", "--jobs", "3", "--latency-wait", "5"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "PATH": f"{where}/bin{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--executor", "cluster-generic", *scheduler, *arguments],
        cwd=where,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_a_study_without_a_shared_file_system_gives_the_results_of_one_with_it(tmp_path: Path):
    pytest.importorskip("snakemake_storage_plugin_fs")
    if not shutil.which("rsync"):
        pytest.skip("the storage plugin copies by rsync")
    (tmp_path / "shared").mkdir()
    (tmp_path / "none").mkdir()
    words = ["--configfile", "study.yaml", "--", "results/mini/summary.csv"]
    for where, how in (("shared", []), ("none", [*STORAGE, *OF_THE_JOB])):
        run = submitted(tmp_path / where, *how, *words)
        assert run.returncode == 0, run.stdout + run.stderr
    shared, none = tmp_path / "shared/results/mini", tmp_path / "none/store/results/mini"
    assert not [path for path in (tmp_path / "none/results").rglob("*") if path.is_file()]
    for mask in range(4):
        path = f"logits/none/m{mask:03}.parquet"
        assert pq.read_table(none / path).equals(pq.read_table(shared / path))
    ours, theirs = (pd.read_parquet(folder / "summary.parquet") for folder in (none, shared))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_a_job_that_fails_there_ends_with_its_sentence(tmp_path: Path):
    diverging = STUDY | {"train": MINI["train"] | {"lr": 1e12}}
    model = "results/mini/logits/none/m000.parquet"
    run = submitted(tmp_path, "--configfile", "study.yaml", "--", model, study=diverging)
    assert run.returncode != 0
    (told,) = [line for line in run.stderr.splitlines() if line.startswith("failed: ")]
    assert told.startswith("failed: results/mini/logs/train/none/m000.log: ")
    assert "leakgap train: none/m000: " in told


def test_slurm_s_limits_are_kept(tmp_path: Path):
    """No more jobs at a time than it takes, and a look before it forgets one, however long Snakemake would wait."""
    (tmp_path / "bin").mkdir()
    answers = {"scontrol": "MinJobAge = 15 sec", "sacctmgr": "2|", "squeue": ""}
    for name, text in answers.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n[ -z '{text}' ] || echo '{text}'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    models = [f"results/mini/logits/none/m{mask:03}.parquet" for mask in range(4)]
    began = time.monotonic()
    run = submitted(tmp_path, "--configfile", "study.yaml", "--", *models, look=1000)
    assert run.returncode == 0, run.stdout + run.stderr
    assert time.monotonic() - began < 300
    assert "SLURM takes 2 jobs more of this user, so that no more are submitted at a time.\n" in run.stderr
    ends = [(each / "ended").stat().st_mtime for each in (tmp_path / "jobs").iterdir()]
    begins = [(each / "script").stat().st_mtime for each in (tmp_path / "jobs").iterdir()]
    assert max(sum(b <= moment < e for b, e in zip(begins, ends, strict=True)) for moment in begins) <= 2
