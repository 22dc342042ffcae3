"""A failed job is told by its model, the last sentence of its log and the log's path; not by its command."""

from snakemake_interface_logger_plugins.common import LogEvent

FAILED = {}  # job id: what is told of it


def sentence(path):
    """Return what the verb said at last; nothing where it had no time to."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            lines = log.read().replace("\r", "\n").splitlines()
    except OSError:
        return ""
    last = next(filter(None, map(str.strip, reversed(lines))), "")
    # else it is a progress bar, and what ended the job is known to the scheduler alone
    told = last.startswith("leakgap ") or "Traceback (most recent call last):" in lines
    return last if told else ""


def without_command(record):
    """Shorten what Snakemake logs of a failed job, whose command and inputs are a screenful."""
    event = getattr(record, "event", None)
    if event is LogEvent.JOB_ERROR and record.shellcmd:
        log = next(iter(record.log), "")
        said = [text for text in (record.rule_msg, sentence(log)) if text]
        record.rule_msg = (
            " ".join(said)
            or "interrupted, or ended without a word: the same command goes on"
        )
        record.shellcmd, record.input = None, []
        FAILED[record.jobid] = f"{log}: {record.rule_msg}"
    elif event is LogEvent.JOB_FINISHED:  # by a later attempt
        FAILED.pop(record.job_id, None)
    return not str(record.msg).startswith("RuleException:\nCalledProcessError")


logger.addFilter(without_command)


onerror:
    for told in FAILED.values():
        logger.error(f"failed: {told}")
