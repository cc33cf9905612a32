"""A real Slurm on loopback for the tests: munged, MariaDB, slurmdbd, slurmctld and two slurmd, under the current user.

One cluster serves all workers of a test run. Its keeper is a separate process, which starts the daemons and stops them as
soon as nobody holds the lock `users`; the kernel releases that lock however a test process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

NODES = 2
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}({address})
SlurmUser={user}
SlurmdUser={user}
{bind}
# munge has a socket of its own; without this line Slurm looks for the system's
AuthInfo=socket={folder}/sock/munge
# no cgroups: with the default no job starts, and each is COMPLETED, exit code 0
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# processors that the machine does not have
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1,default_queue_depth=1000,partition_job_depth=0
JobRequeue=0
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=60
KillWait=2
MessageTimeout=5
MaxArraySize=20001
MaxJobCount=60000
MinJobAge={min_job_age}
SlurmctldPort={port}
SlurmctldPidFile={folder}/state/slurmctld.pid
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdPidFile={folder}/spool/%n.pid
SlurmdSpoolDir={folder}/spool/%n
SlurmdLogFile={folder}/log/%n.log
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={dbd_port}
# the link to slurmdbd ignores AuthInfo
AccountingStoragePass={folder}/sock/munge
AccountingStoreFlags=job_comment
JobCompType=jobcomp/none
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr={address} Port=[{first_port}-{last_port}] CPUs=16 RealMemory=16000 State=UNKNOWN
PartitionName=prod Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=n[1-{nodes}] MaxTime=30 State=UP
{workers}
PartitionName=closed Nodes=n[1-{nodes}] MaxTime=30 State=DOWN
"""
DATABASE = """\
AuthType=auth/munge
AuthInfo=socket={folder}/sock/munge
DbdHost=localhost
DbdAddr={address}
{bind}
DbdPort={dbd_port}
SlurmUser={user}
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={mysql_port}
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
LogFile={folder}/log/slurmdbd.log
PidFile={folder}/state/slurmdbd.pid
DebugLevel=info
"""
GRANTS = """\
create database if not exists slurm_acct_db;
create user if not exists slurm@'127.0.0.1' identified by 'slurm';
create user if not exists slurm@localhost identified by 'slurm';
grant all on slurm_acct_db.* to slurm@'127.0.0.1';
grant all on slurm_acct_db.* to slurm@localhost;
"""
PACKAGES = "slurmctld slurmd slurm-client munge slurmdbd mariadb-server"
PROGRAMS = ("munged", "munge", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sbatch")
PATH = f"{os.environ.get('PATH', '/usr/bin')}:/usr/sbin"


class NotStarted(Exception):
    """A daemon ended or did not answer; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Slurm with all files below `folder` and ports from `port` on. Tests stop and start its daemons."""

    folder: Path
    port: int

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def values(self) -> dict[str, object]:
        host = socket.gethostname().split(".")[0]
        address = _address_of_host()
        # with these the daemons bind to the address of the host's name, which must be loopback
        bind = "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" if address.startswith("127.") else ""
        return {
            "host": host,
            "address": address if bind else "127.0.0.1",
            "bind": bind,
            "user": _run("id", "-un").stdout.strip(),
            "folder": self.folder,
            "nodes": NODES,
            # a partition for each worker of a test run, so that it can hold back its own jobs only
            "workers": "\n".join(
                f"PartitionName=w{number} Nodes=n[1-{NODES}] State=UP" for number in range(8)
            ),
            "port": self.port,
            "dbd_port": self.port + 1,
            "mysql_port": self.port + 2,
            "first_port": self.port + 3,
            "last_port": self.port + 2 + NODES,
        }

    def run(self, *command: str, check: bool = True) -> str:
        """The output of a Slurm command."""
        done = _run(*command, environment={"SLURM_CONF": str(self.conf)})
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout.strip()

    def configure(self, min_job_age: int = 300) -> None:
        """Writes slurm.conf; a running controller reads it. `min_job_age`: seconds after which an ended job is forgotten."""
        self.conf.write_text(CONFIGURATION.format(**self.values, min_job_age=min_job_age))
        if self.is_running("slurmctld"):
            self.run("scontrol", "reconfigure")

    @contextlib.contextmanager
    def limited(self, jobs: int) -> Iterator[None]:
        """Limits our association to so many jobs while the context lasts; this restarts the controller."""
        user = str(self.values["user"])
        self.run("sacctmgr", "-i", "add", "account", "belle", check=False)
        self.run("sacctmgr", "-i", "add", "user", user, "account=belle", check=False)
        self.run("sacctmgr", "-i", "modify", "user", user, "set", f"MaxSubmitJobs={jobs}")
        try:
            self._enforce("limits")
            yield
        finally:
            self._enforce("none")
            self.run("sacctmgr", "-i", "modify", "user", user, "set", "MaxSubmitJobs=-1")

    def _enforce(self, what: str) -> None:
        self.configure()
        with self.conf.open("a") as conf:
            conf.write(f"AccountingStorageEnforce={what}\n" if what != "none" else "")
        self.stop("slurmctld")
        self.start("slurmctld")

    def start(self, name: str) -> None:
        """Starts a daemon that does not run, and waits until it answers."""
        if not self.is_running(name):
            with (self.folder / "log" / f"{name}.out").open("ab") as log:
                process = subprocess.Popen(
                    self._command(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env={**os.environ, "PATH": PATH, "SLURM_CONF": str(self.conf)},
                )
            self._pid_file(name).write_text(f"{process.pid} {_start_time(process.pid)}")
            _CHILDREN[process.pid] = process
        self._wait(name, *self._readiness(name))

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Ends a daemon by its recorded pid; after ten seconds with SIGKILL."""
        if pid := self._pid(name):
            os.kill(pid, number)
            deadline = time.monotonic() + 10
            while self.is_running(name):
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                    deadline += 10
                if pid in _CHILDREN:
                    _CHILDREN[pid].poll()
                time.sleep(0.02)

    def is_running(self, name: str) -> bool:
        return self._pid(name) is not None

    def start_all(self) -> None:
        """Starts the whole cluster in the order of its dependencies."""
        for part in ("munge", "sock", "mysql", "log", "pids", "state", "spool"):
            (self.folder / part).mkdir(exist_ok=True)
        (self.folder / "munge").chmod(0o700)
        self.folder.chmod(0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(random.randbytes(1024))
        key.chmod(0o600)
        self.configure()
        database = self.folder / "slurmdbd.conf"
        database.touch(0o600)
        database.write_text(DATABASE.format(**self.values))
        self.start("munged")
        user = str(self.values["user"])
        made = _run(
            "mariadb-install-db", "--no-defaults", f"--user={user}", f"--datadir={self.folder}/mysql", "--skip-test-db",
            "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}", seconds=60,
        )  # fmt: skip
        if made.returncode:
            raise NotStarted(made.stdout[-2000:] + made.stderr[-2000:])
        self.start("mariadbd")
        _run("mariadb", "--no-defaults", "-u", user, "-S", f"{self.folder}/sock/mysql", text=GRANTS)
        self.start("slurmdbd")
        self.start("slurmctld")
        for node in range(1, NODES + 1):
            (self.folder / "spool" / f"n{node}").mkdir(exist_ok=True)
            self.start(f"n{node}")

    def stop_all(self) -> None:
        """Cancels the jobs, because they survive their slurmd, and stops every daemon."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.is_running("slurmctld"):
                self.run("scancel", f"--user={self.values['user']}", check=False)
                deadline = time.monotonic() + 15
                while self.run("squeue", "-h", "-t", "R,CG,S", check=False) and time.monotonic() < deadline:
                    time.sleep(0.1)
        names = [f"n{node}" for node in range(1, NODES + 1)]
        for name in (*names, "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self.stop(name)

    def _command(self, name: str) -> list[str]:
        folder, user = self.folder, self.values["user"]
        if name == "munged":
            files = [f"--key-file={folder}/munge/key", f"--seed-file={folder}/munge/seed"]
            files += [f"--socket={folder}/sock/munge", f"--pid-file={folder}/munge/pid"]
            return ["munged", "--foreground", "--force", "--num-threads=2", *files]
        if name == "mariadbd":
            files = [
                f"--datadir={folder}/mysql",
                f"--socket={folder}/sock/mysql",
                f"--pid-file={folder}/mysql/pid",
            ]
            where = ["--bind-address=127.0.0.1", f"--port={self.port + 2}"]
            small = ["--innodb-buffer-pool-size=128M", "--innodb-log-file-size=64M"]
            fast = ["--innodb-lock-wait-timeout=900", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
            return ["mariadbd", "--no-defaults", f"--user={user}", *files, *where, *small, *fast]
        if name == "slurmdbd":
            return ["slurmdbd", "-D"]
        if name == "slurmctld":
            return ["slurmctld", "-D", "-f", str(self.conf)]
        return ["slurmd", "-D", "-f", str(self.conf), "-N", name]

    def _readiness(self, name: str) -> tuple[float, Callable[[], bool]]:
        """The longest time in seconds until a daemon answers, and the check whether it answers."""
        if name == "munged":
            return 10, lambda: _run("munge", "-n", "-S", f"{self.folder}/sock/munge").returncode == 0
        if name == "mariadbd":
            ping = (
                "mariadb-admin",
                "--no-defaults",
                "-u",
                str(self.values["user"]),
                "-S",
                f"{self.folder}/sock/mysql",
                "ping",
            )
            return 30, lambda: _run(*ping).returncode == 0
        if name == "slurmdbd":  # the first start makes the tables
            return (
                60,
                lambda: (
                    _run("sacctmgr", "-n", "list", "cluster", environment=self._environment).returncode == 0
                ),
            )
        if name == "slurmctld":
            return 30, lambda: "UP" in self.run("scontrol", "ping", check=False)
        good = {"idle", "mix", "alloc", "comp", "drain", "drng"}
        return (
            30,
            lambda: set(self.run("sinfo", "-h", "-N", "-n", name, "-o", "%t", check=False).split()) <= good,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.conf)}

    def _wait(self, name: str, seconds: float, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while not answers():
            if not self.is_running(name) or time.monotonic() > deadline:
                logs = [self.folder / "log" / f"{name}.{ending}" for ending in ("out", "log")]
                text = "".join(log.read_text(errors="replace")[-1500:] for log in logs if log.exists())
                raise NotStarted(f"{name} does not answer:\n{text}")
            time.sleep(0.1)

    def _pid_file(self, name: str) -> Path:
        return self.folder / "pids" / name

    def _pid(self, name: str) -> int | None:
        """The recorded process, if its pid was not given to another one."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid, born = self._pid_file(name).read_text().split()
            if _start_time(int(pid)) == born:
                return int(pid)
        return None


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def list_missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextlib.contextmanager
def using(shared: Path) -> Iterator[Cluster]:
    """The cluster of a test run; its workers share the folder `shared`, and the first one starts it.

    Raises:
        NotStarted: the cluster did not start; with the end of its keeper's output.
    """
    with (shared / "slurm-users").open("a") as users, (shared / "slurm-start").open("a") as start:
        fcntl.flock(users, fcntl.LOCK_SH)  # also waits for the end of an earlier cluster
        fcntl.flock(start, fcntl.LOCK_EX)
        ready, log = shared / "slurm-ready", shared / "slurm-keeper.log"
        if not ready.exists():
            with log.open("ab") as output:
                keeper = subprocess.Popen(
                    [sys.executable, __file__, shared],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
            while not ready.exists():
                if keeper.poll() is not None:
                    raise NotStarted(log.read_text()[-3000:])
                time.sleep(0.05)
            _CHILDREN[keeper.pid] = keeper
        fcntl.flock(start, fcntl.LOCK_UN)
        folder, port = json.loads(ready.read_text())
        yield Cluster(Path(folder), port)


class Room:
    """The cluster's room: many tests at a time, or one alone that breaks it, in the order of arrival."""

    def __init__(self, shared: Path) -> None:
        self._gate = (shared / "slurm-gate").open("a")
        self._room = (shared / "slurm-room").open("a")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Waits for the room, and keeps a place in it."""
        self._enter(fcntl.LOCK_SH)
        try:
            yield
        finally:
            self._room.close()
            self._gate.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Leaves the room, and enters it alone; other tests may have been inside in between."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._enter(fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_SH)

    def _enter(self, mode: int) -> None:
        fcntl.flock(self._gate, fcntl.LOCK_EX)
        fcntl.flock(self._room, mode)
        fcntl.flock(self._gate, fcntl.LOCK_UN)


def keep(shared: Path) -> None:
    """Starts a cluster, writes the file `slurm-ready`, and stops the cluster when it has no users."""
    folder = Path(tempfile.mkdtemp(prefix="b2prod-slurm-", dir="/tmp"))  # short, for the sockets in it
    cluster = Cluster(folder, _choose_ports())
    with (shared / "slurm-users").open("a") as users:
        try:
            cluster.start_all()
            part = shared / "slurm-ready.part"
            part.write_text(json.dumps([str(folder), cluster.port]))
            part.rename(shared / "slurm-ready")
            fcntl.flock(users, fcntl.LOCK_EX)
            (shared / "slurm-ready").unlink()
        finally:
            cluster.stop_all()
            shutil.rmtree(folder, ignore_errors=True)


def _choose_ports() -> int:
    """The first of several adjacent free ports, below the kernel's own range."""
    for _ in range(100):
        first = random.randrange(16000, 31000, 10)
        try:
            for port in range(first, first + 3 + NODES):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise NotStarted("no free ports")


def _address_of_host() -> str:
    found = _run("getent", "ahostsv4", socket.gethostname()).stdout.split()
    return found[0] if found else "127.0.0.1"


def _run(
    *command: str, environment: dict[str, str] | None = None, text: str = "", seconds: float = 30
) -> subprocess.CompletedProcess[str]:
    full = {**os.environ, **(environment or {}), "PATH": PATH}
    return subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=seconds, env=full, check=False
    )


def _start_time(pid: int) -> str | None:
    """The start time in ticks since boot; None for a process that does not exist or has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else fields[19]


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
