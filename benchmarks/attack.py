"""Speed and memory of LiRA on every target, of the reference's per-target algorithm, and of the bootstrap.

    OMP_NUM_THREADS=1 python -m benchmarks.attack

Times are CPU seconds of this process; the floor is what any way of doing it pays: reading phi, sorting it once.
"""

import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from leakgap.attacks.lira import leave_one_out
from leakgap.data.masks import balanced_masks
from leakgap.measure.bootstrap import Resampling
from leakgap.measure.estimate import Estimate

MODELS, IMAGES, VIEWS = 256, 50_000, 2
TARGETS, POOL = 64, 60_000  # models and images of the bootstrap


def reference(keep: np.ndarray, scores: np.ndarray, check_scores: np.ndarray) -> np.ndarray:
    """One target's online scores by the algorithm of the reference implementation (mi_lira_2021): [S]."""
    dat_in, dat_out = [], []
    for image in range(scores.shape[1]):
        dat_in.append(scores[keep[:, image], image])
        dat_out.append(scores[~keep[:, image], image])
    fits = []
    for data in (dat_in, dat_out):
        size = min(map(len, data))
        cut = np.array([values[:size] for values in data])
        fits.append((np.median(cut, 1), np.std(cut, 1) + 1e-30))
    return (norm.logpdf(check_scores, *fits[0]) - norm.logpdf(check_scores, *fits[1])).mean(1)


def clock(function: Callable[[], object], repeats: int = 1) -> float:
    """Smallest CPU time of some calls, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def lira() -> None:
    """LiRA: all targets in one pass, against one target of the reference times the number of models."""
    rng = np.random.default_rng(0)
    member = balanced_masks(MODELS, IMAGES, 0)
    phi = rng.standard_normal((MODELS, IMAGES, VIEWS), dtype=np.float32)
    phi += 2 * member[..., None]
    size = phi.nbytes / 2**20
    print(f"LiRA, {MODELS} targets, {IMAGES} images, {VIEWS} views; phi is {size:.0f} MiB")

    tracemalloc.start()
    leave_one_out(phi, phi, member)
    peak = 1 + tracemalloc.get_traced_memory()[1] / phi.nbytes
    tracemalloc.stop()
    online = clock(lambda: leave_one_out(phi, phi, member), 3)
    print(f"  online per-example           {online:6.2f} s, peak memory {peak:.2f} times phi, phi included")
    options: list[dict[str, Any]] = [
        {"variance": "fixed"},
        {"variance": "within"},
        {"mode": "offline"},
        {"mode": "offline", "tail": "two-sided"},
    ]
    for option in options:
        seconds = clock(partial(leave_one_out, phi, phi, member, **option))
        print(f"  {' '.join(option.values()):27s}  {seconds:6.2f} s")

    read = clock(lambda: np.ascontiguousarray(phi.transpose(1, 2, 0)), 3)
    columns = np.ascontiguousarray(phi.transpose(1, 2, 0))
    sort = clock(lambda: np.sort(columns, -1), 3)
    print(
        f"  floor                        {read + sort:6.2f} s: read and transpose {read:.2f}, sort {sort:.2f}"
    )

    keep, scores = member[1:], phi[1:].astype(np.float64)  # its score files are float64
    one = clock(lambda: reference(keep, scores, scores[0]))
    print(
        f"  reference, one target        {one:6.2f} s, all {MODELS * one:.0f} s: {MODELS * one / online:.0f} times"
    )


def _pooled(score: np.ndarray, member: np.ndarray, replicates: int = 1000) -> list[Estimate]:
    return Resampling(member, np.ones(POOL, bool), replicates=replicates).pooled(score, (0.01, 0.001))


def borrowing() -> None:
    """lira-pooled against lira-online, on 20,000 images."""
    rng = np.random.default_rng(0)
    for models, views in ((64, 1), (256, 1), (256, 2)):
        member = balanced_masks(models, 20_000, 0)
        phi = rng.standard_normal((models, 20_000, views), dtype=np.float32)
        online, pooled = (
            clock(partial(leave_one_out, phi, phi, member, variance=variance), 5)
            for variance in ("per-example", "pooled")
        )
        print(
            f"lira-pooled, {models} targets, 20000 images, {views} views: {pooled:.2f} s, "
            f"{pooled / online:.1f} times lira-online"
        )


def bootstrap() -> None:
    """1,000 replicates of the pooled TPR, where few members are caught and where most are."""
    member = balanced_masks(TARGETS, POOL, 0)
    noise = np.random.default_rng(0).standard_normal((TARGETS, POOL), dtype=np.float32)
    print(f"Three bootstraps, {TARGETS} models, {POOL} images, 1000 replicates, FPR 1% and 0.1%")
    for distance in (0.5, 4):
        score = noise + np.float32(distance) * member
        pooled = partial(_pooled, score, member)
        seconds = clock(pooled)
        tracemalloc.start()
        tprs = " and ".join(f"{result.value:.1%}" for result in pooled(replicates=200))
        peak = tracemalloc.get_traced_memory()[1] / 2**20
        tracemalloc.stop()
        print(f"  TPR {tprs:16s} {seconds:6.2f} s, {peak:.0f} MiB beside the scores")


if __name__ == "__main__":
    borrowing()
    bootstrap()
    lira()
