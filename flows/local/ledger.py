"""The record of one flow: its definition, and the outcome of every job.

It is a log of events in a maggma store. One document contains the original flow; it is stored
before the first job runs. One document per finished job contains its outcome and the flows that
it added. That document is the commit point of the job: a job without one runs again. Replaying the
documents in order restores the graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from jobflow import Flow, Job
from jobflow.core.flow import get_flow

from logan_campaign.core.errors import InputError, StoreError
from logan_campaign.flows.local.codec import loads, outline, pack, unpack
from logan_campaign.flows.local.graph import FLOW_KINDS, Graph, JobKey, flow_edges

#: Field that identifies a document of the ledger.
LEDGER_KEY = "id"
#: Indexed fields; queries use only these.
LEDGER_FIELDS = ("flow_id", "doc_type", "order", "state")

LAYOUT_VERSION = 1

Document = dict[str, Any]


def now() -> str:
    """Return the time as ISO 8601 text in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Ledger:
    """The record of one flow in a store.

    Args:
        store: a connected maggma store, which may contain records of other flows.
        flow_id: unique name of this flow in the store, such as a campaign's id.
        about: further fields of the first document (campaign, label, spec id, ...).
    """

    def __init__(self, store: Any, flow_id: str, about: Mapping[str, Any] | None = None) -> None:
        self.store = store
        self.flow_id = flow_id
        self.about = dict(about or {})
        self._order = 0

    def root(self) -> Document | None:
        """Return the document with the original flow, or None."""
        found = self.store.query_one({"flow_id": self.flow_id, "doc_type": "flow"})
        return None if found is None else dict(found)

    def begin(self, flow: Flow | Job | list[Flow | Job]) -> None:
        """Store a flow, before any of its jobs runs.

        Raises:
            InputError: the flow cannot be run from its serialised form.
            StoreError: there already is a record of that name.
        """
        if self.root() is not None:
            raise StoreError(f"a flow named '{self.flow_id}' is recorded already")
        document = serialise(flow)
        Graph(document)
        self.store.update(
            {
                **self.about,
                "id": self.flow_id,
                "flow_id": self.flow_id,
                "doc_type": "flow",
                "layout_version": LAYOUT_VERSION,
                "order": 0,
                "state": "begun",
                "name": document["name"],
                "flow": pack(document),
                "created_at": now(),
            },
            key=LEDGER_KEY,
        )

    def is_imported(self) -> bool:
        """Whether the record was imported from an archive."""
        root = self.root()
        return root is not None and bool(root.get("imported"))

    def forget(self) -> None:
        """Remove the record, so that the flow can start again. Outputs of its jobs are kept."""
        self.store.remove_docs({"flow_id": self.flow_id, "doc_type": {"$in": ["flow", "job"]}})

    def halt(self, how: str) -> None:
        """Record that the flow is 'paused' or 'cancelled'; '' lifts this.

        Raises:
            StoreError: nothing is recorded.
        """
        root = self.root()
        if root is None:
            raise StoreError(f"no flow named '{self.flow_id}' is recorded")
        if halted_of(root) != how:
            root.pop("_id", None)
            self.store.update({**root, "state": how or "begun"}, key=LEDGER_KEY)

    def entries(self) -> Iterator[Document]:
        """Yield the documents of finished jobs in order."""
        criteria = {"flow_id": self.flow_id, "doc_type": "job"}
        yield from self.store.query(criteria, sort={"order": 1})

    def replay(self) -> Graph:
        """Return the graph in its recorded state.

        Raises:
            StoreError: nothing is recorded, or the record is damaged or from a newer version.
        """
        root = self.root()
        if root is None:
            raise StoreError(f"no flow named '{self.flow_id}' is recorded")
        if root["layout_version"] > LAYOUT_VERSION:
            raise StoreError(f"the record of '{self.flow_id}' is from a newer version")
        try:
            graph = Graph(unpack(root["flow"]))
            for entry in self.entries():
                self._order = max(self._order, int(entry["order"]))
                key = JobKey(entry["uuid"], entry["index"])
                if entry["state"] == "completed":
                    graph.complete(key, unpack(entry["response"]))
                elif entry["state"] == "failed":
                    graph.fail(key)
        except (KeyError, ValueError, InputError) as err:
            raise StoreError(f"the record of '{self.flow_id}' is damaged: {err!r}") from err
        return graph

    def completed(
        self, key: JobKey, name: str, response: Mapping[str, Any], times: Mapping[str, Any]
    ) -> None:
        """Record that a job has finished.

        Args:
            key: the job.
            name: its name.
            response: as for :meth:`Graph.complete`.
            times: ``started_at``, ``ended_at`` (ISO 8601) and ``elapsed_s``.
        """
        added = [kind for kind in FLOW_KINDS if response.get(kind)]
        self._append(
            key, name, {"state": "completed", "added": added, "response": pack(response), **times}
        )

    def failed(
        self, key: JobKey, name: str, error: str, traceback: str, times: Mapping[str, Any]
    ) -> None:
        """Record that a job has failed: one line, the traceback, and times as above."""
        self._append(
            key, name, {"state": "failed", "error": error, "traceback": traceback, **times}
        )

    def forget_failures(self) -> int:
        """Reset failed jobs, and jobs that were cancelled because of them, to run again.

        Jobs without which the flow has continued stay failed: the jobs that would use their
        outputs have already finished. Must not be called during a run: :func:`run_flow` does it
        under its lock.

        Returns:
            Number of jobs to run again, recorded as ``retried`` until the next attempt ends.
        """
        criteria = {"flow_id": self.flow_id, "doc_type": "job", "state": "failed"}
        failed = list(self.store.query(criteria))
        if failed:
            settled = self.replay().settled()
            failed = [{**e, "state": "retried"} for e in failed if e["uuid"] not in settled]
        if failed:
            self.store.update(failed, key=LEDGER_KEY)
        return len(failed)

    def repeat_last(self, task: str) -> bool:
        """Reset the last job of a task to run again, if it is done and has added nothing.

        Must not be called during a run.

        Returns:
            Whether there was such a job.
        """
        nodes = self.replay().nodes
        done = [e for e in self.entries() if nodes[JobKey(e["uuid"], e["index"])].task == task]
        if not done or done[-1]["state"] != "completed" or done[-1]["added"]:
            return False
        self.store.update({**done[-1], "state": "repeated"}, key=LEDGER_KEY)
        return True

    def _append(self, key: JobKey, name: str, content: Document) -> None:
        self._order += 1
        self.store.update(
            {
                "id": f"{self.flow_id}/{key.uuid}/{key.index}",
                "flow_id": self.flow_id,
                "doc_type": "job",
                "order": self._order,
                "uuid": key.uuid,
                "index": key.index,
                "name": name,
                **content,
            },
            key=LEDGER_KEY,
        )


def halted_of(root: Mapping[str, Any]) -> str:
    """Return 'paused' or 'cancelled' if the document of a flow says so, else ''."""
    return str(root["state"]) if root.get("state") in ("paused", "cancelled") else ""


def serialise(flow: Flow | Job | list[Flow | Job]) -> Document:
    """Return the outline of a flow that other processes can run.

    Raises:
        InputError: a job refers to one outside the flow, contains an object that cannot be
            serialised, or calls a function that other processes cannot import.
    """
    try:
        document = outline(get_flow(flow))
    except (TypeError, ValueError, AttributeError) as err:
        raise InputError(f"the flow cannot be serialised: {' '.join(str(err).split())}") from err
    for job in flow_edges(document)[0].values():
        function = loads(job["job"])["function"]
        owner = function.get("@bound") or function
        if owner.get("@module") == "__main__" or "<locals>" in str(function.get("@callable")):
            raise InputError(f"job '{job['name']}': move its function to an importable module")
    return document
