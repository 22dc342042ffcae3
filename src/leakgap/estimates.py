"""The long table of all that attacks achieve, a row for every number, and its pivots for people.

No number is looked up by taking a column's name apart: what a number is of, and at which FPR, stands in columns of
their own. The pivots, one row per target or per pooled TPR, are made of it and are never read back.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    *("ALL", "HALVES", "LEAVE_ONE_OUT", "NO_ATTACK", "REPLICATES"),
    *("at_fpr", "epsilon", "of_targets", "pooled", "rows", "shadows", "thresholds", "tpr_column"),
]

LEAVE_ONE_OUT, REPLICATES, HALVES = "leave-one-out", "replicates", "halves"  # designs
ALL = "all"  # in column `mask`: of all targets of the design
NO_ATTACK = ""  # in column `attack`: of the models, whatever attacks them
FPR_TOLERANCE = 1e-9  # relative; FPRs of a study differ by more
NAN = float("nan")

MODELS = ["technique", "step", "epoch", "attacker"]
KEY = [*MODELS, "attack", "design", "mask", "quantity", "fpr"]
GENERALIZATION = ("train_acc", "test_acc", "train_loss", "test_loss", "acc_gap", "loss_gap")
COUNTS = ("n_members", "n_nonmembers")
SUCCESS = ("auc", "balanced_acc")
EPSILON = {"matches": int, "guesses": int, "right": int, "epsilon": float, "together": float}
RECIPE = {"recipe": float, "recipe_gaussian": float, "recipe_guesses": int, "recipe_right": int}
THRESHOLDS = ("threshold", "achieved_fpr", "achieved_tpr")
OF_RECORDS = {"value": "records_tpr", "low": "records_low", "high": "records_high"}  # beside persons'


def rows(
    head: Mapping[str, Any],
    design: Any,
    mask: Any,
    quantity: str,
    value: Any,
    *,
    fpr: float = NAN,
    low: Any = NAN,
    high: Any = NAN,
    n: int = 0,
) -> pd.DataFrame:
    """Return rows of the long table, one for each value; design, mask and the ends: of each, or of all alike.

    head: technique, step, epoch, attacker and attack. n: what the value is made of, such as targets.

    >>> head = {"technique": "crop", "step": 1, "epoch": 3, "attacker": "informed", "attack": "loss"}
    >>> rows(head, LEAVE_ONE_OUT, ["m000", "m001"], "tpr", [0.1, 0.2], fpr=0.01)[["mask", "value"]].values.tolist()
    [['m000', 0.1], ['m001', 0.2]]
    """
    values = np.atleast_1d(np.asarray(value, np.float64))
    columns = {**head, "design": design, "mask": mask, "quantity": quantity, "fpr": fpr, "value": values}
    return pd.DataFrame(columns | {"low": low, "high": high, "n": n}, index=range(len(values)))


def tpr_column(fpr: float) -> str:
    """Name the column of a pivot that holds the TPR at an FPR: 0.001 -> tpr_at_0.001."""
    return f"tpr_at_{fpr:g}"


def at_fpr(frame: pd.DataFrame, fpr: float) -> pd.DataFrame:
    """Return the rows at one FPR."""
    return frame[np.isclose(frame["fpr"], fpr, rtol=FPR_TOLERANCE, atol=0)]


def _wide(estimates: pd.DataFrame, index: Sequence[str], quantities: Sequence[str]) -> pd.DataFrame:
    """Return one row per index, in the order of the table, and a column for each quantity and FPR."""
    chosen = estimates[estimates["quantity"].isin(quantities)]
    of_fpr = chosen["fpr"].map(tpr_column) if "fpr" not in index else chosen["quantity"]
    column = chosen["quantity"].where(chosen["quantity"] != "tpr", of_fpr)
    order = pd.MultiIndex.from_frame(chosen[list(index)].drop_duplicates())
    wide = chosen.assign(column=column).pivot(index=list(index), columns="column", values="value")
    return wide.reindex(order).reset_index().rename_axis(columns=None)


def _counted(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return frame.astype(dict.fromkeys(names, "int64"))


def of_targets(estimates: pd.DataFrame, fprs: Sequence[float], *, halves: bool = False) -> pd.DataFrame:
    """Return one row per target, step, attacker and attack: how it generalizes, and how it is attacked.

    halves: generalization on one half of the records, attack on the other.
    """
    single = estimates[(estimates["mask"] != ALL) & ((estimates["design"] == HALVES) == halves)]
    models = _wide(single[single["attack"] == NO_ATTACK], [*MODELS, "mask"], [*COUNTS, *GENERALIZATION])
    attacked = _wide(single[single["attack"] != NO_ATTACK], [*MODELS, "attack", "mask"], [*SUCCESS, "tpr"])
    table = attacked.merge(models, on=[*MODELS, "mask"], how="left")
    columns = ["technique", "mask", "step", "epoch", "attacker", "attack", *COUNTS, *GENERALIZATION, *SUCCESS]
    return _counted(table[[*columns, *map(tpr_column, fprs)]], COUNTS)


def pooled(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pooled TPR, with its interval and what it is pooled over."""
    every = estimates[estimates["mask"] == ALL]
    place = [*MODELS, "attack", "design", "fpr"]
    table = every[every["quantity"] == "pooled_tpr"][[*place, "value", "low", "high", "n"]]
    counts = _wide(every[every["attack"] == NO_ATTACK], [*MODELS, "design"], COUNTS)
    table = table.rename(columns={"value": "tpr", "n": "n_targets"}).merge(counts, on=[*MODELS, "design"])
    records = every[every["quantity"] == "pooled_tpr_of_records"]
    if len(records):
        beside = records[[*place, *OF_RECORDS]].rename(columns=OF_RECORDS)
        table = table.merge(beside, on=place, how="left")
    return _counted(table, ["n_targets", *COUNTS])


def shadows(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pooled TPR with fewer shadow models."""
    chosen = estimates[estimates["quantity"] == "pooled_tpr_by_shadows"]
    names = {"n": "n_shadows", "value": "tpr"}
    return chosen[[*MODELS, "attack", "n", "fpr", "value", "low", "high"]].rename(columns=names)


def epsilon(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return one row per target with its bounds of epsilon, and those of the recipe in each."""
    place = [*MODELS, "attack"]
    single = _wide(estimates[estimates["mask"] != ALL], [*place, "mask"], list(EPSILON))
    recipe = _wide(estimates[estimates["mask"] == ALL], place, list(RECIPE))
    return single.merge(recipe, on=place).astype(EPSILON | RECIPE)


def thresholds(estimates: pd.DataFrame) -> pd.DataFrame:
    """Return one row per target and FPR: the threshold that its shadow models set, and what it achieves."""
    return _wide(estimates, [*MODELS, "attack", "mask", "fpr"], THRESHOLDS)
