import gzip
import hashlib
import os
import pickle
import random
import re
import subprocess
import sys
import zipfile
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import leakgap.data
from leakgap import LeakgapError
from leakgap.data import DATASETS, Dataset, fashion_mnist
from leakgap.data.datasets import download, load
from leakgap.data.header import image_size
from leakgap.data.pool import Pool, average_down, read_labels, read_pool, subset, write_pool
from leakgap.files import read_npz, write_npz
from leakgap.jobs.pool import gather
from leakgap.study import Study

RNG = np.random.default_rng(0)
LABELS = np.arange(24) % 3
RGB = RNG.integers(0, 256, (24, 3, 6, 5), np.uint8)


# --- what a pool is


def test_digits_are_those_of_scikit_learn_on_a_scale_to_255():
    pool, digits = load("digits"), load_digits()
    assert (pool.images.shape, pool.images.dtype, pool.classes) == ((1797, 1, 8, 8), np.uint8, 10)
    facts = DATASETS["digits"]
    assert (facts.images, facts.channels, facts.side) == (1797, 1, 8)
    levels = [round(255 * level / 16) for level in range(17)]
    np.testing.assert_array_equal(pool.images[:, 0], np.array(levels)[digits.images.astype(int)])
    np.testing.assert_array_equal(pool.labels, digits.target)
    assert pool.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (RGB / 255, LABELS, 3, "images are float64, not uint8"),
        (RGB[:, :2], LABELS, 3, "images are .24, 2, 6, 5., not .images, 1 or 3 channels"),
        (RGB[:, 0], LABELS, 3, "images are .24, 6, 5., not"),
        (RGB[:0], LABELS[:0], 3, "labels are .0,., not one for each record"),
        (RGB[:, :0], LABELS, 3, "images are .24, 0, 6, 5., not"),
        (RGB, LABELS[1:], 3, "images has 24 rows, and labels has 23"),
        (np.uint8(1), LABELS, 3, "images is a single value, and labels has 24"),
        (RGB.astype(object), LABELS, 3, "images holds Python objects"),
        (RGB, LABELS.astype(np.int32), 3, "labels are int32, not int64"),
        (RGB, LABELS, 2, "label 2 is outside 0..1"),
        (RGB, LABELS - 1, 3, "label -1 is outside 0..2"),
        (RGB, LABELS + 1, 4, "class 0 of 0..3 has no record"),
        (RGB, LABELS * 2, 5, "class 1 of 0..4 has no record"),
        (RGB, LABELS, 4, "class 3 of 0..3 has no record"),
        (RGB, LABELS * 0, 1, "all records have one label"),
    ],
)
def test_a_pool_refuses_what_it_is_not(images, labels, classes, message):
    with pytest.raises(LeakgapError, match=f"^{message}"):
        _ = Pool({"images": np.asarray(images)}, labels, classes).images


# --- subsets and averaging


def test_subsets_keep_classes_in_proportion():
    labels = RNG.permutation(np.repeat([0, 1, 2], [600, 300, 100]))
    for size in (10, 100, 500, 999):
        keep = subset(labels, size, seed=1)
        assert (np.diff(keep) > 0).all()
        assert len(keep) == size
        np.testing.assert_allclose(np.bincount(labels[keep]), size * np.array([0.6, 0.3, 0.1]), atol=1)
    balanced = np.bincount((np.arange(1000) % 10)[subset(np.arange(1000) % 10, 123, seed=1)])
    assert set(balanced) == {12, 13}


def test_subsets_are_nested_and_drawn_by_the_seed():
    small, large = subset(LABELS, 9, seed=2), subset(LABELS, 15, seed=2)
    assert set(small) < set(large)
    np.testing.assert_array_equal(small, subset(LABELS, 9, seed=2))
    np.testing.assert_array_equal(subset(LABELS, 24, seed=2), np.arange(24))
    hits = np.bincount(np.concatenate([subset(LABELS, 9, seed) for seed in range(400)]), minlength=24)
    assert np.abs(hits - 150).max() < 5 * np.sqrt(400 * (9 / 24) * (15 / 24))


def test_subsets_of_a_dataset():
    everything, part = load("digits"), load("digits", size=200, seed=3)
    keep = subset(everything.labels, 200, seed=3)
    np.testing.assert_array_equal(part.images, everything.images[keep])
    np.testing.assert_array_equal(part.labels, everything.labels[keep])
    with pytest.raises(LeakgapError, match=r"^data.size: 1798 images are asked for, but there are only 1797"):
        load("digits", size=1798)
    with pytest.raises(LeakgapError, match=r"^data.size: 9 images are too few to keep one of class \d"):
        load("digits", size=9)


def naive_average(image, side):
    """The mean of each area, as the sum over finer pixels that both grids divide into."""
    height, width = image.shape
    fine = np.repeat(np.repeat(image.astype(int), side, axis=0), side, axis=1)
    totals = fine.reshape(side, height, side, width).sum(axis=(1, 3))
    area = height * width
    return [[(2 * int(total) + area) // (2 * area) for total in row] for row in totals]


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 4), (6, 5, 4), (7, 7, 3), (9, 6, 6), (5, 4, 1)])
def test_averaging_down_is_the_mean_over_the_area(height, width, side):
    images = RNG.integers(0, 256, (4, 3, height, width), np.uint8)
    small = average_down(images, side)
    assert (small.shape, small.dtype) == ((4, 3, side, side), np.uint8)
    for image, expected in zip(small.reshape(-1, side, side), images.reshape(-1, height, width), strict=True):
        np.testing.assert_array_equal(image, naive_average(expected, side))


