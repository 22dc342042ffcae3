"""Coverage of what `leakgap.order` says, in simulated worlds whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.order [--worlds 1000] [--seed 0]

Forecast: variants are drawn from a population; log10 TPR is a curve of the fit, an effect of the variant and
noise of the cell. One more variant is drawn from the same population: is it inside the band at all six steps? The
last column draws it from another population, shifted by what two data sets of ours differ by.

Explained: a factorial of four techniques moves the fit, and the leak through the fit alone, in part, or not at all.
How often does the interval of the rest hold the truth?

One model: the band of `leakgap forecast`. Clusters (variants, or data sets) of few or many models; a model of
a further cluster is forecast from its own noisy signals. Does the band hold it at all steps?

Verdicts: fit and the gap order the leak alike (border), or one of them does. How often does a study say that fit,
or that the gap, orders it better? And of pairs of variants some of which truly leak alike: how many studies call
any pair the wrong way, or one that is equal?

Within: correlations of two noisy quantities of models within cells, both halves of the images.
"""

import argparse
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy import stats

from leakgap.order.between import error_difference
from leakgap.order.explained import explained
from leakgap.order.forecast import Forecast, band_of_one, conformal_band, left_out, left_out_models
from leakgap.order.pairs import Ends, Pair
from leakgap.order.within import within_cells

STEPS = 6
OF_VARIANT, OF_CELL = 0.05, 0.03  # standard deviations of log10 TPR
SHIFT = 0.4  # decades between two data sets


def variants(rng: np.random.Generator, count: int, tails: bool) -> pd.DataFrame:
    """Draw variants that fit more or less, at six steps each."""
    strength = rng.normal(0, 1, (count, 1))
    fit = np.sort(rng.normal(0, 0.2, (count, STEPS)) + np.linspace(-1, 1.5, STEPS) + strength, axis=1)
    train = 1 / (1 + np.exp(-2 - fit))
    effect = rng.standard_t(3, (count, 1)) / np.sqrt(3) if tails else rng.normal(size=(count, 1))
    leak = np.log10(0.01 + 0.2 * train**8) + OF_VARIANT * effect + OF_CELL * rng.normal(size=train.shape)
    gap = train - 0.8 + 0.02 * rng.normal(size=(count, 1))
    names = np.repeat([f"v{each}" for each in range(count)], STEPS)
    columns = {
        "technique": names,
        "train_acc": train.ravel(),
        "acc_gap": gap.ravel(),
        "log_tpr": leak.ravel(),
    }
    return pd.DataFrame(columns)


def forecasts(worlds: int, seed: int) -> pd.DataFrame:
    """How often a new variant lies in the band at all steps."""
    rows = []
    for count, tails, signals in product(
        (5, 10, 16, 30), (False, True), (("train_acc",), ("train_acc", "acc_gap"))
    ):
        level = 0.8 if count < 9 else 0.9
        inside, moved, width = [], [], []
        for world in range(worlds):
            rng = np.random.default_rng([seed, world])
            known, new = variants(rng, count, tails), variants(rng, 1, tails)
            half = conformal_band(left_out(known, signals), known["technique"].to_numpy(), level)
            error = Forecast.fit(known, signals)(new) - new["log_tpr"]
            inside.append((np.abs(error) <= half).all())
            moved.append((np.abs(error + SHIFT) <= half).all())
            width.append(10**half)
        row = {
            "variants": count,
            "tails": "heavy" if tails else "normal",
            "signals": " + ".join(signals),
            "level": level,
        }
        rows.append(
            row | {"covered": np.mean(inside), "factor": np.median(width), "other data": np.mean(moved)}
        )
    return pd.DataFrame(rows)


def shares(worlds: int, seed: int) -> pd.DataFrame:
    """How often the interval of what the fit leaves over holds the truth, and how often the total's does."""
    rows = []
    designs = np.array(list(product((0, 1), repeat=4)), float)
    for through in (1.0, 0.5, 0.0):
        held = []
        for world in range(worlds):
            rng = np.random.default_rng([seed, world])
            fit = designs @ [0.6, 0.1, -0.1, 0.4] + rng.normal(0, 0.3, 16)
            direct = (1 - through) * 0.3
            leak = -0.5 * through * fit - direct * designs[:, 0] + rng.normal(0, 0.05, 16)
            total = -0.5 * through * 0.6 - direct
            found = explained(designs[:, 0] > 0, fit, leak, np.arange(16))
            held.append(
                (
                    found.total[1] <= total <= found.total[2],
                    found.rest[1] <= -direct <= found.rest[2],
                    found.rest[2] < 0,
                )
            )
        total_held, rest_held, told = np.mean(held, axis=0)
        rows.append(
            {
                "through the fit": through,
                "total covered": total_held,
                "rest covered": rest_held,
                "rest told": told,
            }
        )
    return pd.DataFrame(rows)


