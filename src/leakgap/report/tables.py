"""The study's tables, each as CSV (numbers) and Markdown (for reading): fractions in CSV, percent in Markdown.

Two estimands of the TPR stand side by side and are named: the mean over targets of each target's own TPR (undefined
if one of them is), and the pooled TPR of all (model, image) pairs under one threshold. Undefined is NaN in CSV,
`undefined` in Markdown. index.json holds headings, captions and cells as the report shows them.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from leakgap.files import atomic, replace_index
from leakgap.measure.single import PRIORS
from leakgap.measure.single import precision as true_share
from leakgap.report.chance import exposed_images
from leakgap.report.decision import decision
from leakgap.report.rounding import fixed
from leakgap.report.topics import DECISION
from leakgap.results import LEAVE_ONE_OUT, REPLICATES, Results, at_fpr, tpr_column
from leakgap.study import NONE, Study
from leakgap.text import for_markdown, for_spreadsheets

INDEX = "index.json"
SUFFIXES = (".csv", ".md")
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

# quantities shown in percent, by the column's name without FPR and bound
SHARES = {
    *("fpr", "tpr", "mean_tpr", "pooled_tpr", "paper_tpr", "informed", "uninformed", "difference", "caught"),
    *(f"achieved_{rate}{part}" for rate in ("fpr", "tpr") for part in ("", "_p5", "_p95")),
    *("precision", "train_acc", "test_acc", "acc_gap", "acc_difference", "paper_train_acc", "paper_test_acc"),
}
PRIOR = "_of_"  # before the prior of a precision
CAUGHT, TPR_OF = "caught_", "tpr_"  # begin the columns of single techniques, and of single studies
UNDEFINED, NOTHING = "undefined", "–"  # what can't be said, and what there is nothing to say about


def _by_cell(results: Results, design: str) -> pd.DataFrame:
    """One row per technique and step: accuracies, mean TPR over targets, pooled TPR with interval."""
    targets = results.targets(design)
    if targets.empty:
        return pd.DataFrame()
    fprs = results.study.attack.fpr
    columns = ["train_acc", "test_acc", "acc_gap", "loss_gap", "auc", *map(tpr_column, fprs)]
    groups = targets.groupby(["technique", "step", "epoch"], sort=False)[columns]
    cells = groups.mean().where(groups.count().eq(groups.size(), axis=0))
    cells = cells.rename(columns={tpr_column(fpr): f"mean_{tpr_column(fpr)}" for fpr in fprs})
    cells.insert(0, "targets", groups.size())
    cells = cells.reset_index()
    means = results.shown(results.means)
    means = means[means["design"] == design]
    for column in columns:
        values = means.loc[means["quantity"] == column, ["technique", "step", "low", "high"]]
        names = {
            end: f"mean_{column.replace('tpr', end)}" if column.startswith("tpr_at_") else f"{column}_{end}"
            for end in ("low", "high")
        }
        cells = cells.merge(values.rename(columns=names), on=["technique", "step"], how="left")
    pools = results.shown(results.pooled)
    pools = pools[(pools["attack"] == results.study.attack.headline) & (pools["design"] == design)]
    for fpr in fprs:
        values = at_fpr(pools, fpr)[["technique", "step", "tpr", "low", "high"]]
        names = {name: f"pooled_{name}_at_{fpr:g}" for name in ("tpr", "low", "high")}
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


def techniques(results: Results, design: str = LEAVE_ONE_OUT) -> pd.DataFrame:
    """One row per technique, at the last step."""
    cells = _by_cell(results, design)
    if cells.empty:
        return cells
    last = cells[cells["step"] == cells["step"].max()].drop(columns="step").reset_index(drop=True)
    return _beside_paper(last, results, list(last["technique"]), PAPER_TECHNIQUES)


def steps(results: Results) -> pd.DataFrame:
    """One row per technique and step, the last first."""
    cells = _by_cell(results, LEAVE_ONE_OUT)
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
    """As `techniques`, of the replicates of mask 0."""
    return techniques(results, REPLICATES)


def attacks(results: Results) -> pd.DataFrame:
    """One row per attack, attacker, technique and FPR at the last step, each beside the headline attack."""
    pools = results.pooled
    last = pools[(pools["step"] == results.last) & (pools["design"] == LEAVE_ONE_OUT)]
    rows = last[["attack", "attacker", "technique", "fpr", "tpr", "low", "high"]].reset_index(drop=True)
    ratios: list[tuple[float | None, ...]] = []
    for _, row in rows.iterrows():
        if row["attack"] == results.study.attack.headline:
            ratios.append((None, None, None))  # nothing to say: to itself
            continue
        mine, headline = (
            results.cell(row["technique"], attacker=row["attacker"], attack=attack)
            for attack in (row["attack"], None)
        )
        ratio = results.contrast(mine, headline, row["fpr"])
        ratios.append((ratio.value, ratio.low, ratio.high))
    names = ["ratio", "ratio_low", "ratio_high"]
    return rows.join(pd.DataFrame(ratios, columns=names, dtype=object))


def knowledge(results: Results) -> pd.DataFrame:
    """One row per technique, step and FPR: both attackers, difference and ratio with paired intervals."""
    if set(results.study.attack.attackers) != {"informed", "uninformed"}:
        return pd.DataFrame()
    rows = []
    for technique in results.study.grid.techniques:
        if technique == results.study.attack.baseline:  # both attackers are the same
            continue
        for step in range(1, results.last + 1):
            for fpr in results.study.attack.fpr:
                pair = (
                    results.cell(technique, step, "informed"),
                    results.cell(technique, step, "uninformed"),
                )
                informed, uninformed = (results.row(cell, fpr) for cell in pair)
                row = {"technique": technique, "step": step, "epoch": informed["epoch"], "fpr": fpr}
                row |= {"informed": informed["tpr"], "uninformed": uninformed["tpr"]}
                functions: tuple[Literal["difference", "ratio"], ...] = ("difference", "ratio")
                for function in functions:
                    found = results.contrast(pair[0], pair[1], fpr, function)
                    row |= {
                        function: found.value,
                        f"{function}_low": found.low,
                        f"{function}_high": found.high,
                    }
                rows.append(row)
    return pd.DataFrame(rows)


def shadows(results: Results) -> pd.DataFrame:
    """One row per technique, attack, number of shadow models and FPR."""
    rows = results.shown(results.shadows)
    return rows[["technique", "attack", "n_shadows", "fpr", "tpr", "low", "high"]].reset_index(drop=True)


def epsilon(results: Results) -> pd.DataFrame:
    """One row per technique: the recipe's lower bound of epsilon, and those of single models, rounded down."""
    rows = []
    bounds = results.shown(results.epsilon)
    for technique, found in bounds.groupby("technique", sort=False):
        row = {
            "recipe": found["recipe"].iloc[0],
            "recipe_gaussian": found["recipe_gaussian"].iloc[0],
            "median": found["epsilon"].median(),
            "largest": found["epsilon"].max(),
        }
        counts = {"targets": len(found), "matches": found["matches"].min()}
        counts |= {"guesses": found["recipe_guesses"].iloc[0], "right": found["recipe_right"].iloc[0]}
        rows.append(
            {"technique": technique}
            | {name: np.floor(1000 * value) / 1000 for name, value in row.items()}
            | counts
        )
    return pd.DataFrame(rows)


