from dataclasses import replace

import numpy as np
import pytest

from evidence import random_evidence
from leakgap.attacks import run, vulnerable


def naive_kept(known, t):
    """The images kept for one target when all images are in the sample, by the definition."""
    images = np.flatnonzero(~known.reserved)
    vectors = []
    for x in images:
        out = np.flatnonzero(~known.left_out[t] & ~known.member[:, x])
        logits = np.mean([known.shadow_logits[i, x].astype(float) for i in out], axis=0)
        vectors.append(logits - logits.mean())
    nearest = []
    for i, v in enumerate(vectors):
        cosines = [v @ w / np.linalg.norm(v) / np.linalg.norm(w) for j, w in enumerate(vectors) if j != i]
        nearest.append(max(cosines))
    return set(images[np.argsort(nearest)[: round(len(images) / 10)]])


@pytest.mark.parametrize("targets", ["shadows", "paired", "replicates", "outside"])
def test_scores_are_attack_r_on_the_images_with_the_farthest_neighbours(targets):
    known, _ = random_evidence(images=90, targets=targets, seed=1)
    score, rank = run("vulnerable-points", known), run("attack-r", known)
    for t in range(len(score)):
        kept = np.flatnonzero(np.isfinite(score[t]))
        assert set(kept) == naive_kept(known, t)
        np.testing.assert_array_equal(score[t, kept], rank[t, kept])


def test_every_image_but_itself_is_a_possible_neighbour_and_blocks_change_nothing(monkeypatch):
    known, _ = random_evidence(images=150, seed=2)
    whole = run("vulnerable-points", known)
    monkeypatch.setattr(vulnerable, "BLOCK", 7)
    np.testing.assert_array_equal(run("vulnerable-points", known), whole)
    monkeypatch.setattr(vulnerable, "SAMPLE", 40)
    fewer = run("vulnerable-points", known)
    assert np.isfinite(fewer).sum() == np.isfinite(whole).sum()


def test_lonely_images_are_kept():
    known, _ = random_evidence(images=200, reserved=0, classes=6, noise=0.1, spread=0, seed=3)
    lonely = np.arange(10, 20)
    logits = known.shadow_logits.copy()
    logits[:, lonely] += np.random.default_rng(0).normal(scale=9, size=(10, 6))
    known = replace(known, shadow_logits=logits)
    score = run("vulnerable-points", known)
    assert np.isfinite(score[:, lonely]).mean() > 0.9


def test_neither_scale_nor_shift_of_logits_matters():
    known, _ = random_evidence(images=80, seed=4)
    moved = replace(known, shadow_logits=(8 * known.shadow_logits + 3).astype(np.float32))
    np.testing.assert_array_equal(run("vulnerable-points", moved), run("vulnerable-points", known))


def test_the_choice_does_not_tell_members():
    # Few noisy models on equal images, where a mean over 2 out-models would stray further than one over 3.
    chosen, members = 0, 0
    for seed in range(6):
        known, member = random_evidence(n=6, images=3000, signal=0, spread=0, reserved=0, seed=seed)
        kept = np.isfinite(run("vulnerable-points", known))
        chosen += kept.sum()
        members += (kept & member).sum()
    assert abs(members / chosen - 0.5) < 4 * 0.5 / chosen**0.5
