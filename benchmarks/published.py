"""The studies that `leakgap forecast` rests on, gathered into one table, and what forecasts of them are worth.

    python -m benchmarks.published gather [--results results]   # src/leakgap/order/published.parquet
    python -m benchmarks.published worth                        # the tables of docs/evidence/order.md
    python -m benchmarks.published referee                      # claims 3, 4 and 7 of Fashion-MNIST

Fashion-MNIST and text are read from their published pages (version 0.2.0; accuracies to .01 points, of losses the
gap alone), Fashion-MNIST's pooled TPRs from pooled.parquet; those of text are means over its models. All others are
results in the folder named, of config.yaml, docs/digits, docs/recipes and benchmarks/forecast.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from leakgap.jobs.forecast import FPRS, of_tables, published, read_study
from leakgap.order import between
from leakgap.order.forecast import left_out_models
from leakgap.order.outlook import BEYOND, WITHIN, band, cells, elsewhere, left_out_coverage, usable, with_gaps

DATA = {  # study: the data that it is on
    "digits": "digits",
    "digits-seed-1": "digits",
    "regularization": "digits",
    "dp-sgd": "digits",
    "boosting": "health records",
    "early-stopping": "health records",
    "affairs": "affairs",
    "votes": "votes",
    "tumours": "tumours",
}
FILE = Path("src/leakgap/order/published.parquet")
PAGES = {  # study: its page, its data, its pooled TPRs
    "fashion-mnist": ("docs/fashion-mnist/report.html", "fashion-mnist", "docs/fashion-mnist/pooled.parquet"),
    "text": ("docs/recipes/text/report.html", "sentences", None),
}
COLUMNS = {
    "Mask": "mask",
    "Step": "step",
    "Train acc. (%)": "train_acc",
    "Test acc. (%)": "test_acc",
    "Loss gap (nats)": "loss_gap",
    "TPR at 1% FPR (%)": "tpr_at_0.01",
    "TPR at 0.1% FPR (%)": "tpr_at_0.001",
}


def of_page(study: str, page: Path, pooled: pd.DataFrame | None) -> pd.DataFrame:
    """The models of a published report, beside its pooled TPRs."""
    text = page.read_text(encoding="utf-8")
    (found,) = re.findall(r'<script id="model-data" type="application/json">(.*?)</script>', text, re.DOTALL)
    told = json.loads(found)
    table = pd.DataFrame(told["rows"], columns=[column["title"] for column in told["columns"]])
    models = table[list(COLUMNS)].rename(columns=COLUMNS)
    models[["train_acc", "test_acc", "tpr_at_0.01", "tpr_at_0.001"]] /= 100
    names = np.array(told["techniques"])[table["Technique"]]
    models = models.assign(study=study, technique=names, attacker="informed", attack="lira-pooled")
    return of_tables(models, pooled)


def referee() -> None:
    """Print what a referee asks of the published Fashion-MNIST study.

    Cells are means over targets of all images (the claims take predictors from one half, TPR from the other);
    ratios have no interval, since draws are not published.
    """
    page, _, pooled = PAGES["fashion-mnist"]
    every = pd.read_parquet(str(pooled))
    models = of_page("fashion-mnist", Path(page), None)
    rows = models.rename(columns={"pooled_tpr_at_0.01": "tpr_at_0.01"})
    rows = with_gaps(rows).assign(n_members=1020, n_nonmembers=1020, train_loss=np.nan, test_loss=np.nan)
    table = between.cells(rows, 0.01)
    told = table[~table["censored"]]
    print(f"{len(told)} of {len(table)} cells are told from chance")
    for x, given in (("test_acc", "acc_gap"), ("test_acc", "train_acc"), ("acc_gap", "train_acc")):
        print(f"slope of {x} at equal {given}: {between.slope_at_equal(told, x, given)}")
    for technique, fpr in (("policy", 0.001), ("crop+mirror+cutout+policy", 0.01)):
        cell = every[(every["technique"] == technique) & (every["step"] == every["step"].max())]
        cell = cell[np.isclose(cell["fpr"], fpr)]
        best = [
            cell[cell["attacker"] == who].nlargest(1, "tpr").iloc[0] for who in ("informed", "uninformed")
        ]
        own = cell[cell["attack"] == "lira-pooled"].set_index("attacker")["tpr"]
        print(
            f"{technique}, {fpr:g} FPR: {best[0]['attack']} {best[0]['tpr']:.4f} against {best[1]['attack']} "
            f"{best[1]['tpr']:.4f}, ratio {best[0]['tpr'] / best[1]['tpr']:.2f}; lira-pooled on both sides "
            f"{own['informed'] / own['uninformed']:.2f}"
        )


def gather(results: Path) -> pd.DataFrame:
    """All studies in one table, a row for each model and step."""
    tables = [
        of_page(study, Path(page), pd.read_parquet(pooled) if pooled else None).assign(data=data)
        for study, (page, data, pooled) in PAGES.items()
    ]
    for study, data in DATA.items():
        if (results / study / "pooled.parquet").is_file():
            tables.append(read_study(str(results / study)).assign(data=data))
        else:
            print(f"{study}: no results")
    whole = pd.concat(tables, ignore_index=True).drop(columns=["acc_gap"], errors="ignore")
    both = whole["train_loss"].notna() & whole["test_loss"].notna()
    whole["loss_gap"] = whole["loss_gap"].where(~both, whole["test_loss"] - whole["train_loss"])
    numbers = whole.select_dtypes("float").columns
    return whole.assign(**{name: whole[name].astype(np.float32) for name in numbers})


SETS = (
    ("acc_gap",),
    ("train_acc",),
    ("test_acc",),
    ("loss_gap",),
    ("train_acc", "acc_gap"),
    ("acc_gap", "train_acc"),
)


def worth(models: pd.DataFrame) -> None:
    """Print what a forecast is worth within a study and on other data, by signal."""
    models = with_gaps(models)
    for fpr in FPRS:
        print(f"\nWithin a study, TPR at {100 * fpr:g}% FPR; held: on other data, by train accuracy\n")
        rows = []
        for study in pd.unique(models["study"]):
            row: dict[str, object] = {"study": study}
            for signal in (WITHIN[0], BEYOND[0], "test_acc"):
                own = usable(models[models["study"] == study], signal, fpr)
                if len(own) == 0:
                    continue
                half, level, count = band(own, signal, "technique")
                errors = left_out_models(cells(own, signal), own, [signal], "technique")
                row |= {"variants": count, "level": level, f"{signal}: mean": 10 ** np.abs(errors).mean()}
                row[f"{signal}: band"] = 10**half
            if np.isfinite(row.get("level", np.nan)):
                away = elsewhere(models, fpr, study, WITHIN[0])
                held = away[~away["same"]]["held"]
                row["held"] = f"{held.min():.2f} to {held.max():.2f}"
            rows.append(row)
        print(pd.DataFrame(rows).round(2).to_string(index=False))
        print(f"\nOn other data, TPR at {100 * fpr:g}% FPR: a data set left out, and the others' band\n")
        rows = []
        for signals in SETS:
            known = usable(models, signals[0], fpr)
            errors = left_out_models(cells(known, *signals), known, signals, "data")
            mean = pd.Series(np.abs(errors)).groupby(known["data"].to_numpy()).mean()
            table = left_out_coverage(models, fpr, *signals).set_index("data")
            row = {
                "signal": " + ".join(signals),
                "level": table["level"].iloc[0],
                "mean error": 10 ** mean.mean(),
            }
            row |= {
                "largest mean error": 10 ** mean.max(),
                "band": f"{table['factor'].min():.2f} to {table['factor'].max():.2f}",
            }
            row |= {f"held: {data}": share for data, share in table["held"].items()}
            row["held"] = table["held"].mean()
            if len(signals) == 1:
                row["band of all"] = 10 ** band(known, signals[0], "data")[0]
            rows.append(row)
        print(pd.DataFrame(rows).round(2).T.to_string(header=False))


def main() -> None:
    """Gather, or measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=("gather", "worth", "referee"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    told = parser.parse_args()
    if told.what == "gather":
        gather(told.results).to_parquet(FILE, index=False, compression="zstd")
        print(f"{FILE}: {FILE.stat().st_size} bytes")
    elif told.what == "referee":
        referee()
    else:
        worth(published())


if __name__ == "__main__":
    main()
