"""Plugins: what a study file names is found, checked, given to the jobs that use it, and to no other study."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from leakgap import LeakgapError, attacks
from leakgap.__main__ import main
from leakgap.attacks import ATTACKS, Evidence, plugin
from leakgap.augment import MEMBERS, Technique
from leakgap.study import Study
from leakgap.training import ARCHITECTURES
from leakgap.training.loop import network

FILES = {
    "margin.py": """
        raise SystemExit("imported")


        def margin(evidence):
            ...
        """,
    "net.py": """
        raise SystemExit("imported")


        def net(classes, channels, width):
            ...
        """,
    "fade.py": """
        from dataclasses import dataclass
        from typing import ClassVar


        @dataclass(frozen=True)
        class Fade:
            \"\"\"Divide every value.\"\"\"

            by: int = 2

            columns: ClassVar[int] = 0
            late: ClassVar[bool] = False

            def __call__(self, images, draws):
                return images // self.by
        """,
}
PLUGINS = {
    "attacks": {"margin": "./margin.py:margin"},
    "techniques": {"fade": "./fade.py:Fade"},
    "architectures": {"net": "./net.py:net"},
}
STUDY = {
    "name": "p",
    "grid": {
        "techniques": ["none", "crop+fade"],
        "variants": {
            "own": {"train.architecture": "net"},
            "faded": {"technique": "fade", "train.fade.by": 3},
        },
        "masks": 4,
    },
    "attack": {"attacks": ["loss", "margin"]},
    "plugins": PLUGINS,
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder with the three files; afterwards no plugin is registered."""
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        write(name, code)
    yield tmp_path
    Study.load({"name": "none"})


def write(name: str, code: str) -> None:
    Path(name).write_text(textwrap.dedent(code).strip() + "\n")


def told(plugins: dict, **sections: dict) -> str:
    with pytest.raises(LeakgapError) as caught:
        Study.load({"name": "p", "plugins": plugins} | sections)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reading_a_study_imports_its_techniques_alone():
    """margin.py and net.py would end the process."""
    study = Study.load(STUDY)
    assert study.variant("faded").train.options_of("fade") == {"fade": {"by": 3}}
    code = f"""
        import sys
        from leakgap.study import Study

        Study.load({STUDY!r})
        sys.exit(bool({{"torch", "numpy"}} & set(sys.modules)))
        """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == 0


def test_a_job_has_the_plugins_that_it_uses_and_the_digests_of_their_files():
    def held(part: str) -> dict:
        return json.loads(part)["part"].get("plugins", {})

    study = Study.load(STUDY)
    fade, net, margin = ({kind: PLUGINS[kind]} for kind in ("techniques", "architectures", "attacks"))
    expected = {"none": {}, "crop+fade": fade, "own": net, "faded": fade}
    assert {name: held(study.training_part(name)) for name in study.grid.techniques} == expected
    assert held(study.part("attack.attacks")) == margin
    assert held(study.part("grid.techniques")) == fade
    assert held(study.part("data", "train.lr", "attack.fpr", "grid.masks")) == {}
    assert study.training_code("none") is None

    before = {name: study.training_code(name) for name in study.grid.techniques} | {"": study.attack_code}
    for file, changed in (
        ("fade.py", {"crop+fade", "faded"}),
        ("net.py", {"own"}),
        ("margin.py", {""}),
    ):
        Path(file).write_text(Path(file).read_text() + "# edited\n")
        study = Study.load(STUDY)
        now = {name: study.training_code(name) for name in study.grid.techniques} | {"": study.attack_code}
        assert {name for name in now if now[name] != before[name]} == changed
        before = now


def test_jobs_that_read_results_know_the_settings_of_plugins():
    study = Study.load(STUDY)
    expected = {name: study.settings(name) for name in study.grid.techniques}
    assert len({settings["the user's own files"] for settings in expected.values()}) == 3
    parts = [(study.attack_part(*job), job) for job in study.attack_jobs]
    for whole in (study.results_part, study.part("data", "grid", "train", "query", "attack")):
        parts.append((whole, study.grid.techniques))
    for part, names in parts:
        read = Study.load(part)
        assert {name: read.settings(name) for name in names} == {name: expected[name] for name in names}


