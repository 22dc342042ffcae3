"""Replicates against literally resampled pairs, and the draws against what is said of them."""

import numpy as np
import pytest

from leakgap import LeakgapError
from leakgap.data.masks import balanced_masks
from leakgap.measure import bootstrap, roc
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.estimate import KINDS


def study(seed, models=8, images=150, ties=False):
    rng = np.random.default_rng(seed)
    member = balanced_masks(models, images, seed)
    score = rng.normal(size=(models, images)) + rng.normal(0, 0.5, images) + member
    if ties:
        score = score.round(1)
    score[rng.random(score.shape) < 0.05] = np.nan
    return score.astype(np.float32), member, rng.random((models, images)) < 0.8


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("weighed", [64, bootstrap.WEIGHED])
@pytest.mark.parametrize("groups", [40, bootstrap.GROUPS])
def test_replicates_are_tprs_of_resampled_pairs(kind, ties, weighed, groups, monkeypatch):
    """Each replicate equals tpr_at_fpr on a sample in which every pair is written as often as it was drawn."""
    monkeypatch.setattr(bootstrap, "WEIGHED", weighed)
    monkeypatch.setattr(bootstrap, "GROUPS", groups)
    score, member, evaluated = study(3, ties=ties)
    fprs = (0.3, 0.05, 0.005)
    draws = Resampling(member, evaluated, replicates=40, seed=7)
    results = draws.pooled(score, fprs, abstentions=True)
    for r in range(40):
        weight = (draws.multiplicity(kind, r) * evaluated).astype(int).ravel()
        assert (weight >= 0).all()
        s, m = np.repeat(score.ravel(), weight), np.repeat(member.ravel(), weight)
        for fpr, result in zip(fprs, results, strict=True):
            assert result.draws[kind][r] == pytest.approx(
                roc.tpr_at_fpr(s, m, fpr, abstentions=True), nan_ok=True
            )
    for fpr, result in zip(fprs, results, strict=True):
        assert result.value == roc.tpr_at_fpr(score[evaluated], member[evaluated], fpr, abstentions=True)
        assert result.units == 4
        assert result.pairs == (member & evaluated).sum()


def test_what_is_drawn_as_one():
    _, member, evaluated = study(0)
    draws = Resampling(member, evaluated, replicates=300)
    for r in range(300):
        models, images, pairs = (draws.multiplicity(kind, r) for kind in KINDS)
        np.testing.assert_array_equal(models, models[:, :1].repeat(150, 1))
        np.testing.assert_array_equal(images, images[:1].repeat(8, 0))
        assert models[:, 0].sum() == 8
        assert images[0].sum() == 150
        assert set(np.unique(pairs)) <= {0, 2}
        for weight in (models, pairs):
            np.testing.assert_array_equal(weight[0::2], weight[1::2])
    alone = Resampling(member, evaluated, unit=np.arange(8), replicates=300)
    odd = [
        (alone.multiplicity(kind, r)[0::2] != alone.multiplicity(kind, r)[1::2]).any()
        for r in range(300)
        for kind in ("models", "pairs")
    ]
    assert np.mean(odd) > 0.9
    assert alone.units == 8


def test_images_of_a_group_are_drawn_together(monkeypatch):
    monkeypatch.setattr(bootstrap, "GROUPS", 40)
    _, member, evaluated = study(0)
    draws = Resampling(member, evaluated, replicates=300)
    weights = [
        np.stack([draws.multiplicity(kind, r)[0] for r in range(300)], -1) for kind in ("images", "pairs")
    ]
    sizes = []
    for weight in weights:  # images with the same weight in every one of 300 replicates
        _, group, size = np.unique(weight, axis=0, return_inverse=True, return_counts=True)
        sizes.append(size)
        assert len(size) == 40
        assert set(size) == {3, 4}
        assert (np.diff(np.sort(group.ravel())) <= 1).all()
        assert not (np.diff(group.ravel()[:40]) == 0).all()
    np.testing.assert_allclose(weights[0].mean(), 1, atol=0.02)


def test_groups_have_the_variances_of_single_images(monkeypatch):
    """On the average of how the images are dealt, models and images having effects of their own."""
    rng = np.random.default_rng(6)
    member = balanced_masks(8, 1200, 6)
    score = rng.normal(size=member.shape) + member * rng.exponential(1.5, 1200)

    def variances(seed):
        (found,) = Resampling(member, np.ones(1200, bool), replicates=500, seed=seed).pooled(score, [0.05])
        return [found.draws[kind].var() for kind in KINDS]

    alone = np.mean([variances(seed) for seed in range(6)], 0)
    monkeypatch.setattr(bootstrap, "GROUPS", 200)
    groups = np.mean([variances(seed) for seed in range(30)], 0)
    np.testing.assert_allclose(groups, alone, rtol=0.1)


