"""Two studies beside each other: which claims agree, how the pooled TPRs and the ROC curves differ.

The studies are taken as independent (other seeds, datasets or recipes): the interval of a ratio comes from pairs of
bootstrap replicates that share nothing.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leakgap import LeakgapError
from leakgap.claims.questions import Claim, from_json
from leakgap.files import atomic
from leakgap.report.figures.data import LEAVE_ONE_OUT, Source, in_order, wide_replicates
from leakgap.report.figures.roc import label, log_frame
from leakgap.report.figures.style import INFORMED, UNINFORMED, panels, styled
from leakgap.report.tables import markdown
from leakgap.results import known
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
                drawing.savefig(temporary, metadata={"Date": None} if suffix == ".svg" else None)
    text = [
        f"# {one.name} beside {other.name}: {one.attack.headline}",
        markdown(verdicts(one, other)),
        "Pooled TPR at the last step of each study, and the ratio of the two.",
        markdown(rates),
        f"![ROC curves]({other.name}.svg)",
    ]
    with atomic(path) as temporary:
        temporary.write_text("\n\n".join(text) + "\n")
    return path


def _source(study: Study) -> Source:
    return Source(study, joined=[study.paths.joined(table) for table in study.paths.ATTACK_TABLES])


def verdicts(one: Study, other: Study) -> pd.DataFrame:
    """Return one row per claim: both verdicts, and whether they agree, differ, or one is open."""
    pairs = zip(_claims(one), _claims(other), strict=True)
    rows = [
        {
            "claim": f"{mine.id}. {mine.title}",
            one.name: mine.verdict,
            other.name: theirs.verdict,
            "together": _together(mine.verdict, theirs.verdict),
        }
        for mine, theirs in pairs
    ]
    return pd.DataFrame(rows)


def _claims(study: Study) -> list[Claim]:
    path = Path(study.paths.claims)
    if not path.is_file():
        raise LeakgapError(f"{path} is missing: run the claims of {study.name} first")
    return [claim for claim in from_json(path.read_text()) if claim.design == LEAVE_ONE_OUT]


def _together(mine: str, theirs: str) -> str:
    if "undecided" in (mine, theirs):
        return "open"
    return "agree" if mine == theirs else "differ"


def pooled(one: Study, other: Study, techniques: list[str]) -> pd.DataFrame:
    """Return one row per technique and FPR: pooled TPR of both studies at their last step, ratio with interval."""
    sides = {study.name: _last(study, techniques) for study in (one, other)}
    rows = []
    for fpr in sorted(set(one.attack.fpr) & set(other.attack.fpr), reverse=True):
        draws = [
            wide_replicates(known(source.study, source.replicates), fpr, "technique")
            for source in map(_source, (one, other))
        ]
        for technique in techniques:
            tprs = {name: side[technique, fpr] for name, side in sides.items()}
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.divide(tprs[one.name], tprs[other.name])
                resampled = _ratios(*(draw[technique].to_numpy() for draw in draws))
            low, high = np.quantile(resampled, [0.025, 0.975], method="nearest")
            interval = {"ratio": ratio, "ratio_low": low, "ratio_high": high}
            named = {f"tpr_{name}": tpr for name, tpr in tprs.items()}
            rows.append({"technique": technique, "fpr": fpr} | named | interval)
    return pd.DataFrame(rows)


def _ratios(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Ratios of unrelated replicates; 0 / 0 says nothing and is left out."""
    count = min(len(mine), len(theirs))
    ratios = mine[:count] / np.roll(theirs[:count], 1)  # equal seeds would pair equal weights
    known = ratios[~np.isnan(ratios)]
    return known if len(known) else np.array([np.nan])


def _last(study: Study, techniques: list[str]) -> dict[tuple[str, float], float]:
    """Pooled TPR at the last step by technique and FPR."""
    source = _source(study)
    rows = known(source.study, source.pooled)
    last = (rows["step"] == len(study.train.steps)) & (rows["attack"] == study.attack.headline)
    chosen = rows[last & rows["technique"].isin(techniques)]
    return dict(zip(zip(chosen["technique"], chosen["fpr"], strict=True), chosen["tpr"], strict=True))


def curves(one: Study, other: Study, techniques: list[str]) -> Figure:
    """Pooled ROC of both studies at their last step, one panel for each technique in common."""
    figure, grid = panels(techniques, f"Pooled ROC, last step, {one.attack.headline}", size=(2.4, 2.55))
    sources = {study.name: _source(study) for study in (one, other)}
    low = min(source.curves["fpr"].min() for source in sources.values())
    for axes in grid:
        log_frame(axes, low, one.attack.fpr)
    for (name, source), colour, dash in zip(
        sources.items(), (INFORMED, UNINFORMED), ("-", (0, (4, 1.5))), strict=True
    ):
        last = known(source.study, source.curves[source.curves["step"] == len(source.steps)])
        for technique, curve in in_order(source, last):
            if technique in techniques:
                axes = grid[techniques.index(technique)]
                axes.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=dash, label=name)
    label(figure)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside right center")
    return figure
