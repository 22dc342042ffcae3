"""Canaries: records made to be remembered, each in by a fair coin, measured by themselves.

What a model remembers of the records that it remembers best is more than an average says, and needs no shadow
model: canaries that lost their coin are the comparison. `write_canaries` makes them and the manifest that says
which ones are in; `of_canaries` reads a target's answers about them.

Sources: Carlini, Liu, Erlingsson, Kos and Song 2019, "The Secret Sharer" (exposure); Steinke, Nasr and Jagielski
2023 (guesses in and out, see `measure.epsilon`).
"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leakgap import LeakgapError
from leakgap.answers.answers import Answers
from leakgap.arguments import whole
from leakgap.files import atomic
from leakgap.measure.epsilon import inclusion_epsilon
from leakgap.measure.roc import tpr_at_fpr
from leakgap.measure.single import tpr_interval

__all__ = ["KINDS", "exposures", "make_canaries", "of_canaries", "part", "read_manifest", "write_canaries"]

KINDS = ("tokens", "labels", "outliers")
FPRS = (0.1, 0.01)  # canaries are few
LEAST = 20


def make_canaries(
    kind: str,
    count: int,
    *,
    data: pd.DataFrame | None = None,
    vocabulary: int = 32_000,
    length: int = 12,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the manifest of `count` canaries: `record`, `kind`, `member` by a fair coin each, and what they hold.

    kind: `tokens`, random spans of `length` token numbers below `vocabulary` (column `tokens`, numbers and blanks);
    `labels`, records of `data` (columns `record` and `label`) with another label drawn from the others, named by
    `source`, and the record itself is then to be left out of training; `outliers`, records with every number of
    `data` drawn between its smallest and largest value, and a label where `data` has one.

    >>> spans = make_canaries("tokens", 100, vocabulary=50, length=4)
    >>> spans.columns.tolist(), len(spans["tokens"][0].split()), bool(30 < spans["member"].sum() < 70)
    (['record', 'kind', 'member', 'tokens'], 4, True)
    """
    if kind not in KINDS:
        raise LeakgapError(f"canaries: {kind!r} is none of {', '.join(KINDS)}")
    for name, value, least in (("count", count, LEAST), ("vocabulary", vocabulary, 2), ("length", length, 1)):
        if whole(value, name) < least:
            raise LeakgapError(f"canaries: {name} must be at least {least}, not {value}")
    coins, rng = np.random.default_rng(whole(seed, "seed")).spawn(2)
    manifest = pd.DataFrame(
        {
            "record": [f"canary-{k:05d}" for k in range(count)],
            "kind": kind,
            "member": coins.random(count) < 0.5,
        }
    )
    if kind == "tokens":
        spans = rng.integers(0, vocabulary, (count, length))
        return manifest.assign(tokens=[" ".join(map(str, span)) for span in spans])
    if data is None:
        raise LeakgapError(f"canaries: {kind} are made of records, and no file of them is given (--data)")
    if kind == "labels":
        return _mislabelled(manifest, data, rng)
    numbers = data.drop(columns=["record", "label"], errors="ignore").select_dtypes("number")
    if numbers.empty:
        raise LeakgapError("canaries: the data have no column of numbers to make outliers of")
    low, high = numbers.min().to_numpy(float), numbers.max().to_numpy(float)
    drawn = pd.DataFrame(low + (high - low) * rng.random((count, len(low))), columns=numbers.columns)
    for name in numbers.columns.tolist():
        if numbers[name].dtype.kind in "iu":
            drawn[name] = drawn[name].round().astype(int)
    if "label" in data:
        manifest["label"] = rng.choice(data["label"].unique(), count)
    return pd.concat([manifest, drawn], axis=1)


