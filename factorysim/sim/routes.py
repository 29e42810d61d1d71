"""Which router takes a call: by the LLM that its step asks for, and by the length of its prompt.

A router has the replicas of one LLM that take prompts of one range of lengths. Most
streams have one, and nothing of this is on the way of their calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.sim.router import Router
    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.session import LlmNode

Ranges: TypeAlias = "tuple[tuple[int, Router], ...]"
"""Of one LLM: prompts longer than so many tokens go to this router; the highest bound first."""


class Routes:
    """The routers of a stream, and what decides between them."""

    __slots__ = ("_by_step", "_others", "all")

    def __init__(self, others: Ranges, by_step: Mapping[str, Ranges]) -> None:
        self._others = others
        self._by_step = by_step
        found = [router for ranges in (others, *by_step.values()) for _, router in ranges]
        self.all: tuple[Router, ...] = tuple(dict.fromkeys(found))
        """Each once."""

    def of(self, node: LlmNode) -> Router:
        """Choose for a call: by its step, else by what sets it off, else the stream's LLM."""
        by_step = self._by_step
        ranges = by_step.get(node.step) or by_step.get(node.initiator) or self._others
        for above, router in ranges:
            if node.prompt_tokens > above:
                return router
        raise AssertionError("the shortest prompts have a router")


def ranges_of(routers: Mapping[tuple[str, int], Router], llm: str) -> Ranges:
    """Order the routers of an LLM, which are known by it and by their lower bound."""
    bounds = sorted((above for name, above in routers if name == llm), reverse=True)
    return tuple((above, routers[llm, above]) for above in bounds)


def routes_of(spec: StreamSpec, routers: Mapping[tuple[str, int], Router]) -> Routes:
    """Collect the routers that a stream's calls may need."""
    by_step = {step: ranges_of(routers, llm) for step, llm in spec.llm_by_step.items()}
    return Routes(ranges_of(routers, spec.llm), by_step)
