"""No limit of jobs a second, unless the user sets one, and SLURM's limits kept; in an importing workflow too."""

from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

if workflow.is_main_process and workflow.resource_settings.nodes is not None:
    most, age = most_submitted(), forgets_after()
    if most and most < workflow.resource_settings.nodes:
        # what is submitted beyond it fails at once, attempt after attempt
        logger.warning(
            f"SLURM takes {most} jobs more of this user, so that no more are submitted at a time."
        )
        workflow.register_resource("_nodes", most)
    if age:
        # The SLURM plugin waits up to 180 s between two looks, and forever for a job that SLURM forgets meanwhile.
        waits = RemoteExecutor.next_seconds_between_status_checks
        RemoteExecutor.next_seconds_between_status_checks = property(
            lambda self: min(waits.fget(self), max(5, age // 3)), waits.fset
        )

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
