"""Contrasts of estimates: ratios and differences, paired draw by draw, or of two that share no draws.

The interval is that of `measure.estimate`. x / 0 is x over half a member, with an interval. A contrast in which no
TPR is above 0 (0 / 0) is undefined: NaN, as is everything that rests on an undefined TPR, and a contrast on one
mask pair.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import special

from leakgap.arguments import fraction
from leakgap.measure.estimate import (
    ONE_PAIR,
    SCALES,
    TOO_FEW,
    Estimate,
    Scale,
    Term,
    nothing,
    same_draws,
    student,
    term,
)

__all__ = ["contrast", "unpaired"]

Function = Literal["ratio", "difference"]


def contrast(
    first: Estimate | Sequence[Estimate],
    second: Estimate | Sequence[Estimate],
    function: Function = "ratio",
    level: float = 0.95,
) -> Estimate:
    """first / second, or first - second, of pooled TPRs on the same masks and images, with paired draws.

    A sequence stands for its mean: geometric for a ratio, arithmetic for a difference. Raises ArgumentError for
    estimates that were not resampled together, and for a level that does not lie between 0 and 1.

    >>> from leakgap.measure.estimate import KINDS
    >>> noise = 0.01 * np.random.default_rng(0).normal(size=(3, 1000))
    >>> def pooled(tpr):
    ...     return Estimate.of_draws(tpr, dict(zip(KINDS, tpr + noise)), units=8, pairs=4000, scale="logit")
    >>> [round(end, 1) for end in contrast(pooled(0.2), pooled(0.1))[:3]]
    [2.0, 1.8, 2.3]
    """
    fraction(level, "level")
    firsts, seconds = ([side] if isinstance(side, Estimate) else list(side) for side in (first, second))
    every, scale = [*firsts, *seconds], _scale(function)
    values, units = [one.value for one in every], min(one.units for one in every)
    if why := _undefined(values, units) or _nobody(values):
        return nothing(scale, why)
    for one in every[1:]:
        same_draws(every[0], one)
    above, below = (_mean([term(one, scale) for one in side]) for side in (firsts, seconds))
    difference = Term(
        above.value - below.value,
        {kind: draws - below.draws[kind] for kind, draws in above.draws.items()},
        above.further + below.further,
    )
    return student(difference, scale, units, level)


def unpaired(
    first: Estimate, second: Estimate, function: Function = "ratio", level: float = 0.95
) -> Estimate:
    """first / second, or first - second, of two that share no draws; Welch's degrees of freedom."""
    fraction(level, "level")
    scale, values = _scale(function), [first.value, second.value]
    why = _undefined(values, min(first.units, second.units))
    if why or (function == "ratio" and (why := _nobody(values))):
        return nothing(scale, why)
    above, below = (student(term(one, scale), scale, one.units, level) for one in (first, second))
    value, se = above.on_scale - below.on_scale, float(np.hypot(above.se, below.se))
    df = se**4 / (above.se**4 / above.df + below.se**4 / below.df)
    half, back = -special.stdtrit(df, (1 - level) / 2) * se, SCALES[scale][1]
    low, middle, high = (float(back(end)) for end in (value - half, value, value + half))
    return Estimate(middle, low, high, value, se, float(df), scale)


def _scale(function: Function) -> Scale:
    return "log" if function == "ratio" else "plain"


def _undefined(values: Sequence[float], units: int) -> str:
    """Why nothing can be said, or nothing."""
    return TOO_FEW if np.isnan(values).any() else ONE_PAIR if units < 2 else ""


def _nobody(tprs: Sequence[float]) -> str:
    """0 / 0 and 0 - 0 say nothing."""
    return "" if any(tprs) else "no member is caught on either side"


def _mean(terms: list[Term]) -> Term:
    count = len(terms)
    return Term(
        sum(each.value for each in terms) / count,
        {kind: np.mean([each.draws[kind] for each in terms], axis=0) for kind in terms[0].draws},
        sum(each.further for each in terms) / count**2,
    )
