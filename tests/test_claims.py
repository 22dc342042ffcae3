"""Verdicts on simulated studies of known truth, statistics against independent computations."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.isotonic import IsotonicRegression

from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.claims import between as predict
from leakgap.claims import questions as claims
from leakgap.study import Study

sys.path.append(str(Path(__file__).parents[1]))
from benchmarks import verdicts

DATA_CLAIMS = [4, 5, 6, 7]  # positions of claims 5 to 8


def study(
    world: str = "gap", names: list[str] = verdicts.FIVE, masks: int = 8, seed: int = 1
) -> dict[str, pd.DataFrame]:
    return verdicts.simulate(world, names, masks, seed)[1]


def judge(tables: dict[str, pd.DataFrame], **options) -> list[claims.Claim]:
    return claims.judge(**tables, attack=verdicts.ATTACK, **options)


def pooled_study(tpr: dict[tuple[str, int, str], float], spread: float = 0.05) -> dict[str, pd.DataFrame]:
    """A study of known pooled TPRs at 1% FPR, replicates log-normal around them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(list(tpr), columns=["technique", "step", "attacker"])
    table = table.assign(design="leave-one-out", attack=verdicts.ATTACK, fpr=0.01, tpr=list(tpr.values()))
    long = table.loc[np.repeat(table.index, 500)].assign(replicate=np.tile(np.arange(500), len(tpr)))
    long["tpr"] *= np.exp(rng.normal(0, spread, len(long)))
    pooled = table.assign(low=table.tpr * 0.9, n_targets=16, n_members=16000)
    return study(masks=4) | {"pooled": pooled, "replicates": long}


# --- verdicts


def test_gap_world():
    found = judge(study("gap", verdicts.FACTORIAL, masks=16))
    assert [claim.verdict for claim in found[2:7]] == ["supported"] * 4 + ["undecided"]
    assert "train accuracy" in found[5].notes[3]


def test_test_accuracy_world():
    found = judge(study("test accuracy", verdicts.FACTORIAL, masks=16))
    assert [claim.verdict for claim in found[1:3]] == ["contradicted"] * 2
    assert [found[k].verdict for k in (5, 6)] == ["contradicted"] * 2


def test_null_world_is_undecided_with_a_reason():
    found = judge(study("null", verdicts.FACTORIAL))
    assert {found[k].verdict for k in (0, 1, *DATA_CLAIMS)} == {"undecided"}
    assert "told from the FPR" in found[5].reason
    assert found[5].value is None


def test_few_techniques_rarely_decide_where_nothing_is_to_decide():
    decided = {"ours": 0, "bootstrap": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = verdicts.draw_truth("tie", verdicts.FIVE, rng)
        table = predict.cells(verdicts.targets(truth, verdicts.FIVE, 16, 500, rng), 0.01)
        ours, each = predict.error_difference("", table, "test_acc", "acc_gap")
        decided["ours"] += ours.verdict(0) != "undecided"
        decided["bootstrap"] += predict.bootstrap_interval("", each, 0).verdict(0) != "undecided"
    assert decided["ours"] <= 6 < decided["bootstrap"]


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ([0.01, 0.02, 0.06, 0.2], "supported"),
        ([0.01, 0.02, 0.02, 0.2], "supported"),  # level steps are no fall
        ([0.01, 0.08, 0.02, 0.2], "contradicted"),
        ([0.2, 0.06, 0.02, 0.01], "contradicted"),
        ([0.01, 0.02, 0.02 * claims.FALL, 0.2], "undecided"),
        ([0.02, 0.02, 0.02, 0.02], "undecided"),
    ],
)
def test_early_stopping(path: list[float], verdict: str):
    tables = pooled_study({("none", step, "informed"): tpr for step, tpr in enumerate(path, 1)})
    assert judge(tables)[1].verdict == verdict