def test_a_plugin_that_nothing_uses_changes_no_job():
    unused = STUDY | {
        "plugins": {"attacks": {"other": "./margin.py:margin"} | PLUGINS["attacks"]}
        | {
            "techniques": PLUGINS["techniques"] | {"dim": "./fade.py:Fade"},
            "architectures": PLUGINS["architectures"],
        }
    }
    study = Study.load(STUDY)
    jobs = [study.training_part(name) for name in study.grid.techniques], study.part("grid", "attack")
    other = Study.load(unused)
    assert (
        [other.training_part(name) for name in other.grid.techniques],
        other.part("grid", "attack"),
    ) == jobs
    assert other.attack_code == study.attack_code


def test_plugins_are_of_the_study_that_was_read_last():
    built_in = set(MEMBERS), set(ARCHITECTURES), set(ATTACKS)
    Study.load(STUDY)
    grid = {"techniques": ["none", "fade"]}
    with pytest.raises(LeakgapError, match=r"^grid.techniques: technique 'fade' is unknown"):
        Study.load({"name": "other", "grid": grid})
    assert (set(MEMBERS), set(ARCHITECTURES), set(ATTACKS)) == built_in
    write("other.py", FILES["fade.py"].replace("by: int = 2", "to: int = 5"))
    again = Study.load({"name": "o", "grid": grid, "plugins": {"techniques": {"fade": "other.py:Fade"}}})
    assert again.train.options_of("fade") == {"fade": {"to": 5}}
    assert Study.load(STUDY).train.options_of("fade") == {"fade": {"by": 2}}


def test_an_edited_technique_has_its_new_options():
    Study.load(STUDY)
    write("fade.py", FILES["fade.py"].replace("by: int = 2", "by: int = 2\n            less: int = 0"))
    assert Study.load(STUDY | {"train": {"fade": {"less": 7}}}).train.options_of("fade")["fade"]["less"] == 7


def test_a_job_imports_its_plugins_from_its_part():
    study = Study.load(STUDY)
    part = study.training_part("faded")
    Study.load({"name": "other"})
    given = Study.load(part)
    technique = Technique.parse("fade", options=given.variant("faded").train.options_of("fade"))
    import torch

    images = torch.full((4, 1, 3, 3), 90, dtype=torch.uint8)
    assert (technique(images) == 30).all()


@pytest.mark.parametrize("section", ["data", "grid", "train", "attack"])
def test_a_whole_section_can_be_read(section: str):
    """The report's job has all of them; `train` has the options of every technique, used or not."""
    whole = STUDY | {"train": {"dim": {"by": 9}}}
    whole["plugins"] = PLUGINS | {"techniques": PLUGINS["techniques"] | {"dim": "./fade.py:Fade"}}
    study = Study.load(whole)
    part = Study.load(study.part("name", section))
    assert getattr(part, section).model_dump() == getattr(study, section).model_dump()


@pytest.mark.parametrize(
    ("plugins", "sentence"),
    [
        (
            {"attacks": {"m": "./nowhere.py:m"}},
            "plugins.attacks.m: ./nowhere.py: there is no such file",
        ),
        (
            {"attacks": {"m": "./margin.py:other"}},
            "plugins.attacks.m: ./margin.py: defines no other, only margin",
        ),
        (
            {"attacks": {"m": "margin.py"}},
            "plugins.attacks.m: 'margin.py' is neither file.py:object nor module:object",
        ),
        ({"attacks": {"m": "no.such.module:m"}}, "plugins.attacks.m: there is no module no.such.module"),
        (
            {"attacks": {"m": "./net.py:net"}},
            "plugins.attacks.m: ./net.py:net is called with (evidence), and takes (classes, channels, width)",
        ),
        (
            {"architectures": {"n": "./margin.py:margin"}},
            "plugins.architectures.n: ./margin.py:margin is called with (classes, channels, width), and takes "
            "(evidence)",
        ),
        (
            {"techniques": {"f": "./net.py:net"}},
            "plugins.techniques.f: ./net.py:net is a function; a technique is a dataclass",
        ),
        (
            {"attacks": {"loss": "./margin.py:margin"}},
            "plugins.attacks.loss: the name is taken by leakgap; choose another",
        ),
        (
            {"attacks": {"member": "./margin.py:margin"}},
            "plugins.attacks.member: the name is taken by leakgap; choose another",
        ),
        (
            {"techniques": {"crop": "./fade.py:Fade"}},
            "plugins.techniques.crop: the name is taken by leakgap; choose another",
        ),
        (
            {"techniques": {"lr": "./fade.py:Fade"}},
            "plugins.techniques.lr: the name is taken by leakgap; choose another",
        ),
        (
            {"architectures": {"resnet18": "./net.py:net"}},
            "plugins.architectures.resnet18: the name is taken by leakgap; choose another",
        ),
        (
            {"techniques": {"a+b": "./fade.py:Fade"}},
            "plugins.techniques: 'a+b' is no name of a plugin: a letter, then letters, digits, dash and underscore",
        ),
        ({"metrics": {}}, "plugins.metrics: no such key; plugins has attacks, techniques, architectures"),
        ({"attacks": ["./margin.py:margin"]}, "plugins.attacks: input should be a valid dictionary"),
    ],
)
def test_each_fault_is_one_sentence_with_its_key(plugins: dict, sentence: str):
    assert told(plugins).startswith(sentence)


