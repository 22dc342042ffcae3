"""Answers of any task against loops plainer than the code, and answers that can't be right."""

import numpy as np
import pandas as pd
import pytest
import torch

from leakgap import LeakgapError
from leakgap.answers.answers import Answers

RNG = np.random.default_rng(0)
S = 40
RECORD = np.arange(S)
LABEL = RECORD % 3
P = RNG.dirichlet(np.ones(3), S)


def odds(p: float) -> float:
    return np.log(p) - np.log(1 - p)


def of(**columns) -> Answers:
    return Answers.of({"record": RECORD, **columns})


# --- kinds


@pytest.mark.parametrize("values", [(0, 1), ("no", "yes"), (False, True), ("0", "1"), ("False", "True")])
def test_one_probability_is_of_the_positive_label(values):
    truth = RNG.random(S) < 0.5
    found = of(label=np.array(values)[truth.astype(int)], probability=P[:, 0])
    expected = [odds(p) if yes else odds(1 - p) for p, yes in zip(P[:, 0], truth, strict=True)]
    np.testing.assert_allclose(found.phi[:, 0], expected, rtol=1e-5)
    np.testing.assert_array_equal(found.correct, (P[:, 0] >= 0.5) == truth)


def test_the_positive_of_other_labels_is_asked_for_and_taken():
    label = np.where(RECORD % 2, "benign", "malign")
    with pytest.raises(LeakgapError, match=r"is 'benign' or 'malign': say which one .*--positive malign"):
        of(label=label, probability=P[:, 0])
    told = Answers.of({"record": RECORD, "label": label, "probability": P[:, 0]}, positive="malign")
    np.testing.assert_allclose(told.phi[0, 0], odds(P[0, 0]), rtol=1e-5)
    np.testing.assert_allclose(told.phi[1, 0], -odds(P[1, 0]), rtol=1e-5)
    with pytest.raises(LeakgapError, match="label is never 'other'"):
        Answers.of({"record": RECORD, "label": label, "probability": P[:, 0]}, positive="other")


def test_predicted_numbers_are_judged_by_their_squared_error():
    label, given = RNG.normal(size=(2, S))
    found = of(label=label, prediction=given)
    assert found.kind == "regression"
    assert not found.has_probability
    expected = [-np.log((a - b) ** 2) for a, b in zip(label, given, strict=True)]
    np.testing.assert_allclose(found.phi[:, 0], expected, rtol=1e-5)
    whole = of(label=RECORD, prediction=RECORD + 0.5)  # ages, say
    np.testing.assert_allclose(whole.phi, -np.log(0.25), rtol=1e-6)


def test_several_labels_are_views_of_a_record():
    truth = (RNG.random((S, 4)) < 0.5).astype(int)
    p = RNG.random((S, 4))
    found = of(labels=list(truth), probabilities=list(p))
    expected = [
        [odds(q) if t else odds(1 - q) for q, t in zip(*row, strict=True)]
        for row in zip(p, truth, strict=True)
    ]
    np.testing.assert_allclose(found.phi, expected, rtol=1e-5)
    np.testing.assert_array_equal(
        found.correct, [((row >= 0.5) == t).all() for row, t in zip(p, truth, strict=True)]
    )


