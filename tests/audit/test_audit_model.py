"""Audits of models that leakgap did not train: scikit-learn's, and worlds whose leak is known."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import expit, logsumexp
from sklearn.datasets import load_breast_cancer, load_digits, make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from leakgap import LeakgapError, attacks
from leakgap.__main__ import main
from leakgap.answers.answers import Answers
from leakgap.audit.model import Audit, audit_files, audit_model
from leakgap.audit.records import exposure, over_targets
from leakgap.data.masks import balanced_masks
from leakgap.measure import roc

FILES = {"audit.json", "records.parquet", "records.csv", "report.html"}  # of an audit without groups


def world(
    models: int = 9,
    records: int = 600,
    leak: float = 1.5,
    seed: int = 0,
    share: tuple[float, float] = (0.3, 0.7),
) -> list[pd.DataFrame]:
    """Answers whose phi is a record's own, noise, and `leak` for members; each model has its share of members."""
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 2, records)
    tables = []
    for _ in range(models):
        member = rng.random(records) < rng.uniform(*share)
        phi = own + rng.normal(size=records) + leak * member
        table = {"record": np.arange(records), "label": np.arange(records) % 3, "member": member, "phi": phi}
        tables.append(pd.DataFrame(table))
    return tables


def answers(tables: list[pd.DataFrame]) -> list[Answers]:
    return [Answers.of(table, f"model {k}") for k, table in enumerate(tables)]


def audited(tables: list[pd.DataFrame], **options) -> Audit:
    target, *shadows = answers(tables)
    return audit_model(target, shadows, **options)


def row(audit: Audit, attack: str) -> pd.Series:
    return audit.summary.set_index("attack").loc[attack]


# --- scikit-learn on tables


def tabular(classifier, seed: int, models: int = 9) -> list[pd.DataFrame]:
    """Models of 30 numbers of a tumour, trained on random shares of 569 patients, a tenth of the labels wrong."""
    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(seed)
    x, y = StandardScaler().fit_transform(x), np.where(rng.random(len(y)) < 0.1, 1 - y, y)
    tables = []
    for k in range(models):
        member = rng.random(len(y)) < rng.uniform(0.3, 0.7)
        model = classifier(k).fit(x[member], y[member])
        table = {"record": [f"patient {i}" for i in range(len(y))], "label": y, "member": member}
        tables.append(pd.DataFrame(table).assign(probabilities=list(model.predict_proba(x))))
    return tables


