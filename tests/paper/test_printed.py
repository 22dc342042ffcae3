"""The paper's own numbers beside a study of its data set, and nothing of the paper beside any other."""

import json
from pathlib import Path

import pytest

import synthetic
from leakgap.__main__ import run
from leakgap.paper.printed import beside
from leakgap.results import Results
from leakgap.study import Data, Study


def test_the_papers_numbers_stand_beside_its_dataset_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    study = synthetic.study()
    synthetic.write_study(study)
    results = Results(study)
    assert beside(results) == []
    own = results.targets().query("technique == 'none' and step == 6")
    results.study = study.model_copy(update={"data": Data(dataset="cifar10")})
    page = "\n".join(beside(results))
    rows = [line for line in page.splitlines() if line.startswith(("| none |", "| policy |"))]
    assert rows[0].startswith(f"| none | 6 | 100; here {100 * own['train_acc'].mean():.2f} | 76.55; here ")
    assert [row.split(" | ")[1] for row in rows] == ["6", "6", "5", "4", "3", "2", "1"]
    assert "| 99.4; here " in rows[1]
    assert "crop+cutout" not in page  # the study has no such technique


def test_a_study_without_augmentation_never_hears_of_the_paper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    made = synthetic.study(techniques=["none"]).model_dump(mode="json")
    made["grid"] |= {"techniques": ["none", "slow"], "variants": {"slow": {"train.lr": 0.01}}}
    study = Study.load(made)
    assert not study.augments
    synthetic.write_study(study)
    for verb in ("tables", "figures", "report"):
        run(verb, study)
    written = {path.name for path in Path(study.paths.root).rglob("*")}
    assert not [name for name in written if "claims" in name or "factorial" in name]
    assert {Path(path).name for path in study.figures} <= written
    page = Path(study.paths.report).read_text(encoding="utf-8")
    shown = page[page.index("<body") : page.index("const ") if "const " in page else None]
    assert "claims" not in shown.lower()
    assert "the paper" not in shown.lower()
    names = {entry["name"] for entry in json.loads(Path(study.paths.figures, "index.json").read_text())}
    assert "factorial" not in names
