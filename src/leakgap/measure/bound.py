"""A lower bound of a recipe's epsilon that every model of a grid adds to.

Masks come in pairs, a random half and its complement, drawn independently of one another. Pair k's target is one
of its two models, and the attack on it knows the models of earlier pairs alone. Given all of those, the target's
coins are fair: which of two matched records it was trained on (`half`), or whether a record was in at all
(`coin`). So, whatever earlier pairs have shown, of the c guesses that are made on pair k the right ones are at
most, in law, Binomial(c, e^eps / (1 + e^eps)) (Steinke, Nasr and Jagielski 2023, Theorem 5.2 with delta = 0);
their sum over the pairs is then at most Binomial(all guesses, ...), and one test of it needs no Bonferroni. The
attack may be chosen anew for every pair by what earlier ones have shown, their membership included. How many
guesses are made may not: who guesses on while unlucky and stops when lucky proves what is not so (6.7% instead of
5 in simulations). The first quarter of the pairs sets it, and does not count. docs/proofs.md has the proof.

With delta above 0 the hypothesis is a trade-off function f (f-DP: Dong, Roth and Su 2022), by default that of
Gaussian noise, and the test that of Mahloujifar, Melis and Chaudhuri 2024, "Auditing f-differential privacy in one
run" (arXiv 2410.22235). It speaks of one mechanism whose coins the guesses may not know, and is made so: the first
half of the pairs are shadow models and choose the attack, the other half's targets together are the mechanism.
"""

from collections.abc import Callable, Sequence
from math import ceil, exp, log, sqrt
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from leakgap import ArgumentError
from leakgap.arguments import fraction, numbers, truths, whole
from leakgap.measure.epsilon import epsilon_of

__all__ = ["Bound", "contradicted", "epsilon_of_gaussian", "recipe_epsilon", "rejects"]

SHRUNK = (0.0, 0.5, 1.0)  # how much of a record's own effect its score takes, the rest being the mean effect
SHARES = (1.0, 2.0, 4.0, 8.0, 16.0)  # times the root of the number of coins: how many guesses are made
USUAL = 2.0  # of these, where nothing better is known
MOST = 20_000  # guesses of all targets under a trade-off function, whose test takes a step for each
SATURATED = 100.0  # phi of an answer of exactly 0 or 1; a constant, as what models answered must not set it
NEAR = 1e-3  # how exactly a bound is found


class Bound(NamedTuple):
    """A lower bound of epsilon, and what it rests on.

    It holds at confidence `level` if the masks were drawn as `balanced_masks` draws them. A Gaussian hypothesis is
    one: of noise of another kind the bound may be above the truth.

    >>> half = np.array([np.random.default_rng(k).permutation(200) < 100 for k in range(4)])
    >>> member = np.stack([half, ~half], 1).reshape(8, 200)
    >>> found = recipe_epsilon(1.0 * member, member)  # phi is membership itself
    >>> found.right == found.guesses, found.relation
    (True, 'replace one')
    """

    epsilon: float
    guesses: int
    right: int
    targets: int
    hypothesis: Literal["pure", "gaussian"]
    chosen: str  # how the attack and the number of guesses were chosen
    delta: float
    level: float
    coins: int  # of all targets
    relation: Literal["replace one", "add or remove one"]