def forest(seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(30, random_state=seed)


def regression(seed: int) -> LogisticRegression:
    return LogisticRegression(C=0.01, random_state=seed)


def test_a_forest_leaks_and_a_ridge_hardly_does():
    leaky, tight = (audited(tabular(of, 0)) for of in (forest, regression))
    assert row(leaky, "base")["auc_low"] > 0.8
    assert row(leaky, "base")["tpr_at_0.01_low"] > 0.02
    assert row(tight, "base")["auc"] < 0.62
    assert leaky.about["epsilon"]["bound"] > 1
    assert leaky.summary["attack"][0] == leaky.about["leading"]


def test_correctness_is_the_accuracy_gap():
    """AUC = (1 + accuracy on members - accuracy on others) / 2 for a score of 0 and 1."""
    tables = tabular(forest, 1)
    right = np.array([p.argmax() for p in tables[0]["probabilities"]]) == tables[0]["label"]
    member = tables[0]["member"]
    gap = right[member].mean() - right[~member].mean()
    assert row(audited(tables, attacks=["correctness"]), "correctness")["auc"] == pytest.approx((1 + gap) / 2)


def test_files_of_every_kind_give_one_audit(tmp_path: Path):
    """Shuffled Parquet, numbered columns in CSV, and .npz: as from memory."""
    tables = tabular(forest, 2, models=5)
    expected = audited(tables, attacks=["base", "mast", "shadow-nn"])
    paths = []
    for k, table in enumerate(tables):
        p = np.array(table["probabilities"].tolist())
        if k % 3 == 0:
            paths.append(tmp_path / f"{k}.parquet")
            table.sample(frac=1, random_state=k if k else None).sort_index(ascending=not k).to_parquet(
                paths[-1]
            )
        elif k % 3 == 1:
            paths.append(tmp_path / f"{k}.csv")
            numbered = table.drop(columns="probabilities").assign(
                probabilities_0=p[:, 0], probabilities_1=p[:, 1]
            )
            numbered[::-1].to_csv(paths[-1], index=False)
        else:
            paths.append(tmp_path / f"{k}.npz")
            rest = {name: np.array(table[name].tolist()) for name in ("record", "label", "member")}
            np.savez(paths[-1], probabilities=p, **rest)
    target, *shadows = [Answers.read(path) for path in paths]
    found = audit_model(target, shadows, attacks=["base", "mast", "shadow-nn"])
    pd.testing.assert_frame_equal(found.summary, expected.summary)


def test_memorization_finds_flipped_labels():
    """2% of the labels of digits are wrong, and forests remember them."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    flipped = rng.random(len(y)) < 0.02
    label = np.where(flipped, (y + rng.integers(1, 10, len(y))) % 10, y)
    tables = []
    for k in range(13):
        member = rng.random(len(y)) < rng.uniform(0.3, 0.7)
        model = RandomForestClassifier(40, max_features=8, random_state=k).fit(x[member], label[member])
        table = pd.DataFrame({"record": np.arange(len(y)), "label": label, "member": member})
        tables.append(table.assign(probabilities=list(model.predict_proba(x))))
    records = audited(tables, attacks=["base"]).records.sort_values("record")
    assert roc.auc(records["memorization"].to_numpy(), flipped) >= 0.95
    p = np.array([[row[y] for row, y in zip(t["probabilities"], label, strict=True)] for t in tables[1:]])
    inside = np.array([t["member"] for t in tables[1:]])
    several = np.flatnonzero((inside.sum(0) > 1) & ((~inside).sum(0) > 1))
    for i in rng.choice(several, 20):  # the definition, record by record
        a, b = p[inside[:, i], i], p[~inside[:, i], i]
        expected = a.mean() - b.mean(), np.sqrt(stats.sem(a) ** 2 + stats.sem(b) ** 2)
        found = records.iloc[i][["memorization", "memorization_error"]]
        # answers of exactly 0 or 1 are half a step away from it, and phi is a float32
        np.testing.assert_allclose(found.astype(float), expected, atol=0.01)


# --- known worlds


def test_noise_is_seen_as_noise():
    """AUC and TPR of 200 targets that leak nothing are in their intervals in 95%, within four standard errors."""
    held = np.zeros(3)
    for seed in range(200):
        audit = audited(world(5, 300, 0, seed), attacks=["base"])
        found = row(audit, "base")
        held[0] += found["auc_low"] <= 0.5 <= found["auc_high"]
        undefined = np.isnan(found["tpr_at_0.01"])  # of fewer than 99 non-members
        held[1] += undefined or found["tpr_at_0.01_low"] <= 0.01 <= found["tpr_at_0.01_high"]
        held[2] += audit.about["epsilon"]["bound"] in (0, None)
    spread = 4 * np.sqrt(200 * 0.95 * 0.05)
    assert 190 - spread <= held[0] <= 200
    assert (held[1:] >= 190 - spread).all()


def test_the_grids_numbers_are_the_audits():
    """Models of a grid, given as answers: the scores are the grid's, row by row, and so is the pooled TPR."""
    member = balanced_masks(8, 500, seed=0)
    rng = np.random.default_rng(1)
    label = rng.integers(4, size=500)
    z = rng.normal(0, 2, (500, 4)) + rng.normal(size=(8, 500, 4))
    z[:, np.arange(500), label] += 2 + 1.5 * member
    z = z.astype(np.float32)
    rest = np.where(np.eye(4, dtype=bool)[label], -np.inf, z)
    phi = (z[:, np.arange(500), label] - logsumexp(rest, -1)).astype(np.float32)[..., None]
    evidence = attacks.Evidence(
        phi, phi, member, attacks.gives_away(member, member), label, np.zeros(500, bool), z, z
    )
    names = ["lira-online-fixed", "mast", "base", "entropy", "loss-per-class"]
    grid = {name: attacks.run(name, evidence) for name in names}
    models = [
        Answers.of({"record": range(500), "label": label, "member": member[k], "logits": z[k]}, f"m00{k}")
        for k in range(8)
    ]
    held = 0
    pooled = roc.tpr_at_fpr(grid["mast"], member, 0.01)
    for k, model in enumerate(models):
        audit = audit_model(model, models[:k] + models[k + 1 :], attacks=names)
        records = audit.records.sort_values("record")
        for name in names:
            np.testing.assert_allclose(records[name], grid[name][k], rtol=1e-4, atol=1e-4, err_msg=name)
        assert audit.about["shadow_models"] == 6  # the complement is left out
        held += row(audit, "mast")["tpr_at_0.01_low"] <= pooled <= row(audit, "mast")["tpr_at_0.01_high"]
    assert held >= 6


def test_thresholds_of_shadow_models_keep_what_they_promise():
    """No one looked at the target, and yet 1% of its non-members are called, or a little less.

    Less, because a shadow model is attacked with one model fewer than the target: its scores spread more.
    """
    audit = audited(world(9, 4000), attacks=["base", "mast", "lira-online-within"])
    for name in audit.summary["attack"]:
        found = row(audit, name)
        assert found["achieved_fpr_at_0.01_low"] <= 0.01
        assert found["achieved_fpr_at_0.01"] >= 0.004
        assert found["achieved_tpr_at_0.01"] == pytest.approx(found["tpr_at_0.01"], abs=0.03)


def test_unknown_membership_is_scored_and_not_measured():
    tables = world()
    blind, seeing = audited([tables[0].drop(columns="member"), *tables[1:]]), audited(tables)
    assert not any(name.startswith(("auc", "tpr", "precision")) for name in blind.summary)
    assert "member" not in blind.records
    assert blind.about["leading"] == seeing.about["leading"]
    one, other = (audit.records.sort_values("record", ignore_index=True) for audit in (blind, seeing))
    for name in seeing.summary["attack"]:
        np.testing.assert_array_equal(one[name], other[name])
        assert row(blind, name)["threshold_at_0.01"] == row(seeing, name)["threshold_at_0.01"]
    found = row(blind, blind.about["leading"])
    assert one["called_at_0.01"].sum() == found["called_at_0.01"]
    assert (one["called_at_0.01"] == (one[blind.about["leading"]] > found["threshold_at_0.01"])).all()
    # far more are called than the 6 that would be if nothing leaked
    assert found["called_at_0.01"] > 30


def test_called_records_are_the_tpr_and_exposure_is_their_order():
    audit = audited(world(), attacks=["mast", "base"])
    records = audit.records
    called = records["called_at_0.01"]
    judged = (records["in_models"] > 0) & (records["out_models"] > 0)
    assert called[records["member"] & judged].mean() == pytest.approx(audit.summary["tpr_at_0.01"][0])
    assert called[~records["member"]].mean() <= 0.01
    assert (called == (records["exposure"] > 0)).all()
    scored = records.dropna(subset=["exposure"])
    assert (scored.index == np.arange(len(scored))).all()  # records without a score come last
    assert scored["exposure"].is_monotonic_decreasing
    assert scored[audit.about["leading"]].is_monotonic_decreasing
    others = records.loc[~records["member"], "exposure"]
    assert others.median() == pytest.approx(-1, abs=0.02)


def test_a_shadow_model_that_was_not_asked_takes_no_part():
    """BASE of each record by hand, from the models that answered it."""
    tables = world(7, 200)
    rng = np.random.default_rng(0)
    kept = [rng.random(200) < (0.9 if k in (2, 5) else 1.0) for k in range(7)]
    audit = audited([table[keep] for table, keep in zip(tables, kept, strict=True)], attacks=["base"])
    found = audit.records.set_index("record")
    for record in range(200):
        sides = ([], [])
        for table, keep in zip(tables[1:], kept[1:], strict=True):
            if keep[record]:
                sides[int(table["member"][record])].append(expit(table["phi"][record]))
        counts = found.loc[record, ["out_models", "in_models"]]
        assert list(counts) == [len(side) for side in sides]
        if all(sides):
            expected = np.log(expit(tables[0]["phi"][record])) - np.log(np.mean([np.mean(s) for s in sides]))
            assert found.loc[record, "base"] == pytest.approx(expected, abs=1e-5)
        else:
            assert np.isnan(found.loc[record, "base"])


@pytest.mark.parametrize("shadows", [0, 1, 2, 3])
def test_few_shadow_models_run_what_they_can_and_say_what_they_cannot(shadows: int):
    x, y = make_classification(400, random_state=0, flip_y=0.2)
    rng = np.random.default_rng(0)
    models = []
    for k in range(shadows + 1):
        member = rng.random(400) < 0.5
        p = RandomForestClassifier(20, random_state=k).fit(x[member], y[member]).predict_proba(x)
        models.append(
            Answers.of({"record": range(400), "label": y, "member": member, "probabilities": p}, f"{k}")
        )
    audit = audit_model(models[0], models[1:])
    ran, left = set(audit.summary["attack"]), audit.about["not_run"]
    assert ran | set(left) == set(attacks.ATTACKS)
    assert not ran & set(left)
    assert {"correctness", "loss", "entropy", "modified-entropy"} <= ran
    assert "records set aside" in left["rmia"]
    if not shadows:
        assert ran == {"correctness", "loss", "entropy", "modified-entropy"}
        assert "needs shadow models, 1 or more, and has 0" in left["base"]
        assert audit.records["memorization"].isna().all()
        assert np.isnan(row(audit, "loss")["threshold_at_0.01"])
    else:
        assert "calibrated-loss" in ran
        assert np.isfinite(row(audit, "loss")["threshold_at_0.01"])
    assert audit.about["leading"] in ran


@pytest.mark.parametrize(
    ("kind", "ran"),
    [
        ("prediction", {"correctness"}),
        ("loss", {"loss", "mast", "base", "lira-online"}),
        ("logits", {"correctness", "entropy", "mast", "shadow-nn"}),
    ],
)
def test_attacks_run_on_what_they_need(kind: str, ran: set[str]):
    rng = np.random.default_rng(0)
    models = []
    for k in range(6):
        member = rng.random(200) < 0.5
        z = rng.normal(size=(200, 2))
        z[:, 0] += member
        values = {"logits": z, "loss": np.log1p(np.exp(z[:, 1] - z[:, 0])), "prediction": z.argmax(1)}
        of = {"record": range(200), "label": np.zeros(200, int), "member": member, kind: values[kind]}
        models.append(Answers.of(of, f"{k}"))
    audit = audit_model(models[0], models[1:])
    assert ran <= set(audit.summary["attack"])
    if kind != "logits":
        assert "needs logits" in audit.about["not_run"]["entropy"]
    if kind == "prediction":
        assert set(audit.summary["attack"]) == ran


def test_a_reserved_population_is_for_attacks_and_not_audited():
    tables = world(6, 400)
    reserved = np.arange(400) < 100
    tables = [table.assign(member=table["member"] & ~reserved) for table in tables]
    tables[0] = tables[0].assign(reserved=reserved)
    audit = audited(tables)
    assert {"rmia", "attack-p", "rmia-offline"} <= set(audit.summary["attack"])
    assert set(audit.records["record"]) == set(range(100, 400))
    assert row(audit, "loss")["n_members"] + row(audit, "loss")["n_nonmembers"] == 300


def test_several_targets_are_pooled():
    models = answers(world(11, 400))
    audit = audit_model(models[:3], models[3:], attacks=["base"])
    found = row(audit, "base")
    assert found["n_targets"] == 3
    assert len(audit.records) == 1200
    assert set(audit.records["target"]) == {"model 0", "model 1", "model 2"}
    singles = [row(audit_model(model, models[3:], attacks=["base"]), "base") for model in models[:3]]
    assert found["auc"] == pytest.approx(np.mean([each["auc"] for each in singles]))
    judged = audit.records.dropna(subset=["base"])  # every record had shadow models, or was not judged
    score, member = judged["base"].to_numpy(), judged["member"].to_numpy()
    assert found["tpr_at_0.01"] == roc.tpr_at_fpr(score, member, 0.01)
    assert found["tpr_at_0.01_low"] <= found["tpr_at_0.01"] <= found["tpr_at_0.01_high"]


def test_records_over_targets_are_those_of_single_targets():
    """Caught, targets and mean exposure, by a loop over targets and records."""
    rng = np.random.default_rng(0)
    member = rng.random((5, 300)) < 0.5
    score = (rng.normal(size=(5, 300)) + 1.5 * member).round(1)
    score[rng.random((5, 300)) < 0.1] = np.nan
    found = over_targets(score, member, 0.05)
    called = np.array([roc.flagged(s, m, 0.05) for s, m in zip(score, member, strict=True)])
    for i in range(300):
        inside = np.flatnonzero(member[:, i])
        assert found["targets"][i] == len(inside)
        assert found["caught"][i] == called[inside, i].sum()
        each = [exposure(score[t], score[t, ~member[t]], 0.05)[i] for t in inside]
        expected = np.mean([value for value in each if value == value]) if np.isfinite(each).any() else np.nan
        np.testing.assert_allclose(found["exposure"][i], expected, rtol=1e-6)


# --- is it memory?


def test_members_that_differ_by_themselves_are_not_taken_for_memory():
    """No model leaks; the target's members are easier records than the rest, for every model."""
    tables = world(8, 600, leak=0)
    easy = np.mean([table["phi"] for table in tables], 0)
    tables[0]["member"] = easy + np.random.default_rng(0).normal(0, 2, 600) > 0
    audit = audited(tables)
    assert any("differ by themselves" in sign for sign in audit.about["signs_against_chance"])
    assert audit.about["epsilon"]["bound"] is None
    by_label = world(8, 600, leak=0)
    by_label[0]["member"] = by_label[0]["label"] == 0
    assert (
        "members and non-members have their labels in other proportions"
        in (audited(by_label).about["signs_against_chance"])
    )


def test_shadow_models_balanced_against_the_target_are_refused():
    """Every record is in 4 of 8 training sets: how many of the other 7 trained on it tells the eighth's members."""
    tables = world(8, 400, leak=0)
    rng = np.random.default_rng(0)
    member = np.argsort(rng.random((8, 400)), 0) < 4
    for table, inside in zip(tables, member, strict=True):
        table["member"] = inside
    with pytest.raises(LeakgapError, match="nothing can be measured with these shadow models"):
        audited(tables, attacks=["loss"])


def folds(tables: list[pd.DataFrame]) -> None:
    """Shadow models of a cross-validation: each lacks a fold of the target's members, and knows no other record."""
    inside = tables[0]["member"].to_numpy()
    fold = np.random.default_rng(0).integers(len(tables) - 1, size=len(inside))
    for k, table in enumerate(tables[1:]):
        table["member"] = inside & (fold != k)


def halves_of_members(tables: list[pd.DataFrame]) -> None:
    rng = np.random.default_rng(1)
    for table in tables[1:]:
        table["member"] = tables[0]["member"] & (rng.random(len(table)) < 0.5)


def members_alone(tables: list[pd.DataFrame]) -> None:
    """The shadow models' files hold the target's members, and no other record."""
    for k, table in enumerate(tables[1:], 1):
        tables[k] = table[tables[0]["member"]]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drawn", [folds, halves_of_members, members_alone])
def test_shadow_models_that_know_members_alone_measure_nothing(drawn, seed: int):
    tables = world(7, 500, leak=0, seed=seed)
    drawn(tables)
    with pytest.raises(
        LeakgapError, match=r"nothing can be measured with these shadow models: .* random half"
    ):
        audited(tables)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_records_that_shadow_models_were_not_asked_about_are_not_judged(share: float):
    """Members are asked about, and some of the others: without a leak an attack does no better than guessing."""
    found = []
    for seed in range(10):
        tables = world(7, 800, leak=0, seed=seed)
        asked = tables[0]["member"] | (np.random.default_rng(seed).random(800) < share)
        tables[1:] = [table[asked] for table in tables[1:]]
        audit = audited(tables, attacks=["base", "lira-offline"])
        assert any("shadow models answered" in sign for sign in audit.about["signs_against_chance"])
        assert audit.about["answer"][0].startswith("This can't be decided with these records: ")
        found.append(audit.summary.set_index("attack")["auc"])
    assert np.abs(np.mean(found, axis=0) - 0.5).max() < 0.02


# --- are the answers what they seem?


def votes(models: int = 6, records: int = 400, seed: int = 0) -> list[pd.DataFrame]:
    """Classifiers of four classes that are right on two of three records, more often on their own."""
    rng = np.random.default_rng(seed)
    label = rng.integers(4, size=records)
    tables = []
    for _ in range(models):
        member = rng.random(records) < 0.5
        z = rng.normal(size=(records, 4)) + (1.2 + member[:, None]) * np.eye(4)[label]
        table = {"record": np.arange(records), "label": label, "member": member, "logits": list(z)}
        tables.append(pd.DataFrame(table))
    return tables


def permuted(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(logits=[z[[1, 2, 3, 0]] for z in table["logits"]])


def test_answers_that_are_what_they_seem_raise_no_warning():
    for seed in range(20):
        audit = audited(votes(seed=seed), attacks=["base"])
        assert audit.about["warnings"] == []
        right = [z.argmax() for z in votes(seed=seed)[0]["logits"]] == votes(seed=seed)[0]["label"]
        assert audit.about["accuracy"]["target"]["all"] == pytest.approx(right.mean())
        assert audit.about["accuracy"]["target"]["members"] > audit.about["accuracy"]["target"]["others"]


@pytest.mark.parametrize("whose", ["the target", "a shadow model"])
def test_classes_in_another_order_than_labels_are_told_by_the_accuracy(whose: str):
    tables = votes()
    chosen = [0] if whose == "the target" else range(1, 6)
    tables = [permuted(table) if k in chosen else table for k, table in enumerate(tables)]
    audit = audited(tables, attacks=["base"])
    assert any(told.startswith(f"{whose} is right on") for told in audit.about["warnings"])
    assert audit.about["answer"][0].startswith("Beware: ")


def test_members_the_wrong_way_round_are_told():
    tables = votes()
    alone = audited([tables[0].assign(member=~tables[0]["member"])], attacks=["loss"])
    assert "the attack ranks members below others" in alone.about["warnings"][0]
    every = audited([table.assign(member=~table["member"]) for table in tables])
    assert any("the shadow models do worse on their own members" in told for told in every.about["warnings"])


def test_copies_of_records_are_counted():
    tables = [pd.concat([table, table.head(30).assign(record=np.arange(30) + 1000)]) for table in votes()]
    (told,) = audited(tables, attacks=["base"]).about["warnings"]
    assert told.startswith("30 of 430 records are answered like another one by every model")


def test_random_members_are_rarely_suspected():
    """Four signs, each in one of 1,000 targets."""
    suspected = sum(
        bool(audited(world(6, 200, seed=seed), attacks=["loss"]).about["signs_against_chance"])
        for seed in range(100)
    )
    assert suspected <= 3


# --- what is written


def written(tmp_path: Path, tables: list[pd.DataFrame], targets: int = 1, **options) -> tuple[dict, str]:
    models = answers(tables)
    audit_model(models[:targets], models[targets:], **options).write(tmp_path)
    text = (tmp_path / "audit.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    return json.loads(text), (tmp_path / "report.html").read_text()


def visible(page: str) -> str:
    """The words of the page's body, in order."""
    body = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", page.partition("<body>")[2], flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_page_begins_with_the_answer(tmp_path: Path):
    told, page = written(tmp_path, world(records=3000))
    best = next(each for each in told["attacks"] if each["attack"] == told["leading"])
    assert re.match(
        r"At one false accusation in 100, an attacker with 8 shadow models recognizes "
        r"[\d.]+% \[[\d.]+, [\d.]+\] of the training records\.",
        told["answer"][0],
    )
    number = float(re.search(r"recognizes ([\d.]+)%", told["answer"][0])[1])
    assert number == pytest.approx(100 * best["tpr_at_0.01"], rel=0.05)
    assert told["answer"][2].startswith(
        "At one false accusation in 1,000 it is "
    )  # which one non-member decides
    assert visible(page).removeprefix("Audit of model 0 ").startswith(told["answer"][0])
    places = [
        page.index(f">{title}")
        for title in ("<svg", "How sure", "Records<", "What was not")
        if title != "<svg"
    ]
    assert page.index("<svg") < places[0]
    assert places == sorted(places)


def test_the_page_loads_nothing_and_runs_nothing(tmp_path: Path):
    _, page = written(tmp_path, world())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "<script" not in page.lower()
    assert not re.search(r"\son\w+=|javascript:|https?://", page.lower())
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) <= {"data:,", "#now"}


def test_what_users_write_is_text(tmp_path: Path):
    evil = "<script>alert('1')</script>\"&"
    tables = [
        table.assign(record=[f"{evil}{i}" for i in table["record"]], label=[evil] * len(table))
        for table in world(4, 200)
    ]
    models = [Answers.of(table, f"{evil}{k}") for k, table in enumerate(tables)]
    audit_model(models[0], models[1:]).write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("records", "shadows", "sentence"),
    [
        (12000, 0, "one false accusation in 1,000, an attacker without shadow models recognizes"),
        (3000, 1, "one false accusation in 100, an attacker with 1 shadow model recognizes"),
        (600, 3, "one false accusation in 100, an attacker with 3 shadow models recognizes"),
        (90, 3, "non-members are too few to say what an attacker recognizes at one false accusation in 100"),
    ],
)
def test_the_answer_says_what_the_numbers_allow(tmp_path: Path, records: int, shadows: int, sentence: str):
    told, page = written(tmp_path, world(shadows + 1, records))
    assert told["answer"][0].startswith("No attacker with shadow models has looked") == (shadows == 0)
    assert sentence in told["answer"][shadows == 0]
    assert ("Attackers with shadow models." in page) == (shadows == 0)
    assert ("Attackers with more shadow models" in page) == (0 < shadows < 4)


def test_two_targets_of_one_pair_have_values_and_no_intervals(tmp_path: Path):
    """Complements are one mask pair, and one pair says nothing of how models vary."""
    one, other, *shadows = world(6, 600)
    other["member"] = ~one["member"]
    audit = audit_model(answers([one, other]), answers(shadows), attacks=["loss"])
    found = row(audit, "loss")
    scores, member = audit.records["loss"].to_numpy(), audit.records["member"].to_numpy()
    assert found["tpr_at_0.01"] == roc.tpr_at_fpr(scores, member, 0.01)
    assert np.isnan(found["tpr_at_0.01_low"])
    told, page = written(tmp_path, [one, other, *shadows], targets=2, attacks=["loss"])
    assert "recognizes" in told["answer"][0]
    assert "too few to say how sure that is" in told["answer"][1]
    assert "nan" not in page.lower()


def test_a_leak_that_shows_over_all_thresholds_alone_is_told(tmp_path: Path):
    """300 records are too few to tell 1% from more, and enough to tell members from others."""
    told, _ = written(tmp_path, world(1, 300), attacks=["loss"])
    (found,) = told["attacks"]
    assert found["tpr_at_0.01_low"] <= 0.01
    assert found["auc_low"] > 0.5
    assert re.search(
        r"at this rate the attacker can't be told from somebody who guesses.*\. Over all", told["answer"][2]
    )
    assert f"another record {100 * found['auc']:.1f}% [" in told["answer"][2]


def test_noise_is_not_called_a_leak_and_a_leak_is(tmp_path: Path):
    noise, _ = written(tmp_path / "noise", world(leak=0))
    leak, _ = written(tmp_path / "leak", world(leak=4, records=5000))
    assert "can't be told from somebody who guesses" in " ".join(noise["answer"])
    (found,) = [each for each in leak["attacks"] if each["attack"] == leak["leading"]]
    low, high = re.search(
        r"Guessing would recognize 1%: this is ([\d.]+) to ([\d.]+) times as many", " ".join(leak["answer"])
    ).groups()
    assert float(low) <= 100 * found["tpr_at_0.01_low"]
    assert 100 * found["tpr_at_0.01_high"] <= float(high)
    assert "not differentially private with any epsilon below" in " ".join(leak["answer"])


def test_the_files_hold_what_the_audit_found(tmp_path: Path):
    tables = world()
    audit = audited(tables)
    audit.write(tmp_path)
    told = json.loads((tmp_path / "audit.json").read_text())
    for stored, (_, found) in zip(told["attacks"], audit.summary.iterrows(), strict=True):
        for name, value in found.items():
            assert stored[name] == (None if value != value else value)
    curve = audit.curves[audit.curves["attack"] == "base"]
    assert len(curve) > 50
    assert told["curves"]["base"]["tpr"] == curve["tpr"].tolist()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "records.parquet"), audit.records)
    assert {path.name for path in tmp_path.iterdir()} == FILES