CLASS = """
@dataclass(frozen=True)
class F:
    {}
    columns: ClassVar[int] = 1
    late: ClassVar[bool] = True
"""
CALL = "    def __call__(self, images, draws): ...\n"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("class F: ...", "f.py:F is no dataclass"),
        ("F = 3", "f.py:F is no dataclass"),
        (CLASS.format("by: int = 1"), "f.py:F has no method __call__(self, images, draws)"),
        (CLASS.format("by: int") + CALL, "f.py:F: its field by has no default"),
        ("@dataclass\nclass F:\n    late: ClassVar[bool] = True\n" + CALL, "f.py:F has no columns, int"),
        ("@dataclass\nclass F:\n    columns: ClassVar[int] = 0\n" + CALL, "f.py:F has no late, bool"),
        ("\n\nF = 1 / 0", "f.py:6 in <module>: ZeroDivisionError: division by zero"),
        (CLASS.format("by: unheard = 1") + CALL, "f.py:"),
    ],
)
def test_a_class_that_is_no_technique_is_told(code: str, sentence: str, capsys):
    Path("f.py").write_text(f"from dataclasses import dataclass\nfrom typing import ClassVar\n\n{code}")
    assert told({"techniques": {"f": "f.py:F"}}).startswith(f"plugins.techniques.f: {sentence}")


def test_a_file_with_a_fault_is_named_first():
    Path("study.yaml").write_text("name: p\nplugins: {techniques: {f: ./no.py:F}}\n")
    with pytest.raises(
        LeakgapError, match=r"^study.yaml: plugins.techniques.f: ./no.py: there is no such file$"
    ):
        Study.load("study.yaml")


def test_a_variant_may_not_have_a_plugin_s_name():
    grid = {"variants": {"fade": {"train.lr": 1}}}
    assert told(PLUGINS, grid=grid) == "grid.variants.fade: it is the name of a technique"


def test_unknown_names_are_told_those_of_plugins():
    assert told(PLUGINS, attack={"attacks": ["margins"]}).endswith(f", {list(ATTACKS)[-1]}, margin")
    assert told(PLUGINS, train={"architecture": "nets"}).endswith("nets is none of resnet18, net")
    assert "policy, fade" in told(PLUGINS, grid={"techniques": ["fades"]})


def test_layers_that_a_plugin_does_not_take():
    sentence = told(PLUGINS, train={"architecture": "net", "dropout": 0.5})
    assert sentence == "train.dropout: the architecture net does not take it, only classes, channels, width"


