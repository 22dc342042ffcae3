"""What is written down twice agrees: schema, key reference, environments, versions, commands."""

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import yaml

import synthetic
from leakgap import Answers, audit_model, dictionary
from leakgap.answers import store
from leakgap.study.keys import markdown, schema
from leakgap.versions import STAGES, files

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["study"]  # of grids
SCHEDULING = {"pygments", "snakemake", "snakemake-executor-plugin-slurm"}  # what jobs do without
CONDA_NAMES = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def requirement(text: str) -> tuple[str, str]:
    name, bounds = re.fullmatch(r"([A-Za-z0-9_-]+)(.*)", text.replace(" ", "")).groups()
    return name, bounds


def test_schema_is_the_models():
    stored = json.loads((ROOT / "workflow/schemas/study.schema.json").read_text())
    assert stored == schema(), "run: python -m leakgap schema"


@pytest.mark.parametrize(
    "path", ["config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))], ids=str
)
def test_shipped_studies_satisfy_the_schema(path):
    """What an editor says of them, which knows the schema alone."""
    schema = json.loads((ROOT / "workflow/schemas/study.schema.json").read_text())
    study = yaml.safe_load((ROOT / path).read_text())
    jsonschema.validate(study, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study | {"grid": {"techniques": "factorials"}}, schema)


FASHION = "workflow/studies/fashion-mnist.yaml"


@pytest.mark.parametrize(
    ("whole", "path", "differing"),
    [
        (FASHION, "docs/fashion-mnist/first-half.yaml", {"grid.masks"}),
        (
            FASHION,
            "docs/fashion-mnist/second-seed.yaml",
            {"name", "grid.techniques", "grid.masks", "train.seed"},
        ),
        ("config.yaml", "docs/digits/study.yaml", set()),
        ("config.yaml", "docs/digits/second-seed.yaml", {"name", "train.seed"}),
        ("docs/recipes/text/study.yaml", "docs/recipes/text/second-seed.yaml", {"name", "train.seed"}),
    ],
)
def test_parts_and_second_seeds_differ_from_their_study_in_what_they_say_alone(whole, path, differing):
    part = yaml.safe_load((ROOT / path).read_text())
    whole = yaml.safe_load((ROOT / whole).read_text())
    assert part.keys() == whole.keys()
    found = {"name"} if part.pop("name") != whole.pop("name") else set()
    for section, keys in part.items():
        of_whole = whole[section]
        found |= {f"{section}.{key}" for key in keys | of_whole if keys.get(key) != of_whole.get(key)}
    assert found == differing


def test_key_reference_is_the_models():
    assert (ROOT / "docs/study-file.md").read_text().strip() == markdown().strip(), (
        "run: python -m leakgap keys"
    )


def test_every_key_is_explained():
    assert not re.findall(r"\| *\|\n", markdown() + "\n")


@pytest.mark.parametrize("name", ["train", "analysis"])
def test_environments_agree_with_pyproject(name: str):
    pinned = dict(requirement(text) for text in NEEDED)
    environment = dict(
        requirement(text) for text in yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
    )
    assert environment.pop("python") == PROJECT["requires-python"]
    names = {CONDA_NAMES.get(dependency, dependency): bounds for dependency, bounds in pinned.items()}
    assert environment.items() <= names.items()


def test_environments_cover_what_jobs_need():
    listed = {
        name: {
            requirement(text)[0]
            for text in yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"]
        }
        for name in ("train", "analysis")
    }
    everything = {CONDA_NAMES.get(requirement(text)[0], requirement(text)[0]) for text in NEEDED}
    assert listed["train"] | listed["analysis"] == everything - SCHEDULING | {"python"}
    assert not listed["analysis"] & {"pytorch", "torchvision"}


def test_the_environment_of_analysis_has_what_its_stages_import():
    """The imports at the head of every module that a stage after training reaches."""
    requirements = yaml.safe_load((ROOT / "envs/analysis.yaml").read_text())["dependencies"]
    listed = {requirement(text)[0] for text in requirements}
    called = {"yaml": "pyyaml", "sklearn": "scikit-learn", "PIL": "pillow", "matplotlib": "matplotlib-base"}
    needed = set()
    for path in {path for stage in STAGES for path in files(stage) if path.suffix == ".py"}:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Import):
                needed |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom):
                needed.add(node.module.partition(".")[0])
    needed -= sys.stdlib_module_names | {"leakgap"}
    brought = {"markupsafe", "pydantic_core"}  # by jinja2 and pydantic
    assert {called.get(name, name) for name in needed} <= listed | brought


def test_tested_versions_lie_in_pyprojects_ranges():
    from packaging.requirements import Requirement

    extras = [
        text
        for extra in PROJECT["optional-dependencies"].values()
        for text in extra
        if not text.startswith("leakgap")
    ]
    allowed = {r.name.lower(): r.specifier for r in map(Requirement, PROJECT["dependencies"] + extras)}
    pinned = set()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, tested = line.split("==")
            assert tested in allowed[name.lower()], line
            pinned.add(name.lower())
    assert pinned >= {"torch", "torchvision", "snakemake", "numpy", "scipy", "pandas", "pyarrow", "seaborn"}


# --- the data dictionary


def test_data_dictionary_is_the_schemas():
    page = (ROOT / "docs/data-dictionary.md").read_text(encoding="utf-8")
    assert "\n".join(dictionary.markdown()) in page, "run: python -m leakgap dictionary"


def test_data_dictionary_names_the_columns_that_files_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Those of results are checked whenever they are written."""
    assert list(dictionary.LOGITS) == store._schema(3).names
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(replicates=2)
    synthetic.write_study(study)
    rates = [f"tpr_at_{fpr:g}" for fpr in study.attack.fpr]
    summary = [name for name in dictionary.SUMMARY if name != "tpr_at_<fpr>"]
    assert list(pd.read_parquet(study.paths.summary)) == [*summary, *rates]
    pooled = [name for name in dictionary.POOLED if not name.startswith("records_")]
    assert set(pd.read_parquet(study.paths.pooled)) == set(pooled)
    rng = np.random.default_rng(0)
    columns = {"record": range(300), "label": [0] * 300, "group": np.arange(300) // 2}

    def model(name: str) -> Answers:
        member = np.repeat(rng.random(150) < 0.5, 2)
        return Answers.of(columns | {"member": member, "phi": rng.normal(member)}, name)

    audit = audit_model(model("target"), [model(f"shadow {k}") for k in range(4)], attacks=["loss", "base"])
    named = {"loss", "base", "called_at_0.01", "called_at_0.001"} | set(dictionary.AUDIT)
    assert set(audit.records) <= named
    assert set(audit.people) <= named | {"group"}


def test_the_dictionarys_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    study = synthetic.study()
    synthetic.write_study(study)
    Path("config.yaml").write_text(yaml.safe_dump(study.model_dump(mode="json")))
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/data-dictionary.md").read_text(), re.DOTALL)
    found: dict = {}
    exec(code, found)
    assert set(found["leak"]["technique"]) == set(study.grid.techniques)
