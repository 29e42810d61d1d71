"""Events and links: rows of what goes against the plan, and of what links carry."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from factorysim.sim.clock import FS_PER_S, Clock
from factorysim.sim.factory import run_replication
from factorysim.sim.incidents import Incidents
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import Listed, Rows, calls, plan, scenario


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
