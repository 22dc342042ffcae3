"""The study's tables, each as CSV (numbers) and Markdown (for reading): fractions in CSV, percent in Markdown.

Two estimands of the TPR stand side by side and are named: the mean over targets of each target's own TPR (undefined
if one of them is), and the pooled TPR of all (model, image) pairs under one threshold. Undefined is NaN in CSV,
`undefined` in Markdown. index.json holds headings, captions and cells as the report shows them.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from leakgap.estimates import ALL, LEAVE_ONE_OUT, REPLICATES, at_fpr, tpr_column
from leakgap.files import atomic, replace_index
from leakgap.measure.single import PRIORS
from leakgap.measure.single import precision as true_share
from leakgap.report.chance import exposed_images
from leakgap.report.columns import FPR, TPR, Columns, at_fprs, cells, markdown, names_at, numbers, shares
from leakgap.report.decision import decision
from leakgap.report.topics import DECISION
from leakgap.results import Results
from leakgap.study import Study
from leakgap.text import for_spreadsheets

INDEX = "index.json"
SUFFIXES = (".csv", ".md")
CAUGHT = "caught_"  # begins the columns of single techniques


def _by_cell(results: Results, design: str) -> pd.DataFrame:
    """One row per technique and step: accuracies, mean TPR over targets, pooled TPR with interval."""
    targets = results.targets(design)
    if targets.empty:
        return pd.DataFrame()
    fprs = results.study.attack.fpr
    columns = ["train_acc", "test_acc", "acc_gap", "loss_gap", "auc", *map(tpr_column, fprs)]
    groups = targets.groupby(["technique", "step", "epoch"], sort=False)[columns]
    cells = groups.mean().where(groups.count().eq(groups.size(), axis=0))
    cells = cells.rename(columns={tpr_column(fpr): names_at("mean", fpr)[0] for fpr in fprs})
    cells.insert(0, "targets", groups.size())
    cells = cells.reset_index()
    for quantity, fpr, names in _bounds(fprs):
        found = results.shown(results.estimates)
        found = found[(found["quantity"] == quantity) & (found["design"] == design) & (found["mask"] == ALL)]
        if quantity == "pooled_tpr":
            found = found[found["attack"] == results.study.attack.headline]
        if fpr is not None:
            found = at_fpr(found, fpr)
        values = found[["technique", "step", *names]].rename(columns=names)
        cells = cells.merge(values, on=["technique", "step"], how="left")
    return cells


def _bounds(fprs: Sequence[float]) -> Iterator[tuple[str, float | None, dict[str, str]]]:
    """Yield quantities of all targets of a design, at which FPR, and which of their columns are called what."""
    for quantity in ("train_acc", "test_acc", "acc_gap", "loss_gap", "auc"):
        yield quantity, None, {"low": f"{quantity}_low", "high": f"{quantity}_high"}
    for fpr in fprs:
        yield "tpr", fpr, dict(zip(("low", "high"), names_at("mean", fpr)[1:], strict=True))
    for fpr in fprs:
        yield "pooled_tpr", fpr, dict(zip(("value", "low", "high"), names_at("pooled", fpr), strict=True))


def techniques(results: Results, design: str = LEAVE_ONE_OUT) -> pd.DataFrame:
    """One row per technique, at the last step."""
    cells = _by_cell(results, design)
    if cells.empty:
        return cells
    return cells[cells["step"] == cells["step"].max()].drop(columns="step").reset_index(drop=True)


def steps(results: Results) -> pd.DataFrame:
    """One row per technique and step, the last first."""
    cells = _by_cell(results, LEAVE_ONE_OUT)
    order = {technique: place for place, technique in enumerate(results.study.grid.techniques)}
    return cells.sort_values(
        ["technique", "step"],
        key=lambda column: column.map(order) if column.name == "technique" else -column,
        ignore_index=True,
    )


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
                    row[f"precision_of_{prior:g}{suffix}"] = true_share(pooled[end], fpr, prior)
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


def exposed(results: Results, pool: str, top: int = 50) -> pd.DataFrame:
    """One row per image that is caught more often than chance explains by some technique's models.

    Those caught most often first, by name where the dataset has names.
    """
    rows = results.exposures()
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
    names = results.attacked(pool).names
    if names is not None:
        table.insert(1, "name", names[table["image"]])
    return table


def _of_cells(study: Study) -> Columns:
    accuracies = shares(train_acc="train accuracy", test_acc="test accuracy", acc_gap="accuracy gap")
    rest = numbers(loss_gap="loss gap", auc="AUC")
    return accuracies | rest | at_fprs("mean", study.attack.fpr) | at_fprs("pooled", study.attack.fpr)


def _of_decision(_: Study) -> Columns:
    accuracies = shares(test_acc="test accuracy", acc_difference="accuracy difference")
    return {**FPR, **TPR, **accuracies, **numbers(ratio="ratio")}


def _of_pooled(_: Study) -> Columns:
    return {**FPR, **TPR, **numbers(ratio="ratio")}


def _of_knowledge(_: Study) -> Columns:
    both = shares(informed="informed", uninformed="uninformed", difference="difference")
    return {**FPR, **both, **numbers(ratio="ratio")}


def _of_precision(_: Study) -> Columns:
    priors = {f"precision_of_{prior:g}": f"precision if {100 * prior:g}% are members" for prior in PRIORS}
    return {**FPR, **TPR, **shares(**priors)}


def _of_thresholds(_: Study) -> Columns:
    rates = {"achieved_fpr": "achieved FPR", "achieved_tpr": "achieved TPR"}
    ends = {f"{name}_{end}": f"{words} {end}" for name, words in rates.items() for end in ("p5", "p95")}
    return {**FPR, **shares(**rates, **ends)}


def _of_epsilon(_: Study) -> Columns:
    return numbers(recipe="recipe", recipe_gaussian="recipe gaussian", median="median", largest="largest")


def _of_exposed(study: Study) -> Columns:
    return shares(caught="caught", **{CAUGHT + name: name for name in study.grid.techniques})


@dataclass(frozen=True)
class Table:
    """How a table is made, what it is about, how its columns are written, and how to read it."""

    make: Callable[[Results], pd.DataFrame]
    columns: Callable[[Study], Columns]
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
        _of_decision,
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
        _of_cells,
        "leak",
        "Variants at the last step",
        "One row per variant, at the last step.",
    ),
    Table(
        replicates,
        _of_cells,
        "leak",
        "Replicates of mask 0 at the last step",
        "The same from the replicates of mask 0 alone: further models on one training set.",
    ),
    Table(
        steps,
        _of_cells,
        "leak",
        "Variants at every step",
        "One row per variant and step, the last first.",
    ),
    Table(
        attacks,
        _of_pooled,
        "attackers",
        "All attacks, in numbers",
        "Pooled TPR of every technique at the last step, and its ratio to that of the headline attack, with "
        "paired intervals. Intervals hold one at a time.",
    ),
    Table(
        knowledge,
        _of_knowledge,
        "attackers",
        "Informed against uninformed",
        "Pooled TPR of both attackers, difference and ratio with paired intervals.",
    ),
    Table(
        shadows,
        _of_pooled,
        "attackers",
        "Fewer shadow models",
        "Pooled TPR of the headline attack, and of lira-pooled if that is another, by the number of shadow models.",
    ),
    Table(
        precision,
        _of_precision,
        "consequences",
        "Precision",
        "Of those called members at the FPR, the share that are, if 1%, 10% or 50% of the suspects are "
        "members. Intervals are those of the pooled TPR, transformed.",
    ),
    Table(
        thresholds,
        _of_thresholds,
        "consequences",
        "Thresholds that an attacker can set",
        "For each target the score with this FPR on its shadow models' "
        "non-members, each shadow model attacked by the others; and the FPR and TPR that it achieves on the "
        "target: mean, 5th and 95th percentile over targets.",
    ),
    Table(
        epsilon,
        _of_epsilon,
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


def write_tables(study: Study, joined: str, pool: str, out: str) -> None:
    """Write every table as <name>.csv and .md in the folder `out`, and an index of those that have rows."""
    results = Results(study, joined)
    made = [
        (
            table.name,
            {"topic": table.topic, "heading": table.heading, "caption": table.caption},
            table.columns(study),
            table.make(results),
        )
        for table in TABLES
    ]
    made.append((exposed.__name__, EXPOSED, _of_exposed(study), exposed(results, pool)))
    index = []
    for name, about, columns, table in made:
        bare = table.empty
        if bare:
            table = pd.DataFrame(columns=list(table) or ["technique"])
        with atomic(Path(out) / f"{name}.csv") as temporary:
            for_spreadsheets(table).to_csv(temporary, index=False)
            digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
        text = "Nothing to show in this study."
        if not bare:
            shown, text = cells(table, columns), markdown(table, columns)
            rows = list(zip(*shown.values(), strict=True))
            index.append({"name": name, **about, "columns": list(shown), "rows": rows, "sha256": digest})
        with atomic(Path(out) / f"{name}.md") as temporary:
            temporary.write_text(f"{about['heading']}. {about['caption']}\n\n{text}\n", encoding="utf-8")
    names = {f"{name}{suffix}" for name, *_ in made for suffix in SUFFIXES}
    replace_index(Path(out) / INDEX, index, "tables", results.origin, names, SUFFIXES)