def test_weights_of_pairs_are_uncorrelated_with_mean_and_variance_one():
    _, member, evaluated = study(0, images=6)
    draws = Resampling(member, evaluated, replicates=20_000)
    weight = np.stack([draws.multiplicity("pairs", r)[::2].ravel() for r in range(20_000)])
    np.testing.assert_allclose(weight.mean(0), 1, atol=0.04)
    np.testing.assert_allclose(np.cov(weight.T), np.eye(24), atol=0.04)


def test_variance_of_single_pairs_is_that_of_independent_draws():
    """Against pairs drawn one by one with replacement, where models and images have effects of their own."""
    rng = np.random.default_rng(5)
    member = balanced_masks(16, 400, 5)
    score = rng.normal(size=member.shape)
    score += member * (rng.normal(1, 1, 400) + rng.normal(0, 0.7, (8, 1)).repeat(2, 0))
    (found,) = Resampling(member, np.ones(400, bool), replicates=2000).pooled(score, [0.05])
    cells = (
        score.reshape(8, 2, 400).transpose(0, 2, 1).reshape(-1, 2),
        member.reshape(8, 2, 400).transpose(0, 2, 1).reshape(-1, 2),
    )
    again = []
    for _ in range(1000):
        drawn = rng.integers(3200, size=3200)
        again.append(roc.tpr_at_fpr(cells[0][drawn], cells[1][drawn], 0.05))
    assert np.std(found.draws["pairs"]) == pytest.approx(np.std(again), rel=0.1)
    assert np.std(found.draws["models"]) > 1.3 * np.std(again)
    assert np.std(found.draws["images"]) > 1.3 * np.std(again)


def test_the_same_seed_pairs_the_replicates_whatever_the_blocks(monkeypatch):
    score, member, evaluated = study(5)
    draws = Resampling(member, evaluated, replicates=200)
    score = np.nan_to_num(score)
    (first,) = draws.pooled(score, [0.05])
    (worse,) = draws.pooled(score - 0.2 * member, [0.05])
    (other,) = Resampling(member, evaluated, replicates=200, seed=1).pooled(score, [0.05])
    monkeypatch.setattr(bootstrap, "BLOCK", 17)
    (again,) = Resampling(member, evaluated, replicates=200).pooled(score, [0.05])
    for kind in KINDS:
        np.testing.assert_array_equal(first.draws[kind], again.draws[kind])
        assert (first.draws[kind] != other.draws[kind]).any()
        assert np.corrcoef(first.draws[kind], worse.draws[kind])[0, 1] > 0.5


@pytest.mark.parametrize("of_class", [True, False])
def test_a_missing_class_is_undefined(of_class):
    member = np.full((2, 1000), of_class)
    (found,) = Resampling(member, np.ones(1000, bool), replicates=3).pooled(np.zeros((2, 1000)), [0.01])
    assert np.isnan([found.value, *np.concatenate(list(found.draws.values()))]).all()


def test_too_few_non_members_are_undefined():
    score, member, evaluated = study(4)
    (found,) = Resampling(member, evaluated, replicates=5).pooled(score, [0.0001], abstentions=True)
    assert np.isnan([found.value, *np.concatenate(list(found.draws.values()))]).all()


def test_constant_scores_catch_nobody():
    _, member, evaluated = study(4)
    (found,) = Resampling(member, evaluated, replicates=5).pooled(np.zeros(member.shape), [0.05])
    assert not np.any([found.value, *np.concatenate(list(found.draws.values()))])


def test_a_score_of_another_shape_is_refused():
    _, member, evaluated = study(4)
    with pytest.raises(ValueError, match=r"score has shape \(8, 3\), the draws are for \(8, 150\)"):
        Resampling(member, evaluated, replicates=5).pooled(np.zeros((8, 3)), [0.05])


def test_nan_of_pairs_that_count_is_refused_unless_it_is_an_abstention():
    score, member, evaluated = study(4)
    draws = Resampling(member.tolist(), evaluated.tolist(), replicates=5)
    left = np.where(np.isnan(score) & evaluated, 0, score)
    assert np.isnan(left).any()
    (found,) = draws.pooled(left.tolist(), [0.05])
    assert found.value == roc.tpr_at_fpr(left[evaluated], member[evaluated], 0.05)
    with pytest.raises(
        LeakgapError, match=f"score: {np.isnan(score[evaluated]).sum()} of {evaluated.sum()} are NaN"
    ):
        draws.pooled(score, [0.05])


def test_what_is_no_membership_is_refused_by_name():
    _, member, evaluated = study(4)
    with pytest.raises(ValueError, match="member must be boolean, not int64"):
        Resampling(member.astype(int), evaluated)
    with pytest.raises(ValueError, match="unit must hold a number for each of the 8 models, not 3"):
        Resampling(member, evaluated, unit=[0, 0, 1])


def test_a_pooled_tpr_prints_in_one_line():
    score, member, evaluated = study(4)
    (found,) = Resampling(member, evaluated, replicates=500).pooled(score, [0.05], abstentions=True)
    assert "replicates" not in repr(found)
    assert len(repr(found)) < 80
