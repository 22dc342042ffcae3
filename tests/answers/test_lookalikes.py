"""Answers that look right and are not: sorted rows, other views, copies, numbers that collapse, odd CSV."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from leakgap import LeakgapError, auc, phi
from leakgap.answers.answers import Answers
from leakgap.answers.joined import join
from leakgap.answers.reading import IDS, LISTS, MATRICES, VALUES

S = 400
RNG = np.random.default_rng(7)
RECORD = np.arange(S)
LABEL = RECORD % 2


def model(name: str, seed: int, member: bool | np.ndarray = True, **columns) -> Answers:
    """Answers about S records of two classes; `columns` replace what it says."""
    rng = np.random.default_rng(seed)
    drawn = rng.random(S) < 0.5
    told = {"record": RECORD, "label": LABEL} | columns
    if member is not None:
        told["member"] = drawn if member is True else member
    return Answers.of(told, name)


# --- views


def views(name: str, seed: int, names: list) -> Answers:
    """Two answers about each record, the second three higher than the first."""
    rng = np.random.default_rng(seed)
    member, answer = rng.random(S) < 0.5, rng.normal(size=S)
    columns = {"record": np.tile(RECORD, 2), "label": np.tile(LABEL, 2), "member": np.tile(member, 2)}
    columns |= {"view": np.repeat(names, S), "phi": np.concatenate([answer, answer + 3])}
    return Answers.of(columns, name)


@pytest.mark.parametrize("names", [[1, 2], ["mirror", "plain"]])
def test_views_of_other_names_are_refused(names):
    with pytest.raises(
        LeakgapError, match=r"the views of shadow are .*, and of target 0, 1: give a view the same"
    ):
        join([views("target", 0, [0, 1])], [views("shadow", 1, names)])


@pytest.mark.parametrize("names", [[2, 10], ["2", "10"], ["plain", "mirror"]])
def test_views_are_put_side_by_side_by_name(names, tmp_path):
    target = views("target", 0, names)
    shadow = views("shadow", 1, names)
    joined = join([target], [shadow])
    apart = joined.phi[0][0, :, 1] - joined.phi[0][0, :, 0]
    assert (np.sign(apart) == (-1 if names[1] == "mirror" else 1)).all()
    table = pd.DataFrame({"record": [1, 1], "view": names, "phi": [0.0, 3.0]})
    table.to_csv(tmp_path / "a.csv", index=False)
    found = Answers.read(tmp_path / "a.csv")
    assert found.view_names == target.view_names


# --- sorted rows


def two_classes(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, this share of them 0, and probabilities of a model that is right on nearly all."""
    rng = np.random.default_rng(seed)
    label = (rng.random(S) > share).astype(int)
    p = expit(rng.normal(3 * (2 * label - 1), 2))
    return label, np.stack([1 - p, p], axis=1)


@pytest.mark.parametrize("share", [0.5, 0.4, 0.6])
@pytest.mark.parametrize("order", ["fall", "rise"])
def test_sorted_rows_of_two_classes_are_refused(share, order):
    label, p = two_classes(share)
    rows = np.sort(p, 1)[:, ::-1] if order == "fall" else np.sort(p, 1)
    for told in ({"probabilities": rows}, {"logits": np.log(rows) + 2}):
        with pytest.raises(LeakgapError, match=f"{order} from the first class to the last in every row"):
            model("one", 0, **{"label": label} | told)
    model("one", 0, label=label, probabilities=p)


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_rows_sorted_upward_are_refused(classes):
    z = np.sort(RNG.normal(0, 3, (S, classes)))
    with pytest.raises(LeakgapError, match="rise from the first class"):
        model("one", 0, label=RECORD % classes, logits=z)


def test_the_sorted_top_three_are_refused():
    p = np.full((S, 6), np.nan)
    p[:, :3] = -np.sort(-RNG.dirichlet(np.ones(6), S))[:, :3]
    with pytest.raises(LeakgapError, match="fall from the first class"):
        model("one", 0, label=RECORD % 6, probabilities=p)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("common", [[0.9, 0.1], [0.6, 0.3, 0.1]])
def test_a_model_that_always_names_the_commonest_class_is_not_refused(common, seed):
    """Its rows all fall too, and it is as sure as that class is common."""
    rng = np.random.default_rng(seed)
    label = rng.choice(len(common), S, p=common)
    p = softmax(np.log(common) + rng.normal(0, 0.02, (S, len(common))), axis=1)
    assert (np.diff(p) < 0).all()
    model("one", 0, label=label, probabilities=p)


