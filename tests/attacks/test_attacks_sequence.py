"""Attacks on signals, base models, views and features against their formulas, one target and record at a time."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import rankdata

from evidence import random_evidence
from leakgap import LeakgapError
from leakgap.attacks import ATTACKS, Evidence, boosted, run
from leakgap.measure import roc


@pytest.mark.parametrize("kind", ["min-k", "min-k++"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_min_k_takes_the_k_that_tells_shadow_models_members_and_their_mean_away(kind, calibrated):
    known, _ = random_evidence(n=8, images=60, reserved=10, targets="paired", signal=2, seed=3)
    score = run(f"{kind}-calibrated" if calibrated else kind, known)
    scored = np.flatnonzero(~known.reserved)
    for t in range(8):
        kept = np.flatnonzero(~known.left_out[t])
        inside = known.member[kept][:, scored].ravel()
        aucs = {}
        for k in (5, 20):
            ranks = rankdata(known.shadow_signals[f"{kind}-{k}"][kept][:, scored].ravel())
            wins = ranks[inside].sum() - inside.sum() * (inside.sum() + 1) / 2  # Mann-Whitney's U
            aucs[k] = wins / inside.sum() / (~inside).sum()
        name = f"{kind}-{max(aucs, key=aucs.get)}"
        for x in scored:
            value = known.target_signals[name][t, x]
            if calibrated:
                value -= np.mean([known.shadow_signals[name][i, x] for i in kept if not known.member[i, x]])
            assert score[t, x] == pytest.approx(value, abs=1e-5)


def test_without_shadow_models_k_is_20_and_other_signals_are_asked_for():
    known, _ = random_evidence(n=4, images=40, reserved=0)
    alone = replace(
        known,
        shadow=known.shadow[:0],
        member=known.member[:0],
        left_out=known.left_out[:, :0],
        shadow_logits=None,
        target_logits=None,
        shadow_signals={},
    )
    np.testing.assert_array_equal(run("min-k", alone), known.target_signals["min-k-20"])
    assert np.isnan(run("min-k-calibrated", alone)).all()
    with pytest.raises(LeakgapError, match="log-probabilities of tokens"):
        run("min-k", replace(known, target_signals={}, shadow_signals={}))
    with pytest.raises(LeakgapError, match="none of the records"):
        run("pretrained-loss", replace(known, base=None))
    with pytest.raises(LeakgapError, match="features"):
        run("quantile", replace(known, features=None))


def test_pretrained_loss_is_the_difference_of_two_losses():
    known, _ = random_evidence(n=4, images=40, reserved=5)
    score = run("pretrained-loss", known)
    p, base = (1 / (1 + np.exp(-phi.astype(float))) for phi in (known.target[..., 0], known.base))
    expected = np.where(known.reserved, np.nan, np.log(p) - np.log(base))
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-5)


def test_label_only_counts_right_views():
    known, _ = random_evidence(n=8, images=60, views=5, reserved=10, targets="paired", seed=1)
    score = run("label-only", known)
    for t, x in np.ndindex(8, 60):
        if known.reserved[x]:
            assert np.isnan(score[t, x])
            continue
        out = [i for i in range(8) if not known.left_out[t, i] and not known.member[i, x]]
        shares = [sum(phi > 0 for phi in known.shadow[i, x]) / 5 for i in out]
        own = sum(phi > 0 for phi in known.target[t, x]) / 5
        assert score[t, x] == pytest.approx(own - sum(shares) / len(shares), abs=1e-6)


def test_label_only_finds_what_labels_hold():
    """The model is right about more noisy copies of what it has seen; one copy alone tells little of it."""
    known, member = random_evidence(n=8, images=2000, views=2, reserved=0, signal=2, spread=2)
    noise = np.random.default_rng(0).normal(0, 2, (8, 2000, 25))
    phi = (known.shadow[..., :1] + noise).astype(np.float32)
    many, one = (
        roc.auc(run("label-only", replace(known, target=part, shadow=part)), member)
        for part in (phi, phi[..., :1])
    )
    assert many > one + 0.1


def test_quantile_needs_no_shadow_model_and_takes_difficulty_away():
    """phi follows from a record's features, and membership adds a little: the plain loss can't see it."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6000, 3)).astype(np.float32)
    reserved = np.arange(6000) >= 3000
    member = (rng.random(6000) < 0.5) & ~reserved
    spread = np.where(features[:, 1] > 0, 2.0, 0.3)
    phi = 4 * features[:, 0] + 2 * member + spread * rng.normal(size=6000)
    none = np.zeros((0, 6000), bool)
    phi = phi.astype(np.float32)[None, :, None]
    known = Evidence(
        phi, phi[:0], none, np.zeros((1, 0), bool), np.zeros(6000, int), reserved, features=features
    )
    score = run("quantile", known)
    assert np.isnan(score[0, reserved]).all()
    found, plain = (
        roc.tpr_at_fpr(each[0, ~reserved], member[~reserved], 0.01) for each in (score, run("loss", known))
    )
    best = (2 * member + spread * rng.normal(size=6000)) / spread  # knowing mean and spread
    assert found > 0.6 * roc.tpr_at_fpr(best[~reserved], member[~reserved], 0.01) > 5 * plain


def test_boosted_sees_what_no_normal_distribution_has(monkeypatch):
    """Members' phi is at either of two places, non-members' between: a likelihood of normals can't tell."""
    rng = np.random.default_rng(0)
    known, member = random_evidence(n=16, images=1500, views=1, reserved=0)
    side = np.where(rng.random(member.shape) < 0.5, 1, -1)
    phi = (rng.normal(0, 2, 1500) + np.where(member, 3 * side, 0) + rng.normal(size=member.shape)).astype(
        np.float32
    )
    odd = replace(known, target=phi[..., None], shadow=phi[..., None], target_logits=None, shadow_logits=None)
    monkeypatch.setattr(boosted, "ROWS", 20_000)
    found = {name: roc.auc(run(name, odd), member) for name in ("boosted", "base", "mast")}
    assert found["boosted"] > 0.75 > 0.65 > max(found["base"], found["mast"])


def test_boosted_is_the_same_every_time(monkeypatch):
    monkeypatch.setattr(boosted, "TREES", 10)
    known, _ = random_evidence(n=8, images=300)
    np.testing.assert_array_equal(run("boosted", known), run("boosted", known))


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].of_files_alone])
def test_a_grid_has_none_of_it(name):
    from leakgap.study import Study

    with pytest.raises(LeakgapError, match="audits of files"):
        Study.load(
            {"name": "x", "data": {"reserved": 100}, "grid": {"masks": 8}, "attack": {"attacks": [name]}}
        )
