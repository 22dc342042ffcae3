"""The paper's own numbers beside a study's, where the study is on its data set."""

import numpy as np

from leakgap.numbers import fixed
from leakgap.results import Results
from leakgap.study import NONE

DATASET, FPR = "cifar10", 0.001
# Tables I and II of the study, CIFAR-10, percent: train accuracy, test accuracy, TPR at 0.1% FPR of one target
TECHNIQUES = {
    "none": (100, 76.55, 19.56),
    "crop": (95.75, 84.26, 0.73),
    "mirror": (98.75, 72.59, 4.52),
    "policy": (99.4, 80.75, 2.91),
    "cutout": (99.2, 76.49, 9.95),
    "crop+cutout": (96.81, 85.29, 0.63),
    "crop+mirror": (92.93, 82.43, 0.33),
    "mirror+cutout": (98.9, 81.43, 4.61),
    "crop+mirror+cutout": (95.35, 84.16, 0.54),
    "crop+mirror+cutout+policy": (94.94, 89.15, 0.18),
}
STEPS = {
    6: (100, 76.8, 18.28),
    5: (99.8, 75.7, 14.63),
    4: (97.4, 73.2, 8.31),
    3: (93.6, 72.3, 4.6),
    2: (86, 68.3, 0.16),
    1: (75.9, 67.4, 0.1),
}


def beside(results: Results) -> list[str]:
    """Return Markdown lines: each variant at the last step, and `none` at each, as printed and as found here.

    None for another data set. TPRs are means over targets, NaN where one of them is undefined.
    """
    if results.study.data.dataset != DATASET:
        return []
    targets = results.targets().set_index(["technique", "step"])
    lines = ["", "## The paper's Tables I and II beside this study (%)", ""]
    lines += [
        "| technique | step | train accuracy | test accuracy | TPR at 0.1% FPR |",
        "|---|---|---|---|---|",
    ]
    printed = {(name, results.last): numbers for name, numbers in TECHNIQUES.items()}
    printed |= {(NONE, step): numbers for step, numbers in STEPS.items() if step != results.last}
    for place, numbers in printed.items():
        if place not in targets.index:
            continue
        rows = targets.loc[[place]]
        ours = [100 * rows[name].mean(skipna=False) for name in ("train_acc", "test_acc", f"tpr_at_{FPR:g}")]
        cells = [f"{number:g}; here {_text(found)}" for number, found in zip(numbers, ours, strict=True)]
        lines.append(f"| {place[0]} | {place[1]} | {' | '.join(cells)} |")
    return lines


def _text(value: float) -> str:
    return "undefined" if np.isnan(value) else fixed(value)
