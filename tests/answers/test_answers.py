"""Files of answers: every kind and format gives the same phi; what can't be right is one sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax

from leakgap import LeakgapError
from leakgap.answers.answers import Answers
from leakgap.answers.joined import join

CLASSES = 4


def frame(seed: int = 0, records: int = 60, logits: np.ndarray | None = None) -> pd.DataFrame:
    """One model's answers about records r0.. in an order of its own, with their logits as an attribute."""
    rng = np.random.default_rng(seed)
    label = np.arange(records) % CLASSES
    z = 3 * rng.normal(size=(records, CLASSES)) if logits is None else logits
    member = rng.permutation(records) < rng.integers(records // 3, records // 2)
    table = pd.DataFrame({"record": [f"r{i}" for i in range(records)], "label": label, "member": member})
    return table.assign(logits=list(z)).sample(frac=1, random_state=seed, ignore_index=True)


def z_of(table: pd.DataFrame) -> np.ndarray:
    return np.array(table["logits"].tolist())


def definition(z: np.ndarray, label: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)), one record at a time."""
    values = []
    for row, y in zip(z, label, strict=True):
        p = softmax(row)
        values.append(np.log(p[y]) - np.log(sum(p[c] for c in range(len(row)) if c != y)))
    return np.array(values)


def as_kind(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The same answers, told as `kind`."""
    z, label = z_of(table), table["label"].to_numpy()
    bare = table.drop(columns="logits")
    if kind == "logits":
        return table
    if kind == "probabilities":
        return bare.assign(probabilities=list(softmax(z, -1)))
    if kind == "phi":
        return bare.assign(phi=definition(z, label))
    if kind == "loss":
        return bare.assign(loss=-log_softmax(z, -1)[np.arange(len(z)), label])
    return bare.assign(prediction=z.argmax(-1))


def write(table: pd.DataFrame, path: Path) -> Path:
    """Lists become columns in CSV and matrices in .npz."""
    matrices = [name for name in ("logits", "probabilities") if name in table]
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.suffix == ".csv":
        for name in matrices:
            values = np.array(table[name].tolist())
            columns = {f"{name}_{c}": values[:, c] for c in range(values.shape[1])}
            table = table.drop(columns=name).assign(**columns)
        table.to_csv(path, index=False)
    else:
        arrays = {name: np.array(table[name].tolist()) for name in table}
        np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
