"""Pinning a process to cores."""

import os
import subprocess
import sys

import pytest

from logan_campaign.errors import InputError
from logan_campaign.processors import pin_to_cores

SCRIPT = """
import os
from logan_campaign.processors import pin_to_cores
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
