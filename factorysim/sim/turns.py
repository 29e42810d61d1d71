"""Turns of tenants in a router's queue: each gets its share of tokens, whatever others ask.

Start-time fair queueing [1]_: a call is tagged with the virtual time at which its
tenant's earlier ones are done, and the lowest tag goes first. While two tenants
have calls waiting, the tokens let go of each, over its weight, stay within one
call of each other's (theorem 1 there). Tags are whole numbers, hence exact.

References
----------
.. [1] Goyal, Vin, Cheng, "Start-time fair queueing: a scheduling algorithm for
   integrated services packet switching networks", SIGCOMM 1996.
"""

from __future__ import annotations

from math import lcm
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.spec.router import ShareSpec
    from factorysim.spec.stream import StreamSpec


class Turns:
    """Virtual time, and how far each tenant has come in it.

    Examples
    --------
    >>> turns = Turns({"gold": 2})
    >>> [turns.tag("gold", 10), turns.tag("gold", 10), turns.tag("free", 10)]
    [0, 10, 0]
    """

    __slots__ = ("_done", "_now", "_unit", "_weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        self._weights = weights
        """Of a tenant; 1 of those that are not there."""
        self._unit = lcm(*weights.values())
        """Of virtual time: a token of a tenant of weight 1."""
        self._now = 0
        self._done: dict[str, int] = {}
        """When all that a tenant has asked for is done."""

    def tag(self, tenant: str, tokens: int) -> int:
        """Give a call its place."""
        start = max(self._now, self._done.get(tenant, 0))
        end = start + tokens * (self._unit // self._weights.get(tenant, 1))
        self._done[tenant] = end
        return start

    def let_go(self, tag: int) -> None:
        """Move on to the tag of the call that is let go: who comes now starts there."""
        self._now = tag


def tenants_of(spec: ShareSpec, streams: Mapping[str, StreamSpec]) -> dict[str, str]:
    """Tell whose the calls of each stream are."""
    by_tenant = spec.per == "tenant"
    return {name: (by_tenant and stream.tenant) or name for name, stream in streams.items()}