@pytest.mark.parametrize("order", [1, -1])
def test_a_model_that_was_hardly_trained_is_not_refused(order):
    """It names one class everywhere, and not the commonest."""
    label = (RNG.random(S) < 0.7).astype(int)[::order]
    p = RNG.uniform(0.5, 0.65, S)
    model("one", 0, label=label, probabilities=np.stack([p, 1 - p], axis=1)[:, ::order])


# --- copies


def told_as(kind: str, z: np.ndarray, decimals: int) -> dict[str, np.ndarray]:
    p = softmax(z, axis=1)
    if kind == "logits":
        return {"logits": z.round(decimals)}
    if kind == "probabilities":
        return {"probabilities": p.round(decimals)}
    if kind == "probability":
        return {"probability": p[:, 1].round(decimals)}
    loss = -log_softmax(z, axis=1)[RECORD, LABEL]
    if kind == "loss":
        return {"loss": loss.round(decimals)}
    return {"score": loss.round(decimals)}


KINDS = ["logits", "probabilities", "probability", "loss", "score"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decimals", [2, 3])
@pytest.mark.parametrize("whole", [16, 3])
def test_a_rounded_copy_of_the_target_is_no_shadow_model(kind, decimals, whole):
    z = np.random.default_rng(1).normal(0, 2, (S, 2))
    copy = model("copy", 0, **told_as(kind, z, decimals))
    for member in (True, None):
        target = model("target", 0, member, **told_as(kind, z, whole))
        with pytest.raises(LeakgapError, match="copy and target are one model"):
            join([target], [copy])


@pytest.mark.parametrize("kind", KINDS)
def test_models_trained_apart_are_no_rounded_copies(kind):
    """Sure of nearly all records, and alike on most."""
    rng = np.random.default_rng(2)
    hard = rng.normal(3, 2, S)
    models = []
    for seed in range(6):
        z = np.stack([np.zeros(S), hard + rng.normal(0, 0.4, S)], axis=1)
        z[LABEL == 0] = z[LABEL == 0, ::-1]
        models.append(model(f"{seed}", seed, None if seed == 0 else True, **told_as(kind, z, 2)))
    join(models[:1], models[1:])


def test_one_model_under_two_splits_is_told():
    answer = np.random.default_rng(3).normal(size=S)
    with pytest.raises(
        LeakgapError, match="two and one answer every record alike, and say that they were trained"
    ):
        join(
            [model("target", 0, phi=answer[::-1])], [model("one", 1, phi=answer), model("two", 2, phi=answer)]
        )
    constant = np.tile([0.5, 1.5], S // 2)  # a model that knows the label alone
    join([model("target", 0, phi=constant)], [model("one", 1, phi=constant), model("two", 2, phi=constant)])


# --- numbers that collapse, and numbers of other makers


@pytest.mark.parametrize("kind", [np.int64, np.float64, list])
def test_scores_that_single_precision_can_not_tell_apart_are_refused(kind, tmp_path):
    large = 2**53 + np.arange(S) * 2
    values = large.tolist() if kind is list else large.astype(kind)
    with pytest.raises(
        LeakgapError, match=r"score has 400 values .* single precision tells 1 apart: subtract"
    ):
        Answers.of({"record": RECORD, "score": values})
    pd.DataFrame({"record": RECORD, "score": large + 1}).to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(LeakgapError, match="score has 400 values from 9007199254740993 to"):
        Answers.read(tmp_path / "a.csv")
    Answers.of({"record": RECORD, "score": large - 2**53})
    Answers.of({"record": RECORD, "log_density": RNG.normal(-7000, 50, S)})


def test_one_record_has_one_phi():
    assert phi([2.0, 0.0], 0) == 2
    assert phi([2.0, 0.0], 0).shape == ()


def test_tensors_of_any_type_and_with_a_gradient():
    z = torch.randn(4, 3, dtype=torch.bfloat16, requires_grad=True)
    label = torch.tensor([0, 1, 2, 0])
    expected = phi(z.detach().float().numpy(), label.numpy())
    np.testing.assert_array_equal(phi(z, label), expected)
    for given in (z, list(z), [list(row) for row in z]):
        found = Answers.of({"record": torch.arange(4), "label": label, "logits": given})
        np.testing.assert_allclose(found.phi[:, 0], expected, rtol=1e-6)
    tokens = [torch.tensor([-1.0, -3.0], requires_grad=True), torch.tensor([-2.0])]
    assert np.isfinite(Answers.of({"record": [0, 1], "tokens": tokens}).phi).all()
    assert auc(torch.tensor([1.0, 2.0], requires_grad=True), torch.tensor([False, True])) == 1


def test_ids_of_bytes_are_text_where_they_are_utf_8():
    for ids in ([b"\xc3\xa9", b"\xff"], np.array([b"\xc3\xa9", b"\xff"])):
        assert Answers.of({"record": ids, "phi": [1.0, 2.0]}).record.tolist() == ["é", "ff"]


ODD = {
    "one number": 5,
    "text": "abcd",
    "an array of no axes": np.array(3.0),
    "lists": [[1, [2]], [1], [2], [3]],
    "dicts": [{"a": 1}] * 4,
    "objects": [object()] * 4,
    "a matrix": np.matrix(np.ones((4, 2))),
    "three axes": np.ones((4, 2, 2)),
    "a sparse tensor": torch.eye(4).to_sparse(),
    "dates": np.array(["2020-01-01"] * 4, "M8[D]"),
    "complex": [1j] * 4,
    "nothing": [],
    "None": [None] * 4,
    "arrow": pa.array([1, None, 2, 3]),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("column", [*IDS, *VALUES, *MATRICES, *LISTS, "logits_0"])
def test_odd_values_are_taken_or_refused_in_a_sentence(column, kind):
    columns = {"record": [1, 2, 3, 4], "label": [0, 1, 0, 1], "phi": [1.0, 2, 3, 4]}
    with suppress(LeakgapError):
        Answers.of(columns | {column: ODD[kind]})


def test_lists_of_no_numbers_in_parquet(tmp_path):
    table = pa.table({"record": [1, 2], "tokens": pa.array([[{"a": 1}]] * 2)})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(LeakgapError, match=r"tokens holds list.* not a list of numbers"):
        Answers.read(tmp_path / "a.parquet")


def test_arrow_s_arrays_are_columns():
    found = Answers.of({"record": pa.array(["a", "b"]), "phi": pa.chunked_array([[1.0], [2.0]])})
    assert (found.record.tolist(), found.phi[:, 0].tolist()) == (["a", "b"], [1, 2])


# --- CSV


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("record;loss\n1;2\n2;2,5\n", [2, 2.5]),
        ("record;loss\n" + "".join(f"{k};1\n" for k in range(3000)) + "a;2,5\n", [1] * 3000 + [2.5]),
        ('record,loss\n1,2\n2,"2,5"\n', [2, 2.5]),
        ('record;note;loss\n1;"1,5 of 3, 4";2\n2;7,8,9;2.5\n', [2, 2.5]),
    ],
)
def test_a_decimal_comma_is_found_in_any_row(tmp_path, text, expected):
    (tmp_path / "a.csv").write_text(text)
    found = np.logaddexp(0, -Answers.read(tmp_path / "a.csv").phi[:, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_lists_are_no_decimal_commas(tmp_path):
    (tmp_path / "a.csv").write_text("record;label;logits\n1;0;[0.5,1.25]\n2;1;[3,1]\n")
    np.testing.assert_allclose(Answers.read(tmp_path / "a.csv").phi[:, 0], [-0.75, -2])


@pytest.mark.parametrize(
    ("text", "how", "told"),
    [
        ("record:label:phi\n1:0:2.5\n", {}, "the one column 'record:label:phi': .* --separator ':'"),
        ("record:label:phi\n1:0:2.5\n", {"separator": "::"}, "is one sign, such as ';' or tab, not '::'"),
        ("record;phi\n1;2.5\n", {"decimal": "x"}, "--decimal is ',' or '.', not 'x'"),
        ("", {}, "is empty"),
        ("record,phi\n1,0.5\n2,x2\n", {}, "phi holds string, not numbers, such as 'x2' in row 1"),
        ("record,label,phi\n1,0,2\n2,NA,3\n", {}, "label is missing in row 1: 'NA'"),
        ('record,label,logits\n1,0,"' + "[" * 50_000 + "]" * 50_000 + '"\n', {}, "not a list in every row"),
    ],
    ids=lambda value: "nested" if isinstance(value, str) and len(value) > 1000 else None,
)  # fmt: skip
def test_what_is_wrong_with_a_csv_is_said_as_it_is(tmp_path, text, how, told):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(LeakgapError, match=told):
        Answers.read(tmp_path / "a.csv", **how)


def test_a_tab_may_be_named_as_in_a_shell(tmp_path):
    (tmp_path / "a.csv").write_text("record\tphi\n1\t2.5\n")
    for sign in ("\t", "\\t", "tab"):
        assert Answers.read(tmp_path / "a.csv", separator=sign).phi.tolist() == [[2.5]]
