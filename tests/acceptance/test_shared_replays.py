"""Every recorded trace is served from its first session to its last, and the audit holds."""

from pathlib import Path

import pytest

from factorysim.load import load_scenario
from factorysim.run import simulate
from factorysim.workload.session import LlmNode
from factorysim.workload.traces import read_trace

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
RATES = {
    "mooncake_conversation_trace.jsonl.gz": None,
    "AzureLLMInferenceTrace_conv.csv.gz": None,
    "tracelab_example_round_trace.jsonl.gz": "1/s",  # months lie between its two sessions
    "weka_claude_code": "10/s",
    "vidur_arxiv_summarization_lengths.csv.gz": "10/s",
    "taubench_gpt4o_airline_steps.csv.gz": "1/s",
    "agentcgroup_glm_tool_calls.csv.gz": "1/s",
}
"""Of the sessions, where the trace has no clock; None where it has."""


@pytest.mark.slow
@pytest.mark.parametrize("name", list(RATES))
def test_what_a_trace_asks_for_is_served(name, tmp_path):
    """Sessions, calls, prompts and outputs are those of the file; none is lost or in flight."""
    path = TRACES / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    overrides = [
        f"streams.calls.trace={path}",
        "streams.calls.replicate=none",
        "llms.large.llm=llama_4_maverick",  # a context of a million tokens: no call is refused
        "deployments.serve.parallel.tp=8",
        "run={kind: terminating, window: 30 d, drain: 1 d, replications: 1, seed: 7}",
    ]
    if RATES[name] is not None:
        overrides.append(f"streams.calls.arrivals={{process: poisson, rate: {RATES[name]}}}")
    loaded = load_scenario("replay", overrides)
    run = simulate(loaded.scenario, out=tmp_path / "run", workers=1)
    sessions = list(read_trace(path))
    calls = [node for s in sessions for node in s.nodes if isinstance(node, LlmNode)]
    assert all(run.audit.values())
    assert (run.sessions.outcome == "completed").sum() == len(sessions)
    assert len(run.calls) == len(calls)
    assert run.calls.prompt_tokens.sum() == sum(call.prompt_tokens for call in calls)
    assert run.calls.output_tokens.sum() == sum(call.output_tokens for call in calls)
