"""What version of the code a stage's results depend on: a parameter of its rule, so that edits rerun it.

What is expensive has a number, raised by hand when results change. What follows is cheap: its version is a digest
of the modules that it imports, of what they import, and so on inside leakgap, and of the files beside them that
they name. Comments and formatting never count, docstrings in the report's rooms alone, beside the captions and
titles that are data there.

Imports nothing heavy: the Snakefile asks for every stage at every start.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CODE = "LEAKGAP_CODE"  # environment variable
EXPENSIVE = {"pool": "1", "masks": "2", "train": "1"}
STAGES = {
    "models": "leakgap.jobs.models",
    "attack": "leakgap.jobs.attack",
    "summary": "leakgap.results",
    "tables": "leakgap.report.tables",
    "figures": "leakgap.report.figures",
    "claims": "leakgap.paper.questions",
    "order": "leakgap.jobs.order",
    "report": "leakgap.report.study_page",
}
# check the values that a job is given: what they do to a job, they do by a changed parameter
VALUES = {"leakgap.study.file", "leakgap.study.train"}
# registries that most read for the names alone: what these stand for is the matter of the stages that call it
REGISTRIES = {"leakgap.augment", "leakgap.data", "leakgap.training"}
SHOWN = "leakgap.report"  # a room of words: its docstrings count too
FILE = re.compile(r"[\w.]+\.(?!py$)\w+")
ENTRY = re.compile(r"(leakgap(?:\.\w+)+):\w+")  # of a registry


@cache
def version(stage: str) -> str:
    """Return the code version of a stage: a number raised by hand, or 12 hexadecimal digits.

    >>> version("masks")
    '2'
    """
    if stage in EXPENSIVE:
        return EXPENSIVE[stage]
    digests = [_read(module)[1] for module in sorted(closure(STAGES[stage]))]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:12]


def package() -> str:
    """Return where this leakgap is, after a digest of its files: `CODE` says so to the jobs of a workflow."""
    whole = hashlib.sha256()
    for path in sorted(HERE.rglob("*.py")):
        whole.update(path.relative_to(HERE).as_posix().encode() + path.read_bytes())
    return f"{whole.hexdigest()[:12]} {HERE}"


def closure(module: str) -> set[str]:
    """Return the modules of leakgap that a module imports, itself included, and those that they import.

    >>> sorted(closure("leakgap.files"))
    ['leakgap.files']
    """
    found, left = set[str](), {module}
    while left:
        module = left.pop()
        found.add(module)
        left |= _read(module)[0] - found - VALUES
    return found


@cache
def _read(module: str) -> tuple[set[str], str]:
    """Return the modules that a module names, in imports (its functions' too) and registries, and its digest."""
    source = _path(module)
    named, beside = {module.rpartition(".")[0]}, set[Path]()  # packages are imported with what is in them
    meaning, left = list[str](), list[Any]([ast.parse(source.read_text(encoding="utf-8"))])
    while left:  # every node and value of the tree once, in an order of its own
        node = left.pop()
        if isinstance(node, ast.AST):
            meaning.append(type(node).__name__)
            left += [getattr(node, field, None) for field in node._fields]
            if isinstance(node, ast.Import):
                named |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                named |= {node.module} | {f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, list):
            bare = node[1:] if _documented(node) and not module.startswith(SHOWN) else node
            meaning.append(str(len(bare)))
            left += bare
        else:
            meaning.append(repr(node))
            if isinstance(node, str) and (entry := ENTRY.fullmatch(node)):
                named.add(entry[1])
            elif isinstance(node, str) and FILE.fullmatch(node) and source.with_name(node).is_file():
                beside.add(source.with_name(node))
    meaning += [path.read_text(encoding="utf-8") for path in sorted(beside)]
    own = {name for name in named if name.startswith("leakgap.") and _path(name).is_file()}
    return set() if module in REGISTRIES else own, hashlib.sha256(" ".join(meaning).encode()).hexdigest()


def _documented(body: list[Any]) -> bool:
    first = body[0] if body else None
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _path(module: str) -> Path:
    base = HERE.parent.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