def test_averaging_down_is_that_of_torch_where_the_sides_divide():
    from torch import from_numpy
    from torch.nn.functional import adaptive_avg_pool2d

    images = RNG.integers(0, 256, (2000, 1, 8, 8), np.uint8)
    means = adaptive_avg_pool2d(from_numpy(images).double(), 4).numpy()
    np.testing.assert_array_equal(average_down(images, 4), np.floor(means + 0.5))
    np.testing.assert_array_equal(average_down(images, 8), images)


def test_averaging_never_makes_images_larger():
    assert load("digits", side=4).images.shape == (1797, 1, 4, 4)
    with pytest.raises(LeakgapError, match=r"^data.side: images of 8x8 pixels can't be averaged down to 9"):
        load("digits", side=9)


# --- pool.npz


def test_pool_files_hold_the_pool(tmp_path):
    write_pool(tmp_path / "new" / "pool.npz", Pool({"images": RGB}, LABELS, 3))
    pool = read_pool(tmp_path / "new" / "pool.npz")
    np.testing.assert_array_equal(pool.images, RGB)
    np.testing.assert_array_equal(pool.labels, LABELS)
    assert pool.classes == 3
    assert os.listdir(tmp_path / "new") == ["pool.npz"]


NUMPYS = ("file", "allow_pickle", "path", "args", "kwds", "arrays", "self", "arr_0", "a/b", "é")


def test_no_name_of_an_array_is_lost_and_files_are_those_of_numpy(tmp_path):
    """np.savez has parameters of its own by some of these names."""
    given = {name: np.arange(24) + place for place, name in enumerate(NUMPYS)}
    write_pool(tmp_path / "pool.npz", Pool(given, LABELS, 3))
    found = read_pool(tmp_path / "pool.npz").arrays
    assert list(found) == list(NUMPYS)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name], array)
    np.savez(tmp_path / "numpys.npz", images=RGB, labels=LABELS)
    write_npz(tmp_path / "ours.npz", {"images": RGB, "labels": LABELS})
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()


@pytest.mark.parametrize("name", ["a.npy", "a\0b", "a\nb", "\ud800"])
def test_names_that_a_file_would_not_tell_apart_are_refused(name):
    with pytest.raises(LeakgapError, match="can't be the name of an array"):
        Pool({"a": LABELS, name: LABELS + 1}, LABELS, 3)


def test_an_npz_that_holds_more_than_arrays_is_refused(tmp_path):
    np.savez(tmp_path / "mine.npz", images=RGB, labels=LABELS)
    with zipfile.ZipFile(tmp_path / "mine.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(LeakgapError, match=r"mine\.npz: readme\.txt in it is no array"):
        load(str(tmp_path / "mine.npz"))


DATA = """
import numpy as np
import torch
labels = np.arange(24) % 3
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")
class Late(dict):
    def items(self):
        raise Mute
def silent():
    raise Mute
def data():
    return {}
"""


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("{'x': [[1], [1, 2]] * 12, 'labels': labels}", "x can't be made an array .ValueError: "),
        ("{'x': torch.ones(24, device='meta'), 'labels': labels}", "x can't be made an array .NotImpl"),
        ("{'x': np.ma.masked_less(labels, 1), 'labels': labels}", "x has masked values"),
        ("{'x': labels, 7: labels, '7': labels + 1, 'labels': labels}", "7 is int, not the name of"),
        ("[labels, labels]", "returned list, not a dict"),
        ("(each for each in labels)", "returned generator, not a dict"),
        ("silent()", "in silent: Mute$"),
        ("__import__('os').chdir('/') or np.linalg.inv(np.zeros((2, 2)))", "14 in data: LinAlgError"),
        ("Late()", "in items: Mute$"),
    ],
)
def test_what_a_data_function_returns_wrongly_is_one_sentence(tmp_path, monkeypatch, returned, told):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(DATA.format(returned))
    with pytest.raises(LeakgapError, match=rf"^\./mine\.py:.*{told}"):
        load("./mine.py:data", images=False)


def test_tensors_are_arrays_whatever_their_type_and_gradient(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = "torch.arange(24.).requires_grad_()"
    returned = f"{{'x': {x}, 'y': {x}.bfloat16(), 'z': [*{x}], 'labels': torch.arange(24) % 3}}"
    Path("mine.py").write_text(DATA.format(returned))
    pool = load("./mine.py:data", images=False)
    for name in "xyz":
        np.testing.assert_array_equal(pool.arrays[name], np.arange(24))


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "pool.npz"
    write_pool(path, Pool({"images": RGB}, LABELS, 3))
    before = path.read_bytes()

    def full_disk(file, *arrays, **how):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full_disk)
    with pytest.raises(LeakgapError, match=r"pool\.npz: can't be written \(no space left"):
        write_pool(path, Pool({"images": RGB}, LABELS, 3))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["pool.npz"]


def test_damaged_pool_files_are_refused_or_still_whole(tmp_path):
    path = tmp_path / "pool.npz"
    write_pool(path, Pool({"images": RGB}, LABELS, 3))
    whole, rng, outcomes = path.read_bytes(), random.Random(0), Counter()
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        outcomes[outcome(path)] += 1
    assert set(outcomes) == {"refused", "whole"}
    assert outcomes["refused"] > 250


def outcome(path: Path) -> str:
    try:
        pool = read_pool(path)
    except LeakgapError as error:
        return "refused" if str(error).startswith(f"{path}: ") else str(error)
    whole = np.array_equal(pool.images, RGB) and np.array_equal(pool.labels, LABELS) and pool.classes == 3
    return "whole" if whole else "wrong"


