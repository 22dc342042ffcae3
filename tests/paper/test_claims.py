"""Verdicts on simulated studies of known truth, statistics against independent computations."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks import verdicts as worlds
from scipy import stats
from sklearn.isotonic import IsotonicRegression

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.measure.estimate import KINDS
from leakgap.measure.verdict import beyond, verdicts
from leakgap.order import between
from leakgap.paper import questions as claims
from leakgap.paper.case import Case, strongest
from leakgap.results import Results

DATA_CLAIMS = [4, 5, 6, 7]  # positions of claims 5 to 8


def study(
    world: str = "gap", names: list[str] = worlds.FIVE, masks: int = 8, seed: int = 1
) -> dict[str, pd.DataFrame]:
    return worlds.simulate(world, names, masks, seed)[1]


def judge(tables: dict[str, pd.DataFrame], **options) -> list[claims.Claim]:
    return claims.judge(worlds.Simulated(tables), **options)


def pooled_study(tpr: dict[tuple[str, int, str], float], spread: float = 0.02) -> dict[str, pd.DataFrame]:
    """A study of known pooled TPRs at 1% FPR, whose draws of each kind vary by `spread` around them."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(list(tpr), columns=["technique", "step", "attacker"])
    table = table.assign(fpr=0.01, tpr=list(tpr.values()))
    draws = [
        table.assign(
            resampled=kind, tprs=[value * (1 + spread * rng.normal(size=500)) for value in table.tpr]
        )
        for kind in KINDS
    ]
    sizes = {"n_targets": 32, "n_members": 16000, "n_nonmembers": 16000}
    ends = {"low": table.tpr * 0.9, "high": table.tpr * 1.1}
    return study(masks=4) | {
        "pooled": worlds.in_schema(table.assign(**sizes, **ends)),
        "draws": worlds.in_schema(pd.concat(draws, ignore_index=True)),
    }


# --- verdicts


def test_gap_world():
    found = judge(study("gap", worlds.FACTORIAL, masks=32))
    assert [found[k].verdict for k in (2, 3, 4)] == ["supported"] * 3
    assert found[5].value > 0
    assert found[6].verdict == "undecided"


def test_test_accuracy_world():
    found = judge(study("test accuracy", worlds.FACTORIAL, masks=32))
    assert [claim.verdict for claim in found[1:4]] == ["contradicted"] * 3
    assert [found[k].verdict for k in (5, 6)] == ["contradicted"] * 2


def test_null_world_is_undecided_with_a_reason():
    found = judge(study("null", worlds.FACTORIAL))
    assert {found[k].verdict for k in (0, 1, *DATA_CLAIMS)} == {"undecided"}
    assert "told from the FPR" in found[5].reason
    assert found[5].value is None


def test_few_techniques_rarely_decide_where_nothing_is_to_decide():
    decided = {"ours": 0, "bootstrap": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = worlds.draw_truth("tie", worlds.FIVE, rng)
        table = between.cells(worlds.targets(truth, worlds.FIVE, 16, 500, rng), 0.01)
        ours = beyond(between.error_difference(table, "test_acc", "acc_gap"), 0)
        low, high = worlds.bootstrap_interval(between.error_differences(table, "test_acc", "acc_gap"), 0)
        decided["ours"] += verdicts([ours]) != ["undecided"]
        decided["bootstrap"] += not low <= 0 <= high
    assert decided["ours"] <= 6 < decided["bootstrap"]


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ([0.01, 0.02, 0.06, 0.2], "supported"),
        ([0.01, 0.02, 0.02, 0.2], "supported"),  # level steps are no fall
        ([0.011, 0.007, 0.06, 0.2], "supported"),  # chance followed by chance is a tie
        ([0.01, 0.08, 0.02, 0.2], "contradicted"),
        ([0.01, 0.08, 0.007, 0.2], "contradicted"),  # down to chance is a fall
        ([0.2, 0.06, 0.02, 0.01], "contradicted"),
        ([0.01, 0.02, 0.02 * claims.FALL, 0.2], "undecided"),
        ([0.02, 0.02, 0.02, 0.02], "undecided"),
    ],
)
def test_early_stopping(path: list[float], verdict: str):
    tables = pooled_study({("none", step, "informed"): tpr for step, tpr in enumerate(path, 1)})
    assert judge(tables)[1].verdict == verdict


