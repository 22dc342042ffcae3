"""The job that asks what orders the leak of a study, on a made-up one, and its section of the page."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import synthetic
from leakgap import LeakgapError
from leakgap.__main__ import run
from leakgap.jobs.order import _halves, _rest
from leakgap.results import Results


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = synthetic.study(techniques=["none", "crop", "policy", "crop+mirror+cutout+policy"], steps=[5, 30])
    synthetic.write_study(study)
    synthetic.write_claims(study)
    return study


def write_scores(study, images: int = 60) -> dict[str, pd.DataFrame]:
    """Scores of every model; those of members are higher."""
    rng, found = np.random.default_rng(0), {}
    for path in study.scores:
        rows = pd.MultiIndex.from_product(
            [[1, 2], list(study.masks), range(images)], names=["step", "mask", "image"]
        ).to_frame(index=False)
        rows["member"] = rng.random(len(rows)) < 0.5
        rows[study.attack.headline] = (rng.normal(size=len(rows)) + rows["member"]).astype(np.float32)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(path)
        found[path] = rows
    return found


def test_the_table_the_sentences_and_the_section(study):
    for verb in ("figures", "tables", "report"):
        run(verb, study)
    assert '<section id="order">' not in Path(study.paths.report).read_text()
    write_scores(study)
    run("order", study)
    rows = pd.read_csv(study.paths.table("order")[0])
    assert set(rows["question"]) == {
        "pairs of variants",
        "at equal fit",
        "forecast of a variant left out",
        "models of one variant",
    }
    path = Path(study.paths.order)
    (told,) = json.loads(path.read_text())
    text = Path(study.paths.table("order")[1]).read_text()
    assert all(sentence in text for sentence in told["answers"])
    assert "orders the leak" in told["answers"][0]
    run("report", study)
    page = Path(study.paths.report).read_text()
    assert '<section id="order">' in page
    assert "Of 6 pairs of variants" in page
    path.write_text(path.read_text().replace("pairs of variants", "pears of variants"))
    with pytest.raises(
        LeakgapError, match=r"order.json: is damaged, or was made from other results; run order anew"
    ):
        run("report", study)


def test_halves_are_those_of_the_scores(study):
    scores = write_scores(study)
    gap, auc, pair = _halves(Results(study), study.scores)
    assert gap.shape == auc.shape == (2, 8, len(study.masks))
    assert pair.tolist() == [k // 2 for k in range(len(study.masks))]
    rows = scores[study.scores[1]]
    own = rows[(rows["step"] == 2) & (rows["mask"] == "m003") & (rows["image"] % 2 == 1)]
    assert auc[1, 3, 3] == pytest.approx(roc_auc_score(own["member"], own[study.attack.headline]))
    values = np.random.default_rng(0).random(11)
    assert _rest(values.mean(), values[:4].mean(), 4, 7) == pytest.approx(values[4:].mean())


def test_without_scores_models_are_not_compared(study):
    run("order", study)
    assert "were not kept" in Path(study.paths.table("order")[1]).read_text()
