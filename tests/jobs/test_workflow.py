"""A miniature study through real Snakemake: what it leaves behind, and what reruns when something changes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

import synthetic
from leakgap.__main__ import main
from leakgap.jobs.status import STATES
from leakgap.section import Section
from leakgap.study import Study
from rules import parts

ROOT = Path(__file__).parents[2]
BESIDE_PYTHON = Path(sys.executable).parent
MINI = {
    "name": "mini",
    "data": {"dataset": "digits", "size": 320, "reserved": 20},
    "grid": {"techniques": ["none", "crop+cutout"], "masks": 4, "replicates": 1},
    "train": {"epochs": 2, "steps": [1, 2], "width": 2, "batch_size": 64, "precision": "fp32"},
    "query": {"views": 2},
    "attack": {"attacks": ["lira-online-fixed", "loss"], "bootstrap": 100},
}


def snakemake(where: Path, *arguments: str, study: dict = MINI) -> subprocess.CompletedProcess:
    (where / "study.yaml").write_text(yaml.safe_dump(study))
    # a working tree of its own, so that edits of sources are seen by this test alone
    command = [sys.executable, "-m", "snakemake", "--snakefile", where / "Snakefile", "--directory", where]
    # not the profile of the folder in which the tests run, which is quiet
    command += ["--workflow-profile", "none", "--keep-going", "--rerun-incomplete"]
    return subprocess.run(
        [*command, "--configfile", where / "study.yaml", "--cores", "2", *arguments],
        env=os.environ | {"PYTHONPATH": str(where / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def planned(where: Path, study: dict = MINI) -> dict[str, int]:
    """Jobs of every rule that a dry run wants to do; `status` says the same of the models."""
    run = snakemake(where, "-n", "--quiet", "rules", study=study)
    assert run.returncode == 0, run.stderr
    lines = [line.split() for line in (run.stdout + run.stderr).splitlines()]
    counts = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[1].isdigit()}
    states = list(status(where, study).values())
    trained = {"stale", "older", "missing"}
    assert counts.get("train", 0) == sum(state in trained for state in states)
    assert set(states) <= {"done", *trained}
    return {rule: count for rule, count in counts.items() if rule not in ("total", "all")}


def status(where: Path, study: dict) -> dict[str, str]:
    """Path of a model -> its state."""
    with chdir(where), redirect_stdout(StringIO()) as told:
        assert main(["status", "--all", "--study", json.dumps(study)]) == 0
    return {path: state for state, path in map(str.split, told.getvalue().splitlines())}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources in which nothing has run."""
    where = tmp_path_factory.mktemp("sources")
    copy_sources(where)
    return where


