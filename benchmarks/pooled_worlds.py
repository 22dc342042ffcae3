"""Does lira-pooled keep up where records are alike, and where they are not? On simulated phi of known laws.

    OMP_NUM_THREADS=1 python -m benchmarks.pooled_worlds [--seeds 4] [--images 4000] [--masks 8 16 64]

A record has base b ~ N(2, 2), and phi ~ N(b, s) without it and N(b + e, s) with it, spread s = 1 / (1 + exp(b - 3))
+ .4 and effect e = .8 / (1 + exp(b - 1)). In the worlds
    alike     that is all: effect and spread follow from the base
    unlike    every effect is multiplied by exp(N(0, 1.2)): records of one base differ by factors
    few       three of ten records have three times the effect, the others none
    spreads   every spread is multiplied by exp(N(0, .6))
    steady    the spread with the record is .6 of that without
Prints, in Markdown, the pooled TPR in percent at 1% and .1% FPR, means over seeds.
"""

import argparse

import numpy as np

from leakgap import attacks
from leakgap.data.masks import balanced_masks
from leakgap.measure import roc

WORLDS = ("alike", "unlike", "few", "spreads", "steady")
ATTACKS = ("lira-pooled", "lira-online-within", "lira-online-fixed", "bavaria", "bavaria-t", "base", "mast")


def world(kind: str, masks: int, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """phi float32 [N,S,1] and membership bool [N,S]."""
    rng = np.random.default_rng(seed)
    member = balanced_masks(masks, images, seed)
    base = rng.normal(2, 2, images)
    effect, spread = 0.8 / (1 + np.exp(base - 1)), 1 / (1 + np.exp(base - 3)) + 0.4
    if kind == "unlike":
        effect *= np.exp(rng.normal(0, 1.2, images))
    elif kind == "few":
        effect *= 3 * (rng.random(images) < 0.3)
    elif kind == "spreads":
        spread *= np.exp(rng.normal(0, 0.6, images))
    inside = spread * (0.6 if kind == "steady" else 1)
    phi = base + effect * member + np.where(member, inside, spread) * rng.normal(size=member.shape)
    return phi.astype(np.float32)[..., None], member


def rates(kind: str, masks: int, images: int, seed: int, names: list[str]) -> np.ndarray:
    """TPR at 1% and .1% FPR of each attack: [attacks,2]."""
    phi, member = world(kind, masks, images, seed)
    nothing = np.zeros(images, int), np.zeros(images, bool)
    known = attacks.Evidence(phi, phi, member, attacks.gives_away(member, member), *nothing)
    found = attacks.run_all(names, known)
    return np.array([[roc.tpr_at_fpr(found[name], member, fpr) for fpr in (0.01, 0.001)] for name in names])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--masks", type=int, nargs="+", default=[8, 16, 64])
    parser.add_argument("--attacks", nargs="+", default=list(ATTACKS))
    options = parser.parse_args()
    print("| world, masks | " + " | ".join(f"`{name}`" for name in options.attacks) + " |")
    print("|---|" + "---|" * len(options.attacks), flush=True)
    for kind in WORLDS:
        for masks in options.masks:
            seeds = range(100, 100 + options.seeds)
            mean = 100 * np.mean([rates(kind, masks, options.images, k, options.attacks) for k in seeds], 0)
            cells = " | ".join(f"{one:.2f} / {tenth:.2f}" for one, tenth in mean)
            print(f"| {kind}, {masks} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
