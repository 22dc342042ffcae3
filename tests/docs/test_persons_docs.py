"""The example of docs/persons.md, executed: it prints what the page says."""

import re
from pathlib import Path

import pandas as pd
import pytest

from leakgap.__main__ import main

TEXT = (Path(__file__).parents[2] / "docs/persons.md").read_text()
SAYS = re.compile(r"recognizes ([\d.]+)% \[[\d., ]+\] of the training (patients|records)")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_example_and_the_command_find_what_the_page_says(capsys: pytest.CaptureFixture[str]):
    (code,), (printed,) = (re.findall(rf"```{kind}\n(.*?)```", TEXT, re.S) for kind in ("python", "text"))
    exec(code, {})
    said, found = (dict(map(reversed, SAYS.findall(text))) for text in (printed, capsys.readouterr().out))
    assert set(said) == set(found) == {"patients", "records"}
    for unit, share in said.items():
        assert float(found[unit]) == pytest.approx(float(share), abs=3)  # another version of scikit-learn
    people = pd.read_csv("audit/people.csv")
    assert len(people) == 600
    shadows = [f"{number}.parquet" for number in range(1, 13)]
    told = ["audit", "0.parquet", "--shadows", *shadows, "--out", "again", "--unit", "patient"]
    assert main([*told, "--attacks", "base"]) == 0
    assert "of the training patients" in capsys.readouterr().out
