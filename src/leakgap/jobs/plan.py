"""What a study will cost and what it will be able to say, before anything runs."""

import math
from dataclasses import dataclass

from scipy import special

from leakgap.jobs.timing import Speed, made_up, speed
from leakgap.study import Study

KEPT = 0.93  # of the bytes of logits, after compression
ATTACK = 25 / (64 * 60_000 * 6 * 7)  # CPU seconds of an attack job by model, image, step and attack
CLASSES = {"cifar100": 100}  # of the built-in datasets; the others have ten
SETTLED = 1.5  # the ratio of two leaks that a study is asked to tell from 1

# Standard error of the logarithm of the ratio of two TPRs, e^A N^B S^C FPR^D with N masks and S images: least
# squares over the sizes from 8 masks on in docs/how-many.md. OFF is the standard deviation of what is left of it.
A, B, C, D, OFF = 0.359, -0.342, -0.526, -0.447, 0.141
POWER = 0.8
LEAST_MASKS = 8  # that it was fitted to


@dataclass(frozen=True)
class Plan:
    """A study's cost, as far as it is known beforehand; None where it is not."""

    models: int
    attack_jobs: int
    records: int | None
    disk: float | None  # bytes of all logits
    memory: float | None  # bytes of one attack job
    attacks: float | None  # CPU seconds of all attack jobs
    training: tuple[float, float] | None  # seconds of all models, by the fastest and by the slowest variant
    device: str


def told_ratio(masks: int, images: int, fpr: float) -> float:
    """The ratio of two variants' TPRs that four of five studies of this size would tell from 1 at the 5% level.

    The formula is fitted to the table of docs/how-many.md, where it is off by a factor of e^0.14 in the standard
    error (one standard deviation), e^0.4 at most; images are those that are not reserved. Infinite below 8 masks,
    which it was not fitted to.

    >>> round(told_ratio(16, 1000, 0.01), 2), round(told_ratio(64, 1000, 0.01), 2)  # measured: 1.41, 1.23
    (1.45, 1.23)
    """
    if masks < LEAST_MASKS:
        return math.inf
    error = math.exp(A + B * math.log(masks) + C * math.log(images) + D * math.log(fpr))
    df = masks / 2 - 1
    return math.exp(error * (special.stdtrit(df, 0.975) + special.stdtrit(df, POWER)))


def masks_for(ratio: float, images: int, fpr: float, most: int = 10_000) -> int | None:
    """The least even number of masks, 8 or more, that tells such a ratio from 1; None above `most`.

    >>> masks_for(1.5, 1000, 0.01)
    14
    """
    if told_ratio(most, images, fpr) > ratio:
        return None
    low, high = 4, most // 2  # pairs; `told_ratio` falls with the masks
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if told_ratio(2 * middle, images, fpr) <= ratio else (middle + 1, high)
    return 2 * low


def plan(study: Study, timed: bool = True) -> Plan:
    """Work out a study's cost; `timed`: train a few batches of made-up images on this machine."""
    names, steps = study.grid.techniques, len(study.train.steps)
    records, known = study.data.records, study.data.built_in
    count = len(names) * len(study.models)
    disk = memory = attacks = training = None
    device = "not measured"
    if records:
        memory = 200 * 2**20 + records * (93 * len(study.masks) + 950)
        work = len(study.masks) * records * steps * len(study.attack.attacks)
        attacks = ATTACK * work * len(study.attack_jobs)
    if known:
        images, channels, side = known
        classes = CLASSES.get(study.data.dataset, 10)
        logits = study.query.views if study.query.logits == "all" else 1
        disk = KEPT * 4 * count * steps * images * (study.query.views + logits * classes)
        own = [name for name in names if study.variant(name).train.recipe is None]
        if timed and own:
            pool = made_up(study, images, channels, side, classes)
            members = study.data.unreserved(images) // 2
            # the variant with the fewest members is the fastest and that with the most the slowest, or nearly
            ends = sorted(own, key=lambda name: len(study.variant(name).technique))
            speeds = [speed(study, name, pool) for name in (ends[0], ends[-1])]
            device = speeds[0].device
            seconds = [
                _seconds(study, name, each, members)
                for name, each in zip((ends[0], ends[-1]), speeds, strict=True)
            ]
            training = (count * min(seconds), count * max(seconds))
    return Plan(count, len(study.attack_jobs), records, disk, memory, attacks, training, device)


