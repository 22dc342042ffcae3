"""Users' code and image folders that misbehave, a few of each; `benchmarks.damage --surface code` does all."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import misuse

# in a process of its own: cases fork, which torch refuses once gradients were computed
FEW = """
import json, sys
from pathlib import Path
import numpy as np
from benchmarks import misuse

cases = list(misuse.code_cases() if sys.argv[1] == "code" else misuse.folder_cases())
for number in np.random.default_rng(0).permutation(len(cases))[:10]:
    found = misuse.isolated(cases[number], Path(sys.argv[2], f"case{number}"))
    print(json.dumps([cases[number].kind, cases[number].name, *found]))
"""


@pytest.mark.parametrize("surface", ["code", "folders"])
def test_a_few_cases_are_right_or_one_sentence(tmp_path: Path, surface: str):
    root = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", FEW, surface, str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        timeout=600,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(told) == 10, done.stderr
    for kind, name, outcome, said in told:
        assert outcome in ("error", misuse.RIGHT), f"{kind}, {name}: {said}"


def test_what_no_encoding_knows_is_told_all_the_same(tmp_path: Path):
    (tmp_path / "data.py").write_text("def data():\n    raise ValueError('\\ud800')\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "leakgap",
        "pool",
        "--study",
        '{"name": "s", "data": {"dataset": "./data.py:data"}}',
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 1
    told = r"leakgap pool: ./data.py:2 in data: ValueError: \ud800"
    assert done.stderr.splitlines()[-1] == told


def test_the_oracle_tells_wrong_from_right(tmp_path: Path):
    """A pool that holds other records than are expected is silent, one that should not be is accepted."""
    body = "return {'x': x, 'labels': y}"
    for name, expected in (("SILENT", lambda: {"x": np.arange(1, 41)}), ("ACCEPTED", None), ("right", None)):
        right = (lambda: {"x": np.arange(40)}) if name == "right" else expected
        case = misuse.Case("data function", name, lambda r=right: misuse.data_function(body, r))
        assert misuse.isolated(case, tmp_path / name)[0] == name
