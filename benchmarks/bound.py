"""Is a recipe's bound of epsilon ever above the truth, and what does it prove?

    OMP_NUM_THREADS=1 python -m benchmarks.bound [--runs 1000] [--seed 0]

Validity: mechanisms whose epsilon is known, 16 models of 400 records. `above` is the share of runs whose bound lies
above the truth, which is to be 5% at most; `median` what they prove.

- nothing: phi does not depend on membership.
- randomized response: a bit says who was a member, flipped so that a record has epsilon .5, 1 or 3.
- Gaussian: phi has standard deviation 1, and mu more for a member.
- one parameter: 20 steps of a sum of clipped numbers with noise, the composition accounted exactly.

Replacing one record changes two of them, so under `half` the truth is 2 epsilon and sqrt(2) mu. A Gaussian
mechanism has no pure epsilon: there delta is 1e-5. `rejected` is how often the accountant's own curve, which is
true here, is contradicted at the 5% level.

Power: the worlds of `benchmarks.epsilon`, which stand for leaking trainings: what is proved by the pure bound, by a
Gaussian hypothesis at delta 1e-5, and by the largest of single models' bounds under Bonferroni.
"""

import argparse
from collections.abc import Callable

import numpy as np
from scipy import special

from benchmarks.epsilon import LEAKS, scores
from leakgap.data.masks import balanced_masks
from leakgap.measure.bound import contradicted, epsilon_of_gaussian, recipe_epsilon
from leakgap.measure.epsilon import guesses_for, largest_epsilon

MODELS, RECORDS, DELTA = 16, 400, 1e-5
Mechanism = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def response(epsilon: float) -> Mechanism:
    """Tell membership, right with odds e^epsilon."""

    def run(rng: np.random.Generator, member: np.ndarray) -> np.ndarray:
        told = rng.random(member.shape) < special.expit(epsilon)
        return np.where(told, member, ~member).astype(float)

    return run


def gaussian(mu: float) -> Mechanism:
    """Shift phi by mu."""

    def run(rng: np.random.Generator, member: np.ndarray) -> np.ndarray:
        return rng.normal(size=member.shape) + mu * member

    return run


def one_parameter(noise: float, steps: int = 20) -> Mechanism:
    """Sum clipped numbers with noise at every step, and score a record by how well the sum fits it."""

    def run(rng: np.random.Generator, member: np.ndarray) -> np.ndarray:
        values = rng.choice([-1.0, 1.0], size=member.shape[1])
        sums = (member @ values)[:, None] + noise * rng.normal(size=(len(member), steps))
        return sums.mean(1)[:, None] * values

    return run


def curve(mu: float) -> Callable[[np.ndarray], np.ndarray]:
    """Delta of a Gaussian shift by epsilon."""

    def delta(epsilon: np.ndarray) -> np.ndarray:
        return special.ndtr(-epsilon / mu + mu / 2) - np.exp(
            epsilon + special.log_ndtr(-epsilon / mu - mu / 2)
        )

    return delta


# name -> mechanism, pure epsilon or None, mu or None: of a record that is added or removed
KNOWN = {
    "nothing": (gaussian(0.0), 0.0, None),
    "response .5": (response(0.5), 0.5, None),
    "response 1": (response(1.0), 1.0, None),
    "response 3": (response(3.0), 3.0, None),
    "Gaussian .5": (gaussian(0.5), None, 0.5),
    "Gaussian 1.5": (gaussian(1.5), None, 1.5),
    "one parameter": (one_parameter(5.0), None, np.sqrt(20) / 5),
}


def validity(runs: int, seed: int) -> None:
    """Print a line for every mechanism and relation."""
    print("mechanism      inclusion   truth  median  above   rejected")
    for name, (mechanism, epsilon, mu) in KNOWN.items():
        for inclusion, epsilons, mus in (("half", 2, np.sqrt(2)), ("coin", 1, 1)):
            delta = 0.0 if mu is None else DELTA
            truth = epsilons * epsilon if mu is None else epsilon_of_gaussian(mus * mu, DELTA)
            found, rejected = [], []
            for run in range(runs):
                rng = np.random.default_rng([seed, run])
                member = balanced_masks(MODELS, RECORDS, int(rng.integers(1 << 31)), inclusion=inclusion)
                phi = mechanism(rng, member)
                bound = recipe_epsilon(phi, member, delta=delta, inclusion=inclusion, seed=run)
                found.append(bound.epsilon)
                if mu is not None and run % 5 == 0:
                    rejected.append(contradicted(bound, curve(mus * mu)) <= 0.05)
            above, false = np.mean(np.array(found) > truth), np.mean(rejected) if rejected else np.nan
            print(
                f"{name:14s} {inclusion:9s} {truth:7.2f} {np.median(found):7.2f} {above:7.3f} {false:8.3f}",
                flush=True,
            )


def power(seed: int) -> None:
    """Print a line for every world."""
    print("models leak         one model's   all models   delta 1e-5")
    for models in (16, 64):
        for name, leak in LEAKS.items():
            rows = []
            for run in range(10):
                rng = np.random.default_rng((seed, models, run))
                score, member, phi = scores(rng, models, 2000, *leak)
                single = largest_epsilon(score, member, guesses=guesses_for(1000))
                both = [recipe_epsilon(phi, member, delta=delta).epsilon for delta in (0.0, DELTA)]
                rows.append([single, *both])
            median = np.median(rows, axis=0)
            print(f"{models:6d} {name:12s} {median[0]:11.2f} {median[1]:12.2f} {median[2]:12.2f}", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    power(told.seed)
    validity(told.runs, told.seed)


if __name__ == "__main__":
    main()
