"""Monotone fits, rising or falling."""

import numpy as np
from scipy.optimize import isotonic_regression


def isotonic(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Least-squares monotone fit of y [n] on x [n], rising or falling as fits better, read off at `new`.

    Equal x are one knot; linear between knots, constant beyond the outermost.
    """
    knots, index = np.unique(x, return_inverse=True)
    weight = np.bincount(index).astype(float)
    mean = np.bincount(index, y) / weight
    fits = [isotonic_regression(mean, weights=weight, increasing=rising).x for rising in (True, False)]
    best = min(fits, key=lambda fit: (weight * (fit - mean) ** 2).sum())
    return np.interp(new, knots, best)
