"""What users' own code, image folders and surroundings do to the verbs, for `benchmarks.damage --surface code`.

Every case knows what is right: the records that a pool has to hold, the logits of the same training without the
fault, the files of the same verb in a usual environment; or that one sentence has to end it. A case runs in a
process of its own. Outcomes as in `benchmarks.damage`, and

right       the verb ends well, and what it wrote is what is right
ACCEPTED    the verb ends well where nothing right could be made
HANG        no end after two minutes
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torchvision.datasets  # noqa: F401  # once, before processes fork
from PIL import Image

from leakgap.__main__ import main
from leakgap.data.pool import read_pool
from leakgap.jobs import pool, train  # noqa: F401  # likewise
from leakgap.training import builtin, recipe  # noqa: F401

PATIENCE = 120  # seconds
Outcome = tuple[str, str]
RIGHT, WRONG = "right", ("SILENT", "ACCEPTED", "TRACEBACK", "HANG")


@dataclass(frozen=True)
class Case:
    """A fault by its kind and name; `run` is called in an empty working directory and returns an outcome."""

    kind: str
    name: str
    run: Callable[[], Outcome]


def isolated(case: Case, where: Path) -> Outcome:
    """Run a case in a process and a folder of its own."""
    where.mkdir()
    told = where.with_suffix(".json")
    process = os.fork()
    if not process:
        try:
            os.chdir(where)
            told.write_text(json.dumps(case.run()), encoding="utf-8")
        except BaseException:
            told.write_text(json.dumps(("TRACEBACK", traceback.format_exc())), encoding="utf-8")
        finally:
            os._exit(0)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if os.waitpid(process, os.WNOHANG)[0]:
            shutil.rmtree(where, ignore_errors=True)
            if not told.exists():
                return "TRACEBACK", "the process ended without a word"
            outcome, said = json.loads(told.read_text(encoding="utf-8"))
            told.unlink()
            return outcome, said
        time.sleep(0.02)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "HANG", ""


def outcome(status: int, said: str, right: Callable[[], bool] | None) -> Outcome:
    """Judge how a verb ended; `right` is None where nothing right could be made."""
    if status == 0:
        if right is None:
            return "ACCEPTED", said
        return (RIGHT, "") if right() else ("SILENT", said)
    lines = [line for line in said.splitlines() if line.strip()]
    sentence = status == 1 and bool(lines) and lines[-1].startswith("leakgap ")
    return ("error" if sentence else "TRACEBACK"), f"exit status {status}: {said[-2000:]}"


def verb(*words: str) -> tuple[int, str]:
    """Run a verb in this process, its words in a file as the workflow has them."""
    here = Path.cwd()
    log = os.open("log", os.O_CREAT | os.O_RDWR)
    for number in (1, 2):
        os.dup2(log, number)
    for name, number in (("stdout", 1), ("stderr", 2)):
        setattr(sys, name, os.fdopen(number, "w", 1, "utf-8", "backslashreplace", closefd=False))
    try:
        status = main(list(words))
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        return 2, traceback.format_exc()
    os.lseek(log, 0, 0)
    with open(os.dup(log), encoding="utf-8", errors="replace") as file:
        said = file.read()
    os.chdir(here)
    return status, said


# --- user code

EFFECTS = {  # what code does beside its work: none of them may change a number or lose a file
    "chdir": "import os, tempfile; os.chdir(tempfile.mkdtemp())",
    "print": "print('x' * 100_000)",
    "stderr": "import sys; sys.stderr.write('leakgap train: not so\\n')",
    "no newline": "import sys; sys.stderr.write('no newline')",
    "close stdout": "import sys; sys.stdout.close()",
    "close stderr": "import sys; sys.stderr.close()",
    "no stderr": "import sys; sys.stderr = None",
    "numpy's seed": "import numpy; numpy.random.seed(0)",
    "numpy raises": "import numpy; numpy.seterr(all='raise')",
    "warnings are errors": "import warnings; warnings.simplefilter('error')",
    "umask": "import os; os.umask(0o077)",
    "locale": "import locale; locale.setlocale(locale.LC_ALL, 'C')",
    "environment": "import os; os.environ.clear()",
    "argv": "import sys; sys.argv[:] = ['x', '--study', 'y']",
    "logging": "import logging; logging.basicConfig(level=0, force=True)",
    "thread": "import threading, time; threading.Thread(target=time.sleep, args=(1,), daemon=True).start()",
    "no SIGTERM": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "subprocess": "import subprocess; subprocess.run(['true'], check=True)",
    "collector off": "import gc; gc.disable()",
    "print options": "import numpy; numpy.set_printoptions(precision=1, threshold=1)",
    "path": "import sys; sys.path.insert(0, '/')",
    "torch's seed": "import torch; torch.manual_seed(1)",
    "torch's type": "import torch; torch.set_default_dtype(torch.float64)",
    "no gradient": "import torch; torch.set_grad_enabled(False)",
}
MUTE = "class Mute(Exception):\n    def __str__(self):\n        raise RuntimeError\n"
RAISED = (
    "ValueError('x')",
    "ValueError('a\\nb\\x1b[2J')",
    "ValueError('\\ud800')",
    "KeyError('x')",
    "Mute()",
    "SystemExit(0)",
    "SystemExit('x')",
    "SystemExit(3)",
    "ExceptionGroup('x', [ValueError('y')])",
    "RecursionError",
    "MemoryError()",
    "StopIteration()",
    "OSError(28, 'No space', 'a\\nb')",
    "UnicodeDecodeError('utf-8', b'x', 0, 1, 'y')",
    "AssertionError",
    "NotImplementedError('x')",
    "ImportError('x')",
    "ModuleNotFoundError('x', name='torch')",
    "TimeoutError()",
)
NAMES = (
    "file", "allow_pickle", "path", "args", "kwds", "self", "arrays", "a/b", "é", " ", "a b", "images", "x.npy",
    "names", "label", "classes", "source", "groups of records", "\n", "\\", "..", "", "digest", "data", "members",
)  # fmt: skip
BAD_ARRAYS = (
    "[[1], [1, 2]] * 20",
    "None",
    "7",
    "x[:-1]",
    "x.astype(object)",
    "np.ma.masked_less(x, 3)",
    "{1, 2}",
    "(each for each in x)",
    "x[0]",
    "torch.ones(40, device='meta')",
    "lambda: x",
)
BAD_LABELS = (
    "y / 1.0",
    "y - 1",
    "y * 2",
    "y * 0",
    "y[:-1]",
    "y[None]",
    "y.astype(str)",
    "y > 1",
    "[1, [2]]",
    "None",
    "y.astype(np.uint64) + 2**63",
    "y.astype(object)",
    "y * 1j",
    "y[:0]",
)
ALIKE = (
    "y.tolist()",
    "y.astype(np.uint8)",
    "torch.from_numpy(y)",
    "tuple(y)",
    "y[::-1][::-1]",
    "np.asfortranarray(y)",
)
HEAD = f"import numpy as np, torch\n{MUTE}x = np.arange(40)\ny = np.arange(40) % 4\n"


def data_function(body: str, expected: Callable[[], dict] | None) -> Outcome:
    """Gather what a data function returns."""
    Path("data.py").write_text(f"{HEAD}def data():\n    {body}\n", encoding="utf-8")
    study = {"name": "s", "data": {"dataset": "./data.py:data"}}
    status, said = verb("pool", "--study", json.dumps(study), "--images", "0", "--out", "pool.npz")

    def right() -> bool:
        found, wanted = read_pool("pool.npz"), expected() if expected else {}
        same = found.arrays.keys() == wanted.keys() and all(
            np.array_equal(found.arrays[name], wanted[name]) for name in wanted
        )
        return same and np.array_equal(found.labels, np.arange(40) % 4)

    return outcome(status, said, right if expected else None)


FORMS = {
    "recipe": """{head}
