"""An attack job of a study whose records have groups: every number of persons, against the definitions."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap import attacks
from leakgap.__main__ import main
from leakgap.answers import store as logits
from leakgap.answers.joined import Joined
from leakgap.audit.people import by_person, of_people, people_of
from leakgap.audit.scores import scores_of
from leakgap.data.masks import balanced_masks, read_masks, write_masks
from leakgap.data.pool import Pool, write_pool
from leakgap.measure import roc
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.epsilon import epsilon_lower_bound, guesses_for
from leakgap.measure.ranking import rankings
from leakgap.results import Results
from leakgap.study import Study

RECORDS, PERSONS = 600, 200
GROUP = np.arange(RECORDS) % PERSONS  # three records each
STUDY = {
    "name": "visits",
    "data": {"reserved": 0.1, "groups": "patient"},
    "grid": {"techniques": ["none", "crop"], "masks": 8},
    "train": {"steps": [3]},
    "attack": {"attacks": ["lira-online-within", "loss"], "bootstrap": 100, "fpr": [0.1, 0.02]},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("people"))
        study = Study.load(STUDY)
        Path("study.json").write_text(study.model_dump_json())
        rng = np.random.default_rng(0)
        labels = np.arange(RECORDS) % 4
        images = rng.integers(0, 256, (RECORDS, 1, 4, 4), np.uint8)
        write_pool(study.paths.pool, Pool({"images": images}, labels, 4, groups=GROUP.astype(np.int64)))
        member = balanced_masks(8, RECORDS, 0, 0.1, GROUP)
        write_masks(study.paths.masks, member, member.sum(axis=0) == 0)
        for technique in study.grid.techniques:
            for mask in study.models:
                row = int(mask[1:])
                push = member[row][:, None] * (np.arange(4) == labels[:, None])
                steps = [rng.normal(size=(1, RECORDS, 4)).astype(np.float32) + push]
                path = study.paths.logits(technique, mask)
                naming = {"study": study.name, "technique": technique, "mask": mask, "epochs": (3,)}
                logits.write(path, steps, labels, member[row], **naming)
        for technique, shadow in study.attack_jobs:
            job = ["--study", "study.json", "--technique", technique, "--shadow", shadow]
            assert main(["attack", *job]) == 0
        assert main(["summary", "--study", "study.json"]) == 0
        yield study


def kept(study: Study, shadow: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scores of records by the headline attack on `crop`, members, and which are not reserved."""
    member, reserved = read_masks(study.paths.masks)
    scores = pd.read_parquet(study.paths.scores("crop", shadow))
    wide = scores.pivot(index="mask", columns="image", values=study.attack.headline)
    found = np.full(member.shape, np.nan, np.float32)
    found[:, wide.columns] = wide.to_numpy()
    return found, member, ~reserved


@pytest.mark.parametrize("shadow", ["crop", "none"])
def test_every_number_of_a_target_is_of_persons(made: Study, shadow: str):
    results = Results(made)
    score, member, seen = kept(made, shadow)
    rows = results.summary.query("technique == 'crop' and attack == 'lira-online-within'")
    rows = rows[rows["attacker"] == ("informed" if shadow == "crop" else "uninformed")]
    inside = member[:, :PERSONS]
    evaluated = seen[:PERSONS]
    assert (member.reshape(8, 3, PERSONS) == inside[:, None]).all()
    for place, row in enumerate(rows.sort_values("mask").to_dict("records")):
        found = {
            way: roc.auc(
                of_people(score[place], GROUP, way)[evaluated].astype(np.float32), inside[place, evaluated]
            )
            for way in ("sum", "mean", "max")
        }
        assert row["auc"] == pytest.approx(found["sum"], abs=1e-6)  # log-likelihood ratios add up
        assert row["n_members"] + row["n_nonmembers"] == evaluated.sum() == 180
        sums = of_people(score[place], GROUP, "sum")[evaluated].astype(np.float32)
        assert row["tpr_at_0.1"] == pytest.approx(roc.tpr_at_fpr(sums, inside[place, evaluated], 0.1))


