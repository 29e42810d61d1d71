"""Events and links: rows of what goes against the plan, and of what links carry."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest

from factorysim.graph.factory import LinkTable, Path
from factorysim.sim.clock import FS_PER_S, Clock
from factorysim.sim.factory import run_replication
from factorysim.sim.incidents import Incidents
from factorysim.workload.session import LlmNode, Session, ToolNode
from tests.unit.sim.box_builders import host, sandbox, start_class, tool_plan
from tests.unit.sim.builders import Listed, Rows, UnitLaw, calls, plan, scenario
from tests.unit.sim.test_layouts import ranked_plan, staged_plan


def simulate(spec, factory, sessions, *, window_s=None, horizon_s=1000.0):
    sink = Rows()
    closing = run_replication(
        spec,
        factory,
        [Listed("s", sessions)],
        replication=0,
        horizon_s=horizon_s,
        arrivals_end_s=horizon_s,
        sink=sink,
        window_s=window_s,
    )
    assert [line.name for line in closing.audit if not line.ok] == []
    return sink.tables


@pytest.mark.parametrize("clock", ["run_length", "stepwise"])
def test_every_preemption_is_an_event_of_its_replica(clock):
    spec = scenario(run={"clock": clock})
    sessions = calls([0.0] * 12, prompt=60, output=120)
    tables = simulate(spec, plan(replicas=2, blocks=30), sessions)
    events = tables["events"]
    told = [int(event.detail.removeprefix("call ")) for event in events]
    lost = {call.call: call.preemptions for call in tables["calls"] if call.preemptions}
    assert sum(lost.values()) > 5
    assert {call: told.count(call) for call in told} == lost
    places = {call.call: f"d/{call.replica}" for call in tables["calls"]}
    assert [event.entity for event in events] == [places[call] for call in told]
    assert {event.kind for event in events} == {"preempted"}
    times = [event.at_s for event in events]
    assert times == sorted(times)


def test_a_preemption_names_its_deployment_and_the_replica_by_its_number_there():
    """Calls count replicas through the factory, events within a deployment, tools apart."""
    factory = plan(replicas=5, blocks=30, hosts=2)
    (serve,) = factory.serve
    few = serve._replace(name="few", replicas=serve.replicas[:2])
    many = serve._replace(name="many", replicas=serve.replicas[2:])
    sessions = calls([0.0] * 30, prompt=60, output=120)
    tables = simulate(scenario(), factory._replace(serve=(few, many)), sessions)
    places = ["few/0", "few/1", "many/0", "many/1", "many/2"]
    own = {call.call: places[call.replica] for call in tables["calls"]}
    told = [int(event.detail.removeprefix("call ")) for event in tables["events"]]
    assert [event.entity for event in tables["events"]] == [own[call] for call in told]
    assert {event.entity for event in tables["events"]} == set(places)


def test_a_preemption_in_the_second_rank_alone_is_an_event():
    """Calls go to the ranks in turn: those of the second are long, and too many for it."""
    small, large = LlmNode(10, 1), LlmNode(60, 120)
    sessions = [Session(f"c{k}", 0, [large if k % 2 else small]) for k in range(12)]
    tables = simulate(scenario(), ranked_plan(2, blocks=60), sessions)
    lost = [call.preemptions for call in tables["calls"]]
    told = [event.detail for event in tables["events"]]
    assert sum(lost) > 1
    assert {call.call % 2 for call in tables["calls"] if call.preemptions} == {1}
    assert sorted(told) == sorted(
        f"call {call.call}" for call in tables["calls"] for _ in range(call.preemptions)
    )
    assert {event.entity for event in tables["events"]} == {"d/0"}


def test_every_refusal_of_the_gateway_is_an_event_of_its_stream():
    retry = {"attempts": 3, "backoff": "1 s"}
    admission = {"queue_limit": {"calls": 1, "per": "router"}, "retry": retry}
    spec = scenario(serving={"admission": admission})
    tables = simulate(spec, plan(), calls([0.0] * 5, prompt=2000, output=2000))
    rejected = {"rejected": 0, "completed": 1}
    refusals = sum(call.attempts - rejected[call.outcome] for call in tables["calls"])
    assert refusals > 5
    assert len(tables["events"]) == refusals
    assert {(e.kind, e.entity) for e in tables["events"]} == {("turned_away", "s")}
    assert tables["events"][0].detail == "a call of session c1, time 1"


@pytest.mark.parametrize(
    ("window_s", "prompts"), [(None, 3), ((0.0, 1000.0), 3), ((0.5, 1.5), 1), ((2.5, 900.0), 0)]
)
def test_links_carry_what_crosses_them_in_the_window(window_s, prompts):
    """Three prompts a second apart, each of 80 kB and under way for a tenth of a millisecond."""
    sessions = [Session(f"c{k}", k * 10**9, [LlmNode(20_000, 1)]) for k in range(3)]
    tables = simulate(scenario(), plan(blocks=5000), sessions, window_s=window_s)
    assert [row.size_bytes for row in tables["transfers"]] == [80_000] * 3
    told = [(link.link, link.bandwidth_bytes_per_s, link.carried_bytes) for link in tables["links"]]
    assert told == ([("door -> r0", 1e9, prompts * 80_000)] if prompts else [])


def test_a_message_that_is_under_way_at_an_edge_counts_on_both_sides():
    carried = []
    for window_s in ((0.0, 20e-6), (20e-6, 1.0)):
        sessions = [Session("c", 0, [LlmNode(20_000, 1)])]
        tables = simulate(scenario(), plan(blocks=5000), sessions, window_s=window_s)
        carried += [link.carried_bytes for link in tables["links"]]
    assert carried == pytest.approx((20_000, 60_000))


def test_events_are_handed_on_as_they_fill_a_chunk(monkeypatch):
    monkeypatch.setattr("factorysim.sim.incidents.CHUNK_ROWS", 2)
    handed = []
    incidents = Incidents(Clock(), SimpleNamespace(rows=lambda table, rows: handed.append(rows)))
    for number in range(5):
        incidents.preempted("d/0", SimpleNamespace(number=number))
    assert [len(rows) for rows in handed] == [2, 2]
    incidents.close()
    incidents.close()
    assert [row[3] for rows in handed for row in rows] == [f"call {n}" for n in range(5)]
    assert [len(rows) for rows in handed] == [2, 2, 1]


def test_a_sandbox_without_memory_is_an_event_of_its_deployment():
    clock, handed = Clock(), []
    incidents = Incidents(clock, SimpleNamespace(rows=lambda table, rows: handed.extend(rows)))
    box = SimpleNamespace(number=4, session=9, pool=SimpleNamespace(name="tools"))
    clock.at(3 * FS_PER_S, 0, lambda _: incidents.no_memory(box))
    clock.run_until(4 * FS_PER_S)
    incidents.close()
    told = "no_memory", "tools", "sandbox 4 of session 9"
    assert handed == [(pytest.approx(3.0), *told)]
    assert incidents.count == 1


def test_a_session_that_waits_for_memory_is_an_event_where_it_waits():
    """Two deployments of tools, of which the second has room for one sandbox of two."""
    start = start_class(0.001, sigma=0.01)
    roomy = tool_plan(sandbox(start=start), host(memory=100), name="roomy", classes=("shell",))
    tight = tool_plan(sandbox(start=start), host(memory=7), name="tight")
    nodes = [ToolNode("shell", cpu_s=0.1), ToolNode("build", cpu_s=1.0)]
    sessions = [Session(f"s{k}", k * 10**6, nodes) for k in range(2)]
    tables = simulate(scenario(), plan()._replace(tools=(roomy, tight)), sessions)
    (late,) = [box for box in tables["sandboxes"] if box.granted_s != box.asked_s]
    detail = f"sandbox {late.sandbox} of session {late.session}"
    assert tables["events"] == [(late.asked_s, "no_memory", "tight", detail)]
    assert (late.session, late.sandbox) == (1, 1)


def meshed(factory):
    """Give every node a link of its own to every other, and links a name by their ends."""
    index = {ends: k for k, ends in enumerate(permutations(range(4), 2))}
    names = tuple(f"{a} -> {b}" for a, b in index)
    return factory._replace(
        links=LinkTable(names, np.full(len(names), 1e9), np.full(len(names), 0.0)),
        routes=lambda a, b: Path((index[a, b],), 0, 1e9),
    )


def test_a_ring_of_collectives_goes_one_way_around_and_sends_what_its_steps_do():
    """A step of 100 tokens, then 49 of one, of 30 kB a token: a third on each of three links."""
    law = UnitLaw(link_token_bytes=30_000.0)
    factory = meshed(plan(law, devices=3))
    tables = simulate(scenario(), factory, calls([0.0], prompt=100, output=50))
    told = {link.link: link.carried_bytes for link in tables["links"]}
    one = (100 + 49) * 10_000
    assert told == pytest.approx({"1 -> 2": one, "2 -> 3": one, "3 -> 1": one})


def test_stages_send_to_the_next_and_nothing_back():
    factory = staged_plan(3)
    (serve,) = factory.serve
    law = replace(serve.law, hop_token_bytes=5_000.0, link_token_bytes=10_000.0)
    factory = meshed(factory._replace(serve=(serve._replace(law=law),)))
    tables = simulate(scenario(), factory, calls([0.0], prompt=100, output=50))
    told = {link.link: link.carried_bytes for link in tables["links"]}
    both = (100 + 49) * 5_000
    assert told == pytest.approx({"1 -> 2": both, "2 -> 3": both})
