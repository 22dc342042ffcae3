"""The Parquet contract of logits files, phi, and a reader that no wrong file gets past."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.special import logsumexp, softmax

from leakgap import LeakgapError
from leakgap.answers.confidence import phi
from leakgap.answers.store import Reader, read_model, write

STEPS, VIEWS, IMAGES, CLASSES, MODELS = 3, 2, 40, 5, 4
MASKS = [f"m{index:03}" for index in range(MODELS)]
LABELS = np.arange(IMAGES) % CLASSES
MEMBER = np.random.default_rng(1).random((MODELS, IMAGES)) < 0.5


def draw(seed):
    return np.random.default_rng(seed).normal(0, 5, (STEPS, VIEWS, IMAGES, CLASSES)).astype(np.float32)


LOGITS = np.stack([draw(index) for index in range(MODELS)])


def put(path, index=0, logits=None, **changes):
    values = {"study": "s", "technique": "crop", "mask": MASKS[index], "epochs": [2, 5, 9]} | changes
    write(path, list(LOGITS[index] if logits is None else logits), LABELS, MEMBER[index], **values)
    return path


@pytest.fixture
def paths(tmp_path):
    return [put(tmp_path / f"{mask}.parquet", index) for index, mask in enumerate(MASKS)]


def reader(paths, masks=MASKS, member=MEMBER, labels=LABELS, **changes):
    values = {"study": "s", "technique": "crop"} | changes
    return Reader(paths, masks=masks, member=member, labels=labels, **values)


# phi


@pytest.mark.parametrize("spread", [1, 30, 200])
def test_phi_is_its_definition_in_float64(spread):
    rng = np.random.default_rng(0)
    z = rng.uniform(-spread, spread, (300, 10)).astype(np.float32)
    y = rng.integers(0, 10, 300)
    rivals = [logsumexp(np.delete(row.astype(np.float64), label)) for row, label in zip(z, y, strict=True)]
    expected = z[np.arange(300), y].astype(np.float64) - rivals
    assert phi(z, y).dtype == np.float32
    np.testing.assert_array_equal(phi(z, y), expected.astype(np.float32))


def test_phi_is_the_log_odds_of_the_true_class_where_those_can_be_computed():
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 2, (500, 10)), rng.integers(0, 10, 500)
    p = softmax(z, axis=-1)[np.arange(500), y]
    np.testing.assert_allclose(phi(z, y), np.log(p / (1 - p)), rtol=1e-5, atol=1e-6)


def test_phi_never_saturates():
    z = np.array([[200, -200, -200], [-200, 200, 0], [1000, 0, 0], [0, 0, 0]], np.float32)
    expected = [400 - np.log(2), -400, 1000 - np.log(2), -np.log(2)]
    np.testing.assert_allclose(phi(z, np.zeros(4, int)), expected, rtol=1e-7)


def test_phi_of_impossible_classes():
    z = np.array([[1, -np.inf, -np.inf], [-np.inf, 2, 2], [0, -np.inf, 0]])
    assert phi(z, np.zeros(3, int)).tolist() == [np.inf, -np.inf, 0]


def test_phi_of_any_leading_shape_and_of_half_precision():
    z = LOGITS[0]
    labels = np.broadcast_to(LABELS, z.shape[:-1])
    assert phi(z, labels).shape == (STEPS, VIEWS, IMAGES)
    np.testing.assert_array_equal(phi(z, LABELS), phi(z, labels))
    np.testing.assert_array_equal(phi(z, labels)[1, 0], phi(z[1, 0], LABELS))
    np.testing.assert_array_equal(phi(z.astype(np.float16), labels), phi(z.astype(np.float16) * 1.0, labels))


def test_phi_leaves_its_input_alone():
    z = LOGITS[0, 0, 0].astype(np.float64)
    before = z.copy()
    phi(z, LABELS)
    np.testing.assert_array_equal(z, before)


# The file


def test_columns_are_the_contracts(paths):
    schema = pq.read_schema(paths[0])
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        "step": "int16",
        "view": "int8",
        "image": "int32",
        "label": "int16",
        "member": "bool",
        "phi": "float",
        "logits": f"fixed_size_list<element: float>[{CLASSES}]",
    }
    assert schema.field("logits").type == pa.list_(pa.float32(), CLASSES)


def test_one_row_group_for_each_step_and_view_compressed_and_split(paths):
    file = pq.ParquetFile(paths[1])
    assert file.num_row_groups == STEPS * VIEWS
    for group in range(STEPS * VIEWS):
        step, view = divmod(group, VIEWS)
        table = file.read_row_group(group)
        assert set(table["step"].to_pylist()) == {step + 1}
        assert set(table["view"].to_pylist()) == {view}
        assert table["image"].to_pylist() == list(range(IMAGES))
        np.testing.assert_array_equal(table["label"], LABELS)
        np.testing.assert_array_equal(table["member"], MEMBER[1])
        z = np.array(table["logits"].to_pylist(), np.float32)
        np.testing.assert_array_equal(z, LOGITS[1, step, view])
        np.testing.assert_array_equal(table["phi"], phi(z, LABELS))
        columns = [file.metadata.row_group(group).column(index) for index in range(7)]
        assert {column.compression for column in columns} == {"ZSTD"}
        split = {column.path_in_schema for column in columns if "BYTE_STREAM_SPLIT" in column.encodings}
        assert split == {"phi", "logits.list.element"}


def test_further_views_may_keep_phi_alone(tmp_path):
    path = put(tmp_path / "a.parquet", first_view_only=True)
    whole = put(tmp_path / "b.parquet")
    table = pq.read_table(path).to_pandas()
    assert table.logits.isna().groupby(table.view).mean().tolist() == [0, 1]
    assert table.phi.equals(pq.read_table(whole).to_pandas().phi)
    assert path.stat().st_size < whole.stat().st_size
    held = reader([path], MASKS[:1], MEMBER[:1]).read(2, with_logits=True)
    np.testing.assert_array_equal(held.logits[0], LOGITS[0, 1, 0])


def test_about_is_kept_as_key_value_metadata(tmp_path):
    about = {"seed": 7, "config_hash": "abc", "seconds": {"train": 1.5}, "history": [{"loss": 0.1}]}
    path = put(tmp_path / "a.parquet", about=about)
    model = read_model(path)
    assert (model.study, model.technique, model.mask) == ("s", "crop", "m000")
    assert (model.epochs, model.views, model.images, model.classes) == ([2, 5, 9], VIEWS, IMAGES, CLASSES)
    assert model.about == about
    assert json.loads(pq.read_metadata(path).metadata[b"leakgap"])["about"]["seed"] == 7


def test_same_input_same_bytes(tmp_path):
    assert put(tmp_path / "a.parquet").read_bytes() == put(tmp_path / "b.parquet").read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    write_table, begun = pq.ParquetWriter.write_table, []

    def full(writer, *arguments, **options):
        if begun:
            raise OSError(28, "No space left on device")
        begun.extend(tmp_path.iterdir())
        write_table(writer, *arguments, **options)

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    with pytest.raises(LeakgapError, match=r"a\.parquet: can't be written"):
        put(tmp_path / "a.parquet")
    assert begun
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_s_first_step_may_be_before_any_training(tmp_path):
    path = put(tmp_path / "m000.parquet", epochs=[0, 5, 9])
    assert read_model(path).epochs == [0, 5, 9]
    reader([path], MASKS[:1], MEMBER[:1]).read(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_not_written(tmp_path, bad):
    logits = LOGITS[0].copy()
    logits[1, 1, 7, 2] = bad
    with pytest.raises(LeakgapError, match=r"a\.parquet: not written, some logits are not finite"):
        put(tmp_path / "a.parquet", logits=logits)
    assert list(tmp_path.iterdir()) == []


def test_probabilities_are_not_written_as_logits(tmp_path):
    z = LOGITS[0].copy()
    z[2] = softmax(z[2], -1)
    with pytest.raises(LeakgapError, match=r"a\.parquet: not written, these are probabilities, not logits"):
        put(tmp_path / "a.parquet", logits=z)


def test_logits_of_a_network_may_look_like_probabilities(tmp_path):
    """Small ones of two classes, after a training that hardly began: known to be logits, they are written."""
    z = np.clip(LOGITS[0], 0.01, 0.99)
    with pytest.raises(LeakgapError, match="not logits"):
        put(tmp_path / "a.parquet", logits=z)
    put(tmp_path / "a.parquet", logits=z, known_logits=True)
    assert (tmp_path / "a.parquet").is_file()


# The reader


@pytest.mark.parametrize("first_view_only", [True, False])
def test_phi_that_is_not_that_of_the_logits_is_found_out(tmp_path, monkeypatch, first_view_only):
    """As others may have written it: log p, without the other classes."""
    monkeypatch.setattr("leakgap.answers.store.phi", lambda z, y: z[np.arange(len(y)), y] - logsumexp(z, -1))
    path = put(tmp_path / "m000.parquet", first_view_only=first_view_only)
    with pytest.raises(LeakgapError, match=r"m000\.parquet: at step 2, its phi is not that of its logits"):
        reader([path], MASKS[:1], MEMBER[:1]).read(2, with_logits=True)


def test_phi_of_any_size_agrees_with_its_logits(tmp_path):
    path = put(tmp_path / "m000.parquet", logits=60 * LOGITS[0])
    reader([path], MASKS[:1], MEMBER[:1]).read(2, with_logits=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_phi_that_is_not_finite_is_found_out(tmp_path, monkeypatch, bad):
    monkeypatch.setattr("leakgap.answers.store.phi", lambda _, y: np.where(y == 3, bad, 0).astype(np.float32))
    path = put(tmp_path / "m000.parquet")
    with pytest.raises(LeakgapError, match=r"m000\.parquet: at step 1, some phi are not finite"):
        reader([path], MASKS[:1], MEMBER[:1]).read(1)


@pytest.mark.parametrize(
    "odd",
    [
        {"epochs": "259"},
        {"epochs": [2, "5", 9]},
        {"epochs": []},
        {"views": 0},
        {"views": 2.0},
        {"images": True},
        {"classes": -1},
        {"images": 10**30},
        {"about": []},
        {"technique": None},
        {"study": {}},
    ],
)
def test_metadata_of_odd_types_is_found_out(paths, odd):
    table = pq.read_table(paths[0])
    told = json.loads(table.schema.metadata[b"leakgap"]) | odd
    pq.write_table(table.replace_schema_metadata({b"leakgap": json.dumps(told)}), paths[0])
    with pytest.raises(LeakgapError, match=r"m000\.parquet: a Parquet file, but not one of leakgap's logits"):
        read_model(paths[0])


def test_a_flipped_bit_is_an_error_or_changes_nothing(tmp_path):
    """Pages have checksums, and what the file says of its model has a digest."""
    path = put(tmp_path / "m000.parquet", about={"seed": 7, "settings": {"train.lr": 0.1}})
    whole = path.read_bytes()

    def everything():
        files = reader([path], MASKS[:1], MEMBER[:1])
        steps = [files.read(step, with_logits=True) for step in (1, 2, 3)]
        return files.model, np.stack([step.phi for step in steps]), np.stack([step.logits for step in steps])

    model, *arrays = everything()
    refused = []
    for bit in np.random.default_rng(3).choice(8 * len(whole), 600, replace=False):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            other, *found = everything()
        except LeakgapError as error:
            refused.append(str(error))
            continue
        assert other == model
        for one, two in zip(arrays, found, strict=True):
            np.testing.assert_array_equal(one, two)
    assert all(str(path) in sentence for sentence in refused)
    assert len(refused) > 200  # the rest hits statistics and other bytes that nothing is read from


def rewrite(path, change, metadata):
    """Write a file anew, as any tool may, group by group as it was; change: of group and table."""
    file = pq.ParquetFile(path)
    groups = [change(group, file.read_row_group(group)) for group in range(file.num_row_groups)]
    with pq.ParquetWriter(path, groups[0].schema.with_metadata(metadata), write_page_checksum=True) as writer:
        for group in groups:
            writer.write_table(group.replace_schema_metadata(metadata))


@pytest.mark.parametrize(
    ("column", "edited", "told"),
    [
        ("phi", 3, "at step 2, view 1, phi is not as it was written"),  # a view that has no logits
        ("phi", 2, "at step 2, view 0, phi is not as it was written"),
        ("logits", 2, "at step 2, logits are not as they were written"),
    ],
)
def test_one_edited_value_is_found_out(tmp_path, column, edited, told):
    path = put(tmp_path / "m000.parquet", first_view_only=True)
    metadata = dict(pq.read_schema(path).metadata)

    def change(group, table):
        if group != edited:
            return table
        place, values = table.column_names.index(column), table[column].to_pylist()
        if column == "phi":
            values[7] += 1e-4
        else:
            values[7][0] += 1e-4
        return table.set_column(
            place, table.schema.field(place), pa.array(values, table.schema.field(place).type)
        )

    rewrite(path, lambda _, table: table, metadata)
    for step in (1, 2, 3):
        reader([path], MASKS[:1], MEMBER[:1]).read(step, with_logits=True)
    rewrite(path, change, metadata)
    with pytest.raises(LeakgapError, match=rf"m000\.parquet: {told}"):
        reader([path], MASKS[:1], MEMBER[:1]).read(2, with_logits=True)


def test_files_from_before_there_were_digests_are_read(paths):
    before = reader(paths).read(2, with_logits=True)
    for path in paths:
        metadata = dict(pq.read_schema(path).metadata)
        metadata.pop(b"leakgap content")
        rewrite(path, lambda _, table: table, metadata)
    now = reader(paths).read(2, with_logits=True)
    np.testing.assert_array_equal(now.phi, before.phi)
    np.testing.assert_array_equal(now.logits, before.logits)


@pytest.mark.parametrize("damaged", [b"", b"[]", b"[1, 2]", b'{"phi": 1}', b"\xff"])
def test_damaged_digests_are_found_out(paths, damaged):
    rewrite(
        paths[1], lambda _, table: table, pq.read_schema(paths[1]).metadata | {b"leakgap content": damaged}
    )
    with pytest.raises(LeakgapError, match=r"m001\.parquet: what it says of its content is damaged"):
        reader(paths).read(1)


def test_changed_metadata_is_found_out(paths):
    table = pq.read_table(paths[0])
    metadata = dict(table.schema.metadata)
    metadata[b"leakgap"] = metadata[b"leakgap"].replace(b"[2, 5, 9]", b"[2, 5, 8]")
    pq.write_table(table.replace_schema_metadata(metadata), paths[0])
    with pytest.raises(LeakgapError, match="is damaged, or not as it was written"):
        read_model(paths[0])


def test_reads_the_models_in_the_order_asked_for(paths):
    files = reader(paths)
    for step in (1, 2, 3):
        held = files.read(step, with_logits=True)
        labels = np.broadcast_to(LABELS, (MODELS, VIEWS, IMAGES))
        np.testing.assert_array_equal(held.phi.transpose(0, 2, 1), phi(LOGITS[:, step - 1], labels))
        np.testing.assert_array_equal(held.logits, LOGITS[:, step - 1, 0])
    order = [2, 0, 3]
    turned = reader([paths[i] for i in order], [MASKS[i] for i in order], MEMBER[order]).read(3)
    np.testing.assert_array_equal(turned.phi, files.read(3).phi[order])
    assert turned.logits is None


@pytest.mark.parametrize("views", [1, 2])
def test_reads_the_views_asked_for(paths, views):
    held = reader(paths).read(2, views=views)
    assert held.phi.shape == (MODELS, IMAGES, views)
    np.testing.assert_array_equal(held.phi[1, :, 0], phi(LOGITS[1, 1, 0], LABELS))


def test_right_is_whose_first_largest_logit_is_the_labels(paths):
    first = [
        [[row.index(max(row)) for row in step[0].tolist()] for step in model] for model in LOGITS.round()
    ]
    for index, path in enumerate(paths):
        put(path, index, logits=LOGITS[index].round())  # with ties
    for step in (1, 2, 3):
        held = reader(paths).read(step, with_correct=True)
        assert held.logits is None
        for index in range(MODELS):
            expected = [one == label for one, label in zip(first[index][step - 1], LABELS, strict=True)]
            assert held.correct[index].tolist() == expected
            assert 0 < sum(expected) < IMAGES


def test_who_is_right_is_seen_from_the_logits_where_the_file_does_not_say(paths):
    told = [reader(paths).read(step, with_correct=True).correct for step in (1, 2, 3)]
    for path in paths:
        rewrite(path, lambda _, table: table, dict(pq.read_schema(path).metadata))
        assert b"leakgap correct" not in pq.ParquetFile(path).metadata.metadata
    seen = [reader(paths).read(step, with_correct=True).correct for step in (1, 2, 3)]
    np.testing.assert_array_equal(seen, told)


def test_damage_to_who_is_right_is_found_out(paths):
    whole = paths[2].read_bytes()
    assert whole.count(b"leakgap correct") == 1
    value = pq.ParquetFile(paths[2]).metadata.metadata[b"leakgap correct"]
    assert len(value) > 30
    for place in range(len(value)):
        damaged = bytearray(whole)
        damaged[whole.index(value) + place] ^= 1 << place % 7
        paths[2].write_bytes(damaged)
        with pytest.raises(LeakgapError, match=r"m002\.parquet: "):
            reader(paths[2:3], MASKS[2:3], MEMBER[2:3]).read(1, with_correct=True)


@pytest.mark.parametrize(("step", "views"), [(0, 1), (4, 1), (-1, 2), (1, 0), (1, 3)])
def test_no_step_or_view_that_is_not_there(paths, step, views):
    with pytest.raises(ValueError, match=f"step {step}, {views} views: the files hold 3 steps, 2 views"):
        reader(paths).read(step, views=views)


def test_reads_only_the_columns_and_row_groups_it_needs(paths, monkeypatch):
    files, asked = reader(paths), []
    original = pq.ParquetFile.read_row_group

    def spy(self, group, columns=None, **options):
        asked.append((group, *columns))
        return original(self, group, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", spy)
    files.read(2, views=1)
    assert asked == [(2, "phi")] * MODELS
    asked.clear()
    files.read(3, with_logits=True)
    assert asked == [(4, "phi", "logits"), (5, "phi")] * MODELS
    asked.clear()
    files.read(3, with_correct=True)
    assert asked == [(4, "phi"), (5, "phi")] * MODELS


def test_phi_is_read_from_a_file_whose_logits_are_damaged(paths):
    column = pq.ParquetFile(paths[0]).metadata.row_group(0).column(6)
    content = bytearray(paths[0].read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    paths[0].write_bytes(content)
    files = reader(paths)
    assert np.isfinite(files.read(1).phi).all()
    with pytest.raises(LeakgapError, match=r"m000\.parquet: not a readable Parquet file"):
        files.read(1, with_logits=True)


def test_holds_no_file_open(paths):
    import os

    before = len(os.listdir("/proc/self/fd"))
    files = reader(paths)
    files.read(1)
    assert len(os.listdir("/proc/self/fd")) == before


def test_lists_missing_files(paths):
    paths[1].unlink(), paths[3].unlink()
    with pytest.raises(LeakgapError, match=r"logits of 2 models are missing: .*m001.parquet, .*m003.parquet"):
        reader(paths)
    with pytest.raises(LeakgapError, match=r"m001.parquet: the logits of this model are missing"):
        read_model(paths[1])


def test_a_file_that_vanishes_later_is_named(paths):
    files = reader(paths)
    paths[2].unlink()
    with pytest.raises(LeakgapError, match=r"m002.parquet: the logits of this model are missing"):
        files.read(1)


def test_renamed_files_are_found_out(paths, tmp_path):
    shutil.copy(paths[0], tmp_path / "spare")
    shutil.copy(paths[2], paths[0])
    with pytest.raises(LeakgapError, match=r"m000.parquet: holds the model s/crop/m002, not s/crop/m000"):
        reader(paths)


@pytest.mark.parametrize("change", [{"study": "t"}, {"technique": "none"}])
def test_files_of_another_study_or_technique_are_found_out(paths, change):
    with pytest.raises(
        LeakgapError, match=r"m000.parquet: holds the model s/crop/m000, not [st]/(crop|none)/"
    ):
        reader(paths, **change)


def test_permuted_paths_are_found_out(paths):
    with pytest.raises(LeakgapError, match=r"m001.parquet: holds the model s/crop/m001, not s/crop/m000"):
        reader([paths[1], paths[0], *paths[2:]])


@pytest.mark.parametrize("cut", [0, 3, 100, 0.5, 0.99])
def test_truncated_files_are_named(paths, cut):
    content = paths[3].read_bytes()
    paths[3].write_bytes(content[: cut if cut >= 1 else int(len(content) * cut)])
    with pytest.raises(LeakgapError, match=r"m003.parquet: not a readable Parquet file: [^\n]+$"):
        reader(paths)


def test_foreign_files_are_named(paths):
    pq.write_table(pa.table({"phi": [1.0]}), paths[0])
    with pytest.raises(LeakgapError, match=r"m000.parquet: a Parquet file, but not one of leakgap's logits"):
        reader(paths)
    table = pa.table({"phi": [1.0]}).replace_schema_metadata({b"leakgap": b'{"study": 1}'})
    pq.write_table(table, paths[0])
    with pytest.raises(LeakgapError, match=r"m000.parquet: a Parquet file, but not one of leakgap's logits"):
        reader(paths)


def test_files_with_fewer_rows_than_they_promise_are_named(paths):
    table = pq.read_table(paths[0])
    pq.write_table(table, paths[0], row_group_size=IMAGES // 2)
    with pytest.raises(
        LeakgapError, match=r"holds 240 rows in 12 row groups, not 3 steps x 2 views x 40 images"
    ):
        reader(paths)


def test_masks_or_labels_that_disagree_are_found_out(paths):
    member = MEMBER.copy()
    member[2, 7] ^= True
    with pytest.raises(LeakgapError, match=r"m002.parquet: its column member disagrees"):
        reader(paths, member=member)
    with pytest.raises(LeakgapError, match=r"m000.parquet: its column label disagrees"):
        reader(paths, labels=np.roll(LABELS, 1))
    with pytest.raises(LeakgapError, match=r"m000.parquet: its column member disagrees"):
        reader(paths, member=MEMBER[:, :-1])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": [2, 5, 8]}, "epochs"),
        ({"logits": LOGITS[1][:, :1]}, "views"),
        ({"logits": np.repeat(LOGITS[1], 2, -1)}, "classes"),
        ({"about": {"settings": {"train.lr": 0.2, "train.width": 8}}}, "train.lr"),
    ],
)
def test_models_trained_otherwise_are_found_out(tmp_path, changes, named):
    about = {"settings": {"train.lr": 0.1, "train.width": 8}}
    first = put(tmp_path / "m000.parquet", 0, about=about)
    second = put(tmp_path / "m001.parquet", 1, **({"about": about} | changes))
    with pytest.raises(LeakgapError, match=rf"m001.parquet: differs from .*m000.parquet in {named}$"):
        reader([first, second], MASKS[:2], MEMBER[:2])