class Bomb:
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": RGB, "labels": LABELS}, "has no array classes, only images, labels"),
        ({"images": RGB, "labels": LABELS, "classes": 3.0}, "classes is float64 .., not an integer"),
        ({"images": RGB, "labels": LABELS, "classes": [3]}, "classes is int64 .1,., not an integer"),
        ({"images": RGB, "labels": LABELS, "classes": 5}, "class 3 of 0..4 has no record"),
        ({"images": RGB, "labels": np.array([Bomb()]), "classes": 3}, "is not a readable .npz"),
    ],
)
def test_pool_files_that_hold_other_things_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "pool.npz", **arrays)
    with pytest.raises(LeakgapError, match=rf"pool.npz: {message}"):
        read_pool(tmp_path / "pool.npz")


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (9, 9)}",  # more than there is
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999,)}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (",  # numpy raises a TokenError
        b"((((",
        b",1",
    ],
)
def test_arrays_with_damaged_headers_are_refused(tmp_path, header):
    with zipfile.ZipFile(tmp_path / "pool.npz", "w") as archive:
        archive.writestr("images.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(LeakgapError, match=r"pool.npz: is not a readable .npz"):
        read_npz(tmp_path / "pool.npz", "images")


@pytest.mark.parametrize(
    "content", [b"", b"no zip", pickle.dumps(Bomb()), b"PK\x03\x04" + pickle.dumps(Bomb())]
)
def test_files_that_are_no_npz_are_refused_and_never_unpickled(tmp_path, content):
    (tmp_path / "pool.npz").write_bytes(content)
    with pytest.raises(LeakgapError, match=r"pool.npz: is not a readable .npz"):
        read_npz(tmp_path / "pool.npz", "images")


# --- the registry


def read_stripes(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """A dataset that exists in this file only."""
    if not (root / "stripes").exists():
        raise LeakgapError(f"data.root: there is no {root / 'stripes'}")
    return RGB[:, :, :5], LABELS


def download_stripes(root: Path) -> None:
    root.mkdir()
    (root / "stripes").touch()


def test_a_new_dataset_is_one_module_and_one_entry(tmp_path, monkeypatch):
    from leakgap.study import Study

    entry = Dataset(24, 3, 5, f"{__name__}:read_stripes", f"{__name__}:download_stripes")
    monkeypatch.setitem(leakgap.data.DATASETS, "stripes", entry)
    with pytest.raises(LeakgapError, match=r"^data.root: there is no .*stripes"):
        load("stripes", tmp_path / "new")
    download("stripes", tmp_path / "new")
    np.testing.assert_array_equal(load("stripes", tmp_path / "new").images, RGB[:, :, :5])
    settings = {"name": "x", "data": {"dataset": "stripes", "reserved": 4}}
    assert Study.load(settings).data.built_in == (24, 3, 5)
    with pytest.raises(LeakgapError, match=r"^data.side: stripes is 5 pixels wide"):
        Study.load(settings | {"data": {"dataset": "stripes", "reserved": 4, "side": 6}})


def test_what_is_said_of_datasets_needs_no_numpy():
    code = "import sys, leakgap.study; sys.exit(bool({'numpy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- a user's .npz


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (RGB, RGB),
        (RGB.transpose(0, 2, 3, 1), RGB),
        (RGB[:, 0], RGB[:, :1]),
        (RGB[:, 0, :, :, None], RGB[:, :1]),
        (RGB[:, :1], RGB[:, :1]),
    ],
)
def test_npz_layouts(tmp_path, images, expected):
    np.savez(tmp_path / "mine.npz", images=images, labels=LABELS.astype(np.uint8))
    pool = load(str(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(pool.images, expected)
    np.testing.assert_array_equal(pool.labels, LABELS)
    assert (pool.classes, pool.labels.dtype, pool.images.flags.c_contiguous) == (3, np.int64, True)
    assert load(str(tmp_path / "mine.npz"), size=6, side=4).images.shape == (6, expected.shape[1], 4, 4)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (RGB.astype(np.float32), LABELS, "images are float32, not uint8"),
        (RGB, LABELS.astype(float), "labels are float64, not integers"),
        (RGB, LABELS > 0, "labels are bool, not integers"),
        (RGB, LABELS - 1, "label -1 is outside 0..1"),
        (RGB, LABELS + 1, "class 0 of 0..3 has no record"),
        (RGB, LABELS * 10**9, "class 1 of 0..2000000000 has no record"),
        (RGB, LABELS.astype(np.uint64) - np.uint64(1), "label -1 is outside"),
        (RGB, LABELS * 0, "all records have one label"),
        (RGB, LABELS[:5], "images has 24 rows, and labels has 5"),
        (RGB, LABELS[:, None], "labels are .24, 1., not one for each"),
        (RGB[:0], LABELS[:0], "labels are .0,., not one for each record"),
        (RGB[:, :2], LABELS, "images are .24, 2, 6, 5., not .images, 1 or 3 channels"),
        (RGB[..., :3], LABELS, "images are .24, 3, 6, 3., axis 1 or axis 3 could be the channels"),
        (RGB[0, 0], LABELS, "images has 6 rows, and labels has 24"),
    ],
)
def test_npz_with_other_content_is_refused(tmp_path, images, labels, message):
    np.savez(tmp_path / "mine.npz", images=images, labels=labels)
    with pytest.raises(LeakgapError, match=rf"mine.npz: {message}"):
        load(str(tmp_path / "mine.npz"))


