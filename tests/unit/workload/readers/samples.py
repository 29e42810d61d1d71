"""A small file of every format that has no tests of its own elsewhere, written by hand.

Of each: the text, and how many sessions, LLM calls, tool calls and gaps it holds.
"""

import json
from typing import NamedTuple

import pytest

from factorysim.errors import TraceError
from factorysim.workload.traces import read_trace


class Sample(NamedTuple):
    """A file, and what is in it."""

    text: str
    sessions: int
    calls: int
    tools: int
    gaps: int


def read(tmp_path, text: str, name: str) -> list:
    """Read a text as a trace of a format."""
    path = tmp_path / "trace"
    path.write_text(text)
    return list(read_trace(path, name))


def faults(tmp_path, text: str, name: str) -> list[str]:
    """Read a bad trace: its faults, each from the line on."""
    with pytest.raises(TraceError) as caught:
        read(tmp_path, text, name)
    return [str(fault).removeprefix(f"{tmp_path / 'trace'}") for fault in caught.value.faults]


def rows(*items: dict) -> str:
    """Write objects, one a line."""
    return "".join(json.dumps(item) + "\n" for item in items)


def table(header: str, *lines: str) -> str:
    """Write a CSV file."""
    return "\n".join([header, *lines]) + "\n"


def tracelab(index: int, prompt: int, prefix: int, at: str, **changes) -> dict:
    """Make a round that answers a tool's result or the user at a second of one minute."""
    kind = changes.pop("kind", "tool_result")
    events = [
        {"event_type": kind, "timestamp": f"2026-06-01T05:40:{at}Z"},
        {"event_type": "text", "timestamp": f"2026-06-01T05:40:{float(at) + 2:06.3f}Z"},
    ]
    row = {
        "provider": "claude",
        "session_id": "claude:a",
        "round_index": index,
        "round_id": f"msg_{index}",
        "model": "m",
        "input_tokens_total": prompt,
        "prefix_tokens": prefix,
        "newly_append_tokens": prompt - prefix,
        "output_tokens": 20,
        "reasoning_output_tokens": None,
        "timing_events": events,
        "tools": [],
    }
    return row | changes


def tool(number: int, ms: int | None, result_at: str | None) -> dict:
    """Make a tool of a TraceLab round."""
    return {
        "tool_index": number,
        "tool_name": "Bash",
        "tool_call_id": f"t{number}",
        "emitted_at": "2026-06-01T05:40:01.000Z",
        "result_at": result_at and f"2026-06-01T05:40:{result_at}Z",
        "input_chars": 10,
        "result_chars": 41,
        "tool_wall_latency_ms": ms,
        "tool_internal_latency_ms": None,
        "is_error": False,
    }


TRACELAB = rows(
    tracelab(0, 1000, 200, "00.000", kind="user_message", tools=[tool(0, 1500, "03.500")]),
    tracelab(0, 90, 0, "01.000", session_id="codex:b", kind="user_message"),
    tracelab(1, 1100, 1010, "03.500"),
    tracelab(2, 1200, 1120, "30.000", kind="user_message"),
)

AGENTCGROUP = table(
    "model,task,attempt,call_index,tool,bash_class,t_start_s,duration_s,cpu_percent_mean,mem_mb_max",
    "glm,repo-1,attempt_1,0,Read,,7.368,0.5,13.7,193.0",
    "glm,repo-1,attempt_1,1,Bash,test,9.0,4.0,250.0,700.0",
    "glm,repo-1,attempt_1,2,Grep,,9.5,0.5,,",
    "glm,repo-2,attempt_1,0,Read,,1.0,0.5,10,100",
)

TAUBENCH = table(
    "task_id,trial,reward,step,role,tool_name,n_tool_calls,content_chars,tool_args_chars",
    "0,0,1.0,0,system,,0,4000,0",
    "0,0,1.0,1,user,,0,70,0",
    "0,0,1.0,2,assistant,get_user,1,0,25",
    "0,0,1.0,3,tool,get_user,0,850,0",
    "0,0,1.0,4,assistant,,0,91,0",
    "0,0,1.0,5,user,,0,32,0",
    "0,0,1.0,6,assistant,,0,468,0",
)


