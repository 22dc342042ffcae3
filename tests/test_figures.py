"""Figures of a made-up study: what is drawn is what the tables say, and what can't be drawn is said."""

import itertools
import json
from pathlib import Path

import matplotlib.colors as colours
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.augment import MEMBERS
from leakgap.claims.between import censoring_floor
from leakgap.data.pool import Pool
from leakgap.report.figures import FIGURES, style
from leakgap.report.figures.data import LeftOut, Setting, target_fpr
from leakgap.report.figures.forest import attacks, contrasts, factorial, pooled_tpr, shadow_models
from leakgap.report.figures.images import most_exposed
from leakgap.report.figures.roc import informed_vs_uninformed, roc_by_technique
from leakgap.report.figures.scatter import Dots, together
from leakgap.results import known
from leakgap.study import Study

ALL = ["+".join(names) or "none" for size in range(5) for names in itertools.combinations(MEMBERS, size)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A study with both attackers and replicates; the working directory is its own."""
    study = synthetic.study(replicates=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("figures"))
        synthetic.write_study(study)
        yield synthetic.source(study)


def lines_of(axes) -> dict:
    return {line.get_label(): line for line in axes.get_lines()}


def texts_of(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_every_figure_is_drawn_or_named_with_a_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(techniques=["none", "policy"], replicates=2, steps=[5, 30])
    synthetic.write_study(study)
    run("figures", study)
    index = json.loads(Path(study.paths.figures, "index.json").read_text())
    expected = [figure.name for figure in FIGURES]
    expected += [f"{figure.name}_replicates" for figure in FIGURES if figure.both_designs]
    assert [entry["name"] for entry in index] == expected
    left_out = {entry["name"]: entry["left_out"] for entry in index if "left_out" in entry}
    assert set(left_out) == {"factorial", "factorial_replicates"}
    assert "factorial" in left_out["factorial"]
    for name in set(expected) - set(left_out):
        path = Path(study.paths.figures, name)
        assert path.with_suffix(".svg").read_text().startswith("<?xml")
        picture = np.asarray(Image.open(path.with_suffix(".png")).convert("L"))
        assert min(picture.shape) > 300
        assert 0.01 < (picture < 250).mean() < 0.9, f"{name} is empty"
    assert all(len(figure.caption) > 60 for figure in FIGURES)


def test_equal_tables_give_equal_bytes(source, tmp_path):
    from leakgap.report.figures import _save

    for folder in ("a", "b"):
        with style.styled():
            _save(roc_by_technique(source, source.curves), tmp_path / folder, "roc")
    for suffix in ("svg", "png"):
        assert (tmp_path / "a" / f"roc.{suffix}").read_bytes() == (
            tmp_path / "b" / f"roc.{suffix}"
        ).read_bytes()


def test_a_technique_looks_the_same_everywhere_and_unlike_every_other():
    looks = [style.look(technique) for technique in ALL]
    assert len({(look.marker, str(look.dash)) for look in looks}) == 16, "told apart in grey"
    assert len({look.colour for look in looks if look.dash == "-"}) == 8


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB
CONFUSIONS = {
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.01182, 0.04294, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


def lab(linear: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear sRGB."""
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(np.clip(xyz / [0.9505, 1, 1.089], 1e-6, None))
    return np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def linear_rgb(colour: str) -> np.ndarray:
    return (np.array(colours.to_rgb(colour)) + 0.055).clip(0.06) ** 2.4 / 1.055**2.4


@pytest.mark.parametrize("confusion", CONFUSIONS)
def test_colours_are_told_apart_without_red_or_green(confusion):
    seen = [
        lab(np.clip(np.array(CONFUSIONS[confusion]) @ linear_rgb(colour), 0, 1))
        for colour, _ in style.LOOKS.values()
    ]
    closest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))
    assert closest > 15
    apart = [
        lab(np.array(CONFUSIONS[confusion]) @ linear_rgb(colour))
        for colour in (style.INFORMED, style.UNINFORMED)
    ]
    assert np.linalg.norm(apart[0] - apart[1]) > 50


def test_steps_grow_lighter():
    light = [lab(linear_rgb(colour))[0] for colour in style.sequential(6)]
    assert np.all(np.diff(light) > 5)
    assert light[-1] < 85


