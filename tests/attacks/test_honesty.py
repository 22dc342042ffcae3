"""No attack finds what isn't there, and LiRA finds what is: scores on noise, and on data with a known optimum."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.stats import norm

from evidence import random_evidence
from leakgap.attacks import ATTACKS, boosted, learned, run
from leakgap.attacks.lira import leave_one_out
from leakgap.data.masks import balanced_masks
from leakgap.measure import roc
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.estimate import interval

DRAWS, IMAGES, RESERVED = 20, 1000, 100
NULLS = {  # what the shadow models do on their members; the targets do nothing
    "nothing": {"signal": 0},
    "unsteadier on members": {"signal": 1, "inside": 3},
    "steadier on members": {"signal": 1, "inside": 0.3},
    "unsteadier, masks of any origin": {"signal": 1, "inside": 3, "masks": "random"},
}


@cache
def nothing_to_find(null, n, seed):
    """Targets whose outputs are independent of their membership, shadow models whose outputs may depend on it."""
    options = {"n": n, "images": IMAGES + RESERVED, "classes": 2, "views": 1, "reserved": RESERVED}
    options |= {"spread": seed % 2, "seed": seed}
    if null == "nothing":
        return random_evidence(**NULLS[null], **options)
    loud, member = random_evidence(targets="paired", **NULLS[null], **options)
    quiet, _ = random_evidence(signal=0, **options)
    return replace(
        loud, target=quiet.target, target_logits=quiet.target_logits, target_signals=quiet.target_signals
    ), member


def deviations(attack, null, n):
    """How far AUC and TPR at 1% FPR are from 1/2 and 1%, in standard errors of independent draws.

    Pairs of a model and an image are not independent, so it takes whole draws of models to know the error. Ties are
    broken at random: the conformal reading would count them against the attacker, and hide a TPR above 1%.
    """
    found = []
    for seed in range(DRAWS):
        evidence, member = nothing_to_find(null, n, seed)
        scored = ~evidence.reserved
        score, truth = attack(evidence)[:, scored].ravel(), member[:, scored].ravel()
        score = np.nan_to_num(score, nan=-np.inf)
        rank = np.empty(len(score))
        rank[np.lexsort((np.random.default_rng(seed).random(len(score)), score))] = np.arange(len(score))
        found.append((roc.auc(rank[None], truth[None]), roc.tpr_at_fpr(rank, truth, 0.01)))
    mean, error = np.mean(found, 0), np.std(found, 0, ddof=1) / DRAWS**0.5
    return (mean - [0.5, 0.01]) / error


CASES = [
    (name, n)
    for name in ATTACKS
    for n in (4, 8, 16)
    if n >= ATTACKS[name].min_masks and (name, n) != ("boosted", 16)  # a minute each
]


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize(("name", "n"), CASES)
def test_noise_is_scored_as_noise(name, n, null, monkeypatch):
    monkeypatch.setattr(learned, "PAIRS", 64)
    monkeypatch.setattr(learned, "ROWS", 200)
    monkeypatch.setattr(boosted, "ROWS", 3000)
    monkeypatch.setattr(boosted, "TREES", 5)
    assert np.abs(deviations(lambda evidence: run(name, evidence), null, n)).max() < 4.5


@pytest.mark.parametrize(
    ("name", "null"),
    [
        ("calibrated-loss", "nothing"),
        ("rmia-offline", "nothing"),
        ("lira-online", "nothing"),
        ("lira-online-fixed", "nothing"),
        ("lira-offline", "nothing"),
        ("mast", "unsteadier on members"),
        ("lira-online-within", "unsteadier on members"),
        ("rmia", "unsteadier on members"),
        ("base", "steadier on members"),
    ],
)
def test_a_complement_that_is_not_left_out_would_be_found(name, null):
    """With its own row alone left out, a member has N/2 - 1 in- and N/2 out-models, others N/2 and N/2 - 1."""

    def forgetful(evidence):
        return run(name, replace(evidence, left_out=np.eye(8, dtype=bool)))

    assert np.abs(deviations(forgetful, null, 8)).max() > 4.5


def test_a_count_of_models_would_be_found():
    """Alone the number of in-models tells a member; with the target's pair left out it is one for all."""
    evidence, member = nothing_to_find("nothing", 8, 0)
    scored = ~evidence.reserved
    for left_out, auc in ((evidence.left_out, 0.5), (np.eye(8, dtype=bool), 0)):
        count = (~left_out).astype(float) @ evidence.member
        assert roc.auc(count[:, scored], member[:, scored]) == auc


@cache
def gaussian(distance=2.5, models=1024, images=300):
    rng = np.random.default_rng(0)
    member = balanced_masks(models, images, 0)
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
    units = np.arange(len(member))  # these masks are not in pairs
    results = Resampling(member, np.ones(300, bool), units, replicates=300).pooled(score, fprs)
    for fpr, result in zip(fprs, results, strict=True):
        truth = norm.sf(norm.isf(fpr) - 2.5)
        if tail == "two-sided":
            truth = norm.sf(norm.isf(fpr / 2) - 2.5) + norm.cdf(-norm.isf(fpr / 2) - 2.5)
        found = interval(result)
        assert found.low <= truth <= found.high
        assert found.high - found.low < 0.07  # and the interval says something
