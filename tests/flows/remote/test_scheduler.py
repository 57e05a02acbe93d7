"""What is read from SLURM's answers, and the workers that 'remote init' writes for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jobflow_remote", reason="needs the extra 'remote'")

from jobflow_remote.config.base import Project

from logan_campaign.flows.remote.project import MongoPlace, ProjectSettings, project_document
from logan_campaign.flows.remote.scheduler import ended_as, longer, seconds, waiting


class Answers:
    """A queue whose commands answer as told, by how they begin."""

    def __init__(self, **said: str) -> None:
        self.said, self.asked = said, [""]

    def execute_cmd(self, command: str) -> tuple[str, str, int]:
        self.asked.append(command)
        return self.said[command.split()[0]], "", 0


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("JobId=7 JobName=relax UserId=me(1000) JobState=TIMEOUT Reason=TimeLimit", "TIMEOUT"),
        ("CANCELLED by 1000\n", "CANCELLED"),  # sacct
        ("OUT_OF_MEMORY\n", "OUT_OF_MEMORY"),
        ("", ""),
    ],
)
def test_the_state_in_which_a_job_left_the_queue_is_read(said: str, state: str) -> None:
    assert ended_as(Answers(scontrol=said), "7") == state


def test_only_numbers_of_jobs_reach_a_shell() -> None:
    queue = Answers(scontrol="JobState=TIMEOUT", squeue="")
    assert ended_as(queue, "7; true") == ""
    assert waiting(queue, ["; true", "None"]) == {}
    assert queue.asked == [""]


def test_jobs_that_wait_for_a_drained_node_say_what_its_administrators_say() -> None:
    queue = Answers(
        squeue="1|main|Priority\n2|main|Nodes required for job are DOWN, DRAINED or reserved\n",
        sinfo="n1: disk is replaced\n",
    )
    assert waiting(queue, ["1", "2"]) == {
        "1": "Priority",
        "2": "Nodes required for job are DOWN, DRAINED or reserved; n1: disk is replaced",
    }


@pytest.mark.parametrize(
    ("time", "partition", "then"),
    [
        ("00:10:00", "infinite", 1200),
        ("00:10:00", "1:00:00", 1200),
        ("00:40:00", "1:00:00", 3600),
        ("1-00:00:00", "1-00:00:00", 86400),
        ("02:00:00", "1:00:00", 7200),  # never a shorter one
    ],
)
def test_a_longer_time_limit_is_twice_the_first_or_what_the_partition_allows(
    time: str, partition: str, then: int
) -> None:
    found = longer(Answers(sinfo=partition + " \n"), {"time": time, "partition": "main"})
    assert seconds(found["time"]) == then
    assert found["partition"] == "main"


def test_without_a_time_limit_of_its_own_a_job_keeps_that_of_the_partition() -> None:
    assert longer(Answers(), {"nodes": 1, "qout_path": Path("queue.out")}) == {"nodes": 1}


@pytest.mark.parametrize("limit", ["soon", "1:2:3:4", "1h"])
def test_what_is_no_time_limit_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match="DAYS"):
        seconds(limit)


def worker(**settings: Any) -> dict[str, Any]:
    document = project_document(
        ProjectSettings("p", MongoPlace("mongodb://h/d", None), Path("/scratch/me"), **settings)
    )
    Project.model_validate(document)
    return dict(document["workers"]["local"])


def test_a_worker_of_slurm_has_its_scheduler_and_resources() -> None:
    found = worker(scheduler="slurm", resources=(("partition", "main"), ("nodes", 2)))
    assert (found["type"], found["scheduler_type"]) == ("local", "slurm")
    assert found["resources"] == {"partition": "main", "nodes": 2}


def test_a_worker_on_another_machine_runs_the_python_there() -> None:
    found = worker(host="me@cluster.org:2222", python="/opt/env/bin/python")
    assert {k: found[k] for k in ("type", "host", "user", "port")} == {
        "type": "remote",
        "host": "cluster.org",
        "user": "me",
        "port": 2222,
    }
    assert found["execution_cmd"].startswith("/opt/env/bin/python -m logan_campaign")
    assert "export PATH=/opt/env/bin:$PATH" in found["pre_run"]