def copy_sources(where: Path) -> None:
    for name in ("src", "workflow", "envs"):
        shutil.copytree(ROOT / name, where / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, where)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a space and a quote in its path, and the finished miniature study."""
    where = tmp_path_factory.mktemp("work flow's")
    copy_sources(where)
    run = snakemake(where)
    assert run.returncode == 0, run.stderr + "".join(
        log.read_text() for log in where.glob("results/mini/logs/**/*.log")
    )
    return where


def test_every_file_of_the_contract_is_there(done: Path):
    study = Study.load(MINI)
    expected = [study.paths.logits(t, m) for t in study.grid.techniques for m in study.models]
    expected += [study.paths.scores(*job) for job in study.attack_jobs]
    expected += ["results/mini/" + name for name in ("pool.npz", "masks.npz", "models.csv")]
    expected += [
        "results/mini/" + name for name in ("summary.parquet", "summary.csv", "claims.json", "claims.md")
    ]
    expected += [
        "results/mini/report.html",
        "results/mini/tables/techniques.md",
        "results/mini/tables/steps.csv",
    ]
    assert [path for path in expected if not (done / path).is_file()] == []
    figures = {
        path.suffix: path.stat().st_size for path in (done / "results/mini/figures").glob("tpr_vs_acc_gap.*")
    }
    assert figures.keys() == {".svg", ".png"}
    assert min(figures.values()) > 5000


def test_summary_has_one_row_per_target_step_attacker_and_attack(done: Path):
    summary = pd.read_parquet(done / "results/mini/summary.parquet")
    key = ["technique", "mask", "step", "attacker", "attack"]
    assert not summary.duplicated(key).any()
    assert len(summary) == 3 * 5 * 2 * 2  # attack jobs x models x steps x attacks
    assert list(summary) == [
        *("study", "technique", "mask", "step", "epoch", "attacker", "attack", "n_members", "n_nonmembers"),
        *("train_acc", "test_acc", "train_loss", "test_loss", "acc_gap", "loss_gap"),
        *("auc", "balanced_acc", "tpr_at_0.01", "tpr_at_0.001"),
    ]
    assert summary["tpr_at_0.001"].isna().all()  # 150 non-members can't say anything about 0.1%
    assert summary["tpr_at_0.01"].notna().all()


def test_summary_says_what_the_logits_say(done: Path):
    masks = np.load(done / "results/mini/masks.npz")
    logits = pq.read_table(done / "results/mini/logits/none/m002.parquet").to_pandas()
    clean = logits[(logits["step"] == 2) & (logits["view"] == 0)]
    z = np.stack(clean["logits"].to_list()).astype(float)
    right = z.argmax(1) == clean["label"]
    loss = np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), clean["label"]]
    member, rest = masks["member"][2], ~masks["member"][2] & ~masks["reserved"]
    summary = pd.read_parquet(done / "results/mini/summary.parquet")
    row = summary.query("technique == 'none' and mask == 'm002' and step == 2 and attack == 'loss'").iloc[0]
    assert row["train_acc"] == pytest.approx(right[member].mean())
    assert row["test_acc"] == pytest.approx(right[rest].mean())
    assert row["test_loss"] == pytest.approx(loss[rest].mean(), rel=1e-4)
    assert row["loss_gap"] == pytest.approx(loss[rest].mean() - loss[member].mean(), rel=1e-3)
    pairs = loss[rest][:, None] - loss[member][None]
    assert row["auc"] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=1e-5)
    assert (row["n_members"], row["n_nonmembers"]) == (member.sum(), rest.sum())


def test_a_study_file_stands_alone(done: Path):
    """Keys that it leaves out take their defaults, not the default study's values."""
    log = json.loads(pq.read_metadata(done / "results/mini/logits/none/m000.parquet").metadata[b"leakgap"])
    assert log["about"]["settings"]["train.warmup"] == Study.load(MINI).train.warmup == 0
    assert Study.load(ROOT / "config.yaml").train.warmup != 0


def test_nothing_left_to_do_and_no_resume_file(done: Path):
    assert planned(done) == {}
    assert list(done.glob("results/mini/resume/**/*.pt")) == []


def test_a_deleted_model_reruns_to_the_same_bytes(done: Path):
    path = done / "results/mini/logits/crop+cutout/m001.parquet"
    before = pq.read_table(path)
    path.unlink()
    run = snakemake(done, "results/mini/logits/crop+cutout/m001.parquet", "--quiet", "all")
    assert run.returncode == 0, run.stderr
    assert pq.read_table(path).equals(before)
    assert planned(done).keys() >= {"attack", "summary"}
    assert "train" not in planned(done)
    assert snakemake(done).returncode == 0


def test_a_deleted_file_is_made_again_though_later_ones_are_there(done: Path, tmp_path: Path):
    names = [
        "logits/none/m001.parquet",
        "scores/none.by-none.parquet",
        "summary.csv",
        "figures/roc_by_step.png",
    ]
    names += ["figures/index.json", "tables/steps.md", "models.csv", "claims.md", "report.html"]
    deleted = {f"results/mini/{name}" for name in names}
    for path in deleted:
        (done / path).rename(tmp_path / path.replace("/", "_"))
    try:
        run = snakemake(done, "-n")
    finally:
        for path in deleted:
            (tmp_path / path.replace("/", "_")).rename(done / path)
    reasons = re.findall(r"Missing output files: ([^;\n]+)", run.stdout)
    assert {path for reason in reasons for path in reason.split(", ")} == deleted