def recipe_epsilon(
    phi: ArrayLike,
    member: ArrayLike,
    *,
    delta: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
    groups: ArrayLike | None = None,
    inclusion: Literal["half", "coin"] = "half",
    known: int | None = None,
) -> Bound:
    """The epsilon below which the recipe that trained N models is not private, at confidence `level`.

    phi: float [N, S] or [N, S, V], logit-scaled confidences (the mean over views is taken; infinite ones count as
    100); member: bool [N, S] in complementary pairs of rows 2k and 2k + 1, as `balanced_masks` draws them; columns
    that are in no mask are left out. groups: int [S], whose record each is: the bound is then of replacing one
    group, and its score is the mean of its records'. inclusion: `half` bounds epsilon under the replacement of one
    record, `coin` under adding or removing one, the relation that Opacus accounts for. known: where the models are
    no pairs but have splits of their own, drawn independently of one another, how many of them, the first, are
    shadow models and no targets; every later one is attacked by those before it.

    Raises ArgumentError for rows that are no pairs, fewer than two pairs, a group that is split, and for delta or
    level out of range.

    >>> rng = np.random.default_rng(0)
    >>> half = np.array([rng.permutation(600) < 300 for _ in range(16)])
    >>> member = np.stack([half, ~half], 1).reshape(32, 600)
    >>> found = recipe_epsilon(rng.normal(size=member.shape) + 3 * member, member)
    >>> found.targets, found.epsilon > 3, recipe_epsilon(rng.normal(size=member.shape), member).epsilon < 1
    (12, True, True)
    """
    scores, inside = _units(phi, member, groups, paired=known is None)
    fraction(level, "level")
    whole(seed, "seed")
    if not 0 <= delta < 1:
        raise ArgumentError(f"delta must lie in [0, 1), not {delta!r}")
    if inclusion not in ("half", "coin"):
        raise ArgumentError(f"inclusion must be half or coin, not {inclusion!r}")
    if known is not None and (not 0 <= known < len(scores) or len(scores) < 3):
        raise ArgumentError(f"known must leave a target among {len(scores)} models, not {known!r}")
    tried = _Tried(scores, inside, inclusion, split=bool(delta), seed=seed, known=known)
    cap = MOST // max(1, tried.targets) if delta else None
    right, guesses = tried.guess(cap)
    if delta:
        value = _largest(lambda mu: rejects(_gaussian(mu), right, guesses, tried.coins, 1 - level))
        epsilon = epsilon_of_gaussian(value, delta)
    else:
        epsilon = epsilon_of(right, guesses, tried.coins, level=level) if guesses else 0.0
    return Bound(
        epsilon=epsilon,
        guesses=guesses,
        right=right,
        targets=tried.targets,
        hypothesis="gaussian" if delta else "pure",
        chosen="by the first half of the pairs"
        if delta
        else "the attack by the pairs before, guesses by the first quarter",
        delta=float(delta),
        level=float(level),
        coins=tried.coins,
        relation="replace one" if inclusion == "half" else "add or remove one",
    )


def contradicted(bound: Bound, delta_of: Callable[[np.ndarray], np.ndarray], most: float = 30.0) -> float:
    """The p-value of an accountant's claim: how often a training that is as private would be guessed so well.

    bound: of `recipe_epsilon` with delta above 0, whose guesses are counted again; delta_of: the accountant's
    curve, delta as a function of epsilon (float [E] to float [E]), under the bound's relation. 1 where nothing
    speaks against it. "This training is not what its accountant says" at p below .05 is false in one of 20 at most.

    >>> rng = np.random.default_rng(0)
    >>> half = np.array([rng.permutation(600) < 300 for _ in range(16)])
    >>> member = np.stack([half, ~half], 1).reshape(32, 600)
    >>> leaky = recipe_epsilon(rng.normal(size=member.shape) + 3 * member, member, delta=1e-5)
    >>> contradicted(leaky, lambda eps: np.where(eps < 1, 1e-3, 1e-9)) < 1e-3
    True
    """
    if bound.hypothesis != "gaussian":
        raise ArgumentError(
            "a bound with delta = 0 knows models that an accountant's curve is not tested with"
        )
    epsilons = np.linspace(0, most, 3001)
    inverse = _of_curve(epsilons, np.asarray(delta_of(epsilons), np.float64))
    low, high = -12.0, 0.0  # of log10 p
    if not rejects(inverse, bound.right, bound.guesses, bound.coins, 1.0):
        return 1.0
    if rejects(inverse, bound.right, bound.guesses, bound.coins, 10**low):
        return 10**low
    while high - low > 0.01:
        middle = (low + high) / 2
        rejected = rejects(inverse, bound.right, bound.guesses, bound.coins, 10**middle)
        low, high = (low, middle) if rejected else (middle, high)
    return float(10**high)


def rejects(inverse: Callable[[float], float], right: int, guesses: int, coins: int, p: float) -> bool:
    """Whether so many right guesses have a probability of at most p under a trade-off function f.

    inverse: of 1 - f, from a probability to a probability. Mahloujifar, Melis and Chaudhuri 2024, Theorem 4.2 and
    their algorithm: were the probability p, then r_right = p right / coins and h_right = p (guesses - right) /
    coins, and going down i from right - 1 to 0

        h_i = max(h_(i+1), inverse(r_(i+1))),   r_i = r_(i+1) + i / (guesses - i) (h_i - h_(i+1));

    more than `guesses / coins` of probability in all is a contradiction.

    >>> rejects(lambda x: x, 60, 100, 100, 0.05), rejects(lambda x: x, 50, 100, 100, 0.05)  # perfect privacy
    (True, False)
    """
    if not right or right <= guesses / 2:
        return False
    h, r, limit = p * (guesses - right) / coins, p * right / coins, guesses / coins
    for i in range(right - 1, -1, -1):
        higher = max(h, inverse(r))
        r += i / (guesses - i) * (higher - h)
        h = higher
        if r + h > limit:
            return True
    return False


