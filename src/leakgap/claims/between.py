"""How well a quantity of the training predicts attack success, with the techniques as clusters.

The unit is the *cell*, one technique at one step, averaged over its masks; the outcome is log10 of its mean TPR.
Cells of one technique are one cluster: every interval has (techniques - 1) degrees of freedom, never more.
Techniques that share members (crop, crop+mirror) count as clusters of their own: an interval speaks of techniques
made of the same members; were the members themselves drawn from many, it would be too narrow.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import isotonic_regression

PREDICTORS = {
    "acc_gap": "accuracy gap",
    "loss_gap": "loss gap",
    "test_acc": "test accuracy",
    "train_acc": "train accuracy",
    "train_loss": "train loss",
    "step": "step",
}


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; None where it is undefined."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None

    def verdict(self, threshold: float, *, below: bool = False) -> str:
        """`supported` where the whole interval is above the threshold (below it, if so asked), and so on."""
        if self.low is None or self.high is None or self.low <= threshold <= self.high:
            return "undecided"
        return "supported" if (self.low > threshold) != below else "contradicted"

    def against(self, threshold: float) -> str:
        """Where the interval lies, in words."""
        if self.low is None or self.high is None:
            return "the interval is undefined"
        side = "above" if self.low > threshold else "below" if self.high < threshold else "on both sides of"
        return f"the interval {self.low:.3g} to {self.high:.3g} is {side} {threshold:g}"

    def compared(self, paper: float) -> str:
        """Where the paper's number lies, in words."""
        if self.low is None or self.high is None:
            return f"the paper's {paper:g} can't be compared"
        where = "above" if paper > self.high else "below" if paper < self.low else "inside"
        return f"the paper's {paper:g} lies {where} the interval"


def estimate(name: str, value: float, half_width: float = np.nan, back: Callable = float) -> Estimate:
    """The interval value -+ half_width, each end sent through `back`; NaN becomes None."""
    ends = (value, value - half_width, value + half_width)
    return Estimate(name, *(float(back(end)) if np.isfinite(end) else None for end in ends))


def censoring_floor(
    fpr: float, n_members: float, n_nonmembers: float, targets: int = 1, level: float = 0.95
) -> float:
    """The largest TPR that chance alone explains at this FPR: anything up to it counts as equal to it.

    With exchangeable scores a conformal threshold is passed by a Beta(k, n_nonmembers + 1 - k) share of the
    members, k = floor(fpr (n_nonmembers + 1)): the number caught is beta-binomial. `targets` TPRs are averaged.
    Returns the upper end of the two-sided interval at `level` (normal for the mean); NaN where k = 0.
    """
    k = np.floor(fpr * (n_nonmembers + 1) * (1 + 1e-12))
    if k < 1:
        return np.nan
    caught = stats.betabinom(int(n_members), k, n_nonmembers + 1 - k)
    return float(
        (caught.mean() + stats.norm.ppf((1 + level) / 2) * caught.std() / np.sqrt(targets)) / int(n_members)
    )


def cells(targets: pd.DataFrame, fpr: float, level: float = 0.95) -> pd.DataFrame:
    """One row per (technique, step): mean predictors, `tpr`, `log_tpr` floored at chance, and `censored`.

    `targets` has one row per target and step (the columns of halves.parquet), at one attacker and one attack.
    """
    columns = [name for name in PREDICTORS if name != "step"]
    tpr = f"tpr_at_{fpr:g}"
    groups = targets.groupby(["technique", "step"], sort=True)
    table = groups[columns].mean().assign(tpr=groups[tpr].mean(), masks=groups.size()).reset_index()
    floor = censoring_floor(
        fpr, targets.n_members.median(), targets.n_nonmembers.median(), int(table.masks.median()), level
    )
    return table.assign(log_tpr=np.log10(np.maximum(table.tpr, floor)), censored=table.tpr <= floor)


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


