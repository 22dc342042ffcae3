"""The tables of a made-up study, against its joined tables."""

import json
from dataclasses import replace
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.data.datasets import load
from leakgap.data.pool import write_pool
from leakgap.measure.estimate import interval
from leakgap.paper.questions import judge
from leakgap.report.columns import at_fprs, markdown, numbers
from leakgap.report.tables import (
    TABLES,
    attacks,
    epsilon,
    exposed,
    knowledge,
    precision,
    replicates,
    steps,
    techniques,
    thresholds,
)
from leakgap.results import Results
from leakgap.study import Study


def shown(name: str, study: Study) -> dict:
    """How a table's columns are written."""
    return next(table for table in TABLES if table.name == name).columns(study)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(tmp_path)
    made = synthetic.study(techniques=["none", "policy", "crop+mirror+cutout+policy"], replicates=3)
    synthetic.write_study(made)
    return made


def test_nothing_is_removed_that_an_index_of_ours_does_not_list(study: Study):
    mine = ["thesis.tex", "mine.yaml", "recipe.py", "notes.md", "old.csv", ".hidden"]
    for name in mine:
        Path(name).write_text("mine")
    Path("index.json").write_text(
        json.dumps([{"name": "old", "digest": "x"}, {"name": "../results/x", "digest": "x"}])
    )
    run("tables", study, out=".")
    run("figures", study, out=".")
    for name in set(mine) - {"old.csv"}:
        assert Path(name).read_text() == "mine"
    assert not Path("old.csv").exists()  # the index said that it is ours
    assert Path("techniques.csv").is_file()  # the figures did not remove the tables
    assert Path("decision.svg").is_file()


def test_an_index_that_is_not_ours_is_not_replaced(study: Study):
    Path("index.json").write_text('{"mine": 1}')
    with pytest.raises(LeakgapError, match=r"^index\.json: is no index of leakgap's"):
        run("tables", study, out=".")
    assert Path("index.json").read_text() == '{"mine": 1}'


def test_techniques_hold_both_estimands(study: Study):
    table = techniques(Results(study)).set_index("technique")
    summary = pd.read_parquet(study.paths.summary)
    rows = summary.query(
        "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed'"
    )
    own = rows[rows["mask"].str.startswith("m")]
    assert table.loc["policy", "targets"] == len(own) == 8
    assert table.loc["policy", "mean_tpr_at_0.01"] == pytest.approx(own["tpr_at_0.01"].mean())
    pooled = Results(study).pooled.query(
        "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed' "
        "and design == 'leave-one-out' and fpr == 0.001"
    )
    for column, name in (("tpr", "tpr"), ("low", "low"), ("high", "high")):
        assert table.loc["policy", f"pooled_{name}_at_0.001"] == pooled[column].item()
    assert replicates(Results(study))["targets"].tolist() == [3, 3, 3]


def test_means_over_targets_have_intervals_and_paired_differences(study: Study):
    results = Results(study)
    table = techniques(results).set_index("technique")
    cells = [results.cell(technique) for technique in ("none", "policy")]
    for column, quantity in (("test_acc", "test_acc"), ("mean_tpr_at_0.01", "tpr")):
        at = 0.01 if quantity == "tpr" else None
        means = [results.mean(cell, quantity, at) for cell in cells]
        assert table.loc["none", column] == pytest.approx(means[0].value)
        bounds = interval(means[0])
        shown = table.loc["none", [f"{column}_low", f"{column}_high"] if column == quantity else BOUNDS]
        assert shown.tolist() == pytest.approx([bounds.low, bounds.high], rel=1e-4)
        found = results.difference(*cells, quantity, at)
        assert found.value == pytest.approx(means[0].value - means[1].value)
        spread = {
            kind: np.var(means[0].draws[kind] - means[1].draws[kind], ddof=1)
            for kind in ("models", "images", "pairs")
        }
        variance = spread["models"] * 4 / 3 + spread["images"] - spread["pairs"]
        assert found.se == pytest.approx(np.sqrt(variance))
        two, one = results.difference(*cells, quantity, at, comparisons=2), found
        assert two.low < one.low < one.high < two.high
        assert results.difference(*cells, quantity, at, level=0.975)[:3] == pytest.approx(two[:3])


