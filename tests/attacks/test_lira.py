"""LiRA against its definition, the definition against the reference implementation and numbers by hand."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm

from evidence import random_evidence
from leakgap import ArgumentError
from leakgap.attacks import ATTACKS, gives_away, run, run_all
from leakgap.attacks.lira import leave_one_out
from leakgap.attacks.lira_definition import definition
from leakgap.data.masks import balanced_masks
from leakgap.measure import roc

LARGEST = float(np.finfo(np.float32).max)
CHOICES = [
    (mode, variance, tail)
    for mode, tails in (("online", ("one-sided",)), ("offline", ("one-sided", "two-sided")))
    for variance in ("per-example", "fixed", "within")
    for tail in tails
]


def masks(rng, models, images, kind):
    """Pairs, or any masks with at least three in- and three out-models for each image."""
    if kind == "pairs":
        return balanced_masks(models, images, int(rng.integers(1000)))
    ranks = rng.random((models, images)).argsort(0).argsort(0)
    return ranks < rng.integers(3, models - 2, images)


def assert_is_the_definition(target, shadow, member, mode, variance, tail, left_out=None):
    scores = leave_one_out(target, shadow, member, mode=mode, variance=variance, tail=tail, left_out=left_out)
    assert scores.dtype == np.float32
    if left_out is None:
        left_out = gives_away(member, member)
    expected = np.clip(definition(target, shadow, member, left_out, mode, variance, tail), -LARGEST, LARGEST)
    np.testing.assert_array_equal(np.isnan(scores), np.isnan(expected))
    worst = np.nan_to_num(np.abs(scores - expected) / (1 + np.abs(expected)))
    assert worst.max() < 1e-5, f"{worst.max()} at {np.unravel_index(worst.argmax(), worst.shape)}"
    return scores


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
@pytest.mark.parametrize(
    ("models", "images", "views", "kind", "ties"),
    [
        (6, 30, 1, "pairs", None),
        (8, 30, 2, "pairs", 0),
        (7, 30, 3, "any", 0),
        (10, 25, 2, "any", 1),
        (16, 8, 18, "pairs", 1),
        (257, 2, 1, "any", 2),
    ],
)
@pytest.mark.parametrize("informed", [True, False])
def test_equals_the_definition(models, images, views, kind, ties, informed, mode, variance, tail):
    rng = np.random.default_rng(models * 100 + views)
    shadow = rng.normal(rng.normal(0, 5, (1, images, 1)), 2, (models, images, views))
    target = shadow if informed else rng.normal(0, 5, shadow.shape)
    if ties is not None:
        shadow, target = shadow.round(ties), target.round(ties)
    shadow, target = shadow.astype(np.float32), target.astype(np.float32)
    if informed:
        target = shadow
    scores = assert_is_the_definition(target, shadow, masks(rng, models, images, kind), mode, variance, tail)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
@pytest.mark.parametrize("share", [0.1, 0.4, 0.95])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the definition's, of means of nothing
def test_any_masks_and_any_models_left_out(share, mode, variance, tail):
    """Images in any number of models, none or all; targets other than the models that leave out any of them."""
    rng = np.random.default_rng(5)
    shadow = rng.normal(0, 3, (9, 40, 2)).round(1).astype(np.float32)
    target = rng.normal(0, 3, (12, 40, 2)).astype(np.float32)
    member = rng.random((9, 40)) < share
    left_out = rng.random((12, 9)) < np.repeat([0, 0.1, 0.2, 0.3], 3)[:, None]
    left_out[:3] = left_out[1]
    scores = assert_is_the_definition(target, shadow, member, mode, variance, tail, left_out)
    least = 2 if variance == "per-example" else 1
    kept = (~left_out).astype(int)
    assert kept.sum(1).min() > 2
    enough = kept @ ~member >= least
    if mode == "online":
        enough &= kept @ member >= least
    np.testing.assert_array_equal(np.isfinite(scores), enough)


@pytest.mark.parametrize("variance", ["per-example", "fixed"])
def test_four_masks_leave_one_model_on_either_side(variance):
    """The sd of a single score is 0, by the reference's rule 1e-30: what counts is which of the two is nearer."""
    member = balanced_masks(4, 60, 0)
    shadow = np.random.default_rng(0).normal(0, 3, (4, 60, 1)).astype(np.float32)
    scores = assert_is_the_definition(shadow, shadow, member, "online", variance, "one-sided")
    for t in range(4):
        phi, (one, other) = shadow[t, :, 0], shadow[[2, 3] if t < 2 else [0, 1], :, 0]
        inside, outside = np.where(member[2 if t < 2 else 0], [one, other], [other, one])
        nearer = np.abs(phi - inside) < np.abs(phi - outside)
        np.testing.assert_array_equal(scores[t] > 0, nearer)


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
def test_columns_where_all_scores_but_one_are_equal(mode, variance, tail):
    """Downdating the variance of such a column leaves noise where the definition says exactly 0."""
    rng = np.random.default_rng(3)
    models, images = 12, 40
    shadow = np.repeat(rng.normal(3, 4, (1, images, 2)), models, 0).astype(np.float32)
    shadow[rng.integers(0, models, images), np.arange(images)] += np.float32(1.7)
    shadow[:, :5] = rng.normal(3, 4, (models, 5, 2))
    member = masks(rng, models, images, "pairs")
    for target in (shadow, shadow + np.float32(0.5)):
        scores = assert_is_the_definition(target, shadow, member, mode, variance, tail)
    if variance == "per-example" and (mode, tail) != ("offline", "one-sided"):
        assert np.abs(scores).max() == LARGEST  # the case is as bad as it is meant to be


