"""A lower bound of epsilon from one trained model: fair coins, guesses, an exact binomial test.

Source: Steinke, Nasr and Jagielski 2023, "Privacy auditing with one (1) training run" (NeurIPS), Theorem 5.2. Let S
be m fair coins, M an (epsilon, delta)-differentially private algorithm in each of them, and let the auditor guess
at most r of the coins from what M gives out. For every number v, with W from Binomial(r, e^eps / (1 + e^eps)),

    P(at least v guesses are right) <= P(W >= v) + 2 m delta max over i = 1..v of P(v - i <= W < v) / i

Here a coin is a match of one member with one non-member, drawn at random by the auditor. The training set is a
uniformly random half of the images, and "a random half and a random matching to the rest" has the same law as "a
random matching and a fair coin for each match". Turning a coin over replaces one training image by another: the
bound is of epsilon under *replacement* of one record, which is not what Opacus accounts for (adding or removing
one). The theorem lets the guessed matches be picked by the scores, so long as membership plays no part; and the
attack must know nothing of the target's coins, which is why models of the same mask and of its complement are no
shadows of it.
"""

import math
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from leakgap import ArgumentError, LeakgapError
from leakgap.arguments import fraction, numbers, truths, whole

__all__ = [
    "epsilon_lower_bound",
    "epsilon_of",
    "guesses_for",
    "inclusion_epsilon",
    "largest_epsilon",
    "learned_guesses",
    "p_value",
    "random_matches",
    "right_guesses",
]

GUESSES = 2.0  # times the root of the number of matches: see benchmarks/epsilon.py for what other rules give
LEAST = 1e-9  # level that is told from 0: what holds at a higher level holds at a lower one
TRIED = (1.0, 2.0, 4.0, 8.0, 16.0)  # the same, where shadow models show which is best


def guesses_for(matches: int) -> int:
    """How many guesses to make of so many matches where nothing better is known: 2 sqrt(matches), fixed beforehand.

    >>> guesses_for(1000)
    64
    """
    return min(matches, math.ceil(GUESSES * math.sqrt(matches)))


def learned_guesses(
    score: ArrayLike, member: ArrayLike, matches: int, *, level: float = 0.95, seed: int = 0
) -> int:
    """How many guesses to make of so many matches: the number that would have proved most on the shadow models.

    score: float [N, S] of shadow models, each attacked by the others and never by the target, NaN where it abstains
    or was not asked; member: bool [N, S]. Tried are 1, 2, 4, 8 and 16 times the root of the number of matches;
    `guesses_for` where none of them would have proved anything. The target plays no part, so its bound stays valid.

    >>> rng = np.random.default_rng(0)
    >>> member = rng.random((8, 2000)) < 0.5
    >>> learned_guesses(rng.normal(3.0 * member), member, 1000)
    506
    >>> learned_guesses(rng.normal(size=member.shape), member, 1000)
    64
    """
    rights = [
        _rights(each, inside, seed + n)
        for n, (each, inside) in enumerate(
            zip(numbers(score, "score").astype(np.float64), truths(member, "member"), strict=True)
        )
    ]
    rights = [right for right in rights if len(right)]
    best, most = guesses_for(matches), 0.0
    for times in TRIED:
        guesses = min(matches, math.ceil(times * math.sqrt(matches)))
        counts = [min(len(right), math.ceil(times * math.sqrt(len(right)))) for right in rights]
        right = sum(int(each[:count].sum()) for each, count in zip(rights, counts, strict=True))
        if right:
            proved = epsilon_of(int(guesses * right / sum(counts)), guesses, matches, level=level)
            if proved > most:
                best, most = guesses, proved
    return best


