"""Records of any kind: arrays of an .npz, or those that a user's function returns."""

import json
import textwrap
from pathlib import Path

import numpy as np
import pytest

from leakgap import LeakgapError
from leakgap.__main__ import main
from leakgap.data.datasets import load
from leakgap.data.pool import read_pool
from leakgap.study import Study

RNG = np.random.default_rng(0)
LABELS = np.arange(24) % 3
ARRAYS = {
    "features": RNG.normal(size=(24, 5)).astype(np.float32),
    "tokens": RNG.integers(0, 1000, (24, 7), np.int32),
    "name": np.array([f"record {i}" for i in range(24)]),
}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def function(returned: str, before: str = "") -> str:
    """Write a file whose function returns this; return what a study names it by."""
    source = f"import numpy as np\n{before}\n\ndef records():\n    return {returned}\n"
    Path("mine.py").write_text(textwrap.dedent(source))
    return "./mine.py:records"


def test_arrays_keep_names_types_and_rows():
    np.savez("mine.npz", labels=LABELS.astype(np.int16), **ARRAYS)
    whole = load("mine.npz", images=False)
    assert (whole.classes, whole.labels.dtype, set(whole.arrays)) == (3, np.int64, set(ARRAYS))
    part = load("mine.npz", size=9, seed=4, images=False)
    kept = [list(ARRAYS["name"]).index(name) for name in part.arrays["name"]]
    assert (len(kept), kept) == (9, sorted(kept))
    assert np.bincount(LABELS[kept]).tolist() == [3, 3, 3]
    for pool, rows in ((whole, list(range(24))), (part, kept)):
        np.testing.assert_array_equal(pool.labels, LABELS[rows])
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(pool.arrays[name], array[rows])
            assert pool.arrays[name].dtype == array.dtype


def test_a_function_s_arrays_are_those_of_an_npz():
    np.savez("given.npz", labels=LABELS, **ARRAYS)
    place = function("dict(np.load('given.npz'))")
    found, expected = load(place, images=False, size=12), load("given.npz", images=False, size=12)
    np.testing.assert_array_equal(found.labels, expected.labels)
    for name in ARRAYS:
        np.testing.assert_array_equal(found.arrays[name], expected.arrays[name])
    lists = load(function("{'x': [[1.0], [2.0], [3.0]], 'labels': [0, 1, 0]}"), images=False)
    assert lists.arrays["x"].tolist() == [[1.0], [2.0], [3.0]]


def test_a_module_s_function_and_files_beside_it(monkeypatch: pytest.MonkeyPatch):
    """Found on the path of modules, which a workflow of the user's own may have set."""
    monkeypatch.syspath_prepend(".")
    Path("elsewhere_of_mine.py").write_text("LABELS = [0, 1, 1]\n")
    function("{'x': np.ones(3), 'labels': np.array(LABELS)}", "from elsewhere_of_mine import LABELS")
    Path("mine.py").rename("records_of_mine.py")
    assert load("records_of_mine:records", images=False).labels.tolist() == [0, 1, 1]
    assert load("./records_of_mine.py:records", images=False).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"x": np.ones(24)}, "has no array labels, only x"),
        ({"labels": LABELS}, "has labels alone, and nothing to train on"),
        ({"labels": LABELS, "x": np.ones((23, 2))}, "x has 23 rows, and labels has 24"),
        ({"labels": LABELS, "x": np.float64(3)}, "x is a single value, and labels has 24"),
        ({"labels": LABELS / 2, "x": np.ones(24)}, "labels are float64, not integers"),
        ({"labels": LABELS, "classes": np.ones(24)}, "classes can't be the name of an array beside labels"),
        ({"labels": LABELS * 2, "x": np.ones(24)}, "class 1 of 0..4 has no record"),
        ({"labels": LABELS[:, None], "x": np.ones(24)}, "labels are (24, 1), not one for each record"),
    ],
)
def test_arrays_that_are_no_records_are_refused(arrays: dict, told: str):
    np.savez("bad.npz", **arrays)
    for dataset, where in (
        ("bad.npz", "bad.npz"),
        (function("dict(np.load('bad.npz'))"), "./mine.py:records"),
    ):
        with pytest.raises(LeakgapError) as caught:
            load(dataset, images=False)
        assert str(caught.value) == f"{where}: {told}"


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("3", "./mine.py:records: returned int, not a dict of arrays by name"),
        ("[np.ones(3)]", "./mine.py:records: returned list, not a dict of arrays by name"),
        ("{}", "./mine.py:records: has no array labels, only none"),
        (
            "{'x': np.array([{}, {}, {}]), 'labels': [0, 1, 0]}",
            "./mine.py:records: x holds Python objects, not numbers or text",
        ),
        ("1 / 0", "./mine.py:5 in records: ZeroDivisionError: division by zero"),
        (
            "open('gone')",
            "./mine.py:5 in records: FileNotFoundError: [Errno 2] No such file or directory: 'gone'",
        ),
    ],
)
def test_what_a_function_does_wrongly_is_one_sentence(returned: str, told: str):
    with pytest.raises(LeakgapError) as caught:
        load(function(returned), images=False)
    assert str(caught.value) == told


