"""One self-contained HTML file of a study: claims, figures, tables, every model, provenance and warnings.

Nothing is loaded from elsewhere, and the page's own content security policy forbids it. The sortable tables are
DataTables, as shipped by itables.
"""

import hashlib
import json
import platform
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from leakgap import LeakgapError, __version__
from leakgap.files import atomic
from leakgap.report import figures as drawings
from leakgap.report import tables as written
from leakgap.results import REPLICATES, Results, at_fpr, tpr_column
from leakgap.study import Study
from leakgap.study.grid import least_nonmembers

PROVENANCE = {
    "technique": "Technique",
    "device": "Device",
    "threads": "Threads",
    "torch_version": "torch",
    "code_version": "Code",
}
VERSIONS = ("numpy", "pandas", "scipy", "matplotlib", "pyarrow")
PLACE = {  # column: heading, factor, decimals; None: text or a whole number
    "technique": ("Technique", None, None),
    "mask": ("Mask", None, None),
    "step": ("Step", None, None),
    "epoch": ("Epoch", None, None),
}
MEASURES = {
    "train_acc": ("Train acc. (%)", 100, 2),
    "test_acc": ("Test acc. (%)", 100, 2),
    "acc_gap": ("Acc. gap (points)", 100, 2),
    "train_loss": ("Train loss (nats)", 1, 4),
    "test_loss": ("Test loss (nats)", 1, 4),
    "loss_gap": ("Loss gap (nats)", 1, 4),
    "auc": ("AUC (%)", 100, 2),
    "balanced_acc": ("Balanced acc. (%)", 100, 2),
}


@dataclass(frozen=True)
class Table:
    """A table as it is read: title, heading and cells."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    csv: str  # data URI


def write_report(
    study: Study, joined: Sequence[str], claims: str, tables: str, figures: str, out: str
) -> None:
    """Write the report to `out`; LeakgapError when a stage before it has not run."""
    with atomic(out) as temporary:
        temporary.write_text(render(study, joined, claims, Path(tables), Path(figures)), encoding="utf-8")


def render(study: Study, joined: Sequence[str], claims: str, tables: Path, figures: Path) -> str:
    """Return the page, made of the joined tables, the claims' JSON and the folders of tables and figures."""
    results = Results(study, joined)
    targets = results.targets()
    shown = pd.concat([targets, *([results.targets(REPLICATES)] if study.grid.replicates else [])])
    models, drawn = results.models, _figures(figures)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"marked": _marked, "short": _short, "heading": _heading}
    template = _resource("leakgap.report", "page.html.j2")
    return environment.from_string(template).render(
        study=study,
        claims=_claims(claims, study.attack.headline),
        figures=[figure for figure in drawn if "left_out" not in figure],
        tables=list(_tables(tables)),
        model_table=_model_table(study, shown),
        warnings=[*_warnings(results, targets, drawn), *_differences(models)],
        provenance=_provenance(models),
        seconds=models["seconds"].sum(),
        snapshots=len(shown),
        settings=yaml.safe_dump(
            study.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=100
        ),
        versions={"leakgap": __version__, "Python": platform.python_version()}
        | {name: version(name) for name in VERSIONS},
        script_hash=Markup(_script_hash(template)),
        script=Markup(_inside_script(_resource("itables", "html/dt_bundle.js"))),
        style=Markup(_resource("itables", "html/dt_bundle.css")),
    )


def _resource(package: str, path: str) -> str:
    return files(package).joinpath(path).read_text(encoding="utf-8")


def _script_hash(template: str) -> str:
    """Return what the content security policy calls the page's own script: no other and no handler runs.

    Source: Content Security Policy Level 3, section 2.3.1, hash-source.
    """
    script = template.partition('<script type="module">')[2].partition("</script>")[0]
    return f"sha256-{b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _inside_script(source: str) -> str:
    """Return equal JavaScript that neither ends the script element that holds it nor opens a comment in it."""
    return re.sub(r"<(?=!--|/?script)", r"\\x3c", source, flags=re.IGNORECASE)


def _json(path: str, verb: str) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LeakgapError(f"{path} is missing: run {verb} first") from None


def _claims(path: str, headline: str) -> list[dict[str, Any]]:
    """Return the claims judged with the headline attack, each with what the strongest attack says `beside` it."""
    claims = _json(path, "claims")
    others = {(claim["design"], claim["id"]): claim for claim in claims if claim["attack"] != headline}
    return [
        claim | {"beside": others.get((claim["design"], claim["id"]))}
        for claim in claims
        if claim["attack"] == headline
    ]


