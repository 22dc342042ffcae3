"""What the public functions take and refuse."""

import numpy as np
import pytest

import leakgap
from leakgap import LeakgapError, balanced_masks, epsilon_lower_bound, leave_one_out, phi, tpr_at_fpr

MEMBER = balanced_masks(4, 40, seed=0)
PHI = np.random.default_rng(0).normal(size=(4, 40, 1)).astype(np.float32)


def test_lists_are_as_good_as_arrays():
    logits, labels = np.random.default_rng(1).normal(size=(6, 3)), np.arange(6) % 3
    np.testing.assert_array_equal(phi(logits.tolist(), labels.tolist()), phi(logits, labels))
    lists = leave_one_out(PHI.tolist(), PHI.tolist(), MEMBER.tolist(), reserved=[False] * 40)
    np.testing.assert_allclose(lists, leave_one_out(PHI, PHI, MEMBER), rtol=1e-5)
    score, member = PHI[0, :, 0], MEMBER[0]
    expected = epsilon_lower_bound(score, member, guesses=5)
    assert epsilon_lower_bound(score.tolist(), member.tolist(), guesses=5) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: phi([["a", "b"]], [0]), "logits must be numbers, not <U1"),
        (lambda: phi([[1.0, 2.0], [1.0]], [0, 1]), "logits must be an array, not lists of unequal lengths"),
        (lambda: phi([[1.0, 2.0]], [2]), "labels must be whole numbers from 0 to 1"),
        (lambda: phi([[1.0, 2.0]], [-1]), "labels must be whole numbers from 0 to 1"),
        (lambda: phi([[1.0, 2.0]], [0.5]), "labels must be whole numbers from 0 to 1"),
        (lambda: phi([[1.0, 2.0]], [0, 1]), r"logits \[1, 2\] and labels \[2\] are not"),
        (lambda: leave_one_out(PHI, PHI, MEMBER.astype(int)), "member must be boolean, not int64"),
        (lambda: leave_one_out(PHI, PHI, MEMBER, reserved=[3, 4]), "reserved must be boolean, not int64"),
        (lambda: leave_one_out(PHI, PHI, MEMBER, reserved=[True]), r"reserved must have shape \[40\]"),
        (lambda: leave_one_out([[["x"]]], PHI, MEMBER), "target must be numbers, not <U1"),
        (lambda: tpr_at_fpr([1, 2], [0, 1], 0.1), "member must be boolean, not int64"),
        (lambda: tpr_at_fpr(None, [True], 0.1), "score must be numbers, not object"),
        (lambda: balanced_masks([8], 100, 0), r"grid.masks: \[8\] is not a whole number"),
        (lambda: balanced_masks(8, 100.0, 0), "number of images: 100.0 is not a whole number"),
        (
            lambda: epsilon_lower_bound([1, 2], [True, False], guesses=0.5),
            "guesses must be a whole number of 0 or more, not 0.5",
        ),
        (lambda: epsilon_lower_bound(["1"], [True], guesses=1), "score must be numbers"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_name(call, message):
    with pytest.raises(LeakgapError, match=message):
        call()


def test_wrong_arguments_are_value_errors_too():
    with pytest.raises(ValueError, match="member must be boolean"):
        leakgap.auc([1, 2], [0, 1])
