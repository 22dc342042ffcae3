"""What a training log says of the leak: a forecast with a band, as studies that were attacked allow.

Two questions with two answers. A further variant of a study, on its data and with its code, is forecast by its
other variants, from the train accuracy: within one study fit orders the leak. A model of other data is forecast by
all studies, from the gap between train and test accuracy: from one data set to another the gap carries over, the
fit does not. Without accuracies the losses stand in. These rules were fixed on three studies (digits,
Fashion-MNIST, text); docs/forecast.md has what they were worth on others.

Every band is that of one model: a variant, or all studies on a data set, is left out, forecast by the rest from the
log of each of its models, and the errors make the band (`forecast.band_of_one`). Where they are too few, there is
none.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from leakgap.order.forecast import Forecast, band_of_one, left_out_models

LEVELS = (0.9, 0.8)  # of a band: the first that there are variants, or data sets, enough for
WITHIN, BEYOND = ("train_acc", "train_loss"), ("acc_gap", "loss_gap")  # the first that log and studies have
GAPS = {"acc_gap": ("train_acc", "test_acc"), "loss_gap": ("test_loss", "train_loss")}  # this less that
KEYS = ("study", "data", "technique", "mask", "step")


class Outlook(NamedTuple):
    """The forecast for every row of a log: TPR at an FPR, and its band; NaN where there is none."""

    fpr: float
    value: np.ndarray  # float64 [rows]
    low: np.ndarray
    high: np.ndarray
    signal: str
    level: float  # NaN: no band
    clusters: int  # variants, or data sets, that were left out in turn
    seen: tuple[float, float]  # least and largest signal that the forecast rests on
    inside: np.ndarray  # bool [rows]: the signal lies between them


def with_gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the gaps that follow from its other columns, where it has not got them.

    >>> with_gaps(pd.DataFrame({"train_acc": [1.0], "test_acc": [0.75]}))["acc_gap"].tolist()
    [0.25]
    """
    made = {}
    for gap, (more, less) in GAPS.items():
        if more in table and less in table:
            follows = table[more] - table[less]
            made[gap] = table[gap].fillna(follows) if gap in table else follows
    return table.assign(**made)


def column(fpr: float) -> str:
    """Name the column of a cell's pooled TPR at an FPR.

    >>> column(0.001)
    'pooled_tpr_at_0.001'
    """
    return f"pooled_tpr_at_{fpr:g}"


def cells(models: pd.DataFrame, *signals: str) -> pd.DataFrame:
    """Return a row for each study, technique and step: mean signals of its models, and log10 of its TPR."""
    keys = ["study", "data", "technique", "step"]
    return models.groupby(keys, as_index=False)[[*signals, "log_tpr"]].mean()


def usable(models: pd.DataFrame, signal: str, fpr: float) -> pd.DataFrame:
    """Return the models whose study knows signal and TPR, with `log_tpr`, at least that of guessing."""
    if signal not in models or column(fpr) not in models:
        return models.iloc[:0].assign(log_tpr=np.nan)
    known = models[models[signal].notna() & models[column(fpr)].notna()]
    return known.assign(log_tpr=np.log10(np.maximum(known[column(fpr)].to_numpy(np.float64), fpr)))


def signal_for(log: pd.DataFrame, models: pd.DataFrame, fpr: float, like: str | None) -> str | None:
    """Return the signal that a log is read by: the first that both sides have; None where there is none."""
    own = models if like is None else models[models["study"] == like]
    for signal in BEYOND if like is None else WITHIN:
        if signal in log and log[signal].notna().all() and len(usable(own, signal, fpr)):
            return signal
    return None


def _level(count: int) -> float:
    """The first of LEVELS that so many clusters allow; 0 where they are too few for any."""
    return next((each for each in LEVELS if count / (count + 1) >= each - 1e-9), 0.0)


