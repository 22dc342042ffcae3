"""Studies beside each other: utility and leak, contrasts to the first, how stable its findings are, ROC curves.

Contrasts are paired where two studies trained on the same masks of the same images and drew the same bootstrap: the
same study with another `train.seed`, say. Else the variances of both sides add, and the page says why.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leakgap import LeakgapError
from leakgap.data.masks import members_digest, read_masks
from leakgap.estimates import LEAVE_ONE_OUT
from leakgap.files import atomic
from leakgap.measure.contrast import contrast, unpaired
from leakgap.measure.estimate import Estimate
from leakgap.measure.single import share_interval
from leakgap.measure.stability import most, overlap, rank_correlation
from leakgap.numbers import span
from leakgap.report.claims import read_claims
from leakgap.report.columns import Columns, at_fprs, markdown, names_at, numbers, shares
from leakgap.report.figures import roc
from leakgap.report.figures.style import finished, sequential, styled
from leakgap.results import UNKNOWN, Results
from leakgap.study import Study

FEW = 100  # images in common, too few to say how alike they are ranked


def write_comparison(study: Study, other: Sequence[str]) -> None:
    """Compare a study with those of the files `other`, and print where: compare/<others>.md, .csv, .svg, .png."""
    print(compare(study, [Study.load(path) for path in other]))


def compare(one: Study, others: Sequence[Study]) -> Path:
    """Write results/<one>/compare/<names of others>.md, .csv and .svg, .png; return the path of the Markdown.

    Raises LeakgapError when two have the same name, another headline attack, no technique or no FPR in common, or
    when one of them has not run.
    """
    studies = [one, *others]
    techniques, fprs = _in_common(studies)
    sides = [Results(study) for study in studies]
    reasons = ["", *(why_unpaired(sides[0], side) for side in sides[1:])]
    path = Path(one.paths.comparison("+".join(other.name for other in others)))
    rates = side_by_side(sides, reasons, techniques, fprs)
    text = [
        f"# {one.name} beside {', '.join(other.name for other in others)}: {one.attack.headline}",
        "Last step of each study, leave-one-out; test accuracy as the mean over targets, TPRs pooled.",
        markdown(rates[["technique", "study", "targets", *_with_ends(_rates(fprs), rates)]], _rates(fprs)),
        f"`{one.name}` against the others: test accuracy less theirs, TPR over theirs.",
        markdown(
            rates[rates["study"] != one.name][
                ["technique", "study", *_with_ends(_contrasts(fprs), rates), "intervals"]
            ],
            _contrasts(fprs),
        ),
        *(
            line
            for side, reason in zip(sides[1:], reasons[1:], strict=True)
            for line in _beside(sides[0], side, reason, techniques)
        ),
        f"![ROC curves]({path.stem}.svg)",
    ]
    with atomic(path.with_suffix(".csv")) as temporary:
        rates.to_csv(temporary, index=False)
    with styled():
        drawing = curves(sides, techniques)
        for suffix in (".svg", ".png"):
            with atomic(path.with_suffix(suffix)) as temporary:
                drawing.savefig(temporary, metadata={"Date": None} if suffix == ".svg" else None)
    with atomic(path) as temporary:
        temporary.write_text("\n\n".join(text) + "\n", encoding="utf-8")
    return path


def _in_common(studies: Sequence[Study]) -> tuple[list[str], list[float]]:
    """Return the techniques and the FPRs that all studies have, as the first has them."""
    one = studies[0]
    for place, other in enumerate(studies[1:], 1):
        if other.name in [study.name for study in studies[:place]]:
            raise LeakgapError(f"name: two studies are {other.name!r}, so one overwrites the other's results")
        if one.attack.headline != other.attack.headline:
            raise LeakgapError(
                f"attack.attacks: the first of {one.name} is {one.attack.headline}, of {other.name} "
                f"{other.attack.headline}; only the same attack can be compared"
            )
    names = ", ".join(study.name for study in studies)
    techniques = [t for t in one.grid.techniques if all(t in study.grid.techniques for study in studies)]
    if not techniques:
        raise LeakgapError(f"grid.techniques: {names} have no technique in common")
    fprs = [fpr for fpr in one.attack.fpr if all(fpr in study.attack.fpr for study in studies)]
    if not fprs:
        raise LeakgapError(f"attack.fpr: {names} have no false positive rate in common")
    return techniques, fprs


# --- utility and leak


def side_by_side(
    sides: Sequence[Results], reasons: Sequence[str], techniques: Sequence[str], fprs: Sequence[float]
) -> pd.DataFrame:
    """Return one row per technique and study: test accuracy and pooled TPRs with intervals.

    And, of the studies but the first, the first one's contrasts to it: the difference of test accuracies, the ratio
    of TPRs, and whether their intervals are paired. reasons: why each study's can't be paired with the first one's.
    """
    rows = []
    for technique in techniques:
        first = sides[0].cell(technique)
        accuracy = sides[0].mean(first, "test_acc")
        for side, reason in zip(sides, reasons, strict=True):
            cell = side.cell(technique)
            own = side.mean(cell, "test_acc")
            row: dict[str, Any] = {"technique": technique, "study": side.study.name}
            row["targets"] = int(side.row(cell, fprs[0])["n_targets"])
            row |= _named("test_acc", own)
            for fpr in fprs:
                tpr = side.row(cell, fpr)
                row |= dict(zip(names_at("pooled", fpr), tpr[["tpr", "low", "high"]], strict=True))
            if side is not sides[0]:
                row["intervals"] = "not paired" if reason else "paired"
                row |= _named(
                    "acc_difference", unpaired(accuracy, own, "difference") if reason else accuracy - own
                )
                for fpr in fprs:
                    pair = sides[0].replicated(first, fpr), side.replicated(cell, fpr)
                    row |= _named(f"ratio_at_{fpr:g}", unpaired(*pair) if reason else contrast(*pair))
            rows.append(row)
    return pd.DataFrame(rows)


def _named(name: str, found: Estimate) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _rates(fprs: Sequence[float]) -> Columns:
    return shares(test_acc="test accuracy") | at_fprs("pooled", fprs)


def _contrasts(fprs: Sequence[float]) -> Columns:
    ratios = {f"ratio_at_{fpr:g}": f"ratio at {100 * fpr:g}% FPR" for fpr in fprs}
    return shares(acc_difference="accuracy difference") | numbers(**ratios)


STABLE: Columns = numbers(
    overlap="overlap",
    overlap_by_chance="overlap by chance",
    correlation="correlation",
    correlation_in_the_top="correlation in the top",
)


def _with_ends(columns: Columns, table: pd.DataFrame) -> list[str]:
    """Name the columns and those with the ends of their intervals, in order."""
    names = [name for key, shown in columns.items() for name in (key, shown.low, shown.high)]
    return [name for name in names if name in table]


def why_unpaired(one: Results, other: Results) -> str:
    """Say why the bootstrap draws of two studies can't be paired; nothing where they can."""
    for name in ("seed", "bootstrap"):
        mine, theirs = (getattr(side.study.attack, name) for side in (one, other))
        if mine != theirs:
            return f"attack.{name} is {mine} and {theirs}, so they draw other resamples"
    if not _same_images(one, other):
        return "their images are not the same"
    mine, theirs = (_masks(side) for side in (one, other))
    return "" if np.array_equal(mine, theirs) else "their masks are not the same"