@pytest.mark.parametrize("replicates", [0, 1])
@pytest.mark.parametrize("techniques", [["none"], ["none", "crop"]])
def test_the_workflow_expects_the_tables_and_figures_that_are_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    techniques: list[str],
    replicates: int,
):
    """And nothing else; a file of the user's own stays."""
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(techniques=techniques, replicates=replicates, steps=[5, 30])
    synthetic.write_study(study)
    for verb, expected in (("tables", study.tables), ("figures", study.figures)):
        folder = Path(expected[0]).parent
        folder.mkdir(parents=True)
        mine = folder / "mine.csv"
        mine.touch()
        assert main([verb, "--study", study.model_dump_json()]) == 0
        assert sorted(map(str, folder.iterdir())) == sorted([*expected, str(mine)])


def with_change(section: str, **values: object) -> dict:
    return MINI | {section: MINI[section] | values}


TAIL = {"summary", "tables", "figures", "claims", "order", "report"}


def test_a_new_technique_trains_only_its_own_models(done: Path):
    plan = planned(done, with_change("grid", techniques=["none", "crop+cutout", "crop"]))
    assert plan["train"] == 5
    assert plan["attack"] == 2


def test_more_masks_train_the_new_models_alone(done: Path):
    plan = planned(done, with_change("grid", masks=8))
    assert plan["train"] == 2 * 4  # techniques x further masks: none of the models that are there
    assert plan["masks"] == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"reserved": 40}, {"size": 340}])
def test_other_images_or_masks_train_every_model_anew(done: Path, change: dict):
    assert planned(done, with_change("data", **change))["train"] == 2 * 5


def test_an_attack_setting_reruns_attacks_not_trainings(done: Path):
    plan = planned(done, with_change("attack", bootstrap=200))
    assert plan["attack"] == 3
    assert plan.keys() & {"train", "masks", "pool"} == set()


def test_a_techniques_option_reruns_that_technique(done: Path):
    plan = planned(done, with_change("train", cutout={"size": 3}))
    assert plan["train"] == 5
    assert plan["attack"] == 2


def edited(where: Path, name: str, old: str, new: str) -> dict[str, int]:
    """Plan after an edit of a source, which is taken back."""
    path = where / "src/leakgap" / name
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    try:
        return planned(where)
    finally:
        path.write_text(source)


FIGURES = {"figures", "report"}
FROM_ATTACK = {"attack", *TAIL}


@pytest.mark.parametrize(
    ("name", "old", "new", "rerun"),
    [
        ("report/figures/__init__.py", "early steps dark", "first steps dark", FIGURES),  # a caption
        (
            "report/tables.py",
            "One row per variant, at",
            "A row per variant, at",
            {"tables", "report"},
        ),  # a title
        ("report/study_page.html.j2", "<h2", "<h2 ", {"report"}),
        ("order/between.py", "share.mean() +", "1 * share.mean() +", {"claims", "order", *FIGURES}),
        ("data/masks.py", 'if kind == "r"', 'if "r" == kind', {*FROM_ATTACK}),
        (
            "study/grid.py",
            '"informed" if "informed" in',
            '"uninformed" if "informed" in',
            {"models", *FROM_ATTACK},
        ),
        (
            "study/file.py",
            "queries an image",
            "queries of an image",
            set(),
        ),  # only checks values, which are parameters
        ("attacks/lira.py", "\nimport", "\nx = 1\nimport", FROM_ATTACK),
        (
            "augment/crop.py",
            "\nfrom dataclasses",
            "\nx = 1\nfrom dataclasses",
            set(),
        ),  # training's number says so
    ],
)
def test_an_edit_reruns_what_uses_or_shows_it_and_nothing_else(
    done: Path, name: str, old: str, new: str, rerun: set[str]
):
    assert edited(done, name, old, new).keys() == rerun


