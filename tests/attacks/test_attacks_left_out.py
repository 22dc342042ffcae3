"""What every attack keeps to: models left out are never looked at, and an image with too few models gets NaN."""

from dataclasses import replace

import numpy as np
import pytest

from evidence import random_evidence
from leakgap.attacks import ATTACKS, Evidence, boosted, gives_away, learned, run
from leakgap.data.masks import balanced_masks

# no shadow model
ALONE = {"correctness", "loss", "entropy", "modified-entropy", "attack-p", "quantile", "pretrained-loss"}


@pytest.fixture(autouse=True)
def _few_pairs(monkeypatch):
    monkeypatch.setattr(learned, "PAIRS", 64)
    monkeypatch.setattr(boosted, "TREES", 3)
    monkeypatch.setattr(boosted, "ROWS", 1000)


def test_a_pair_gives_away_its_own_masks_alone():
    member = balanced_masks(8, 50, seed=0, reserved=10)
    np.testing.assert_array_equal(gives_away(member, member), np.kron(np.eye(4), np.ones((2, 2))))
    np.testing.assert_array_equal(gives_away(member[[0, 0, 5]], member)[2], np.arange(8) // 2 == 2)
    # Any order of rows: what counts is which images they hold.
    order = np.random.default_rng(0).permutation(8)
    np.testing.assert_array_equal(gives_away(member, member[order]), np.arange(8)[:, None] // 2 == order // 2)


def test_masks_of_another_origin_give_away_themselves_alone():
    rng = np.random.default_rng(1)
    member = rng.random((9, 50)) < rng.random((9, 1))
    np.testing.assert_array_equal(gives_away(member, member), np.eye(9))
    assert not gives_away(rng.random((3, 50)) < 0.5, member).any()
    # Two models on one mask, as replicates: either gives both away.
    twice = member[[0, 1, 0]]
    np.testing.assert_array_equal(gives_away(twice, twice), [[1, 0, 1], [0, 1, 0], [1, 0, 1]])


@pytest.mark.parametrize("masks", ["pairs", "random"])
@pytest.mark.parametrize("name", ATTACKS)
def test_models_left_out_play_no_part(name, masks):
    known, _ = random_evidence(n=8, images=60, targets="paired", masks=masks, seed=1)
    score = run(name, known)
    rng = np.random.default_rng(0)
    differs = False
    for t in range(8):
        shadow, logits, member = known.shadow.copy(), known.shadow_logits.copy(), known.member.copy()
        gone = known.left_out[t]
        assert gone[t]
        shadow[gone] = rng.normal(scale=9, size=shadow[gone].shape)
        logits[gone] = rng.normal(scale=9, size=logits[gone].shape)
        member[gone] = ~member[gone] & ~known.reserved
        signals = {key: np.where(gone[:, None], 9, values) for key, values in known.shadow_signals.items()}
        other = replace(known, shadow=shadow, shadow_logits=logits, shadow_signals=signals, member=member)
        changed = run(name, other)
        np.testing.assert_allclose(changed[t], score[t], rtol=1e-5, atol=1e-6)
        differs |= not np.array_equal(changed[~gone], score[~gone], equal_nan=True)
    if name not in {"min-k", "min-k++"}:  # all models together choose k
        assert differs == (name not in ALONE)


@pytest.mark.parametrize("targets", ["paired", "outside"])
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "vulnerable-points"])
def test_an_image_with_too_few_models_gets_nan_and_no_other(name, targets):
    models = 2 * ATTACKS[name].min_in + 4
    known, _ = random_evidence(n=models, images=400, classes=2, targets=targets, masks="random", seed=2)
    kept = (~known.left_out).astype(int)
    # A single model has no spread, which the per-example variances need.
    least = 2 if name in {"lira-online", "lira-offline", "lira-offline-two-sided"} else 1
    enough = ~known.reserved & np.ones((len(kept), 1), bool)
    for side, needed in ((known.member, ATTACKS[name].min_in), (~known.member, ATTACKS[name].min_out)):
        enough &= kept @ side >= needed * least
    assert enough.any()
    if name in {"correctness", "loss", "entropy", "modified-entropy"} or name.endswith("-per-class"):
        enough |= known.reserved  # scored like any other
    np.testing.assert_array_equal(np.isfinite(run(name, known)), enough)


