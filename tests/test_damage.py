"""Bad input, drawn at random: study files, and damage to every file of a finished study, through the verbs.

Nothing but one sentence, and no changed number without it. `python -m benchmarks.damage` does more of the same.
"""

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from benchmarks.damage import VALUES, Damage, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leakgap.archive import Archive, write_archive
from leakgap.results import TABLES
from leakgap.study import Study
from leakgap.versions import CODE, package

SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]

# --- study files

KEYS = [
    (section, key)
    for section, model in Study.model().model_fields.items()
    for key in getattr(model.annotation, "model_fields", {None: None})
]
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["none", "crop+mirror", "factorial", "../up", "0400", "5:00", "no", "{x}", "\U0001f600", "é\n"]
    ),
)
NUMBERS = st.one_of(
    st.integers(-2, 70),
    st.sampled_from([2**31, 2**63, 10**400, -(2**63)]),
    st.floats(allow_nan=True, allow_infinity=True),
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, st.dates()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def broken_studies(draw: st.DrawFn) -> dict:
    """Return the values of a study of which some are changed, deleted or added."""
    values = json.loads(json.dumps(VALUES))
    for section, key in draw(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3)):
        place = values if key is None else values.setdefault(section, {})
        name = section if key is None else key
        if not isinstance(place, dict):
            continue
        match draw(st.integers(0, 3)):
            case 0:
                place.pop(name, None)
            case 1:
                place[draw(WORDS)] = draw(ANYTHING)
            case _:
                place[name] = draw(st.one_of(ANYTHING, st.lists(NUMBERS, max_size=3)))
    return values


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Return a study file: YAML or JSON, whole or with a line doubled, cut out, indented or put elsewhere."""
    values = draw(broken_studies())
    text = (
        json.dumps(values, default=str) if draw(st.booleans()) else yaml.safe_dump(values, allow_unicode=True)
    )
    lines = text.splitlines()
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 3)):
            case 0:
                lines.insert(place, lines[place])
            case 1:
                lines[place] = " " * draw(st.integers(1, 5)) + lines[place]
            case 2:
                lines[place] = lines[place][: draw(st.integers(0, 20))]
            case _:
                lines.insert(draw(st.integers(0, len(lines))), lines[place])
    return "\n".join(lines).encode(draw(st.sampled_from(["utf-8", "utf-16", "latin-1"])), "replace")


@given(texts())
@settings(max_examples=300, deadline=None, suppress_health_check=SLOW)
def test_a_study_file_is_a_study_or_one_sentence(tmp_path: Path, text: bytes):
    file = tmp_path / "study.yaml"
    file.write_bytes(text)
    words = ("models", "--study", str(file), "--out", str(tmp_path / "models.csv"))
    outcome, said = run(*words)
    assert outcome in ("ended", "error"), said
    assert len(said) < 1000 + len(str(file))
    if outcome == "error":
        return
    study = Study.load(file)
    assert Study.load(study.model_dump_json()) == study
    assert Study.load(study.part("grid", "attack")).grid == study.grid
    outcome, said = run("status", "--study", str(file))
    assert outcome == "ended", said


# --- damaged files

ATTACK = ("attack", "--technique", "crop", "--shadow", "none")


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Damage:
    with contextlib.redirect_stderr(io.StringIO()):
        return Damage(tmp_path_factory.mktemp("damage"))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
def test_damage_is_an_error_or_harmless(studies: Damage, data: st.DataObject):
    kinds = sorted({artefact.kind for artefact in studies.artefacts})
    kind = data.draw(st.sampled_from(kinds))
    artefact = data.draw(st.sampled_from([each for each in studies.artefacts if each.kind == kind]))
    words = data.draw(st.sampled_from(artefact.verbs))
    damage = data.draw(st.sampled_from(studies.damages(artefact)))
    outcome, said = studies.case(artefact, words, damage, data.draw(st.integers(0, 2**32 - 1)))
    assert outcome in ("error", "harmless"), said


@pytest.mark.parametrize(
    ("kind", "file", "damage", "verb", "told"),
    [
        (
            "results",
            "results",
            "stale",
            "claims",
            "in the study, and the models were made with",
        ),
        ("results", "results", "foreign", "report", "holds the study foreign, not tiny"),
        ("attack job", "crop.by-none", "stale", "summary", "in the study, and the models were made with"),
        ("attack job", "crop.by-none", "foreign", "summary", "holds the study foreign, not tiny"),
        ("attack job", "crop.by-crop", "delete", "summary", "is missing: run the attacks first (1 of 3"),
        ("claims", "claims", "stale", "report", "damaged, or was made from other results; run claims anew"),
        ("claims", "claims", "edit", "compare", "damaged, or was made from other results; run claims anew"),
        ("index", "figures/index", "stale", "report", "damaged, or was made from other results; run figures"),
        ("table or figure", "techniques.csv", "edit", "report", "is damaged, or not the one of its index"),
        (
            "table or figure",
            "roc_by_step.svg",
            "foreign",
            "report",
            "is damaged, or not the one of its index",
        ),
        ("table or figure", "roc_by_step.svg", "delete", "report", "is missing: run figures anew"),
        ("pool", "pool", "stale", "attack", "disagrees with the study's masks or pool"),
        ("masks", "masks", "stale", "compare", "is not what the attacked models were trained on"),
        ("pool", "pool", "disk full", "attack", "none.by-none.parquet: can't be written ([Errno 27]"),
        (
            "pool",
            "pool",
            "folder closed",
            "masks",
            "closed/within/summary.parquet: can't be written ([Errno 20]",
        ),
        ("answers.npz", "shadow2", "flip", "audit", "is not a readable .npz"),
    ],
)
def test_what_is_wrong_is_said(studies: Damage, kind: str, file: str, damage: str, verb: str, told: str):
    artefact = next(each for each in studies.artefacts if each.kind == kind and file in str(each.path))
    words = next(words for words in artefact.verbs if words[0] == verb)
    outcome, said = studies.case(artefact, words, damage, 0)
    assert (outcome, told in said) == ("error", True), said


@pytest.fixture
def results(studies: Damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study's folder in a working directory of its own."""
    shutil.copytree(studies.where / "results/tiny", tmp_path / "results/tiny")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/tiny"


