"""Generated chats: in order, chained, deterministic; the shipped trace is one of them."""

import gzip
from itertools import pairwise

import numpy as np
import pytest

from factorysim.resources import resource_root
from factorysim.spec.stream import LengthSpec
from factorysim.workload.generate import ChatRecipe, generate_chats
from factorysim.workload.inspect import summarize
from factorysim.workload.readers.mooncake import mooncake_line, read_mooncake, write_mooncake
from factorysim.workload.runs import head_of, ids_of


@pytest.fixture(scope="module")
def calls():
    return list(generate_chats(ChatRecipe()))


def test_the_shipped_trace_is_what_trace_generate_writes_with_its_defaults(calls):
    """`factorysim trace generate scenarios/traces/quickstart.jsonl.gz`."""
    shipped = resource_root("scenarios") / "traces" / "quickstart.jsonl.gz"
    rows = gzip.decompress(shipped.read_bytes()).decode().splitlines()
    assert rows == [mooncake_line(call) for call in calls]
    assert shipped.stat().st_size < 100_000


def test_rows_are_in_order_and_blocks_count_up_from_zero(calls):
    times = [call.at_ns for call in calls]
    assert times == sorted(times)
    assert times[-1] <= 600 * 10**9
    highest = -1
    for call in calls:
        node = call.nodes[0]
        ids = list(ids_of(node.hashes))
        assert len(ids) == -(-node.prompt_tokens // 512)
        fresh = [block for block in ids if block > highest]
        assert fresh == list(range(highest + 1, highest + 1 + len(fresh)))
        highest = max(highest, *ids)


def test_a_block_always_follows_the_same_prefix(calls):
    before: dict[int, int] = {}
    for call in calls:
        for a, b in pairwise(ids_of(call.nodes[0].hashes)):
            assert before.setdefault(b, a) == a


def test_chats_share_the_system_prompt_and_grow_by_answer_and_message():
    recipe = ChatRecipe(
        duration_s=3000.0,
        gap_s=1.0,
        turns=5.0,
        first_tokens=LengthSpec(mean=1000),
        message_tokens=LengthSpec(mean=100),
        output_tokens=LengthSpec(mean=50),
    )
    nodes = [call.nodes[0] for call in generate_chats(recipe)]
    assert {head_of(node.hashes, 2) for node in nodes} == {((0, 2),)}
    assert {(node.prompt_tokens - 2024) % 150 for node in nodes} == {0}
    starts = sum(node.prompt_tokens == 2024 for node in nodes)
    assert len(nodes) / starts == pytest.approx(5.0, rel=0.15)


def test_the_rate_is_that_of_chats():
    recipe = ChatRecipe(duration_s=4000.0, turns=1.0, rate_per_s=2.0, cv=1.0)
    assert sum(1 for _ in generate_chats(recipe)) == pytest.approx(8000, rel=4 / np.sqrt(8000))


def test_same_seed_same_rows_other_seed_other_rows(calls, tmp_path):
    assert list(generate_chats(ChatRecipe())) == calls
    assert list(generate_chats(ChatRecipe(seed=8))) != calls
    write_mooncake(tmp_path / "t.jsonl", calls)
    assert list(read_mooncake(tmp_path / "t.jsonl")) == calls


def test_lengths_resemble_the_recorded_conversations(calls):
    """Mooncake's conversation trace: prompt P50 6.9K, output P50 350 and P90 597."""
    summary = summarize(calls)
    assert summary.prompt_tokens.quantiles["p50"] == pytest.approx(6900, rel=0.15)
    assert summary.output_tokens.quantiles["p50"] == pytest.approx(350, rel=0.06)
    assert summary.output_tokens.quantiles["p90"] == pytest.approx(597, rel=0.1)
