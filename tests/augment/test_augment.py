"""The techniques as a whole: names, options, draws, and what holds whatever the members are."""

import itertools
import subprocess
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import leakgap.augment
from leakgap import LeakgapError
from leakgap.augment import MEMBERS, Technique, canonical

TECHNIQUES = ["+".join(members) or "none" for k in range(5) for members in itertools.combinations(MEMBERS, k)]
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 9, 20), (1, 8, 8)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(seed))


def test_sixteen_techniques_and_their_members():
    assert len(TECHNIQUES) == 16
    assert canonical("none") == ()
    assert canonical("crop+mirror+cutout+policy") == ("crop", "mirror", "cutout", "policy") == tuple(MEMBERS)
    assert [Technique.parse(name).name for name in TECHNIQUES] == TECHNIQUES


def test_order_of_application_is_crop_mirror_policy_cutout():
    operations = Technique.parse("crop+mirror+cutout+policy").operations
    assert [type(operation).__name__ for operation in operations] == ["Crop", "Mirror", "Policy", "Cutout"]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_members_act_one_after_another_each_on_draws_of_its_own(name):
    technique = Technique.parse(name, fill=9)
    images = noise(50, 3, 12, 12)
    draws = technique.draw(50, seeded())
    chained, rest = images, draws
    for member in (member for member in ("crop", "mirror", "policy", "cutout") if member in name):
        alone = Technique.parse(member, fill=9)
        mine, rest = rest[:, : alone.columns], rest[:, alone.columns :]
        chained = alone.apply(chained, mine)
    assert rest.shape == (50, 0)
    assert torch.equal(technique.apply(images, draws), chained)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mirror+crop", "'crop\\+mirror'"),
        ("crop+crop", "written 'crop'"),
        ("none+crop", "unknown.*crop, mirror, cutout, policy"),
        ("flip", "unknown"),
        ("crop+", "unknown"),
        ("", "unknown"),
        ("Crop", "unknown"),
    ],
)
def test_wrong_names_are_refused(name, told):
    with pytest.raises(LeakgapError, match=told):
        Technique.parse(name)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("crop", {"options": {"crop": {"pads": 3}}}, "crop.pads.*pad, padding"),
        ("mirror", {"options": {"mirror": {"p": 0.5}}}, "mirror.p.*none"),
        ("mirror", {"options": {"flip": {}}}, "'flip'"),
        ("crop", {"options": {"crop": {"pad": 0}}}, "crop.pad: input should be greater than or equal to 1"),
        ("crop", {"options": {"crop": {"padding": "edge"}}}, "'edge'"),
        (
            "cutout",
            {"options": {"cutout": {"size": 0}}},
            "cutout.size: input should be greater than or equal to 1",
        ),
        ("cutout", {"options": {"cutout": {"fill": 3}}}, "cutout.fill"),
        ("cutout", {"fill": 256}, "0..255"),
        ("cutout", {"fill": [0, -1, 0]}, "0..255"),
    ],
)
def test_wrong_options_are_refused(name, arguments, told):
    with pytest.raises(LeakgapError, match=told):
        Technique.parse(name, **arguments)


def test_options_of_absent_members_do_nothing():
    options = {"cutout": {"size": 3}, "crop": {"pad": 2}}
    assert Technique.parse("crop", options=options) == Technique.parse("crop", options={"crop": {"pad": 2}})


@pytest.mark.parametrize(
    ("images", "draws", "told"),
    [
        (torch.zeros(2, 3, 8, 8), torch.rand(2, 2), "float32"),
        (noise(3, 8, 8), torch.rand(3, 2), "\\[3, 8, 8\\]"),
        (noise(2, 3, 8, 8), torch.rand(3, 2), "\\[2, 2\\]"),
        (noise(2, 3, 8, 8), torch.rand(2, 3), "\\[2, 2\\]"),
        (noise(2, 3, 8, 8), torch.zeros(2, 2, dtype=torch.int64), "int64"),
    ],
)
def test_wrong_shapes_and_dtypes_are_refused(images, draws, told):
    with pytest.raises(LeakgapError, match=told):
        Technique.parse("crop").apply(images, draws)


def test_images_that_a_member_cannot_take_are_refused():
    draws = torch.rand(2, 2)
    for padding in ("zero", "reflect"):
        with pytest.raises(LeakgapError, match=r"crop.pad: 4 is not below the side of the images, 4"):
            Technique.parse("crop", options={"crop": {"pad": 4, "padding": padding}}).apply(
                noise(2, 3, 4, 9), draws
            )
    with pytest.raises(LeakgapError, match="2 values for images of 3 channels"):
        Technique.parse("cutout", fill=[1, 2]).apply(noise(2, 3, 8, 8), draws)
    with pytest.raises(LeakgapError, match="not 2"):
        Technique.parse("policy")(noise(2, 2, 8, 8))


def test_options_are_checked_against_the_size_of_the_images():
    def technique(pad, size):
        return Technique.parse("crop+cutout", options={"crop": {"pad": pad}, "cutout": {"size": size}})

    technique(5, 12).check(6, 9)
    with pytest.raises(LeakgapError, match=r"^crop\.pad: 6 is not below the side of the images, 6$"):
        technique(6, 12).check(6, 9)
    with pytest.raises(LeakgapError, match=r"^cutout\.size: 13 is over twice the side of the images, 6$"):
        technique(5, 13).check(9, 6)
    Technique.parse("mirror+policy").check(1, 1)  # members without a check take any image


def test_none_returns_the_images_themselves():
    images = noise(4, 3, 8, 8)
    technique = Technique.parse("none")
    assert technique.draw(4).shape == (4, 0)
    assert technique(images) is images


