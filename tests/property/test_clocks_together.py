"""Both clocks agree where KV tiers, I/O work, sandboxes, checks and failures meet in one factory.

Each of them is held to a naive replica of its own elsewhere. Here they share hosts, ports,
instants and sessions, and what the two clocks write down has to be the same to the last bit.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.graph.plan import CheckPlan, HostPlan
from factorysim.sim.factory import run_replication
from factorysim.workload.session import Attempt, GapNode, LlmNode, Session, ToolNode
from tests.unit.sim import io_builders
from tests.unit.sim.box_builders import sandbox, start_class, tool_plan
from tests.unit.sim.builders import FS, Listed, Rows, plan, scenario
from tests.unit.sim.test_tiers import factory as tiered

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from factorysim.graph.plan import FactoryPlan, ToolPlan
    from factorysim.records import Closing
    from factorysim.workload.session import Node

TABLES = ("sessions", "calls", "tools", "sandboxes", "tiers", "events", "links")
SHORT_MS = st.sampled_from([50, 100, 1000])
"""Few values, so that many instants tie."""


@st.composite
def deployments(draw: DrawFn) -> tuple[ToolPlan, ...]:
    """One for all classes, which does the hosts' I/O work too, and perhaps one of its own."""
    made = []
    for number in range(draw(st.integers(1, 2))):
        box = None
        if draw(st.integers(0, 4)):
            box = sandbox(
                draw(st.sampled_from(["session", "agent", "call"])),
                memory=draw(st.sampled_from([3, 5])),
                warm=draw(st.sampled_from([0, 1])),
                idle_s=draw(st.sampled_from([None, 0.5])),
                through_gaps=draw(st.booleans()),
                start=start_class(0.3, remote=draw(st.sampled_from([0.0, 0.5]))),
            )
        cores = draw(st.integers(1, 3))
        one = HostPlan(number, 1, cores, cores, 1.0, 12, 0, 1e9, 50.0, 150.0)
        made.append(
            tool_plan(
                box,
                one,
                name=f"t{number}",
                discipline=draw(st.sampled_from(["ps", "fcfs"])),
                classes=("c1",) if number else (),
                check=draw(st.sampled_from([None, CheckPlan(0.01, FS // 100)])),
            )
        )
    return tuple(made)


@st.composite
def worlds(draw: DrawFn) -> tuple[FactoryPlan, dict[str, Any]]:
    """A replica with stores behind a little HBM, hosts, a DPU, and who does what."""
    tiers = draw(st.sampled_from([("nvme",), ("cmx",), ("nvme", "cmx")]))
    sizes = [draw(st.integers(8, 60)) for _ in tiers]
    made = tiered(*sizes, hbm=draw(st.sampled_from([34, 40])))
    names = dict(zip(("host", "nvme"), tiers, strict=False))
    stores = tuple(s._replace(tier=names[s.tier], name=names[s.tier]) for s in made.stores)
    io = io_builders.factory(hosts=1, host_cores=1, dpu_cores=2, line=2e8).io
    assert io is not None
    tools = draw(deployments())
    beside = {**io.servers, **{90 + level: io.servers[1] for level in range(len(tiers))}}
    kv = {
        "block_tokens": 10,
        "tiers": ["hbm", *tiers],
        "fetch": draw(st.sampled_from(["always", "cheaper"])),
        "offload": draw(st.sampled_from(["evict", "tool_call"])),
    }
    place = st.sampled_from(["none", "host", "dpu"])
    work = {kind: draw(place) for kind in ("tls", "packets", "storage")}
    if work["storage"] != "none":
        work["tool_bytes"] = draw(st.sampled_from(["0 B", "100 MB"]))
    world = made._replace(
        stores=stores,
        tools=tools,
        racks=plan(hosts=len(tools)).racks,
        io=io._replace(servers=beside),
        llm_check=draw(st.sampled_from([None, CheckPlan(0.01, 1000)])),
    )
    return world, {"kv": kv, "token_budget": 64, "io_work": work}


@st.composite
def histories(draw: DrawFn) -> list[Session]:
    """Sessions whose contexts grow, with tools that fail, think time and a little of each other."""
    sessions = []
    for number in range(draw(st.integers(2, 6))):
        nodes: list[Node] = []
        prompt = draw(st.integers(20, 120))
        prefix = 0
        for _ in range(draw(st.integers(1, 4))):
            before = tuple(range(_last_call(nodes) + 1, len(nodes))) or (
                (len(nodes) - 1,) if nodes else ()
            )
            output = draw(st.integers(1, 12))
            nodes.append(LlmNode(prompt, output, prefix, after=before))
            prefix = prompt + output
            prompt = min(prefix + draw(st.integers(1, 40)), 300)
            called = len(nodes) - 1
            if draw(st.booleans()):
                nodes.append(GapNode(draw(SHORT_MS) * 10**6, after=(called,)))
            else:
                nodes += [draw(tools(called)) for _ in range(draw(st.integers(0, 2)))]
        sessions.append(Session(f"s{number}", draw(st.integers(0, 8)) * 50 * 10**6, nodes))
    return sorted(sessions, key=lambda session: session.at_ns)


def _last_call(nodes: list[Node]) -> int:
    return max((k for k, node in enumerate(nodes) if isinstance(node, LlmNode)), default=-1)


def tools(called: int) -> st.SearchStrategy[ToolNode]:
    """A tool of one class or another, which may fail before."""
    return st.builds(
        lambda cls, cpu_s, remote_ms, tries, context: ToolNode(
            f"c{cls}",
            cpu_s=cpu_s,
            memory_bytes=3,
            remote_ns=remote_ms * 10**6,
            result_tokens=20,
            after=(called,),
            context=context,
            failed=(Attempt(0.1, 0, 10**7),) * tries,
        ),
        st.integers(0, 1),
        st.sampled_from([0.0, 0.05, 0.3]),
        st.sampled_from([0, 100]),
        st.sampled_from([0, 0, 2]),
        st.integers(0, 1),
    )


def simulate(
    world: FactoryPlan, serving: dict[str, Any], sessions: list[Session], clock: str, end_s: float
) -> tuple[Rows, Closing]:
    """Run on one of the clocks."""
    sink = Rows()
    closing = run_replication(
        scenario(serving=serving, run={"clock": clock}),
        world,
        [Listed("s", deepcopy(sessions))],
        replication=0,
        horizon_s=end_s,
        arrivals_end_s=end_s,
        sink=sink,
    )
    return sink, closing


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(worlds(), histories(), st.sampled_from([0.3, 0.7, 2.0, 3000.0]))
def test_both_clocks_write_the_same_and_every_law_holds(world, sessions, end_s):
    seen = []
    for clock in ("run_length", "stepwise"):
        sink, closing = simulate(*world, sessions, clock, end_s)
        assert [line.name for line in closing.audit if not line.ok] == []
        if end_s == 3000.0:
            assert {row.outcome for row in sink.tables["sessions"]} == {"completed"}
        seen.append(([sink.tables[name] for name in TABLES], closing.stations))
    assert seen[0] == seen[1]
