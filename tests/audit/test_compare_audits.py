"""Two audits beside each other: the numbers of each alone, intervals that hold, and one sentence that decides."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap import Answers, LeakgapError, audit_model, compare_audits
from leakgap.__main__ import main
from leakgap.audit.compare import read_audit
from leakgap.measure import roc


def audited(
    leak: float,
    seed: int,
    records: int = 1500,
    own: float = 0.0,
    name: str = "",
    first: int = 0,
    shadows: int = 0,
    persons: bool = False,
):
    """A target attacked by its loss: phi is the record's own in every model, noise, and the leak."""
    rng = np.random.default_rng(seed)
    easy = np.random.default_rng(99).normal(0, own, records)
    record, models = np.arange(records), []
    for number in range(1 + shadows):
        member = (rng.random(records) < 0.5)[record // 3 if persons else record]
        columns = {"record": record + first, "label": np.zeros(records, int), "member": member}
        columns |= {"phi": easy + rng.normal(size=records) + leak * member}
        columns |= {"group": record // 3} if persons else {}
        models.append(Answers.of(columns, (name or f"leak {leak}") + (f" {number}" if number else "")))
    return audit_model(models[0], models[1:], attacks=["loss"], unit="patient")


def test_each_number_is_that_of_its_audit():
    audits = audited(3.0, 0), audited(1.0, 1)
    found = compare_audits(*audits).table.set_index("quantity")
    for side, audit in zip(("first", "second"), audits, strict=True):
        score, member = audit.records["loss"].to_numpy(), audit.records["member"].to_numpy()
        assert found.loc["TPR at 1% FPR", side] == pytest.approx(roc.tpr_at_fpr(score, member, 0.01))
        assert found.loc["AUC", side] == pytest.approx(roc.auc(score, member))
    assert found.loc["TPR at 0.1% FPR"].isna().any() == (
        min((~audit.records["member"]).sum() for audit in audits) < 999
    )


def test_ties_stand_or_fall_together():
    rng = np.random.default_rng(0)
    audits = []
    for seed in range(2):
        member = rng.random(800) < 0.5
        columns = {"record": np.arange(800), "label": np.zeros(800, int), "member": member}
        phi = np.round(rng.normal(size=800) + 2 * member)
        audits.append(audit_model(Answers.of(columns | {"phi": phi}, str(seed)), [], attacks=["loss"]))
    found = compare_audits(*audits).table.set_index("quantity")
    for side, audit in zip(("first", "second"), audits, strict=True):
        score, member = audit.records["loss"].to_numpy(), audit.records["member"].to_numpy()
        assert found.loc["TPR at 1% FPR", side] == pytest.approx(roc.tpr_at_fpr(score, member, 0.01))
        assert found.loc["AUC", side] == pytest.approx(roc.auc(score, member))


@pytest.mark.parametrize("shared", [True, False])
def test_models_that_leak_alike_are_told_apart_in_one_of_twenty(shared: bool, monkeypatch):
    monkeypatch.setattr("leakgap.audit.compare.DRAWS", 400)
    told = {"TPR at 1% FPR": 0, "AUC": 0, "answer": 0}
    runs, own = 60, 1.0 if shared else 0.0
    for seed in range(runs):
        sides = [audited(2.0, 2 * seed + k, 800, own, first=0 if shared else 10_000 * k) for k in (0, 1)]
        found = compare_audits(*sides, seed=seed)
        assert found.paired == shared
        told["answer"] += not found.answer.startswith("This can't be decided")
        for quantity, null in (("TPR at 1% FPR", 1), ("AUC", 0)):
            row = found.table.set_index("quantity").loc[quantity]
            told[quantity] += not row["low"] <= null <= row["high"]
    assert max(told.values()) <= runs * 0.05 + 3 * np.sqrt(runs * 0.05 * 0.95)


def test_the_answer_decides_or_says_that_it_can_not():
    strong, weak, alike = (
        audited(3.0, 0, name="old"),
        audited(0.3, 1, name="new"),
        audited(0.3, 2, name="third"),
    )
    for one, other in ((strong, weak), (weak, strong)):
        answer = compare_audits(one, other).answer
        assert answer.startswith("new leaks ")
        assert "times less than old (" in answer
    assert compare_audits(weak, alike).answer.startswith(
        "This can't be decided with this: new and third can't be"
    )


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (0, 0, r"new leaks .* to an attacker without shadow models; .* train four or more"),
        (
            4,
            0,
            r"This can't be .* new was attacked with 0 shadow models and old with 4, and more find",
        ),
        (8, 4, r"This can't be decided .* new was attacked with 4 shadow models and old with 8"),
        (
            4,
            3,
            r"new leaks .* times less than old \([^)]*\): use it|new leaks .* times less than old \([^)]*\)$",
        ),
        (2, 8, r"new leaks .* times less than old"),
    ],
)
def test_a_weaker_attack_is_no_smaller_leak(old: int, new: int, told: str):
    """Whoever was attacked with fewer shadow models looks safer for that alone."""
    audits = audited(3.0, 0, name="old", shadows=old), audited(0.3, 1, name="new", shadows=new)
    for sides in (audits, audits[::-1]):
        assert re.match(told, compare_audits(*sides).answer)


def test_accuracy_is_weighed_against_the_leak():
    rng = np.random.default_rng(0)
    audits = []
    for name, right, leak in (("careful", 1.0, 0.2), ("eager", 3.0, 4.0)):
        label, models = rng.integers(2, size=2000), []
        for number in range(3):
            member = rng.random(2000) < 0.5
            gain = (right + leak * member)[:, None] * np.eye(2)[label]
            columns = {"record": range(2000), "label": label, "member": member}
            columns |= {"logits": rng.normal(size=(2000, 2)) + gain}
            models.append(Answers.of(columns, f"shadow {number}" if number else name))
        audits.append(audit_model(models[0], models[1:], attacks=["loss"]))
    answer = compare_audits(*audits).answer
    points = 100 * (
        audits[1].about["accuracy"]["target"]["others"] - audits[0].about["accuracy"]["target"]["others"]
    )
    assert answer.startswith("careful leaks ")
    assert answer.endswith(f"; use it if {points:.1f} points of accuracy are worth it")


