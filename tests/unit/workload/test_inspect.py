"""Figures of a trace from a few rows that can be counted by hand."""

import pytest

from factorysim.workload.inspect import summarize
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode


def at(second: float, *nodes) -> Session:
    return Session(f"s{second}", round(second * 1e9), list(nodes) or [LlmNode(10, 1)])


def test_counts_and_lengths():
    call = LlmNode(100, 20, prefix_tokens=50)
    summary = summarize(
        [at(0, LlmNode(300, 40), ToolNode("x", after=(0,)), GapNode(5)), at(4, call)]
    )
    assert (summary.sessions, summary.llm_calls, summary.tool_calls, summary.gaps) == (2, 2, 1, 1)
    assert summary.prompt_tokens.total == 400
    assert summary.output_tokens.mean == 30
    assert summary.prefix_share == pytest.approx(50 / 400)
    assert summary.sessions_per_s == 0.25
    assert summary.gap_cv is None
    assert summary.block_hit_share is None


def test_regular_arrivals_have_no_variation():
    summary = summarize(at(second) for second in range(101))
    assert summary.sessions_per_s == pytest.approx(1.0)
    assert summary.gap_cv == pytest.approx(0.0, abs=1e-9)
    assert summary.dispersion_10s == pytest.approx(0.0)


def test_batches_are_dispersed():
    """Ten at once every other bin: counts 10, 0, 10, 0..; variance over mean 5 n / (n - 1)."""
    summary = summarize(at(20 * batch) for batch in range(51) for _ in range(10))
    assert summary.dispersion_10s == pytest.approx(5 * 100 / 99)


def test_hits_count_leading_blocks_seen_before():
    first = LlmNode(1024, 1, hashes=((0, 2),), block_tokens=512)
    second = LlmNode(1200, 1, hashes=((0, 3),), block_tokens=512)
    other = LlmNode(1024, 1, hashes=((7, 1), (1, 1)), block_tokens=512)
    summary = summarize([at(0, first), at(1, second), at(2, other)])
    assert summary.block_hit_share == pytest.approx(1024 / (1024 + 1200 + 1024))


def test_nothing_at_all_is_no_figure():
    summary = summarize([])
    assert summary.sessions == 0
    assert summary.sessions_per_s is None
    assert summary.prompt_tokens is None
