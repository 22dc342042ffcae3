"""What a study is said to cost and to tell: against published measurements and files that were written."""

import re
from pathlib import Path

import numpy as np
import pytest

from leakgap.answers import store
from leakgap.jobs.plan import expected, masks_for, plan, show_plan, told_ratio
from leakgap.study import Study

ROOT = Path(__file__).parents[2]


def measured() -> list[tuple[int, int, float, float]]:
    """The rows of docs/how-many.md from 8 masks on: (masks, images, FPR, ratio found)."""
    rows = []
    for line in (ROOT / "docs/how-many.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        if len(cells) == 8 and re.fullmatch(r"[\d,]+", cells[0]):
            images, masks = int(cells[0].replace(",", "")), int(cells[1])
            for fpr, cell in ((0.01, cells[3]), (0.001, cells[6])):
                if masks >= 8 and re.fullmatch(r"[\d.]+", cell):
                    rows.append((masks, images, fpr, float(cell)))
    return rows


def test_the_formula_is_off_from_the_measurements_by_no_more_than_it_says():
    rows = measured()
    off = np.array([np.log(np.log(told_ratio(*row[:3])) / np.log(row[3])) for row in rows])
    assert len(rows) > 80
    assert np.abs(off).max() < 0.4
    assert off.std() == pytest.approx(0.141, abs=0.005)
    assert abs(off.mean()) < 0.01


@pytest.mark.parametrize(
    ("ratio", "images", "fpr"), [(1.5, 1000, 0.01), (1.2, 4000, 0.001), (1.5, 500, 0.001)]
)
def test_the_masks_that_settle_a_ratio_are_the_least_that_do(ratio, images, fpr):
    needed = masks_for(ratio, images, fpr)
    naive = next(masks for masks in range(8, 10_001, 2) if told_ratio(masks, images, fpr) <= ratio)
    assert needed == naive


def test_what_no_number_of_masks_settles_is_said():
    assert masks_for(1.01, 100, 0.001) is None
    assert "more images will" in expected(16, 20, 0.001)
    assert "too few" in expected(4, 1000, 0.01)


def test_the_disk_is_that_of_the_files(tmp_path):
    study = Study.load(
        {"name": "n", "data": {"size": 1000, "reserved": 0}, "grid": {"masks": 4, "techniques": ["none"]}}
    )
    rng, labels = np.random.default_rng(0), np.arange(1000) % 10
    logits = [rng.normal(size=(1, 1000, 10)).astype(np.float32) for _ in study.train.steps]
    store.write(
        tmp_path / "m000.parquet",
        logits,
        labels,
        np.arange(1000) < 500,
        study="n",
        technique="none",
        mask="m000",
        epochs=study.train.steps,
        about={},
    )
    found = plan(study, timed=False)
    assert found.models == 4
    assert found.disk / 4 == pytest.approx((tmp_path / "m000.parquet").stat().st_size, rel=0.1)


def test_the_default_study_is_planned_without_its_data(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    show_plan(Study.load(ROOT / "config.yaml"))
    told = capsys.readouterr().out
    assert told.startswith("digits: 80 models, 9 attack jobs\ntraining: ")
    assert "at 1% false positives" in told
    assert "808 non-members" in told
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_known_beforehand_is_not_guessed(capsys):
    show_plan(Study.load({"name": "n", "data": {"dataset": "./photos"}, "grid": {"masks": 4}}))
    told = capsys.readouterr().out
    assert "not known beforehand" in told
    assert "disk" not in told