BOUNDS = ["mean_low_at_0.01", "mean_high_at_0.01"]


def test_steps_run_backwards_like_the_papers(study: Study):
    table = steps(Results(study))
    assert table["step"].tolist() == [6, 5, 4, 3, 2, 1] * 3
    assert list(dict.fromkeys(table["technique"])) == list(study.grid.techniques)


def paired(study: Study, fpr: float, one: dict, other: dict) -> tuple[float, float]:
    """log(one / other) of two rows of pooled TPRs and its standard error, from the tables by the definition."""
    pooled, draws = (Results(study).pooled, Results(study).draws)

    def pick(table: pd.DataFrame, cell: dict) -> pd.DataFrame:
        wanted = {"step": 6, "fpr": fpr, "design": "leave-one-out", "attacker": "informed"} | cell
        return table[np.all([table[name] == value for name, value in wanted.items()], axis=0)]

    tprs, variances = [pick(pooled, cell)["tpr"].item() for cell in (one, other)], {}
    for kind in ("models", "images", "pairs"):
        drawn = [pick(draws, cell | {"quantity": "pooled_tpr"})[kind].item() for cell in (one, other)]
        relative = [values / tpr for values, tpr in zip(drawn, tprs, strict=True)]
        variances[kind] = np.var(relative[0] - relative[1], ddof=1)
    pairs = 8 // 2
    total = variances["models"] * pairs / (pairs - 1) + variances["images"] - variances["pairs"]
    return np.log(tprs[0] / tprs[1]), np.sqrt(max(total, variances["pairs"]))


def test_knowledge_is_paired(study: Study):
    table = knowledge(Results(study)).query("technique == 'policy' and step == 6 and fpr == 0.01").iloc[0]
    cell = {"technique": "policy", "attack": "lira-online-fixed"}
    value, error = paired(study, 0.01, cell, cell | {"attacker": "uninformed"})
    assert table["difference"] == table["informed"] - table["uninformed"]
    assert np.log(table["ratio"]) == pytest.approx(value)
    low, high = np.log(table["ratio_low"]), np.log(table["ratio_high"])
    assert (low + high) / 2 == pytest.approx(value)
    assert (
        1.96 < (high - low) / 2 / error <= 3.19
    )  # Student's t, between infinitely many and 3 degrees of freedom


def test_one_estimand_has_one_interval_wherever_it_is_shown(study: Study):
    """Informed over uninformed, all techniques, last step, 1% FPR: in the table, the reader and claim 4."""
    results, technique = Results(study), "crop+mirror+cutout+policy"
    cells = [results.cell(technique, attacker=attacker) for attacker in ("informed", "uninformed")]
    ratio = results.contrast(cells[0], cells[1], 0.01)
    rows = knowledge(results).query("technique == @technique and step == 6 and fpr == 0.01")
    assert rows[["ratio", "ratio_low", "ratio_high"]].to_numpy().tolist() == [list(ratio[:3])]
    claim = judge(results)[3]
    assert (claim.value, claim.low, claim.high) == ratio[:3]
    pooled = results.row(cells[0], 0.01)
    shown = techniques(results).set_index("technique").loc[technique]
    assert [shown[f"pooled_{name}_at_0.01"] for name in ("tpr", "low", "high")] == [
        *pooled[["tpr", "low", "high"]]
    ]
    found = interval(results.replicated(cells[0], 0.01))
    assert [found.value, found.low, found.high] == [*pooled[["tpr", "low", "high"]]]


def test_attacks_stand_beside_the_headline(study: Study):
    table = attacks(Results(study)).query("technique == 'policy' and fpr == 0.01 and attacker == 'informed'")
    table = table.set_index("attack")
    assert table.loc["lira-online-fixed", "ratio"] is None, "to itself: nothing to say, rather than undefined"
    assert "| – |" in markdown(
        table.reset_index().query("attack == 'lira-online-fixed'"), shown("attacks", study)
    )
    cell = {"technique": "policy", "attack": "loss"}
    value, _ = paired(study, 0.01, cell, cell | {"attack": "lira-online-fixed"})
    assert np.log(table.loc["loss", "ratio"]) == pytest.approx(value)


