"""A router: sends the calls for one LLM to its replicas, and counts what is there.

Load is kept in arrays, changed when a call is sent and when it comes back. With
a snapshot period the policy sees the load as it was at the last multiple of the
period: the arrays are copied before the first change after it, so an idle router
costs nothing.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Protocol

import numpy as np

from factorysim.policies.routing import Ask, Load
from factorysim.sim.clock import FS_PER_S, TRANSFER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy.typing as npt

    from factorysim.policies.routing import Routing
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.prefix_index import PrefixIndex
    from factorysim.sim.replica import Replica
    from factorysim.sim.turns import Turns

    Landed = Callable[[Call], None]

_make_tuple = tuple.__new__
"""Makes a named tuple without a Python frame: a third of a microsecond."""


class Way(Protocol):
    """Between the sessions and a replica: carries the text of so many tokens."""

    def there(self, tokens: int, priority: int, landed: Landed, call: Call, /) -> None:
        """Carry a prompt to the replica."""
        ...

    def back(self, tokens: int, priority: int, landed: Landed, call: Call, /) -> None:
        """Carry the end of an answer to its session."""
        ...


class Router:
    """The calls for one LLM, over the replicas of all deployments that serve it."""

    def __init__(
        self,
        clock: Clock,
        policy: Routing,
        snapshot_s: float,
        *,
        shared_queue: bool,
        max_sequences: int,
        draws: bool = False,
        prefixes: PrefixIndex | None = None,
    ) -> None:
        self._clock = clock
        self._policy = policy
        self._period_fs = round(snapshot_s * FS_PER_S)
        self._shared_queue = shared_queue
        self._max_sequences = max_sequences
        self.draws = draws
        """Whether the policy wants a uniform with each call."""
        self._prefixes = prefixes
        self.replicas: list[Replica] = []
        self._ways: list[tuple[Way, Landed]] = []
        self._index: dict[int, int] = {}
        """Position in those lists by the replica's own index."""
        self.limit: int | None = None
        """Calls at a replica from which on it is sent no more."""
        self.routed = self.refused = 0
        """Calls for which a replica was chosen; of them, those that it had no room for."""
        self._held: list[tuple[int, int, Call]] = []
        """Calls that wait here for a replica with room (`shared_queue`), by priority or
        turn, and then by number."""
        self.turns: Turns | None = None
        """Of tenants; None: the queue goes by priority."""
        self._tenants: Mapping[str, str] = {}
        self._homes: dict[int, int] = {}
        self._seen_period = -1
        self._cache_tokens = np.zeros(0, dtype=np.int64)
        self._resize(0)

    def add(self, replica: Replica, way: Way, landed: Landed) -> None:
        """Add a replica, the way there, and who takes in what lands."""
        self._index[replica.index] = len(self.replicas)
        self.replicas.append(replica)
        self._ways.append((way, landed))
        if self._prefixes is not None:
            self._prefixes.add(replica)
        limits = replica.limits
        tokens = limits.blocks * limits.block_tokens
        self._cache_tokens = np.append(self._cache_tokens, tokens)
        self._resize(len(self.replicas))

    def _resize(self, size: int) -> None:
        self._calls = np.zeros(size, dtype=np.int64)
        self._tokens = np.zeros(size, dtype=np.int64)
        # To count by index, a view of the memory takes half as long as the array.
        self._calls_at = self._calls.data
        self._tokens_at = self._tokens.data
        self._no_hits = np.zeros(size, dtype=np.int64)
        self._no_hits.flags.writeable = False
        self._seen = _snapshot(self._calls, self._tokens, self._cache_tokens)

    def send(self, call: Call, u: float = 0.5) -> bool:
        """Choose a replica for a call, and send it there; `u` is for policies that draw.

        Returns whether it was taken: not if the replica is at its limit.
        """
        if self._shared_queue and int(self._calls.min()) >= self._max_sequences:
            call.held_fs -= self._clock.now_fs
            place = call.priority if self.turns is None else self._place(self.turns, call)
            heappush(self._held, (place, call.number, call))
        else:
            home = self._homes.get(call.session)
            prefixes = self._prefixes
            hits = self._no_hits if prefixes is None else prefixes.hits(call)
            tokens, repeated = call.prompt_tokens, call.prefix_tokens
            ask = (self.routed, call.session, tokens, repeated, home, u, hits)
            if self._period_fs:
                self._copy_if_due()
            index = self._policy(self._seen, _make_tuple(Ask, ask))
            if self.limit is not None and self._calls_at[index] >= self.limit:
                self.routed += 1  # for the next the turn is another's
                self.refused += 1
                return False
            if prefixes is not None:
                prefixes.sent(call, index)
            self._send_to(index, call)
        return True

    def back(self, call: Call, landed: Landed) -> None:
        """Send the answer of a call that left its replica back to its session."""
        server = call.server
        assert server is not None
        index = self._index[server.index]
        if self._period_fs:
            self._copy_if_due()
        self._calls_at[index] -= 1
        self._tokens_at[index] -= call.prompt_tokens
        if self._held:
            place, _, held = heappop(self._held)
            if self.turns is not None:
                self.turns.let_go(place)
            held.held_fs += self._clock.now_fs
            self._send_to(index, held)
        self._ways[index][0].back(call.output_made, TRANSFER + call.number, landed, call)

    def take_turns(self, turns: Turns, tenants: Mapping[str, str]) -> None:
        """Have tenants take turns in the queue; whose calls a stream's are."""
        self.turns, self._tenants = turns, tenants

    def _place(self, turns: Turns, call: Call) -> int:
        tokens = call.prompt_tokens + call.output_tokens
        return turns.tag(self._tenants[call.tag.live.stream.name], tokens)

    @property
    def held(self) -> int:
        """Calls that wait here, not at a replica."""
        return len(self._held)

    def holding(self) -> Iterator[Call]:
        """Go through the calls that wait here."""
        return (call for _, _, call in self._held)

    def forget(self, session: int) -> None:
        """Forget where a session's last call ran: it is over."""
        self._homes.pop(session, None)

    def _send_to(self, index: int, call: Call) -> None:
        self.routed += 1
        call.server = self.replicas[index]
        if call.last:
            self._homes.pop(call.session, None)
        else:
            self._homes[call.session] = index
        if self._period_fs:
            self._copy_if_due()
        tokens = call.prompt_tokens
        self._calls_at[index] += 1
        self._tokens_at[index] += tokens
        way, landed = self._ways[index]
        way.there(tokens, TRANSFER + call.number, landed, call)

    def _copy_if_due(self) -> None:
        """Take the snapshot of this period, before anything changes in it."""
        period = self._clock.now_fs // self._period_fs
        if period != self._seen_period:
            self._seen_period = period
            calls, tokens = self._calls.copy(), self._tokens.copy()
            self._seen = _snapshot(calls, tokens, self._cache_tokens)


def _snapshot(*arrays: npt.NDArray[np.int64]) -> Load:
    """Wrap arrays in views that a policy cannot write through; live ones stay live."""
    views = [array.view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return Load(*views)
