"""One attack job, against the definitions: what it measures on targets, halves, pools and single images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from leakgap import Answers, attacks, audit_model
from leakgap.__main__ import main
from leakgap.answers import store as logits
from leakgap.archive import Archive
from leakgap.attacks.lira import leave_one_out
from leakgap.data.masks import balanced_masks, read_masks, write_masks
from leakgap.data.pool import Pool, read_labels, write_pool
from leakgap.measure import roc
from leakgap.measure.epsilon import epsilon_lower_bound, guesses_for, largest_epsilon
from leakgap.results import Results
from leakgap.study import Study

IMAGES = 400
STUDY = {
    "name": "made",
    "data": {"reserved": 0.1},
    "grid": {"techniques": ["none", "crop"], "masks": 8, "replicates": 2},
    "train": {"steps": [3, 7]},
    "attack": {
        "attacks": ["lira-online-fixed", "loss", "lira-pooled", "lira-steps"],
        "bootstrap": 100,
        "keep": ["lira-online-fixed", "loss", "lira-steps"],
    },
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study of random logits with a push for members, attacked by the verb."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("audit"))
        study = Study.load(STUDY)
        Path("study.json").write_text(study.model_dump_json())
        rng = np.random.default_rng(0)
        labels = np.arange(IMAGES) % 4
        write_pool(
            study.paths.pool, Pool({"images": rng.integers(0, 256, (IMAGES, 1, 4, 4), np.uint8)}, labels, 4)
        )
        member = balanced_masks(8, IMAGES, 0, 0.1)
        write_masks(study.paths.masks, member, member.sum(axis=0) == 0)
        for technique in study.grid.techniques:
            for mask in study.models:
                row = int(mask[1:]) if mask[0] == "m" else 0
                push = 3 * member[row][:, None] * (np.arange(4) == labels[:, None])
                steps = [rng.normal(size=(2, IMAGES, 4)).astype(np.float32) + k * push for k in (0.5, 1)]
                path = study.paths.logits(technique, mask)
                naming = {"study": study.name, "technique": technique, "mask": mask, "epochs": (3, 7)}
                logits.write(path, steps, labels, member[row], **naming)
        job = ["--study", "study.json", "--technique", "crop"]
        for shadow in ("crop", "none"):
            assert main(["attack", *job, "--shadow", shadow]) == 0
        yield study


def table(study: Study, name: str, shadow: str = "crop") -> pd.DataFrame:
    return getattr(of_job(study, study.paths.attack("crop", shadow)), name)


def of_job(study: Study, path: str) -> Results:
    """What one attack job found, read as a study's results are."""
    results = Results(study)
    vars(results)["_archive"] = Archive(path)
    return results


def kept(study: Study, step: int, attack: str, shadow: str = "crop") -> tuple[np.ndarray, np.ndarray]:
    """Scores and membership [targets, evaluated images] as stored."""
    scores = pd.read_parquet(study.paths.scores("crop", shadow))
    scores = scores[scores["step"] == step]
    wide = scores.pivot(index="mask", columns="image", values=[attack, "member"])
    return wide[attack].to_numpy(float), wide["member"].to_numpy(bool)


def test_every_target_is_measured_by_its_own_scores(made: Study):
    metrics = table(made, "summary").query("attack == 'loss' and step == 2").set_index("mask")
    score, member = kept(made, 2, "loss")
    assert list(metrics.index) == made.models
    for row, mask in enumerate(sorted(made.models)):
        auc = roc_auc_score(member[row], score[row])
        assert metrics.loc[mask, "auc"] == pytest.approx(auc, abs=1e-12)
        outside = np.sort(score[row][~member[row]])[::-1]
        allowed = int(0.01 * (len(outside) + 1)) - 1  # (1 + false positives) / (n0 + 1) <= 1%
        assert metrics.loc[mask, "tpr_at_0.01"] == (score[row][member[row]] > outside[allowed]).mean()
    assert metrics["tpr_at_0.001"].isna().all()