def test_who_is_exposed_in_one_alone():
    member = np.arange(1000) < 500
    audits = []
    for name, loud in (("one", 3), ("two", 7)):
        phi = np.random.default_rng(0).normal(size=1000)
        phi[loud] = 50
        columns = {"record": np.arange(1000), "label": np.zeros(1000, int), "member": member, "phi": phi}
        audits.append(audit_model(Answers.of(columns, name), [], attacks=["loss"]))
    found = compare_audits(*audits)
    exposed = found.exposed.set_index("record")["exposed in"]
    assert exposed["3"] == "one"
    assert exposed["7"] == "two"
    counts = exposed.value_counts()
    called = [audit.records[audit.records["called_at_0.01"] & audit.records["member"]] for audit in audits]
    both = [set(table["record"]) for table in called]
    assert found.who == (
        f"Of 500 records that both models were trained on, {counts['one']} are recognized in one alone, "
        f"{counts['two']} in two alone and {len(both[0] & both[1])} in both, at one false accusation in 100."
    )
    assert (counts["one"], counts["two"]) == (len(both[0] - both[1]), len(both[1] - both[0]))


def test_persons_are_compared_where_both_audits_have_them():
    audits = [audited(leak, seed, 1800, persons=True) for seed, leak in enumerate((3.0, 0.5))]
    found = compare_audits(*audits)
    for side, audit in zip(("first", "second"), audits, strict=True):
        persons = audit.summary.query("unit == 'patient'").iloc[0]
        row = found.table.set_index("quantity").loc["TPR at 1% FPR"]
        assert row[side] == pytest.approx(persons["tpr_at_0.01"])
    assert re.match(r"Of \d+ patients that both models were trained on", found.who)
    assert set(found.exposed["group"]) <= {str(each) for each in range(600)}
    assert len(found.exposed)


def test_what_can_not_be_said_of_who_is_exposed():
    few = audited(1.0, 0, 90)
    assert "too few records that it was not trained on" in compare_audits(few, few).who
    apart = audited(1.0, 0, 600), audited(1.0, 1, 600, first=1000)
    assert "trained on no records in common" in compare_audits(*apart).who


def test_the_page_draws_both_and_says_who_is_exposed(tmp_path: Path):
    audits = audited(3.0, 0, name="<old>"), audited(0.3, 1, name="new")
    found = compare_audits(*audits)
    path = found.write(tmp_path)
    page = path.read_text()
    assert path.name == "comparison.html"
    assert page.count('<path class="leading" d="M') == 2  # the curve and its key
    for number, audit in enumerate(audits):
        mine = found.curves[found.curves["side"] == number]
        theirs = audit.curves[audit.curves["attack"] == "loss"]
        np.testing.assert_allclose(mine[["fpr", "tpr"]], theirs[["fpr", "tpr"]])
    assert found.who.replace("<old>", "&lt;old&gt;") in page
    assert "<old>" not in page
    assert "<script" not in page
    assert "nan" not in page.lower()
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data:,"}


def test_two_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, capsys):
    for folder, leak in (("a", 3.0), ("b", 0.3)):
        audited(leak, 0, name="target.csv").write(tmp_path / folder)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "c")]) == 0
    assert capsys.readouterr().out.startswith("target.csv of b leaks ")


@pytest.mark.browser
@pytest.mark.parametrize("width", [1366, 390])
def test_the_page_of_a_comparison_fits_a_desk_and_a_telephone(tmp_path: Path, browser, width: int):
    long = "a model with a name that is far too long for any telephone " * 2
    path = compare_audits(audited(3.0, 0, name=long), audited(0.3, 1, name="new")).write(tmp_path)
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get(path.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_folders_are_read_back_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture):
    for name, leak in (("a", 3.0), ("b", 0.3)):
        audited(leak, 0, name=name).write(tmp_path / name)
    again = read_audit(tmp_path / "a")
    pd.testing.assert_frame_equal(again.records, audited(3.0, 0, name="a").records)
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    told = capsys.readouterr().out
    assert told.startswith("b leaks ")
    assert "\nOf " in told
    page = tmp_path / "a/beside-b/comparison.md"
    assert told.endswith("a/beside-b/comparison.html\n")
    assert page.read_text().startswith("# b leaks ")
    assert (tmp_path / "a/beside-b/comparison.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name two folders of audits, or two or more study files"),
        (["a"], "name two folders of audits, or two or more study files"),
        (["a", "a/audit.json"], "a/audit.json is no folder of a second audit"),
        (["a", "empty"], "empty: holds no audit that can be read"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    audited(3.0, 0).write("a")
    Path("empty").mkdir()
    assert main(["compare", *arguments]) == 1
    assert told in capsys.readouterr().err


def test_audits_without_members_have_no_leak_to_compare():
    blind = audit_model(
        [Answers.of({"record": range(200), "label": [0] * 200, "phi": np.arange(200.0)}, "blind")],
        [
            Answers.of(
                {
                    "record": range(200),
                    "label": [0] * 200,
                    "phi": np.random.default_rng(k).normal(size=200),
                    "member": np.random.default_rng(k).random(200) < 0.5,
                },
                str(k),
            )
            for k in range(4)
        ],
    )
    with pytest.raises(LeakgapError, match="blind: its audit does not know the members"):
        compare_audits(blind, blind)
