"""A folder of the user's own in which Snakemake runs studies with the installed leakgap: no clone needed."""

from importlib.resources import files
from pathlib import Path

from leakgap import LeakgapError

CONFIG = """\
# Your study. Every key: `leakgap keys`, or docs/study-file.md
name: mine

data:
  dataset: digits       # or ./photos, a folder for each class; or ./mine.npz, with images and labels
  reserved: 181         # images in no training set, for attacks that need such

grid:
  techniques: [none, crop]
  masks: 16             # training sets, each a random half of the images

train:
  epochs: 30
  steps: [15, 30]       # epochs whose models are attacked
  width: 8              # 64 is the full ResNet-18
  warmup: 2
  precision: fp32       # bf16 on a GPU
"""
SNAKEFILE = """\
# The workflow of the installed leakgap, on the study in config.yaml or in --configfile.
from leakgap.jobs.init import place


configfile: "config.yaml"


include: place("workflow") / "Snakefile"


workflow.default_target = "all"  # Snakemake forgets which rule of an included file it was
"""


def place(name: str) -> Path:
    """Return where this leakgap has its workflow, or its SLURM profile: in the wheel, or in the clone beside `src`.

    >>> (place("workflow") / "Snakefile").is_file()
    True
    """
    package = Path(str(files("leakgap")))
    inside, clone = package / name, package.parents[1] / name
    if not inside.is_dir() and not clone.is_dir():
        raise LeakgapError(f"this leakgap was installed without its {name}")
    return inside if inside.is_dir() else clone


def start(folder: str) -> None:
    """Write config.yaml, a Snakefile and the SLURM profile into a folder; nothing that is there is written over."""
    target, profile = Path(folder), place("slurm") / "config.yaml"
    written = {target / "config.yaml": CONFIG, target / "Snakefile": SNAKEFILE}
    present = [path for path in (*written, target / "slurm/config.yaml") if path.exists()]
    if present:
        raise LeakgapError(f"{present[0]}: is there already; name another folder, or move it")
    (target / "slurm").mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    # the clone's profile names a study of the clone; here it is the Snakefile that does
    lines = profile.read_text(encoding="utf-8").splitlines(keepends=True)
    own = "".join(line for line in lines if not line.startswith(("configfile:", "# --- The study")))
    (target / "slurm/config.yaml").write_text(own, encoding="utf-8")
    print(
        f"{target}: edit config.yaml, then, in this folder: snakemake -n; snakemake --cores 2; or --profile slurm"
    )
