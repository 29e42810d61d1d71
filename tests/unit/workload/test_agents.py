"""Agents: sessions as the tables say, well-formed, and a function of their key alone."""

from itertools import pairwise

import numpy as np
import pytest
from msgspec.structs import replace

from factorysim.errors import SpecError
from factorysim.spec.agent import AgentSpec, evidence_of
from factorysim.workload.agents import AgentModel, agent_names, find_agent, load_agent
from factorysim.workload.draws import KeyedUniforms, count_table, table_mean
from factorysim.workload.session import GapNode, LlmNode, ToolNode

SESSIONS = 1500


@pytest.fixture(
    scope="module", params=["code_analysis", "customer_service", "chat", "batch", "rag_assistant"]
)
def drawn(request):
    model = AgentModel(load_agent(request.param))
    uniforms = KeyedUniforms(11, 0, request.param)
    return model, [model.nodes(uniforms.at("session", i)) for i in range(SESSIONS)]


def calls_of(nodes):
    return [node for node in nodes if isinstance(node, LlmNode)]


def test_sessions_are_well_formed(drawn):
    _, sessions = drawn
    for nodes in sessions:
        assert isinstance(nodes[0], LlmNode)
        assert nodes[0].prefix_tokens == 0
        assert nodes[0].after == ()
        assert isinstance(nodes[-1], LlmNode)
        for place, node in enumerate(nodes):
            assert all(0 <= before < place for before in node.after)
            assert place == 0 or node.after
            if isinstance(node, LlmNode):
                assert node.output_tokens >= 1
                assert 0 <= node.prefix_tokens < node.prompt_tokens
            elif isinstance(node, ToolNode):
                assert isinstance(nodes[node.after[0]], LlmNode)
                assert min(node.cpu_s, node.remote_ns) >= 0


def test_a_prompt_is_the_last_context_and_what_came_since(drawn):
    """Prompt = last prompt + its output + answers; outside turns' starts and compactions."""
    model, sessions = drawn
    kept = 1.0 if model.spec.history == "full" else 1 / model.spec.efforts[model.effort].output
    checked = 0
    for nodes in sessions[:300]:
        for node in calls_of(nodes):
            before = [nodes[i] for i in node.after]
            if not all(isinstance(b, ToolNode) for b in before) or not before:
                continue
            caller = nodes[before[0].after[0]]
            full = caller.prompt_tokens + max(1, round(caller.output_tokens * kept))
            grown = full + sum(b.result_tokens for b in before)
            if node.prompt_tokens < caller.prompt_tokens:  # compacted
                continue
            assert node.prompt_tokens == grown
            assert node.prefix_tokens == (full if kept == 1.0 else caller.prompt_tokens)
            checked += 1
    assert checked or model.spec.calls_per_turn.mean == 1.0


def test_a_session_depends_on_its_key_alone():
    model = AgentModel(load_agent("code_analysis"))
    forward = KeyedUniforms(3, 1, "code")
    backward = KeyedUniforms(3, 1, "code")
    a = [model.nodes(forward.at("session", i)) for i in range(20)]
    b = [model.nodes(backward.at("session", i)) for i in reversed(range(20))]
    assert a == b[::-1]
    assert a[0] != model.nodes(KeyedUniforms(3, 2, "code").at("session", 0))


def test_effort_lengthens_a_session_but_keeps_what_it_was():
    """Same turns and gaps, no turn shorter, outputs of the common calls scaled by 4.5."""
    low, high = (AgentModel(load_agent("code_analysis"), effort) for effort in ("low", "high"))
    uniforms = KeyedUniforms(3, 0, "code")
    for ordinal in range(100):
        a = low.nodes(uniforms.at("session", ordinal))
        b = high.nodes(uniforms.at("session", ordinal))
        gaps = [[n.delay_ns for n in nodes if isinstance(n, GapNode)] for nodes in (a, b)]
        assert gaps[0] == gaps[1]
        assert len(calls_of(a)) <= len(calls_of(b))
        first_low, first_high = calls_of(a)[0].output_tokens, calls_of(b)[0].output_tokens
        if first_high < 32_768:
            assert abs(first_high - 4.5 * first_low) <= 4.5 * 0.5 + 0.5


@pytest.mark.parametrize("effort", ["none", "low", "medium", "high", "max"])
def test_drawn_calls_per_turn_and_outputs_follow_the_effort(effort):
    spec = load_agent("customer_service")
    model = AgentModel(spec, effort)
    uniforms = KeyedUniforms(5, 0, effort)
    sessions = [model.nodes(uniforms.at("session", i)) for i in range(2000)]
    calls = [call for nodes in sessions for call in calls_of(nodes)]
    turns = sum(call.initiator == "user" for call in calls)
    factors = spec.efforts[effort]
    assert turns / len(sessions) == pytest.approx(7.0, rel=4 * 0.4 / np.sqrt(2000))
    handed = spec.handoff.share / 7.0
    assert len(calls) / turns == pytest.approx(1.68 * factors.calls + handed, rel=0.03)
    outputs = np.log([call.output_tokens for call in calls])
    assert np.median(outputs) == pytest.approx(np.log(54 * factors.output), abs=0.03)


