"""`fstrace/1`: sessions as DAGs, read and written without loss, and what is refused."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.errors import TraceError
from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.fswrite import write_fstrace
from factorysim.workload.inspect import summarize
from factorysim.workload.readers import fstrace
from factorysim.workload.readers.fsrecords import Meta
from factorysim.workload.readers.fstrace import read_fstrace, read_fstrace_meta
from factorysim.workload.runs import blocks_in, common_blocks, ids_of
from factorysim.workload.session import Attempt, GapNode, LlmNode, Session, ToolNode

META = '{"k":"meta","schema":"fstrace/1","name":"x","block_size":64}'


def lines_of(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def read(tmp_path, text: str, meta: str = META):
    path = tmp_path / "t.jsonl"
    path.write_text(meta + "\n" + text)
    return list(read_fstrace(path))


def faults(tmp_path, text: str, meta: str = META):
    with pytest.raises(TraceError) as caught:
        read(tmp_path, text, meta)
    return caught.value.faults


def llm(id_: str, **fields) -> dict:
    return {"k": "llm", "sid": "s", "id": id_, "in": 100, "out": 5, **fields}


SESSION = [
    {
        "k": "session",
        "sid": "s",
        "t": 7,
        "agent": "a",
        "client": "c",
        "priority": 2,
        "src": {"x": 1},
    },
    llm("l1", initiator="user", hashes=[[5, 2]]),
    {
        **{"k": "tool", "sid": "s", "id": "t1", "call": "l1", "cls": "shell", "dur": 3_000_000_000},
        **{"cpu_s": 1.5, "cores": 1.5, "mem": 14e6, "in_bytes": 3, "out_bytes": 4, "out_tokens": 9},
        **{"name": "Bash", "status": "ok", "spawns": ["s2"]},
    },
    {"k": "gap", "sid": "s", "id": "g1", "after": ["t1"], "delay": 11, "cls": "approval"},
    llm("l2", after=["g1", "l1"], delay=4, t=99, **{"in": 200, "hashes": [5, 6, 9, 10]}),
]


def test_a_session_is_read_with_all_its_parts(tmp_path):
    [session] = read(tmp_path, lines_of(*SESSION))
    assert (session.sid, session.at_ns, session.agent, session.client) == ("s", 7, "a", "c")
    assert session.priority == 2
    assert session.src["x"] == 1
    assert session.nodes == [
        LlmNode(100, 5, hashes=((5, 2),), block_tokens=64),
        ToolNode("shell", 1.5, 1.5, 14e6, 2_000_000_000, 9, 3, 4, (0,)),
        GapNode(11, "approval", (1,)),
        LlmNode(200, 5, 128, (0, 2), 4, 92, "user", ((5, 2), (9, 2)), 64),
    ]


def test_what_is_written_is_read_back_with_its_ids_and_carried_fields(tmp_path):
    sessions = read(tmp_path, lines_of(*SESSION))
    out = tmp_path / "out.jsonl.gz"
    assert write_fstrace(out, sessions, Meta("x", block_size=64)) == 6
    assert list(read_fstrace(out)) == sessions
    assert sessions[0].src["fstrace"]["ids"] == ["l1", "t1", "g1", "l2"]
    assert sessions[0].src["fstrace"]["nodes"]["t1"] == {
        "call": "l1",
        "name": "Bash",
        "status": "ok",
        "spawns": ["s2"],
    }


@pytest.mark.parametrize("name", ["code_analysis", "supply_chain"])
def test_drawn_sessions_survive_the_file(tmp_path, name):
    model = AgentModel(load_agent(name))
    uniforms = KeyedUniforms(4, 0, "code")
    sessions = [
        Session(f"s{i}", 10**9 * i, model.nodes(uniforms.at("session", i)), name) for i in range(40)
    ]
    out = tmp_path / "out.jsonl"
    write_fstrace(out, sessions, Meta("drawn"))
    assert list(read_fstrace(out)) == sessions


def test_failed_attempts_survive_the_file(tmp_path):
    tool = ToolNode(
        "shell",
        0.5,
        2.0,
        remote_ns=7,
        after=(0,),
        context=3,
        failed=(Attempt(1.5, 20, 10**9), Attempt(0.0, 5, 0)),
        status="timeout",
    )
    sessions = [Session("a", 0, [LlmNode(9, 1), tool])]
    out = tmp_path / "out.jsonl"
    write_fstrace(out, sessions, Meta("n"))
    assert list(read_fstrace(out)) == sessions


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ("x", "a list"),
        ([{"dur": -1}], "failed.0.dur"),
        ([{"dur": 1, "cpu_s": 1.0}], "failed.0.cpu_s"),
        ([{"dur": 1, "why": "?"}], "unknown key"),
        ([{"dur": 1}] * 101, "at most 100"),
    ],
)
def test_bad_attempts_are_refused_by_name(tmp_path, failed, told):
    row = {"k": "tool", "sid": "a", "id": "t", "cls": "x", "dur": 5, "failed": failed}
    with pytest.raises(TraceError, match=told):
        read(tmp_path, lines_of({"k": "llm", "sid": "a", "in": 9, "out": 1}, row))


def test_other_words_of_status_are_kept(tmp_path):
    row = {"k": "tool", "sid": "a", "id": "t", "cls": "x", "dur": 5, "status": "unmeasured"}
    [session] = read(tmp_path, lines_of({"k": "llm", "sid": "a", "in": 9, "out": 1}, row))
    assert session.nodes[1].status == "ok"
    out = tmp_path / "out.jsonl"
    write_fstrace(out, [session], Meta("n"))
    assert list(read_fstrace(out)) == [session]


def test_meta_says_what_the_file_is(tmp_path):
    out = tmp_path / "out.jsonl"
    meta = Meta("n", "azure", "2023-11-16T18:15:46.6805900Z", None, source={"repo": "r"})
    write_fstrace(out, [Session("a", 0, [LlmNode(1, 1)])], meta)
    assert read_fstrace_meta(out) == meta


def test_rows_without_sid_are_sessions_of_their_own(tmp_path):
    rows = [{"k": "llm", "t": t, "in": 9, "out": 1} for t in (5, 5, 8)]
    sessions = read(tmp_path, lines_of(*rows))
    assert [s.at_ns for s in sessions] == [5, 5, 8]
    assert len({s.sid for s in sessions}) == 3


def test_nodes_are_put_after_what_they_wait_for(tmp_path):
    late_first = [llm("b", after=["a"]), llm("a"), llm("c", after=["b", "a"])]
    [session] = read(tmp_path, lines_of(*late_first))
    assert session.src["fstrace"]["ids"] == ["a", "b", "c"]
    assert [node.after for node in session.nodes] == [(), (0,), (0, 1)]


def test_fan_out_and_join(tmp_path):
    rows = [llm("a"), llm("x", after=["a"]), llm("y", after=["a"]), llm("j", after=["y", "x"])]
    [session] = read(tmp_path, lines_of(*rows))
    assert [node.after for node in session.nodes] == [(), (0,), (0,), (1, 2)]


def test_a_tool_of_unknown_cpu_work_only_waits(tmp_path):
    tool = {"k": "tool", "sid": "s", "id": "t", "after": ["a"], "cls": "web", "dur": 9}
    [session] = read(tmp_path, lines_of(llm("a"), tool))
    assert session.nodes[1] == ToolNode("web", remote_ns=9, after=(0,))


def test_prompts_of_a_delta_trace_are_written_out(tmp_path):
    meta = META.replace('"block', '"prompt_mode":"delta","block')
    rows = [
        llm("a", hashes=[1, 2]),
        llm("b", after=["a"], hashes=[3], retain_out=False, **{"in": 50}),
        llm("c", after=["b"], **{"in": 7}),
        llm("d", after=["c"], reset=True, **{"in": 30}),
    ]
    [session] = read(tmp_path, lines_of(*rows), meta)
    assert [n.prompt_tokens for n in session.nodes] == [100, 155, 162, 30]
    assert [n.prefix_tokens for n in session.nodes] == [0, 105, 155, 0]
    assert session.nodes[1].hashes == ((1, 1), (3, 1))


def delta(*rows: dict) -> list:
    """Calls of a session in blocks of 64, each with new tokens only; every answer has 5."""
    return [llm(f"c{n}", after=[f"c{n - 1}"] if n else [], **row) for n, row in enumerate(rows)]


DELTA = META.replace('"block', '"prompt_mode":"delta","block')


def test_a_block_that_was_not_full_is_another_one_in_the_next_prompt(tmp_path):
    """100 tokens are block 1 and part of 2; 70 more are block 3 and part of 4."""
    rows = delta(
        {"in": 100, "hashes": [1, 2]}, {"in": 70, "hashes": [3, 4]}, {"in": 64, "hashes": [[5, 1]]}
    )
    [session] = read(tmp_path, lines_of(*rows), DELTA)
    assert [list(ids_of(n.hashes)) for n in session.nodes] == [[1, 2], [1, 3, 4], [1, 3, 5]]


def test_short_new_prompts_are_no_blocks_that_were_held(tmp_path):
    """Of 64 + 5 + 9 + 5 tokens one block was computed whole, whatever is named after it."""
    rows = delta(*[{"in": 64, "hashes": [1]}, *({"in": 9, "hashes": [n]} for n in (20, 30, 40))])
    [session] = read(tmp_path, lines_of(*rows), DELTA)
    told = summarize([session])
    prompts = [64, 78, 92, 106]
    assert [n.prompt_tokens for n in session.nodes] == prompts
    assert told.block_hit_share == pytest.approx(3 * 64 / sum(prompts))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(news=st.lists(st.tuples(st.integers(1, 300), st.booleans()), min_size=2, max_size=8))
def test_no_more_is_held_of_a_delta_prompt_than_was_there(tmp_path_factory, news):
    first, rows = 0, []
    for tokens, last_too in news:
        blocks = -(-tokens // 64) if last_too else tokens // 64
        rows.append({"in": tokens} | ({"hashes": [[first, blocks]]} if blocks else {}))
        first += blocks + 1
    [session] = read(tmp_path_factory.mktemp("d"), lines_of(*delta(*rows)), DELTA)
    for before, call in pairwise(session.nodes):
        held = 64 * common_blocks(before.hashes, call.hashes)
        assert held <= before.prompt_tokens
        assert blocks_in(call.hashes) <= -(-call.prompt_tokens // 64)


def test_a_delta_prompt_without_blocks_of_its_own_has_those_before(tmp_path):
    rows = delta({"in": 128, "hashes": [1, 2]}, {"in": 7}, {"in": 64, "hashes": [3]})
    [session] = read(tmp_path, lines_of(*rows), DELTA)
    assert [n.hashes for n in session.nodes] == [((1, 2),), ((1, 2),), ((1, 3),)]
    assert {n.block_tokens for n in session.nodes} == {64}


def test_blocks_of_two_sizes_are_no_delta_prompt(tmp_path):
    rows = delta({"in": 128, "hashes": [1, 2]}, {"in": 64, "hashes": [3], "bs": 32})
    fault = faults(tmp_path, lines_of(*rows), DELTA)[0]
    assert (fault.key, fault.found) == ("bs", "32")
    assert fault.where.endswith(":3")


def test_recorded_cache_hits_count_where_hashes_say_nothing(tmp_path):
    rows = [llm("a"), llm("b", after=["a"], cached=80)]
    [session] = read(tmp_path, lines_of(*rows))
    assert [n.prefix_tokens for n in session.nodes] == [0, 80]


def test_huge_hashes_stay_exact(tmp_path):
    [session] = read(tmp_path, lines_of(llm("a", hashes=[2**64 + 1, [2**70, 1]])))
    assert session.nodes[0].hashes == ((2**64 + 1, 1), (2**70, 1))


BAD = [
    ([llm("a", after=["b"]), llm("b", after=["a"])], "after", "a cycle"),
    ([llm("a", after=["a"])], "after", "a cycle"),
    ([llm("a", after=["zz"])], "after", "'zz'"),
    ([llm("a"), llm("a")], "id", "again (first on line 2)"),
    ([llm("a", after="b")], "after", "'b'"),
    ([llm("a", **{"in": 0})], "in", "0"),
    ([llm("a", out=-1)], "out", "-1"),
    ([llm("a", t=-5)], "t", "-5"),
    ([llm("a", t=1.5)], "t", "1.5"),
    ([llm("a", delay=10**30)], "delay", "1000"),
    ([llm("a", cached=101)], "cached", "101"),
    ([llm("a", hashes=[1, 2, 3])], "hashes", "3 blocks"),
    ([llm("a", hashes=[[0, 10**12]])], "hashes", "1000000000000 blocks"),
    ([llm("a", hashes=[[0, 0]])], "hashes", "something else"),
    ([llm("a", hashes=[[True, 1]])], "hashes", "something else"),
    ([llm("a", hashes={"a": 1})], "hashes", "something else"),
    ([llm("a", bs=0)], "bs", "0"),
    ([llm("a", initiator="me")], "initiator", "'me'"),
    ([llm("a", outt=3)], "'outt'", "an unknown key"),
    ([{"k": "lm", "sid": "s"}], "k", "'lm'"),
    ([{"sid": "s"}], "k", "nothing"),
    ([{"k": "tool", "sid": "s", "cls": "x", "dur": 5, "cpu_s": 1.0}], "cpu_s", "1"),
    ([{"k": "tool", "sid": "s", "cls": "x"}], "dur", "nothing"),
    ([{"k": "gap", "sid": "s"}], "delay", "nothing"),
    ([{"k": "session", "sid": "s", "t": 0}], "", "a session without records"),
    ([llm("a"), {"k": "session", "sid": "s"}], "k", "'session'"),
    ([{"k": "session", "sid": "s", "t": 9}, llm("a", t=3)], "t", "3"),
    ([llm("a"), {**llm("b"), "sid": "z"}, llm("c")], "sid", "'s' again"),
    ([llm("a", t=9), {**llm("b", t=3), "sid": "z"}], "t", "below a row"),
    ([{"k": "session", "sid": "s", "priority": 5000}, llm("a")], "priority", "5000"),
    ([{"k": "session", "sid": "a\nb"}, llm("a")], "sid", "'a\\nb'"),
    ([{"k": "session", "sid": "s", "src": 3}, llm("a")], "src", "3"),
]


@pytest.mark.parametrize(("records", "key", "found"), BAD)
def test_bad_sessions_are_refused_with_the_line(tmp_path, records, key, found):
    told = faults(tmp_path, lines_of(*records))
    assert told[0].key == key
    assert found in told[0].found
    assert told[0].where.startswith(f"{tmp_path / 't.jsonl'}:")


@pytest.mark.parametrize(
    "meta",
    [
        '{"k":"meta","schema":"fstrace/2"}',
        '{"k":"llm","in":1,"out":1}',
        '{"k":"meta","schema":"fstrace/1","prompt_mode":"half"}',
        '{"k":"meta","schema":"fstrace/1","blocksize":1}',
        "junk",
    ],
)
def test_a_first_line_that_is_no_meta_is_refused(tmp_path, meta):
    told = faults(tmp_path, lines_of(llm("a")), meta)
    assert told[0].where.endswith(":1")


def test_meta_alone_is_no_trace(tmp_path):
    assert faults(tmp_path, "")[0].found == "no rows"


def test_sessions_beyond_memory_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fstrace, "SESSION_RECORDS", 10)
    told = faults(tmp_path, lines_of(*(llm(f"l{i}") for i in range(12))))
    assert "over 10 records" in told[0].found
    monkeypatch.setattr(fstrace, "SESSION_RECORDS", 1000)
    monkeypatch.setattr(fstrace, "SESSION_BLOCKS", 20)
    told = faults(tmp_path, lines_of(*(llm(f"l{i}", hashes=[1, 2]) for i in range(12))))
    assert "over 20 blocks" in told[0].found