def test_roc_shows_the_headline_attack_informed_at_the_last_step(source):
    lines = lines_of(roc_by_technique(source, source.curves).axes[0])
    curves = pd.read_parquet(source.study.paths.joined("curves"))
    for technique in source.techniques:
        kept = curves.query(
            "technique == @technique and step == 6 and attacker == 'informed' and attack == 'lira-online-fixed' "
            "and design == 'leave-one-out'"
        )
        np.testing.assert_array_equal(lines[technique].get_ydata(), kept["tpr"])


def test_informed_against_uninformed_states_the_paired_difference(source):
    with style.styled():
        figure = informed_vs_uninformed(source, source.curves, source.pooled, source.replicates)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(source.techniques[1:])
    rows = source.replicates.query("technique == 'policy' and fpr == 0.01").set_index("replicate")
    known, unknown = (rows[rows["attacker"] == who]["tpr"] for who in ("informed", "uninformed"))
    low, high = np.quantile(100 * (known - unknown), [0.025, 0.975])
    pooled = source.pooled.query(
        "technique == 'policy' and fpr == 0.01 and step == 6 and attack == 'lira-online-fixed'"
    )
    tpr = pooled.set_index("attacker")["tpr"]
    assert (
        f"at 1%: {100 * (tpr['informed'] - tpr['uninformed']):+.2f} [{low:+.2f}, {high:+.2f}]"
        in texts_of(figure)[0]
    )


def test_an_uninformed_study_shows_its_own_attacker(source):
    study = Study.load(
        {
            "name": "made-up",
            "grid": {"techniques": ["none", "policy"]},
            "attack": {"attackers": ["uninformed"]},
        }
    )
    kept = known(study, source.pooled)
    assert set(zip(kept["technique"], kept["attacker"], strict=True)) == {
        ("none", "informed"),
        ("policy", "uninformed"),
        (ALL[-1], "uninformed"),
    }
    alone = source.curves[source.curves["attacker"] == "informed"]
    with pytest.raises(LeftOut, match="both an informed and an uninformed"):
        informed_vs_uninformed(source, alone, source.pooled, source.replicates)


def test_single_targets_are_read_at_the_smallest_defined_fpr(source):
    targets = source.targets
    assert targets["tpr_at_0.001"].isna().all()
    assert target_fpr(source, targets) == 0.01
    with pytest.raises(LeftOut, match="too few non-members"):
        target_fpr(source, targets.assign(**{"tpr_at_0.01": np.nan}))
    figure = together("acc_gap", shade="test_acc")(source, targets)
    assert figure.axes[0].get_ylabel() == "TPR at 1% FPR, each target by itself (%)"


def test_dots_that_chance_explains_are_censored(source):
    dots = Dots.of(source, source.targets, "acc_gap")
    floor = censoring_floor(0.01, 810, 810)
    assert 0.01 < floor < 0.03
    tprs = list(source.targets["tpr_at_0.01"])
    assert [bool(mark) for mark in dots.censored] == [tpr <= floor for tpr in tprs]
    assert list(dots.y) == [0.01 if tpr <= floor else tpr for tpr in tprs]
    assert 0 < dots.censored.sum() < len(tprs)
    figure = together("acc_gap", shade="test_acc")(source, source.targets)
    assert f"{dots.censored.sum()} of {len(tprs)} censored" in texts_of(figure)
    drawn = sum(len(dotted.get_offsets()) for dotted in figure.axes[0].collections)
    assert drawn == len(tprs)


def test_outlying_losses_stretch_the_axis(source):
    targets = source.targets.assign(loss_gap=np.linspace(-0.1, 0.1, len(source.targets)))
    plain = together("loss_gap", shade="test_acc")(source, targets)
    assert plain.axes[0].get_xscale() == "linear"
    targets.loc[targets.index[0], "loss_gap"] = 50
    assert together("loss_gap", shade="test_acc")(source, targets).axes[0].get_xscale() == "symlog"


def test_undefined_pooled_tprs_are_named(source):
    empty = source.pooled.copy()
    empty.loc[empty["fpr"] == 0.001, ["tpr", "low", "high"]] = np.nan
    assert "undefined" not in texts_of(pooled_tpr(source, source.pooled))
    assert texts_of(pooled_tpr(source, empty)).count("undefined") == 3 * 6
    assert texts_of(attacks(source, empty)).count("undefined") == 3 * 5