def test_means_over_targets_are_of_the_summarys_rows(made: Study):
    """Of each design, with an interval around it; a mean of which one TPR is undefined is undefined."""
    for shadow in ("crop", "none"):
        means = table(made, "means", shadow)
        summary = table(made, "summary", shadow).query("attack == 'lira-online-fixed'")
        assert set(means["attack"]) == {"lira-online-fixed", ""}
        for design, first, targets in (("leave-one-out", "m", 8), ("replicates", "r", 2)):
            rows = summary[summary["mask"].str.startswith(first)].groupby("step")
            of_design = means[means["design"] == design]
            for (step, quantity, fpr), found in of_design.groupby(["step", "quantity", "fpr"], dropna=False):
                own = rows.get_group(step)[quantity if np.isnan(fpr) else f"tpr_at_{fpr:g}"]
                assert found["n"].item() == len(own) == targets
                np.testing.assert_allclose(found["value"].item(), own.mean(skipna=False))
                if fpr == 0.001:
                    assert found[["value", "low", "high"]].isna().all(axis=None)
                else:
                    assert found["low"].item() < found["value"].item() < found["high"].item()


def test_draws_without_augmentation_are_kept_at_every_step(made: Study):
    """Whichever attack turns out to be the strongest, its early stopping can be judged."""
    attack = made.attack.model_copy(update={"keep": None})
    Path("bare.json").write_text(made.model_copy(update={"attack": attack}).model_dump_json())
    job = ["--study", "bare.json", "--technique", "none", "--shadow", "none"]
    assert main(["attack", *job]) == 0
    bare = of_job(Study.load("bare.json"), made.paths.attack("none", "none"))
    assert set(bare.curves["attack"]) == {"lira-online-fixed", "loss"}  # whatever scores are kept
    plain = bare.draws.query("quantity == 'pooled_tpr'")
    for draws, first_step in (
        (plain, set(made.attack.attacks)),
        (table(made, "draws").query("quantity == 'pooled_tpr'"), {"lira-online-fixed"}),
    ):
        assert set(draws.query("step == 1")["attack"]) == first_step
        assert set(draws.query("step == 2")["attack"]) == set(made.attack.attacks)


def test_replicates_train_on_mask_0_and_are_never_shadows(made: Study):
    _, member = kept(made, 1, "loss")
    assert (member[8:] == member[0]).all()  # r000, r001 after m000..m007
    shadows = table(made, "shadows")
    assert shadows["n_shadows"].max() == 6
    pooled = table(made, "pooled").query("step == 2 and attack == 'loss' and fpr == 0.01")
    assert dict(zip(pooled["design"], pooled["n_targets"], strict=True)) == {
        "leave-one-out": 8,
        "replicates": 2,
    }


@pytest.mark.parametrize("attack", ["lira-online-fixed", "lira-pooled"])
@pytest.mark.parametrize("shadow", ["crop", "none"])
def test_with_all_shadow_models_the_tpr_is_the_pooled_one(made: Study, shadow: str, attack: str):
    pooled = table(made, "pooled", shadow).query(
        "attack == @attack and step == 2 and design == 'leave-one-out'"
    )
    shadows = table(made, "shadows", shadow).query("attack == @attack and n_shadows == 6")
    assert len(shadows) == len(pooled) > 0
    for column in ("fpr", "tpr", "low", "high"):
        np.testing.assert_array_equal(shadows[column], pooled[column])


