"""`leakgap forecast`: from a training log and studies that were attacked, the band that a model's leak lies in."""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.files import atomic
from leakgap.order.outlook import (
    KEYS,
    LEVELS,
    Outlook,
    column,
    elsewhere,
    left_out_coverage,
    outlook,
    with_gaps,
)

PUBLISHED = "published.parquet"
SIGNALS = ("train_acc", "test_acc", "train_loss", "test_loss", "acc_gap", "loss_gap")
ALIASES = {  # what logs of others call them
    "train_accuracy": "train_acc",
    "accuracy": "train_acc",
    "acc": "train_acc",
    "test_accuracy": "test_acc",
    "val_accuracy": "test_acc",
    "val_acc": "test_acc",
    "loss": "train_loss",
    "val_loss": "test_loss",
}
FPRS = (0.01, 0.001)
WORDS = {
    "train_acc": "the train accuracy",
    "train_loss": "the train loss",
    "acc_gap": "the gap between train and test accuracy",
    "loss_gap": "the gap between test and train loss",
}
HEADLINE = "lira-pooled"


def published() -> pd.DataFrame:
    """Return the studies that come with leakgap: docs/forecast.md says where each is from.

    >>> sorted(set(published()["data"]))
    ['affairs', 'digits', 'fashion-mnist', 'health records', 'sentences', 'tumours', 'votes']
    """
    with as_file(files("leakgap.order") / PUBLISHED) as path:
        return pd.read_parquet(path)


def read_log(path: str) -> pd.DataFrame:
    """Return the log of one model, a row for each epoch: CSV, JSON, or JSON lines; LeakgapError if it is none."""
    text = _text(path)
    try:
        if path.endswith(".csv"):
            table = pd.read_csv(path)
        elif text.lstrip()[:1] == "{" and "\n{" in text:
            table = pd.DataFrame([json.loads(line) for line in text.splitlines() if line.strip()])
        else:
            told = json.loads(text)
            scalar = isinstance(told, dict) and not any(isinstance(each, list) for each in told.values())
            table = pd.DataFrame([told] if scalar else told)
    except (ValueError, TypeError, AttributeError) as error:
        raise LeakgapError(
            f"{path}: is no table of a training ({str(error).partition(chr(10))[0]})"
        ) from None
    names = {name: ALIASES[name] for name in table if name in ALIASES and ALIASES[name] not in table}
    return table.rename(columns=names)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LeakgapError(f"{path}: is no text") from None


def checked(log: pd.DataFrame, where: str) -> pd.DataFrame:
    """Return the signals of a log as numbers; LeakgapError naming what cannot be right."""
    kept = [name for name in SIGNALS if name in log]
    if not kept or log.empty:
        raise LeakgapError(f"{where}: has none of {', '.join(SIGNALS)}")
    numbers = log[kept].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    for name in kept:
        value = numbers[name]
        if not np.isfinite(value).all():
            raise LeakgapError(
                f"{where}: {name} is not a number in row {int((~np.isfinite(value)).argmax()) + 1}"
            )
        if name.endswith("_acc") and not value.between(0, 1).all():
            odd = value[~value.between(0, 1)].iloc[0]
            raise LeakgapError(f"{where}: {name} is a share from 0 to 1, not {odd:g}")
    place = next((name for name in ("epoch", "step") if name in log), None)
    return with_gaps(numbers).assign(epoch=log[place] if place else np.arange(1, len(log) + 1))


def read_study(path: str) -> pd.DataFrame:
    """Return a study's models as `outlook` takes them.

    path: a folder of results, with summary and pooled; or one table, a summary or a table like the published one.
    LeakgapError where it is neither.
    """
    place = Path(path)
    if place.is_dir():
        return of_tables(_found(place, "summary"), _found(place, "pooled", needed=False))
    table = _read(place)
    if all(name in table for name in KEYS):
        return table
    return of_tables(table, None)


def _found(folder: Path, stem: str, needed: bool = True) -> pd.DataFrame | None:
    for suffix in (".parquet", ".csv", ".csv.gz"):
        if (folder / f"{stem}{suffix}").is_file():
            return _read(folder / f"{stem}{suffix}")
    if needed:
        raise LeakgapError(f"{folder}: has no {stem}.parquet; name the results of a study, results/<study>")
    return None


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except FileNotFoundError:
        raise LeakgapError(f"{path}: is missing") from None
    except (ValueError, OSError) as error:
        raise LeakgapError(f"{path}: cannot be read as a table: {str(error).partition(chr(10))[0]}") from None