def train(data, members, seed, steps):
    {fault}
    y = data["labels"]
    for step in steps:
        yield np.eye(4)[y] * step + np.random.default_rng(seed + step).normal(size=(len(y), 4))
""",
    "architecture": """{head}
class Net(torch.nn.Module):
    def __init__(self, classes, channels):
        super().__init__()
        self.last = torch.nn.Linear(64 * channels, classes)
    def forward(self, x):
        {inside}
        return self.last(x.flatten(1))
def net(classes, channels, width):
    {fault}
    return Net(classes, channels)
""",
    "technique": """{head}
from dataclasses import dataclass
from typing import ClassVar
@dataclass(frozen=True)
class Fade:
    columns: ClassVar[int] = 1
    late: ClassVar[bool] = True
    def __call__(self, images, draws):
        {fault}
        by = torch.from_numpy((draws[:, 0] * 9).astype(np.uint8))[:, None, None, None]
        return images // 2 + by
""",
}
STUDIES: dict[str, dict] = {
    "recipe": {"train": {"recipe": "./mine.py:train", "steps": [1, 2]}},
    "architecture": {
        "train": {"epochs": 2, "steps": [2], "batch_size": 16, "architecture": "net"},
        "plugins": {"architectures": {"net": "./mine.py:net"}},
    },
    "technique": {
        "train": {"epochs": 2, "steps": [2], "batch_size": 16, "width": 2},
        "grid": {"techniques": ["none", "fade"]},
        "plugins": {"techniques": {"fade": "./mine.py:Fade"}},
    },
}


def training(kind: str, fault: str, faulty: bool, inside: str = "pass") -> Outcome:
    """Train a model with code that has a fault, or an effect, and without."""
    made = []
    for place, code, within in (("clean", "pass", "pass"), ("faulty", fault, inside)):
        Path(place).mkdir()
        os.chdir(place)
        rng = np.random.default_rng(0)
        np.savez("d.npz", images=rng.integers(0, 256, (40, 1, 8, 8), np.uint8), labels=np.arange(40) % 4)
        text = FORMS[kind].format(head=HEAD, fault=code, inside=within)
        Path("mine.py").write_text(text, encoding="utf-8")
        study = {"name": "s", "data": {"dataset": "./d.npz"}, **STUDIES[kind]}
        words = ("--study", json.dumps(study))
        technique = "fade" if kind == "technique" else "none"
        files = os.path.abspath("pool.npz"), os.path.abspath("logits.parquet")
        status, said = verb("pool", *words, "--out", files[0])
        if status == 0:
            status, said = verb(
                "train",
                *words,
                "--technique",
                technique,
                "--mask",
                "m000",
                "--pool",
                files[0],
                "--out",
                files[1],
            )
        made.append(files[1])
        os.chdir(Path(files[0]).parent.parent)
        if status and place == "clean":
            raise AssertionError(said)

    def right() -> bool:
        one, two = (pq.read_table(path) for path in made)
        return bool(one.equals(two))

    return outcome(status, said, None if faulty else right)


BAD_YIELDS = (
    "yield np.zeros((40, 3)); return",
    "yield np.zeros((39, 4)); return",
    "yield np.zeros((40, 4), int); return",
    "yield [[1.0], [1.0, 2.0]]; return",
    "yield np.full((40, 4), .25); return",
    "yield np.full((40, 4), np.nan); return",
    "yield np.ma.masked_less(np.eye(40, 4), .5); return",
    "yield torch.full((40, 4), .25, dtype=torch.bfloat16); return",
    "yield None; return",
    "yield np.eye(40, 4) * 1j; return",
    "yield (np.eye(40, 4), 1); return",
    "yield {'logits': np.eye(40, 4)}; return",
    "return",
    "yield from (np.eye(40, 4) for _ in range(5)); return",
    "yield np.eye(40, 4) * 1e300; return",
)
BAD_FORWARDS = (
    "return self.last(x.flatten(1)), x",
    "return self.last(x.flatten(1))[:, :3]",
    "return self.last(x.flatten(1)).argmax(1)",
    "return self.last(x.flatten(1)).detach()",
    "return self.last(x.flatten(1)).numpy()",
    "return self.last(x.flatten(1) - x.flatten(1).mean(0))",
    "return torch.nn.functional.dropout(self.last(x.flatten(1)), .5)",
    "return self.last(x)",
    "return None",
    "return self.last(x.flatten(1)).squeeze(0)",
    "return self.last(x.flatten(1)) * float('nan')",
    "raise Mute()",
)
BAD_MODELS = (
    "return 7",
    "return (yield)",
    "return torch.nn.Linear(3, 3)",
    "return torch.nn.Identity()",
    "return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(classes))",
    "return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5))",
    "return Net(classes, channels).requires_grad_(False)",
    "n = Net(classes, channels); n.last.weight.data += float(np.random.normal()); return n",
    "n = Net(classes, channels); n.more = torch.nn.Linear(2, 2); return n",
)
BAD_IMAGES = (
    "return images[:1]",
    "return images.float()",
    "return None",
    "return images + torch.randint(0, 9, (1,)).to(torch.uint8)",
    "return images.roll(1, 0)",
    "return images.numpy()",
    "return images[..., :4]",
    "import random; return (images + random.randrange(50)).to(torch.uint8)",
    "return (images + np.random.randint(50)).to(torch.uint8)",
)


def code_cases() -> Iterator[Case]:
    """Yield all cases of user code."""
    usual = "return {'x': x, 'labels': y}"
    for name, effect in EFFECTS.items():
        yield Case(
            "data function",
            name,
            lambda b=f"{effect}; {usual}": data_function(b, lambda: {"x": np.arange(40)}),
        )
        for kind in FORMS:
            if (kind, name) != ("architecture", "torch's seed"):  # as good a choice as weights of a file
                yield Case(kind, name, lambda k=kind, e=effect: training(k, e, False))
        yield Case("forward", name, lambda e=effect: training("architecture", "pass", False, e))
    for raised in RAISED:
        yield Case("data function", f"raise {raised}", lambda r=raised: data_function(f"raise {r}", None))
        for kind in FORMS:
            yield Case(kind, f"raise {raised}", lambda k=kind, r=raised: training(k, f"raise {r}", True))
    for name in NAMES:
        taken = name in ("classes", "source", "groups of records", "\n", "x.npy")
        yield Case(
            "data function",
            f"an array {name!r}",
            lambda n=name, t=taken: data_function(
                f"return {{'x': x, {n!r}: x + 1, 'labels': y}}",
                None if t else lambda: {"x": np.arange(40), n: np.arange(40) + 1},
            ),
        )
    for bad in BAD_ARRAYS:
        yield Case(
            "data function", bad, lambda b=bad: data_function(f"return {{'x': {b}, 'labels': y}}", None)
        )
    for bad in BAD_LABELS:
        yield Case(
            "data function", bad, lambda b=bad: data_function(f"return {{'x': x, 'labels': {b}}}", None)
        )
    for good in ALIKE:
        body = f"return {{'x': x, 'labels': {good}}}"
        yield Case("data function", good, lambda b=body: data_function(b, lambda: {"x": np.arange(40)}))
    for kind, bodies in (("recipe", BAD_YIELDS), ("architecture", BAD_MODELS), ("technique", BAD_IMAGES)):
        for bad in bodies:
            yield Case(kind, bad, lambda k=kind, b=bad: training(k, b, True))
    for bad in BAD_FORWARDS:
        yield Case("forward", bad, lambda b=bad: training("architecture", "pass", True, b))


# --- image folders


def plain(path: Path, number: int) -> np.ndarray:
    """Write an image of noise and return its pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def images(change: Callable[[Path], None], right: bool | str) -> Outcome:
    """Gather a folder of images that something was done to.

    right: the pool is that of the folder before, or the name of a class and file that comes to it in its place.
    """
    root = Path("d")
    files = {f"{name}/{k:02}.png": 100 * place + k for place, name in enumerate("ab") for k in range(10)}
    pixels = {name: plain(root / name, number) for name, number in files.items()}
    change(root)
    if isinstance(right, str):
        pixels[right] = pixels["a/00.png"]
    status, said = verb(
        "pool", "--study", json.dumps({"name": "s", "data": {"dataset": "./d"}}), "--out", "p.npz"
    )

    def same() -> bool:
        found = read_pool("p.npz")
        wanted = np.stack([pixels[name] for name in sorted(pixels)]).transpose(0, 3, 1, 2)
        return np.array_equal(found.arrays["images"], wanted) and list(found.arrays["names"]) == sorted(
            pixels
        )

    return outcome(status, said, same if right else None)


