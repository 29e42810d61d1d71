"""aiperf's mooncake+: whole prompts or new tokens, told by evidence and never guessed."""

import json

import pytest

from factorysim.errors import TraceError
from factorysim.workload.detect import detect_format
from factorysim.workload.readers.aiperf import prompt_mode
from factorysim.workload.session import LlmNode
from tests.unit.workload.readers.samples import AIPERF, AIPERF_DELTA, faults, read, rows, turn

MS = 10**6


def test_whole_prompts_follow_each_other_after_their_delays(tmp_path):
    a, b = read(tmp_path, AIPERF, "aiperf")
    size = {"block_tokens": 512}
    assert (a.sid, a.at_ns, b.at_ns) == ("a", 0, round(699.5 * MS))
    assert a.nodes == [
        LlmNode(1024, 100, hashes=((1, 2),), **size),
        LlmNode(1300, 50, 1024, (0,), round(250.5 * MS), None, "agent", ((1, 3),), **size),
    ]
    assert a.src["fstrace"]["nodes"]["n0"]["src"] == {"group_id": 3}


def test_new_tokens_are_added_to_what_was_there(tmp_path):
    a, b = read(tmp_path, AIPERF_DELTA, "aiperf_delta")
    assert [node.prompt_tokens for node in a.nodes] == [1300, 1600, 2350]
    assert [node.prefix_tokens for node in a.nodes] == [0, 1024, 1024]
    assert [node.hashes for node in a.nodes] == [((1, 2),), ((1, 2),), ((1, 2), (5, 1))]
    assert b.nodes[0].prompt_tokens == 600


def test_without_hashes_history_is_what_was_said(tmp_path):
    grown = [turn("a", 100, 10, [], timestamp=0), turn("a", 130, 10, []), turn("a", 50, 10, [])]
    [told] = read(tmp_path, rows(*grown), "aiperf")
    assert [node.prefix_tokens for node in told.nodes] == [0, 110, 0]
    [told] = read(tmp_path, rows(*grown), "aiperf_delta")
    assert [node.prompt_tokens for node in told.nodes] == [100, 240, 300]
    assert [node.prefix_tokens for node in told.nodes] == [0, 110, 250]


def test_blocks_of_another_size_are_found_out(tmp_path):
    text = rows(turn("a", 640, 1, list(range(10))), turn("a", 700, 1, list(range(11))))
    [told] = read(tmp_path, text, "aiperf")
    assert [node.block_tokens for node in told.nodes] == [64, 64]
    odd = rows(turn("a", 640, 1, list(range(10))), turn("a", 700, 1, list(range(30))))
    assert faults(tmp_path, odd, "aiperf")[0].startswith(":2: hash_ids")


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, ":1: input_length"),
        (turn("a", 10, 0, []), ":1: output_length"),
        (turn("a", 10, 5, [], delay=-1), ":1: delay"),
        (turn("a", 10, 5, [], wait_for=["x"]), ":1: wait_for"),
        (turn("a", 10, 5, [True]), ":1: hash_ids"),
    ],
)
def test_bad_rows_are_told_by_line(tmp_path, row, told):
    assert faults(tmp_path, rows(row), "aiperf")[0].startswith(told)


def test_a_clock_that_goes_back_in_a_session_is_refused(tmp_path):
    text = rows(turn("a", 10, 1, [], timestamp=9), turn("a", 20, 1, [], timestamp=3))
    assert faults(tmp_path, text, "aiperf")[0].startswith(":2: timestamp")


def growing(count: int) -> list[dict]:
    return [turn("a", 100 * (n + 1), 10, []) for n in range(count)]


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ([turn("a", 9, 1, []), turn("b", 9, 1, [])], "full"),  # no second turn: all the same
        ([turn("a", 9, 1, [], message_mode="delta")], "delta"),
        ([turn("a", 9, 1, [], message_mode=m) for m in ("delta", "history")], None),
        ([turn("a", 600, 1, [1, 2]), turn("a", 700, 1, [1, 3])], "full"),
        ([turn("a", 600, 1, [1, 2]), turn("a", 700, 1, [3, 4])], None),
        ([turn("a", 600, 1, [n]) for n in range(12)], "delta"),
        (growing(12), "full"),
        (growing(5), None),
        ([turn("a", 100 + n % 2, 10, []) for n in range(12)], "delta"),
        ([turn("a", (100 + 200 * n) % 700, 10, []) for n in range(1, 12)], "delta"),
    ],
)
def test_the_mode_is_told_by_evidence(given, mode):
    assert prompt_mode(given) == mode


def test_without_evidence_the_file_is_refused_with_the_option(tmp_path):
    path = tmp_path / "a"
    path.write_text(rows(*growing(3)))
    with pytest.raises(TraceError) as caught:
        detect_format(path)
    assert "--format aiperf or --format aiperf_delta" in caught.value.faults[0].cure


def test_text_in_rows_is_kept_beside_the_lengths(tmp_path):
    row = turn("a", 10, 1, [], messages=[{"role": "user", "content": "hi"}], tools=[])
    [told] = read(tmp_path, json.dumps(row), "aiperf")
    assert told.src["fstrace"]["nodes"]["n0"]["src"]["messages"] == row["messages"]
