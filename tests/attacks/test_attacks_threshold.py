import numpy as np
import pytest
from scipy.stats import percentileofscore

from evidence import random_evidence
from leakgap.attacks import Evidence, run

GLOBAL = ["correctness", "loss", "entropy", "modified-entropy"]
PER_CLASS = ["loss-per-class", "entropy-per-class", "modified-entropy-per-class"]
TARGETS = ["shadows", "paired", "replicates", "outside"]


def statistic(name, logits, label):
    """One statistic of one image by its definition, in extended precision."""
    p = np.exp(logits.astype(np.longdouble) - logits.max())
    p /= p.sum()
    rest = 1 - p[label]
    match name:
        case "correctness":
            return float(np.argmax(logits) == label)
        case "loss":
            return np.log(p[label])
        case "entropy":
            return sum(q * np.log(q) for q in p)
        case "modified-entropy":
            return rest * np.log(p[label]) + sum(q * np.log(1 - q) for c, q in enumerate(p) if c != label)


@pytest.mark.parametrize("name", GLOBAL)
def test_global_scores_are_the_definition(name):
    known, _ = random_evidence(images=60, spread=3, seed=1)
    expected = [
        [statistic(name, z, y) for z, y in zip(row, known.labels, strict=True)] for row in known.target_logits
    ]
    score = run(name, known)
    assert score.dtype == np.float32
    np.testing.assert_allclose(score, np.array(expected, float), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", PER_CLASS)
def test_per_class_scores_are_percentiles_of_out_scores(name, targets):
    known, _ = random_evidence(images=24, reserved=4, targets=targets, seed=2)
    plain = name.removesuffix("-per-class")
    score, target = run(name, known), run(plain, known)
    shadow = run(plain, on_shadow(known))
    for t, left_out in enumerate(known.left_out):
        for x, label in enumerate(known.labels):
            pool = [
                shadow[i, other]
                for i in range(len(shadow))
                for other in range(len(known.labels))
                if not left_out[i] and known.labels[other] == label and not known.member[i, other]
            ]
            assert score[t, x] == pytest.approx(percentileofscore(pool, target[t, x], "weak") / 100)


def on_shadow(known: Evidence) -> Evidence:
    none = np.zeros((len(known.shadow),) * 2, bool)
    return Evidence(
        known.shadow, known.shadow, known.member, none, known.labels, known.reserved, known.shadow_logits,
        known.shadow_logits,
    )  # fmt: skip


def with_logits(logits, labels):
    """Evidence of one target with the given float32 logits [S,C]; the shadow models play no part."""
    images = len(labels)
    others = np.where(np.eye(logits.shape[-1], dtype=bool)[labels], -np.inf, logits)
    phi = logits[np.arange(images), labels] - np.logaddexp.reduce(others, -1)
    return Evidence(
        phi[None, :, None].astype(np.float32), np.zeros((4, images, 1), np.float32), np.zeros((4, images), bool),
        np.zeros((1, 4), bool), labels, np.zeros(images, bool), logits[None],
        np.zeros((4, *logits.shape), np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["loss", "entropy", "modified-entropy"])
def test_confident_predictions_do_not_tie(name):
    logits = np.zeros((500, 4), np.float32)
    logits[:, 2] = np.linspace(5, 45, 500)
    score = run(name, with_logits(logits, np.full(500, 2)))[0]
    assert np.isfinite(score).all()
    assert (np.diff(score) > 0).all()


def test_modified_entropy_of_a_confident_mistake_is_finite_and_exact():
    logits = np.zeros((200, 4), np.float32)
    logits[:, 1] = np.linspace(5, 300, 200)
    score = run("modified-entropy", with_logits(logits, np.full(200, 2)))[0]
    # p_1 is about 1: Mentr = -(1 - p_y) log p_y - p_1 log(1 - p_1) - ... = 2 z - log 3 but for terms in exp(-z)
    expected = -(2 * logits[:, 1] - np.log(3))
    np.testing.assert_allclose(score[50:], expected[50:], rtol=1e-6)


def test_the_confidence_ranks_as_the_loss():
    """So it is no attack of its own; in float32 it would tie near 1, where the loss does not."""
    known, _ = random_evidence(n=16, images=400, spread=4, seed=3)
    confidence = 1 / (1 + np.exp(-known.target[..., 0].astype(float)))
    for score, p in zip(run("loss", known), confidence, strict=True):
        np.testing.assert_array_equal(np.argsort(score), np.argsort(p))


@pytest.mark.parametrize("name", GLOBAL + PER_CLASS)
def test_renaming_the_classes_changes_nothing(name):
    known, _ = random_evidence(seed=4)
    renamed = np.array([2, 0, 3, 1])
    order = np.argsort(renamed)
    other = Evidence(
        known.target, known.shadow, known.member, known.left_out, renamed[known.labels], known.reserved,
        known.target_logits[..., order], known.shadow_logits[..., order],
    )  # fmt: skip
    np.testing.assert_allclose(run(name, other), run(name, known), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "change", [np.arctan, np.exp, lambda phi: 3 * phi - 7], ids=["arctan", "exp", "linear"]
)
def test_per_class_ranks_do_not_depend_on_the_scale(change):
    known, _ = random_evidence(seed=5)
    other = Evidence(
        *(change(phi.astype(float)).astype(np.float32) for phi in (known.target, known.shadow)),
        known.member, known.left_out, known.labels, known.reserved,
    )  # fmt: skip
    np.testing.assert_array_equal(run("loss-per-class", other), run("loss-per-class", known))


def test_a_class_without_other_out_scores_gets_nan():
    phi = np.zeros((2, 3, 1), np.float32)
    member = np.array([[1, 0, 0], [0, 1, 1]], bool)
    known = Evidence(phi, phi, member, np.eye(2, dtype=bool), np.array([0, 0, 5]), np.zeros(3, bool))
    np.testing.assert_array_equal(np.isnan(run("loss-per-class", known)), [[False, False, True], [False] * 3])
