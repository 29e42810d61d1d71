"""Calls of one stream over several routers: by step, and by the length of the prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from factorysim.records import AuditLine
from factorysim.run.replication import check_audit
from factorysim.sim import factory as factory_module
from factorysim.sim.factory import FactoryWorld
from factorysim.sim.routes import ranges_of, routes_of
from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import MS, Listed, Ran, UnitLaw, plan, run, scenario

if TYPE_CHECKING:
    from factorysim.graph.plan import FactoryPlan

AGENT = {"calls": None, "agent": "a"}


def fleet(*served: tuple[str, str, int], replicas: int = 2, blocks: int = 20_000) -> FactoryPlan:
    """Deployments of name, LLM and the tokens that their prompts are longer than."""
    one = plan(UnitLaw(token_fs=MS // 20), replicas=replicas * len(served), blocks=blocks)
    (serve,) = one.serve
    parts = [serve.replicas[i * replicas : (i + 1) * replicas] for i in range(len(served))]
    return one._replace(
        serve=tuple(
            serve._replace(name=name, llm=llm, prompts_above=above, replicas=part)
            for (name, llm, above), part in zip(served, parts, strict=True)
        )
    )


def spec(stream: dict[str, Any], **serving: Any) -> Any:
    return scenario(
        llms={name: {"llm": "any"} for name in ("big", "small", "third")},
        streams={"s": {**AGENT, **stream}},
        serving={"token_budget": 512, "max_sequences": 64, **serving},
    )


def drawn(count: int, seed: int = 5) -> list[Session]:
    """Sessions of an agent that delegates, nine a second."""
    model, uniforms = AgentModel(load_agent("supply_chain")), KeyedUniforms(seed, 0, "s")
    return [
        Session(f"s{i}", i * 110_000_000, model.draw(uniforms.at("session", i)), "supply_chain")
        for i in range(count)
    ]


def by_deployment(ran: Ran) -> dict[str, int]:
    return {
        name: sum(call.deployment == name for call in ran.calls)
        for name in sorted({call.deployment for call in ran.calls})
    }


def test_planners_and_workers_go_to_their_llms():
    stream = {"llm": "small", "llm_by_step": {"planner": "big"}}
    sessions = drawn(12)
    nodes = [node for session in drawn(12) for node in session.nodes if isinstance(node, LlmNode)]
    ran = run(spec(stream), fleet(("b", "big", 0), ("w", "small", 0)), [Listed("s", sessions)],
              horizon_s=1e5)  # fmt: skip
    assert not ran.broken()
    assert {session.outcome for session in ran.sessions} == {"completed"}
    steps = [node.step for node in nodes]
    assert by_deployment(ran) == {"b": steps.count("planner"), "w": steps.count("worker")}
    assert steps.count("worker") > steps.count("planner") > 0


def chain(*calls: LlmNode) -> Session:
    """Calls one after the other."""
    nodes = []
    for place, call in enumerate(calls):
        call.after = (place - 1,) if place else ()
        nodes.append(call)
    return Session("x", 0, nodes, agent="a")


def test_a_label_goes_before_what_sets_a_call_off_and_both_before_the_default():
    steps = {"planner": "big", "tool": "third"}
    session = chain(
        LlmNode(10, 1, initiator="tool", step="planner"),
        LlmNode(10, 1, initiator="tool", step="worker"),
        LlmNode(10, 1, initiator="user", step="worker"),
        LlmNode(10, 1, initiator="tool"),
    )
    factory = fleet(("b", "big", 0), ("t", "third", 0), ("w", "small", 0))
    ran = run(spec({"llm": "small", "llm_by_step": steps}), factory, [Listed("s", [session])])
    assert [call.deployment for call in ran.calls] == ["b", "t", "w", "t"]


def test_what_another_llm_has_read_is_no_hit():
    """One context whose calls alternate: each LLM finds what it has read itself, in full blocks."""
    session = chain(
        LlmNode(160, 16, initiator="user"),
        LlmNode(320, 16, 176, initiator="tool"),
        LlmNode(480, 16, 336, initiator="user"),
        LlmNode(640, 16, 496, initiator="tool"),
        LlmNode(800, 16, 656, initiator="tool"),
    )
    stream = {"llm": "small", "llm_by_step": {"user": "big"}}
    factory = fleet(("b", "big", 0), ("w", "small", 0), replicas=1)
    ran = run(spec(stream), factory, [Listed("s", [session])])
    assert [(call.deployment, call.hit_tokens) for call in ran.calls] == [
        ("b", 0),
        ("w", 0),
        ("b", 160),  # its own prompt and 15 of 16 tokens of its answer: ten blocks
        ("w", 320),
        ("w", 640),
    ]
    assert not ran.broken()


def test_one_llm_for_all_steps_finds_what_the_others_left():
    """The same calls on one LLM: the whole context is found again."""
    nodes = [LlmNode(160, 16), LlmNode(320, 16, 176, initiator="tool")]
    ran = run(spec({"llm": "small"}), fleet(("w", "small", 0), replicas=1),
              [Listed("s", [chain(*nodes)])])  # fmt: skip
    assert [call.hit_tokens for call in ran.calls] == [0, 160]


@pytest.mark.parametrize("policy", ["least_outstanding", "sticky", "prefix_aware", "shared_queue"])
def test_long_prompts_go_to_their_deployment_and_short_ones_stay_away(policy):
    factory = fleet(("all", "small", 0), ("long", "small", 100), ("longest", "small", 200))
    sessions = [
        Session(f"s{i}", i * 10**7, [LlmNode(n, 1)])
        for i, n in enumerate((1, 99, 100, 101, 150, 200, 201, 1000))
    ]
    ran = run(spec({"llm": "small"}, router={"policy": policy}), factory, [Listed("s", sessions)])
    assert not ran.broken()
    went = {call.prompt_tokens: call.deployment for call in ran.calls}
    assert [went[n] for n in (1, 99, 100)] == ["all"] * 3
    assert [went[n] for n in (101, 150, 200)] == ["long"] * 3
    assert [went[n] for n in (201, 1000)] == ["longest"] * 2


def test_a_session_that_outgrows_its_pool_has_a_home_in_the_other():
    nodes = [
        LlmNode(64 * (n + 1), 1, 64 * n, (n - 1,) if n else (), initiator="tool") for n in range(8)
    ]
    factory = fleet(("all", "small", 0), ("long", "small", 256), replicas=4)
    others = [Session(f"o{i}", i * 10**6, [LlmNode(300 + i, 50)]) for i in range(6)]
    ran = run(spec({"llm": "small"}, router={"policy": "sticky"}), factory,
              [Listed("s", [Session("x", 0, nodes, agent="a"), *others])])  # fmt: skip
    mine = sorted((c for c in ran.calls if c.session == 0), key=lambda c: c.arrived_s)
    assert [call.deployment for call in mine] == ["all"] * 4 + ["long"] * 4
    assert len({call.replica for call in mine}) == 2
    assert [call.hit_tokens for call in mine] == [0, 64, 128, 192, 0, 320, 384, 448]


@pytest.mark.parametrize("policy", ["sticky", "affinity", "power_of_two", "score"])
def test_both_clocks_agree_over_three_llms_and_lengths(policy):
    stream = {"llm": "small", "llm_by_step": {"planner": "big", "tool": "third"}}
    factory = fleet(
        ("b", "big", 0), ("t", "third", 0), ("w", "small", 0), ("l", "small", 6000), blocks=3000
    )
    ran = [
        run(
            spec(stream, router={"policy": policy, "snapshot": "50 ms"}).model_copy(
                update={"run": spec(stream).run.model_copy(update={"clock": clock})}
            ),
            factory,
            [Listed("s", drawn(10))],
            horizon_s=300.0,
        )
        for clock in ("run_length", "stepwise")
    ]
    assert not ran[0].broken()
    assert ran[0].calls == ran[1].calls
    assert ran[0].sessions == ran[1].sessions
    assert set(by_deployment(ran[0])) >= {"b", "w"}


def test_routers_forget_sessions_that_are_over(monkeypatch):
    worlds = []

    class Watched(FactoryWorld):
        def close(self) -> Any:
            worlds.append(self)
            return super().close()

    monkeypatch.setattr(factory_module, "FactoryWorld", Watched)
    stream = {"llm": "small", "llm_by_step": {"planner": "big"}}
    run(spec(stream), fleet(("b", "big", 0), ("w", "small", 0)), [Listed("s", drawn(5))],
        horizon_s=1e5)  # fmt: skip
    (world,) = worlds
    assert [router._homes for router in world.serving.routers.values()] == [{}, {}]


def test_a_call_held_for_its_llm_belongs_to_a_deployment_of_it():
    stream = {"llm": "small", "llm_by_step": {"user": "big"}}
    factory = fleet(("w", "small", 0), ("b", "big", 0), replicas=1)
    sessions = [Session(f"x{i}", 0, [LlmNode(100, 200)]) for i in range(4)]
    held = spec(stream, max_sequences=1, router={"policy": "shared_queue"})
    ran = run(held, factory, [Listed("s", sessions)], horizon_s=0.1)
    assert [(call.deployment, call.replica) for call in ran.calls] == [("b", 1)] + [("b", -1)] * 3
    check_audit([line for line in ran.closing.audit if isinstance(line, AuditLine)], 0)


def routed(node: LlmNode, **streams: Any) -> Any:
    """Which of a stream's routers takes a call; they are named here, not built."""
    routers: Any = {
        ("big", 0): "big", ("small", 1000): "long", ("small", 0): "short", ("small", 50): "middle",
    }  # fmt: skip
    (stream,) = spec({"llm": "small", **streams}).streams.values()
    return routes_of(stream, routers).of(node)


