"""How often is a lower bound of epsilon above the truth? Training that leaks nothing, and randomized response.

    OMP_NUM_THREADS=1 python -m benchmarks.epsilon_error [--runs 500]

No leak: in every run the models of a grid of mask pairs answer without regard to membership, and all are attacked
by leave-one-out LiRA, the target's pair left out; every bound above 0 is an error. Randomized response: every
match's coin is answered truly with probability e^eps / (1 + e^eps), which is epsilon-private and the worst that is;
every bound above this epsilon is an error. Nominal: 5% of single models, 5% of recipes.
"""

import argparse
from itertools import product

import numpy as np

from benchmarks.epsilon import scores
from leakgap.measure.epsilon import epsilon_lower_bound, guesses_for, largest_epsilon, random_matches

IMAGES = 1000


def no_leak(models: int, run: int) -> tuple[float, bool]:
    """The share of targets with a bound above 0, and whether the recipe's is."""
    score, member = scores(np.random.default_rng((models, run)), models, IMAGES, strength=0, spread=0)
    guesses = guesses_for(IMAGES // 2)
    single = [
        epsilon_lower_bound(s, m, guesses=guesses, seed=run * models + k)
        for k, (s, m) in enumerate(zip(score, member, strict=True))
    ]
    recipe = largest_epsilon(score, member, guesses=guesses, seed=run * models)
    return float(np.mean([bound > 0 for bound in single])), recipe > 0


def randomized_response(epsilon: float, guesses: int, run: int) -> float:
    """The bound of one target whose epsilon is known."""
    rng = np.random.default_rng((guesses, run))
    member = rng.permutation(IMAGES) < IMAGES // 2
    inside, outside = random_matches(member, run)
    truly = rng.random(len(inside)) < 1 / (1 + np.exp(-epsilon))
    score = np.zeros(IMAGES)
    score[inside], score[outside] = truly, ~truly
    return epsilon_lower_bound(score, member, guesses=guesses, seed=run)


def main() -> None:
    """Print a row per world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500)
    runs = parser.parse_args().runs
    print(f"{runs} runs of {IMAGES} images; bounds above the truth in percent, mean bound")
    print("| world | single models | recipes | mean bound |")
    print("|---|---|---|---|")
    for models in (16, 64):
        single, recipe = np.mean([no_leak(models, run) for run in range(runs)], axis=0)
        print(f"| no leak, {models} models | {100 * single:.1f} | {100 * recipe:.1f} | |", flush=True)
    for epsilon, guesses in product((0.5, 1, 2, 4), (guesses_for(IMAGES // 2), IMAGES // 2)):
        bounds = np.array([randomized_response(epsilon, guesses, run) for run in range(runs)])
        name = f"randomized response, epsilon {epsilon:g}, {guesses} guesses"
        print(f"| {name} | {100 * (bounds > epsilon).mean():.1f} | | {bounds.mean():.2f} |", flush=True)


if __name__ == "__main__":
    main()
