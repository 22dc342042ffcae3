"""The bound of epsilon against mechanisms of known epsilon, the closed form, and figures printed in the paper."""

import math

import numpy as np
import pytest
from scipy import stats

from leakgap import LeakgapError
from leakgap.measure import epsilon
from leakgap.measure.epsilon import (
    epsilon_lower_bound,
    epsilon_of,
    guesses_for,
    largest_epsilon,
    random_matches,
    right_guesses,
)


def half(rng, images=200):
    return rng.permutation(images) < images // 2


def at_most(count, runs, rate):
    """Whether so many events in so many runs are compatible with a rate of at most `rate` (false alarm 1e-4)."""
    return stats.binom.sf(count - 1, runs, rate) > 1e-4


def matched_scores(right, guesses, rest=60):
    """Scores whose matches are known beforehand whatever the matching: `right` of the `guesses` best are right.

    Members score 0 or +-1000 (each alone in its size), non-members 0: a match differs by its member's score.
    """
    size = 1000.0 + np.arange(guesses)
    members = np.r_[np.where(np.arange(guesses) < right, size, -size), np.full(rest, 0.5)]
    return np.r_[members, np.zeros(len(members))], np.arange(2 * len(members)) < len(members)


@pytest.mark.parametrize("ties", [False, True])
def test_noise_bounds_zero(ties):
    above = 0
    for seed in range(500):
        rng = np.random.default_rng(seed)
        score = rng.normal(size=200)
        above += epsilon_lower_bound(score.round() if ties else score, half(rng), guesses=40, seed=seed) > 0
    assert at_most(above, 500, 0.05)


@pytest.mark.parametrize("true", [0.5, 2.0])
@pytest.mark.parametrize("guesses", [40, 300])
def test_randomized_response_is_not_exceeded(true, guesses):
    """Every match's coin is answered truly with e^eps / (1 + e^eps): exactly epsilon-private, the worst case."""
    above, bounds = 0, []
    for run in range(500):
        rng = np.random.default_rng(run)
        member = half(rng, 600)
        inside, outside = random_matches(member, run)
        truly = rng.random(300) < 1 / (1 + np.exp(-true))
        score = np.zeros(600)
        score[inside], score[outside] = truly, ~truly
        bounds.append(epsilon_lower_bound(score, member, guesses=guesses, seed=run))
        above += bounds[-1] > true
    assert at_most(above, 500, 0.05)
    assert np.mean(bounds) > true - 3 / np.sqrt(guesses * np.exp(-true)), "and the bound says something"


def test_equal_scores_are_guessed_by_a_fair_coin():
    """Half a point for a tie, or a tie won, would call constant scores a leak in many of the runs."""
    member = np.arange(2000) < 1000
    bounds = [epsilon_lower_bound(np.zeros(2000), member, guesses=1000, seed=s) for s in range(200)]
    assert at_most(np.count_nonzero(bounds), 200, 0.05)
    assert np.count_nonzero(bounds) > 0, "a coin does win now and then"


def test_a_strong_leak_is_seen():
    rng = np.random.default_rng(0)
    member = half(rng, 2000)
    score = rng.normal(size=2000) + 3 * member
    assert epsilon_lower_bound(score, member, guesses=64) > 2.5
    assert epsilon_lower_bound(-score, member, guesses=64) == 0