@pytest.mark.parametrize("variance", ["per-example", "fixed", "within"])
def test_nearly_equal_scores_of_large_size(variance):
    """Neighbouring float32 numbers around 100, one of them far off: no precision to give away."""
    rng = np.random.default_rng(4)
    shadow = (100 + rng.integers(0, 3, (9, 50, 2)) * 2.0**-17).astype(np.float32)
    shadow[rng.integers(0, 9, 50), np.arange(50)] = -40
    assert_is_the_definition(shadow, shadow, masks(rng, 9, 50, "any"), "online", variance, "one-sided")


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
def test_replicates_share_the_models_left_out(mode, variance, tail):
    rng = np.random.default_rng(6)
    shadow = rng.normal(0, 3, (8, 20, 2)).astype(np.float32)
    target = np.concatenate([shadow, rng.normal(0, 3, (3, 20, 2)).astype(np.float32)])
    member = masks(rng, 8, 20, "pairs")
    left_out = gives_away(member[[*range(8), 0, 0, 0]], member)
    scores = assert_is_the_definition(target, shadow, member, mode, variance, tail, left_out)
    alone = leave_one_out(shadow, shadow, member, mode=mode, variance=variance, tail=tail)
    np.testing.assert_allclose(scores[:8], alone, rtol=1e-6)


def test_by_default_rows_that_give_the_mask_away_are_left_out():
    """Nothing that the model of a target's mask or of its complement answers has any part in its score."""
    rng = np.random.default_rng(13)
    phi = rng.normal(0, 3, (8, 30, 1)).astype(np.float32)
    order = rng.permutation(8)
    member = balanced_masks(8, 30, 0)[order]
    target, score = phi.copy(), leave_one_out(phi, phi, member)
    for t in range(8):
        pair = order // 2 == order[t] // 2
        other = phi.copy()
        other[pair] = rng.normal(0, 9, other[pair].shape)
        changed = leave_one_out(target, other, member)
        np.testing.assert_array_equal(changed[t], score[t])
        assert (changed[~pair] != score[~pair]).any()


def test_blocks_of_images_make_no_difference(monkeypatch):
    rng = np.random.default_rng(6)
    shadow = rng.normal(0, 3, (8, 50, 2)).astype(np.float32)
    member = masks(rng, 8, 50, "any")
    whole = [leave_one_out(shadow, shadow, member, variance=v) for v in ("per-example", "fixed", "within")]
    monkeypatch.setattr("leakgap.attacks.lira.BLOCK", 8 * 2 * 7)
    parts = [leave_one_out(shadow, shadow, member, variance=v) for v in ("per-example", "fixed", "within")]
    np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-6)


