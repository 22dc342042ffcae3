"""Which attack finds most with how many shadow models? On the logits of a finished study.

    OMP_NUM_THREADS=1 python -m benchmarks.attacks_by_shadows STUDY.yaml... [--techniques none] [--attacks base]

The mask pairs of a study are dealt into groups of 4, 8, 16, ... masks, whole pairs, and every model of a group is
attacked at its last step by the others of the group outside its pair: by 2, 6, 14, ... shadow models.
Prints, in Markdown, the pooled TPR of every attack in percent, all groups under one threshold, and beside it the
ratio to that of `--rival` with its 95% interval (`measure.contrast`: mask pairs and images drawn).
"""

import argparse

import numpy as np

from leakgap import attacks
from leakgap.answers.store import Reader
from leakgap.data.masks import read_inputs
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast
from leakgap.measure.estimate import Estimate
from leakgap.study import Study

FPRS = (0.01, 0.001)
ATTACKS = (
    "lira-online",
    "lira-online-fixed",
    "lira-online-within",
    "bavaria",
    "bavaria-t",
    "mast",
    "base",
    "rmia",
    "informia",
    "rapid",
    "lira-steps",  # on studies with several steps, by an attacker who holds them all
)


def evidence_of(study: Study, technique: str) -> attacks.Evidence:
    """Every model of the technique against every other one, at the last step; with its earlier steps."""
    labels, _, _, member, reserved = read_inputs(study.paths.pool, study.paths.masks)
    paths = [study.paths.logits(technique, mask) for mask in study.masks]
    reader = Reader(
        paths, study=study.name, technique=technique, masks=study.masks, member=member, labels=labels
    )
    *earlier, last = (reader.read(step).phi for step in range(1, len(reader.model.epochs) + 1))
    series = np.stack([phi[..., 0] for phi in earlier], 1) if earlier else None
    return attacks.Evidence(
        last,
        last,
        member,
        attacks.gives_away(member, member),
        labels=labels,
        reserved=reserved,
        target_earlier=series,
        shadow_earlier=series,
    )


def score(known: attacks.Evidence, attack: str, size: int) -> np.ndarray:
    """Scores of all models that are in a whole group of `size` masks: float32 [models, S]."""
    groups = np.arange(len(known.shadow) // size * size).reshape(-1, size)
    return np.concatenate([attacks.run(attack, part(known, group)) for group in groups])


def part(known: attacks.Evidence, group: np.ndarray) -> attacks.Evidence:
    """A group's models against one another."""
    series = None if known.shadow_earlier is None else known.shadow_earlier[group]
    return attacks.Evidence(
        known.target[group],
        known.shadow[group],
        known.member[group],
        known.left_out[np.ix_(group, group)],
        labels=known.labels,
        reserved=known.reserved,
        target_earlier=series,
        shadow_earlier=series,
    )


def measured(known: attacks.Evidence, names: list[str], size: int) -> dict[str, list[Estimate]]:
    """Pooled TPRs, with their replicates, of every attack that so few masks allow."""
    models = len(known.shadow) // size * size
    draws = Resampling(known.member[:models], ~known.reserved, replicates=400)
    usable = [name for name in names if _usable(attacks.ATTACKS[name], known, size)]
    return {name: draws.pooled(score(known, name, size), FPRS) for name in usable}


def _usable(attack: attacks.Attack, known: attacks.Evidence, size: int) -> bool:
    return (
        attack.min_masks <= size
        and (known.reserved.any() or not attack.needs_reserved)
        and (known.shadow_earlier is not None or not attack.needs_steps)
    )


def cell(one: Estimate, rival: Estimate) -> str:
    """A TPR in percent, and its ratio to the rival's."""
    if one is rival:
        return f"**{100 * one.value:.2f}**"
    found = contrast(one, rival)
    return f"{100 * one.value:.2f} ({found.value:.2f}, {found.low:.2f} to {found.high:.2f})"


def main() -> None:
    """Print one table for every study, technique and FPR."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--techniques", nargs="+")
    parser.add_argument("--attacks", nargs="+", default=ATTACKS)
    parser.add_argument("--rival", default="lira-pooled")
    options = parser.parse_args()
    names = [options.rival, *(name for name in options.attacks if name != options.rival)]
    for path in options.studies:
        study = Study.load(path)
        for technique in options.techniques or study.grid.techniques:
            known = evidence_of(study, technique)
            sizes = [2**power for power in range(2, 11) if 2**power <= len(known.shadow)]
            tables = {size: measured(known, names, size) for size in sizes}
            for place, fpr in enumerate(FPRS):
                print(f"\n{study.name}, {technique}, TPR in % at {fpr:.1%} FPR\n", flush=True)
                print("| attack |" + "".join(f" {size} masks |" for size in sizes))
                print("|---|" + "---|" * len(sizes))
                for name in names:
                    cells = [
                        cell(t[name][place], t[options.rival][place]) if name in t else ""
                        for t in tables.values()
                    ]
                    print(f"| `{name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
