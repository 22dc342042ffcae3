"""A recipe of the user's own: checked before any job, called as promised, and watched at every step."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from leakgap import LeakgapError
from leakgap.__main__ import main
from leakgap.answers import store as logits
from leakgap.data.masks import balanced_masks
from leakgap.study import Study
from leakgap.training.seeds import derive_seed

RECIPE = """
import numpy as np
from beside import FACTOR


def train(data, members, seed, steps, *, power=1, resume=None):
    x, y = data["features"], data["labels"]
    for step in steps:
        centres = np.stack([x[members][y[members] == c].mean(0) for c in range(3)])
        yield -FACTOR * power * step * ((x[:, None] - centres) ** 2).sum(-1)
"""
STUDY = {
    "name": "r",
    "data": {"dataset": "./mine.npz", "reserved": 4},
    "grid": {"masks": 4, "variants": {"sharp": {"train.options.power": 3}}},
    "train": {"recipe": "./recipe.py:train", "steps": [1, 5]},
    "attack": {"attacks": ["lira-online-fixed", "loss"], "bootstrap": 100},
}
RECORDS = 64


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data and a recipe, and the pool made of it."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    labels = np.arange(RECORDS) % 3
    features = generator.normal(size=(RECORDS, 5)) + labels[:, None]
    np.savez("mine.npz", features=features, name=np.array([f"r{i}" for i in range(RECORDS)]), labels=labels)
    Path("recipe.py").write_text(RECIPE)
    Path("beside.py").write_text("FACTOR = 2.0\n")
    assert main(["pool", "--study", json.dumps(STUDY)]) == 0
    return tmp_path


def train(technique: str = "none", mask: str = "m001", study: dict = STUDY) -> int:
    return main(["train", "--study", json.dumps(study), "--technique", technique, "--mask", mask])


def answers(technique: str = "none", mask: str = "m001") -> np.ndarray:
    """Logits of all steps: [steps, records, classes]."""
    table = pq.read_table(f"results/r/logits/{technique}/{mask}.parquet")
    return table["logits"].combine_chunks().flatten().to_numpy().reshape(-1, RECORDS, 3)


def test_its_logits_are_written_with_what_made_them(here: Path):
    for technique, power in (("none", 1), ("sharp", 3)):
        assert train(technique) == 0
        arrays = np.load("mine.npz")
        x, y = arrays["features"], arrays["labels"]
        member = balanced_masks(4, RECORDS, 0, 4)[1]
        found = answers(technique)
        for place, step in enumerate((1, 5)):
            for record in range(RECORDS):
                centres = [x[member & (y == c)].mean(0) for c in range(3)]
                expected = [-2 * power * step * ((x[record] - centre) ** 2).sum() for centre in centres]
                np.testing.assert_allclose(found[place, record], expected, rtol=1e-5)
        model = logits.read_model(f"results/r/logits/{technique}/m001.parquet")
        assert (model.technique, model.epochs, model.views, model.classes) == (technique, [1, 5], 1, 3)
        assert model.about["seed"] == derive_seed(0, 1)  # shared by all variants
        assert model.about["settings"]["train.recipe"] == "./recipe.py:train"
        assert model.about["settings"]["train.options"] == ({"power": 3} if power == 3 else {})
        assert "train.width" not in model.about["settings"]
    digests = set()
    for text in (RECIPE, RECIPE + "# edited\n"):
        Path("recipe.py").write_text(text)
        assert train() == 0
        about = logits.read_model("results/r/logits/none/m001.parquet").about
        digests.add(about["settings"]["train.recipe's file"])
    assert len(digests) == 2


def test_a_variant_s_own_seed_trains_it_by_hand_too(here: Path):
    """A job of the workflow is given its variant alone, whoever trains by hand the whole study."""
    variants = {"other": {"train.seed": 5}}
    study = STUDY | {"grid": {"masks": 4, "techniques": ["none"], "variants": variants}}
    whole, path = Study.load(study), "results/r/logits/other/m001.parquet"
    named = ["--pool", whole.paths.pool, "--masks", "4", "--save-seconds", "60", "--out", path]
    for given, files in ((json.dumps(study), []), (whole.training_part("other"), named)):
        job = ["train", "--study", given, "--technique", "other", "--mask", "m001", *files]
        assert main(job) == 0
        about = logits.read_model(path).about
        assert (about["seed"], about["settings"]["train.seed"]) == (derive_seed(5, 1), 5)


def test_a_recipe_may_change_what_it_is_given(here: Path):
    """Noise on the labels it trains on is no noise on those that its answers are measured by."""
    Path("recipe.py").write_text(
        "def train(data, members, seed, steps, power=1):\n"
        "    data['labels'][members] = 0\n"
        "    for step in steps:\n        yield data['features'][:, :3]\n"
    )
    assert train() == 0
    table = pq.read_table("results/r/logits/none/m001.parquet", columns=["label", "step"]).to_pandas()
    assert (table.loc[table["step"] == 1, "label"].to_numpy() == np.load("mine.npz")["labels"]).all()


def test_it_is_called_as_promised(here: Path):
    Path("recipe.py").write_text(
        "import json\nimport numpy as np\n\n\n"
        "def train(data, members, seed, steps, depth):\n"
        "    told = [sorted(data), {n: len(a) for n, a in data.items()}, members.tolist(), seed, steps, depth]\n"
        "    open('told.json', 'w').write(json.dumps([*told, str(members.dtype)]))\n"
        "    for step in steps:\n        yield np.zeros((2, 64, 3), np.float32)\n"
    )
    study = STUDY | {"train": STUDY["train"] | {"options": {"depth": [1, {"a": None}]}}}
    study |= {"grid": {"masks": 4, "replicates": 1}}
    seeds = {}
    for mask in ("m000", "m003", "r000"):
        assert train(mask=mask, study=study) == 0
        names, lengths, members, seed, steps, depth, kind = json.loads(Path("told.json").read_text())
        assert names == ["features", "labels", "name"]
        assert set(lengths.values()) == {RECORDS}
        row = balanced_masks(4, RECORDS, 0, 4)[int(mask[1:])]
        assert (members, kind) == (np.flatnonzero(row).tolist(), "int64")
        assert (steps, depth) == ([1, 5], [1, {"a": None}])
        assert 0 <= seed < 2**31
        seeds[mask] = seed
        assert logits.read_model(f"results/r/logits/none/{mask}.parquet").views == 2
    assert len(set(seeds.values())) == 3


def told(study: dict) -> str:
    with pytest.raises(LeakgapError) as caught:
        Study.load(study)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SIGNATURE = "def train(data, members, seed, steps, *, depth, rate=0.1): ...\n"


@pytest.mark.parametrize(
    ("source", "changes", "sentence"),
    [
        (None, {}, "train.recipe: ./recipe.py: there is no such file"),
        ("", {}, "train.recipe: ./recipe.py: defines no train, and no function or class at all"),
        ("def trian(): ...\nclass A: ...", {}, "train.recipe: ./recipe.py: defines no train, only trian, A"),
        ("def f():\n    def train(): ...", {}, "train.recipe: ./recipe.py: defines no train, only f"),
        ("def train(:", {}, "train.recipe: ./recipe.py: not Python: invalid syntax in line 1"),
        (
            "def train(data, members, seed): ...",
            {},
            "train.recipe: ./recipe.py:train takes no parameter steps, only data, members, seed",
        ),
        (
            "def train(data, members, steps, seed, /): ...",
            {},
            "train.recipe: ./recipe.py:train takes no parameter data, only none",
        ),
        (SIGNATURE, {}, "train.options.depth: ./recipe.py:train needs it, and it is not given"),
        (
            SIGNATURE,
            {"options": {"depth": 1, "wide": 2}},
            "train.options.wide: ./recipe.py:train takes no parameter wide, only data, members, seed, steps, depth",
        ),
        (
            SIGNATURE,
            {"options": {"seed": 1}},
            "train.options.seed: every recipe is given its seed by leakgap",
        ),
        (SIGNATURE, {"options": {"depth": float("inf")}}, "train.options: holds a number that is not finite"),
        (
            SIGNATURE,
            {"options": {"depth": 1}, "width": 8},
            "train.width has no effect with train.recipe; with a recipe, train has recipe, options, steps",
        ),
        (
            SIGNATURE,
            {"options": {"depth": 1}, "crop": {"pad": 1}},
            "train.crop has no effect with train.recipe",
        ),
        (
            f"async {SIGNATURE}",
            {"options": {"depth": 1}},
            "train.recipe: ./recipe.py: train is an `async def`: nobody awaits it",
        ),
        (SIGNATURE, {"options": {"depth": 1}, "steps": [5, 1]}, "train.steps: [5, 1] are not rising whole"),
        (SIGNATURE, {"options": {"depth": 1}, "steps": [0, 2**31]}, "train.steps: [0, 2147483648] are not"),
        (
            SIGNATURE,
            {"recipe": "recipe.py"},
            "train.recipe: 'recipe.py' is neither file.py:object nor module",
        ),
        (SIGNATURE, {"recipe": "no.where:train"}, "train.recipe: there is no module no.where"),
        (
            SIGNATURE,
            {"recipe": None, "options": {"depth": 1}},
            "train.options has no effect without train.recipe",
        ),
    ],
)
def test_each_fault_of_a_signature_is_told_before_any_job(
    here: Path, source: str | None, changes: dict, sentence: str
):
    Path("recipe.py").unlink()
    if source is not None:
        Path("recipe.py").write_text(source)
    assert told({"name": "r", "train": STUDY["train"] | changes}).startswith(sentence)


@pytest.mark.parametrize(
    "source",
    [
        "from elsewhere import train",
        "import elsewhere\ntrain = elsewhere.train",
        "from elsewhere import *",
        "@decorated\ndef train(): ...",
        "class train: ...",
        "if True:\n    def train(data, members, seed, steps, depth): ...",
        f"if True:\n    {SIGNATURE}else:\n    def train(): ...",
        f"def train(): ...\n{SIGNATURE}",
        "def train(data, members, **others): ...",
        "def train(data, members, seed, steps, resume, depth=2): ...",
    ],
)
def test_what_can_t_be_told_without_importing_is_accepted(here: Path, source: str):
    Path("recipe.py").write_text(source)
    Study.load({"name": "r", "train": STUDY["train"] | {"options": {"depth": 1}}})


def test_a_function_of_a_module_is_found_without_importing_it(here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / "package/inner").mkdir(parents=True)
    for folder in ("package", "package/inner"):
        (here / folder / "__init__.py").write_text("raise SystemExit('imported')")
    (here / "package/inner/mine.py").write_text(SIGNATURE)
    monkeypatch.syspath_prepend(here)
    name = "package.inner.mine:train"
    settings = STUDY["train"] | {"recipe": name}
    assert told({"name": "r", "train": settings}).startswith(f"train.options.depth: {name} needs it")
    assert Study.load({"name": "r", "train": settings | {"options": {"depth": 1}}}).train.recipe == name


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        (
            {"techniques": ["none", "crop"]},
            "grid.techniques: crop augments the images of the built-in training",
        ),
        ({"variants": {"a": {"technique": "crop"}}}, "grid.variants.a.technique: crop augments the images"),
        (
            {"variants": {"a": {"train.width": 8}}},
            "grid.variants.a.train.width has no effect with train.recipe",
        ),
        (
            {"variants": {"a": {"train.options.pover": 8}}},
            "grid.variants.a.train.options.pover: ./recipe.py:train",
        ),
        (
            {"variants": {"a": {"train.recipe": "./x.py:f"}}},
            "grid.variants.a.train.recipe: ./x.py: there is no",
        ),
    ],
)
def test_faults_of_a_grid_with_a_recipe(here: Path, grid: dict, sentence: str):
    assert told({"name": "r", "train": STUDY["train"], "grid": {"masks": 4} | grid}).startswith(sentence)


def test_a_grid_of_the_built_in_training_and_of_recipes(here: Path):
    """Each has its own keys: those written for the built-in training are not the recipe's."""
    variants = {"mine": {"train.recipe": "./recipe.py:train", "train.options.power": 2}}
    study = Study.load(
        {"name": "r", "grid": {"variants": variants}, "train": {"width": 2, "steps": [2, 3], "seed": 7}}
    )
    mine = study.variant("mine").train
    assert (mine.options, mine.steps, mine.seed) == ({"power": 2}, (2, 3), 7)
    assert study.least_side == 1
    back = Study.load(STUDY | {"grid": {"variants": {"a": {"train.recipe": None, "train.width": 4}}}})
    assert (back.variant("a").train.recipe, back.variant("a").train.width) == (None, 4)


