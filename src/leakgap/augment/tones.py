"""The operations of AutoAugment that change colours.

Each takes uint8 images [n,C,H,W], C 1 or 3, and their levels, float64 [n,1,1,1], and returns uint8 images. It
equals torchvision's functional on every single image, to the bit.
"""

import torch
from torch import Tensor


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with black."""
    return _blend(images, 0, factor)


def color(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image."""
    return images if images.shape[1] == 1 else _blend(images, _grey(images), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean of the grey image."""
    total = _grey(images).sum((1, 2, 3), keepdim=True, dtype=torch.float32)  # exact up to 256 x 256 pixels
    return _blend(images, total / images[0, 0].numel(), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with a blur over 3 x 3 pixels, the centre counted 5 times, that leaves the border as it is."""
    if min(images.shape[2:]) <= 2:
        return images
    pixels = images.float()
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    # Thirteenths are never near a half, so that the rounding is exact, unlike that of a convolution in TF32.
    box.add_(pixels[:, :, 1:-1, 1:-1], alpha=4).mul_(1 / 13).round_()
    pixels[:, :, 1:-1, 1:-1] = box
    return _blend(images, pixels, factor)


def posterize(images: Tensor, mask: Tensor) -> Tensor:
    """Keep the bits of a mask."""
    return images & mask.to(torch.uint8)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values from an integer threshold on."""
    return images ^ ((images >= threshold.to(torch.uint8)).to(torch.uint8) * 255)


def invert(images: Tensor, _: Tensor) -> Tensor:
    """255 - images."""
    return ~images


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch every channel to 0..255; a channel of one value stays as it is."""
    low = images.amin((2, 3), keepdim=True)
    high = images.amax((2, 3), keepdim=True)
    flat = low == high
    scale = torch.where(flat, 1.0, 255 / (high - low).float())
    return (images - torch.where(flat, 0, low).float()).mul_(scale).clamp_(0, 255).to(torch.uint8)


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """PIL's rule; a channel with fewer than 255 pixels below its brightest value stays as it is."""
    pixels = images.flatten(2).long()
    histogram = pixels.new_zeros((*pixels.shape[:2], 256), dtype=torch.int32)
    histogram.scatter_add_(2, pixels, histogram.new_ones(1).expand_as(pixels))
    brightest = histogram.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - brightest).div_(255, rounding_mode="floor")
    below = histogram.cumsum(2, dtype=torch.int32) - histogram
    table = (below + step // 2).div_(step.clamp(min=1), rounding_mode="floor").clamp_(max=255).to(torch.uint8)
    return torch.where(step > 0, table.gather(2, pixels), images.flatten(2)).view(images.shape)


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    red, green, blue = images.split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).to(torch.uint8)


def _blend(images: Tensor, degenerate: Tensor | int, factor: Tensor) -> Tensor:
    """factor * images + (1 - factor) * degenerate in float32, without fused steps, then truncated."""
    rest = (1 - factor).float() * degenerate
    return (images * factor.float()).add_(rest).clamp_(0, 255).to(torch.uint8)
