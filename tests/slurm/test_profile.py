"""What the cluster profile plans; needs no SLURM."""

import os
import re
import sys
from pathlib import Path

import yaml
from clone import REPOSITORY, Clone


def plan(folder: Path, *arguments: str) -> dict[str, int]:
    """Rule -> jobs, of a dry run in a fresh clone."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = Clone(folder, os.environ | {"PATH": path}).run(*arguments, "-n", "--quiet", "rules")
    run.check()
    return {rule: int(jobs) for rule, jobs in re.findall(r"^(\w+) +(\d+)$", run.output(), re.MULTILINE)}


def test_the_literal_command_plans_the_cifar10_study(tmp_path: Path):
    jobs = plan(tmp_path, "--profile", "slurm")
    assert (jobs["train"], jobs["attack"], jobs["summary"]) == (1024, 31, 1)


def test_another_study_wins_over_the_profile_s(tmp_path: Path):
    assert plan(tmp_path, "--profile", "slurm", "--configfile", "mini.yaml")["train"] == 8


def test_what_is_loaded_unasked_wins_over_nothing_that_the_cluster_s_says_otherwise():
    """Snakemake gives the default profile's keys the last word."""
    default, cluster = (
        yaml.safe_load((REPOSITORY / name / "config.yaml").read_text())
        for name in ("profiles/default", "slurm")
    )
    assert default == {key: cluster[key] for key in default}


def test_the_profile_s_folder_is_none_by_a_link():
    """Checkouts without symbolic links, and archives unpacked by some programs, hold a file in a link's place."""
    assert [
        path for path in (REPOSITORY / "slurm", *(REPOSITORY / "slurm").iterdir()) if path.is_symlink()
    ] == []
