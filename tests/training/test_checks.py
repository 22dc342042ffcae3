"""Architectures of the user's own that can't be trained, or answer otherwise than for one image: one sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from leakgap import LeakgapError
from leakgap.data.pool import Pool, at_once, average_down
from leakgap.study import Study
from leakgap.training import loop
from leakgap.training.job import Job
from leakgap.training.loop import Trainer, normalizer

CODE = """
import numpy as np
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, classes, channels, width):
        super().__init__()
        self.first = nn.Linear(channels * 64, 8)
        self.last = nn.Linear(8, classes)
        {made}
    def forward(self, x):
        x = self.first(x.flatten(1))
        {done}
SHARED = []
def net(classes, channels, width):
    {first}
    return Net(classes, channels, width)
"""
USUAL = {"made": "", "done": "return self.last(x)", "first": ""}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    yield
    Study.load({"name": "none"})


def trainer(technique: str = "none", **changes: str) -> Trainer:
    Path("net.py").write_text(CODE.format(**USUAL | changes))
    plugins = {"architectures": {"net": "./net.py:net"}}
    if Path("fade.py").exists():
        plugins |= {"techniques": {"fade": "./fade.py:Fade"}}
    train = {"architecture": "net", "epochs": 2, "steps": [1, 2], "batch_size": 16}
    study = Study.load({"name": "n", "train": train, "plugins": plugins})
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), np.uint8)
    pool = Pool({"images": images}, np.arange(40) % 4, 4)
    return Trainer(
        Job(pool, np.arange(40) < 20, technique, 3, study.train, plugins=("net",)), torch.device("cpu")
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"made": "self.last = nn.Linear(8, 5)"}, r"answers 8 images with \w+ \[8, 5\], not .*, \[8, 4\]"),
        ({"made": "self.last = nn.Linear(8, 1)"}, r"answers 8 images with \w+ \[8, 1\], not"),
        ({"done": "return self.last(x), x"}, "answers with tuple, not with a tensor of logits"),
        ({"done": "return self.last(x).argmax(1)"}, r"answers 8 images with int64 \[8\], not"),
        ({"done": "return self.last(x).squeeze(0)"}, r"answers 1 images with \w+ \[4\], not"),
        ({"made": "self.more = nn.Linear(2, 2)"}, r"more\.weight has no part in the logits"),
        ({"done": "return self.last(x.detach())"}, r"first\.weight has no part in the logits"),
        ({"made": "self.requires_grad_(False)"}, "has no weights that can be trained"),
        ({"made": "self.more = nn.LazyLinear(2)"}, r"the size of more\.weight is not known"),
        ({"done": "return self.last(x[:, :3])"}, r"net\.py:14 in forward: RuntimeError: mat1 and mat2"),
        ({"first": "return nn.Linear(3, 3)"}, r"net\.py:\d+ in .*: RuntimeError: mat1 and mat2"),
        ({"first": "raise KeyError('x')"}, r"net\.py:17 in net: KeyError: 'x'"),
        ({"first": "return 7"}, "returned int, not a torch.nn.Module"),
        ({"first": "return (yield)"}, "returned generator, not a torch.nn.Module"),
        (
            {"first": "SHARED.append(Net(classes, channels, width)); return SHARED[0]"},
            "does not make a new model whenever",
        ),
        (
            {"made": "self.last.weight.data += float(np.random.normal())"},
            r"last\.weight differs under one seed",
        ),
        ({"done": "return self.last(nn.functional.dropout(x, 0.5))"}, "otherwise when it is asked again"),
        ({"done": "return self.last(x - x.mean(0))"}, "otherwise without others beside it"),
    ],
    ids=str,
)
def test_architectures_that_can_t_be_trained_are_one_sentence(changes, told):
    with pytest.raises(LeakgapError, match=told) as caught:
        trainer(**changes)
    assert "net.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_architecture_is_trained_as_without_the_check(monkeypatch):
    """Its weights are those of the seed, and batch normalization has seen no image."""
    made = {"made": "self.norm = nn.BatchNorm1d(8)", "done": "return self.last(self.norm(x))"}
    checked = trainer(**made)
    assert checked.model.norm.num_batches_tracked == 0
    *_, progress = checked.run()
    monkeypatch.setattr(loop, "check_network", lambda *_: None)
    *_, other = trainer(**made).run()
    assert torch.equal(torch.stack(progress.logits), torch.stack(other.logits))


def test_frozen_weights_stay_and_the_others_learn():
    given = trainer(made="self.first.requires_grad_(False)")
    before = {name: weight.clone() for name, weight in given.model.named_parameters()}
    list(given.run())
    same = {name: torch.equal(weight, before[name]) for name, weight in given.model.named_parameters()}
    assert same == {"first.weight": True, "first.bias": True, "last.weight": False, "last.bias": False}


def test_what_fails_later_is_one_sentence_too():
    given = trainer(
        done="if self.training and len(x) == 10: raise RuntimeError('of ten')\n        return self.last(x)"
    )
    with pytest.raises(LeakgapError, match=r"net\.py:14 in forward: RuntimeError: of ten"):
        list(given.run())


MUTE = "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})"


@pytest.mark.parametrize("body", ["raise KeyError('x')", MUTE, "return 7", "return images[0]"])
def test_a_technique_that_fails_is_one_sentence(body):
    Path("fade.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n@dataclass(frozen=True)\nclass Fade:\n"
        f"    columns: ClassVar[int] = 1\n    late: ClassVar[bool] = True\n    def __call__(self, images, draws):\n"
        f"        {body}\n"
    )
    told = r"fade\.py:8 in __call__: (KeyError: 'x'|Mute)$" if "raise" in body else "Fade of fade made"
    with pytest.raises(LeakgapError, match=told):
        trainer("fade")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), MemoryError("numpy's")]
)
def test_memory_that_runs_out_is_one_sentence(error, monkeypatch):
    given = trainer()

    def full(*_):
        raise error

    monkeypatch.setattr(given, "step", full)
    with pytest.raises(
        LeakgapError,
        match=r"^memory runs out \((OutOfMemoryError: CUDA out of memory|MemoryError: numpy's)\): lower train\.",
    ):
        list(given.run())


def test_as_many_images_at_once_as_their_size_allows(monkeypatch):
    """512 of 224 pixels took 4.7 GiB at width 8; up to 32 pixels the number, and so every bit, is the old one."""
    assert {at_once(512, side, side) for side in (1, 8, 28, 32)} == {512}
    assert at_once(4096, 16, 64) == 4096
    assert at_once(512, 224, 224) * 224**2 <= 512 * 32**2 < (at_once(512, 224, 224) + 1) * 224**2
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 40, 50), np.uint8)
    study = Study.load({"name": "n", "train": {"width": 2, "precision": "fp32"}})
    pool = Pool({"images": images}, np.arange(40) % 4, 4)
    given = Trainer(Job(pool, np.arange(40) < 20, "crop", 3, study.train), torch.device("cpu"))
    seen = []
    given.model.register_forward_hook(lambda _, x, y: seen.append(len(y)))
    whole = given.logits()
    monkeypatch.setattr(loop, "EVALUATE_CHUNK", 16)
    torch.testing.assert_close(given.logits(), whole, rtol=1e-5, atol=1e-5)
    assert seen == [40, 8, 8, 8, 8, 8]


def test_sums_do_not_depend_on_how_many_images_are_worked_on_at_once(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 40, 50), np.uint8)
    small, mean = average_down(images, 7), normalizer(images)
    monkeypatch.setattr("leakgap.data.pool.at_once", lambda *_: 3)
    monkeypatch.setattr(loop, "at_once", lambda *_: 3)
    np.testing.assert_array_equal(average_down(images, 7), small)
    assert normalizer(images) == mean