def of_tables(summary: pd.DataFrame | None, pooled: pd.DataFrame | None) -> pd.DataFrame:
    """Return a row for each model and step, with the TPR of its technique and step by the informed attacker.

    That of `pooled`; without it, the mean of the models' own, where all of them are defined.
    """
    needed = ("study", "technique", "mask", "step", "attacker", "attack", "train_acc", "test_acc")
    lacking = [name for name in needed if summary is None or name not in summary]
    if summary is None or lacking:
        raise LeakgapError(f"a study's summary has no column {lacking[0] if lacking else 'study'}")
    attack = HEADLINE if HEADLINE in set(summary["attack"]) else summary["attack"].iloc[0]
    rows = summary[(summary["attack"] == attack) & (summary["attacker"] == "informed")]
    rows = rows[rows["mask"].str.startswith("m")]
    kept = rows[[name for name in ("study", "technique", "mask", "step", *SIGNALS) if name in rows]]
    models = kept.assign(data=rows["study"]).reset_index(drop=True)
    keys = ["technique", "step"]
    for fpr in FPRS:
        if pooled is None:
            own = f"tpr_at_{fpr:g}"
            if own in rows:
                means = rows.groupby(keys)[own].agg(lambda values: values.mean(skipna=False))
                models = models.merge(means.rename(column(fpr)).reset_index(), on=keys, how="left")
            continue
        part = pooled[(pooled["attack"] == attack) & (pooled["attacker"] == "informed")]
        part = part[(part["design"] == "leave-one-out") & np.isclose(part["fpr"], fpr, rtol=1e-9, atol=0)]
        models = models.merge(part[[*keys, "tpr"]].rename(columns={"tpr": column(fpr)}), on=keys, how="left")
    return models


def show_forecast(
    log: str | None = None,
    *,
    studies: Sequence[str] = (),
    like: str | None = None,
    out: str | None = None,
    **told: float | None,
) -> None:
    """Print what a training log says of the leak, and when not to trust it; `out`: write it as JSON too."""
    given = {name: [value] for name, value in told.items() if value is not None}
    if (log is None) == (not given):
        raise LeakgapError("name the log of a training, or give its accuracies and losses, and not both")
    table = checked(pd.DataFrame(given) if log is None else read_log(log), log or "the log")
    models = _together([read_study(path) for path in studies])
    if like is not None and like not in set(models["study"]):
        raise LeakgapError(f"--like: {like} is none of the studies {', '.join(pd.unique(models['study']))}")
    found = [each for fpr in FPRS if (each := outlook(models, table, fpr, like)) is not None]
    if not found:
        raise LeakgapError(
            "nothing can be forecast: a further variant of a study needs train_acc or train_loss, a model of other "
            "data train and test accuracy, or both losses; and the studies must have them too"
        )
    away = {
        each.fpr: elsewhere(models, each.fpr, like, each.signal)
        for each in found
        if like is not None and not np.isnan(each.level)
    }
    held = {
        each.fpr: left_out_coverage(models, each.fpr, each.signal)
        for each in found
        if like is None and not np.isnan(each.level)
    }
    print(
        "\n".join(
            [*_said(models, table, found, like), *_trust(found, like, held), *_distrust(found, like, away)]
        )
    )
    if out:
        with atomic(out) as draft:
            draft.write_text(
                json.dumps(_record(table, found, like, away | held), indent=1) + "\n", encoding="utf-8"
            )


def _together(given: list[pd.DataFrame]) -> pd.DataFrame:
    """The published studies and those given; a given one replaces the published one of its name."""
    own = pd.concat(given, ignore_index=True) if given else pd.DataFrame({"study": []})
    rest = published()
    return pd.concat([rest[~rest["study"].isin(own["study"])], own], ignore_index=True)


def percent(value: float) -> str:
    """Write a share in percent with two digits: it is a forecast.

    >>> percent(0.0432), percent(0.2164), percent(0.001)
    ('4.3%', '22%', '0.10%')
    """
    value *= 100
    return f"{value:.0f}%" if value >= 9.95 else f"{value:.1f}%" if value >= 0.995 else f"{value:.2f}%"


def _band(each: Outlook, row: int) -> str:
    if np.isnan(each.level):
        return f"{percent(each.value[row])} (no band)"
    return f"{percent(each.value[row])} ({percent(each.low[row])} to {percent(each.high[row])})"


