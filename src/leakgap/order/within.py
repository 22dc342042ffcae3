"""Within one recipe: do the models with the larger gap leak more, and can this study tell?

Models of one variant and step differ by their training sets and seeds alone, and by little: most of what is seen of
their gaps is the noise of the images that they are measured on. A correlation of two such quantities says next to
nothing until it is known how much of either is noise. Every quantity is therefore measured twice, on two halves of
the images. Correlations across the halves have no common noise; the correlation of a quantity with itself across
the halves is its reliability, and divided by both reliabilities' geometric mean the correlation is corrected for
attenuation (Spearman 1904, "The proof and measurement of association between two things").
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata


class Within(NamedTuple):
    """Correlation within cells, corrected for attenuation, with its interval; NaN where a reliability is not told
    from 0, and then `note` says which."""

    value: float
    low: float
    high: float
    x_reliability: float
    y_reliability: float
    note: str = ""


def within_cells(
    x: np.ndarray,
    y: np.ndarray,
    pair: np.ndarray,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Within:
    """Correlate two quantities of models within the cells that they belong to.

    x, y: float [2, C, T], of T models in each of C cells, measured on the two halves of the images. pair: int [T],
    the mask pair of each model, the same in all cells: pairs are drawn, cells are given. The interval holds the
    bootstrap's middle draws; correlations are of ranks within a cell, so one odd model decides nothing.

    >>> rng = np.random.default_rng(1)
    >>> truth = rng.normal(size=(12, 32))
    >>> x, y = (truth + rng.normal(size=(2, 12, 32)) for _ in range(2))
    >>> found = within_cells(x, y, np.arange(32) // 2, draws=200)
    >>> found.low < 1 < found.high, round(found.x_reliability, 1)
    (True, 0.5)
    """
    units = np.unique(pair)
    rows = [np.flatnonzero(pair == unit) for unit in units]
    rng = np.random.default_rng(seed)
    drawn = np.array(
        [
            _correlations(
                x, y, np.concatenate([rows[unit] for unit in rng.integers(len(units), size=len(units))])
            )
            for _ in range(draws)
        ]
    )
    across, own_x, own_y = _correlations(x, y, np.arange(x.shape[2]))
    tail = (1 - level) / 2
    for name, column in (("x", drawn[:, 1]), ("y", drawn[:, 2])):
        if not np.quantile(column, tail) > 0:
            nan = float("nan")
            return Within(nan, nan, nan, own_x, own_y, f"the reliability of {name} is not told from 0")
    corrected = drawn[:, 0] / np.sqrt(np.maximum(drawn[:, 1] * drawn[:, 2], 1e-12))
    low, high = np.quantile(corrected, [tail, 1 - tail])
    return Within(float(across / np.sqrt(own_x * own_y)), float(low), float(high), own_x, own_y)


def _correlations(x: np.ndarray, y: np.ndarray, models: np.ndarray) -> tuple[float, float, float]:
    """Mean over cells of the rank correlations of x and y across halves, and of either with its other half."""
    one, other, first, second = (_ranks(half[:, models]) for half in (*x, *y))
    across = (_mean_product(one, second) + _mean_product(other, first)) / 2
    return across, _mean_product(one, other), _mean_product(first, second)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Standardized ranks within each row, float64 [C, T]; mean ranks for ties."""
    ranks = rankdata(values, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    return ranks / np.maximum(np.sqrt((ranks**2).sum(1, keepdims=True)), 1e-12)


def _mean_product(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum(1).mean())