def reference(keep, scores, check_scores, fix_variance, online):
    """The reference's algorithm for one target; with the equal counts of this test it cuts no in- or out-set."""
    inside = np.array([scores[keep[:, j], j] for j in range(scores.shape[1])])
    outside = np.array([scores[~keep[:, j], j] for j in range(scores.shape[1])])
    if online:
        sd_in, sd_out = (inside.std(),) * 2 if fix_variance else (inside.std(1), outside.std(1))
        less = -norm.logpdf(check_scores, np.median(inside, 1), sd_in + 1e-30)
        return -(less + norm.logpdf(check_scores, np.median(outside, 1), sd_out + 1e-30)).mean(1)
    sd_out = outside.std() if fix_variance else outside.std(1)
    return -norm.logpdf(check_scores, np.median(outside, 1), sd_out + 1e-30).mean(1)  # its sweep negates, too


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("variance", ["per-example", "fixed"])
def test_agrees_with_the_reference_implementation(online, variance):
    rng = np.random.default_rng(7)
    scores = rng.normal(2, 3, (11, 30, 2)).astype(np.float32)
    keep = np.vstack([rng.random(30) < 0.5, balanced_masks(10, 30, 0)])
    expected = reference(keep[1:], scores[1:].astype(np.float64), scores[0], variance == "fixed", online)
    options = {"mode": "online"} if online else {"mode": "offline", "tail": "two-sided"}
    left_out = np.arange(11)[None] == 0
    for function in (leave_one_out, definition):
        got = function(scores[:1], scores, keep, left_out=left_out, variance=variance, **options)
        np.testing.assert_allclose(got, expected[None], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", [leave_one_out, definition])
def test_literal_values(function):
    """Target 0 with phi 2, in-scores 1 and 3, out-scores 0 and 2: medians 2 and 1, standard deviations 1."""
    shadow = np.array([2, 1, 3, 0, 2], np.float32).reshape(5, 1, 1)
    member = np.array([0, 1, 1, 0, 0], bool).reshape(5, 1)
    target, left_out = shadow[:1], np.array([[True, False, False, False, False]])
    assert function(target, shadow, member, left_out=left_out) == pytest.approx(0.5)
    offline = function(target, shadow, member, mode="offline", left_out=left_out)
    assert offline == pytest.approx(np.log(0.8413447), abs=1e-6)  # log Phi(1)
    offline = function(target, shadow, member, mode="offline", tail="two-sided", left_out=left_out)
    assert offline == pytest.approx(0.5 + 0.5 * np.log(2 * np.pi))
    # within: 2 + 2 squares over 1 + 1 degrees of freedom of each side, sd sqrt(2)
    within = function(target, shadow, member, variance="within", left_out=left_out)
    assert within == pytest.approx(0.25)
    # fixed: of both in-scores, 1 and 3, sd 1
    assert function(target, shadow, member, variance="fixed", left_out=left_out) == pytest.approx(0.5)


def test_higher_means_member():
    rng = np.random.default_rng(8)
    member = balanced_masks(32, 200, 8)
    shadow = (rng.normal(0, 1, (32, 200, 1)) + 3 * member[..., None]).astype(np.float32)
    for mode, variance, tail in CHOICES:
        scores = leave_one_out(shadow, shadow, member, mode=mode, variance=variance, tail=tail)
        assert np.median(scores[member]) > np.median(scores[~member]) + 0.3, (mode, variance, tail)


def test_reserved_images_are_skipped():
    rng = np.random.default_rng(9)
    shadow = rng.normal(0, 3, (6, 30, 1)).astype(np.float32)
    reserved = np.arange(30) % 4 == 1
    member = balanced_masks(6, 30, 9) & ~reserved
    for variance in ("per-example", "fixed", "within"):
        scores = leave_one_out(shadow, shadow, member, variance=variance, reserved=reserved)
        rest = np.ascontiguousarray(shadow[:, ~reserved])
        assert np.isnan(scores[:, reserved]).all()
        np.testing.assert_array_equal(
            scores[:, ~reserved], leave_one_out(rest, rest, member[:, ~reserved], variance=variance)
        )
    assert np.isfinite(leave_one_out(shadow, shadow, member, mode="offline")).all()


def break_(what):
    rng = np.random.default_rng(10)
    shadow = rng.normal(0, 3, (6, 30, 2)).astype(np.float32)
    member = masks(rng, 6, 30, "pairs")
    target, options = shadow.copy(), {}
    if what == "nan":
        shadow[3, 17, 1] = np.nan
    elif what == "inf":
        target[2, 11, 0] = np.inf
    elif what == "int member":
        member = member.astype(int)
    elif what == "views":
        target = target[..., :1]
    elif what == "images":
        target = target[:, :29]
    elif what == "models":
        target = target[:5]
    elif what == "flat":
        target, shadow = target[0, :, 0], shadow[0, :, 0]
    elif what == "member shape":
        member = member[:, :29]
    elif what == "left out":
        options = {"left_out": np.eye(6)}
    elif what == "left out shape":
        options = {"left_out": np.eye(6, dtype=bool)[:5]}
    elif what == "option":
        options = {"variance": "none"}
    return lambda: leave_one_out(target, shadow, member, **options)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan", "shadow phi of model 3 is NaN or infinite at image 17"),
        ("inf", "target phi of model 2 is NaN or infinite at image 11"),
        ("int member", "member must be boolean, not int64"),
        ("views", r"axis 2 \(views\) differs: 1 in target and 2 in shadow"),
        ("images", r"axis 1 \(images\) differs: 29 in target and 30 in shadow"),
        ("models", r"axis 0 \(models\) differs: 5 in target and 6 in shadow"),
        ("flat", "phi must be .models, images, views."),
        ("member shape", r"member must have shape \[6, 30\], not \[6, 29\]"),
        ("left out", "left_out must be boolean, not float64"),
        ("left out shape", r"left_out must have shape \[6, 6\], not \[5, 6\]"),
        ("option", "variance must be one of per-example, fixed, within, pooled, not 'none'"),
    ],
)
def test_bad_input_is_one_clear_sentence(what, message):
    with pytest.raises(ValueError, match=message):
        break_(what)()