def turn(sid: str, prompt: int, output: int, hashes: list[int], **more) -> dict:
    """Make a row of the mooncake+ form."""
    row = {"session_id": sid, "input_length": prompt, "output_length": output}
    return row | {"hash_ids": hashes} | more


def growing_turns(count: int) -> str:
    """Make turns that say nothing but that they grow."""
    return rows(*(turn("a", 100 * (n + 1), 10, []) for n in range(count)))


AIPERF = rows(
    turn("a", 1024, 100, [1, 2], timestamp=0.5, group_id=3),
    turn("b", 600, 10, [7, 8], timestamp=700),
    turn("a", 1300, 50, [1, 2, 3], delay=250.5),
    turn("b", 1200, 10, [7, 8, 9], delay=1000, message_mode="history"),
)

AIPERF_DELTA = rows(
    turn("a", 1300, 100, [1, 2, 3], timestamp=0, message_mode="delta"),
    turn("a", 200, 50, [4], delay=250, message_mode="delta"),
    turn("b", 600, 10, [1, 9], timestamp=700),
    turn("a", 700, 50, [5, 6], delay=250, message_mode="delta"),
)


def event(start: int, ms: int, **more) -> dict:
    """Make a tool event of Dynamo, some milliseconds after a moment of 2026."""
    zero = 1_780_000_000_000
    told = {"tool_call_id": f"c{start}", "tool_class": "shell", "status": "ok"}
    told |= {"started_at_unix_ms": zero + start, "ended_at_unix_ms": zero + start + ms}
    return told | {"duration_ms": ms} | more


def request(name: str, sid: str, prompt: int, blocks: range, **more) -> dict:
    """Make a row of the agentic Mooncake form, in blocks of 64 tokens."""
    row = {"request_id": name, "session_id": sid, "input_length": prompt, "output_length": 9}
    return row | {"hash_ids": list(blocks)} | more


AGENTIC_MOONCAKE = rows(
    request("r1", "main", 640, range(10), timestamp=1000, branches=["w1"]),
    request("w1", "worker", 200, range(50, 54), wait_for=["r1"], delay=5),
    request(
        "r2", "main", 700, range(11), wait_for=["r1", "w1"], timestamp=3, delay=20,
        tool_wait_ms=150, tool_events=[event(0, 100), event(50, 50), event(1000, 50)],
    ),
    request("x1", "other", 640, range(10), timestamp=2000),
    request("r3", "main", 300, range(5), wait_for=["r2"], tool_wait_ms=40, prefix_reset=True),
)  # fmt: skip


def dynamo(kind: str, at: int, trajectory: str, body: dict, **context) -> dict:
    """Make an event of Dynamo's agent trace."""
    told = {"session_type_id": "coder", "session_id": "s1", "trajectory_id": trajectory}
    part = "request" if kind == "request_end" else "tool"
    zero = 1_780_000_000_000
    event = {"schema": "dynamo.agent.trace.v1", "event_type": kind, "event_source": "frontend"}
    event |= {"event_time_unix_ms": zero + at, "agent_context": told | context, part: body}
    return {"timestamp": at, "event": event}


def ended(name: str, prompt: int, hashes: list[int]) -> dict:
    """Make the request of a `request_end`."""
    replay = {"trace_block_size": 64, "input_length": prompt, "input_sequence_hashes": hashes}
    told = {"request_id": name, "x_request_id": None, "model": "m", "output_tokens": 12}
    return told | {"finish_reason_metadata": {}, "replay": replay}