def test_user_gaps_are_lognormal_with_the_table_s_median():
    model = AgentModel(load_agent("code_analysis"))
    uniforms = KeyedUniforms(5, 0, "gaps")
    nodes = [n for i in range(1500) for n in model.nodes(uniforms.at("session", i))]
    gaps = np.array([n.delay_ns / 1e9 for n in nodes if isinstance(n, GapNode)])
    half_width = 4 * 1.2533 * 1.93 / np.sqrt(len(gaps))
    assert abs(np.log(np.median(gaps)) - np.log(150)) < half_width
    assert half_width < 0.15
    assert gaps.max() <= 7200.0


def test_parallel_batches_hold_reads_only_and_the_mix_still_comes_out():
    spec = load_agent("code_analysis")
    model = AgentModel(spec)
    uniforms = KeyedUniforms(6, 0, "code")
    batches: dict[int, int] = {}
    counts = dict.fromkeys(spec.tools.shares, 0)
    for ordinal in range(1500):
        nodes = model.nodes(uniforms.at("session", ordinal))
        after: dict[int, list[str]] = {}
        for node in nodes:
            if isinstance(node, ToolNode):
                after.setdefault(node.after[0], []).append(node.cls)
                counts[node.cls] += 1
        for batch in after.values():
            batches[len(batch)] = batches.get(len(batch), 0) + 1
            assert len(batch) == 1 or set(batch) <= {"file_read", "search_local"}
    total, tools = sum(batches.values()), sum(counts.values())
    assert batches[1] / total == pytest.approx(0.93, abs=4 * np.sqrt(0.93 * 0.07 / total))
    assert batches[2] / total == pytest.approx(0.07 * 0.6, rel=0.1)
    assert batches[3] / total == pytest.approx(0.07 * 0.28, rel=0.15)
    for name, share in spec.tools.shares.items():
        # Tools of one wide batch are alike, so reads vary more than single draws.
        assert counts[name] / tools == pytest.approx(share, abs=6 * np.sqrt(share / tools))


def test_subagents_are_chains_of_their_own_that_block_their_caller():
    spec = load_agent("code_analysis")
    always = spec.model_copy(
        update={"subagents": spec.subagents.model_copy(update={"session_share": 1.0})}
    )
    model = AgentModel(always)
    uniforms = KeyedUniforms(8, 0, "code")
    chains = []
    for ordinal in range(300):
        nodes = model.nodes(uniforms.at("session", ordinal))
        begins = [i for i, n in enumerate(nodes) if getattr(n, "initiator", "") == "agent"]
        assert len(begins) <= 3
        for begin in begins:
            assert nodes[begin].prefix_tokens == nodes[begin].shared_tokens == 0
            context = nodes[begin].context
            own = [n for n in calls_of(nodes) if n.context == context]
            assert {n.step for n in own} == {"worker"}
            chains.append(len(own))
        assert {n.step for n in calls_of(nodes) if n.context == 0} == {"planner"}
    model_mean = table_mean(count_table(spec.subagents.calls, 1.1))
    assert model_mean == pytest.approx(11 * 1.1)
    assert np.mean(chains) == pytest.approx(model_mean, rel=4 * 0.45 / np.sqrt(len(chains)))


def test_after_a_subagent_its_caller_repeats_all_that_it_had():
    """The next prompt of the caller: its last context, and what the sub-agents hand back."""
    model = AgentModel(load_agent("supply_chain"))
    uniforms = KeyedUniforms(8, 0, "plan")
    returns = 0
    for ordinal in range(60):
        nodes = model.nodes(uniforms.at("session", ordinal))
        own = [n for n in calls_of(nodes) if n.context == 0]
        for before, call in pairwise(own):
            context = before.prompt_tokens + before.output_tokens
            if any(isinstance(nodes[i], LlmNode) for i in call.after):
                assert call.prefix_tokens == context < call.prompt_tokens
                returns += 1
    assert returns > 30


