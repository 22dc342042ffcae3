"""What a user decides by, against brute force over the joined tables of made-up studies."""

import re

import numpy as np
import pandas as pd
import pytest

import synthetic
from leakgap.measure.estimate import KINDS
from leakgap.report.decision import answer, by_accuracy, decide, decision, decisions, sentence, summary
from leakgap.report.figures.decision import decision as drawn
from leakgap.report.figures.setting import LeftOut, Setting
from leakgap.report.figures.style import styled
from leakgap.results import Results

TECHNIQUES = ["none", "crop", "policy", "crop+mirror+cutout+policy"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    study = synthetic.study(techniques=TECHNIQUES, steps=[5, 15, 30])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("decision"))
        synthetic.write_study(study)
        yield study


def world(study, accuracy: dict, tpr: dict, noise: float = 0.01) -> Results:
    """The study with other test accuracies and TPRs of (technique, step); relative noise of all draws."""
    results = Results(study)
    rng = np.random.default_rng(0)
    pooled, draws = results.pooled, results.draws
    for quantity, values in (("test_acc", accuracy), ("pooled_tpr", tpr)):
        for (technique, step), value in values.items():
            rows = (
                (draws["technique"] == technique) & (draws["step"] == step) & (draws["quantity"] == quantity)
            )
            draws.loc[rows, "value"] = value
            for kind in KINDS:
                noisy = [value * (1 + noise * rng.normal(size=100)) for _ in range(rows.sum())]
                draws.loc[rows, kind] = pd.Series(noisy, index=draws.index[rows])
    for (technique, step), value in tpr.items():
        pooled.loc[(pooled["technique"] == technique) & (pooled["step"] == step), "tpr"] = value
    return results


def test_the_front_is_what_nothing_beats(study):
    """By brute force, over random accuracies and TPRs on a grid coarse enough for ties."""
    rng = np.random.default_rng(1)
    for _ in range(12):
        accuracy = {(name, 3): rng.integers(70, 74) / 100 for name in TECHNIQUES}
        tpr = {(name, 3): rng.integers(2, 6) / 100 for name in TECHNIQUES}
        found = decide(world(study, accuracy, tpr), 0.01)
        points = {name: (accuracy[name, 3], tpr[name, 3]) for name in TECHNIQUES}
        beaten = {
            name
            for name, (acc, leak) in points.items()
            for better, less in points.values()
            if better >= acc and less <= leak and (better, less) != (acc, leak)
        }
        assert set(found.front) == set(TECHNIQUES) - beaten
        assert set(found.beaten) == beaten
        accuracies = [points[name][0] for name in found.front]
        assert accuracies == sorted(accuracies, reverse=True)
        for name, by in found.beaten.items():
            assert by.one.variant in found.front
            assert points[by.one.variant][0] >= points[name][0]
            assert points[by.one.variant][1] <= points[name][1]


def test_contrasts_hold_together(study):
    """Bonferroni: over 3 others for contrasts to the baseline, over 6 pairs for who beats whom, 8 early steps."""
    results = world(
        study,
        {
            ("none", 3): 0.8,
            ("crop", 3): 0.82,
            ("policy", 3): 0.79,
            (TECHNIQUES[3], 3): 0.7,
            ("crop", 2): 0.83,
        },
        {
            ("none", 3): 0.05,
            ("crop", 3): 0.02,
            ("policy", 3): 0.04,
            (TECHNIQUES[3], 3): 0.01,
            ("crop", 2): 0.015,
        },
    )
    found = decide(results, 0.01)

    def direct(one: tuple, other: tuple, comparisons: int) -> tuple:
        first, second = results.cell(*one), results.cell(*other)
        level = 1 - 0.05 / comparisons
        ratio = results.contrast(first, second, 0.01, level=level)
        return results.difference(first, second, "test_acc", level=level)[:3], ratio[:3]

    for one, other, shown, comparisons in (
        (("crop", 3), ("none", 3), found.to_baseline["crop"], 3),
        (("crop", 3), ("policy", 3), found.beaten["policy"], 6),
        ((TECHNIQUES[3], 3), ("crop", 3), found.trade[0], 6),
        (("crop", 2), ("crop", 3), found.earlier["crop"], 8),
    ):
        assert (shown.one, shown.other) == (one, other)
        expected = direct(one, other, comparisons)
        np.testing.assert_allclose([shown.accuracy[:3], shown.tpr[:3]], expected)
        assert shown.accuracy.low < shown.accuracy.value < shown.accuracy.high


