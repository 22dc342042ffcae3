"""Do intervals and contrasts of pooled TPRs hold? Simulated studies of leave-one-out LiRA whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.coverage [--worlds 500]

In every world two techniques that leak the same are trained on the same masks: phi of image x in model t is

    hardness(x) + effect of the mask + effect of the model + noise(t, x), partly shared, of a spread of its own in x
    + gain(x), log-normal and partly shared by the techniques, if t trained on x

and each is attacked by LiRA, leaving out the target's mask pair. Two more techniques leak more, so that the true
ratio is 1.5 at 1% and at 0.1% FPR. The true TPR of a class of worlds is that of hundreds of further worlds pooled.
`before` is the interval this package had: models and images resampled together, Student's t of the logarithms.
"""

import argparse
from itertools import product

import numpy as np
from scipy import stats

from leakgap.data.masks import balanced_masks
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast
from leakgap.measure.estimate import Estimate
from leakgap.measure.roc import false_positives, tpr_at_fpr

IMAGES, REPLICATES, FPRS, RATIO = 1000, 400, (0.01, 0.001), 1.5
STRENGTHS = (0.8, 0.3)  # mean gain, in standard deviations of the noise
STRONGER = np.geomspace(1, 2.5, 12)  # times as strong
MODELS = {16: 400, 64: 150}  # and how many worlds are pooled for the truth