def test_memory_is_bounded():
    rng = np.random.default_rng(11)
    shadow = rng.standard_normal((32, 60_000, 2), dtype=np.float32)
    member = balanced_masks(32, 60_000, 11)
    for variance in ("per-example", "fixed", "within"):
        tracemalloc.start()
        leave_one_out(shadow, shadow, member, variance=variance)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * shadow.nbytes, variance  # and phi itself makes three


def test_registered_attacks_are_the_function_with_its_options():
    known, _ = random_evidence(targets="paired", seed=12)
    seen = set()
    for name in (name for name in ATTACKS if name.startswith("lira-") and name != "lira-steps"):
        _, mode, *rest = name.replace("lira-pooled", "lira-online-pooled").split("-")
        tail = "two-sided" if "two" in rest else "one-sided"
        variance = rest[0] if rest and "two" not in rest else "per-example"
        expected = leave_one_out(
            known.target, known.shadow, known.member, mode=mode, variance=variance, tail=tail,
            left_out=known.left_out, reserved=known.reserved,
        )  # fmt: skip
        score = run(name, known)
        np.testing.assert_array_equal(score, expected)
        seen.add(score[0, ~known.reserved][0].item())
    assert len(seen) == 8


def test_attacks_that_share_their_work_score_as_each_alone():
    evidence, _ = random_evidence(targets="replicates")
    names = [name for name in ATTACKS if "lira" in name]
    for name, score in run_all(names, evidence).items():
        np.testing.assert_array_equal(score, run(name, evidence))


def test_one_view_may_have_no_axis_of_its_own():
    member = balanced_masks(8, 60, seed=0)
    phi = np.random.default_rng(0).normal(member, 1)
    np.testing.assert_array_equal(
        leave_one_out(phi, phi, member), leave_one_out(phi[..., None], phi[..., None], member)
    )


@pytest.mark.parametrize(
    ("mode", "tail"), [("online", "one-sided"), ("offline", "one-sided"), ("offline", "two-sided")]
)
def test_single_models_have_no_spread_to_pool(mode, tail):
    """With two shadow models `within` was a deviation of 0: every score the largest number, or the least."""
    member = balanced_masks(4, 2000, 0)
    rng = np.random.default_rng(0)
    phi = (rng.normal(0, 3, 2000) + 4 * member + rng.normal(size=member.shape))[..., None].astype(np.float32)
    score = assert_is_the_definition(phi, phi, member, mode, "within", tail)
    assert len(np.unique(score[0])) > 1000
    if mode == "online":
        fixed = leave_one_out(phi, phi, member, variance="fixed")
        rates = [roc.tpr_at_fpr(each, member, 0.01) for each in (score, fixed)]
        assert rates[0] == pytest.approx(rates[1], abs=1e-3)
        assert rates[0] > 0.5


def test_no_model_is_one_sentence():
    with pytest.raises(ArgumentError, match=r"shadow must hold a model and a record at least, not \[0, 10\]"):
        leave_one_out(np.zeros((0, 10)), np.zeros((0, 10)), np.zeros((0, 10), bool))
