"""LiRA against a naive loop over its definition, and against the reference implementation's semantics."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import norm

from leakgap.attacks import ATTACKS, Evidence, run
from leakgap.attacks.lira import leave_one_out

LARGEST = float(np.finfo(np.float32).max)
CHOICES = [
    (mode, variance, tail)
    for mode, tails in (("online", ("one-sided",)), ("offline", ("one-sided", "two-sided")))
    for variance in ("per-example", "fixed", "within")
    for tail in tails
]


def naive(target, shadow, member, exclude, mode, variance, tail, even=False):
    """The definition, one target, image and view at a time."""
    target, shadow = target.astype(np.float64), shadow.astype(np.float64)
    scores = np.zeros(target.shape[:2])
    for t, left_out in enumerate(exclude):
        rows = np.delete(np.arange(len(shadow)), left_out)
        phi, inside = shadow[rows], member[rows]
        images, views = range(phi.shape[1]), range(phi.shape[2])

        def side(x, v, kept, phi=phi, inside=inside):
            return phi[inside[:, x] == kept, x, v]

        def pooled(kept, side=side, images=images, views=views):
            groups = [side(x, v, kept) for x in images for v in views]
            if variance == "fixed":
                return np.std(np.concatenate(groups))
            squares = sum(((g - g.mean()) ** 2).sum() for g in groups)
            return np.sqrt(squares / max(sum(len(g) - 1 for g in groups), 1))

        sds = {}
        if variance == "fixed":
            sds = dict.fromkeys((True, False), pooled(mode == "online"))
        elif variance == "within":
            sds = {kept: pooled(kept) for kept in ((True, False) if mode == "online" else (False,))}
        for x in images:
            terms = []
            for v in views:

                def fit(kept, x=x, v=v, side=side, sds=sds, own=member[left_out, x]):
                    values = side(x, v, kept)
                    values = values[:-1] if even and kept != own else values
                    location = values.mean() if variance == "within" else np.median(values)
                    return location, (values.std() if variance == "per-example" else sds[kept]) + 1e-30

                y = target[t, x, v]
                if mode == "online":
                    terms.append(norm.logpdf(y, *fit(True)) - norm.logpdf(y, *fit(False)))
                elif tail == "two-sided":
                    terms.append(-norm.logpdf(y, *fit(False)))
                else:
                    terms.append(norm.logcdf(y, *fit(False)))
            scores[t, x] = np.clip(np.mean(terms), -LARGEST, LARGEST)
    return scores


def masks(rng, models, images, balanced):
    """Balanced masks, or any with at least two in- and two out-models for each image (some with just two)."""
    ranks = rng.random((models, images)).argsort(0).argsort(0)
    inside = np.full(images, models // 2) if balanced else rng.integers(2, models - 1, images)
    return ranks < inside


def assert_close(scores, expected):
    assert scores.dtype == np.float32
    worst = np.abs(scores - expected) / (1 + np.abs(expected))
    assert worst.max() < 1e-5, f"{worst.max()} at {np.unravel_index(worst.argmax(), worst.shape)}"


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
@pytest.mark.parametrize(
    ("models", "images", "views", "balanced", "ties"),
    [
        (4, 30, 1, True, None),
        (5, 30, 3, False, 0),
        (7, 25, 2, False, 1),
        (16, 8, 18, True, 1),
        (257, 2, 1, False, 2),
    ],
)
@pytest.mark.parametrize("informed", [True, False])
def test_equals_the_definition(models, images, views, balanced, ties, informed, mode, variance, tail):
    rng = np.random.default_rng(models * 100 + views)
    shadow = rng.normal(rng.normal(0, 5, (1, images, 1)), 2, (models, images, views))
    target = shadow if informed else rng.normal(0, 5, shadow.shape)
    if ties is not None:
        shadow, target = shadow.round(ties), target.round(ties)
    shadow, target = shadow.astype(np.float32), target.astype(np.float32)
    if informed:
        target = shadow
    member = masks(rng, models, images, balanced)
    scores = leave_one_out(target, shadow, member, mode=mode, variance=variance, tail=tail)
    assert_close(scores, naive(target, shadow, member, np.arange(models), mode, variance, tail))


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
def test_columns_where_all_scores_but_one_are_equal(mode, variance, tail):
    """Downdating the variance of such a column leaves noise where the definition says exactly 0."""
    rng = np.random.default_rng(3)
    models, images = 12, 40
    shadow = np.repeat(rng.normal(3, 4, (1, images, 2)), models, 0).astype(np.float32)
    shadow[rng.integers(0, models, images), np.arange(images)] += np.float32(1.7)
    shadow[:, :5] = rng.normal(3, 4, (models, 5, 2))
    member = masks(rng, models, images, True)
    for target in (shadow, shadow + np.float32(0.5)):
        expected = naive(target, shadow, member, np.arange(models), mode, variance, tail)
        scores = leave_one_out(target, shadow, member, mode=mode, variance=variance, tail=tail)
        assert_close(scores, expected)
    if variance == "per-example" and (mode, tail) != ("offline", "one-sided"):
        assert np.abs(scores).max() == LARGEST  # the case is as bad as it is meant to be


@pytest.mark.parametrize("variance", ["per-example", "fixed", "within"])
def test_nearly_equal_scores_of_large_size(variance):
    """Neighbouring float32 numbers around 100, one of them far off: no precision to give away."""
    rng = np.random.default_rng(4)
    shadow = (100 + rng.integers(0, 3, (9, 50, 2)) * 2.0**-17).astype(np.float32)
    shadow[rng.integers(0, 9, 50), np.arange(50)] = -40
    member = masks(rng, 9, 50, False)
    expected = naive(shadow, shadow, member, np.arange(9), "online", variance, "one-sided")
    assert_close(leave_one_out(shadow, shadow, member, variance=variance), expected)


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
def test_replicates_and_other_exclusions(mode, variance, tail):
    rng = np.random.default_rng(5)
    shadow = rng.normal(0, 3, (8, 20, 2)).astype(np.float32)
    target = rng.normal(0, 3, (3, 20, 2)).astype(np.float32)
    member = masks(rng, 8, 20, True)
    for exclude in (np.array([0, 0, 0]), np.array([5, 1, 7])):
        scores = leave_one_out(
            target, shadow, member, mode=mode, variance=variance, tail=tail, exclude=exclude
        )
        assert_close(scores, naive(target, shadow, member, exclude, mode, variance, tail))


@pytest.mark.parametrize(("mode", "variance", "tail"), CHOICES)
@pytest.mark.parametrize("models", [6, 7])
def test_even_leaves_the_last_of_the_other_side_out(models, mode, variance, tail):
    rng = np.random.default_rng(13)
    shadow = rng.normal(0, 3, (models, 40, 2)).round(1).astype(np.float32)
    shadow[:, 20:] = shadow[0, 20:]
    shadow[rng.integers(0, models, 20), np.arange(20, 40)] += 1
    member = masks(rng, models, 40, True)
    for target, exclude in ((shadow, np.arange(models)), (shadow[:3] + np.float32(0.5), np.array([0, 4, 0]))):
        options = {"mode": mode, "variance": variance, "tail": tail, "even": True}
        scores = leave_one_out(target, shadow, member, exclude=exclude, **options)
        assert_close(scores, naive(target, shadow, member, exclude, **options))


def test_blocks_of_images_make_no_difference(monkeypatch):
    rng = np.random.default_rng(6)
    shadow = rng.normal(0, 3, (6, 50, 2)).astype(np.float32)
    member = masks(rng, 6, 50, True)
    whole = [leave_one_out(shadow, shadow, member, variance=v) for v in ("per-example", "fixed", "within")]
    monkeypatch.setattr("leakgap.attacks.lira.BLOCK", 6 * 2 * 7)
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
    keep = np.vstack([rng.random(30) < 0.5, masks(rng, 10, 30, True)])
    expected = reference(keep[1:], scores[1:].astype(np.float64), scores[0], variance == "fixed", online)
    options = {"mode": "online"} if online else {"mode": "offline", "tail": "two-sided"}
    got = leave_one_out(scores[:1], scores, keep, variance=variance, exclude=np.array([0]), **options)
    assert_close(got, expected[None])


def test_literal_values():
    """Target 0 with phi 2, in-scores 1 and 3, out-scores 0 and 2: medians 2 and 1, standard deviations 1."""
    shadow = np.array([2, 1, 3, 0, 2], np.float32).reshape(5, 1, 1)
    member = np.array([0, 1, 1, 0, 0], bool).reshape(5, 1)
    target, only = shadow[:1], np.array([0])
    assert leave_one_out(target, shadow, member, exclude=only) == pytest.approx(0.5)
    offline = leave_one_out(target, shadow, member, mode="offline", exclude=only)
    assert offline == pytest.approx(np.log(0.8413447), abs=1e-6)  # log Phi(1)
    offline = leave_one_out(target, shadow, member, mode="offline", tail="two-sided", exclude=only)
    assert offline == pytest.approx(0.5 + 0.5 * np.log(2 * np.pi))


def test_higher_means_member():
    rng = np.random.default_rng(8)
    member = masks(rng, 32, 200, True)
    shadow = (rng.normal(0, 1, (32, 200, 1)) + 3 * member[..., None]).astype(np.float32)
    for mode, variance, tail in CHOICES:
        scores = leave_one_out(shadow, shadow, member, mode=mode, variance=variance, tail=tail)
        assert np.median(scores[member]) > np.median(scores[~member]) + 0.3, (mode, variance, tail)


def test_reserved_images_are_skipped():
    rng = np.random.default_rng(9)
    shadow = rng.normal(0, 3, (6, 30, 1)).astype(np.float32)
    reserved = np.arange(30) % 4 == 1
    member = masks(rng, 6, 30, True) & ~reserved
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
    member = masks(rng, 6, 30, True)
    target, options = shadow.copy(), {}
    if what == "nan":
        shadow[3, 17, 1] = np.nan
    elif what == "inf":
        target[2, 11, 0] = np.inf
    elif what == "no in-model":
        member[:, 5] = False
    elif what == "one in-model":
        member[:, 6] = [0, 1, 0, 0, 0, 0]
    elif what == "no out-model":
        member[:, 7] = True
    elif what == "int member":
        member = member.astype(int)
    elif what == "views":
        target = target[..., :1]
    elif what == "images":
        target = target[:, :29]
    elif what == "models":
        target = target[:5]
    elif what == "flat":
        target, shadow = target[..., 0], shadow[..., 0]
    elif what == "member shape":
        member = member[:, :29]
    elif what == "exclude":
        options = {"exclude": np.array([0, 1, 2, 3, 4, 6])}
    elif what == "option":
        options = {"variance": "none"}
    return lambda: leave_one_out(target, shadow, member, **options)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan", "shadow phi of model 3 is NaN or infinite at image 17"),
        ("inf", "target phi of model 2 is NaN or infinite at image 11"),
        ("no in-model", "image 5 has no in-model"),
        ("one in-model", "image 6 has no in-model besides those left out"),
        ("no out-model", "image 7 has no out-model"),
        ("int member", "member must be boolean, not int64"),
        ("views", r"axis 2 \(views\) differs: 1 in target and 2 in shadow"),
        ("images", r"axis 1 \(images\) differs: 29 in target and 30 in shadow"),
        ("models", r"axis 0 \(models\) differs: 5 in target and 6 in shadow"),
        ("flat", "phi must be .models, images, views."),
        ("member shape", r"member must have shape \[6, 30\], not \[6, 29\]"),
        ("exclude", "exclude must hold rows of shadow, integers from 0 to 5"),
        ("option", "variance must be one of per-example, fixed, within, not 'none'"),
    ],
)
def test_bad_input_is_one_clear_sentence(what, message):
    with pytest.raises(ValueError, match=message):
        break_(what)()


def test_memory_is_bounded():
    rng = np.random.default_rng(11)
    shadow = rng.standard_normal((32, 60_000, 2), dtype=np.float32)
    member = masks(rng, 32, 60_000, True)
    for variance in ("per-example", "fixed", "within"):
        tracemalloc.start()
        leave_one_out(shadow, shadow, member, variance=variance)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * shadow.nbytes, variance  # and phi itself makes three


def test_registered_attacks_are_the_function_with_its_options():
    rng = np.random.default_rng(12)
    shadow = rng.normal(0, 3, (8, 40, 2)).astype(np.float32)
    reserved = np.arange(40) < 5
    member = masks(rng, 8, 40, True) & ~reserved
    target, exclude = shadow[::2] + np.float32(1), np.arange(0, 8, 2)
    evidence = Evidence(target, shadow, member, exclude, np.zeros(40, int), reserved)
    seen = set()
    for name in (name for name in ATTACKS if name.startswith("lira-")):
        _, mode, *rest = name.split("-")
        tail = "two-sided" if "two" in rest else "one-sided"
        variance = rest[0] if rest and "two" not in rest else "per-example"
        options = {"mode": mode, "variance": variance, "tail": tail, "even": True}
        expected = leave_one_out(target, shadow, member, exclude=exclude, reserved=reserved, **options)
        np.testing.assert_array_equal(run(name, evidence), expected)
        seen.add(expected[0, 10].item())
    assert len(seen) == 7
