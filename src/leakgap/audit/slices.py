"""Leak by group of records: what one common threshold recognizes of every slice, and what a model merely stores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from leakgap import ArgumentError
from leakgap.answers.joined import Joined
from leakgap.measure.roc import threshold
from leakgap.measure.verdict import holm

FEWEST = 20  # members of a slice, over all targets, from which its share is compared with the others'
STORED = 0.95  # of the members have the largest answer of all, where a model stores them
APART = 0.05  # by so much the share of the others must be smaller


def leak_by_slice(
    score: np.ndarray, member: np.ndarray, slice_: np.ndarray, fpr: float, level: float = 0.95
) -> pd.DataFrame:
    """TPR of every slice at the threshold of all records; score float32 [T,S], member bool [T,S], slice_ int [S].

    A row a slice, in order of its code: `slice`, `members`, `nonmembers`, `tpr` at the common threshold (conformal,
    over all non-members of all targets), its interval `low` to `high`, the share `fpr` of its own non-members that
    are called too, `p` of "its TPR is that of all other slices", and `p_holm`, by Holm over the slices. A score of
    NaN is an abstention, "not a member". Records are the units: what one adds over targets is summed first, so a
    record that is called in every model is one observation, and intervals and p are those of a ratio of sums over
    independent records (linearized, normal; the interval Wilson's with their effective number). p is NaN where a
    slice or the rest has fewer than 20 members. Everything is NaN where the threshold is undefined.

    >>> rng = np.random.default_rng(0)
    >>> member = rng.random((4, 3000)) < 0.5
    >>> old = np.arange(3000) % 3 == 0
    >>> table = leak_by_slice(rng.normal(size=(4, 3000)) + 3 * member * old, member, old.astype(int), 0.01)
    >>> table["slice"].tolist(), bool(table["p_holm"].max() < 0.001), told_apart(table)
    ([0, 1], True, 1)
    """
    if score.shape != member.shape or slice_.shape != score.shape[1:]:
        raise ArgumentError(
            f"score {list(score.shape)}, member {list(member.shape)} and slices {list(slice_.shape)} differ"
        )
    values = np.where(np.isnan(score), -np.inf, score.astype(float))
    limit = threshold(values[~member], fpr)
    called = values > limit if np.isfinite(limit) else np.full(score.shape, np.nan)
    caught, members = (called * member).sum(0), member.sum(0).astype(float)  # of every record, over targets
    false, others = (called * ~member).sum(0), (~member).sum(0).astype(float)
    z, rows = norm.ppf((1 + level) / 2), []
    for code in np.unique(slice_):
        inside = slice_ == code
        tpr, error = _ratio(caught[inside], members[inside])
        rest_error = _ratio(caught[~inside], members[~inside])[1]
        low, high = _wilson(tpr, error, members[inside].sum(), z)
        enough = min(members[inside].sum(), members[~inside].sum()) >= FEWEST
        p = _two_sided(caught, members, inside) if enough and np.hypot(error, rest_error) > 0 else np.nan
        nonmembers = others[inside].sum()
        rows.append(
            {
                "slice": code,
                "members": int(members[inside].sum()),
                "nonmembers": int(nonmembers),
                "tpr": tpr,
                "low": low,
                "high": high,
                "fpr": false[inside].sum() / nonmembers if nonmembers else np.nan,
                "p": p,
            }
        )
    table = pd.DataFrame(rows)
    known = table["p"].notna()
    table["p_holm"] = np.nan
    table.loc[known, "p_holm"] = holm(table.loc[known, "p"].tolist())
    return table


def slices_of(joined: Joined, score: np.ndarray, fpr: float) -> dict[str, Any]:
    """What audit.json says of slices, from the leading attack's scores float32 [T,S]; {} without a column `slice`.

    `slices`: a row each, as `leak_by_slice` has it, under its name; `worst_slice`: one that is told from the rest,
    or None.
    """
    if joined.slice is None or joined.target_member is None:
        return {}
    codes, names = pd.factorize(joined.slice)
    seen = ~joined.reserved & (codes >= 0)
    table = leak_by_slice(score[:, seen], joined.target_member[:, seen], codes[seen], fpr)
    worst = told_apart(table)
    table["slice"] = [str(names[code]) for code in table["slice"]]
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return {"slices": rows, "worst_slice": None if worst is None else str(names[worst])}


def told_apart(table: pd.DataFrame, level: float = 0.95) -> int | None:
    """Return the slice that leaks most, if it is told from the rest by Holm over all slices; else None."""
    if table["tpr"].isna().all():
        return None
    worst = int(table["tpr"].argmax())
    return int(table["slice"].iloc[worst]) if table["p_holm"].iloc[worst] < 1 - level else None


def _ratio(caught: np.ndarray, members: np.ndarray) -> tuple[float, float]:
    """Sum of caught over that of members, and its standard error with records as units."""
    total = members.sum()
    if not total:
        return np.nan, np.nan
    share = caught.sum() / total
    return share, float(np.sqrt(((caught - share * members) ** 2).sum()) / total)


def _two_sided(caught: np.ndarray, members: np.ndarray, inside: np.ndarray) -> float:
    """P-value of equal shares, the error being that of all records under equality."""
    share = caught.sum() / members.sum()
    residual = (caught - share * members) ** 2
    total, rest = members[inside].sum(), members[~inside].sum()
    # under equality the variance of a record's residual goes with its members, whatever its slice
    variance = residual.sum() / members.sum() * (1 / total + 1 / rest)
    difference = caught[inside].sum() / total - caught[~inside].sum() / rest
    return float(2 * norm.sf(abs(difference) / np.sqrt(variance)))


def _wilson(share: float, error: float, members: float, z: float) -> tuple[float, float]:
    """Wilson's interval with as many observations as have the share's error, at most all members."""
    if np.isnan(share):
        return np.nan, np.nan
    n = members if error == 0 else min(members, share * (1 - share) / error**2)
    centre, width = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (centre - width) / (1 + z**2 / n), (centre + width) / (1 + z**2 / n)


def stored_records(phi: np.ndarray, member: np.ndarray) -> str | None:
    """Say whether a model stores its training records, before any attack; phi float32 [S], member bool [S].

    A full tree or a nearest neighbour is sure of the label of all that it was trained on: one answer, the largest,
    is that of nearly all members and not of all others. Then whoever has another answer is no member, and the best
    that an attack can do is told by the two shares. None where this is not so: unless 95% of the members have the
    largest answer, and 5 points fewer of the others.

    >>> member = np.arange(100) < 50
    >>> stored_records(np.where(member, 9.2, np.linspace(-3, 9.2, 100)), member)
    'The model stores its training records: 100% of the members have its largest answer, and 2% of the others.'
    >>> stored_records(np.linspace(-3, 3, 100), member) is None
    True
    """
    phi, member = np.asarray(phi), np.asarray(member, bool)
    if not member.any() or member.all():
        return None
    top = phi == phi.max()
    inside, outside = float(top[member].mean()), float(top[~member].mean())
    if inside < STORED or outside > inside - APART:
        return None
    return (
        f"The model stores its training records: {100 * inside:.0f}% of the members have its largest answer, and "
        f"{100 * outside:.0f}% of the others."
    )