def test_no_job_is_read_as_another(results: Path):
    attacks = results / "attacks"
    shutil.copy(attacks / "crop.by-none.zip", attacks / "crop.by-crop.zip")
    outcome, said = run("summary", "--study", json.dumps(VALUES))
    assert (outcome, "is of crop by none, not of crop by crop" in said) == ("error", True), said
    shutil.copy(results / "results.zip", attacks / "crop.by-crop.zip")
    outcome, said = run("summary", "--study", json.dumps(VALUES))
    assert (outcome, "is of all jobs, not of crop by crop" in said) == ("error", True), said


def test_jobs_of_two_pools_are_not_joined(results: Path):
    path = results / "attacks/crop.by-none.zip"
    stored = Archive(path)
    write_archive(path, {name: stored.table(name) for name in TABLES}, stored.about | {"pool": "another"})
    outcome, said = run("summary", "--study", json.dumps(VALUES))
    assert (outcome, "their models were trained on different data" in said) == ("error", True), said


@pytest.mark.parametrize(
    ("file", "other"),
    [
        ("figures/index.json", "tables/index.json"),
        ("tables/index.json", "figures/index.json"),
        ("claims.json", "tables/index.json"),
        ("tables/index.json", "claims.json"),
    ],
)
def test_no_index_is_read_as_another(results: Path, file: str, other: str):
    shutil.copy(results / other, results / file)
    outcome, said = run("report", "--study", json.dumps(VALUES))
    assert (outcome, f"{file}: is damaged, or was made from other results" in said) == ("error", True), said
    records = json.loads((results / other).read_text(encoding="utf-8"))
    for record in records:
        del record["digest"]
    unlike = [record | {"digest": ["x"]} for record in records]
    for content in (records, unlike, [], [{}], [7], {}):
        (results / file).write_text(json.dumps(content), encoding="utf-8")
        outcome, said = run("report", "--study", json.dumps(VALUES))
        assert (outcome, file in said) == ("error", True), said


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            b'"pool": "',
            b'"pool": "0',
            "m002.parquet: its model was trained on other data than the pool holds",
        ),
        (b'"query.views": 2', b'"query.views": 3', "m002.parquet: query.views is 2 in the study"),
        (
            b'"the user\'s own files": null',
            b'"the user\'s own files": "1"',
            "m002.parquet: the user's own files is",
        ),
    ],
)
def test_every_model_that_is_attacked_is_compared(results: Path, old: bytes, new: bytes, told: str):
    """Not the first of them alone."""
    path = results / "logits/crop/m002.parquet"
    file = pq.ParquetFile(path)
    metadata = dict(file.schema_arrow.metadata)
    assert old in metadata[b"leakgap"]
    metadata[b"leakgap"] = metadata[b"leakgap"].replace(old, new)
    metadata[b"leakgap sha256"] = hashlib.sha256(metadata[b"leakgap"]).hexdigest().encode()
    table, rows = pq.read_table(path), file.metadata.row_group(0).num_rows
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    outcome, said = run("attack", "--study", json.dumps(VALUES), *ATTACK[1:])
    assert (outcome, told in said) == ("error", True), said


