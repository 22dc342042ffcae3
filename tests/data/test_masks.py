"""Masks in complementary pairs: what is promised of them, by counting."""

from collections import Counter
from math import comb

import numpy as np
import pytest
from scipy.stats import chisquare, hypergeom

from leakgap import LeakgapError
from leakgap.data.masks import balanced_masks, mask_row, read_masks, write_masks


@pytest.mark.parametrize("reserved", [0, 7])
@pytest.mark.parametrize(("n_masks", "n_images"), [(4, 30), (16, 1797), (64, 501)])
def test_rows_come_in_complementary_pairs_of_halves(n_masks, n_images, reserved):
    member = balanced_masks(n_masks, n_images, seed=3, reserved=reserved)
    assert member.shape == (n_masks, n_images)
    assert member.dtype == bool
    free = member.any(axis=0)
    assert free.sum() == n_images - reserved
    for k in range(0, n_masks, 2):
        assert (member[k] ^ member[k + 1])[free].all()
        assert member[k].sum() == free.sum() // 2  # of an odd number of images the second holds one more
    assert (member.sum(axis=0)[free] == n_masks // 2).all()


@pytest.mark.parametrize("reserved", [0, 9, 0.2])
def test_earlier_masks_do_not_depend_on_their_number(reserved):
    many = balanced_masks(64, 101, seed=1, reserved=reserved)
    for n_masks in (4, 6, 16, 62):
        np.testing.assert_array_equal(balanced_masks(n_masks, 101, 1, reserved), many[:n_masks])


def test_all_halves_are_equally_likely():
    halves = Counter(row.tobytes() for seed in range(20) for row in balanced_masks(800, 6, seed)[::2])
    assert len(halves) == comb(6, 3)
    assert chisquare(list(halves.values())).pvalue > 0.001


@pytest.mark.parametrize("row", [2, 3])
def test_a_pair_says_nothing_about_the_next(row):
    """Of four images there are six halves: all 36 combinations of two pairs are equally likely."""
    both = Counter()
    for seed in range(4000):
        member = balanced_masks(4, 4, seed)
        both[member[0].tobytes(), member[row].tobytes()] += 1
    assert len(both) == 36
    assert chisquare(list(both.values())).pvalue > 0.001


def test_masks_of_different_pairs_overlap_by_chance_alone():
    member = balanced_masks(200, 60, seed=4)[::2].astype(int)
    overlap = (member @ member.T)[np.triu_indices(100, 1)]
    theory = hypergeom(60, 30, 30)
    cells = [theory.cdf(11), *theory.pmf(range(12, 19)), theory.sf(18)]
    observed = np.bincount(np.clip(overlap, 11, 19) - 11, minlength=9)
    assert chisquare(observed, len(overlap) * np.array(cells)).pvalue > 0.001


def test_seeds_decide_everything():
    one = balanced_masks(8, 200, seed=5, reserved=20)
    np.testing.assert_array_equal(one, balanced_masks(8, 200, seed=5, reserved=20))
    assert (one != balanced_masks(8, 200, seed=6, reserved=20)).any()


@pytest.mark.parametrize(
    ("reserved", "count"), [(0, 0), (1, 1), (37, 37), (0.25, 50), (0.1234, 25), (1.0, 1)]
)
def test_reserved_images_are_in_no_mask(reserved, count):
    member = balanced_masks(8, 200, seed=7, reserved=reserved)
    assert (~member.any(axis=0)).sum() == count


def test_reserved_images_are_a_random_choice_of_the_seed():
    chosen = np.array([~balanced_masks(4, 40, seed, reserved=10).any(axis=0) for seed in range(400)])
    assert chisquare(chosen.sum(axis=0)).statistic < 80  # 39 degrees of freedom, p about 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 100, 0), "grid.masks: 5 is not an even number"),
        ((2, 100, 0), "grid.masks: 2 is not"),
        ((0, 100, 0), "grid.masks: 0 is not"),
        ((4, 100, -1), "data.seed: -1 is below 0"),
        ((4, 3, 0), "grid.masks: 3 of 3 images are left, too few for masks of half of them"),
        ((4, 100, 0, -1), "data.reserved: -1 is neither"),
        ((4, 100, 0, -0.5), "data.reserved: -0.5 is neither"),
        ((4, 100, 0, 1.5), "data.reserved: 1.5 is neither"),
        ((4, 100, 0, 101), "data.reserved: 101 is neither"),
        ((4, 100, 0, float("nan")), "data.reserved: nan is neither"),
        ((4, 100, 0, float("inf")), "data.reserved: inf is neither"),
        ((4, 100, 0, 98), "data.reserved: 2 of 100 images are left, too few for masks"),
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
        (MEMBER[:3], NONE, "its masks are not pairs"),
        (MEMBER[[0, 2, 1, 3]], NONE, "its masks are not pairs"),
        (MEMBER, ~NONE, "its masks are not pairs"),
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


@pytest.mark.parametrize(
    "mask",
    ["m\u0660\u0660\u0661", "m\u00b2\u00b2\u00b2", "m01", "m0001", "m-01", "x001", "m", "", "m" + "1" * 5000],
)
def test_names_of_masks_have_plain_digits(mask):
    with pytest.raises(LeakgapError, match="is neither a mask m000"):
        mask_row(mask, 4)


# --- groups and coins


def test_groups_of_one_record_are_the_masks_without_groups():
    for reserved in (0, 0.1, 7):
        expected = balanced_masks(8, 101, 3, reserved)
        for groups in (np.arange(101), np.arange(101)[::-1] * 5, [f"p{each}" for each in range(101)]):
            np.testing.assert_array_equal(balanced_masks(8, 101, 3, reserved, groups=groups), expected)


@pytest.mark.parametrize("inclusion", ["half", "coin"])
def test_groups_are_drawn_whole_in_pairs_that_do_not_depend_on_their_number(inclusion):
    rng = np.random.default_rng(0)
    groups = rng.integers(30, size=200)
    member = balanced_masks(32, 200, 1, 20, groups=groups, inclusion=inclusion)
    reserved = ~member.any(0)
    np.testing.assert_array_equal(member[0::2] ^ member[1::2], np.broadcast_to(~reserved, (16, 200)))
    for group in range(30):
        for row in member:
            assert len(set(row[groups == group])) == 1
        assert len(set(reserved[groups == group])) == 1
    sizes = np.bincount(groups)
    assert abs(reserved.sum() - 20) <= sizes.max() / 2  # the nearest that whole groups come to
    kept = len(set(groups[~reserved]))
    if inclusion == "half":
        assert {len(set(groups[row])) for row in member} <= {kept // 2, (kept + 1) // 2}
    for fewer in (4, 16):
        part = balanced_masks(fewer, 200, 1, 20, groups=groups, inclusion=inclusion)
        np.testing.assert_array_equal(part, member[:fewer])


def test_coins_are_fair_and_independent():
    member = balanced_masks(4000, 12, seed=2, inclusion="coin")[::2]
    assert np.abs(member.mean(0) - 0.5).max() < 4 * np.sqrt(0.25 / 2000)
    covariance = np.cov(member.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 4 * 0.25 / np.sqrt(2000)
    sizes = member.sum(1)
    assert sizes.var() == pytest.approx(12 / 4, rel=0.15)  # of a binomial, not the one size of halves
    np.testing.assert_array_equal(balanced_masks(8, 12, 2, inclusion="coin")[::2], member[:4])


def test_groups_and_coins_that_cannot_be_are_one_sentence():
    for groups, told in (
        (np.arange(5), r"data\.groups: is \[5\], not one value for each of 40 records"),
        (np.zeros(40), r"data\.groups: 1 of 1 groups are left, too few for masks of half of them"),
        (np.append(np.nan, np.ones(39)), r"data\.groups: the group of record 0 is missing"),
    ):
        with pytest.raises(LeakgapError, match=told):
            balanced_masks(4, 40, 0, groups=groups)
    with pytest.raises(LeakgapError, match=r"data\.inclusion: 'die' is neither of half, coin"):
        balanced_masks(4, 40, 0, inclusion="die")
