"""Each member against torchvision image by image or a naive loop, and against the frequencies it promises."""

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from scipy.stats import binomtest, chisquare
from torchvision.transforms import AutoAugment, AutoAugmentPolicy
from torchvision.transforms.autoaugment import _apply_op

from leakgap.augment import Technique
from leakgap.augment import autoaugment as module
from leakgap.augment.warps import _sources

SHAPES = [(3, 32, 32), (1, 28, 28), (3, 9, 20), (1, 21, 8), (3, 8, 8), (3, 2, 5), (1, 1, 1)]
UNLIKELY = 1e-3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def photos(n, channels, height, width):
    """Images of all kinds of contrast: noise around a level, plain ones, ones with two values, full noise."""
    g = seeded(n * height + width + channels)
    level = torch.rand(n, channels, 1, 1, generator=g) * 220
    spread = torch.rand(n, channels, 1, 1, generator=g) * 60
    images = (
        (level + spread * torch.randn(n, channels, height, width, generator=g)).clamp(0, 255).to(torch.uint8)
    )
    images[::9] = images[::9, :, :1, :1]
    images[1::9] = images[1::9].ge(100).to(torch.uint8) * 255
    images[2::9] = torch.randint(0, 256, images[2::9].shape, dtype=torch.uint8, generator=g)
    return images


def scaled(draws, *counts):
    """Integers 0..count-1 from columns of draws in [0, 1)."""
    return (draws.double() * torch.tensor(counts)).long().tolist()


@pytest.mark.parametrize(("padding", "mode"), [("zero", "constant"), ("reflect", "reflect")])
@pytest.mark.parametrize(
    ("shape", "pad"), [((3, 32, 32), 4), ((1, 28, 28), 3), ((3, 9, 20), 1), ((1, 21, 8), 1)]
)
def test_crop_is_torchvisions(shape, pad, padding, mode):
    for option in (None, 5):
        pad = option or pad
        technique = Technique.parse("crop", options={"crop": {"pad": option, "padding": padding}})
        images = photos(200, *shape)
        draws = technique.draw(200, seeded())
        result = technique.apply(images, draws)
        for image, got, (top, left) in zip(
            images, result, scaled(draws, 2 * pad + 1, 2 * pad + 1), strict=True
        ):
            assert torch.equal(got, F.crop(F.pad(image, [pad], padding_mode=mode), top, left, *shape[1:]))


@pytest.mark.parametrize("shape", SHAPES)
def test_mirror_is_torchvisions(shape):
    technique = Technique.parse("mirror")
    images = photos(100, *shape)
    draws = technique.draw(100, seeded())
    for image, got, draw in zip(images, technique.apply(images, draws), draws, strict=True):
        assert torch.equal(got, F.hflip(image) if draw[0] < 0.5 else image)