@pytest.mark.parametrize(
    ("ratio", "helps", "equal"),
    [
        (3, "supported", "contradicted"),
        (claims.MARGIN, "supported", "undecided"),
        (claims.HELP, "undecided", "supported"),
        (1, "contradicted", "supported"),
        (1 / claims.MARGIN, "contradicted", "undecided"),
        (0.4, "contradicted", "contradicted"),
    ],
)
def test_knowledge(ratio: float, helps: str, equal: str):
    tpr = {("none", 1, "informed"): 0.1}
    for technique in ("policy", claims.ALL):
        tpr |= {(technique, 1, "informed"): 0.04 * ratio, (technique, 1, "uninformed"): 0.04}
    found = judge(pooled_study(tpr, spread=0.01))
    assert (found[2].verdict, found[3].verdict) == (helps, equal)
    assert found[2].value == pytest.approx(ratio)


def test_knowledge_is_also_put_beside_the_uninformed_attacker_s_best_attack():
    """Four times by the headline attack, which the other shadow models mislead; twice by another attack."""
    tpr = {("none", 1, "informed"): 0.1}
    tpr |= {(claims.ALL, 1, "informed"): 0.08, (claims.ALL, 1, "uninformed"): 0.02}
    tables = pooled_study(tpr, spread=0.01)
    uninformed = {
        name: tables[name][tables[name]["attacker"] == "uninformed"] for name in ("pooled", "draws")
    }
    other = {name: table.assign(attack="loss") for name, table in uninformed.items()}
    other["pooled"]["tpr"] *= 2
    other["draws"]["tprs"] = [2 * values for values in other["draws"]["tprs"]]
    both = {name: pd.concat([tables[name], other[name]], ignore_index=True) for name in other}
    found = judge(tables | both)[3]
    assert found.value == pytest.approx(4)
    (beside,) = found.secondary
    assert beside.name == "informed / uninformed by loss, which finds most there (in hindsight)"
    assert beside.value == pytest.approx(2)
    assert beside.low < 2 < beside.high
    assert judge(tables)[3].secondary == ()
    assert "by the best attack of either attacker" not in " ".join(judge(tables)[3].notes)
    assert f"in hindsight ({worlds.ATTACK} against loss), 2: " in found.notes[-1]


@pytest.mark.parametrize(
    ("ratio", "helps", "equal"),
    [
        (3, "supported", "contradicted"),
        (1, "contradicted", "supported"),
        (0.4, "contradicted", "contradicted"),
    ],
)
def test_the_best_attack_of_either_attacker_is_judged_by_the_same_margins(ratio, helps, equal):
    """The headline's ratio is 4 in every world; those of the best attacks are 3, 1 and .4."""
    tpr = {("none", 1, "informed"): 0.1}
    for technique in ("policy", claims.ALL):
        tpr |= {(technique, 1, "informed"): 0.08, (technique, 1, "uninformed"): 0.02}
    tables = pooled_study(tpr, spread=0.01)
    factor = {"informed": 1.5, "uninformed": 6 / ratio}  # of loss over the headline
    more = {name: tables[name].assign(attack="loss") for name in ("pooled", "draws")}
    more["pooled"]["tpr"] *= more["pooled"]["attacker"].map(factor)
    more["draws"]["tprs"] = [
        factor[who] * values
        for who, values in zip(more["draws"]["attacker"], more["draws"]["tprs"], strict=True)
    ]
    both = {name: pd.concat([tables[name], more[name]], ignore_index=True) for name in more}
    found = judge(tables | both)
    assert [found[k].value for k in (2, 3)] == pytest.approx([4, 4])
    for claim, word in ((found[2], helps), (found[3], equal)):
        assert (
            claim.secondary[-1].name
            == "informed by loss / uninformed by loss, the best of either (in hindsight)"
        )
        assert claim.secondary[-1].value == pytest.approx(ratio)
        (note,) = [note for note in claim.notes if note.startswith("by the best attack of either")]
        assert f"by the same margin alone {word}" in note
        differs = {"supported", "contradicted"} - {word}
        own = "supported" if claim.id == 3 else "contradicted"
        assert (f"on both sides is {own}" in note) == (own in differs)