def test_pooled_tprs_are_of_persons_and_records_stand_beside(made: Study):
    score, member, seen = kept(made, "crop")
    pooled = Results(made).pooled.query(
        "technique == 'crop' and attacker == 'informed' and attack == 'lira-online-within' and fpr == 0.1"
    )
    (row,) = pooled.to_dict("records")
    every = np.broadcast_to(seen, score.shape)
    assert row["records_tpr"] == pytest.approx(roc.tpr_at_fpr(score[every], member[every], 0.1))
    draws = Resampling(member, seen, replicates=100, group=GROUP).pooled(score, [0.1], abstentions=True)[0]
    assert (row["records_low"], row["records_high"]) == pytest.approx((draws.low, draws.high))
    sums = of_people(score, GROUP, "sum").astype(np.float32)
    persons = np.broadcast_to(seen[:PERSONS], sums.shape)
    assert row["tpr"] == pytest.approx(roc.tpr_at_fpr(sums[persons], member[:, :PERSONS][persons], 0.1))
    assert row["tpr"] > row["records_tpr"]
    assert row["n_members"] + row["n_nonmembers"] == 8 * 180


def test_epsilon_and_thresholds_are_of_persons(made: Study):
    results = Results(made)
    score, member, seen = kept(made, "crop")
    sums = of_people(score, GROUP, "sum").astype(np.float32)[:, seen[:PERSONS]].astype(float)
    inside = member[:, :PERSONS][:, seen[:PERSONS]]
    rows = results.epsilon.query("technique == 'crop' and attacker == 'informed'").sort_values("mask")
    for place, row in enumerate(rows.to_dict("records")):
        assert row["matches"] == 90
        bound = epsilon_lower_bound(sums[place], inside[place], guesses=guesses_for(90), seed=place)
        assert row["epsilon"] == pytest.approx(bound)
    limits = results.thresholds.query("technique == 'crop' and attacker == 'informed' and fpr == 0.1")
    assert len(limits) == 8
    for place, row in enumerate(limits.sort_values("mask").to_dict("records")):
        pair = [place // 2 * 2, place // 2 * 2 + 1]
        others = np.delete(sums, pair, 0)[~np.delete(inside, pair, 0)]
        assert row["threshold"] == pytest.approx(roc.threshold(others.astype(np.float32), 0.1), rel=1e-5)


def test_accuracies_are_of_records_with_intervals_that_count_persons(made: Study):
    results = Results(made)
    mean = results.mean(results.cell("crop"), "test_acc")
    assert set(mean.draws) == {"models", "groups", "pairs"}
    assert len(mean.draws["groups"]) == PERSONS
    assert mean.low < mean.value < mean.high
    assert set(results.mean(results.cell("crop"), "auc").draws) == {"models", "images", "pairs"}
    change = results.difference(results.cell("crop"), results.cell("none"), "test_acc")
    assert change.low < change.value < change.high


def test_tables_figures_and_the_page_are_made(made: Study):
    for verb in ("claims", "order", "tables", "figures", "report"):
        assert main([verb, "--study", "study.json"]) == 0
    page = Path(made.paths.report).read_text()
    assert "of 180 groups of records (<code>data.groups: patient</code>)" in page


@pytest.mark.parametrize("name", ["lira-online-within", "lira-pooled", "base", "loss"])
def test_where_nothing_leaks_persons_are_guessed(name: str):
    """Records of a person are alike and no model remembers any: 5% of persons at 5% FPR, an AUC of a half."""
    rng = np.random.default_rng(1)
    group, models = np.repeat(np.arange(300), 4), 16
    member = balanced_masks(models, 1200, 3, 0, group)
    shared = rng.normal(size=(models, 300))[:, group]
    phi = (rng.normal(0, 2, 1200) + shared + rng.normal(size=member.shape)).astype(np.float32)[..., None]
    none = np.zeros(1200, bool)
    joined = Joined(
        record=np.arange(1200), label=np.zeros(1200, np.int64), reserved=none, target_member=member, member=member,
        asked=np.ones(member.shape, bool), left_out=attacks.gives_away(member, member), phi=(phi, phi), logits=None,
        correct=None, saturated=0.0, group=group, among_targets=True,
    )  # fmt: skip
    people, whose = people_of(joined)
    scores, ways = by_person(scores_of([name], joined, 0), people, whose, 0.05)
    assert len(ways[name]) == models
    sums, evaluated = scores[name].target, ~people.reserved
    (found,) = Resampling(people.member, evaluated, replicates=300).pooled(sums, [0.05], abstentions=True)
    assert found.low < 0.05 < found.high
    assert found.high < 0.08
    aucs = roc.per_target(rankings(sums, people.member, evaluated), [0.05])["auc"]
    assert abs(aucs.mean() - 0.5) < 0.03
