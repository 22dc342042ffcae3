"""Leak by slice against a naive loop, and on data where all slices leak alike."""

import json

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from leakgap import Answers, ArgumentError, audit_model
from leakgap.audit.slices import leak_by_slice, stored_records, told_apart
from leakgap.data.masks import balanced_masks


def test_the_shares_are_those_of_a_plain_count():
    rng = np.random.default_rng(0)
    member, slices = rng.random((3, 500)) < 0.4, rng.integers(0, 5, 500)
    score = rng.normal(1.5 * member)
    score[0, :20] = np.nan
    table = leak_by_slice(score, member, slices, 0.05).set_index("slice")
    flat = sorted((s if s == s else -np.inf for s in score[~member]), reverse=True)
    limit = flat[int(0.05 * (len(flat) + 1)) - 1]  # the largest rank with (1 + rank) / (n + 1) <= 5%
    for code in range(5):
        caught = members = false = others = 0
        for t in range(3):
            for x in range(500):
                if slices[x] == code:
                    called = score[t, x] > limit
                    members, caught = members + member[t, x], caught + (called and member[t, x])
                    others, false = others + (not member[t, x]), false + (called and not member[t, x])
        row = table.loc[code]
        assert (row.members, row.nonmembers) == (members, others)
        assert row.tpr == pytest.approx(caught / members)
        assert row.fpr == pytest.approx(false / others)
        assert row.low < row.tpr < row.high
        assert row.p_holm >= row.p


def test_a_slice_is_told_apart_where_there_is_none_at_most_as_often_as_said():
    """16 models, 1,000 records of unequal exposure, 6 slices drawn at random: no slice leaks more than others."""
    told = intervals = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        member = balanced_masks(16, 1000, seed)
        score = rng.normal(np.exp(rng.normal(0, 0.8, 1000)) * member, 1)
        slices = rng.choice(6, 1000, p=[0.4, 0.2, 0.2, 0.1, 0.06, 0.04])
        table = leak_by_slice(score, member, slices, 0.01)
        told += told_apart(table) is not None
        row = table.iloc[0]
        truth = (np.where(member, score, -np.inf) > np.quantile(score[~member], 0.99)).sum() / member.sum()
        intervals += row.low <= truth <= row.high
    assert told / 300 < 0.075  # 5%, and two standard errors
    assert intervals / 300 > 0.92


def test_a_slice_that_leaks_more_is_told():
    rng = np.random.default_rng(1)
    member, slices = balanced_masks(8, 2000, 0), np.arange(2000) % 10
    score = rng.normal((1 + 2 * (slices == 7)) * member)
    assert told_apart(leak_by_slice(score, member, slices, 0.01)) == 7


def test_undefined_stays_undefined():
    member = np.array([[True, False] * 20])
    table = leak_by_slice(np.random.default_rng(0).normal(size=(1, 40)), member, np.arange(40) % 2, 0.001)
    assert table["tpr"].isna().all()
    assert told_apart(table) is None
    with pytest.raises(ArgumentError, match="differ"):
        leak_by_slice(np.zeros((2, 3)), np.zeros((2, 3), bool), np.zeros(4, int), 0.01)


@pytest.mark.parametrize(
    ("learner", "stores"),
    [
        (DecisionTreeClassifier(random_state=0), True),
        (KNeighborsClassifier(1), True),
        (DecisionTreeClassifier(max_depth=3, random_state=0), False),
        (KNeighborsClassifier(25), False),
    ],
)
def test_models_that_store_records_are_told(learner, stores):
    rng = np.random.default_rng(0)
    x, member = rng.normal(size=(1000, 5)), np.arange(1000) < 500
    y = (x[:, 0] + 2 * rng.normal(size=1000) > 0).astype(int)
    p = learner.fit(x[member], y[member]).predict_proba(x)[np.arange(1000), y]
    told = stored_records(np.log(p + 1e-6) - np.log(1 - p + 1e-6), member)
    assert (told is not None) == stores


def test_an_audit_says_which_slice_leaks_most_and_whether_the_model_stores():
    rng = np.random.default_rng(0)
    site = np.where(np.arange(2000) % 5 == 0, "north", "south")

    def model(name):
        member = rng.random(2000) < 0.5
        phi = rng.normal(member * np.where(site == "north", 4, 0.3))
        columns = {"record": range(2000), "label": [0] * 2000, "member": member, "phi": phi, "slice": site}
        return Answers.of(columns, name)

    about = audit_model(model("mine"), [model(f"{k}") for k in range(6)], attacks=["loss", "base"]).about
    assert about["worst_slice"] == "north"
    assert [row["slice"] for row in about["slices"]] == ["north", "south"]
    assert about["slices"][0]["tpr"] > 0.5 > about["slices"][1]["tpr"]
    assert about["stored"] == [None]
    json.dumps(about["slices"])
