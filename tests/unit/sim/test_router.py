"""Routers that know of prefixes: what they see, and what it brings."""

from __future__ import annotations

import pytest

from factorysim.records import CallRow
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import MS, Listed, Ran, UnitLaw, plan, run, scenario

SYSTEM = 320
"""Tokens with which all sessions of an agent begin, one of them 20 blocks."""


def agent(name: str, number: int, calls: int = 6) -> Session:
    """A session that tells all it has been told in each call, with half a second between."""
    nodes = [
        LlmNode(
            SYSTEM + 64 * (n + 1),
            8,
            prefix_tokens=SYSTEM + 64 * n if n else 0,
            shared_tokens=SYSTEM,
            after=(n - 1,) if n else (),
            delay_ns=500_000_000 if n else 0,
        )
        for n in range(calls)
    ]
    return Session(f"{name}{number}", number * 130_000_000, nodes, agent=name)


def served(router: dict[str, object], *, blocks: int = 200, retain: str = "shared") -> Ran:
    """Serve 60 sessions of four agents on four replicas, whose caches hold a few of them."""
    sessions = [agent("abcd"[n % 7 % 4], n) for n in range(60)]
    spec = scenario(
        streams={"s": {"calls": None, "agent": "a"}},
        serving={
            "token_budget": 512,
            "max_sequences": 64,
            "kv": {"retain": retain},
            "router": router,
        },
    )
    law = UnitLaw(token_fs=MS // 5)
    ran = run(spec, plan(law, replicas=4, blocks=blocks), [Listed("s", sessions)])
    assert not ran.broken()
    assert {call.outcome for call in ran.calls} == {"completed"}
    return ran


def hit_rate(calls: list[CallRow]) -> float:
    return sum(call.hit_tokens for call in calls) / sum(call.prompt_tokens for call in calls)


def test_routing_by_prefix_finds_more_than_routing_by_load():
    rates = {
        name: hit_rate(served(router).calls)
        for name, router in {
            "load": {"policy": "least_outstanding"},
            "sticky": {"policy": "sticky"},
            "approximate": {"policy": "prefix_aware", "spill": 3},
            "exact": {"policy": "prefix_aware", "spill": 3, "index": "exact"},
            "score": {"policy": "score", "index": "exact"},
            "crowded": {"policy": "prefix_aware", "spill": 64, "index": "exact"},
        }.items()
    }
    assert min(rates["approximate"], rates["exact"], rates["score"]) > rates["load"] + 0.1
    assert min(rates["approximate"], rates["exact"], rates["score"]) >= rates["sticky"]
    # Without a limit to the crowd an agent's sessions all meet in one cache, too small for them.
    assert rates["crowded"] < rates["sticky"]


def test_a_first_call_goes_where_its_system_prompt_is():
    ran = served({"policy": "prefix_aware", "index": "exact"}, blocks=5000)
    first: dict[str, set[int]] = {}
    agents = {session.session: session.agent for session in ran.sessions}
    for call in sorted(ran.calls, key=lambda call: call.arrived_s):
        first.setdefault(agents[call.session], set()).add(call.replica)
    assert [len(replicas) for replicas in first.values()] == [1] * 4


def test_a_stale_exact_index_knows_nothing_of_its_own_period():
    """All that comes within the first period sees empty caches: it goes by load."""
    stale = {"policy": "prefix_aware", "index": "exact", "snapshot": "1000 s"}
    by_load = {"policy": "least_outstanding", "snapshot": "1000 s"}
    replicas = [[call.replica for call in served(router).calls] for router in (stale, by_load)]
    assert replicas[0] == replicas[1]


@pytest.mark.parametrize("index", ["exact", "approximate"])
def test_where_nothing_is_kept_no_prefix_is_known(index):
    by_prefix = served({"policy": "prefix_aware", "index": index}, retain="none")
    by_load = served({"policy": "least_outstanding"}, retain="none")
    assert hit_rate(by_prefix.calls) == 0
    assert [c.replica for c in by_prefix.calls] == [c.replica for c in by_load.calls]


def test_a_short_memory_forgets_what_it_has_sent():
    long = served({"policy": "prefix_aware"}, blocks=5000)
    short = served({"policy": "prefix_aware", "index_blocks": 10}, blocks=5000)
    assert hit_rate(short.calls) < hit_rate(long.calls) - 0.05
