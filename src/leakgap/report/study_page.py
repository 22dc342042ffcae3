"""One self-contained HTML file of a study: what to choose, results by topic, claims, every model, provenance.

Nothing is loaded from elsewhere, and the page's own content security policy forbids it. The sortable tables are
DataTables, as shipped by itables.
"""

import hashlib
import json
import platform
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from leakgap import LeakgapError, __version__
from leakgap.estimates import OF_RECORDS, at_fpr, tpr_column
from leakgap.files import atomic, read_records
from leakgap.measure.least import least_nonmembers
from leakgap.numbers import span
from leakgap.report import figures as drawings
from leakgap.report import tables as indexed
from leakgap.report.choice import choose, in_words
from leakgap.report.claims import read_claims
from leakgap.report.decision import answer, by_accuracy, decisions, sentence, summary
from leakgap.report.order import read_order
from leakgap.report.topics import DECISION, TOPICS, Topic
from leakgap.results import Results
from leakgap.study import Study

PROVENANCE = {
    "technique": "Technique",
    "device": "Device",
    "threads": "Threads",
    "torch_version": "torch",
    "code_version": "Code",
}
PLAIN = " !$'()*+,-./:;<=>?@[]^_`{|}~"  # in a data URI, inside double quotes
FEW_GROUPS = 50  # of which intervals covered the truth in 84 to 95% of simulations: docs/evidence/persons.md
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
    "loss_gap": ("Loss gap (nats)", 1, 3),
    "auc": ("AUC (%)", 100, 2),
}
WORDS = dict.fromkeys(
    ("name", "topic", "heading", "caption"), str
)  # in the indices, of every figure and table
FIGURE = WORDS | {"behind": str, "alt": str, "inches": float}
TABLE = WORDS | {"columns": list, "rows": list}


@dataclass(frozen=True)
class Section:
    """A topic of the results with what belongs to it, as the indices of figures and tables have it."""

    id: str
    topic: Topic
    figures: list[dict[str, Any]]  # each with those `behind` it
    tables: list[dict[str, Any]]


def write_report(
    study: Study,
    joined: str,
    claims: str | None,
    tables: str,
    figures: str,
    out: str,
    order: str | None = None,
) -> None:
    """Write the report to `out`; LeakgapError when a stage before it has not run."""
    with atomic(out) as temporary:
        temporary.write_text(
            render(study, joined, claims, Path(tables), Path(figures), order), encoding="utf-8"
        )


