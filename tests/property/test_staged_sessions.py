"""A session that comes stage by stage lives as the same session does given at once."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.sim.call import Call
from factorysim.sim.factory import FactoryWorld
from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.session import (
    GapNode,
    LlmNode,
    Session,
    StagedNodes,
    ToolNode,
    side_by_side,
)
from tests.unit.sim.builders import MS, Listed, UnitLaw, plan, run, scenario

if TYPE_CHECKING:
    from tests.unit.sim.builders import Ran

CALLS = st.tuples(st.integers(1, 300), st.integers(1, 20), st.integers(0, 100)).map(
    lambda drawn: LlmNode(*drawn)
)
TOOLS = st.fixed_dictionaries(
    {
        "cls": st.sampled_from(["a", "b"]),
        "cpu_s": st.sampled_from([0.0, 0.125, 0.5]),
        "cores": st.sampled_from([0.5, 3.0]),
        "remote_ns": st.sampled_from([0, 0, 10**8]),
    }
).map(lambda drawn: ToolNode(**drawn))
GAPS = st.sampled_from([0, 10**8, 3 * 10**8]).map(GapNode)
CHAINS = st.lists(
    st.lists(st.lists(CALLS | TOOLS, min_size=1, max_size=2), min_size=1, max_size=3),
    min_size=1,
    max_size=3,
)
STAGES = st.lists(
    st.lists(CALLS | TOOLS | TOOLS, min_size=1, max_size=4)
    | st.lists(GAPS, min_size=1, max_size=1)
    | CHAINS.map(side_by_side),
    min_size=1,
    max_size=8,
)


def copied(stages: list[list[LlmNode | ToolNode | GapNode]]) -> StagedNodes:
    """Stage by stage, in nodes of its own at every reading."""
    from copy import copy

    calls = sum(isinstance(node, LlmNode) for stage in stages for node in stage)
    return StagedNodes(calls, lambda: ([copy(node) for node in stage] for stage in stages))


def rows(sessions: list[Session], horizon_s: float) -> tuple[object, ...]:
    ran = run(
        scenario(serving={"max_sequences": 4}),
        plan(UnitLaw(token_fs=MS // 10), replicas=2, blocks=200, hosts=1),
        [Listed("s", sessions)],
        horizon_s=horizon_s,
    )
    assert not ran.broken()
    return ran.calls, ran.tools, ran.sessions, ran.steps


@settings(max_examples=60, deadline=None)
@given(st.lists(STAGES, min_size=1, max_size=6), st.sampled_from([0.8, 100.0]))
def test_stages_give_the_rows_that_the_whole_gives(drawn, horizon_s):
    staged = [Session(f"x{i}", i * 10**7, copied(stages)) for i, stages in enumerate(drawn)]
    whole = [Session(s.sid, s.at_ns, list(s.nodes)) for s in staged]
    assert rows(staged, horizon_s) == rows(whole, horizon_s)


@pytest.mark.parametrize(
    "name", ["code_analysis", "customer_service", "rag_assistant", "supply_chain"]
)
def test_agents_drawn_one_after_the_other_are_themselves_when_walked_later(name):
    """What one generator draws is all there before it is pointed at the next session."""
    model, uniforms = AgentModel(load_agent(name)), KeyedUniforms(5, 0, name)
    lazy = [model.draw(uniforms.at("session", i)) for i in range(100)]
    for ordinal, nodes in enumerate(lazy):
        whole = model.nodes(uniforms.at("session", ordinal))
        assert nodes == whole
        assert nodes.calls == sum(isinstance(node, LlmNode) for node in whole)
        assert name == "supply_chain" or all(
            not node.after for stage in nodes.stages() for node in stage
        )


def agents(count: int) -> list[Session]:
    """Code-analysis sessions, ten a second."""
    model, uniforms = AgentModel(load_agent("code_analysis")), KeyedUniforms(5, 0, "code")
    return [
        Session(f"x{i}", i * 10**8, model.draw(uniforms.at("session", i))) for i in range(count)
    ]


def agent_run(sessions: list[Session], horizon_s: float) -> Ran:
    factory = plan(UnitLaw(token_fs=MS // 1000), replicas=8, blocks=200_000, hosts=8, cores=64)
    return run(
        scenario(serving={"token_budget": 8192}),
        factory,
        [Listed("s", sessions)],
        horizon_s=horizon_s,
    )


def test_agents_give_the_rows_that_their_whole_sessions_give():
    whole = [Session(s.sid, s.at_ns, list(s.nodes)) for s in agents(40)]
    a, b = agent_run(agents(40), 3000.0), agent_run(whole, 3000.0)
    assert a[1:] == b[1:]
    assert len(a.calls) > 500


@pytest.fixture
def held(monkeypatch):
    """Objects that are alive when a run has reached its horizon."""
    held: dict[str, int] = {}
    close = FactoryWorld.close

    def counted(self: FactoryWorld):
        gc.collect()
        things = gc.get_objects()
        # Nodes are nothing to the collector: they are found through what refers to them.
        nodes = {
            id(held_by)
            for thing in things
            for held_by in gc.get_referents(thing)
            if type(held_by) in (LlmNode, ToolNode, GapNode)
        }
        held["nodes"] = len(nodes)
        held["calls"] = sum(type(thing) is Call for thing in things)
        held["flying"] = len(self._flying)
        held["sessions"] = len(self._live)
        return close(self)

    monkeypatch.setattr(FactoryWorld, "close", counted)
    return held


def test_a_session_in_flight_holds_its_present_stage_and_no_past(held):
    """Mean 45 calls and as many tools; at the end of the run most sessions are in a gap."""
    sessions = agents(200)
    drawn = sum(len(session.nodes) for session in sessions)
    agent_run(sessions, 100.0)
    assert held["sessions"] > 100
    assert drawn > 60 * held["sessions"]
    assert held["nodes"] < 1.5 * held["sessions"]
    assert held["calls"] == held["flying"] < held["sessions"] / 2


def test_a_session_given_at_once_gives_its_past_back(held):
    """A hundred calls of 1 ms each, of which about half have been."""

    def sessions():
        yield Session("x", 0, [LlmNode(1, 1, after=(i - 1,) if i else ()) for i in range(100)])

    demand = Listed("s", ())
    demand.sessions = sessions
    run(scenario(), plan(), [demand], horizon_s=0.0505)
    assert held["sessions"] == 1
    assert 40 < held["nodes"] < 60
