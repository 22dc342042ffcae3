"""`leakgap VERB`: one verb per rule of the workflow, usable without Snakemake; and audits, which need no study.

The workflow's rules name every file. By hand, files that are not named are those of the study, in
results/<name>/ below the working directory.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from leakgap import LeakgapError
from leakgap.text import plain
from leakgap.training import importing
from leakgap.versions import CODE, HERE, package

if TYPE_CHECKING:
    from leakgap.study import Study

Arguments = dict[str, Any]


@dataclass(frozen=True)
class Option:
    """An option of a verb, and how the study tells it where the user does not; required without `default`.

    `nargs` and `type` are argparse's; a `bool` is a flag.
    """

    name: str
    help: str
    default: Callable[[Study, Arguments], Any] | None = None
    nargs: str | None = None
    type: Callable[[str], Any] = str


@dataclass(frozen=True)
class Verb:
    """A verb: its function, called with the study and the options by name, what it does, and its options.

    Those about study files in general are called with no study.
    """

    name: str
    function: str
    help: str
    options: tuple[Option, ...] = ()
    of_study: bool = True


def out(path: Callable[[Study, Arguments], Any], nargs: str | None = None) -> Option:
    """Return the option that names what a verb writes."""
    return Option("out", "what is written", path, nargs)


TECHNIQUE = Option("technique", "such as none or crop+mirror, or a variant")
MASK = Option("mask", "m000.., or a replicate r000..")
SHADOW = Option("shadow", "technique of the shadow models")
POOL = Option("pool", "file with records and labels", lambda study, _: study.paths.pool)
MASKS = Option("masks", "file with the training sets", lambda study, _: study.paths.masks)
JOINED = Option("joined", "the results of all attack jobs", lambda study, _: study.paths.results)

VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "download",
            "leakgap.jobs.pool:fetch",
            "fetch the dataset's files into data.root, with checksums",
        ),
        Verb(
            "pool",
            "leakgap.jobs.pool:gather",
            "gather the records and labels that masks are drawn from",
            (
                Option(
                    "images",
                    "least side in pixels of images that the built-in training can train on; 0 if it is not to",
                    lambda study, _: study.least_side,
                    type=int,
                ),
                out(lambda study, _: study.paths.pool),
            ),
        ),
        Verb(
            "masks",
            "leakgap.jobs.masks:draw_masks",
            "draw the training sets, in complementary pairs, and the reserved population",
            (POOL, out(lambda study, _: study.paths.masks)),
        ),
        Verb(
            "models",
            "leakgap.jobs.models:write_models",
            "list the models of the grid, one row each",
            (out(lambda study, _: study.paths.models),),
        ),
        Verb(
            "train",
            "leakgap.jobs.train:train_model",
            "train one model and write its logits of every image at every step",
            (
                TECHNIQUE,
                MASK,
                POOL,
                Option("masks", "how many masks the study has", lambda study, _: study.grid.masks, type=int),
                Option(
                    "save-seconds",
                    "in place of train.save_seconds",
                    lambda study, _: study.train.save_seconds,
                    type=int,
                ),
                out(lambda study, told: study.paths.logits(told["technique"], told["mask"])),
            ),
        ),
        Verb(
            "status",
            "leakgap.jobs.status:show_status",
            "say which models are done, and what Snakemake would do about the others; --all lists every one",
            (
                Option("all", "one line for every model", lambda *_: False, type=bool),
                Option("watch", "again every few seconds, until all are there", lambda *_: False, type=bool),
            ),
        ),
        Verb(
            "plan",
            "leakgap.jobs.plan:show_plan",
            "say beforehand what the study costs, what it can tell, and what will be undefined",
        ),
        Verb(
            "doctor",
            "leakgap.jobs.doctor:show_doctor",
            "try on this machine what a training needs: device, bits twice the same, a kill and a resume, speed",
        ),
        Verb(
            "attacks",
            "leakgap.attacks.listing:print_attacks",
            "print the Markdown list of all attacks",
            of_study=False,
        ),
        Verb(
            "attack",
            "leakgap.jobs.attack:attack_technique",
            "attack all models of one technique with the shadow models of one technique",
            (
                TECHNIQUE,
                SHADOW,
                POOL,
                MASKS,
                Option(
                    "targets",
                    "logits of all models of the technique",
                    lambda study, told: [
                        study.paths.logits(told["technique"], mask) for mask in study.models
                    ],
                    "+",
                ),
                Option(
                    "shadows",
                    "logits of the models of the shadow technique, one per mask",
                    lambda study, told: [study.paths.logits(told["shadow"], mask) for mask in study.masks],
                    "+",
                ),
                Option(
                    "scores",
                    "scores of every image to be written",
                    lambda study, told: study.paths.scores(told["technique"], told["shadow"]),
                ),
                out(lambda study, told: study.paths.attack(told["technique"], told["shadow"])),
            ),
        ),
        Verb(
            "summary",
            "leakgap.results:join",
            "join what the attack jobs found",
            (
                Option("parts", "what all attack jobs found", lambda study, _: study.attacked, "+"),
                out(lambda study, _: [study.paths.results, *study.paths.for_people], "+"),
            ),
        ),
        Verb(
            "tables",
            "leakgap.report.tables:write_tables",
            "write the tables of techniques, steps and attacks as CSV and Markdown",
            (JOINED, POOL, out(lambda study, _: study.paths.tables)),
        ),
        Verb(
            "figures",
            "leakgap.report.figures:draw_figures",
            "draw the figures as SVG and PNG",
            (JOINED, POOL, out(lambda study, _: study.paths.figures)),
        ),
        Verb(
            "claims",
            "leakgap.paper.questions:write_claims",
            "put the paper's claims on trial",
            (
                JOINED,
                Option(
                    "page",
                    "the verdicts for reading, to be written",
                    lambda study, _: study.paths.claims_page,
                ),
                out(lambda study, _: study.paths.claims),
            ),
        ),
        Verb(
            "order",
            "leakgap.jobs.order:write_order",
            "say what orders the leak of the variants: fit, gap or accuracy",
            (
                JOINED,
                Option(
                    "scores",
                    "scores of every record, a file per technique",
                    lambda study, _: study.scores,
                    "+",
                ),
                Option(
                    "page", "the sentences for the report, to be written", lambda study, _: study.paths.order
                ),
                out(lambda study, _: study.paths.table("order"), "+"),
            ),
        ),
        Verb(
            "report",
            "leakgap.report.study_page:write_report",
            "bind everything into one self-contained report.html",
            (
                JOINED,
                Option(
                    "claims",
                    "file with the verdicts of a study of augmentation",
                    lambda study, _: study.paths.claims if study.augments else None,
                ),
                Option("tables", "folder of the tables", lambda study, _: study.paths.tables),
                Option("figures", "folder of the figures", lambda study, _: study.paths.figures),
                Option("order", "file with what orders the leak", lambda study, _: study.paths.order),
                out(lambda study, _: study.paths.report),
            ),
        ),
        Verb(
            "schema",
            "leakgap.study.keys:print_schema",
            "print the JSON schema of study files",
            of_study=False,
        ),
        Verb(
            "dictionary",
            "leakgap.dictionary:print_dictionary",
            "print the Markdown list of all tables and columns",
            of_study=False,
        ),
        Verb(
            "keys",
            "leakgap.study.keys:print_keys",
            "print the Markdown list of all keys of a study file",
            of_study=False,
        ),
    )
}


# what `leakgap[study]` installs beside what an audit needs
EXTRA = (
    "itables",
    "matplotlib",
    "PIL",
    "pydantic",
    "seaborn",
    "snakemake",
    "torch",
    "torchvision",
    "tqdm",
    "yaml",
)
TOO_MUCH = 3  # exit status of an audit that is not told to be below the user's threshold
SIGNALLED = 128  # exit statuses above are those of signals
INIT = "make a folder in which Snakemake runs a study of yours, without a clone"
COMPARE = "put two audits, or several studies, beside each other, and say which leaks less"
CANARIES = "make records that a model would remember, each trained on by a fair coin, and their manifest"
FORECAST = "forecast a model's leak from its training log, by studies that were attacked; needs no study"
AUDIT = "say what models leak, from their answers and those of shadow models; needs no study"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="leakgap", description=(__doc__ or "").partition("\n")[0])
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS.values():
        own = verbs.add_parser(verb.name, help=verb.help, description=verb.help)
        own.set_defaults(verb=verb.name)
        if verb.of_study:
            own.add_argument(
                "--study", default="config.yaml", help="study file, or its JSON text (default: config.yaml)"
            )
        for option in verb.options:
            how: Arguments = (
                {"action": "store_true"}
                if option.type is bool
                else {"type": option.type, "nargs": option.nargs, "required": option.default is None}
            )
            own.add_argument(f"--{option.name}", help=option.help, **how)
    _add_audit(verbs.add_parser("audit", help=AUDIT, description=AUDIT))
    own = verbs.add_parser("init", help=INIT, description=INIT)
    own.set_defaults(verb="init")
    own.add_argument("folder", metavar="FOLDER", help="for config.yaml, Snakefile and the SLURM profile")
    _add_compare(verbs.add_parser("compare", help=COMPARE, description=COMPARE))
    _add_canaries(verbs.add_parser("canaries", help=CANARIES, description=CANARIES))
    _add_forecast(verbs.add_parser("forecast", help=FORECAST, description=FORECAST))
    return top


def _add_forecast(own: argparse.ArgumentParser) -> None:
    own.set_defaults(verb="forecast")
    own.add_argument(
        "log", nargs="?", metavar="LOG", help="CSV or JSON, a row for each epoch: train_acc, test_acc, losses"
    )
    for name in ("train_acc", "test_acc", "train_loss", "test_loss"):
        share = ", a share from 0 to 1" if name.endswith("acc") else ""
        own.add_argument(f"--{name.replace('_', '-')}", type=float, help=f"in place of a log{share}")
    own.add_argument(
        "--studies",
        nargs="+",
        default=[],
        metavar="RESULTS",
        help="results/<study> of yours, beside the published ones",
    )
    own.add_argument(
        "--like",
        metavar="STUDY",
        help="the study that the model is a further variant of: same data, same code",
    )
    own.add_argument("--out", metavar="FILE", help="the forecast as JSON")


def _add_canaries(own: argparse.ArgumentParser) -> None:
    own.set_defaults(verb="canaries")
    own.add_argument(
        "kind", choices=("tokens", "labels", "outliers"), help="spans of tokens, wrong labels, outliers"
    )
    own.add_argument("--out", required=True, metavar="FOLDER", help="for manifest.csv and insert.csv")
    own.add_argument("--count", type=int, default=200, help="how many (default: 200), each with a fair coin")
    own.add_argument("--data", metavar="FILE", help="CSV or Parquet that labels and outliers are made of")
    own.add_argument("--vocabulary", type=int, default=32_000, help="of tokens (default: 32000)")
    own.add_argument("--length", type=int, default=12, help="of a span of tokens (default: 12)")
    own.add_argument("--seed", type=int, default=0, help="of what they hold and of the coins (default: 0)")


def _add_compare(own: argparse.ArgumentParser) -> None:
    own.set_defaults(verb="compare")
    own.add_argument(
        "sides", nargs="*", metavar="A B", help="two folders of audits, or two or more study files"
    )
    own.add_argument("--study", help="study file of the first, where the others are --other")
    own.add_argument("--other", nargs="+", default=[], help="study files of the others")
    own.add_argument(
        "--out",
        metavar="FOLDER",
        help="for comparison.html and tables of two audits; by default in the first one's",
    )


def compare(sides: list[str], study: str | None, other: list[str], out: str | None) -> None:
    """Compare two audits by their folders, or studies by their files."""
    named = [*([study] if study else []), *sides, *other]
    if not study and other and not sides:
        named = ["config.yaml", *other]
    if len(named) < 2:
        raise LeakgapError("compare: name two folders of audits, or two or more study files")
    folders = [os.path.isdir(name) for name in named]
    if any(folders):
        if not all(folders) or len(named) != 2:
            odd = next((name for name, folder in zip(named, folders, strict=True) if not folder), named[-1])
            raise LeakgapError(
                f"compare: {odd} is no folder of a second audit; two audits or several studies are compared"
            )
        resolve_name("leakgap.audit.compare:compare_folders")(*named, out)
        return
    first, *others = named
    resolve_name("leakgap.report.compare:write_comparison")(load_study(first), others)


def _add_audit(own: argparse.ArgumentParser) -> None:
    """Add the arguments of the one verb that needs no study."""
    answers = (
        "file of a model's answers: Parquet, CSV or .npz (docs/audit-a-model.md), or a study's own logits"
    )
    own.set_defaults(verb="audit")
    own.add_argument("targets", nargs="+", metavar="TARGET", help=answers)
    own.add_argument("--shadows", nargs="+", default=[], metavar="FILE", help="answers of shadow models")
    own.add_argument(
        "--out", required=True, metavar="FOLDER", help="for audit.json, records.parquet, report.html"
    )
    own.add_argument(
        "--unit",
        default="person",
        metavar="WORD",
        help="what a `group` of records is: patient, customer, author, household",
    )
    own.add_argument(
        "--canaries",
        metavar="FILE",
        help="manifest of `canaries`, which are measured apart from other records",
    )
    own.add_argument("--attacks", nargs="+", metavar="NAME", help="attacks to run; by default all that can")
    own.add_argument("--base", metavar="FILE", help="answers of the model that training started from")
    own.add_argument(
        "--each",
        action="store_true",
        help="every TARGET is attacked by the others, each with a split of its own",
    )
    own.add_argument("--separator", metavar="SIGN", help="of CSV files, where it is not found out")
    own.add_argument("--decimal", metavar="SIGN", help="decimal sign of CSV files, where it is not found out")
    own.add_argument("--positive", metavar="LABEL", help="the label that a column `probability` is of")
    own.add_argument(
        "--step",
        type=int,
        metavar="EPOCHS",
        help="moment of training, of files that hold several; by default the last",
    )
    own.add_argument(
        "--fail-above",
        metavar="TPR@FPR",
        help="exit with 3 unless the TPR at this FPR is told to be below this one",
    )


def load_study(source: str) -> Study:
    """Read a study file; LeakgapError where what studies need is not installed."""
    try:
        from leakgap.study import Study
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    return Study.load(source)


def _not_installed(error: ModuleNotFoundError) -> LeakgapError:
    return LeakgapError(
        f"{error.name} is not installed; grids of models need more than audits: pip install 'leakgap[study]'"
    )


def run(verb: str, study: Study, **told: Any) -> None:
    """Run a verb on a study; options that are not told are the study's."""
    for option in VERBS[verb].options:
        name = option.name.replace("-", "_")
        if told.get(name) is None and option.default is not None:
            told[name] = option.default(study, told)
    with importing():
        function = resolve_name(VERBS[verb].function)
    function(study, **told)


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return 0, or 1 after printing one sentence about bad input or what the system refused.

    130 after Ctrl-C, as shells have it.
    """
    told = vars(parser().parse_args(arguments))
    verb = told.pop("verb")
    try:
        _check_code()
        if verb == "audit":
            if not resolve_name("leakgap.audit.model:audit_files")(**told):
                return TOO_MUCH
        elif verb == "compare":
            compare(**told)
        elif verb == "init":
            resolve_name("leakgap.jobs.init:start")(**told)
        elif verb == "forecast":
            resolve_name("leakgap.jobs.forecast:show_forecast")(**told)
        elif verb == "canaries":
            resolve_name("leakgap.audit.canaries:write_canaries")(**told)
        elif not VERBS[verb].of_study:
            resolve_name(VERBS[verb].function)()
        else:
            run(verb, load_study(told.pop("study")), **told)
    except LeakgapError as error:
        print(f"leakgap {verb}: {plain(str(error))}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in EXTRA:
            raise
        print(f"leakgap {verb}: {_not_installed(error)}", file=sys.stderr)
        return 1
    except OSError as error:
        # of a disk, a folder or a device: nothing is wrong with the code, and the file is named
        where = f"{error.filename}: " if error.filename else ""
        print(f"leakgap {verb}: {plain(f'{where}{error.strerror or error}')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"leakgap {verb}: interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:
        if (
            isinstance(stop.code, int) and stop.code > SIGNALLED
        ):  # a training that was asked to stop has saved
            raise
        print(
            f"leakgap {verb}: ended by its own code (sys.exit({stop.code!r})), nothing is done",
            file=sys.stderr,
        )
        return 1
    return 0


def _check_code() -> None:
    """Raise LeakgapError in a workflow's job that runs other code than the workflow was planned with."""
    digest, _, place = os.environ.get(CODE, "").partition(" ")
    if digest and place != str(HERE) and package().split()[0] != digest:
        raise LeakgapError(
            f"the workflow was planned by the leakgap in {place}, and this job runs the one in {HERE}, which "
            "differs: install one of them alone, or put it first on PYTHONPATH"
        )


def command() -> None:
    """Run as the console command `leakgap`; never returns."""
    for stream in (sys.stdout, sys.stderr):  # a log can't be asked what it understands
        if stream is not None:
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())


if __name__ == "__main__":
    command()
