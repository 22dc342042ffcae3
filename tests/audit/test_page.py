"""The page of an audit: what it names, what it says once, and what a reader can do then."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from leakgap import Answers, audit_model
from leakgap.audit.advice import LOWERED, what_now
from leakgap.audit.page import SEEN, render

ROOT = Path(__file__).parents[2]
S = 1200


def world(models: int = 6, leak: float = 2.0, grouped: bool = False) -> list[Answers]:
    rng = np.random.default_rng(0)
    own, label, found = rng.normal(0, 2, S), np.arange(S) % 3, []
    for k in range(models):
        member = (rng.random(S // 4) < 0.5).repeat(4) if grouped else rng.random(S) < 0.5
        z = rng.normal(size=(S, 3))
        z[np.arange(S), label] += own + leak * member
        columns = {"record": [f"r{i}" for i in range(S)], "label": label, "member": member, "logits": z}
        columns |= {"group": np.arange(S) // 4} if grouped else {"slice": np.where(own > 1, "easy", "hard")}
        found.append(Answers.of(columns, f"m{k}"))
    return found


ATTACKS = ["correctness", "loss", "entropy", "base", "mast", "lira-online", "calibrated-loss"]


@pytest.fixture(scope="module")
def audit():
    target, *shadows = world()
    return audit_model(target, shadows, attacks=ATTACKS)


@pytest.fixture(scope="module")
def page(audit) -> str:
    return render(audit)


def visible(page: str) -> str:
    body = re.sub(r"<style.*?</style>|<svg.*?</svg>", " ", page.partition("<body>")[2], flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_picture_names_the_leading_attack_and_three_more_and_folds_the_rest(audit, page):
    before, fold = page.partition("<details>")[::2]
    picture = before[before.index("<svg") : before.index("</svg>")]
    named = re.findall(r'<path class="beside beside\d" d="[^"]+"><title>([^<]+)</title>', picture)
    assert len(named) == 3
    assert picture.count('class="leading"') == 1
    assert 'class="other"' not in picture
    legend = before[before.index('<ul class="key">') :]
    assert all(name in legend for name in [audit.about["leading"], *named])
    rows = audit.summary.set_index("attack")
    assert named[0] == "loss"  # the best of those that need no shadow models
    left = [name for name in ATTACKS if name not in (audit.about["leading"], *named)]
    assert rows.loc[named[1:], "tpr_at_0.01"].min() >= rows.loc[left, "tpr_at_0.01"].max()
    inside = fold[: fold.index("</details>")]
    assert set(re.findall(r'<path class="other" d="[^"]+"><title>([^<]+)</title>', inside)) == set(left)
    assert all(name in visible("<body>" + inside) for name in left)


def test_words_of_the_first_screen_are_explained_on_it(page):
    first = visible(page[: page.index("<figure>")])
    assert "true positive rate, TPR" in first
    assert "false positive rate, FPR" in first
    assert 'href="#now"' in page
    assert 'id="now"' in page


def test_exposure_is_explained_once(page):
    assert visible(page).count("Exposure says how far") == 1
    target, *shadows = world(grouped=True)
    people = visible(render(audit_model(target, shadows, attacks=["base", "loss"], unit="patient")))
    assert people.count("Exposure says how far a patient scores") == 1
    assert people.count("Exposure says") == 1
    assert "Exposure is as above, of a record." in people


def test_kinds_are_said_in_words(page):
    assert "The attacker sees the model&#39;s logits" in page
    from leakgap.answers.kinds import KINDS

    assert set(SEEN) == set(KINDS) | {"regression"}


def test_slices_and_stored_records_are_told(audit, page):
    assert "slices" in audit.about
    assert re.search(r"Slice Members Recognized Others accused (easy|hard) \d+", visible(page))
    stored = replace(audit, about=audit.about | {"stored": ["The model stores its training records: all."]})
    assert "The model stores its training records: all." in visible(render(stored))


# --- what you can do now


def test_the_page_ends_with_what_to_do(audit, page):
    titles = re.findall(r"<h2[^>]*>([^<]+)</h2>", page)
    assert titles[-1] == "What you can do now"
    words = visible("<body>" + page[page.index('id="now"') :])
    for lead in ("Look at the records that are recognized.", "Train a model that remembers less."):
        assert lead in words
    for lead in ("Or prove it: differential privacy.", "Ask those who answer for the data."):
        assert lead in words
    assert "leakgap compare OLD NEW" in words
    assert "--fail-above 0.05@0.01" in words


def test_who_is_called_is_the_table_s_count(audit):
    (sentence, *_) = what_now(audit)["who"].how
    table = pd.DataFrame(audit.records)
    called = table[table["called_at_0.01"]]
    members, others = called["member"].sum(), (~called["member"]).sum()
    assert f"{members:,} of {table['member'].sum():,} training records are called members" in sentence
    assert f"So are {others:,} of the {(~table['member']).sum():,} others" in sentence
    assert f"({', '.join(called[called['member']]['record'][:3])} first)" in sentence


def test_persons_are_looked_at_where_there_are_any():
    target, *shadows = world(grouped=True)
    step = what_now(audit_model(target, shadows, attacks=["base"], unit="patient"))["who"]
    assert step.what == "Look at the patients that are recognized."
    assert "`people.csv`" in step.how[0]


def test_what_has_to_come_first_is_said_where_something_has():
    target, *shadows = world()
    decided = audit_model(target, shadows, attacks=["base"])
    assert what_now(decided)["first"].what == "Make the answer surer."
    sure = decided.summary.assign(**{"tpr_at_0.01": 0.2, "tpr_at_0.01_low": 0.18, "tpr_at_0.01_high": 0.22})
    assert "first" not in what_now(replace(decided, summary=sure))
    alone = what_now(audit_model(target, [], attacks=["loss"]))["first"].how
    assert any("Train four or more shadow models" in sentence for sentence in alone)
    silent = what_now(audit_model(replace(target, member=None), shadows, attacks=["base"]))
    assert any("ask for a column `member`" in sentence for sentence in silent["first"].how)
    assert "How many of them are members is not known." in silent["who"].how[0]
    turned = [replace(each, member=~each.member) for each in (target, *shadows)]
    doubtful = what_now(audit_model(turned[0], turned[1:], attacks=["loss"]))["first"].how
    assert any("why its numbers are doubtful" in sentence for sentence in doubtful)
    columns = {"record": range(60), "label": [0] * 60, "member": np.arange(60) < 30, "phi": np.arange(60.0)}
    few = what_now(audit_model(Answers.of(columns), []))["first"]
    assert few.what == "Get an answer first."


@pytest.mark.parametrize("change", LOWERED, ids=lambda change: change.change)
def test_what_is_said_of_published_studies_is_on_their_pages(change):
    text = (ROOT / change.page / "README.md").read_text()
    ratio, low, high = change.ratio
    (row,) = [line for line in text.splitlines() if f"{ratio:.3f} [{low:.3f}, {high:.3f}]" in line]
    cells = [cell.strip() for cell in row.split("|")]
    if change.points is not None:
        differences = [
            float(cell.partition(" ")[0]) for cell in cells if re.match(r"-?\d+\.\d\d \[-?\d", cell)
        ]
        assert any(abs(value - change.points) <= 0.051 for value in differences)


def test_what_leaks_least_comes_first():
    ratios = [change.ratio[0] for change in LOWERED]
    assert ratios == sorted(ratios)


@pytest.mark.parametrize(("records", "decided"), [(400, False), (8000, True)])
def test_an_interval_that_holds_much_is_no_all_clear(records: int, decided: bool):
    """Nothing leaks: with few records the interval reaches far above guessing, and the sentence says so."""
    rng = np.random.default_rng(2)
    columns = {"record": range(records), "label": [0] * records, "member": np.arange(records) % 2 == 0}
    audit = audit_model(Answers.of(columns | {"phi": rng.normal(size=records)}), [])
    row, told = audit.summary.iloc[0], " ".join(audit.about["answer"])
    assert row["tpr_at_0.01_low"] <= 0.01
    assert (row["tpr_at_0.01_high"] <= 0.03) == decided
    assert ("can't be told from one who recognizes" in told) != decided


def test_predicted_labels_alone_decide_nothing():
    models = []
    for each in world(5, leak=3.0):
        columns = {"record": each.record, "label": each.label, "member": each.member}
        models.append(Answers.of(columns | {"prediction": each.logits.argmax(1)}, each.name))
    about = audit_model(models[0], models[1:]).about
    assert about["leading"] == "correctness"
    assert about["answer"][0].startswith("This can't be decided with predicted labels alone: ")
    inside, outside = (100 * about["accuracy"]["target"][side] for side in ("members", "others"))
    found = re.search(
        r"right, ([\d.]+)% of the training records and ([\d.]+)% of the others", about["answer"][0]
    )
    assert [float(each) for each in found.groups()] == pytest.approx([inside, outside], abs=0.06)


def test_many_models_are_named_by_the_first():
    models = world(12)
    audit = audit_model(models, each=True, attacks=["base", "loss"])
    page = render(audit)
    assert "<h1>Audit of m0, m1 and 10 more</h1>" in page
    assert "<summary>The 12 shadow models</summary>" in page
    assert page.count("<details>") == page.count("</details>") == 1
    assert page.count("<p") == page.count("</p>") + page.count("<path")


def test_lines_are_told_apart_without_colour():
    style = (ROOT / "src/leakgap/audit/parts.html.j2").read_text()
    dashes = re.findall(r"\.beside\d \{[^}]*stroke-dasharray: ([\d ]+);", style)
    assert len(set(dashes)) == 3


def test_what_there_is_none_of_is_not_shown():
    target, *shadows = world()
    alone = visible(render(audit_model(target, [], attacks=ATTACKS[:3])))
    assert "sets the threshold on shadow models alone" not in alone
    assert "labels are alike for members and non-members." in alone
    assert "The target had no part in this choice." in alone
    both = visible(render(audit_model(target, shadows, attacks=ATTACKS[:5])))
    assert "sets the threshold on shadow models alone" in both
    assert "labels, and shadow models that never saw a record, are alike" in both
    assert "The other attack Thin: " in both