def _said(models: pd.DataFrame, log: pd.DataFrame, found: list[Outlook], like: str | None) -> Iterable[str]:
    last = len(log) - 1
    for each in found:
        yield (
            f"At {100 * each.fpr:g}% false accusations an attacker with shadow models would recognize about "
            f"{_band(each, last)} of the training records."
        )
    first = found[0]
    value = log[first.signal].iloc[last]
    shown = (
        f"{100 * value:.1f} points"
        if first.signal.endswith("gap") and "acc" in first.signal
        else f"{value:.4g}"
    )
    about = models[models["study"] == like] if like else models
    what = (
        f"the {first.clusters} variants of {like}"
        if like
        else f"{about['study'].nunique()} studies on {first.clusters} data sets"
    )
    yield f"It is a forecast, not a measurement: read off {WORDS[first.signal]}, {shown}, and {what}."
    if len(log) > 1:
        yield ""
        yield "| epoch | " + " | ".join(f"TPR at {100 * each.fpr:g}% FPR" for each in found) + " |"
        yield "|---" * (1 + len(found)) + "|"
        for row, epoch in enumerate(log["epoch"]):
            yield f"| {epoch} | " + " | ".join(_band(each, row) for each in found) + " |"
        yield ""


def _trust(found: list[Outlook], like: str | None, held: dict[float, pd.DataFrame]) -> Iterable[str]:
    """Say what the band is made of, and how often it held where it was not made."""
    first = found[0]
    unit = "variants" if like else "data sets"
    least = int(np.ceil(LEVELS[-1] / (1 - LEVELS[-1]) - 1e-9))
    if np.isnan(first.level):
        yield (
            f"There is no band: {first.clusters} {unit} are too few to say how far off a forecast may be, "
            f"{least} the least."
        )
    else:
        what = "variant" if like else "data set"
        yield (
            f"The band is made to hold {100 * first.level:g}% of the models of a further {what} like these: every "
            f"{what} was left out in turn and forecast by the others."
        )
    for fpr, table in held.items():
        worst = table.sort_values("held").iloc[0]
        yield (
            f"Made without a data set, such a band held {100 * table['held'].mean():.0f}% of its models in the "
            f"mean at {100 * fpr:g}% FPR, {100 * worst['held']:.0f}% in the worst case ({worst['data']})."
        )


def _distrust(found: list[Outlook], like: str | None, away: dict[float, pd.DataFrame]) -> Iterable[str]:
    first = found[0]
    yield "Don't trust it:"
    if not first.inside.all():
        low, high = first.seen
        yield (
            f"- here: {WORDS[first.signal]} lies outside of what the studies have seen, {low:.3g} to {high:.3g}; "
            "beyond it the forecast stays as it is at the edge."
        )
    if like:
        for fpr, table in away.items():
            others = table[~table["same"]].sort_values("held")
            if len(others):
                shares = [f"{100 * row['held']:.0f}% ({row['study']})" for row in others.to_dict("records")]
                yield (
                    f"- on other data, or for another kind of model: at {100 * fpr:g}% FPR this band "
                    f"held {shares[0]} to {shares[-1]} of the models of {len(others)} other studies."
                )
        yield "- where the data, their number or the training code changed since the study."
    else:
        yield (
            "- for data or models unlike those of the studies: images and texts that are small, tables; networks "
            "and trees of at most a few thousand training records."
        )
    yield (
        "- where the accuracies are not of all training records and of new ones, without augmentation or dropout: "
        "many logs have a running mean over augmented batches."
    )
    yield "- as a proof of safety: an audit measures (leakgap audit), this guesses."


def _record(
    log: pd.DataFrame, found: list[Outlook], like: str | None, held: dict[float, pd.DataFrame]
) -> dict[str, Any]:
    """What was said, for programs; what is undefined is null. held: how often such bands held elsewhere."""

    def numbers(values: np.ndarray) -> list[float | None]:
        return [float(value) if np.isfinite(value) else None for value in values]

    return {
        "like": like,
        "log": json.loads(log.to_json(orient="records")),
        "forecasts": [
            {
                "fpr": each.fpr,
                "signal": each.signal,
                "tpr": numbers(each.value),
                "low": numbers(each.low),
                "high": numbers(each.high),
                "level": None if np.isnan(each.level) else each.level,
                "left_out": each.clusters,
                "seen": list(each.seen),
                "inside": each.inside.tolist(),
                "held": held[each.fpr].to_dict("records") if each.fpr in held else [],
            }
            for each in found
        ],
    }
