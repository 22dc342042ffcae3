"""Two made-up studies beside each other."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import main
from leakgap.data.masks import balanced_masks, write_masks
from leakgap.measure.contrast import contrast, unpaired
from leakgap.measure.estimate import KINDS
from leakgap.paper.questions import judge
from leakgap.paper.questions import write as write_claims
from leakgap.report.compare import compare, side_by_side, stability, verdicts, why_unpaired
from leakgap.results import Results
from leakgap.study import Study


def written(name: str, techniques: list[str], seed: int) -> Study:
    """Write a study's tables, and the claims that they lead to."""
    study = synthetic.study(techniques=techniques).model_copy(update={"name": name})
    Path(study.paths.root).mkdir(parents=True)
    synthetic.write_study(study, seed=seed)
    write_masks(study.paths.masks, balanced_masks(8, 1797, seed=0), np.zeros(1797, bool))
    results = Results(study)
    write_claims(study.paths.claims, judge(results), results.origin)
    Path(f"{name}.json").write_text(study.model_dump_json())
    return study


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Study, Study]:
    monkeypatch.chdir(tmp_path)
    return written("one", ["none", "crop", "policy"], 0), written("two", ["none", "policy", "mirror"], 1)


def sides(studies: tuple[Study, Study]) -> list[Results]:
    return [Results(study) for study in studies]


def test_utility_and_leak_side_by_side(studies: tuple[Study, Study]):
    table = side_by_side(sides(studies), ["", ""], ["none", "policy"], [0.01])
    table = table.set_index(["technique", "study"])
    assert list(table.index) == [(t, s) for t in ("none", "policy") for s in ("one", "two")]
    for study in studies:
        row = Results(study).pooled.query(
            "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed' "
            "and fpr == 0.01 and design == 'leave-one-out'"
        )
        shown = table.loc["policy", study.name]
        assert shown["pooled_tpr_at_0.01"] == row["tpr"].item()
        own = pd.read_parquet(study.paths.summary).query(
            "technique == 'policy' and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed'"
        )
        assert shown["test_acc"] == pytest.approx(own["test_acc"].mean())
        assert shown["test_acc_low"] < shown["test_acc"] < shown["test_acc_high"]
    assert table.loc[(slice(None), "one"), "ratio_at_0.01"].isna().all()
    first, second = table.loc["policy", "one"], table.loc["policy", "two"]
    assert second["ratio_at_0.01"] == pytest.approx(
        first["pooled_tpr_at_0.01"] / second["pooled_tpr_at_0.01"]
    )
    assert second["acc_difference"] == pytest.approx(first["test_acc"] - second["test_acc"])
    for name in ("ratio_at_0.01", "acc_difference"):
        assert second[f"{name}_low"] < second[name] < second[f"{name}_high"]


def test_contrasts_are_paired_where_masks_images_and_draws_are_shared(studies: tuple[Study, Study]):
    one, two = sides(studies)
    assert why_unpaired(one, two) == ""
    reasons = ["", why_unpaired(one, two)]
    (row,) = side_by_side([one, two], reasons, ["none"], [0.01]).query("study == 'two'").to_dict("records")
    pairs = [side.replicated(side.cell("none"), 0.01) for side in (one, two)]
    assert row["ratio_at_0.01_low"] == contrast(*pairs).low
    assert row["intervals"] == "paired"
    # the variances of both sides, by the definition of Welch
    means = [side.mean(side.cell("none"), "test_acc") for side in (one, two)]
    variance = []
    for mean in means:
        models, images, single = (np.var(mean.draws[kind], ddof=1) for kind in KINDS)
        variance.append(models * 4 / 3 + images - single)
    assert unpaired(*means, "difference").se == pytest.approx(np.sqrt(sum(variance)))
    assert unpaired(*means, "difference").value == pytest.approx(means[0].value - means[1].value)

    masks = two.study.paths.masks
    write_masks(masks, balanced_masks(8, 1797, seed=1), np.zeros(1797, bool))
    assert why_unpaired(one, two) == "their masks are not the same"
    reasons = ["", why_unpaired(one, two)]
    (row,) = side_by_side([one, two], reasons, ["none"], [0.01]).query("study == 'two'").to_dict("records")
    assert row["ratio_at_0.01_low"] == unpaired(*pairs).low
    assert row["intervals"] == "not paired"
    Path(masks).unlink()
    with pytest.raises(
        LeakgapError, match=r"masks\.npz: there is no such file"
    ):  # and other intervals without it
        why_unpaired(one, two)
    other = two.study.model_copy(update={"attack": two.study.attack.model_copy(update={"seed": 3})})
    assert "attack.seed is 0 and 3" in why_unpaired(one, Results(other))


