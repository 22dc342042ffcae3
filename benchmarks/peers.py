"""Speed and scores of all targets in one pass, beside other tools' own scoring functions, one target a call.

    git clone --depth 1 https://github.com/tensorflow/privacy
    git clone --depth 1 https://github.com/privacytrustlab/ml_privacy_meter
    OMP_NUM_THREADS=1 python -m benchmarks.peers --reference privacy/research/mi_lira_2021 \
        --privacy-meter ml_privacy_meter

`--reference` holds the authors' LiRA, `--privacy-meter` the RMIA of its authors. Their functions are imported and
get arrays in memory, as leakgap does; leave-one-out takes a call for every target, of which one, the last model, is
timed. Times are CPU seconds of this process, the smallest of three. Masks are complementary in pairs, as Privacy
Meter expects, which leaves the target's pair out as leakgap does; the reference is given the other models. Privacy
Meter's time grows with the population, as does its memory: 8 bytes for each image and member of it.

LiRA's scores are compared by value, RMIA's by order: p(x) is the same, but Privacy Meter has gamma = 1, not 2, and
p(z) is the mean of the larger half of the models. Its audit also tunes a, here given, by 11 more attacks.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy.special import expit

from leakgap import attacks
from leakgap.attacks.lira import leave_one_out
from leakgap.attacks.rmia import A

MODELS, IMAGES, VIEWS, POPULATION = 64, 50_000, 2, 1_000


def load(path: Path) -> ModuleType:
    """Import a module from its file."""
    spec = spec_from_file_location(f"peer_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clock(function: Callable[[], Any]) -> tuple[float, Any]:
    """Smallest CPU time of three calls, in seconds, and what the function returns."""
    times = []
    for _ in range(3):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def synthetic(images: int, views: int) -> tuple[np.ndarray, np.ndarray]:
    """phi float32 [N,S,V] and membership bool [N,S]: models 2k and 2k + 1 train on complementary images."""
    rng = np.random.default_rng(0)
    member = np.repeat(rng.random((MODELS // 2, images)) < 0.5, 2, 0)
    member[1::2] ^= True
    phi = rng.standard_normal((MODELS, images, views), dtype=np.float32)
    return phi + 2 * member[..., None].astype(np.float32), member


def report(name: str, peer: float, own: float, agreement: str) -> None:
    """Print a line of the table."""
    print(f"{name:24s} {peer:9.2f} {MODELS * peer:9.0f} {own:9.2f} {MODELS * peer / own:8.0f}  {agreement}")


def lira(plot: ModuleType) -> None:
    """LiRA of the reference: a line per variant."""
    phi, member = synthetic(IMAGES, VIEWS)
    scores = phi.astype(np.float64)  # as in its score files
    shadow_and_target = member[:-2], scores[:-2], member[-1:], scores[-1:]  # without the target's pair
    variants: list[tuple[str, Callable, dict[str, Any]]] = [
        ("LiRA online", plot.generate_ours, {}),
        ("LiRA online, fixed", partial(plot.generate_ours, fix_variance=True), {"variance": "fixed"}),
        ("LiRA offline, two-sided", plot.generate_ours_offline, {"mode": "offline", "tail": "two-sided"}),
    ]
    for name, function, options in variants:
        peer, (prediction, _) = clock(partial(function, *shadow_and_target))
        own, score = clock(partial(leave_one_out, phi, phi, member, **options))
        theirs = -np.asarray(prediction)  # lower = member
        difference = (np.abs(score[-1] - theirs) / np.maximum(1, np.abs(theirs))).max()
        report(name, peer, own, f"largest difference {difference:.0e}")


def rmia(meter: ModuleType) -> None:
    """RMIA offline of Privacy Meter: one line."""
    phi, member = synthetic(IMAGES + POPULATION, 1)
    reserved = np.arange(IMAGES + POPULATION) >= IMAGES
    member[:, reserved] = False
    labels = np.zeros(len(reserved), int)
    left_out = attacks.gives_away(member, member)
    evidence = attacks.Evidence(phi, phi, member, left_out, labels, reserved)
    own, score = clock(partial(attacks.run, "rmia-offline", evidence))

    signals = expit(phi[..., 0].T.astype(np.float64))
    held = signals[~reserved], signals[reserved], member[:, ~reserved].T
    peer, theirs = clock(partial(meter.run_rmia, MODELS - 1, *held, MODELS // 2 - 1, A))
    ours = score[-1, ~reserved]
    ascending = np.diff(theirs[np.lexsort((theirs, ours))]) >= 0
    report("RMIA offline", peer, own, f"order {'agrees' if ascending.all() else 'differs'}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, required=True, metavar="DIR")
    parser.add_argument("--privacy-meter", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    print(f"{MODELS} models, {IMAGES} images; {VIEWS} views (LiRA), {POPULATION} of a population (RMIA)")
    print(f"One target of a peer is timed; x {MODELS} is extrapolated")
    print(f"{'CPU seconds':24s} {'peer, 1':>9s} {f'peer x {MODELS}':>9s} {'leakgap':>9s} {'ratio':>8s}")
    lira(load(args.reference / "plot.py"))
    rmia(load(args.privacy_meter / "attacks.py"))


if __name__ == "__main__":
    main()
