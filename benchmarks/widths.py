"""How many masks and images give an answer? On random parts of finished studies, and on simulated larger ones.

    OMP_NUM_THREADS=1 python -m benchmarks.widths STUDY.yaml... [--techniques none crop] [--figure widths.svg]

A part is a group of mask pairs and a random share of the unreserved images; every model of the group is attacked
at its last step by the others outside its pair. The simulated studies are the worlds of `benchmarks.coverage`, in
which one technique leaks more than the other. Prints in Markdown, as medians over parts or worlds,

    TPR     the pooled TPR of the first technique and the ends of its 95% interval, in percent
    finds   the ratio of the two TPRs that four of five such studies would tell from 1: exp((t_.975 + t_.8) se), se
            the contrast's standard error of the log ratio, t Student's with its degrees of freedom
    found   how many parts told these two techniques apart, of how many

Parts of one study share models and images, the more the larger they are.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from benchmarks import coverage
from benchmarks.attacks_by_shadows import evidence_of
from leakgap import attacks
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.contrast import contrast
from leakgap.study import Study

FPRS, MASKS, IMAGES = (0.01, 0.001), (4, 8, 16, 32, 64), (250, 500, 1000)
ATTACK, REPLICATES, POWER = "lira-pooled", 400, 0.8
SIMULATED, STRENGTHS, WORLDS = (1000, 4000, 16000), [0.8, 0.6], 10
UNTOLD = 20  # ratios above are shown as more than this

Scored = tuple[np.ndarray, list[np.ndarray]]  # memberships and two techniques' scores, [models, images]


class Row(NamedTuple):
    """What studies of one size say at one FPR: medians; NaN where the TPR is undefined."""

    fpr: float
    images: int
    masks: int
    tpr: float
    low: float
    high: float
    finds: float
    found: int
    parts: int


def part(both: list[attacks.Evidence], masks: int, images: int, number: int) -> Scored:
    """Scores of a group of masks and a random share of the images."""
    first = both[0]
    models = np.arange(masks) + number % (len(first.shadow) // masks) * masks
    free = np.flatnonzero(~first.reserved)
    chosen = np.sort(np.random.default_rng((masks, images, number)).permutation(free)[:images])
    member, unreserved = first.member[np.ix_(models, chosen)], np.zeros(images, bool)
    scores = []
    for known in both:
        phi, left_out = known.shadow[models][:, chosen], known.left_out[np.ix_(models, models)]
        evidence = attacks.Evidence(phi, phi, member, left_out, known.labels[chosen], unreserved)
        scores.append(attacks.run(ATTACK, evidence))
    return member, scores


def simulated(masks: int, images: int, number: int) -> Scored:
    """Scores of a world of `benchmarks.coverage`."""
    coverage.IMAGES = images
    return coverage.world(np.random.default_rng((masks, images, number)), masks, STRENGTHS)


def measure(images: int, masks: int, draw: Callable[[int], Scored], parts: int) -> list[Row]:
    """One row for every FPR."""
    found: list[list[tuple]] = [[] for _ in FPRS]
    for number in range(parts):
        member, scores = draw(number)
        draws = Resampling(member, np.ones(images, bool), replicates=REPLICATES, seed=number)
        one, other = (draws.pooled(score, FPRS) for score in scores)
        for k in range(len(FPRS)):
            own, ratio = one[k], contrast(one[k], other[k])
            t = stats.t.isf(0.025, ratio.df) + stats.t.isf(1 - POWER, ratio.df)
            found[k].append((*own[:3], t * ratio.se, ratio.low > 1 or ratio.high < 1))
    rows = []
    for fpr, each in zip(FPRS, found, strict=True):
        *columns, told = np.array(each, float).T
        tpr, low, high, log_ratio = (float(np.median(column)) for column in columns)
        finds = float(np.exp(min(log_ratio, 700)))
        rows.append(Row(fpr, images, masks, tpr, low, high, finds, int(told.sum()), parts))
    return rows


def table(rows: list[Row]) -> str:
    """Markdown: one row for each number of images and masks, the FPRs side by side."""
    lines = ["| images | masks |" + "".join(f" TPR at {fpr:.1%} FPR | finds | found |" for fpr in FPRS)]
    lines.append("|---|---|" + "---|---|---|" * len(FPRS))
    for size in dict.fromkeys((row.images, row.masks) for row in rows):
        cells = [cell(row) for row in rows if (row.images, row.masks) == size]
        lines.append(f"| {size[0]:,} | {size[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(row: Row) -> str:
    """Three columns of the table."""
    if np.isnan(row.tpr):
        return "undefined | |"
    tpr, low, high = 100 * row.tpr, 100 * row.low, 100 * row.high
    finds = f"{row.finds:.2f}" if row.finds < UNTOLD else f"> {UNTOLD}"
    return f"{tpr:.2f} [{low:.2f}, {high:.2f}] | {finds} | {row.found} of {row.parts}"


def draw(studies: dict[str, list[Row]], path: str) -> None:
    """The ratio found, by number of masks: a panel for each study and FPR, a line for each number of images."""
    figure = Figure(figsize=(7.5, 2.8 * len(studies)), layout="constrained")
    panels = figure.subplots(len(studies), len(FPRS), sharex=True, sharey=True, squeeze=False)
    for line, (name, rows) in zip(panels, studies.items(), strict=True):
        for panel, fpr in zip(line, FPRS, strict=True):
            for images in sorted({row.images for row in rows}):
                of_size = [row for row in rows if (row.images, row.fpr) == (images, fpr)]
                masks, finds = [row.masks for row in of_size], [row.finds for row in of_size]
                panel.plot(masks, finds, "o-", markersize=4, label=f"{images:,}")
            panel.set(xscale="log", yscale="log", title=f"{name}, {fpr:.1%} FPR", ylim=(1.05, UNTOLD))
            panel.set_xticks(MASKS, map(str, MASKS))
            panel.set_yticks(ticks := (1.2, 1.5, 2, 3, 5, 10, 20), map(str, ticks))
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        line[0].set_ylabel("ratio of TPRs that is found")
        line[0].legend(title="images", fontsize="small", title_fontsize="small")
    for panel in panels[-1]:
        panel.set_xlabel("masks (models of each technique)")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Print a table for every study and for the simulated ones, and draw one figure of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+")
    parser.add_argument("--techniques", nargs=2, default=["none", "crop"])
    parser.add_argument("--parts", type=int, default=40)
    parser.add_argument("--figure")
    options = parser.parse_args()
    found = {}
    for path in options.studies:
        study = Study.load(path)
        both = [evidence_of(study, technique) for technique in options.techniques]
        free, masks = int((~both[0].reserved).sum()), len(both[0].shadow)
        rows = []
        for images in (*(size for size in IMAGES if size < free), free):
            for size in (size for size in MASKS if size <= masks):
                parts = options.parts if images < free else masks // size  # no two of them the same
                rows += measure(images, size, partial(part, both, size, images), parts)
        found[study.name] = rows
        print(f"\n{study.name}: {' and '.join(options.techniques)}, {ATTACK}\n\n{table(rows)}", flush=True)
    rows = []
    for images in SIMULATED:
        for size in MASKS:
            rows += measure(images, size, partial(simulated, size, images), WORLDS)
    found["simulated"] = rows
    print(f"\nsimulated\n\n{table(rows)}", flush=True)
    if options.figure:
        draw(found, options.figure)


if __name__ == "__main__":
    main()
