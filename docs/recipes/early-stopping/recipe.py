"""Early stopping: some members are held out, and the epoch that is best on them is the model."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn


def train(
    data: dict[str, np.ndarray],
    members: np.ndarray,
    seed: int,
    steps: list[int],
    validation: float = 0.0,
    keep: str = "last",
    width: int = 256,
    lr: float = 0.001,
    batch: int = 128,
) -> Iterator[Tensor]:
    """Train with Adam; a step is a budget of epochs.

    validation: share of the members that is held out, never trained on. keep: the model of the `last` epoch, or of
    all epochs so far the `best`, with the least loss on those held out.
    """
    torch.manual_seed(seed)
    shuffled = np.random.default_rng(seed).permutation(members)
    held_out, trained = np.split(shuffled, [round(validation * len(members))])
    if keep == "best" and not len(held_out):
        raise ValueError("keep: best takes a validation share above 0")
    features = torch.from_numpy(standardized(data["features"], trained))
    labels = torch.from_numpy(data["labels"])
    hidden = (nn.Linear(features.shape[1], width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    model = nn.Sequential(*hidden, nn.Linear(width, int(labels.max()) + 1))
    optimizer = torch.optim.Adam(model.parameters(), lr)
    least = math.inf
    for epoch in range(1, steps[-1] + 1):
        for chosen in torch.from_numpy(trained)[torch.randperm(len(trained))].split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(features[chosen]), labels[chosen]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = model(features)
        loss = nn.functional.cross_entropy(logits[held_out], labels[held_out])
        if keep == "last" or loss < least:
            kept, least = logits, loss
        if epoch in steps:
            yield kept


def standardized(features: np.ndarray, trained: np.ndarray) -> np.ndarray:
    """Features with the mean and deviation of those trained on, which are members' too; unknown ones are 0."""
    mean, deviation = np.nanmean(features[trained], 0), np.nanstd(features[trained], 0)
    return np.nan_to_num((features - mean) / deviation)