def _save(name: str, mode: str = "RGB", **how: object) -> Callable[[Path], None]:
    def save(root: Path) -> None:
        picture = Image.open(root / "a/00.png").convert(mode)
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if "more" in how:
            how.update(save_all=True, append_images=[picture.rotate(90)], more=None)
        picture.save(root / name, **{key: value for key, value in how.items() if key != "more"})

    return save


def _bytes(name: str, content: bytes) -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)

    return write


def _sixteen(root: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 999).save(root / "a/99.png")


def _copied(name: str) -> Callable[[Path], None]:
    def copy(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "a/00.png", root / name)

    return copy


def _hidden_picture(root: Path) -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(np.dstack([np.zeros((8, 8, 3), np.uint8), alpha])).save(root / "a/99.png")


FOLDERS: dict[str, tuple[Callable[[Path], None], bool | str]] = {
    **{
        f"hidden {name}": (_copied(f"{name}/x.png"), True)
        for name in (".ipynb_checkpoints", "a/.thumbnails", ".git", "a/.ipynb_checkpoints", "a/.x/y")
    },
    "hidden file": (_copied("a/.x.png"), True),
    "resource fork": (_bytes("a/._00.png", b"\0\5\x16\7"), True),
    "readme": (_bytes("a/readme.txt", b"x"), True),
    "picture beside the classes": (_copied("x.png"), True),
    "Thumbs.db": (_bytes("a/Thumbs.db", b"x"), True),
    "numpy file": (_bytes("a/x.npy", b"x"), True),
    "nested": (_copied("a/deep/x.png"), "a/deep/x.png"),
    "upper case": (_copied("a/X.PNG"), "a/X.PNG"),
    **{
        f"file name {name!r}": (_copied(f"a/{name}.png"), f"a/{name}.png")
        for name in ("é", "{x}", "-x", "x y", "$x", "'", '"', "*", "\\", "😀", "x.y", "#", "%41")
    },
    "new line": (_copied("a/x\ny.png"), "a/x\ny.png"),
    "empty class": (lambda root: (root / "c").mkdir(), False),
    "empty file": (_bytes("a/99.png", b""), False),
    "text": (_bytes("a/99.png", b"hello"), False),
    "PostScript": (_bytes("a/99.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n"), False),
    "GIF": (_save("a/99.gif"), False),
    "GIF called PNG": (_save("a/99.png", format="GIF"), False),
    "TIFF of two pages": (_save("a/99.tiff", more=True), False),
    "PNG of two frames": (_save("a/99.png", more=True), False),
    "WebP of two frames": (_save("a/99.webp", more=True, lossless=True), False),
    "WebP": (_save("a/99.webp", lossless=True), "a/99.webp"),
    "BMP": (_save("a/99.bmp"), "a/99.bmp"),
    "PPM": (_save("a/99.ppm"), "a/99.ppm"),
    "TIFF": (_save("a/99.tiff"), "a/99.tiff"),
    "PNG called JPEG": (lambda root: shutil.copy(root / "a/00.png", root / "a/99.jpg"), "a/99.jpg"),
    "JPEG 2000": (_save("a/99.jp2"), False),
    "icon": (_save("a/99.ico"), False),
    "SVG": (_bytes("a/99.svg", b"<svg/>"), False),
    "16 bits": (_sixteen, False),
    "integers": (_save("a/99.tiff", "I"), False),
    "floats": (_save("a/99.tiff", "F"), False),
    "picture in the alpha channel": (_hidden_picture, False),
    "opaque alpha": (_save("a/99.png", "RGBA"), "a/99.png"),
    "other size": (lambda root: Image.new("RGB", (9, 8)).save(root / "a/99.png"), False),
    "cut": (lambda root: (root / "a/00.png").write_bytes((root / "a/00.png").read_bytes()[:150]), False),
    "bit flipped": (
        lambda root: (root / "a/00.png").write_bytes(
            (raw := (root / "a/00.png").read_bytes())[:60] + bytes([raw[60] ^ 1]) + raw[61:]
        ),
        False,
    ),
    "link to a picture": (
        lambda root: (root / "a/99.png").symlink_to(root.resolve() / "a/00.png"),
        "a/99.png",
    ),
    "link to nothing": (lambda root: (root / "a/99.png").symlink_to("nothing"), False),
    "link to itself": (lambda root: (root / "a/loop").symlink_to("."), False),
    "class twice": (lambda root: (root / "c").symlink_to("a"), False),
    "pipe": (lambda root: os.mkfifo(root / "a/99.png"), False),
    "folder called PNG": (lambda root: (root / "a/99.png").mkdir(), True),
    "one class": (lambda root: shutil.rmtree(root / "b"), False),
    "splits": (lambda root: ((root / "a").rename(root / "train"), (root / "b").rename(root / "test")), False),
    "no class": (lambda root: (shutil.rmtree(root / "a"), shutil.rmtree(root / "b")), False),
    "file in place of the folder": (lambda root: (shutil.rmtree(root), root.write_bytes(b"x")), False),
    "no folder": (lambda root: shutil.rmtree(root), False),
    "not UTF-8": (lambda _: shutil.copy(b"d/a/00.png", b"d/a/\xff.png"), "a/\udcff.png"),
}


