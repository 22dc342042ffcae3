"""What a training is given, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from leakgap.data.pool import Pool

if TYPE_CHECKING:
    from leakgap.study.train import Train


@dataclass(frozen=True)
class Job:
    """One model to be trained. `seed` is the model's own; it trains on the records of `member`, bool [S]."""

    pool: Pool
    member: np.ndarray
    technique: str
    seed: int
    train: Train
    views: int = 1
    plugins: tuple[str, ...] = ()  # digests of the files of those that it uses


@dataclass
class Answers:
    """What a training gives: float32 [views, S, classes] for every step, and what is to be told of it.

    seconds: of the training alone; settings: what all models of a variant share, by the names of the study file;
    about: device, versions and the like.
    """

    logits: list[np.ndarray]
    seconds: float
    settings: dict[str, Any]
    about: dict[str, Any] = field(default_factory=dict)
