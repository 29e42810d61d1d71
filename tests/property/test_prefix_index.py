"""What routers know of prefixes, against models that know each block by the whole path to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.policies.routing import Ask, Load, routing
from factorysim.sim.call import Call, Limits
from factorysim.sim.clock import Clock
from factorysim.sim.prefix_index import HeldIndex, Sent, SentIndex
from factorysim.sim.replica import Replica
from factorysim.spec.router import RouterSpec
from factorysim.workload.runs import runs_of
from factorysim.workload.session import LlmNode, Session
from tests.property.exactness_contents import contents, texts
from tests.unit.sim.builders import MS, Listed, UnitLaw, plan, run, scenario

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

SIZE = 2
REPLICAS = 3
Ids = tuple[int, ...]


def asked(number: int, prompt: int, content: Any) -> Call:
    return Call(number, number, prompt, 1, content=runs_of(content))


def ids_of(call: Call) -> Ids:
    return tuple(i for first, count in call.content for i in range(first, first + count))


class SentModel:
    """Of each replica the blocks sent to it by path, with the sending that touched each last."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.stamps: list[dict[Ids, int]] = [{} for _ in range(REPLICAS)]

    def sent(self, stamp: int, call: Call, replica: int) -> None:
        held = self.stamps[replica]
        ids = ids_of(call)[: call.prompt_tokens // SIZE]
        for n in range(1, len(ids) + 1):
            held[ids[:n]] = stamp
        while len(held) > self.most:
            del held[min(held, key=lambda block: (held[block], -len(block)))]

    def hits(self, call: Call) -> list[int]:
        ids = ids_of(call)[: (call.prompt_tokens - 1) // SIZE]
        return [
            SIZE * next((n for n in range(len(ids)) if ids[: n + 1] not in held), len(ids))
            for held in self.stamps
        ]


@st.composite
def sendings(draw: DrawFn) -> list[tuple[Call, int]]:
    told = draw(texts())
    lengths = st.integers(1, 40)
    found = []
    for number in range(draw(st.integers(1, 30))):
        prompt = draw(lengths)
        content = draw(contents(told, prompt, draw(lengths), SIZE))
        found.append((asked(number, prompt, content), draw(st.integers(0, REPLICAS - 1))))
    return found


def spelled(index: SentIndex) -> list[set[Ids]]:
    """Every block of every replica, by path."""
    found: list[set[Ids]] = [set() for _ in range(REPLICAS)]

    def walk(extent: Sent, before: Ids) -> None:
        for n in range(1, extent.count + 1):
            for replica in extent.stamps:
                found[replica].add(before + tuple(range(extent.first, extent.first + n)))
        here = before + tuple(range(extent.first, extent.first + extent.count))
        for first, child in extent.children.items():
            assert child.first == first
            assert child.parent is extent
            assert child.end == len(here) + child.count
            assert child.stamps
            walk(child, here)

    walk(index._root, ())
    return found


@settings(max_examples=60, deadline=None)
@given(sendings(), st.integers(1, 40))
def test_the_approximate_index_is_an_lru_of_blocks_for_each_replica(sent, most):
    index = SentIndex(most)
    model = SentModel(most)
    for _ in range(REPLICAS):
        index.add(SimpleNamespace(ledger=SimpleNamespace(block_tokens=SIZE, blocks=0)))  # type: ignore[arg-type]
    for stamp, (call, replica) in enumerate(sent):
        assert index.hits(call).tolist() == model.hits(call)
        index.sent(call, replica)
        model.sent(stamp, call, replica)
        assert spelled(index) == [set(held) for held in model.stamps]
        assert index._room == [most - len(held) for held in model.stamps]


@settings(max_examples=60, deadline=None)
@given(sendings(), st.integers(41, 60))
def test_the_exact_index_is_what_an_idle_replica_finds(sent, blocks):
    """Calls come one at a time: what was seen before is what is hit, and copies see the same."""
    clock = Clock()
    live, copied = HeldIndex(clock), HeldIndex(clock, 1e-15)
    replicas = [
        Replica(clock, i, UnitLaw(), Limits(SIZE, blocks, 16, 4, watched=True), lambda _: None)
        for i in range(REPLICAS)
    ]
    for replica in replicas:
        live.add(replica)
        copied.add(replica)
    for number, (call, chosen) in enumerate(sent):
        clock.run_until(number * 1000 * MS)
        seen = live.hits(call)
        assert copied.hits(call).tolist() == seen.tolist()
        replicas[chosen].submit(call)
        clock.run_until((number + 1) * 1000 * MS - 1)
        assert call.outcome == "completed"
        assert call.hit_tokens == seen[chosen]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["power_of_two", "affinity", "prefix_aware", "score"]),
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 9999), st.integers(0, 50)),
        min_size=1,
        max_size=9,
    ),
    st.floats(0, 1),
    st.data(),
)
def test_a_policy_is_a_function_of_what_it_sees(policy, rows, u, data):
    """The same view, the same replica; and one that there is."""
    calls, tokens, hits = (np.array(column) for column in zip(*rows, strict=True))
    for array in (calls, tokens, hits):
        array.flags.writeable = False
    home = data.draw(st.one_of(st.none(), st.integers(0, len(rows) - 1)))
    load = Load(calls, tokens, np.full(len(rows), 5000))
    ask = Ask(7, 3, 50, 0, home, u, hits)
    first, again = (routing(RouterSpec(policy=policy))(load, ask) for _ in range(2))
    assert first == again
    assert type(first) is int
    assert 0 <= first < len(rows)