def folder_cases() -> Iterator[Case]:
    """Yield all cases of image folders."""
    for name, (change, right) in FOLDERS.items():
        yield Case("image folder", name, lambda c=change, r=right: images(c, r))


# --- environments

VARIABLES: dict[str, dict[str, str | None]] = {
    "C locale": {"LC_ALL": "C", "LANG": "C"},
    "C locale, no UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "Turkish": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "ASCII output": {"PYTHONIOENCODING": "ascii"},
    "no home": {"HOME": None},
    "home that is not there": {"HOME": "/nonexistent/home"},
    "no TMPDIR there": {"TMPDIR": "/nonexistent/tmp"},
    "Kiritimati": {"TZ": "Pacific/Kiritimati"},
    "nonsense zone": {"TZ": "nonsense"},
    "Jupyter's backend": {"MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    "nonsense backend": {"MPLBACKEND": "nonsense"},
    "narrow terminal": {"COLUMNS": "1", "LINES": "1", "TERM": "dumb"},
    "optimized": {"PYTHONOPTIMIZE": "2"},
    "warnings are errors": {"PYTHONWARNINGS": "error"},
    "development mode": {"PYTHONDEVMODE": "1"},
    "hash seed": {"PYTHONHASHSEED": "7"},
    "nonsense threads": {"OMP_NUM_THREADS": "nonsense"},
    "no GPU": {"CUDA_VISIBLE_DEVICES": ""},
    "no device files": {"CUDA_VISIBLE_DEVICES": "NoDevFiles"},
    "unbuffered": {"PYTHONUNBUFFERED": "1"},
    "no bytecode": {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": "/nonexistent"},
    "no PATH": {"PATH": ""},
    "safe path off": {"PYTHONSAFEPATH": None},
    "no USER": {"USER": None, "LOGNAME": None},
}
SHELLS = {  # before the command
    "umask 077": "umask 077;",
    "no stdin": "exec <&-;",
    "no stdout": "exec >&-;",
    "no stderr": "exec 2>&-;",
    "full stdout": "exec >/dev/full;",
    "64 files": "ulimit -n 64;",
    "no core": "ulimit -c 0;",
    "small stack": "ulimit -s 1024;",
    "nice": "exec nice -n 19 ",
    "modules beside": "for n in yaml numpy torch random token; do echo 'raise SystemExit(9)' > $n.py; done;",
    "matplotlibrc": "printf 'text.usetex: True\\nsvg.fonttype: none\\naxes.titlesize: 40\\n' > matplotlibrc;",
    "odd folder": "mkdir -p 'a b é;$x'; cp -r results 'a b é;$x'; rm -rf results; cd 'a b é;$x';",
}
VERBS = ("pool", "train", "attack", "summary", "tables", "figures", "claims", "report", "status")
TASKS = {
    "train": ("--technique", "crop", "--mask", "m001"),
    "attack": ("--technique", "crop", "--shadow", "none"),
}


def environment_cases(finished: Path, values: dict) -> Iterator[Case]:
    """Yield all cases of environments: a verb on a finished study, as a command of its own."""
    names = [*((name, "") for name in VARIABLES), *(("", name) for name in SHELLS)]
    for name, shell in names:
        for task in VERBS:
            yield Case(
                f"environment, {task}",
                name or shell,
                lambda n=name, s=shell, t=task: environment(finished, values, n, s, t),
            )


def environment(finished: Path, values: dict, name: str, shell: str, task: str) -> Outcome:
    """Run a verb again in an odd environment; what it writes has to be what was there."""
    shutil.copytree(finished / "results/tiny", "results/tiny")
    before = {path: path.read_bytes() for path in sorted(Path("results").rglob("*")) if path.is_file()}
    variables = {
        key: value for key, value in (os.environ | VARIABLES.get(name, {})).items() if value is not None
    }
    command = [
        sys.executable,
        "-P",
        "-m",
        "leakgap",
        task,
        "--study",
        json.dumps(values),
        *TASKS.get(task, ()),
    ]
    before_it = SHELLS.get(shell, "")
    done = subprocess.run(
        ["/bin/sh", "-c", f'{before_it} "$@"', "sh", *command],
        env=variables,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PATIENCE,
    )
    where = Path("a b é;$x") if shell == "odd folder" else Path()

    def right() -> bool:
        for path, content in before.items():
            now = (where / path).read_bytes()
            if now != content and not (path.suffix == ".parquet" and _alike(content, where / path)):
                return False
        return True

    if done.returncode == 1 and shell == "no stderr":
        return "error", ""  # there is nowhere to say it
    return outcome(done.returncode, done.stdout + done.stderr, right)


def _alike(content: bytes, path: Path) -> bool:
    """Say whether a table holds the values it held: logits files tell how long a training took, too."""
    return bool(pq.read_table(io.BytesIO(content)).equals(pq.read_table(path)))
