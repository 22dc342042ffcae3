"""Do intervals of means over targets hold? Accuracies, losses, AUC, TPR in the studies that `coverage` simulates.

    OMP_NUM_THREADS=1 python -m benchmarks.coverage_means [--worlds 500]

A model is right about an image if its phi is above EASY, and its loss is that of this phi. Two techniques leak
the same on the same masks and images, so that the true difference of each mean is 0; the true mean is that of
hundreds of further worlds. `alone`: the interval of a t-test over the study's mask pairs, as if its images were
all images.
"""

import argparse
from itertools import product

import numpy as np
from scipy import stats

from benchmarks.coverage import IMAGES, MODELS, REPLICATES, STRENGTHS, answers, lira
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.means import OverTargets, mean_auc, mean_over, mean_tpr
from leakgap.measure.ranking import rankings
from leakgap.results import scale_of

EASY, FPR = -2.0, 0.01
NAMES = ("train_acc", "test_acc", "acc_gap", "train_loss", "test_loss", "loss_gap", "auc", "tpr_at_0.01")


def means(phi: np.ndarray, member: np.ndarray) -> dict[str, OverTargets]:
    """What is no difference of others."""
    ranked = rankings(lira(phi, member).astype(np.float32), member, np.ones(IMAGES, bool))
    right, loss = phi > EASY, np.logaddexp(0, EASY - phi)
    return {
        "train_acc": mean_over(right, member),
        "test_acc": mean_over(right, ~member),
        "train_loss": mean_over(loss, member),
        "test_loss": mean_over(loss, ~member),
        "auc": mean_auc(ranked, IMAGES),
        "tpr_at_0.01": mean_tpr(ranked, IMAGES, FPR),
    }


def with_gaps(found: dict) -> dict:
    """Add the two gaps."""
    gaps = {
        "acc_gap": found["train_acc"] - found["test_acc"],
        "loss_gap": found["test_loss"] - found["train_loss"],
    }
    return found | gaps


def population(models: int, strength: float, worlds: int) -> dict[str, float]:
    """The mean of each over many worlds."""
    rows = []
    for seed in range(worlds):
        member, (phi,) = answers(np.random.default_rng((models, seed)), models, [strength])
        rows.append(with_gaps({name: found.value for name, found in means(phi, member).items()}))
    return {name: float(np.mean([row[name] for row in rows])) for name in NAMES}


def pairs_alone(found: OverTargets) -> tuple[float, float]:
    """Student's t interval over mask pairs."""
    of_pair = found.influence.sum(1, dtype=np.float64).reshape(-1, 2).sum(1) * len(found.influence) / 2
    half = stats.t.isf(0.025, len(of_pair) - 1) * of_pair.std(ddof=1) / np.sqrt(len(of_pair))
    return found.value - half, found.value + half


def one(models: int, strength: float, truth: dict[str, float], seed: int) -> list[list[float]]:
    """For each mean: its value, standard error on its scale, then whether it is covered, and called different."""
    member, phis = answers(np.random.default_rng((models, seed, 1)), models, [strength, strength])
    draws = Resampling(member, np.ones(IMAGES, bool), replicates=REPLICATES, seed=seed)
    raw = [means(phi, member) for phi in phis]
    first, second = (
        with_gaps({name: draws.mean(found, scale_of(name)) for name, found in each.items()}) for each in raw
    )
    rows = []
    for name in NAMES:
        mine = first[name]
        found, change = mine, second[name] - mine
        low, high = pairs_alone(raw[0][name]) if name in raw[0] else (np.nan, np.nan)
        alone = low <= truth[name] <= high if name in raw[0] else np.nan
        rows.append(
            [
                change.value,
                change.se,
                found.high - found.low,
                found.low <= truth[name] <= found.high,
                not change.low <= 0 <= change.high,
                alone,
            ]
        )
    return rows


def main() -> None:
    """Print a row per number of models and mean."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=500)
    worlds = parser.parse_args().worlds
    print(f"{worlds} worlds of {IMAGES} images, {REPLICATES} replicates, 95% intervals; shares in percent")
    print("| models | leak | mean of | truth | width | covered | alone | se / sd | equal: rejected |")
    print("|---" * 9 + "|")
    for strength, (models, pooled) in product(STRENGTHS, MODELS.items()):
        truth = population(models, strength, pooled)
        rows = np.array([one(models, strength, truth, seed) for seed in range(worlds)])
        for place, name in enumerate(NAMES):
            change, se, width, covered, rejected, alone = rows[:, place].T
            print(
                f"| {models} | {strength:g} | {name} | {truth[name]:.4f} | {width.mean():.4f} "
                f"| {100 * covered.mean():.1f} | {100 * alone.mean():.1f} "
                f"| {np.sqrt((se**2).mean()) / change.std():.2f} | {100 * rejected.mean():.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
