"""The study's tables, each as CSV (numbers) and Markdown (for reading): fractions in CSV, percent in Markdown.

Every function takes joined tables and returns one DataFrame; TABLES lists them. Two estimands of the TPR stand
side by side and are named: the mean over targets of each target's own TPR, and the pooled TPR of all (model,
image) pairs under one threshold, with its two-way bootstrap interval. Undefined is NaN in CSV, `undefined` in
Markdown.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leakgap.augment import MEMBERS
from leakgap.files import atomic
from leakgap.results import known, read
from leakgap.study import NONE, Study

# Tables I and II of the study, CIFAR-10, percent: train accuracy, test accuracy, TPR at 0.1% FPR of one target
PAPER_TECHNIQUES = {
    "none": (100, 76.55, 19.56),
    "crop": (95.75, 84.26, 0.73),
    "mirror": (98.75, 72.59, 4.52),
    "policy": (99.4, 80.75, 2.91),
    "cutout": (99.2, 76.49, 9.95),
    "crop+cutout": (96.81, 85.29, 0.63),
    "crop+mirror": (92.93, 82.43, 0.33),
    "mirror+cutout": (98.9, 81.43, 4.61),
    "crop+mirror+cutout": (95.35, 84.16, 0.54),
    "crop+mirror+cutout+policy": (94.94, 89.15, 0.18),
}
PAPER_STEPS = {
    6: (100, 76.8, 18.28),
    5: (99.8, 75.7, 14.63),
    4: (97.4, 73.2, 8.31),
    3: (93.6, 72.3, 4.6),
    2: (86, 68.3, 0.16),
    1: (75.9, 67.4, 0.1),
}


SHARES = {"fpr", "informed", "uninformed", "difference", "mean"}
UNDEFINED = "undefined"


@dataclass(frozen=True)
class Results:
    """The joined tables of a study, leave-one-out targets of the headline attack unless said otherwise."""

    study: Study
    summary: pd.DataFrame
    pooled: pd.DataFrame
    replicates: pd.DataFrame
    shadows: pd.DataFrame
    exposures: Sequence[str]  # files, one per technique of the grid

    @classmethod
    def of(cls, study: Study, joined: Sequence[str], exposures: Sequence[str]) -> "Results":
        """Read them; LeakgapError when the summary has not run."""
        tables = {name: read(joined, name) for name in ("summary", "pooled", "replicates", "shadows")}
        return cls(study, exposures=exposures, **tables)

    def targets(self, design: str = "leave-one-out") -> pd.DataFrame:
        """Rows of the summary: headline attack, one attacker, targets of one design."""
        kind = "m" if design == "leave-one-out" else "r"
        rows = known(self.study, self.summary[self.summary["mask"].str.startswith(kind)])
        return rows[rows["attack"] == self.study.attack.headline]

    def pools(self, design: str = "leave-one-out") -> pd.DataFrame:
        """Rows of the pooled table of one design: all attacks and attackers."""
        return self.pooled[self.pooled["design"] == design]


def _by_cell(results: Results, design: str) -> pd.DataFrame:
    """One row per technique and step: accuracies, mean TPR over targets, pooled TPR with interval."""
    fprs = [f"tpr_at_{fpr:g}" for fpr in results.study.attack.fpr]
    targets = results.targets(design)
    if targets.empty:
        return pd.DataFrame()
    means = targets.groupby(["technique", "step", "epoch"], sort=False)[
        ["train_acc", "test_acc", "acc_gap", "loss_gap", "auc", *fprs]
    ].mean()
    cells = means.rename(columns={fpr: f"mean_{fpr}" for fpr in fprs}).reset_index()
    cells.insert(3, "targets", targets.groupby(["technique", "step"], sort=False).size().to_numpy())
    pools = known(results.study, results.pools(design))
    pools = pools[pools["attack"] == results.study.attack.headline]
    for fpr in results.study.attack.fpr:
        values = pools.loc[pools["fpr"] == fpr, ["technique", "step", "tpr", "low", "high"]]
        names = {
            "tpr": f"pooled_tpr_at_{fpr:g}",
            "low": f"pooled_low_at_{fpr:g}",
            "high": f"pooled_high_at_{fpr:g}",
        }
        cells = cells.merge(values.rename(columns=names), on=["technique", "step"], how="left")
    return cells


def _beside_paper(
    cells: pd.DataFrame, results: Results, keys: list[Any], paper: Mapping[Any, tuple[float, float, float]]
) -> pd.DataFrame:
    """Add the paper's own numbers by the rows' keys, as fractions, where the study is on the paper's dataset."""
    if results.study.data.dataset != "cifar10":
        return cells
    missing = (np.nan, np.nan, np.nan)
    for position, name in enumerate(("paper_train_acc", "paper_test_acc", "paper_tpr_at_0.001")):
        cells[name] = [paper.get(key, missing)[position] / 100 for key in keys]
    return cells


