"""Intervals of pooled TPRs, of means over targets, of their ratios and differences: one rule for all that is shown.

V = V(models) + V(images) - V(pairs), not below V(pairs), each from its own bootstrap (Cameron, Gelbach and Miller
2011, "Robust inference with multiway clustering"; `measure.bootstrap`). V(models) is multiplied by
U / (U - 1), U the number of mask pairs. The interval is value -+ t sqrt(V) on a scale of its own:

    a TPR, an accuracy, an AUC    logit
    a ratio of TPRs, a loss       log
    a difference, a gap           as it is

with replicates carried to that scale by its slope at the estimate (so no replicate is the logarithm of zero), and
sent back by its ends. The degrees of freedom are Satterthwaite's: V(models) has U - 1, V(images) is taken as known.

Zeros: a TPR of 0 counts as half a member caught on a logarithmic scale (Haldane 1956), and its logarithm has the
further variance 2 (one over half a count); 1 likewise on the logit scale. So x / 0 is x over half a member,
with an interval. A contrast in which no TPR is above 0 (0 / 0) is undefined: NaN, as is everything that rests on an
undefined TPR, and a contrast on one mask pair. Where no draw differs from the estimate (ties, two attacks that rank
alike), and for a single value of one mask pair, the estimate stands and its interval is undefined, never of zero
width; `note` says why.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import special  # stdtr, stdtrit: Student's t, without scipy.stats, half a second to import

from leakgap.measure.bootstrap import KINDS, Kind, Mean, Pooled, Scale

__all__ = ["Interval", "contrast", "interval", "unpaired"]

TIED = 1e-24  # a variance so small is that of rounding
TOO_FEW, ONE_PAIR = "too few non-members for the FPR, or no members", "one mask pair has no interval"
HALF = 0.5  # the count that stands for a count of zero; the variance of its logarithm is 1 / HALF

SCALES: dict[Scale, tuple[Callable, Callable]] = {  # how a value gets to the scale of its interval, and back
    "log": (np.log, np.exp),
    "logit": (special.logit, special.expit),
    "fisher": (np.arctanh, np.tanh),  # of correlations between techniques
    "plain": (float, float),
}


class Interval(NamedTuple):
    """An estimate and its confidence interval; NaN where undefined, and then the note says why."""

    value: float
    low: float
    high: float
    estimate: float  # the value on the scale, a count of zero made half a count
    se: float  # its standard error
    df: float  # degrees of freedom of Student's t
    scale: Scale
    note: str = ""

    def p_value(self, null: float) -> float:
        """Two-sided p-value of `null`: below 1 - level where the interval at `level` leaves it out."""
        to_scale = SCALES[self.scale][0]
        return float(2 * special.stdtr(self.df, -abs(self.estimate - to_scale(null)) / self.se))


class _Term(NamedTuple):
    """An estimate on its scale: value, replicates of each kind (carried there by the slope), further variance."""

    value: float
    replicates: dict[Kind, np.ndarray]
    further: float


def interval(one: Pooled | Mean, level: float = 0.95) -> Interval:
    """The interval of a pooled TPR, on the logit scale, or of a mean over targets, on its own.

    >>> from leakgap.measure.bootstrap import Pooled
    >>> draws = 0.1 + 0.01 * np.random.default_rng(0).normal(size=(3, 1000))
    >>> pooled = Pooled(0.1, dict(zip(KINDS, draws)), units=8, members=4000)
    >>> [round(float(end), 2) for end in interval(pooled)[:3]]
    [0.1, 0.08, 0.13]
    """
    if isinstance(one, Mean):
        return _one(one.value, one.replicates, one.units, one.pairs, one.scale, level)
    return _one(one.tpr, one.replicates, one.units, one.members, "logit", level)


def _one(
    value: float, replicates: dict[Kind, np.ndarray], units: int, pairs: int, scale: Scale, level: float
) -> Interval:
    if np.isnan(value):
        return _nothing(scale, TOO_FEW)
    if units < 2:
        return _nothing(scale, ONE_PAIR)._replace(value=value)
    if scale == "plain":
        return _student(_Term(value, replicates, 0.0), scale, units, level)
    if scale == "log":
        if value <= 0:
            return _nothing(scale, "the logarithm of 0 has no interval")
        relative = {kind: replicates[kind] / value for kind in KINDS}
        return _student(_Term(float(np.log(value)), relative, 0.0), scale, units, level)
    half = HALF / pairs
    share = min(max(value, half), 1 - half)
    carried = {kind: replicates[kind] / (share * (1 - share)) for kind in KINDS}
    term = _Term(float(special.logit(share)), carried, 0.0 if share == value else 1 / HALF)
    found = _student(term, scale, units, level)
    low, high = 0.0 if value <= 0 else found.low, 1.0 if value >= 1 else found.high
    return found._replace(value=value, low=low, high=high)


def contrast(
    first: Pooled | Sequence[Pooled],
    second: Pooled | Sequence[Pooled],
    function: Literal["ratio", "difference"] = "ratio",
    level: float = 0.95,
) -> Interval:
    """first / second, or first - second, of pooled TPRs on the same masks and images, with paired replicates.

    A sequence stands for its mean: geometric for a ratio, arithmetic for a difference.

    >>> noise = 0.01 * np.random.default_rng(0).normal(size=(3, 1000))
    >>> one, other = (Pooled(t, dict(zip(KINDS, t + noise)), units=8, members=4000) for t in (0.2, 0.1))
    >>> [round(end, 1) for end in contrast(one, other)[:3]]
    [2.0, 1.8, 2.3]
    """
    firsts, seconds = ([side] if isinstance(side, Pooled) else list(side) for side in (first, second))
    scale: Scale = "log" if function == "ratio" else "plain"
    tprs, units = [one.tpr for one in (*firsts, *seconds)], min(one.units for one in (*firsts, *seconds))
    if why := _undefined(tprs, units) or _nobody(tprs):
        return _nothing(scale, why)
    above, below = (_mean([_term(one, scale) for one in side]) for side in (firsts, seconds))
    difference = _Term(
        above.value - below.value,
        {kind: above.replicates[kind] - below.replicates[kind] for kind in KINDS},
        above.further + below.further,
    )
    return _student(difference, scale, units, level)


def unpaired(first: Pooled | Mean, second: Pooled | Mean, level: float = 0.95) -> Interval:
    """first / second of pooled TPRs, first - second of means, that share no draws; Welch's degrees of freedom."""
    scale: Scale = "log" if isinstance(first, Pooled) else "plain"
    values = [one.tpr if isinstance(one, Pooled) else one.value for one in (first, second)]
    why = _undefined(values, min(first.units, second.units))
    if why or (scale == "log" and (why := _nobody(values))):
        return _nothing(scale, why)
    above, below = (
        _student(
            _term(one, scale) if isinstance(one, Pooled) else _Term(one.value, one.replicates, 0.0),
            scale,
            one.units,
            level,
        )
        for one in (first, second)
    )
    value, se = above.estimate - below.estimate, float(np.hypot(above.se, below.se))
    df = se**4 / (above.se**4 / above.df + below.se**4 / below.df)
    half, back = -special.stdtrit(df, (1 - level) / 2) * se, SCALES[scale][1]
    low, middle, high = (float(back(end)) for end in (value - half, value, value + half))
    return Interval(middle, low, high, value, se, float(df), scale)


