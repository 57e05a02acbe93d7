"""The graph of a running flow's jobs: a state machine without I/O.

It uses outlines (:func:`logan_campaign.flows.local.codec.outline`), so that the runner imports no
modules of jobs. The rules are those of :func:`jobflow.run_locally`, extended to parallel jobs:

* A job waits for every job of its own flow whose output it refers to, or that precedes it
  in a linear flow.
* A parent is done when all its indices are done, and all jobs of the replacements and detours
  that it or they made. Additions do not count.
* If a parent failed, a job is cancelled, unless its ``on_missing_references`` allows missing
  references. If a parent stopped its children, the job is stopped. Both apply recursively.
* ``stop_jobflow`` stops every job that has not started.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise, product
from typing import Any, NamedTuple

from logan_campaign.core.errors import InputError

Document = dict[str, Any]


class JobState(StrEnum):
    """State of a job."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


#: Final states of jobs.
TERMINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.STOPPED})


#: Flows that a job may return, in the order in which they are added.
FLOW_KINDS = ("replace", "detour", "addition")


class JobKey(NamedTuple):
    """A job's identity: its uuid and index, which counts replacements from 1."""

    uuid: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody wants of a key


class StageCount(NamedTuple):
    """Number of jobs of one task: ended, in any state, and total."""

    ended: int
    all: int


class Node:
    """One job in the graph."""

    __slots__ = ("job", "key", "name", "owners", "parents", "state", "task", "unmet")

    def __init__(self, job: Document, parents: frozenset[str], owners: tuple[str, ...]) -> None:
        self.job = job
        self.key = JobKey(job["uuid"], int(job["index"]))
        self.name: str = job["name"]
        self.task: str = job["task"]
        self.parents = parents
        self.owners = owners  # uuids that wait for this job
        self.state = JobState.WAITING
        self.unmet = 0  # parents not yet done