def _gaussian(mu: float) -> Callable[[float], float]:
    """The inverse of 1 - f for a shift of mu standard deviations: Phi(Phi^-1(x) - mu)."""

    def inverse(x: float) -> float:
        return float(special.ndtr(special.ndtri(min(x, 1.0)) - mu))

    return inverse


def _of_curve(epsilons: np.ndarray, deltas: np.ndarray) -> Callable[[float], float]:
    """The inverse of 1 - f of an accountant's curve: f is the supremum over epsilon of f of (epsilon, delta).

    1 - f(a) = min over epsilon of min(delta + e^eps a, 1 - e^-eps (1 - delta - a)).
    """
    down, up = np.exp(-epsilons), np.exp(epsilons)

    def exact(x: float) -> float:
        return max(0.0, float((down * (x - deltas)).max()), float((1 - deltas - up * (1 - x)).max()))

    # on a grid, rounded down between its points: a smaller inverse rejects less
    grid = np.concatenate([np.geomspace(1e-12, 0.01, 2000), np.linspace(0.01, 1, 2001)[1:]])
    values = np.array([exact(x) for x in grid])

    def inverse(x: float) -> float:
        place = int(np.searchsorted(grid, x, side="right")) - 1
        return float(values[place]) if place >= 0 else 0.0

    return inverse


def epsilon_of_gaussian(mu: float, delta: float) -> float:
    """The epsilon at delta of a Gaussian shift of mu (Dong, Roth and Su 2022, Corollary 2.13), rounded down.

    >>> round(epsilon_of_gaussian(1.0, 1e-5), 2)
    4.38
    """
    if mu <= 0:
        return 0.0

    def delta_of(epsilon: float) -> float:
        first = special.ndtr(-epsilon / mu + mu / 2)
        return float(first - exp(epsilon + special.log_ndtr(-epsilon / mu - mu / 2)))

    if delta_of(0.0) <= delta:
        return 0.0
    return _largest(lambda epsilon: delta_of(epsilon) > delta)


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest number at which a condition holds that fails from some number on, to NEAR below; 0 if none."""
    if not holds(NEAR):
        return 0.0
    low, high = NEAR, 1.0
    while holds(high):
        low, high = high, 2 * high
        if high > 1e4:
            return low
    while high - low > NEAR:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _units(
    phi: ArrayLike, member: ArrayLike, groups: ArrayLike | None, *, paired: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Return phi float64 [N, S] and member bool [N, S] of the records that are in masks; with groups, of groups."""
    scores, inside = numbers(phi, "phi").astype(np.float64), truths(member, "member")
    if np.isnan(scores).any():
        raise ArgumentError("phi must not be NaN")
    scores = np.nan_to_num(scores, posinf=SATURATED, neginf=-SATURATED)
    if scores.ndim == 3:
        scores = scores.mean(2)
    if inside.ndim != 2 or scores.shape != inside.shape:
        raise ArgumentError(
            f"phi {list(np.shape(phi))} and member {list(inside.shape)} are not of the same models"
        )
    drawn = inside.any(0)
    pairs = len(inside) >= 4 and not len(inside) % 2 and (inside[0::2] ^ inside[1::2] == drawn).all()
    if paired and not pairs:
        raise ArgumentError("member must be two or more pairs of rows that share the records between them")
    if groups is None:
        return scores[:, drawn], inside[:, drawn]
    codes = np.unique(np.asarray(groups)[drawn], return_inverse=True)[1]
    first = np.unique(codes, return_index=True)[1]
    whole_groups = inside[:, drawn][:, first]
    if (whole_groups[:, codes] != inside[:, drawn]).any():
        raise ArgumentError(
            "groups: one is split between members and others, and only whole ones are replaced"
        )
    # summed after each record's score is known: a group's phi stays that of its records, put side by side
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    if (counts == counts[0]).all():
        return scores[:, drawn][:, order].reshape(len(scores), len(counts), -1).mean(2), whole_groups
    return np.stack([np.bincount(codes, row) / counts for row in scores[:, drawn]]), whole_groups


