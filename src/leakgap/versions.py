"""What version of the code a stage's results depend on: a parameter of its rule, so that edits rerun it.

What is expensive has a number, raised by hand when results change. What follows is cheap: its version is a digest
of the modules that it imports, of what they import, and so on inside leakgap, and of the files beside them that
they name. Comments and formatting never count. Docstrings count where they are shown: in the report's rooms,
captions and titles are docstrings.

Imports nothing heavy: the Snakefile asks for every stage at every start.
"""

import ast
import hashlib
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
EXPENSIVE = {"pool": "1", "masks": "2", "train": "1"}
STAGES = {
    "models": "leakgap.study.models",
    "attack": "leakgap.audit.grid",
    "summary": "leakgap.results",
    "tables": "leakgap.report.tables",
    "figures": "leakgap.report.figures",
    "claims": "leakgap.claims.questions",
    "report": "leakgap.report.page",
}
# checks the values that a job is given: what it does to a job, it does by a changed parameter
VALUES = "leakgap.study.file"
# registries that most read for the names alone: what these stand for is the matter of the stages that call it
REGISTRIES = {"leakgap.augment", "leakgap.data", "leakgap.training"}
SHOWN = "leakgap.report"  # its docstrings are output
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


def closure(module: str) -> set[str]:
    """Return the modules of leakgap that a module imports, itself included, and those that they import.

    >>> sorted(closure("leakgap.files"))
    ['leakgap.files']
    """
    found, left = set[str](), {module}
    while left:
        module = left.pop()
        found.add(module)
        left |= _read(module)[0] - found - {VALUES}
    return found


@cache
def _read(module: str) -> tuple[set[str], str]:
    """Return the modules that a module names, in imports (its functions' too) and registries, and its digest."""
    source = _path(module)
    tree = ast.parse(source.read_text())
    named, beside = {module.rpartition(".")[0]}, set[Path]()  # packages are imported with what is in them
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                named |= {name.name for name in names}
            case ast.ImportFrom(package, names) if package:
                named |= {package} | {f"{package}.{name.name}" for name in names}
            case ast.Constant(str(text)) if entry := ENTRY.fullmatch(text):
                named.add(entry[1])
            case ast.Constant(str(text)) if FILE.fullmatch(text) and source.with_name(text).is_file():
                beside.add(source.with_name(text))
    if not module.startswith(SHOWN):
        _drop_docstrings(tree)
    whole = [ast.dump(tree), *(path.read_text() for path in sorted(beside))]
    own = {name for name in named if name.startswith("leakgap.") and _path(name).is_file()}
    return set() if module in REGISTRIES else own, hashlib.sha256("".join(whole).encode()).hexdigest()


def _path(module: str) -> Path:
    base = HERE.parent.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        match getattr(node, "body", None):
            case [ast.Expr(ast.Constant(str())), *_] as body:
                body[0] = ast.Pass()
