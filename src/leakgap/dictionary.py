"""The data dictionary: every file of tables, every column with its type and meaning, as Markdown.

Tables of a study are described by the schema that they are written by (`leakgap.results`); the others here.
"""

from collections.abc import Iterable, Mapping

from leakgap.results import QUANTITIES, TABLES, Column

__all__ = ["AUDIT", "LOGITS", "POOLED", "SCORES", "SUMMARY", "print_dictionary"]

LOGITS = {
    "step": Column("integer", "checkpoint, numbered from 1"),
    "view": Column("integer", "query view; 0 is the record as it is"),
    "image": Column("integer", "number of the record in the pool, from 0"),
    "label": Column("integer", "its class"),
    "member": Column("truth", "was the model trained on it?"),
    "phi": Column("number", "log(p / (1 - p)) of the probability p of its label, from the logits themselves"),
    "logits": Column(
        "numbers", "one for every class; empty beyond view 0 where the study keeps that one's alone"
    ),
}
SCORES = {
    "step": LOGITS["step"],
    "mask": Column("text", "the target: m000.., or a replicate r000.."),
    "image": LOGITS["image"],
    "member": Column("truth", "was the target trained on it?"),
    "<attack>": Column(
        "number", "its score, larger for members, for each attack of `attack.keep`; NaN abstains"
    ),
}
OF_TARGET = {
    "study": Column("text", "name of the study"),
    "technique": TABLES["estimates"].columns["technique"],
    "mask": Column("text", "the target: m000.., or a replicate r000.."),
    "step": LOGITS["step"],
    "epoch": TABLES["estimates"].columns["epoch"],
    "attacker": TABLES["estimates"].columns["attacker"],
    "attack": Column("text", "name of the attack (docs/attack-list.md)"),
}
SUMMARY = OF_TARGET | {
    "n_members": Column(
        "integer", "records that the target was trained on; persons where records have groups"
    ),
    "n_nonmembers": Column("integer", "those it was not trained on and that are not reserved"),
    "train_acc": Column("number", "accuracy on members; share"),
    "test_acc": Column("number", "accuracy on such non-members; share"),
    "train_loss": Column("number", "mean cross-entropy on members; nats"),
    "test_loss": Column("number", "mean cross-entropy on such non-members; nats"),
    "acc_gap": Column("number", "train_acc - test_acc"),
    "loss_gap": Column("number", "test_loss - train_loss"),
    "auc": Column("number", "area under the ROC; share"),
    "balanced_acc": Column("number", "largest mean of TPR and TNR; share"),
    "tpr_at_<fpr>": Column("number", "conformal TPR at this FPR, for each of `attack.fpr`; NaN: undefined"),
}
POOLED = {name: column for name, column in OF_TARGET.items() if name != "mask"} | {
    "design": TABLES["estimates"].columns["design"],
    "fpr": Column("number", "false positive rate; share"),
    "tpr": Column(
        "number", "TPR of all pairs of a target and a record under one threshold; share; NaN: undefined"
    ),
    "low": Column("number", "lower end of its 95% interval"),
    "high": Column("number", "upper end"),
    "n_targets": Column("integer", "targets"),
    "n_members": Column("integer", "pairs of a target and a member"),
    "n_nonmembers": Column("integer", "pairs of a target and a non-member"),
    "records_tpr": Column("number", "only where records have groups: the TPR of single records; share"),
    "records_low": Column("number", "lower end of its interval"),
    "records_high": Column("number", "upper end"),
}
AUDIT = {
    "target": Column("text", "name of the model's file"),
    "record": Column("as given", "id of the record; in people.parquet `group`, whose records they are"),
    "label": Column("as given", "its label; not in people.parquet"),
    "member": Column("truth", "was the model trained on it? Absent where the files do not say"),
    "in_models": Column("integer", "shadow models that were trained on it"),
    "out_models": Column("integer", "shadow models that were asked about it and not trained on it"),
    "exposure": Column("number", "0 at the threshold of the largest FPR, -1 at a middle non-member"),
    "called_at_<fpr>": Column("truth", "is its score above the threshold of this FPR?"),
    "memorization": Column("number", "how much likelier shadow models trained on it give its label"),
    "memorization_error": Column("number", "its standard error"),
    "records": Column("integer", "in people.parquet alone: how many records are this person's"),
    "<attack>": Column("number", "the score of every attack that ran; NaN abstains"),
}
FILES: Mapping[str, tuple[str, Mapping[str, Column]]] = {
    "summary.parquet, summary.csv": (
        "Of a study, for people: one row per target, step, attacker and attack.",
        SUMMARY,
    ),
    "pooled.parquet, pooled.csv": ("Of a study, for people: one row per pooled TPR.", POOLED),
    "scores/<technique>.by-<shadow technique>.parquet": (
        "One row per step, target and record that is not reserved.",
        SCORES,
    ),
    "logits/<technique>/<mask>.parquet": (
        "What one model answers: one row per step, view and record.",
        LOGITS,
    ),
    "records.parquet, records.csv, people.parquet, people.csv of an audit": (
        "One row per target and record, or person, the most exposed first.",
        AUDIT,
    ),
}


def print_dictionary() -> None:
    """Print the dictionary as Markdown."""
    print("\n".join(markdown()))


def markdown() -> list[str]:
    """Return its lines, without a heading of the page."""
    lines = [
        "## results.zip, and attacks/&lt;technique&gt;.by-&lt;shadow technique&gt;.zip",
        "",
        "All that attack jobs found, of the whole study and of one job: a zip of Parquet files and `about.json`, "
        'which says what they were made of. In Python: `Results(Study.load("config.yaml")).estimates`.',
    ]
    for name, table in TABLES.items():
        lines += ["", f"### {name}", "", f"{_sentence(table.holds)}.", "", *_table(table.columns)]
        if name == "estimates":
            lines += ["", "Quantities:", "", "| quantity | meaning |", "|---|---|"]
            for names, meaning in QUANTITIES.items():
                lines.append(f"| {', '.join(f'`{name}`' for name in names.split(', '))} | {meaning} |")
    for name, (holds, columns) in FILES.items():
        lines += ["", f"## {name}".replace("<", "&lt;").replace(">", "&gt;"), "", holds, "", *_table(columns)]
    return lines


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _table(columns: Mapping[str, Column]) -> Iterable[str]:
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for name, (kind, meaning) in columns.items():
        yield f"| `{name}` | {kind} | {meaning} |"