def precision(results: Results) -> pd.DataFrame:
    """One row per technique and FPR: of those called members, how many are, if 1, 10 or 50% of the suspects are."""
    rows = []
    for technique in results.study.grid.techniques:
        for fpr in results.study.attack.fpr:
            pooled = results.row(results.cell(technique), fpr)
            row = {"technique": technique, "fpr": fpr} | {end: pooled[end] for end in ("tpr", "low", "high")}
            for prior in PRIORS:
                for end, suffix in (("tpr", ""), ("low", "_low"), ("high", "_high")):
                    row[f"precision{PRIOR}{prior:g}{suffix}"] = true_share(pooled[end], fpr, prior)
            rows.append(row)
    return pd.DataFrame(rows)


def thresholds(results: Results) -> pd.DataFrame:
    """One row per technique and FPR: what thresholds set on shadow models alone achieve, over targets."""
    rows = []
    found = results.shown(results.thresholds)
    for (technique, fpr), targets in found.groupby(["technique", "fpr"], sort=False):
        row = {"technique": technique, "fpr": fpr, "targets": len(targets)}
        for rate in ("achieved_fpr", "achieved_tpr"):
            values = targets[rate].to_numpy()
            row[rate] = values.mean()
            row[f"{rate}_p5"], row[f"{rate}_p95"] = np.quantile(values, [0.05, 0.95])
        rows.append(row)
    return pd.DataFrame(rows)


