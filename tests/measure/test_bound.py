"""The bound that all models of a recipe give together: naive guesses, mechanisms whose epsilon is known, errors."""

from math import ceil, comb, exp, sqrt

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution
from scipy import stats

from leakgap import ArgumentError, balanced_masks, recipe_epsilon
from leakgap.measure.bound import contradicted, epsilon_of_gaussian, rejects

CURVE = {
    mu: lambda eps, mu=mu: (
        stats.norm.cdf(-eps / mu + mu / 2) - np.exp(eps) * stats.norm.cdf(-eps / mu - mu / 2)
    )
    for mu in (0.5, 1.0, 3.0)
}


def response(epsilon: float, member: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Everybody says truly who was a member, with odds of e^epsilon."""
    return np.where(rng.random(member.shape) < 1 / (1 + exp(-epsilon)), member, ~member).astype(float)


def naive_first_guesses(phi: np.ndarray, member: np.ndarray, seed: int) -> tuple[int, int]:
    """The guesses on the second pair's target, which are fixed beforehand, one record at a time."""
    rng = np.random.default_rng(seed)
    target, inside = phi[2], member[2]
    effect = np.mean(
        [phi[0, x] - phi[1, x] if member[0, x] else phi[1, x] - phi[0, x] for x in range(phi.shape[1])]
    )
    one, other = rng.permutation(np.flatnonzero(inside)), rng.permutation(np.flatnonzero(~inside))
    matches = []
    for x, y in zip(one, other, strict=False):
        a, b = (effect * (target[z] - (phi[0, z] + phi[1, z]) / 2) for z in (x, y))
        matches.append((abs(a - b), a > b))
    count = ceil(2 * sqrt(len(matches)))
    matches.sort(key=lambda match: -match[0])
    return sum(right for _, right in matches[:count]), count


def test_guesses_are_those_of_a_naive_auditor():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        member = balanced_masks(4, 101, seed, 0.1)
        phi = rng.normal(size=member.shape) + 1.5 * member
        found = recipe_epsilon(phi, member, seed=seed)
        drawn = member.any(0)
        assert (found.right, found.guesses) == naive_first_guesses(phi[:, drawn], member[:, drawn], seed)
        assert (found.targets, found.coins) == (1, member[2].sum())


def test_a_pure_bound_is_that_of_the_binomial():
    member = balanced_masks(16, 200, 0)
    found = recipe_epsilon(response(2.0, member, np.random.default_rng(0)), member)
    share = 1 / (1 + exp(-found.epsilon))
    tail = sum(
        comb(found.guesses, k) * share**k * (1 - share) ** (found.guesses - k)
        for k in range(found.right, found.guesses + 1)
    )
    assert tail == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("inclusion", ["half", "coin"])
@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_randomized_response_is_rarely_exceeded_and_nearly_reached(inclusion: str, epsilon: float):
    """Replacing one record changes what two of them say."""
    truth = 2 * epsilon if inclusion == "half" else epsilon
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        member = balanced_masks(8, 200, seed, inclusion=inclusion)
        found.append(
            recipe_epsilon(response(epsilon, member, rng), member, seed=seed, inclusion=inclusion).epsilon
        )
    assert np.mean(np.array(found) > truth) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    if epsilon:
        assert np.median(found) > 0.5 * truth


def test_more_models_prove_more():
    member = balanced_masks(64, 300, 0)
    phi = np.random.default_rng(0).normal(size=member.shape) + 2 * member
    proved = [recipe_epsilon(phi[:n], member[:n]).epsilon for n in (8, 16, 64)]
    assert proved == sorted(proved)
    assert proved[2] > proved[0] + 0.5


def test_a_pair_changes_no_guess_but_its_own_and_later_ones():
    member = balanced_masks(16, 200, 0)
    phi = np.random.default_rng(0).normal(size=member.shape) + member
    right = []
    for sign in (1, -1):  # the last target gives away all its members, or points at all others
        changed = phi.copy()
        changed[14] += sign * 100 * member[14]
        right.append(recipe_epsilon(changed, member))
    assert right[0].right - right[1].right == right[0].guesses / right[0].targets
    assert right[0].guesses == right[1].guesses


def test_the_test_of_a_trade_off_function_on_perfect_privacy_is_stricter_than_the_binomial_s():
    for guesses in (20, 100):
        for right in range(guesses + 1):
            p = stats.binom.sf(right - 1, guesses, 0.5)
            if rejects(lambda x: x, right, guesses, guesses, 0.05):
                assert p <= 0.05
    assert rejects(lambda x: x, 70, 100, 100, 0.05)


@pytest.mark.parametrize("mu", [0.5, 1.0, 3.0])
def test_the_epsilon_of_gaussian_noise_is_the_accountants(mu: float):
    exact = privacy_loss_distribution.from_gaussian_mechanism(1 / mu, value_discretization_interval=1e-4)
    assert epsilon_of_gaussian(mu, 1e-5) == pytest.approx(exact.get_epsilon_for_delta(1e-5), abs=0.01)


def test_a_true_accountant_is_not_contradicted_and_a_forgotten_noise_is():
    member = balanced_masks(16, 400, 0, inclusion="coin")
    noise = np.random.default_rng(0).normal(size=member.shape)
    honest = recipe_epsilon(noise + 1.0 * member, member, delta=1e-5, inclusion="coin")
    leaky = recipe_epsilon(noise + 4.0 * member, member, delta=1e-5, inclusion="coin")
    assert contradicted(honest, CURVE[1.0]) > 0.05
    assert contradicted(leaky, CURVE[0.5]) < 0.001
    assert honest.epsilon < epsilon_of_gaussian(1.0, 1e-5)
    assert leaky.relation == "add or remove one"
    with pytest.raises(ArgumentError, match="delta = 0"):
        contradicted(recipe_epsilon(noise, member, inclusion="coin"), CURVE[1.0])


def test_groups_of_one_are_records_and_whole_groups_are_replaced():
    member = balanced_masks(8, 200, 0)
    phi = np.random.default_rng(0).normal(size=member.shape) + member
    assert recipe_epsilon(phi, member, groups=np.arange(200)) == recipe_epsilon(phi, member)
    groups = np.arange(200) // 4
    visits = balanced_masks(8, 200, 0, groups=groups)
    phi = np.random.default_rng(0).normal(size=visits.shape) + visits
    found = recipe_epsilon(phi, visits, groups=groups)
    assert found.coins == 3 * 25
    assert found.epsilon > recipe_epsilon(phi[:, ::4], visits[:, ::4]).epsilon
    with pytest.raises(ArgumentError, match="one is split between members and others"):
        recipe_epsilon(phi, member, groups=groups)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"delta": 1.0}, "delta must lie in"),
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"inclusion": "die"}, "inclusion must be half or coin"),
        ({"phi": np.full((8, 20), np.nan)}, "phi must not be NaN"),
        ({"member": np.ones((8, 20), bool)}, "two or more pairs of rows"),
        ({"phi": np.zeros((8, 21))}, "are not of the same models"),
    ],
)
def test_what_cannot_be_bounded_is_one_sentence(change: dict, told: str):
    arguments = {"phi": np.zeros((8, 20)), "member": balanced_masks(8, 20, 0)} | change
    with pytest.raises(ArgumentError, match=told):
        recipe_epsilon(arguments.pop("phi"), arguments.pop("member"), **arguments)


