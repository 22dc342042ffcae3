"""The epsilon that DP-SGD accounts for, beside the one that an audit of the same models proves.

python docs/recipes/dp-sgd/accounting.py OUT STUDY...

Writes bounds.csv and bounds.svg to the folder OUT; each STUDY is the name of a study below results/, which has run.
"""

import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
import yaml
from dp_accounting import NeighboringRelation
from dp_accounting.pld.privacy_loss_distribution import from_gaussian_mechanism

from leakgap import epsilon_lower_bound
from leakgap.measure.epsilon import guesses_for
from leakgap.study import Study

DELTA, LEVEL = 1e-5, 0.95
BATCHES = 8  # an epoch, as in recipe.py
ACCOUNTED = {
    "ADD_OR_REMOVE_ONE": "accounted, a record added or removed",
    "REPLACE_ONE": "accounted, a record replaced",
}
STUDY = Path(__file__).with_name("study.yaml")


def accounted(noise: float, rate: float, batches: int, relation: NeighboringRelation) -> float:
    """Epsilon at DELTA of that many noisy sums of a Poisson sample, bounded from above; infinite without noise."""
    if not noise:
        return math.inf
    one = from_gaussian_mechanism(
        noise, sampling_prob=rate, neighboring_relation=relation, value_discretization_interval=1e-3
    )
    return one.self_compose(batches).get_epsilon_for_delta(DELTA)


def audited(scores: pd.DataFrame, attack: str, seed: int) -> pd.DataFrame:
    """One row per target: the bound at 95% by itself, and the one that holds together with all the others'.

    As the table `epsilon` of the study, but at DELTA. The number of guesses was fixed before there was a score.
    """
    rows = []
    for place, (mask, target) in enumerate(scores.groupby("mask")):
        score, member = target[attack].to_numpy(float), target["member"].to_numpy()
        guesses = guesses_for(min(member.sum(), (~member).sum()))
        levels = {"single": LEVEL, "together": 1 - (1 - LEVEL) / scores["mask"].nunique()}
        bounds = {
            name: epsilon_lower_bound(
                score, member, guesses=guesses, delta=DELTA, level=level, seed=seed + place
            )
            for name, level in levels.items()
        }
        rows.append({"mask": mask} | bounds)
    return pd.DataFrame(rows)


def compare(study: Study) -> pd.DataFrame:
    """One row per variant and target of a study at its last step."""
    tables = []
    for name in study.grid.techniques:
        noise, epochs = study.variant(name).train.options.get("noise", 0), study.train.steps[-1]
        scores = pd.read_parquet(study.paths.scores(name, name))
        last = scores[scores["step"] == scores["step"].max()]
        found = audited(last, study.attack.headline, study.attack.seed)
        for relation in ACCOUNTED:
            found[relation] = accounted(noise, 1 / BATCHES, BATCHES * epochs, NeighboringRelation[relation])
        tables.append(found.assign(study=study.name, variant=name, recipe=found["together"].max()))
    return pd.concat(tables)


def table(bounds: pd.DataFrame) -> pd.DataFrame:
    """One row per study and variant; what is accounted for is rounded up, what is proved is rounded down."""
    rows = bounds.groupby(["study", "variant"], sort=False)
    shown = rows.agg(dict.fromkeys(ACCOUNTED, "first") | {"single": "median", "recipe": "first"})
    for column in shown:
        shown[column] = (np.ceil if column in ACCOUNTED else np.floor)(100 * shown[column]) / 100
    return shown.reset_index()


def draw(bounds: pd.DataFrame, path: Path) -> None:
    """Draw what is accounted for, and below it what is proved."""
    words = ACCOUNTED | {"single": "proved by one model", "recipe": "proved of the recipe"}
    shown = bounds.rename(columns=words).replace(math.inf, math.nan)
    long = shown.melt(["study", "variant"], list(words.values()), "", "epsilon at delta = 1e-5")
    sns.set_theme(style="whitegrid", palette="colorblind")
    grid = sns.relplot(
        long, x="variant", y="epsilon at delta = 1e-5", hue="", style="", col="study", s=60, height=4
    )
    ticks = [0, 0.5, 1, 2, 5, 10, 20]
    grid.set(yscale="symlog", ylim=(-0.1, 40), yticks=ticks, yticklabels=ticks, xlabel="")
    grid.tick_params("x", rotation=30)
    grid.savefig(path)


if __name__ == "__main__":
    out, names = Path(sys.argv[1]), sys.argv[2:]
    settings = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    bounds = pd.concat([compare(Study.load(settings | {"name": name})) for name in names])
    table(bounds).to_csv(out / "bounds.csv", index=False)
    draw(bounds, out / "bounds.svg")
