"""`python -m leakgap VERB`: one verb per rule of the workflow, each usable without Snakemake.

Every verb reads and writes the paths of its study (results/<name>/...), below the working directory.
"""

import argparse
import sys
from collections.abc import Callable

from leakgap import LeakgapError
from leakgap.study import Study

Verb = Callable[[Study, argparse.Namespace], None]


def download(study: Study, _: argparse.Namespace) -> None:
    """fetch the dataset's files into data.root, once, with checksums"""
    from leakgap.data.datasets import download

    download(study.data.dataset, study.data.root)


def pool(study: Study, _: argparse.Namespace) -> None:
    """gather the images and labels that masks are drawn from"""
    from leakgap.data.datasets import load
    from leakgap.data.pool import write_pool

    data = study.data
    write_pool(study.paths.pool, load(data.dataset, data.root, data.size, data.side, data.seed))


def masks(study: Study, _: argparse.Namespace) -> None:
    """draw the balanced training sets and the reserved population"""
    from leakgap.data.masks import balanced_masks, write_masks
    from leakgap.data.pool import read_pool

    images = len(read_pool(study.paths.pool).labels)
    member = balanced_masks(study.grid.masks, images, study.data.seed, study.data.reserved)
    write_masks(study.paths.masks, member, member.sum(axis=0) == 0)


def models(study: Study, _: argparse.Namespace) -> None:
    """list the models of the grid, one row each, in models.csv"""
    from leakgap.study.models import write_models

    write_models(study)


def status(study: Study, arguments: argparse.Namespace) -> None:
    """say which models are done, begun or missing; --all lists every one"""
    from leakgap.study.models import show_status

    show_status(study, arguments.all)


def train(study: Study, arguments: argparse.Namespace) -> None:
    """train one model and write its logits of every image at every step"""
    from leakgap.training import importing

    with importing():
        from leakgap.training.job import train_model
    train_model(study, arguments.technique, arguments.mask, arguments.save_seconds)


def attack(study: Study, arguments: argparse.Namespace) -> None:
    """attack all models of one technique with the shadow models of one technique"""
    from leakgap.audit.grid import attack_technique

    attack_technique(study, arguments.technique, arguments.shadow)


def summary(study: Study, _: argparse.Namespace) -> None:
    """join what the attack jobs found"""
    from leakgap.results import join

    join(study)


def tables(study: Study, _: argparse.Namespace) -> None:
    """write the tables of techniques, steps and attacks as CSV and Markdown"""
    from leakgap.report.tables import write_tables

    write_tables(study)


def figures(study: Study, _: argparse.Namespace) -> None:
    """draw the figures as SVG and PNG"""
    from leakgap.report.figures import draw_figures

    draw_figures(study)


def claims(study: Study, _: argparse.Namespace) -> None:
    """put the paper's claims on trial"""
    from leakgap.claims.questions import write_claims

    write_claims(study)


def report(study: Study, _: argparse.Namespace) -> None:
    """bind everything into one self-contained report.html"""
    from leakgap.report.page import write_report

    write_report(study)


def compare(study: Study, arguments: argparse.Namespace) -> None:
    """put a second study's results beside the first's"""
    from leakgap.report.compare import write_comparison

    print(write_comparison(study, Study.load(arguments.other)))


def schema(_: Study, __: argparse.Namespace) -> None:
    """print the JSON schema of study files"""
    import json

    print(json.dumps(Study.model().model_json_schema(), indent=2))


def keys(_: Study, __: argparse.Namespace) -> None:
    """print the Markdown list of all keys of a study file"""
    from leakgap.study.keys import markdown

    print(markdown())


VERBS: tuple[Verb, ...] = (
    download,
    pool,
    masks,
    models,
    train,
    status,
    attack,
    summary,
    tables,
    figures,
    claims,
    report,
    compare,
    schema,
    keys,
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m leakgap", description=__doc__.split("\n")[0])
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for run in VERBS:
        verb = verbs.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        verb.set_defaults(run=run)
        verb.add_argument(
            "--study", default="config.yaml", help="study file, or its JSON text (default: config.yaml)"
        )
        if run in (train, attack):
            verb.add_argument("--technique", required=True, help="such as none or crop+mirror")
        if run is train:
            verb.add_argument("--mask", required=True, help="m000.., or a replicate r000..")
            verb.add_argument("--save-seconds", type=int, help="in place of train.save_seconds")
        if run is attack:
            verb.add_argument("--shadow", required=True, help="technique of the shadow models")
        if run is compare:
            verb.add_argument("--other", required=True, help="study file of the second study")
        if run is status:
            verb.add_argument("--all", action="store_true", help="one line for every model")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; return 0, or 1 after printing one sentence about bad input."""
    chosen = parser().parse_args(arguments)
    try:
        chosen.run(Study.load(chosen.study), chosen)
    except LeakgapError as error:
        print(f"leakgap {chosen.run.__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
