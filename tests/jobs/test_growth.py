"""What a study reruns when it grows or the user's own files change: the new jobs, what depends on them, no other.

Snakemake decides that by what it noted when the jobs ran, whatever they wrote: here they write a word, at once.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from leakgap.study import Study

ROOT = Path(__file__).parents[2]
INSTANT = """
import sys
from pathlib import Path

options = {}
for word in sys.argv[2:]:
    if word.startswith("--"):
        options[word] = values = []
    else:
        values.append(word)
for path in sum((options.get(name, []) for name in ("--out", "--scores", "--page")), []):
    for file in FILES.get(sys.argv[1], [path]):
        Path(file).write_text("a word")
"""
OWN = {
    "recipe.py": "def train(data, members, seed, steps, depth=3): ...\n",
    "margin.py": "def margin(evidence): ...\n",
    "net.py": "def net(classes, channels, width): ...\n",
    "invert.py": """
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Invert:
    share: float = 0.2

    columns: ClassVar[int] = 1
    late: ClassVar[bool] = False

    def __call__(self, images, draws): ...
""",
}
VARIANTS = {
    "deep": {"train.recipe": "./recipe.py:train", "train.options": {"depth": 5}},
    "net": {"train.architecture": "own"},
}
STUDY = {
    "name": "grown",
    "data": {"dataset": "digits", "size": 320, "reserved": 20},
    "grid": {"techniques": ["none", "invert"], "variants": VARIANTS, "masks": 4},
    "train": {"epochs": 2, "steps": [1, 2]},
    "attack": {"attacks": ["loss", "margin"], "bootstrap": 100},
    "plugins": {
        "attacks": {"margin": "./margin.py:margin", "spare": "./margin.py:margin"},
        "techniques": {"invert": "./invert.py:Invert"},
        "architectures": {"own": "./net.py:net"},
    },
}
Jobs = set[tuple[str, ...]]  # rule, wildcards ...
TAIL = {(rule,) for rule in ("summary", "tables", "figures", "claims", "order", "report")}


def grown(section: str, **values: object) -> dict:
    return STUDY | {section: STUDY[section] | values}


def snakemake(where: Path, study: dict, *arguments: str) -> str:
    (where / "study.yaml").write_text(yaml.safe_dump(study))
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--configfile", "study.yaml", "--cores", "2", *arguments],
        cwd=where,
        env=os.environ | {"PYTHONPATH": str(where / "src")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def planned(where: Path, study: dict, *targets: str) -> Jobs:
    """(rule, wildcards ...) of every job that a dry run wants to do."""
    found, told = set(), snakemake(where, study, *targets, "--dry-run")
    for block in re.split(r"\n(?=(?:local)?rule \w+:\n)", told)[1:]:
        rule = re.match(r"(?:local)?rule (\w+):", block)[1]
        wildcards = re.search(r"^    wildcards: (.*)$", block, re.M)
        values = [pair.partition("=")[2] for pair in wildcards[1].split(", ")] if wildcards else []
        found.add((rule, *values))
    return found - {("all",)}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources whose jobs write a word, the user's own files, and the finished study."""
    where = tmp_path_factory.mktemp("grown")
    for name in ("src", "workflow", "envs"):
        shutil.copytree(ROOT / name, where / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", where)
    whole = Study.load({"name": STUDY["name"]})  # its figures and tables go into folders
    files = {"tables": whole.tables, "figures": whole.figures}
    (where / "src/leakgap/__main__.py").write_text(f"FILES = {files!r}\n{INSTANT}")
    for name, source in OWN.items():
        (where / name).write_text(source)
    snakemake(where, STUDY)
    return where


def trained(*names: str, masks: range = range(4)) -> Jobs:
    return {("train", name, f"m{mask:03}") for name in names for mask in masks}


def attacked(*names: str) -> Jobs:
    """The attack jobs on these: by shadow models like the target, and by those of the baseline, none."""
    return {("attack", name, shadow) for name in names for shadow in (name, "none")}


ALL = ("none", "invert", "deep", "net")


def test_nothing_is_left_to_do(done: Path):
    assert planned(done, STUDY) == set()


@pytest.mark.parametrize(
    "variant", [{"train.lr": 0.01}, {"technique": "crop"}, {"train.recipe": "./recipe.py:train"}]
)
def test_one_more_variant(done: Path, variant: dict):
    study = grown("grid", variants=VARIANTS | {"new": variant})
    assert planned(done, study) == trained("new") | attacked("new") | TAIL | {("models",)}


def test_one_more_technique(done: Path):
    study = grown("grid", techniques=["none", "invert", "crop+invert"])
    assert planned(done, study) == trained("crop+invert") | attacked("crop+invert") | TAIL | {("models",)}


def test_more_masks(done: Path):
    """Every attack has further targets and shadow models; no model that is there is trained again."""
    expected = trained(*ALL, masks=range(4, 8)) | attacked(*ALL) | TAIL | {("models",), ("masks",)}
    assert planned(done, grown("grid", masks=8)) == expected


def test_replicates(done: Path):
    expected = {("train", name, "r000") for name in ALL} | attacked(*ALL) | TAIL | {("models",)}
    assert planned(done, grown("grid", replicates=1)) == expected


@pytest.mark.parametrize("attack", ["lira-online", "spare"])
def test_one_more_attack(done: Path, attack: str):
    study = grown("attack", attacks=["loss", "margin", attack])
    assert planned(done, study) == attacked(*ALL) | TAIL


def test_a_variant_s_own_value(done: Path):
    deeper = VARIANTS["deep"] | {"train.options": {"depth": 7}}
    study = grown("grid", variants=VARIANTS | {"deep": deeper})
    assert planned(done, study) - {("figures",), ("claims",), ("order",)} == (
        trained("deep") | attacked("deep") | TAIL - {("figures",), ("claims",), ("order",)}
    )


def test_a_plugin_s_option(done: Path):
    expected = trained("invert") | attacked("invert") | TAIL
    assert planned(done, grown("train", invert={"share": 0.5})) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recipe.py", trained("deep") | attacked("deep") | TAIL),
        ("net.py", trained("net") | attacked("net") | TAIL),
        ("invert.py", trained("invert") | attacked("invert") | TAIL),
        ("margin.py", attacked(*ALL) | TAIL),
    ],
)
def test_an_edit_of_the_user_s_own_file(done: Path, name: str, expected: Jobs):
    path = done / name
    path.write_text(f"{OWN[name]}\nedited = 1\n")
    try:
        assert planned(done, STUDY) == expected
    finally:
        path.write_text(OWN[name])


