"""What makes agents differ by place and end: plans, approvals, hand-overs, roles, levels."""

import numpy as np
import pytest
from msgspec.structs import replace

from factorysim.errors import SpecError
from factorysim.spec.agent import AgentSpec, SubAgentSpec, depth_of
from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.content import Contents
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.session import GapNode, LlmNode, ToolNode

OURS = {"kind": "assumed", "source": "us"}
LOW = {"output": 1.0, "calls": 1.0, **OURS}


def edited(name, **keys):
    """Read a shipped agent with some keys given anew, as a file would give them; None: left out."""
    data = load_agent(name).model_dump(by_alias=True) | keys
    return AgentSpec.model_validate(
        {key: value for key, value in data.items() if value is not None}, strict=False
    )


def sessions_of(spec, count=150, effort=None):
    uniforms = KeyedUniforms(4, 0, "mine")
    model = AgentModel(spec, effort)
    return [model.nodes(uniforms.at("session", ordinal)) for ordinal in range(count)]


def of_kind(nodes, kind):
    return [node for node in nodes if isinstance(node, kind)]


def half_width(share, count):
    return 4 * np.sqrt(share * (1 - share) / count)


def test_approvals_are_gaps_of_their_own_class_with_waits_of_their_own():
    drawn = sessions_of(load_agent("supply_chain"), 120)
    gaps = [gap for nodes in drawn for gap in of_kind(nodes, GapNode)]
    assert {gap.cls for gap in gaps} == {"approval"}
    assert max(len(of_kind(nodes, GapNode)) for nodes in drawn) == 3
    waits = np.log([gap.delay_ns / 1e9 for gap in gaps])
    assert np.median(waits) == pytest.approx(np.log(300), abs=4 * 1.2533 * 1.5 / np.sqrt(len(gaps)))


def test_some_gaps_are_approved_and_the_others_are_the_user_s():
    spec = edited(
        "customer_service",
        approvals={
            "share": 0.3,
            "wait": {"p50": "1 h", "sigma": 0.05, "max": "2 h", **OURS},
            "answer_tokens": {"p50": 5000, "sigma": 0.05, **OURS},
            **OURS,
        },
    )
    gaps = [gap for nodes in sessions_of(spec) for gap in of_kind(nodes, GapNode)]
    share = np.mean([gap.cls == "approval" for gap in gaps])
    assert share == pytest.approx(0.3, abs=half_width(0.3, len(gaps)))
    assert all((gap.delay_ns > 2.5e12) == (gap.cls == "approval") for gap in gaps)
    for nodes in sessions_of(spec, 30):
        for place, node in enumerate(nodes):
            if isinstance(node, GapNode):
                before, after = nodes[place - 1], nodes[place + 1]
                grown = after.prompt_tokens - before.prompt_tokens - before.output_tokens
                assert (grown > 4000) == (node.cls == "approval")


def test_a_session_taken_up_again_begins_with_its_history_uncached():
    spec = load_agent("code_analysis")
    firsts = [nodes[0] for nodes in sessions_of(spec, 500)]
    above = np.mean([call.prompt_tokens > 60_000 for call in firsts])
    assert above == pytest.approx(1 / 3, abs=half_width(1 / 3, 500) + 0.03)  # a few start below
    assert {call.prefix_tokens for call in firsts} == {0}
    assert {call.shared_tokens for call in firsts} == {15_200}


def test_a_handed_session_ends_with_the_tool_and_a_last_word():
    spec = load_agent("customer_service")
    drawn = sessions_of(spec, 400)
    handed = [
        nodes
        for nodes in drawn
        if any(t.cls == "transfer_to_human" for t in of_kind(nodes, ToolNode))
    ]
    assert len(handed) / 400 == pytest.approx(0.24, abs=half_width(0.24, 400))
    for nodes in handed:
        assert isinstance(nodes[-1], LlmNode)
        assert [t.cls for t in of_kind(nodes, ToolNode)].count("transfer_to_human") == 1
        assert nodes[-2].cls == "transfer_to_human"


def test_a_hand_over_is_no_batch_that_sub_agents_take():
    spec = edited(
        "code_analysis",
        tools={"shares": {"shell": 1.0, "transfer_to_human": 0.0}, **OURS},
        parallel={"shares": {1: 1.0}, **OURS},
        handoff={"share": 1.0, "tool": "transfer_to_human", **OURS},
        subagents=load_agent("code_analysis").subagents.model_dump()
        | {"session_share": 1.0, "per_session": 64},
    )
    for nodes in sessions_of(spec, 60):
        assert of_kind(nodes, ToolNode)[-1].cls == nodes[-2].cls == "transfer_to_human"


def test_plans_and_answers_have_lengths_of_their_own():
    spec = load_agent("deep_research")
    drawn = sessions_of(spec, 60)
    own = [[c for c in of_kind(nodes, LlmNode) if c.context == 0] for nodes in drawn]
    plans = [calls[0].output_tokens for calls in own if len(calls) > 1]
    answers = [calls[-1].output_tokens for calls in own]
    between = [call.output_tokens for calls in own for call in calls[1:-1]]
    for outputs, expected, width in (
        (plans, 225 * 4.5, 1.108),
        (answers, 2000 * 2.0, 0.5),
        (between, 225 * 2.0, 1.108),
    ):
        error = 4 * 1.2533 * width / np.sqrt(len(outputs))
        assert np.log(np.median(outputs)) == pytest.approx(np.log(expected), abs=error)


