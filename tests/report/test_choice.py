"""What to choose: the rule applied by hand, on made-up studies, and never a choice that the data can't carry."""

from dataclasses import replace

import numpy as np
import pytest

import synthetic
from leakgap.measure.estimate import Estimate
from leakgap.report.choice import Choice, choose, in_words
from leakgap.results import Results
from leakgap.study import Study


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    monkeypatch.chdir(tmp_path)
    made = synthetic.study(techniques=["none", "crop", "policy", "crop+mirror+cutout+policy"])
    synthetic.write_study(made)
    return made


@pytest.mark.parametrize("margin", [0.0, 0.01, 0.05, 0.5])
def test_the_least_leak_is_taken_among_those_that_are_accurate_enough(study: Study, margin: float):
    results = Results(study)
    found = choose(results, 0.01, margin)
    variants = study.grid.techniques
    cells = {name: results.cell(name) for name in variants}
    accuracy = {name: results.mean(cells[name], "test_acc").value for name in variants}
    leak = {name: results.row(cells[name], 0.01)["tpr"] for name in variants}
    best = max(variants, key=lambda name: accuracy[name])
    enough = [best]
    for name in variants:
        if name != best:
            loss = results.difference(cells[name], cells[best], "test_acc", comparisons=3)
            enough += [name] if loss.high >= -margin else []
    assert found.best == best
    assert found.take == min(enough, key=lambda name: leak[name])
    for name in enough:
        if name != found.take:
            ratio = results.contrast(cells[name], cells[found.take], 0.01, comparisons=3)
            assert (name in found.left) == (ratio.low <= 1 <= ratio.high)


def made(**changes) -> Choice:
    leak, cost, gain = Estimate(0.043, 0.0371, 0.0504), Estimate(-0.004, -0.006, -0.002), Estimate(2.5, 2, 3)
    return replace(Choice(0.01, 0.01, 16, "crop", (), "none", leak, cost, gain, None, False), **changes)


def test_a_decision_is_told_in_people_with_its_cost():
    first, beside, rule = in_words(made())
    assert first == (
        "Take `crop`: of 100 training images 4.3 (3.7 to 5.1) are recognized, where 1 in 100 others is accused by "
        "mistake."
    )
    assert beside == (
        "Beside `none`, the most accurate, it gives away 2.50 times less (2.00 to 3.00) and costs 0.40 points of "
        "accuracy (0.20 to 0.60)."
    )
    assert "`report.margin`" in rule
    assert in_words(made(best="crop", cost=None, gain=None))[1] == "`crop` is also the most accurate."


def test_what_is_undecided_is_left_to_choose_between_with_what_would_decide():
    first, more, *_ = in_words(made(left=("policy",), needed=40))
    assert first.startswith(
        "This can't be decided with 16 masks: `crop` and `policy` are left to choose between."
    )
    assert more == "About 40 masks would tell them, if they differ as it seems."
    assert "no number of masks" in in_words(made(left=("policy",)))[1]


def test_chance_for_all_is_said():
    (only,) = in_words(made(at_chance=True))
    assert only.startswith(
        "Every variant's leak is told to be below 1.5 times what guessing gives at 1% FPR: choose by accuracy"
    )


def test_few_masks_decide_nothing(tmp_path, monkeypatch):
    """Two pairs of masks: intervals of a factor of thousands, and no variant is called the best."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        synthetic, "SPREAD", {"models": (0.0, 0.4), "images": (0.0, 0.2), "pairs": (0.0, 0.1)}
    )
    study = synthetic.study(techniques=["none", "crop"], masks=4)
    synthetic.write_study(study)
    first = in_words(choose(Results(study), 0.01, 0.01))[0]
    assert first.startswith("This can't be decided with 4 masks: ")


def test_the_masks_asked_for_tell_what_is_hardest_to_tell():
    from leakgap.report.choice import _needed

    df, ratio, se = 7.0, 1.3, 0.3
    one = Estimate(ratio, 0.6, 2.6, on_scale=np.log(ratio), se=se, df=df, scale="log")
    needed = _needed([one, one._replace(se=0.1)], 16)
    power = [np.log(ratio) / (se * np.sqrt(16 / masks)) for masks in (needed - 2, needed)]
    wanted = 2.365 + 0.896  # Student's 97.5 and 80% points with 7 degrees of freedom
    assert power[0] < wanted <= power[1] + 1e-3
    assert _needed([one._replace(se=np.nan)], 16) is None
    assert _needed([one._replace(on_scale=1e-9)], 16) is None