def test_jobs_that_read_results_know_a_recipe_s_settings(here: Path):
    """Their part names every key, those of the built-in training too, which a recipe's variants are not to have."""
    variants = {"mine": {"train.options.power": 2}, "built in": {"train.recipe": None, "train.width": 4}}
    variants["built-in"] = variants.pop("built in")
    study = Study.load(STUDY | {"grid": {"masks": 4, "techniques": ["none"], "variants": variants}})
    names = study.grid.techniques
    expected = {name: study.settings(name) for name in names}
    for part in (study.results_part, study.part("data", "grid", "train", "query", "attack")):
        assert {name: Study.load(part).settings(name) for name in names} == expected
    for job in study.attack_jobs:
        part = Study.load(study.attack_part(*job))
        assert {name: part.settings(name) for name in job} == {name: expected[name] for name in job}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("    return None", "the recipe returned NoneType; it has to yield logits"),
        ("    yield np.zeros((64, 3))", "the recipe ended after 1 of 2 steps"),
        (
            "    for _ in range(3): yield np.zeros((64, 3))",
            "the recipe yields more than once for each of the 2",
        ),
        (
            "    yield np.zeros((64, 2))",
            "the logits of step 1 are [64, 2], not [records, classes], here [64, 3]",
        ),
        ("    yield np.zeros(64)", "the logits of step 1 are [64], not"),
        ("    yield np.zeros((0, 64, 3))", "the logits of step 1 are [0, 64, 3], not"),
        ("    yield np.zeros((128, 64, 3))", "the logits of step 1 are of 128 views, more than 127"),
        ("    yield np.zeros((64, 3), int)", "the logits of step 1 are int64, not floats"),
        ("    yield None", "the logits of step 1 are object, not floats"),
        ("    yield [[0.5] * 3, [0.5]]", "the logits of step 1 are no array (ValueError: setting an array"),
        ("    yield np.ma.masked_less(np.ones((64, 3)), 2)", "the logits of step 1 have masked values"),
        (
            "    yield np.full((64, 3), 1 / 3)",
            "the logits of step 1 are probabilities: yield their logarithm",
        ),
        ("    raise SystemExit\n    yield", "./recipe.py:5 in train: SystemExit"),
        (
            "    yield np.zeros((64, 3))\n    yield np.where(np.arange(64)[:, None] == 9, np.nan, np.ones(3))",
            "the logits of step 5 are not finite for record 9 (view 0): [nan nan nan]",
        ),
        ("    yield np.full((64, 3), 1e300)", "the logits of step 1 are not finite for record 0"),
        (
            "    yield np.zeros((2, 64, 3))\n    yield np.zeros((64, 3))",
            "the logits of step 5 are of 1 views, and the steps before of 2",
        ),
        ("    yield np.zeros((64, 3))\n    raise KeyError('x')", r"./recipe.py:6 in train: KeyError: 'x'"),
        ("    yield beside.FACTOR.shape", r"./recipe.py:5 in train: AttributeError: 'float' object has no"),
        (
            "    np.linalg.inv(np.zeros((2, 2)))\n    yield",
            r"./recipe.py:5 in train: LinAlgError: Singular matrix",
        ),
    ],
)
def test_what_it_yields_or_raises_wrongly_is_one_sentence(here: Path, capsys, body: str, sentence: str):
    Path("recipe.py").write_text(
        f"import numpy as np\nimport beside\n\ndef train(data, members, seed, steps, power=1):\n{body}\n"
    )
    assert train("none") == 1
    *log, last = capsys.readouterr().err.strip().splitlines()
    assert last.startswith(f"leakgap train: none/m001: {sentence}")
    if "recipe.py:" in sentence:
        assert any("Traceback" in line for line in log)  # in full, above the sentence
        line = re.search(r":(\d+) in", sentence)[1]
        assert any(f'recipe.py", line {line}, in train' in each for each in log)
    assert not list(Path("results").rglob("*m001.parquet"))