def render(
    study: Study, joined: str, claims: str | None, tables: Path, figures: Path, order: str | None = None
) -> str:
    """Return the page, made of the joined tables, the claims' JSON and the folders of tables and figures.

    order: what orders the leak, where that was asked.
    """
    results = Results(study, joined)
    targets = results.targets()
    shown = pd.concat([results.targets(design) for design in results.designs])
    models, found, origin = results.models, decisions(results), results.origin
    drawn, written = _figures(figures, origin), _tables(tables, origin)
    judged = _claims(read_claims(claims, origin), study.attack.headline)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"marked": _marked, "estimate": _estimate}
    template = _resource("leakgap.report", "study_page.html.j2")
    return environment.from_string(template).render(
        study=study,
        answer=in_words(choose(results, max(study.attack.fpr), study.report.margin)),
        summary=[answer(found[0]), *summary(found)] if len(found[0].variants) > 1 else [],
        persons=_persons(results),
        sentences=[sentence(found, variant) for variant in by_accuracy(found[0])],
        decision=_section(DECISION, Topic("Choice", "What to choose", ""), drawn, written),
        sections=[_section(name, topic, drawn, written) for name, topic in TOPICS.items()],
        order=read_order(order, origin),
        claims=judged,
        designs=list(dict.fromkeys(design for claim in judged for design in claim["designs"])),
        model_table=_model_table(study, shown),
        warnings=[*_warnings(results, targets), *_differences(models)],
        left_out=[figure for figure in drawn if "left_out" in figure],
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


def _persons(results: Results) -> str:
    """Say whose every number is, where records have groups; else nothing."""
    study, technique = results.study, results.study.grid.techniques[0]
    row = results.row(results.cell(technique), max(study.attack.fpr))
    if OF_RECORDS["value"] not in row:
        return ""
    value, low, high = (100 * row[name] for name in OF_RECORDS.values())
    persons = (row["n_members"] + row["n_nonmembers"]) // row["n_targets"]
    few = " So few groups make intervals that may be too narrow." if persons <= FEW_GROUPS else ""
    return (
        f"TPR, AUC, thresholds and epsilon are of {persons:,} groups of records "
        f"(`data.groups: {study.data.groups}`): each is a member where any of its records is, and has a score that "
        "is made of theirs. Accuracies and losses "
        f"are of records, with intervals that count groups. Of single records, `{technique}` has a TPR of "
        f"{_estimate({'value': value, 'low': low, 'high': high})}% at {100 * row['fpr']:g}% FPR.{few}"
    )


def _section(name: str, topic: Topic, figures: list[dict[str, Any]], tables: list[dict[str, Any]]) -> Section:
    """Gather what belongs to a topic. A figure behind one that is left out stands in its place."""
    groups = dict[str, list[dict[str, Any]]]()
    for figure in figures:
        if figure["topic"] == name and "left_out" not in figure:
            groups.setdefault(figure["behind"] or figure["name"], []).append(figure)
    shown = [first | {"folds": rest} for first, *rest in groups.values()]
    return Section(name, topic, shown, [table for table in tables if table["topic"] == name])


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


def _claims(judged: list[dict[str, Any]], headline: str) -> list[dict[str, Any]]:
    """Return one entry per claim: as judged with the headline attack in every design, and by the strongest attack.

    The first design counts. `beside`: the same claim with the strongest attack, where that is another one.
    """
    claims = dict[int, dict[str, Any]]()
    for claim in judged:
        if claim["attack"] == headline:
            claims.setdefault(claim["id"], claim | {"designs": {}, "beside": None})
            claims[claim["id"]]["designs"][claim["design"]] = claim
    for claim in judged:
        first = claims.get(claim["id"], claim)
        if claim["attack"] != headline and claim["design"] == first["design"]:
            first["beside"] = claim
    return list(claims.values())


def _text(path: Path, digest: str | None, made_by: str) -> str:
    """Return a text; LeakgapError where it is missing, or not the one that its index was written with."""
    if not path.is_file():
        raise LeakgapError(f"{path} is missing: run {made_by} anew")
    content = path.read_bytes()
    if digest not in (None, hashlib.sha256(content).hexdigest()):
        raise LeakgapError(f"{path}: is damaged, or not the one of its index; run {made_by} anew")
    return content.decode(errors="replace")  # unless others wrote it, it is what its index says


def _data_uri(text: str, kind: str) -> str:
    return f"data:{kind};charset=utf-8,{quote(text, safe=PLAIN)}"


def _figures(folder: Path, origin: str) -> list[dict[str, Any]]:
    """Return the index of the figures, each that was drawn with its SVG as a data URI."""
    figures = read_records(folder / drawings.INDEX, "figures", origin, FIGURE)
    for figure in figures:
        if "left_out" not in figure:
            svg = _text(folder / f"{figure['name']}.svg", figure.get("sha256"), "figures")
            # as text, a quarter smaller than in base64
            figure["uri"] = _data_uri(" ".join(svg.split()), "image/svg+xml")
    return figures


def _tables(folder: Path, origin: str) -> list[dict[str, Any]]:
    """Return the index of the tables, each with its CSV as a data URI."""
    tables = read_records(folder / indexed.INDEX, "tables", origin, TABLE)
    for table in tables:
        csv = _text(folder / f"{table['name']}.csv", table.get("sha256"), "tables")
        table["csv"] = _data_uri(csv, "text/csv")
    return tables


def _model_table(study: Study, targets: pd.DataFrame) -> str:
    """Return the table of all targets and steps as JSON; NaN is null, a technique its place in `techniques`."""
    tprs = {tpr_column(fpr): (f"TPR at {100 * fpr:g}% FPR (%)", 100, 2) for fpr in study.attack.fpr}
    shown = PLACE | tprs | MEASURES
    table = targets[list(shown)].copy()
    for name, (_, factor, decimals) in shown.items():
        if factor is not None and decimals is not None:
            table[name] = (table[name] * factor).round(decimals)
    techniques = list(dict.fromkeys(table["technique"]))
    table["technique"] = table["technique"].map(techniques.index)
    columns = [{"title": heading, "decimals": decimals} for heading, _, decimals in shown.values()]
    rows = json.loads(table.to_json(orient="values", double_precision=6))
    return _safe_json({"columns": columns, "techniques": techniques, "rows": rows})


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


def _warnings(results: Results, targets: pd.DataFrame) -> Iterator[str]:
    """Say what is undefined or missing."""
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


def _marked(text: str) -> Markup:
    """Return text with `names` set as code and **words** in bold."""
    code = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", code))


def _estimate(found: dict[str, Any]) -> str:
    """Return a value and its interval, its ends rounded outwards."""
    if found["value"] is None:
        return "undefined"
    value, low, high = found["value"], found["low"], found["high"]
    return f"{value:.3g}" if None in (low, high) else f"{value:.3g} ({span(low, high)})"
