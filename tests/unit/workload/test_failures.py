"""Tools that fail: how often, for how long, how they are tried again, and what follows."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from factorysim.rng import stream
from factorysim.spec.agent import (
    Count,
    DiagnosisSpec,
    LognormalTokens,
    ToolFailure,
    ToolRetry,
)
from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.failures import FailureTable
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.tools import ToolTable, load_tools

US = {"kind": "assumed", "source": "us"}
N = 40_000
SHELL = (
    load_tools()
    .tools["shell"]
    .model_copy(update={"failure": None, "retry": None, "failed_tokens": None})
)


def failing(**failure):
    return ToolFailure(**failure, **US)


def retry(**how):
    return ToolRetry(**how, **US)


def drawn(cls, n=N, seed=1):
    draw = np.random.default_rng(seed)
    table = ToolTable(["t"], [cls])
    kinds = np.zeros(n, dtype=np.int64)
    calls = table.draw(kinds, draw.standard_normal(n), np.ones(n), draw.standard_normal(n))
    return calls, FailureTable([cls]).draw(calls, stream(7, "failures", seed))


def lasted(outcome, cores=1.0):
    return outcome.cpu_s / cores + outcome.remote_ns * 1e-9


def test_a_class_without_failures_never_fails():
    assert drawn(SHELL)[1] == {}


def test_attempts_fail_as_often_as_their_class_says():
    _, outcomes = drawn(SHELL.model_copy(update={"failure": failing(share=0.075)}))
    half_width = 4 * np.sqrt(0.075 * 0.925 / N)
    assert abs(len(outcomes) / N - 0.075) < half_width
    assert all(o.status == "failed" and not o.failed for o in outcomes.values())


@pytest.mark.parametrize(("q", "factor"), [(0.5, 2.0), (0.95, 48.0)])
def test_failures_last_longer_by_the_factors_at_median_and_p95(q, factor):
    """Copilot: failed terminal calls are 48 times longer at P95."""
    cls = SHELL.model_copy(
        update={
            "duration": SHELL.duration.model_copy(update={"sigma": 0.6, "max": 1e9}),
            "failure": failing(share=1.0, median_factor=2.0, p95_factor=48.0),
        }
    )
    calls, outcomes = drawn(cls)
    bad = np.quantile([lasted(o) for o in outcomes.values()], q)
    good = np.quantile(np.array(calls.cpu_s), q)
    # Sampling error of the logarithm of a quantile; sigma of failures is 2.53.
    density = np.exp(-0.5 * (0 if q == 0.5 else 1.645) ** 2) / np.sqrt(2 * np.pi)
    half_width = 4 * 2.6 * np.sqrt(q * (1 - q) / N) / density
    assert abs(np.log(bad / good) - np.log(factor)) < half_width < 0.15


def test_the_harness_tries_again_and_waits_longer_each_time():
    how = retry(attempts=3, backoff="0.5 s", growth=3.0)
    cls = SHELL.model_copy(update={"failure": failing(share=0.4), "retry": how})
    _, outcomes = drawn(cls)
    tries = np.bincount([len(o.failed) for o in outcomes.values()], minlength=3)
    assert tries[0] == 0
    failed = sum(o.status == "failed" for o in outcomes.values()) / N
    for seen, expected in ((tries[1] / N, 0.4 * 0.6), (tries[2] / N, 0.16), (failed, 0.064)):
        assert abs(seen - expected) < 4 * np.sqrt(expected * (1 - expected) / N)
    waits = {tuple(a.backoff_ns for a in o.failed) for o in outcomes.values()}
    assert waits == {(500_000_000,), (500_000_000, 1_500_000_000)}


def test_a_success_lasts_what_the_call_would_have():
    cls = SHELL.model_copy(update={"failure": failing(share=0.5), "retry": retry(attempts=9)})
    calls, outcomes = drawn(cls, n=500)
    for place, outcome in outcomes.items():
        if outcome.status == "ok":
            assert outcome.cpu_s == pytest.approx(calls.cpu_s[place], rel=1e-12)
            assert outcome.result_tokens == calls.result_tokens[place]


def test_what_is_too_long_is_cut_and_has_failed():
    how = retry(attempts=2, timeout="10 s")
    calls, outcomes = drawn(SHELL.model_copy(update={"retry": how}))
    too_long = np.array(calls.cpu_s) > 10.0
    assert too_long.sum() > 100
    assert sorted(outcomes) == np.nonzero(too_long)[0].tolist()
    for outcome in outcomes.values():
        assert outcome.status == "timeout"
        assert [a.cpu_s for a in outcome.failed] == [10.0]
        assert outcome.cpu_s == 10.0


def test_what_is_remote_fails_remotely():
    api = load_tools().tools["api_call"]
    cls = api.model_copy(update={"failure": failing(share=1.0), "retry": None})
    for outcome in drawn(cls, n=100)[1].values():
        assert outcome.remote_ns * 1e-9 / lasted(outcome) == pytest.approx(0.95, rel=1e-6)


def test_the_llm_reads_of_a_failure_what_its_class_says():
    told = LognormalTokens(p50=50, sigma=0.2, **US)
    cls = SHELL.model_copy(update={"failure": failing(share=1.0), "failed_tokens": told})
    tokens = [o.result_tokens for o in drawn(cls)[1].values()]
    assert np.median(tokens) == pytest.approx(50, rel=0.02)


# Sessions


def model(*, share=1.0, failing_share=0.1, mean=3.0, append=1.0, agent="code_analysis"):
    spec = load_agent(agent)
    loop = DiagnosisSpec(share=share, calls=Count(mean=mean, **US), append=append, **US)
    shipped = load_tools()
    classes = {
        name: cls.model_copy(
            update={
                "failure": failing(share=failing_share) if failing_share else None,
                "retry": None,
                "failed_tokens": None,
            }
        )
        for name, cls in shipped.tools.items()
    }
    tools = shipped.model_copy(update={"tools": classes})
    return AgentModel(spec.model_copy(update={"failures": loop}), tools=tools)


def key(number):
    return stream(7, 0, "code", "session", number)


def kinds(nodes, kind):
    return [node for node in nodes if isinstance(node, kind)]


@pytest.mark.parametrize("agent", ["code_analysis", "supply_chain", "customer_service"])
def test_where_nothing_fails_sessions_are_what_they_were(agent):
    spec = load_agent(agent).model_copy(update={"failures": None})
    plain, safe = AgentModel(spec), model(failing_share=0.0, agent=agent)
    for number in range(20):
        assert plain.nodes(key(number)) == safe.nodes(key(number))


def test_a_failure_that_starts_no_loop_leaves_all_other_draws():
    plain, amiss = AgentModel(load_agent("code_analysis")), model(share=0.0)
    failed = 0
    for number in range(20):
        ours, theirs = plain.nodes(key(number)), amiss.nodes(key(number))
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            if isinstance(b, ToolNode) and b.status != "ok":
                failed += 1
            else:
                assert getattr(a, "cpu_s", 0) == getattr(b, "cpu_s", 0)
                assert getattr(a, "output_tokens", 0) == getattr(b, "output_tokens", 0)
    assert failed > 50


def test_a_loop_follows_each_failure_and_its_calls_have_tools():
    plain, amiss = AgentModel(load_agent("code_analysis")), model(mean=4.0)
    added, loops = 0, 0
    for number in range(150):
        before, staged = plain.nodes(key(number)), amiss.draw(key(number))
        after = staged.whole()
        assert staged.calls == len(kinds(after, LlmNode))
        assert len(kinds(before, GapNode)) == len(kinds(after, GapNode))
        added += staged.calls - len(kinds(before, LlmNode))
        stages = list(staged.stages())
        bad = [s for s in stages if any(getattr(n, "status", "ok") != "ok" for n in s)]
        loops += len(bad)
        for stage, following in pairwise(stages):
            if stage in bad:
                assert isinstance(following[0], LlmNode)
                assert following[0].initiator == "tool"
    assert loops > 500
    sizes = 4 * np.sqrt(1.0 / loops)  # a lognormal of sigma 1 has a cv of 1.3
    assert abs(added / loops / 4.0 - 1.0) < 1.3 * sizes


def test_calls_of_the_session_itself_stay_as_they_were():
    plain, amiss = AgentModel(load_agent("code_analysis")), model()
    for number in range(20):
        ours = [n.output_tokens for n in kinds(plain.nodes(key(number)), LlmNode)]
        theirs = iter([n.output_tokens for n in kinds(amiss.nodes(key(number)), LlmNode)])
        assert all(output in theirs for output in ours)  # a subsequence


def test_tools_of_a_loop_answer_more():
    less, more = model(append=1.0), model(append=3.0)
    ours = theirs = 0
    for number in range(40):
        a, b = less.nodes(key(number)), more.nodes(key(number))
        assert len(a) == len(b)
        ours += sum(n.result_tokens for n in kinds(a, ToolNode))
        theirs += sum(n.result_tokens for n in kinds(b, ToolNode))
    assert theirs > 1.1 * ours


def test_prompts_grow_by_what_tools_answer_failed_or_not():
    for node in kinds(model().nodes(key(3)), ToolNode):
        assert node.result_tokens >= 1
    nodes = model().nodes(key(3))
    for place, node in enumerate(nodes[:-2]):
        if isinstance(node, ToolNode) and node.status != "ok" and len(node.after) == 1:
            before, after = nodes[place - 1], nodes[place + 1]
            if isinstance(before, LlmNode) and isinstance(after, LlmNode) and not after.context:
                grown = after.prompt_tokens - before.prompt_tokens
                assert grown == before.output_tokens + node.result_tokens or grown < 0
                return
    pytest.fail("no failure to look at")


def test_sub_agents_fail_too():
    amiss = model(agent="supply_chain", failing_share=0.3)
    nodes = [node for number in range(20) for node in amiss.nodes(key(number))]
    tools = kinds(nodes, ToolNode)
    assert any(node.context and node.status != "ok" for node in tools)


def teams(nodes):
    """Calls of the sub-agents of each level: counts by context."""
    levels, counts = {0: 0}, [Counter() for _ in range(4)]
    for node in nodes:
        if isinstance(node, LlmNode):
            if node.context not in levels:
                caller = nodes[node.after[0]]
                levels[node.context] = levels[caller.context] + 1
            counts[levels[node.context]][node.context] += 1
    return counts


def test_tools_of_the_sub_agents_of_sub_agents_fail_and_loops_follow():
    """On each level some fail; who calls whom stays, and calls are only ever added."""
    plain = AgentModel(load_agent("supply_chain"))
    amiss = model(agent="supply_chain", failing_share=0.3)
    longer, failed = Counter(), Counter()
    for number in range(20):
        ours, theirs = plain.nodes(key(number)), amiss.nodes(key(number))
        level_of = {c: level for level, few in enumerate(teams(theirs)) for c in few}
        for node in kinds(theirs, ToolNode):
            failed[level_of[node.context]] += node.status != "ok"
        for level, (few, many) in enumerate(zip(teams(ours), teams(theirs), strict=True)):
            assert few.keys() == many.keys()
            assert all(many[context] >= calls for context, calls in few.items())
            longer[level] += many.total() - few.total()
    assert set(longer) == {0, 1, 2, 3}
    assert longer[3] == failed[3] == 0  # two levels ship
    for level in (1, 2):
        # Loops of 3 follow failures outside of loops, of which there are fewer than half.
        assert failed[level] > 50
        assert 0.4 < longer[level] / failed[level] < 3.0


def test_shipped_classes_say_how_they_fail():
    tools = load_tools().tools
    assert tools["shell"].failure.p95_factor == 48
    assert 0.05 <= tools["test_run"].failure.share <= 0.10
    assert tools["api_call"].retry.attempts > 1
    assert tools["file_read"].failure is None


def test_a_failure_spreads_wider_or_not_at_all():
    with pytest.raises(ValueError, match="p95_factor"):
        failing(share=0.1, median_factor=3.0, p95_factor=2.0)