@pytest.mark.parametrize(("weight", "side"), [(-2, "below 0"), (0, "on both sides of 0"), (2, "above 0")])
def test_a_referee_asks_for_claim_7_at_equal_train_accuracy(weight, side):
    """Where the leak follows fit alone, or falls with test accuracy, the paper's slope is above 0 all the same."""
    tables = study("train accuracy", worlds.FACTORIAL, masks=32)
    rows = tables["halves"]
    noise = np.random.default_rng(3).normal(0, 0.02, len(rows))
    leak = 10 ** (4 * (rows.train_acc - 0.75) + weight * (rows.test_acc - 0.7) + noise)
    tables["halves"] = rows.assign(**{"tpr_at_0.01": np.minimum(0.01 * leak, 1)})
    found = judge(tables)[6]
    assert found.low > 0
    assert "at equal train accuracy the slope is" in found.notes[-1]
    assert side in found.notes[-1]
    beside = {each.name: each for each in found.secondary}["partial slope at equal train accuracy"]
    assert np.sign(beside.value) == np.sign(weight) or not weight


def test_a_referee_says_what_beats_the_gap():
    found = judge(study("train accuracy", worlds.FACTORIAL, masks=32))[5]
    assert any("it is itself beaten by train accuracy" in note for note in found.notes)
    assert not any(
        "itself beaten" in note for note in judge(study("gap", worlds.FACTORIAL, masks=32))[5].notes
    )


def test_eight_claims_are_eight_tests():
    """Decided alone, undecided among eight: a rise whose p-value is between 5%/8 and 5%."""
    found = judge(pooled_study({("none", 1, "informed"): 0.02, ("none", 2, "informed"): 0.0215}))
    assert found[1].low > 1
    assert 0.05 < found[1].p < 0.4
    assert found[1].verdict == "undecided"
    assert "alone that decides" in found[1].reason


# --- two attacks side by side


def two_attacks() -> dict[str, pd.DataFrame]:
    """By the headline attack knowledge does not help against all techniques; by a stronger one it does."""
    tables = study(seed=2)
    pooled, draws = tables["pooled"].assign(attack="loss"), tables["draws"].assign(attack="loss")
    factor = np.where(pooled.technique == claims.ALL, np.where(pooled.attacker == "informed", 4.0, 1.0), 1.1)
    pooled[["tpr", "low", "high"]] *= factor[:, None]
    of = dict(zip(zip(pooled.technique, pooled.step, pooled.attacker, strict=True), factor, strict=True))
    keys = zip(draws.technique, draws.step, draws.attacker, strict=True)
    draws["tprs"] = [of[key] * tprs for key, tprs in zip(keys, draws.tprs, strict=True)]
    draws = draws[draws.step == worlds.STEPS]  # as audit keeps them
    return tables | {
        "pooled": pd.concat([tables["pooled"], pooled], ignore_index=True),
        "draws": pd.concat([tables["draws"], draws], ignore_index=True),
    }


