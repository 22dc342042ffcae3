"""What planning costs: time and peak memory of a dry run.

    python -m benchmarks.dag [--masks 64 640] [--repeat 3]

`snakemake -n --quiet rules --profile slurm` for the CIFAR-10 study with 64 and 640 masks (1,024 and 10,240 models),
against a bare workflow that this script writes: the same jobs and files, and rules with nothing but input, output
and shell. Once with nothing built, once with everything built and nothing to do. Prints the median of the
repeats; the ratio is that of CPU time, which other work on the machine disturbs least.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import yaml

from leakgap.study import Study

ROOT = Path(__file__).parents[1]
PATTERNS = """
rule train:
    input: {pool!r}, {masks!r}
    output: {logits!r}
    shell: "touch {{output}}"

rule attack:
    input:
        {pool!r}, {masks!r},
        lambda w: [{logits!r}.format(technique=t, mask=m) for t in (w.technique, w.shadow) for m in {wildcards}]
    output: {attack!r}
    shell: "touch {{output}}"
"""


class Cost(NamedTuple):
    """One dry run: seconds on the clock and of CPU, peak memory in MiB, number of jobs."""

    wall: float
    cpu: float
    memory: float
    jobs: int


def kept(study: Study) -> list[str]:
    """Return the files that the rule `all` asks for."""
    paths = study.paths
    logits = [paths.logits(technique, mask) for technique in study.grid.techniques for mask in study.models]
    scores = [paths.scores(*job) for job in study.attack_jobs]
    joined = [paths.results, *paths.for_people]
    shown = [
        *study.tables,
        *study.figures,
        paths.claims_page,
        paths.order,
        *paths.table("order"),
        paths.report,
    ]
    return [paths.models, *logits, *scores, *joined, *shown]


def bare(study: Study) -> str:
    """Return a Snakefile with the jobs and files of `study` and nothing else."""
    paths = study.paths
    joined = [paths.results, *paths.for_people]
    single = {
        "all": (kept(study), None),
        "download": ([], [paths.downloaded]),
        "pool": ([paths.downloaded], [paths.pool]),
        "masks": ([paths.pool], [paths.masks]),
        "models": ([], [paths.models]),
        "summary": (study.attacked, joined),
        "tables": ([paths.results, paths.pool], study.tables),
        "figures": ([paths.results, paths.pool], study.figures),
        "claims": ([paths.results], [paths.claims, paths.claims_page]),
        "order": ([paths.results, *study.scores], [paths.order, *paths.table("order")]),
        "report": ([paths.results, paths.claims, paths.order, *study.tables, *study.figures], [paths.report]),
    }
    text = ""
    for name, (inputs, outputs) in single.items():
        text += f"rule {name}:\n    input: {inputs!r}\n"
        text += f'    output: {outputs!r}\n    shell: "touch {{output}}"\n\n' if outputs else "\n"
    wild = ("{technique}", "{shadow}")
    return text + PATTERNS.format(
        pool=paths.pool,
        masks=paths.masks,
        logits=paths.logits("{technique}", "{mask}"),
        wildcards=study.models,
        attack=[paths.attack(*wild), paths.scores(*wild)],
    )


def build(study: Study, folder: Path) -> None:
    """Create every file of the study with a byte in it."""
    paths = study.paths
    names = [*kept(study), paths.downloaded, paths.pool, paths.masks, paths.claims]
    names += study.attacked
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")


def snakemake(folder: Path, *arguments: str) -> tuple[str, Cost]:
    """Run Snakemake in `folder`; return what it printed and what it cost."""
    with tempfile.TemporaryFile("w+") as printed:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments], cwd=folder, stdout=printed, stderr=printed
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        printed.seek(0)
        text = printed.read()
    if status:
        raise SystemExit(f"snakemake {' '.join(arguments)} failed:\n{text[-3000:]}")
    total = re.search(r"^total +(\d+)$", text, re.MULTILINE)
    return text, Cost(
        wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, int(total[1]) if total else 0
    )


def compare(masks: int, repeat: int) -> None:
    """Measure both workflows with nothing and with everything built; print rows of a Markdown table."""
    config = yaml.safe_load((ROOT / "workflow/studies/cifar10.yaml").read_text())
    config["grid"]["masks"] = masks
    study = Study.load(config)
    models = len(study.grid.techniques) * len(study.models)
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        (Path(ours) / "study.yaml").write_text(yaml.safe_dump(config))
        (Path(theirs) / "Snakefile").write_text(bare(study))
        workflow = ["--snakefile", str(ROOT / "Snakefile"), "--configfile", "study.yaml"]
        runs = {
            "leakgap": (Path(ours), [*workflow, "--profile", str(ROOT / "slurm")]),
            "bare": (Path(theirs), []),
        }
        for state in ("nothing built", "all built"):
            if state == "all built":
                for folder, arguments in ((Path(ours), workflow), (Path(theirs), [])):
                    build(study, folder)
                    snakemake(folder, *arguments, "--touch", "--cores", "1", "--quiet", "all")
            costs: dict[str, list[Cost]] = {name: [] for name in runs}
            for _ in range(repeat):
                for name, (folder, arguments) in runs.items():
                    costs[name].append(snakemake(folder, *arguments, "-n", "--quiet", "rules")[1])
            assert len({cost.jobs for each in costs.values() for cost in each}) == 1, costs
            middle = {name: Cost(*map(median, zip(*each, strict=True))) for name, each in costs.items()}
            for name, cost in middle.items():
                ratio = cost.cpu / middle["bare"].cpu
                print(
                    f"| {models:,} | {state} | {name} | {cost.jobs:,.0f} | {cost.wall:.1f} | {cost.cpu:.1f} "
                    f"| {ratio:.2f} | {cost.memory:.0f} |",
                    flush=True,
                )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--masks", type=int, nargs="+", default=[64, 640])
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    print("| models | state | workflow | jobs | seconds | CPU seconds | times bare | peak MiB |")
    print("| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for masks in chosen.masks:
        compare(masks, chosen.repeat)


if __name__ == "__main__":
    main()