def test_sequences_by_their_mean_loss_and_least_tokens():
    tokens = [-RNG.exponential(1, RNG.integers(1, 60)) for _ in range(S)]
    means, deviations = ([RNG.random(len(each)) + low for each in tokens] for low in (-3, 0.5))
    found = of(tokens=tokens, token_means=means, token_deviations=deviations)
    losses = [-sum(each) / len(each) for each in tokens]
    np.testing.assert_allclose(found.phi[:, 0], [-np.log(np.exp(loss) - 1) for loss in losses], rtol=1e-4)
    for share in (5, 10, 20):
        least = [np.mean(sorted(each)[: max(1, len(each) * share // 100)]) for each in tokens]
        np.testing.assert_allclose(found.signals[f"min-k-{share}"], least, rtol=1e-5)
        scaled = [(np.array(a) - b) / c for a, b, c in zip(tokens, means, deviations, strict=True)]
        least = [np.mean(sorted(each)[: max(1, len(each) * share // 100)]) for each in scaled]
        np.testing.assert_allclose(found.signals[f"min-k++-{share}"], least, rtol=1e-5)


def test_scores_and_log_densities_stand_for_themselves():
    value = RNG.normal(size=S)
    for column in ("score", "log_density"):
        found = of(**{column: value})
        np.testing.assert_allclose(found.phi[:, 0], value, rtol=1e-6)
        assert set(found.label) == {0}
        assert not found.has_probability


def test_agreement_over_views_of_predicted_classes():
    label = np.repeat(LABEL, 6)
    given = np.where(RNG.random(6 * S) < 0.6, label, (label + 1) % 3)
    columns = {
        "record": np.repeat(RECORD, 6),
        "view": np.tile(range(6), S),
        "label": label,
        "prediction": given,
    }
    right = (given == label).reshape(S, 6).sum(1)
    expected = [np.log((count + 0.5) / (6 - count + 0.5)) for count in right]
    np.testing.assert_allclose(Answers.of(columns).phi[:, 0], expected, rtol=1e-6)


def test_classes_are_told_by_the_names_of_their_columns_in_any_order():
    names = np.array(["dog", "cat", "ape"])
    columns = {"record": RECORD, "label": names[LABEL]} | {
        f"probability_{n}": P[:, c] for c, n in enumerate(names)
    }
    numbered = of(label=LABEL, probabilities=P)
    for order in (list(columns), list(columns)[::-1]):
        found = Answers.of({name: columns[name] for name in order})
        np.testing.assert_allclose(found.phi, numbered.phi, rtol=1e-5)
        np.testing.assert_array_equal(found.correct, numbered.correct)
        assert found.class_names == ("ape", "cat", "dog")
    with pytest.raises(
        LeakgapError, match="label is 'cow', and the classes of probabilities are ape, cat, dog"
    ):
        Answers.of(columns | {"label": np.where(RECORD == 3, "cow", names[LABEL])})


# --- what can't be right

REFUSED = {
    "one P(yes) as a prediction": (
        {"label": RECORD % 2, "prediction": P[:, 0]},
        "prediction holds probabilities: call the column probability",
    ),
    "three spellings": (
        {
            "label": np.array(["cat", "dog", "ape"])[LABEL],
            "prediction": np.array(["Cat", "Dog", "Ape"])[LABEL],
        },
        "prediction is never the label: 'Cat', 'Dog', 'Ape', and labels are 'cat', 'dog', 'ape'",
    ),
    "names and numbers": (
        {"label": LABEL, "prediction": np.array(["LABEL_0", "LABEL_1", "LABEL_2"])[LABEL]},
        "prediction is never the label: 'LABEL_0'",
    ),
    "sigmoids": (
        {"label": LABEL, "logits": RNG.random((S, 3))},
        "are probabilities of each class by itself",
    ),
    "percent": ({"label": LABEL, "logits": 100 * P}, "logits are probabilities in percent"),
    "two decimals": (
        {"label": LABEL, "logits": P.round(2)},
        "logits are probabilities; call the column probabilities",
    ),
    "bfloat16": (
        {"label": LABEL, "logits": torch.tensor(P).bfloat16()},
        "logits are probabilities; call the column probabilities",
    ),
    "sorted logits": (
        {"label": LABEL, "logits": -np.sort(-RNG.normal(size=(S, 3)))},
        "fall .* they are sorted",
    ),
    "sorted probabilities": (
        {"label": LABEL, "probabilities": -np.sort(-P)},
        "fall .* they are sorted",
    ),
    "complex": ({"label": LABEL, "logits": RNG.normal(size=(S, 3)) + 1j}, "logits holds complex numbers"),
    "a class twice": (
        {"label": LABEL, "logits_0": P[:, 0], "logits_00": P[:, 1], "logits_1": P[:, 2]},
        "neither all named by class nor all numbered, each once",
    ),
    "a matrix and its columns": (
        {"label": LABEL, "logits": RNG.normal(size=(S, 3)), "logits_0": P[:, 0]},
        "has both a column logits and columns logits_0",
    ),
    "negative loss": (
        {"label": LABEL, "loss": -P[:, 0]},
        "never negative: give a density's as `log_density`",
    ),
    "tokens above 0": ({"tokens": [[0.5]] * S}, "a log-probability is never above 0"),
    "no tokens": ({"tokens": [[]] * S}, "tokens of record 0 are empty"),
    "means alone": ({"tokens": [[-1]] * S, "token_means": [[-1]] * S}, "token_means needs its twin"),
    "too many labels": (
        {"label": LABEL, "probability": P[:, 0]},
        "has 3 values, and a probability is of one",
    ),
    "labels of 2": (
        {"labels": np.full((S, 3), 2), "probabilities": P},
        "labels of record 0 are not 0 and 1 alone",
    ),
    "structured ids": (
        {"record": np.zeros(S, [("a", int), ("b", int)]), "label": LABEL, "phi": P[:, 0]},
        "record holds records of several fields",
    ),
    "a gap in pandas' integers": (
        {"label": pd.Series([pd.NA, *range(1, S)], dtype="Int64"), "phi": P[:, 0]},
        "label is missing in row 0",
    ),
    "a masked array": (
        {"label": LABEL, "phi": np.ma.masked_array(P[:, 0], RECORD == 5)},
        r"phi of record 5 is NaN or missing \(row 5\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_answers_that_cannot_be_right_are_refused_with_what_to_do(name):
    columns, told = REFUSED[name]
    with pytest.raises(LeakgapError, match=told):
        Answers.of({"record": RECORD} | columns)


def test_votes_are_logits_though_they_are_whole_numbers_of_a_constant_sum():
    votes = RNG.multinomial(7, [0.2, 0.3, 0.5], S)
    assert of(label=LABEL, logits=votes).kind == "logits"


# --- CSV as it is written elsewhere

LINES = "record{s}label{s}loss\n1{s}0{s}0{d}25\n2{s}1{s}1{d}5\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separator_decimal_comma_and_byte_order_mark_are_found_out(tmp_path, separator, decimal, mark):
    if separator == decimal:
        return
    path = tmp_path / "a.csv"
    path.write_text(mark + LINES.format(s=separator, d=decimal), encoding="utf-8")
    expected = Answers.of({"record": [1, 2], "label": [0, 1], "loss": [0.25, 1.5]})
    np.testing.assert_array_equal(Answers.read(path).phi, expected.phi)
    np.testing.assert_array_equal(Answers.read(path, separator=separator, decimal=decimal).phi, expected.phi)


@pytest.mark.parametrize("absent", ["NA", "", "nan", "None", "N/A"])
def test_a_missing_value_is_told_with_its_row(tmp_path, absent):
    path = tmp_path / "a.csv"
    path.write_text(f"record,label,probability\n1,0,0.5\n2,{absent},0.5\n3,1,0.5\n")
    with pytest.raises(LeakgapError, match=r"label is (missing|empty) in row 1"):
        Answers.read(path)
    path.write_text(f"record,label,probability\n1,0,0.5\n2,1,{absent if absent != 'None' else ''}\n3,1,0.5\n")
    with pytest.raises(LeakgapError, match=r"probability of record 2 is NaN or missing \(row 1\)"):
        Answers.read(path)


def test_predicted_numbers_with_a_decimal_comma(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("record;label;prediction\na;1,5;2,5\nb;2;4\n")
    found = Answers.read(path)
    assert found.kind == "regression"
    np.testing.assert_allclose(found.phi[:, 0], [0, -np.log(4)], atol=1e-6)


def test_lists_in_csv_are_tokens(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('record,tokens\n1,"[-1.5, -0.5]"\n2,"[-2]"\n')
    np.testing.assert_allclose(Answers.read(path).signals["min-k-20"], [-1.5, -2])


# --- people and parts


def test_groups_and_slices_are_kept_by_record():
    view = {"record": np.repeat(RECORD, 2), "view": np.tile([0, 1], S), "phi": RNG.normal(size=2 * S)}
    group = np.repeat([f"p{each // 4}" for each in RECORD], 2)
    found = Answers.of(view | {"group": group, "slice": np.repeat(LABEL, 2), "label": np.repeat(LABEL, 2)})
    assert found.group.tolist() == [f"p{each // 4}" for each in RECORD]
    assert found.slice.tolist() == LABEL.tolist()
    with pytest.raises(LeakgapError, match="group differs between the views of record 0"):
        Answers.of(view | {"group": np.arange(2 * S)})
