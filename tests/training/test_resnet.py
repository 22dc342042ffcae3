"""ResNet-18 against torchvision's, and its size in closed form."""

import pytest
import torch
from torch import nn

from leakgap import ArgumentError
from leakgap.training.resnet import normalization, resnet18


def parameters(classes, channels, width):
    """Count the weights by hand: 3x3 stem, four stages of two blocks, three 1x1 shortcuts, one linear layer."""

    def convolution(inputs, outputs, side):
        return side * side * inputs * outputs + 2 * outputs  # with its BatchNorm

    total, before = convolution(channels, width, 3), width
    for stage in range(4):
        after = width * 2**stage
        total += convolution(before, after, 3) + 3 * convolution(after, after, 3)
        total += convolution(before, after, 1) if stage else 0
        before = after
    return total + (before + 1) * classes


@pytest.mark.parametrize(("classes", "channels", "width"), [(10, 3, 64), (100, 3, 64), (10, 1, 8), (2, 1, 1)])
def test_number_of_parameters(classes, channels, width):
    model = resnet18(classes, channels, width)
    assert sum(weight.numel() for weight in model.parameters()) == parameters(classes, channels, width)


def test_number_of_parameters_of_the_full_model():
    assert sum(weight.numel() for weight in resnet18(10).parameters()) == 11_173_962


@pytest.mark.parametrize("training", [True, False])
def test_equals_torchvisions_with_another_stem(training):
    from torchvision.models import resnet18 as torchvisions

    torch.manual_seed(0)
    ours, theirs = resnet18(10), torchvisions(num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.Identity()
    pairs = list(zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    for index, (mine, other) in enumerate(pairs):
        assert mine.shape == other.shape
        if mine.is_floating_point():  # other weights and other running statistics in every layer
            mine.copy_(torch.rand(mine.shape) * 0.1 + 0.01 * (index % 7) + (mine.ndim == 1) * 0.5)
        other.copy_(mine)
    images = torch.randn(4, 3, 32, 32)
    ours.train(training), theirs.train(training)
    with torch.no_grad():
        z, expected = ours(images), theirs(images)
    assert expected.std() > 0.1
    assert torch.allclose(z, expected, rtol=1e-4, atol=1e-4 * expected.abs().max())
    for mine, other in pairs:  # running statistics moved alike
        assert torch.allclose(mine, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side", [28, 14, 8])
@pytest.mark.parametrize("width", range(1, 17))
def test_gradients_are_those_of_double_precision_at_every_width(width, side, monkeypatch):
    """Narrow weight gradients of strided 1x1 convolutions in channels_last are wrong, or deadly, in oneDNN.

    ReLU is made smooth: rounding puts some values on the other side of its kink.
    """
    monkeypatch.setattr(nn.functional, "relu", lambda x, inplace=False: nn.functional.gelu(x))
    torch.manual_seed(width)
    model = resnet18(10, 1, width, norm="group").to(memory_format=torch.channels_last)
    exact = resnet18(10, 1, width, norm="group").double()
    exact.load_state_dict(model.state_dict())
    images, labels = torch.randn(6, 1, side, side), torch.arange(6)
    for each, x in ((model, images.to(memory_format=torch.channels_last)), (exact, images.double())):
        nn.functional.cross_entropy(each(x), labels).backward()
    for mine, other in zip(model.parameters(), exact.parameters(), strict=True):
        assert mine.grad is not None
        assert (mine.grad - other.grad).abs().max() < 1e-3 * other.grad.abs().max() + 1e-6


def test_no_convolution_of_one_pixel_has_a_stride():
    for module in resnet18(10).modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
            assert module.stride == (1, 1)


@pytest.mark.parametrize("size", [(1, 8, 8), (1, 28, 28), (3, 9, 20), (3, 4, 4)])
def test_any_size_of_image(size):
    model = resnet18(7, size[0], 2).eval()
    assert model(torch.randn(5, *size)).shape == (5, 7)


def test_weights_come_from_the_global_seed_alone():
    first, second, third = (seeded(seed) for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, third, strict=True))


def seeded(seed):
    torch.manual_seed(seed)
    return list(resnet18(10, 1, 4).state_dict().values())


def test_group_normalization_is_that_of_the_definition():
    """Wu and He 2018, eq. 1: mean and variance of a record's own group of channels, batch and mode no matter."""
    torch.manual_seed(0)
    x = torch.randn(3, 64, 4, 5)
    groups = x.numpy().reshape(3, 4, 16, 4, 5)
    mean, variance = groups.mean((2, 3, 4), keepdims=True), groups.var((2, 3, 4), keepdims=True)
    expected = torch.from_numpy((groups - mean) / (variance + 1e-5) ** 0.5).reshape(x.shape)
    torch.testing.assert_close(normalization("group", 64)(x), expected, rtol=1e-4, atol=1e-5)
    model = resnet18(3, 1, 8, norm="group")
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    assert torch.equal(model.train()(x[:, :1]), model.eval()(x[:, :1]))


def test_another_normalization_is_refused():
    with pytest.raises(ArgumentError, match="norm must be batch or group, not 'layer'"):
        resnet18(10, norm="layer")


def test_dropout_drops_a_share_of_the_features_before_the_last_layer():
    model, seen = resnet18(3, 1, 64, dropout=0.25).train(), []
    model.linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.randn(20, 1, 8, 8)
    torch.manual_seed(0)
    model(images)
    model.dropout = 0
    model(images)
    kept, whole = seen
    share = ((kept == 0) & (whole != 0)).sum() / (whole != 0).sum()
    assert 0.2 < share < 0.3
    both = (kept != 0) & (whole != 0)
    torch.testing.assert_close(kept[both], whole[both] / 0.75, rtol=1e-4, atol=1e-5)
