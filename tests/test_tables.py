"""The tables of a made-up study, against its joined tables."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import synthetic
from leakgap.__main__ import run
from leakgap.report.tables import knowledge, markdown, replicates, steps, techniques
from leakgap.study import Data, Study


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    made = synthetic.study(techniques=["none", "policy", "crop+mirror+cutout+policy"], replicates=3)
    synthetic.write_study(made)
    return made


def test_techniques_hold_both_estimands(study: Study):
    table = techniques(synthetic.results(study)).set_index("technique")
    summary = pd.read_parquet(study.paths.summary)
    rows = summary.query(
        "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed'"
    )
    own = rows[rows["mask"].str.startswith("m")]
    assert table.loc["policy", "targets"] == len(own) == 8
    assert table.loc["policy", "mean_tpr_at_0.01"] == pytest.approx(own["tpr_at_0.01"].mean())
    pooled = pd.read_parquet(study.paths.joined("pooled")).query(
        "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed' "
        "and design == 'leave-one-out' and fpr == 0.001"
    )
    for column, name in (("tpr", "tpr"), ("low", "low"), ("high", "high")):
        assert table.loc["policy", f"pooled_{name}_at_0.001"] == pooled[column].item()
    assert replicates(synthetic.results(study))["targets"].tolist() == [3, 3, 3]


def test_steps_run_backwards_like_the_papers(study: Study):
    table = steps(synthetic.results(study))
    assert table["step"].tolist() == [6, 5, 4, 3, 2, 1] * 3
    assert list(dict.fromkeys(table["technique"])) == list(study.grid.techniques)


def test_the_papers_numbers_stand_beside_its_dataset_alone(study: Study):
    assert "paper_train_acc" not in techniques(synthetic.results(study))
    cifar = synthetic.results(study.model_copy(update={"data": Data(dataset="cifar10")}))
    ours = techniques(cifar).set_index("technique")["paper_tpr_at_0.001"]
    assert ours["none"] == pytest.approx(0.1956)
    assert ours["crop+mirror+cutout+policy"] == pytest.approx(0.0018)
    table = steps(cifar).set_index(["technique", "step"])["paper_tpr_at_0.001"]
    assert table["none", 3] == pytest.approx(0.046)
    assert table["policy"].isna().all()


def test_knowledge_is_paired(study: Study):
    table = (
        knowledge(synthetic.results(study))
        .query("technique == 'policy' and step == 6 and fpr == 0.01")
        .iloc[0]
    )
    draws = pd.read_parquet(study.paths.joined("replicates")).query(
        "technique == 'policy' and step == 6 and fpr == 0.01 and attack == 'lira-online-fixed' "
        "and design == 'leave-one-out'"
    )
    wide = draws.pivot(index="replicate", columns="attacker", values="tpr")
    difference = np.sort(wide["informed"] - wide["uninformed"])
    assert table["difference"] == table["informed"] - table["uninformed"]
    assert difference[1] <= table["difference_low"] <= difference[4]
    assert difference[-5] <= table["difference_high"] <= difference[-2]


def test_every_table_is_written_twice(study: Study):
    run("tables", study)
    stems = {path.stem for path in Path(study.paths.tables).iterdir()}
    assert {path.suffix for path in Path(study.paths.tables).iterdir()} == {".csv", ".md"}
    assert stems == {"techniques", "steps", "replicates", "attacks", "knowledge", "shadows", "exposed"}


def test_markdown_shows_percent_intervals_and_what_is_undefined():
    table = pd.DataFrame(
        {
            "technique": ["none", "crop"],
            "targets": [16, 16],
            "pooled_tpr_at_0.001": [0.0121, np.nan],
            "pooled_low_at_0.001": [0.0073, np.nan],
            "pooled_high_at_0.001": [0.0185, np.nan],
            "ratio": [2.0, np.inf],
        }
    )
    assert markdown(table).splitlines() == [
        "| technique | targets | pooled TPR at 0.1% FPR (%) | ratio |",
        "| --- | --- | --- | --- |",
        "| none | 16 | 1.21 [0.73, 1.85] | 2.000 |",
        "| crop | 16 | undefined | ∞ |",
    ]


def test_a_study_of_the_uninformed_attacker_has_its_tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = synthetic.study(attackers=("uninformed",))
    synthetic.write_study(made)
    run("tables", made)
    rows = pd.read_parquet(made.paths.joined("pooled")).query("step == 6 and attack == 'lira-online-fixed'")
    tpr = rows[rows["fpr"] == 0.01].set_index("technique")["tpr"]
    for name in ("techniques", "shadows", "exposed"):
        table = pd.read_csv(Path(made.paths.tables) / f"{name}.csv")
        assert set(tpr.index) <= set(table.get("technique", table.columns)), name
    ours = techniques(synthetic.results(made)).set_index("technique")["pooled_tpr_at_0.01"]
    pd.testing.assert_series_equal(ours.sort_index(), tpr.sort_index(), check_names=False)
    assert not (Path(made.paths.tables) / "knowledge.csv").exists()
