"""Two studies beside each other: which claims agree, how the pooled TPRs and the ROC curves differ.

The studies are taken as independent (other seeds, datasets or recipes): the variances of both sides of a ratio add.
"""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from leakgap import LeakgapError
from leakgap.claims.questions import Claim, from_json
from leakgap.files import atomic
from leakgap.measure.contrast import unpaired_ratio
from leakgap.report.figures.roc import log_frame
from leakgap.report.figures.style import INFORMED, UNINFORMED, styled
from leakgap.report.tables import markdown
from leakgap.results import LEAVE_ONE_OUT, Results
from leakgap.study import Study


def write_comparison(study: Study, other: str) -> None:
    """Compare a study with that of the file `other`, and print where: compare/<other>.md, .csv, .svg and .png."""
    print(compare(study, Study.load(other)))


def compare(one: Study, other: Study) -> Path:
    """Write results/<one>/compare/<other>.md, .csv and .svg, .png; return the path of the Markdown.

    Raises LeakgapError when the two have the same name, another headline attack or no technique in common, or
    when one of them has not run.
    """
    if one.name == other.name:
        raise LeakgapError(f"name: both studies are {one.name!r}, so one overwrites the other's results")
    if one.attack.headline != other.attack.headline:
        raise LeakgapError(
            f"attack.attacks: the first of {one.name} is {one.attack.headline}, of {other.name} "
            f"{other.attack.headline}; only the same attack can be compared"
        )
    shared = [name for name in one.grid.techniques if name in other.grid.techniques]
    if not shared:
        raise LeakgapError(f"grid.techniques: {one.name} and {other.name} have no technique in common")
    path = Path(one.paths.comparison(other.name))
    rates = pooled(one, other, shared)
    with atomic(path.with_suffix(".csv")) as temporary:
        rates.to_csv(temporary, index=False)
    with styled():
        drawing = curves(one, other, shared)
        for suffix in (".svg", ".png"):
            with atomic(path.with_suffix(suffix)) as temporary:
                drawing.savefig(
                    temporary, bbox_inches="tight", metadata={"Date": None} if suffix == ".svg" else None
                )
    text = [
        f"# {one.name} beside {other.name}: {one.attack.headline}",
        markdown(verdicts(one, other)),
        "Pooled TPR at the last step of each study, and the ratio of the two.",
        markdown(rates),
        f"![ROC curves]({other.name}.svg)",
    ]
    with atomic(path) as temporary:
        temporary.write_text("\n\n".join(text) + "\n", encoding="utf-8")
    return path


def verdicts(one: Study, other: Study) -> pd.DataFrame:
    """Return one row per claim: both verdicts, and whether they agree, differ, or one is open."""
    theirs = {claim.id: claim for claim in _claims(other)}
    rows = [
        {
            "claim": f"{mine.id}. {mine.title}",
            one.name: mine.verdict,
            other.name: theirs[mine.id].verdict,
            "together": _together(mine.verdict, theirs[mine.id].verdict),
        }
        for mine in _claims(one)
        if mine.id in theirs
    ]
    return pd.DataFrame(rows)


def _claims(study: Study) -> list[Claim]:
    """Return the claims judged with the headline attack on leave-one-out targets."""
    path = Path(study.paths.claims)
    if not path.is_file():
        raise LeakgapError(f"{path} is missing: run the claims of {study.name} first")
    claims = from_json(path.read_text(encoding="utf-8"))
    return [c for c in claims if c.design == LEAVE_ONE_OUT and c.attack == study.attack.headline]


def _together(mine: str, theirs: str) -> str:
    if "undecided" in (mine, theirs):
        return "open"
    return "agree" if mine == theirs else "differ"


def pooled(one: Study, other: Study, techniques: list[str]) -> pd.DataFrame:
    """Return one row per technique and FPR: pooled TPR of both studies at their last step, ratio with interval."""
    sides = {study.name: Results(study) for study in (one, other)}
    fprs = sorted(set(one.attack.fpr) & set(other.attack.fpr), reverse=True)
    if not fprs:
        raise LeakgapError(f"attack.fpr: {one.name} and {other.name} have no false positive rate in common")
    rows = []
    for fpr in fprs:
        for technique in techniques:
            tprs = [side.replicated(side.cell(technique), fpr) for side in sides.values()]
            named = {f"tpr_{name}": found.tpr for name, found in zip(sides, tprs, strict=True)}
            ratio = unpaired_ratio(tprs[0], tprs[1])
            interval = {"ratio": ratio.value, "ratio_low": ratio.low, "ratio_high": ratio.high}
            rows.append({"technique": technique, "fpr": fpr} | named | interval)
    return pd.DataFrame(rows)


def curves(one: Study, other: Study, techniques: list[str]) -> Figure:
    """Pooled ROC of both studies at their last step, one panel for each technique in common."""
    tables = []
    for results in (Results(one), Results(other)):
        table = results.shown(results.curves)
        headline = (table["attack"] == results.study.attack.headline) & (table["design"] == LEAVE_ONE_OUT)
        tables.append(table[headline & (table["step"] == results.last) & (table["fpr"] > 0)])
    both = pd.concat(tables)
    grid = sns.relplot(
        both[both["technique"].isin(techniques)],
        kind="line",
        x="fpr",
        y="tpr",
        hue="study",
        style="study",
        col="technique",
        col_order=techniques,
        col_wrap=min(3, len(techniques)),
        palette=[INFORMED, UNINFORMED],
        height=2.6,
        errorbar=None,
    )
    for axes in grid.axes.flat:
        log_frame(axes, both["fpr"].min(), one.attack.fpr)
    grid.set_titles("{col_name}").set_axis_labels("False positive rate (%)", "True positive rate (%)")
    grid.figure.suptitle(f"Pooled ROC, last step, {one.attack.headline}", x=0.01, y=1.02, ha="left")
    return grid.figure