@pytest.mark.parametrize(
    ("ratio", "helps"), [(3, "supported"), (claims.HELP, "undecided"), (0.5, "contradicted")]
)
def test_knowledge(ratio: float, helps: str):
    tpr = {("none", 1, "informed"): 0.1}
    for technique in ("policy", claims.ALL):
        tpr |= {(technique, 1, "informed"): 0.04 * ratio, (technique, 1, "uninformed"): 0.04}
    found = judge(pooled_study(tpr))
    opposite = {"supported": "contradicted", "contradicted": "supported"}.get(helps, helps)
    assert (found[2].verdict, found[3].verdict) == (helps, opposite)
    assert found[2].value == pytest.approx(ratio)


# --- what is lacking


def test_two_techniques_are_too_few():
    found = judge(study(names=["none", "crop"]))
    assert {found[k].reason for k in DATA_CLAIMS} == {"2 techniques are too few to compare, 3 the least"}
    assert found[2].reason == "the grid has no `policy`"
    assert found[3].reason == f"the grid has no `{claims.ALL}`"


def test_three_techniques_are_undecided_on_the_gap():
    found = judge(study(names=["none", "crop", "policy"]))
    assert found[5].verdict == "undecided"
    assert found[5].low < 0 < found[5].high


def test_one_step():
    tables = {name: table[table.step == verdicts.STEPS] for name, table in study().items()}
    assert judge(tables)[1].reason == "the grid has no `none` with two steps or more"


def test_no_replicates_and_no_uninformed_attacker():
    tables = study()
    nothing = judge(tables | {"replicates": tables["replicates"].iloc[:0]})
    assert {claim.verdict for claim in nothing[:4]} == {"undecided"}
    assert "none, step 6, informed attacker" in nothing[0].reason
    informed = {name: table[table.attacker == "informed"] for name, table in tables.items()}
    assert "policy, step 6, uninformed attacker" in judge(informed)[2].reason


def test_undefined_tprs():
    tables = study()
    targets = tables | {"halves": tables["halves"].assign(**{"tpr_at_0.01": np.nan})}
    assert "single targets is undefined" in judge(targets)[5].reason
    pooled = tables | {"pooled": tables["pooled"].assign(tpr=np.nan)}
    assert "no pooled TPR is defined" in judge(pooled)[0].reason


def test_single_targets_take_the_smallest_defined_fpr():
    tables = study()
    low = [tables[name].assign(fpr=0.001) for name in ("pooled", "replicates")]
    for name, extra in zip(("pooled", "replicates"), low, strict=True):
        tables[name] = pd.concat([tables[name], extra])
    found = judge(tables)
    assert "fpr == 0.001" in found[0].rows[0].query
    assert "single targets at 0.01 FPR" in found[4].notes[0]


def test_a_single_pair_of_steps_is_not_ranked_by_luck():
    table = pd.DataFrame({"technique": ["a", "b", "c"], "x": [1.0, 2, 3], "log_tpr": [1.0, 2, 3]})
    assert predict.correlation("", table, "x").low is None


# --- input


@pytest.mark.parametrize("name", ["summary", "halves", "pooled", "replicates"])
def test_missing_column(name: str):
    tables = study()
    with pytest.raises(LeakgapError, match=f"{name}: column step is missing"):
        judge(tables | {name: tables[name].drop(columns="step")})


def test_bad_input():
    tables = study()
    twice = tables | {"halves": pd.concat([tables["halves"], tables["halves"].iloc[:1]])}
    with pytest.raises(LeakgapError, match="halves: two rows for none, 1, informed, lira-online, m000"):
        judge(twice)
    with pytest.raises(LeakgapError, match="no rows of attack 'lira'"):
        claims.judge(**tables, attack="lira")
    with pytest.raises(LeakgapError, match="design: 'both'"):
        judge(tables, design="both")
    with pytest.raises(LeakgapError, match="no rows of attack 'lira-online' in the design replicates"):
        judge(tables, design="replicates")
    with pytest.raises(LeakgapError, match="halves: column test_loss has undefined values"):
        judge(tables | {"halves": tables["halves"].assign(test_loss=np.nan)})


def test_order_of_rows_does_not_matter():
    tables = study()
    shuffled = {name: table.sample(frac=1, random_state=3) for name, table in tables.items()}
    assert claims.to_json(judge(shuffled)) == claims.to_json(judge(tables))