@pytest.mark.parametrize(("attack", "variance"), [("lira-online-fixed", "fixed"), ("lira-pooled", "pooled")])
def test_fewer_shadow_models_are_whole_pairs(made: Study, attack: str, variance: str):
    """Of 8 masks, two groups of two pairs: every target is attacked by the one other pair of its group."""
    member, reserved = read_masks(made.paths.masks)
    phi = {}
    for mask in made.masks:
        answers = pd.read_parquet(made.paths.logits("crop", mask)).query("step == 2")
        phi[mask] = answers.pivot(index="image", columns="view", values="phi").to_numpy()
    phi = np.stack(list(phi.values()))
    pairs = np.random.default_rng(made.attack.seed).permutation(4)
    score = np.empty(member.shape, np.float32)
    for one, other in (pairs[:2], pairs[2:]):
        group = np.array([2 * one, 2 * one + 1, 2 * other, 2 * other + 1])
        score[group] = leave_one_out(
            phi[group], phi[group], member[group], variance=variance, reserved=reserved
        )
    row = table(made, "shadows").query("attack == @attack and n_shadows == 2 and fpr == 0.01")
    expected = roc.tpr_at_fpr(score[:, ~reserved].ravel(), member[:, ~reserved].ravel(), 0.01)
    assert row["tpr"].item() == expected > 0


def test_an_attack_on_steps_sees_those_before(made: Study):
    member, reserved = read_masks(made.paths.masks)
    answers = [pd.read_parquet(made.paths.logits("crop", mask)) for mask in made.masks]
    phi = [
        np.stack([a.query(f"step == {step} and view == 0")["phi"].to_numpy() for a in answers])
        for step in (1, 2)
    ]
    known = attacks.Evidence(
        target=phi[1][..., None],
        shadow=phi[1][..., None],
        member=member,
        left_out=attacks.gives_away(member, member),
        labels=np.arange(IMAGES) % 4,
        reserved=reserved,
        target_earlier=phi[0][:, None],
        shadow_earlier=phi[0][:, None],
    )
    score, _ = kept(made, 2, "lira-steps")
    np.testing.assert_allclose(score[:8], attacks.run("lira-steps", known)[:, ~reserved], rtol=1e-5)


@pytest.mark.parametrize("shadow", ["crop", "none"])
@pytest.mark.parametrize("attack", ["loss", "lira-online-fixed"])
def test_pooled_tpr_is_that_of_all_pairs_under_one_threshold(made: Study, attack: str, shadow: str):
    score, member = kept(made, 2, attack, shadow)
    row = table(made, "pooled", shadow).query(
        "attack == @attack and step == 2 and fpr == 0.01 and design == 'leave-one-out'"
    )
    score, member = score[:8].ravel(), member[:8].ravel()
    assert row["tpr"].item() == roc.tpr_at_fpr(score, member, 0.01)
    assert row["low"].item() < row["tpr"].item() < row["high"].item()
    assert row["attacker"].item() == ("informed" if shadow == "crop" else "uninformed")
    assert (row["n_members"].item(), row["n_nonmembers"].item()) == (member.sum(), (~member).sum())


def test_halves_take_gap_and_tpr_from_different_images(made: Study):
    whole, halves = table(made, "summary"), table(made, "halves")
    assert set(halves["attack"]) == {"lira-online-fixed"}
    stored = pd.read_parquet(made.paths.logits("crop", "m003")).query("step == 2 and view == 0")
    reserved = np.load(made.paths.masks)["reserved"]
    seen = stored[~reserved & (stored["image"] % 2 == 0)]
    right = np.stack(seen["logits"].to_list()).argmax(1) == seen["label"]
    row = halves.query("mask == 'm003' and step == 2").iloc[0]
    assert row["train_acc"] == pytest.approx(right[seen["member"]].mean())
    assert row["acc_gap"] == pytest.approx(right[seen["member"]].mean() - right[~seen["member"]].mean())
    score, member = kept(made, 2, "lira-online-fixed")
    images = np.flatnonzero(~reserved)
    odd = images % 2 == 1
    assert row["auc"] == pytest.approx(roc_auc_score(member[3, odd], score[3, odd]))
    assert row["n_members"] == member[3, odd].sum()
    assert whole.query("mask == 'm003' and step == 2")["n_members"].iloc[0] == member[3].sum()