BIG = 2**63
DYNAMO_AGENT = rows(
    dynamo("request_end", 1000, "main", ended("r1", 130, [BIG + 5, BIG + 6])),
    dynamo("tool_start", 1100, "main", {"tool_call_id": "c1100", "tool_class": "shell"}),
    dynamo("tool_end", 1500, "main", event(1100, 400)),
    dynamo("tool_error", 1700, "main", event(1200, 500, status="error", error_type="exit")),
    dynamo("request_end", 1900, "sub", ended("w1", 64, [9]), parent_trajectory_id="main"),
    dynamo("tool_start", 1950, "main", {"tool_call_id": "lost", "tool_class": "shell"}),
    dynamo("request_end", 3000, "main", ended("r2", 200, [BIG + 5, BIG + 6, BIG + 7])),
)

BURST_HEADER = (
    "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type"
)
BURSTGPT = table(
    BURST_HEADER,
    "5,7,2.5,ChatGPT,472,18,490,Conversation log",
    "45,,1,GPT-4,1087,230,1317,API log",
    "60,7,3,ChatGPT,600,0,600,Conversation log",
)


def chat(name: int, parent: int, at: float, prompt: int, hashes: list[int], **more) -> dict:
    """Make a Bailian row."""
    row = {"chat_id": name, "parent_chat_id": parent, "timestamp": at, "input_length": prompt}
    return row | {"output_length": 10, "type": "text", "turn": 1, "hash_ids": hashes} | more


BAILIAN = rows(
    chat(1, -1, 0.5, 40, [1, 2, 3]),
    chat(2, -1, 1, 16, [9]),
    chat(3, 1, 20.25, 60, [1, 2, 4, 5], turn=2),
    chat(4, 1, 30, 60, [1, 2, 6, 7], turn=2),
    chat(5, 99, 31, 16, [1], turn=5),
)


def copilot_call(name: str, at: str, ms: int, prompt: int, cached: int, **more) -> dict:
    """Make a call of a Copilot turn."""
    tokens = {"total": prompt + 30, "prompt": prompt, "completion": 30, "cached": cached}
    call = {"message_id": name, "timestamp": f"2026-06-01T10:{at}Z", "duration_ms": ms}
    call |= {"initiator_type": "agent", "model": "m", "result": "success", "status_code": 200}
    return call | {"tokens": tokens, "message_metadata": []} | more


COPILOT = rows(
    {
        "session_id": "s1",
        "date": "2026-06-01",
        "turns": [
            {
                "turn_id": 1,
                "llm_calls": [
                    copilot_call("m1", "00:00.000", 2000, 900, 0, initiator_type="user"),
                    copilot_call("side", "00:01.000", 3000, 300, 0),
                    copilot_call("m2", "00:05.000", 2000, 1000, 900),
                ],
                "tool_batches": [
                    {
                        "timestamp": "2026-06-01T10:00:02.500Z",
                        "duration_ms": 1000,
                        "auto_continue": True,
                        "result": "success",
                        "request_id": "m1",
                        "function_calls": [
                            {"name": "get_file", "status": 2, "duration_ms": 100},
                            {"name": "run_command", "status": 1, "duration_ms": 900},
                        ],
                    }
                ],
            },
            {
                "turn_id": 2,
                "llm_calls": [
                    copilot_call("m3", "10:00.000", 1000, 1200, 1000, initiator_type="user")
                ],
                "tool_batches": [],
            },
        ],
    },
)

LLMSERVINGSIM = rows(
    {
        "session_id": "a",
        "arrival_time_ns": 5,
        "sub_requests": [
            {
                "input_toks": 3,
                "output_toks": 2,
                "tool_duration_ns": 1_000_000,
                "input_tok_ids": [1, 2, 3],
                "output_tok_ids": [4, 5],
            },
            {"input_toks": 6, "output_toks": 1, "input_tok_ids": [1, 2, 3, 4, 5, 6]},
        ],
    },
    {"input_toks": 100, "output_toks": 20, "arrival_time_ns": 1_000_000_000},
)