def test_vulnerable_points_are_looked_for_among_images_with_two_out_models():
    known, _ = random_evidence(n=6, images=400, classes=2, masks="random", seed=2)
    ranked = np.isfinite(run("attack-r", known))
    kept = np.isfinite(run("vulnerable-points", known))
    assert (ranked | ~kept).all()
    np.testing.assert_array_equal(kept.sum(1), np.round(0.1 * ranked.sum(1)))


@pytest.mark.parametrize("name", ATTACKS)
def test_the_least_number_of_masks_is_the_least(name):
    least = ATTACKS[name].min_masks
    known, _ = random_evidence(n=least, images=60)
    assert np.isfinite(run(name, known)[:, ~known.reserved]).any(1).all()
    if least > 4:
        assert np.isnan(run(name, random_evidence(n=least - 2, images=60)[0])).all()


@pytest.mark.parametrize("name", [name for name in ATTACKS if ATTACKS[name].needs_logits])
def test_logits_are_asked_for(name):
    known, _ = random_evidence()
    with pytest.raises(Exception, match="needs logits"):
        run(name, replace(known, target_logits=None, shadow_logits=None))


@pytest.mark.parametrize("name", [name for name in ATTACKS if not ATTACKS[name].needs_logits])
def test_logits_play_no_part_where_phi_is_enough(name):
    known, _ = random_evidence()
    without = replace(known, target_logits=None, shadow_logits=None)
    np.testing.assert_array_equal(run(name, without), run(name, known))


@pytest.mark.parametrize("name", ATTACKS)
def test_every_entry_resolves_and_says_what_it_is(name):
    attack = ATTACKS[name]
    assert callable(attack.resolve())
    assert attack.description
    assert attack.source


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"left_out": np.eye(8)}, "left_out must be boolean, not float64"),
        ({"left_out": np.eye(7, dtype=bool)}, r"left_out must have shape \[8, 8\], not \[7, 7\]"),
        ({"labels": np.zeros(39, int)}, r"labels must have shape \[40\], not \[39\]"),
        ({"reserved": np.ones(40, bool)}, "image 0 is reserved, yet in a mask"),
        ({"base": np.zeros(39)}, r"base must have shape \[40\]"),
        ({"features": np.zeros((39, 2))}, r"features must have shape \[40, 2\]"),
        ({"target_signals": {"a": np.zeros((8, 40))}}, "must hold the same names"),
        ({"target_logits": np.zeros((8, 39, 4))}, r"target_logits must have shape \[8, 40, 4\]"),
    ],
)
def test_evidence_that_does_not_fit_together_is_refused(changes, message):
    known, _ = random_evidence(reserved=0)
    with pytest.raises(ValueError, match=message):
        Evidence(**(vars(known) | changes))


def test_an_attack_can_not_spoil_the_evidence_of_the_next():
    """One that works in place is an error, and the arrays that the caller holds stay as they are, and writable."""
    known, _ = random_evidence(reserved=0)
    known = replace(
        known,
        target_signals={"min-k-20": known.target[..., 0]},
        shadow_signals={"min-k-20": known.shadow[..., 0]},
    )
    phi = np.array(known.target)
    held = Evidence(**(vars(known) | {"target": phi, "shadow": phi}))
    assert held.target is held.shadow
    for array in (held.target, held.target_logits, held.labels, held.target_signals["min-k-20"]):
        with pytest.raises(ValueError, match="read-only"):
            array += 1
    with pytest.raises(TypeError):
        held.target_signals["min-k-20"] = phi[..., 0]
    phi += 1


@pytest.mark.parametrize("name", ATTACKS)
def test_the_order_of_the_shadow_models_plays_no_part(name):
    if name in {"shadow-nn", "one-shadow", "rapid"}:
        pytest.skip("draws models or rows")
    known, _ = random_evidence(n=12, images=300, targets="paired", reserved=20, seed=4)
    order = np.random.default_rng(0).permutation(12)
    moved = replace(
        known,
        shadow=known.shadow[order],
        shadow_logits=known.shadow_logits[order],
        member=known.member[order],
        left_out=known.left_out[:, order],
        shadow_signals={key: values[order] for key, values in known.shadow_signals.items()},
    )
    np.testing.assert_allclose(run(name, moved), run(name, known), rtol=1e-4, atol=2e-5)
