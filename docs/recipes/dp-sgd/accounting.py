"""The epsilon that DP-SGD accounts for, beside the one that an audit of the same models proves.

    python docs/recipes/dp-sgd/accounting.py OUT STUDY...

OUT gets bounds.md and bounds.svg; each STUDY is a study file whose results are there.
"""

import math
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import pandas as pd
import seaborn as sns
from dp_accounting import NeighboringRelation
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism
from matplotlib import pyplot as plt

from leakgap import epsilon_lower_bound
from leakgap.measure.epsilon import guesses_for, right_guesses
from leakgap.study import Study

DELTA = 1e-5
LEVEL = 0.95


def accounted(noise: float, rate: float, batches: int, relation: NeighboringRelation) -> float:
    """Epsilon at DELTA of so many Gaussian sums of a Poisson sample; a bound from above, infinite without noise."""
    if not noise:
        return math.inf
    one = from_gaussian_mechanism(
        noise, sampling_prob=rate, neighboring_relation=relation, value_discretization_interval=1e-3
    )
    return one.self_compose(batches).get_epsilon_for_delta(DELTA)


def audited(study: Study, variant: str) -> pd.DataFrame:
    """One row per target: its own bound at 95%, and the one that holds together with all others' of the variant.

    As the table epsilon of a study, which has delta = 0; guesses and seeds were fixed before the run.
    """
    scores = pd.read_parquet(
        study.paths.scores(variant, variant), filters=[("step", "==", len(study.train.steps))]
    )
    rows = []
    for place, (mask, target) in enumerate(scores.groupby("mask")):
        score, member = target[study.attack.headline].to_numpy(float), target["member"].to_numpy()
        matches = int(min(member.sum(), (~member).sum()))
        chosen = {"guesses": guesses_for(matches), "seed": study.attack.seed + place}
        levels = {"target": LEVEL, "together": 1 - (1 - LEVEL) / study.grid.masks}
        bounds = {
            name: epsilon_lower_bound(score, member, delta=DELTA, level=level, **chosen)
            for name, level in levels.items()
        }
        right = right_guesses(score, member, **chosen)
        rows.append({"mask": mask, "right": right, "guesses": chosen["guesses"]} | bounds)
    return pd.DataFrame(rows)


def compare(study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One row per variant, and one per target."""
    variants, targets = [], []
    for name in study.grid.techniques:
        options = study.variant(name).train.options
        batches = options.get("batches", 8)
        drawn = (options.get("noise", 0), 1 / batches, batches * study.train.steps[-1])
        row = {
            "data": study.name,
            "variant": name,
            "add or remove": accounted(*drawn, NeighboringRelation.ADD_OR_REMOVE_ONE),
            "replace": accounted(*drawn, NeighboringRelation.REPLACE_ONE),
        }
        each = audited(study, name)
        variants.append(row | {"bound": each["together"].max(), "right": each["right"].mean()})
        targets.append(each.assign(**row))
    return pd.DataFrame(variants), pd.concat(targets)


def draw(variants: pd.DataFrame, targets: pd.DataFrame, path: Path) -> None:
    """Draw bounds against what is accounted for under the same relation, replacement of a record."""
    finite = variants["replace"].replace(math.inf, 0).max()
    place = {math.inf: 4 * finite}  # without noise: at the right
    sns.set_theme(style="whitegrid", context="notebook")
    grid = sns.relplot(
        targets.assign(x=targets["replace"].replace(place)),
        x="x",
        y="target",
        col="data",
        hue="variant",
        alpha=0.5,
        height=4,
        legend="full",
    )
    for name, axes in grid.axes_dict.items():
        recipe = variants[variants["data"] == name]
        axes.scatter(recipe["replace"].replace(place), recipe["bound"], marker="_", s=600, color="black")
        axes.plot([0.5, 1.5 * finite], [0.5, 1.5 * finite], color="gray", linestyle="--")
    grid.set(xscale="log")
    grid.savefig(path)
    plt.close()


if __name__ == "__main__":
    out, *studies = sys.argv[1:]
