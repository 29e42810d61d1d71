"""Sessions a row and spans: Copilot, LLMServingSim, OpenTelemetry, ServeGen's batches."""

import json

import pytest

from factorysim.workload.detect import detect_format
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from tests.unit.workload.readers.samples import (
    COPILOT,
    LLMSERVINGSIM,
    OTEL,
    SERVEGEN_OFFLINE,
    copilot_call,
    faults,
    otlp,
    read,
    rows,
    span,
)

MS = 10**6
S = 10**9


def changed(text: str, change) -> str:
    """Edit the only row of a text."""
    row = json.loads(text)
    change(row)
    return json.dumps(row)


def test_calls_of_a_copilot_turn_may_overlap(tmp_path):
    [told] = read(tmp_path, COPILOT, "copilot")
    kinds = [(type(node).__name__, node.after) for node in told.nodes]
    assert kinds == [
        ("LlmNode", ()),
        ("LlmNode", ()),
        ("ToolNode", (0,)),
        ("ToolNode", (0,)),
        ("LlmNode", (1, 2, 3)),
        ("GapNode", (4,)),
        ("LlmNode", (5,)),
    ]
    first, side, look, run, then, gap, last = told.nodes
    assert (first.initiator, side.initiator, then.initiator) == ("user", "agent", "tool")
    assert (side.at_ns, look.delay_ns, then.delay_ns) == (S, 500 * MS, S)
    assert (look.cls, look.remote_ns, run.remote_ns) == ("get_file", 100 * MS, 900 * MS)
    assert (then.prefix_tokens, last.prefix_tokens) == (900, 1000)
    assert gap == GapNode(600 * S - 7 * S, after=(4,))
    kept = told.src["fstrace"]["nodes"]
    assert kept["n4"]["obs"] == {"dur": 2 * S, "status": "ok", "cached": 900}
    assert kept["n4"]["src"]["tokens"] == {"total": 1030}
    assert (kept["n2"]["status"], kept["n3"]["status"]) == ("ok", "error")
    assert kept["n2"]["src"] == {"batch": {"auto_continue": True, "result": "success"}}


def test_a_batch_of_no_known_call_waits_by_time(tmp_path):
    def change(row):
        row["turns"][0]["tool_batches"][0]["request_id"] = "nobody"

    [told] = read(tmp_path, changed(COPILOT, change), "copilot")
    assert [node.after for node in told.nodes if isinstance(node, ToolNode)] == [(0,), (0,)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda row: row.update(turns=[]), ":1: turns"),
        (lambda row: row["turns"][1].update(llm_calls=3), ":1: turns.1.llm_calls"),
        (
            lambda row: row["turns"][0]["llm_calls"][0].pop("tokens"),
            ":1: turns.0.llm_calls.0.tokens",
        ),
        (
            lambda row: row["turns"][0]["llm_calls"][0].update(timestamp="noon"),
            ":1: turns.0.llm_calls.0.timestamp",
        ),
        (
            lambda row: row["turns"][0]["tool_batches"][0]["function_calls"][0].update(status=3),
            ":1: turns.0.tool_batches.0.function_calls.0.status",
        ),
        (
            lambda row: row["turns"][0]["llm_calls"].append(
                copilot_call("m1", "00:30.000", 5, 10, 0)
            ),
            ":1: found 'm1.0' again",
        ),
    ],
)
def test_bad_copilot_sessions_are_told(tmp_path, change, told):
    assert faults(tmp_path, changed(COPILOT, change), "copilot")[0].startswith(told)


def test_turns_that_overlap_and_calls_that_fail_are_counted(tmp_path):
    def change(row):
        late = row["turns"][1]["llm_calls"][0]
        late |= {"timestamp": 1780308001000}
        late["tokens"] |= {"completion": 0}

    [told] = read(tmp_path, changed(COPILOT, change), "copilot")
    assert told.src["copilot"]["waits_below_0"] == 1
    assert told.src["copilot"]["outputs_of_0"] == 1


def test_token_ids_tell_what_a_prompt_repeats(tmp_path):
    agentic, flat = read(tmp_path, LLMSERVINGSIM, "llmservingsim")
    assert (agentic.sid, agentic.at_ns, flat.at_ns) == ("a", 5, S)
    assert agentic.nodes == [
        LlmNode(3, 2),
        ToolNode("tool", remote_ns=MS, after=(0,)),
        LlmNode(6, 1, 5, (1,), initiator="tool"),
    ]
    assert flat.nodes == [LlmNode(100, 20)]
    bad = LLMSERVINGSIM.replace("[1, 2, 3, 4, 5, 6]", "[1, 2]")
    start = ":1: sub_requests.1.input_tok_ids: found 2 ids"
    assert faults(tmp_path, bad, "llmservingsim")[0].startswith(start)


