"""CSV tables: Vidur's lengths, AgentCgroup's tools, tau-bench's messages, BurstGPT's requests."""

from pathlib import Path

import pytest

from factorysim.workload.detect import detect
from factorysim.workload.session import GapNode, LlmNode, ToolNode
from factorysim.workload.traces import read_trace
from tests.unit.workload.readers.samples import (
    AGENTCGROUP,
    BURST_HEADER,
    BURSTGPT,
    TAUBENCH,
    faults,
    read,
    table,
)

S = 10**9
SHARED = Path(__file__).resolve().parents[5] / "shared" / "traces"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="the shared traces are not here")


def test_vidur_lengths_are_a_batch_and_times_are_kept(tmp_path):
    lengths = table("num_prefill_tokens,num_decode_tokens,pd_ratio", "60,4,15.0", "9,3,3.0")
    told = read(tmp_path, lengths, "vidur")
    assert [session.at_ns for session in told] == [0, 0]
    assert told[0].nodes == [LlmNode(60, 4)]
    assert told[0].src == {"pd_ratio": 15.0}
    timed = table("arrived_at,num_prefill_tokens,num_decode_tokens", "0.25,60,4", "1e1,9,3")
    assert [s.at_ns for s in read(tmp_path, timed, "vidur")] == [S // 4, 10 * S]


def test_bad_vidur_rows_are_told_by_line(tmp_path):
    text = table(
        "arrived_at,num_prefill_tokens,num_decode_tokens",
        "5,60,4", "6,-60,4", "6,60", "6,6.5,x", "4,60,4",
    )  # fmt: skip
    told = faults(tmp_path, text, "vidur")
    assert [line.split(": found")[0] for line in told] == [
        ":3: num_prefill_tokens",
        ":4",
        ":5: num_prefill_tokens",
        ":5: num_decode_tokens",
        ":6: arrived_at",
    ]
    assert "expected the columns" in faults(tmp_path, "a,b\n1,2\n", "vidur")[0]


def test_agentcgroup_tools_wait_for_what_had_ended(tmp_path):
    first, second = read(tmp_path, AGENTCGROUP, "agentcgroup")
    assert first.sid == "glm/repo-1/attempt_1"
    read_tool, test, grep = first.nodes
    assert (read_tool.cls, test.cls, grep.cls) == ("Read", "test", "Grep")
    assert (read_tool.after, test.after, grep.after) == ((), (0,), (0,))
    assert test.delay_ns == round(9.0 * S) - round(7.868 * S)
    assert (test.cores, test.cpu_s, test.remote_ns) == (2.5, 10.0, 0)
    assert (test.memory_bytes, grep.memory_bytes) == (700e6, 0)
    assert read_tool.remote_ns == 500_000_000 - round(0.137 * 0.5 * S)
    assert first.src["fstrace"]["nodes"]["n2"]["status"] == "unmeasured"
    assert second.at_ns == 0


def test_sums_of_runs_are_no_trace(tmp_path):
    text = table("model,task,attempt,n_llm_calls,n_tool_calls", "glm,a,1,3,4")
    assert "sums of AgentCgroup runs" in faults(tmp_path, text, "auto")[0]


def test_taubench_prompts_are_all_that_was_said(tmp_path):
    [told] = read(tmp_path, TAUBENCH, "taubench")
    assert told.nodes == [
        LlmNode(1018, 7),
        ToolNode("get_user", result_tokens=213, out_bytes=850, after=(0,)),
        LlmNode(1018 + 7 + 213, 23, 1025, (1,), 0, None, "tool"),
        GapNode(0, after=(2,)),
        LlmNode(1238 + 23 + 8, 117, 1261, (3,), 0, None, "user"),
    ]
    assert told.src["taubench"] == {
        "tokens": "characters / 4", "times": "none recorded", "reward": 1,
    } or told.src["taubench"]["reward"] == 1.0  # fmt: skip


def test_tools_of_one_message_run_side_by_side(tmp_path):
    text = TAUBENCH.replace("0,0,1.0,4,assistant", "0,0,1.0,4,tool,look,0,8,0\n0,0,1.0,9,assistant")
    text = text.replace(",get_user,1,0,25", ",get_user,2,0,25").replace("9,assistant,,0,91,0\n", "")
    header, *lines = text.splitlines()
    lines[5:6] = []
    nodes = read(tmp_path, table(header, *lines), "taubench")[0].nodes
    assert [node.after for node in nodes[:4]] == [(), (0,), (0,), (1, 2)]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (",1,user,", ",1,robot,", ":3: role"),
        (",1,user,", ",0,user,", ":3: step"),
        (",2,assistant,get_user,1", ",2,user,,0", ":5: role"),
        (",850,", ",-850,", ":5: content_chars"),
        (",0,system,,0,4000,0\n0,0,1.0,1,user,,0,70,0", ",0,system,,0,0,0", ":3: role"),
    ],
)
def test_bad_dialogues_are_told_by_line(tmp_path, old, new, told):
    assert faults(tmp_path, TAUBENCH.replace(old, new), "taubench")[0].startswith(told)


