"""Generated agents against their column of the background's section 5, or their sources.

Each figure has the interval of resampled sessions. What no interval reaches is told with the
reason, here and in docs/agents.md.
"""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from factorysim.workload.agents import AgentModel, load_agent
from tests.validation.agent_figures import Figures, figures

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"

pytestmark = pytest.mark.slow


def shared(name):
    """Rows of a shared CSV; skips where it is not there."""
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"no shared trace {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def resampled(values, q, count=400):
    """Quantile of recorded values: the central 99.8 % over resamples."""
    drawn = np.random.default_rng(7).choice(np.array(values), (count, len(values)))
    return np.quantile(np.quantile(drawn, q, axis=1), (0.001, 0.999))


# Customer service: tau-bench airline, gpt-4o, 200 sessions


@pytest.fixture(scope="module")
def service():
    return figures("customer_service", 3000)


@pytest.fixture(scope="module")
def recorded():
    """Calls, user messages, tools and hand-overs of each recorded session."""
    sessions: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in shared("taubench_gpt4o_airline_steps.csv.gz"):
        sessions.setdefault((row["task_id"], row["trial"]), []).append(row)
    counts = [
        [sum(row["role"] == role for row in rows) for role in ("assistant", "user", "tool")]
        + [any(row["tool_name"] == "transfer_to_human_agents" for row in rows)]
        for rows in sessions.values()
    ]
    return dict(zip(("calls", "turns", "tools", "handed"), np.array(counts).T, strict=True))


@pytest.mark.parametrize(
    ("name", "q"),
    [("calls", 0.5), ("calls", 0.9), ("turns", 0.5), ("turns", 0.9), ("tools", 0.5)],
)
def test_customer_service_has_the_counts_of_recorded_sessions(service, recorded, name, q):
    low, high = resampled(recorded[name], q)
    assert service.quantile(name, q).near(low, high)


def test_customer_service_hands_over_as_often_as_recorded(service, recorded):
    share = recorded["handed"].mean()
    error = 3 * np.sqrt(share * (1 - share) / len(recorded["handed"]))
    assert service.mean("handed").near(0.24)
    assert service.mean("handed").within(share - error, share + error)
    assert share - error < 0.20  # the column's


def test_customer_service_meets_its_column(service):
    assert service.quantile("calls", 0.5).near(11)
    assert service.quantile("calls", 0.1).near(5, 6)
    assert service.quantile("calls", 0.9).near(20)
    assert service.quantile("turns", 0.5).near(7)
    assert service.mean("tools").near(5)
    assert service.quantile("outputs", 0.5).near(54)
    assert service.quantile("outputs", 0.9).near(133)
    assert service.quantile("gap_s", 0.5).near(25)
    for tool, share in (("api_call", 0.80), ("calculate", 0.15), ("transfer_to_human", 0.05)):
        assert service.share("tool_cls", lambda c, t=tool: c == t).near(0.98 * share, 1.02 * share)
    assert service.ratio("hit", "prompt").within(0.85, 0.93)


def test_customer_service_has_its_prompts_and_ratio_without_the_schemas(service):
    """The column's 1.6K to 4.4K (P90) and 40 to 1 leave out schemas, of which 2.5K are here."""
    schemas = load_agent("customer_service").tool_schema_tokens.value
    assert service.quantile("first", 0.5)[0] - schemas == pytest.approx(1600, rel=0.06)
    assert service.quantile("prompts", 0.5)[0] - schemas == pytest.approx(2500, rel=0.1)
    assert service.quantile("prompts", 0.99)[0] - schemas == pytest.approx(6400, rel=0.1)
    text = service.of("prompt") - schemas * service.of("calls")
    assert service.ratio(text, "output").within(35, 45)


# Supply chain: no trace exists; its column was composed


@pytest.fixture(scope="module")
def supply():
    return figures("supply_chain", 250)


def test_supply_chain_meets_its_column(supply):
    assert supply.mean("turns").near(1.7)
    assert max(supply.of("turns")) == 4  # 0-3 approvals
    assert supply.quantile("own", 0.5).within(6, 12)
    assert supply.quantile("worker_calls", 0.5).within(5, 18)
    assert supply.quantile("first", 0.5).near(6000)
    assert supply.quantile("end", 0.5).near(30_000)
    assert supply.quantile("worker_first", 0.5).near(5000)
    assert supply.quantile("worker_end", 0.5)[0] == pytest.approx(22_500, rel=0.15)
    assert supply.ratio("hit_shared", "prompt").within(0.80, 0.95)
    shares = {"sql_olap": 0.175, "sql_oltp": 0.175, "api_call": 0.25, "code_exec": 0.20}
    for tool, share in (shares | {"web_fetch": 0.10, "file_read": 0.10}).items():
        assert supply.share("tool_cls", lambda c, t=tool: c == t).near(share)
    assert set(supply.of("gap_cls")) == {"approval"}


def test_supply_chain_plans_in_eight_to_fifteen_hundred_tokens_at_low():
    plans = [
        nodes[0].output_tokens
        for nodes in _sessions("supply_chain", "low", 250)
        if nodes[1].__class__.__name__ != "GapNode"
    ]
    thinking = 4.5 / 2.0  # plan high, the others medium: kept at every effort
    low, high = resampled(plans, 0.1), resampled(plans, 0.9)
    assert low[0] <= 800 * thinking <= low[1]
    assert high[0] <= 1500 * thinking <= high[1]