def test_the_strongest_attack_stands_beside_the_headline():
    results = worlds.Simulated(two_attacks())
    assert strongest(results, "leave-one-out", 0.01) == "loss"
    found = {(claim.attack, claim.id): claim for claim in claims.side_by_side(results)}
    assert list(found) == [(worlds.ATTACK, k) for k in range(1, 9)] + [("loss", k) for k in range(1, 5)]
    ours, theirs = found[worlds.ATTACK, 4], found["loss", 4]
    assert (ours.verdict, theirs.verdict) == ("supported", "contradicted")
    assert "contradicted by the strongest attack, loss" in ours.notes[-1]
    assert f"supported by the headline attack, {worlds.ATTACK}" in theirs.notes[-1]
    assert found["loss", 3].verdict == found[worlds.ATTACK, 3].verdict
    for quiet in (2, 3):  # claim 2 was not put on trial by the other attack, which is no disagreement
        assert not any("attacks disagree" in note for note in found["loss", quiet].notes)
    assert "none, step 6" not in found["loss", 2].reason
    assert "no pooled TPR with bootstrap draws for none, step 1" in found["loss", 2].reason


def test_a_headline_that_is_strongest_stands_alone():
    assert claims.side_by_side(worlds.Simulated(study())) == judge(study())


# --- what is lacking


def test_two_techniques_are_too_few():
    found = judge(study(names=["none", "crop"]))
    assert {found[k].reason for k in DATA_CLAIMS} == {"2 techniques are too few to compare, 3 the least"}
    assert found[2].reason == "the grid has no `policy`"
    assert found[3].reason == f"the grid has no `{claims.ALL}`"


def test_three_techniques_are_undecided_on_the_gap():
    found = judge(study(names=["none", "crop", "policy"], seed=4))
    assert found[5].verdict == "undecided"
    assert found[5].low < 0 < found[5].high


def test_one_step():
    tables = {name: table[table.step == worlds.STEPS] for name, table in study().items()}
    assert judge(tables)[1].reason == "the grid has no `none` with two steps or more"


def test_no_draws_and_no_uninformed_attacker():
    tables = study()
    nothing = judge(tables | {"draws": tables["draws"].iloc[:0]})
    assert {claim.verdict for claim in nothing[:4]} == {"undecided"}
    assert "none, step 6, informed attacker" in nothing[0].reason
    informed = {name: table[table.attacker == "informed"] for name, table in tables.items()}
    assert "policy, step 6, uninformed attacker" in judge(informed)[2].reason


def test_the_margin_is_for_one_percent():
    tables = study()
    for name in ("pooled", "draws"):
        tables[name] = tables[name].assign(fpr=0.001)
    tables["halves"] = tables["halves"].assign(**{"tpr_at_0.001": np.nan})
    assert "no TPR at 0.01 FPR, for which the margin is stated" in judge(tables)[3].reason


def test_undefined_tprs():
    tables = study()
    tprs = np.where(np.arange(len(tables["halves"])) == 7, np.nan, tables["halves"]["tpr_at_0.01"])
    targets = tables | {"halves": tables["halves"].assign(**{"tpr_at_0.01": tprs})}
    assert "single targets is undefined" in judge(targets)[5].reason
    cells = between.cells(targets["halves"], 0.01)
    assert cells.tpr.isna().sum() == 1
    pooled = tables | {"pooled": tables["pooled"].assign(tpr=np.nan)}
    found = judge(pooled)[0]
    assert (found.verdict, found.value, found.p) == ("undecided", None, None)
    assert "interval is undefined: too few non-members" in found.reason


def test_single_targets_take_the_smallest_defined_fpr():
    tables = study()
    for name in ("pooled", "draws"):
        tables[name] = pd.concat([tables[name], tables[name].assign(fpr=0.001)], ignore_index=True)
    tables["halves"] = tables["halves"].assign(**{"tpr_at_0.001": np.nan})
    found = judge(tables)
    assert "fpr == 0.001" in found[0].rows[0].query
    assert "fpr == 0.01" in found[3].rows[0].query
    assert "single targets at 0.01 FPR" in found[4].notes[0]
    assert "means of 8" in found[4].notes[0]


def test_a_single_pair_of_steps_is_not_ranked_by_luck():
    table = pd.DataFrame({"technique": ["a", "b", "c"], "x": [1.0, 2, 3], "log_tpr": [1.0, 2, 3]})
    assert np.isnan(between.correlation(table, "x").low)