@pytest.mark.parametrize(
    ("tokens", "router"),
    [(1, "short"), (50, "short"), (51, "middle"), (1000, "middle"), (1001, "long")],
)
def test_a_range_begins_above_its_bound(tokens: int, router: str):
    assert routed(LlmNode(tokens, 1)) == router


def test_the_step_decides_before_the_initiator_and_both_before_the_stream():
    node = LlmNode(70, 1)
    assert routed(node, llm_by_step={"planner": "big"}) == "middle"
    node.initiator = "tool"
    assert routed(node, llm_by_step={"tool": "big"}) == "big"
    node.step = "planner"
    assert routed(node, llm_by_step={"tool": "big", "planner": "small"}) == "middle"
    assert routed(node, llm_by_step={"tool": "small", "planner": "big"}) == "big"


def test_a_stream_lists_each_of_its_routers_once():
    routers: Any = {("big", 0): "big", ("small", 0): "short", ("small", 50): "long"}
    (stream,) = spec(
        {"llm": "small", "llm_by_step": {"planner": "big", "tool": "small"}}
    ).streams.values()
    assert routes_of(stream, routers).all == ("long", "short", "big")
    assert ranges_of(routers, "small") == ((50, "long"), (0, "short"))
    assert ranges_of(routers, "other") == ()