@pytest.mark.parametrize(
    ("noise", "apart"),
    [(1e-3, "both"), (0.5, "neither")],
)
def test_who_beats_whom_is_told_apart_by_the_contrasts(study, noise, apart):
    accuracy = {(name, 3): value for name, value in zip(TECHNIQUES, (0.7, 0.8, 0.72, 0.6), strict=True)}
    tpr = {(name, 3): value for name, value in zip(TECHNIQUES, (0.05, 0.02, 0.04, 0.03), strict=True)}
    found = decide(world(study, accuracy, tpr, noise), 0.01)
    assert found.front == ("crop",)
    assert {by.apart for by in found.beaten.values()} == {apart}
    said = " ".join(summary([found]))
    assert ("Less accurate and leaking more, both told from chance" in said) == (apart == "both")
    assert ("as good a choice" in said) == (apart == "neither")
    assert answer(found) == "By the estimates `crop` is the most accurate variant and leaks least at 1% FPR."


def test_sentences_are_the_numbers(study):
    results = world(
        study,
        {("none", 3): 0.8, ("crop", 3): 0.82, ("policy", 3): 0.8, (TECHNIQUES[3], 3): 0.7},
        {("none", 3): 0.05, ("crop", 3): 0.02, ("policy", 3): 0.1, (TECHNIQUES[3], 3): 0.05},
        noise=1e-3,
    )
    found = decisions(results)
    assert [one.fpr for one in found] == [0.001, 0.01], "the smallest FPR that is defined comes first"
    assert by_accuracy(found[0])[0] == "crop"
    crop = sentence(found, "crop")
    assert crop.startswith("`crop` is 2.00 points more accurate than `none` [")
    assert "; it leaks 2.50 times less at 0.1% FPR [" in crop
    assert " and 2.50 times less at 1% FPR [" in crop
    assert "it leaks 2.00 times as much at 0.1% FPR" in sentence(found, "policy")
    worse = sentence(found, TECHNIQUES[3])
    assert "is 10.00 points less accurate than `none`" in worse
    assert "in leak it can't be told apart at 0.1% FPR (1.00 times [" in worse
    low, high = map(float, re.findall(r"FPR \[([\d.]+), ([\d.]+)\]", crop)[0])
    ratio = found[0].to_baseline["crop"].tpr
    assert low <= 1 / ratio.high < 1 / ratio.low <= high, "rounded outwards"
    assert (
        "Less leak than `none` at 0.1% FPR, and no loss of accuracy that can be told: `crop` (more accurate)."
        in summary(found)
    )


def test_the_table_has_each_variant_at_each_fpr(study):
    table = decision(Results(study))
    pooled = Results(study).pooled.query(
        "step == 3 and attacker == 'informed' and attack == 'lira-online-fixed'"
    )
    assert len(table) == len(TECHNIQUES) * 2
    for row in table.to_dict("records"):
        expected = pooled.query(f"technique == '{row['technique']}' and fpr == {row['fpr']}").iloc[0]
        assert (row["tpr"], row["low"], row["high"]) == pytest.approx(tuple(expected[["tpr", "low", "high"]]))
        assert (row["ratio"] is None) == (row["technique"] == "none"), "nothing to compare with"
    targets = Results(study).targets().query("step == 3")
    means = targets.groupby("technique")["test_acc"].mean()
    assert dict(zip(table["technique"], table["test_acc"], strict=True)) == pytest.approx(means.to_dict())


def test_undefined_tprs_give_no_front(study):
    results = world(study, {}, {(name, 3): np.nan for name in TECHNIQUES})
    found = decide(results, 0.001)
    assert found.front == ()
    assert answer(found) == "No variant can be preferred: too few non-members for a TPR."
    with styled(), pytest.raises(LeftOut, match="no FPR"):
        drawn(Setting(results))


def test_one_variant_has_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = synthetic.study(techniques=["crop"], steps=[30], attackers=("informed",))
    synthetic.write_study(alone)
    found = decisions(Results(alone))
    assert "nothing to choose between" in answer(found[0])
    assert summary(found) == []
    assert "`crop`, the baseline, has an accuracy of" in sentence(found, "crop")


def test_the_figure_marks_every_variant_where_it_is(study):
    results = Results(study)
    with styled():
        axes = drawn(Setting(results)).axes[0]
    found = decisions(results)[0]
    marks = {
        line.get_label(): line.get_xydata()[0] for line in axes.get_lines() if line.get_marker() != "None"
    }
    assert set(marks) == set(TECHNIQUES)
    for name, (tpr, error) in marks.items():
        assert tpr == found.tpr[found.of(name)].value
        assert error == pytest.approx(100 * (1 - found.accuracy[found.of(name)].value))
    bottom, top = axes.get_ylim()
    assert bottom > top, "accuracy rises upwards"