def test_other_attacks_and_designs_do_not_matter():
    tables = study()
    more = {name: pd.concat([table, table.assign(attack="loss")]) for name, table in tables.items()}
    for name in ("summary", "halves"):
        more[name] = pd.concat(
            [more[name], tables[name].assign(mask=tables[name]["mask"].str.replace("m", "r"))]
        )
    for name in ("pooled", "replicates"):
        more[name] = pd.concat([more[name], tables[name].assign(design="replicates")])
    assert judge(more) == judge(tables)
    assert [claim.value for claim in judge(more, design="replicates")] == [
        claim.value for claim in judge(tables)
    ]


# --- output


def test_json_and_markdown():
    found = judge(study())
    text = claims.to_json(found)
    assert claims.from_json(text) == found
    assert [claim["id"] for claim in json.loads(text)] == list(range(1, 9))
    page = claims.to_markdown(found)
    assert all(f"## {claim.id}. {claim.title}: {claim.verdict}" in page for claim in found)
    assert "None" not in page
    assert "nan" not in page


def test_rows_can_be_found_again():
    tables = study()
    for claim in judge(tables):
        assert claim.rows
        for rows in claim.rows:
            assert len(tables[rows.table].query(rows.query, engine="python")) == rows.count > 0


# --- statistics


def test_ratio_by_hand():
    tpr = {("none", 1, "informed"): 0.2, ("crop", 1, "informed"): 0.05, ("mirror", 1, "informed"): 0.1}
    tables = pooled_study(tpr)
    again = {name: part.tpr.to_numpy() for name, part in tables["replicates"].groupby("technique")}
    logs = np.log(again["none"]) - (np.log(again["crop"]) + np.log(again["mirror"])) / 2
    expected = np.log(0.2 / np.sqrt(0.05 * 0.1))
    half = stats.t.ppf(0.975, 15) * logs.std(ddof=1) * np.sqrt(16 / 15)
    found = judge(tables)[0]
    np.testing.assert_allclose(
        [found.value, found.low, found.high], np.exp(expected + np.array([0, -half, half]))
    )
    crop = (
        np.log(again["none"] / again["crop"]).std(ddof=1) * stats.t.ppf(1 - 0.025 / 2, 15) * np.sqrt(16 / 15)
    )
    assert found.secondary[0].low == pytest.approx(4 * np.exp(-crop))