def test_a_recipe_that_can_t_be_imported_is_one_sentence(here: Path, capsys):
    Path("recipe.py").write_text("import nothing_of_this_name\n" + RECIPE)
    assert train() == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "leakgap train: none/m001: ./recipe.py:1 in <module>: ModuleNotFoundError: No module named "
        "'nothing_of_this_name'"
    )


@pytest.mark.parametrize("yields", ["", "    yield\n"])
def test_a_recipe_that_only_the_import_tells_to_be_async_is_one_sentence(here: Path, capsys, yields: str):
    async_def = f"async def other(data, members, seed, steps, power=1):\n    ...\n{yields}"
    Path("recipe.py").write_text(f"{async_def}train = other\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert train() == 1
    last = capsys.readouterr().err.splitlines()[-1]
    kind = "async_generator" if yields else "coroutine"
    assert (
        last == f"leakgap train: none/m001: the recipe returned {kind}; it has to yield logits, step by step"
    )


def test_parameters_that_only_the_import_tells_are_checked_then(here: Path, capsys):
    Path("recipe.py").write_text("def other(data, members): ...\ntrain = other\n")
    assert train() == 1
    assert "none/m001: ./recipe.py:train: its parameter seed is unknown" in capsys.readouterr().err


def test_a_yielded_array_is_copied(here: Path):
    Path("recipe.py").write_text(
        "import numpy as np\n\n\ndef train(data, members, seed, steps, **rest):\n"
        "    z = np.zeros((64, 3), np.float32)\n"
        "    for step in steps:\n        z[:, 0] = step\n        yield z\n"
    )
    assert train() == 0
    assert answers()[:, 0, 0].tolist() == [1, 5]


def test_tensors_of_torch_are_taken(here: Path):
    Path("recipe.py").write_text(
        "import torch\n\n\ndef train(data, members, seed, steps, power=1):\n"
        "    for step in steps:\n        yield torch.full((64, 3), step, dtype=torch.bfloat16).requires_grad_()\n"
    )
    assert train() == 0
    assert answers()[:, 0, 0].tolist() == [1, 5]
    assert logits.read_model("results/r/logits/none/m001.parquet").about["torch_version"] != "not used"


def test_a_library_of_the_same_name_beside_the_recipe_is_not_imported(here: Path):
    Path("yaml.py").write_text("raise SystemExit('imported from beside the recipe')")
    Path("recipe.py").write_text("import yaml\n" + RECIPE)
    command = [sys.executable, "-P", "-m", "leakgap", "train", "--study", json.dumps(STUDY)]
    run = subprocess.run([*command, "--technique", "none", "--mask", "m000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


RESUMING = """
import numpy as np


def train(data, members, seed, steps, resume, power=1):
    state = resume / "done.txt"
    begun = int(state.read_text()) if state.exists() else 0
    print("begun at", begun)
    for place, step in enumerate(steps):
        if place >= begun:
            state.write_text(str(place + 1))
            if place == 1 and (resume.parents[5] / "die").exists():
                raise SystemExit(143)
        yield np.full((64, 3), float(step))
"""


def test_its_own_state_survives_a_kill_and_goes_when_logits_are_written(here: Path, capsys):
    Path("recipe.py").write_text(RESUMING)
    Path("die").touch()
    with pytest.raises(SystemExit):
        train()
    assert main(["status", "--study", json.dumps(STUDY)]) == 0
    assert re.search(r"0 +0 +1 +3 +0 +0  none", capsys.readouterr().out)
    Path("die").unlink()
    assert train("none", "m000") == 0
    assert "begun at 0" in capsys.readouterr().out  # another model has another folder
    assert train() == 0
    assert "begun at 2" in capsys.readouterr().out
    assert not list(Path("results/r/resume").rglob("*.txt"))


@pytest.mark.parametrize("change", ["recipe", "options", "seed"])
def test_another_recipe_option_or_seed_never_finds_the_state(here: Path, capsys, change: str):
    Path("recipe.py").write_text(RESUMING)
    Path("die").touch()
    with pytest.raises(SystemExit):
        train()
    Path("die").unlink()
    study = STUDY
    match change:
        case "recipe":
            Path("recipe.py").write_text(RESUMING + "# edited\n")
        case "options":
            study = STUDY | {"train": STUDY["train"] | {"options": {"power": 2}}}
        case "seed":
            study = STUDY | {"train": STUDY["train"] | {"seed": 1}}
    assert train(study=study) == 0
    assert "begun at 0" in capsys.readouterr().out.splitlines()[-1]