def _undefined(values: Sequence[float], units: int) -> str:
    """Why nothing can be said, or nothing."""
    return TOO_FEW if np.isnan(values).any() else ONE_PAIR if units < 2 else ""


def _nobody(tprs: Sequence[float]) -> str:
    """0 / 0 and 0 - 0 say nothing."""
    return "" if any(tprs) else "no member is caught on either side"


def _nothing(scale: Scale, why: str) -> Interval:
    nan = float("nan")
    return Interval(nan, nan, nan, nan, nan, nan, scale, why)


def _term(one: Pooled, scale: Scale) -> _Term:
    """log TPR, or the TPR itself."""
    half = HALF / one.members
    if scale == "plain":
        return _Term(one.tpr, one.replicates, 0.0 if one.tpr else half**2 / HALF)
    tpr = one.tpr or half
    relative = {kind: one.replicates[kind] / tpr for kind in KINDS}
    return _Term(float(np.log(tpr)), relative, 0.0 if one.tpr else 1 / HALF)


def _mean(terms: list[_Term]) -> _Term:
    count = len(terms)
    return _Term(
        sum(term.value for term in terms) / count,
        {kind: np.mean([term.replicates[kind] for term in terms], axis=0) for kind in KINDS},
        sum(term.further for term in terms) / count**2,
    )


def _student(term: _Term, scale: Scale, units: int, level: float) -> Interval:
    variance = {kind: float(np.nanvar(term.replicates[kind], ddof=1)) for kind in KINDS}
    models = variance["models"] * units / (units - 1)
    total = max(models + variance["images"] - variance["pairs"], variance["pairs"]) + term.further
    value = float(SCALES[scale][1](term.value))
    if total <= TIED:
        nan = float("nan")
        return Interval(value, nan, nan, term.value, nan, nan, scale, "no draw differs from the estimate")
    df = max(units - 1.0, (units - 1) * (total / models) ** 2) if models else np.inf
    back = SCALES[scale][1]
    half = -special.stdtrit(df, (1 - level) / 2) * np.sqrt(total)
    low, high = (float(back(end)) for end in (term.value - half, term.value + half))
    return Interval(value, low, high, term.value, float(np.sqrt(total)), df, scale)
