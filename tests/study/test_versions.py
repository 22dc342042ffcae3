"""The version of a stage's code is of all that the stage imports."""

import ast
import re
from pathlib import Path

import pytest

from leakgap import versions
from leakgap.__main__ import VERBS

ENTRY = re.compile(r"leakgap(?:\.\w+)+(?=:\w+$)")  # of a registry: module:function
# hold and check values, which are parameters of the jobs that are given them
VALUES = {
    "study/file.py",
    "study/train.py",
    "study/plugins.py",
    "study/reading.py",
    "study/keys.py",
    "section.py",
}
# registries that most read for the names alone; what is behind these, a parameter names
NAMES = {
    "__init__.py",
    "augment/__init__.py",
    "data/__init__.py",
    "training/__init__.py",
    "objects.py",
    "text.py",
}


def imported(path: Path) -> set[Path]:
    """The modules of leakgap that a module imports, anywhere in it, or names in a registry; itself included."""
    found, left = set(), {path}
    while left:
        path = left.pop()
        found.add(path)
        if path.relative_to(versions.HERE).as_posix() not in VALUES | NAMES:
            left |= named(path) - found
    return found


def named(path: Path) -> set[Path]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ENTRY.match(node.value):
            modules.add(ENTRY.match(node.value)[0])
    paths = {versions.HERE.parent.joinpath(*module.split(".")) for module in modules}
    paths = {each / "__init__.py" if each.is_dir() else each.with_suffix(".py") for each in paths}
    return {each for each in paths if each.is_relative_to(versions.HERE) and each.is_file()}


@pytest.mark.parametrize("stage", versions.STAGES)
def test_all_that_a_stage_imports_is_in_its_version(stage: str):
    module = VERBS[stage].function.partition(":")[0]
    entry = versions.HERE.parent.joinpath(*module.split("."))
    reached = imported(entry / "__init__.py" if entry.is_dir() else entry.with_suffix(".py"))
    told = {path.relative_to(versions.HERE).as_posix() for path in reached - set(versions.files(stage))}
    bare = {name for name in told if not (versions.HERE / name).read_text(encoding="utf-8").strip()}
    assert told - bare - VALUES - NAMES <= {"study/__init__.py"}, stage


def test_every_name_of_the_list_is_there():
    for names in versions.STAGES.values():
        assert [name for name in names if not (versions.HERE / name).exists()] == []


def test_every_verb_that_makes_something_has_a_version():
    made = {name for name, verb in VERBS.items() if any(option.name == "out" for option in verb.options)}
    assert made == versions.STAGES.keys() | versions.EXPENSIVE.keys()


def test_an_edit_of_a_listed_file_is_another_version_and_no_other_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("a.py", "room/b.py", "room/page.j2", "room/notes.txt", "c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(versions, "HERE", tmp_path)
    monkeypatch.setattr(versions, "STAGES", {"made": ("a.py", "room")})
    before = versions.version.__wrapped__("made")
    for name, changes in (("a.py", True), ("room/page.j2", True), ("room/notes.txt", False), ("c.py", False)):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text + "x")
        assert (versions.version.__wrapped__("made") != before) == changes, name
        (tmp_path / name).write_text(text)
    assert versions.version.__wrapped__("made") == before