def test_missing_datasets_are_named(tmp_path):
    with pytest.raises(LeakgapError, match=r"gone.npz: there is no such file"):
        load(str(tmp_path / "gone.npz"))
    with pytest.raises(
        LeakgapError, match=r"^data.dataset: imagenet is no .npz, no folder, no function and none of digits"
    ):
        load("imagenet")


def test_digits_and_npz_files_need_no_torch(tmp_path):
    np.savez(tmp_path / "mine.npz", images=RGB, labels=LABELS)
    code = f"""
import sys, leakgap.data.masks
from leakgap.data.datasets import load
load("digits", size=100, side=4), load({str(tmp_path / "mine.npz")!r}, side=2)
assert not {{"torch", "torchvision"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- a folder of images


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_folders_are_read_in_sorted_order(tmp_path):
    order = ["cat/1.png", "cat/10.png", "cat/2.png", "dog/a.png", "dog/b/0.png"]
    for i in (3, 1, 4, 0, 2):
        save(tmp_path / order[i], RGB[i].transpose(1, 2, 0))
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    pool = load(str(tmp_path))
    np.testing.assert_array_equal(pool.images, RGB[:5])
    np.testing.assert_array_equal(pool.labels, [0, 0, 0, 1, 1])
    assert pool.classes == 2
    assert list(pool.names) == order
    keep = subset(pool.labels, 3, seed=1)
    some = load(str(tmp_path), size=3, seed=1)
    np.testing.assert_array_equal(some.images, RGB[keep])
    assert list(some.names) == [order[image] for image in keep]


def test_a_folder_that_links_lead_into_twice_is_refused(tmp_path):
    """A loop would multiply images, and two loops without end."""
    for name in ("a", "b"):
        save(tmp_path / "images" / name / "0.png", RGB[0, 0])
    load(str(tmp_path / "images"))
    for link, place in (("a/loop", "."), ("a/other", "b"), ("c", "a")):
        (tmp_path / "images" / link).symlink_to(tmp_path / "images" / place)
        with pytest.raises(LeakgapError, match=r"is the same folder as .*, so its images would count twice"):
            load(str(tmp_path / "images"))
        (tmp_path / "images" / link).unlink()
    (tmp_path / "linked").symlink_to(tmp_path / "images")
    assert len(load(str(tmp_path / "linked")).labels) == 2


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(LeakgapError, match=r"pipe\.npz: "):
        load(str(tmp_path / "pipe.npz"))
    for name in ("a", "b"):
        save(tmp_path / "images" / name / "0.png", RGB[0, 0])
    os.mkfifo(tmp_path / "images/b/1.png")
    with pytest.raises(LeakgapError, match=r"b/1\.png: is no file"):
        load(str(tmp_path / "images"))


def test_few_records_are_refused_and_copies_told(tmp_path, capsys):
    rng, path = np.random.default_rng(0), tmp_path / "own.npz"
    study = Study.load({"name": "own", "data": {"dataset": str(path)}, "grid": {"techniques": ["none"]}})
    for records, copies in ((15, 0), (16, 0), (20, 3)):
        images = rng.integers(0, 256, (records, 1, 8, 8), np.uint8)
        images[records - copies :] = images[:copies]
        np.savez(path, images=images, labels=np.arange(records) % 2)
        if records < 16:
            with pytest.raises(LeakgapError, match=r"data\.dataset: .* holds 15 records, fewer than 16"):
                gather(study, 1, str(tmp_path / "pool.npz"))
            continue
        gather(study, 1, str(tmp_path / "pool.npz"))
        told = capsys.readouterr().err
        assert told.startswith(f"leakgap pool: warning: {copies} of 20 records") if copies else not told


def test_copies_in_a_folder_of_images_are_told_whatever_their_files_are_called(tmp_path, capsys):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (17, 8, 8), np.uint8)
    for number in range(20):
        save(tmp_path / "photos" / "ab"[number >= 10] / f"{number}.png", images[min(number, 16)])
    data = {"dataset": f"{tmp_path}/photos"}
    gather(Study.load({"name": "own", "data": data}), 1, str(tmp_path / "pool.npz"))
    assert "warning: 3 of 20 records are exact copies" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shape", "changes", "told"),
    [
        ((8, 8), {"train": {"crop": {"pad": 8}}}, "train.crop.pad: 8 is not below the side of the images, 8"),
        ((8, 8), {"train": {"cutout": {"size": 17}}}, "train.cutout.size: 17 is over twice the side"),
        (
            (1, 9),
            {"query": {"views": 3}, "grid": {"techniques": ["none"]}},
            "query.views: images of 1x9 pixels",
        ),
        (
            (64, 4),
            {"query": {"views": 3}, "grid": {"techniques": ["none"]}},
            "query.views: images of 64x4 pixels",
        ),
    ],
)
def test_options_that_do_not_suit_own_images_are_told_before_any_job(tmp_path, shape, changes, told):
    """By the header of the .npz, however its axes are ordered, and by the verb that gathers them."""
    path = tmp_path / "own.npz"
    study = {
        "name": "own",
        "data": {"dataset": str(path)},
        "grid": {"techniques": ["none", "crop", "cutout"]},
    }
    study = Study.load(study | changes)
    for layout in ((20, *shape), (20, 1, *shape), (20, *shape, 3)):
        if {layout[1], layout[-1]} == {1, 3}:
            continue  # either could be the channels
        np.savez(path, labels=np.arange(20) % 2, images=np.zeros(layout, np.uint8))
        assert image_size(str(path)) == shape
        with pytest.raises(LeakgapError) as raised:
            study.check_size(*shape)
        assert str(raised.value).startswith(told)
        with pytest.raises(LeakgapError) as raised:
            gather(study, 1, str(tmp_path / "pool.npz"))
        assert str(raised.value).startswith(told)


@pytest.mark.parametrize("content", [b"", b"PK", {"labels": np.zeros(3)}, {"images": np.zeros((9, 4, 4))}])
def test_a_size_that_the_header_does_not_tell_is_none(tmp_path, content):
    if isinstance(content, dict):
        np.savez(tmp_path / "own.npz", **content)
    else:
        (tmp_path / "own.npz").write_bytes(content)
    assert image_size(str(tmp_path / "own.npz")) is None
    assert image_size(str(tmp_path)) is image_size("digits") is None


def test_options_that_do_not_suit_a_folder_are_told_before_any_job(tmp_path):
    """By the header of one image: others of another size, or that are damaged, are the pool's matter."""
    for label in ("cat", "dog"):
        for place in range(10):
            save(tmp_path / label / f"{place}.png", np.full((6, 7), 10 * place + len(label), np.uint8))
    save(tmp_path / "cover.png", np.zeros((50, 50), np.uint8))  # of no class
    (tmp_path / "cat/0.txt").write_text("no image")
    os.mkfifo(tmp_path / "cat/pipe.png")
    assert image_size(str(tmp_path)) == (6, 7)
    (tmp_path / "cat/pipe.png").unlink()
    folder = {"name": "own", "data": {"dataset": str(tmp_path)}, "train": {"crop": {"pad": 6}}}
    study = Study.load(folder)
    with pytest.raises(LeakgapError, match=r"^train\.crop\.pad: 6 is not below the side of the images, 6"):
        study.check_size(*image_size(str(tmp_path)))
    Study.load(folder | {"data": {"dataset": str(tmp_path), "side": 4}, "train": {}}).check_size(6, 7)
    (tmp_path / "cat").rename(tmp_path / "bird")
    for path in (*tmp_path.glob("*/*.png"),):
        path.write_bytes(b"\x89PNG")
    assert image_size(str(tmp_path)) is None


