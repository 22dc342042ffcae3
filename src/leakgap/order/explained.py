"""How much of what a technique does to the leak is gone once the fit is known.

In a factorial of techniques the total effect of one is the mean difference of log10 TPR between the variants with
it and without it. The rest is its coefficient beside a parabola in the fit (log10 of the train loss, say), by least
squares: sixteen variants carry no freer curve (a monotone one took most of a true rest for its own in simulations).
Share explained = 1 - rest / total, the "proportion explained" of Freedman, Graubard and Schatzkin (1992): not
a causal share, since whatever else moves fit and leak together is counted as fit.
"""

from typing import NamedTuple

import numpy as np

from leakgap.order.between import student


class Explained(NamedTuple):
    """Effect of a technique in decades of TPR, and what is left of it at equal fit, each with its interval.

    share: of the effect, what the fit explains; it is NaN where the total effect is not told from 0."""

    total: tuple[float, ...]  # value, low, high
    rest: tuple[float, ...]
    share: float


def explained(
    has: np.ndarray, fit: np.ndarray, leak: np.ndarray, variant: np.ndarray, level: float = 0.95
) -> Explained:
    """Split the effect of one technique into what the fit explains and the rest.

    has: bool [cells], whether the cell's variant has the technique; fit: float [cells]; leak: float [cells], log10
    TPR; variant: [cells], the clusters: standard errors leave one out in turn.

    >>> has = np.arange(8) % 2 == 1
    >>> fit = np.arange(8.0)
    >>> found = explained(has, fit, -0.1 * fit, np.arange(8))
    >>> round(found.total[0], 2), abs(found.rest[0]) < 1e-9, bool(np.isnan(found.share))
    (-0.1, True, True)
    """
    names = np.unique(variant)

    def effects(kept: np.ndarray) -> np.ndarray:
        inside, x, y = has[kept], fit[kept], leak[kept]
        if inside.all() or not inside.any():
            return np.full(2, np.nan)
        design = np.stack([inside, np.ones(len(x)), x, x**2], axis=1)
        rest = np.linalg.lstsq(design, y, rcond=None)[0][0]
        return np.array([y[inside].mean() - y[~inside].mean(), rest])

    value = effects(np.ones(len(has), bool))
    without = np.array([effects(variant != name) for name in names])
    error = np.sqrt(((without - without.mean(0)) ** 2).sum(0))
    total, rest = (
        tuple(student(float(one), float(se), len(names) - 1, level)[:3])
        for one, se in zip(value, error, strict=True)
    )
    told = total[1] > 0 or total[2] < 0
    return Explained(total, rest, float(1 - rest[0] / total[0]) if told else float("nan"))
