"""How well a quantity of the training predicts attack success, with the techniques as clusters.

The unit is the *cell*, one technique at one step, averaged over its targets; the outcome is log10 of its mean TPR.
Cells of one technique are one cluster: every interval has (techniques - 1) degrees of freedom, never more.
Techniques that share members (crop, crop+mirror) count as clusters of their own: an interval speaks of techniques
made of the same members; were the members themselves drawn from many, it would be too narrow.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import special, stats

from leakgap.estimates import GENERALIZATION as MEANS
from leakgap.estimates import tpr_column
from leakgap.measure.estimate import SCALES, Estimate, Scale
from leakgap.measure.roc import conformal_rank
from leakgap.measure.stability import spearman
from leakgap.order.monotone import isotonic

PREDICTORS = {
    "acc_gap": "accuracy gap",
    "loss_gap": "loss gap",
    "test_acc": "test accuracy",
    "train_acc": "train accuracy",
    "train_loss": "train loss",
    "step": "step",
}


def student(value: float, se: float, df: int, level: float = 0.95, scale: Scale = "plain") -> Estimate:
    """Student's t interval of a value on its scale; no spread is no standard error, and no interval.

    >>> [round(end, 3) for end in student(1.0, 0.5, 4)[:3]]
    [1.0, -0.388, 2.388]
    """
    back = SCALES[scale][1]
    se = float(se) if se > 0 else np.nan
    half = stats.t.isf((1 - level) / 2, df) * se if df else np.nan
    middle, low, high = (float(back(end)) for end in (value, value - half, value + half))
    note = "" if se > 0 else "no spread between techniques"
    return Estimate(middle, low, high, float(value), se, float(df), scale, note)


def censoring_floor(
    fpr: float,
    n_members: int | np.ndarray,
    n_nonmembers: int | np.ndarray,
    level: float = 0.95,
) -> float:
    """The largest mean TPR of some targets that chance alone explains at this FPR.

    n_members, n_nonmembers: of each target, int or int [targets]. With exchangeable scores a conformal threshold is
    passed by a Beta(k, n_nonmembers + 1 - k) share of the members, k = floor(fpr (n_nonmembers + 1)): the number
    caught is beta-binomial. Returns the upper end of the two-sided interval at `level`, normal for the mean; NaN
    where k = 0 for one of them.
    """
    members, others = (np.atleast_1d(np.asarray(count)) for count in (n_members, n_nonmembers))
    k = conformal_rank(others, fpr)
    if (k < 1).any():
        return np.nan
    share = k / (others + 1)  # mean of the beta distribution, then of the share caught
    variance = share * (1 - share) * (others + 1 + members) / (members * (others + 2))
    spread = np.sqrt(variance.sum()) / len(members)
    return float(share.mean() + special.ndtri((1 + level) / 2) * spread)


def cells(targets: pd.DataFrame, fpr: float, level: float = 0.95) -> pd.DataFrame:
    """One row per (technique, step): means over its targets, their number, and whether chance explains the TPR.

    `targets` has one row per target and step (the columns of halves.parquet), of one attacker and one attack. Added
    are `loss_ratio` (mean test loss / mean train loss), `targets`, `tpr`, `log_tpr` (base 10, at least the floor of
    the cell's own targets) and `censored`. A mean is undefined, NaN, if one of its targets is.
    """
    rows = []
    for (technique, step), part in targets.groupby(["technique", "step"]):  # sorted
        floor = censoring_floor(fpr, part["n_members"].to_numpy(), part["n_nonmembers"].to_numpy(), level)
        place = {"technique": technique, "step": step, "targets": len(part), "floor": floor}
        means = part[[*MEANS, tpr_column(fpr)]].to_numpy().mean(axis=0)
        rows.append(place | dict(zip((*MEANS, "tpr"), means, strict=True)))
    table = pd.DataFrame(rows)
    return table.assign(
        loss_ratio=table["test_loss"] / table["train_loss"],
        log_tpr=np.log10(np.maximum(table["tpr"], table["floor"])),
        censored=~(table["tpr"] > table["floor"]),
    )


def left_out_errors(x: np.ndarray, y: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Mean absolute error in each cluster of the monotone fit (direction too) to all other clusters: [clusters]."""
    errors = []
    for name in np.unique(cluster):
        out = cluster == name
        errors.append(np.abs(isotonic(x[~out], y[~out], x[out]) - y[out]).mean())
    return np.array(errors)


def mean_interval(values: np.ndarray, level: float = 0.95, *, folds: bool = False) -> Estimate:
    """Student's t interval of the mean of one value per cluster [G]; undefined ones are left out.

    `folds`: the values come from cross-validation, whose training sets overlap; the variance of their mean is then
    s^2 (1/G + 1/(G - 1)) (Nadeau and Bengio 2003, n_test/n_train = 1/(G - 1)), not s^2/G.
    """
    values = values[np.isfinite(values)]
    count = len(values)
    if count < 2:
        return student(values[0] if count else np.nan, np.nan, 0, level)
    scale = 1 / count + (1 / (count - 1) if folds else 0)
    return student(values.mean(), values.std(ddof=1) * np.sqrt(scale), count - 1, level)


def error_difference(table: pd.DataFrame, first: str, second: str, level: float = 0.95) -> Estimate:
    """Left-out error by `first` minus that by `second`, mean over techniques, in decades of TPR."""
    return mean_interval(error_differences(table, first, second), level, folds=True)


def error_differences(table: pd.DataFrame, first: str, second: str) -> np.ndarray:
    """The same for every technique, float64 [techniques]."""
    y, cluster = table["log_tpr"].to_numpy(), table["technique"].to_numpy()
    one, other = (left_out_errors(table[name].to_numpy(float), y, cluster) for name in (first, second))
    return one - other


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


def _fisher(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> float:
    """Fisher's z of the mean over groups of Spearman's correlation; NaN where no group has one."""
    inside = [group == name for name in np.unique(group)]
    rho = np.array([spearman(x[rows], y[rows]) for rows in inside])
    rho = rho[np.isfinite(rho)]
    return float(np.arctanh(np.clip(rho.mean(), -0.999, 0.999))) if len(rho) else np.nan


def correlation(
    table: pd.DataFrame, x: str, y: str = "log_tpr", level: float = 0.95, within: str | None = None
) -> Estimate:
    """Spearman over cells, or its mean over the groups of column `within`; jackknife over techniques on Fisher's z.

    The standard error is at least that of as many independent cells: few clusters can agree by luck.
    """
    group = table[within].to_numpy() if within else np.zeros(len(table))
    columns = (table[x].to_numpy(float), table[y].to_numpy(float), group)
    value, error, count = jackknife(_fisher, table["technique"].to_numpy(), *columns)
    error = np.maximum(error, 1.03 / np.sqrt(len(table) - 3)) if len(table) > 4 else np.nan
    return student(value, error, count - 1, level, "fisher")


def partial_slope(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> float:
    """Slope of y on x at equal `given`: both less their monotone fits on `given` (Robinson 1988).

    A fit takes some of what x explains for its own: the slope is shrunk towards 0, a slope of 0 stays 0.
    """
    x, y = (values - isotonic(given, values, given) for values in (x, y))
    spread = (x**2).sum()
    return float((x * y).sum() / spread) if spread > 0 else np.nan


def slope_at_equal(table: pd.DataFrame, x: str, given: str, level: float = 0.95) -> Estimate:
    """`partial_slope` of log_tpr over cells, with a delete-one-technique jackknife interval."""
    columns = (table[column].to_numpy(float) for column in (x, "log_tpr", given))
    value, error, count = jackknife(partial_slope, table["technique"].to_numpy(), *columns)
    return student(value, error, count - 1, level)


def correlation_within_cells(targets: pd.DataFrame, x: str, fpr: float, level: float = 0.95) -> Estimate:
    """Spearman of x and TPR across the targets of a cell, mean over cells; one value per technique, t interval.

    A TPR that chance explains is set to its floor.
    """
    sizes = list(zip(targets["n_members"], targets["n_nonmembers"], strict=True))
    floors = {
        (inside, outside): censoring_floor(fpr, inside, outside, level) for inside, outside in set(sizes)
    }
    floor = np.array([floors[size] for size in sizes])
    data = targets[["technique", "step", x]].assign(y=np.maximum(targets[tpr_column(fpr)], floor))
    cell = [data["technique"], data["step"]]
    ranks = data.groupby(cell)[[x, "y"]].rank()
    ranks -= ranks.groupby(cell).transform("mean")
    products = pd.DataFrame({"xy": ranks[x] * ranks["y"], "xx": ranks[x] ** 2, "yy": ranks["y"] ** 2})
    sums = products.groupby(cell).sum()
    spread = sums["xx"] * sums["yy"]
    rho: pd.Series = (sums["xy"] / np.sqrt(spread)).where(spread > 0)
    return mean_interval(rho.groupby("technique").mean().to_numpy(), level)