def one_model(worlds: int, seed: int) -> pd.DataFrame:
    """How often a model of a further cluster lies in the band made of single models."""
    rows = []
    for count, sizes in product((4, 7, 16), ((4, 4), (1, 40))):
        level = 0.8 if count < 9 else 0.9
        inside, width = [], []
        for world in range(worlds):
            rng = np.random.default_rng([seed, world])
            tables = [variants(rng, 1, True).assign(technique=f"v{k}") for k in range(count + 1)]
            cells = pd.concat(tables[:-1], ignore_index=True)
            models = pd.concat(
                [
                    each.assign(mask=k, train_acc=each["train_acc"] + rng.normal(0, 0.01, len(each)))
                    for each in tables
                    for k in range(rng.integers(sizes[0], sizes[1] + 1))
                ],
                ignore_index=True,
            )
            known = models[models["technique"] != f"v{count}"]
            errors = left_out_models(cells, known, ["train_acc"])
            half = band_of_one(errors, known["technique"].to_numpy(), known["mask"].to_numpy(), level)
            new = models[(models["technique"] == f"v{count}") & (models["mask"] == 0)]
            off = Forecast.fit(cells, ["train_acc"])(new) - new["log_tpr"].to_numpy()
            inside.append((np.abs(off) <= half).all())
            width.append(10**half)
        row = {"clusters": count, "models of each": f"{sizes[0]} to {sizes[1]}", "level": level}
        rows.append(row | {"covered": np.mean(inside), "factor": np.median(width)})
    return pd.DataFrame(rows)


def orders(worlds: int, seed: int) -> pd.DataFrame:
    """How often fit, or the gap, is said to order the leak better; both vary alike and apart from one another."""
    rows = []
    for count, (name, fit, gap) in product(
        (5, 8, 16), (("both alike", 2, 2), ("fit", 4, 0), ("fit more", 3, 1), ("the gap", 0, 4))
    ):
        said = []
        for world in range(worlds):
            rng = np.random.default_rng([seed, world])
            first, second = (
                (rng.uniform(0, 0.2, (count, 1)) + rng.uniform(0, 0.1, (count, STEPS))) for _ in range(2)
            )
            leak = fit * first + gap * second + rng.normal(0, OF_VARIANT, (count, 1))
            table = pd.DataFrame(
                {
                    "technique": np.repeat(np.arange(count), STEPS),
                    "train_acc": first.ravel(),
                    "acc_gap": second.ravel(),
                    "log_tpr": (leak + rng.normal(0, OF_CELL, leak.shape)).ravel(),
                }
            )
            better = error_difference(table, "acc_gap", "train_acc")
            said.append((better.low > 0, better.high < 0))
        rows.append(
            {"variants": count, "truth": name} | dict(zip(("fit", "gap"), np.mean(said, axis=0), strict=True))
        )
    return pd.DataFrame(rows)


def pairs(worlds: int, seed: int) -> pd.DataFrame:
    """How many studies call any pair of variants the wrong way, by simultaneous intervals."""
    rows = []
    for count in (5, 16):
        both = list(combinations(range(count), 2))
        wide = stats.norm.isf(0.025 / (3 * len(both)))
        wrong, told = [], []
        for world in range(worlds):
            rng = np.random.default_rng([seed, world])
            true = np.repeat(rng.normal(size=(2, (count + 1) // 2)), 2, axis=1)[:, :count]
            true[1] = rng.permutation(true[1])  # who has the same gap may leak otherwise
            seen = true + rng.normal(0, 0.2, true.shape)
            found = []
            for one, other in both:
                gap, leak = (
                    Ends(*(seen[k, one] - seen[k, other] + np.array([-1, 1]) * wide * 0.2 * np.sqrt(2)))
                    for k in range(2)
                )
                truth = int(np.prod(np.sign(true[:, one] - true[:, other])))
                found.append((Pair(str(one), str(other), gap, leak, gap).agrees, truth))
            wrong.append(any(sign not in (0, truth) for sign, truth in found))
            told.append(np.mean([sign == truth for sign, truth in found if truth]))
        rows.append(
            {"variants": count, "any wrong": np.mean(wrong), "of those that differ, told": np.mean(told)}
        )
    return pd.DataFrame(rows)


def correlations(worlds: int, seed: int) -> pd.DataFrame:
    """How often the interval of a corrected correlation holds the truth, and how often there is none."""
    rows = []
    for reliability, truth in product((0.1, 0.3, 0.7), (0.0, 0.5, 1.0)):
        held, none = [], 0
        for world in range(worlds):
            rng = np.random.default_rng([seed, world])
            one, other = rng.normal(size=(2, 12, 32))
            both = one, truth * one + np.sqrt(1 - truth**2) * other
            noise = np.sqrt(1 / reliability - 1)
            x, y = (each + noise * rng.normal(size=(2, 12, 32)) for each in both)
            found = within_cells(x, y, np.arange(32) // 2, draws=200, seed=world)
            if found.note:
                none += 1
            else:
                held.append(found.low <= truth <= found.high)
        rows.append(
            {
                "reliability": reliability,
                "truth": truth,
                "covered": np.mean(held),
                "can't be told": none / worlds,
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    for table in (shares, forecasts, one_model, orders, pairs, correlations):
        worlds = told.worlds if table in (shares, forecasts, pairs) else told.worlds // 5
        print(table(worlds, told.seed).round(3).to_string(index=False), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