def test_exposure_counts_how_often_a_member_is_caught(made: Study):
    exposure = table(made, "records").query("attack == 'lira-online-fixed'")
    score, member = kept(made, 2, "lira-online-fixed")
    caught = np.zeros(member.shape[1], int)
    for s, m in zip(score[:8], member[:8], strict=True):
        worst = np.sort(s[~m])[::-1][int(0.01 * ((~m).sum() + 1)) - 1]
        caught += m & (s > worst)
    assert (exposure["caught"].to_numpy() == caught).all()
    assert (exposure["targets"] == 4).all()
    # below the threshold on the whole where never caught, above it where always
    assert exposure.loc[caught == 0, "exposure"].mean() < 0 < exposure.loc[caught == 4, "exposure"].min()
    phi = np.stack(
        [
            pd.read_parquet(made.paths.logits("crop", mask)).query("step == 2 and view == 0")["phi"]
            for mask in made.masks
        ]
    )
    p = 1 / (1 + np.exp(-phi[:, exposure["image"]]))
    expected = [p[m, i].mean() - p[~m, i].mean() for i, m in enumerate(member[:8].T)]
    np.testing.assert_allclose(exposure["memorization"], expected, atol=1e-6)


@pytest.mark.parametrize("shadow", ["crop", "none"])
def test_epsilon_is_bounded_for_each_target_and_for_the_recipe(made: Study, shadow: str):
    score, member = kept(made, 2, made.attack.headline, shadow)
    score, member = score[:8], member[:8]
    rows = table(made, "epsilon", shadow).set_index("mask")
    assert list(rows.index) == made.masks
    assert set(rows["attack"]) == {made.attack.headline}
    assert set(rows["step"]) == {2}
    guesses = guesses_for(180)
    assert (rows["matches"] == 180).all()
    assert (rows["guesses"] == guesses).all()
    for place, mask in enumerate(made.masks):
        bound = epsilon_lower_bound(
            score[place], member[place], guesses=guesses, seed=made.attack.seed + place
        )
        row = rows.loc[mask]
        assert row["epsilon"] == bound >= row["together"]
        if bound > 0:  # no smaller epsilon makes as many right guesses with more than 5%
            share = 1 / (1 + np.exp(-bound))
            assert stats.binom.sf(row["right"] - 1, guesses, share) == pytest.approx(0.05)
    assert (
        rows["together"].max() == largest_epsilon(score, member, guesses=guesses, seed=made.attack.seed) > 0
    )


@pytest.mark.parametrize("shadow", ["crop", "none"])
def test_thresholds_come_from_shadow_models_outside_the_targets_pair(made: Study, shadow: str):
    member, reserved = read_masks(made.paths.masks)
    phi = []
    for mask in made.masks:
        answers = pd.read_parquet(made.paths.logits(shadow, mask)).query("step == 2")
        phi.append(answers.pivot(index="image", columns="view", values="phi").to_numpy())
    phi = np.stack(phi)
    others = leave_one_out(phi, phi, member, variance="fixed", reserved=reserved)[:, ~reserved]
    score, _ = kept(made, 2, made.attack.headline, shadow)
    member = member[:, ~reserved]
    rows = table(made, "thresholds", shadow).set_index(["mask", "fpr"])
    assert len(rows) == 8 * len(made.attack.fpr)
    for place, mask in enumerate(made.masks):
        models = [k for k in range(8) if k not in (place, place ^ 1)]
        outside = np.sort(np.concatenate([others[k][~member[k]] for k in models]))[::-1]
        for fpr in (0.01, 0.001):
            row = rows.loc[mask, fpr]
            limit = outside[int(fpr * (len(outside) + 1)) - 1]
            assert row["threshold"] == pytest.approx(limit, rel=1e-5)
            called = score[place] > row["threshold"]
            assert row["achieved_fpr"] == (called & ~member[place]).sum() / 180
            assert row["achieved_tpr"] == (called & member[place]).sum() / 180


