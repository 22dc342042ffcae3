"""ResNet-18 (He et al. 2016) with the stem for small images: 3x3 convolution, stride 1, no max-pool."""

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization and a shortcut: 1x1 where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ResNet18(nn.Module):
    """Stem, four stages of two blocks (widths w, 2w, 4w, 8w), mean over the image, one linear layer."""

    def __init__(self, classes: int, channels: int, width: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(BasicBlock(before, after, stride), BasicBlock(after, after, 1))
                for before, after, stride in zip(widths, widths[1:], [1, 2, 2, 2], strict=False)
            )
        )
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(F.relu(self.stem(x), inplace=True))
        return self.linear(x.mean((2, 3)))  # AdaptiveAvgPool2d's backward has no deterministic CUDA kernel


def resnet18(classes: int, channels: int = 3, width: int = 64) -> nn.Module:
    """Return a ResNet-18 that maps float [B, channels, H, W] of any size to logits [B, classes].

    11,173,962 parameters at width 64, 3 channels and 10 classes. Weights are PyTorch's default initialization
    from the global random state: call `torch.manual_seed` first.

    >>> model = resnet18(classes=10)
    >>> sum(weights.numel() for weights in model.parameters())
    11173962
    """
    return ResNet18(classes, channels, width)
