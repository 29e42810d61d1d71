"""I/O work in a whole factory: who waits for it, whose cores it takes, what it draws."""

from __future__ import annotations

import pytest

from factorysim.physics.io_work import IoCost
from factorysim.sim.clock import Clock
from factorysim.sim.factory import run_replication
from factorysim.sim.io_cores import IoCores
from factorysim.sim.io_work import IoWork
from factorysim.sim.session import SHARES
from factorysim.spec.io_work import IoWorkSpec
from factorysim.workload.session import LlmNode, Session, ToolNode
from tests.unit.sim.builders import FS, MS, Listed, Rows, calls, run, scenario
from tests.unit.sim.io_builders import COSTS, factory
from tests.unit.sim.test_tiers import factory as tiered
from tests.unit.sim.test_tiers import returning

PLACES = ("host", "dpu")


def serving(**io_work):
    return scenario(serving={"io_work": io_work})


def chain(*nodes):
    return [Session("a", 0, list(nodes))]


@pytest.mark.parametrize("where", PLACES)
def test_a_prompt_reaches_its_replica_when_its_work_is_done(where):
    """Prompt of 10 tokens, 40 B: 10 ms of TLS and 40 ms of packets; 4 B an answer's token."""
    spec = serving(tls=where, packets=where)
    made = factory(latency_fs=3 * MS)
    plain, ran = (run(one, made, [Listed("s", calls([0]))]) for one in (scenario(), spec))
    (call,), (plain,) = ran.calls, plain.calls
    assert call.queued_s - plain.queued_s == pytest.approx(0.050)
    assert call.last_token_s - call.queued_s == pytest.approx(plain.last_token_s - plain.queued_s)
    back, plain_back = (one.finished_s - one.last_token_s for one in (call, plain))
    assert back - plain_back == pytest.approx(0.014)
    assert not ran.broken()


def test_time_at_the_door_is_the_networks_share():
    spec = serving(tls="dpu", packets="host")
    ran = run(spec, factory(latency_fs=3 * MS), [Listed("s", chain(LlmNode(10, 1)))])
    (session,) = ran.sessions
    assert session.network_s == pytest.approx(0.006 + 0.050 + 0.014)
    shares = [getattr(session, f"{name}_s") for name in SHARES]
    assert sum(shares) == pytest.approx(session.finished_s - session.arrived_s, abs=1e-12)


def test_what_comes_in_meets_the_dpu_first_and_what_goes_out_the_host_first():
    """A host that is busy holds up the second half of what comes in, after the DPU's half."""
    made = factory(host_cores=1)
    spec = serving(tls="dpu", packets="host")
    # The tool has the host's one core from 0 on; the prompt lands at 0.
    demand = [Listed("s", [Session("t", 0, [ToolNode("x", cpu_s=0.005)]), *calls([0], prompt=10)])]
    call = run(spec, made, demand).calls[0]
    assert call.queued_s == pytest.approx(0.010 + 0.040)  # the tool is gone by then


def test_tokens_that_went_ahead_take_cores_but_nobodys_time():
    """An answer of 101 tokens: 100 messages of 10 ms on one core, the last of them waited for."""
    demand = [Listed("s", calls([0], prompt=10, output=101))]
    ran = run(serving(tls="dpu"), factory(dpu_cores=4), demand)
    (call,) = ran.calls
    assert call.finished_s - call.last_token_s == pytest.approx(0.010)
    dpus = next(line for line in ran.closing.stations if line.station == "DPU cores")
    assert dpus.busy_s == pytest.approx(0.010 + 1.000 + 0.010)
    assert not ran.broken()


def test_work_on_the_host_of_a_tool_slows_the_tool_and_on_the_dpu_does_not():
    """One core: a tool of a second beside a prompt's 410 ms of packets."""
    took = {}
    for where in PLACES:
        sessions = [Session("t", 0, [ToolNode("x", cpu_s=1.0)]), *calls([0], prompt=100)]
        ran = run(serving(packets=where), factory(host_cores=1), [Listed("s", sessions)])
        took[where] = ran.tools[0].finished_s
        assert not ran.broken()
    # 400 ms of the prompt, and 4 of its one token, which ends before the tool does.
    assert took["dpu"] == pytest.approx(1.0)
    assert took["host"] == pytest.approx(1.404)


@pytest.mark.parametrize("where", PLACES)
def test_a_tools_messages_and_stored_bytes_come_after_its_own_work(where):
    """Two messages of TLS, and 50 MB for half a core-second: 20 ms and 50 ms."""
    node = ToolNode("x", cpu_s=0.5, result_tokens=100)
    spec = serving(tls=where, storage=where, tool_bytes="100 MB")
    ran = run(spec, factory(), [Listed("s", chain(node))])
    (session,) = ran.sessions
    assert session.tool_s == pytest.approx(0.5)
    assert session.network_s == pytest.approx(0.070)
    assert ran.tools[0].finished_s == pytest.approx(0.570)
    assert not ran.broken()


