"""What the blocks of calls hold, told by ids: equal ids after equal ids are equal tokens.

A call names the full blocks of its prompt and of its output, from its first token
on. What it begins with may be shared by all sessions of its agent (system prompt
and tool schemas); then come blocks of its session, of which `prefix_tokens` says
how many repeat the call before in its context. Where a trace gives ids of its own
they are taken, cut to the engine's blocks.

Ids are of text, whichever LLM reads it. A replica serves one LLM, so what another
LLM has read is in other caches, and is no hit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.runs import head_of, ids_of, lengthened, runs_of

if TYPE_CHECKING:
    from factorysim.workload.runs import Runs
    from factorysim.workload.session import LlmNode

SESSION_BITS = 32
"""Ids of one session, or of what an agent's sessions share: more blocks than any fills."""
TRACE_BITS = 128
"""Ids of one trace, or of one session of a trace whose ids mean something in it only."""
_SUB_AGENTS = 1 << (SESSION_BITS - 1)
"""Of the ids that an agent's sessions share, the half for what its sub-agents begin with."""
_ROLE_BITS = 22
"""Ids of what the sub-agents of one role begin with."""
_TRACES = 1 << TRACE_BITS
_OWN = 1 << 2 * TRACE_BITS


class Contents:
    """Block ids of one session, call by call.

    Parameters
    ----------
    session
        Its number in the run.
    shared
        Number of the agent whose sessions begin alike; None: nothing is shared.
    trace
        Number of the trace whose ids all its sessions share; None: they hold in
        this session only.
    """

    __slots__ = ("_fresh", "_last", "_named", "_others", "_shared", "_trace", "block_tokens")

    def __init__(
        self, session: int, block_tokens: int, shared: int | None = None, trace: int | None = None
    ) -> None:
        self.block_tokens = block_tokens
        self._fresh = session << SESSION_BITS
        """The next id that nothing has."""
        self._shared = None if shared is None else -(shared + 1) << SESSION_BITS
        self._trace = (
            _OWN + (session << TRACE_BITS) if trace is None else _TRACES + (trace << TRACE_BITS)
        )
        self._last: Runs = ()
        """Of the previous call of context 0."""
        self._named = 0
        """Blocks of it."""
        self._others: dict[int, tuple[Runs, int]] = {}
        """The same of the other contexts."""

    def next_call(self, node: LlmNode) -> Runs:
        """Name the blocks of the session's next call.

        A block that repeated tokens fill in part is another block. Contexts share
        nothing but what all begin with.

        Examples
        --------
        >>> from factorysim.workload.session import LlmNode
        >>> session = Contents(0, block_tokens=10)
        >>> session.next_call(LlmNode(35, 10))
        ((0, 4),)
        >>> session.next_call(LlmNode(60, 10, prefix_tokens=45))
        ((0, 7),)
        >>> session.next_call(LlmNode(60, 10, prefix_tokens=29))
        ((0, 2), (7, 5))
        """
        size, prompt = self.block_tokens, node.prompt_tokens
        if node.hashes:
            return blocks_of_hashes(
                node.hashes, node.block_tokens or size, size, prompt, self._trace
            )
        if node.context:
            content, repeated = self._others.get(node.context, ((), 0))
        else:
            content, repeated = self._last, self._named
        most = min(node.prefix_tokens, prompt) // size
        if most < repeated:
            content, repeated = head_of(content, most), most
        if node.shared_tokens and self._shared is not None:
            shared = min(node.shared_tokens, prompt) // size
            if repeated < shared:
                first = self._shared
                if node.context:
                    first += _SUB_AGENTS + (node.role << _ROLE_BITS)
                content, repeated = ((first, shared),), shared
        named = (prompt + node.output_tokens) // size
        if named > repeated:
            content = lengthened(content, self._fresh, named - repeated)
            self._fresh += named - repeated
        if node.context:
            self._others[node.context] = content, named
        else:
            self._last, self._named = content, named
        return content


class PromptContents(Contents):
    """Block ids of prompts alone: what a call answers is found again once it is prompt."""

    __slots__ = ()

    def next_call(self, node: LlmNode) -> Runs:
        """Name the blocks of the next call's prompt.

        Examples
        --------
        >>> from factorysim.workload.session import LlmNode
        >>> session = PromptContents(0, block_tokens=10)
        >>> session.next_call(LlmNode(35, 10))
        ((0, 3),)
        >>> session.next_call(LlmNode(60, 10, prefix_tokens=45))
        ((0, 6),)
        """
        return head_of(super().next_call(node), node.prompt_tokens // self.block_tokens)


def blocks_of_hashes(
    hashes: Runs, hash_tokens: int, block_tokens: int, prompt_tokens: int, offset: int
) -> Runs:
    """Cut a prompt's hashes into the engine's blocks.

    A block is known by the hash of its last token, since a hash stands for all that
    comes before it as well. Only full blocks of the prompt are named.

    Examples
    --------
    >>> blocks_of_hashes(((7, 2),), 512, 16, 1000, 0)
    ((224, 62),)
    >>> blocks_of_hashes(((7, 4),), 16, 32, 64, 0)
    ((8, 1), (10, 1))
    """
    most = prompt_tokens // block_tokens
    if hash_tokens % block_tokens == 0:
        times = hash_tokens // block_tokens
        return head_of(
            tuple((offset + first * times, count * times) for first, count in hashes), most
        )
    times = -(-hash_tokens // block_tokens)
    pieces = []
    before = 0
    for ended, block in enumerate(ids_of(hashes), 1):
        blocks = ended * hash_tokens // block_tokens
        if blocks > before:
            pieces.append((offset + block * times, blocks - before))
            before = blocks
    return head_of(runs_of(pieces), most)