@pytest.mark.parametrize("as_part", [False, True], ids=["by hand", "as the workflow's job"])
@pytest.mark.parametrize("verb", ["attack", "summary", "tables", "figures", "claims", "report"])
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "width", 3),
        ("train", "lr", 0.2),
        ("train", "steps", [1, 8]),
        ("train", "seed", 5),
        ("query", "views", 1),
        ("data", "seed", 4),
        ("data", "size", 300),
        ("data", "reserved", 40),
    ],
)
def test_results_of_other_settings_are_refused(
    studies: Damage, verb: str, as_part: bool, section: str, key: str, value: object
):
    changed = VALUES | {section: VALUES[section] | {key: value}}
    words = ("--technique", "crop", "--shadow", "none") if verb == "attack" else ()
    study, told = Study.load(changed), json.dumps(changed)
    if as_part:
        told = study.attack_part("crop", "none") if verb == "attack" else study.results_part
    if as_part and verb == "report":
        told = study.part("data", "grid", "train", "query", "attack")
    with contextlib.chdir(studies.where):
        outcome, said = run(verb, "--study", told, *words)
    assert (outcome, f"{section}.{key} is " in said) == ("error", True), said


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("attack", "fpr", [0.1]),
        ("attack", "fpr", [0.1, 0.02]),
        ("attack", "attacks", ["loss"]),
        ("attack", "attackers", ["informed"]),
        ("grid", "techniques", ["none"]),
    ],
)
@pytest.mark.parametrize("verb", ["tables", "figures", "claims", "report"])
def test_tables_of_other_attacks_are_refused(
    studies: Damage, verb: str, section: str, key: str, value: object
):
    changed = VALUES | {section: VALUES[section] | {key: value}}
    with contextlib.chdir(studies.where):
        outcome, said = run(verb, "--study", json.dumps(changed))
    assert (outcome, f"{section}.{key}" in said) == ("error", True), said


def test_more_masks_than_were_drawn_are_refused(studies: Damage):
    changed = VALUES | {"grid": VALUES["grid"] | {"masks": 6}}
    with contextlib.chdir(studies.where):
        outcome, said = run(
            "attack", "--study", json.dumps(changed), "--technique", "none", "--shadow", "none"
        )
    assert (outcome, "holds 4 masks, and grid.masks is 6" in said) == ("error", True), said


# --- files that are named by hand


LOGITS = [f"results/tiny/logits/none/m{mask:03}.parquet" for mask in range(4)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            (*ATTACK, "--targets", *LOGITS),
            "none/m000.parquet: holds the model tiny/none/m000, not tiny/crop/m000",
        ),
        (("summary", "--parts", "results/tiny/summary.csv"), "--parts: 1 files for 3 attack jobs"),
        (
            ("summary", "--parts", *["results/tiny/summary.csv"] * 3),
            "summary.csv: is damaged, or no file of tables",
        ),
        (
            ("summary", "--out", "some.parquet"),
            "some.parquet: is not named like a table; these are summary, ",
        ),
        (
            ("claims", "--joined", "results/tiny/pooled.parquet"),
            "pooled.parquet: is damaged, or no file of tables",
        ),
        (
            ("tables", "--joined", "results/tiny/attacks/crop.by-none.zip"),
            "is of one attack job, not of the study",
        ),
        (("report", "--tables", "results/tiny/figures"), "figures/index.json: is damaged, or was made from"),
    ],
)
def test_wrong_files_are_one_sentence(results: Path, words: tuple[str, ...], told: str):
    outcome, said = run(words[0], "--study", json.dumps(VALUES), *words[1:])
    assert (outcome, told in said) == ("error", True), said


# --- what is no study's fault


def test_what_the_system_refuses_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "results/a\nb")

    monkeypatch.setattr("leakgap.jobs.status.show_status", full)
    outcome, said = run("status", "--study", json.dumps(VALUES))
    assert (outcome, said) == ("error", "leakgap status: results/a\\nb: No space left on device\n")


def test_what_is_about_study_files_needs_none(tmp_path: Path):
    with contextlib.chdir(tmp_path):
        assert [run(verb)[0] for verb in ("keys", "schema")] == ["ended", "ended"]
        assert run("status")[0] == "error"


def test_without_docstrings(tmp_path: Path):
    """PYTHONOPTIMIZE=2 removes them, and assertions."""
    command = [sys.executable, "-OO", "-m", "leakgap", "status", "--study", json.dumps(VALUES)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_job_of_other_code_than_its_workflow_s_is_refused(monkeypatch: pytest.MonkeyPatch):
    digest, place = package().split(" ", 1)
    for told, expected in (
        (package(), "ended"),
        (f"{digest} /elsewhere", "ended"),
        ("0 /elsewhere", "error"),
    ):
        monkeypatch.setenv(CODE, told)
        outcome, said = run("status", "--study", json.dumps(VALUES))
        assert outcome == expected
    assert f"leakgap in /elsewhere, and this job runs the one in {place}" in said
