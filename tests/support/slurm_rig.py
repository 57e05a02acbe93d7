"""A SLURM of one node and an SSH server on loopback, without privileges, for tests.

They need Debian's packages slurm-wlm and openssh-server, whose own services need not run.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
from mongod import free_port

_ANSWERS_WITHIN_S = 60.0


def program(name: str) -> str | None:
    """Return where a program is; Debian keeps servers out of users' PATH."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


class _Servers:
    """Processes that end with a context; each can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = dict(os.environ)

    def start(self, name: str, *arguments: str) -> None:
        """Start a server in the foreground of this process."""
        path = program(name)
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                [path, *arguments], env=self.environment, stdout=out, stderr=out
            )

    def kill(self, name: str) -> None:
        """Kill a server."""
        self.processes[name].kill()
        self.processes[name].wait()

    def wait(self, found: Callable[[], bool]) -> None:
        """Wait until the servers answer."""
        until = time.monotonic() + _ANSWERS_WITHIN_S
        while not found():
            if time.monotonic() > until:
                said = [path.read_text()[-500:] for path in self.folder.glob("*.out")]
                raise RuntimeError(f"does not start here: {said}")
            time.sleep(0.2)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Slurm(_Servers):
    """slurmctld and slurmd of one node with the partition ``main``.

    Args:
        folder: for its files.
        cpus: jobs of one task at a time.
        most: time limit of the partition, ``HH:MM:SS``.
    """

    def __init__(self, folder: Path, cpus: int = 2, most: str = "01:00:00") -> None:
        super().__init__(folder)
        user, node = getpass.getuser(), socket.gethostname().split(".")[0]
        for name in ("state", "spool"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "slurm.conf").write_text(
            f"""ClusterName=test
SlurmctldHost={node}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.out
SlurmdLogFile={folder}/slurmd.out
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=0
ReturnToService=2
KillWait=1
OverTimeLimit=0
NodeName={node} NodeAddr=127.0.0.1 Port={free_port()} CPUs={cpus} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime={most} State=UP
"""
        )
        self.node = node
        self.environment["SLURM_CONF"] = str(folder / "slurm.conf")
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D")
        self.wait(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%T"))

    def ask(self, *command: str) -> str:
        """Run a command of SLURM; returns what it printed."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        ).stdout

    def jobs(self, state: str = "RUNNING") -> list[str]:
        """Return the numbers of the jobs in a state."""
        return self.ask("squeue", "-h", "-t", state, "-o", "%i").split()


class Sshd(_Servers):
    """An SSH server for this user, with a key of its own.

    Args:
        folder: for its files; ``home/.ssh`` in it holds the user's side.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.key = folder / "key"
        for name in ("host", "key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)],
                check=True,
            )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where it gives up root's rights
        self.port = free_port()
        self.host = f"{getpass.getuser()}@127.0.0.1:{self.port}"
        self.restart()

    def restart(self) -> None:
        """Start the server, also after it was killed."""
        options = {
            "ListenAddress": "127.0.0.1",
            "HostKey": self.folder / "host",
            "AuthorizedKeysFile": self.folder / "key.pub",
            "PidFile": self.folder / "pid",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "Subsystem": "sftp internal-sftp",
        }
        given = [word for k, v in options.items() for word in ("-o", f"{k}={v}")]
        self.start("sshd", "-D", "-e", "-f", "/dev/null", "-p", str(self.port), *given)
        self.wait(self._answers)

    def cut(self) -> None:
        """Lose the network: the server and all its connections end; jobs go on."""
        listener = self.processes["sshd"]
        for child in psutil.Process(listener.pid).children(recursive=True):
            if child.name().startswith("sshd"):
                child.kill()
        self.kill("sshd")

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