def test_records_that_were_edited_are_found_out(tmp_path):
    """Whatever is done to all arrays alike leaves a pool, but another one."""
    path = tmp_path / "pool.npz"
    write_pool(path, load("digits", size=100))
    assert read_pool(path).source == {}
    with np.load(path) as stored:
        arrays = dict(stored)
    records = {"images": arrays["images"], "labels": arrays["labels"]}
    for edited in (
        {name: array[:-1] for name, array in records.items()},
        {name: array[::-1] for name, array in records.items()},
        {"images": records["images"] ^ 1},
        {"extra": np.zeros(100)},
    ):
        np.savez(path, **arrays | edited)
        with pytest.raises(LeakgapError, match=r"pool\.npz: its records are not as they were written"):
            read_pool(path)
    np.savez(path, **arrays | {"source": np.array("{}")})  # as one from before there were digests
    assert len(read_pool(path).labels) == 100


def test_labels_are_read_without_the_records(tmp_path, monkeypatch):
    path, pool = tmp_path / "pool.npz", load("digits", size=100)
    write_pool(path, pool)
    read, original = [], np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(
        np.lib.npyio.NpzFile, "__getitem__", lambda self, name: read.append(name) or original(self, name)
    )
    labels, digest, _ = read_labels(path)
    assert sorted(read) == ["classes", "labels", "source"]
    np.testing.assert_array_equal(labels, pool.labels)
    assert digest == pool.digest


def test_labels_of_a_pool_that_tells_no_digest(tmp_path):
    path, pool = tmp_path / "pool.npz", load("digits", size=100)
    np.savez(path, images=pool.images, labels=pool.labels, classes=np.int64(10))
    labels, digest, _ = read_labels(path)
    np.testing.assert_array_equal(labels, pool.labels)
    assert digest == pool.digest
    np.savez(path, images=pool.images, labels=pool.labels % 9, classes=np.int64(10))
    with pytest.raises(LeakgapError, match=r"pool\.npz: class 9 of 0\.\.9 has no record"):
        read_labels(path)


def test_more_classes_than_logits_files_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = Study.load({"name": "own", "data": {"dataset": "./own.npz"}})
    for classes in (2**15, 2**15 + 1):
        np.savez("own.npz", labels=np.arange(classes), images=np.zeros((classes, 1, 4, 4), np.uint8))
        if classes == 2**15:
            gather(study, 0, "pool.npz")
            continue
        with pytest.raises(
            LeakgapError, match=r"^data.dataset: ./own.npz holds 32769 classes, more than 32768$"
        ):
            gather(study, 0, "pool.npz")


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"train": {"crop": {"pad": 9}}}, 10),
        ({"train": {"cutout": {"size": 9}}}, 5),
        ({"train": {"crop": {"pad": 9}}, "data": {"dataset": "./own.npz", "side": 12}}, 1),
        ({"query": {"views": 3}, "grid": {"techniques": ["none"]}}, 2),
        ({"grid": {"techniques": ["none"]}}, 1),
        (
            {
                "grid": {
                    "techniques": ["none", "a"],
                    "variants": {"a": {"technique": "crop", "train.crop.pad": 3}},
                }
            },
            4,
        ),
    ],
)
def test_the_job_that_gathers_images_is_told_the_least_side(tmp_path, monkeypatch, changes, least):
    """It is given a part of the study, and knows no techniques."""
    monkeypatch.chdir(tmp_path)
    own = {"name": "own", "data": {"dataset": "./own.npz"}}
    study = Study.load(own | {"grid": {"techniques": ["none", "crop", "cutout"]}} | changes)
    assert study.least_side == least
    part = Study.load(
        study.part("data.dataset", "data.root", "data.size", "data.side", "data.seed", "data.groups")
    )
    for side in {least, least - 1} - {0} if study.data.side is None else ():
        np.savez("own.npz", labels=np.arange(20) % 2, images=np.zeros((20, 1, side, side + 4), np.uint8))
        if side == least:
            gather(part, study.least_side, "pool.npz")
            continue
        with pytest.raises(
            LeakgapError, match=rf"images of {side}x{side + 4} pixels.* need a side of {least}$"
        ):
            gather(part, study.least_side, "pool.npz")