@pytest.mark.parametrize(("right", "guesses"), [(39, 40), (40, 40), (30, 40), (64, 80), (21, 40), (3, 40)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_without_delta_it_is_clopper_and_pearsons_bound(right, guesses, level):
    score, member = matched_scores(right, guesses)
    share = stats.binomtest(right, guesses, alternative="greater").proportion_ci(level).low
    exact = max(0.0, np.log(share / (1 - share)))
    found = epsilon_lower_bound(score, member, guesses=guesses, level=level)
    assert exact - 1e-8 < found <= exact + 1e-12  # never rounded up


def test_39_of_40():
    score, member = matched_scores(39, 40)
    assert 2.0585 < epsilon_lower_bound(score, member, guesses=40) < 2.0586


@pytest.mark.parametrize("images", [(1000, 40), (40, 1000)])
def test_unequal_numbers_of_members_and_non_members(images):
    inside, outside = images
    score = np.r_[np.arange(inside) + 1e6, np.arange(outside)]
    assert epsilon_lower_bound(score, np.arange(inside + outside) < inside, guesses=40) == pytest.approx(
        np.log(0.05 ** (1 / 40) / (1 - 0.05 ** (1 / 40)))
    )
    with pytest.raises(LeakgapError, match="41 is not between 1 and the 40 matches"):
        epsilon_lower_bound(score, np.arange(inside + outside) < inside, guesses=41)


def theorem(eps, right, guesses, matches, delta):
    """Theorem 5.2 word for word, summing probabilities one by one."""
    share = np.exp(eps) / (1 + np.exp(eps))
    w = [stats.binom.pmf(k, guesses, share) for k in range(guesses + 1)]
    slack = max((sum(w[right - i : right]) / i for i in range(1, right + 1)), default=0.0)
    return min(1.0, sum(w[right:]) + 2 * matches * delta * slack)


@pytest.mark.parametrize("delta", [0.0, 1e-6, 1e-4, 0.01])
@pytest.mark.parametrize(
    ("right", "guesses", "matches"), [(75, 100, 1000), (39, 40, 300), (0, 5, 9), (8, 8, 8)]
)
def test_p_value_is_the_theorem(right, guesses, matches, delta):
    for eps in (0.0, 0.3, 1.0, 4.0):
        found = epsilon.p_value(eps, right, guesses, matches, delta)
        assert found == pytest.approx(theorem(eps, right, guesses, matches, delta), rel=1e-9)


def test_the_papers_own_example():
    """Appendix D: 75 of 100 guesses right among 1,000 examples, delta 1e-4: epsilon is at least 0.673."""
    score, member = matched_scores(75, 100, rest=900)
    assert epsilon_lower_bound(score, member, guesses=100, delta=1e-4) == pytest.approx(0.673, abs=5e-4)
    assert epsilon_lower_bound(score, member, guesses=100) > 0.673


def test_a_failure_probability_is_paid_for():
    """(0, delta)-private: each coin is given away with probability delta, else nothing is."""
    delta, above, unpaid = 0.02, 0, 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        member = half(rng, 400)
        score = rng.random(400) + 10 * (member & (rng.random(400) < delta))
        above += epsilon_lower_bound(score, member, guesses=20, delta=delta, seed=seed) > 0
        unpaid += epsilon_lower_bound(score, member, guesses=5, seed=seed) > 0
    assert at_most(above, 300, 0.05)
    assert not at_most(unpaid, 300, 0.05), "without delta the same mechanism has no finite epsilon"


@pytest.mark.parametrize("members", [3, 50, 90])
def test_matches_are_random_and_of_both_kinds(members):
    member = np.arange(100) < members
    inside, outside = random_matches(member, 0)
    assert member[inside].all()
    assert not member[outside].any()
    assert len(set(inside)) == len(set(outside)) == len(inside) == min(members, 100 - members)
    firsts = [random_matches(member, seed)[0][0] for seed in range(2000)]
    assert stats.chisquare(np.bincount(firsts, minlength=members)).pvalue > 1e-4


def test_matching_is_the_seeds_and_scores_may_be_infinite():
    rng = np.random.default_rng(1)
    member = half(rng)
    score = rng.normal(size=200) + member
    found = {epsilon_lower_bound(score, member, guesses=30, seed=seed) for seed in range(8)}
    assert len(found) > 1
    assert epsilon_lower_bound(score, member, guesses=30) == epsilon_lower_bound(score, member, guesses=30)
    score[member], score[~member] = np.inf, -np.inf
    assert epsilon_lower_bound(score, member, guesses=30) > 2
    assert epsilon_lower_bound(np.full(200, np.inf), member, guesses=30) < 1


def test_a_recipe_is_bounded_by_its_worst_model_at_a_corrected_level():
    rng = np.random.default_rng(2)
    member = np.stack([half(rng) for _ in range(5)])
    score = rng.normal(size=(5, 200)) + 3 * member * (np.arange(5) == 3)[:, None]
    alone = [
        epsilon_lower_bound(s, m, guesses=40, level=0.99, seed=k)
        for k, (s, m) in enumerate(zip(score, member, strict=True))
    ]
    assert largest_epsilon(score, member, guesses=40) == pytest.approx(max(alone)) == pytest.approx(alone[3])
    above = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        member = np.stack([half(rng) for _ in range(8)])
        above += largest_epsilon(rng.normal(size=(8, 200)), member, guesses=40) > 0
    assert at_most(above, 200, 0.05)


def test_default_number_of_guesses():
    assert [guesses_for(m) for m in (1, 2, 100, 25_000)] == [1, 2, 20, 317]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guesses": 0}, "guesses: 0 is not between 1 and the 5 matches"),
        ({"guesses": 6}, "guesses: 6 is not between"),
        ({"member": np.ones(10, bool)}, "the 0 matches"),
        ({"member": np.ones(10)}, "float64"),
        ({"score": np.zeros(9)}, r"\(9,\)"),
        ({"score": np.r_[np.nan, np.zeros(9)]}, "1 of 10 are NaN"),
        ({"delta": 1.0}, "delta must lie in"),
        ({"level": 1.0}, "level must lie between"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message):
    call = {"score": np.zeros(10), "member": np.arange(10) < 5, "guesses": 3} | change
    with pytest.raises(LeakgapError, match=message):
        epsilon_lower_bound(call.pop("score"), call.pop("member"), **call)


def test_no_guess_is_made_on_an_abstention_and_the_others_count():
    """Half of the records have no score; where all others are told apart, all guesses are right."""
    member = np.arange(400) < 200
    score = np.where(member, 1.0, 0.0)
    known = np.random.default_rng(0).random(400) < 0.5
    inside, outside = random_matches(member, 5)
    told = int((known[inside] & known[outside]).sum())
    partly = np.where(known, score, np.nan)
    assert told < 60
    assert right_guesses(score, member, 60, seed=5) == (60, 60)
    assert right_guesses(partly, member, 60, seed=5) == (told, told)
    assert right_guesses(partly, member, told // 2, seed=5) == (told // 2, told // 2)
    assert largest_epsilon(partly[None], member[None], guesses=60, seed=5) == epsilon_of(told, told, 200)
    assert largest_epsilon(np.full((1, 400), np.nan), member[None], guesses=60) == 0


@pytest.mark.parametrize("bad", [{"guesses": 0}, {"guesses": 21}, {"delta": 1.0}, {"level": 1.0}])
def test_a_recipe_s_bound_refuses_what_a_target_s_does(bad: dict):
    score, member, options = np.zeros(40), np.arange(40) < 20, {"guesses": 5} | bad
    with pytest.raises(LeakgapError) as alone:
        epsilon_lower_bound(score, member, **options)
    with pytest.raises(LeakgapError) as recipe:
        largest_epsilon(score[None], member[None], **options)
    assert str(recipe.value) == str(alone.value)


def test_guesses_are_learned_on_shadow_models_alone():
    """The number that would have proved most on the shadow models, each bounded by itself."""
    rng = np.random.default_rng(3)
    member = rng.random((6, 1200)) < 0.5
    for strength in (0.5, 1.5, 4.0):
        score = rng.normal(size=member.shape) + strength * member
        learned = epsilon.learned_guesses(score, member, 500)
        tried = [min(500, math.ceil(times * math.sqrt(500))) for times in (1, 2, 4, 8, 16)]
        mean = {
            c: np.mean(
                [
                    epsilon_lower_bound(s, m, guesses=c, seed=n)
                    for n, (s, m) in enumerate(zip(score, member, strict=True))
                ]
            )
            for c in tried
        }
        assert learned in tried
        assert mean[learned] >= 0.7 * max(mean.values())
    assert epsilon.learned_guesses(np.full((6, 1200), np.nan), member, 500) == guesses_for(500)
    assert epsilon.learned_guesses(rng.normal(size=(2, 40)), np.ones((2, 40), bool), 20) == guesses_for(20)


@pytest.mark.parametrize("level", [1e-17, 1e-300])
def test_a_level_near_0_ends(level):
    score, member = matched_scores(40, 40)
    assert epsilon_lower_bound(score, member, guesses=40) < epsilon_lower_bound(
        score, member, guesses=40, level=level
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"level": 95}, "level must lie between 0 and 1"),
        ({"level": 1}, "level must lie between 0 and 1"),
        ({"guesses": 40.0}, "guesses must be a whole number"),
        ({"guesses": 0}, "0 is not between 1 and"),
        ({"delta": "x"}, "delta must lie in"),
        ({"seed": 1.5}, "seed must be a whole number"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(change, told):
    score, member = matched_scores(40, 40)
    with pytest.raises(LeakgapError, match=told):
        epsilon_lower_bound(score, member, **({"guesses": 40} | change))
