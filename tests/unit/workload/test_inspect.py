"""Figures of a trace from a few rows that can be counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from factorysim.report.trace import trace_lines
from factorysim.workload import tally
from factorysim.workload.inspect import summarize
from factorysim.workload.runs import runs_of_ids
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode


def at(second: float, *nodes) -> Session:
    return Session(f"s{second}", round(second * 1e9), list(nodes) or [LlmNode(10, 1)])


def test_counts_and_lengths():
    call = LlmNode(100, 20, prefix_tokens=50)
    summary = summarize(
        [at(0, LlmNode(300, 40), ToolNode("x", after=(0,)), GapNode(5)), at(4, call)]
    )
    assert (summary.sessions, summary.llm_calls, summary.tool_calls, summary.gaps) == (2, 2, 1, 1)
    assert summary.prompt_tokens.total == 400
    assert summary.output_tokens.mean == 30
    assert summary.prefix_share == pytest.approx(50 / 400)
    assert summary.sessions_per_s == 0.25
    assert summary.gap_cv is None
    assert summary.block_hit_share is None


def test_regular_arrivals_have_no_variation():
    summary = summarize(at(second) for second in range(101))
    assert summary.sessions_per_s == pytest.approx(1.0)
    assert summary.gap_cv == pytest.approx(0.0, abs=1e-9)
    assert summary.dispersion_10s == pytest.approx(0.0)


def test_batches_are_dispersed():
    """Ten at once every other bin: counts 10, 0, 10, 0..; variance over mean 5 n / (n - 1)."""
    summary = summarize(at(20 * batch) for batch in range(51) for _ in range(10))
    assert summary.dispersion_10s == pytest.approx(5 * 100 / 99)


def test_hits_count_leading_blocks_seen_before():
    first = LlmNode(1024, 1, hashes=((0, 2),), block_tokens=512)
    second = LlmNode(1200, 1, hashes=((0, 3),), block_tokens=512)
    other = LlmNode(1024, 1, hashes=((7, 1), (1, 1)), block_tokens=512)
    summary = summarize([at(0, first), at(1, second), at(2, other)])
    assert summary.block_hit_share == pytest.approx(1024 / (1024 + 1200 + 1024))


def test_nothing_at_all_is_no_figure():
    summary = summarize([])
    assert summary.sessions == 0
    assert summary.sessions_per_s is None
    assert summary.prompt_tokens is None


def turns(*idle_s: float) -> Session:
    """A chat: each prompt repeats the last and adds 10, after so many seconds of the user."""
    nodes = [LlmNode(100, 5, shared_tokens=40)]
    for wait in idle_s:
        nodes.append(GapNode(round(wait * 1e9), after=(len(nodes) - 1,)))
        last = nodes[-2].prompt_tokens
        nodes.append(LlmNode(last + 10, 5, prefix_tokens=last, after=(len(nodes) - 1,)))
    return Session("c", 0, nodes, "chat")


def test_caches_forget_what_waits_too_long():
    """Prompts 100, 110, 120, 130, of which 100, 110 and 120 repeat after 30, 200 and 4,000 s."""
    told = summarize([turns(30, 200, 4000)])
    assert told.hit_share == told.prefix_share == pytest.approx(330 / 460)
    assert told.later_hit_share == pytest.approx(330 / 360)
    assert told.ttl_hit_share == pytest.approx(
        {"1 min": 100 / 460, "5 min": 210 / 460, "60 min": 210 / 460}
    )
    assert told.user_gap_seconds.mean == pytest.approx(4230 / 3)
    assert told.cross_session_share == 0
    assert told.new_tokens.total == 30


@pytest.mark.parametrize(("waited_s", "held"), [(60, 100 / 210), (61, 0.0)])
def test_what_repeats_a_context_is_held_for_as_long_as_was_said(waited_s, held):
    assert summarize([turns(waited_s)]).ttl_hit_share["1 min"] == pytest.approx(held)


@pytest.mark.parametrize(("prompt", "compactions"), [(500, 1), (501, 0)])
def test_half_of_the_prompt_before_is_a_compaction(prompt, compactions):
    nodes = [LlmNode(1000, 1), LlmNode(prompt, 1, after=(0,))]
    assert summarize([Session("s", 0, nodes)]).compactions == compactions


def test_the_variation_of_gaps_is_that_of_a_sample():
    """Gaps of 1, 2 and 6 s: a mean of 3 and a standard deviation of the root of 7."""
    told = summarize([at(second) for second in (0, 1, 3, 9)])
    assert told.gap_cv == pytest.approx(7**0.5 / 3)


def test_what_all_sessions_begin_with_is_had_from_others():
    told = summarize([turns(), turns(), turns(1)])
    assert told.cross_session_share == pytest.approx(80 / 410)
    assert told.hit_share == pytest.approx(180 / 410)


def test_blocks_of_recorded_times_are_forgotten_too():
    calls = [
        at(second, LlmNode(1024, 1, hashes=((0, 2),), block_tokens=512)) for second in (0, 50, 300)
    ]
    told = summarize(calls)
    assert told.block_hit_share == pytest.approx(2 / 3)
    assert told.ttl_hit_share == pytest.approx({"1 min": 1 / 3, "5 min": 2 / 3, "60 min": 2 / 3})


def test_growth_compaction_and_who_sets_off_a_call():
    lengths = [100, 150, 149, 74, 90]
    nodes = [LlmNode(lengths[0], 1)]
    for place, tokens in enumerate(lengths[1:]):
        nodes.append(LlmNode(tokens, 1, after=(place,), initiator="tool"))
    nodes.append(LlmNode(20, 1, context=1, initiator="agent"))
    told = summarize([Session("s", 0, nodes), at(1)])
    assert told.growth_share == 0.5
    assert (told.compactions, told.compacted_share) == (1, 1.0)
    assert told.not_user_share == pytest.approx(5 / 7)
    assert told.calls_per_session.total == 6
    assert told.turns_per_session.total == 2


def test_shares_of_tools():
    """Calls of 0.5, 0.9, 1, 60 and 100 s; served for 10 s, of two calls one recorded."""
    tools = [ToolNode("x", remote_ns=round(s * 1e9), after=(0,)) for s in (0.5, 0.9, 1, 60, 100)]
    nodes = [LlmNode(9, 1), *tools, LlmNode(9, 1, after=(5,), initiator="tool")]
    src = {"fstrace": {"nodes": {"n0": {"obs": {"dur": 10**10}}}}}
    told = summarize([Session("s", 0, nodes, src=src)])
    assert told.tools_below_1s_share == 2 / 5
    assert told.tool_time_above_1min_share == pytest.approx(100 / 162.4)
    assert told.tool_active_share == pytest.approx(162.4 / (162.4 + 20))
    assert told.tool_gap_seconds.mean == 100
    assert summarize([Session("s", 0, nodes)]).tool_active_share is None
    served = summarize([Session("s", 0, nodes)], service=lambda node: 10.0)
    assert served.tool_active_share == pytest.approx(told.tool_active_share)


def test_sessions_that_an_agent_draws_are_told_too():
    from factorysim.workload.agents import AgentModel, load_agent
    from factorysim.workload.draws import KeyedUniforms

    model, uniforms = AgentModel(load_agent("code_analysis")), KeyedUniforms(7, 0, "c")
    told = summarize(
        Session(f"c{n}", n * 10**9, model.draw(uniforms.at("session", n)), "code_analysis")
        for n in range(20)
    )
    assert told.sessions == 20
    assert told.growth_share > 0.9
    ttl = list(told.ttl_hit_share.values())
    assert 0.5 < ttl[0] <= ttl[1] <= ttl[2] <= told.prefix_share <= told.hit_share < 1


def test_times_that_nobody_recorded_are_not_0():
    nodes = [
        LlmNode(10, 2),
        ToolNode("x", after=(0,)),
        LlmNode(20, 2, 12, (1,), initiator="tool"),
        GapNode(0, after=(2,)),
        LlmNode(30, 2, 22, (3,)),
    ]
    told = summarize([Session("a", 0, nodes)])
    assert told.tool_calls == 1
    assert told.hit_share == 34 / 60
    assert told.tool_seconds is told.tools_below_1s_share is told.ttl_hit_share is None
    assert told.tool_gap_seconds is told.user_gap_seconds is None
    nodes[1].remote_ns = 10**8
    told = summarize([Session("a", 0, nodes)])
    assert told.tools_below_1s_share == 1.0
    assert told.ttl_hit_share["1 min"] == told.hit_share
    assert told.user_gap_seconds is None


def hashed(*ids: int, after=(), delay_s=0.0) -> LlmNode:
    return LlmNode(
        512 * len(ids), 1, after=after, delay_ns=round(delay_s * 1e9),
        hashes=runs_of_ids(ids), block_tokens=512,
    )  # fmt: skip


def test_sessions_side_by_side_hit_in_order_of_time():
    """A call at 100 s of the first session comes after those of sessions at 10 and 90 s."""
    late = at(0, hashed(1), hashed(1, 2, after=(0,), delay_s=100))
    told = summarize([late, at(10, hashed(1, 2)), at(90, hashed(7))])
    # At 10 s nobody had block 2; at 100 s both blocks are there, used 90 s ago.
    assert told.block_hit_share == pytest.approx((1 + 2) / 6)
    assert told.ttl_hit_share == pytest.approx({"1 min": 1 / 6, "5 min": 3 / 6, "60 min": 3 / 6})
    assert told.early_calls == 0


def test_the_order_in_which_sessions_overlap_is_that_of_one_cache():
    """Any sessions with any delays against a cache that sees all calls sorted by time."""
    rng = np.random.default_rng(3)
    sessions, calls = [], []
    for ordinal, at_s in enumerate(sorted(rng.integers(0, 2000, 60).tolist())):
        delays = rng.integers(0, 300, 5).tolist()
        lists = [rng.integers(0, 9, rng.integers(1, 4)).tolist() for _ in delays]
        nodes = [
            hashed(*ids, after=(n - 1,) if n else (), delay_s=delays[n] if n else 0)
            for n, ids in enumerate(lists)
        ]
        sessions.append(at(at_s, *nodes))
        begins = np.cumsum([at_s, *delays[1:]]).tolist()
        calls += [(b, ordinal, ids) for b, ids in zip(begins, lists, strict=True)]
    seen, held, total = {}, {"1 min": 0, "60 min": 0}, 0
    for now, _, ids in sorted(calls):
        total += len(ids)
        for name, ttl in (("1 min", 60), ("60 min", 3600)):
            gone = [n for n, b in enumerate(ids) if now - seen.get(b, -(10**9)) > ttl]
            held[name] += gone[0] if gone else len(ids)
        seen.update(dict.fromkeys(ids, now))
    told = summarize(sessions).ttl_hit_share
    assert {name: told[name] for name in held} == pytest.approx(
        {name: blocks / total for name, blocks in held.items()}
    )


def test_calls_that_wait_are_bounded_and_those_out_of_order_told(monkeypatch):
    monkeypatch.setattr(tally, "WAITING_MOST", 50)
    days = [
        at(0, hashed(1), hashed(1, 2, after=(0,), delay_s=86_400 + second)) for second in range(30)
    ]
    told = summarize(days)
    assert told.early_calls == 20  # ten of five fit
    assert told.block_hit_share == pytest.approx((29 + 30 + 29) / 90)
    lines = "\n".join(trace_lines(told))
    assert "calls out of order" in lines


@pytest.mark.parametrize("scope", ["global", "session"])
def test_a_session_of_a_century_is_told_without_what_is_forgotten(scope):
    """Each wait is one that a row may have (31 years): together they are beyond 68."""
    waits = [GapNode(10**18, after=(place,)) for place in range(3)]
    last = LlmNode(1536, 1, after=(3,), hashes=((1, 3),), block_tokens=512)
    first = LlmNode(1024, 1, hashes=((1, 2),), block_tokens=512)
    summary = summarize([Session("s", 0, [first, *waits, last], hash_scope=scope)])
    assert summary.hit_share == pytest.approx(2 / 5)
    assert summary.ttl_hit_share is None


def test_calls_at_one_instant_are_looked_up_as_their_sessions_came():
    """The first session's second call and the second session ask for the same at 10 s."""
    early, late = at(0, hashed(1), hashed(9, after=(0,), delay_s=10)), at(10, hashed(9))
    told = summarize([early, late])
    assert told.later_hit_share == 0.0
    assert told.hit_share == pytest.approx(1 / 3)


