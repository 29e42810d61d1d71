"""Drafts of nodes that wait for each other by name, woven into a session's nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from factorysim.marked import shown
from factorysim.workload.lines import Problem
from factorysim.workload.runs import common_blocks
from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.workload.rows import Json
    from factorysim.workload.session import Node


class BadSession(Exception):  # noqa: N818 - never leaves the readers
    """A session whose rows do not fit together, at the line of one of them."""

    def __init__(self, line: int, *problems: Problem) -> None:
        super().__init__(line, *problems)
        self.line = line
        self.problems = problems


@dataclass(slots=True)
class Draft:
    """A node before it is known where the others are."""

    name: str
    line: int
    node: Node
    after: list[str] = field(default_factory=list[str])
    """Names of what it waits for."""
    kept: dict[str, Json] = field(default_factory=dict[str, "Json"])
    """What the node cannot hold, by the fields of fstrace/1."""


def weave(
    drafts: Sequence[Draft], *, named: bool = False, key: str = "after"
) -> tuple[list[Node], dict[str, Json]]:
    """Order drafts so that each follows what it waits for; the given order holds else.

    A call whose prompt is hashed repeats as many leading blocks as it has in common
    with the last call of its context, in the order of the nodes. One that is not repeats
    no more than its context ever held: what a first prompt finds in a cache is not its own.

    Parameters
    ----------
    named
        Whether the names are the source's, to be kept.
    key
        The source's field that says what waits for what, for messages.

    Returns
    -------
    The nodes, and what a session keeps for them under `fstrace` in its `src`.

    Raises
    ------
    BadSession
        If a name comes twice, is unknown, or waits for itself through others.

    Examples
    --------
    >>> answer, ask = Draft("b", 2, LlmNode(20, 1), ["a"]), Draft("a", 1, LlmNode(9, 1))
    >>> nodes, kept = weave([answer, ask], named=True)
    >>> [node.prompt_tokens for node in nodes], nodes[1].after, kept
    ([9, 20], (0,), {'ids': ['a', 'b']})
    """
    order = _ordered(drafts, key)
    place = {draft.name: index for index, draft in enumerate(order)}
    last: dict[int, LlmNode] = {}
    longest: dict[int, int] = {}
    """Tokens of a context's calls so far, prompt and answer: no prompt repeats more."""
    for draft in order:
        node = draft.node
        node.after = tuple(sorted({place[name] for name in draft.after}))
        if isinstance(node, LlmNode):
            node.prefix_tokens = min(node.prefix_tokens, longest.get(node.context, 0))
            _repeat(node, last.get(node.context))
            last[node.context] = node
            whole = node.prompt_tokens + node.output_tokens
            longest[node.context] = max(whole, longest.get(node.context, 0))
    defaults = [f"n{index}" for index in range(len(order))]
    ids = [draft.name for draft in order] if named else defaults
    carried: dict[str, Json] = {} if ids == defaults else {"ids": list[object](ids)}
    if kept := {name: draft.kept for name, draft in zip(ids, order, strict=True) if draft.kept}:
        carried["nodes"] = kept
    return [draft.node for draft in order], carried


def _repeat(node: LlmNode, last: LlmNode | None) -> None:
    """Count the blocks that a prompt has in common with the last of its context."""
    if last is None or not node.hashes or not last.hashes:
        return
    if node.block_tokens == last.block_tokens:
        size = node.block_tokens or 0
        common = common_blocks(last.hashes, node.hashes) * size
        node.prefix_tokens = min(common, node.prompt_tokens)


def _ordered(drafts: Sequence[Draft], key: str) -> list[Draft]:
    """Kahn's algorithm, with the first of the drafts that are free."""
    place: dict[str, int] = {}
    for index, draft in enumerate(drafts):
        if draft.name in place:
            first = drafts[place[draft.name]].line
            found = f"{shown(draft.name)} again (first on line {first})"
            raise BadSession(draft.line, Problem("", found, "each id once in a session"))
        place[draft.name] = index
    followers: list[list[int]] = [[] for _ in drafts]
    waits = [0] * len(drafts)
    for index, draft in enumerate(drafts):
        for name in set(draft.after):
            if name not in place:
                expected = "the id of a row of the same session"
                raise BadSession(draft.line, Problem(key, shown(name), expected))
            followers[place[name]].append(index)
            waits[index] += 1
    free = [index for index, count in enumerate(waits) if not count]
    heapify(free)
    order: list[Draft] = []
    while free:
        index = heappop(free)
        order.append(drafts[index])
        for follower in followers[index]:
            waits[follower] -= 1
            if not waits[follower]:
                heappush(free, follower)
    if len(order) < len(drafts):
        stuck = next(draft for draft, count in zip(drafts, waits, strict=True) if count)
        cure = "no row may wait for itself, even through others"
        raise BadSession(stuck.line, Problem(key, "a cycle", "rows that can start", cure))
    return order
