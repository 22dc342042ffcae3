"""leakgap: train a grid of models, attack every one, and see how attack success follows the generalization gap."""

import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from leakgap import LeakgapError
from leakgap.study import Study

min_version("9.0")
# jobs run the leakgap beside this file, in a per-rule environment too
shell.prefix(f"export PYTHONPATH={shlex.quote(str(Path(workflow.basedir) / 'src'))}; ")


# a study given by --configfile stands alone: nothing of the default study is mixed in
if "name" not in config:

    configfile: "config.yaml"


try:
    STUDY = Study.load(config)
except LeakgapError as error:
    raise WorkflowError(f"study file: {error}") from None
PATHS = STUDY.paths


report: "workflow/report/workflow.rst"


include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/attack.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        PATHS.models,
        PATHS.report,
        PATHS.claims + ".md",
        PATHS.tables,
        PATHS.figures,


onstart:
    # Under its default limit of 100 jobs a second, Snakemake 9.27 starts one more endless timer for every job that
    # finishes: after some hundred jobs, scheduling alone takes half a core. A limit of the user's own is kept.
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
