"""What damaged files do to the verbs: of so many random cases, how many end in an error, and in which.

    OMP_NUM_THREADS=1 python -m benchmarks.damage [--surface files] [--cases 2000] [--seed 0]

Other surfaces are `code`, `folders` and `environments` (benchmarks/misuse.py): what users' own code, image folders
and surroundings do.

Trains a tiny study, and beside it one of the same name with other settings (`stale`) and one of another name
(`foreign`). A case damages one file of the first and runs a verb that reads it. Outcomes:

error       one sentence on stderr and exit status 1
harmless    the verb ends well, and all that it writes is what it writes without the damage
SILENT      the verb ends well, and something that it wrote differs
TRACEBACK   anything else

Exits with 1 where a case is SILENT or a TRACEBACK. A CSV file of answers has no checksum, so its bits are left
alone. Of the figures three are drawn, each by another reader. Root may write into any folder: in place of a folder
without permission there is one that can't be made.
"""

import argparse
import io
import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import misuse
from leakgap.__main__ import main
from leakgap.report import figures
from leakgap.study import Study

VALUES = {
    "name": "tiny",
    "data": {"dataset": "digits", "size": 320, "reserved": 20},
    "grid": {"techniques": ["none", "crop"], "masks": 4},
    "train": {"epochs": 8, "steps": [2, 8], "width": 2, "batch_size": 64, "precision": "fp32"},
    "query": {"views": 2},
    "attack": {"attacks": ["lira-online-fixed", "lira-pooled", "loss"], "bootstrap": 100, "fpr": [0.1, 0.05]},
}
STALE = VALUES | {"train": VALUES["train"] | {"lr": 0.05}, "data": VALUES["data"] | {"seed": 1}}
FOREIGN = VALUES | {"name": "foreign", "train": VALUES["train"] | {"seed": 1}}
DRAWN = {"roc_by_step", "pooled_tpr", "most_exposed"}
Outcome = tuple[str, str]  # one of the words above, and what was said


def run(*words: str) -> Outcome:
    """Run a verb in this process: `ended`, `error` or `TRACEBACK`."""
    told = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(told):
            status = main(list(words))
    except (Exception, SystemExit):
        return "TRACEBACK", traceback.format_exc()
    if status == 0:
        return "ended", ""
    said = [line for line in told.getvalue().splitlines() if line.startswith("leakgap ")]
    sentence = len(said) == 1 and told.getvalue().rstrip().endswith(said[0])
    return ("error" if sentence else "TRACEBACK"), told.getvalue()


def verb(name: str, values: dict, *words: str) -> Outcome:
    """Run a verb on a study."""
    return run(name, "--study", json.dumps(values), *words)


def finish(values: dict) -> None:
    """Run a study below the working directory."""
    study, tasks = Study.load(values), [("pool",), ("masks",), ("models",)]
    tasks += [
        ("train", "--technique", each, "--mask", mask)
        for each in study.grid.techniques
        for mask in study.models
    ]
    tasks += [("attack", "--technique", each, "--shadow", shadow) for each, shadow in study.attack_jobs]
    for task in [*tasks, *((name,) for name in ("summary", "tables", "figures", "claims", "report"))]:
        outcome, said = verb(task[0], values, *task[1:])
        assert outcome == "ended", said


def write_answers(folder: Path) -> None:
    """Write answers of a target and of shadow models, each as Parquet with page checksums, .npz and CSV."""
    rng = np.random.default_rng(0)
    for name in ("target", *(f"shadow{place}" for place in range(6))):
        member = rng.random(200) < 0.5
        columns = {
            "record": np.arange(200),
            "label": np.arange(200) % 5,
            "member": member,
            "loss": rng.gamma(1, np.where(member, 0.2, 0.5)),
        }
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", write_page_checksum=True)
        np.savez(folder / f"{name}.npz", **columns)
        pd.DataFrame(columns).to_csv(folder / f"{name}.csv", index=False)


# --- damages: of the bytes of a file, of what it holds, and of what it is


