"""The studies that `leakgap forecast` rests on, gathered into one table, and what forecasts of them are worth.

    python -m benchmarks.published gather [--results results]   # src/leakgap/order/published.parquet
    python -m benchmarks.published worth                        # the tables of docs/evidence/order.md

Fashion-MNIST is read from its published page and pooled.parquet (version 0.2.0; accuracies to .01 points, no losses
but their gap). All others are results in the folder named, of the study files in config.yaml and docs/.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from leakgap.jobs.forecast import FPRS, of_tables, published, read_study
from leakgap.order.forecast import left_out_models
from leakgap.order.outlook import BEYOND, WITHIN, band, cells, elsewhere, left_out_coverage, usable, with_gaps

DATA = {  # study: the data that it is on
    "digits": "digits",
    "digits-seed-1": "digits",
    "regularization": "digits",
    "dp-sgd": "digits",
    "text": "sentences",
    "boosting": "health records",
    "early-stopping": "health records",
}
FILE = Path("src/leakgap/order/published.parquet")
FASHION = Path("docs/fashion-mnist")
COLUMNS = {
    "Mask": "mask",
    "Step": "step",
    "Train acc. (%)": "train_acc",
    "Test acc. (%)": "test_acc",
    "Loss gap (nats)": "loss_gap",
}


def of_page(page: Path, pooled: pd.DataFrame) -> pd.DataFrame:
    """The models of a published report, beside its pooled TPRs."""
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script id="model-data" type="application/json">(.*?)</script>', text, re.DOTALL)
    told = json.loads(found)
    table = pd.DataFrame(told["rows"], columns=[column["title"] for column in told["columns"]])
    models = table[list(COLUMNS)].rename(columns=COLUMNS)
    models[["train_acc", "test_acc"]] /= 100
    names = np.array(told["techniques"])[table["Technique"]]
    study = pooled["study"].iloc[0]
    models = models.assign(study=study, technique=names, attacker="informed", attack=pooled["attack"].iloc[0])
    return of_tables(models, pooled)


def gather(results: Path) -> pd.DataFrame:
    """All studies in one table, a row for each model and step."""
    fashion = of_page(FASHION / "report.html", pd.read_parquet(FASHION / "pooled.parquet"))
    tables = [fashion.assign(data="fashion-mnist")]
    for study, data in DATA.items():
        tables.append(read_study(str(results / study)).assign(data=data))
    whole = pd.concat(tables, ignore_index=True).drop(columns=["acc_gap"], errors="ignore")
    both = whole["train_loss"].notna() & whole["test_loss"].notna()
    whole["loss_gap"] = whole["loss_gap"].where(~both, whole["test_loss"] - whole["train_loss"])
    numbers = whole.select_dtypes("float").columns
    return whole.assign(**{name: whole[name].astype(np.float32) for name in numbers})


def worth(models: pd.DataFrame) -> None:
    """Print what a forecast is worth within a study and on other data, by signal."""
    models = with_gaps(models)
    for fpr in FPRS:
        print(f"\nWithin a study, TPR at {100 * fpr:g}% FPR\n")
        rows = []
        for study in pd.unique(models["study"]):
            for signal in (*WITHIN, *BEYOND):
                own = usable(models[models["study"] == study], signal, fpr)
                if len(own) == 0:
                    continue
                half, level, count = band(own, signal, "technique")
                errors = left_out_models(cells(own, signal), own, [signal], "technique")
                row = {
                    "study": study,
                    "variants": count,
                    "signal": signal,
                    "mean error": np.abs(errors).mean(),
                }
                away = (
                    elsewhere(models, fpr, study, signal) if signal == WITHIN[0] and level == level else None
                )
                held = away[~away["same"]]["held"] if away is not None else []
                row |= {"level": level, "factor": 10**half}
                row["held on other data"] = ", ".join(f"{share:.2f}" for share in held)
                rows.append(row)
        print(pd.DataFrame(rows).round(3).to_markdown(index=False))
        print(f"\nOn other data, TPR at {100 * fpr:g}% FPR\n")
        rows = []
        for signals in (
            ("acc_gap",),
            ("train_acc",),
            ("loss_gap",),
            ("train_acc", "acc_gap"),
            ("acc_gap", "train_acc"),
        ):
            known = usable(models, signals[0], fpr)
            if len(signals) == 1:
                half, level, count = band(known, signals[0], "data")
                print(f"{signals[0]}: {count} data sets, band at {level}: a factor of {10**half:.2f}")
            errors = left_out_models(cells(known, *signals), known, signals, "data")
            mean = pd.Series(np.abs(errors)).groupby(known["data"].to_numpy()).mean()
            table = left_out_coverage(models, fpr, *signals)
            rows.append(table.assign(signal=" + ".join(signals), error=table["data"].map(mean)))
        print(pd.concat(rows).round(3).to_markdown(index=False))


def main() -> None:
    """Gather, or measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("gather", "worth"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    told = parser.parse_args()
    if told.what == "gather":
        gather(told.results).to_parquet(FILE, index=False, compression="zstd")
        print(f"{FILE}: {FILE.stat().st_size} bytes")
    else:
        worth(published())


if __name__ == "__main__":
    main()
