"""An engine of attention-DP ranks in the most obvious way: one turn of a loop a step.

Each rank schedules as `naive_replica` does; here is only what is between them: who
gets a call, how long a step of all is, in which order calls leave. Nothing of
`factorysim.sim` is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.property.naive_replica import (
    Event,
    NaiveCall,
    NaiveLimits,
    NaiveReplica,
    NaiveStep,
    Submission,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.physics.ranks import RankedLaw


class EngineStep(NamedTuple):
    """A step of the engine: one of each rank that has work."""

    started_fs: int
    duration_fs: int
    ranks: list[NaiveStep]
    cut_fs: int | None
    """When a failure cut it."""


class RankedResult(NamedTuple):
    """What happened in the end."""

    calls: dict[int, NaiveCall]
    departures: list[tuple[int, int]]
    steps: list[EngineStep]
    ranks: list[NaiveReplica]


def serve_ranked(
    limits: NaiveLimits,
    laws: Sequence[RankedLaw],
    events: Iterable[Event],
    *,
    checked: bool = True,
) -> RankedResult:
    """Serve calls on ranks until all have left; `limits` are those of one rank."""
    ranks = [NaiveReplica(limits, laws) for _ in range(laws[0].ranks)]
    law = laws[0]
    home: dict[int, NaiveReplica] = {}
    departures: list[tuple[int, int]] = []
    steps: list[EngineStep] = []
    step: EngineStep | None = None
    pending = sorted(events, key=lambda event: event.at_fs)
    down = False

    def tell(now: int) -> None:
        """Collect who has left: those that have all tokens first, then by number."""
        left = [number for rank in ranks for at, number in rank.departures]
        for rank in ranks:
            rank.departures.clear()

        def order(number: int) -> tuple[bool, int]:
            return home[number].calls[number].outcome != "completed", number

        departures.extend((now, number) for number in sorted(left, key=order))

    while pending or step is not None:
        instants = [event.at_fs for event in pending]
        if step is not None:
            instants.append(step.started_fs + step.duration_fs)
        now = min(instants)
        if step is not None and now == step.started_fs + step.duration_fs:
            for rank in ranks:
                rank.end_step(now)
            steps.append(step)
            step = None
            tell(now)
        while pending and pending[0].at_fs == now:
            event = pending.pop(0)
            if isinstance(event, Submission):
                # The fewest calls, and of equal ranks the first.
                rank = min(ranks, key=lambda one: len(one.waiting) + len(one.running))
                home[event.number] = rank
                rank.down = down
                rank.happen(now, event)
            elif event.kind == "cancel":
                if event.argument in home:
                    home[event.argument].happen(now, event)
            elif event.kind == "change_law":
                law = laws[event.argument]
            elif event.kind == "fail":
                if step is not None:
                    steps.append(step._replace(cut_fs=now))
                    step = None
                down = True
                for rank in ranks:
                    rank.fail(now)
            else:
                down = False
                for rank in ranks:
                    rank.down = False
            tell(now)
        if step is None and not down:
            step = decide(now, ranks, law)
        if checked:
            for rank in ranks:
                rank.check()
    calls = {number: call for rank in ranks for number, call in rank.calls.items()}
    return RankedResult(calls, departures, steps, ranks)


def decide(now: int, ranks: Sequence[NaiveReplica], law: RankedLaw) -> EngineStep | None:
    """Let each rank form its step; all last as long as the longest."""
    formed = []
    for rank in ranks:
        rank.now = now
        if rank.limits.scheduler == "vllm":
            decodes, chunks = rank.schedule_vllm(now)
        else:
            decodes, chunks = rank.schedule_prefill_first(now)
        if decodes or chunks:
            formed.append((rank, decodes, chunks))
    total = sum(len(decodes) + sum(n for _, n in chunks) for _, decodes, chunks in formed)
    parts = []
    for rank, decodes, chunks in formed:
        rank.law = _Priced(law, total)
        parts.append(rank.price(now, decodes, chunks))
    if not parts:
        return None
    longest = max(part.duration_fs for part in parts)
    for (rank, _, _), part in zip(formed, parts, strict=True):
        part.duration_fs = longest
        rank.step = part
    return EngineStep(now, longest, parts, None)


class _Priced:
    """A law of ranks as one of a replica, once the tokens of all ranks are known."""

    def __init__(self, law: RankedLaw, tokens: int) -> None:
        self._law = law
        self._tokens = tokens
        self.window, self.window_fs, self.draws = law.window, law.window_fs, law.draws
        self.link_token_bytes = 0.0
        self.piece, self.chunk, self.chunk_slope = law.piece, law.chunk, law.chunk_slope
        self.prompt, self.activity = law.prompt, law.activity

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        return self._law.rank_base(decodes, prompt_tokens, prompts, emitting, self._tokens)


__all__ = ["EngineStep", "RankedResult", "serve_ranked"]