def test_all_attacks_stand_side_by_side(source):
    axes = attacks(source, source.pooled).axes
    assert len(axes) == 3
    assert [text.get_text() for text in axes[0].get_yticklabels()] == list(source.study.attack.attacks)
    rows = source.pooled.query("technique == 'none' and step == 6 and fpr == 0.01").set_index("attack")["tpr"]
    drawn = [line.get_xdata()[0] for line in axes[0].get_lines() if line.get_marker() == "o"]
    assert drawn == [rows[name] for name in source.study.attack.attacks]


def test_shadow_models_need_more_than_one_count(source):
    figure = shadow_models(source, source.shadows)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["2", "6"]
    with pytest.raises(LeftOut, match="too few masks"):
        shadow_models(source, source.shadows.query("n_shadows == 6"))


def test_contrasts_are_the_regression_on_all_interactions():
    rng = np.random.default_rng(0)
    y = pd.DataFrame(rng.normal(size=(3, 16)), columns=rng.permutation(ALL))
    signs = {name: [1 if name in technique.split("+") else -1 for technique in y] for name in MEMBERS}
    terms = [names for size in range(5) for names in itertools.combinations(MEMBERS, size)]
    design = np.array([np.prod([signs[name] for name in names], axis=0) * np.ones(16) for names in terms]).T
    fitted = np.linalg.lstsq(design, y.to_numpy().T)[0]
    np.testing.assert_allclose(contrasts(y).to_numpy(), 2 * fitted[1:].T, atol=1e-12)


def test_main_effects_are_drawn_from_a_full_factorial(monkeypatch):
    setting = Setting(synthetic.study(techniques="factorial"))
    effect = {"crop": -1.0, "mirror": -0.25, "cutout": -0.5, "policy": -0.2}
    tpr = {name: 0.5 * 10 ** sum(effect[each] for each in name.split("+") if each in effect) for name in ALL}
    head = {"step": 6, "attack": "lira-online-fixed", "attacker": "informed"}
    pooled = pd.DataFrame(
        [head | {"technique": n, "fpr": f, "tpr": t} for n, t in tpr.items() for f in (0.01, 0.001)]
    )
    draws = pd.concat(
        [pooled.assign(replicate=k, tpr=pooled["tpr"] * scale) for k, scale in enumerate((0.9, 1, 1.1))]
    )
    # below chance counts as chance, so let nothing be
    axes = factorial(setting, pooled, draws).axes[1]
    drawn = {
        line.get_ydata()[0]: line.get_xdata()[0] for line in axes.get_lines() if line.get_marker() == "o"
    }
    np.testing.assert_allclose([drawn[row] for row in range(4)], list(effect.values()), atol=1e-12)
    monkeypatch.setitem(
        MEMBERS, "fade", "leakgap.augment.mirror:Mirror"
    )  # a fifth member is no matter of this study
    assert len(factorial(setting, pooled, draws).axes[1].get_lines()) == len(axes.get_lines())
    pair = Setting(synthetic.study(techniques={"factorial": ["crop", "cutout"]}))
    two = [frame[frame["technique"].isin(pair.techniques)] for frame in (pooled, draws)]
    names = [label.get_text() for label in factorial(pair, *two).axes[0].get_yticklabels()]
    assert names == ["crop", "cutout", "crop x cutout"]
    with pytest.raises(LeftOut, match="not the full factorial"):
        factorial(Setting(synthetic.study()), pooled, draws)


def test_most_exposed_images_come_first(source):
    rng = np.random.default_rng(0)
    pool = Pool(rng.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8), np.arange(40) % 10, 10)
    exposure = pd.DataFrame(
        {"technique": "none", "image": np.arange(40), "label": np.arange(40) % 10, "targets": 8}
    )
    exposure["caught"] = np.where(exposure["image"] == 17, 8, exposure["image"] % 5)
    axes = most_exposed(source, exposure, pool).axes[0]
    assert [text.get_text() for text in axes.texts][:3] == ["7: 8/8", "4: 4/8", "9: 4/8"]
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), pool.images[17].transpose(1, 2, 0))
    with pytest.raises(LeftOut, match="no image is caught"):
        most_exposed(source, exposure.assign(caught=0), pool)


def test_a_study_without_summary_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LeakgapError, match=r"results/made-up/curves.parquet is missing: run the attacks"):
        run("figures", synthetic.study())
