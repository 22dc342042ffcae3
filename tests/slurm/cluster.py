"""A private one-node SLURM with accounting and two stand-in GPUs, for tests; needs root and install.sh.

python tests/slurm/cluster.py start DIR    then put DIR/bin in front of PATH and use sbatch, sacct, snakemake...
python tests/slurm/cluster.py stop DIR

Everything it makes (configuration, sockets, database, state, logs) lies in DIR; it listens on 127.0.0.1 only.
The commands in DIR/bin name the configuration themselves: SLURM_CONF does not reach a job's inner srun.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DAEMONS = ("munged", "mariadb-install-db", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
CLIENTS = ("sacct", "sacctmgr", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "sshare", "sstat")
ACCOUNT = "leakgap"
NODES = ("node", "spare")  # the spare is down until `start_node("spare")`

# CPUs and memory are pretended. JobRequeue=0: a job comes back after a failure only if its submission says so.
SLURM_CONF = """\
ClusterName=testground
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={dir}/state
SlurmdSpoolDir={dir}/spool.%n
SlurmctldPidFile={dir}/slurmctld.pid
SlurmdPidFile={dir}/slurmd.%n.pid
SlurmctldLogFile={dir}/slurmctld.log
SlurmdLogFile={dir}/slurmd.%n.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
KillWait=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={dir}/munge.socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
AccountingStorageEnforce=limits
JobAcctGatherType=jobacct_gather/none
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=DEFAULT CPUs=16 RealMemory=256000 Gres=gpu:standin:2
NodeName=node NodeHostname=localhost NodeAddr=127.0.0.1 Port={node}
NodeName=spare NodeHostname=localhost NodeAddr=127.0.0.1 Port={spare} State=DOWN
PartitionName=main Nodes=node,spare Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=urgent Nodes=node,spare MaxTime=INFINITE PriorityTier=9 PreemptMode=OFF
"""
SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
PidFile={dir}/slurmdbd.pid
LogFile={dir}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_accounting
"""
GRES_CONF = """\
Name=gpu Type=standin File=/dev/null
Name=gpu Type=standin File=/dev/zero
"""


def missing() -> str | None:
    """Why no SLURM can be started here; None where one can."""
    if os.geteuid() != 0:
        return "a private SLURM needs root"
    absent = [name for name in (*DAEMONS, *CLIENTS) if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)} (tests/slurm/install.sh installs them)" if absent else None