@pytest.mark.parametrize("name", TECHNIQUES)
def test_an_empty_batch_stays_empty(name):
    assert Technique.parse(name)(noise(0, 3, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("name", TECHNIQUES)
@pytest.mark.parametrize("shape", SHAPES)
def test_permuting_and_splitting_a_batch_changes_no_image(name, shape):
    technique = Technique.parse(name, fill=7)
    images = noise(60, *shape)
    draws = technique.draw(60, seeded(1))
    untouched, kept = images.clone(), draws.clone()
    whole = technique.apply(images, draws)
    assert whole.dtype == torch.uint8
    assert torch.equal(images, untouched)
    assert torch.equal(draws, kept)
    order = torch.randperm(60, generator=seeded(2))
    parts = [technique.apply(images[part], draws[part]) for part in order.split([1, 7, 52])]
    assert torch.equal(torch.cat(parts), whole[order])


@pytest.mark.parametrize("name", TECHNIQUES)
def test_memory_layout_changes_no_image(name):
    technique = Technique.parse(name, fill=[1, 2, 3])
    images = noise(30, 3, 10, 12)
    draws = technique.draw(30, seeded(1))
    expected = technique.apply(images, draws)
    assert torch.equal(technique.apply(images.to(memory_format=torch.channels_last), draws), expected)
    strided = noise(60, 3, 10, 24)
    strided[::2, :, :, ::2] = images
    assert torch.equal(technique.apply(strided[::2, :, :, ::2], draws), expected)


@pytest.mark.parametrize(("name", "distinct"), [("crop", 60), ("mirror", 2), ("cutout", 200), ("policy", 40)])
def test_copies_of_one_image_get_many_distinct_results(name, distinct):
    # 81 windows; 2 sides; 1,024 centres; hundreds of pairs of operations. One draw per batch would give 1.
    for technique in (t for t in TECHNIQUES if name in canonical(t)):
        copies = noise(1, 3, 32, 32).expand(256, -1, -1, -1)
        assert len(Technique.parse(technique)(copies, seeded()).unique(dim=0)) >= distinct


@pytest.mark.parametrize("name", TECHNIQUES[1:])
def test_the_seed_decides_everything(name):
    technique = Technique.parse(name)
    images = noise(64, 3, 32, 32)
    first = technique(images, seeded(5))
    assert torch.equal(first, technique(images, seeded(5)))
    assert not torch.equal(first, technique(images, seeded(6)))


def test_draws_are_uniform_and_on_the_cpu():
    draws = Technique.parse("crop+mirror+cutout+policy").draw(4000, seeded())
    assert draws.shape == (4000, 10)
    assert draws.device.type == "cpu"
    assert 0 <= draws.min() < 1e-3
    assert 1 - 1e-3 < draws.max() < 1
    assert (draws.mean(0) - 0.5).abs().max() < 4 * (1 / 12 / 4000) ** 0.5
    assert (torch.corrcoef(draws.T) - torch.eye(10)).abs().max() < 5 / 4000**0.5


@pytest.mark.parametrize("name", TECHNIQUES)
@pytest.mark.parametrize("padding", ["zero", "reflect"])
def test_images_may_be_on_a_gpu_that_nothing_waits_for(name, padding):
    """Fake CUDA tensors raise on mixed devices and where the host would need a value from the device."""
    technique = Technique.parse(name, fill=[1, 2, 3], options={"crop": {"padding": padding}})
    draws = technique.draw(300, seeded())
    with FakeTensorMode():
        images = torch.empty(300, 3, 32, 32, dtype=torch.uint8, device="cuda")
        result = technique.apply(images, draws)
    assert (result.device.type, result.shape, result.dtype) == ("cuda", images.shape, torch.uint8)


def test_fake_tensors_do_catch_a_wait_for_the_device():
    with FakeTensorMode():
        images = torch.empty(3, dtype=torch.uint8, device="cuda")
        with pytest.raises(Exception, match="nonzero"):
            images.nonzero()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_gpu_gives_the_same_images(name):
    technique = Technique.parse(name, fill=[1, 2, 3])
    images = noise(2000, 3, 32, 32)
    draws = technique.draw(2000, seeded())
    there = images.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = technique.apply(there, draws)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(result.cpu(), technique.apply(images, draws))


@dataclass(frozen=True)
class Fade:
    """A member that exists in this file only."""

    strength: int = 2

    columns: ClassVar[int] = 1
    late: ClassVar[bool] = False

    def __call__(self, images: torch.Tensor, draws: np.ndarray) -> torch.Tensor:
        return images // self.strength


def test_a_new_member_is_one_class_and_one_name(monkeypatch):
    monkeypatch.setitem(leakgap.augment.MEMBERS, "fade", f"{__name__}:Fade")
    technique = Technique.parse("mirror+fade", options={"fade": {"strength": 4}})
    images = noise(50, 3, 8, 8)
    assert technique.draw(50).shape == (50, 2)
    assert technique(images).max() <= 63
    with pytest.raises(LeakgapError, match="'crop\\+fade'"):
        canonical("fade+crop")


def test_names_and_options_are_checked_without_torch_or_numpy():
    code = (
        "import sys, leakgap.augment as a; a.Technique.parse('crop+mirror+cutout+policy').check(8, 8);"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_policy_needs_no_torchvision():
    code = (
        "import sys, torch; from leakgap.augment import Technique;"
        "Technique.parse('policy')(torch.zeros(64, 3, 8, 8, dtype=torch.uint8));"
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