def test_folders_of_grayscale_images_have_one_channel(tmp_path):
    save(tmp_path / "a/0.png", RGB[0, 0])
    save(tmp_path / "b/0.png", RGB[1, 0])
    np.testing.assert_array_equal(load(str(tmp_path)).images, RGB[:2, :1])
    save(tmp_path / "b/1.png", RGB[2].transpose(1, 2, 0))
    mixed = load(str(tmp_path)).images
    np.testing.assert_array_equal(mixed[:2], np.repeat(RGB[:2, :1], 3, axis=1))
    np.testing.assert_array_equal(mixed[2], RGB[2])


def test_folders_of_mixed_sizes_need_a_side(tmp_path):
    other = RNG.integers(0, 256, (9, 7), np.uint8)
    save(tmp_path / "a/0.png", RGB[0, 0])
    save(tmp_path / "b/0.png", other)
    with pytest.raises(LeakgapError, match=r"b/0.png: has 9x7 pixels, .*a/0.png 6x5: set data.side"):
        load(str(tmp_path))
    images = load(str(tmp_path), side=4).images
    np.testing.assert_array_equal(images[:, 0], [naive_average(RGB[0, 0], 4), naive_average(other, 4)])
    with pytest.raises(LeakgapError, match=r"a/0.png: data.side: images of 6x5 pixels"):
        load(str(tmp_path), side=6)


def test_folders_with_other_content_are_refused(tmp_path):
    path = str(tmp_path)
    with pytest.raises(LeakgapError, match="does not hold one folder of images for each class"):
        load(path)
    save(tmp_path / "a/0.png", RGB[0, 0])
    with pytest.raises(LeakgapError, match="holds the folder of one class only"):
        load(path)
    (tmp_path / "b").mkdir()
    with pytest.raises(LeakgapError, match=r"one folder of images for each class .*classes b"):
        load(path)
    whole = (tmp_path / "a/0.png").read_bytes()
    for content in (b"", b"no image", whole[:45], whole[:-40]):
        (tmp_path / "b/0.png").write_bytes(content)
        with pytest.raises(LeakgapError, match=r"b/0.png: can't be read as an image"):
            load(path)
    save(tmp_path / "b/0.png", RGB[0, 0].astype(np.uint16) * 256)
    with pytest.raises(LeakgapError, match=r"b/0.png: has pixels of more than 8 bits"):
        load(path)


def test_hidden_folders_and_files_are_no_classes_and_no_images(tmp_path):
    for name in (
        "a/0.png",
        "b/0.png",
        ".ipynb_checkpoints/0-checkpoint.png",
        "a/.thumbnails/0.png",
        "b/.0.png",
    ):
        save(tmp_path / name, RGB[0, 0])
    pool = load(str(tmp_path))
    assert pool.labels.tolist() == [0, 1]
    assert pool.classes == 2


def test_postscript_that_is_named_png_starts_no_program(tmp_path, monkeypatch):
    for name in ("a/0.png", "b/0.png"):
        save(tmp_path / name, RGB[0, 0])
    (tmp_path / "b/0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 5\nshowpage\n%%EOF\n")

    def start(*_, **__):
        raise AssertionError("a program is started")

    monkeypatch.setattr("subprocess.Popen", start)
    monkeypatch.setattr("os.system", start)
    with pytest.raises(LeakgapError, match=r"b/0.png: can't be read as an image"):
        load(str(tmp_path))
    assert image_size(str(tmp_path)) in (None, (6, 5))


