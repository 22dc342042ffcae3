"""A made-up study: the joined tables, exposure, pool and claims of any grid, without training anything.

Numbers follow a simple world: the accuracy gap grows with the step and shrinks with every technique, and the TPR
grows with the gap. The tables are written by `leakgap.results`, so they are checked against its schema.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from leakgap import estimates, results
from leakgap.archive import Archive, write_archive
from leakgap.data.datasets import load
from leakgap.data.pool import read_pool, write_pool
from leakgap.estimates import (
    ALL,
    COUNTS,
    GENERALIZATION,
    HALVES,
    LEAVE_ONE_OUT,
    NO_ATTACK,
    REPLICATES,
    tpr_column,
)
from leakgap.measure.epsilon import guesses_for
from leakgap.measure.estimate import KINDS, Estimate
from leakgap.results import TABLES, about
from leakgap.study import NONE, Study, attacker

WEIGHTS = {"crop": 0.45, "mirror": 0.2, "cutout": 0.25, "policy": 0.35}
SPREAD = {
    "models": (0.1, 0.05),
    "images": (0.08, 0.04),
    "pairs": (0.02, 0.02),
}  # in all cells alike, and apart

ATTACKS = ["lira-online-fixed", "lira-offline-fixed", "lira-online", "lira-offline", "loss"]


def study(
    steps: tuple[int, ...] = (2, 4, 8, 15, 22, 30),
    attackers: tuple[str, ...] = ("informed", "uninformed"),
    **grid,
) -> Study:
    """Return a small study of three techniques; keywords go to grid."""
    values = {"techniques": ["none", "policy", "crop+mirror+cutout+policy"], "masks": 8} | grid
    attack = {"attacks": ATTACKS, "bootstrap": 100, "attackers": list(attackers)}
    return Study.load({"name": "made-up", "grid": values, "train": {"steps": list(steps)}, "attack": attack})


def write_study(study: Study, members: int = 810, nonmembers: int = 810, seed: int = 0) -> None:
    """Write everything but models and claims below the working directory; images are scikit-learn's digits."""
    rng = np.random.default_rng(seed)
    cells = _cells(study)
    write_pool(study.paths.pool, load("digits"))
    targets = _targets(study, cells, members, nonmembers, rng)
    pooled = _pooled(study, cells, members, nonmembers, rng)
    means = _means(study, targets, rng)
    tables = {
        "estimates": _estimates(study, cells, targets, pooled, means, members, nonmembers, rng),
        "draws": pd.concat([_draws(study, pooled), means], ignore_index=True),
        "curves": _curves(study, cells[_of_headline(study, cells)]),
        "records": _exposure(study, cells, rng),
        "models": _models(study, rng),
    }
    write_tables(study, tables)


def write_tables(study: Study, tables: dict[str, pd.DataFrame]) -> None:
    """Write the study's results, of the declared columns: the others were only needed to make them up."""
    chosen = {name: table.check(tables[name][list(table.columns)], name) for name, table in TABLES.items()}
    told = about(study, study.grid.techniques, ("attack.fpr",)) | {"pool": read_pool(study.paths.pool).digest}
    write_archive(study.paths.results, chosen, told)
    for path in study.paths.for_people:
        results.write_pivot(path, results.PIVOTS[Path(path).stem](study, tables["estimates"]))


def rewrite(study: Study, **tables: pd.DataFrame) -> None:
    """Write the study's results anew, with other tables in the place of some."""
    stored = Archive(study.paths.results)
    write_tables(study, {name: stored.table(name) for name in TABLES} | tables)