def test_how_alike_images_are_ranked(studies: tuple[Study, Study]):
    """By chance at first, then the same but for noise, then another dataset's."""
    one, two = studies
    table = stability(*sides(studies), ["none"]).iloc[0]
    assert (table["images"], table["top"]) == (1797, 20)
    assert table["overlap_by_chance"] == pytest.approx(1 / (2 * 1797 / 20 - 1))
    assert table["overlap_low"] <= table["overlap_by_chance"] <= table["overlap_high"]
    assert table["correlation_low"] <= 0 <= table["correlation_high"]

    rows = Results(one).records.query("technique == 'none'")
    noise = np.random.default_rng(0).normal(0, 0.25, len(rows))
    synthetic.rewrite(two, records=rows.assign(exposure=rows["exposure"] + noise))
    headline, noisy = rows["exposure"].to_numpy(), Results(two).records["exposure"].to_numpy()
    tops = [set(np.argsort(values)[-20:]) for values in (headline, noisy)]
    table = stability(*sides(studies), ["none"]).iloc[0]
    assert table["overlap"] == pytest.approx(len(tops[0] & tops[1]) / len(tops[0] | tops[1]))
    assert table["correlation"] == pytest.approx(stats.spearmanr(headline, noisy)[0])
    assert table["correlation_low"] > 0.8
    assert table["overlap_low"] > table["overlap_by_chance"]

    synthetic.rewrite(two, records=rows.assign(label=(rows["label"] + 1) % 10))
    assert stability(*sides(studies), ["none"]).empty
    assert why_unpaired(*sides(studies)) == "their images are not the same"


def test_verdicts_agree_differ_or_stay_open(studies: tuple[Study, Study]):
    told = [dict(json.loads(Path(study.paths.claims).read_text())[0]) for study in studies]
    words = [("supported", "supported"), ("supported", "contradicted"), ("undecided", "supported")]
    for study, side in zip(studies, (0, 1), strict=True):
        claims = [told[side] | {"id": n, "verdict": pair[side]} for n, pair in enumerate(words, 1)]
        Path(study.paths.claims).write_text(json.dumps([each | {"digest": None} for each in claims]))
    table, summary = verdicts(*sides(studies))
    assert list(table["together"]) == ["agree", "differ", "open"]
    assert (
        "of 3, 1 flip from supported to contradicted or back, and 1 are decided in one study alone" in summary
    )
    bounds = stats.binomtest(2, 3).proportion_ci(method="exact")
    assert f"{np.floor(100 * bounds.low):.0f} to {np.ceil(100 * bounds.high):.0f}%" in summary


def test_the_verb_writes_markdown_csv_and_figures(
    studies: tuple[Study, Study], capsys: pytest.CaptureFixture
):
    assert main(["compare", "--study", "one.json", "--other", "two.json"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == Path("results/one/compare/two.md")
    assert {file.suffix for file in path.parent.iterdir()} == {".md", ".csv", ".svg", ".png"}
    text = path.read_text()
    assert text.count("| 1. ") >= 1
    assert text.index("| none | one |") < text.index("Jaccard") < text.index("| 1. ")
    assert "grid.techniques" in text
    assert "paired: masks, images and resamples are the same" in text
    assert "| crop |" not in text


def test_several_studies(studies: tuple[Study, Study], capsys: pytest.CaptureFixture):
    written("three", ["none", "policy"], 2)
    assert main(["compare", "--study", "one.json", "--other", "two.json", "three.json"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.name == "two+three.md"
    text = path.read_text()
    assert text.count("| none | ") >= 3 + 2
    assert "## one and two" in text
    assert "## one and three" in text
    table = pd.read_csv(path.with_suffix(".csv"))
    assert list(table["study"]) == ["one", "two", "three"] * 2


def test_what_cannot_be_compared(studies: tuple[Study, Study]):
    one, two = studies
    with pytest.raises(LeakgapError, match=r"^name: two studies are 'one'"):
        compare(one, [one])
    with pytest.raises(LeakgapError, match=r"^name: two studies are 'two'"):
        compare(one, [two, two])
    other = two.model_copy(update={"attack": two.attack.model_copy(update={"attacks": ("loss",)})})
    with pytest.raises(LeakgapError, match=r"attack\.attacks"):
        compare(one, [other])
    other = two.model_copy(update={"grid": two.grid.model_copy(update={"techniques": ("cutout",)})})
    with pytest.raises(LeakgapError, match="no technique in common"):
        compare(one, [other])
    other = two.model_copy(update={"attack": two.attack.model_copy(update={"fpr": (0.05,)})})
    with pytest.raises(LeakgapError, match=r"attack\.fpr: one, two have no false positive rate in common"):
        compare(one, [other])
    Path(two.paths.claims).unlink()
    with pytest.raises(LeakgapError, match=r"two/claims\.json is missing"):
        compare(one, [two])
