"""The runner: parallel processes, failures, progress, resume."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import runner_zoo as zoo
from jobflow import Flow, Job, JobStore
from runner_tools import (
    live_processes,
    memory_jobstore,
    memory_ledger,
    outputs,
    run_by_jobflow,
    wait_until,
)

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.flows.local import (
    JobFailed,
    JobFinished,
    JobKey,
    JobProgress,
    JobsAdded,
    JobStarted,
    Ledger,
    RunStarted,
    exclusive,
    flow_status,
    run_flow,
)
from logan_campaign.flows.local.codec import loads
from logan_campaign.flows.local.worker_pool import WorkerPool
from logan_campaign.stores.open import open_store


class Bench:
    """Everything that a run needs, in memory."""

    def __init__(self, directory: Path) -> None:
        self.jobstore, self.ledger = memory_jobstore(), memory_ledger()
        self.work_dir = directory / "work"
        self.events: list = []

    def run(self, flow, **options):
        options = {"n_workers": 2, "on_event": self.events.append, **options}
        return run_flow(
            flow, jobstore=self.jobstore, ledger=self.ledger, work_dir=self.work_dir, **options
        )

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def output(self, some_job: Job):
        return self.jobstore.get_output(some_job.uuid, load=True)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_zoo_through_processes_and_sqlite_gives_what_jobflow_gives(tmp_path):
    # One that stops everything, or that orders what it contains, cannot be with the others.
    alone = (zoo.stopped_jobflow,)
    flow = Flow([make() for make in zoo.ZOO if make not in alone])
    with open_store(tmp_path / "campaign", create=True) as stores:
        store = JobStore(stores.docs, additional_stores={"data": stores.data})
        summary = run_flow(
            flow,
            jobstore=store,
            ledger=Ledger(stores.ledger, "zoo", {"label": "all of them"}),
            work_dir=tmp_path / "work",
            n_workers=2,
            transaction=stores.transaction,
        )
        found = outputs(store)
        status = flow_status(Ledger(stores.ledger, "zoo"), tmp_path / "work")
        assert stores.data.count() == 1, "the blob is not in its own store"
    assert found == run_by_jobflow(flow)
    assert summary.exit_code == 0
    assert status.counts == summary.counts
    assert status.finished
    assert status.about["label"] == "all of them"
    assert sorted(status.failures) == sorted(summary.failures)
    assert status.by_stage["fail"] == {"failed": 4}


def test_jobs_overlap_on_cores_of_their_own_in_directories_of_their_own(bench):
    naps = [zoo.nap(1.5) for _ in range(4)]  # longer than one worker may start after another
    bench.run(Flow(naps))
    found = [bench.output(nap) for nap in naps]
    pairs = [(a, b) for a in found for b in found if a is not b]
    assert any(a["start"] < b["end"] and b["start"] < a["end"] for a, b in pairs)
    assert len({nap["pid"] for nap in found}) == 2, "workers are not used again"
    assert len({nap["cwd"] for nap in found}) == 4
    assert {event.worker for event in bench.of(JobStarted)} == {0, 1}
    assert not [path for path in bench.work_dir.iterdir() if path.is_dir()], "left-overs"


def test_worker_keeps_to_one_core_and_one_thread(bench):
    environment = zoo.environment()
    bench.run(Flow([environment]), n_workers=1)
    found = bench.output(environment)
    assert len(found["cores"]) == 1
    assert set(found["threads"].values()) == {"1"}
    assert "intra_op_parallelism_threads=1" in found["xla"]


def test_children_wait_for_detours_in_parallel_runs_too(bench):
    parent = zoo.detour_to_nap(1, 2.0)
    child = zoo.nap(0)
    after = zoo.add(parent.output, 1)
    bench.run(Flow([parent, child, after]))
    ends = [event.name for event in bench.of(JobFinished)]
    starts = {
        event.key.uuid: i for i, event in enumerate(bench.events) if type(event) is JobStarted
    }
    naps = [
        (event.elapsed_s, i)
        for i, event in enumerate(bench.events)
        if type(event) is JobFinished and event.name == "nap"
    ]
    _, nap_end = max(naps)  # the detour's; a short one may take long on a busy machine
    assert starts[after.uuid] > nap_end
    assert len(ends) == 4


def test_progress_of_a_job_arrives_throttled_and_with_its_end(bench):
    bench.run(Flow([zoo.count_up(200, 0.003)]), n_workers=1)
    reports = [event.progress for event in bench.of(JobProgress)]
    assert 3 <= len(reports) <= 12
    assert reports[-1] == ("counting", 200, 200, "at 200")
    assert [r.completed for r in reports] == sorted(r.completed for r in reports)
    kinds = [type(event) for event in bench.events]
    assert kinds.index(RunStarted) < kinds.index(JobStarted) < kinds.index(JobFinished)


def test_added_jobs_are_announced_and_counted(bench):
    bench.run(Flow([zoo.by_flow(3)]))
    (added,) = bench.of(JobsAdded)
    assert sorted(added.names) == ["add", "add", "add", "store_inputs"]
    assert bench.of(JobFinished)[-1].stages == {
        "by_flow": (1, 1),
        "add": (3, 3),
        "store_inputs": (1, 1),
    }


def test_death_of_a_worker_fails_its_job_alone(bench):
    reasons = {
        signal.SIGSEGV: "worker process died (signal 11, SIGSEGV)",
        signal.SIGKILL: "worker process died (signal 9, SIGKILL; out of memory?)",
        None: "worker process died (exit code 7)",
    }
    deaths = {number: zoo.die(number) for number in reasons}
    summary = bench.run(Flow([*deaths.values(), *(zoo.add(i, 1) for i in range(4))]))
    assert summary.counts == {"completed": 4, "failed": 3}
    errors = {failure.key.uuid: failure.error for failure in summary.failures}
    assert errors == {deaths[number].uuid: reason for number, reason in reasons.items()}
    crash = next(e for e in bench.ledger.entries() if e["uuid"] == deaths[signal.SIGSEGV].uuid)
    assert "runner_zoo.py" in crash["traceback"], "no trace of where it crashed"


def test_failed_job_is_recorded_with_one_line_traceback_and_log(bench):
    summary = bench.run(Flow([bad := zoo.fail(), out := zoo.leave()]), n_workers=1)
    assert {failure.error for failure in summary.failures} == {
        "ValueError: no such luck",
        "SystemExit: 3",
    }
    entry = next(e for e in bench.ledger.entries() if e["uuid"] == bad.uuid)
    assert entry["traceback"].startswith("Traceback")
    assert {"started_at", "ended_at", "elapsed_s"} <= entry.keys()
    assert "no such" in (bench.work_dir / f"{bad.uuid}-1" / "job.log").read_text()
    assert not bench.jobstore.count({"uuid": {"$in": [bad.uuid, out.uuid]}})
    assert [event.error for event in bench.of(JobFailed)] == [f.error for f in summary.failures]


def test_output_of_jobs_does_not_reach_the_terminal(bench, capfd):
    bench.run(zoo.blobs())
    assert capfd.readouterr() == ("", "")


def test_stored_data_is_ignored_with_a_warning(bench, caplog):
    bench.run(zoo.stored_data())
    assert "stored_data is not supported" in caplog.text


def test_circle_in_an_added_flow_fails_the_job_that_added_it(bench):
    summary = bench.run(Flow([zoo.with_circle(), zoo.add(1, 1)]))
    assert summary.counts == {"completed": 1, "failed": 1}
    assert "in a circle" in summary.failures[0].error


def test_finished_flow_is_not_run_again(bench):
    flow = zoo.replace_by_flow()
    first = bench.run(flow)
    again = bench.run(None)
    other = bench.run(zoo.diamond())  # the record is what counts
    assert (first.n_run, again.n_run, other.n_run) == (6, 0, 0)
    assert first.counts == again.counts == other.counts


def test_retry_runs_failed_jobs_and_those_cancelled_for_them(bench, tmp_path):
    flag = tmp_path / "flag"
    a = zoo.needs_file(str(flag))
    b = zoo.add(a.output, 1)
    flow = Flow([a, b, zoo.add(1, 1)])
    assert bench.run(flow).counts == {"completed": 1, "failed": 1, "cancelled": 1}
    flag.write_text("")
    assert bench.run(None).n_run == 0
    summary = bench.run(None, retry_failed=True)
    assert summary.counts == {"completed": 3}
    assert summary.n_run == 2
    assert bench.output(b) == 2


def test_retry_leaves_alone_what_the_flow_has_gone_on_without(bench, tmp_path):
    flag = tmp_path / "flag"
    a = zoo.needs_file(str(flag))
    between = zoo.add(a.output, 1)  # cancelled
    b = zoo.tolerant(zoo.record(a=between.output))
    first = bench.run(Flow([a, between, b]))
    assert first.counts == {"completed": 1, "failed": 1, "cancelled": 1}
    flag.write_text("")
    # run now, the first two would leave outputs that the third has never seen
    again = bench.run(None, retry_failed=True)
    assert (again.n_run, again.counts) == (0, first.counts)
    assert bench.output(b) == {"a": None}


def test_second_runner_is_refused(bench):
    bench.work_dir.mkdir()
    with (
        exclusive(bench.work_dir / "lock", "flow"),
        pytest.raises(StoreError, match=rf"'flow' is already running \(pid {os.getpid()}\)"),
    ):
        bench.run(zoo.diamond())
    assert bench.ledger.root() is None
    bench.run(zoo.diamond())


def test_full_disk_ends_the_run_and_records_no_failure(bench):
    with pytest.raises(StoreError, match="no space left for job 'fill_disk'"):
        bench.run(Flow([zoo.fill_disk()]))
    assert list(bench.ledger.entries()) == []
    assert not list(live_processes(bench.work_dir))


class Broken:
    """A ledger's store that fails once, at the n-th update."""

    def __init__(self, store, n):
        self.store, self.left = store, n

    def __getattr__(self, name):
        return getattr(self.store, name)

    def update(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise OSError(28, "No space left on device")
        self.store.update(*args, **kwargs)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_job_whose_record_could_not_be_written_runs_again_and_leaves_nothing_twice(bench, n):
    flow = zoo.blobs()
    bench.ledger.store = Broken(bench.ledger.store, n)
    with pytest.raises(StoreError, match="No space left on device"):
        bench.run(flow, n_workers=1)
    assert not list(live_processes(bench.work_dir))
    summary = bench.run(flow, n_workers=1)
    assert summary.counts == {"completed": 3}
    assert bench.jobstore.count() == 3
    assert bench.jobstore.additional_stores["data"].count() == 1
    assert outputs(bench.jobstore) == run_by_jobflow(flow)


def test_output_and_record_are_committed_together_on_sqlite(bench, tmp_path):
    with open_store(tmp_path / "campaign", create=True) as stores:
        bench.jobstore = JobStore(stores.docs, additional_stores={"data": stores.data})
        bench.ledger = Ledger(Broken(stores.ledger, 2), "flow")
        with pytest.raises(StoreError, match="No space left on device"):
            bench.run(Flow([zoo.blob(3)]), transaction=stores.transaction, n_workers=1)
        assert (stores.docs.count(), stores.data.count(), stores.ledger.count()) == (0, 0, 1)
        bench.run(None, transaction=stores.transaction, n_workers=1)
        assert (stores.docs.count(), stores.data.count(), stores.ledger.count()) == (1, 1, 2)


def test_nothing_to_run_is_an_input_error(bench):
    with pytest.raises(InputError, match="no flow named 'flow' is recorded"):
        bench.run(None)


def test_reference_out_of_the_flow_is_refused_before_anything_is_stored(bench):
    with pytest.raises(InputError, match="not found in the jobs array"):
        bench.run(Flow([zoo.add(zoo.add(1, 1).output, 1)]))
    assert bench.ledger.root() is None


def test_function_that_no_other_process_can_import_is_refused(bench):
    def local():
        return 1

    with pytest.raises(InputError, match=r"'local'.* move its function to an importable module"):
        bench.run(Flow([Job(local, name="local")]))


def test_damaged_record_is_refused(bench):
    bench.run(zoo.diamond())
    root = bench.ledger.root()
    bench.ledger.store.update({**root, "flow": "zlib:AAAA"}, key="id")
    with pytest.raises(StoreError, match="the record of 'flow' is damaged"):
        bench.run(None)


def test_record_of_a_newer_version_is_refused(bench):
    bench.run(zoo.diamond())
    bench.ledger.store.update({**bench.ledger.root(), "layout_version": 99}, key="id")
    with pytest.raises(StoreError, match="newer version"):
        flow_status(bench.ledger)


def test_long_flow_is_stored_compressed_and_read_back(bench):
    flow = Flow([zoo.add("x" * 60_000, "y")])
    bench.ledger.begin(flow)
    assert len(bench.ledger.root()["flow"]) < 5_000
    (node,) = bench.ledger.replay().nodes.values()
    assert loads(node.job["job"])["function_args"] == ["x" * 60_000, "y"]


def test_status_shows_what_runs_right_now(bench):
    seen = []

    def look(event):
        if isinstance(event, JobProgress) and event.progress.completed > 30:
            seen.append(flow_status(bench.ledger, bench.work_dir))

    bench.run(Flow([zoo.count_up(50, 0.06), zoo.fail()]), n_workers=2, on_event=look)
    (running,) = seen[-1].running
    assert running.name == "count_up"
    assert running.progress.total == 50
    assert seen[-1].counts == {"running": 1, "failed": 1}
    assert seen[-1].pid == os.getpid()
    after = flow_status(bench.ledger, bench.work_dir)
    assert (after.pid, after.running, after.finished) == (None, [], True)


def test_closing_the_pool_kills_what_jobs_have_started(tmp_path):
    with WorkerPool(1, tmp_path) as pool:
        while not pool.idle():
            pool.poll(0.1)
        pool.submit(JobKey("x", 1), zoo.message_for(zoo.start_child(), tmp_path))
        wait_until(lambda: len(list(live_processes(tmp_path))) == 2)
    wait_until(lambda: not list(live_processes(tmp_path)))
