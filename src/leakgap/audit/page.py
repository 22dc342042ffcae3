"""What an audit writes: audit.json with every number, tables of records and of people, and a page to be read.

The page is one file that loads nothing and runs nothing: its content security policy forbids both.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from leakgap import __version__, attacks
from leakgap.audit import advice, words
from leakgap.audit.folder import check_folder, remove_people
from leakgap.audit.model import Audit
from leakgap.audit.picture import Axes
from leakgap.files import atomic
from leakgap.numbers import bound, one_in, percent
from leakgap.text import for_spreadsheets

if TYPE_CHECKING:
    from leakgap.audit.compare import Comparison

SHOWN = 20  # records on the page
BESIDE = 3  # attacks that the picture names beside the leading one
SEEN = {  # what the attacker sees of a record, by the kind of the answers
    "logits": "the model's logits",
    "probabilities": "the probabilities of all classes or labels",
    "probability": "the probability of one of two labels",
    "phi": "how sure the model is of the label (phi)",
    "loss": "the model's loss",
    "log_density": "the logarithm of a density",
    "tokens": "the log-probability of every token",
    "score": "a score",
    "prediction": "the predicted label alone",
    "regression": "a predicted number",
}


def write_audit(audit: Audit, folder: Path) -> None:
    """Write audit.json, records and people as .parquet and .csv, and report.html, each whole or not at all."""
    check_folder(folder)
    with atomic(folder / "audit.json") as temporary:
        temporary.write_text(json.dumps(as_json(audit), indent=2, allow_nan=False), encoding="utf-8")
    with atomic(folder / "records.parquet") as temporary:
        audit.records.to_parquet(temporary, index=False)
    with atomic(folder / "records.csv") as temporary:
        for_spreadsheets(audit.records).to_csv(temporary, index=False)
    if len(audit.people):
        with atomic(folder / "people.parquet") as temporary:
            audit.people.to_parquet(temporary, index=False)
        with atomic(folder / "people.csv") as temporary:
            for_spreadsheets(audit.people).to_csv(temporary, index=False)
    else:
        remove_people(folder)
    with atomic(folder / "report.html") as temporary:
        temporary.write_text(render(audit), encoding="utf-8")


def as_json(audit: Audit) -> dict[str, Any]:
    """Return every number of an audit but those of single records; what is undefined is null."""
    curves = {
        str(name): {"fpr": curve["fpr"].tolist(), "tpr": curve["tpr"].tolist()}
        for name, curve in audit.curves.groupby("attack", sort=False)
    }
    return _defined(audit.about | {"attacks": audit.summary.to_dict("records"), "curves": curves})


def templates() -> Environment:
    """Return what makes pages of the templates beside this file."""

    def source(name: str) -> str:
        return files("leakgap.audit").joinpath(name).read_text(encoding="utf-8")

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(source),
    )
    environment.filters |= {
        "percent": percent,
        "bound": bound,
        "count": _count,
        "decimals": _decimals,
        "code": _code,
    }
    environment.globals |= {"interval": words.interval, "one_in": one_in}
    return environment


def render(audit: Audit) -> str:
    """Return the page."""
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            about=audit.about,
            whose=words.names(audit.about["targets"]),
            attacker=words.attacker(audit.about),
            leading=_leading(audit),
            achieved=_achieved(audit),
            rows=audit.summary.query("unit == @audit.about['unit']").to_dict("records"),
            units=words.plural(audit.about["unit"]),
            ways={"sum": "the sum", "mean": "the mean", "max": "the largest"},
            people=audit.people.head(SHOWN).to_dict("records"),
            total_people=len(audit.people),
            descriptions={name: attack.description for name, attack in attacks.ATTACKS.items()},
            picture=_picture(audit) if len(audit.curves) else None,
            records=audit.records.head(SHOWN).to_dict("records"),
            total=len(audit.records),
            memorized=bool(audit.records["memorization"].notna().any()),
            slices=_slices(audit.about),
            seen=SEEN.get(audit.about["targets"][0]["kind"], "the model's answers"),
            steps=advice.what_now(audit),
            changes=advice.LOWERED,
        )
    )


def render_comparison(found: Comparison, named: int) -> str:
    """Return the page of two audits beside each other, with so many of those exposed in one alone."""
    axes = Axes(float(found.curves["fpr"].min()))
    lines = [axes.line(curve["fpr"], curve["tpr"]) for _, curve in found.curves.groupby("side")]
    return (
        templates()
        .get_template("comparison.html.j2")
        .render(
            found=found,
            picture=axes.ticks() | {"lines": lines},
            rows=[_compared(row) for row in found.table.to_dict("records")],
            exposed=list(found.exposed.head(named).itertuples(index=False, name=None)),
            how=found.how,
            version=__version__,
            **found.about,
        )
    )


def _compared(row: dict[Hashable, Any]) -> dict[str, str]:
    """Return a row of a comparison as it is shown: AUCs by their difference, TPRs by their ratio."""
    change, low, high = (float(row[name]) for name in ("change", "low", "high"))
    if math.isnan(change):
        told = "undefined"
    elif row["quantity"] == "AUC":
        told = f"{100 * change:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    else:
        told = f"{change:.3g} times [{low:.3g}, {high:.3g}]"
    first, second = (_share(row[side]) for side in ("first", "second"))
    return {"what": row["quantity"], "first": first, "second": second, "change": told}


def _share(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{percent(value)}%"


def _slices(about: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the slices as they are shown, the one that leaks most first."""
    rows = [
        {key: math.nan if value is None else value for key, value in row.items()}
        for row in about.get("slices", [])
    ]
    rows.sort(key=lambda row: -1.0 if math.isnan(row["tpr"]) else row["tpr"], reverse=True)
    return [
        row
        | {
            "shown": words.interval(
                {"tpr": row["tpr"], "tpr_low": row["low"], "tpr_high": row["high"]}, "tpr"
            ),
            "accused": _share(row["fpr"]),
        }
        for row in rows
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _code(text: str) -> Markup:
    """Return a sentence in which what stands in backquotes is code."""
    parts = [escape(part) for part in text.split("`")]
    parts[1::2] = [Markup("<code>{}</code>").format(part) for part in parts[1::2]]
    return Markup("").join(parts)


def _leading(audit: Audit) -> dict[str, Any]:
    return {str(name): value for name, value in audit.summary.iloc[0].items()}


def _achieved(audit: Audit) -> bool:
    """Whether shadow models set a threshold at any of the false positive rates."""
    row, fprs = _leading(audit), audit.about["fprs"]
    return audit.about["measured"] and not all(math.isnan(row[f"achieved_fpr_at_{fpr:g}"]) for fpr in fprs)


def _count(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def _decimals(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _defined(value: Any) -> Any:
    """Return what JSON can hold: numpy's numbers as Python's, NaN and infinities as null."""
    if isinstance(value, dict):
        return {key: _defined(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_defined(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _picture(audit: Audit) -> dict[str, Any]:
    """Return lines, ticks and marks of the picture, in its coordinates."""
    leading, row, beside = audit.about["leading"], _leading(audit), _beside(audit)
    axes = Axes(audit.about["lowest_fpr"])
    curves = audit.curves.groupby("attack", sort=False)
    lines = {str(name): axes.line(curve["fpr"], curve["tpr"]) for name, curve in curves}
    read = {
        fpr: [row[f"tpr_at_{fpr:g}{end}"] for end in ("", "_low", "_high")] for fpr in audit.about["fprs"]
    }
    return axes.ticks() | {
        "beside": {name: lines[name] for name in beside},
        "rest": {name: path for name, path in lines.items() if name not in (leading, *beside)},
        "leading": lines[leading],
        "marks": [axes.mark(fpr, *ends) for fpr, ends in read.items() if not math.isnan(ends[1])],
    }


def _beside(audit: Audit) -> list[str]:
    """Return the attacks named beside the leading one: of those that need no shadow models the best, then the best.

    The best recognize most at the largest false positive rate that all can be read at, or have the largest AUC.
    """
    about = audit.about
    rows = audit.summary[audit.summary["unit"] == about["unit"]]
    rates = [f"tpr_at_{fpr:g}" for fpr in sorted(about["fprs"]) if rows[f"tpr_at_{fpr:g}"].notna().all()]
    ranked = rows.sort_values([*rates[-1:], "auc"], ascending=False)["attack"].tolist()
    others = [name for name in ranked if name != about["leading"]]
    first = [name for name in others if _needs_no_shadows(name)][:1]
    return [*first, *(name for name in others if name not in first)][:BESIDE]


def _needs_no_shadows(name: str) -> bool:
    attack = attacks.ATTACKS[name]
    return name != "correctness" and not max(attack.min_in, attack.min_out, attack.min_shadows)