class Graph:
    """All jobs of one flow and of the flows that its jobs added.

    Args:
        flow: the outline of a flow.

    Raises:
        InputError: the dependencies of the jobs are circular.
    """

    def __init__(self, flow: Document) -> None:
        self.nodes: dict[JobKey, Node] = {}
        self.halted = False
        self._ready: deque[Node] = deque()
        self._open: Counter[str] = Counter()  # open jobs of each uuid
        self._children: defaultdict[str, list[Node]] = defaultdict(list)
        self._failed: set[str] = set()
        self._stopped: set[str] = set()
        self._counts: Counter[JobState] = Counter()
        self._stages: dict[str, list[int]] = {}  # ended jobs, and all jobs
        self._add(flow, owners=())

    @property
    def counts(self) -> dict[str, int]:
        """Number of jobs in each occurring state."""
        return {state.value: self._counts[state] for state in JobState if self._counts[state]}

    @property
    def stages(self) -> dict[str, StageCount]:
        """Ended and all jobs of each task, in order of first occurrence."""
        return {stage: StageCount(*counts) for stage, counts in self._stages.items()}

    @property
    def done(self) -> bool:
        """Whether every job is in a final state."""
        return sum(self._counts[state] for state in TERMINAL) == len(self.nodes)

    def take(self) -> Node | None:
        """Return a ready job and mark it as running; None if there is none."""
        while self._ready:
            node = self._ready.popleft()
            if node.state is JobState.READY:
                self._set(node, JobState.RUNNING)
                return node
        return None

    def complete(self, key: JobKey, response: Mapping[str, Any]) -> list[Node]:
        """Record that a job has finished and add the flows that it returned.

        Args:
            key: the job.
            response: ``replace``, ``detour`` and ``addition`` (outlines or None),
                ``stop_children`` and ``stop_jobflow``.

        Returns:
            The added jobs.
        """
        node = self.nodes[key]
        added: list[Node] = []
        if response.get("stop_children"):
            self._stopped.add(key.uuid)
        if response.get("stop_jobflow"):
            self._halt()
        if not self.halted:
            for kind in FLOW_KINDS:
                if flow := response.get(kind):
                    added += self._add(flow, owners=() if kind == "addition" else node.owners)
        self._end([(node, JobState.COMPLETED)])
        return added

    def again(self, key: JobKey) -> None:
        """Requeue a running job."""
        node = self.nodes[key]
        self._set(node, JobState.READY)
        self._ready.append(node)

    def fail(self, key: JobKey) -> None:
        """Record that a job has failed."""
        self._end([(self.nodes[key], JobState.FAILED)])

    def settled(self) -> set[str]:
        """Return the uuids of all ancestors of finished jobs.

        Descendants have used their outputs, or continued without them, so retrying such a job
        would be too late.
        """
        by_uuid: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self.nodes.values():
            by_uuid[node.key.uuid].append(node)
        todo = [node for node in self.nodes.values() if node.state is JobState.COMPLETED]
        found: set[str] = set()
        while todo:
            new = todo.pop().parents - found
            found |= new
            todo += [node for uuid in new for node in by_uuid[uuid]]
        return found

    def check(self, response: Mapping[str, Any]) -> None:
        """Refuse flows that cannot be added, before anything is recorded.

        Raises:
            InputError: dependencies are circular, or jobs are already in the graph.
        """
        for kind in FLOW_KINDS:
            if flow := response.get(kind):
                self._nodes_of(flow, owners=())

    def _nodes_of(self, flow: Document, owners: tuple[str, ...]) -> list[Node]:
        jobs, edges = flow_edges(flow)
        parents: defaultdict[str, set[str]] = defaultdict(set)
        for parent, child in edges:
            parents[child].add(parent)
        try:
            TopologicalSorter(parents).prepare()
        except CycleError as err:
            names = ", ".join(jobs[uuid]["name"] for uuid in err.args[1][1:])
            raise InputError(f"jobs wait for each other in a circle: {names}") from err

        nodes = []
        anchors = set(owners) & jobs.keys()
        for uuid, job in jobs.items():
            # Jobs after the one that stores the replacement's output do not count for the
            # replaced job: they wait for it.
            behind = _ancestors(uuid, parents) & anchors - {uuid} if anchors else set()
            held = (owner for owner in owners if owner not in behind)
            node = Node(job, frozenset(parents[uuid]), tuple(dict.fromkeys((uuid, *held))))
            if node.key in self.nodes:
                raise InputError(f"job '{node.name}' ({uuid}, {node.key.index}) occurs twice")
            nodes.append(node)
        return nodes

    def _add(self, flow: Document, owners: tuple[str, ...]) -> list[Node]:
        nodes = self._nodes_of(flow, owners)
        for node in nodes:
            self.nodes[node.key] = node
            self._counts[node.state] += 1
            self._stages.setdefault(node.task, [0, 0])[1] += 1
            self._open.update(node.owners)
        ended: list[tuple[Node, JobState]] = []
        for node in nodes:
            for parent in node.parents:
                if self._open[parent]:
                    node.unmet += 1
                    self._children[parent].append(node)
            if not node.unmet and (state := self._decide(node)):
                ended.append((node, state))
        self._end(ended)
        return nodes

    def _decide(self, node: Node) -> JobState | None:
        """Mark a job ready if its parents are done, or return its final state."""
        if node.parents & self._stopped:
            return JobState.STOPPED
        if node.parents & self._failed and node.job["needs_outputs"]:
            return JobState.CANCELLED
        self._set(node, JobState.READY)
        self._ready.append(node)
        return None

    def _end(self, ended: Iterable[tuple[Node, JobState]]) -> None:
        """Set the final states of jobs and propagate the consequences to their children."""
        todo = deque(ended)
        while todo:
            node, state = todo.popleft()
            was_over = node.state in TERMINAL
            self._set(node, state)
            if state in (JobState.FAILED, JobState.CANCELLED):
                self._failed.add(node.key.uuid)
            elif state is JobState.STOPPED:
                self._stopped.add(node.key.uuid)
            node.job.pop("job", None)  # it can be large, and is no longer needed
            if was_over:  # stopped by stop_jobflow while it was already running
                continue
            for owner in node.owners:
                self._open[owner] -= 1
                if self._open[owner]:
                    continue
                for child in self._children.pop(owner, ()):
                    child.unmet -= 1
                    if child.state is JobState.WAITING and not child.unmet:
                        outcome = self._decide(child)
                        if outcome is not None:
                            todo.append((child, outcome))

    def _halt(self) -> None:
        self.halted = True
        pending = (JobState.WAITING, JobState.READY)
        for node in self.nodes.values():
            if node.state in pending:
                self._set(node, JobState.STOPPED)
                for owner in node.owners:
                    self._open[owner] -= 1

    def _set(self, node: Node, state: JobState) -> None:
        self._counts[node.state] -= 1
        self._counts[state] += 1
        ended = (state in TERMINAL) - (node.state in TERMINAL)
        self._stages[node.task][0] += ended
        node.state = state


def flow_edges(flow: Document) -> tuple[dict[str, Document], set[tuple[str, str]]]:
    """Return the jobs of an outline by uuid, and (parent, child) pairs of uuids.

    References to jobs outside the flow are ignored.
    """
    jobs, edges = _edges(flow)
    return jobs, {(parent, child) for parent, child in edges if parent in jobs}


def _edges(flow: Document) -> tuple[dict[str, Document], set[tuple[str, str]]]:
    if "jobs" not in flow:
        return {flow["uuid"]: flow}, {(uuid, flow["uuid"]) for uuid in flow["references"]}
    members = [_edges(member) for member in flow["jobs"]]
    jobs: dict[str, Document] = {}
    edges: set[tuple[str, str]] = set()
    for member_jobs, member_edges in members:
        jobs |= member_jobs
        edges |= member_edges
    if flow.get("order") == "linear":
        for (jobs_a, edges_a), (jobs_b, edges_b) in pairwise(members):
            leaves = jobs_a.keys() - {parent for parent, _ in edges_a}
            roots = jobs_b.keys() - {child for parent, child in edges_b if parent in jobs_b}
            edges |= set(product(leaves, roots))
    return jobs, edges


def _ancestors(uuid: str, parents: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    todo = [uuid]
    while todo:
        new = parents.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found
