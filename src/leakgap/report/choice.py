"""What to choose: one variant, by a rule that is stated, or what is left to choose between.

The rule: of the variants whose accuracy is not told to be more than `report.margin` below that of the most accurate
one, the one that leaks least, at the study's largest FPR and the last step, by the attack that is the headline. It
is taken if its leak is told from that of every other one among these; contrasts are paired and hold together
(Bonferroni over the other variants). Where it is not told, the study's own standard errors say how many masks would
tell the two that are hardest to tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR
from math import ceil, isnan

from scipy import special

from leakgap.measure.estimate import Estimate
from leakgap.numbers import fixed, times
from leakgap.report.decision import names, told
from leakgap.results import Results

CHANCE = 1.5  # times the FPR: a leak that is told to be below this is called chance
POWER = 0.8  # of a study with so many masks, to tell what is hardest to tell
WIDE = 10  # times its low end, or the FPR: a leak whose interval reaches beyond is not known
MOST = 4096  # masks that nobody is told to train


@dataclass(frozen=True)
class Choice:
    """What the rule takes at one FPR.

    take: the variant of least leak among those accurate enough; left: others of these that can't be told from it;
    best: the most accurate; cost: accuracy of `take` less that of `best`; gain: leak of `best` over that of `take`;
    leak: TPR of `take`. needed: masks that would tell what is left, None where nothing is or no number would.
    at_chance: every variant's TPR is told to be below CHANCE times the FPR.
    """

    fpr: float
    margin: float
    masks: int
    take: str
    left: tuple[str, ...]
    best: str
    leak: Estimate
    cost: Estimate | None
    gain: Estimate | None
    needed: int | None
    at_chance: bool


def choose(results: Results, fpr: float, margin: float) -> Choice | None:
    """Apply the rule; None where a TPR is undefined at this FPR."""
    variants: Sequence[str] = results.study.grid.techniques
    cells = {variant: results.cell(variant) for variant in variants}
    leaks = {variant: results.replicated(cells[variant], fpr) for variant in variants}
    if any(isnan(leak.value) for leak in leaks.values()):
        return None
    others = max(1, len(variants) - 1)

    def accuracy(one: str, other: str) -> Estimate:
        return results.difference(cells[one], cells[other], "test_acc", comparisons=others)

    def leak(one: str, other: str) -> Estimate:
        return results.contrast(cells[one], cells[other], fpr, comparisons=others)

    best = max(variants, key=lambda variant: results.mean(cells[variant], "test_acc").value)
    enough = [one for one in variants if one == best or not accuracy(one, best).high < -margin]
    take = min(enough, key=lambda variant: leaks[variant].value)
    apart = {one: leak(one, take) for one in enough if one != take}
    left = tuple(one for one, ratio in apart.items() if not told(ratio, 1))
    return Choice(
        fpr=fpr,
        margin=margin,
        masks=len(results.study.masks),
        take=take,
        left=left,
        best=best,
        leak=leaks[take],
        cost=None if take == best else accuracy(take, best),
        gain=None if take == best else leak(best, take),
        needed=_needed([apart[one] for one in left], len(results.study.masks)),
        at_chance=all(one.high <= CHANCE * fpr for one in leaks.values()),
    )


def _needed(open_: Sequence[Estimate], masks: int) -> int | None:
    """Masks with which four of five studies would tell the last of these ratios from 1, if they are as estimated.

    Standard errors fall with the root of the masks; that images vary too makes this too hopeful, never too grim.
    """
    factors = []
    for ratio in open_:
        if isnan(ratio.se) or not ratio.on_scale:
            return None
        df = max(ratio.df, 1.0)
        wanted = abs(ratio.on_scale) / (special.stdtrit(df, 0.975) + special.stdtrit(df, POWER))
        factors.append((ratio.se / wanted) ** 2)
    if not factors:
        return None
    needed = 2 * ceil(masks * max(factors) / 2)
    return needed if needed <= MOST else None


def in_words(found: Choice | None) -> list[str]:
    """The sentences that stand first, the answer before all."""
    if found is None:
        return ["This can't be decided with this: the images are too few for a TPR at any FPR asked for."]
    others = f"where {_in_people(found.fpr)} others is accused by mistake"
    if found.at_chance:
        return [
            f"Every variant's leak is told to be below {CHANCE:g} times what guessing gives at "
            f"{100 * found.fpr:g}% FPR: choose by accuracy, `{found.best}`, and not by these leaks."
        ]
    if not found.leak.high <= WIDE * max(found.leak.low, found.fpr):
        return [
            f"This can't be decided with {found.masks} masks: of 100 training images {_people(found.leak)} are "
            f"recognized with `{found.take}`, which says next to nothing. Start with 16 masks (docs/how-many.md)."
        ]
    caught = f"of 100 training images {_people(found.leak)} are recognized, {others}"
    if not found.left:
        return [f"Take `{found.take}`: {caught}.", *_beside(found)]
    choice = names([found.take, *found.left])
    more = (
        f"About {found.needed} masks would tell them, if they differ as it seems."
        if found.needed
        else f"They are so alike that no number of masks up to {MOST} would tell them."
    )
    return [
        f"This can't be decided with {found.masks} masks: {choice} are left to choose between. With `{found.take}` "
        f"{caught}, and the others can't be told from it.",
        more,
        *_beside(found),
    ]


def _beside(found: Choice) -> list[str]:
    """What the choice costs and gains beside the most accurate variant."""
    rule = (
        f"The rule: least leak among variants whose accuracy is not told to be more than {100 * found.margin:g} "
        "points below the best (`report.margin`)."
    )
    if found.cost is None or found.gain is None:
        return [f"`{found.take}` is also the most accurate.", rule]
    cost, gain = found.cost, found.gain
    points = (
        f"costs {fixed(-100 * cost.value)} points of accuracy ({fixed(-100 * cost.high, rounding=ROUND_FLOOR)} to "
        f"{fixed(-100 * cost.low, rounding=ROUND_CEILING)})"
        if told(cost, 0)
        else f"is not told from it in accuracy (at most {fixed(max(0.0, -100 * cost.low), rounding=ROUND_CEILING)} "
        "points below)"
    )
    less = (
        f"gives away {times(gain.value)} times less ({times(gain.low, ROUND_FLOOR)} to "
        f"{times(gain.high, ROUND_CEILING)})"
        if told(gain, 1)
        else "is not told from it in leak"
    )
    return [f"Beside `{found.best}`, the most accurate, it {less} and {points}.", rule]


def _people(share: Estimate) -> str:
    """How many of 100, with the interval rounded outwards.

    >>> _people(Estimate(0.0432, 0.0371, 0.0504))
    '4.3 (3.7 to 5.1)'
    """
    low, high = 100 * share.low, 100 * share.high
    if isnan(low):
        return fixed(100 * share.value, 1)
    ends = f"{fixed(low, 1, ROUND_FLOOR)} to {fixed(high, 1, ROUND_CEILING)}"
    return f"{fixed(100 * share.value, 1)} ({ends})"


def _in_people(fpr: float) -> str:
    """A false positive rate in people.

    >>> _in_people(0.01), _in_people(0.001)
    ('1 in 100', '1 in 1,000')
    """
    return f"1 in {round(1 / fpr):,}"