def test_a_mean_over_targets_is_undefined_if_one_of_them_is(study: Study):
    rows = Results(study).estimates
    chosen = (rows["technique"] == "policy") & (rows["mask"] == "m003") & (rows["step"] == 6)
    chosen &= (rows["quantity"] == "tpr") & (rows["fpr"] == 0.01)
    synthetic.rewrite(study, estimates=rows.assign(value=rows["value"].mask(chosen)))
    table = techniques(Results(study)).set_index("technique")["mean_tpr_at_0.01"]
    assert table.isna().to_dict() == {"none": False, "policy": True, "crop+mirror+cutout+policy": False}


def test_a_recipes_epsilon_is_that_of_all_models_rounded_down(study: Study):
    table = epsilon(Results(study)).set_index("technique")
    assert tuple(table.index) == study.grid.techniques
    rows = Results(study).epsilon.query("technique == 'policy'")
    assert set(rows["attacker"]) == {"informed", "uninformed"}
    rows = rows[rows["attacker"] == study.attacker]
    assert len(rows) == table.loc["policy", "targets"] == 8
    single = sorted(rows["epsilon"])
    for name, expected in (
        ("recipe", rows["recipe"].iloc[0]),
        ("recipe_gaussian", rows["recipe_gaussian"].iloc[0]),
        ("median", (single[3] + single[4]) / 2),
        ("largest", single[7]),
    ):
        assert expected - 0.001 < table.loc["policy", name] <= expected
        assert table.loc["policy", name] * 1000 == pytest.approx(round(table.loc["policy", name] * 1000))
    assert (table["matches"] == 810).all()
    assert (table["guesses"] == 100).all()
    assert (
        "at 95% confidence, for delta = 0 and the replacement of one record"
        in Path(written(study), "epsilon.md").read_text()
    )


def written(study: Study) -> str:
    """The folder of the study's tables, written."""
    run("tables", study)
    return study.paths.tables


def test_precision_is_bayes_rule(study: Study):
    """Of a crowd of a million, count."""
    table = precision(Results(study))
    pooled = Results(study).pooled
    assert len(table) == len(study.grid.techniques) * len(study.attack.fpr)
    for row in table.to_dict("records"):
        source = pooled.query(
            f"technique == '{row['technique']}' and fpr == {row['fpr']} and step == 6 and attacker == 'informed' "
            "and attack == @study.attack.headline and design == 'leave-one-out'"
        )
        for prior in (0.01, 0.1, 0.5):
            members = 1_000_000 * prior
            for end, suffix in (("tpr", ""), ("low", "_low"), ("high", "_high")):
                caught, accused = members * source[end].item(), (1_000_000 - members) * row["fpr"]
                assert row[f"precision_of_{prior:g}{suffix}"] == pytest.approx(caught / (caught + accused))
    heading = markdown(table, shown("precision", study)).splitlines()[0]
    assert "| precision if 1% are members (%) | precision if 10% are members (%) |" in heading


def test_thresholds_are_summed_up_over_targets(study: Study):
    table = thresholds(Results(study)).set_index(["technique", "fpr"])
    rows = Results(study).thresholds.query("technique == 'policy' and fpr == 0.01 and attacker == 'informed'")
    row = table.loc["policy", 0.01]
    assert row["targets"] == len(rows) == 8
    for rate in ("achieved_fpr", "achieved_tpr"):
        ordered = sorted(rows[rate])
        assert row[rate] == pytest.approx(sum(ordered) / 8)
        assert row[f"{rate}_p5"] == pytest.approx(ordered[0] + 0.35 * (ordered[1] - ordered[0]))
        assert row[f"{rate}_p95"] == pytest.approx(ordered[6] + 0.65 * (ordered[7] - ordered[6]))
    rows = Results(study).estimates
    of_one = (rows["technique"] == "policy") & (rows["mask"] == "m003") & (rows["quantity"] == "achieved_fpr")
    synthetic.rewrite(study, estimates=rows.assign(value=rows["value"].mask(of_one)))
    means = thresholds(Results(study)).set_index("technique")["achieved_fpr"]
    assert means["policy"].isna().all()
    assert means["none"].notna().all()