def _estimates(
    study: Study,
    cells: pd.DataFrame,
    targets: pd.DataFrame,
    pooled: pd.DataFrame,
    means: pd.DataFrame,
    members: int,
    nonmembers: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The long table of tables with a column for every quantity."""
    fprs = {tpr_column(fpr): fpr for fpr in study.attack.fpr}
    design = targets["mask"].str[0].map({"m": LEAVE_ONE_OUT, "r": REPLICATES})
    whole, half = targets.assign(design=design), targets[_of_headline(study, targets)].assign(design=HALVES)
    bounds = _epsilon(study, cells, members, nonmembers, rng).assign(design=LEAVE_ONE_OUT)
    recipes = bounds.drop_duplicates(["technique", "attacker"]).assign(mask=ALL)
    limits = _thresholds(study, cells, rng).assign(design=LEAVE_ONE_OUT)
    parts = [means[list(TABLES["estimates"].columns)]]
    for table in (whole, half):
        models = table.drop_duplicates([*estimates.MODELS, "mask", "design"]).assign(attack=NO_ATTACK)
        parts += [_long(models, name) for name in (*COUNTS, *GENERALIZATION)]
        parts += [_long(table, name) for name in ("auc", "balanced_acc")]
        parts += [_long(table.assign(fpr=fpr, tpr=table[name]), "tpr") for name, fpr in fprs.items()]
    every = pooled.assign(mask=ALL, n=pooled["n_targets"], pooled_tpr=pooled["tpr"])
    parts.append(_long(every, "pooled_tpr"))
    counts = every.drop_duplicates([*estimates.MODELS, "design"]).assign(attack=NO_ATTACK, fpr=np.nan)
    parts += [_long(counts.drop(columns=["low", "high", "n"]), name) for name in COUNTS]
    parts += [_long(bounds, name) for name in estimates.EPSILON]
    parts += [_long(recipes, name) for name in estimates.RECIPE]
    parts += [_long(limits, name) for name in estimates.THRESHOLDS]
    few = _shadows(study, cells).assign(design=LEAVE_ONE_OUT, mask=ALL)
    parts.append(
        _long(few.assign(n=few["n_shadows"], pooled_tpr_by_shadows=few["tpr"]), "pooled_tpr_by_shadows")
    )
    return pd.concat(parts, ignore_index=True)


def _long(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Rows of the long table; fpr, ends and n where the table has them."""
    absent = {"fpr": np.nan, "low": np.nan, "high": np.nan, "n": 0}
    beside = {name: value for name, value in absent.items() if name not in table}
    rows = table.assign(quantity=quantity, value=table[quantity].astype(float), **beside)
    return rows[list(TABLES["estimates"].columns)]


def write_claims(study: Study) -> None:
    """Write a claims.json with each verdict."""
    claims = [
        {
            "study": study.name,
            "design": "leave-one-out",
            "attack": study.attack.headline,
            "id": number,
            "title": f"Claim number {number}",
            "statement": "Augmentation lowers the TPR.",
            "estimand": "ratio of pooled TPRs",
            "statistic": "log ratio",
            "value": None if verdict == "undecided" else 3.2,
            "low": None if verdict == "undecided" else 2.1,
            "high": None if verdict == "undecided" else 4.9,
            "level": 0.95,
            "threshold": 1,
            "p": None if verdict == "undecided" else 0.01,
            "verdict": verdict,
            "reason": "the interval 2.1 to 4.9 is above 1",
            "notes": ["pooled at 0.01 FPR"],
            "rows": [{"table": "pooled", "query": "step == 6", "count": 12}],
            "secondary": [{"name": "none / crop", "value": 2.0, "low": 1.2, "high": 3.0}],
        }
        for number, verdict in enumerate(("supported", "contradicted", "undecided"), 1)
    ]
    Path(study.paths.claims).write_text(json.dumps(claims))


def _models(study: Study, rng: np.random.Generator) -> pd.DataFrame:
    """One row per model: what provenance and warnings are made of."""
    rows = [(technique, mask) for technique in study.grid.techniques for mask in study.models]
    about = {
        "device": "cpu",
        "threads": "1",
        "torch_version": "2.14.1",
        "code_version": "1",
        "settings": "{}",
        "pool": "unknown",
        "members": "unknown",
    }
    models = pd.DataFrame(rows, columns=["technique", "mask"])
    return models.assign(seconds=rng.uniform(9, 12, len(models)), **about)


def _cells(study: Study) -> pd.DataFrame:
    """One row per job, step and attack with its strength."""
    rows = []
    for technique, shadow in study.attack_jobs:
        members = [] if technique == NONE else technique.split("+")
        shrink = np.prod([1 - WEIGHTS.get(member, 0.3) for member in members])
        for step, epoch in enumerate(study.train.steps, 1):
            progress = step / len(study.train.steps)
            for place, attack in enumerate(study.attack.attacks):
                gap = 0.25 * shrink * progress
                known = 1 if technique == shadow else 0.7
                rows.append(
                    {
                        "study": study.name,
                        "technique": technique,
                        "step": step,
                        "epoch": epoch,
                        "attacker": attacker(technique, shadow),
                        "attack": attack,
                        "gap": gap,
                        "train": 1 - 0.3 * (1 - progress) - 0.03 * len(members),
                        "lift": 1 + 60 * gap**1.3 * known * 0.97**place,
                    }
                )
    return pd.DataFrame(rows)


def _of_headline(study: Study, table: pd.DataFrame) -> pd.Series:
    return table["attack"] == study.attack.headline


def _tpr(cells: pd.DataFrame, fpr: float) -> np.ndarray:
    """Return fpr lifted more the smaller it is; 1 at 1."""
    return np.minimum(fpr * cells["lift"].to_numpy() ** (-np.log10(fpr) / 2), 0.9)


def _targets(
    study: Study, cells: pd.DataFrame, members: int, nonmembers: int, rng: np.random.Generator
) -> pd.DataFrame:
    models = pd.DataFrame({"mask": study.models})
    table = cells.merge(models, how="cross")
    size = len(table)
    gap = table["gap"] + rng.normal(0, 0.006, size)
    table["n_members"], table["n_nonmembers"] = members, nonmembers
    table["train_acc"] = np.minimum(table["train"] + rng.normal(0, 0.004, size), 1)
    table["test_acc"] = table["train_acc"] - gap
    table["train_loss"] = 2.5 * (1 - table["train_acc"]) + 0.01
    table["test_loss"] = table["train_loss"] + 4 * gap + rng.normal(0, 0.01, size)
    table["acc_gap"], table["loss_gap"] = gap, table["test_loss"] - table["train_loss"]
    table["auc"] = 0.5 + gap
    table["balanced_acc"] = 0.5 + gap / 2
    for fpr in study.attack.fpr:
        caught = rng.binomial(members, np.minimum(_tpr(table, fpr) * rng.gamma(20, 1 / 20, size), 1))
        table[tpr_column(fpr)] = caught / members if np.floor(fpr * (nonmembers + 1)) >= 1 else np.nan
    return table


def _designs(study: Study) -> dict[str, int]:
    """How many targets each design has."""
    targets = {LEAVE_ONE_OUT: study.grid.masks, REPLICATES: study.grid.replicates}
    return {design: count for design, count in targets.items() if count}


def _pooled(
    study: Study, cells: pd.DataFrame, members: int, nonmembers: int, rng: np.random.Generator
) -> pd.DataFrame:
    """One row per cell, design and FPR; column `draws`, of each kind, is what its interval is made of."""
    replicates = study.attack.bootstrap
    alike = {
        kind: rng.normal(0, SPREAD[kind][0], replicates) for kind in KINDS
    }  # the same weights in every cell
    rows = []
    for design, targets in _designs(study).items():
        units = targets // 2 if design == LEAVE_ONE_OUT else targets
        counts = {"n_targets": targets, "n_members": targets * members, "n_nonmembers": targets * nonmembers}
        for fpr in study.attack.fpr:
            defined = fpr * (counts["n_nonmembers"] + 1) >= 1
            for cell, tpr in zip(cells.to_dict("records"), _tpr(cells, fpr), strict=True):
                tpr = tpr if defined else np.nan
                noise = {kind: alike[kind] + rng.normal(0, SPREAD[kind][1], replicates) for kind in KINDS}
                draws = {kind: tpr * np.clip(1 + noise[kind], 0, None) for kind in KINDS}
                value, low, high, *_ = Estimate.of_draws(tpr, draws, units, counts["n_members"], "logit")
                about = {"design": design, "fpr": fpr, "tpr": value, "low": low, "high": high, "draws": draws}
                rows.append(cell | about | counts)
    return pd.DataFrame(rows)


def _draws(study: Study, pooled: pd.DataFrame) -> pd.DataFrame:
    """The draws that are kept: of the headline attack, and of all at the last step or without augmentation."""
    last, plain = pooled["step"] == len(study.train.steps), pooled["technique"] == NONE
    kept = pooled[_of_headline(study, pooled) | last | plain]
    draws = {kind: [draws[kind] for draws in kept["draws"]] for kind in KINDS} | {
        "groups": [np.zeros(0)] * len(kept)
    }
    return kept.assign(quantity="pooled_tpr", value=kept["tpr"], n_pairs=kept["n_members"], **draws)


def _means(study: Study, targets: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Means over the targets of the headline attack, and their draws, as of models that vary, images less."""
    kept, rows = targets[_of_headline(study, targets)], []
    quantities = {name: (name, np.nan) for name in (*GENERALIZATION, "auc")}
    quantities |= {tpr_column(fpr): ("tpr", fpr) for fpr in study.attack.fpr}
    designs = kept["mask"].str[0].map({"m": LEAVE_ONE_OUT, "r": REPLICATES}).rename("design")
    for cell, part in kept.groupby([*estimates.MODELS, "attack", designs]):
        place = dict(zip((*estimates.MODELS, "attack", "design"), cell, strict=True)) | {"mask": ALL}
        units = len(part) // 2 if cell[-1] == LEAVE_ONE_OUT else len(part)
        for name, (quantity, fpr) in quantities.items():
            value, spread = part[name].mean(skipna=False), part[name].std() / np.sqrt(len(part))
            sizes = dict(zip(KINDS, (1, 0.5, 0.1), strict=True))
            draws = {
                kind: value + rng.normal(0, size * spread, study.attack.bootstrap)
                for kind, size in sizes.items()
            }
            pairs = int(part["n_members"].sum())
            _, low, high, *_ = Estimate.of_draws(value, draws, units, pairs, results.scale_of(quantity))
            row = place | {"quantity": quantity, "fpr": fpr, "value": value, "low": low, "high": high}
            row |= {"n": len(part), "n_targets": len(part), "n_pairs": pairs, "groups": np.zeros(0)} | draws
            rows.append(row | {"attack": NO_ATTACK if quantity in GENERALIZATION else place["attack"]})
    return pd.DataFrame(rows)


def _curves(study: Study, cells: pd.DataFrame, points: int = 200) -> pd.DataFrame:
    fpr = np.geomspace(1e-4, 1, points)
    tables = []
    for design in _designs(study):
        table = cells.loc[cells.index.repeat(points)].assign(design=design, fpr=np.tile(fpr, len(cells)))
        lift = np.repeat(cells["lift"].to_numpy(), points)
        table["tpr"] = np.minimum(table["fpr"] * lift ** (-np.log10(table["fpr"]) / 2), 1)
        table["tpr"] = table.groupby([*estimates.MODELS, "attack"])["tpr"].cummax()
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _shadows(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    last = cells[(cells["step"] == len(study.train.steps)) & _of_headline(study, cells)]
    total = study.grid.masks
    tables = []
    for size in [*(4 * 2**power for power in range(20) if 4 * 2**power < total), total]:
        for fpr in study.attack.fpr:
            tpr = _tpr(last, fpr) * (1 - 1 / size) if total > 8 or fpr > 0.001 else np.nan
            table = last.assign(n_shadows=size - 2, fpr=fpr, tpr=tpr, low=0.8 * tpr, high=1.3 * tpr)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _headline_targets(study: Study, cells: pd.DataFrame) -> pd.DataFrame:
    """One row per target of the headline attack at the last step."""
    last = cells[(cells["step"] == len(study.train.steps)) & _of_headline(study, cells)]
    return last.merge(pd.DataFrame({"mask": study.masks}), how="cross")


def _epsilon(
    study: Study, cells: pd.DataFrame, members: int, nonmembers: int, rng: np.random.Generator
) -> pd.DataFrame:
    table = _headline_targets(study, cells)
    matches = min(members, nonmembers)
    table["matches"], table["guesses"] = matches, guesses_for(matches)
    table["right"] = rng.binomial(table["guesses"], np.minimum(0.5 + table["gap"], 0.99))
    table["epsilon"] = 4 * table["gap"] * rng.uniform(0.8, 1, len(table))
    of_all = {"recipe": 5 * table["gap"], "recipe_gaussian": 6 * table["gap"]}
    table = table.assign(together=0.7 * table["epsilon"], **of_all)
    return table.assign(recipe_guesses=100, recipe_right=90)


def _thresholds(study: Study, cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    targets = _headline_targets(study, cells)
    tables = []
    for fpr in study.attack.fpr:
        spread = rng.gamma(20, 1 / 20, (2, len(targets)))
        rates = {"achieved_fpr": fpr * spread[0], "achieved_tpr": _tpr(targets, fpr) * spread[1]}
        tables.append(targets.assign(fpr=fpr, threshold=-np.log10(fpr), **rates))
    return pd.concat(tables, ignore_index=True)


def _exposure(study: Study, cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    labels = load("digits").labels
    last = cells[(cells["step"] == len(study.train.steps)) & _of_headline(study, cells)]
    targets = study.grid.masks // 2
    tables = []
    for technique in study.grid.techniques:
        asked = attacker(technique, study.shadow(technique))
        (row,) = last[(last["technique"] == technique) & (last["attacker"] == asked)].to_dict("records")
        of_record = {
            "image": np.arange(len(labels), dtype=np.int32),
            "label": labels,
            "caught": rng.binomial(targets, rng.beta(0.2, 4, len(labels))).astype(np.int32),
            "targets": np.int32(targets),
            "exposure": rng.normal(-1, 0.5, len(labels)),
            "memorization": rng.beta(0.3, 4, len(labels)),
            "memorization_error": np.float64(0.05),
        }
        tables.append(pd.DataFrame(row | of_record))
    return pd.concat(tables, ignore_index=True)