def _masks(side: Results) -> np.ndarray:
    """Return the masks, bool [N, S]; LeakgapError where the attacked models were trained on others."""
    path = side.study.paths.masks
    member, _ = read_masks(path)
    told = dict(zip(side.models["mask"], side.models["members"], strict=True))
    for mask, row in zip(side.study.masks, member, strict=False):
        if told.get(mask, UNKNOWN) not in (UNKNOWN, members_digest(row)):
            raise LeakgapError(f"{path}: its mask {mask} is not what the attacked models were trained on")
    return member


def _same_images(one: Results, other: Results) -> bool:
    """Whether an image's number means the same image in both: one dataset, and every label in common alike."""
    if one.study.data.dataset != other.study.data.dataset:
        return False
    labels = [
        side.exposures(side.study.grid.techniques[:1]).set_index("image")["label"] for side in (one, other)
    ]
    both = pd.concat(labels, axis=1, join="inner").to_numpy()
    return len(both) > 0 and bool((both[:, 0] == both[:, 1]).all())


# --- how stable


def _beside(one: Results, other: Results, reason: str, techniques: Sequence[str]) -> list[str]:
    """Return the part of the page about one other study: what differs, exposed images, verdicts."""
    changed = differing(one.study.model_dump(), other.study.model_dump())
    lines = [
        f"## {one.study.name} and {other.study.name}",
        f"The study files differ in {', '.join(changed) or 'nothing but the name'}. Intervals of contrasts are "
        + (f"not paired: {reason}." if reason else "paired: masks, images and resamples are the same."),
    ]
    found = stability(one, other, techniques)
    if len(found):
        lines += [
            "The most exposed images, by the mean exposure over the targets trained on them, last step: how many "
            "of the `top` are in both studies' (Jaccard's overlap, what chance alone gives beside it), and "
            "Spearman's correlation over all images and over those that are the top of the first. Images are the "
            "sample; models are as many as here.",
            markdown(found, STABLE),
        ]
    else:
        lines.append("The images are not the same, so their exposure can't be compared.")
    if not (one.study.augments and other.study.augments):
        return lines
    table, summary = verdicts(one, other)
    return [*lines, summary, markdown(table, {})]