def cut(path: Path, rng: np.random.Generator) -> None:
    """Lose the end."""
    content = path.read_bytes()
    path.write_bytes(content[: rng.integers(len(content))])


def flip(path: Path, rng: np.random.Generator) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)


def noise(path: Path, rng: np.random.Generator) -> None:
    """Put random bytes somewhere, as a bad block of a disk does."""
    content = bytearray(path.read_bytes())
    start = rng.integers(len(content))
    content[start : start + 64] = rng.bytes(len(content[start : start + 64]))
    path.write_bytes(content)


def empty(path: Path, _: np.random.Generator) -> None:
    """Keep the name alone."""
    path.write_bytes(b"")


def delete(path: Path, _: np.random.Generator) -> None:
    """Remove the file."""
    path.unlink()


def folder(path: Path, _: np.random.Generator) -> None:
    """Put a folder in its place."""
    path.unlink()
    path.mkdir()


def swap(path: Path, rng: np.random.Generator) -> None:
    """Exchange it with another file: of its folder or its name, or any of its study, whatever that holds."""
    beside = [*path.parent.glob(f"*{path.suffix}"), *path.parent.parent.glob(f"*/{path.name}")]
    study = [*Path(*path.parts[:2]).rglob(f"*{path.suffix}")]
    others = sorted({each for each in (study if rng.random() < 0.5 else beside) if each != path})
    if not others:
        raise LookupError
    other = others[rng.integers(len(others))]
    mine, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(mine)


def edit(path: Path, rng: np.random.Generator) -> None:
    """Change what the file holds, its form left whole: retype, rename, drop, double or change values.

    Not of a zip: who opens one, changes a table and closes it means to.
    """
    EDITS[path.suffix](path, rng)