def left_out_errors(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Mean absolute error in each cluster of the monotone fit (direction too) to all other clusters: [clusters]."""
    errors = []
    for name in np.unique(cluster):
        out = cluster == name
        errors.append(np.abs(isotonic(x[~out], y[~out], x[out]) - y[out]).mean())
    return np.array(errors)


def mean_interval(
    name: str, values: np.ndarray, level: float = 0.95, *, folds: bool = False, bound: float = np.inf
) -> Estimate:
    """Student's t interval of the mean of one value per cluster [G], cut at -+ bound.

    `folds`: the values come from cross-validation, whose training sets overlap; the variance of their mean is then
    s^2 (1/G + 1/(G - 1)) (Nadeau and Bengio 2003, n_test/n_train = 1/(G - 1)), not s^2/G.
    """
    values = values[np.isfinite(values)]
    count = len(values)
    if count < 2:
        return estimate(name, values[0] if count else np.nan)
    scale = 1 / count + (1 / (count - 1) if folds else 0)
    half = stats.t.ppf((1 + level) / 2, count - 1) * values.std(ddof=1) * np.sqrt(scale)
    return estimate(name, values.mean(), half, lambda end: np.clip(end, -bound, bound))


def bootstrap_interval(
    name: str, values: np.ndarray, seed: int, level: float = 0.95, draws: int = 2000
) -> Estimate:
    """Percentile bootstrap over clusters of the mean of one value per cluster; too narrow where these are few."""
    rows = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.quantile(values[rows].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(name, float(values.mean()), float(low), float(high))


def error_difference(
    name: str, table: pd.DataFrame, first: str, second: str, level: float = 0.95
) -> tuple[Estimate, np.ndarray]:
    """Left-out error by `first` minus that by `second`, decades of TPR: the mean, and one value per technique."""
    y, cluster = table.log_tpr.to_numpy(), table.technique.to_numpy()
    errors = [left_out_errors(table[column].to_numpy(float), y, cluster) for column in (first, second)]
    return mean_interval(name, errors[0] - errors[1], level, folds=True), errors[0] - errors[1]


def jackknife(
    statistic: Callable[..., float], cluster: np.ndarray, *columns: np.ndarray
) -> tuple[float, float, int]:
    """Value, delete-one-cluster standard error, number of clusters; the error is NaN if any deletion's value is.

    The usual factor sqrt((G - 1) / G) is left out: with it, false verdicts are at the nominal rate, not under it.
    """
    kept = [cluster != name for name in np.unique(cluster)]
    without = np.array([statistic(*(column[rows] for column in columns)) for rows in kept])
    error = np.sqrt(((without - without.mean()) ** 2).sum())
    return statistic(*columns), float(error), len(kept)


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation with mean ranks for ties; NaN where a side is constant or there are fewer than 3 points."""
    if len(x) < 3:
        return np.nan
    ranks = stats.rankdata(np.stack([x, y]), axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = np.sqrt((ranks**2).sum(axis=1).prod())
    return float((ranks[0] * ranks[1]).sum() / norm) if norm > 0 else np.nan


def _fisher(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """Fisher's z of the mean over groups of Spearman's correlation; NaN where no group has one."""
    inside = [group == name for name in np.unique(group)]
    rho = np.array([spearman(x[rows], y[rows]) for rows in inside])
    rho = rho[np.isfinite(rho)]
    return float(np.arctanh(np.clip(rho.mean(), -0.999, 0.999))) if len(rho) else np.nan


def correlation(
    name: str, table: pd.DataFrame, x: str, y: str = "log_tpr", level: float = 0.95, within: str | None = None
) -> Estimate:
    """Spearman over cells, or its mean over the groups of column `within`; jackknife over techniques on Fisher's z.

    The standard error is at least that of as many independent cells: few clusters can agree by luck.
    """
    group = table[within].to_numpy() if within else np.zeros(len(table))
    columns = (table[x].to_numpy(float), table[y].to_numpy(float), group)
    value, error, count = jackknife(_fisher, table.technique.to_numpy(), *columns)
    error = np.maximum(error, 1.03 / np.sqrt(len(table) - 3)) if len(table) > 4 else np.nan
    return estimate(name, value, stats.t.ppf((1 + level) / 2, count - 1) * error, np.tanh)


def partial_slope(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Slope of y on x at equal `given`: both less their monotone fits on `given` (Robinson 1988).

    A fit takes some of what x explains for its own: the slope is shrunk towards 0, a slope of 0 stays 0.
    """
    x, y = (values - isotonic(given, values, given) for values in (x, y))
    spread = (x**2).sum()
    return float((x * y).sum() / spread) if spread > 0 else np.nan


def slope_at_equal(name: str, table: pd.DataFrame, x: str, given: str, level: float = 0.95) -> Estimate:
    """`partial_slope` of log_tpr over cells, with a delete-one-technique jackknife interval."""
    columns = (table[column].to_numpy(float) for column in (x, "log_tpr", given))
    value, error, count = jackknife(partial_slope, table.technique.to_numpy(), *columns)
    return estimate(name, value, stats.t.ppf((1 + level) / 2, count - 1) * error)


def correlation_within_cells(
    name: str, targets: pd.DataFrame, x: str, fpr: float, level: float = 0.95
) -> Estimate:
    """Spearman of x and TPR across the masks of a cell, mean over cells; one value per technique, t interval."""
    floor = censoring_floor(fpr, targets.n_members.median(), targets.n_nonmembers.median(), 1, level)
    data = targets[["technique", "step", x]].assign(y=targets[f"tpr_at_{fpr:g}"].clip(lower=floor))
    cell = [data.technique, data.step]
    ranks = data.groupby(cell)[[x, "y"]].rank()
    ranks -= ranks.groupby(cell).transform("mean")
    products = pd.DataFrame({"xy": ranks[x] * ranks.y, "xx": ranks[x] ** 2, "yy": ranks.y**2})
    sums = products.groupby(cell).sum()
    rho: pd.Series = (sums.xy / np.sqrt(sums.xx * sums.yy)).where(sums.xx * sums.yy > 0)
    return mean_interval(name, rho.groupby("technique").mean().to_numpy(), level, bound=1)
