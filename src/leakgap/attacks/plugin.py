"""Attacks of the user's own: imported by the job that runs them, and what they return checked."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from leakgap import LeakgapError
from leakgap.attacks import ATTACKS, Attack, Evidence
from leakgap.objects import Object


@contextmanager
def loaded(places: Mapping[str, str]) -> Iterator[None]:
    """Import plugins, {name: place}; while the context lasts, they are in the registry of attacks.

    A plain function is given all evidence that there is, and is taken to need no more than one in- and one
    out-model. Raises LeakgapError for what can't be imported or is no attack.
    """
    own = {name: _load(Object(place)) for name, place in places.items()}
    ATTACKS.update(own)
    try:
        yield
    finally:
        for name in own:
            del ATTACKS[name]


def _load(plugin: Object) -> Attack:
    try:
        found = plugin.load()
    except Exception as error:  # anything: it is the user's code
        raise plugin.blamed(error) from None
    if not isinstance(found, Attack):
        found = Attack(found, plugin.name, plugin.text, needs_logits=True, needs_steps=True)
    if not callable(found.function):
        raise LeakgapError(
            f"{plugin.text} is no function of the evidence, nor an Attack with such a function"
        )
    return replace(found, function=_watched(found.function, plugin))


def _watched(function: Callable[..., Any], plugin: Object) -> Callable[..., np.ndarray]:
    """Return a plugin's function, whose errors are a sentence, and whose scores are float32 [T,S] or an error."""

    def attack(evidence: Evidence, **options: Any) -> np.ndarray:
        try:
            score = np.asarray(function(evidence, **options))
        except Exception as error:  # anything: it is the user's code
            raise plugin.blamed(error) from None
        shape = evidence.target.shape[:2]
        if score.shape != shape or score.dtype.kind not in "fiub":
            raise LeakgapError(
                f"{plugin.text} returned {score.dtype} {list(score.shape)}, not a number for every target and "
                f"image, {list(shape)}"
            )
        return score.astype(np.float32)

    return attack