def test_answers_of_exactly_0_or_1_are_compared_too():
    member = balanced_masks(16, 200, 0)
    phi = np.random.default_rng(0).normal(size=member.shape) + 3 * member
    phi[:, :40] = np.where(member[:, :40], np.inf, -np.inf)
    found = recipe_epsilon(phi, member)
    assert found.epsilon > recipe_epsilon(phi[:, 40:], member[:, 40:]).epsilon
    assert found == recipe_epsilon(np.clip(phi, -100, 100), member)


def independent(models: int, records: int, seed: int) -> np.ndarray:
    """A random half for every model, drawn by itself."""
    rng = np.random.default_rng(seed)
    return np.array([rng.permutation(records) < records // 2 for _ in range(models)])


@pytest.mark.parametrize("known", [0, 4])
def test_models_with_splits_of_their_own_prove_together(known: int):
    above = []
    for seed in range(200):
        member = independent(8, 200, seed)
        phi = np.random.default_rng(seed).normal(size=member.shape)
        above.append(recipe_epsilon(phi, member, known=known, seed=seed).epsilon > 0)
    assert np.mean(above) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)
    member = independent(24, 400, 0)
    leaky = np.random.default_rng(0).normal(size=member.shape) + 3 * member
    found = recipe_epsilon(leaky, member, known=known)
    assert found.targets == 24 - max(known, 6)
    assert found.epsilon > 2.5


def test_known_models_leave_a_target():
    with pytest.raises(ArgumentError, match="known must leave a target among 8 models"):
        recipe_epsilon(np.zeros((8, 20)), independent(8, 20, 0), known=8)
