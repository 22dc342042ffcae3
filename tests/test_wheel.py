"""What is installed is what is used: an audit without the extra `study`, a study in a folder without a clone."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap.__main__ import EXTRA

ROOT = Path(__file__).parents[1]
# stands for an environment that has the base dependencies alone: whatever else is there can't be imported
BARE = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRA!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, as pip unpacks it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        folder,
        ROOT,
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(installed: Path, where: Path, *command: str, bare: bool = False) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    if bare:
        (where / "bare").mkdir(exist_ok=True)
        (where / "bare/sitecustomize.py").write_text(BARE)
        environment["PYTHONPATH"] += os.pathsep + str(where / "bare")
    words = [sys.executable, *command]
    return subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, timeout=300)


def test_a_forecast_needs_neither_torch_nor_a_clone(installed: Path, tmp_path: Path):
    done = run(
        installed,
        tmp_path,
        *["-m", "leakgap", "forecast", "--train-acc", "0.99", "--test-acc", "0.81"],
        bare=True,
    )
    assert done.returncode == 0, done.stderr
    assert "recognize about" in done.stdout


def test_an_audit_needs_neither_torch_nor_snakemake(installed: Path, tmp_path: Path):
    rng = np.random.default_rng(0)
    for k in range(5):
        member = rng.random(400) < 0.5
        table = {"record": range(400), "label": np.arange(400) % 2, "member": member}
        logits = rng.normal(size=(400, 2)) + 2 * member[:, None] * np.eye(2)[np.arange(400) % 2]
        pd.DataFrame(table).assign(logits_0=logits[:, 0], logits_1=logits[:, 1]).to_csv(
            tmp_path / f"{k}.csv", index=False
        )
    files = [f"{k}.csv" for k in range(1, 5)]
    done = run(
        installed,
        tmp_path,
        "-m",
        "leakgap",
        "audit",
        "0.csv",
        "--shadows",
        *files,
        "--out",
        "audit",
        bare=True,
    )
    assert done.returncode == 0, done.stderr
    assert "recognizes" in done.stdout
    assert (tmp_path / "audit/report.html").is_file()


def test_a_study_without_the_extra_says_what_to_install(installed: Path, tmp_path: Path):
    done = run(installed, tmp_path, "-m", "leakgap", "status", bare=True)
    assert done.returncode == 1
    assert "pip install 'leakgap[study]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_of_ones_own_runs_studies(installed: Path, tmp_path: Path):
    done = run(installed, tmp_path, "-m", "leakgap", "init", "mine")
    assert done.returncode == 0, done.stderr
    mine = tmp_path / "mine"
    tiny = "name: tiny\ndata: {size: 120, reserved: 20}\ngrid: {techniques: [none], masks: 4}\n"
    tiny += "train: {epochs: 1, steps: [1], width: 2, precision: fp32}\nattack: {attacks: [loss], bootstrap: 100}\n"
    for extra in ([], ["--profile", "slurm"]):
        planned = run(installed, mine, "-m", "snakemake", "-n", "--quiet", "rules", *extra)
        assert planned.returncode == 0, planned.stderr
    (mine / "config.yaml").write_text(tiny)
    done = run(installed, mine, "-m", "snakemake", "--cores", "1", "results/tiny/logits/none/m000.parquet")
    assert done.returncode == 0, done.stderr
    assert (mine / "results/tiny/logits/none/m000.parquet").is_file()
    again = run(installed, tmp_path, "-m", "leakgap", "init", "mine")
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert (mine / "config.yaml").read_text() == tiny


def test_the_public_names_need_no_extra(installed: Path, tmp_path: Path):
    code = (
        "from leakgap import Answers, audit_model, balanced_masks, compare_audits, recipe_epsilon, tpr_at_fpr"
    )
    assert run(installed, tmp_path, "-c", code, bare=True).returncode == 0