def cutout_of_devries(image, y, x, size, fill):
    """DeVries and Taylor's Cutout, pixel by pixel; an odd size is kept (their code erases one pixel less)."""
    result = image.copy()
    for row in range(y - size // 2, y - size // 2 + size):
        for column in range(x - size // 2, x - size // 2 + size):
            if 0 <= row < image.shape[1] and 0 <= column < image.shape[2]:
                result[:, row, column] = fill[: len(image)]
    return result


@pytest.mark.parametrize(
    ("shape", "size"),
    [((3, 32, 32), 16), ((1, 28, 28), 14), ((3, 9, 20), 4), ((1, 14, 14), 7), ((1, 1, 1), 1)],
)
def test_cutout_is_devries(shape, size):
    fill = [10, 200, 30]
    for option in (None, 1, 3, 50):
        size = option or size
        technique = Technique.parse("cutout", fill=fill[: shape[0]], options={"cutout": {"size": option}})
        images = photos(60, *shape)
        draws = technique.draw(60, seeded())
        result = technique.apply(images, draws).numpy()
        for image, got, (y, x) in zip(images.numpy(), result, scaled(draws, *shape[1:]), strict=True):
            np.testing.assert_array_equal(got, cutout_of_devries(image, y, x, size, fill))


def test_fill_is_one_value_or_one_per_channel_and_rounded():
    images, draws = photos(20, 3, 8, 8), torch.rand(20, 2, generator=seeded())
    one = Technique.parse("cutout", fill=99.6).apply(images, draws)
    assert torch.equal(one, Technique.parse("cutout", fill=(100, 100, 100)).apply(images, draws))
    assert not torch.equal(one, Technique.parse("cutout", fill=(100, 100, 101)).apply(images, draws))


def magnitude(operation, index, sign, height, width):
    magnitudes, signed = AutoAugment()._augmentation_space(10, (height, width))[operation]
    return float(magnitudes[index]) * (sign if signed else 1) if magnitudes.ndim else 0.0


GROUPS = sorted(
    {step[::2] for steps in AutoAugment(AutoAugmentPolicy.CIFAR10).policies for step in steps}, key=str
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("operation", "index"), GROUPS)
def test_every_operation_and_magnitude_is_torchvisions(operation, index, shape):
    images = photos(27, *shape)
    step = module.NUMBERS.get(operation, module.NUMBERS["Warp"])
    for sign in (1, -1):
        level = torch.full((27, 1, 1, 1), module._level(operation, index or 0, sign), dtype=torch.float64)
        result = list(module.OPERATIONS.values())[step](images, level)
        value = magnitude(operation, index, sign, *shape[1:])
        for image, got in zip(images, result, strict=True):
            assert torch.equal(got, _apply_op(image, operation, value, F.InterpolationMode.NEAREST, None))


def test_warps_are_torchvisions_at_many_sizes():
    for height, width in [(n, n) for n in range(1, 72, 2)] + [
        (96, 96),
        (224, 224),
        (331, 331),
        (40, 97),
        (64, 30),
    ]:
        numbers = torch.arange(1.0, height * width + 1).view(1, 1, height, width)
        tables = _sources(height, width, module.WARPS)
        for table, (operation, index, sign) in zip(tables, module.WARPS, strict=True):
            value = magnitude(operation, index, sign, height, width)
            expected = _apply_op(numbers, operation, value, F.InterpolationMode.NEAREST, None)
            np.testing.assert_array_equal(table, expected.flatten().numpy())


def test_colours_are_torchvisions_at_every_third_rgb_value():
    values = torch.arange(0, 256, 3, dtype=torch.uint8)
    image = torch.cartesian_prod(values, values, values).T.reshape(1, 3, 86, -1).contiguous()
    for factor in (0.1, 0.3, 1.7):
        level = torch.full((1, 1, 1, 1), factor, dtype=torch.float64)
        assert torch.equal(module.tones.color(image, level), F.adjust_saturation(image, factor))
        assert torch.equal(module.tones.brightness(image, level), F.adjust_brightness(image, factor))


@pytest.mark.parametrize("shape", SHAPES)
def test_policy_is_torchvisions_auto_augment_with_our_draws(shape):
    technique = Technique.parse("policy")
    images = photos(400, *shape)
    draws = technique.draw(400, seeded())
    draws[::7, 1:3] /= 20  # let rare operations happen as well
    reference = AutoAugment(AutoAugmentPolicy.CIFAR10)
    for image, got, draw in zip(images, technique.apply(images, draws), draws, strict=True):
        drawn = int(draw[0].double() * 25), draw[1:3], (draw[3:] >= 0.5).long()
        reference.get_params = lambda _, drawn=drawn: drawn
        assert torch.equal(got, reference(image))


def test_sub_policies_are_torchvisions():
    ours = [tuple((name, p, index) for name, p, index in steps) for steps in module.SUB_POLICIES]
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    assert ours == [tuple((name, p, index or 0) for name, p, index in steps) for steps in theirs]
    assert (
        len({(name, magnitude(name, index, sign, 32, 32)) for name, index in GROUPS for sign in (1, -1)})
        == 53
    )


@pytest.fixture
def steps_taken(monkeypatch):
    """What the policy asks for, step by step: operation numbers and levels of every image."""
    taken = []
    monkeypatch.setattr(module, "_step", lambda images, operation, level: taken.append((operation, level)))
    Technique.parse("policy")(torch.zeros(50_000, 3, 4, 4, dtype=torch.uint8), seeded(3))
    return taken


def test_frequencies_of_operations_magnitudes_and_signs(steps_taken):
    """Per step, an (operation, level) comes up in the share of images that the 25 sub-policies give it."""
    policies = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    for step, (operation, level) in enumerate(steps_taken):
        share = {}
        for steps in policies:
            name, p, index = steps[step]
            for sign in (1, -1):
                key = module.NUMBERS.get(name, module.NUMBERS["Warp"]), module._level(name, index or 0, sign)
                share[key] = share.get(key, 0) + p / 25 / 2
        share[len(module.OPERATIONS), None] = 1 - sum(share.values())
        counts = dict.fromkeys(share, 0)
        for key in zip(operation.tolist(), level.tolist(), strict=True):
            counts[key if key[0] < len(module.OPERATIONS) else (key[0], None)] += 1
        possible = [key for key in share if share[key] > 0]
        assert all(not counts[key] for key in share if not share[key])
        expected = [50_000 * share[key] for key in possible]
        assert chisquare([counts[key] for key in possible], expected).pvalue > UNLIKELY


def test_frequencies_of_the_sub_policies_and_their_two_steps(steps_taken):
    """All four outcomes of all sub-policies: sub-policies are equally likely and their steps independent."""
    draws = Technique.parse("policy").draw(50_000, seeded(3)).double()
    choice = (draws[:, 0] * 25).long().numpy()
    happened = [operation < len(module.OPERATIONS) for operation, _ in steps_taken]
    outcome = choice * 4 + happened[0] * 2 + happened[1]
    expected = np.array(
        [
            (p if first else 1 - p) * (q if second else 1 - q) / 25
            for (_, p, _), (_, q, _) in AutoAugment(AutoAugmentPolicy.CIFAR10).policies
            for first in (False, True)
            for second in (False, True)
        ]
    )
    counts = np.bincount(outcome, minlength=100)
    assert not counts[expected == 0].any()
    assert chisquare(counts[expected > 0], 50_000 * expected[expected > 0]).pvalue > UNLIKELY


def test_crop_windows_are_uniform():
    image = torch.arange(1, 65, dtype=torch.uint8).view(1, 1, 8, 8)  # the pixel at (4, 4) names the window
    technique = Technique.parse("crop", options={"crop": {"pad": 3}})
    seen = technique(image.expand(20_000, -1, -1, -1), seeded(1))[:, 0, 4, 4]
    counts = torch.bincount(seen.long() - 1, minlength=64).view(8, 8)[1:, 1:]
    assert counts.sum() == 20_000
    assert chisquare(counts.flatten()).pvalue > UNLIKELY


def test_cutout_centres_are_uniform_over_the_image():
    technique = Technique.parse("cutout", options={"cutout": {"size": 1}})
    holes = technique(torch.ones(20_000, 1, 6, 9, dtype=torch.uint8), seeded(2)) == 0
    assert (holes.sum((1, 2, 3)) == 1).all()
    assert chisquare(holes.sum((0, 1)).flatten()).pvalue > UNLIKELY


def test_half_of_the_images_are_mirrored():
    images = torch.tensor([0, 1], dtype=torch.uint8).expand(20_000, 1, 1, 2)
    flipped = int(Technique.parse("mirror")(images, seeded(4))[..., 0].sum())
    assert binomtest(flipped, 20_000).pvalue > UNLIKELY