def techniques(results: Results, design: str = "leave-one-out") -> pd.DataFrame:
    """Table I of the study: one row per technique, at the last step."""
    cells = _by_cell(results, design)
    if cells.empty:
        return cells
    last = cells[cells["step"] == cells["step"].max()].drop(columns="step").reset_index(drop=True)
    return _beside_paper(last, results, list(last["technique"]), PAPER_TECHNIQUES)


def steps(results: Results) -> pd.DataFrame:
    """Table II of the study for every technique: one row per step, the last first."""
    cells = _by_cell(results, "leave-one-out")
    order = {technique: place for place, technique in enumerate(results.study.grid.techniques)}
    cells = cells.sort_values(
        ["technique", "step"],
        key=lambda column: column.map(order) if column.name == "technique" else -column,
        ignore_index=True,
    )
    keys = [
        step if name == NONE else None for name, step in zip(cells["technique"], cells["step"], strict=True)
    ]
    return _beside_paper(cells, results, keys, PAPER_STEPS)


def replicates(results: Results) -> pd.DataFrame:
    """Table I from the replicates of mask 0 alone: the study's section IV-C taken literally."""
    return techniques(results, "replicates")


def attacks(results: Results) -> pd.DataFrame:
    """All attacks side by side: pooled TPR of every technique at the last step."""
    pools = results.pools()
    last = pools[pools["step"] == pools["step"].max()]
    return last[["attack", "attacker", "technique", "fpr", "tpr", "low", "high"]].reset_index(drop=True)


def knowledge(results: Results) -> pd.DataFrame:
    """Informed against uninformed attacker: pooled TPR of both, ratio and difference with paired intervals."""
    draws = results.replicates
    draws = draws[(draws["design"] == "leave-one-out") & (draws["attack"] == results.study.attack.headline)]
    pools = results.pools()
    pools = pools[pools["attack"] == results.study.attack.headline]
    place = ["technique", "step", "epoch", "fpr"]
    wide = pools.pivot(index=place, columns="attacker", values="tpr")
    wide = wide.reindex(results.study.grid.techniques, level="technique")
    wide = wide.reindex(columns=["informed", "uninformed"]).dropna().reset_index().rename_axis(columns=None)
    if wide.empty:
        return wide
    pairs = draws.pivot(index=[*place, "replicate"], columns="attacker", values="tpr")
    for name, contrast in (("difference", np.subtract), ("ratio", np.divide)):
        with np.errstate(divide="ignore", invalid="ignore"):
            wide[name] = contrast(wide["informed"], wide["uninformed"])
            values = pd.Series(contrast(pairs["informed"], pairs["uninformed"]), pairs.index)
        resampled = values.dropna().groupby(place)
        # a ratio's replicates may be infinite: quantiles without interpolation
        for bound, level in (("low", 0.025), ("high", 0.975)):
            wide = wide.merge(
                resampled.quantile(level, interpolation="nearest").rename(f"{name}_{bound}"),
                how="left",
                left_on=place,
                right_index=True,
            )
    return wide