def test_the_user_s_own_data(done: Path):
    """Another .npz, or another image in a folder, under the same name: the pool is made anew."""
    folder = done / "own photos"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.png").write_text("a word")
    (done / "own.npz").write_text("a word")
    for path, changed in (("./own.npz", "own.npz"), ("./own photos", "own photos/b/1.png")):
        study = {"name": "own", "data": {"dataset": path, "reserved": 20}}
        snakemake(done, study, "results/own/pool.npz")
        assert planned(done, study, "results/own/pool.npz") == set()
        (done / changed).write_text("another")
        assert planned(done, study, "results/own/pool.npz") == {("pool",)}


def test_a_plugin_that_nothing_uses(done: Path):
    """One more, or one less; the report lists all keys of the study, a technique's options too."""
    assert planned(done, grown("plugins", attacks={"margin": "./margin.py:margin"})) == set()
    techniques = STUDY["plugins"]["techniques"] | {"other": "./invert.py:Invert"}
    assert planned(done, grown("plugins", techniques=techniques)) == {("report",)}


def test_a_missing_plugin_is_told_before_any_job(done: Path):
    study = grown("plugins", attacks={"margin": "./nowhere.py:margin"})
    with pytest.raises(AssertionError) as caught:
        planned(done, study)
    assert "study file: plugins.attacks.margin: ./nowhere.py: there is no such file" in str(caught.value)
    assert "Traceback" not in str(caught.value)