@st.composite
def agents(draw: DrawFn) -> list[Session]:
    """Sessions of growing prompts, all of which begin alike; many events at one instant."""
    found = []
    for number in range(draw(st.integers(2, 10))):
        nodes: list[LlmNode] = []
        context = draw(st.integers(0, 40))
        for n in range(draw(st.integers(1, 5))):
            prompt = context + draw(st.integers(1, 60))
            output = draw(st.integers(1, 30))
            kept = context if n else 0
            nodes.append(
                LlmNode(
                    prompt,
                    output,
                    prefix_tokens=kept,
                    shared_tokens=min(prompt, 32),
                    after=(n - 1,) if n else (),
                    delay_ns=draw(st.integers(0, 30)) * 10**6,
                )
            )
            context = prompt + output
        at_ns = draw(st.integers(0, 100)) * 10**6
        found.append(Session(f"a{number}", at_ns, nodes, agent="a"))
    return sorted(found, key=lambda session: session.at_ns)


ROUTERS = [
    {"policy": "prefix_aware", "index": "exact", "threshold": 0.1, "spill": 3},
    {"policy": "prefix_aware", "index": "exact", "snapshot": "20 ms"},
    {"policy": "prefix_aware", "index_blocks": 12, "spill": 2},
    {"policy": "score", "index": "exact"},
    {"policy": "score"},
    {"policy": "power_of_two"},
    {"policy": "affinity", "spill": 1},
]


@settings(max_examples=60, deadline=None)
@given(
    agents(),
    st.sampled_from(ROUTERS),
    st.integers(110, 160),
    st.sampled_from([4, 16]),
    st.sampled_from(["vllm", "prefill_first", "sarathi", "sglang"]),
)
def test_every_step_and_runs_of_steps_route_alike(sessions, router, blocks, budget, scheduler):
    """A router that looks into caches sees the same in both clocks, though they are full."""
    outcomes = []
    for clock in ("run_length", "stepwise"):
        spec = scenario(
            run={"clock": clock},
            streams={"s": {"calls": None, "agent": "a"}},
            serving={
                "scheduler": scheduler,
                "token_budget": budget,
                "max_sequences": 4,
                "kv": {"block_tokens": 4},
                "router": router,
            },
        )
        fresh = [Session(x.sid, x.at_ns, list(x.nodes), agent="a") for x in sessions]
        ran = run(spec, plan(UnitLaw(token_fs=MS), replicas=3, blocks=blocks), [Listed("s", fresh)])
        assert not ran.broken()
        outcomes.append((ran.calls, ran.sessions))
    assert outcomes[0] == outcomes[1]