def test_editing_what_trains_or_checks_reruns_nothing(done: Path):
    """What trains has a number that is raised by hand."""
    for name in ("study/file.py", "training/loop.py", "jobs/train.py"):
        assert edited(done, name, "\nimport", "\n# a comment\nimport") == {}


@contextmanager
def models_of_all_states(where: Path) -> Iterator[dict[str, str]]:
    """State -> the only model in it, of the study `mini`, which is put right again."""
    logits = where / "results/mini/logits/none"
    begun = where / "results/mini/resume/none/m000.pt"
    kept = {path: path.read_bytes() for path in logits.iterdir()}
    stamps = {path: path.stat() for path in kept}
    (logits / "m000.parquet").unlink()
    begun.parent.mkdir(parents=True, exist_ok=True)
    begun.touch()
    (logits / "m001.parquet").unlink()
    (logits / "m002.parquet").write_bytes(kept[logits / "m002.parquet"][:-1])
    (logits / "m003.parquet").write_bytes(kept[logits / "r000.parquet"])
    try:
        names = ("begun", "missing", "unreadable", "foreign", "done")
        yield {name: path.stem for name, path in zip(names, sorted(kept), strict=True)}
    finally:
        begun.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
            os.utime(path, ns=(stamps[path].st_atime_ns, stamps[path].st_mtime_ns))


