"""Audits of every kind of answers, of models that remember nothing: no warning, and an AUC of one half."""

import numpy as np
import pytest

from leakgap import Answers, audit_model

S, SHADOWS = 300, 8
ATTACKS = ["loss", "lira-pooled"]


def sigmoid(odds: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-odds))


def kinds(rng: np.random.Generator):
    """Return functions that draw a model's answers; `leak` is added to members' log odds."""
    hard, three = rng.normal(size=S), rng.integers(0, 3, S)
    two, labels, y = rng.integers(0, 2, S), rng.integers(0, 2, (S, 3)), rng.normal(size=S)

    def logits(member, leak):
        z = rng.normal(size=(S, 3))
        z[np.arange(S), three] += 1 + hard + leak * member
        return {"label": three, "logits": z}

    def probability(member, leak):
        right = sigmoid(1 + hard + rng.normal(size=S) + leak * member)
        return {"label": two, "probability": np.where(two == 1, right, 1 - right)}

    def several(member, leak):
        right = sigmoid((hard + leak * member)[:, None] + rng.normal(size=(S, 3)))
        return {"labels": labels, "probabilities": np.where(labels == 1, right, 1 - right)}

    def regression(member, leak):
        return {"label": y, "prediction": y + rng.normal(size=S) * np.exp(-leak * member)}

    def tokens(member, leak):
        of = [rng.exponential(1 / (1 + leak * inside), 5 + k % 9) for k, inside in enumerate(member)]
        return {"tokens": [-each for each in of]}

    def log_density(member, leak):
        return {"log_density": hard + rng.normal(size=S) + leak * member}

    def score(member, leak):  # a lower one speaks for a member
        return {"score": hard + 0.5 * rng.normal(size=S) - leak * member}

    return {
        each.__name__: each for each in (logits, probability, several, regression, tokens, log_density, score)
    }


def audited(kind: str, leak: float, seed: int, shadows: int = SHADOWS):
    rng = np.random.default_rng(seed)
    draw = kinds(rng)[kind]

    def model(name: str) -> Answers:
        member = rng.permutation(S) < S // 2
        return Answers.of({"record": np.arange(S), "member": member, **draw(member, leak)}, name)

    return audit_model(
        model("target"), [model(f"shadow{k}") for k in range(shadows)], attacks=ATTACKS[: 1 + (shadows > 0)]
    )


KINDS = list(kinds(np.random.default_rng(0)))


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_leak_nothing_is_found_and_nothing_is_warned_of(kind):
    seeds = range(6)
    audits = [audited(kind, 0, seed) for seed in seeds]
    assert [told for audit in audits for told in audit.about["warnings"]] == []
    assert not any(audit.about["signs_against_chance"] for audit in audits)
    auc = np.array([audit.summary["auc"][0] for audit in audits])
    # the standard error of an AUC without a leak, n members and n others: sqrt((2 n + 1) / (12 n^2))
    error = np.sqrt((S + 1) / (12 * (S / 2) ** 2) / len(seeds))
    assert abs(auc.mean() - 0.5) < 4 * error
    held = sum(a.summary["auc_low"][0] <= 0.5 <= a.summary["auc_high"][0] for a in audits)
    assert held >= 4  # of 6 intervals at 95%: fewer with a probability of .002


@pytest.mark.parametrize("kind", KINDS)
def test_a_leak_is_found_and_not_warned_of(kind):
    audit = audited(kind, 1.5, 0)
    assert audit.about["warnings"] == []
    assert audit.summary["auc_low"][0] > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_memorization_is_of_a_probability_or_of_right_predictions(kind):
    records = audited(kind, 1.5, 0).records
    known = kind not in ("regression", "log_density", "score")
    assert records["memorization"].notna().any() == known
    assert not known or records["memorization"].mean() > 0


def test_a_score_that_is_lower_for_members_is_no_all_clear_without_shadow_models():
    told = audited("score", 1.5, 0, shadows=0).about["warnings"]
    assert len(told) == 1
    assert "if a lower score speaks for a member, turn its sign in all files" in told[0]
