"""Training: the loop, one job of the grid, the architectures. Importing this package imports no torch."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

ARCHITECTURES = {"resnet18": "leakgap.training.resnet:resnet18"}
"""module:function of (classes, channels, width), which returns a module: images [B,C,H,W] to logits."""


RECIPE = ("data", "members", "seed", "steps")  # what every recipe is called with
RESUME = "resume"  # what it is called with if it has such a parameter


def shift(height: int) -> int:
    """Return by how many pixels images are shifted in the query views 2 and beyond."""
    return max(1, height // 16)


@contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage while modules are imported, nor theirs ever after.

    Importing torch makes 300,000 objects that live to the end; to look for garbage among them takes a sixth of
    the time of the import.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_on:
            gc.enable()
