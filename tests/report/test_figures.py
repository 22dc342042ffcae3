"""Figures of a made-up study: what is drawn is what the tables say, and what can't be drawn is said."""

import itertools
import json
from pathlib import Path

import matplotlib.colors as colours
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.augment import MEMBERS
from leakgap.data.pool import Pool, write_pool
from leakgap.order.between import censoring_floor
from leakgap.report.figures import FIGURES, style
from leakgap.report.figures.forest import attacks, effects, factorial, pooled_tpr, shadow_models
from leakgap.report.figures.images import most_exposed
from leakgap.report.figures.roc import informed_vs_uninformed, roc_by_step, roc_by_technique
from leakgap.report.figures.scatter import Dots, apart, together
from leakgap.report.figures.setting import LeftOut, Setting, target_fpr
from leakgap.report.topics import DECISION, TOPICS
from leakgap.results import TABLES, Results

ALL = ["+".join(names) or "none" for size in range(5) for names in itertools.combinations(MEMBERS, size)]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A study with both attackers and replicates; the working directory is its own."""
    study = synthetic.study(replicates=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("figures"))
        synthetic.write_study(study)
        yield Setting(Results(study), pool=study.paths.pool)


@pytest.fixture(autouse=True)
def look():
    with style.styled():
        yield


def changed(setting: Setting, **tables: pd.DataFrame) -> Setting:
    """The same setting with other joined tables."""
    results = Results(setting.study)
    vars(results).update(tables)  # as if they had been read
    return Setting(results, setting.design, setting.pool)


def of_cell(frame: pd.DataFrame, technique: str, attacker: str = "informed") -> pd.DataFrame:
    """Rows of the headline attack at the last step."""
    return frame.query(
        "technique == @technique and step == 6 and attacker == @attacker and attack == 'lira-online-fixed' "
        "and design == 'leave-one-out'"
    )


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
    assert all(figure.topic in {DECISION, *TOPICS} for figure in FIGURES)


def test_nothing_covers_titles_and_labels(tmp_path, monkeypatch):
    """Two techniques leave one or two panels: the title is wide beside them, the axis label tall."""
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(techniques=["none", ALL[-1]])  # the longest name
    synthetic.write_study(study)
    setting = Setting(Results(study), pool=study.paths.pool)
    for figure in FIGURES:
        if figure.name == "factorial":  # two techniques are none
            continue
        drawn = figure.draw(setting)
        drawn.draw_without_rendering()
        words = [text for text in drawn.texts if text.get_text()]
        extents = [part.get_window_extent() for part in (*words, *drawn.legends)]
        extents += [axes.get_tightbbox() for axes in drawn.axes]
        page = drawn.bbox.padded(1)
        for box in extents:
            assert page.contains(*box.min), f"{figure.name}: cut off"
            assert page.contains(*box.max), f"{figure.name}: cut off"
        for one, other in itertools.combinations([box.padded(-1) for box in extents], 2):
            assert not one.overlaps(other), f"{figure.name}: one covers another"


def test_equal_tables_give_equal_bytes(setting, tmp_path):
    from leakgap.report.figures import _save

    for folder in ("a", "b"):
        _save(roc_by_technique(setting), tmp_path / folder, "roc")
    for suffix in ("svg", "png"):
        assert (tmp_path / "a" / f"roc.{suffix}").read_bytes() == (
            tmp_path / "b" / f"roc.{suffix}"
        ).read_bytes()


def test_a_technique_looks_the_same_everywhere_and_unlike_every_other():
    looks = list(style.looks(ALL).values())
    assert len({(look.marker, str(look.dash)) for look in looks}) == 16, "told apart in grey"
    assert len({look.colour for look in looks if look.dash == "-"}) == 8
    for size in (2, 5, 16):
        assert style.looks(ALL[-size:]) == dict(list(style.looks(ALL).items())[-size:])


def test_other_variants_take_what_is_left_and_no_two_look_alike():
    names = ["crop", *(f"variant-{number}" for number in range(30)), "policy", "none"]
    looks = style.looks(names)
    seen = {(look.colour, look.marker, str(look.dash)) for look in looks.values()}
    assert len(seen) == len(names)
    whole = style.looks(ALL)
    assert all(looks[name] == whole[name] for name in ("crop", "policy", "none"))
    assert style.looks(["plain", "smooth"])["plain"] == whole["none"]


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


def test_roc_shows_the_headline_attack_informed_at_the_last_step(setting):
    lines = lines_of(roc_by_technique(setting).axes[0])
    curves = setting.results.curves
    for technique in setting.techniques:
        np.testing.assert_array_equal(lines[technique].get_ydata(), of_cell(curves, technique)["tpr"])


def test_roc_by_step_shows_every_step_in_its_colour(setting):
    figure = roc_by_step(setting)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(setting.techniques)
    curves = setting.results.curves
    drawn = {line.get_color(): line.get_ydata() for line in figure.axes[1].get_lines()}
    for step, colour in enumerate(style.sequential(6), 1):
        kept = curves[curves["step"] == step].query(
            "technique == 'policy' and attacker == 'informed' and design == 'leave-one-out'"
        )
        np.testing.assert_array_equal(drawn[colour], kept["tpr"])


def test_informed_against_uninformed_states_the_paired_difference(setting):
    figure = informed_vs_uninformed(setting)
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(setting.techniques[1:])
    pooled, draws = (setting.results.pooled, setting.results.draws)
    sides, values = [], []
    for attacker in ("informed", "uninformed"):
        values.append(of_cell(pooled, "policy", attacker).query("fpr == 0.01")["tpr"].item())
        rows = of_cell(draws, "policy", attacker).query("fpr == 0.01 and quantity == 'pooled_tpr'")
        sides.append({kind: rows[kind].item() for kind in ("models", "images", "pairs")})
    # Cameron, Gelbach and Miller (2011), with Satterthwaite's degrees of freedom: 8 masks are 4 pairs
    v = {kind: np.var(sides[0][kind] - sides[1][kind], ddof=1) for kind in sides[0]}
    models = v["models"] * 4 / 3
    total = max(models + v["images"] - v["pairs"], v["pairs"])
    half = stats.t.ppf(0.975, max(3, 3 * (total / models) ** 2)) * np.sqrt(total)
    value = values[0] - values[1]
    expected = [f"{100 * number:+.2f}" for number in (value, value - half, value + half)]
    assert "at 1%: {} [{}, {}]".format(*expected) in texts_of(figure)[0]


def test_an_uninformed_study_shows_its_own_attacker(setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(attackers=("uninformed",))
    synthetic.write_study(study)
    alone = Setting(Results(study))
    assert set(zip(alone.pooled["technique"], alone.pooled["attacker"], strict=True)) == {
        ("none", "informed"),
        ("policy", "uninformed"),
        (ALL[-1], "uninformed"),
    }
    assert set(lines_of(roc_by_technique(alone).axes[0])) >= set(study.grid.techniques)
    with pytest.raises(LeftOut, match="both an informed and an uninformed"):
        informed_vs_uninformed(alone)


def test_single_targets_are_read_at_the_smallest_defined_fpr(setting):
    assert setting.targets["tpr_at_0.001"].isna().all()
    assert target_fpr(setting) == 0.01
    with pytest.raises(LeftOut, match="too few non-members"):
        target_fpr(changed(setting, summary=setting.results.summary.assign(**{"tpr_at_0.01": np.nan})))
    figure = together("acc_gap", shade="test_acc")(setting)
    assert figure.axes[0].get_ylabel() == "TPR at 1% FPR, each target by itself (%)"


def test_dots_that_chance_explains_are_censored(setting):
    dots = Dots.of(setting, "acc_gap")
    floor = censoring_floor(0.01, 810, 810)
    assert 0.01 < floor < 0.03
    tprs = list(setting.targets["tpr_at_0.01"])
    assert [bool(mark) for mark in dots.censored] == [tpr <= floor for tpr in tprs]
    assert list(dots.y) == [0.01 if tpr <= floor else tpr for tpr in tprs]
    assert 0 < dots.censored.sum() < len(tprs)
    figure = together("acc_gap", shade="test_acc")(setting)
    assert f"{dots.censored.sum()} of {len(tprs)} censored" in texts_of(figure)
    drawn = sum(len(dotted.get_offsets()) for dotted in figure.axes[0].collections)
    assert drawn == len(tprs)


def test_every_technique_has_a_panel_of_its_own_dots(setting):
    axes = apart("acc_gap")(setting).axes
    assert [panel.get_title(loc="left") for panel in axes] == list(setting.techniques)
    own = (setting.targets["technique"] == "policy").sum()
    faint, *mine = (len(dotted.get_offsets()) for dotted in axes[1].collections)
    assert (faint, sum(mine)) == (len(setting.targets) - own, own)


def test_outlying_losses_stretch_the_axis(setting):
    summary = setting.results.summary
    summary = summary.assign(loss_gap=np.linspace(-0.1, 0.1, len(summary)))
    plain = together("loss_gap", shade="test_acc")(changed(setting, summary=summary))
    assert plain.axes[0].get_xscale() == "linear"
    summary.loc[setting.targets.index[0], "loss_gap"] = 50
    outlying = together("loss_gap", shade="test_acc")(changed(setting, summary=summary))
    assert outlying.axes[0].get_xscale() == "symlog"


def test_undefined_pooled_tprs_are_named(setting):
    pooled = setting.results.pooled.copy()
    pooled.loc[pooled["fpr"] == 0.001, ["tpr", "low", "high"]] = np.nan
    draws = setting.results.draws.copy()
    draws.loc[draws["fpr"] == 0.001, "value"] = np.nan
    empty = changed(setting, pooled=pooled, draws=draws)
    assert "undefined" not in texts_of(pooled_tpr(setting))
    assert texts_of(pooled_tpr(empty)).count("undefined") == 3 * 6
    assert texts_of(attacks(empty)).count("undefined") == 3 * 5
    assert all("at 0.1%: undefined" in text for text in texts_of(informed_vs_uninformed(empty)))


def test_all_attacks_stand_side_by_side(setting):
    axes = attacks(setting).axes
    assert len(axes) == 3
    assert [text.get_text() for text in axes[0].get_yticklabels()] == list(setting.study.attack.attacks)
    rows = setting.pooled.query("technique == 'none' and step == 6 and fpr == 0.01").set_index("attack")[
        "tpr"
    ]
    drawn = [line.get_xdata()[0] for line in axes[0].get_lines() if line.get_marker() == "o"]
    assert drawn == [rows[name] for name in setting.study.attack.attacks]


def test_shadow_models_need_more_than_one_count(setting):
    figure = shadow_models(setting)
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == ["2", "6"]
    with pytest.raises(LeftOut, match="too few masks"):
        shadow_models(changed(setting, shadows=setting.results.shadows.query("n_shadows == 6")))


def test_effects_are_the_regression_on_all_interactions(monkeypatch):
    rng = np.random.default_rng(0)
    y = pd.Series(rng.normal(size=16), index=rng.permutation(ALL))
    signs = {name: [1 if name in technique.split("+") else -1 for technique in y.index] for name in MEMBERS}
    terms = [names for size in range(5) for names in itertools.combinations(MEMBERS, size)]
    design = np.array([np.prod([signs[name] for name in names], axis=0) * np.ones(16) for names in terms]).T
    fitted = dict(zip(map(" x ".join, terms), np.linalg.lstsq(design, y.to_numpy())[0], strict=True))
    for name, (even, odd) in effects(list(y.index)).items():
        assert y[even].mean() - y[odd].mean() == pytest.approx(2 * fitted[name], abs=1e-12)
    # a fifth member is no matter of this study
    monkeypatch.setitem(MEMBERS, "fade", "leakgap.augment.mirror:Mirror")
    assert list(effects(ALL)) == [name for name in fitted if name]
    assert list(effects(["none", "crop", "cutout", "crop+cutout"])) == ["crop", "cutout", "crop x cutout"]
    with pytest.raises(LeftOut, match="not the full factorial"):
        effects(["none", "policy", "crop+mirror+cutout+policy"])


def test_main_effects_are_drawn_from_a_full_factorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(techniques={"factorial": ["crop", "cutout"]})
    synthetic.write_study(study)
    axes = factorial(Setting(Results(study))).axes[study.attack.fpr.index(0.01)]
    drawn = {
        line.get_ydata()[0]: line.get_xdata()[0]
        for line in axes.get_lines()
        if line.get_marker() in ("o", "D")
    }
    assert [label.get_text() for label in axes.get_yticklabels()] == ["crop", "cutout", "crop x cutout"]
    pooled = Results(study).pooled.query("fpr == 0.01")
    none, crop, cutout, both = (
        np.log10(of_cell(pooled, name)["tpr"].item()) for name in ("none", "crop", "cutout", "crop+cutout")
    )
    expected = [(crop + both - none - cutout) / 2, (cutout + both - none - crop) / 2]
    np.testing.assert_allclose(
        [drawn[row] for row in range(3)], [*expected, (none + both - crop - cutout) / 2], atol=1e-12
    )


def test_most_exposed_images_come_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alone = synthetic.study(techniques=["none"])
    synthetic.write_study(alone)
    rng = np.random.default_rng(0)
    pool = Pool({"images": rng.integers(0, 255, (40, 3, 8, 8)).astype(np.uint8)}, np.arange(40) % 10, 10)
    write_pool(alone.paths.pool, pool)
    head = {"technique": "none", "step": 6, "epoch": 30, "attacker": "informed"}
    head |= {"attack": "lira-online-fixed", "targets": 8}
    exposure = pd.DataFrame(head | {"image": np.arange(40), "label": np.arange(40) % 10})
    exposure["caught"] = np.where(exposure["image"] == 17, 8, exposure["image"] % 5)
    # of 40 images with 8 targets each: 3 catches have a probability of 5.4e-5, 2 of 2.7e-3; the limit is 0.05 / 40

    def drawn(table: pd.DataFrame):
        beside = dict.fromkeys(set(TABLES["records"].columns) - set(table), 0.0)
        synthetic.rewrite(alone, records=table.assign(**beside))
        return most_exposed(Setting(Results(alone), pool=alone.paths.pool)).axes[0]

    axes = drawn(exposure)
    assert [text.get_text() for text in axes.texts][:3] == ["7: 8/8", "4: 4/8", "9: 4/8"]
    assert [text.get_text()[-3:] for text in axes.texts] == ["8/8"] + ["4/8"] * 8 + ["3/8"] * 8
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), pool.images[17].transpose(1, 2, 0))
    with pytest.raises(LeftOut, match="no image is caught more often"):
        drawn(exposure.assign(caught=0))
    write_pool(alone.paths.pool, Pool({"features": rng.normal(size=(40, 3))}, np.arange(40) % 10, 10))
    with pytest.raises(LeftOut, match="has no array images, only features"):
        drawn(exposure)


def test_a_study_without_summary_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LeakgapError, match=r"results/made-up/results.zip is missing: run the attacks"):
        run("figures", synthetic.study())