@st.composite
def lone_calls(draw):
    """Sessions of a call each, with all that a row may say of one."""
    prompt = draw(st.integers(1, 4096))
    ids = draw(st.lists(st.integers(0, 6), max_size=prompt // 512))
    call = LlmNode(
        prompt,
        draw(st.integers(1, 50)),
        prefix_tokens=draw(st.integers(0, prompt)),
        shared_tokens=draw(st.integers(0, prompt)),
        context=draw(st.integers(0, 1)),
        initiator=draw(st.sampled_from(["user", "tool"])),
        hashes=runs_of_ids(ids),
        block_tokens=512 if ids else None,
    )
    agent, scope = draw(st.sampled_from("ab")), draw(st.sampled_from(["global", "session"]))
    return Session("s", draw(st.integers(0, 9_000)) * 10**9, [call], agent, hash_scope=scope)


@given(st.lists(lone_calls(), max_size=12), st.integers(0, 9_000))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_lone_calls_are_told_as_sessions_of_any_kind_are(lone, at_s):
    """A row with a field of its own takes the way of sessions that have a timeline."""
    waiting = at(at_s, hashed(1), hashed(1, 2, after=(0,), delay_s=500))
    sessions = sorted([*lone, waiting], key=lambda session: session.at_ns)
    others = [structs.replace(session, src={"other": 1}) for session in sessions]
    assert summarize(sessions) == summarize(others)


def test_what_a_session_holds_by_ids_of_its_own_is_from_no_other():
    nodes = [hashed(1), hashed(1, 2, after=(0,))]
    told = summarize([Session(name, 0, nodes, hash_scope="session") for name in "ab"])
    assert (told.hit_share, told.cross_session_share) == (2 / 6, 0)