def band(models: pd.DataFrame, signal: str, by: str) -> tuple[float, float, int]:
    """Return half the width of the band in decades, its level and the number of clusters; NaN where too few.

    models: as `usable` returns them; by: the column whose values are left out in turn.
    """
    count = models[by].nunique()
    level = _level(count)
    if not level:
        return np.nan, np.nan, count
    errors = left_out_models(cells(models, signal), models, [signal], by)
    names = models["study"].astype(str) + "\0" + models["technique"] + "\0" + models["mask"]
    return band_of_one(errors, models[by].to_numpy(), names.to_numpy(), level), level, count


def outlook(models: pd.DataFrame, log: pd.DataFrame, fpr: float, like: str | None = None) -> Outlook | None:
    """Forecast the leak of models that were trained as the log says; None where no signal is known to both.

    models: a row for each model and step of studies, with KEYS, signals (train_acc, test_acc, train_loss,
    test_loss, acc_gap, loss_gap) and the TPR of its technique and step in `column(fpr)`. log: signals of one model,
    a row for each epoch. like: the study that the model is a further variant of; without it, the data are others.
    """
    models, log = with_gaps(models), with_gaps(log)
    signal = signal_for(log, models, fpr, like)
    if signal is None:
        return None
    own = usable(models if like is None else models[models["study"] == like], signal, fpr)
    half, level, count = band(own, signal, "data" if like is None else "technique")
    found = Forecast.fit(cells(own, signal), [signal])(log)
    asked, known = log[signal].to_numpy(np.float64), cells(own, signal)[signal]
    seen = float(known.min()), float(known.max())
    return Outlook(
        fpr,
        10**found,
        np.clip(10 ** (found - half), fpr, 1),
        np.clip(10 ** (found + half), fpr, 1),
        signal,
        level,
        count,
        seen,
        (asked >= seen[0]) & (asked <= seen[1]),
    )


def elsewhere(models: pd.DataFrame, fpr: float, like: str, signal: str) -> pd.DataFrame:
    """Return how a study's band does on other data, where it is not meant to hold: a row for each other study.

    `held`: the share of its models that lie in the band at every step. Studies on the same data are told by `data`.
    """
    whole = usable(with_gaps(models), signal, fpr)
    own = whole[whole["study"] == like]
    half, _, _ = band(own, signal, "technique")
    fit = Forecast.fit(cells(own, signal), [signal])
    rows = []
    for (study, data), part in whole[whole["study"] != like].groupby(["study", "data"], sort=False):
        off = pd.Series(np.abs(fit(part) - part["log_tpr"].to_numpy()), part.index)
        worst = off.groupby([part["technique"], part["mask"]]).max()
        same = data == own["data"].iloc[0]
        rows.append({"study": study, "data": data, "same": same, "held": float((worst <= half).mean())})
    return pd.DataFrame(rows, columns=["study", "data", "same", "held"])


def left_out_coverage(models: pd.DataFrame, fpr: float, *signals: str) -> pd.DataFrame:
    """Return how often the band of all other data sets holds the models of one: a row for each data set.

    The band is made without the data set: it is what somebody with these data would have been told, at the level
    that the k other data sets allow: the first of LEVELS that they do, or k / (k + 1).
    """
    whole = usable(with_gaps(models), signals[0], fpr)
    names = whole["study"].astype(str) + "\0" + whole["technique"] + "\0" + whole["mask"]
    rows = []
    for data in whole["data"].unique():
        out = (whole["data"] == data).to_numpy()
        rest = whole[~out]
        count = rest["data"].nunique()
        if count < 2:
            continue
        level = _level(count) or count / (count + 1)
        errors = left_out_models(cells(rest, *signals), rest, signals, "data")
        half = band_of_one(errors, rest["data"].to_numpy(), names[~out].to_numpy(), level)
        fit = Forecast.fit(cells(rest, *signals), signals)
        off = pd.Series(np.abs(fit(whole[out]) - whole.loc[out, "log_tpr"].to_numpy()), whole.index[out])
        worst = off.groupby(names[out]).max()
        held = float((worst <= half).mean())
        rows.append({"data": data, "others": count, "level": level, "factor": 10**half, "held": held})
    return pd.DataFrame(rows, columns=["data", "others", "level", "factor", "held"])