@pytest.mark.parametrize("kind", ["logits", "probabilities", "phi", "loss"])
def test_every_kind_in_every_format_is_the_same_phi(tmp_path: Path, kind: str, suffix: str):
    table = frame()
    answers = Answers.read(write(as_kind(table, kind), tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(
        answers.phi[:, 0], definition(z_of(table), table["label"].to_numpy()), rtol=1e-5, atol=1e-6
    )
    assert answers.record.tolist() == table["record"].tolist()
    assert answers.label.tolist() == table["label"].tolist()
    assert answers.member.tolist() == table["member"].tolist()
    if kind in ("logits", "probabilities"):
        np.testing.assert_allclose(
            log_softmax(answers.logits, -1), log_softmax(z_of(table), -1), rtol=1e-4, atol=1e-5
        )
        assert (answers.correct == (z_of(table).argmax(-1) == table["label"])).all()
    else:
        assert answers.logits is None


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_predictions_alone_say_only_what_is_right(tmp_path: Path, suffix: str):
    table = frame()
    answers = Answers.read(write(as_kind(table, "prediction"), tmp_path / f"a{suffix}"))
    assert answers.phi is None
    assert (answers.correct == (z_of(table).argmax(-1) == table["label"])).all()


def test_labels_and_predictions_may_be_words(tmp_path: Path):
    words = np.array(["cat", "dog", "eel", "fox"])
    table = as_kind(frame(), "prediction")
    told = table.assign(label=words[table["label"]], prediction=words[table["prediction"]])
    spoken = Answers.read(write(told, tmp_path / "a.csv"))
    assert (spoken.correct == Answers.of(table).correct).all()


def test_numbered_columns_are_a_list_in_parquet_too(tmp_path: Path):
    table = frame()
    z = z_of(table)
    columns = {f"logits_{c}": z[:, c] for c in reversed(range(CLASSES))}
    table.drop(columns="logits").assign(**columns).to_parquet(tmp_path / "a.parquet")
    assert (Answers.read(tmp_path / "a.parquet").logits == z.astype(np.float32)).all()


@pytest.mark.parametrize("decimals", [2, 3, 4])
def test_rounded_probabilities_keep_what_rounding_left(decimals: int):
    """phi of a probability that rounding has left lies between the phis of the ends of what it may have been."""
    table = frame(records=400)
    z, label = z_of(table), table["label"].to_numpy()
    rounded = softmax(z, -1).round(decimals)
    answers = Answers.of(table.drop(columns="logits").assign(probabilities=list(rounded)))
    p = rounded[np.arange(len(z)), label]
    half = 10**-decimals / 2
    with np.errstate(divide="ignore"):
        low, high = (np.log(np.clip(q, 0, 1)) - np.log1p(-np.clip(q, 0, 1)) for q in (p - half, p + half))
    assert ((low <= answers.phi[:, 0]) & (answers.phi[:, 0] <= high)).all()
    assert np.isinf(answers.phi[p == 1, 0]).all()


def test_saturated_float32_probabilities_keep_their_digits():
    """The label's own is 1 in float32; the others still say how far from it."""
    z = np.array([[30.0, 0, 1], [0, 45, 2]])
    p = softmax(z, -1).astype(np.float32)
    assert (p.max(1) == 1).all()
    answers = Answers.of({"record": [1, 2], "label": [0, 1], "probabilities": p})
    np.testing.assert_allclose(answers.phi[:, 0], definition(z, [0, 1]), rtol=1e-6)


def test_top_k_leaves_equal_shares_of_the_rest():
    p = [[0.7, 0.2, np.nan, np.nan], [0.5, 0.45, np.nan, np.nan], [np.nan, np.nan, 0.4, 0.3]]
    answers = Answers.of({"record": [0, 1, 2], "label": [0, 2, 0], "probabilities": p})
    expected = [0.7, 0.025, 0.15]  # given; half of .05; half of .3
    np.testing.assert_allclose(expit(answers.phi[:, 0]), expected, rtol=1e-6)
    np.testing.assert_allclose(np.exp(answers.logits).sum(1), 1, rtol=1e-6)


def test_a_missing_probability_is_not_above_the_smallest_given():
    p = [[0.6, 0.1, np.nan], [0.6, 0.4, np.nan]]  # .3 is left, yet the third can't be above .1
    answers = Answers.of({"record": [0, 1], "label": [2, 0], "probabilities": p})
    assert expit(answers.phi[0, 0]) == pytest.approx(0.1)


def test_answers_of_exactly_0_or_1_are_one_number_in_all_files():
    """Half the smallest probability told from 0, in whichever file it is."""
    member = np.arange(4) < 2
    of = {"record": range(4), "label": [0, 0, 0, 0]}
    one = Answers.of(
        of | {"member": member, "probabilities": [[1, 0], [0, 1], [0.98, 0.02], [0.5, 0.5]]}, "one"
    )
    two = Answers.of(
        of | {"member": ~member, "probabilities": [[1, 0], [0.01, 0.99], [0.9, 0.1], [0.5, 0.5]]}, "two"
    )
    target, shadow = join([one], [two]).phi
    assert target[0, 0, 0] == shadow[0, 0, 0] == pytest.approx(np.log(2 * 0.98 / 0.02))
    assert target[0, 1, 0] == pytest.approx(np.log(0.01 / 0.99 / 2))


def test_views_are_matched_by_their_name():
    table = frame()
    noisy = pd.concat(
        [table.assign(view=view, logits=list(z_of(table) + view)) for view in (7, 3)], ignore_index=True
    ).sample(frac=1, random_state=1)
    # a logit more for every class is the same answer, so one class gets it
    noisy["logits"] = [z * [1, 1, 1, 2] for z in noisy["logits"]]
    answers = Answers.of(noisy)
    assert answers.phi.shape == (60, 2)
    for place, view in enumerate((3, 7)):
        mine = noisy[noisy["view"] == view].set_index("record").loc[answers.record]
        np.testing.assert_allclose(
            answers.phi[:, place], definition(z_of(mine), mine["label"].to_numpy()), rtol=1e-5
        )


@given(st.permutations(range(12)), st.sampled_from(["int", "text"]))
@settings(deadline=None, max_examples=30)
def test_records_are_joined_by_id_whatever_their_order_and_type(order: list[int], kind: str):
    records = np.arange(12)
    values = np.linspace(-3, 3, 12)
    first = Answers.of(
        {"record": records, "label": records % 3, "member": records < 5, "phi": values}, "first"
    )
    ids = records[order] if kind == "int" else records[order].astype(str)
    second = Answers.of(
        {"record": ids, "label": records[order] % 3, "member": records[order] < 7, "phi": 2 * values[order]},
        "second",
    )
    joined = join([first], [second])
    assert (joined.phi[1][0, :, 0] == 2 * joined.phi[0][0, :, 0]).all()
    assert (joined.member[0] == (records < 7)).all()


def test_ids_of_a_csv_are_those_of_a_parquet_file(tmp_path: Path):
    numbers = frame().assign(record=np.arange(60))
    zeros = frame().assign(record=[f"{i:03}" for i in range(60)])
    for table in (numbers, zeros):
        csv, parquet = (
            Answers.read(write(table, tmp_path / f"a{suffix}")) for suffix in (".csv", ".parquet")
        )
        assert csv.record.tolist() == parquet.record.tolist() == table["record"].tolist()


def test_a_shadow_model_may_lack_records_or_know_more():
    table = frame(1)
    target = Answers.of(frame(0), "target")
    fewer = join([target], [Answers.of(table[:50], "fewer")])
    assert (fewer.asked[0] == np.isin(target.record, table["record"][:50])).all()
    assert not fewer.member[0][~fewer.asked[0]].any()
    more = join([Answers.of(frame(0)[:50], "target")], [Answers.of(table, "more")])
    assert more.asked.all()


def test_shadow_models_that_tell_the_targets_mask_are_left_out():
    """Trained on the same records or on just the others; some records are nobody's, some are not asked about."""
    target = frame(0)
    nobody = np.arange(60) % 6 == 0
    target["member"] &= ~nobody

    def model(seed: int, member: np.ndarray, name: str, rows: slice = slice(None)) -> Answers:
        table = frame(seed).set_index("record").loc[target["record"]].reset_index()
        return Answers.of(table.assign(member=member & ~nobody)[rows], name)

    one_off = ~target["member"] ^ (np.arange(60) == 1)
    models = [
        model(1, ~target["member"], "complement"),
        model(2, target["member"], "same"),
        model(3, np.random.default_rng(3).random(60) < 0.5, "another"),
        model(4, ~target["member"], "complement, asked about some", slice(10, None)),
        model(5, one_off, "all but one of the complement"),
    ]
    assert join([Answers.of(target, "target")], models).left_out.tolist() == [
        [True, True, False, True, False]
    ]


# --- what can't be right


def spoil(column: str, value: object, row: int = 5):
    def change(table: pd.DataFrame) -> pd.DataFrame:
        values = table[column].astype(object).tolist()
        values[row] = value
        return table.assign(**{column: values})

    return change


def drop(column: str):
    return lambda table: table.drop(columns=column)


ONE_FILE = {
    "no record column": ("logits", drop("record"), "has no column 'record'"),
    "no label column": ("logits", drop("label"), "has no column 'label'"),
    "no answers": ("logits", drop("logits"), "has none of the columns logits, probabilities"),
    "nothing in it": ("logits", lambda table: table[:0], "holds no records"),
    "an id twice": ("logits", lambda table: pd.concat([table, table[:1]]), "is there twice"),
    "an id missing": ("logits", spoil("record", None), "record is missing in row 5"),
    "a view twice": (
        "logits",
        lambda table: pd.concat([table.assign(view=0), table[:1].assign(view=0)]),
        "has the view 0 twice",
    ),
    "a view missing": (
        "logits",
        lambda table: pd.concat([table.assign(view=0), table[1:].assign(view=1)]),
        "has 1 of the 2 views",
    ),
    "a label out of range": ("logits", spoil("label", CLASSES), "is none of the 4 classes of logits"),
    "a label in words": ("logits", spoil("label", "cat"), "beside logits it is the number of a class"),
    "member unknown for one": ("logits", spoil("member", None), "is None, not true or false"),
    "a member reserved": (
        "logits",
        lambda table: table.assign(reserved=table["member"]),
        "is reserved, yet a member",
    ),
    "a NaN logit": ("logits", spoil("logits", [0.0, 1.0, np.nan, 0.0]), "logits of record .* is NaN"),
    "an infinite logit": ("logits", spoil("logits", [0.0, 1.0, np.inf, 0.0]), "logits of record .* are infinite"),
    "probabilities for logits": (
        "probabilities",
        lambda table: table.rename(columns={"probabilities": "logits"}),
        "logits are probabilities; call the column probabilities",
    ),
    "a NaN loss": ("loss", spoil("loss", np.nan), "loss of record .* is NaN"),
    "a negative loss": ("loss", spoil("loss", -0.3), "loss of record .* is -0.3"),
    "a NaN phi": ("phi", spoil("phi", np.nan), "phi of record .* is NaN"),
    "words for phi": ("phi", spoil("phi", "high"), "phi does not hold numbers"),
    "a sum above 1": ("probabilities", spoil("probabilities", [0.5, 0.5, 0.1, 0.0]), "add up to 1.1, not to 1"),
    "a sum below 1": ("probabilities", spoil("probabilities", [0.5, 0.3, 0.1, 0.0]), "add up to 0.9, not to 1"),
    "no probability": ("probabilities", spoil("probabilities", [1.5, -0.5, 0, 0]), "are not between 0 and 1"),
    "a NaN probability": (
        "probabilities",
        spoil("probabilities", [0.5, np.nan, 0.5, 0]),
        "has 3 probabilities and record .* 4",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_FILE)
def test_what_cannot_be_right_in_one_file_is_one_sentence(name: str):
    kind, change, message = ONE_FILE[name]
    with pytest.raises(LeakgapError, match=f"^mine: .*{message}") as caught:
        Answers.of(change(as_kind(frame(), kind)), "mine")
    assert "\n" not in str(caught.value)


def of(table: pd.DataFrame, name: str) -> Answers:
    return Answers.of(table, name)


TWO_FILES = {
    "other ids": (lambda table: table.assign(record=range(60)), "have no record in common"),
    "one id differs": (
        lambda table: table.assign(record=table["record"].replace("r7", "r700")),
        "lacks record r7 of target, and target lacks r700: the ids don't match",
    ),
    "a label differs": (spoil("label", 0, 3), "label of record .* is 0, and [1-3] in target"),
    "classes differ": (
        lambda table: table.assign(logits=[[*z, 0.0] for z in table["logits"]]),
        "has 5 classes, and target 4",
    ),
    "views differ": (
        lambda table: pd.concat([table.assign(view=0), table.assign(view=1)]),
        "has 2 views, and target 1",
    ),
    "no membership": (drop("member"), "a shadow model needs the column 'member'"),
}


@pytest.mark.parametrize("name", TWO_FILES)
def test_what_cannot_be_right_between_two_files_is_one_sentence(name: str):
    change, message = TWO_FILES[name]
    table = frame(1)
    if name == "a label differs":
        table = table.sort_values("label", ascending=False, ignore_index=True)
    with pytest.raises(LeakgapError, match=f"^shadow.*{message}") as caught:
        join([of(frame(), "target")], [of(change(table), "shadow")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("member", "told"), [(True, "all"), (False, "none")])
def test_a_target_needs_members_and_others_and_a_shadow_model_does_not(member: bool, told: str):
    alike = frame(1).assign(member=member)
    with pytest.raises(
        LeakgapError, match=f"target: {told} of its 60 records are members: nothing to tell apart"
    ):
        join([of(alike, "target")], [])
    joined = join([of(frame(), "target")], [of(alike, "shadow"), of(frame(2), "another")])
    assert joined.member[0].all() == member
    assert not joined.left_out.any()


def test_a_model_is_not_its_own_shadow(tmp_path: Path):
    target = frame()
    shuffled = target.sample(frac=1, random_state=5)
    for mine, copy in ((target, shuffled), (target.drop(columns="member"), shuffled)):
        for kind in ("logits", "prediction"):
            models = [of(as_kind(table, kind), name) for table, name in ((mine, "target"), (copy, "copy"))]
            with pytest.raises(LeakgapError, match="copy and target are one model"):
                join(models[:1], models[1:])
    twice = [of(frame(1), "one"), of(frame(1), "two")]
    with pytest.raises(LeakgapError, match="two and one are one model"):
        join([of(target, "target")], twice)


def test_a_reserved_record_is_in_no_training_set():
    target = frame()
    reserved = target.assign(reserved=~target["member"])
    with pytest.raises(LeakgapError, match=r"shadow: record r\d+ is a member, and reserved in target"):
        join([of(reserved, "target")], [of(frame(1), "shadow")])
    some = target.assign(reserved=~target["member"] & (np.arange(len(target)) % 2 == 0))
    with pytest.raises(LeakgapError, match=r"second: record r\d+ is a member, and reserved in target"):
        join([of(some, "target"), of(frame(1), "second")], [])


@pytest.mark.parametrize("kind", [".npz", ".parquet"])
def test_a_missing_id_is_no_text(tmp_path: Path, kind: str):
    """Neither format knows of a missing float but NaN."""
    path = tmp_path / f"a{kind}"
    columns = {"record": np.array([1.0, np.nan, 4.0]), "label": np.zeros(3), "phi": np.zeros(3)}
    if kind == ".npz":
        np.savez(path, **columns)
    else:
        pq.write_table(pa.table(columns), path)
    with pytest.raises(LeakgapError, match="record is missing in row 1"):
        Answers.read(path)
    columns["record"] = np.array([1.0, 2.0, 4.0])
    np.savez(tmp_path / "b.npz", **columns)
    assert Answers.read(tmp_path / "b.npz").record.tolist() == [1, 2, 4]


def test_the_share_of_saturated_answers_is_of_those_given():
    """A record that a shadow model was not asked about gave no answer."""
    target, shadow = frame(), frame(1)
    target["phi"], shadow["phi"] = 1.0, 1.0
    shadow = shadow.iloc[: len(shadow) // 4]
    shadow.loc[shadow.index[0], "phi"] = np.inf
    given = [table[["record", "label", "member", "phi"]] for table in (target, shadow)]
    joined = join([of(given[0], "target")], [of(given[1], "shadow")])
    assert joined.saturated == 1 / (len(target) + len(shadow))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"record,label\n", "answers are read from .parquet, .csv, .npz files"),
        ("gone.csv", None, "no such file"),
        ("a.parquet", b"PAR1 but no more", "can't be read"),
        ("a.npz", b"PK but no more", "not a readable .npz"),
        ("a.csv", b"", "can't be read"),
        ("a.csv", b"record,label,phi\n1,0,x\n2,0,y\n", "phi holds string, not numbers"),
        ("a.csv", b"record,label,phi,member\n1,0,1,yes\n", "member holds string, not true and false"),
        ("a.csv", b"record,label,phi\n1,0,1\n2,0\n", "can't be read"),
        ("a.csv", b"record,label,phi,phi\n1,0,1,1\n", "has the column phi twice"),
        ("a.csv", b"record,label,phi,member\n1,0,1,\n2,0,1,true\n", "member is empty in row 0"),
        ("a.csv", b"record,label,logits_0,logits_2\n1,0,1,2\n", "but no column for class 1"),
        ("a.csv", b"record,label,logits\n1,0,[1 2]\n", "logits holds string, not a list in every row"),
    ],
)  # fmt: skip
def test_unreadable_files_are_one_sentence(tmp_path: Path, name: str, content: bytes | None, message: str):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LeakgapError, match=message) as caught:
        Answers.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".npz"])