class _Tried:
    """Targets attacked one after another, each by what the pairs before it have shown.

    The first quarter of the pairs set how many guesses are made on each of the others, and are not counted. split:
    the first half of the pairs are shadow models of the other half's targets, which know nothing of one another;
    attack and number of guesses are chosen within the first half. known: models by themselves in place of pairs,
    the first so many of which are shadow models.
    """

    def __init__(
        self,
        phi: np.ndarray,
        member: np.ndarray,
        inclusion: str,
        *,
        split: bool,
        seed: int,
        known: int | None = None,
    ):
        self.phi, self.member, self.inclusion = phi, member, inclusion
        self.rng = np.random.default_rng(seed)
        self.size = 2 if known is None else 1
        pairs = len(phi) // self.size
        self.first = max(known or 0, pairs // 2 if split else max(1, pairs // 4))
        self.before = [self._rights(k, k) for k in range(1, self.first)]
        self.seen = [self._rights(k, self.first if split else k) for k in range(self.first, pairs)]
        self.targets, self.split = len(self.seen), split
        self.coins = sum(len(ways[0]) for ways in self.seen)

    def _rights(self, k: int, known: int) -> list[np.ndarray]:
        """Which guesses on pair k would be right, surest first, bool [coins], for every way of scoring.

        Made of the models of the first `known` pairs and this target's phi; membership only says, at last, what is
        right.
        """
        inside, values = self.member[: self.size * known], self.phi[: self.size * known]
        effect, middle, usual = _effects(inside, values)
        target, member = self.phi[self.size * k] - middle, self.member[self.size * k]
        if self.inclusion == "half":
            count = int(min(member.sum(), (~member).sum()))
            one, other = (self.rng.permutation(np.flatnonzero(side))[:count] for side in (member, ~member))
        coin = (
            self.rng.random(count if self.inclusion == "half" else len(member)) < 0.5
        )  # where both score the same
        found = []
        for own in SHRUNK:
            score = (own * effect + (1 - own) * usual) * target
            if self.inclusion == "half":
                sure = score[one] - score[other]
                right = np.where(sure == 0, coin, sure > 0)
            else:
                sure = score
                right = np.where(sure == 0, coin, (sure > 0) == member)
            found.append(right[np.argsort(-np.abs(sure), kind="stable")])
        return found

    def guess(self, cap: int | None) -> tuple[int, int]:
        """Return how many guesses are right, and how many are made, over all targets."""
        right = made = 0
        _, share = self._best(self.before, SHARES)
        for k, ways in enumerate(self.seen):
            way, _ = self._best(self.before if self.split else self.before + self.seen[:k], (share,))
            count = min(len(ways[way]), ceil(share * sqrt(len(ways[way]))), cap or len(ways[way]))
            right, made = right + int(ways[way][:count].sum()), made + count
        return right, made

    def _best(self, before: list[list[np.ndarray]], shares: Sequence[float]) -> tuple[int, float]:
        """The way of scoring, and how many guesses, that would have proved most on the targets before."""
        best, choice = -1.0, (0, USUAL if USUAL in shares else shares[0])
        for way in range(len(SHRUNK) if before else 0):
            for share in shares:
                counts = [min(len(ways[way]), ceil(share * sqrt(len(ways[way])))) for ways in before]
                right = sum(int(ways[way][:count].sum()) for ways, count in zip(before, counts, strict=True))
                proved = _proved(right, sum(counts), self.targets / len(before))
                if proved > best:
                    best, choice = proved, (way, share)
        return choice


def _effects(member: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return what training on a record does to phi, [S], the middle between out and in, [S], and the usual effect.

    A record that the models have on one side alone has the usual effect, and its middle half of that from there.
    """
    counts = member.sum(0), (~member).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        inside, outside = (phi * member).sum(0) / counts[0], (phi * ~member).sum(0) / counts[1]
    effect = inside - outside
    usual = float(np.nanmean(effect)) if np.isfinite(effect).any() else 0.0
    middle = np.where(counts[0] == 0, outside + usual / 2, np.where(counts[1] == 0, inside - usual / 2, 0.0))
    both = np.isfinite(effect)
    middle[both] = (inside[both] + outside[both]) / 2
    return np.where(both, effect, usual), middle, usual


def _proved(right: int, guesses: int, more: float) -> float:
    """About what would be proved if all targets were guessed as well: a normal bound of the log odds."""
    share = (right + 0.5) / (guesses + 1)
    low = share - 1.645 * sqrt(share * (1 - share) / (guesses * more))
    return log(low / (1 - low)) if 0.5 < low < 1 else 0.0
