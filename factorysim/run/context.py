"""Calls that are longer than the context of their LLM: told before a run, which rejects them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.catalog import Catalog
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.demand import Demand

CALLS = 4096
"""Of a stream of single calls that are looked at: of two in a thousand, eight."""
SESSIONS = 256
"""Of an agent's."""


def long_calls(
    scenario: ScenarioSpec, catalog: Catalog, demands: Sequence[Demand]
) -> tuple[str, ...]:
    """Tell of each stream how many of its calls no context holds, if there are any.

    Prompt and output together must fit. Of traces all calls are counted, of drawn
    streams the first ones.
    """
    told: list[str] = []
    for demand in demands:
        name, stream = demand.name, scenario.streams[demand.name]
        llm = catalog.llm(scenario.llms[stream.llm].llm)
        sizes = list(_sizes(stream, demand))
        over = [size for size in sizes if size > llm.context_length]
        if over:
            told.append(
                f"streams.{name}: {len(over):,} of {len(sizes):,} calls are longer than the "
                f"{llm.context_length:,} tokens of context of {llm.id} (the longest has "
                f"{max(over):,}), and will be rejected: shorten them, or choose another LLM"
            )
    return tuple(told)


def _sizes(stream: StreamSpec, demand: Demand) -> Iterator[int]:
    """Prompt and output tokens of calls of a stream: of a trace all, of others the first."""
    most = None
    if stream.trace is None:
        most = SESSIONS if stream.agent is not None else CALLS
    for session in islice(demand.sessions(), most):
        for node in session.nodes:
            if isinstance(node, LlmNode):
                yield node.prompt_tokens + node.output_tokens
