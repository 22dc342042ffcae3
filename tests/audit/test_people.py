"""Persons of several records: their scores by definition, audits that speak of them first, what is warned of."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from leakgap.answers.answers import Answers
from leakgap.audit.chance import beyond_chance
from leakgap.audit.model import audit_model
from leakgap.audit.people import WAYS, of_people
from leakgap.measure.groups import drawn_together
from leakgap.measure.roc import auc, tpr_at_fpr


def world(models, sizes, *, leak=1.5, by="person", seed=0, shared=0.5):
    """Answers of models whose members are random halves of persons, or of records."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    hard = rng.normal(0, 2, len(group))
    found = []
    for number in range(models):
        if by == "person":
            member = (rng.permutation(len(sizes)) < len(sizes) // 2)[group]
        else:
            member = rng.random(len(group)) < 0.5
        noise = shared * rng.normal(size=len(sizes))[group] + rng.normal(size=len(group))
        columns = {
            "record": np.arange(len(group)),
            "label": group % 3,
            "member": member,
            "phi": hard + noise + leak * member,
            "group": [f"p{code:03}" for code in group],
        }
        found.append(Answers.of(columns, f"model {number}"))
    return found


@pytest.fixture(scope="module")
def audit():
    models = world(15, (4,) * 300)
    return audit_model(models[0], models[1:], attacks=["lira-online-within", "base", "loss"], unit="patient")


def test_a_persons_score_by_its_definition():
    rng = np.random.default_rng(0)
    score, group = rng.normal(size=(3, 60)), rng.permutation(np.repeat(np.arange(20), 3))
    score[rng.random(score.shape) < 0.2] = np.nan
    score[0, group == 7] = np.nan
    plain = {"sum": np.nansum, "mean": np.nanmean, "max": np.nanmax}
    assert set(plain) == set(WAYS)
    for way, function in plain.items():
        found = of_people(score, group, way)
        for row in range(3):
            for person in range(20):
                hers = score[row, group == person]
                expected = np.nan if np.isnan(hers).all() else function(hers)
                assert found[row, person] == pytest.approx(expected, nan_ok=True)


def test_persons_come_first_and_their_numbers_are_those_of_their_scores(audit):
    assert audit.summary["unit"].tolist() == ["patient"] * 3 + ["record"] * 3
    assert audit.about["unit"] == "patient"
    people, leading = audit.people, audit.about["leading"]
    assert len(people) == 300
    assert people["records"].eq(4).all()
    judged = people[people[leading].notna()]  # the others have too few shadow models on a side
    row, theirs = audit.summary.iloc[0], (judged[leading].to_numpy(), judged["member"].to_numpy())
    assert row["attack"] == leading
    assert row["n_members"] + row["n_nonmembers"] == len(judged) > 290
    assert row["auc"] == pytest.approx(auc(*theirs))
    tpr = tpr_at_fpr(*theirs, 0.01)
    assert row["tpr_at_0.01"] == tpr
    assert judged.loc[judged["member"], "called_at_0.01"].mean() == pytest.approx(tpr)
    assert audit.about["way"] == "sum"
    summed = audit.records.groupby("record")[leading].first()
    hers = summed.groupby(np.arange(1200) // 4).sum(min_count=1)
    theirs = people.set_index("group")[leading].sort_index()
    np.testing.assert_allclose(theirs, hers, rtol=1e-4)


def test_several_records_give_a_person_away_more_than_one_does(audit):
    first = audit.summary.groupby("unit")["auc"].max()
    assert first["patient"] > first["record"] + 0.05


def test_the_answer_speaks_of_patients_and_of_records_second(audit):
    text = " ".join(audit.about["answer"])
    assert "of the training patients" in text
    assert "record" not in text
    assert "of replacing a patient" in text
    assert "training records" in audit.about["of_records"]["answer"][0]
    assert audit.about["of_records"]["epsilon"]["bound"] is None  # its coins are patients', not records'


def test_tables_of_people_are_written(audit, tmp_path):
    audit.write(tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "people.parquet"), audit.people)
    assert pd.read_csv(tmp_path / "people.csv")["group"].tolist() == audit.people["group"].tolist()
    page = (tmp_path / "report.html").read_text()
    assert "300\npatients with 1,200 records" in page
    assert "<h2>Patients</h2>" in page
    assert json.loads((tmp_path / "audit.json").read_text())["of_records"]["counted"] == 1200


def test_a_group_of_one_record_each_gives_the_numbers_of_no_groups():
    models = world(7, (1,) * 200)
    bare = [replace(each, group=None) for each in models]
    found, plain = (audit_model(each[0], each[1:], attacks=["base", "loss"]) for each in (models, bare))
    pd.testing.assert_frame_equal(found.summary, plain.summary)
    pd.testing.assert_frame_equal(found.records, plain.records)
    assert found.about == plain.about
    assert not len(found.people)


def test_records_of_one_person_make_intervals_wider():
    models = world(7, (10,) * 60, shared=2)
    bare = [replace(each, group=None) for each in models]
    found, plain = (audit_model(each[0], each[1:], attacks=["base"]) for each in (models, bare))
    mine = found.summary.set_index("unit").loc["record"]
    other = plain.summary.iloc[0]
    assert mine["auc"] == other["auc"]
    assert mine["auc_high"] - mine["auc_low"] > 1.5 * (other["auc_high"] - other["auc_low"])


def test_split_persons_are_told_and_no_epsilon_is_theirs():
    models = world(7, (3,) * 200, by="record")
    audit = audit_model(models[0], models[1:], attacks=["base"], unit="author")
    (warning,) = audit.about["warnings"]
    assert "of 200 authors have records on both sides" in warning
    assert audit.about["epsilon"]["bound"] is None
    assert audit.about["of_records"]["epsilon"]["bound"] is not None
    member = models[0].member.reshape(200, 3).any(1)
    assert audit.summary.iloc[0]["n_members"] == member.sum()


def test_where_everybody_is_a_member_persons_are_undefined():
    models = world(7, (30,) * 20, by="record")
    audit = audit_model(models[0], models[1:], attacks=["base"])
    assert "20 persons are few" in audit.about["answer"][0]
    assert audit.about["answer"][2].startswith("0 non-member persons are too few")
    assert np.isfinite(audit.summary.set_index("unit").loc["record", "tpr_at_0.01"])


def test_one_person_with_a_thousand_records():
    models = world(7, (1000, *(2,) * 200))
    audit = audit_model(models[0], models[1:], attacks=["base"])
    assert any("one person, p000, has 1,000 of the 1,400 records" in each for each in audit.about["warnings"])
    row = audit.summary.set_index("unit").loc["record"]
    assert row["auc_high"] - row["auc_low"] > 0.2  # one person is most of what there is to see


def test_persons_that_no_shadow_model_knows_are_not_scored():
    models = world(9, (4,) * 100)
    known = np.arange(400) >= 40  # ten persons only the target was asked about
    shadows = []
    for each in models[1:]:
        columns = {name: getattr(each, name)[known] for name in ("record", "label", "member", "group")}
        shadows.append(Answers.of(columns | {"phi": each.phi[known, 0]}, each.name))
    audit = audit_model(models[0], shadows, attacks=["lira-online-within"])
    people = audit.people.set_index("group")["lira-online-within"]
    assert people.loc[[f"p{code:03}" for code in range(10)]].isna().all()
    assert people.loc[[f"p{code:03}" for code in range(10, 100)]].notna().mean() > 0.9


def test_without_membership_persons_are_called_by_the_shadow_models_thresholds():
    models = world(9, (4,) * 300)
    target = replace(models[0], member=None)
    audit = audit_model(target, models[1:], attacks=["base"], unit="customer")
    assert "customers members" in " ".join(audit.about["answer"])
    called = audit.people["called_at_0.01"]
    assert called.sum() == audit.summary.iloc[0]["called_at_0.01"]
    assert (
        models[0].member.reshape(300, 4)[:, 0][audit.people["group"].str[1:].astype(int)][called].mean() > 0.9
    )


def test_the_way_is_chosen_without_the_target():
    models = world(9, (4,) * 100)
    flipped = replace(models[0], member=~models[0].member)
    ways = [
        audit_model(each, models[1:], attacks=["base", "loss"])
        .summary.query("unit == 'person'")["way"]
        .tolist()
        for each in (models[0], flipped)
    ]
    assert ways[0] == ways[1]


@pytest.mark.parametrize("by", ["person", "record"])
def test_members_drawn_at_random_show_no_sign(by):
    """Labels and hardness that a person's records share: one in 1,000 each, however members are drawn."""
    rng, told = np.random.default_rng(0), 0
    for _ in range(150):
        group = np.repeat(np.arange(40), 10)
        draw = (rng.permutation(40) < 20)[group] if by == "person" else rng.random(400) < 0.5
        value = rng.normal(size=40)[group]
        unit = drawn_together(draw, group)
        told += beyond_chance(lambda members, value=value: abs(value[members].sum()), draw, unit)
    assert told <= 1


def test_how_members_were_drawn_is_seen():
    group, rng = np.repeat(np.arange(100), 5), np.random.default_rng(0)
    whole = (rng.permutation(100) < 50)[group]
    assert (drawn_together(whole, group) == group).all()
    assert len(set(drawn_together(rng.random(500) < 0.5, group))) == 500
    few = whole.copy()
    few[:3] = ~few[:3]  # one person is split: a part of her on each side
    parts = drawn_together(few, group)
    assert len(set(parts)) == 101
    assert all(len(set(few[parts == part])) == 1 for part in set(parts))


def test_the_command_takes_a_unit(tmp_path, monkeypatch, capsys):
    from leakgap.__main__ import main

    models = world(9, (4,) * 300)
    for number, each in enumerate(models):
        columns = {name: getattr(each, name) for name in ("record", "label", "member", "group")}
        pd.DataFrame(columns | {"phi": each.phi[:, 0]}).to_csv(tmp_path / f"{number}.csv", index=False)
    monkeypatch.chdir(tmp_path)
    told = [
        "audit",
        "0.csv",
        "--shadows",
        *(f"{k}.csv" for k in range(1, 9)),
        "--attacks",
        "base",
        "--out",
        "found",
    ]
    assert main([*told, "--unit", "patient"]) == 0
    assert "training patients" in capsys.readouterr().out


def test_several_targets_each_have_their_persons():
    models = world(12, (4,) * 150)
    audit = audit_model(models[:3], models[3:], attacks=["base", "loss"])
    assert audit.people.groupby("target").size().tolist() == [150] * 3
    row = audit.summary.iloc[0]
    judged = audit.people[audit.people[row["attack"]].notna()]
    assert row["n_members"] == judged["member"].sum()
    assert row["auc_low"] < row["auc"] < row["auc_high"]
    of_records = audit.summary.query("unit == 'record'").iloc[0]
    assert of_records["tpr_at_0.01_low"] <= of_records["tpr_at_0.01"] <= of_records["tpr_at_0.01_high"]


def test_ten_persons_are_not_refused_for_what_chance_does():
    """Of ten persons, how often four shadow models know each tells members from others well in some audits."""
    for seed in range(40):
        models = world(5, (6,) * 10, seed=seed)
        audit_model(models[0], models[1:], attacks=["loss"])


def test_a_spreadsheet_takes_no_person_for_a_formula(tmp_path):
    models = []
    for each in world(6, (4,) * 60):
        names = np.char.replace(each.group.astype(str), "p000", "=1+1")
        models.append(replace(each, group=names))
    audit_model(models[0], models[1:], attacks=["base"]).write(tmp_path)
    assert set(pd.read_csv(tmp_path / "people.csv")["group"].str[0]) == {"p", "'"}
    assert "=1+1" in set(pd.read_parquet(tmp_path / "people.parquet")["group"])


def test_an_audit_without_groups_leaves_no_people_of_an_earlier_one(tmp_path):
    models = world(6, (4,) * 60)
    audit_model(models[0], models[1:], attacks=["base"]).write(tmp_path)
    assert (tmp_path / "people.csv").is_file()
    models = [replace(each, group=None) for each in models]
    audit_model(models[0], models[1:], attacks=["base"]).write(tmp_path)
    assert not list(tmp_path.glob("people.*"))
