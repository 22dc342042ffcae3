"""No limit of jobs a second, unless the user sets one, in a workflow that imports this one too."""

started, register = workflow._onstart, workflow.onstart


def unlimited(log):
    """Lift Snakemake's default limit of 100 jobs a second.

    Under it, Snakemake 9.27 starts one more endless timer for every job that finishes: after some hundred jobs,
    scheduling alone takes half a core.
    """
    limiter = workflow.scheduler.job_rate_limiter
    if limiter and (limiter.max_jobs, limiter.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
    started(log)


def also(hook):
    """Register an onstart of the importing workflow, beside this one."""

    def both(log):
        unlimited(log)
        hook(log)

    register(both)


# `onstart:` would be simpler, but Snakemake drops that of an imported workflow, and keeps but the last of others
workflow._onstart, workflow.onstart = unlimited, also
