"""The graph gives to references and dynamic responses the meaning that jobflow gives them."""

from __future__ import annotations

import pytest
import runner_zoo as zoo
from jobflow import Flow
from runner_tools import run_by_jobflow, run_in_any_order

from logan_campaign.core.errors import InputError
from logan_campaign.flows.local.graph import Graph, JobKey, JobState, flow_edges
from logan_campaign.flows.local.ledger import serialise


@pytest.mark.parametrize("make", zoo.ZOO, ids=lambda make: make.__name__)
def test_any_order_that_the_graph_allows_gives_what_jobflow_gives(make):
    flow = make()
    found = [run_in_any_order(flow, seed)[0] for seed in range(3)]
    expected = run_by_jobflow(flow)
    for outputs in found:
        assert outputs == expected


@pytest.mark.parametrize("make", [zoo.diamond, zoo.nested, zoo.failure, zoo.blobs, zoo.passed_by])
def test_edges_are_those_of_jobflow(make):
    flow = make()
    jobs, edges = flow_edges(serialise(flow))
    assert set(jobs) == set(flow.job_uuids)
    assert edges == set(flow.graph.edges)


def states(graph: Graph) -> dict[str, str]:
    return {node.name: node.state.value for node in graph.nodes.values()}


def named(name, some_job):
    some_job.name = name
    return some_job


def test_linear_order_reaches_into_flows():
    first, last = named("first", zoo.add(1, 1)), named("last", zoo.add(1, 1))
    middle = Flow([named("middle a", zoo.add(1, 1)), named("middle b", zoo.add(1, 1))])
    graph = Graph(serialise(Flow([first, middle, last], order="linear")))
    order = []
    while not graph.done:
        ready = []
        while node := graph.take():
            ready.append(node)
        order.append({node.name for node in ready})
        for node in ready:
            graph.complete(node.key, {})
    assert order == [{"first"}, {"middle a", "middle b"}, {"last"}]


def test_children_wait_for_replacement_and_detour_but_not_for_addition():
    parent = named("parent", zoo.add(1, 1))
    child = named("child", zoo.add(parent.output, 1))
    graph = Graph(serialise(Flow([parent, child])))
    assert graph.take().name == "parent"
    later = {
        kind: serialise(Flow([named(kind, zoo.add(1, 1))]))
        for kind in ("replace", "detour", "addition")
    }
    assert {node.name for node in graph.complete(JobKey(parent.uuid, 1), later)} == set(later)
    taken = [graph.take() for _ in later]
    assert {node.name for node in taken} == set(later)
    by_name = {node.name: node for node in taken}
    for name in ("replace", "detour"):
        assert graph.take() is None, f"the child did not wait for the {name}"
        graph.complete(by_name[name].key, {})
    assert graph.take().name == "child"
    assert states(graph)["addition"] == "running"


def test_children_wait_for_what_a_detour_is_replaced_by():
    parent = named("parent", zoo.add(1, 1))
    graph = Graph(serialise(Flow([parent, named("child", zoo.add(parent.output, 1))])))
    graph.take()
    graph.complete(
        JobKey(parent.uuid, 1), {"detour": serialise(Flow([named("detour", zoo.add(1, 1))]))}
    )
    detour = graph.take()
    inner = serialise(Flow([named("inner", zoo.add(1, 1))]))
    graph.complete(detour.key, {"replace": inner})
    inner_node = graph.take()
    assert inner_node.name == "inner"
    assert graph.take() is None
    graph.complete(inner_node.key, {})
    assert graph.take().name == "child"


def test_job_behind_the_replaced_output_waits_for_it_and_does_not_block_it():
    parent = zoo.add(1, 1)
    graph = Graph(serialise(Flow([parent, named("child", zoo.add(parent.output, 1))])))
    graph.take()
    stored = named("stored", zoo.add(1, 1))
    stored.set_uuid(parent.uuid)
    stored.index = 2
    behind = named("behind", zoo.add(stored.output, 1))
    further = named("further", zoo.add(behind.output, 1))
    replacement = serialise(Flow([stored, behind, further]))
    graph.complete(JobKey(parent.uuid, 1), {"replace": replacement})
    order = []
    while node := graph.take():
        order.append(node.name)
        graph.complete(node.key, {})
    assert graph.done
    assert order[0] == "stored"
    assert set(order[1:]) == {"child", "behind", "further"}


def test_failure_cancels_descendants_only():
    bad = named("bad", zoo.fail())
    child = named("child", zoo.add(bad.output, 1))
    grandchild = named("grandchild", zoo.add(child.output, 1))
    other = named("other", zoo.add(1, 1))
    graph = Graph(serialise(Flow([bad, child, grandchild, other])))
    graph.fail(JobKey(bad.uuid, 1))
    assert states(graph) == {
        "bad": "failed",
        "child": "cancelled",
        "grandchild": "cancelled",
        "other": "ready",
    }


def test_stop_jobflow_lets_running_jobs_end_but_starts_none():
    a, b, c = (named(name, zoo.add(1, 1)) for name in "abc")
    d = named("d", zoo.add(a.output, 1))
    graph = Graph(serialise(Flow([a, b, c, d])))
    graph.take()
    graph.take()
    graph.complete(JobKey(a.uuid, 1), {"stop_jobflow": True, "addition": serialise(zoo.diamond())})
    assert states(graph) == {"a": "completed", "b": "running", "c": "stopped", "d": "stopped"}
    assert graph.take() is None
    assert not graph.done
    graph.complete(JobKey(b.uuid, 1), {"addition": serialise(zoo.diamond())})
    assert graph.done
    assert len(graph.nodes) == 4


def test_circle_is_refused_and_nothing_added():
    a, b = zoo.add(1, 1), zoo.add(1, 1)
    a.function_args, b.function_args = (b.output,), (a.output,)
    graph = Graph(serialise(zoo.diamond()))
    with pytest.raises(InputError, match="in a circle: add"):
        graph.check({"addition": serialise(Flow([a, b]))})
    assert len(graph.nodes) == 4


def test_job_that_is_there_already_is_refused():
    flow = serialise(zoo.diamond())
    with pytest.raises(InputError, match="occurs twice"):
        Graph(flow).check({"detour": flow})


def test_counts_add_up_after_every_step():
    _, graph = run_in_any_order(zoo.failure(), seed=0)
    assert sum(graph.counts.values()) == len(graph.nodes)
    assert sum(stage.ended for stage in graph.stages.values()) == len(graph.nodes)
    assert graph.counts == {
        JobState.COMPLETED: 2,
        JobState.FAILED: 1,
        JobState.CANCELLED: 2,
    }
