"""The checkers that the sources are held to."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ["src", "tests", "benchmarks", "docs/recipes"]
SNAKEFILES = [
    "Snakefile",
    "workflow/Snakefile",
    *(str(path.relative_to(ROOT)) for path in (ROOT / "workflow/rules").glob("*.smk")),
]
CHECKS = {
    "ruff check": ["ruff", "check", *SOURCES],
    "ruff format": ["ruff", "format", "--check", *SOURCES],
    "snakefmt": ["snakefmt", "--check", *SNAKEFILES],
    "mypy": ["mypy", "src"],
    "import-linter": ["importlinter.cli", "lint-imports"],
    "snakemake lint": ["snakemake", "--lint"],
}


@pytest.mark.parametrize("name", CHECKS)
def test_clean(name: str):
    run = subprocess.run(
        [sys.executable, "-m", *CHECKS[name]], cwd=ROOT, env=os.environ, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_continuous_integration_runs_the_readmes_test_command():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    command = next(line for line in readme.splitlines() if line.endswith("&& pytest -n 2"))
    assert command.removeprefix("git clone ").replace("pip install -c", "pip install -q -c") in script


def test_text_is_read_and_written_as_utf8_by_name():
    """Whatever the locale: an encoding that is not named is the locale's."""
    unnamed = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sorted((ROOT / "src").rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", getattr(call.func, "id", "")) in ("read_text", "write_text", "open")
        and not any(isinstance(each, ast.Constant) and "b" in str(each.value) for each in call.args)
        and ast.unparse(call.func) not in ("Image.open", "archive.open", "stored.open", "os.open")  # of bytes
        and "encoding" not in {keyword.arg for keyword in call.keywords}
    ]
    assert unnamed == []
