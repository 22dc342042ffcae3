"""The version of a stage's code follows what the stage imports, and nothing else."""

from pathlib import Path

import pytest

from leakgap import versions
from leakgap.__main__ import VERBS

PACKAGE = {
    "__init__.py": "",
    "results.py": '"""Doc."""\nfrom leakgap.tools import one\n\n\ndef join():\n    import leakgap.late as late\n',
    "tools.py": "from leakgap import registry\n\none = 1  # a comment\n",
    "late.py": "def f():\n    '''Doc.'''\n    return 1\n",
    "registry.py": 'ENTRIES = {"x": "leakgap.rooms.entry:function"}\n',
    "rooms/__init__.py": "",
    "rooms/entry.py": 'PAGE = "page.html"\nfunction = 1\n',
    "rooms/page.html": "<p>",
    "rooms/other.py": "function = 1\n",
    "report/__init__.py": "",
    "report/tables.py": 'def title():\n    """A title."""  # shown\n',
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up leakgap in place of the real one."""
    for name, text in PACKAGE.items():
        path = tmp_path / "leakgap" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(versions, "HERE", tmp_path / "leakgap")
    return tmp_path / "leakgap"


def version(stage: str) -> str:
    versions.version.cache_clear()
    versions._read.cache_clear()
    return versions.version(stage)


@pytest.fixture(autouse=True)
def _forget():
    yield
    versions.version.cache_clear()
    versions._read.cache_clear()


def test_the_closure_follows_imports_lazy_imports_and_registries(package: Path):
    versions._read.cache_clear()
    named = {"results", "tools", "late", "registry", "rooms", "rooms.entry"}
    assert versions.closure("leakgap.results") == {f"leakgap.{name}" for name in named}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tools.py", "one = 1", "one = 2"),
        ("late.py", "return 1", "return 2"),
        ("registry.py", '"x"', '"y"'),
        ("rooms/entry.py", "function = 1", "function = 2"),
        ("rooms/page.html", "<p>", "<b>"),
    ],
)
def test_what_a_stage_imports_is_its_version(package: Path, name: str, old: str, new: str):
    before, other = version("summary"), version("tables")
    (package / name).write_text(PACKAGE[name].replace(old, new))
    assert version("summary") != before
    assert version("tables") == other


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("tools.py", "# a comment", "# another"),
        ("tools.py", "one = 1", "one = (\n    1\n)"),
        ("late.py", "'''Doc.'''", "'''Another.'''"),
        ("results.py", '"""Doc."""', '"""Another."""'),
        ("rooms/other.py", "1", "2"),
    ],
)
def test_comments_formatting_docstrings_and_strangers_are_not(package: Path, name: str, old: str, new: str):
    before = version("summary")
    (package / name).write_text(PACKAGE[name].replace(old, new))
    assert version("summary") == before


def test_what_a_report_shows_of_its_docstrings_is(package: Path):
    before, path = version("tables"), package / "report/tables.py"
    path.write_text(PACKAGE["report/tables.py"].replace("# shown", "# seen"))
    assert version("tables") == before
    path.write_text(PACKAGE["report/tables.py"].replace("A title", "Another title"))
    assert version("tables") != before


def test_every_verb_that_makes_something_has_a_version():
    made = {name for name, verb in VERBS.items() if any(option.name == "out" for option in verb.options)}
    assert made == versions.STAGES.keys() | versions.EXPENSIVE.keys()
    for stage, module in versions.STAGES.items():
        assert VERBS[stage].function.startswith(f"{module}:")


def test_cheap_stages_are_apart_from_training():
    for stage in set(versions.STAGES) - {"models"}:
        strangers = {"leakgap.training", "leakgap.augment.crop"}
        assert not {
            name for name in versions.closure(versions.STAGES[stage]) if name.startswith((*strangers,))
        }
    assert "leakgap.attacks.lira" in versions.closure("leakgap.jobs.attack")
    assert "leakgap.attacks.lira" not in versions.closure("leakgap.report.tables")