def png_of_16_bits(path: Path) -> None:
    """As the PNG specification says: Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    rows = b"".join(b"\0" + bytes(range(30)) for _ in range(6))
    header = (5).to_bytes(4, "big") + (6).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def two_pages(path: Path) -> None:
    first, second = (Image.fromarray(RGB[k, 0]) for k in (0, 1))
    first.save(path, save_all=True, append_images=[second])


def in_its_alpha(path: Path) -> None:
    planes = np.zeros((6, 5, 4), np.uint8)
    planes[..., 3] = RGB[0, 0]
    Image.fromarray(planes).save(path)


@pytest.mark.parametrize(
    ("name", "write", "told"),
    [
        ("1.png", png_of_16_bits, "has pixels of more than 8 bits"),
        (
            "1.ppm",
            lambda path: path.write_bytes(b"P6 5 6 65535\n" + bytes(180)),
            "has pixels of more than 8 bits",
        ),
        ("1.tiff", two_pages, "holds 2 pictures, and one is asked for"),
        ("1.png", in_its_alpha, "is of one colour but for its transparency"),
        (
            "1.gif",
            lambda path: Image.fromarray(RGB[0, 0]).save(path),
            "is image/gif, and images are read of JPEG",
        ),
    ],
)
def test_what_an_image_holds_beside_eight_bits_and_one_picture_is_refused(tmp_path, name, write, told):
    for each in ("a/0.png", "b/0.png"):
        save(tmp_path / each, RGB[0, 0])
    write(tmp_path / "b" / name)
    with pytest.raises(LeakgapError, match=rf"b/{re.escape(name)}: {told}"):
        load(str(tmp_path))


def test_images_are_turned_as_their_exif_says(tmp_path):
    picture = np.repeat(np.repeat(RGB[0, 0], 8, 0), 8, 1)  # blocks that JPEG keeps
    for name, orientation in (("a/0.jpg", 6), ("b/0.jpg", 8)):
        (tmp_path / name).parent.mkdir()
        exif = Image.Exif()
        exif[274] = orientation
        turned = np.rot90(picture, 1 if orientation == 6 else -1)
        Image.fromarray(turned).save(tmp_path / name, exif=exif, quality=100)
    images = load(str(tmp_path)).images
    assert images.shape[2:] == picture.shape == image_size(str(tmp_path))
    assert np.abs(images[:, 0].astype(int) - picture).max() <= 3


def test_splits_are_no_classes(tmp_path):
    for name in ("train/a/0.png", "test/b/0.png"):
        save(tmp_path / name, RGB[0, 0])
    with pytest.raises(LeakgapError, match="its folders test and train are splits, not classes"):
        load(str(tmp_path))


# --- Fashion-MNIST: idx files


def idx(array: np.ndarray) -> bytes:
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


FASHION = {
    "train-images-idx3-ubyte": RGB[:16, 0],
    "train-labels-idx1-ubyte": LABELS[:16],
    "t10k-images-idx3-ubyte": RGB[16:, 0],
    "t10k-labels-idx1-ubyte": LABELS[16:],
}


@pytest.fixture
def fashion(monkeypatch, tmp_path):
    """Small files in the format of Fashion-MNIST, and their checksums in place of the real ones."""
    files = {name: idx(array) for name, array in FASHION.items()}
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(fashion_mnist, "SHA256", sums)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "debian")
    return files


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw", "debian"])
def test_fashion_mnist_is_read_packed_or_not_in_every_layout(tmp_path, fashion, packed, below):
    (tmp_path / below).mkdir(parents=True, exist_ok=True)
    for name, data in fashion.items():
        path = tmp_path / below / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(data) if packed else data)
    pool = load("fashion-mnist", tmp_path)
    np.testing.assert_array_equal(pool.images, RGB[:, :1])
    np.testing.assert_array_equal(pool.labels, LABELS)
    before = sorted(tmp_path.rglob("*"))
    download("fashion-mnist", tmp_path)  # there already: nothing to do
    assert sorted(tmp_path.rglob("*")) == before


def test_fashion_mnist_is_read_as_torchvision_does(tmp_path, fashion):
    from torchvision.datasets import FashionMNIST

    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in fashion.items():
        (raw / name).write_bytes(data)
    theirs = [FashionMNIST(tmp_path, train=train) for train in (True, False)]
    pool = load("fashion-mnist", tmp_path)
    np.testing.assert_array_equal(pool.images[:, 0], np.concatenate([part.data for part in theirs]))
    np.testing.assert_array_equal(pool.labels, np.concatenate([part.targets for part in theirs]))


def test_damaged_fashion_mnist_is_refused(tmp_path, fashion):
    with pytest.raises(LeakgapError, match=r"^data.root: none of .* has train-images-idx3-ubyte or train"):
        load("fashion-mnist", tmp_path)
    for name, data in fashion.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    victim = tmp_path / "t10k-images-idx3-ubyte.gz"
    whole = victim.read_bytes()
    for damaged in (b"", whole[:5], whole[:-30], whole[:40] + b"!" + whole[41:]):
        victim.write_bytes(damaged)
        with pytest.raises(LeakgapError, match=r"t10k-images-idx3-ubyte.gz: .*delete it and get it anew"):
            load("fashion-mnist", tmp_path)
    victim.write_bytes(gzip.compress(fashion["t10k-images-idx3-ubyte"][:-1]))
    with pytest.raises(LeakgapError, match=r"t10k-images-idx3-ubyte.gz: has the wrong checksum"):
        load("fashion-mnist", tmp_path)


def test_downloads_that_fail_name_root_and_reason(tmp_path, fashion, monkeypatch):
    from torchvision.datasets import FashionMNIST

    def fail(self):
        raise RuntimeError("Error downloading:\nno network")

    monkeypatch.setattr(FashionMNIST, "download", fail)
    with pytest.raises(
        LeakgapError, match=r"^data.root: fashion-mnist can't be downloaded to .*no network\)$"
    ):
        download("fashion-mnist", tmp_path)


def test_downloads_are_checked(tmp_path, fashion, monkeypatch):
    from torchvision.datasets import FashionMNIST

    def fetch(self):
        Path(self.raw_folder).mkdir(parents=True)
        for name, data in fashion.items():
            (Path(self.raw_folder) / name).write_bytes(data)

    monkeypatch.setattr(FashionMNIST, "download", fetch)
    download("fashion-mnist", tmp_path / "new")
    np.testing.assert_array_equal(load("fashion-mnist", tmp_path / "new").labels, LABELS)
    fashion["t10k-labels-idx1-ubyte"] = idx(LABELS[16:][::-1])
    with pytest.raises(LeakgapError, match="t10k-labels-idx1-ubyte: has the wrong checksum"):
        download("fashion-mnist", tmp_path / "other")


def test_other_datasets_have_nothing_to_download(tmp_path):
    for dataset in ("digits", "mine.npz", "photos/"):
        download(dataset, tmp_path / "data")
    assert not list(tmp_path.iterdir())


DEBIAN = Path("/usr/share/datasets/fashion-mnist")


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist():
    pool = load("fashion-mnist", DEBIAN, size=1000, side=14)
    assert (pool.images.shape, pool.classes) == ((1000, 1, 14, 14), 10)
    assert (np.bincount(pool.labels) == 100).all()
    facts = DATASETS["fashion-mnist"]
    shape = (facts.images, facts.channels, facts.side, facts.side)
    assert load("fashion-mnist", DEBIAN).images.shape == shape


# --- CIFAR: pickled batches


CIFAR = RNG.integers(0, 256, (24, 3, 32, 32), np.uint8)


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, tmp_path, monkeypatch):
    """Small files in CIFAR's python format, and their checksums in place of the real ones."""
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[request.param]
    key = "labels" if request.param == "cifar10" else "fine_labels"
    folder = tmp_path / kind.base_folder
    folder.mkdir()

    def write(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return [name, hashlib.md5(data).hexdigest()]

    files = [*kind.train_list, *kind.test_list]
    parts = np.array_split(np.arange(24), len(files))
    sums = [
        write(name, {"data": CIFAR[part].reshape(len(part), -1), key: LABELS[part].tolist()})
        for (name, _), part in zip(files, parts, strict=True)
    ]
    meta = write(kind.meta["filename"], {kind.meta["key"]: ["a", "b", "c"]})
    monkeypatch.setattr(kind, "train_list", sums[:-1])
    monkeypatch.setattr(kind, "test_list", sums[-1:])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": meta[1]})
    return request.param, tmp_path, folder


def test_cifar_is_train_and_test_merged(cifar):
    dataset, root, _ = cifar
    pool = load(dataset, root)
    np.testing.assert_array_equal(pool.images, CIFAR)
    np.testing.assert_array_equal(pool.labels, LABELS)
    assert pool.images.flags.c_contiguous
    download(dataset, root)  # there already: no network
    assert load(dataset, root, size=12, side=16).images.shape == (12, 3, 16, 16)


def test_damaged_cifar_is_refused_before_it_is_unpickled(cifar):
    dataset, root, folder = cifar
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for damaged in (b"", whole[:-1], pickle.dumps(Bomb())):
            path.write_bytes(damaged)
            with pytest.raises(LeakgapError, match=f"{path.name}: has the wrong checksum"):
                load(dataset, root)
        path.unlink()
        with pytest.raises(LeakgapError, match=f"^data.root: there is no .*{path.name}$"):
            load(dataset, root)
        path.write_bytes(whole)
    load(dataset, root)


# --- whose record each is


def people(tmp_path: Path, **arrays) -> str:
    path = tmp_path / "visits.npz"
    rng = np.random.default_rng(0)
    np.savez(path, labels=np.arange(60) % 2, features=rng.normal(size=(60, 3)), **arrays)
    return str(path)


@pytest.mark.parametrize(
    "ids", [np.arange(60) // 3 + 7, np.array([f"patient {each // 3}" for each in range(60)])]
)
def test_an_array_says_whose_records_are_and_is_no_part_of_them(tmp_path, ids):
    pool = load(people(tmp_path, patient=ids), images=False, groups="patient")
    assert list(pool.arrays) == ["features"]
    np.testing.assert_array_equal(pool.groups, np.arange(60) // 3)
    write_pool(tmp_path / "pool.npz", pool)
    again = read_pool(tmp_path / "pool.npz")
    np.testing.assert_array_equal(again.groups, pool.groups)
    np.testing.assert_array_equal(read_labels(tmp_path / "pool.npz")[2], pool.groups)
    assert again.digest == pool.digest != load(people(tmp_path), images=False).digest


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("{person}_{visit}.png", "c{c}/p{p}_v{v}.png"),
        ("{person}/{visit}.png", "c{c}/p{p}/v{v}.png"),
        ("p{person}-x{visit}.png", "c{c}/pq{p}-x{v}.png"),
    ],
)
def test_a_pattern_says_whose_images_are(tmp_path, pattern, name):
    for p in range(10):
        for v in range(3):
            path = tmp_path / name.format(c=p % 2, p=p, v=v)
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, RGB[p, 0])
    pool = load(str(tmp_path), groups=pattern)
    whose = [re.search(r"p?q?(\d)[_/-]", each.split("/", 1)[1])[1] for each in pool.names]
    assert len(set(zip(whose, pool.groups, strict=True))) == 10
    assert pool.groups[0] == 0


@pytest.mark.parametrize(
    ("groups", "ids", "told"),
    [
        ("person", np.arange(60), "has no array person, only features, patient"),
        ("patient", np.arange(60) // 10, "6 groups are too few for halves, 8 the least"),
        ("patient", np.maximum(np.arange(60) - 40, 0), "0 holds 41 of 60 records, more than half"),
        ("patient", np.ones((60, 2)), "the array patient is not one value for each record"),
        (
            "{person}_{visit}.png",
            np.arange(60),
            r"is a pattern of file names, and .*visits\.npz is no folder",
        ),
    ],
)
def test_groups_that_cannot_be_are_one_sentence(tmp_path, groups, ids, told):
    with pytest.raises(LeakgapError, match=rf"data\.groups: .*{told}"):
        load(people(tmp_path, patient=ids), images=False, groups=groups)


def test_a_pattern_that_does_not_fit_names_the_file(tmp_path):
    for name in ("a/1_1.png", "b/notes.png"):
        save(tmp_path / name, RGB[0, 0])
    with pytest.raises(
        LeakgapError, match=r"data\.groups: the pattern \{p\}_\{v\}\.png does not fit b/notes\.png"
    ):
        load(str(tmp_path), groups="{p}_{v}.png")
