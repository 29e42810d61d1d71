"""Twins: what is put in is found again, what cannot be is refused, and no row is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import spearmanr

from factorysim.errors import SpecError, TraceError
from factorysim.load.dump import dump_twin
from factorysim.spec.arrivals import PoissonArrivals
from factorysim.spec.stream import ImagesSpec, StreamSpec
from factorysim.spec.twin import SESSION_EFFECTS, TwinSpec
from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.demand import build_demand
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.models import find_twin, session_model
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from factorysim.workload.twin.compare import compare_twin, ks_distance
from factorysim.workload.twin.dependence import between, fit_dependence, scores
from factorysim.workload.twin.features import features_of
from factorysim.workload.twin.fit import fit_twin
from factorysim.workload.twin.limits import session_limits
from factorysim.workload.twin.model import TwinModel

BEFORE = Path(__file__).parents[1] / "agents_before"


def drawn_from(model, count, name="t", seed=7):
    keyed = KeyedUniforms(seed, 0, name)
    return [
        Session(f"{name}{i}", i * 10**9, model.nodes(keyed.at("session", i))) for i in range(count)
    ]


@pytest.fixture(scope="module")
def service():
    """Customer service: short sessions with tools, whose laws are known."""
    sessions = drawn_from(AgentModel(load_agent("customer_service")), 600)
    return sessions, fit_twin(sessions, "service", "fstrace")


def test_a_twin_of_an_agent_is_like_the_agent(service):
    """All distances are within the noise of so many sessions, or nearly."""
    sessions, twin = service
    compared = compare_twin(twin, sessions)
    for one in compared.quantities:
        assert one.distance <= 1.5 * one.noise + 0.01, one
    ours, theirs = compared.prefix_share
    assert theirs == pytest.approx(ours, abs=0.02)


def test_structure_comes_back(service):
    sessions, twin = service
    spec = load_agent("customer_service")
    assert twin.shared_tokens == spec.system_tokens.value + spec.tool_schema_tokens.value
    assert twin.outputs_repeated
    assert twin.tool_share == 1.0
    counted = sum(isinstance(n, ToolNode) for s in sessions for n in s.nodes)
    handed = spec.handoff.share * len(sessions) / counted  # of the tools: one ends each session
    for name, tool in twin.tools.items():
        spread = np.sqrt(tool.share * (1 - tool.share) / counted)
        share = (1 - handed) * spec.tools.shares[name]
        share += handed if name == spec.handoff.tool else 0.0
        assert abs(tool.share - share) < 4 * spread
    assert twin.tools["api_call"].cpu_share == pytest.approx(0.05, abs=1e-3)
    assert twin.arrivals.rate_per_s == 1.0


def test_a_session_of_a_twin_depends_on_its_key_alone(service):
    model = TwinModel(service[1])
    keyed = KeyedUniforms(3, 1, "a")
    forward = [model.nodes(keyed.at(i)) for i in range(20)]
    assert forward == [model.nodes(keyed.at(i)) for i in reversed(range(20))][::-1]
    assert model.nodes(KeyedUniforms(3, 2, "a").at(0)) != forward[0]


def test_sessions_of_a_twin_are_well_formed(service):
    for session in drawn_from(TwinModel(service[1]), 200):
        for place, node in enumerate(session.nodes):
            assert all(0 <= before < place for before in node.after)
            assert place == 0 or node.after
            if isinstance(node, LlmNode):
                assert 0 <= node.prefix_tokens <= node.prompt_tokens
                assert node.output_tokens >= 1
                assert node.shared_tokens <= node.prompt_tokens
        assert isinstance(session.nodes[-1], LlmNode)


def test_same_sessions_same_file_and_it_reads_back(service, tmp_path):
    sessions, twin = service
    text = dump_twin(twin)
    assert dump_twin(fit_twin(sessions, "service", "fstrace")) == text
    file = tmp_path / "twin.yaml"
    file.write_text(text)
    assert find_twin(str(file)) == twin


def test_a_stream_draws_from_a_twin(service, tmp_path):
    file = tmp_path / "twin.yaml"
    file.write_text(dump_twin(service[1]))
    arrivals = PoissonArrivals(process="poisson", rate="2/s")
    stream = StreamSpec(llm="l", agent=str(file), arrivals=arrivals, limit=5)
    sessions = list(build_demand("s", stream, seed=7, replication=0).sessions())
    assert len(sessions) == 5
    assert sessions[0].nodes[0].shared_tokens == 4000


def test_a_twin_neither_thinks_otherwise_nor_sees_images(service, tmp_path):
    file = tmp_path / "twin.yaml"
    file.write_text(dump_twin(service[1]))
    with pytest.raises(SpecError) as caught:
        session_model(str(file), "high", ImagesSpec(tokens=100))
    assert [fault.key for fault in caught.value.faults] == ["reasoning_effort", "images"]


def test_too_few_sessions_are_refused():
    with pytest.raises(TraceError, match="9 sessions"):
        fit_twin(drawn_from(AgentModel(load_agent("chat")), 9), "few", "fstrace")


def test_rare_and_odd_classes_of_tools_are_told_together():
    def session(i):
        name = "secret tool/é" if i % 2 else "ls"
        if i == 0:
            name = "once"
        nodes = [
            LlmNode(100, 10),
            ToolNode(name, remote_ns=10**9, after=(0,)),
            LlmNode(200, 10, after=(1,), initiator="tool"),
        ]
        return Session(f"s{i}", i, nodes)

    twin = fit_twin([session(i) for i in range(100)], "odd", "fstrace")
    assert set(twin.tools) == {"ls", "other"}
    assert twin.tools["other"].share == pytest.approx(0.51)


def test_no_session_id_and_no_exact_extreme_is_in_the_file():
    generator = np.random.default_rng(1)
    sessions = [
        Session(f"secret-{i}", i, [LlmNode(int(p), 10)])
        for i, p in enumerate(np.exp(generator.normal(9, 1, 500)))
    ]
    text = dump_twin(fit_twin(sessions, "private", "fstrace"))
    extremes = [s.nodes[0].prompt_tokens for s in sessions]
    assert "secret" not in text
    assert str(max(extremes)) not in text
    assert str(min(extremes)) not in text


def test_known_dependence_is_found_again():
    """A slope of 0.5 and what sessions have in common (sd 0.6), within four standard errors."""
    generator = np.random.default_rng(2)
    session = np.repeat(np.arange(400), 25)
    covariate = generator.standard_normal(len(session))
    effect = generator.normal(0.0, 0.6, 400)
    noise = generator.normal(0.0, np.sqrt(1 - 0.25 - 0.36), len(session))
    z = 0.5 * covariate + effect[session] + noise
    found = fit_dependence(z, session, {"context": covariate}).dependence
    assert abs(found.on["context"] - 0.5) < 4 * 1 / np.sqrt(len(session))
    assert abs(found.session - 0.6) < 4 * 0.6 / np.sqrt(2 * 400)
    assert abs(found.mean) < 4 * 0.6 / np.sqrt(400)


def test_correlations_between_sessions_are_found_again_despite_noise():
    """0.7 between two effects, each seen through noise as large as itself."""
    generator = np.random.default_rng(3)
    pair = generator.multivariate_normal([0, 0], [[1, 0.7], [0.7, 1]], 3000)
    seen = pair + generator.standard_normal((3000, 2))
    effects = [dict(enumerate(seen[:, 0])), dict(enumerate(seen[:, 1]))]
    effects += [{}] * (len(SESSION_EFFECTS) - 2)
    found = between(effects, [0.5, 0.5] + [1.0] * (len(SESSION_EFFECTS) - 2), 3000)
    assert found[0][1] == pytest.approx(0.7, abs=4 * 2 / np.sqrt(3000))
    assert found[0][2] == 0.0


def test_any_correlations_become_a_matrix_that_can_be_drawn_from():
    effects = [dict(enumerate(np.arange(30.0) * sign)) for sign in (1, 1, -1, -1, 1, -1, 1)]
    found = np.array(between(effects, [1.0] * 7, 30))
    assert np.linalg.eigvalsh(found).min() > -1e-3
    assert np.all(np.diag(found) == 1.0)


def test_limits_are_estimated_from_sessions_that_show_none_too():
    """Half the sessions are compacted at 1000; those that end before say nothing."""

    class Calls:
        session = np.arange(300)
        first = np.ones(300, dtype=bool)
        length = np.full(300, 20)
        prompt = np.full(300, 10)
        before = np.zeros(300, dtype=int)

    calls = Calls()
    # 100 end at 500; 100 are compacted at 1000; 100 go on to 2000.
    session = np.repeat(np.arange(300), 2)
    prompt = np.tile([10, 0], 300)
    prompt[1:200:2], prompt[201:400:2], prompt[401::2] = 500, 1000, 2000
    calls.session, calls.prompt = session, prompt
    calls.first = np.tile([True, False], 300)
    calls.length = np.full(600, 20)
    calls.before = np.where(np.arange(600) % 2, 1000, 0)
    full = np.zeros(600, dtype=bool)
    full[201:400:2] = True
    limits, unlimited = session_limits(calls, full)
    assert limits == (1000,)
    assert unlimited == (pytest.approx(0.5),)


def test_compaction_at_a_limit_is_drawn_again():
    def session(i):
        prompts = [100 + 100 * k for k in range(10)] + [200 + 100 * k for k in range(6)]
        nodes = []
        last = 0
        for k, prompt in enumerate(prompts):
            if k:
                nodes.append(GapNode(10**9, after=(len(nodes) - 1,)))
            prefix = min(last, 100 if prompt < last else last)
            after = (len(nodes) - 1,) if k else ()
            nodes.append(LlmNode(prompt, 10, prefix_tokens=prefix, after=after))
            last = prompt
        return Session(f"s{i}", i * 10**9, nodes)

    twin = fit_twin([session(i) for i in range(40)], "limits", "fstrace")
    assert twin.rewrites.limit_tokens == (1000,)
    assert twin.rewrites.unlimited == (0.0,)
    seen = features_of(drawn_from(TwinModel(twin), 200))
    assert max(seen.own.prompt) <= 1000
    shrunk = np.array(seen.own.prompt) < np.array(seen.own.before)
    assert shrunk.sum() >= 150


@pytest.mark.parametrize("agent", ["supply_chain", "deep_research"])
def test_subagents_come_back_as_often_as_they_were(agent):
    """Of two levels, and of one: how many, how many side by side, with how many calls."""
    sessions = drawn_from(AgentModel(load_agent(agent)), 200)
    twin = fit_twin(sessions, "chain", "fstrace")
    ours, theirs = features_of(sessions), features_of(drawn_from(TwinModel(twin), 400, "u"))
    assert len(ours.teams) == len(theirs.teams) == (2 if agent == "supply_chain" else 1)
    for ours_of, theirs_of in zip(ours.teams, theirs.teams, strict=True):
        assert np.mean(theirs_of.at_once) == pytest.approx(np.mean(ours_of.at_once), rel=0.1)
        for count in (lambda t: len(t.at_once), lambda t: len(t.chain.session)):
            found = count(theirs_of) / len(theirs.turns)
            assert found == pytest.approx(count(ours_of) / len(ours.turns), rel=0.15)
        prompts = [np.array(t.chain.prompt, float) for t in (ours_of, theirs_of)]
        assert ks_distance(*prompts) < 0.1


def test_a_wait_for_subagents_is_no_delay():
    """Half of what follows a call is tools, half is a sub-agent: no pause of nothing between."""
    nodes = [
        LlmNode(100, 10), ToolNode("x", cpu_s=1.0, after=(0,)),
        LlmNode(200, 10, 110, after=(1,), initiator="tool"),
        LlmNode(50, 5, after=(2,), initiator="agent", context=1),
        LlmNode(300, 10, 210, after=(3,), initiator="tool"),
    ]  # fmt: skip
    seen = features_of([Session(f"s{i}", i * 10**9, list(nodes)) for i in range(20)])
    assert (seen.transitions, seen.handed_over, len(seen.batches)) == (40, 20, 20)
    assert not seen.delays.seconds
    assert list(seen.delegates) == [1] * 20
    twin = fit_twin([Session(f"s{i}", i * 10**9, list(nodes)) for i in range(20)], "x", "fstrace")
    assert (twin.tool_share, twin.subagents.batch_share) == (1.0, 0.5)


def test_sessions_without_calls_are_left_out_and_counted():
    sessions = [*drawn_from(AgentModel(load_agent("chat")), 12), Session("t", 0, [ToolNode("x")])]
    seen = features_of(sessions)
    assert (len(seen.turns), seen.without_calls) == (12, 1)


def test_scores_share_ties_and_have_no_bounds():
    assert scores([3, 3, 3]).tolist() == [0.0, 0.0, 0.0]
    assert np.isfinite(scores(np.arange(1000))).all()
    assert spearmanr(scores([5, 1, 7]), [5, 1, 7]).statistic == pytest.approx(1.0)


def test_broken_twins_are_refused_by_name(service):
    data = json.loads(service[1].model_dump_json(by_alias=True))
    for change, told in (
        ({"turns": data["turns"] * 30}, "turns"),
        ({"between": data["between"][:-1]}, "7 rows"),
        ({"output_tokens": {"last": data["output_tokens"]["last"]}}, "a table of within"),
        ({"tools": {}}, "tools"),
    ):
        with pytest.raises(ValueError, match=told):
            TwinSpec.model_validate(data | change)


def test_replacing_a_context_changes_who_is_a_subagent():
    """The first call's context is the session's own, whatever its number."""
    nodes = [LlmNode(10, 5, context=3), LlmNode(20, 5, context=3, after=(0,), initiator="user")]
    moved = [replace(node, context=0) for node in nodes]
    seen = [features_of([Session("s", 0, one)]) for one in (nodes, moved)]
    assert list(seen[0].own.prompt) == list(seen[1].own.prompt) == [10, 20]
    assert not seen[0].teams
