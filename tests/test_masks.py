import numpy as np
import pytest
from scipy.stats import chisquare, hypergeom

from leakgap import LeakgapError
from leakgap.data.masks import balanced_masks, read_masks, write_masks


@pytest.mark.parametrize(("n_masks", "n_images"), [(4, 30), (16, 1797), (64, 501)])
def test_every_image_is_in_exactly_half_of_the_masks(n_masks, n_images):
    member = balanced_masks(n_masks, n_images, seed=3)
    assert member.shape == (n_masks, n_images)
    assert member.dtype == bool
    assert (member.sum(axis=0) == n_masks // 2).all()


def test_masks_hold_about_half_of_the_images():
    sizes = balanced_masks(32, 10_000, seed=0).sum(axis=1)
    assert sizes.sum() == 32 * 5_000
    assert np.abs(sizes - 5_000).max() < 5 * 50  # binomial: sd 50


def test_all_choices_of_masks_are_equally_likely():
    member = balanced_masks(4, 60_000, seed=1)
    counts = np.bincount(member.T @ [1, 2, 4, 8], minlength=16)
    pairs = [3, 5, 6, 9, 10, 12]  # two of four bits
    assert counts.sum() == counts[pairs].sum()
    assert chisquare(counts[pairs]).pvalue > 0.001


def test_images_are_independent():
    member = balanced_masks(16, 40_000, seed=2)
    shared = (member[:, :20_000] & member[:, 20_000:]).sum(axis=0)  # masks that two images have in common
    theory = hypergeom(16, 8, 8)
    expected = [theory.cdf(1), *theory.pmf(range(2, 7)), theory.sf(6)]
    observed = np.bincount(np.clip(shared, 1, 7) - 1, minlength=7)
    assert chisquare(observed, 20_000 * np.array(expected)).pvalue > 0.001


def test_two_masks_share_as_many_images_as_the_balance_implies():
    n, s = 16, 40_000
    first, second, *_ = balanced_masks(n, s, seed=4)
    overlap = (first & second).sum()
    p = 0.5 * (n / 2 - 1) / (n - 1)
    assert abs(overlap - s * p) < 4 * np.sqrt(s * p * (1 - p))


def test_seeds_decide_everything():
    one = balanced_masks(8, 200, seed=5, reserved=20)
    np.testing.assert_array_equal(one, balanced_masks(8, 200, seed=5, reserved=20))
    assert (one != balanced_masks(8, 200, seed=6, reserved=20)).any()


@pytest.mark.parametrize(
    ("reserved", "count"), [(0, 0), (1, 1), (37, 37), (0.25, 50), (0.1234, 25), (1.0, 1)]
)
def test_reserved_images_are_in_no_mask_and_leave_the_others_alone(reserved, count):
    member = balanced_masks(8, 200, seed=7, reserved=reserved)
    out = ~member.any(axis=0)
    assert out.sum() == count
    np.testing.assert_array_equal(member[:, ~out], balanced_masks(8, 200, seed=7)[:, ~out])


def test_reserved_images_are_a_random_choice_of_the_seed():
    chosen = np.array([~balanced_masks(4, 40, seed, reserved=10).any(axis=0) for seed in range(400)])
    assert chisquare(chosen.sum(axis=0)).statistic < 80  # 39 degrees of freedom, p about 1e-4


def test_more_images_extend_the_masks():
    np.testing.assert_array_equal(balanced_masks(8, 100, 1), balanced_masks(8, 300, 1)[:, :100])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 100, 0), "grid.masks: 5 is not an even number"),
        ((2, 100, 0), "grid.masks: 2 is not"),
        ((0, 100, 0), "grid.masks: 0 is not"),
        ((4, 3, 0), "grid.masks: 3 of 3 images are left, too few for 4 masks"),
        ((64, 5, 0), "grid.masks: 5 of 5 images are left, too few for 64"),
        ((4, 100, 0, -1), "data.reserved: -1 is neither"),
        ((4, 100, 0, -0.5), "data.reserved: -0.5 is neither"),
        ((4, 100, 0, 1.5), "data.reserved: 1.5 is neither"),
        ((4, 100, 0, 101), "data.reserved: 101 is neither"),
        ((4, 100, 0, float("nan")), "data.reserved: nan is neither"),
        ((4, 100, 0, float("inf")), "data.reserved: inf is neither"),
        ((4, 100, 0, 98), "data.reserved: 2 of 100 images are left, too few for 4 masks"),
        ((4, 100, 0, 0.99), "data.reserved: 1 of 100 images are left"),
    ],
)
def test_impossible_requests_name_their_key(arguments, message):
    with pytest.raises(LeakgapError, match=f"^{message}"):
        balanced_masks(*arguments)


def test_files_hold_the_masks(tmp_path):
    member = balanced_masks(6, 50, seed=0, reserved=5)
    reserved = ~member.any(axis=0)
    for name in ("a", "b"):
        write_masks(tmp_path / name / "masks.npz", member, reserved)
    for read, written in zip(read_masks(tmp_path / "a" / "masks.npz"), (member, reserved), strict=True):
        assert read.dtype == bool
        np.testing.assert_array_equal(read, written)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["masks.npz"]
    assert (tmp_path / "a/masks.npz").read_bytes() == (tmp_path / "b/masks.npz").read_bytes()


MEMBER, NONE = balanced_masks(4, 20, seed=0), np.zeros(20, bool)


@pytest.mark.parametrize(
    ("member", "reserved", "message"),
    [
        (MEMBER.astype(np.uint8), NONE, "member is uint8 and reserved bool, not bool"),
        (MEMBER, NONE.astype(int), "member is bool and reserved int64, not bool"),
        (MEMBER[0], NONE, "are not .masks,images. and .images."),
        (MEMBER, NONE[1:], "are not .masks,images. and .images."),
        (MEMBER[:3], NONE, "not every unreserved image is in half of the 3 masks"),
        (MEMBER, ~NONE, "not every unreserved image"),
    ],
)
def test_files_that_hold_other_things_are_refused(tmp_path, member, reserved, message):
    path = tmp_path / "masks.npz"
    with pytest.raises(LeakgapError, match=f"masks.npz: .*{message}"):
        write_masks(path, member, reserved)
    assert not path.exists()
    np.savez(path, member=member, reserved=reserved)
    with pytest.raises(LeakgapError, match=f"masks.npz: .*{message}"):
        read_masks(path)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "masks.npz"
    with pytest.raises(LeakgapError, match=r"masks.npz: there is no such file"):
        read_masks(path)
    write_masks(path, MEMBER, NONE)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(LeakgapError, match=r"masks.npz: is not a readable .npz"):
        read_masks(path)
    np.savez(path, member=MEMBER)
    with pytest.raises(LeakgapError, match="has no array reserved, only member"):
        read_masks(path)