def test_exposed_records_have_their_names_and_chance_explains_none_of_them(study: Study):
    pool = load("digits")
    names = np.array([f"{label}/{number:04}.png" for number, label in enumerate(pool.labels)])
    write_pool(study.paths.pool, replace(pool, arrays={**pool.arrays, "names": names}))
    synthetic.rewrite(study)  # whose models were trained on this pool
    table = exposed(Results(study), study.paths.pool)
    assert table["name"].tolist() == names[table["image"]].tolist()
    rows = Results(study).records
    limit = 0.05 / len(rows)
    # P(caught or more of n) by the binomial formula
    chance = [
        sum(comb(n, k) * 0.01**k * 0.99 ** (n - k) for k in range(caught, n + 1))
        for caught, n in zip(rows["caught"], rows["targets"], strict=True)
    ]
    expected = set(rows["image"][np.array(chance) <= limit])
    assert 0 < len(expected) < len(pool.labels) / 2
    assert set(table["image"]) <= expected
    assert len(table) == min(50, len(expected))
    synthetic.rewrite(study, records=rows.assign(caught=np.int32(1)))
    assert exposed(Results(study), study.paths.pool).empty, "one of 4 is nothing in 1,797"


def test_every_table_is_written_twice(study: Study):
    run("tables", study)
    names = ("techniques", "steps", "replicates", "attacks", "knowledge", "shadows", "epsilon")
    names += ("precision", "thresholds", "exposed", "decision")
    expected = {f"{name}{suffix}" for name in names for suffix in (".csv", ".md")} | {"index.json"}
    assert {path.name for path in Path(study.paths.tables).iterdir()} == expected


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
    assert markdown(table, at_fprs("pooled", [0.001]) | numbers(ratio="ratio")).splitlines() == [
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
    rows = Results(made).pooled.query("step == 6 and attack == 'lira-online-fixed'")
    tpr = rows[rows["fpr"] == 0.01].set_index("technique")["tpr"]
    for name in ("techniques", "shadows", "exposed"):
        table = pd.read_csv(Path(made.paths.tables) / f"{name}.csv")
        named = table["technique"] if "technique" in table else table.columns.str.removeprefix("caught_")
        assert set(tpr.index) <= set(named), name
    ours = techniques(Results(made)).set_index("technique")["pooled_tpr_at_0.01"]
    pd.testing.assert_series_equal(ours.sort_index(), tpr.sort_index(), check_names=False)
    assert "Nothing to show in this study." in (Path(made.paths.tables) / "knowledge.md").read_text()
    assert "knowledge" not in {
        told["name"] for told in json.loads((Path(made.paths.tables) / "index.json").read_text())
    }


@pytest.mark.parametrize("attackers", [("informed", "uninformed"), ("uninformed",)])
def test_another_baseline_than_none(tmp_path, monkeypatch, attackers: tuple[str, ...]):
    """Its own models attack it, others are attacked by its models too, and the paper's question has no answer."""
    monkeypatch.chdir(tmp_path)
    made = synthetic.study(attackers=attackers)
    made = Study.load(made.model_dump() | {"attack": made.attack.model_dump() | {"baseline": "policy"}})
    synthetic.write_study(made)
    run("tables", made)
    folder, everything = Path(made.paths.tables), "crop+mirror+cutout+policy"
    pooled = Results(made).pooled.query("step == 6 and attack == 'lira-online-fixed'")
    pooled = pooled[pooled["fpr"] == 0.01].set_index(["technique", "attacker"])["tpr"]
    assert ("none", "uninformed") in pooled.index
    assert ("policy", "uninformed") not in pooled.index
    shown = pd.read_csv(folder / "techniques.csv").set_index("technique")["pooled_tpr_at_0.01"]
    assert shown["policy"] == pytest.approx(pooled["policy", "informed"])
    assert shown["none"] == pytest.approx(pooled["none", attackers[0]])
    if len(attackers) == 2:
        told = pd.read_csv(folder / "knowledge.csv").query("step == 6 and fpr == 0.01").set_index("technique")
        assert set(told.index) == {"none", everything}
        assert told.loc["none", "uninformed"] == pytest.approx(pooled["none", "uninformed"])
    caught = pd.read_csv(folder / "exposed.csv")[["caught", "caught_policy"]]
    assert caught.equals(caught.sort_values(["caught", "caught_policy"], ascending=False))
    reasons = [claim.reason for claim in judge(Results(made))]
    assert (
        sum("the uninformed attacker's shadow models are not those of `none`" in told for told in reasons)
        == 2
    )