def test_conversations_of_burstgpt_are_sessions_and_failures_are_counted(tmp_path):
    talk, single = read(tmp_path, BURSTGPT, "burstgpt")
    assert (talk.sid, talk.at_ns, single.at_ns) == ("7", 0, 40 * S)
    assert talk.nodes == [
        LlmNode(472, 18),
        GapNode(round(52.5 * S), after=(0,)),
        LlmNode(600, 1, 0, (1,), 0, 55 * S),
    ]
    assert talk.src["burstgpt"] == {"outputs_of_0": 1, "began_s": 5.0}
    kept = talk.src["fstrace"]["nodes"]
    assert kept["n2"]["obs"] == {"status": "failed", "dur": 3 * S}
    assert kept["n0"]["model"] == "ChatGPT"
    assert kept["n0"]["src"] == {"Log Type": "Conversation log"}


def test_the_older_release_lacks_two_columns(tmp_path):
    text = table(
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
        "5,ChatGPT,472,18,490,Conversation log",
        "6.5,GPT-4,10,0,10,API log",
    )
    told = read(tmp_path, text, "auto")
    assert [session.at_ns for session in told] == [0, round(1.5 * S)]


def test_bad_burstgpt_rows_are_told_by_line(tmp_path):
    text = table(
        BURST_HEADER,
        "5,7,2.5,ChatGPT,472,18,491,Conversation log",
        "5,,1,GPT-4,0,0,0,API log",
        "9,8,1,GPT-4,5,1,6,API log",
        "8,8,1,GPT-4,5,1,6,API log",
    )
    told = faults(tmp_path, text, "burstgpt")
    starts = (":2: Total tokens", ":3: Request tokens", ":5: Timestamp")
    assert [line.startswith(start) for line, start in zip(told, starts, strict=True)] == [True] * 3


def test_files_made_up_under_the_name_of_burstgpt_are_noted(tmp_path):
    models = ("ChatGPT", "GPT-4")
    lines = [f"{n},{n},1,{models[n % 2]},10,5,15,API log" for n in range(1, 40)]
    path = tmp_path / "BurstGPT_1.csv"
    path.write_text(table(BURST_HEADER, *lines))
    assert any("made up" in note for note in detect(path).notes)
    path.write_text(BURSTGPT)
    assert not any("made up" in note for note in detect(path).notes)


@needs_shared
@pytest.mark.parametrize(
    ("name", "sessions", "nodes"),
    [
        ("vidur_arxiv_summarization_lengths.csv.gz", 28_257, 28_257),
        ("agentcgroup_glm_tool_calls.csv.gz", 113, 6_641),
        ("taubench_gpt4o_airline_steps.csv.gz", 200, None),
    ],
)
def test_the_shared_tables_are_read_whole(name, sessions, nodes):
    told = list(read_trace(SHARED / name))
    assert len(told) == sessions
    if nodes is not None:
        assert sum(len(session.nodes) for session in told) == nodes


@needs_shared
def test_taubench_matches_its_published_step_sizes():
    """Medians of workloads.md, section 5: 7 user turns, 11 LLM calls, 5 tools of 167 tokens."""
    told = list(read_trace(SHARED / "taubench_gpt4o_airline_steps.csv.gz"))

    def middle(values):
        return sorted(values)[len(values) // 2]

    def each(kind):
        return [sum(isinstance(node, kind) for node in session.nodes) for session in told]

    assert middle(each(LlmNode)) == 11
    assert middle(each(ToolNode)) == 5
    assert abs(middle(each(GapNode)) + 1 - 7) <= 1
    results = [node.result_tokens for s in told for node in s.nodes if isinstance(node, ToolNode)]
    assert middle(results) == 167
    assert sorted(results)[len(results) * 9 // 10] == pytest.approx(240, abs=2)
