"""What drawing images in groups does to an interval: its standard error beside that of single images.

    OMP_NUM_THREADS=1 python -m benchmarks.groups

Models of mask pairs, 60,000 images, scores that leak much on few images. The draws depend on their seed: for
each of several seeds the standard error of the pooled TPR's logit is taken with images in groups and with single
ones. Prints, in Markdown, the mean of both and the spread over seeds, which without groups is that of the
replicates alone.
"""

import argparse
import time
from unittest.mock import patch

import numpy as np

from leakgap.data.masks import balanced_masks
from leakgap.measure import bootstrap

IMAGES, FPRS, SEEDS = 60_000, (0.01, 0.001), 10


def errors(score: np.ndarray, member: np.ndarray, groups: int, seed: int) -> list[float]:
    """Standard errors, one for each FPR."""
    with patch.object(bootstrap, "GROUPS", groups):
        draws = bootstrap.Resampling(member, np.ones(IMAGES, bool), seed=seed)
        return [pooled.se for pooled in draws.pooled(score, FPRS)]


def main() -> None:
    """Print a table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    print("| models | FPR | images drawn | standard error | its spread over seeds | CPU s |")
    print("|---|---|---|---|---|---|")
    for models in (16, 64):
        rng = np.random.default_rng(models)
        member = balanced_masks(models, IMAGES, models)
        score = rng.normal(size=member.shape).astype(np.float32)
        score += (
            member * rng.exponential(0.5, IMAGES) * (1 + 0.1 * rng.normal(size=(models // 2, 1)).repeat(2, 0))
        )
        for groups, how in ((IMAGES, "one by one"), (bootstrap.GROUPS, f"in {bootstrap.GROUPS} groups")):
            began = time.process_time()
            found = np.array([errors(score, member, groups, seed) for seed in range(SEEDS)])
            seconds = (time.process_time() - began) / SEEDS
            for fpr, column in zip(FPRS, found.T, strict=True):
                middle = column.mean()
                spread = 100 * column.std(ddof=1) / middle
                print(f"| {models} | {100 * fpr:g} | {how} | {middle:.5f} | {spread:.1f}% | {seconds:.2f} |")


if __name__ == "__main__":
    main()
