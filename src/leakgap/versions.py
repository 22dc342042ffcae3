"""What version of the code a stage's results depend on: a parameter of its rule, so that edits rerun it.

Training is expensive, so its version is a number that is raised by hand when results change. What follows is
cheap: its version is a digest of the syntax trees of its modules, which comments, docstrings and formatting
leave alone. Imports nothing heavy: the Snakefile calls it at every start.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

EXPENSIVE = {"pool": "1", "masks": "2", "train": "1"}
STAGES = {
    "attack": ("audit/*.py", "logits.py", "measure/*.py", "attacks/*.py"),
    "summary": ("results.py",),
    "tables": ("report/tables.py",),
    "figures": ("report/figures/*.py",),
    "claims": ("claims/*.py",),
    "report": ("report/page.py", "report/page.html.j2"),
}


@cache
def version(stage: str) -> str:
    """Return the code version of a stage: a number raised by hand, or 12 hexadecimal digits."""
    if stage in EXPENSIVE:
        return EXPENSIVE[stage]
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for pattern in STAGES[stage] for path in here.glob(pattern)):
        text = path.read_text()
        digest.update((_meaning(text) if path.suffix == ".py" else text).encode())
    return digest.hexdigest()[:12]


def _meaning(source: str) -> str:
    """Dump a module's syntax tree without positions, comments and docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        match body:
            case [ast.Expr(ast.Constant(str())), *_]:
                body[0] = ast.Pass()
    return ast.dump(tree)
