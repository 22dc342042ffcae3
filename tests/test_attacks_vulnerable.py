from dataclasses import replace

import numpy as np
import pytest

from evidence import random_evidence
from leakgap.attacks import run, vulnerable
from leakgap.data.masks import balanced_masks


def naive_kept(known, t):
    """The images kept for one target when all images are in the sample, by the definition."""
    n = len(known.shadow)
    e = known.exclude[t]
    images = np.flatnonzero(~known.reserved)
    vectors = []
    for x in images:
        circle = [(e + 1 + k) % n for k in range(n - 1)]
        out = [i for i in circle if not known.member[i, x]][: n // 2 - 1]
        logits = np.mean([known.shadow_logits[i, x].astype(float) for i in out], axis=0)
        vectors.append(logits - logits.mean())
    nearest = []
    for i, v in enumerate(vectors):
        cosines = [v @ w / np.linalg.norm(v) / np.linalg.norm(w) for j, w in enumerate(vectors) if j != i]
        nearest.append(max(cosines))
    return set(images[np.argsort(nearest)[: round(len(images) / 10)]])


@pytest.mark.parametrize("targets", ["shadows", "paired", "replicates"])
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
    known.shadow_logits[:, lonely] += np.random.default_rng(0).normal(scale=9, size=(10, 6))
    score = run("vulnerable-points", known)
    assert np.isfinite(score[:, lonely]).mean() > 0.9


def test_neither_scale_nor_shift_of_logits_matters():
    known, _ = random_evidence(images=80, seed=4)
    moved = replace(known, shadow_logits=(8 * known.shadow_logits + 3).astype(np.float32))
    np.testing.assert_array_equal(run("vulnerable-points", moved), run("vulnerable-points", known))


def test_the_choice_does_not_tell_members():
    # Few noisy models on equal images, where a mean over 2 out-models strays further than one over 3.
    n, images, chosen, members = 6, 3000, 0, 0
    known, _ = random_evidence(n=n, images=images, signal=0, spread=0, noise=1, reserved=0, seed=5)
    for seed in range(6):
        known = replace(known, member=balanced_masks(n, images, seed), seed=seed)
        kept = np.isfinite(run("vulnerable-points", known))
        chosen += kept.sum()
        members += (kept & known.member).sum()
    assert abs(members / chosen - 0.5) < 4 * 0.5 / chosen**0.5