def test_status_tells_every_state_and_what_to_delete(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(done)
    paths = Study.load(MINI).paths
    with models_of_all_states(done) as expected:
        found = status(done, MINI)
        assert {found[paths.logits("none", mask)]: mask for mask in expected.values()} == expected
        assert main(["status", "--study", json.dumps(MINI)]) == 0
    header, first, second, *told = capsys.readouterr().out.splitlines()
    assert header.split() == [*STATES, "technique"]
    assert (first.split(), second.split()) == (
        [*list("10001111"), "none"],
        [*list("50000000"), "crop+cutout"],
    )
    assert [line.strip() for line in told if ".parquet" in line] == [
        paths.logits("none", expected[state]) for state in ("unreadable", "foreign")
    ]


def test_train_refuses_a_technique_outside_the_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--study", json.dumps(MINI), "--mask", "m000", "--technique"]
    assert main([*words, "mirror"]) == 1
    assert "'mirror' is not in the study, which has none, crop+cutout\n" in capsys.readouterr().err
    assert main([*words, "none"]) == 1
    assert "pool.npz: there is no such file" in capsys.readouterr().err  # gone on, to its first input


def commands(where: Path, study: dict, *arguments: str) -> list[list[str]]:
    """The words after `python -P -m leakgap` of every job that a dry run would start."""
    run = snakemake(where, "-n", "--printshellcmds", *arguments, study=study)
    assert run.returncode == 0, run.stderr
    lines = [line.partition(" > ")[0] for line in run.stdout.splitlines() if "python -P -m leakgap " in line]
    return [shlex.split(line.partition("python -P -m leakgap ")[2]) for line in lines]


def test_every_job_is_given_what_it_reads_and_nothing_else(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """That it is given all is shown by the run: reading any other value raises."""
    jobs = {words[0]: words for words in commands(done, MINI, "--forceall")}
    shutil.copytree(done / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    read: set[str] = set()
    get = Section.__getattribute__

    def noted(section: Section, name: str) -> object:
        read.add(f"{type(section).__name__.lower()}.{name}")
        return get(section, name)

    # the report prints all values; training's are those that its logits file tells, and later jobs compare these
    for verb in jobs.keys() - {"report", "train"}:
        part = json.loads(jobs[verb][jobs[verb].index("--study") + 1])["part"]
        compared = {"data", "train", "query"} if "train" in part else set()
        given = {f"{section}.{key}" for section in part.keys() - {"name"} - compared for key in part[section]}
        read.clear()
        with monkeypatch.context() as patch:
            patch.setattr(Section, "__getattribute__", noted)
            assert main(jobs[verb]) == 0
        assert given <= read, verb


def test_what_reruns_a_job_is_what_it_is_given(done: Path):
    """So tests/study/test_reruns.py, which changes every key, speaks of the rules."""
    given = parts(Study.load(MINI))
    for words in commands(done, MINI, "--forceall"):
        told, part = words[words.index("--study") + 1], given[words[0]]
        assert told in (part.values() if isinstance(part, dict) else [part]), words[0]


def test_commands_fit_into_one_argument(done: Path):
    """Linux takes 128 KiB: a study of 640 masks, 16 techniques and two views has 10,240 models."""
    everything = "crop+mirror+cutout+policy"
    grid = {"techniques": ["none", everything], "masks": 640}
    study = MINI | {"name": "fashion-mnist-10k", "data": {"dataset": "digits"}, "grid": grid}
    goal = Study.load(study).paths.attack(everything, everything)
    run = snakemake(done, goal, "-n", "--printshellcmds", study=study)
    assert run.returncode == 0, run.stderr
    assert 50 * 1024 < max(len(line) for line in run.stdout.splitlines() if "leakgap" in line) < 120 * 1024


IMPORTING = """
configfile: "study.yaml"

module leakgap:
    snakefile: {snakefile!r}
    config: config

use rule * from leakgap{renaming}

rule mine:
    default_target: True
    input: "results/mini/logits/none/m000.parquet"
    output: "mine.txt"
    shell: "python -c 'import helper, leakgap; print(leakgap.__file__)' > {{output}}"

onstart:
    limiter = workflow.scheduler.job_rate_limiter
    print("limit:", limiter and (limiter.max_jobs, limiter.timespan))
"""


@pytest.mark.parametrize("renaming", ["", " as leakgap_*"])
def test_a_workflow_of_the_users_own_imports_this_one(done: Path, tmp_path: Path, renaming: str):
    """From another folder; the user's own PYTHONPATH stays, and Snakemake's default rate limit goes there too."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/helper.py").touch()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(MINI))
    snakefile = str(done / "workflow/Snakefile")
    (tmp_path / "Snakefile").write_text(IMPORTING.format(snakefile=snakefile, renaming=renaming))
    run = imported(tmp_path, str(tmp_path / "lib"))
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "mine.txt").read_text() == f"{done / 'src/leakgap/__init__.py'}\n"
    assert "limit: None" in run.stdout
    assert pq.read_table(tmp_path / "results/mini/logits/none/m000.parquet").equals(
        pq.read_table(done / "results/mini/logits/none/m000.parquet")
    )
    (tmp_path / "mine.txt").unlink()
    assert (
        "limit: (7, 2.0)"
        in imported(tmp_path, str(tmp_path / "lib"), "--max-jobs-per-timespan", "7/2s").stdout
    )


def imported(where: Path, path: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=where,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_workflow_without_sources_beside_it_runs_the_installed_code(done: Path, tmp_path: Path):
    for name in ("workflow", "envs"):
        shutil.copytree(done / name, tmp_path / "fetched" / name)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(MINI))
    snakefile = str(tmp_path / "fetched/workflow/Snakefile")
    (tmp_path / "Snakefile").write_text(IMPORTING.format(snakefile=snakefile, renaming=""))
    (tmp_path / "helper.py").touch()
    run = imported(tmp_path, os.pathsep.join([str(done / "src"), str(tmp_path)]))
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "mine.txt").read_text() == f"{done / 'src/leakgap/__init__.py'}\n"


def test_one_code_for_workflow_and_jobs(sources: Path, tmp_path: Path):
    """That beside the workflow, whatever is installed or on the user's PYTHONPATH, which is kept."""
    shutil.copytree(sources / "src", tmp_path / "other")
    with (tmp_path / "other/leakgap/study/models.py").open("a") as file:
        file.write("\nraise SystemExit('another leakgap')\n")
    (tmp_path / "other/sitecustomize.py").write_text(
        "import sys, pathlib\npathlib.Path(__file__).with_name('seen').write_text(str(sys.argv) + str(sys.path))\n"
    )
    command = [sys.executable, "-P", "-m", "snakemake", "-s", sources / "Snakefile", "-c1", "-d", tmp_path]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(MINI))
    run = subprocess.run(
        [*command, "results/mini/models.csv", "--configfile", tmp_path / "study.yaml"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "other")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert str(tmp_path / "other") in (tmp_path / "other/seen").read_text()  # by the job, the last to write


def test_another_leakgap_is_named_with_the_one_beside_the_workflow(sources: Path, tmp_path: Path):
    """When Snakemake had imported it before it read the workflow."""
    shutil.copytree(sources / "src", tmp_path / "other")
    (tmp_path / "other/sitecustomize.py").write_text("import leakgap.study, leakgap.versions\n")
    run = subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "-s", sources / "Snakefile", "-n", "-d", tmp_path],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "other")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode != 0
    told = run.stdout + run.stderr
    assert f"the workflow belongs to the leakgap in {sources / 'src'}" in told
    assert f"Snakemake has imported that in {tmp_path / 'other'}" in told
    assert "Traceback" not in told


def test_braces_are_no_wildcards(sources: Path, tmp_path: Path):
    """In the name of a dataset; in the path of the checkout they are refused, since Snakemake can't."""
    name = "x{wildcards.mask}{{y}}.npz"
    np.savez(sources / name, images=np.zeros((20, 1, 8, 8), np.uint8), labels=np.arange(20) % 2)
    study = MINI | {"name": "braces", "data": {"dataset": f"./{name}", "reserved": 0}}
    run = snakemake(sources, "results/braces/masks.npz", study=study)
    assert run.returncode == 0, run.stderr
    shutil.copytree(sources, tmp_path / "a{b}")
    run = dry(tmp_path / "a{b}")
    assert run.returncode != 0
    assert "Snakemake takes braces in a path for wildcards; move the checkout" in run.stdout + run.stderr


def test_options_that_do_not_suit_own_images_stop_before_any_job(sources: Path):
    np.savez(sources / "own.npz", images=np.zeros((20, 1, 6, 6), np.uint8), labels=np.arange(20) % 2)
    study = MINI | {"name": "own", "data": {"dataset": "./own.npz", "reserved": 0}}
    run = snakemake(sources, "-n", study=study | {"train": MINI["train"] | {"crop": {"pad": 6}}})
    assert run.returncode != 0
    assert "study file: train.crop.pad: 6 is not below the side of the images, 6" in run.stdout + run.stderr


def test_what_a_function_returns_is_checked_before_any_training(sources: Path):
    (sources / "own.py").write_text(
        "import numpy as np\n\n\ndef data():\n"
        "    return {'images': np.zeros((20, 1, 6, 6), np.uint8), 'labels': np.arange(20) % 2}\n"
    )
    study = MINI | {"name": "function", "data": {"dataset": "./own.py:data", "reserved": 0}}
    run = snakemake(sources, study=study | {"train": MINI["train"] | {"cutout": {"size": 17}}})
    told = run.stdout + run.stderr
    assert run.returncode != 0
    assert "leakgap pool: data.dataset: ./own.py:data holds images of 6x6 pixels" in told
    assert "need a side of 9" in told
    assert "leakgap train" not in told


def dry(where: Path, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", where / "Snakefile", "-n", *arguments],
        cwd=where,
        env=os.environ | {"PYTHONPATH": str(where / "src")},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("grid: {masks: 6}", "study file: name: the key is missing"),
        (
            "name: other\ngrid: {masks: 4}\ngrid: {techniques: [none]}",
            "other.yaml: grid: the key is given twice",
        ),
        ("name: other\ntrain: {seed: 0400}", "other.yaml: train.seed: 0400 is not what YAML reads"),
    ],
)
def test_a_given_file_is_the_whole_study_or_an_error(sources: Path, text: str, told: str):
    """Never a mixture with the default study in its folder."""
    (sources / "other.yaml").write_text(text, encoding="utf-8")
    run = dry(sources, "--configfile", "other.yaml")
    assert run.returncode != 0
    assert told in run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