def random_cells(seed: int = 0, techniques: int = 5, steps: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"technique": np.repeat(list("abcdefgh"[:techniques]), steps)})
    table["step"] = np.tile(np.arange(steps), techniques)
    x = rng.normal(size=(3, len(table))).round(1)
    return table.assign(acc_gap=x[0], test_acc=x[1], log_tpr=-x[0] + 0.5 * x[1] + x[2] / 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_isotonic_against_sklearn(sign: int):
    table = random_cells()
    x, y = sign * table.acc_gap.to_numpy(), table.log_tpr.to_numpy()
    new = np.linspace(-4, 4, 41)
    fit = IsotonicRegression(increasing=sign < 0, out_of_bounds="clip").fit(x, y)
    np.testing.assert_allclose(predict.isotonic(x, y, new), fit.predict(new))


def test_left_out_errors_by_a_loop():
    table = random_cells()
    expected = []
    for name in "abcde":
        train, test = table[table.technique != name], table[table.technique == name]
        fit = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(train.acc_gap, train.log_tpr)
        expected.append(np.abs(fit.predict(test.acc_gap) - test.log_tpr).mean())
    columns = (table[name].to_numpy() for name in ("acc_gap", "log_tpr", "technique"))
    np.testing.assert_allclose(predict.left_out_errors(*columns), expected)


def test_mean_interval_is_students_t_wider_by_the_shared_folds():
    values = np.array([0.1, 0.4, -0.2, 0.3, 0.35])
    plain, folds = predict.mean_interval("", values), predict.mean_interval("", values, folds=True)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([plain.low, plain.high], [low, high])
    assert (folds.high - folds.low) / (high - low) == pytest.approx(np.sqrt(1 + 5 / 4))


def test_correlation_against_scipy():
    table = random_cells()
    found = predict.correlation("", table, "acc_gap")
    z = np.arctanh(stats.spearmanr(table.acc_gap, table.log_tpr).statistic)
    parts = [table[table.technique != name] for name in "abcde"]
    left = np.arctanh([stats.spearmanr(part.acc_gap, part.log_tpr).statistic for part in parts])
    error = max(np.sqrt(((left - left.mean()) ** 2).sum()), 1.03 / np.sqrt(17))
    assert found.value == pytest.approx(np.tanh(z))
    assert found.low == pytest.approx(np.tanh(z - stats.t.ppf(0.975, 4) * error))
    steps = [stats.spearmanr(part.acc_gap, part.log_tpr).statistic for _, part in table.groupby("step")]
    assert predict.correlation("", table, "acc_gap", within="step").value == pytest.approx(np.mean(steps))


@pytest.mark.parametrize("slope", [0.7, 0, -0.7])
def test_partial_slope_is_free_of_the_gap(slope: float):
    rng = np.random.default_rng(0)
    gap = rng.uniform(0, 1, 4000)
    test = -gap + rng.normal(0, 0.3, 4000)
    y = np.exp(3 * gap) + slope * (test + gap) + rng.normal(0, 0.1, 4000)
    assert 0.9 * slope == pytest.approx(predict.partial_slope(test, y, gap), abs=0.05)


def test_correlation_within_cells_by_a_loop():
    halves = study()["halves"]
    found = predict.correlation_within_cells("", halves, "acc_gap", 0.01)
    floor = predict.censoring_floor(0.01, 500, 500)
    y = halves["tpr_at_0.01"].clip(lower=floor)
    with np.errstate(all="ignore"):
        rho = (
            halves.assign(y=y)
            .groupby(["technique", "step"])[["acc_gap", "y"]]
            .corr("spearman")
            .y.xs("acc_gap", level=2)
        )
    assert found.value == pytest.approx(rho.groupby("technique").mean().mean())


@pytest.mark.parametrize(("images", "targets"), [(500, 1), (200, 8)])
def test_censoring_floor_holds_under_exchangeable_scores(images: int, targets: int):
    scores = np.random.default_rng(0).normal(size=(4000, targets, 2, images))[:, :, :, :images]
    k = int(0.02 * (images + 1))
    threshold = np.sort(scores[:, :, 0], axis=-1)[..., -k, None]
    tpr = (scores[:, :, 1] > threshold).mean(axis=(1, 2))
    above = (tpr > predict.censoring_floor(0.02, images, images, targets)).mean()
    assert 0.01 < above < 0.06
    assert np.isnan(predict.censoring_floor(0.001, 500, 500))


def test_cells_are_means_over_masks_floored_at_chance():
    halves = study("null")["halves"]
    table = predict.cells(halves, 0.01)
    first = halves[(halves.technique == "crop") & (halves.step == 1)]
    row = table[(table.technique == "crop") & (table.step == 1)].iloc[0]
    assert row.acc_gap == pytest.approx(first.acc_gap.mean())
    assert row.tpr == pytest.approx(first["tpr_at_0.01"].mean())
    assert 10 ** table.log_tpr.min() == pytest.approx(predict.censoring_floor(0.01, 500, 500, 8))
    assert table.censored.mean() > 0.9


def test_write_claims_of_both_designs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    settings = Study.model_validate({"name": "simulated", "attack": {"attacks": [verdicts.ATTACK]}})
    tables = study(masks=4)
    for name, table in tables.items():
        twin = (
            table.assign(design="replicates")
            if "design" in table
            else table.assign(mask="r" + table["mask"].str[1:])
        )
        path = Path(settings.paths.joined(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.concat([table, twin]).to_parquet(path)
    run("claims", settings)
    found = claims.from_json(Path("results/simulated/claims.json").read_text())
    assert [(claim.design, claim.id) for claim in found] == [
        (design, number) for design in ("leave-one-out", "replicates") for number in range(1, 9)
    ]
    assert Path("results/simulated/claims.md").read_text().count("# The claims on trial: simulated") == 2
