"""Conversations found in single calls."""

import numpy as np

from factorysim.workload.generate import ChatRecipe, _in_order, generate_chats
from factorysim.workload.session import GapNode, LlmNode, Session
from factorysim.workload.twin.chain import all_single, chained


def call(at_s, blocks, tokens=None):
    runs = tuple((block, 1) for block in blocks)
    node = LlmNode(tokens or 10 * len(blocks), 5, hashes=runs, block_tokens=10)
    return Session(f"at{at_s}", at_s * 10**9, [node])


def test_a_prompt_that_repeats_another_goes_on_from_it():
    first, other, second = call(0, [1, 2]), call(3, [7, 8]), call(9, [1, 2, 3])
    joined = chained([first, other, second])
    assert [len(session.nodes) for session in joined] == [3, 1]
    opening, gap, turn = joined[0].nodes
    assert isinstance(gap, GapNode)
    assert gap.delay_ns == 9 * 10**9
    assert (turn.after, turn.prefix_tokens, opening.prefix_tokens) == ((1,), 20, 0)


def test_what_everybody_begins_with_joins_nobody():
    """Block 0 is a system prompt: of 40 calls all have it, and no two more than it."""
    calls = [call(i, [0, 100 + i]) for i in range(40)]
    joined = chained(calls)
    assert len(joined) == 40
    assert joined[5].nodes[0].shared_tokens == 10


def test_a_branch_belongs_to_the_session_that_brought_its_last_known_block():
    joined = chained([call(0, [1, 2, 3]), call(5, [1, 9])])
    assert [n.prefix_tokens for n in joined[0].nodes if isinstance(n, LlmNode)] == [0, 10]


def test_sessions_and_calls_without_blocks_stay_as_they_are():
    plain = Session("p", 0, [LlmNode(10, 5)])
    several = Session("s", 1, [LlmNode(10, 5), GapNode(1, after=(0,)), LlmNode(20, 5, after=(1,))])
    assert chained([plain, several]) == [plain, several]
    assert not all_single([plain])
    assert all_single([call(0, [1])])


def test_generated_chats_are_found_again():
    """As many sessions as chats, each with its turns: the blocks of the trace tell all."""
    recipe = ChatRecipe(duration_s=900.0, rate_per_s=0.5, seed=3)
    chats = [turn.chat for turn in _in_order(recipe)]
    joined = chained(generate_chats(recipe))
    turns = sorted((len(session.nodes) + 1) // 2 for session in joined)
    counts = np.unique(chats, return_counts=True)[1]
    # A prompt that fills no block of its own leaves nothing to know its chat by.
    short = sum(len(call.nodes[0].hashes) <= 3 for call in generate_chats(recipe))
    assert 0 <= len(joined) - len(counts) <= short
    assert abs(sum(turns) - sum(counts)) == 0
    assert np.quantile(turns, 0.9) == np.quantile(counts, 0.9)
