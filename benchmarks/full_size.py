"""Everything after training, at full size: synthetic logits of a whole study, then the workflow itself on them.

    python -m benchmarks.full_size --techniques none crop    # part of the grid
    python -m benchmarks.full_size                           # all 1,024 models of the CIFAR-10 study

Writes pool, masks and logits of `workflow/studies/cifar10.yaml` under --folder (15 MB a model), marks them as up to
date, and runs Snakemake to the report. The logits are not those of trained models: a normal score for every class,
a harder or easier label for every image, and a push for members that grows with the step and shrinks with every
member of the technique. Sizes, dtypes and files are those of the real study.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import yaml

from leakgap.answers import store as logits
from leakgap.augment import canonical
from leakgap.data.masks import balanced_masks, write_masks
from leakgap.data.pool import Pool, write_pool
from leakgap.study import Study

ROOT = Path(__file__).parents[1]
IMAGES, CLASSES = 60_000, 10


def write_model(file: str, member: np.ndarray, labels: np.ndarray, technique: str, row: int) -> None:
    """Write one model's synthetic logits, all steps and views; a process of its own reads the study file."""
    study = Study.load(file)
    techniques = study.grid.techniques
    generator = np.random.default_rng((techniques.index(technique), row))
    shared = np.random.default_rng(0)
    easiness = shared.normal(4, 2, IMAGES).astype(np.float32)
    ours = np.arange(CLASSES) == labels[:, None]
    push = 3 / (1 + len(canonical(technique)))
    steps = []
    for step in range(1, len(study.train.steps) + 1):
        z = generator.standard_normal((study.query.views, IMAGES, CLASSES), np.float32)
        z += ours * (easiness + push * step / 6 * member[row])[:, None]
        steps.append(z)
    path = study.paths.logits(technique, study.masks[row])
    logits.write(
        path,
        steps,
        labels,
        member[row],
        study=study.name,
        technique=technique,
        mask=study.masks[row],
        epochs=study.train.steps,
        first_view_only=study.query.logits == "first",
        about={
            "seed": row,
            "device": "synthetic",
            "torch_version": "none",
            "seconds": {"train": 0.0, "job": 0.0},
        },
    )


def write_study(file: str) -> None:
    """Write pool, masks and all logits of a study, on all cores."""
    study = Study.load(file)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, IMAGES)
    images = generator.integers(0, 256, (IMAGES, 3, 32, 32), np.uint8)
    write_pool(study.paths.pool, Pool({"images": images}, labels, CLASSES))
    member = balanced_masks(study.grid.masks, IMAGES, study.data.seed, study.data.reserved)
    write_masks(study.paths.masks, member, member.sum(axis=0) == 0)
    with ProcessPoolExecutor(os.cpu_count()) as workers:
        jobs = [
            workers.submit(write_model, file, member, labels, technique, row)
            for technique in study.grid.techniques
            for row in range(study.grid.masks)
        ]
        for job in jobs:
            job.result()


def main() -> None:
    """Write the study, run the workflow on it, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out/full_size"))
    parser.add_argument("--techniques", nargs="+", help="only these, instead of all 16")
    parser.add_argument("--cores", default="all")
    chosen = parser.parse_args()
    settings = yaml.safe_load((ROOT / "workflow/studies/cifar10.yaml").read_text())
    if chosen.techniques:
        settings["grid"]["techniques"] = chosen.techniques
    shutil.rmtree(chosen.folder, ignore_errors=True)
    chosen.folder.mkdir(parents=True)
    os.chdir(chosen.folder)
    Path("study.yaml").write_text(yaml.safe_dump(settings))
    study = Study.load("study.yaml")

    began = time.perf_counter()
    write_study("study.yaml")
    written = time.perf_counter()
    size = sum(path.stat().st_size for path in Path(study.paths.root, "logits").glob("*/*.parquet"))
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        ROOT / "Snakefile",
        "--configfile",
        "study.yaml",
    ]
    command += ["--cores", chosen.cores, "--rerun-triggers", "mtime", "--quiet", "all"]
    Path(study.paths.downloaded).touch()
    os.utime(Path(study.paths.downloaded), (0, 0))
    subprocess.run(command, check=True)
    ended = time.perf_counter()

    models = len(study.grid.techniques) * study.grid.masks
    print("| what | measured |\n|---|---|")
    print(f"| models, attack jobs | {models}, {len(study.attack_jobs)} |")
    print(f"| logits on disk | {size / 1e9:.2f} GB, {size / models / 1e6:.1f} MB a model |")
    print(f"| writing them | {written - began:.0f} s |")
    print(f"| attacks to report | {ended - written:.0f} s wall |")
    for name in ("attack", "figures", "claims"):
        for path in sorted(Path(study.paths.root, "benchmarks").glob(f"{name}*/*.tsv")) + sorted(
            Path(study.paths.root, "benchmarks").glob(f"{name}.tsv")
        ):
            head, row = (line.split("\t") for line in path.read_text().splitlines()[:2])
            values = dict(zip(head, row, strict=True))
            took = f"{values['cpu_time']} s of CPU in {values['s']} s, {values['max_rss']} MiB"
            print(f"| {name} {path.stem} | {took} |")
    print(f"| largest job | {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MiB |")


if __name__ == "__main__":
    main()
