"""Jobs and flows that the tests run, in a module that workers can import."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jobflow import (
    CURRENT_JOB,
    Flow,
    Job,
    JobConfig,
    Maker,
    OnMissing,
    OutputReference,
    Response,
    job,
)
from jobflow.core.flow import JobOrder
from pydantic import BaseModel
from pymatgen.core import Molecule

from logan_campaign.core.progress import report
from logan_campaign.flows.local.codec import dumps


@job
def add(a, b):
    return a + b


@job
def total(numbers):
    return sum(n for n in numbers if n is not None)


@job
def record(**values):
    return values


@job
def fail(*args):
    raise ValueError("no such\nluck")


@job
def nap(seconds):
    start = time.time()
    time.sleep(seconds)
    return {"start": start, "end": time.time(), "pid": os.getpid(), "cwd": os.getcwd()}


@job
def die(number):
    if number is None:
        os._exit(7)
    os.kill(os.getpid(), number)


@job
def leave(*args):
    raise SystemExit(3)


@job
def count_up(n, seconds=0.0):
    for i in range(n):
        report("counting", i + 1, n, f"at {i + 1}")
        time.sleep(seconds)
    return n


@job(data=["big"])
def blob(n):
    print("making a blob")
    return {
        "small": n,
        "big": list(range(n)),
        "molecule": Molecule(["H", "H"], [[0, 0, 0], [0, 0, n]]),
    }


@job
def measure(molecule, big):
    return {"distance": molecule.get_distance(0, 1), "sum": sum(big)}


@job
def by_job(a, b):
    return Response(replace=add(a, b))


@job
def by_flow(n, deeper=0):
    """Is replaced by a flow of n additions, or of one that is replaced again."""
    if deeper:
        inner = by_flow(n, deeper - 1)
        return Response(replace=Flow([inner], output={"inner": inner.output}))
    parts = [add(i, 1) for i in range(n)]
    return Response(replace=Flow(parts, output=[part.output for part in parts]))


@job
def by_list(n):
    return [add(i, i) for i in range(n)]


@job
def by_flow_without_output(n):
    return Response(output=n, replace=Flow([add(i, n) for i in range(n)]))


@job
def countdown(n):
    if n == 0:
        return "done"
    return Response(replace=countdown(n - 1))


@job
def detour_to_flow(value):
    return Response(output=value, detour=by_flow(value))


@job
def detour_to_failure(value):
    return Response(output=value, detour=fail())


@job
def detour_to_nap(value, seconds):
    return Response(output=value, detour=nap(seconds))


@job
def with_detour(value):
    return Response(output=value, detour=add(value, 10))


@job
def with_addition(value, depth=1):
    """Adds a job that adds a job ... and one of all other kinds."""
    if depth == 0:
        return value
    more = [with_addition(value + 1, depth - 1), by_flow(2), by_job(value, 1)]
    return Response(output=value, addition=Flow(more))


@job
def replaced_after_being_read():
    reader = read_by(CURRENT_JOB.job.uuid)
    return Response(output=5, replace=Flow([reader], output=reader.output))


@job
def read_by(uuid):
    """Is replaced by a job that reads what the job above has put out until now."""
    return Response(replace=add(OutputReference(uuid), 1))


@job
def with_all(value):
    a = add(value, 1)
    return Response(
        output=value,
        replace=Flow([a], output=a.output),
        detour=add(value, 2),
        addition=add(value, 3),
    )


@job
def replaced_by_failure(value):
    bad = fail()
    return Response(replace=Flow([bad], output={"value": value, "bad": bad.output}))


@job
def stop_children(value):
    return Response(output=value, stop_children=True, detour=add(value, 1))


@job
def stop_jobflow(value):
    return Response(output=value, stop_jobflow=True, addition=add(value, 1))


@job
def with_stored_data(value):
    return Response(output=value, stored_data={"a": 1})


@job
def with_circle():
    a, b = add(1, 2), add(3, 4)
    a.function_args, b.function_args = (b.output, 1), (a.output, 1)
    return Response(addition=Flow([a, b]))


@job
def fill_disk():
    Path("/dev/full").write_text("x")


@job
def needs_file(path):
    Path(path).read_text()
    return 1


@job
def environment():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        "cores": sorted(os.sched_getaffinity(0)),
        "threads": {name: os.environ[name] for name in names},
        "xla": os.environ["XLA_FLAGS"],
    }


@job
def start_child():
    subprocess.run(["sleep", "60"], check=True)


def message_for(some_job, directory):
    return dumps(
        {
            "job": some_job.as_dict(),
            "outputs": [],
            "stores": [],
            "directory": str(directory / "job"),
        }
    )


@job
def checkpointed(seconds):
    """Leaves a note in its directory and takes up from one that it finds."""
    note = Path("note.txt")
    found = note.exists()
    note.write_text("was here")
    if not found:
        subprocess.run(["sleep", str(seconds)], check=True)
    return found


@job
def fan_out(n, seconds):
    """Adds n short jobs, one in three of which adds another."""
    jobs = [with_addition(i, 1 if i % 3 == 0 else 0) for i in range(n)]
    naps = [nap_quietly(seconds, i) for i in range(n)]
    return Response(
        output=n, addition=Flow(jobs), replace=Flow(naps, output=[j.output for j in naps])
    )


@job(data=["big"])
def nap_quietly(seconds, value):
    time.sleep(seconds)
    return {"value": value, "big": [value] * 10}


@dataclass
class AddMaker(Maker):
    name: str = "add maker"
    offset: int = 1

    @job
    def make(self, value):
        return value + self.offset


class Settings(BaseModel):
    factor: int = 2


@dataclass
class ScaleMaker(Maker):
    """Has a pydantic model in a field, which a Maker's as_dict leaves as it is."""

    name: str = "scale maker"
    settings: Settings = field(default_factory=Settings)

    @job
    def make(self, value):
        return value * self.settings.factor


