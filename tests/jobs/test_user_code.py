"""Code of the user's that misbehaves: it ends in one sentence, and loses nothing that was made."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from leakgap import LeakgapError
from leakgap.__main__ import main
from leakgap.answers.store import read_model
from leakgap.augment import Technique
from leakgap.jobs.pool import gather
from leakgap.jobs.queue import still_queued
from leakgap.objects import Object
from leakgap.study import Study
from leakgap.text import for_markdown, for_spreadsheets
from leakgap.training.checks import check_pure

RECIPE = """
import os
import numpy as np
def train(data, members, seed, steps):
    {first}
    labels = data["labels"]
    for step in steps:
        rng = np.random.default_rng(seed + step)
        yield rng.normal(size=(len(labels), 10)) + np.eye(10)[labels]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(recipe: str) -> str:
    Path("recipe.py").write_text(recipe)
    Path("study.yaml").write_text(
        "name: mine\ndata: {size: 200}\ngrid: {masks: 4}\ntrain: {recipe: './recipe.py:train', steps: [1, 2]}\n"
    )
    assert main(["pool", "--study", "study.yaml", "--images", "0"]) == 0
    return "results/mine/logits/none/m000.parquet"


def trained(capsys) -> tuple[int, str]:
    status = main(["train", "--study", "study.yaml", "--technique", "none", "--mask", "m000"])
    return status, capsys.readouterr().err


@pytest.mark.parametrize("status", ["0", "3", "'why'", ""])
def test_a_recipe_that_exits_is_a_failure(here, capsys, status):
    path = study(RECIPE.format(first=f"raise SystemExit({status})"))
    code, told = trained(capsys)
    assert code == 1
    assert "recipe.py:5 in train: SystemExit" in told
    assert not Path(path).exists()


def test_a_recipe_that_changes_the_folder_loses_nothing(here, capsys):
    path = study(RECIPE.format(first="os.makedirs('elsewhere'); os.chdir('elsewhere')"))
    try:
        assert trained(capsys)[0] == 0
    finally:
        os.chdir(here)
    assert Path(path).is_file()


def test_a_recipe_that_is_edited_while_it_runs_leaves_the_digest_of_what_ran(here, capsys):
    before = RECIPE.format(first="open('recipe.py', 'a').write('# edited')")
    path = study(before)
    expected = Object("./recipe.py:train").digest
    assert trained(capsys)[0] == 0
    assert read_model(path).settings["train.recipe's file"] == expected
    assert Object("./recipe.py:train").digest != expected


def test_processes_that_a_recipe_starts_can_import_it(here):
    Path("spawning.py").write_text(
        "import multiprocessing\ndef square(x):\n    return x * x\n"
        "def train():\n    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        return pool.map(square, [1, 2, 3])\n"
    )
    code = "from leakgap.objects import Object\nif __name__ == '__main__':\n"
    code += "    print(Object('./spawning.py:train').load()())\n"
    Path("run.py").write_text(code)
    done = subprocess.run([sys.executable, "run.py"], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[1, 4, 9]", done.stderr


def test_a_module_that_exits_when_it_is_imported_is_one_sentence(here):
    Path("quits.py").write_text("import sys\nsys.exit(0)\ndef data(): ...\n")
    with pytest.raises(
        LeakgapError, match=r"quits\.py: ends the process when it is imported \(sys\.exit\(0\)\)"
    ):
        Object("./quits.py:data").load()


def test_a_data_function_that_exits_does_not_look_like_success(here, capsys):
    Path("data.py").write_text("import sys\ndef data():\n    sys.exit(0)\n")
    Path("study.yaml").write_text("name: mine\ndata: {dataset: './data.py:data'}\n")
    assert main(["pool", "--study", "study.yaml", "--images", "0"]) == 1
    assert "sys.exit(0)" in capsys.readouterr().err
    assert not Path("results/mine/pool.npz").exists()


class Neighbours:
    """A technique that looks at the batch."""

    columns, late = 1, False

    def __call__(self, images, draws):
        return images.roll(1, 0)


class Own:
    """A technique with a generator of its own."""

    columns, late = 1, False

    def __call__(self, images, draws):
        return (images + torch.randint(0, 200, (1,))).to(torch.uint8)


def test_techniques_that_depend_on_more_than_their_draws_are_refused():
    images = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), np.uint8)
    check_pure(Technique.parse("crop+mirror+policy+cutout".replace("policy+cutout", "cutout")), images)
    for bad in (Neighbours(), Own()):
        with pytest.raises(LeakgapError, match="it gives other images; it must draw nothing itself"):
            check_pure(Technique("bad", (bad,)), images)