def span(name: str, parent: str, operation: str, begin_s: float, end_s: float, **told) -> dict:
    """Make a span of OTLP; attributes as their last words."""
    zero = 1_780_000_000_000_000_000
    long = {
        "input": ("gen_ai.usage.input_tokens", "intValue"),
        "output": ("gen_ai.usage.output_tokens", "intValue"),
        "cached": ("gen_ai.usage.cache_read.input_tokens", "intValue"),
        "model": ("gen_ai.request.model", "stringValue"),
        "tool": ("gen_ai.tool.name", "stringValue"),
        "conversation": ("gen_ai.conversation.id", "stringValue"),
    }
    made = {
        "traceId": told.pop("trace", "trace1"),
        "spanId": name,
        "parentSpanId": parent,
        "name": f"{operation} {name}",
        "startTimeUnixNano": str(zero + round(begin_s * 1e9)),
        "endTimeUnixNano": str(zero + round(end_s * 1e9)),
        "status": told.pop("status", {}),
    }
    attributes = [{"key": "gen_ai.operation.name", "value": {"stringValue": operation}}]
    for key, value in told.items():
        name, kind = long[key]
        attributes.append({"key": name, "value": {kind: str(value)}})
    return made | {"attributes": attributes if operation != "http" else []}


def otlp(*spans: dict) -> dict:
    """Wrap spans as the collector exports them."""
    scope = {"scope": {"name": "test"}, "spans": list(spans)}
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [scope]}]}


OTEL = rows(
    otlp(
        span("c1", "agent1", "chat", 1, 3, input=100, output=20, model="m"),
        span("t1", "agent1", "execute_tool", 3.5, 5, tool="search"),
        span("t2", "agent1", "execute_tool", 3.5, 4, tool="read"),
    ),
    otlp(
        span("x1", "sub", "chat", 6, 7, input=50, output=5),
        span("sub", "agent1", "invoke_agent", 5.5, 7.5),
        span("c2", "agent1", "chat", 8, 9, input=180, output=10, cached=120),
        span("agent1", "root", "invoke_agent", 0.5, 9, conversation="conv"),
        span("root", "", "http", 0, 9.5),
    ),
    otlp(
        span("c3", "", "chat", 40, 42, input=250, output=9, trace="trace2", conversation="conv"),
        span("other", "", "chat", 50, 51, input=10, output=1, trace="trace3"),
    ),
)

SERVEGEN_OFFLINE = rows(
    {"request_id": 1, "type": "text", "input_length": 40, "hash_ids": [1, 2, 3], "img_ids": []},
    {"request_id": 2, "type": "text", "input_length": 32, "output_length": 7, "duration": 950},
)

SAMPLES = {
    "tracelab": Sample(TRACELAB, 2, 4, 1, 1),
    "vidur": Sample(
        table("num_prefill_tokens,num_decode_tokens,pd_ratio", "60,4,15", "9,3,3"), 2, 2, 0, 0
    ),
    "agentcgroup": Sample(AGENTCGROUP, 2, 0, 4, 0),
    "taubench": Sample(TAUBENCH, 1, 3, 1, 1),
    "aiperf": Sample(AIPERF, 2, 4, 0, 0),
    "aiperf_delta": Sample(AIPERF_DELTA, 2, 4, 0, 0),
    "agentic_mooncake": Sample(AGENTIC_MOONCAKE, 2, 5, 4, 0),
    "dynamo_agent": Sample(DYNAMO_AGENT, 1, 3, 2, 0),
    "burstgpt": Sample(BURSTGPT, 2, 3, 0, 1),
    "bailian": Sample(BAILIAN, 3, 5, 0, 2),
    "copilot": Sample(COPILOT, 1, 4, 2, 1),
    "llmservingsim": Sample(LLMSERVINGSIM, 2, 3, 1, 0),
    "otel": Sample(OTEL, 2, 5, 2, 1),
    "servegen_offline": Sample(SERVEGEN_OFFLINE, 2, 2, 0, 0),
    "azure_multimodal": Sample(
        table(
            "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens",
            "2025-05-12 00:00:00.0000001,2,1500,40",
            "2025-05-12 00:00:01.5,0,15,4",
        ),
        *(2, 2, 0, 0),
    ),
}
"""By the names of the formats."""
