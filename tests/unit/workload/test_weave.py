"""Drafts become nodes in an order in which each follows what it waits for."""

import pytest

from factorysim.workload.session import LlmNode, ToolNode
from factorysim.workload.weave import BadSession, Draft, weave


def call(prompt=10, **more):
    return LlmNode(prompt, 1, **more)


def problem(*drafts, **more):
    with pytest.raises(BadSession) as caught:
        weave(drafts, **more)
    return caught.value.line, str(caught.value.problems[0])


def test_what_is_free_keeps_its_order():
    drafts = [Draft("d", 1, call(), ["a"]), Draft("b", 2, call()), Draft("a", 3, call())]
    nodes, carried = weave(drafts)
    assert [node.after for node in nodes] == [(), (), (1,)]
    assert carried == {}


def test_names_of_the_source_and_what_nodes_cannot_hold_are_kept():
    drafts = [Draft("x", 1, call(), [], {"model": "m"}), Draft("n1", 2, ToolNode("t"), ["x"])]
    assert weave(drafts, named=True)[1] == {"ids": ["x", "n1"], "nodes": {"x": {"model": "m"}}}
    assert weave(drafts)[1] == {"nodes": {"n0": {"model": "m"}}}


def test_hashed_prompts_repeat_what_they_have_in_common_with_the_last_of_their_context():
    hashed = {"block_tokens": 8}
    drafts = [
        Draft("a", 1, call(24, hashes=((1, 3),), **hashed)),
        Draft("b", 2, call(24, hashes=((1, 3),), context=1, **hashed)),
        Draft("c", 3, call(20, hashes=((1, 2), (9, 1)), **hashed)),
        Draft("d", 4, call(20, hashes=((1, 2), (9, 1)), prefix_tokens=0, context=1, **hashed)),
    ]
    nodes, _ = weave(drafts)
    assert [node.prefix_tokens for node in nodes] == [0, 0, 16, 16]


def test_counted_prompts_repeat_no_more_than_their_context_held():
    prompts = [(100, 90, 0), (50, 10, 0), (900, 300, 0), (900, 300, 1)]
    drafts = [
        Draft(f"{n}", n, call(prompt, prefix_tokens=cached, context=context))
        for n, (prompt, cached, context) in enumerate(prompts)
    ]
    assert [node.prefix_tokens for node in weave(drafts)[0]] == [0, 10, 101, 0]


def test_sessions_that_do_not_hold_together_are_told_at_their_lines():
    line, told = problem(Draft("a", 7, call()), Draft("a", 9, call()))
    assert line == 9
    assert "first on line 7" in told
    line, told = problem(Draft("a", 7, call(), ["z"]), key="wait_for")
    assert line == 7
    assert "wait_for" in told
    assert "'z'" in told
    line, told = problem(
        Draft("a", 1, call()), Draft("b", 2, call(), ["c"]), Draft("c", 3, call(), ["b"])
    )
    assert line == 2
    assert "a cycle" in told
    assert problem(Draft("a", 1, call(), ["a"]))[0] == 1
