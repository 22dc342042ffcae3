"""A centre that takes few jobs of a user at a time."""

from collections.abc import Callable

import pytest
from clone import Clone
from cluster import Cluster

pytestmark = pytest.mark.slurm


def test_a_study_keeps_below_the_limit_of_jobs(clone: Callable[..., Clone], cluster: Cluster):
    """Under which a run with the profile's 200 jobs would lose the others at once, with all their attempts."""
    place = clone(techniques="none")
    cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=2")
    try:
        run = place.submit("--until", "train").end()
    finally:
        cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")
    run.check()
    assert "SLURM takes 2 jobs more of this user, so that no more are submitted at a time." in run.output()
    assert "sbatch failed" not in run.output()
    assert {job["State"] for job in cluster.accounts("train", place.folder)} == {"COMPLETED"}
    assert len(place.logits()) == 4
