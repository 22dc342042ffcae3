"""lira-steps against its definition, and what several steps are worth where they tell different things."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from evidence import random_evidence
from leakgap.attacks import run
from leakgap.attacks.steps import SHRINK
from leakgap.measure import roc


def with_steps(known, count=2, seed=0, noise=0.5):
    """Earlier steps: the last one and noise of their own."""
    rng = np.random.default_rng(seed)

    def earlier(phi):
        drawn = phi[:, None, :, 0] + rng.normal(0, noise, (len(phi), count, phi.shape[1]))
        return drawn.astype(np.float32)

    shadow = earlier(known.shadow)
    target = shadow if known.target is known.shadow else earlier(known.target)
    return replace(known, target_earlier=target, shadow_earlier=shadow)


def naive(known, t):
    """One target's scores by the definition: [S]."""
    models = ~known.left_out[t]
    x = np.concatenate([known.shadow_earlier, known.shadow[:, None, :, 0]], 1)[models].astype(
        float
    )  # [n,K,S]
    y = np.concatenate([known.target_earlier[t], known.target[t, None, :, 0]]).astype(float)
    member, images = known.member[models], np.flatnonzero(~known.reserved)
    scores = np.zeros(known.shadow.shape[1])
    for side, sign in ((True, 1), (False, -1)):
        on = member == side
        whole = [image for image in images if on[:, image].sum() > 1]
        groups = [x[on[:, image]][:, :, image] for image in whole]
        squares = sum((group - group.mean(0)).T @ (group - group.mean(0)) for group in groups)
        covariance = squares / sum(len(group) - 1 for group in groups)
        covariance = (1 - SHRINK) * covariance + SHRINK * np.diag(np.diag(covariance))
        density = np.full(len(scores), np.nan)
        for image, group in zip(whole, groups, strict=True):
            density[image] = multivariate_normal(group.mean(0), covariance).logpdf(y[:, image])
        scores += sign * density
    return scores


@pytest.mark.parametrize("masks", ["pairs", "random"])
@pytest.mark.parametrize("targets", ["shadows", "outside"])
def test_scores_are_the_definition(targets, masks):
    known = with_steps(random_evidence(n=8, images=40, targets=targets, masks=masks, seed=1)[0])
    score = run("lira-steps", known)
    expected = [naive(known, t) for t in range(len(score))]
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-4)


def test_one_step_is_lira_with_means_and_pooled_variances():
    known, _ = random_evidence(n=8, images=60, views=1)
    np.testing.assert_allclose(
        run("lira-steps", known), run("lira-online-within", known), rtol=1e-4, atol=1e-4
    )


def test_steps_that_say_something_of_their_own_help():
    known, member = random_evidence(n=16, images=2000, views=1, reserved=0, signal=1)
    known = with_steps(known, noise=0)
    rng = np.random.default_rng(0)
    fresh = (known.shadow[:, None, :, 0] + member[:, None] + rng.normal(0, 1, (16, 2, 2000))).astype(
        np.float32
    )
    told = replace(known, target_earlier=fresh, shadow_earlier=fresh)
    one, several = (roc.auc(run("lira-steps", k), member) for k in (known, told))
    assert several > one + 0.05


@pytest.mark.parametrize("n", [6, 8, 16])
def test_noise_is_scored_as_noise(n):
    areas = []
    for seed in range(20):
        known, member = random_evidence(n=n, images=660, views=1, reserved=60, signal=0, inside=1, seed=seed)
        loud, _ = random_evidence(
            n=n, images=660, views=1, reserved=60, signal=1, inside=3, targets="paired", seed=seed
        )
        known = replace(with_steps(loud, seed=seed), target=known.target)
        known = replace(known, target_earlier=with_steps(known, seed=seed + 100).target_earlier)
        scored = ~known.reserved
        areas.append(roc.auc(run("lira-steps", known)[:, scored], member[:, scored]))
    assert abs(np.mean(areas) - 0.5) < 4.5 * np.std(areas, ddof=1) / 20**0.5


def test_steps_of_one_kind_alone_are_refused():
    known = with_steps(random_evidence()[0])
    with pytest.raises(ValueError, match="both be missing"):
        replace(known, shadow_earlier=None)
    with pytest.raises(ValueError, match="target_earlier"):
        replace(known, target_earlier=known.target_earlier[:1])
