from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from evidence import random_evidence
from leakgap import LeakgapError
from leakgap.attacks import run
from leakgap.attacks.shadows import Block

TARGETS = ["shadows", "paired", "replicates", "outside"]
COUNTS = ["attack-p", "rmia", "rmia-offline"]  # shares of a population
NAMES = ["mast", "calibrated-loss", "attack-r", "base", "informia", "bavaria", "bavaria-t", *COUNTS]


def loss(phi):
    return np.log1p(np.exp(-float(phi)))


def p(phi):
    return 1 / (1 + np.exp(-float(phi)))


def naive(name, known, t, x):
    """The score of one target and image by its definition."""
    phi, shadow = known.target[t, :, 0], known.shadow[:, :, 0]
    models = [i for i in range(len(shadow)) if not known.left_out[t, i]]
    population = [z for z in range(len(phi)) if known.reserved[z]]

    def average(f, image, side):
        values = [f(shadow[i, image]) for i in models if known.member[i, image] == side]
        return np.mean(values) if values else np.nan

    def ratio(image):
        if name == "rmia-offline":
            mixture = (1.3 * average(p, image, False) + 0.7) / 2
        elif known.reserved[image]:
            mixture = average(p, image, False)
        else:
            mixture = (average(p, image, True) + average(p, image, False)) / 2
        return p(phi[image]) / mixture

    match name:
        case "mast":
            return (average(loss, x, True) + average(loss, x, False)) / 2 - loss(phi[x])
        case "calibrated-loss":
            return average(loss, x, False) - loss(phi[x])
        case "attack-p":
            return np.mean([loss(phi[z]) >= loss(phi[x]) for z in population])
        case "attack-r":
            out = np.array([shadow[i, x] for i in models if not known.member[i, x]], float)
            if len(out) < 2:
                return np.nan
            predicted = student(len(out) - 1, out.mean(), out.std(ddof=1) * np.sqrt(1 + 1 / len(out)))
            return -predicted.logsf(phi[x])
        case "base":
            return np.log(ratio(x))
        case "informia":
            return np.log(ratio(x)) - np.mean([np.log(ratio(z)) for z in population])
        case "bavaria" | "bavaria-t":
            views = range(known.target.shape[2])
            return np.mean(
                [bavaria(name, known, t, x, v, True) - bavaria(name, known, t, x, v, False) for v in views]
            )
        case _:
            return np.mean([ratio(x) / ratio(z) >= 2 for z in population]) + 0 * ratio(x)


def bavaria(form, known, t, x, view, side):
    """Log density of phi_t(x) if x is a member (side True) or not: the textbook's normal-inverse-gamma update."""
    models, images = ~known.left_out[t], ~known.reserved
    phi, on = known.shadow[models][:, :, view].astype(float), known.member[models] == side
    everything = phi[:, images][on[:, images]]
    alpha, kappa = (1, 1) if form == "bavaria" else (2, 1)
    mu, beta = everything.mean(), everything.var()
    own = phi[on[:, x], x]
    if not len(own):
        return np.nan
    for value in own:  # one model after the other
        beta += kappa * (value - mu) ** 2 / (2 * (kappa + 1))
        mu, kappa, alpha = (kappa * mu + value) / (kappa + 1), kappa + 1, alpha + 0.5
    if form == "bavaria":
        return norm.logpdf(known.target[t, x, view], own.mean(), np.sqrt(beta / (alpha - 1)))
    return student.logpdf(
        known.target[t, x, view], 2 * alpha, mu, np.sqrt(beta * (kappa + 1) / (alpha * kappa))
    )


@pytest.mark.parametrize("masks", ["pairs", "random"])
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_the_definition(name, targets, masks):
    known, _ = random_evidence(n=6, images=30, targets=targets, masks=masks, spread=3, seed=1)
    score = run(name, known)
    assert score.dtype == np.float32
    assert np.isnan(score[:, known.reserved]).all()
    if name in COUNTS:  # but for the places between two of the population
        size = known.reserved.sum()
        score = np.clip(np.floor(score.astype(float) * size + 1e-4), 0, size) / size
    for t in range(len(score)):
        for x in np.flatnonzero(~known.reserved):
            assert score[t, x] == pytest.approx(naive(name, known, t, x), rel=1e-5, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("name", COUNTS)
def test_shares_of_a_small_population_do_not_tie(name):
    """And their order is that of what is counted: the loss, or the ratio that BASE takes the logarithm of."""
    known, _ = random_evidence(images=400, reserved=10, seed=2)
    score = run(name, known)[:, ~known.reserved]
    assert all(len(np.unique(row)) > 380 for row in score)
    if name != "rmia-offline":
        of = known.target[..., 0] if name == "attack-p" else run("base", known)
        for row, counted in zip(score, of[:, ~known.reserved], strict=True):
            assert (np.diff(row[np.argsort(counted)]) >= 0).all()


@pytest.mark.parametrize("name", ["attack-p", "rmia", "rmia-offline"])
def test_a_population_is_needed(name):
    known, _ = random_evidence(reserved=0)
    with pytest.raises(LeakgapError, match=r"data\.reserved"):
        run(name, known)


def test_attack_r_does_not_depend_on_location_and_scale_of_an_image():
    known, _ = random_evidence(images=50, seed=3)
    rng = np.random.default_rng(0)
    scale, shift = rng.uniform(0.5, 2, (50, 1)), rng.normal(size=(50, 1))
    target, shadow = ((phi * scale + shift).astype(np.float32) for phi in (known.target, known.shadow))
    moved = run("attack-r", replace(known, target=target, shadow=shadow))
    np.testing.assert_allclose(moved, run("attack-r", known), rtol=1e-3, atol=1e-6)


def test_attack_r_resolves_both_tails_and_equal_out_scores():
    known, _ = random_evidence(n=16, images=300, reserved=0, targets="replicates", seed=4)
    target = np.broadcast_to(np.linspace(-60, 60, 300)[None, :, None], (3, 300, 2)).astype(np.float32)
    shadow = np.repeat(known.shadow[:, :1], 300, axis=1)
    same = replace(known, target=target, shadow=shadow, member=np.repeat(known.member[:, :1], 300, axis=1))
    assert (np.diff(run("attack-r", same)[0]) > 0).all()
    constant = run("attack-r", replace(same, shadow=np.zeros_like(shadow)))
    assert np.isfinite(constant).all()
    assert (constant[:, target[0, :, 0] > 0].min(1) > constant[:, target[0, :, 0] < 0].max(1)).all()


def test_means_cancel_nothing():
    values = np.array([[1e-300, 1.0], [1.0, 1e-300], [3e-300, 2e-300]])
    member = np.array([[True, True], [False, True], [True, True]])
    block = Block(values, values, member, kept=np.array([[1.0, 0, 1], [0, 1, 1]]))
    np.testing.assert_array_equal(block.count(True), [[2, 2], [1, 2]])
    np.testing.assert_allclose(block.mean(values, True), [[2e-300, 0.5], [3e-300, 1.5e-300]])
    np.testing.assert_array_equal(np.isnan(block.mean(values, False)), [[True, True], [False, True]])