def test_workers_side_by_side_begin_together_and_are_all_awaited():
    model = AgentModel(load_agent("supply_chain"))
    uniforms = KeyedUniforms(8, 0, "plan")
    widths = []
    for ordinal in range(200):
        nodes = model.nodes(uniforms.at("session", ordinal))
        contexts = {n.context for n in calls_of(nodes)}
        assert contexts == set(range(len(contexts)))
        rounds = {}
        for node in calls_of(nodes):
            if node.initiator == "agent":
                assert node.shared_tokens == min(4000, node.prompt_tokens)
            if node.initiator == "agent" and node.role < 4:  # not of the second level
                rounds.setdefault(node.after, []).append(node.context)
        assert len(rounds) <= 2
        for after, workers in rounds.items():
            widths.append(len(workers))
            lasts = {
                max(i for i, n in enumerate(nodes) if getattr(n, "context", 0) == worker)
                for worker in workers
            }
            joins = [n for n in nodes if lasts <= set(n.after)]
            assert len(joins) == 1
            assert isinstance(joins[0], LlmNode)
            assert set(joins[0].after) == lasts
            assert joins[0].prefix_tokens > nodes[after[0]].prompt_tokens
    # The mean is that of the file: a lognormal of 4, at most 8.
    assert np.mean(widths) == pytest.approx(4.0, abs=4 * np.std(widths) / np.sqrt(len(widths)))
    assert set(widths) <= set(range(1, 9))


def test_compaction_resets_the_prefix_to_system_and_schemas():
    spec = load_agent("code_analysis")
    model = AgentModel(spec)
    uniforms = KeyedUniforms(9, 0, "code")
    base = 2800 + 12400
    found = 0
    for ordinal in range(300):
        last = 0
        for call in calls_of(model.nodes(uniforms.at("session", ordinal))):
            assert call.prompt_tokens <= spec.compaction.at_tokens
            if call.prefix_tokens == base and call.prompt_tokens < last:
                found += 1
                assert 0.25 * 200_000 < call.prompt_tokens < 0.5 * 200_000
            last = call.prompt_tokens
    assert found > 50


def test_memory_of_a_node_s_after_is_shared():
    a, b = (AgentModel(load_agent("chat")).nodes(KeyedUniforms(1, 0, "c").at(i)) for i in (1, 2))
    assert len(a) == 1 or len(b) == 1 or a[1].after is b[1].after


def test_unknown_agents_tools_and_efforts_are_refused(tmp_path):
    with pytest.raises(SpecError, match='did you mean "code_analysis"'):
        find_agent("code_analyses")
    spec = load_agent("chat")
    strange = spec.model_copy(
        update={"tools": spec.tools.model_copy(update={"shares": {"hammer": 1.0}})}
    )
    with pytest.raises(SpecError, match=r"mine: tools\.shares\.hammer: found 'hammer'"):
        AgentModel(strange, name="mine")
    only_low = spec.model_copy(update={"efforts": {"low": spec.efforts["low"]}})
    with pytest.raises(SpecError, match='found "high", expected one of low'):
        AgentModel(only_low, "high")


def test_an_effort_that_lifts_a_mean_beyond_its_maximum_is_refused():
    spec = load_agent("customer_service")
    tight = spec.calls_per_turn.model_copy(update={"max": 4})
    with pytest.raises(SpecError, match=r"calls_per_turn: found a mean of 2\.1"):
        AgentModel(spec.model_copy(update={"calls_per_turn": tight}), "high")


def test_a_user_s_agent_file_is_read_with_every_fault_at_its_line(tmp_path):
    from factorysim.workload.files import CATALOG

    text = (CATALOG / "agents" / "chat.yaml").read_text()
    mine = tmp_path / "mine.yaml"
    mine.write_text(text)
    assert find_agent(str(mine)) == load_agent("chat")
    mine.write_text(text.replace("value: 500", "value: -5").replace("p50: 350", "p50: x"))
    with pytest.raises(SpecError) as caught:
        find_agent(str(mine))
    assert [fault.key for fault in caught.value.faults] == [
        "system_tokens.value",
        "output_tokens.p50",
    ]
    lines = text.splitlines()
    where = [int(fault.where.rsplit(":", 1)[1]) for fault in caught.value.faults]
    assert [lines[line - 1].split(":")[0] for line in where] == ["system_tokens", "output_tokens"]


@pytest.mark.parametrize("name", agent_names())
def test_every_parameter_names_its_source(name):
    spec = load_agent(name)
    entries = evidence_of(spec)
    assert len(entries) >= 12
    assert {entry.source for _, entry in entries} <= set(spec.sources)


def test_a_source_that_is_not_listed_is_refused():
    data = load_agent("chat").model_dump(by_alias=True)
    data["sources"] = {"us": "x"}
    with pytest.raises(ValueError, match=r"mooncake is \(in output_tokens\)"):
        AgentSpec.model_validate(data, strict=False)


def test_nodes_are_plain_values_that_copy():
    node = AgentModel(load_agent("chat")).nodes(KeyedUniforms(1, 0, "c").at(0))[0]
    assert replace(node) == node
