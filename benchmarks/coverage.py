"""How often the bootstrap's 95% interval of the pooled TPR covers the truth, in simulations with a known truth.

    OMP_NUM_THREADS=1 python -m benchmarks.coverage

Score of model t on image x: model effect + image effect + (distance + the image's own leakage) if it is a member +
noise, all normal, so that the pooled TPR of the population at a given FPR has a closed form. `naive` is the
interval that takes pairs to be independent (Clopper-Pearson); the widths are relative to that of an oracle, 3.92
times the true standard deviation of the estimate.
"""

from itertools import product

import numpy as np
from scipy.stats import beta, norm

from leakgap.measure import roc

REPLICATES, STUDIES, DISTANCE = 200, 200, 1.0
SIZES = [(16, 500), (64, 1500)]  # models, images
EFFECTS = {  # standard deviations of model effects, image effects, an image's own leakage
    "none": (0.0, 0.0, 0.0),
    "images": (0.0, 0.7, 0.7),
    "images, strong": (0.0, 1.0, 2.5),
    "models": (0.5, 0.0, 0.0),
    "both": (0.3, 0.5, 1.0),
    "both, strong": (0.7, 1.0, 2.5),
}
FPRS = (0.01, 0.001)


def study(
    rng: np.random.Generator, models: int, images: int, effects: tuple
) -> tuple[np.ndarray, np.ndarray]:
    """One study's scores and memberships, [models, images]."""
    of_models, of_images, leakage = effects
    member = rng.random((models, images)).argsort(0) < models // 2
    score = rng.standard_normal((models, images), dtype=np.float32) + rng.normal(0, of_images, images)
    score += rng.normal(0, of_models, (models, 1)) + member * rng.normal(DISTANCE, leakage, images)
    return score.astype(np.float32), member


def truth(fpr: float, effects: tuple) -> float:
    """TPR of the population at this FPR."""
    of_models, of_images, leakage = effects
    spread = 1 + of_models**2 + of_images**2
    return float(norm.sf((norm.isf(fpr) * spread**0.5 - DISTANCE) / (spread + leakage**2) ** 0.5))


def clopper_pearson(caught: float, total: int) -> tuple[float, float]:
    """95% interval of a proportion of independent pairs."""
    k = round(caught * total)
    return beta.ppf(0.025, k, total - k + 1), beta.ppf(0.975, k + 1, total - k)


def main() -> None:
    """Print a line per effect, size and FPR."""
    print(
        f"{STUDIES} studies, {REPLICATES} replicates: coverage of 95% intervals, and widths relative to an oracle's"
    )
    print("effects         models images   FPR    TPR  bootstrap (width)  naive (width)")
    for (name, effects), (models, images) in product(EFFECTS.items(), SIZES):
        found = np.zeros((STUDIES, len(FPRS), 5))
        for number in range(STUDIES):
            score, member = study(np.random.default_rng(number), models, images, effects)
            results = roc.pooled_bootstrap(score, member, np.ones(images, bool), FPRS, REPLICATES, number)
            for i, result in enumerate(results):
                naive = clopper_pearson(result.tpr, int(member.sum()))
                found[number, i] = (result.tpr, result.low, result.high, *naive)
        for fpr, (tpr, *bounds) in zip(FPRS, found.transpose(1, 2, 0), strict=True):
            true, oracle = truth(fpr, effects), 3.92 * tpr.std()
            line = f"{name:15s} {models:6d} {images:6d} {fpr:5.1%} {true:6.2%}"
            for low, high in (bounds[:2], bounds[2:]):
                covered = ((low <= true) & (true <= high)).mean()
                line += f" {covered:9.3f} ({(high - low).mean() / oracle:.2f})"
            print(line, flush=True)


if __name__ == "__main__":
    main()
