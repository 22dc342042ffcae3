"""What Snakemake says, in this workflow's words.

A failed job is told by its model, the last sentence of its log and the log's path; not by its command. A dry run ends
with what the study costs and can tell.
"""

import re
import signal

from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

FAILED = {}  # job id: what is told of it
ENDED = []  # what is said of commands that failed, before it is said of their jobs
ENDS = re.compile(
    r"(?:died with .*?|returned non-zero exit status )(?P<number>\d+)>?\.$"
)
CRASH = (
    "a crash in compiled code, of torch or of another library: the same command goes on; where it dies again, "
    "another version of the library, or fewer threads"
)
DEATHS = {
    signal.SIGKILL: "most often because memory ran out: with fewer jobs at a time, or more memory, the same command "
    "goes on",
    signal.SIGILL: "an instruction that this CPU does not know: the library is built for another one",
    signal.SIGBUS: "memory that could not be had: a full disk or /dev/shm, or a file cut while it was read",
    signal.SIGSEGV: CRASH,
    signal.SIGABRT: CRASH,
    signal.SIGFPE: CRASH,
    signal.SIGXCPU: "the limit of CPU time (ulimit -t)",
}


def death(command):
    """Return by which signal a command died, and what to do; nothing where it ended otherwise."""
    said = next((text for text in reversed(ENDED) if command.strip() in text), "")
    found = ENDS.search(said)
    number = int(found["number"]) if found else 0
    number -= 128 if number > 128 else 0 if "died with" in said else number
    try:
        return f"killed by {signal.Signals(number).name}: {DEATHS[number]}"
    except (KeyError, ValueError):
        return ""


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


def in_our_words(record):
    """Shorten what Snakemake logs of a failed job, whose command and inputs are a screenful; lengthen a dry run."""
    event = getattr(record, "event", None)
    if str(record.msg).lstrip().startswith("This was a dry-run"):
        from leakgap.jobs.plan import in_short  # late: it imports scipy

        record.msg = "\n".join(filter(None, [record.msg, in_short(STUDY)]))
    if event is LogEvent.JOB_ERROR and record.shellcmd:
        log = next(iter(record.log), "")
        said = (record.rule_msg, sentence(log), death(record.shellcmd))
        said = [text for text in said if text]
        record.rule_msg = (
            " ".join(said)
            or "interrupted, or ended without a word: the same command goes on"
        )
        record.shellcmd, record.input = None, []
        FAILED[record.jobid] = f"{log}: {record.rule_msg}"
        if Quietness.RULES in (workflow.output_settings.quiet or ()):
            logger.error(FAILED[record.jobid])
    elif event is LogEvent.JOB_FINISHED:  # by a later attempt
        FAILED.pop(record.job_id, None)
    ended = str(record.msg).startswith("RuleException:\nCalledProcessError")
    if ended:
        ENDED[:] = [*ENDED[-100:], str(record.msg)]
    return not ended


logger.addFilter(in_our_words)


onerror:
    for told in FAILED.values():
        logger.error(f"failed: {told}")