def epsilon_lower_bound(
    score: ArrayLike,
    member: ArrayLike,
    *,
    guesses: int,
    delta: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> float:
    """The epsilon below which the training of this target is not (epsilon, delta)-private, at confidence `level`.

    score: float [S], higher = member; member: bool [S]; of one target, without reserved images. Members and
    non-members are matched at random by `seed`, min(members, non-members) matches; on the `guesses` matches whose
    scores differ most the guess is the image that scores higher, and a fair coin where both score the same. With
    `right` guesses right, the result is the largest epsilon at which the theorem (see the module) gives that many
    a probability of at most 1 - level, rounded down; 0.0 where there is none.

    Of the training recipe this holds if the members are a uniformly random half of the images (or: exchangeable
    with the non-members), and if `guesses` and `seed` were fixed without a look at this target's result.

    Raises LeakgapError for scores that are NaN or that don't match `member`, a missing class, guesses that are no
    whole number in 1..matches, delta outside [0, 1) and level outside (0, 1); where a score is no number or
    `member` not boolean.

    >>> score = np.r_[np.arange(100.0) + 1000, np.arange(100.0)]   # every member above every non-member
    >>> round(epsilon_lower_bound(score, np.arange(200) < 100, guesses=40), 2)
    2.55
    """
    score = numbers(score, "score").astype(np.float64)
    if np.isnan(score).any():
        raise LeakgapError(f"score: {np.isnan(score).sum()} of {score.size} are NaN, leave those images out")
    return _bound(score, truths(member, "member"), guesses, delta, level, seed)


def inclusion_epsilon(
    score: ArrayLike,
    member: ArrayLike,
    *,
    guesses: int,
    delta: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> float:
    """As `epsilon_lower_bound`, where each record was a member by a fair coin of its own: adding or removing one.

    score: float [S]; member: bool [S]. The highest half of the `guesses` are guessed in, the lowest half out;
    equal scores are put in random order. This is the relation that accountants such as Opacus's have.

    >>> member = np.random.default_rng(0).random(200) < 0.5
    >>> round(inclusion_epsilon(1.0 * member, member, guesses=100), 2)
    3.49
    """
    score, member = numbers(score, "score").astype(np.float64), truths(member, "member")
    if member.ndim != 1 or score.shape != member.shape or np.isnan(score).any():
        raise ArgumentError("score and member must be numbers and truths of the same records, none missing")
    guesses, level = whole(guesses, "guesses"), fraction(level, "level")
    if not 2 <= guesses <= len(score):
        raise ArgumentError(f"guesses must be between 2 and the {len(score)} records, not {guesses}")
    order = _streams(seed)[0].permutation(len(score))
    order = order[np.argsort(-score[order], kind="stable")]
    inside, outside = order[: (guesses + 1) // 2], order[len(order) - guesses // 2 :]
    right = int(member[inside].sum() + (~member[outside]).sum())
    return epsilon_of(right, guesses, len(score), delta=delta, level=level)


def _bound(
    score: np.ndarray, member: np.ndarray, guesses: int, delta: float, level: float, seed: int
) -> float:
    """As `epsilon_lower_bound`, with scores of NaN where the attack abstains."""
    if member.ndim != 1 or score.shape != member.shape:
        raise LeakgapError(f"score {score.shape} and member {member.shape} are not [images] of one target")
    guesses, level, seed = whole(guesses, "guesses"), fraction(level, "level"), whole(seed, "seed")
    matches = int(min(member.sum(), (~member).sum()))
    if not 1 <= guesses <= matches:
        raise ArgumentError(f"guesses: {guesses} is not between 1 and the {matches} matches of a member")
    if not isinstance(delta, Real) or not 0 <= delta < 1:
        raise ArgumentError(f"delta must lie in [0, 1), not {delta!r}")
    return epsilon_of(*right_guesses(score, member, guesses, seed), matches, delta=delta, level=level)


def right_guesses(score: np.ndarray, member: np.ndarray, guesses: int, seed: int) -> tuple[int, int]:
    """How many guesses are right, and how many are made, of those that `epsilon_lower_bound` makes.

    score: float64 [S], NaN where the attack abstains; member: bool [S]. No guess is made on a match with an
    abstention, so fewer than `guesses` may be made: abstentions follow from the shadow models, not from the coins.

    >>> right_guesses(np.array([3.0, 2, 1, 0]), np.array([True, True, False, False]), 2, seed=0)
    (2, 2)
    """
    made = _rights(score, member, seed)[:guesses]
    return int(made.sum()), len(made)


def _rights(score: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """Whether the guess on each match would be right, the surest first, bool [matches without an abstention]."""
    inside, outside = (score[images] for images in random_matches(member, seed))
    coin = _streams(seed)[1].random(len(inside)) < 0.5
    distance = np.zeros(len(inside))
    np.subtract(inside, outside, out=distance, where=inside != outside)  # two infinite scores are equal
    right = np.where(inside == outside, coin, inside > outside)
    order = np.argsort(-np.abs(distance), kind="stable")  # matches are in random order: so are ties
    return right[order[~np.isnan(distance[order])]]


def random_matches(member: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The members and non-members that `seed` matches, int [matches] each, in random order; member: bool [S]."""
    rng, matches = _streams(seed)[0], min(member.sum(), (~member).sum())
    inside, outside = rng.permutation(np.flatnonzero(member)), rng.permutation(np.flatnonzero(~member))
    return inside[:matches], outside[:matches]


def largest_epsilon(
    score: np.ndarray,
    member: np.ndarray,
    *,
    guesses: int,
    delta: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> float:
    """The epsilon below which the *recipe* that trained all T targets is not private, at confidence `level`.

    score: float64 [T,S], NaN where the attack abstains; member: bool [T,S]. One recipe has one epsilon, and every
    target bounds it: the largest of the T bounds, each at level 1 - (1 - level) / T (Bonferroni: targets may depend
    on one another in any way). Bounds are never made of guesses pooled over targets, whose coins are not
    independent of other targets' shadow models.
    """
    each = 1 - (1 - level) / len(score)
    pairs = zip(numbers(score, "score").astype(np.float64), truths(member, "member"), strict=True)
    return max(_bound(s, m, guesses, delta, each, seed + k) for k, (s, m) in enumerate(pairs))


def each_epsilon(
    score: np.ndarray, member: np.ndarray, *, level: float = 0.95, seed: int = 0
) -> dict[str, np.ndarray]:
    """The bounds of `largest_epsilon`, target by target, at delta 0 and the usual number of guesses: [T] each.

    matches, guesses, right; epsilon, each at confidence `level` by itself, and together, all at once: the largest
    of these is `largest_epsilon`. score: float [T,S], member: bool [T,S].
    """
    rows = []
    for place, (own, inside) in enumerate(zip(score, member, strict=True)):
        matches = int(min(inside.sum(), (~inside).sum()))
        right, made = right_guesses(own.astype(np.float64), inside, guesses_for(matches), seed + place)
        levels = level, 1 - (1 - level) / len(score)
        rows.append(
            [matches, made, right, *(epsilon_of(right, made, matches, level=each) for each in levels)]
        )
    names = ("matches", "guesses", "right", "epsilon", "together")
    return dict(zip(names, np.array(rows, np.float64).T, strict=True))


def _streams(seed: int) -> list[np.random.Generator]:
    """For matching and coins; spawned, so that they differ from masks that somebody drew from the bare seed."""
    return np.random.default_rng(seed).spawn(2)


def p_value(epsilon: float, right: int, guesses: int, matches: int, delta: float) -> float:
    """The theorem's bound of the probability of so many right guesses, if training is (epsilon, delta)-private."""
    share = 1 / (1 + math.exp(-epsilon))
    probability = special.betainc(right, guesses - right + 1, share) if right else 1.0  # P(W >= right)
    if delta and right:
        fewer = np.arange(right - 1, 0, -1)
        at_least = np.append(
            special.betainc(fewer, guesses - fewer + 1, share), 1.0
        )  # P(W >= v), v = right - 1 .. 0
        probability += 2 * matches * delta * ((at_least - probability) / np.arange(1, right + 1)).max()
    return min(1.0, float(probability))


def epsilon_of(right: int, guesses: int, matches: int, *, delta: float = 0.0, level: float = 0.95) -> float:
    """The bound that so many right guesses give: the largest epsilon with a p-value of at most 1 - level.

    To 1e-9 below; 0 where not even 0 has one.

    >>> round(epsilon_of(40, 40, 100), 2)
    2.55
    """

    error = 1 - max(level, LEAST)

    def rejected(epsilon: float) -> bool:
        return p_value(epsilon, right, guesses, matches, delta) <= error

    if not right or not rejected(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while rejected(high):
        low, high = high, 2 * high
    while high - low > 1e-9:
        middle = (low + high) / 2
        if rejected(middle):
            low = middle
        else:
            high = middle
    return low
