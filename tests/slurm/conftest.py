"""A SLURM for the whole test session, and the miniature study's results from a run without it."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from clone import Clone
from cluster import Cluster, missing


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    cluster = Cluster(tmp_path_factory.mktemp("slurm"))
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def clone(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Clone]]:
    """Make a folder to run the workflow in, with the cluster's commands first on PATH.

    Another python comes before this one, as where Snakemake's environment was not activated.
    """
    other = tmp_path_factory.mktemp("other") / "python"
    other.write_text("#!/bin/sh\necho another python >&2\nexit 9\n")
    other.chmod(0o755)
    path = [str(cluster.bin), str(other.parent), str(Path(sys.executable).parent), os.environ["PATH"]]
    # idle OpenMP threads must not spin where two trainings share two cores
    settings = {"PATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    environment = cluster.environment | settings
    made: list[Clone] = []

    def make(**options: str) -> Clone:
        made.append(Clone(tmp_path_factory.mktemp("clone"), environment, **options))
        return made[-1]

    yield make
    for clone in made:
        clone.kill()


@pytest.fixture(scope="session")
def local(clone: Callable[..., Clone]) -> Clone:
    """The miniature study up to its summary, run without a cluster."""
    place = clone()
    place.run("results/mini/summary.csv", "--configfile", "mini.yaml", "--cores", "2").check()
    return place
