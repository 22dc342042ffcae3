"""Numbers of the default study stand in three pages: they are those of its published table."""

from pathlib import Path

import pandas as pd
import pytest

from leakgap.numbers import ends, fixed

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "docs/digits"


def decision(name: str, fpr: float) -> pd.DataFrame:
    table = pd.read_csv(DIGITS / name)
    for column in table:
        if column.endswith(("_low", "_high")) or column in (
            "low",
            "high",
        ):  # an apostrophe saves spreadsheets
            table[column] = table[column].astype(str).str.lstrip("'").astype(float)
    return table[table["fpr"] == fpr].set_index("technique")


def percent(row: pd.Series, value: str, low: str, high: str) -> str:
    return f"{fixed(100 * row[value])} {ends(100 * row[low], 100 * row[high])}"


def ratio(row: pd.Series) -> str:
    if pd.isna(row["ratio"]):
        return "–"
    between = ends(row["ratio_low"], row["ratio_high"], lambda value, rounding: fixed(value, 3, rounding))
    return f"{fixed(row['ratio'], 3)} {between}"


ACCURACY, TPR = ("test_acc", "test_acc_low", "test_acc_high"), ("tpr", "low", "high")


@pytest.mark.parametrize("technique", ["none", "crop", "cutout", "crop+cutout", "crop+mirror+cutout+policy"])
def test_the_pages_have_the_published_numbers(technique: str):
    first, second = (decision(name, 0.01).loc[technique] for name in ("decision.csv", "second-decision.csv"))
    cells = [technique]
    cells += [percent(row, *ACCURACY) for row in (first, second)]
    cells += [percent(row, *TPR) for row in (first, second)]
    cells += [ratio(row) for row in (first, second)]
    assert f"| {' | '.join(cells)} |" in (DIGITS / "README.md").read_text()
    small = decision("decision.csv", 0.001).loc[technique]
    cells = [technique, percent(first, *ACCURACY), percent(first, *TPR), percent(small, *TPR)]
    assert f"| {' | '.join(cells)} |" in (ROOT / "docs/start.md").read_text()


def test_the_readme_says_them_too():
    text = (ROOT / "README.md").read_text()
    of = decision("decision.csv", 0.01)["tpr"]
    assert f"recognizes {fixed(100 * of['none'])}% of the training" in text
    assert f"with random crops (blue) {fixed(100 * of['crop'])}%" in text
    assert f"where `lira-pooled` has {fixed(100 * of['none'])}," in text


def test_the_published_table_is_that_of_the_published_rows():
    """Accuracies, which the table has of the mean over targets, against the rows of every target."""
    rows = pd.read_csv(DIGITS / "summary.csv.gz")
    last = rows[(rows["step"] == rows["step"].max()) & (rows["attack"] == "lira-pooled")]
    last = last[last["attacker"] == "informed"].groupby("technique")["test_acc"].mean()
    pd.testing.assert_series_equal(
        decision("decision.csv", 0.01)["test_acc"].sort_index(), last.sort_index(), check_names=False
    )