def test_spans_become_a_dag_with_sub_agents_and_pauses(tmp_path):
    told, other = read(tmp_path, OTEL, "otel")
    assert (told.sid, told.at_ns, other.sid, other.at_ns) == ("conv", 0, "trace3", 50 * S)
    assert told.nodes == [
        LlmNode(100, 20, at_ns=S),
        ToolNode("read", remote_ns=500 * MS, after=(0,), delay_ns=S // 2, at_ns=3500 * MS),
        ToolNode("search", remote_ns=1500 * MS, after=(0,), delay_ns=S // 2, at_ns=3500 * MS),
        LlmNode(50, 5, 0, (1, 2), S, 6 * S, "agent", context=1),
        LlmNode(180, 10, 120, (3,), S, 8 * S, "tool"),
        GapNode(31 * S, after=(4,)),
        LlmNode(250, 9, 0, (5,), 0, 40 * S),
    ]
    assert told.src["otel"]["traces"] == ["trace1", "trace2"]
    kept = told.src["fstrace"]["nodes"]["n0"]
    assert kept["model"] == "m"
    assert kept["obs"] == {"dur": 2 * S, "status": "ok"}
    assert kept["src"] == {"trace": "trace1", "span": "c1", "name": "chat c1"}
    assert told.src["fstrace"]["nodes"]["n4"]["obs"]["cached"] == 120


def test_one_object_over_many_lines_is_read_too(tmp_path):
    spans = otlp(span("a", "", "chat", 0, 1, input=5, output=2))
    text = json.dumps(spans, indent=2)
    path = tmp_path / "spans.json"
    path.write_text(text)
    assert detect_format(path) == "otel"
    [told] = read(tmp_path, text, "otel")
    assert told.nodes == [LlmNode(5, 2)]


def test_spans_whose_parent_was_not_exported_belong_together(tmp_path):
    text = rows(
        otlp(
            span("a", "gone", "chat", 0, 1, input=5, output=2),
            span("b", "gone", "execute_tool", 1, 3, tool="x"),
            span("c", "gone", "chat", 4, 5, input=9, output=2),
        )
    )
    [told] = read(tmp_path, text, "otel")
    assert [node.after for node in told.nodes] == [(), (0,), (1,)]
    assert not any(isinstance(node, GapNode) for node in told.nodes)


def test_tools_inside_of_a_call_follow_it_and_a_tool_of_calls_is_its_calls(tmp_path):
    text = rows(
        otlp(
            span("call", "", "chat", 0, 10, input=5, output=2),
            span("inside", "call", "execute_tool", 2, 4, tool="x"),
            span("outer", "", "execute_tool", 20, 30, tool="agent"),
            span("sub", "outer", "chat", 21, 29, input=7, output=1),
        )
    )
    [told] = read(tmp_path, text, "otel")
    calls = [node.prompt_tokens for node in told.nodes if isinstance(node, LlmNode)]
    assert calls == [5, 7]
    assert [node.cls for node in told.nodes if isinstance(node, ToolNode)] == ["x"]
    assert told.nodes[1].after == (0,)


def test_calls_that_failed_without_usage_are_counted_and_others_refused(tmp_path):
    failed = span("a", "", "chat", 0, 1, status={"code": 2})
    good = span("b", "", "chat", 2, 3, input=5, output=0)
    [told] = read(tmp_path, rows(otlp(failed, good)), "otel")
    assert told.src["otel"]["calls_without_usage"] == 1
    assert told.src["otel"]["outputs_of_0"] == 1
    bare = rows(otlp(span("a", "", "chat", 0, 1)))
    assert faults(tmp_path, bare, "otel")[0].startswith(":1: attributes.gen_ai.usage.input_tokens")


@pytest.mark.parametrize(
    ("spans", "told"),
    [
        ([span("a", "", "chat", 2, 1, input=5, output=1)], ":1: endTimeUnixNano"),
        ([span("a", "b", "x", 0, 1), span("b", "a", "x", 0, 1)], ":1: parentSpanId"),
        ([span("a", "", "chat", 0, 1, input=-5, output=1)], ":1: attributes.gen_ai.usage.input"),
        ([span("a", "", "chat", 0, 1, input=0, output=1)], ":1: attributes.gen_ai.usage.input"),
        ([{"traceId": "t"}], ":1: spanId"),
    ],
)
def test_bad_spans_are_told(tmp_path, spans, told):
    assert any(line.startswith(told) for line in faults(tmp_path, rows(otlp(*spans)), "otel"))


def test_spans_that_were_sent_twice_are_counted(tmp_path):
    one, two = (span(name, "", "chat", 0, 1, input=5, output=1) for name in "ab")
    [told] = read(tmp_path, rows(otlp(one, two), otlp(one)), "otel")
    assert len(told.nodes) == 2
    assert told.src["otel"]["spans_twice"] == 1


def test_deep_nesting_costs_no_stack(tmp_path):
    deep = [span(f"s{n}", f"s{n - 1}" if n else "", "invoke_agent", n, 9999) for n in range(3000)]
    deep += [
        span(f"c{n}", f"s{n}", "chat", n, n + 0.5, input=5, output=1) for n in range(0, 3000, 100)
    ]
    [told] = read(tmp_path, rows(otlp(*deep)), "otel")
    assert len(told.nodes) == 30


def test_servegen_batches_say_what_is_unknown(tmp_path):
    hashed, stated = read(tmp_path, SERVEGEN_OFFLINE, "servegen_offline")
    assert hashed.nodes == [LlmNode(40, 1, hashes=((1, 3),), block_tokens=16)]
    assert hashed.src["servegen_offline"]["output"] == "unknown"
    assert stated.nodes == [LlmNode(32, 7)]
    assert stated.src["fstrace"]["nodes"]["n0"]["obs"] == {"dur": 950 * MS}
    assert [hashed.at_ns, stated.at_ns] == [0, 0]
    bad = rows({"request_id": 1, "input_length": 40}, {"request_id": 2, "input_length": 0})
    told = faults(tmp_path, bad, "servegen_offline")
    assert [line[:19] for line in told[:2]] == [":1: output_length: ", ":2: input_length: f"]
