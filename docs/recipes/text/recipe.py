"""A small text classifier: the mean of its words' embeddings, and one linear layer."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn


def train(
    data: dict[str, np.ndarray],
    members: np.ndarray,
    seed: int,
    steps: list[int],
    width: int = 64,
    dropout: float = 0.0,
    weight_decay: float = 0.0,
    lr: float = 0.003,
    batch: int = 128,
) -> Iterator[Tensor]:
    """Train with AdamW; a step is an epoch. width: of the embedding; dropout: of the mean."""
    torch.manual_seed(seed)
    tokens, labels = torch.from_numpy(data["tokens"]), torch.from_numpy(data["labels"])
    model = nn.Sequential(
        nn.EmbeddingBag(int(tokens.max()) + 1, width, mode="mean", padding_idx=0),
        nn.Dropout(dropout),
        nn.Linear(width, int(labels.max()) + 1),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    for epoch in range(1, steps[-1] + 1):
        for chosen in torch.from_numpy(members)[torch.randperm(len(members))].split(batch):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(tokens[chosen]), labels[chosen]).backward()
            optimizer.step()
        if epoch in steps:
            model.eval()
            with torch.no_grad():
                yield model(tokens)
            model.train()
