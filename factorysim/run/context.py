"""Calls that are longer than the context of their LLM: told before a run, which rejects them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from factorysim.workload.repair import Repairs
from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from factorysim.catalog import Llm
    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.session import Session

CALLS = 4096
"""Of a stream of single calls that are looked at: of two in a thousand, eight."""
SESSIONS = 256
"""Of an agent's."""


@dataclass(slots=True)
class Seen:
    """Calls to one LLM."""

    calls: int = 0
    over: int = 0
    """Longer than its context."""
    longest: int = 0


def long_calls(name: str, stream: StreamSpec, llms: Mapping[str, Llm], seed: int) -> list[str]:
    """Tell how many calls of a stream no context of their LLM holds, if there are any.

    Prompt and output together must fit the LLM that serves their step. A trace is read to its
    end, once, and the calls counted that its `limit` keeps; of drawn streams the first ones are.

    Parameters
    ----------
    llms
        By key of the scenario's `llms`; without any, nothing is counted.

    Raises
    ------
    UserError
        With the faults of the trace, or of what the stream names.
    """
    repairs = Repairs() if stream.repair else None
    seen = {key: Seen() for key in dict.fromkeys((stream.llm, *stream.llm_by_step.values()))}
    for session in _sessions(name, stream, seed, repairs):
        for node in session.nodes:
            if isinstance(node, LlmNode):
                key = _llm_of(node, stream)
                size, of_llm = node.prompt_tokens + node.output_tokens, seen[key]
                of_llm.calls += 1
                if key in llms and size > llms[key].context_length:
                    of_llm.over += 1
                    of_llm.longest = max(of_llm.longest, size)
    return ([] if repairs is None else told_repairs(name, repairs)) + [
        f"streams.{name}: {one.over:,} of {one.calls:,} calls {f'to {key} ' * (len(seen) > 1)}are "
        f"longer than the {llms[key].context_length:,} tokens of context of {llms[key].id} (the "
        f"longest has {one.longest:,}), and will be rejected: shorten them, or choose another LLM"
        for key, one in seen.items()
        if one.over
    ]


def _llm_of(node: LlmNode, stream: StreamSpec) -> str:
    """Key of the LLM that serves a call, as `sim.routes` chooses."""
    by_step = stream.llm_by_step
    return by_step.get(node.step) or by_step.get(node.initiator) or stream.llm


def repair_notes(streams: Mapping[str, StreamSpec]) -> list[str]:
    """Tell what was repaired in the traces of streams: each is read to its end once more."""
    from factorysim.workload.traces import read_trace

    notes: list[str] = []
    for name, stream in streams.items():
        if stream.trace is not None and stream.repair:
            repairs = Repairs()
            for _ in read_trace(Path(stream.trace), stream.format, repair=repairs):
                pass
            notes += told_repairs(name, repairs)
    return notes


def told_repairs(name: str, repairs: Repairs) -> list[str]:
    """Say of a stream what was repaired in its trace, a line a kind."""
    return [f"streams.{name}: {kind}" for kind in repairs.kinds]


def _sessions(
    name: str, stream: StreamSpec, seed: int, repairs: Repairs | None
) -> Iterator[Session]:
    """Go through what a stream has: of a trace what is recorded, of others the first sessions."""
    from factorysim.workload.demand import bounded, build_demand
    from factorysim.workload.replay import replayed
    from factorysim.workload.traces import read_trace

    if stream.trace is None:
        most = SESSIONS if stream.agent is not None else CALLS
        demand = build_demand(name, stream, seed=seed, replication=0)
        yield from islice(demand.sessions(), most)
        return
    path = Path(stream.trace)
    recorded = read_trace(path, stream.format, repair=repairs)
    kept = replayed(islice(recorded, stream.limit), stream.mode, path)
    yield from kept if stream.replicate == "none" else bounded(kept, path)
    for _ in recorded:
        pass  # faults behind the limit are told as well