def evidence(masks: int = 4) -> Evidence:
    generator = np.random.default_rng(0)
    member = np.tile([[True], [False]], (masks // 2, 5))
    z = generator.normal(size=(masks, 5, 3)).astype(np.float32)
    left_out = attacks.gives_away(member, member)
    return Evidence(z[..., :1], z[..., :1], member, left_out, np.arange(5) % 3, np.zeros(5, bool), z, z)


def test_a_plain_function_is_given_everything_and_an_attack_says_what_it_needs():
    write(
        "own.py",
        """
        from leakgap.attacks import Attack


        def plain(evidence):
            return evidence.target[..., 0].astype("float64")


        def _twice(evidence, by):
            return by * plain(evidence)


        twice = Attack(_twice, "phi, twice", "me", {"by": 2}, min_in=3)
        """,
    )
    known = evidence()
    with plugin.loaded({"plain": "own.py:plain", "twice": "own.py:twice"}):
        assert (ATTACKS["plain"].needs_logits, ATTACKS["plain"].needs_steps) == (True, True)
        assert (ATTACKS["twice"].needs_logits, ATTACKS["twice"].min_masks) == (False, 8)
        assert attacks.run("plain", known).dtype == np.float32
        np.testing.assert_array_equal(attacks.run("twice", known), 2 * known.target[..., 0])
    assert not {"plain", "twice"} & set(ATTACKS)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("def own(evidence):\n    return 1 / 0", "own.py:2 in own: ZeroDivisionError: division by zero"),
        (
            "def own(evidence):\n    return evidence.labels",
            "own.py:own returned int64 [5], not a number for every target and image, [4, 5]",
        ),
        ("own = 3", "own.py:own is no function of the evidence, nor an Attack with such a function"),
        ("from nowhere import own", "own.py:1 in <module>: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_what_an_attack_does_wrongly_is_one_sentence(code: str, sentence: str):
    Path("own.py").write_text(code)
    with (
        pytest.raises(LeakgapError) as caught,
        plugin.loaded({"own": "own.py:own"}),
    ):
        attacks.run("own", evidence())
    assert str(caught.value) == sentence
    assert "own" not in ATTACKS


def test_what_an_architecture_or_a_technique_does_wrongly_is_one_sentence():
    import torch

    write("net.py", "def net(classes, channels, width):\n    raise ValueError('width')\n")
    write("fade.py", FILES["fade.py"].replace("images // self.by", "images / self.by"))
    Study.load(STUDY)
    with pytest.raises(LeakgapError, match=r"^\./net\.py:2 in net: ValueError: width$"):
        network("net", 3, 1, 8)
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(
        LeakgapError, match=r"^Fade of crop\+fade made torch.float32 \[2, 1, 4, 4\] of torch.uint8"
    ):
        Technique.parse("crop+fade")(images)


def test_an_attack_s_needs_are_checked_by_its_job(capsys):
    """With the models there: it is not worth importing when the study is read."""
    write(
        "margin.py",
        """
        from leakgap.attacks import Attack


        def _phi(evidence):
            return evidence.target[..., 0]


        margin = Attack(_phi, "phi", "me", min_in=2)
        """,
    )
    study = {
        "name": "p",
        "data": {"dataset": "digits", "size": 64, "reserved": 0},
        "grid": {"techniques": ["none"], "masks": 4},
        "train": {"recipe": "./recipe.py:train", "steps": [1]},
        "attack": {"attacks": ["margin", "loss"], "bootstrap": 100},
        "plugins": {"attacks": PLUGINS["attacks"]},
    }
    write(
        "recipe.py",
        """
        import numpy as np


        def train(data, members, seed, steps):
            logits = np.random.default_rng(seed).normal(size=(len(data["labels"]), 10))
            logits[members, data["labels"][members]] += 1
            for _ in steps:
                yield logits
        """,
    )
    Path("study.json").write_text(json.dumps(study))
    for verb in ("pool", "masks"):
        assert main([verb, "--study", "study.json"]) == 0
    for mask in Study.load(study).masks:
        assert main(["train", "--study", "study.json", "--technique", "none", "--mask", mask]) == 0
    attack = ["attack", "--study", "study.json", "--technique", "none", "--shadow", "none"]
    assert main(attack) == 1
    assert capsys.readouterr().err.endswith("leakgap attack: grid.masks: margin needs 6 or more, not 4\n")
    source = Path("margin.py").read_text()
    Path("margin.py").write_text(source.replace("min_in=2", "needs_reserved=True"))
    assert main(attack) == 1
    assert "data.reserved: margin needs reserved images, and there are none" in capsys.readouterr().err
    Path("margin.py").write_text(source.replace("min_in=2", "min_in=1"))
    assert main(attack) == 0
    assert "margin" not in ATTACKS