def test_config_changes_keys_of_the_study_that_is_meant(sources: Path):
    """Of config.yaml, or of the file given: the job's values are told by what the dry run prints."""

    def parts(*arguments: object) -> dict:
        run = dry(sources, "--printshellcmds", *arguments)
        assert run.returncode == 0, run.stderr
        lines = [line for line in run.stdout.splitlines() if " leakgap train " in line]
        words = shlex.split(lines[0])
        return json.loads(words[words.index("--study") + 1])["part"]

    default = Study.load(ROOT / "config.yaml")
    changed = parts("--config", "name=foo")
    assert changed["name"] == "foo"
    assert (changed["train"]["warmup"], changed["train"]["precision"]) == (default.train.warmup, "fp32")
    (sources / "other.yaml").write_text("name: other\ntrain: {warmup: 1}", encoding="utf-8")
    changed = parts("--configfile", "other.yaml", "--config", "train={lr: 0.5}")
    assert changed["name"] == "other"
    assert (changed["train"]["warmup"], changed["train"]["lr"]) == (1, 0.5)
    assert changed["train"]["precision"] == Study.load(MINI | {"train": {}}).train.precision == "bf16"


def test_modules_in_the_working_directory_are_not_imported(sources: Path, tmp_path: Path):
    """In every rule: the command that it prints is the command that runs."""
    (tmp_path / "yaml.py").write_text("raise SystemExit('imported from the working directory')")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(MINI))
    arguments = ["--directory", tmp_path, "--configfile", tmp_path / "study.yaml"]
    goal = "results/mini/models.csv"
    run = dry(sources, *arguments, "--printshellcmds")
    commands = [line for line in run.stdout.splitlines() if "leakgap" in line and "--study" in line]
    assert len(commands) > 10
    assert all("python -P -m leakgap " in line for line in commands)
    made = subprocess.run(
        [sys.executable, "-P", "-m", "snakemake", "-s", sources / "Snakefile", "-c1", goal, *arguments],
        env=os.environ | {"PYTHONPATH": str(sources / "src")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert (tmp_path / goal).is_file()


def test_snakemake_s_own_report_is_made(done: Path):
    """With the packages that `leakgap[study]` names: pygments is none of Snakemake's own."""
    run = snakemake(done, "--report", "page.zip")
    assert run.returncode == 0, run.stderr
    assert (done / "page.zip").stat().st_size > 50_000
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(each.startswith("pygments") for each in extras["study"])


def test_a_dry_run_is_a_page_that_ends_with_what_the_study_costs(tmp_path: Path):
    copy_sources(tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    run = dry(tmp_path)
    assert run.returncode == 0, run.stderr
    printed = run.stdout + run.stderr
    assert printed.count("\n") < 70, printed
    last = [line for line in run.stdout.splitlines() if line][-1]
    assert re.fullmatch(
        r"digits: \S+ MB of logits; about \d+ \S+ of CPU for attacks, \d+ MB of memory a job; tells leaks apart "
        r"that differ by a factor of 1\.\d\d at 1% false positives; leakgap plan says more\.",
        last,
    ), printed
    assert "reason: Missing output files" in dry(tmp_path, "--quiet", "host").stdout


def test_a_wrong_study_stops_before_any_job(done: Path):
    run = snakemake(done, study=MINI | {"grid": {"masks": 5}})
    assert run.returncode != 0
    assert "grid.masks: 5 is not an even number of 4 or more" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_failed_job_names_its_log(done: Path):
    diverging = with_change("train", lr=1e12) | {"name": "diverged"}
    run = snakemake(done, "results/diverged/logits/none/m000.parquet", study=diverging)
    assert run.returncode != 0
    log = done / "results/diverged/logs/train/none/m000.log"
    assert str(log.relative_to(done)) in run.stderr
    assert "none/m000" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert not (done / "results/diverged/logits/none/m000.parquet").exists()


def test_a_failed_job_ends_with_its_sentence_and_the_others_go_on(done: Path):
    torn = done / "results/torn/resume/none/m000.pt"
    torn.parent.mkdir(parents=True)
    torn.touch()
    models = [f"results/torn/logits/none/m00{mask}.parquet" for mask in (0, 1)]
    run = snakemake(done, *models, "--cores", "1", study=MINI | {"name": "torn"})
    assert run.returncode != 0
    assert [(done / model).is_file() for model in models] == [False, True]
    log = "results/torn/logs/train/none/m000.log"
    (said,) = [line for line in run.stderr.splitlines() if line.startswith("failed: ")]
    assert said.startswith(
        f"failed: {log}: leakgap train: none/m000: {torn.relative_to(done)}: not a readable"
    )
    assert said.removeprefix(f"failed: {log}: ") in (done / log).read_text()
    error = run.stderr[run.stderr.index("Error in rule train:") :]
    assert "--study" not in error
    assert "None" not in error
    assert max(map(len, error.splitlines())) < 300


@pytest.mark.parametrize(("number", "told"), [(9, "memory ran out"), (11, "a crash in compiled code")])
def test_a_job_that_dies_by_a_signal_says_which_and_what_to_do(done: Path, number: int, told: str):
    (done / "dying.py").write_text(
        "import os\ndef train(data, members, seed, steps, number):\n    os.kill(os.getpid(), number)\n    yield\n"
    )
    recipe = {"recipe": "./dying.py:train", "options": {"number": number}, "steps": [1]}
    study = {"name": "dying", "grid": {"masks": 4}, "train": recipe}
    run = snakemake(done, "results/dying/logits/none/m000.parquet", study=study)
    assert run.returncode != 0
    (said,) = [line for line in run.stderr.splitlines() if line.startswith("failed: ")]
    name = {9: "SIGKILL", 11: "SIGSEGV"}[number]
    assert f"none/m000.log: killed by {name}: " in said
    assert told in said


def test_a_failure_is_told_at_once_where_jobs_are_not(tmp_path: Path):
    """Under the default profile, which is quiet about rules, and so about what they fail of."""
    copy_sources(tmp_path)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    torn = tmp_path / "results/mini/resume/none/m000.pt"
    torn.parent.mkdir(parents=True)
    torn.touch()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(MINI))
    words = ["--configfile", "study.yaml", "--cores", "2", "--", "results/mini/logits/none/m000.parquet"]
    run = imported(tmp_path, str(tmp_path / "src"), *words)
    assert run.returncode != 0
    log = "results/mini/logs/train/none/m000.log"
    told = [line for line in run.stderr.splitlines() if log in line]
    assert [line.removeprefix("failed: ") for line in told] == 2 * [told[0]], run.stderr
    assert told[0].startswith(f"{log}: leakgap train: none/m000: ")


def test_jobs_run_under_the_python_that_runs_snakemake(done: Path, tmp_path: Path):
    """Though its environment was never activated, and another python comes first."""
    other = tmp_path / "python"
    other.write_text("#!/bin/sh\necho another python >&2\nexit 9\n")
    other.chmod(0o755)
    (done / "study.yaml").write_text(yaml.safe_dump(MINI | {"name": "plain"}))
    run = subprocess.run(
        [
            Path(sys.executable).with_name("snakemake"),
            "results/plain/models.csv",
            "-c1",
            "--configfile",
            "study.yaml",
        ],
        cwd=done,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert (done / "results/plain/models.csv").is_file()


def test_verbs_work_without_snakemake(done: Path, tmp_path: Path):
    for verb in ("pool", "masks", "models", "status"):
        run = subprocess.run(
            [sys.executable, "-m", "leakgap", verb, "--study", json.dumps(MINI)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
    assert "missing" in run.stdout
    assert np.array_equal(
        np.load(tmp_path / "results/mini/masks.npz")["member"],
        np.load(done / "results/mini/masks.npz")["member"],
    )
