"""What 32 models prove of DP-SGD's epsilon, beside what is accounted for; and whether a broken DP-SGD is noticed.

python docs/recipes/dp-sgd/proved.py OUT [--masks 32] [--inclusion half coin]

Trains the models of recipe.py on the digits of data.py, of which a tenth are canaries: canaries and natural records
are members by the same draw. Writes proved.csv and proved.svg to the folder OUT; about .6 s a model.

A claim is a curve of an accountant. `p` is how often a training as private as claimed would be recognized so well:
a claim is contradicted at p below .05, which happens to a true claim in one of 20 cases at most.
"""

import argparse
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from accounting import BATCHES, DELTA, accounted, loss_distribution
from recipe import train

from data import canaries, digits_with_canaries
from leakgap import balanced_masks, phi, recipe_epsilon
from leakgap.measure.bound import contradicted

EPOCHS = 30
RELATIONS = {"half": "REPLACE_ONE", "coin": "ADD_OR_REMOVE_ONE"}


class Training(NamedTuple):
    """A variant's options, and the noise and sampling rate that its accountant is told (0: it has none)."""

    options: dict[str, float]
    noise: float = 0.0
    rate: float = 1 / BATCHES


ACCURATE = {
    "none": Training({}),
    "clipped": Training({"clip": 1, "lr": 1}),
    "epsilon-16": Training({"clip": 1, "lr": 1, "noise": 0.94}, 0.94),
    "epsilon-4": Training({"clip": 1, "lr": 0.5, "noise": 2.29}, 2.29),
    "epsilon-1": Training({"clip": 1, "lr": 0.25, "noise": 7.43}, 7.43),
}
BROKEN = {  # trainings that are not what their accountant says
    "epsilon-16, noise forgotten": Training({"clip": 1, "lr": 1}, 0.94),
    "epsilon-4, noise forgotten": Training({"clip": 1, "lr": 0.5}, 2.29),
    "epsilon-1, noise forgotten": Training({"clip": 1, "lr": 0.25}, 7.43),
    "epsilon-4, clipping forgotten": Training({"clip": 1e6, "lr": 0.5, "noise": 2.29e-6}, 2.29),
    "epsilon-1, clipping forgotten": Training({"clip": 1e6, "lr": 0.25, "noise": 7.43e-6}, 7.43),
    "noise 0.94, rate 1/64 accounted, 1/8 used": Training({"clip": 1, "lr": 1, "noise": 0.94}, 0.94, 1 / 64),
}


def models(member: np.ndarray, data: dict[str, np.ndarray], options: dict[str, float]) -> np.ndarray:
    """Phi of every model's last step, float32 [N, S]."""
    last = []
    for model, inside in enumerate(member):
        seed = 10 * model  # recipe.py draws from this seed and the next two: no stream is two models'
        [logits] = train(data, np.flatnonzero(inside), seed, [EPOCHS], **options)
        last.append(phi(logits.numpy(), data["labels"]))
    return np.stack(last)


@cache
def curve(noise: float, rate: float, relation: str) -> Callable[[np.ndarray], np.ndarray]:
    """An accountant's delta by epsilon, bounded from above."""
    all_batches = loss_distribution(noise, rate, BATCHES * EPOCHS, relation)
    return all_batches.get_delta_for_epsilon


def bounds(member: np.ndarray, found: np.ndarray, inclusion: str, told: Training) -> dict[str, Any]:
    """What is accounted for, what is proved, and how the claim fares; of these records."""
    relation = RELATIONS[inclusion]
    pure, noisy = (recipe_epsilon(found, member, delta=delta, inclusion=inclusion) for delta in (0.0, DELTA))
    p = contradicted(noisy, curve(told.noise, told.rate, relation)) if told.noise else math.nan
    return {
        "claimed": accounted(told.noise, told.rate, BATCHES * EPOCHS, relation),
        "pure": pure.epsilon,
        "right": f"{pure.right} of {pure.guesses}",
        "gaussian": noisy.epsilon,
        "p": p,
    }


def audit(masks: int, inclusion: str) -> pd.DataFrame:
    """One row per training and set of records: all, natural ones, canaries."""
    data, planted = digits_with_canaries(), canaries()
    member = balanced_masks(masks, len(planted), 0, inclusion=inclusion)
    rows, trained = [], {}
    for name, told in (ACCURATE | BROKEN).items():
        key = tuple(sorted(told.options.items()))
        if key not in trained:
            trained[key] = models(member, data, told.options)
        for records, chosen in (("all", planted | ~planted), ("natural", ~planted), ("canaries", planted)):
            found = bounds(member[:, chosen], trained[key][:, chosen], inclusion, told)
            rows.append({"training": name, "inclusion": inclusion, "records": records} | found)
            print(*rows[-1].values(), sep="  ", flush=True)
    return pd.DataFrame(rows)


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """Claims and p rounded up, what is proved rounded down."""
    shown = table.copy()
    for column, digits, way in (("claimed", 2, np.ceil), ("pure", 2, np.floor), ("gaussian", 2, np.floor)):
        shown[column] = way(10**digits * shown[column]) / 10**digits
    shown["p"] = [f"{p:.2g}" if p == p else "" for p in shown["p"]]
    return shown


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw what is claimed, and below it what is proved, of the trainings that are what they claim."""
    words = {"claimed": "accounted", "gaussian": "proved, all records", "canaries": "proved, canaries"}
    right = table[table["training"].isin(ACCURATE)].replace(math.inf, math.nan)
    wide = right[right["records"] == "all"].merge(
        right.loc[right["records"] == "canaries", ["training", "inclusion", "gaussian"]].rename(
            columns={"gaussian": "canaries"}
        )
    )
    long = wide.rename(columns=words).melt(["training", "inclusion"], list(words.values()), "", "epsilon")
    sns.set_theme(style="whitegrid", palette="colorblind")
    grid = sns.relplot(
        long, x="training", y="epsilon", hue="", style="", col="inclusion", s=60, height=4
    ).set_titles("{col_name}")
    ticks = [0, 0.5, 1, 2, 5, 10, 20]
    grid.set(yscale="symlog", ylim=(-0.1, 40), yticks=ticks, yticklabels=ticks, xlabel="")
    grid.tick_params("x", rotation=30)
    grid.savefig(path)


def main() -> None:
    """Train, prove, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--masks", type=int, default=32)
    parser.add_argument("--inclusion", nargs="+", choices=list(RELATIONS), default=list(RELATIONS))
    told = parser.parse_args()
    found = pd.concat([audit(told.masks, inclusion) for inclusion in told.inclusion])
    rounded(found).to_csv(told.out / "proved.csv", index=False)
    draw(found, told.out / "proved.svg")


if __name__ == "__main__":
    main()