def test_a_dataset_that_is_replaced_by_an_older_file_is_seen(here):
    rng = np.random.default_rng(0)
    np.savez("mine.npz", images=rng.integers(0, 256, (40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    stamp = Study.load({"name": "n", "data": {"dataset": "./mine.npz"}}).data.stamp
    np.savez("older.npz", images=rng.integers(0, 256, (40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    os.utime("older.npz", (0, 0))
    os.replace("older.npz", "mine.npz")
    assert Study.load({"name": "n", "data": {"dataset": "./mine.npz"}}).data.stamp != stamp


def test_a_home_that_is_not_there_is_one_sentence(here):
    with pytest.raises(LeakgapError, match=r"~nosuchuser/x.npz: there is no such home directory"):
        gather(Study.load({"name": "n", "data": {"dataset": "~nosuchuser/x.npz"}}), 0, "pool.npz")


@pytest.mark.parametrize("line", [b"slurm is down for maintenance\n", b"\xff\xfe|x\n", b"a|b|c\n", b"\n"])
def test_what_squeue_says_besides_jobs_stops_nothing(here, monkeypatch, line):
    command = here / "squeue"
    (here / "said").write_bytes(line)
    command.write_text(f"#!/bin/sh\n/bin/cat {here}/said\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(here))
    assert still_queued() == []


def test_a_user_without_a_name_has_no_queue(here, monkeypatch):
    (here / "squeue").touch(0o755)
    monkeypatch.setenv("PATH", str(here))

    def unnamed():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr("leakgap.jobs.queue.getuser", unnamed)
    assert still_queued() == []


def test_names_are_no_formulas_and_no_html():
    table = pd.DataFrame({"name": ["=cmd|'/C calc'!A0", "@SUM(A1)", "+1", "-1", "\tx", "cat"], "n": range(6)})
    safe = for_spreadsheets(table)
    assert [text[0] for text in safe["name"]] == ["'"] * 5 + ["c"]
    assert safe["n"].tolist() == list(range(6))
    assert (
        for_markdown("<script>alert(1)</script>|x\x1b[2J")
        == "&lt;script&gt;alert(1)&lt;/script&gt;\\|x\\x1b[2J"
    )


@pytest.mark.parametrize("backend", ["module://matplotlib_inline.backend_inline", "nonsense", "tkagg"])
def test_figures_need_no_backend_of_the_users(here, backend):
    """As a notebook's `!snakemake` has it; a matplotlibrc that asks for LaTeX changes nothing either."""
    Path("matplotlibrc").write_text("text.usetex: True\nsvg.fonttype: none\naxes.titlesize: 40\n")
    code = (
        "from leakgap.report.figures.style import canvas, styled\n"
        "with styled():\n    figure = canvas(2, 2, 'a class named $\\\\frac{$')\n    figure.savefig('x.svg')\n"
    )
    environment = os.environ | {"MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "<path" in Path("x.svg").read_text()


def test_an_audit_does_not_write_over_a_study_s_report(here):
    from leakgap import Answers, audit_model

    member = np.arange(200) < 100
    columns = {"record": range(200), "label": [0] * 200, "member": member, "phi": np.sin(range(200))}
    audit = audit_model(Answers.of(columns), [])
    Path("results/x").mkdir(parents=True)
    Path("results/x/report.html").write_text("the study's")
    with pytest.raises(LeakgapError, match=r"results/x: holds a report\.html that is no audit's"):
        audit.write("results/x")
    assert Path("results/x/report.html").read_text() == "the study's"
    audit.write("audit")
    audit.write("audit")  # its own is written anew
    assert pd.read_csv("audit/records.csv").shape[0] == 200


@pytest.mark.parametrize("name", ["audit.json", "records.csv", "records.parquet", "people.csv"])
def test_an_audit_refuses_a_folder_with_files_of_others_before_it_reads(here, name):
    from leakgap.audit.model import audit_files

    Path("mine").mkdir()
    Path("mine", name).write_text('{"attacks": "of mine"}')
    with pytest.raises(LeakgapError, match=rf"mine: holds a {name} that is no audit's"):
        audit_files(["missing.parquet"], [], "mine")
    assert [each.name for each in Path("mine").iterdir()] == [name]
    assert Path("mine", name).read_text() == '{"attacks": "of mine"}'