def test_a_plan_thinks_as_much_harder_at_every_effort():
    """Plan high, default medium: 4.5 over 2.0 of what the other calls do."""
    spec = load_agent("supply_chain")
    for effort in ("none", "low", "medium", "high", "max"):
        factor = spec.efforts[effort].output * 4.5 / 2.0
        plans = [
            nodes[0].output_tokens
            for nodes in sessions_of(spec, 25, effort)
            if isinstance(nodes[1], (LlmNode, ToolNode))  # else it answers at once
        ]
        error = 4 * 1.2533 * 0.245 / np.sqrt(len(plans))
        assert np.log(np.median(plans) / factor) == pytest.approx(np.log(1095), abs=error)


def test_a_call_that_differs_keeps_of_its_output_what_is_not_reasoning():
    """At medium, a plan thinks 4.5 times what it says: 1 / 4.5 of it stays in the context."""
    spec = edited("supply_chain", history="visible")
    checked = 0
    for nodes in sessions_of(spec, 60):
        own = [call for call in of_kind(nodes, LlmNode) if call.context == 0]
        before = [nodes[i] for i in own[1].after] if len(own) > 1 else []
        if before and all(isinstance(node, ToolNode) for node in before):
            told = sum(tool.result_tokens for tool in before)
            kept = own[1].prompt_tokens - own[0].prompt_tokens - told
            assert kept == max(1, round(own[0].output_tokens / 4.5))
            checked += 1
    assert checked > 5


def test_workers_of_a_role_share_their_beginning_across_sessions_and_roles_do_not():
    drawn = sessions_of(load_agent("supply_chain"), 20)
    beginnings: dict[int, set[int]] = {}
    for number, nodes in enumerate(drawn):
        contents = Contents(number, 16, shared=0)
        for call in of_kind(nodes, LlmNode):
            blocks = contents.next_call(call)
            if call.context and call.initiator == "agent" and call.shared_tokens == 4000:
                first, count = blocks[0]
                assert count >= 250
                beginnings.setdefault(call.role, set()).add(first)
    assert sorted(beginnings) == [0, 1, 2, 3, 4]  # four side by side, one a level deeper
    assert all(len(firsts) == 1 for firsts in beginnings.values())
    assert len(set.union(*beginnings.values())) == 5


def test_workers_delegate_to_a_second_level_that_they_wait_for():
    spec = load_agent("supply_chain")
    assert depth_of(spec.subagents) == 2
    deep = 0
    for nodes in sessions_of(spec, 20):
        calls = of_kind(nodes, LlmNode)
        assert {call.context for call in calls} == set(range(max(c.context for c in calls) + 1))
        for context in {call.context for call in calls if call.role == 4}:
            chain = [i for i, n in enumerate(nodes) if getattr(n, "context", 0) == context]
            [caller] = nodes[chain[0]].after
            assert nodes[caller].role < 4
            assert nodes[caller].context > 0
            [join] = [n for n in nodes if chain[-1] in n.after]
            assert join.context == nodes[caller].context
            deep += 1
    assert deep > 15


def test_the_stages_count_the_calls_of_every_level():
    model = AgentModel(load_agent("supply_chain"))
    for ordinal in range(10):
        staged = model.draw(KeyedUniforms(4, 0, "mine").at("session", ordinal))
        assert staged.calls == len(of_kind(staged.whole(), LlmNode))


def test_a_fourth_level_is_refused():
    level = load_agent("code_analysis").subagents.model_dump()
    for _ in range(2):
        level = level | {"subagents": dict(level)}
    assert depth_of(SubAgentSpec.model_validate(level, strict=False)) == 3
    with pytest.raises(ValueError, match="found 4 levels, expected at most 3 levels"):
        SubAgentSpec.model_validate(level | {"subagents": dict(level)}, strict=False)


def test_effort_max_doubles_calls_and_lengthens_outputs_sevenfold():
    spec = load_agent("batch")
    low, most = (sessions_of(spec, 50, effort) for effort in ("low", "max"))
    for a, b in zip(low, most, strict=True):
        assert b[0].output_tokens == pytest.approx(min(7 * a[0].output_tokens, 4056), abs=4)
        assert replace(b[0], output_tokens=1) == replace(a[0], output_tokens=1)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"user_gap": None}, "expected given, since turns come after gaps of the user"),
        ({"handoff": {"share": 0.1, "tool": "shell", **OURS}}, 'found "shell"'),
        ({"steps": {"plan": OURS}}, "expected output_tokens, effort or both"),
        ({"steps": {"plan": {"effort": "high", **OURS}}, "efforts": {"low": LOW}},
         "an entry of efforts for 'high'"),
        ({"efforts": {"low": LOW | {"output_band": [2.0, 3.0]}}},
         "found 2 to 3, expected a low and a high around 1"),
    ],
)  # fmt: skip
def test_what_an_agent_cannot_be_is_refused_with_what_would_do(keys, told):
    with pytest.raises((ValueError, SpecError), match=told):
        edited("chat", **keys)