@dataclass
class DynamicMaker(Maker):
    name: str = "dynamic maker"
    add_maker: AddMaker = field(default_factory=AddMaker)

    @job
    def make(self, value, n):
        jobs = [self.add_maker.make(value)]
        for _ in range(n):
            jobs.append(self.add_maker.make(jobs[-1].output))
        return Response(replace=Flow(jobs, output=jobs[-1].output))


def tolerant(some_job: Job) -> Job:
    some_job.config = JobConfig(on_missing_references=OnMissing.NONE)
    return some_job


def diamond() -> Flow:
    top = add(1, 2)
    left, right = add(top.output, 10), add(top.output, 20)
    return Flow([top, left, right, add(left.output, right.output)])


def nested() -> Flow:
    first = Flow([a := add(1, 1), b := add(a.output, 1)], output=b.output, name="first")
    second = Flow([c := add(first.output, 1), Flow([d := add(c.output, a.output)])], name="second")
    return Flow([second, first, add(d.output, c.output)])


def linear() -> Flow:
    return Flow([add(1, 1), Flow([add(2, 2), add(3, 3)]), add(4, 4)], order=JobOrder.LINEAR)


def linear_after_failure() -> Flow:
    return Flow([fail(), add(1, 1), add(2, 2)], order=JobOrder.LINEAR)


def makers() -> Flow:
    first = AddMaker(offset=3).make(4)
    second = DynamicMaker(add_maker=AddMaker(offset=5)).make(first.output, 3)
    third = ScaleMaker(settings=Settings(factor=7)).make(second.output)
    return Flow([first, second, third, add(third.output, 1)])


def blobs() -> Flow:
    b = blob(5)
    return Flow([b, measure(b.output["molecule"], b.output["big"]), total(b.output["big"])])


def replace_by_job() -> Flow:
    return Flow([a := by_job(1, 2), b := by_job(a.output, a.output), add(b.output, 1)])


def replace_by_flow() -> Flow:
    return Flow([a := by_flow(3), total(a.output)])


def replace_deeply() -> Flow:
    return Flow([a := by_flow(3, deeper=2), record(a=a.output["inner"]["inner"])])


def replace_by_list() -> Flow:
    return Flow([a := by_list(3), total(a.output)])


def replace_without_output() -> Flow:
    return Flow([a := by_flow_without_output(3), add(a.output, 1)])


def replace_repeatedly() -> Flow:
    return Flow([a := countdown(5), record(a=a.output)])


def output_that_changes() -> Flow:
    return Flow([a := replaced_after_being_read(), add(a.output, 1)])


def detours() -> Flow:
    return Flow([a := with_detour(1), b := detour_to_flow(2), add(a.output, b.output)])


def additions() -> Flow:
    return Flow([a := with_addition(1, depth=3), add(a.output, 1)])


def everything_at_once() -> Flow:
    return Flow([a := with_all(1), add(a.output, 1)])


def failure() -> Flow:
    a = fail()
    b = add(a.output, 1)
    return Flow([a, b, add(b.output, 1), add(5, 5), tolerant(record(a=a.output, b=b.output))])


def failure_in_replacement() -> Flow:
    return Flow([a := replaced_by_failure(3), tolerant(record(a=a.output)), record(b=a.output)])


def failure_in_detour() -> Flow:
    return Flow([a := detour_to_failure(3), add(a.output, 1)])


def failing_replacement() -> Flow:
    return Flow([a := DynamicMaker(add_maker=AddMaker(offset="x")).make(1, 1), add(a.output, 1)])


def stopped_children() -> Flow:
    a = stop_children(1)
    b = add(a.output, 1)
    return Flow([a, b, tolerant(record(b=b.output)), add(7, 7)])


def stopped_jobflow() -> Flow:
    a = add(1, 1)
    b = stop_jobflow(a.output)
    c = add(b.output, 1)
    return Flow([a, b, c, add(c.output, 1)])


def bad_index() -> Flow:
    return Flow([a := record(x=1), add(a.output["y"], 1), add(a.output["x"], 1)])


def stored_data() -> Flow:
    return Flow([a := with_stored_data(1), add(a.output, 1)])


def passed_by() -> Flow:
    """A reference that is passed on without being resolved, and then resolved."""
    a = add(1, 2)
    b = record(a=a.output)
    b.config = JobConfig(resolve_references=False)
    return Flow([a, b, add(b.output["a"], 1)])


ZOO: list[Callable[[], Flow]] = [
    diamond,
    nested,
    linear,
    linear_after_failure,
    makers,
    blobs,
    replace_by_job,
    replace_by_flow,
    replace_deeply,
    replace_by_list,
    replace_without_output,
    replace_repeatedly,
    output_that_changes,
    detours,
    additions,
    everything_at_once,
    failure,
    failure_in_replacement,
    failure_in_detour,
    failing_replacement,
    stopped_children,
    stopped_jobflow,
    bad_index,
    stored_data,
    passed_by,
]


def growing() -> Flow:
    """Grows while it runs, in all ways, with blobs; what it puts out is always the same."""
    a = fan_out(12, 0.08)
    return Flow([a, blob(3), with_addition(1, depth=2), record(a=a.output), by_flow(3, deeper=1)])


def held() -> Flow:
    return Flow([add(1, 1), checkpointed(60)])


def short_and_long() -> Flow:
    return Flow([add(1, 1), nap(60)])