def differing(one: Mapping[str, Any], other: Mapping[str, Any], place: str = "") -> list[str]:
    """Name the keys in which two study files differ, but for the name.

    >>> differing({"name": "a", "train": {"seed": 0, "width": 8}}, {"name": "b", "train": {"seed": 1, "width": 8}})
    ['train.seed']
    """
    found = []
    for key in dict.fromkeys([*one, *other]):
        mine, theirs = one.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            found += differing(mine, theirs, f"{place}{key}.")
        elif mine != theirs and (place or key != "name"):
            found.append(place + key)
    return found


def stability(one: Results, other: Results, techniques: Sequence[str]) -> pd.DataFrame:
    """Return one row per technique: how alike both studies rank the images; none where these are not the same."""
    rows = []
    for technique in techniques if _same_images(one, other) else ():
        mine, theirs = (_exposure(side, technique) for side in (one, other))
        both = pd.concat([mine, theirs], axis=1, join="inner").dropna().to_numpy(float)
        if len(both) < FEW:
            continue
        first, second = both.T
        top = most(first)
        shared, chance = overlap(first, second)
        row: dict[str, Any] = {"technique": technique, "images": len(both), "top": len(top)}
        row |= {"overlap": shared.value, "overlap_low": shared.low, "overlap_high": shared.high}
        row["overlap_by_chance"] = chance
        for name, images in (("correlation", slice(None)), ("correlation_in_the_top", top)):
            found = rank_correlation(first[images], second[images])
            row |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _exposure(side: Results, technique: str) -> pd.Series:
    """Mean exposure of every image, by the headline attack and the attacker that is shown."""
    return side.exposures([technique]).set_index("image")["exposure"]


def verdicts(one: Results, other: Results) -> tuple[pd.DataFrame, str]:
    """Return one row per claim and attack that both judged: both verdicts and estimates; and how many changed."""
    theirs = {(claim["attack"], claim["id"]): claim for claim in _claims(other)}
    pairs = [
        (mine, theirs[mine["attack"], mine["id"]])
        for mine in _claims(one)
        if (mine["attack"], mine["id"]) in theirs
    ]
    rows = [
        {
            "claim": f"{mine['id']}. {mine['title']}",
            "attack": mine["attack"],
            one.study.name: _in_words(mine),
            other.study.name: _in_words(its),
            "together": _together(mine["verdict"], its["verdict"]),
        }
        for mine, its in pairs
    ]
    attack = one.study.attack.headline
    headline = [_together(a["verdict"], b["verdict"]) for a, b in pairs if a["attack"] == attack]
    counts = {word: headline.count(word) for word in ("differ", "open")}
    low, high = share_interval(sum(counts.values()), len(headline))[1:3]
    summary = (
        f"Verdicts with {attack}: of {len(headline)}, {counts['differ']} flip from supported to "
        f"contradicted or back, and {counts['open']} are decided in one study alone. Were the claims independent, "
        f"the share that changes would be {np.floor(100 * low):.0f} to {np.ceil(100 * high):.0f}% (95%)."
    )
    return pd.DataFrame(rows), summary


def _claims(side: Results) -> list[dict[str, Any]]:
    """Return the claims judged on leave-one-out targets."""
    claims = read_claims(side.study.paths.claims, side.origin)
    return [claim for claim in claims if claim["design"] == LEAVE_ONE_OUT]


def _in_words(claim: dict[str, Any]) -> str:
    value, low, high = (claim.get(name) for name in ("value", "low", "high"))
    if value is None or low is None or high is None:
        return str(claim["verdict"])
    return f"{claim['verdict']}: {value:.3g}, {span(low, high)}"


def _together(mine: str, theirs: str) -> str:
    if mine == theirs:
        return "both undecided" if mine == "undecided" else "agree"
    return "open" if "undecided" in (mine, theirs) else "differ"


# --- ROC curves


def curves(sides: Sequence[Results], techniques: Sequence[str]) -> Figure:
    """Pooled ROC of all studies at their last step, one panel for each technique in common."""
    tables = []
    for results in sides:
        table = results.shown(results.curves)
        headline = (table["attack"] == results.study.attack.headline) & (table["design"] == LEAVE_ONE_OUT)
        table = table[headline & (table["step"] == results.last) & (table["fpr"] > 0)]
        tables.append(table.assign(study=results.study.name))
    attack, colours = sides[0].study.attack, sequential(len(sides))
    how: dict[str, Any] = {"hue": "study", "style": "study", "palette": colours, "linewidth": 1.6}
    grid = roc.panels(pd.concat(tables), techniques, attack.fpr, None, **how)
    return finished(grid, f"Pooled ROC, last step\n{attack.headline}", roc.X, roc.Y)