def exposed(results: Results, exposures: Sequence[str], pool: str, top: int = 50) -> pd.DataFrame:
    """One row per image that is caught more often than chance explains by some technique's models.

    Those caught most often first, by name where the dataset has names. exposures: a file per technique.
    """
    rows = every = results.exposures(exposures)
    chosen = set(exposed_images(rows)["image"])
    if not chosen:
        return pd.DataFrame()
    rows = rows[rows["image"].isin(chosen)]
    share = (rows["caught"] / rows["targets"]).rename("share")
    table = rows.assign(share=share).pivot(index=["image", "label"], columns="technique", values="share")
    table = table[list(results.study.grid.techniques)].add_prefix(CAUGHT)
    table.insert(0, "caught", table.mean(axis=1))
    order = ["caught", CAUGHT + results.study.attack.baseline]
    table = table.sort_values(order, ascending=False)[:top].reset_index()
    names = results.attacked(pool, every).names
    if names is not None:
        table.insert(1, "name", names[table["image"]])
    return table


@dataclass(frozen=True)
class Table:
    """How a table is made, what it is about, and how to read it."""

    make: Callable[[Results], pd.DataFrame]
    topic: str
    heading: str
    caption: str

    @property
    def name(self) -> str:
        """Stem of its files."""
        return self.make.__name__


TABLES = (
    Table(
        decision,
        DECISION,
        "Every variant in numbers",
        "Test accuracy and pooled TPR at the last step, each with its own interval; `accuracy difference` "
        "to and `ratio` over the baseline, paired, with intervals that hold for all variants together "
        "(Bonferroni; accuracy and each FPR by itself). `beaten by`: the variant of the front that is at "
        "least as accurate and leaks no more, by the estimates; `told apart on`: where the paired contrast, "
        "simultaneous over all pairs of variants, says so. Empty: nothing beats it.",
    ),
    Table(
        techniques,
        "leak",
        "Variants at the last step",
        "Table I of the study: one row per technique, at the last step.",
    ),
    Table(
        replicates,
        "leak",
        "Replicates of mask 0 at the last step",
        "Table I from the replicates of mask 0 alone: the study's section IV-C taken literally.",
    ),
    Table(
        steps,
        "leak",
        "Variants at every step",
        "Table II of the study for every technique: one row per step, the last first.",
    ),
    Table(
        attacks,
        "attackers",
        "All attacks, in numbers",
        "Pooled TPR of every technique at the last step, and its ratio to that of the headline attack, with "
        "paired intervals. Intervals hold one at a time.",
    ),
    Table(
        knowledge,
        "attackers",
        "Informed against uninformed",
        "Pooled TPR of both attackers, difference and ratio with paired intervals.",
    ),
    Table(
        shadows,
        "attackers",
        "Fewer shadow models",
        "Pooled TPR of the headline attack, and of lira-pooled if that is another, by the number of shadow models.",
    ),
    Table(
        precision,
        "consequences",
        "Precision",
        "Of those called members at the FPR, the share that are, if 1%, 10% or 50% of the suspects are "
        "members. Intervals are those of the pooled TPR, transformed.",
    ),
    Table(
        thresholds,
        "consequences",
        "Thresholds that an attacker can set",
        "For each target the score with this FPR on its shadow models' "
        "non-members, each shadow model attacked by the others; and the FPR and TPR that it achieves on the "
        "target: mean, 5th and 95th percentile over targets.",
    ),
    Table(
        epsilon,
        "consequences",
        "Lower bounds of epsilon",
        "If training was the same for every model and masks are drawn as here, then it is not private with an "
        "epsilon below `recipe`, at 95% confidence, for delta = 0 and the replacement of one record (adding or "
        "removing one where `data.inclusion` is `coin`); 0 promises nothing. `recipe` is of all models together: "
        "each target is attacked by the models of the pairs before it, and of `guesses` which of two matched "
        "images it was trained on so many were `right`. `recipe_gaussian`: the same at delta = 1e-5, if what "
        "protects is Gaussian noise. `median` and `largest` are of bounds for one model each, for which the "
        "largest of many is no bound at 95%.",
    ),
)
EXPOSED = {
    "topic": "images",
    "heading": "Records caught more often than chance explains",
    "caption": "By the models of some variant at least: the share of the targets trained on the record that "
    "give it away at 1% FPR, mean over variants, and by variant. The first 50.",
}


