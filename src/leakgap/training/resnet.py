"""ResNet-18 (He et al. 2016) with the stem for small images: 3x3 convolution, stride 1, no max-pool."""

import torch.nn.functional as F
from torch import Tensor, nn

from leakgap import ArgumentError

__all__ = ["BasicBlock", "ResNet18", "normalization", "resnet18"]

GROUP = 16  # channels of a group at least: Wu and He 2018, table 3


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with normalization and a shortcut: 1x1 where the shape changes.

    The shortcut's stride is taken by slicing. A 1x1 convolution with a stride is the same function, but its weight
    gradient in oneDNN (issue 6035) writes beyond its memory, in channels_last, fp32 and few channels on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str):
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = normalization(norm, outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = normalization(norm, outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), normalization(norm, outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = x[..., :: self.stride, :: self.stride]
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNet18(nn.Module):
    """Stem, four stages of two blocks (widths w, 2w, 4w, 8w), mean over the image, dropout, one linear layer."""

    def __init__(self, classes: int, channels: int, width: int, dropout: float = 0, norm: str = "batch"):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), normalization(norm, width))
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(BasicBlock(before, after, stride, norm), BasicBlock(after, after, 1, norm))
                for before, after, stride in zip(widths, widths[1:], [1, 2, 2, 2], strict=False)
            )
        )
        self.dropout = dropout
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(F.relu(self.stem(x), inplace=True))
        x = x.mean((2, 3))  # AdaptiveAvgPool2d's backward has no deterministic CUDA kernel
        return self.linear(F.dropout(x, self.dropout, self.training) if self.dropout else x)


def normalization(norm: str, channels: int) -> nn.Module:
    """Return batch normalization, or group normalization: as many equal groups as have GROUP channels or more.

    >>> [normalization("group", channels).num_groups for channels in (8, 33, 64, 100, 512)]
    [1, 1, 4, 5, 32]
    """
    if norm not in ("batch", "group"):
        raise ArgumentError(f"norm must be batch or group, not {norm!r}")
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    groups = max(1, channels // GROUP)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def resnet18(
    classes: int, channels: int = 3, width: int = 64, dropout: float = 0, norm: str = "batch"
) -> nn.Module:
    """Return a ResNet-18 that maps float [B, channels, H, W] of any size to logits [B, classes].

    11,173,962 parameters at width 64, 3 channels and 10 classes. dropout: share of features dropped before the last
    layer; norm: batch or group, see `normalization`. Weights are PyTorch's default initialization from the global
    random state: call `torch.manual_seed` first.

    >>> model = resnet18(classes=10)
    >>> sum(weights.numel() for weights in model.parameters())
    11173962
    """
    return ResNet18(classes, channels, width, dropout, norm)