def lira(phi: np.ndarray, member: np.ndarray) -> np.ndarray:
    """LiRA with one variance (a constant factor left out), float [N,S]; rows 2k and 2k + 1 leave out both."""
    count = len(phi) // 2 - 1
    means = []
    for side in (member, ~member):
        own = np.where(side, phi, 0)
        of_pair = own.reshape(len(phi) // 2, 2, -1).sum(1).repeat(2, 0)
        means.append((own.sum(0) - of_pair) / count)
    inside, outside = means
    return (inside - outside) * (phi - (inside + outside) / 2)


def world(
    rng: np.random.Generator, models: int, strengths: list[float]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Memberships and one technique's scores for each strength, [models, images]."""
    member, phis = answers(rng, models, strengths)
    return member, [lira(phi, member).astype(np.float32) for phi in phis]


def answers(
    rng: np.random.Generator, models: int, strengths: list[float]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Memberships and one technique's phi for each strength, [models, images]."""
    shape = models, IMAGES
    member = balanced_masks(models, IMAGES, int(rng.integers(1 << 31)))
    hardness, vulnerable = rng.normal(0, 2, IMAGES), rng.normal(size=IMAGES)
    of_mask, of_cell = rng.normal(0, 0.15, (models, 1)), rng.normal(0, 0.4, shape)
    phis = []
    for strength in strengths:
        gain = strength * np.exp(0.7 * vulnerable + np.sqrt(0.51) * rng.normal(size=IMAGES) - 0.5)
        noise = np.exp(rng.normal(0, 0.3, IMAGES)) * (of_cell + rng.normal(0, np.sqrt(0.84), shape))
        phis.append(hardness + of_mask + rng.normal(0, 0.2, (models, 1)) + noise + gain * member)
    return member, phis


def population(models: int, strength: float, worlds: int) -> tuple[list[float], list[float]]:
    """For each FPR the true TPR, and the strength at which it is RATIO times as large."""
    members, scores = [], []
    for seed in range(worlds):
        member, found = world(np.random.default_rng((models, seed)), models, list(strength * STRONGER))
        members.append(member)
        scores.append(found)
    tprs = [
        [tpr_at_fpr(np.stack([s[k] for s in scores]), np.stack(members), fpr) for k in range(len(STRONGER))]
        for fpr in FPRS
    ]
    strong = [
        float(np.exp(np.interp(np.log(RATIO * t[0]), np.log(t), np.log(strength * STRONGER)))) for t in tprs
    ]
    return [t[0] for t in tprs], strong


def pigeonhole(score: np.ndarray, member: np.ndarray, fpr: float, seed: int) -> np.ndarray:
    """Logarithms of the TPR and of its replicates under models and images drawn together, [1 + REPLICATES]."""
    models, images = member.shape
    rng = np.random.default_rng(seed)
    drawn = [
        np.stack([np.bincount(rng.integers(size, size=size), minlength=size) for _ in range(REPLICATES)], -1)
        for size in (models, images)
    ]
    by_model, by_image = (np.c_[np.ones(len(d), int), d].astype(np.float32) for d in drawn)
    n1, n0 = (
        np.einsum("tr,tr->r", by_model, side.astype(np.float32) @ by_image) for side in (member, ~member)
    )
    best = np.argsort(-score, axis=None, kind="stable")[: score.size // 5]
    weight = by_model[best // images] * by_image[best % images]
    inside = member.ravel()[best][:, None]
    called = np.cumsum(weight * ~inside, axis=0) <= false_positives(n0, fpr, "conformal")
    return np.log(np.maximum((weight * inside * called).sum(0) / n1, 0.5 / member.sum()))


def before(first: np.ndarray, second: np.ndarray, models: int) -> tuple[float, float]:
    """Bounds of the ratio by Student's t with models - 1 degrees of freedom."""
    difference = first - second
    spread = difference[1:].std(ddof=1) * np.sqrt(models / (models - 1))
    half = stats.t.isf(0.025, models - 1) * spread
    return np.exp(difference[0] - half), np.exp(difference[0] + half)


def main() -> None:
    """Print a row per number of models and FPR."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=500)
    worlds = parser.parse_args().worlds
    print(f"{worlds} worlds of {IMAGES} images, {REPLICATES} replicates, 95% intervals; in percent")
    columns = ["models", "FPR", "TPR", "caught", "TPR covered", "se / sd", "equal: rejected", "before"]
    columns += [f"ratio {RATIO}: covered", "found", "before"]
    print("|", " | ".join(columns), "|")
    print("|---" * len(columns) + "|")
    for strength, (models, pooled) in product(STRENGTHS, MODELS.items()):
        truth, strong = population(models, strength, pooled)
        rows = np.array([one(models, strength, truth, strong, seed) for seed in range(worlds)])
        for k, fpr in enumerate(FPRS):
            log, se, *shares = rows[:, k].T
            text = [f"{100 * share.mean():.1f}" for share in shares]
            text.insert(1, f"{np.sqrt((se**2).mean()) / log.std():.2f}")
            caught = truth[k] * models * IMAGES / 2
            print(
                f"| {models} | {100 * fpr:g} | {100 * truth[k]:.2f} | {caught:.0f} |",
                " | ".join(text),
                "|",
                flush=True,
            )


def one(
    models: int, strength: float, truth: list[float], strong: list[float], seed: int
) -> list[list[float]]:
    """What a world shows, for each FPR: log ratio and its standard error, then what holds (0 or 1)."""
    member, scores = world(np.random.default_rng((models, seed, 1)), models, [strength, strength, *strong])
    draws = Resampling(member, np.ones(IMAGES, bool), replicates=REPLICATES, seed=seed)
    pooled: list[list[Estimate]] = [draws.pooled(score, FPRS) for score in scores]
    found = []
    for k, fpr in enumerate(FPRS):
        base, equal, more = pooled[0][k], pooled[1][k], pooled[2 + k][k]
        old_base, old_equal, old_more = (pigeonhole(scores[s], member, fpr, seed) for s in (0, 1, 2 + k))
        own, same, other = base, contrast(equal, base), contrast(more, base)
        old_same, old_other = before(old_equal, old_base, models), before(old_more, old_base, models)
        found.append(
            [
                np.log(same.value),
                same.se,
                own.low <= truth[k] <= own.high,
                not same.low <= 1 <= same.high,
                not old_same[0] <= 1 <= old_same[1],
                other.low <= RATIO <= other.high,
                other.low > 1,
                old_other[0] > 1,
            ]
        )
    return found


if __name__ == "__main__":
    main()