def _data_uri(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"


def _figures(folder: Path) -> list[dict[str, Any]]:
    """Return the index of the figures, each that was drawn with its SVG as a data URI."""
    figures = _json(str(folder / drawings.INDEX), "figures")
    for figure in figures:
        if "left_out" not in figure:
            figure["uri"] = _data_uri(folder / f"{figure['name']}.svg", "image/svg+xml")
    return figures


def _tables(folder: Path) -> Iterator[Table]:
    """Read the index of the tables; a table's CSV is offered beside it."""
    for table in _json(str(folder / written.INDEX), "tables"):
        yield Table(**table, csv=_data_uri(folder / f"{table['name']}.csv", "text/csv"))


def _model_table(study: Study, targets: pd.DataFrame) -> str:
    """Return columns and rows of the table of all targets and steps as JSON for DataTables; NaN is null."""
    tprs = {tpr_column(fpr): (f"TPR at {100 * fpr:g}% FPR (%)", 100, 2) for fpr in study.attack.fpr}
    shown = PLACE | tprs | MEASURES
    table = targets[list(shown)].copy()
    for name, (_, factor, decimals) in shown.items():
        if factor is not None and decimals is not None:
            table[name] = (table[name] * factor).round(decimals)
    columns = [{"title": heading, "decimals": decimals} for heading, _, decimals in shown.values()]
    rows = json.loads(table.to_json(orient="values", double_precision=6))
    return _safe_json({"columns": columns, "rows": rows})


def _safe_json(value: object) -> str:
    """Return JSON that can stand inside a script element."""
    return Markup(json.dumps(value, separators=(",", ":")).replace("<", "\\u003c"))


def _provenance(models: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one row per technique: models, seconds of a job, where and with what it ran."""
    table = models.rename(columns=PROVENANCE)
    groups = table.groupby(list(PROVENANCE.values()), sort=False)["seconds"]
    told = groups.agg(Models="size", Median="median", Longest="max", Total="sum").round(1).reset_index()
    told.columns = [f"{name} (s)" if name in ("Median", "Longest", "Total") else name for name in told]
    return [dict(zip(told.columns, row, strict=True)) for row in told.itertuples(index=False)]


def _differences(models: pd.DataFrame) -> Iterator[str]:
    """Warn where models that are compared were not trained alike."""
    for key, what in (
        ("device", "devices"),
        ("torch_version", "versions of torch"),
        ("code_version", "versions of the training code"),
        ("threads", "numbers of threads"),
    ):
        counts = models[key].value_counts()
        if len(counts) > 1:
            told = ", ".join(f"{value} ({count} models)" for value, count in counts.items())
            yield f"The models were trained on different {what}: {told}."


def _warnings(results: Results, targets: pd.DataFrame, figures: list[dict[str, Any]]) -> Iterator[str]:
    """Say what is undefined, missing or left out."""
    study = results.study
    expected = len(study.grid.techniques) * len(study.masks) * len(study.train.steps)
    if len(targets) < expected:
        yield f"Only {len(targets)} of {expected} targets (models and steps) are in the summary."
    for fpr in study.attack.fpr:
        single = int(targets[tpr_column(fpr)].isna().sum())
        if single:
            yield (
                f"The TPR at {100 * fpr:g}% FPR of {single} of {len(targets)} single targets is undefined: "
                f"a target has {targets['n_nonmembers'].min()} non-members, {least_nonmembers(fpr)} are "
                "needed. The pooled TPR stands in its place."
            )
        rows = at_fpr(results.pooled, fpr)
        pooled = rows[rows["tpr"].isna()]
        if len(pooled):
            yield f"The pooled TPR at {100 * fpr:g}% FPR is undefined in {len(pooled)} rows: too few non-members."
    for figure in figures:
        if "left_out" in figure:
            yield f"Figure {figure['name']} is left out: {figure['left_out']}."


def _marked(text: str) -> Markup:
    """Return text with `names` set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _heading(name: str) -> str:
    words = name.replace("_", " ").replace("roc", "ROC").replace("tpr", "TPR").replace("acc ", "accuracy ")
    return words[0].upper() + words[1:]


def _short(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3g}"