def test_predictors_of_one_order_are_not_told_apart():
    table = random_cells().assign(twice=lambda cells: 2 * cells.acc_gap)
    found = between.error_difference(table, "acc_gap", "twice")
    assert verdicts([beyond(found, 0)]) == ["undecided"]


# --- rivals


def test_tnr_of_the_loss_attack():
    """Two unit Gaussians d apart: where FNR is a, TNR is Phi(d - Phi^-1(1 - a))."""
    tables = study()
    cells = tables["halves"][["technique", "step"]].drop_duplicates().reset_index(drop=True)
    cells["apart"] = np.linspace(0.5, 3, len(cells))
    fpr = np.linspace(0, 1, 4001)[1:]
    curves = cells.loc[cells.index.repeat(len(fpr))].assign(fpr=np.tile(fpr, len(cells)), attacker="informed")
    curves["tpr"] = stats.norm.sf(stats.norm.isf(curves.fpr) - curves.apart)
    tables["curves"] = worlds.in_schema(curves.assign(attack="loss"))
    case = Case(worlds.Simulated(tables), worlds.ATTACK, "leave-one-out", 0.01)
    found = case.all_cells.merge(cells)
    np.testing.assert_allclose(found.loss_tnr, stats.norm.cdf(found.apart - stats.norm.isf(0.01)), atol=3e-4)
    assert any("error by TNR of the loss attack" in one.name for one in judge(tables)[5].secondary)
    without = judge(tables | {"curves": tables["curves"].iloc[: -len(fpr)]})[5]
    assert any("no TNR of the loss attack" in note for note in without.notes)
    assert not any("TNR" in one.name for one in without.secondary)


def test_rivals_by_simultaneous_intervals():
    tables = study("gap", worlds.FACTORIAL)
    found = {one.name: one for one in judge(tables)[5].secondary}
    table = between.cells(tables["halves"], 0.01)
    table = table[~table.censored]
    assert np.allclose(table.loss_ratio, table.test_loss / table.train_loss)
    each = between.error_differences(table, "loss_ratio", "acc_gap")
    count = len(each)
    half = stats.t.ppf(1 - 0.025 / 5, count - 1) * each.std(ddof=1) * np.sqrt(1 / count + 1 / (count - 1))
    ratio = found["error by loss ratio (test / train) - by gap"]
    assert [ratio.low, ratio.high] == pytest.approx([each.mean() - half, each.mean() + half])


# --- input


def test_bad_input():
    tables = study()
    with pytest.raises(LeakgapError, match="no rows of attack 'lira'"):
        judge(tables, attack="lira")
    with pytest.raises(LeakgapError, match="design: 'both'"):
        judge(tables, design="both")
    with pytest.raises(LeakgapError, match="no rows of attack 'lira-online' in the design replicates"):
        judge(tables, design="replicates")
    with pytest.raises(LeakgapError, match="halves: column test_loss has undefined values"):
        judge(tables | {"halves": tables["halves"].assign(test_loss=np.nan)})


def test_order_of_rows_does_not_matter():
    tables = study()
    shuffled = {name: table.sample(frac=1, random_state=3) for name, table in tables.items()}
    for one, other in zip(judge(shuffled), judge(tables), strict=True):
        assert one.verdict == other.verdict
        assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_other_attacks_and_designs_do_not_matter():
    tables = study()
    more = {
        name: pd.concat([table, table.assign(attack="base")]) if name != "curves" else table
        for name, table in tables.items()
    }
    for name in ("summary", "halves"):
        more[name] = pd.concat(
            [more[name], tables[name].assign(mask=tables[name]["mask"].str.replace("m", "r"))]
        )
    for name in ("pooled", "draws", "curves"):
        more[name] = pd.concat([more[name], tables[name].assign(design="replicates")])
    assert judge(more) == judge(tables)
    assert [claim.value for claim in judge(more, design="replicates")] == [
        claim.value for claim in judge(tables)
    ]