def test_a_page_of_several_targets_and_of_unknown_membership(tmp_path: Path):
    told, page = written(tmp_path / "several", world(8, 300), targets=2)
    assert "of the models' training records" in told["answer"][0]
    assert "the surest guesses of the models before each target" in page
    tables = world(5, 300)
    told, page = written(tmp_path / "unknown", [tables[0].drop(columns="member"), *tables[1:]])
    assert "which records it was trained on is not known, so nothing is measured" in visible(page)
    assert told["answer"][0].startswith("model 0 has no column 'member': ")
    assert "<svg" not in page


@pytest.mark.browser
@pytest.mark.parametrize("width", [1366, 390])
def test_the_page_fits_a_desk_and_a_telephone(tmp_path: Path, browser, width: int):
    long = "a-record-with-a-name-that-is-far-too-long-for-any-telephone-" * 3
    tables = [table.assign(record=[f"{long}{i}" for i in table["record"]]) for table in world(5, 1500)]
    written(tmp_path, tables)
    browser.get_log("browser")
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    browser.get((tmp_path / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.get_log("browser") == []
    drawn = browser.execute_script("return document.querySelector('svg').getBoundingClientRect().toJSON()")
    assert min(400, width - 60) < drawn["width"] <= width
    answer, svg = browser.execute_script(
        "return ['.answer', 'svg'].map(name => document.querySelector(name).getBoundingClientRect().top)"
    )
    assert 0 < answer < svg < 900
    captions = browser.execute_script(
        "return [...document.querySelectorAll('caption span')].map(e => e.getBoundingClientRect().right)"
    )
    assert len(captions) == 5
    assert all(0 < right <= width for right in captions), "read without scrolling"


# --- the command


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for k, table in enumerate(world(4, 200)):
        paths.append(str(tmp_path / f"{k}.csv"))
        table.to_csv(paths[-1], index=False)
    return paths


def test_the_command_writes_the_audit_and_prints_the_answer(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
):
    out = tmp_path / "new/out"
    told = ["audit", files[0], "--shadows", *files[1:], "--out", str(out), "--attacks", "base", "loss"]
    assert main(told) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("At one false accusation in 100, an attacker with 3 shadow models")
    assert printed.endswith(f"The whole page: {out}/report.html\n")
    in_python = audit_model(files[0], files[1:], attacks=["base", "loss"])
    assert in_python.about["answer"] == json.loads((out / "audit.json").read_text())["answer"]
    assert {path.name for path in out.iterdir()} == FILES
    assert {each["attack"] for each in json.loads((out / "audit.json").read_text())["attacks"]} == {
        "base",
        "loss",
    }
    assert main(["audit", *files[:2], "--out", str(tmp_path / "two")]) == 0
    assert json.loads((tmp_path / "two/audit.json").read_text())["shadow_models"] == 0


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (["gone.csv"], "gone.csv: no such file"),
        (["0.csv", "--shadows", "1.csv", "0.csv"], "0.csv and 0.csv are one model"),
        (["0.csv", "--attacks", "lyra"], "attacks: 'lyra' is unknown"),
    ],
)
def test_the_command_says_one_sentence_and_writes_nothing(
    told: list[str],
    message: str,
    files: list[str],
    tmp_path: Path,
    monkeypatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.chdir(tmp_path)
    assert main(["audit", *told, "--out", "out"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("leakgap audit: ")
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out").exists()


def test_bad_wishes_are_one_sentence(tmp_path: Path):
    target, *shadows = answers(world(4, 200))
    with pytest.raises(LeakgapError, match="attacks: 'lyra' is unknown; allowed are correctness"):
        audit_model(target, shadows, attacks=["lyra"])
    with pytest.raises(LeakgapError, match="no attack can run: entropy: needs logits"):
        audit_model(target, shadows, attacks=["entropy"])
    with pytest.raises(LeakgapError, match=r"fprs: 1.5 does not lie between 0 and 1"):
        audit_model(target, shadows, fprs=[1.5])
    (tmp_path / "taken").write_text("")
    with pytest.raises(LeakgapError, match="taken: is a file, and the audit writes a folder"):
        audit_files([], [], str(tmp_path / "taken"))