def shadows(results: Results) -> pd.DataFrame:
    """Pooled TPR of the headline attack by the number of shadow models that the attacker has."""
    rows = known(results.study, results.shadows)
    return rows[["technique", "n_shadows", "fpr", "tpr", "low", "high"]].reset_index(drop=True)


def exposed(results: Results, top: int = 50) -> pd.DataFrame:
    """The images caught most often at 1% FPR by the headline attack, summed over techniques, and by technique."""
    study, caught = results.study, []
    for technique, path in zip(study.grid.techniques, results.exposures, strict=True):
        rows = pd.read_parquet(path)
        rows = rows[rows["attack"] == study.attack.headline].set_index(["image", "label"])
        caught.append((rows["caught"] / rows["targets"]).rename(technique))
    table = pd.concat(caught, axis=1)
    table.insert(0, "mean", table.mean(axis=1))
    return table.sort_values(["mean", NONE] if NONE in table else "mean", ascending=False)[:top].reset_index()


TABLES: tuple[Callable[[Results], pd.DataFrame], ...] = (
    techniques,
    steps,
    replicates,
    attacks,
    knowledge,
    shadows,
    exposed,
)


def write_tables(study: Study, joined: Sequence[str], exposures: Sequence[str], out: str) -> None:
    """Write every table that the study has rows for as <name>.csv and .md into the folder `out`.

    `joined` are the joined tables; `exposures` one file per technique, by the attacker that is shown.
    """
    found = Results.of(study, joined, exposures)
    for function in TABLES:
        table = function(found)
        if table.empty:
            continue
        path = Path(out) / function.__name__
        with atomic(path.with_suffix(".csv")) as temporary:
            table.to_csv(temporary, index=False)
        with atomic(path.with_suffix(".md")) as temporary:
            temporary.write_text(_title(function) + markdown(table) + "\n")


def _title(function: Callable[[Results], pd.DataFrame]) -> str:
    return f"{(function.__doc__ or '').strip()}\n\n"


def markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table: fractions in percent, an interval beside its number as `tpr [low, high]`."""
    shown, bounds = {}, {column: _bounds(column, table) for column in map(str, table)}
    hidden = {bound for pair in bounds.values() if pair for bound in pair}
    for column in [name for name in bounds if name not in hidden]:
        texts = [_text(column, value) for value in table[column]]
        if pair := bounds[column]:
            intervals = [[_text(column, value) for value in table[bound]] for bound in pair]
            texts = [
                text if text == UNDEFINED else f"{text} [{low}, {high}]"
                for text, low, high in zip(texts, *intervals, strict=True)
            ]
        shown[_heading(column)] = texts
    lines = [list(shown), ["---"] * len(shown), *zip(*shown.values(), strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _bounds(column: str, table: pd.DataFrame) -> tuple[str, str] | None:
    """Name the columns with the interval of `column`, if it has one."""
    for low, high in (
        (column.replace("tpr", "low"), column.replace("tpr", "high")),
        (f"{column}_low", f"{column}_high"),
    ):
        if low != column and low in table:
            return low, high
    return None


def _is_share(column: str) -> bool:
    return "acc" in column or "tpr" in column or column in SHARES or column.split("+")[0] in (NONE, *MEMBERS)


def _text(column: str, value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    if not np.isfinite(value):
        return UNDEFINED if np.isnan(value) else "∞"
    if column == "fpr":
        return f"{100 * value:g}"
    return f"{100 * value:.2f}" if _is_share(column) else f"{value:.3f}"


def _heading(column: str) -> str:
    name, at, fpr = column.partition("_at_")
    words = name.replace("_", " ").replace("tpr", "TPR").replace("fpr", "FPR").replace("acc", "accuracy")
    return words + (f" at {100 * float(fpr):g}% FPR" if at else "") + (" (%)" if _is_share(column) else "")
