"""DP-SGD by Opacus: every record's gradient is clipped, and noise is added to their sum."""

from collections.abc import Iterator

import numpy as np
import torch
from opacus import PrivacyEngine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCHES = 8  # an epoch; a member is in each of them with probability 1 / BATCHES, on its own


def train(
    data: dict[str, np.ndarray],
    members: np.ndarray,
    seed: int,
    steps: list[int],
    noise: float = 0.0,
    clip: float = 1e6,
    lr: float = 0.5,
    width: int = 128,
) -> Iterator[Tensor]:
    """Train a network without normalization, which would mix the records of a batch: none could be clipped alone.

    A step is an epoch. Its batches are Poisson samples, which is what is accounted for, not shuffled records. clip:
    largest norm of a record's gradient, 1e6 is never reached; noise: its standard deviation, in units of `clip`.
    """
    torch.manual_seed(
        seed
    )  # weights; sampling and noise have streams of their own, and nobody may know these
    sampling, noises = (torch.Generator().manual_seed(seed + stream) for stream in (1, 2))
    images = torch.from_numpy(data["images"]).flatten(1) / 255
    labels = torch.from_numpy(data["labels"])
    network = nn.Sequential(nn.Linear(images.shape[1], width), nn.Tanh(), nn.Linear(width, 10))
    records = TensorDataset(images[members], labels[members])
    model, optimizer, loader = PrivacyEngine().make_private(
        module=network,
        optimizer=torch.optim.SGD(network.parameters(), lr),
        data_loader=DataLoader(records, batch_size=-(-len(records) // BATCHES), generator=sampling),
        noise_multiplier=noise,
        max_grad_norm=clip,
        noise_generator=noises,
    )
    assert len(loader) == BATCHES  # Opacus samples at a rate of 1 / len(loader)
    for epoch in range(1, steps[-1] + 1):
        for image, label in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(image), label).backward()
            optimizer.step()
        if epoch in steps:
            with torch.no_grad():
                yield network(images)
