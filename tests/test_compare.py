"""Two made-up studies beside each other."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import main
from leakgap.claims.questions import from_json, judge, to_json
from leakgap.report.compare import compare, pooled, verdicts
from leakgap.results import Results
from leakgap.study import Study


def written(name: str, techniques: list[str], seed: int) -> Study:
    """Write a study's tables, and the claims that they lead to."""
    study = synthetic.study(techniques=techniques).model_copy(update={"name": name})
    Path(study.paths.root).mkdir(parents=True)
    synthetic.write_study(study, seed=seed)
    Path(study.paths.claims).write_text(to_json(judge(Results(study))))
    Path(f"{name}.json").write_text(study.model_dump_json())
    return study


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, Study]:
    monkeypatch.chdir(tmp_path)
    return written("one", ["none", "crop", "policy"], 0), written("two", ["none", "policy", "mirror"], 1)


def test_techniques_in_common_with_ratio_and_interval(studies: tuple[Study, Study]):
    table = pooled(*studies, ["none", "policy"]).set_index(["technique", "fpr"])
    assert list(table.index.unique("technique")) == ["none", "policy"]
    sides = [pd.read_parquet(study.paths.joined("pooled")) for study in studies]
    for side, name in zip(sides, ("one", "two"), strict=True):
        row = side.query(
            "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed' "
            "and fpr == 0.01 and design == 'leave-one-out'"
        )
        assert table.loc[("policy", 0.01), f"tpr_{name}"] == row["tpr"].item()
    rows = table.loc[(slice(None), 0.01), :]
    assert np.allclose(rows["ratio"], rows["tpr_one"] / rows["tpr_two"])
    assert (rows["ratio_low"] <= rows["ratio"]).all()
    assert (rows["ratio"] <= rows["ratio_high"]).all()


def test_verdicts_agree_differ_or_stay_open(studies: tuple[Study, Study]):
    one, two = studies
    told = [dict(json.loads(Path(study.paths.claims).read_text())[0]) for study in studies]
    words = [("supported", "supported"), ("supported", "contradicted"), ("undecided", "supported")]
    for study, side in zip(studies, (0, 1), strict=True):
        claims = [told[side] | {"id": n, "verdict": pair[side]} for n, pair in enumerate(words, 1)]
        Path(study.paths.claims).write_text(to_json(from_json(json.dumps(claims))))
    assert list(verdicts(one, two)["together"]) == ["agree", "differ", "open"]


def test_the_verb_writes_markdown_csv_and_figures(
    studies: tuple[Study, Study], capsys: pytest.CaptureFixture
):
    assert main(["compare", "--study", "one.json", "--other", "two.json"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == Path("results/one/compare/two.md")
    assert {file.suffix for file in path.parent.iterdir()} == {".md", ".csv", ".svg", ".png"}
    text = path.read_text()
    assert text.count("| 1. ") == 1
    assert "| policy | 0.1 |" in text
    assert "crop" not in text.split("Pooled TPR at the last step")[1]


def test_what_cannot_be_compared(studies: tuple[Study, Study]):
    one, two = studies
    with pytest.raises(LeakgapError, match=r"^name: both studies are 'one'"):
        compare(one, one)
    other = two.model_copy(update={"attack": two.attack.model_copy(update={"attacks": ("loss",)})})
    with pytest.raises(LeakgapError, match=r"attack\.attacks"):
        compare(one, other)
    other = two.model_copy(update={"grid": two.grid.model_copy(update={"techniques": ("cutout",)})})
    with pytest.raises(LeakgapError, match="no technique in common"):
        compare(one, other)
    Path(two.paths.claims).unlink()
    with pytest.raises(LeakgapError, match=r"two/claims\.json is missing"):
        compare(one, two)
