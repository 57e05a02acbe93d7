"""Pinning a process to cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logan_campaign.core.errors import InputError
from logan_campaign.core.processors import pin_to_cores, usable_cores

SCRIPT = """
import os
from logan_campaign.core.processors import pin_to_cores, usable_cores
core = min(os.sched_getaffinity(0))
pin_to_cores([core])
import jax
jax.block_until_ready(jax.jit(lambda a: a @ a)(jax.numpy.ones((300, 300))))
assert os.sched_getaffinity(0) == {core}
for task in os.listdir("/proc/self/task"):
    assert os.sched_getaffinity(int(task)) == {core}, task
try:
    pin_to_cores([core])
except RuntimeError:
    print("fine")
"""


def test_all_threads_of_jax_stay_on_the_given_core() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.strip() == "fine", done.stderr


def test_cores_that_the_process_may_not_use_are_refused() -> None:
    before = os.sched_getaffinity(0)
    for cores in ([], [max(before) + 1000]):
        with pytest.raises(InputError):
            pin_to_cores(cores)
    assert os.sched_getaffinity(0) == before


CLAIM = """
import sys
from pathlib import Path
from logan_campaign.core.processors import CoreClaims
claims = CoreClaims()
print(*claims.take(1), flush=True)
sys.stdin.read()
"""


def claimed(environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a program that claims one core until its standard input ends."""
    command = [sys.executable, "-c", CLAIM]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **environment}, **pipes)


@pytest.mark.skipif(len(usable_cores()) < 2, reason="needs two cores")
def test_two_programs_claim_different_cores_and_claims_end_with_them(tmp_path: Path) -> None:
    place = {"TMPDIR": str(tmp_path)}
    cores = usable_cores()
    programs = []
    found = []
    try:
        for _ in cores:
            programs.append(claimed(place))
            found.append(int(programs[-1].stdout.readline()))
        assert sorted(found) == cores
        # one more than there are cores shares one
        programs.append(claimed(place))
        assert int(programs[-1].stdout.readline()) in cores
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    after = claimed(place)
    assert int(after.stdout.readline()) == cores[0]
    after.communicate()
