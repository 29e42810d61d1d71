"""TraceLab: rounds in a chain, with tools and users between them."""

from pathlib import Path

import pytest

from factorysim.workload.inspect import summarize
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.traces import read_trace
from tests.unit.workload.readers.samples import TRACELAB, faults, read, rows, tool, tracelab

S = 10**9
TRACES = Path(__file__).resolve().parents[5] / "shared" / "traces"
SHARED = TRACES / "tracelab_example_round_trace.jsonl.gz"


def test_rounds_follow_tools_and_the_user(tmp_path):
    first, second = read(tmp_path, TRACELAB, "tracelab")
    assert (first.sid, first.at_ns, second.sid, second.at_ns) == ("claude:a", 0, "codex:b", S)
    result = {"result_tokens": 11, "in_bytes": 10, "out_bytes": 41}
    assert first.nodes == [
        LlmNode(1000, 20),
        ToolNode("Bash", remote_ns=1500_000_000, after=(0,), **result),
        LlmNode(1100, 20, 1010, (1,), 0, 3500_000_000, "tool"),
        GapNode(24_500_000_000, after=(2,)),
        LlmNode(1200, 20, 1120, (3,), 0, 30 * S, "user"),
    ]
    kept = first.src["fstrace"]["nodes"]
    assert kept["n0"]["obs"] == {"dur": 2 * S, "cached": 200}
    assert kept["n1"]["status"] == "ok"
    assert kept["n4"]["model"] == "m"
    assert first.src["tracelab"]["began_unix_ns"] == 1780292400 * S


def test_a_prompt_repeats_no_more_than_there_was(tmp_path):
    text = rows(tracelab(0, 100, 50, "00.000"), tracelab(1, 900, 800, "09.000"))
    [told] = read(tmp_path, text, "tracelab")
    assert [node.prefix_tokens for node in told.nodes] == [0, 120]
    assert told.nodes[1].initiator == "agent"


def test_odd_rounds_are_counted(tmp_path):
    early = tracelab(1, 120, 100, "01.000", kind="user_message", output_tokens=0)
    text = rows(tracelab(0, 100, 0, "05.000", tools=[tool(0, None, None)]), early)
    [told] = read(tmp_path, text, "tracelab")
    counts = {key: told.src["tracelab"][key] for key in ("outputs_of_0", "tools_without_time")}
    assert counts == {"outputs_of_0": 1, "tools_without_time": 1}
    assert told.src["tracelab"]["waits_below_0"] == 1
    assert [type(node) for node in told.nodes] == [LlmNode, ToolNode, GapNode, LlmNode]


def test_bad_rounds_are_told_by_line(tmp_path):
    text = rows(
        tracelab(0, 100, 0, "05.000"),
        tracelab(1, 100, 0, "06.000", prefix_tokens=3),
        tracelab(2, 100, 0, "06.000", timing_events=[]),
        tracelab(3, 100, 0, "06.000", tools=[tool(0, -5, None)]),
        tracelab(0, 100, 0, "07.000"),
    )
    told = faults(tmp_path, text, "tracelab")
    starts = (":2: input_tokens_total", ":3: timing_events", ":4: tools.0.tool_wall", ":5: round")
    assert [line.startswith(start) for line, start in zip(told, starts, strict=True)] == [True] * 4


@pytest.mark.skipif(not SHARED.exists(), reason="the shared example rounds are not here")
def test_the_example_sessions_are_what_their_readme_says():
    sessions = list(read_trace(SHARED))
    told = summarize(sessions)
    assert (told.sessions, told.llm_calls, told.tool_calls) == (2, 19, 19)
    prompts = [node.prompt_tokens for node in sessions[1].nodes if isinstance(node, LlmNode)]
    assert prompts[0] == 32272
    assert prompts == sorted(prompts)