def test_supply_chain_writes_more_than_its_column_s_ratio_says(supply):
    """50-100 to 1 cannot be: prompts of 5K to 25K over outputs of LN(250) are 40 to 1 at low."""
    assert figures("supply_chain", 250, "low").ratio("prompt", "output").within(34, 46)
    assert supply.ratio("prompt", "output").within(20, 27)


def _sessions(name, effort, count):
    from factorysim.workload.draws import KeyedUniforms

    model, uniforms = AgentModel(load_agent(name), effort), KeyedUniforms(2026, 0, name)
    return [model.nodes(uniforms.at("session", ordinal)) for ordinal in range(count)]


# Deep research: Anthropic's and Continuum's figures


@pytest.fixture(scope="module")
def research():
    return figures("deep_research", 250)


def test_sub_agents_search_as_often_as_bfcl_s(research):
    """Continuum: 6.3 +- 2.3 turns; here times 1.1 for effort medium."""
    calls = research.of("worker_calls")
    assert calls.mean() == pytest.approx(6.3 * 1.1, abs=4 * calls.std() / np.sqrt(len(calls)))
    assert calls.std() / calls.mean() == pytest.approx(2.3 / 6.3, rel=0.1)


def test_searches_last_as_long_as_bfcl_s(research):
    """Continuum: 1.92 +- 2.13 s."""
    searches = research.of("tool_s")[research.of("tool_cls") == "web_search_agent"]
    assert searches.mean() == pytest.approx(1.92, rel=0.04)
    assert searches.std() == pytest.approx(2.13, rel=0.15)


def test_a_sub_agent_that_searches_once_at_a_time_is_a_bfcl_program():
    """Continuum: 93K +- 69K tokens a program; BFCL's do not search side by side."""
    spec = load_agent("deep_research")
    single = spec.parallel.model_copy(update={"shares": {1: 1.0}})
    model = AgentModel(spec.model_copy(update={"parallel": single}), "low")
    found = Figures(model, 120, "bfcl")
    owners = np.array(found.values["worker_calls"][1])
    tokens = found.of("prompt").sum() / max(1, len(owners))
    assert 93_000 - 69_000 < tokens < 93_000 + 69_000


def test_three_to_five_work_side_by_side_with_three_tools_or_more(research):
    """Anthropic; four in five sessions delegate."""
    teams = [
        [c.context for c in nodes if getattr(c, "initiator", "") == "agent" and c.after == after]
        for nodes in _sessions("deep_research", None, 150)
        for after in {c.after for c in nodes if getattr(c, "initiator", "") == "agent"}
    ]
    sizes = np.array([len(team) for team in teams])
    assert ((sizes >= 3) & (sizes <= 5)).mean() == pytest.approx(
        0.8, abs=4 * np.sqrt(0.8 * 0.2 / len(sizes))
    )
    assert sizes.mean() == pytest.approx(4.0, abs=4 * sizes.std() / np.sqrt(len(sizes)))
    alone = research.of("tools")[research.of("sub") == 0]
    assert np.median(alone) / 3 >= 3  # a simple fact: 3-10 calls, each of three searches here


def test_research_takes_many_times_the_tokens_of_a_chat(research):
    """Anthropic: 15 times. The chats that it compares with are not published; Mooncake's
    conversation has prompts of 12K on average, four of them to a chat here.
    """
    chat = 4.0 * 12_000
    assert 7.5 < research.mean("prompt")[0] / chat < 22.5


# RAG, batch, chat


def test_rag_searches_before_every_answer_and_answers_as_azure_s_users_read():
    rag = figures("rag_assistant", 1500)
    assert rag.ratio("calls", "turns").within(1.99, 2.01)
    assert rag.ratio("tools", "turns").within(0.99, 1.01)
    assert set(rag.of("tool_cls")) == {"vector_search_exact"}
    passages = rag.quantile("tool_tokens", 0.5)
    assert passages.within(5 * 300, 10 * 300)
    assert rag.quantile("tool_s", 0.1).near(2.0, 2.2)  # 2-10 s
    assert rag.quantile("tool_s", 0.9).near(9.5, 10.0)
    answers = [nodes[-1].output_tokens for nodes in _sessions("rag_assistant", None, 1500)]
    for q, published in ((0.5, 129), (0.9, 424)):
        low, high = resampled(answers, q)
        assert low <= published <= high


@pytest.mark.parametrize(
    ("column", "name", "quantiles"),
    [
        ("num_prefill_tokens", "first", (0.5, 0.9)),
        ("num_decode_tokens", "outputs", (0.25, 0.5, 0.75, 0.9)),
    ],
)
def test_batch_has_the_lengths_of_the_papers(column, name, quantiles):
    values = np.array(
        [float(row[column]) for row in shared("vidur_arxiv_summarization_lengths.csv.gz")]
    )
    batch = figures("batch", 4000)
    for q in quantiles:
        published = np.quantile(values, q)
        assert batch.quantile(name, q).near(published * 0.96, published * 1.04), q
    assert batch.of("calls").max() == 1


def test_chat_answers_like_mooncake_s_conversations():
    """Output P50 350, P90 597; the rest of the agent is assumed."""
    chat = figures("chat", 1500)
    assert chat.quantile("outputs", 0.5).near(350)
    assert chat.quantile("outputs", 0.9).near(597)
    assert chat.of("tools").max() == 0
    assert chat.mean("turns").near(4.0)