class Cluster:
    """A node with two GPUs of type `standin`, a spare one like it, and an account.

    Partition `main` is the default; a job in `urgent` preempts its jobs, which are queued again.
    """

    def __init__(self, directory: Path) -> None:
        self.dir = directory.resolve()
        self.bin = self.dir / "bin"

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment, less its SLURM settings, with this cluster's commands first on PATH."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
        return kept | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def start(self) -> None:
        """Start afresh: stops what runs in this directory and forgets its jobs."""
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)
        for part in ("bin", "data", "state"):
            (self.dir / part).mkdir(parents=True)
        self.dir.chmod(0o755)  # munge's clients must be able to reach the socket
        self._configure()
        self._spawn("munged", "--foreground", "--force", *self._munge_options())
        self._wait_for("munged", (self.dir / "munge.socket").exists)
        subprocess.run(
            ["mariadb-install-db", *self._mariadb_options()], check=True, capture_output=True, cwd=self.dir
        )
        self._spawn("mariadbd", *self._mariadb_options(), "--skip-networking", "--skip-grant-tables")
        self._wait_for("mariadbd", (self.dir / "mariadb.socket").exists)
        self._spawn("slurmdbd", "-D")
        self._wait_for("slurmdbd", lambda: self._try("sacctmgr", "-n", "list", "cluster"))
        self.run("sacctmgr", "-i", "add", "cluster", "testground")
        self.run("sacctmgr", "-i", "add", "account", ACCOUNT)
        self.run("sacctmgr", "-i", "add", "user", "root", f"account={ACCOUNT}")
        self._spawn("slurmctld", "-D")
        self.start_node()

    def start_node(self, node: str = "node") -> None:
        """Start a node's daemon and wait until it takes jobs."""
        self._spawn("slurmd", "-D", "-N", node, node=node)
        up = ("idle", "mix", "alloc", "comp")
        self._wait_for("slurmd", lambda: self.run("sinfo", "-h", "-n", node, "-o", "%t").split()[0] in up)

    def kill_daemon(self, node: str = "node") -> None:
        """Kill a node's slurmd as a crash would: its jobs go on."""
        self._kill([pid for pid in self._marked(node) if _name(pid) == "slurmd"])

    def crash_node(self, node: str = "node") -> None:
        """Kill a node's slurmd, all that it started and what it remembers; the controller is told at once."""
        daemons = self._marked(node)
        self._kill(daemons + _descendants(daemons))
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crashed")
        shutil.rmtree(self.dir / f"spool.{node}")

    def hasten(self, *jobs: str, seconds: int = 0) -> None:
        """Let jobs that were queued again start now, or in some seconds, rather than in two minutes."""
        for job in jobs:
            self.run("scontrol", "update", f"jobid={job}", f"starttime=now+{seconds}")

    def stop(self) -> None:
        """Cancel the jobs and end every process of this cluster; harmless where none runs."""
        if "slurmctld" in map(_name, self._marked()):
            self._try("scancel", "--user", "root")
            self.wait(lambda: not self._try("squeue", "-h") or not self.run("squeue", "-h").strip(), 10)
        marked = self._marked()
        victims = marked + _descendants(marked)
        for pid in victims:
            _signal(pid, signal.SIGTERM)
        if not self.wait(lambda: not any(map(_alive, victims)), 10):
            self._kill(victims)

    def run(self, command: str, *arguments: str) -> str:
        """A SLURM command's standard output; RuntimeError with its message where it fails."""
        done = subprocess.run([self.bin / command, *arguments], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise RuntimeError(
                f"{command} {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            )
        return done.stdout

    def accounts(self, rule: str, folder: Path) -> list[dict[str, str]]:
        """Every run of every job of a Snakemake rule submitted in a folder, in order; "model" is the model's name.

        A job that was queued again has several.
        """
        columns = ["JobID", "State", "AllocTRES", "Timelimit", "ElapsedRaw", "WorkDir", "Comment"]
        since = ("-S", "now-7days")  # by itself sacct tells of the time since midnight
        text = self.run("sacct", *since, "--duplicates", "-X", "-n", "-P", "-o", ",".join(columns))
        runs = [dict(zip(columns, line.split("|"), strict=True)) for line in text.splitlines()]
        prefix = f"rule_{rule}_wildcards_"
        return [
            run | {"model": run["Comment"].removeprefix(prefix).replace("_", "/")}
            for run in runs
            if run["Comment"].startswith(f"rule_{rule}") and run["WorkDir"] == str(folder)
        ]

    def _configure(self) -> None:
        ports = dict(zip(("ctld", "dbd", *NODES), _free_ports(4), strict=True))
        for name, text in (("slurm", SLURM_CONF), ("slurmdbd", SLURMDBD_CONF), ("gres", GRES_CONF)):
            path = self.dir / f"{name}.conf"
            path.write_text(text.format(dir=self.dir, **ports))
            path.chmod(0o600)
        (self.dir / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (self.dir / "munge.key").write_bytes(os.urandom(128))
        (self.dir / "munge.key").chmod(0o600)
        for name in CLIENTS:
            script = self.bin / name
            script.write_text(
                f'#!/bin/sh\nSLURM_CONF="{self.dir}/slurm.conf" exec {shutil.which(name)} "$@"\n'
            )
            script.chmod(0o755)

    def _munge_options(self) -> list[str]:
        files = {
            "socket": "munge.socket",
            "key-file": "munge.key",
            "pid-file": "munged.pid",
            "seed-file": "munged.seed",
        }
        return [f"--{option}={self.dir / name}" for option, name in files.items()]

    def _mariadb_options(self) -> list[str]:
        files = {"datadir": "data", "socket": "mariadb.socket", "pid-file": "mariadbd.pid"}
        return ["--no-defaults", "--user=root", "--innodb-flush-log-at-trx-commit=0"] + [
            f"--{option}={self.dir / name}" for option, name in files.items()
        ]

    def _spawn(self, program: str, *arguments: str, node: str = "") -> None:
        marks = dict(mark.split("=", 1) for mark in self._marks(node))
        files = {"SLURM_CONF": f"{self.dir}/slurm.conf", "MYSQL_UNIX_PORT": f"{self.dir}/mariadb.socket"}
        with (self.dir / f"{program}.out").open("ab") as output:
            subprocess.Popen(
                [program, *arguments],
                env=self.environment | files | marks,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _try(self, command: str, *arguments: str) -> bool:
        try:
            self.run(command, *arguments)
        except (RuntimeError, OSError, subprocess.TimeoutExpired):
            return False
        return True

    def _wait_for(self, program: str, ready: Callable[[], bool]) -> None:
        if not self.wait(ready, 30):
            logs = [self.dir / f"{program}.{end}" for end in ("out", "log")]
            text = "\n".join(log.read_text()[-2000:] for log in logs if log.exists())
            self.stop()
            raise RuntimeError(f"{program} is not ready after 30 s:\n{text}")

    @staticmethod
    def wait(condition: Callable[[], bool], seconds: float) -> bool:
        """Whether the condition came true in time; a command that fails counts as not yet."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if condition():
                    return True
            except (RuntimeError, IndexError):
                pass
            time.sleep(0.05)
        return False

    def _marks(self, node: str) -> set[str]:
        return {f"LEAKGAP_TEST_CLUSTER={self.dir}"} | ({f"LEAKGAP_TEST_NODE={node}"} if node else set())

    def _marked(self, node: str = "") -> list[int]:
        """This cluster's (or one node's) daemons, which inherit marks, and step managers, which hold a log open.

        Jobs do neither: they take their environment from sbatch.
        """
        marks = {mark.encode() for mark in self._marks(node)}
        logs = {str(self.dir / f"slurmd.{name}.log") for name in ([node] if node else NODES)}
        return [
            pid
            for pid in _processes()
            if _alive(pid)
            and (
                marks <= set(_read(pid, "environ").split(b"\0"))
                or (_name(pid) == "slurmstepd" and logs & _open_files(pid))
            )
        ]

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        self.wait(lambda: not any(map(_alive, pids)), 10)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _processes() -> list[int]:
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdigit() and int(path.name) != os.getpid()
    ]


def _read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _open_files(pid: int) -> set[str]:
    try:
        return {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()


def _stat(pid: int) -> list[str]:
    """State, parent and so on: the fields of /proc/PID/stat after the name."""
    return _read(pid, "stat").decode(errors="replace").rpartition(")")[2].split()


def _name(pid: int) -> str:
    return _read(pid, "comm").decode(errors="replace").strip()


def _alive(pid: int) -> bool:
    if (state := _stat(pid)) and state[0] == "Z" and int(state[1]) == os.getpid():
        os.waitpid(pid, os.WNOHANG)
    return bool(state) and state[0] != "Z"


def _descendants(pids: list[int]) -> list[int]:
    parents = {pid: int(state[1]) for pid in _processes() if (state := _stat(pid))}
    found: list[int] = []
    layer = set(pids)
    while layer:
        layer = {
            pid for pid, parent in parents.items() if parent in layer and pid not in found and pid not in pids
        }
        found += sorted(layer)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    verb, directory = sys.argv[1:]
    {"start": Cluster.start, "stop": Cluster.stop}[verb](Cluster(Path(directory)))