# --- output


def test_json_and_markdown(tmp_path: Path):
    found = claims.side_by_side(worlds.Simulated(two_attacks()))
    claims.write(tmp_path / "claims.json", found)
    assert claims.read(tmp_path / "claims.json") == found
    assert [claim["id"] for claim in json.loads((tmp_path / "claims.json").read_text())] == [
        *range(1, 9),
        *range(1, 5),
    ]
    page = claims.to_markdown(found)
    assert all(f"## {claim.id}. {claim.title}: {claim.verdict} ({claim.attack})" in page for claim in found)
    assert "Attacks disagree: supported by lira-online, contradicted by the strongest attack, loss" in page
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
    again = {
        (row.technique, row.resampled): row.tprs / tpr[row.technique, 1, "informed"]
        for row in tables["draws"].itertuples()
    }

    def ends(value: float, share: float, *others: str) -> list[float]:
        terms = {
            kind: again["none", kind] - np.mean([again[name, kind] for name in others], axis=0)
            for kind in KINDS
        }
        models, images, pairs = (np.var(terms[kind], ddof=1) for kind in ("models", "images", "pairs"))
        models *= 16 / 15  # 16 mask pairs
        total = max(models + images - pairs, pairs)
        half = stats.t.ppf(1 - share / 2, max(15, 15 * (total / models) ** 2)) * np.sqrt(total)
        return [value, value * np.exp(-half), value * np.exp(half)]

    found = judge(tables)[0]
    expected = ends(0.2 / np.sqrt(0.05 * 0.1), 0.05, "crop", "mirror")
    assert [found.value, found.low, found.high] == pytest.approx(expected)
    crop = found.secondary[0]
    assert [crop.value, crop.low, crop.high] == pytest.approx(ends(4, 0.05 / 2, "crop"))


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
    np.testing.assert_allclose(between.isotonic(x, y, new), fit.predict(new))


def test_left_out_errors_by_a_loop():
    table = random_cells()
    expected = []
    for name in "abcde":
        train, test = table[table.technique != name], table[table.technique == name]
        fit = IsotonicRegression(increasing=False, out_of_bounds="clip").fit(train.acc_gap, train.log_tpr)
        expected.append(np.abs(fit.predict(test.acc_gap) - test.log_tpr).mean())
    columns = (table[name].to_numpy() for name in ("acc_gap", "log_tpr", "technique"))
    np.testing.assert_allclose(between.left_out_errors(*columns), expected)


def test_mean_interval_is_students_t_wider_by_the_shared_folds():
    values = np.array([0.1, 0.4, -0.2, 0.3, 0.35])
    plain, folds = between.mean_interval(values), between.mean_interval(values, folds=True)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    np.testing.assert_allclose([plain.low, plain.high], [low, high])
    assert (folds.high - folds.low) / (high - low) == pytest.approx(np.sqrt(1 + 5 / 4))


def test_correlation_against_scipy():
    table = random_cells()
    found = between.correlation(table, "acc_gap")
    z = np.arctanh(stats.spearmanr(table.acc_gap, table.log_tpr).statistic)
    parts = [table[table.technique != name] for name in "abcde"]
    left = np.arctanh([stats.spearmanr(part.acc_gap, part.log_tpr).statistic for part in parts])
    error = max(np.sqrt(((left - left.mean()) ** 2).sum()), 1.03 / np.sqrt(17))
    assert found.value == pytest.approx(np.tanh(z))
    assert found.low == pytest.approx(np.tanh(z - stats.t.ppf(0.975, 4) * error))
    assert found.p_value(0) == pytest.approx(2 * stats.t.sf(abs(z) / error, 4))
    assert [found.p_value(end) for end in (found.low, found.high)] == pytest.approx([0.05, 0.05])
    steps = [stats.spearmanr(part.acc_gap, part.log_tpr).statistic for _, part in table.groupby("step")]
    assert between.correlation(table, "acc_gap", within="step").value == pytest.approx(np.mean(steps))


