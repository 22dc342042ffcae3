"""No attack finds what isn't there, and LiRA finds what is: scores on noise, and on data with a known optimum."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from evidence import random_evidence
from leakgap.attacks import ATTACKS, learned, run
from leakgap.attacks.lira import leave_one_out
from leakgap.measure import roc

SEEDS = range(16)
NULLS = ["noise", "only the target is noise"]


@cache
def nothing_to_find(null, seed):
    """Targets whose outputs are independent of their membership, shadow models whose outputs may depend on it."""
    options = {
        "n": 8,
        "images": 660,
        "classes": 2,
        "views": 1,
        "reserved": 66,
        "spread": seed % 2,
        "seed": seed,
    }
    quiet, member = random_evidence(signal=0, **options)
    if null == "noise":
        return quiet, member
    loud, same = random_evidence(signal=3, targets="paired", **options)
    assert (same == member).all()
    return replace(loud, target=quiet.target, target_logits=quiet.target_logits), member


def finds_something(attack, null):
    """Is the AUC off 1/2, or the TPR at 1% FPR above 1%, by more than 4 standard errors of independent draws?

    Pairs of a model and an image are not independent, so it takes whole draws of models to know the error.
    """
    areas, tprs = [], []
    for seed in SEEDS:
        evidence, member = nothing_to_find(null, seed)
        scored = ~evidence.reserved
        score, truth = attack(evidence)[:, scored], member[:, scored]
        areas.append(roc.auc(score, truth))
        tprs.append(roc.tpr_at_fpr(score, truth, 0.01))
    errors = np.std([areas, tprs], axis=1, ddof=1) / np.sqrt(len(SEEDS)) + 1e-4
    auc, tpr = (np.mean([areas, tprs], axis=1) - [0.5, 0.01]) / errors
    return abs(auc) > 4 or tpr > 4


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("name", ATTACKS)
def test_noise_is_scored_as_noise(name, null, monkeypatch):
    monkeypatch.setattr(learned, "PAIRS", 64)
    assert not finds_something(lambda evidence: run(name, evidence), null)


def count_of_in_models(evidence):
    return (evidence.member[evidence.exclude] * 1.0) - evidence.member.sum(0)


def base_with_a_plain_mean(evidence):
    """BASE with p averaged over all other models instead of half and half over in- and out-models."""
    p = 1 / (1 + np.exp(-evidence.shadow[..., 0]))
    others = (p.sum(0) - p[evidence.exclude]) / (len(p) - 1)
    return -np.log1p(np.exp(-evidence.target[..., 0])) - np.log(others)


def lira_with_all_models_of_the_other_side(evidence):
    held = (evidence.target, evidence.shadow, evidence.member)
    return leave_one_out(*held, exclude=evidence.exclude, reserved=evidence.reserved)


@pytest.mark.parametrize(
    ("attack", "null"),
    [
        (count_of_in_models, "noise"),
        (lira_with_all_models_of_the_other_side, "noise"),
        (base_with_a_plain_mean, "only the target is noise"),
    ],
)
def test_a_count_leak_would_be_found(attack, null):
    """Leave-one-out under balanced masks: a member has N/2 - 1 other in-models, a non-member N/2."""
    assert finds_something(attack, null)


@cache
def gaussian(distance=2.5, models=1024, images=300):
    rng = np.random.default_rng(0)
    member = rng.random((models, images)).argsort(0).argsort(0) < models // 2
    phi = rng.normal(size=(models, images)) + rng.normal(0, 3, images) + distance * member
    return phi[..., None].astype(np.float32), member


@pytest.mark.parametrize("variance", ["per-example", "fixed", "within"])
@pytest.mark.parametrize(
    ("mode", "tail"), [("online", "one-sided"), ("offline", "one-sided"), ("offline", "two-sided")]
)
def test_the_known_optimum_is_reached(mode, tail, variance):
    """phi ~ N(b_x + d m, 1): TPR is P(z > z_fpr - d), and P(|z + d| > z_(fpr/2)) for the two-sided score."""
    phi, member = gaussian()
    score = leave_one_out(phi, phi, member, mode=mode, variance=variance, tail=tail)
    fprs = (0.01, 0.001)
    results = roc.pooled_bootstrap(score, member, np.ones(300, bool), fprs, replicates=300)
    for fpr, result in zip(fprs, results, strict=True):
        truth = norm.sf(norm.isf(fpr) - 2.5)
        if tail == "two-sided":
            truth = norm.sf(norm.isf(fpr / 2) - 2.5) + norm.cdf(-norm.isf(fpr / 2) - 2.5)
        assert result.low <= truth <= result.high
        assert result.high - result.low < 0.07  # and the interval says something