def _seconds(study: Study, name: str, each: Speed, members: int) -> float:
    train = study.variant(name).train
    images = study.data.records or 0
    return each.seconds(members, images, train.steps[-1], len(train.steps) * study.query.views)


def show_plan(study: Study) -> None:
    """Print what a study costs, what it can tell, and what would be undefined."""
    found = plan(study)
    print(f"{study.name}: {found.models} models, {found.attack_jobs} attack jobs")
    if found.training:
        low, high = found.training
        span = duration(low) if duration(low) == duration(high) else f"{duration(low)} to {duration(high)}"
        print(f"training: {span} of one process on this machine ({found.device}), measured on a few batches")
    else:
        print("training: not known beforehand: the built-in training on a built-in dataset can be timed")
    if found.disk is not None:
        print(f"disk: {_bytes(found.disk)} of logits")
    if found.memory is not None and found.attacks is not None:
        print(
            f"attacks: about {duration(found.attacks)} of CPU in all, {_bytes(found.memory)} of memory a job"
        )
    if found.records:
        images = study.data.unreserved(found.records)
        for fpr in study.attack.fpr:
            print(f"at {100 * fpr:g}% false positives: {expected(study.grid.masks, images, fpr)}")
    for told in study.shortages:
        print(f"{told}.")


def in_short(study: Study) -> str:
    """Say in a line what is known of a study's cost and power without a measurement; empty where nothing is."""
    found, told = plan(study, timed=False), []
    if found.disk is not None:
        told.append(f"{_bytes(found.disk)} of logits")
    if found.memory is not None and found.attacks is not None:
        told.append(
            f"about {duration(found.attacks)} of CPU for attacks, {_bytes(found.memory)} of memory a job"
        )
    if found.records and study.grid.masks >= LEAST_MASKS:
        fpr = max(study.attack.fpr)
        ratio = told_ratio(study.grid.masks, study.data.unreserved(found.records), fpr)
        told.append(
            f"tells leaks apart that differ by a factor of {ratio:.2f} at {100 * fpr:g}% false positives"
        )
    return f"{study.name}: {'; '.join(told)}; leakgap plan says more." if told else ""


def expected(masks: int, images: int, fpr: float) -> str:
    """Say which differences such a study tells from chance, and how many masks would settle a ratio of 1.5.

    >>> expected(16, 1616, 0.01)
    'two leaks that differ by a factor of 1.34 or more are told apart in four of five studies (1.29 to 1.40)'
    """
    if masks < LEAST_MASKS:
        return f"{masks} masks are too few to say what would be told apart; start with 16"
    ratio = told_ratio(masks, images, fpr)
    off = [math.exp(math.log(ratio) * math.exp(sign * OFF)) for sign in (-1, 1)]
    line = (
        f"two leaks that differ by a factor of {ratio:.2f} or more are told apart in four of five studies "
        f"({off[0]:.2f} to {off[1]:.2f})"
    )
    if ratio <= SETTLED:
        return line
    needed = masks_for(SETTLED, images, fpr)
    more = f"{needed} masks would do" if needed else "no number of masks will do, more images will"
    return f"{line}; for a factor of {SETTLED:g} {more}"


def duration(seconds: float) -> str:
    """A time for reading.

    >>> duration(50), duration(4000), duration(100_000)
    ('50 s', '67 min', '27.8 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _bytes(count: float) -> str:
    """A size for reading.

    >>> _bytes(3e6), _bytes(7e9)
    ('3 MB', '7.0 GB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