def test_numbered_columns_in_every_format_and_in_memory(tmp_path: Path, suffix: str):
    table = frame()
    z = z_of(table)
    wide = table.drop(columns="logits").assign(**{f"logits_{c}": z[:, c] for c in reversed(range(CLASSES))})
    answers = Answers.read(write(wide, tmp_path / f"a{suffix}"))
    np.testing.assert_allclose(answers.logits, z, rtol=1e-6)
    np.testing.assert_array_equal(Answers.of(wide).logits, z.astype(np.float32))
    with pytest.raises(LeakgapError, match=r"has logits_3, .* but no column for class 1"):
        Answers.read(write(wide.drop(columns="logits_1"), tmp_path / f"b{suffix}"))


def test_a_list_in_a_csv(tmp_path: Path):
    table = frame()
    table.assign(logits=[z.tolist() for z in table["logits"]]).to_csv(tmp_path / "a.csv", index=False)
    np.testing.assert_array_equal(Answers.read(tmp_path / "a.csv").logits, z_of(table).astype(np.float32))


def test_ids_of_any_size_and_bytes(tmp_path: Path):
    """Beyond int64 ids are text, in every format; bytes that are no text are told by their hexadecimal digits."""
    table = as_kind(frame(records=4), "phi")
    for ids in (2**63 + np.arange(4, dtype=np.uint64), np.array([1e20, 2e20, 3e20, 4e20])):
        expected = [str(int(value)) for value in ids]
        for suffix in (".parquet", ".npz"):
            assert (
                Answers.read(write(table.assign(record=ids), tmp_path / f"a{suffix}")).record.tolist()
                == expected
            )
    raw = [bytes([200 + i, 0]) for i in range(4)]
    told = ["c800", "c900", "ca00", "cb00"]
    table.assign(record=raw).to_parquet(tmp_path / "a.parquet")
    assert Answers.read(tmp_path / "a.parquet").record.tolist() == told
    assert Answers.of(table.assign(record=raw)).record.tolist() == told
    table.assign(record=[[1, i] for i in range(4)]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(LeakgapError, match=r"record holds list<.*>, neither numbers nor text"):
        Answers.read(tmp_path / "a.parquet")


@pytest.mark.parametrize("kind", [float, bool])
def test_labels_of_a_csv_are_those_of_a_parquet_file(tmp_path: Path, kind: type):
    table = frame()
    table["label"] = (table["label"] % 2).astype(kind)
    csv, parquet = (Answers.read(write(table, tmp_path / f"a{suffix}")) for suffix in (".csv", ".parquet"))
    assert csv.label.tolist() == parquet.label.tolist() == table["label"].astype(int).tolist()


def test_csv_as_spreadsheets_write_it(tmp_path: Path):
    text = (
        '\ufeff"record","label","loss","member","comment"\r\n"a,1",0,0.5,1,"x"\r\n"b,2",1,0.25,0,"y, z"\r\n'
    )
    (tmp_path / "a.csv").write_bytes(text.encode())
    answers = Answers.read(tmp_path / "a.csv")
    assert answers.record.tolist() == ["a,1", "b,2"]
    assert answers.member.tolist() == [True, False]
    np.testing.assert_allclose(expit(answers.phi[:, 0]), np.exp([-0.5, -0.25]))


def test_parquet_as_pandas_writes_it(tmp_path: Path):
    """Ids in the index, categories, nullable numbers and truth values."""
    table = pd.DataFrame(
        {
            "label": pd.array([1, 0], "Int64"),
            "member": pd.array([True, False], "boolean"),
            "loss": pd.array([0.5, 0.25], "Float64"),
        },
        index=pd.Index(pd.Categorical(["u", "v"]), name="record"),
    )
    table.to_parquet(tmp_path / "a.parquet")
    for answers in (Answers.read(tmp_path / "a.parquet"), Answers.of(table.reset_index())):
        assert answers.record.tolist() == ["u", "v"]
        assert answers.label.tolist() == [1, 0]
        assert answers.member.tolist() == [True, False]
        np.testing.assert_allclose(expit(answers.phi[:, 0]), np.exp([-0.5, -0.25]))


def test_a_pickle_in_an_npz_is_not_opened(tmp_path: Path):
    np.savez(tmp_path / "a.npz", record=np.array([{}, {}], dtype=object), label=[0, 1], phi=[0.0, 1.0])
    with pytest.raises(LeakgapError, match=r"not a readable \.npz"):
        Answers.read(tmp_path / "a.npz")