def _mislabelled(manifest: pd.DataFrame, data: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    for column in ("record", "label"):
        if column not in data:
            raise LeakgapError(f"canaries: the data have no column {column}")
    classes = np.sort(data["label"].unique())
    if len(classes) < 2 or len(data) < len(manifest):
        raise LeakgapError(
            f"canaries: {len(data)} records of {len(classes)} labels are too few to label {len(manifest)} wrongly"
        )
    chosen = data.iloc[rng.permutation(len(data))[: len(manifest)]]
    true = np.searchsorted(classes, chosen["label"])
    wrong = classes[(true + rng.integers(1, len(classes), len(true))) % len(classes)]
    return manifest.assign(source=chosen["record"].to_numpy(), label=wrong)


def write_canaries(
    kind: str,
    out: str,
    *,
    count: int = 200,
    data: str | None = None,
    vocabulary: int = 32_000,
    length: int = 12,
    seed: int = 0,
) -> None:
    """Write manifest.csv, of all canaries, and insert.csv, of those to train on; print what to do."""
    table = None if data is None else _table(data)
    manifest = make_canaries(kind, count, data=table, vocabulary=vocabulary, length=length, seed=seed)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    inside = manifest[manifest["member"]].drop(columns="member")
    for name, rows in (("manifest.csv", manifest), ("insert.csv", inside)):
        with atomic(folder / name) as draft:
            rows.to_csv(draft, index=False)
    print(
        f"{len(manifest)} canaries, {len(inside)} of them to be trained on: {folder / 'insert.csv'}.",
        *(
            ["Take the records named by `source`, of all canaries, out of the training data."]
            * (kind == "labels")
        ),
        f"Ask the model about all of them, and audit its answers with --canaries {folder / 'manifest.csv'}.",
        sep="\n",
    )


def _table(path: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise LeakgapError(f"{path}: cannot be read as a table: {error}") from None


def read_manifest(path: str | Path) -> pd.Series:
    """Return whether each canary was put into the training data, bool by record."""
    table = _table(str(path))
    missing = [name for name in ("record", "member") if name not in table]
    if missing:
        raise LeakgapError(f"{path}: is no manifest of canaries, it lacks column {missing[0]}")
    if table["record"].duplicated().any() or table["member"].isna().any():
        raise LeakgapError(f"{path}: names a canary twice, or does not say whether it was trained on")
    if table["member"].dtype != bool:
        raise LeakgapError(f"{path}: column member is not true or false throughout")
    return pd.Series(table["member"].to_numpy(), table["record"].astype(str))


def part(answers: Answers, keep: np.ndarray) -> Answers:
    """Return the answers about some of the records; keep: bool [S]."""
    size = len(answers.record)
    kept: dict[str, Any] = {"signals": {name: each[keep] for name, each in answers.signals.items()}}
    for each in fields(answers):
        value = getattr(answers, each.name)
        if isinstance(value, np.ndarray) and len(value) == size:
            kept[each.name] = value[keep]
    return replace(answers, **kept)


def exposures(score: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Return the exposure of every canary that was trained on, in bits, float [members].

    log2 |R| - log2 rank in R (Carlini et al. 2019), where R is the canary and those that were not trained on, of
    which it is one more draw; a canary that scores as one of these ranks behind it. log2 |R| is the most there is.

    >>> exposures(np.array([5.0, 2.5, 1, 2, 3]), np.array([True, True, False, False, False])).tolist()
    [2.0, 1.0]
    """
    others = np.sort(score[~member])
    rank = 1 + len(others) - np.searchsorted(others, score[member], side="left")
    return np.log2(len(others) + 1) - np.log2(rank)


def of_canaries(
    target: Answers, shadows: list[Answers], manifest: pd.Series, *, level: float, seed: int
) -> dict[str, Any]:
    """Say what a target's answers show of its canaries: exposure, TPR, and a bound of epsilon.

    A canary's score is its phi, less the mean phi of the shadow models that were not trained on it where all
    canaries have one. shadows, target: answers about canaries alone.
    """
    ids = target.record.astype(str)
    member = manifest.loc[ids].to_numpy()
    if target.member is not None and (target.member != member).any():
        odd = ids[target.member != member][0]
        raise LeakgapError(
            f"{target.name}: canary {odd} was trained on by one of file and manifest, and not by both"
        )
    if target.phi is None:
        raise LeakgapError(f"{target.name}: canaries need probabilities, losses or scores, not predictions")
    if min(member.sum(), (~member).sum()) < 2:
        raise LeakgapError(
            f"{target.name}: answers about {len(ids)} canaries, too few on either side to compare"
        )
    score = target.phi.mean(1).astype(np.float64)
    usual = _usual(ids, shadows)
    if np.isfinite(usual).all():
        score = score - usual
    told: dict[str, Any] = {
        "canaries": len(ids),
        "members": int(member.sum()),
        "calibrated": bool(np.isfinite(usual).all()),
        "most_exposure": float(np.log2((~member).sum() + 1)),
    }
    exposed = exposures(score, member)
    told |= {"exposure_median": float(np.median(exposed)), "exposure_max": float(exposed.max())}
    for fpr in FPRS:
        if not np.isnan(tpr_at_fpr(score, member, fpr)):
            value = tpr_interval(score, member, fpr, level)
            told[f"tpr_at_{fpr:g}"] = [float(value.value), float(value.low), float(value.high)]
    guesses = len(ids) // 2
    told["epsilon"] = {
        "bound": inclusion_epsilon(score, member, guesses=guesses, level=level, seed=seed),
        "guesses": guesses,
        "relation": "add or remove one",
        "delta": 0.0,
        "level": level,
    }
    return told


def _usual(ids: np.ndarray, shadows: list[Answers]) -> np.ndarray:
    """Return the mean phi by models that were not trained on a canary, float [S]; NaN where there is none."""
    total, count = np.zeros(len(ids)), np.zeros(len(ids))
    for each in shadows:
        if each.phi is None or each.member is None:
            continue
        phi = pd.Series(np.where(each.member, np.nan, each.phi.mean(1)), each.record.astype(str)).reindex(ids)
        total, count = total + phi.fillna(0).to_numpy(), count + phi.notna().to_numpy()
    return np.divide(total, count, out=np.full(len(ids), np.nan), where=count > 0)
