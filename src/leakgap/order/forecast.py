"""The leak of a variant that was not attacked, from signals of its training that need no attack.

The unit is a cell, one variant at one step; the outcome is log10 of its TPR. Cells of one variant are one cluster:
a variant is always forecast by the others, and the band is read off the clusters, never off the cells. The score of
a cluster is its largest error over its steps, so that the band holds for all steps of a new variant at once; its
quantile is the conformal one (Vovk, Gammerman and Shafer 2005; for clusters Dunn, Wasserman and Ramdas 2023,
"Distribution-free prediction sets for two-layer hierarchical models"). With errors of variants left out in turn, as
here, the proven probability is 1 - 2 alpha where it is 1 - alpha in practice (Barber, Candes, Ramdas and Tibshirani
2021, "Predictive inference with the jackknife+"): docs/evidence/order.md has the coverage measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from leakgap.order.monotone import isotonic

LEAST_LOSS = 1e-6  # a train loss is not told from 0 below this
SIGNALS = ("train_acc", "test_acc", "acc_gap", "train_loss", "test_loss", "loss_gap")
LEVEL = 0.9


def transformed(cells: pd.DataFrame, signals: Sequence[str]) -> np.ndarray:
    """Return the signals as the forecast reads them, float64 [cells, signals]: losses by their logarithm.

    A train loss falls through decades while the train accuracy stays at 100%.
    """
    columns = [
        np.log10(np.maximum(cells[name], LEAST_LOSS)) if name in ("train_loss", "test_loss") else cells[name]
        for name in signals
    ]
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


@dataclass(frozen=True)
class Forecast:
    """Log10 of the TPR as a function of signals: monotone in the first, linear in what it leaves of the others.

    Train accuracy saturates, so no line fits it; what the other signals add at equal values of the first is small
    and near a line (Robinson 1988, "Root-n-consistent semiparametric regression", with monotone fits). No line
    leads beyond the least and the largest leak that were seen.
    """

    signals: tuple[str, ...]
    x: np.ndarray  # float64 [cells, signals]
    y: np.ndarray  # float64 [cells]

    @classmethod
    def fit(cls, cells: pd.DataFrame, signals: Sequence[str]) -> "Forecast":
        """cells: a row for each variant and step with the signals and `log_tpr`."""
        return cls(tuple(signals), transformed(cells, signals), cells["log_tpr"].to_numpy(np.float64))

    def __call__(self, cells: pd.DataFrame) -> np.ndarray:
        """Return the forecast of log10 TPR, float64 [cells]."""
        new = transformed(cells, self.signals)
        first, asked = self.x[:, 0], new[:, 0]
        found = isotonic(first, self.y, asked)
        if len(self.signals) == 1:
            return found
        rest = [isotonic(first, column, np.append(first, asked)) for column in self.x[:, 1:].T]
        expected = np.stack(rest, axis=1)
        left = self.x[:, 1:] - expected[: len(first)]
        slopes = np.linalg.lstsq(left, self.y - isotonic(first, self.y, first), rcond=None)[0]
        found = found + (new[:, 1:] - expected[len(first) :]) @ slopes
        return np.clip(found, self.y.min(), self.y.max())


def left_out(cells: pd.DataFrame, signals: Sequence[str], cluster: str = "technique") -> np.ndarray:
    """Return the error of every cell forecast by the cells of all other clusters, float64 [cells], in decades.

    >>> cells = pd.DataFrame({"technique": list("aabbcc"), "acc_gap": range(6), "log_tpr": np.arange(6) / 10})
    >>> left_out(cells, ["acc_gap"]).round(2).tolist()  # constant beyond what the others have seen
    [0.2, 0.1, 0.0, 0.0, -0.1, -0.2]
    """
    names = cells[cluster].to_numpy()
    errors = np.empty(len(cells))
    for name in np.unique(names):
        out = names == name
        errors[out] = Forecast.fit(cells[~out], signals)(cells[out]) - cells.loc[out, "log_tpr"].to_numpy()
    return errors


def left_out_models(
    cells: pd.DataFrame, models: pd.DataFrame, signals: Sequence[str], cluster: str = "technique"
) -> np.ndarray:
    """Return the error of every model, forecast from its own signals by the cells of all other clusters.

    float64 [models]: forecast less `log_tpr`, which is that of the model's cell.
    """
    names = models[cluster].to_numpy()
    errors = np.empty(len(models))
    for name in pd.unique(names):
        out = names == name
        forecast = Forecast.fit(cells[(cells[cluster] != name).to_numpy()], signals)(models[out])
        errors[out] = forecast - models.loc[out, "log_tpr"].to_numpy()
    return errors


def conformal_band(errors: np.ndarray, cluster: np.ndarray, level: float = LEVEL) -> float:
    """Half the width of the band, in decades, that holds at all steps of a new cluster with probability `level`.

    errors: float [cells]; cluster: [cells]. Infinite where the clusters are too few for the level.

    >>> conformal_band(np.arange(9.0), np.arange(9), 0.9), conformal_band(np.arange(8.0), np.arange(8), 0.9)
    (8.0, inf)
    """
    largest = np.sort([np.abs(errors[cluster == name]).max() for name in np.unique(cluster)])
    rank = int(np.ceil(level * (len(largest) + 1) - 1e-9))
    return float(largest[rank - 1]) if rank <= len(largest) else float("inf")


def band_of_one(errors: np.ndarray, cluster: np.ndarray, model: np.ndarray, level: float = LEVEL) -> float:
    """Half the width of the band that holds at all steps of *one model* of a new cluster with probability `level`.

    errors: float [rows]; cluster, model: [rows]. The score of a model is its largest error; every cluster weighs as
    much as the new one, of which nothing is known (Lee, Barber and Willett 2023, "Distribution-free inference with
    hierarchical data", arXiv 2306.06342). Infinite where the clusters are too few for the level.

    >>> errors, cluster = np.arange(8.0), np.repeat(np.arange(4), 2)
    >>> band_of_one(errors, cluster, np.arange(8), 0.8), band_of_one(errors, cluster, np.arange(8), 0.5)
    (7.0, 4.0)
    >>> band_of_one(errors, cluster, np.arange(8), 0.81)
    inf
    """
    scores = pd.Series(np.abs(errors)).groupby([np.asarray(cluster), np.asarray(model)]).max()
    sizes = scores.groupby(level=0).transform("size")
    weights = 1 / (sizes * (scores.index.get_level_values(0).nunique() + 1))
    order = np.argsort(scores.to_numpy(), kind="stable")
    reached = np.cumsum(weights.to_numpy()[order]) >= level - 1e-9
    return float(scores.to_numpy()[order][reached.argmax()]) if reached.any() else float("inf")


def compared(
    cells: pd.DataFrame, sets: Sequence[Sequence[str]], cluster: str = "technique", level: float = LEVEL
) -> pd.DataFrame:
    """Return a row for every set of signals: mean error over clusters, and the band as a factor of the TPR."""
    rows = []
    for signals in sets:
        errors = left_out(cells, signals, cluster)
        mean = pd.Series(np.abs(errors)).groupby(cells[cluster].to_numpy()).mean().mean()
        half = conformal_band(errors, cells[cluster].to_numpy(), level)
        rows.append({"signals": " + ".join(signals), "error": mean, "factor": 10**half})
    return pd.DataFrame(rows)
