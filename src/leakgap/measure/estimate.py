"""An estimate with its interval, and the one rule that makes intervals of bootstrap draws.

V = V(models) + V(images) - V(pairs), not below V(pairs), each from its own bootstrap (Cameron, Gelbach and Miller
2011, "Robust inference with multiway clustering"; `measure.bootstrap`). V(models) is multiplied by
U / (U - 1), U the number of mask pairs. The interval is value -+ t sqrt(V) on a scale of its own:

    a TPR, an accuracy, an AUC    logit
    a ratio of TPRs, a loss       log
    a difference, a gap           as it is

Draws are carried to that scale by its slope at the estimate (so none is the logarithm of zero), and the interval is
sent back by its ends. The degrees of freedom are Satterthwaite's: V(models) has U - 1, V(images) is taken as known.

Where records belong to groups (the visits of a patient), V(groups) takes the place of V(images), from leaving out
one group at a time (Miller 1974, "The jackknife - a review"): few groups, drawn with replacement, show too little
of how far the largest carry a threshold. Its degrees of freedom are 2 G / (k - 1), k the kurtosis of what the G
groups add, at most G - 1: few persons, or some that count for many, make the interval wider.

Zeros: a TPR of 0 counts as half a member caught on a logarithmic scale (Haldane 1956), and its logarithm has the
further variance 2 (one over half a count); 1 likewise on the logit scale. Where no draw differs from the estimate
(ties, two attacks that rank alike), and for a single value of one mask pair, the estimate stands and its interval
is undefined, never of zero width; `note` says why.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from scipy import special  # stdtr, stdtrit: Student's t, without scipy.stats, half a second to import

from leakgap import ArgumentError
from leakgap.arguments import fraction

__all__ = ["KINDS", "SCALES", "Estimate", "Kind", "Scale", "interval", "nothing"]

Kind = Literal["models", "images", "groups", "pairs"]  # what is drawn or left out: see `measure.bootstrap`
Scale = Literal["log", "logit", "fisher", "plain"]  # of an interval
KINDS: tuple[Kind, ...] = ("models", "images", "pairs")  # of records that belong to no groups
Draws = Mapping[Kind, np.ndarray]

TIED = 1e-24  # a variance so small is that of rounding
TOO_FEW, ONE_PAIR = "too few non-members for the FPR, or no members", "one mask pair has no interval"
ONE_GROUP = "without its largest group, nothing could be measured"
HALF = 0.5  # the count that stands for a count of zero; the variance of its logarithm is 1 / HALF
NAN = float("nan")

SCALES: dict[Scale, tuple[Callable, Callable]] = {  # how a value gets to the scale of its interval, and back
    "log": (np.log, np.exp),
    "logit": (special.logit, special.expit),
    "fisher": (np.arctanh, np.tanh),  # of correlations between techniques
    "plain": (float, float),
}


class Estimate(NamedTuple):
    """A value with its confidence interval; NaN where undefined, and then the note says why.

    The first three stand for themselves: `value, low, high = estimate[:3]`.

    >>> Estimate(0.2, 0.1, 0.3).high
    0.3
    """

    value: float
    low: float
    high: float
    on_scale: float = NAN  # the value on the scale of the interval, a count of zero made half a count
    se: float = NAN  # its standard error there
    df: float = NAN  # degrees of freedom of Student's t
    scale: Scale = "plain"
    note: str = ""
    draws: Draws = MappingProxyType({})  # by kind of resampling, float64 [replicates], where kept
    units: int = 0  # how many sets of models were drawn as one (mask pairs)
    pairs: int = 0  # of a share: how many pairs (model, image) it is a share of
    drawn: tuple[int, ...] | None = None  # which draws: contrasts are made of the same; None where not known

    @classmethod
    def of_draws(
        cls,
        value: float,
        draws: Draws,
        units: int,
        pairs: int,
        scale: Scale,
        drawn: tuple[int, ...] | None = None,
    ) -> "Estimate":
        """The estimate with its 95% interval.

        >>> noise = 0.01 * np.random.default_rng(0).normal(size=(3, 1000))
        >>> one = Estimate.of_draws(0.1, dict(zip(KINDS, 0.1 + noise)), units=8, pairs=4000, scale="logit")
        >>> [round(end, 2) for end in one[:3]]
        [0.1, 0.08, 0.13]
        """
        return interval(cls(value, NAN, NAN, scale=scale, draws=draws, units=units, pairs=pairs, drawn=drawn))

    def __sub__(self, other: "Estimate") -> "Estimate":
        """The difference of two values with the same draws."""
        draws = {kind: mine - theirs for kind, (mine, theirs) in same_draws(self, other).items()}
        units, pairs = min(self.units, other.units), min(self.pairs, other.pairs)
        drawn = self.drawn or other.drawn
        return Estimate.of_draws(self.value - other.value, draws, units, pairs, "plain", drawn)

    def carried(self, function: Callable[[float], float]) -> "Estimate":
        """What a rising function makes of the value and of both ends.

        >>> Estimate(0.5, 0.25, 1.0).carried(lambda share: share / (2 - share)).high
        1.0
        """
        value, low, high = (float(function(end)) for end in (self.value, self.low, self.high))
        return Estimate(value, low, high)

    def p_value(self, null: float) -> float:
        """Two-sided p-value of `null`: below 1 - level where the interval at `level` leaves it out."""
        to_scale = SCALES[self.scale][0]
        return float(2 * special.stdtr(self.df, -abs(self.on_scale - to_scale(null)) / self.se))

    def __repr__(self) -> str:
        note = f": {self.note}" if self.note else ""
        return f"Estimate({self.value:.4g} [{self.low:.4g}, {self.high:.4g}]{note})"


def interval(one: Estimate, level: float = 0.95) -> Estimate:
    """An estimate with the interval that its draws make at another level, on its own scale.

    Raises ArgumentError for an estimate without draws, and for a level that does not lie between 0 and 1.

    >>> noise = 0.01 * np.random.default_rng(0).normal(size=(3, 1000))
    >>> one = Estimate.of_draws(0.1, dict(zip(KINDS, 0.1 + noise)), units=8, pairs=4000, scale="logit")
    >>> [round(end, 3) for end in interval(one, level=0.5)[:3]]
    [0.1, 0.093, 0.108]
    """
    fraction(level, "level")
    if not one.draws:
        raise ArgumentError("an estimate without draws has no interval at another level")
    if np.isnan(one.value):
        found = nothing(one.scale, TOO_FEW)
    elif one.units < 2:
        found = nothing(one.scale, ONE_PAIR)
    else:
        found = student(term(one, one.scale), one.scale, one.units, level)
        if one.scale == "logit" and one.value in (0, 1):
            found = found._replace(low=0.0) if one.value == 0 else found._replace(high=1.0)
    return found._replace(value=one.value, draws=one.draws, units=one.units, pairs=one.pairs, drawn=one.drawn)


def nothing(scale: Scale, why: str, value: float = NAN) -> Estimate:
    """An estimate that has no interval."""
    return Estimate(value, NAN, NAN, scale=scale, note=why)


class Term(NamedTuple):
    """An estimate on a scale: value, draws of each kind (carried there by the slope), further variance."""

    value: float
    draws: Draws
    further: float


def term(one: Estimate, scale: Scale) -> Term:
    """An estimate and its draws on a scale; a share of zero counts as half of one of its pairs."""
    share = one.scale == "logit"  # of pairs: a TPR, an accuracy
    value, half = one.value, HALF / one.pairs if share else 0.0
    if scale == "plain":
        return Term(value, one.draws, half**2 / HALF if share and not value else 0.0)
    if scale == "log":
        value = value or half
        slope, lifted = value, not one.value
        carried = float(np.log(value)) if value > 0 else NAN
    else:
        value = min(max(value, half), 1 - half)
        slope, lifted = value * (1 - value), value != one.value
        carried = float(special.logit(value))
    if not slope > 0:
        return Term(carried, one.draws, np.inf)
    return Term(
        carried, {kind: draws / slope for kind, draws in one.draws.items()}, 1 / HALF if lifted else 0.0
    )


def student(of: Term, scale: Scale, units: int, level: float) -> Estimate:
    """The interval of a term, sent back from its scale."""
    if not np.isfinite(of.further):
        return nothing(scale, "the logarithm of 0 has no interval")
    if "groups" in of.draws and (len(of.draws["groups"]) < 2 or np.isnan(of.draws["groups"]).any()):
        return nothing(scale, ONE_GROUP, float(SCALES[scale][1](of.value)))
    variance = {kind: float(np.nanvar(draws, ddof=1)) for kind, draws in of.draws.items()}
    models = variance["models"] * units / (units - 1)
    images = variance["groups" if "groups" in variance else "images"]
    total = max(models + images - variance["pairs"], variance["pairs"]) + of.further
    back = SCALES[scale][1]
    value = float(back(of.value))
    if total <= TIED:
        return nothing(scale, "the same in every draw, so its error is not known", value)._replace(
            on_scale=of.value
        )
    if "groups" in variance:
        df = _freedom(total, models, units, of.draws["groups"])
    else:
        df = max(units - 1.0, (units - 1) * (total / models) ** 2) if models else np.inf
    half = -special.stdtrit(df, (1 - level) / 2) * np.sqrt(total)
    low, high = (float(back(end)) for end in (of.value - half, of.value + half))
    return Estimate(value, low, high, of.value, float(np.sqrt(total)), df, scale)


def _freedom(total: float, models: float, units: int, groups: np.ndarray) -> float:
    """Satterthwaite's degrees of freedom, at least those of the poorer part: of models, or of groups."""
    away, count = groups - groups.mean(), len(groups)
    square, fourth = (away**2).sum(), (away**4).sum()
    kurtosis = count * fourth / square**2 if square else 3.0
    of_groups = min(count - 1.0, 2 * count / (kurtosis - 1)) if kurtosis > 1 else count - 1.0
    images = square / (count - 1)
    spread = models**2 / (units - 1) + images**2 / of_groups
    return max(min(units - 1.0, of_groups), total**2 / spread) if spread else np.inf


def same_draws(one: Estimate, other: Estimate) -> dict[Kind, tuple[np.ndarray, np.ndarray]]:
    """The draws of two estimates side by side; ArgumentError where they are not the same resampling's."""
    if not (one.draws and other.draws):
        raise ArgumentError("an estimate without draws can't be compared with another one draw by draw")
    alike = None in (one.drawn, other.drawn) or one.drawn == other.drawn
    sizes = [{kind: len(draws) for kind, draws in each.draws.items()} for each in (one, other)]
    if not alike or sizes[0] != sizes[1]:
        raise ArgumentError(
            "the two estimates were resampled differently (seed, replicates, models or images): only `unpaired` "
            "compares them"
        )
    return {kind: (draws, other.draws[kind]) for kind, draws in one.draws.items()}
