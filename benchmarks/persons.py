"""Do intervals, bounds and warnings hold where records belong to persons? Simulated worlds whose truth is known.

    OMP_NUM_THREADS=1 python -m benchmarks.persons grids|audits [--worlds 300]

phi of record x of person g in model t is

    hardness(x) + effect of the mask + effect of the model + noise(t, x) of a spread of its own in x
    + gain(x) if t trained on x + .3 gain x share of g's records that t trained on

where half the variance of hardness, noise and gain, and .8 of that of what makes a record vulnerable, is shared by
the records of a person; `heavy` draws all these from Student's t with 3 degrees of freedom. Persons have 1, 2, 5 or
20 records, or `mixed` numbers (Pareto, up to 60). Members are drawn by record or by person. LiRA attacks, leaving
out the target's mask pair.

grids: 600 records, 16 models, two techniques that leak the same. How often the 95% interval of the pooled TPR at 1%
FPR covers the truth, and the ratio of the two excludes 1; by record, and by group.
audits: 1,000 records, one target, 16 shadow models. How often the intervals of the TPR at 1% FPR and of the AUC
cover, of records by record and by group, and of persons (TPR at 10%: they are fewer); and without any leak, how
often epsilon is bounded above 0 (of persons where they are drawn whole, else of records), and one of three signs
says that members are no random draw (.3% are to). The truth is that of all worlds of a cell pooled.
"""

import argparse
from itertools import product

import numpy as np

from benchmarks.coverage import lira
from leakgap.audit import chance
from leakgap.audit.people import of_people
from leakgap.data.masks import balanced_masks
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast
from leakgap.measure.epsilon import epsilon_lower_bound, guesses_for
from leakgap.measure.groups import drawn_together
from leakgap.measure.roc import auc, tpr_at_fpr
from leakgap.measure.single import auc_interval, tpr_interval

SIZES, DRAWN, TAILS = ("1", "2", "5", "20", "mixed"), ("record", "person"), ("normal", "heavy")
FPR, STRENGTH, REPLICATES, CLASSES = 0.01, 0.8, 300, 5


def persons(rng: np.random.Generator, records: int, size: str) -> np.ndarray:
    """Whose each record is, int [S] from 0."""
    if size != "mixed":
        return np.arange(records) // int(size)
    sizes = np.minimum(60, np.ceil(rng.pareto(1.2, records) + 1e-4)).astype(int)
    return np.repeat(np.arange(records), sizes)[:records]


def world(
    rng: np.random.Generator,
    models: int,
    records: int,
    cell: tuple[str, str, str],
    strengths: list[float],
    of_models: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray], np.ndarray]:
    """Memberships [models, records], persons [records], LiRA's scores for each strength, and hardness [records]."""
    size, drawn, tail = cell
    group = persons(rng, records, size)
    count = int(group.max()) + 1
    drawn_from = records if drawn == "record" else count
    member = balanced_masks(models, drawn_from, int(rng.integers(1 << 31)))
    member = member if drawn == "record" else member[:, group]

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) if tail == "normal" else rng.standard_t(3, shape) / np.sqrt(3)

    def shared(part: float, *shape: int) -> np.ndarray:
        """Of variance 1, a part of which the records of a person share."""
        return np.sqrt(part) * draw(*shape, count)[..., group] + np.sqrt(1 - part) * draw(*shape, records)

    hardness, vulnerable, of_cell = 2 * shared(0.5), shared(0.8), 0.4 * shared(0.5, models)
    of_mask = of_models * rng.normal(0, 0.15, (models, 1))
    number = np.bincount(group)
    trained = np.stack([np.bincount(group, row) for row in member.astype(float)]) / number
    scores = []
    for strength in strengths:
        gain = strength * np.exp(0.7 * vulnerable + 0.5 * shared(0.5) - 0.5)
        noise = np.exp(rng.normal(0, 0.3, records)) * (of_cell + np.sqrt(0.84) * shared(0.5, models))
        model = of_models * rng.normal(0, 0.2, (models, 1))
        more = gain * member + 0.3 * strength * (trained[:, group] - 0.5)
        scores.append(lira(hardness + of_mask + model + noise + more, member).astype(np.float32))
    return member, group, scores, hardness


def grid(cell: tuple[str, str, str], worlds: int) -> list[float]:
    """TPR; shares covered and rejected, by record and by group; standard error over spread of the log ratio."""
    made = [world(np.random.default_rng((seed, 7)), 16, 600, cell, [STRENGTH]) for seed in range(300)]
    truth = tpr_at_fpr(np.stack([one[2][0] for one in made]), np.stack([one[0] for one in made]), FPR)
    rows = []
    for seed in range(worlds):
        member, group, scores, _ = world(
            np.random.default_rng((seed, 9)), 16, 600, cell, [STRENGTH, STRENGTH]
        )
        row = []
        for codes in (None, group):
            every = np.ones(600, bool)
            draws = Resampling(member, every, replicates=REPLICATES, seed=seed, group=codes)
            (first,), (second,) = (draws.pooled(score, [FPR]) for score in scores)
            ratio = contrast(first, second)
            row += [first.low <= truth <= first.high, not ratio.low <= 1 <= ratio.high]
        rows.append([*row, ratio.on_scale, ratio.se])
    found = np.array(rows, float)
    spread = np.sqrt((found[:, 5] ** 2).mean()) / found[:, 4].std()
    return [truth, *found[:, [0, 2, 1, 3]].mean(0), spread]