def test_the_built_in_training_takes_images_alone(capsys: pytest.CaptureFixture):
    """Told when the pool is made, before any training; a recipe's pool takes anything."""
    np.savez("mine.npz", labels=LABELS, **ARRAYS)
    study = {"name": "r", "data": {"dataset": "./mine.npz", "reserved": 4}, "grid": {"masks": 4}}
    assert main(["pool", "--study", json.dumps(study)]) == 1
    told = capsys.readouterr().err
    assert (
        "./mine.npz: has no array images, only features, tokens, name: other arrays need train.recipe" in told
    )
    assert not Path("results/r/pool.npz").exists()
    Path("recipe.py").write_text("def train(data, members, seed, steps): ...\n")
    own = study | {"train": {"recipe": "./recipe.py:train"}}
    assert main(["pool", "--study", json.dumps(own)]) == 0
    assert set(read_pool("results/r/pool.npz").arrays) == set(ARRAYS)
    both = own | {"grid": {"masks": 4, "variants": {"plain": {"train.recipe": None}}}}
    assert main(["pool", "--study", json.dumps(both)]) == 1


def test_pixels_are_averaged_in_images_alone():
    np.savez("mine.npz", labels=LABELS, **ARRAYS)
    with pytest.raises(LeakgapError, match=r"^mine.npz: has no array images"):
        load("mine.npz", side=4, images=False)
    images = RNG.integers(0, 256, (24, 1, 6, 6), np.uint8)
    np.savez("mine.npz", labels=LABELS, images=images, **ARRAYS)
    small = load("mine.npz", side=3, images=False)
    means = images.reshape(24, 1, 3, 2, 3, 2).mean((3, 5))
    np.testing.assert_array_equal(small.images, np.floor(means + 0.5))
    np.testing.assert_array_equal(small.arrays["features"], ARRAYS["features"])
    np.savez("mine.npz", labels=LABELS, images=images / 255)
    assert load("mine.npz", images=False).arrays["images"].dtype == np.float64
    with pytest.raises(LeakgapError, match="images are float64, not uint8"):
        load("mine.npz")


def test_a_function_s_file_is_part_of_what_makes_the_pool():
    place = function("{}")
    data = {"dataset": place}
    before = Study.load({"name": "r", "data": data}).data.code
    assert Study.load({"name": "r", "data": data}).data.code == before is not None
    function("{'x': 1}")
    assert Study.load({"name": "r", "data": data}).data.code != before
    assert Study.load({"name": "r", "data": {"dataset": "mine.npz"}}).data.code is None
    assert Study.load({"name": "r"}).data.code is None


@pytest.mark.parametrize(
    ("dataset", "told"),
    [
        ("./nowhere.py:records", "data.dataset: ./nowhere.py: there is no such file"),
        ("./mine.py:other", "data.dataset: ./mine.py: defines no other, only records"),
        ("./needy.py:records", "data.dataset: ./needy.py:records is called with nothing, and needs root"),
        ("no.module.of.mine:records", "data.dataset: there is no module no.module.of.mine"),
    ],
)
def test_a_function_that_can_t_be_called_is_told_before_any_job(dataset: str, told: str):
    function("{}")
    Path("needy.py").write_text("def records(root): ...\n")
    with pytest.raises(LeakgapError) as caught:
        Study.load({"name": "r", "data": {"dataset": dataset}})
    assert str(caught.value) == told
