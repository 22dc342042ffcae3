from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from evidence import random_evidence
from leakgap.attacks import learned, run


class Recorder:
    """Stands in for a network: keeps what it is fitted on and asked for."""

    def __init__(self):
        self.fits, self.asked = [], []

    def __call__(self, features, member, _rng):
        self.fits.append((features, np.asarray(member)))
        self.asked.append([])
        return len(self.fits) - 1

    def log_odds(self, network, features):
        self.asked[network].append(features)
        return np.full(len(features), network, float)


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(learned, "_fit", recorder)
    monkeypatch.setattr(learned, "_log_odds", recorder.log_odds)
    return recorder


def origins(rows, probabilities):
    """Which (model, image) each row is, from the probabilities [N,S,C] of all, no two of which are equal."""
    names = {p.tobytes(): key for key in np.ndindex(probabilities.shape[:2]) for p in (probabilities[key],)}
    return [names[row.tobytes()] for row in rows]


@pytest.mark.parametrize("masks", ["pairs", "random"])
@pytest.mark.parametrize("targets", ["shadows", "paired", "replicates", "outside"])
def test_shadow_nn_fits_on_pairs_of_models_that_no_target_leaves_out(recorder, targets, masks):
    known, _ = random_evidence(n=8, images=60, classes=3, targets=targets, masks=masks, seed=1)
    score = run("shadow-nn", known)
    shadow, target = (softmax(z.astype(float), -1) for z in (known.shadow_logits, known.target_logits))
    assert len(recorder.fits) == (3 if targets in ("replicates", "outside") else 6)
    assert np.isnan(score[:, known.reserved]).all()
    for network, (features, member) in enumerate(recorder.fits):
        models, images = np.transpose(origins(features, shadow))
        np.testing.assert_array_equal(member, known.member[models, images])
        # Every image as often in as out, so that a fit can't tell how many models it is in.
        half = len(features) // 2
        np.testing.assert_array_equal(images[member], images[~member])
        assert member.sum() == half
        assert not known.reserved[images].any()
        rows, columns = np.nonzero(score == network)
        assert not known.left_out[np.ix_(rows, models)].any()
        assert len(set(known.labels[columns])) == len(set(known.labels[images])) == 1
        assert known.labels[columns][0] == known.labels[images][0]
        np.testing.assert_array_equal(np.concatenate(recorder.asked[network]), target[rows, columns])
    assert np.isfinite(score[:, ~known.reserved]).all()


@pytest.mark.parametrize("targets", ["shadows", "replicates", "outside"])
def test_one_shadow_scores_targets_that_do_not_leave_it_out(recorder, targets):
    known, _ = random_evidence(n=8, images=60, classes=5, targets=targets, seed=2)
    score = run("one-shadow", known)
    top = np.sort(softmax(known.shadow_logits.astype(float), -1), -1)[..., ::-1][..., :3]
    assert np.isfinite(score[:, ~known.reserved]).all()
    assert np.isnan(score[:, known.reserved]).all()
    fitted_on = []
    for network, (features, member) in enumerate(recorder.fits):
        models, images = np.transpose(origins(np.ascontiguousarray(features), np.ascontiguousarray(top)))
        assert len(set(models)) == 1
        np.testing.assert_array_equal(member, known.member[models, images])
        assert not known.reserved[images].any()
        scored = (score == network).any(1)
        assert not known.left_out[scored, models[0]].any()
        fitted_on.append(models[0])
    assert len(fitted_on) == len(set(fitted_on)) == (2 if targets == "shadows" else 1)


@pytest.mark.parametrize("name", ["shadow-nn", "one-shadow"])
def test_they_learn_to_tell_members_and_depend_on_the_seed_alone(name):
    known, member = random_evidence(n=8, images=600, classes=3, targets="paired", signal=2, seed=3)
    scored = ~known.reserved
    score = run(name, known)
    area = roc_auc_score(member[:, scored].ravel(), score[:, scored].ravel())
    best = roc_auc_score(member[:, scored].ravel(), known.target[:, scored, 0].ravel())
    assert best - 0.03 < area < best + 0.05
    np.testing.assert_array_equal(run(name, known), score)


def test_networks_recover_log_odds_of_a_known_mixture():
    rng = np.random.default_rng(0)
    member = rng.random(4000) < 0.5
    x = rng.normal(np.where(member, 1, -1), 1)[:, None]
    network = learned._fit(x, member, rng)
    grid = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(learned._log_odds(network, grid), 2 * grid[:, 0], atol=0.8)


def test_two_classes_have_two_probabilities_to_sort():
    known, _ = random_evidence(classes=2)
    assert np.isfinite(run("one-shadow", known)[:, ~known.reserved]).all()


def test_a_class_without_mixed_images_gets_nan():
    known, _ = random_evidence(images=30)
    known = replace(known, member=known.member & (known.labels != 1))
    score = run("shadow-nn", known)[:, ~known.reserved]
    np.testing.assert_array_equal(np.isnan(score), [known.labels[~known.reserved] == 1] * 8)


def test_targets_that_leave_out_all_models_get_nan():
    known, _ = random_evidence(n=4)
    known = replace(known, left_out=known.left_out | (np.arange(4) == 1)[:, None])
    for name in ("shadow-nn", "one-shadow"):
        np.testing.assert_array_equal(np.isnan(run(name, known)).all(1), [False, True, False, False])


def test_rapid_weighs_the_loss_and_the_calibrated_loss():
    """It finds what the calibrated loss alone doesn't: here members have a loss below .1, whatever the image."""
    rng = np.random.default_rng(0)
    known, member = random_evidence(n=16, images=600, views=1, reserved=60, signal=0, spread=2, seed=4)
    phi = np.where(member, rng.uniform(2.5, 4, member.shape), known.shadow[..., 0]).astype(np.float32)[
        ..., None
    ]
    told = replace(known, target=phi, shadow=phi)
    scored = ~known.reserved
    area = {
        name: roc_auc_score(member[:, scored].ravel(), run(name, told)[:, scored].ravel())
        for name in ("rapid", "calibrated-loss")
    }
    assert area["rapid"] > area["calibrated-loss"] + 0.05


def test_rapid_takes_its_features_from_models_that_are_kept():
    known, _ = random_evidence(n=16, images=200, seed=1)
    score = run("rapid", known)
    assert np.isfinite(score[:, ~known.reserved]).all()
    few, _ = random_evidence(n=4, images=200, seed=1)  # a part of two models has no calibrated one
    assert np.isnan(run("rapid", few)).all()