def write_tables(study: Study, joined: Sequence[str], exposures: Sequence[str], pool: str, out: str) -> None:
    """Write every table as <name>.csv and .md in the folder `out`, and an index of those that have rows."""
    results = Results(study, joined)
    made = [
        (
            table.name,
            {"topic": table.topic, "heading": table.heading, "caption": table.caption},
            table.make(results),
        )
        for table in TABLES
    ]
    made.append((exposed.__name__, EXPOSED, exposed(results, exposures, pool)))
    index = []
    for name, about, table in made:
        bare = table.empty
        if bare:
            table = pd.DataFrame(columns=list(table) or ["technique"])
        with atomic(Path(out) / f"{name}.csv") as temporary:
            for_spreadsheets(table).to_csv(temporary, index=False)
            digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        text = "Nothing to show in this study."
        if not bare:
            shown, text = cells(table), markdown(table)
            rows = list(zip(*shown.values(), strict=True))
            index.append({"name": name, **about, "columns": list(shown), "rows": rows, "sha256": digest})
        with atomic(Path(out) / f"{name}.md") as temporary:
            temporary.write_text(f"{about['heading']}. {about['caption']}\n\n{text}\n", encoding="utf-8")
    names = {f"{name}{suffix}" for name, _, _ in made for suffix in SUFFIXES}
    replace_index(Path(out) / INDEX, index, "tables", results.origin, names, SUFFIXES)


def markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table: fractions in percent, an interval beside its number as `tpr [low, high]`."""
    shown = cells(table)
    lines = [list(shown), ["---"] * len(shown), *zip(*shown.values(), strict=True)]
    return "\n".join("| " + " | ".join(map(for_markdown, line)) + " |" for line in lines)


def cells(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return heading -> texts of every column, intervals beside their numbers, rounded outwards."""
    bounds = {column: _bounds(column, table) for column in map(str, table)}
    hidden = {bound for pair in bounds.values() if pair for bound in pair}
    shown = {}
    for column in [name for name in bounds if name not in hidden]:
        texts = [_text(column, value) for value in table[column]]
        if pair := bounds[column]:
            intervals = [
                [_text(column, value, rounding) for value in table[bound]]
                for bound, rounding in zip(pair, (ROUND_FLOOR, ROUND_CEILING), strict=True)
            ]
            texts = [_with_interval(*each) for each in zip(texts, *intervals, strict=True)]
        shown[_heading(column)] = texts
    return shown


def _with_interval(text: str, low: str, high: str) -> str:
    if text in (UNDEFINED, NOTHING, ""):
        return text
    return f"{text} [{UNDEFINED}]" if UNDEFINED in (low, high) else f"{text} [{low}, {high}]"


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
    quantity = column.partition("_at_")[0].partition(PRIOR)[0].removesuffix("_low").removesuffix("_high")
    return quantity.replace("low", "tpr").replace("high", "tpr") in SHARES or column.startswith(
        (CAUGHT, TPR_OF)
    )


def _text(column: str, value: object, rounding: str = ROUND_HALF_EVEN) -> str:
    if value is None:
        return NOTHING
    if not isinstance(value, float):
        return str(value)
    if not np.isfinite(value):
        return UNDEFINED if np.isnan(value) else "∞"
    if column == "fpr":
        return f"{100 * value:g}"
    return fixed(100 * value, 2, rounding) if _is_share(column) else fixed(value, 3, rounding)


def _heading(column: str) -> str:
    if column.startswith(CAUGHT):
        return f"{column.removeprefix(CAUGHT)} (%)"
    name, of, prior = column.partition(PRIOR)
    if of:
        return f"{name} if {100 * float(prior):g}% are members (%)"
    name, at, fpr = column.partition("_at_")
    words = name.replace("_", " ").replace("tpr", "TPR").replace("fpr", "FPR").replace("acc", "accuracy")
    return words + (f" at {100 * float(fpr):g}% FPR" if at else "") + (" (%)" if _is_share(column) else "")