def test_bytes_pass_through_the_port_of_a_dpu_one_after_the_other():
    """Two prompts of 400 B at 1 kB/s, which its cores do at once."""
    demand = [Listed("s", calls([0, 0], prompt=100))]
    spec = scenario(serving={"io_work": {"tls": "dpu"}, "token_budget": 1000, "max_sequences": 16})
    ran = run(spec, factory(line=1000.0), demand)
    assert [call.queued_s for call in ran.calls] == pytest.approx([0.4, 0.8])
    assert not ran.broken()


def test_hosts_without_tools_draw_while_they_work():
    """100 W over four cores: 410 ms of packets on one core, and 4 B of answer."""
    ran = run(serving(packets="host"), factory(hosts=0), [Listed("s", calls([0], prompt=100))])
    assert sum(line.host_j for line in ran.closing.energy) == pytest.approx(0.404 * 25.0)
    assert [line.host_idle_j for line in ran.closing.energy] == [0.0, 0.0]
    assert not ran.broken()


def test_a_dpu_draws_the_same_whatever_it_does():
    """Its power is in the rest of its rack; no split of it is published."""
    plain, ran = (
        run(spec, factory(), [Listed("s", calls([0], prompt=100))]).closing.energy
        for spec in (scenario(), serving(tls="dpu"))
    )
    assert [line.rest_j for line in plain] == [line.rest_j for line in ran]
    assert [line.host_j for line in plain] == [line.host_j for line in ran]


def test_work_that_costs_nothing_leaves_no_trace():
    free = dict.fromkeys(COSTS, IoCost(0.0, 0.0, 1500))
    plain, ran = (
        run(
            spec,
            factory(dpu_costs=free),
            [Listed("s", [*calls([0, 1, 1]), *chain(LlmNode(5, 9), ToolNode("x", cpu_s=0.3))])],
        )
        for spec in (scenario(), serving(tls="dpu", packets="dpu"))
    )
    assert (ran.calls, ran.tools, ran.sessions) == (plain.calls, plain.tools, plain.sessions)


def test_what_is_in_flight_at_the_end_is_found_wherever_it_is():
    """The clock stops in the middle of a prompt's work, of a tool's, of an answer's."""
    nodes = [LlmNode(10, 3), ToolNode("x", cpu_s=0.05, result_tokens=10, after=(0,))]
    spec = serving(tls="dpu", packets="host", storage="dpu", tool_bytes="500 MB")
    for end_ms in range(1, 260, 3):
        sessions = [Session("a", 0, list(nodes)), Session("b", 20_000_000, list(nodes))]
        ran = run(spec, factory(line=1e9), [Listed("s", sessions)], horizon_s=end_ms / 1000)
        assert not ran.broken(), end_ms


def fetches(tier, io_work):
    """Seconds of each fetch from one tier: a session comes back whose blocks another pushed out.

    On two cores work takes 2 ns a byte, twice as long as the builders' link.
    """
    made = tiered(100)
    costs = {**COSTS, "storage": IoCost(4e-9, 0.0, 1e9)}
    io = factory(hosts=0, host_cores=2, dpu_cores=2, dpu_costs=costs).io
    io = io._replace(host_costs=costs, servers={**io.servers, 90: io.servers[1]})
    store = made.stores[0]._replace(tier=tier, name=tier)
    kv = {"block_tokens": 10, "tiers": ["hbm", tier], "fetch": "always"}
    spec = scenario(serving={"kv": kv, "token_budget": 1000, "io_work": io_work})
    sink, demand = Rows(), [returning("a", 0, 2000), returning("b", 500, 9000)]
    closing = run_replication(
        spec, made._replace(stores=(store,), io=io), [Listed("s", demand)],
        replication=0, horizon_s=100.0, arrivals_end_s=100.0, sink=sink,
    )  # fmt: skip
    assert not [line.name for line in closing.audit if not line.ok]
    rows = [row for row in sink.tables["tiers"] if row.event == "fetch"]
    return [row.finished_s - row.started_s for row in rows]


@pytest.mark.parametrize("where", PLACES)
def test_kv_has_landed_when_its_bytes_and_the_work_on_them_are_done(where):
    plain, worked = fetches("nvme", {}), fetches("nvme", {"storage": where})
    assert len(plain) == 2
    assert worked == pytest.approx([2 * took for took in plain])


def test_devices_copy_to_host_memory_by_themselves():
    assert fetches("host", {"storage": "dpu"}) == fetches("host", {})


@pytest.mark.parametrize("where", PLACES)
def test_all_devices_of_a_server_bring_it_work(where):
    """Tensor parallel ranks of one tray each move their part: its cores see the sum."""
    made = factory(hosts=0, host_cores=2, dpu_cores=2)
    clock, spec = Clock(), IoWorkSpec(storage=where)
    cores = IoCores(clock, made, made.io, spec, lambda rows: None, 100.0, 1)
    io = IoWork(clock, made, spec, cores)
    one = io.estimate_fs([(1, 90)], 3_000_000, "store_nvme")
    assert one > 0
    assert io.estimate_fs([(1, 90), (2, 90)], 3_000_000, "store_nvme") == 2 * one
    assert io.carry([(1, 90), (2, 90)], 3_000_000, "store_nvme", lambda: None) == 1
    clock.run_until(100 * FS)
    assert sum(station.work()[1] for station in cores.stations()) == pytest.approx(
        2 * 3e6 * COSTS["storage"].byte_s
    )