def audit(cell: tuple[str, str, str], worlds: int) -> list[float]:
    """Of records TPR, covered by record and by group; AUC likewise; of persons both; epsilon above 0, Beware."""
    covered, wrong = [], []
    made, of_persons = [], []
    for seed in range(worlds):
        member, group, (score, none), hardness = world(
            np.random.default_rng((seed, 11)), 18, 1000, cell, [STRENGTH, 0.0], of_models=0
        )
        made.append((score[0], member[0], group))
        inside = np.bincount(group, member[0]) > 0
        of_persons.append((of_people(score[0], group, "sum"), inside))
        wrong.append(
            [
                _bounded(none[0], member[0], group, cell[1], seed),
                _beware(member, group, hardness, cell[1], seed),
            ]
        )
    scores, members = (np.concatenate([one[k] for one in made]) for k in range(2))
    truth = tpr_at_fpr(scores, members, FPR), auc(scores, members)
    theirs = [np.concatenate(part) for part in zip(*of_persons, strict=True)]
    # a person's own fewest non-members are fewer: persons are read at 10%
    true = tpr_at_fpr(*theirs, 0.1), auc(*theirs)
    for (score, member, group), (sums, inside) in zip(made, of_persons, strict=True):
        row = []
        for codes in (None, group):
            found = tpr_interval(score, member, FPR, group=codes), auc_interval(score, member, group=codes)
            row += [one.low <= value <= one.high for one, value in zip(found, truth, strict=True)]
        found = tpr_interval(sums, inside, 0.1), auc_interval(sums, inside)
        row += [
            np.nan if np.isnan(one.value) else one.low <= value <= one.high
            for one, value in zip(found, true, strict=True)
        ]
        covered.append(row)
    tpr, area, by_group, area_by_group, person, area_person = np.nanmean(np.array(covered, float), 0)
    return [truth[0], tpr, by_group, area, area_by_group, true[0], person, area_person, *np.mean(wrong, 0)]


def _bounded(score: np.ndarray, member: np.ndarray, group: np.ndarray, drawn: str, seed: int) -> bool:
    """Whether epsilon is bounded above 0, without any leak."""
    if drawn == "person":
        score, member = of_people(score, group, "sum"), np.bincount(group, member) > 0
    matches = int(min(member.sum(), (~member).sum()))
    return epsilon_lower_bound(score, member, guesses=guesses_for(matches), seed=seed) > 0


def _beware(member: np.ndarray, group: np.ndarray, hardness: np.ndarray, by: str, seed: int) -> bool:
    """Whether one of the signs is seen: in labels that persons share, in how many of 16 shadow models trained on a
    record, and in what models answer that have not seen it.
    """
    rng = np.random.default_rng((seed, 13))
    records, own = len(group), rng.random(len(group)) < 0.3
    label = np.where(own, rng.integers(CLASSES, size=records), rng.integers(CLASSES, size=records)[group])
    drawn = np.arange(records) if by == "record" else group
    number = int(drawn.max()) + 1
    share = np.mean([(rng.permutation(number) < number // 2)[drawn] for _ in range(16)], axis=0)
    unit = drawn_together(member[0], group)
    return (
        chance.beyond_chance(lambda members: chance._unlike(label, members), member[0], unit)
        or chance._differs(hardness, member[0], unit)
        or chance._differs(share, member[0], unit)
    )


PARTS = {
    "grids": (
        grid,
        ["TPR", "covered by record", "by group", "equal: rejected by record", "by group", "se / sd"],
    ),
    "audits": (
        audit,
        [
            *("TPR", "covered by record", "by group", "AUC by record", "by group"),
            *("TPR of persons", "covered", "AUC", "epsilon > 0", "Beware"),
        ],
    ),
}


def main() -> None:
    """Print a row for each cell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--worlds", type=int, default=300)
    told = parser.parse_args()
    measure, names = PARTS[told.part]
    print(f"{told.worlds} worlds; in percent, but for se / sd")
    print("|", " | ".join(["records a person", "drawn by", "tails", *names]), "|")
    print("|---" * (3 + len(names)) + "|")
    for size, drawn, tail in product(SIZES, DRAWN, TAILS):
        if size == "1" and drawn == "person":
            continue  # as by record
        found = measure((size, drawn, tail), told.worlds)
        text = [
            f"{value:.2f}" if name == "se / sd" else f"{100 * value:.1f}"
            for name, value in zip(names, found, strict=True)
        ]
        print("|", " | ".join([size, drawn, tail, *text]), "|", flush=True)


if __name__ == "__main__":
    main()
