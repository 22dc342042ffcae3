"""The epsilon that DP-SGD accounts for, beside the one that an audit of the same models proves.

python docs/recipes/dp-sgd/accounting.py OUT STUDY...

Writes bounds.csv and bounds.svg to the folder OUT; each STUDY is the name of a study below results/, which has run.
"""

import math
import sys
from pathlib import Path

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
        table = audited(last, study.attack.headline, study.attack.seed)
        for column, relation in ("opacus", "ADD_OR_REMOVE_ONE"), ("accounted", "REPLACE_ONE"):
            table[column] = accounted(noise, 1 / BATCHES, BATCHES * epochs, NeighboringRelation[relation])
        tables.append(table.assign(study=study.name, variant=name))
    return pd.concat(tables)


def of_recipes(bounds: pd.DataFrame) -> pd.DataFrame:
    """One row per study and variant: what is accounted for, and the best bound that any of its models gives."""
    rows = bounds.groupby(["study", "variant", "opacus", "accounted"], sort=False)
    return rows.agg(median=("single", "median"), recipe=("together", "max")).reset_index()


def draw(bounds: pd.DataFrame, path: Path) -> None:
    """Draw the bounds of single models and of recipes below what is accounted for."""
    sns.set_theme(style="whitegrid")
    grid = sns.catplot(
        bounds, x="variant", y="single", col="study", color="#56B4E9", label="one model's bound"
    )
    recipes = of_recipes(bounds).replace(math.inf, math.nan)
    marks = {"accounted": "_", "opacus": "x", "recipe": "D"}
    words = {
        "accounted": "accounted, a record replaced",
        "opacus": "accounted, a record added or removed",
        "recipe": "the recipe's bound",
    }
    for name, axes in grid.axes_dict.items():
        for column, mark in marks.items():
            shown = recipes[recipes["study"] == name]
            axes.scatter(shown["variant"], shown[column], marker=mark, s=80, label=words[column], zorder=3)
    grid.set(yscale="symlog", ylabel="epsilon at delta 1e-5", xlabel="")
    grid.add_legend()
    grid.savefig(path)


if __name__ == "__main__":
    out, names = Path(sys.argv[1]), sys.argv[2:]
    settings = yaml.safe_load(STUDY.read_text(encoding="utf-8"))
    bounds = pd.concat([compare(Study.load(settings | {"name": name})) for name in names])
    of_recipes(bounds).to_csv(out / "bounds.csv", index=False, float_format="%.3f")
    draw(bounds, out / "bounds.svg")