def test_a_missing_model_is_an_error_that_names_it(made: Study, capsys: pytest.CaptureFixture):
    path = Path(made.paths.logits("none", "m005"))
    path.rename(path.with_suffix(".away"))
    assert main(["attack", "--study", "study.json", "--technique", "crop", "--shadow", "none"]) == 1
    assert str(path) in capsys.readouterr().err
    path.with_suffix(".away").rename(path)


def test_swapped_files_are_an_error(made: Study, capsys: pytest.CaptureFixture):
    one, other = (Path(made.paths.logits("none", mask)) for mask in ("m001", "m002"))
    spare = one.with_suffix(".spare")
    for before, after in ((one, spare), (other, one), (spare, other)):
        before.rename(after)
    assert main(["attack", "--study", "study.json", "--technique", "crop", "--shadow", "none"]) == 1
    assert "holds the model made/none/m002, not made/none/m001" in capsys.readouterr().err


# --- a grid's job and an audit of the same models


@pytest.mark.parametrize("mask", ["m000", "m005"])
def test_a_grids_job_and_an_audit_of_the_same_models_say_the_same(made: Study, mask: str):
    """Whatever both say of one target: scores, AUC and TPR."""
    (labels, *_), (member, reserved) = read_labels(made.paths.pool), read_masks(made.paths.masks)
    paths = [made.paths.logits("crop", name) for name in made.masks]
    known = {"study": made.name, "technique": "crop", "masks": made.masks, "member": member, "labels": labels}
    step = logits.Reader(paths, **known).read(2, with_correct=True)

    def answers(row: int) -> Answers:
        count = step.phi.shape[-1]
        columns = {"record": np.repeat(np.arange(IMAGES), count), "view": np.tile(np.arange(count), IMAGES)}
        beside = {"label": labels, "member": member[row], "reserved": reserved}
        columns |= {name: np.repeat(values, count) for name, values in beside.items()}
        return Answers.of(columns | {"phi": step.phi[row].ravel()}, made.masks[row])

    row = made.masks.index(mask)
    others = [answers(k) for k in range(len(made.masks)) if k != row]
    names = ["lira-online-fixed", "loss", "lira-pooled"]
    audit = audit_model(answers(row), others, attacks=names, seed=made.attack.seed)
    records, summary = audit.records.set_index("record").sort_index(), audit.summary.set_index("attack")

    grid = table(made, "summary").query("step == 2 and mask == @mask").set_index("attack")
    for name in names:
        for column in ("auc", "tpr_at_0.01"):
            assert summary.loc[name, column] == pytest.approx(grid.loc[name, column], rel=1e-6), (
                name,
                column,
            )
    stored = pd.read_parquet(made.paths.scores("crop", "crop")).query("step == 2 and mask == @mask")
    for name in ("lira-online-fixed", "loss"):
        scores = stored.set_index("image")[name].sort_index()
        np.testing.assert_allclose(records[name], scores.loc[records.index], rtol=1e-5, atol=1e-6)
    assert audit.about["shadow_models"] == len(made.masks) - 2

    # and of all models together, each attacked by the others
    every = [answers(k) for k in range(len(made.masks))]
    audit = audit_model(every, attacks=names, seed=made.attack.seed, each=True)
    summary = audit.summary.set_index("attack")
    pooled = table(made, "pooled").query("step == 2 and design == 'leave-one-out' and fpr == 0.01")
    for row in pooled.to_dict("records"):
        if row["attack"] in names:
            assert summary.loc[row["attack"], "tpr_at_0.01"] == pytest.approx(row["tpr"], rel=1e-6)
    headline = summary.loc[made.attack.headline]
    means = table(made, "means").query("step == 2 and design == 'leave-one-out' and quantity == 'auc'")
    assert headline["auc"] == pytest.approx(means["value"].item(), rel=1e-6)
    limits = table(made, "thresholds").query("fpr == 0.01")
    for ours, theirs in (("threshold", "threshold"), ("achieved_tpr", "achieved_tpr")):
        assert headline[f"{theirs}_at_0.01"] == pytest.approx(limits[ours].mean(), rel=1e-5)
