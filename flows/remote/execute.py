"""Started by a worker for each job in place of ``jf execution run``.

    python -m logan_campaign.flows.remote.execute RUN_DIR

It runs the job in a separate process and makes sure that the job ends:

* A job whose process dies, or exceeds its time limit, is run once more in the same directory,
  where it finds its checkpoints. If it fails again, the job fails with a one-line reason.
* While the disk is full, it waits. A job that ran out of space is repeated.
* A job that was started twice (by two runners, or by one that was killed before it recorded the
  first start) runs once.
* If this process is killed, the job is killed too.

Before the job runs, only the standard library is imported.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from logan_campaign.core import trust
from logan_campaign.core.files import write_atomically
from logan_campaign.core.processors import single_threaded
from logan_campaign.core.redaction import without_secrets
from logan_campaign.flows.processes import die_with_runner

#: Files of jobflow-remote in the directory of a job.
IN_NAME, OUT_NAME = "jfremote_in.json", "jfremote_out.json"
_STORES = ("remote_job_data.*", "additional_store_*")
_LOCK_NAME = ".execute.lock"

TIME_LIMIT = "LOGAN_CAMPAIGN_TIME_LIMIT_S"
#: Free space (MiB) below which the disk counts as full.
MIN_FREE = "LOGAN_CAMPAIGN_MIN_FREE_MB"

_ATTEMPTS = 2
_MIN_FREE_MB = 32.0
_LOOK_EVERY_S = 2.0
_WAIT_FOR_SPACE_S = 86_400.0
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_ATTEMPTS_WITHOUT_SPACE = 100
_PR_SET_PDEATHSIG = 1


def execute(run_dir: Path) -> int:
    """Run the job in a directory; return 0 if its outcome, good or bad, is written."""
    _die_with_parent()
    if os.environ.get("OMP_NUM_THREADS", "1") == "1":  # another number is set on purpose
        os.environ.update(single_threaded(os.environ))
    started = datetime.now(UTC)
    with (run_dir / _LOCK_NAME).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if outcome(run_dir) is not None:
            return 0
        failures: list[str] = []
        limit = float(os.environ.get(TIME_LIMIT, "inf"))
        without_space = 0
        while len(failures) < _ATTEMPTS:
            _wait_for_space(run_dir)
            for pattern in (OUT_NAME, *_STORES):
                for left_over in run_dir.glob(pattern):
                    left_over.unlink()  # from an earlier attempt, possibly truncated
            reason = _attempt(run_dir, limit)
            written = outcome(run_dir)
            if written is not None and not _says_disk_full(written):
                return 0
            no_space = written is not None or disk_is_full(run_dir)
            if no_space and without_space < _ATTEMPTS_WITHOUT_SPACE:
                without_space += 1
                print("no space left: waiting before another attempt", file=sys.stderr, flush=True)
                time.sleep(_LOOK_EVERY_S)
                continue
            if written is not None:
                return 0  # only this job has no space, for whatever reason
            failures.append(reason)
            print(f"the job's process {reason}", file=sys.stderr, flush=True)
        times = " and ".join(dict.fromkeys(failures))
        error = f"the job's process {times} (tried {_ATTEMPTS} times)"
        write_failure(run_dir, error, started)
    return 0


def outcome(run_dir: Path) -> dict | None:
    """Return the outcome written by the job, None if there is none.

    Files older than the input belong to an earlier run of the job.
    """
    try:
        if (run_dir / OUT_NAME).stat().st_mtime_ns < (run_dir / IN_NAME).stat().st_mtime_ns:
            return None
        written = json.loads((run_dir / OUT_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(written, dict) and (written.get("response") or written.get("error"))
    return written if whole else None


def _attempt(run_dir: Path, limit_s: float) -> str:
    """Run the job once with a time limit; return how its process ended."""
    lifeline, ours = os.pipe()
    command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, "--job"]
    try:
        process = subprocess.Popen(
            [*command, str(lifeline), str(run_dir)], pass_fds=[lifeline], start_new_session=True
        )
        os.close(lifeline)
        try:
            code = process.wait(None if limit_s == float("inf") else limit_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"did not end within {limit_s:g} s"
    finally:
        os.close(ours)
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _wait_for_space(run_dir: Path) -> None:
    until = time.monotonic() + _WAIT_FOR_SPACE_S
    while disk_is_full(run_dir) and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)


def disk_is_full(run_dir: Path) -> bool:
    least = float(os.environ.get(MIN_FREE, _MIN_FREE_MB))
    return shutil.disk_usage(run_dir).free < least * 2**20


def _says_disk_full(written: dict) -> bool:
    error = str(written.get("error") or "")
    return any(text in error for text in _NO_SPACE)


def write_failure(run_dir: Path, error: str, started: datetime) -> None:
    """Write why a job failed, in the format of jobflow-remote."""

    def dated(time_: datetime) -> dict[str, str]:
        return {"@module": "datetime", "@class": "datetime", "string": str(time_)}

    content = {
        "response": None,
        "error": error,
        "start_time": dated(started),
        "end_time": dated(datetime.now(UTC)),
    }
    write_atomically(run_dir / OUT_NAME, json.dumps(content), durable=False)


def _die_with_parent() -> None:
    """End together with the submission script, since ``kill`` reaches only the script."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def run_job(lifeline: int, run_dir: str) -> None:
    """Run the job in this process, which ends when the lifeline is closed."""
    die_with_runner(lifeline)
    from jobflow_remote.jobs.run import run_remote_job

    reason = _untrusted(Path(run_dir))
    if reason:
        write_failure(Path(run_dir), reason, datetime.now(UTC))
        return
    run_remote_job(run_dir)


def _untrusted(run_dir: Path) -> str:
    """Return why the job in a directory must not be decoded, or ''."""
    trusted = trust.trusted_modules() or frozenset()
    try:
        for path in sorted(run_dir.glob("*.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            if path.name == IN_NAME:
                trust.check_job(document.get("job") or {}, trusted)
            trust.check_document(document, trusted)
    except trust.UntrustedError as err:
        return str(err)
    return ""


def main() -> int:
    """Run with the arguments ``RUN_DIR`` or ``--job LIFELINE RUN_DIR``."""
    clean = without_secrets(os.environ)
    if len(clean) < len(os.environ):
        # The initial environment of a process stays readable while it lives.
        arguments = [sys.executable, "-m", f"{__package__}.execute", *sys.argv[1:]]
        os.execve(sys.executable, arguments, clean)
    # Jobs in a queue may come from others; trust.VARIABLE lists further callables allowed.
    os.environ.setdefault(trust.VARIABLE, "")
    if sys.argv[1:2] == ["--job"]:
        run_job(int(sys.argv[2]), sys.argv[3])
        return 0
    return execute(Path(sys.argv[1]).resolve())


if __name__ == "__main__":
    sys.exit(main())
