"""A synthetic trace in Mooncake form: chats whose prompts grow and whose blocks chain.

Made for examples and tests where no recorded trace is at hand. A turn's prompt
is the last one, its answer and a new message; a block keeps its id as long as it
and all before it stay the same, and all chats share the blocks of one system
prompt. Ids count up from 0 in order of appearance, as in the recorded traces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.special import ndtri

from factorysim.spec.stream import LengthSpec
from factorysim.workload.arrivals import unit_times
from factorysim.workload.draws import KeyedUniforms, lengths
from factorysim.workload.readers.mooncake import BLOCK_TOKENS
from factorysim.workload.renewal import GammaGaps
from factorysim.workload.runs import runs_of_ids
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000
"""Nanoseconds: the trace's times are whole milliseconds."""


@dataclass(frozen=True, slots=True)
class ChatRecipe:
    """What the chats of a generated trace are like; the defaults resemble Mooncake's.

    Its conversation trace has a median prompt of 6.9K tokens and outputs of 350
    (P50) to 597 (P90) [1]_. Turns and gaps are not recorded there: they are ours.

    References
    ----------
    .. [1] kvcache-ai/Mooncake @ 3b5a5941, conversation trace, measured by us.
    """

    duration_s: float = 600.0
    """No call begins later."""
    rate_per_s: float = 0.5
    """Chats begun."""
    cv: float = 2.0
    """Of the gaps between chats."""
    seed: int = 7
    turns: float = 4.0
    """Mean of a geometric law."""
    system_tokens: int = 1024
    first_tokens: LengthSpec = field(
        default_factory=lambda: LengthSpec(kind="lognormal", mean=3500, spread=1.0)
    )
    message_tokens: LengthSpec = field(
        default_factory=lambda: LengthSpec(kind="lognormal", mean=600, spread=1.0)
    )
    output_tokens: LengthSpec = field(
        default_factory=lambda: LengthSpec(kind="lognormal", mean=350, spread=0.417)
    )
    gap_s: float = 40.0
    """Median of a lognormal of sigma 1: from a call to the next, the answer included."""
    max_prompt_tokens: int = 120_000
    """A chat ends before its prompt grows longer."""


def generate_sessions(
    agent: str, *, duration_s: float, rate_per_s: float, cv: float = 2.0, seed: int = 7
) -> Iterator[Session]:
    """Yield the sessions of an agent or a twin that arrive within a time.

    They are those of a stream called after the agent, with gamma arrivals and the same
    seed, in the first replication of a run.

    Raises
    ------
    SpecError
        If there is no such agent.

    Examples
    --------
    >>> drawn = list(generate_sessions("chat", duration_s=60.0, rate_per_s=0.5))
    >>> drawn[0].agent, all(session.at_ns <= 60 * 10**9 for session in drawn)
    ('chat', True)
    """
    from factorysim.spec.arrivals import GammaArrivals
    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.demand import build_demand

    rate = f"{rate_per_s!r}/s"
    arrivals = GammaArrivals.model_validate({"process": "gamma", "rate": rate, "cv": cv})
    stream = StreamSpec(llm="any", agent=agent, arrivals=arrivals)
    name = Path(agent).stem
    drawn = build_demand(name, stream, seed=seed, replication=0).sessions()
    return takewhile(lambda session: session.at_ns <= round(duration_s * 1e9), drawn)


class _Turn(NamedTuple):
    """A call that waits for its time; ordered by time, then chat."""

    at_ms: int
    chat: int
    prompt_tokens: int
    output_tokens: int


def generate_chats(recipe: ChatRecipe) -> Iterator[Session]:
    """Yield the calls of a generated trace in order of time, a session each.

    Examples
    --------
    >>> calls = list(generate_chats(ChatRecipe(duration_s=60.0)))
    >>> [call.at_ns for call in calls] == sorted(call.at_ns for call in calls)
    True
    >>> calls[0].nodes[0].hashes[0][0]
    0
    """
    blocks = _Blocks(recipe.system_tokens // BLOCK_TOKENS)
    for ordinal, turn in enumerate(_in_order(recipe)):
        hashes = runs_of_ids(blocks.of(turn.chat, turn.prompt_tokens))
        call = LlmNode(
            turn.prompt_tokens,
            turn.output_tokens,
            hashes=hashes,
            block_tokens=BLOCK_TOKENS,
        )
        yield Session(f"r{ordinal}", turn.at_ms * MS, [call])


def _in_order(recipe: ChatRecipe) -> Iterator[_Turn]:
    """Merge the turns of all chats by time; only chats under way are in memory."""
    uniforms = KeyedUniforms(recipe.seed, "chat")
    waiting: list[_Turn] = []
    end_ms = round(recipe.duration_s * 1e3)
    times = unit_times(recipe.seed, 0, "chat", GammaGaps(recipe.cv))
    for chat, time in enumerate(times):
        begin_ms = round(time / recipe.rate_per_s * 1e3)
        while waiting and waiting[0].at_ms < begin_ms:
            yield heappop(waiting)
        if begin_ms > end_ms:
            break
        for turn in _turns(recipe, chat, begin_ms, uniforms.at(chat)):
            if turn.at_ms > end_ms:
                break
            heappush(waiting, turn)
    while waiting:
        yield heappop(waiting)


def _turns(
    recipe: ChatRecipe, chat: int, at_ms: int, generator: np.random.Generator
) -> Iterator[_Turn]:
    """Draw one chat."""
    head = generator.random(2)
    stop = 1.0 / recipe.turns
    count = 1 if stop >= 1.0 else 1 + int(math.log1p(-head[0]) / math.log1p(-stop))
    rows = generator.random((count, 3))
    gaps_ms = np.rint(recipe.gap_s * 1e3 * np.exp(ndtri(rows[:, 0]))).astype(np.int64).tolist()
    messages = lengths(recipe.message_tokens, rows[:, 1])
    outputs = lengths(recipe.output_tokens, rows[:, 2])
    messages[0] = lengths(recipe.first_tokens, head[1:])[0]
    prompt = recipe.system_tokens
    for gap_ms, message, output in zip(gaps_ms, messages, outputs, strict=True):
        prompt += message
        if prompt > recipe.max_prompt_tokens:
            return
        yield _Turn(at_ms, chat, prompt, output)
        prompt += output
        at_ms += max(1, gap_ms)


class _Blocks:
    """Ids of blocks: a chat keeps those that are full, all share the system's."""

    def __init__(self, shared: int) -> None:
        self._system = tuple(range(shared))
        self._next = shared
        self._full: dict[int, tuple[int, ...]] = {}

    def of(self, chat: int, prompt_tokens: int) -> tuple[int, ...]:
        """Ids of a prompt's blocks, the last of which may be partial."""
        known = self._full.get(chat, self._system)
        new = -(-prompt_tokens // BLOCK_TOKENS) - len(known)
        ids = known + tuple(range(self._next, self._next + new))
        self._next += new
        self._full[chat] = ids[: prompt_tokens // BLOCK_TOKENS]
        return ids
