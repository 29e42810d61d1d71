"""Conversations found in single calls, by the blocks that their prompts repeat.

Traces of an API have a row a call and no sessions. Where they name the blocks of
prompts, a call that repeats what another one was the first to send goes on from it:
it belongs to the session that brought in the last block that the two have in common.
What everybody begins with (a system prompt) says nothing; the call that was the first
to have it is not followed by all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.runs import ids_of
from factorysim.workload.session import GapNode, LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterable

COMMON = 0.01
"""Of the calls: a first block that more than these begin with is common."""
COMMON_LEAST = 20


def chained(sessions: Iterable[Session]) -> list[Session]:
    """Join single calls with global hashes to sessions of several turns.

    The gap before a call is from the arrival of the one before to its own: how long
    that was served is not recorded, so gaps hold it too.

    Parameters
    ----------
    sessions
        In order of arrival. Those of several calls, or without hashes, stay as they are.

    Returns
    -------
    In order of arrival, all in memory.

    Examples
    --------
    >>> calls = [
    ...     Session("a", 0, [LlmNode(20, 5, hashes=((0, 2),), block_tokens=10)]),
    ...     Session("b", 9, [LlmNode(40, 5, hashes=((0, 4),), block_tokens=10)]),
    ... ]
    >>> [session] = chained(calls)
    >>> [(node.prompt_tokens, node.prefix_tokens) for node in session.nodes[::2]]
    [(20, 0), (40, 20)]
    """
    given = list(sessions)
    common = _common_blocks(given)
    owner: dict[int, int] = {}
    made: list[Session] = []
    ends: dict[int, int] = {}
    for session in given:
        call = _single(session)
        if call is None:
            made.append(session)
            continue
        number, known = _owner(call, owner, common)
        if number is None:
            number = len(made)
            made.append(Session(session.sid, session.at_ns, [call], session.agent, session.client))
            call.shared_tokens = min(known * (call.block_tokens or 0), call.prompt_tokens)
        else:
            _go_on(made[number], call, session.at_ns - ends[number], known)
        ends[number] = session.at_ns
        for block in ids_of(call.hashes):
            owner.setdefault(block, number)
    return made


def all_single(sessions: Iterable[Session]) -> bool:
    """Tell whether all sessions are single calls whose hashes mean something in others too."""
    return all(_single(session) is not None for session in sessions)


def _single(session: Session) -> LlmNode | None:
    """Give the only call of a session, if its hashes mean something in others too."""
    if session.hash_scope != "global" or len(session.nodes) != 1:
        return None
    call = session.nodes[0]
    return call if isinstance(call, LlmNode) and call.hashes else None


def _common_blocks(sessions: Iterable[Session]) -> set[int]:
    """Find the blocks that prompts begin with whoever sends them."""
    counts: dict[int, int] = {}
    calls = 0
    for session in sessions:
        call = _single(session)
        if call is not None:
            calls += 1
            for block in ids_of(call.hashes):
                counts[block] = counts.get(block, 0) + 1
    least = max(COMMON_LEAST, COMMON * calls)
    return {block for block, count in counts.items() if count >= least}


def _owner(call: LlmNode, owner: dict[int, int], common: set[int]) -> tuple[int | None, int]:
    """Tell which session a call goes on, and how many blocks it repeats."""
    known, last = 0, None
    for block in ids_of(call.hashes):
        if block not in owner:
            break
        known += 1
        last = block
    if last is None or last in common:
        return None, known
    return owner[last], known


def _go_on(session: Session, call: LlmNode, waited_ns: int, known: int) -> None:
    """Append a turn."""
    nodes = session.nodes
    assert isinstance(nodes, list)
    nodes.append(GapNode(waited_ns, after=(len(nodes) - 1,)))
    call.after = (len(nodes) - 1,)
    call.prefix_tokens = min(known * (call.block_tokens or 0), call.prompt_tokens)
    nodes.append(call)
