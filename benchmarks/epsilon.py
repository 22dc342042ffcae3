"""How many guesses to make: the mean bound of epsilon on simulated LiRA scores, by rules fixed beforehand.

    OMP_NUM_THREADS=1 python -m benchmarks.epsilon

Worlds: phi of image x in model t = image effect + model effect + noise + gain(x) if x is a member, gains log-normal
with mean `strength`; scores are leave-one-out LiRA with one variance. `best` is the best number in hindsight, which
no auditor knows. `recipe` is the bound by Bonferroni over all models at 95%, for the rule in use.
"""

import math

import numpy as np

from benchmarks.coverage import lira
from leakgap.data.masks import balanced_masks
from leakgap.measure.epsilon import epsilon_lower_bound, guesses_for, largest_epsilon

RULES = {
    "40": lambda matches: min(40, matches),
    "1%": lambda matches: math.ceil(0.01 * matches),
    "3%": lambda matches: math.ceil(0.03 * matches),
    "10%": lambda matches: math.ceil(0.1 * matches),
    "root": lambda matches: math.ceil(math.sqrt(matches)),
    "2 root": guesses_for,
    "4 root": lambda matches: math.ceil(4 * math.sqrt(matches)),
}
LEAKS = {"weak": (0.3, 1.0), "few images": (0.3, 1.8), "middle": (0.8, 1.0), "strong": (1.5, 1.0)}


def scores(rng: np.random.Generator, models: int, images: int, strength: float, spread: float) -> tuple:
    """Scores, memberships and phi of one world, [models, images]."""
    member = balanced_masks(models, images, int(rng.integers(1 << 31)))
    gain = strength * np.exp(rng.normal(-(spread**2) / 2, spread, images))
    phi = rng.normal(size=(models, images)) + rng.normal(0, 2, images) + rng.normal(0, 0.2, (models, 1))
    phi = phi + gain * member
    return lira(phi, member), member, phi


def main() -> None:
    """Print a line per world."""
    print("images models leak       ", *(f"{rule:>7}" for rule in RULES), "   best (guesses)  recipe")
    for images in (600, 2000, 10_000, 50_000):
        for models in (16, 64):
            for name, leak in LEAKS.items():
                score, member, _ = scores(np.random.default_rng((images, models)), models, images, *leak)
                targets = range(0, models, max(1, models // 16))

                def mean(guesses: int, score=score, member=member, targets=targets) -> float:
                    return float(
                        np.mean([epsilon_lower_bound(score[t], member[t], guesses=guesses) for t in targets])
                    )

                found = {rule: mean(number(images // 2)) for rule, number in RULES.items()}
                tried = {c: mean(c) for c in np.unique(np.geomspace(5, images // 2, 25).astype(int))}
                best = max(tried, key=lambda c: tried[c])
                recipe = largest_epsilon(score, member, guesses=guesses_for(images // 2))
                line = " ".join(f"{value:7.2f}" for value in found.values())
                print(
                    f"{images:6d} {models:6d} {name:10s} {line} {tried[best]:7.2f} {f'({best})':9s} {recipe:6.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
