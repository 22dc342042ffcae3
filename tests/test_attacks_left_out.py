"""What every attack besides LiRA must keep to: the model left out is never looked at, and no design leaks."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evidence import random_evidence
from leakgap.attacks import ATTACKS, learned, run
from leakgap.measure.roc import tpr_at_fpr

NAMES = [name for name in ATTACKS if not name.startswith("lira")]
ALONE = {"correctness", "confidence", "loss", "entropy", "modified-entropy", "attack-p"}  # no shadow model


@pytest.fixture(autouse=True)
def _few_pairs(monkeypatch):
    monkeypatch.setattr(learned, "PAIRS", 64)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_left_out_plays_no_part(name):
    known, _ = random_evidence(n=8, images=60, targets="paired", seed=1)
    score = run(name, known)
    rng = np.random.default_rng(0)
    differs = False
    for t in range(8):
        shadow, logits, member = known.shadow.copy(), known.shadow_logits.copy(), known.member.copy()
        shadow[t] = rng.normal(scale=9, size=shadow[t].shape)
        logits[t] = rng.normal(scale=9, size=logits[t].shape)
        member[t] = ~member[t] & ~known.reserved
        changed = run(name, replace(known, shadow=shadow, shadow_logits=logits, member=member))
        np.testing.assert_allclose(changed[t], score[t], rtol=1e-5, atol=1e-6)
        rest = np.arange(8) != t
        differs |= not np.array_equal(changed[rest], score[rest], equal_nan=True)
    assert differs == (name not in ALONE)


@pytest.mark.parametrize("n", [6, 16])
@pytest.mark.parametrize("name", NAMES)
def test_no_signal_no_leak(name, n):
    """AUC of all pairs over independent draws, images being equally hard or not: mean within 4 standard errors."""
    areas = []
    for seed in range(8 if ATTACKS[name].needs_logits else 24):
        known, member = random_evidence(
            n=n, images=160, classes=2, views=1, reserved=20, signal=0, spread=seed % 2, seed=seed
        )
        scored = ~known.reserved
        score = np.nan_to_num(run(name, known)[:, scored], nan=-1e30)
        areas.append(roc_auc_score(member[:, scored].ravel(), score.ravel()))
    assert abs(np.mean(areas) - 0.5) < 4 * np.std(areas, ddof=1) / np.sqrt(len(areas)) + 1e-3


@pytest.mark.parametrize("name", [name for name in NAMES if not ATTACKS[name].needs_logits])
def test_no_signal_no_leak_from_the_numbers_of_models(name):
    """With 6 masks 2 or 3 out-models are left; a mean over all would give an AUC of .510 and a TPR of .74%."""
    areas, rates = [], []
    for seed in range(3):
        known, member = random_evidence(
            n=6, images=18_000, classes=2, views=1, reserved=2000, signal=0, spread=3, seed=seed
        )
        scored = ~known.reserved
        score, truth = run(name, known)[:, scored].ravel(), member[:, scored].ravel()
        areas.append(roc_auc_score(truth, score))
        rates.append(tpr_at_fpr(score, truth, 0.01))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.004)
    assert np.mean(rates) == pytest.approx(0.01, abs=0.0012)


@pytest.mark.parametrize("name", [name for name in NAMES if ATTACKS[name].needs_logits])
def test_logits_are_asked_for(name):
    known, _ = random_evidence()
    with pytest.raises(Exception, match="needs logits"):
        run(name, replace(known, target_logits=None, shadow_logits=None))
