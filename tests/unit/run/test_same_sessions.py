"""The same seed meets every topology with the same sessions, whatever the order of events."""

import pytest

from factorysim.run import simulate
from factorysim.spec.scenario import ScenarioSpec

AGENTS = {"desk": "customer_service", "plan": "supply_chain", "ask": "deep_research"}


def agents_on(rack, count, law):
    """Give three agents that delegate, wait for approvals and hand over, on some factory."""
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "Who comes?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"gpu": {"rack": rack}},
                "fabric": {"kind": "single_switch", "leaf": "ethernet_51t"},
            },
            "llms": {"any": {"llm": "llama_3_1_8b"}},
            "deployments": {
                "serve": {"llm": "any", "pool": "gpu", "replicas": count, **law},
                "tools": {"role": "tools", "pool": "gpu.cpu"},
            },
            "streams": {
                name: {
                    "llm": "any",
                    "agent": agent,
                    "arrivals": {"process": "gamma", "rate": "6 /min", "cv": 2.0},
                    "limit": 4,
                }
                for name, agent in AGENTS.items()
            },
            "run": {
                **{"kind": "terminating", "window": "10 min", "drain": "12 h"},
                **{"replications": 1, "seed": 7},
            },
        },
        strict=False,
    )


def asked(run):
    """Calls of each session that ended, told by what they ask, in no order of time."""
    ended = run.sessions[run.sessions["outcome"] == "completed"]
    arrivals = dict(zip(ended["session"], ended["arrived_s"], strict=True))
    calls = run.calls[run.calls["session"].isin(ended["session"])]
    found = {}
    for session, rows in calls.groupby("session"):
        tokens = sorted(zip(rows["prompt_tokens"], rows["requested_tokens"], strict=True))
        found[session] = arrivals[session], tokens
    return found, list(calls["session"])


@pytest.mark.slow
def test_two_topologies_meet_the_same_sessions_in_other_orders(tmp_path):
    fixed = {"kind": "fixed", "prompt": {"kind": "exponential", "mean": "2 s"}}
    slow = agents_on("h100_sxm", 1, {"law": fixed})
    fast = agents_on("hgx_h200", 8, {})
    (a, order_a), (b, order_b) = (
        asked(simulate(scenario, out=tmp_path / name, workers=1))
        for name, scenario in (("slow", slow), ("fast", fast))
    )
    assert len(a) == len(b) == 12
    assert a == b
    assert sum(len(tokens) for _, tokens in a.values()) > 300
    assert order_a != order_b