def _edit_parquet(path: Path, rng: np.random.Generator) -> None:
    groups = pq.read_metadata(path)
    table = pq.read_table(path)
    place, row = int(rng.integers(table.num_columns)), int(rng.integers(max(1, table.num_rows)))
    name, column = table.column_names[place], table.column(place)
    match rng.integers(10):
        case 0:
            table = table.drop_columns([name])
        case 1:
            names = [f"{each}x" if each == name else each for each in table.column_names]
            table = table.rename_columns(names)
        case 2:
            table = table.set_column(place, name, pa.array([str(each) for each in column.to_pylist()]))
        case 3:
            kind = pa.float32() if pa.types.is_floating(column.type) else pa.int32()
            if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
                raise LookupError
            table = table.set_column(place, name, column.cast(kind, safe=False))
        case 4:
            table = table.slice(0, row)
        case 5:
            table = pa.concat_tables([table, table.slice(row, 1)])
        case 6:
            table = table.slice(0, 0)
        case 7:  # all rows of a technique, say, or of a step
            values = column.to_pylist()
            table = table.filter(pa.array([value != values[row] for value in values]))
        case 8:  # everywhere, as one who shifts or scales a column does
            if not pa.types.is_floating(column.type):
                raise LookupError
            values = column.to_numpy() * rng.choice([0.5, 1.001, -1])
            table = table.set_column(place, name, pa.array(values, column.type))
        case _:
            values = column.to_pylist()
            values[row] = values[row - 1]
            table = table.set_column(place, name, pa.array(values, column.type))
    pq.write_table(table, path, row_group_size=max(1, -(-groups.num_rows // max(1, groups.num_row_groups))))


def _edit_npz(path: Path, rng: np.random.Generator) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    name = list(arrays)[rng.integers(len(arrays))]
    array = arrays[name]
    match rng.integers(7):
        case 0:
            del arrays[name]
        case 5 | 6 as case:  # records, of all arrays alike
            records = max((len(each) for each in arrays.values() if each.ndim), default=0)
            keep = 0 if case == 5 else records - 1
            arrays = {
                key: each[:keep] if each.ndim and len(each) == records else each
                for key, each in arrays.items()
            }
        case _ if array.dtype.kind == "U":
            arrays[name] = np.char.add(array, "x")
        case 1:
            arrays[name] = array.astype(np.float32)
        case 2:
            arrays[name] = array[:-1] if array.ndim else array + 1
        case 3:
            arrays[name] = array[None]
        case _:
            arrays[name] = array.copy()
            at = tuple(int(rng.integers(side)) for side in array.shape)
            arrays[name][at] = array[at] ^ 1 if array.dtype.kind in "biu" else array[at] + 1
    np.savez(path, **arrays)


def _edit_json(path: Path, rng: np.random.Generator) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    item = values[rng.integers(len(values))]
    key = list(item)[rng.integers(len(item))]
    match rng.integers(6):
        case 5:
            values.clear()
        case 0:
            values.remove(item)
        case 1:
            values.append(item)
        case 2:
            del item[key]
        case 3:
            item[key] = [item[key]] if not isinstance(item[key], list) else 7
        case _:
            item[key] = f"{item[key]}0"
    path.write_text(json.dumps(values), encoding="utf-8")


def _edit_text(path: Path, rng: np.random.Generator) -> None:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    del lines[rng.integers(len(lines))]
    path.write_text("".join(lines), encoding="utf-8")


EDITS: dict[str, Callable[[Path, np.random.Generator], None]] = {
    ".parquet": _edit_parquet,
    ".npz": _edit_npz,
    ".json": _edit_json,
    ".csv": _edit_text,
    ".svg": _edit_text,
}
BYTES = (cut, flip, noise)
WHOLE = (empty, delete, folder)
INSTEAD = ("stale", "foreign")  # the same file of another study
FULL, CLOSED = "disk full", "folder closed"  # happen to what is written


@dataclass(frozen=True)
class Artefact:
    """A file of the study, what it is, the verbs that read it, and what they write."""

    kind: str
    path: Path
    verbs: tuple[tuple[str, ...], ...]


class Damage:
    """The three studies below a folder, made on the way in; cases run in it and leave it as it was."""

    def __init__(self, where: Path):
        self.where = where
        self.study = Study.load(VALUES)
        drawn, figures.FIGURES = figures.FIGURES, tuple(f for f in figures.FIGURES if f.name in DRAWN)
        try:
            for place, values in (("", VALUES), ("stale", STALE), ("", FOREIGN)):
                (where / place).mkdir(exist_ok=True)
                with _inside(where / place):
                    finish(values)
            write_answers(where / "answers")
            (where / "foreign.json").write_text(json.dumps(FOREIGN), encoding="utf-8")
            self.artefacts = list(self._artefacts())
            self.whole = self._content()
            self.clean = {}
            for words in sorted({words for artefact in self.artefacts for words in artefact.verbs}):
                outcome, said = self._run(words)
                assert outcome == "ended", said
                self.clean[words] = self._content()
                self._restore()
        finally:
            figures.FIGURES = drawn

    def _artefacts(self) -> Iterator[Artefact]:
        study, paths = self.study, self.study.paths

        def attack(technique: str, shadow: str) -> tuple[str, ...]:
            return ("attack", "--technique", technique, "--shadow", shadow)

        joined = tuple((each,) for each in ("tables", "figures", "claims", "report"))
        compare = ("compare", "--other", "foreign.json")
        yield Artefact("results", Path(paths.results), (*joined, compare))
        for path in study.attacked:
            yield Artefact("attack job", Path(path), (("summary",),))
        for technique in study.grid.techniques:
            for mask in study.models:
                jobs = tuple(attack(*job) for job in study.attack_jobs if technique in job)
                yield Artefact("logits", Path(paths.logits(technique, mask)), (*jobs, ("status",)))
        jobs = tuple(attack(*job) for job in study.attack_jobs)
        yield Artefact("pool", Path(paths.pool), (*jobs, ("tables",), ("figures",), ("masks",)))
        yield Artefact("masks", Path(paths.masks), (*jobs, compare))
        yield Artefact("claims", Path(paths.claims), (("report",), compare))
        for folder in (paths.tables, paths.figures):
            yield Artefact("index", Path(folder) / "index.json", (("report",),))
            for path in sorted(Path(self.where, folder).glob("*.[cs][sv][vg]")):
                yield Artefact("table or figure", path.relative_to(self.where), (("report",),))
        for suffix in (".parquet", ".npz", ".csv"):
            shadows = [f"answers/shadow{place}{suffix}" for place in range(6)]
            audit = ("audit", f"answers/target{suffix}", "--shadows", *shadows, "--out", "audited")
            for path in (f"answers/target{suffix}", *shadows):
                yield Artefact(f"answers{suffix}", Path(path), (audit,))

    def damages(self, artefact: Artefact) -> list[str]:
        """Name what can happen to an artefact."""
        if artefact.kind == "answers.csv":
            return [each.__name__ for each in WHOLE]
        if artefact.kind.startswith("answers"):
            return [each.__name__ for each in (*BYTES, *WHOLE)]
        return [*(each.__name__ for each in (*BYTES, *WHOLE, swap, edit)), *INSTEAD, FULL, CLOSED]

    def case(self, artefact: Artefact, words: tuple[str, ...], damage: str, seed: int) -> Outcome:
        """Damage an artefact, run a verb that reads it, and put everything back."""
        with _inside(self.where):
            try:
                if damage == CLOSED:
                    words = self._closed(words)
                elif damage != FULL:
                    self._damage(artefact.path, damage, np.random.default_rng(seed))
                before = self._content()
                outcome, said = _with_little_room(self._run, words) if damage == FULL else self._run(words)
                if outcome == "ended":
                    changed = self._changed(words, before)
                    outcome, said = ("SILENT", f"{changed} differs") if changed else ("harmless", "")
                return outcome, said
            except LookupError:
                return "harmless", "this can't happen to such a file"
            finally:
                self._restore()

    def _closed(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """Name an output in a folder that can't be made: root may write into any that is there."""
        if words[0] in ("status", "compare"):
            raise LookupError
        (self.where / "closed").write_bytes(b"")
        return (*words, "--out", "closed/within/summary.parquet")

    def _damage(self, path: Path, damage: str, rng: np.random.Generator) -> None:
        if damage in INSTEAD:
            place = Path("stale") if damage == "stale" else Path()
            name = "tiny" if damage == "stale" else "foreign"
            shutil.copy(place / Path(str(path).replace("/tiny/", f"/{name}/")), path)
        else:
            globals()[damage](path, rng)

    def _run(self, words: tuple[str, ...]) -> Outcome:
        drawn, figures.FIGURES = figures.FIGURES, tuple(f for f in figures.FIGURES if f.name in DRAWN)
        try:
            with _inside(self.where):
                return run(*words) if words[0] == "audit" else verb(words[0], VALUES, *words[1:])
        finally:
            figures.FIGURES = drawn

    def _content(self) -> dict[Path, bytes]:
        files = (path for path in sorted(self.where.rglob("*")) if path.is_file())
        return {path.relative_to(self.where): path.read_bytes() for path in files}

    def _restore(self) -> None:
        now = self._content()
        for path in now.keys() - self.whole.keys():
            (self.where / path).unlink()
        for path, content in self.whole.items():
            if now.get(path) != content:
                if (self.where / path).is_dir():
                    (self.where / path).rmdir()
                (self.where / path).write_bytes(content)

    def _changed(self, words: tuple[str, ...], before: dict[Path, bytes]) -> Path | None:
        """Return a file that the verb has written and that is not what it writes without the damage."""
        now, expected = self._content(), self.clean[words]
        for path in sorted(now.keys() | before.keys()):
            if now.get(path) != before.get(path) and not _same(path, now.get(path), expected.get(path)):
                return path
        return None


def _same(path: Path, one: bytes | None, two: bytes | None) -> bool:
    if one == two or one is None or two is None or path.suffix != ".parquet":
        return one == two
    tables = (pd.read_parquet(io.BytesIO(content)) for content in (one, two))
    try:
        pd.testing.assert_frame_equal(*tables, check_dtype=False, check_exact=True)
    except AssertionError:
        return False
    return True


@contextmanager
def _inside(where: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(where)
    try:
        yield
    finally:
        os.chdir(before)


def _with_little_room(call: Callable[[tuple[str, ...]], Outcome], words: tuple[str, ...]) -> Outcome:
    """Call where no file grows beyond 1,000 bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        return call(words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def totals(found: Counter[tuple[str, str, str]]) -> str:
    """Return Markdown: one row per artefact and kind of damage, one column per outcome."""
    words = ("error", "harmless", "SILENT", "TRACEBACK")
    lines = [f"| artefact | damage | cases | {' | '.join(words)} |", "|---|---|" + "---:|" * 5]
    for artefact, damage in sorted({key[:2] for key in found}):
        counts = [found[artefact, damage, word] for word in words]
        lines.append(f"| {artefact} | {damage} | {sum(counts)} | {' | '.join(map(str, counts))} |")
    counts = [sum(count for key, count in found.items() if key[2] == word) for word in words]
    return "\n".join([*lines, f"| all | | {sum(counts)} | {' | '.join(map(str, counts))} |"])


def misused(surface: str, most: int, seed: int) -> int:
    """Run the cases of a surface that is no damage to files, or as many as are asked for, and print totals."""
    found = Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        if surface == "environments":
            (where / "finished").mkdir()
            with _inside(where / "finished"):
                finish(VALUES)
            cases = list(misuse.environment_cases(where / "finished", VALUES))
        else:
            cases = list(misuse.code_cases() if surface == "code" else misuse.folder_cases())
        chosen = np.random.default_rng(seed).permutation(len(cases))[:most]
        for number, case in enumerate(cases[each] for each in sorted(chosen)):
            outcome, said = misuse.isolated(case, where / f"case{number}")
            found[case.kind, outcome] += 1
            if outcome in misuse.WRONG:
                print(ascii(f"{outcome}: {case.kind}, {case.name}, {said[-300:]}"), flush=True)
    words = ("error", misuse.RIGHT, *misuse.WRONG)
    print(f"| kind | cases | {' | '.join(words)} |\n|---|---:|{'---:|' * len(words)}")
    for kind in [*sorted({kind for kind, _ in found}), ""]:
        counts = [
            sum(n for key, n in found.items() if kind in (key[0], "") and key[1] == word) for word in words
        ]
        print(f"| {kind or 'all'} | {sum(counts)} | {' | '.join(map(str, counts))} |")
    return int(any(outcome in misuse.WRONG for _, outcome in found))


def benchmark() -> int:
    """Run the cases and print their totals."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--surface", choices=("files", "code", "folders", "environments"), default="files")
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    if told.surface != "files":
        return misused(told.surface, told.cases, told.seed)
    rng, found = np.random.default_rng(told.seed), Counter[tuple[str, str, str]]()
    with tempfile.TemporaryDirectory() as where:
        studies = Damage(Path(where))
        kinds = sorted({artefact.kind for artefact in studies.artefacts})
        for case in range(told.cases):
            alike = [each for each in studies.artefacts if each.kind == kinds[case % len(kinds)]]
            artefact = alike[rng.integers(len(alike))]
            words = artefact.verbs[rng.integers(len(artefact.verbs))]
            damages = studies.damages(artefact)
            damage, seed = damages[rng.integers(len(damages))], int(rng.integers(2**32))
            outcome, said = studies.case(artefact, words, damage, seed)
            found[artefact.kind, damage, outcome] += 1
            if outcome in ("SILENT", "TRACEBACK"):
                print(
                    f"{outcome}: {artefact.path}, {damage} {seed}, {' '.join(words[:5])}\n{said}", flush=True
                )
    print(totals(found))
    return int(any(key[2] in ("SILENT", "TRACEBACK") for key in found))


if __name__ == "__main__":
    sys.exit(benchmark())