@pytest.mark.parametrize("slope", [0.7, 0, -0.7])
def test_partial_slope_is_free_of_the_gap(slope: float):
    rng = np.random.default_rng(0)
    gap = rng.uniform(0, 1, 4000)
    test = -gap + rng.normal(0, 0.3, 4000)
    y = np.exp(3 * gap) + slope * (test + gap) + rng.normal(0, 0.1, 4000)
    assert 0.9 * slope == pytest.approx(between.partial_slope(test, y, gap), abs=0.05)


def test_correlation_within_cells_by_a_loop():
    halves = study()["halves"]
    found = between.correlation_within_cells(halves, "acc_gap", 0.01)
    floor = between.censoring_floor(0.01, 500, 500)
    y = halves["tpr_at_0.01"].clip(lower=floor)
    with np.errstate(all="ignore"):
        rho = (
            halves.assign(y=y)
            .groupby(["technique", "step"])[["acc_gap", "y"]]
            .corr("spearman")
            .y.xs("acc_gap", level=2)
        )
    assert found.value == pytest.approx(rho.groupby("technique").mean().mean())


@pytest.mark.parametrize("images", [[500], [200] * 8, [60, 400, 150]])
def test_censoring_floor_holds_under_exchangeable_scores(images: list[int]):
    rng, tprs = np.random.default_rng(0), []
    for count in images:
        member, other = rng.normal(size=(2, 4000, count))
        threshold = np.sort(other, axis=-1)[:, -int(0.02 * (count + 1)), None]
        tprs.append((member > threshold).mean(axis=-1))
    floor = between.censoring_floor(0.02, np.array(images), np.array(images))
    assert 0.01 < (np.mean(tprs, axis=0) > floor).mean() < 0.06
    assert np.isnan(between.censoring_floor(0.001, np.array([2000, 500]), np.array([2000, 500])))


def test_cells_are_means_over_targets_floored_at_chance():
    halves = study("null")["halves"]
    table = between.cells(halves, 0.01)
    first = halves[(halves.technique == "crop") & (halves.step == 1)]
    row = table[(table.technique == "crop") & (table.step == 1)].iloc[0]
    assert row.acc_gap == pytest.approx(first.acc_gap.mean())
    assert row.tpr == pytest.approx(first["tpr_at_0.01"].mean())
    sizes = np.full(8, 500)
    assert 10 ** table.log_tpr.min() == pytest.approx(between.censoring_floor(0.01, sizes, sizes))
    assert table.censored.mean() > 0.9


def test_a_study_that_grew_says_that_it_was_judged_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    notes = []
    for masks in (8, 12, 12):
        grown = synthetic.study(techniques=["none", "policy"], steps=[5, 30], masks=masks)
        synthetic.write_study(grown)
        run("claims", grown)
        found = claims.read(grown.paths.claims, Results(grown).origin)
        notes.append([claim.notes[-1:] for claim in found])
    assert not any("judged before" in note for each in notes[0] for note in each)
    assert notes[1] == notes[2]
    assert all("judged before with 8 masks" in each[0] for each in notes[1])
    record = Path(grown.paths.claims).with_name("looks.json")
    assert json.loads(record.read_text()) == [8, 12]
    record.write_text("[8, 'twelve']")
    with pytest.raises(LeakgapError, match=r"looks.json: is no list of numbers of masks"):
        run("claims", grown)


def test_write_claims_of_both_designs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    settings = synthetic.study(replicates=4)
    synthetic.write_study(settings)
    run("claims", settings)
    found = claims.read("results/made-up/claims.json", Results(settings).origin)
    assert [(claim.design, claim.id) for claim in found] == [
        (design, number) for design in ("leave-one-out", "replicates") for number in range(1, 9)
    ]
    assert Path("results/made-up/claims.md").read_text().count("# The claims on trial: made-up") == 2
