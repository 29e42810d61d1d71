"""Tiers of the KV cache: blocks leave HBM for slower stores, and come back for a call.

What HBM evicts goes to the first tier, what that has no room for to the next, and
what the last one parts with is lost. Copies stay where they are when they are read,
and what a store has already is not written again. A call that would find more of
its prompt in the tiers than in HBM may fetch it: it leaves the queue, its blocks
are set aside, others pass it, and when the last byte has landed the blocks are as
if they had always been in HBM and the call is back in its place in the queue. So
vLLM does with its KV connectors [1]_, except that it keeps the blocks locked until
the call is admitted; here they are only the last to be evicted, and so two calls
that wait for each other's blocks cannot block a replica for ever.

References
----------
.. [1] vLLM, `v1/core/sched/scheduler.py`, `WAITING_FOR_REMOTE_KVS`.
"""

from __future__ import annotations

from heapq import heappop, heapreplace
from typing import TYPE_CHECKING, NamedTuple

from factorysim.sim.call import FETCHING, GONE
from factorysim.sim.kv import Ledger
from factorysim.sim.store import Span, lines_of, span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.costs import StepCosts
    from factorysim.sim.prefix import Extent, Hit
    from factorysim.sim.shelf import Road, Shelf
    from factorysim.sim.tier_log import Log
    from factorysim.workload.runs import Runs

ADMIT, BLOCKED, FETCHED = range(3)
"""What becomes of the head of the queue: it is scheduled; it waits for blocks; it fetches."""
BATCH_SHARE = 128
"""HBM evicts at least this part of its blocks at a time, so that blocks move together."""


class Stretch(NamedTuple):
    """Blocks of a prompt that one tier has."""

    level: int
    span: Span
    after: int
    """Blocks of the prompt before it."""


class Fetch:
    """What a call gets, or has got, from the tiers."""

    __slots__ = ("at_fs", "had", "left", "level_blocks", "parts", "started_fs", "until")

    def __init__(self, parts: list[Stretch], until: int, levels: int, at_fs: int) -> None:
        self.parts = parts
        self.had = 0
        """Blocks of the prompt that HBM had as it began."""
        self.until = until
        """Blocks of the prompt that are in HBM once it has landed."""
        self.at_fs = at_fs
        """When this was decided."""
        self.started_fs: int | None = None
        self.left = 0
        """Tiers that are still sending."""
        self.level_blocks = [0] * levels
        for part in parts:
            self.level_blocks[part.level] += part.span.high - part.span.low


class TieredLedger(Ledger):
    """The blocks of a replica's HBM, which go to the tiers when they are evicted."""

    __slots__ = ("batch", "on_evict")

    def __init__(self, blocks: int, block_tokens: int, batch: int | None = None) -> None:
        super().__init__(blocks, block_tokens)
        self.batch = max(1, blocks // BATCH_SHARE) if batch is None else batch
        self.on_evict: Callable[[list[Span]], None] = _lose

    def take(self, blocks: int) -> None:
        """Take blocks that are available; where eviction must help, it frees whole batches."""
        short = blocks - self.free
        if short > 0:
            batches = -(-short // self.batch) * self.batch
            evicted = min(batches, self.evictable)
            self.evict(evicted)
            self.free += evicted
        self.free -= blocks

    def evict(self, blocks: int) -> None:
        """Forget so many blocks, and say which."""
        gone: list[Span] = []
        while blocks:
            extent = self._next_leaf()
            count = min(blocks, extent.count)
            gone.append(span_of(extent, count))
            super().evict(count)
            blocks -= count
        self.on_evict(gone)

    def _next_leaf(self) -> Extent:
        """Find the leaf unlocked longest ago, and bring it to the front of the queue."""
        queue = self._queue
        while True:
            stamp, extent = queue[0]
            if extent.refs or extent.children:
                heappop(queue)
                extent.awaited = False
            elif extent.stamp != stamp:
                heapreplace(queue, (extent.stamp, extent))
            else:
                return extent


def _lose(_gone: list[Span]) -> None:
    """Let go of evicted blocks, where nobody takes them."""


class Rules(NamedTuple):
    """How a deployment uses its tiers."""

    offload: str
    fetch: str
    token_budget: int


class ReplicaTiers:
    """The tiers as one replica sees them.

    Parameters
    ----------
    shelves
        From the fastest tier below HBM down.
    devices
        Nodes of the replica.
    near
        For each device the node of a server's store that is next to it; by tier.
    lane_bytes
        Of one block, what each device of the replica holds of it.
    """

    def __init__(
        self,
        clock: Clock,
        log: Log,
        road: Road,
        rules: Rules,
        ledger: TieredLedger,
        costs: StepCosts,
        shelves: Sequence[Shelf],
        devices: tuple[int, ...],
        near: Sequence[tuple[int, ...]],
        lane_bytes: float,
    ) -> None:
        self.ledger = ledger
        self.shelves = shelves
        self.fetching: dict[int, Call] = {}
        """Calls whose fetch is under way, by number; cancelled ones until it has landed."""
        self.started_blocks = self.landed_blocks = self.lost_blocks = 0
        """Of fetches; lost are those that a failure of the device has cut off."""
        self.read_blocks = [0] * len(shelves)
        """Fetched from each tier so far."""
        self.copied_blocks = 0
        """That HBM had as tools began."""
        self.index = -1
        self.on_landed: Callable[[Call], None] = _forget_call
        """Told of a call whose blocks have landed."""
        self._clock = clock
        self._log = log
        self._road = road
        self._rules = rules
        self.costs = costs
        """Of the replica's law as it is."""
        self._devices = devices
        self._near = near
        self._lane_bytes = lane_bytes
        ledger.on_evict = self._offload

    # Out of HBM.

    def _offload(self, gone: list[Span]) -> None:
        """Take what HBM evicts to the first tier, unless only tool calls do so."""
        now_fs = self._clock.now_fs
        blocks = sum(span.high - span.low for span in gone)
        size_bytes = blocks * self.shelves[0].block_bytes
        self._log.note(
            "evict", "hbm", blocks, (now_fs, now_fs), size_bytes=size_bytes, replica=self.index
        )
        if self._rules.offload == "evict":
            self._put(gone)

    def tool_begins(self, content: Runs, blocks: int) -> None:
        """Copy what HBM has of a session out, since a tool keeps it waiting."""
        if self._rules.offload == "tool_call":
            found = self.ledger.match(content, blocks)[0]
            self.copied_blocks += found
            self._put(reversed(list(lines_of(content, 0, found))))

    @property
    def handed_blocks(self) -> int:
        """Blocks that HBM has handed to the first tier, by its ledger."""
        return self.ledger.evicted if self._rules.offload == "evict" else self.copied_blocks

    @property
    def read_bytes(self) -> list[float]:
        """What fetches from each tier bring to all devices together, by their blocks."""
        return [blocks * self._lane_bytes * len(self._devices) for blocks in self.read_blocks]

    def _put(self, spans: Iterable[Span]) -> None:
        self.shelves[0].put(spans, self._devices, self._near[0])

    # Into HBM.

    def consider(self, call: Call, found: Hit) -> int:
        """Decide for the head of the queue, of whose prompt HBM has `found`.

        It is decided once, and again if what the call waits for may have changed: when
        it has all the blocks that it needs, at another instant.
        """
        ledger, now_fs = self.ledger, self._clock.now_fs
        hit, unlocked = found[0], found[1]
        available = ledger.free + ledger.evictable - unlocked
        fetch = call.fetch
        if fetch is None:
            fetch = call.fetch = self._choose(call, hit)
        if not fetch.parts or fetch.started_fs is not None:
            return ADMIT
        if fetch.until - hit > available:
            return BLOCKED
        if fetch.at_fs != now_fs:
            fetch = call.fetch = self._choose(call, hit)
            if not fetch.parts:
                return ADMIT
            if fetch.until - hit > available:
                return BLOCKED
        self._start(call, fetch, found)
        return FETCHED

    def _choose(self, call: Call, hit: int) -> Fetch:
        """Find what the tiers have beyond `hit` blocks, and how much of it is worth loading."""
        block_tokens = self.ledger.block_tokens
        levels = len(self.shelves)
        parts = self._parts(call, hit, (call.known - 1) // block_tokens)
        if self._rules.fetch == "never":
            parts = []
        elif self._rules.fetch == "cheaper":
            parts = self._worthwhile(call, hit, parts)
        until = hit
        if parts:
            until = parts[-1].after + parts[-1].span.high - parts[-1].span.low
        return Fetch(parts, until, levels, self._clock.now_fs)

    def _parts(self, call: Call, hit: int, most: int) -> list[Stretch]:
        """Find the longest prefix beyond HBM's that is in the tiers, each block in the fastest."""
        parts: list[Stretch] = []
        after = hit
        for line, low, high in lines_of(call.content, hit, most):
            at = low
            while at < high:
                for level, shelf in enumerate(self.shelves):
                    end = shelf.reach(line, at, high)
                    if end > at:
                        for faster in self.shelves[:level]:
                            end = faster.begins(line, at, end)
                        parts.append(Stretch(level, Span(line, at, end), after))
                        after += end - at
                        at = end
                        break
                else:
                    return parts
        return parts

    def _worthwhile(self, call: Call, hit: int, parts: list[Stretch]) -> list[Stretch]:
        """Cut parts where loading more would take longer than computing it.

        A prompt is loaded, from all tiers at once, and then the rest of it computed.
        """
        size = self.ledger.block_tokens
        best_fs, best = self.prefill_fs(hit * size, call.known), 0
        load_fs = 0
        blocks = [0] * len(self.shelves)
        for count, part in enumerate(parts, 1):
            level, span = part.level, part.span
            blocks[level] += span.high - span.low
            if count < len(parts) and parts[count].level == level:
                continue
            load_fs = max(load_fs, self._load_fs(level, blocks[level]))
            end = part.after + span.high - span.low
            total_fs = load_fs + self.prefill_fs(end * size, call.known)
            if total_fs < best_fs:
                best_fs, best = total_fs, count
        return parts[:best]

    def prefill_fs(self, prior: int, known: int) -> int:
        """Time to compute tokens after `prior` cached ones, alone, as the law has it."""
        costs, law, budget = self.costs, self.costs.law, self._rules.token_budget
        total_fs = 0
        while prior < known:
            tokens = min(budget, known - prior)
            counts = (0, tokens, 1, int(prior + tokens == known))
            base = costs.bases.get(counts)
            total_fs += (costs.base(counts) if base is None else base) + law.chunk(tokens, prior)
            prior += tokens
        return total_fs

    def _load_fs(self, level: int, blocks: int) -> int:
        lanes = list(
            zip(self.shelves[level].next_ends(self._near[level]), self._devices, strict=True)
        )
        kind = f"fetch_{self.shelves[level].tier}"
        return self._road.estimate_fs(lanes, round(blocks * self._lane_bytes), kind)

    def _start(self, call: Call, fetch: Fetch, found: Hit) -> None:
        """Set HBM blocks aside, and let the tiers send."""
        hit = found[0]
        now_fs = self._clock.now_fs
        if hit:
            self.ledger.lock(call, found)
        self.ledger.take(fetch.until - hit)
        call.state = FETCHING
        call.context = fetch.until * self.ledger.block_tokens
        self.fetching[call.number] = call
        fetch.started_fs, fetch.had = now_fs, hit
        self.started_blocks += fetch.until - hit
        for part in reversed(fetch.parts):  # so that the head of the prompt is the youngest
            self.shelves[part.level].touch(part.span, now_fs)
        levels = [level for level, blocks in enumerate(fetch.level_blocks) if blocks]
        fetch.left = len(levels)
        for level in levels:
            self._load(call, fetch, level)

    def _load(self, call: Call, fetch: Fetch, level: int) -> None:
        shelf, blocks = self.shelves[level], fetch.level_blocks[level]
        lanes = list(zip(shelf.ends(self._near[level]), self._devices, strict=True))
        size = round(blocks * self._lane_bytes)
        start_fs = self._clock.now_fs
        self.read_blocks[level] += blocks

        def landed() -> None:
            self._log.note(
                "fetch",
                shelf.tier,
                blocks,
                (start_fs, self._clock.now_fs),
                size_bytes=float(size * len(lanes)),
                replica=self.index,
                call=call.number,
            )
            fetch.left -= 1
            if not fetch.left:
                self._land(call, fetch)

        self._road.carry(lanes, size, f"fetch_{shelf.tier}", landed)

    def _land(self, call: Call, fetch: Fetch) -> None:
        """Give the blocks to the cache, and the call back to the queue."""
        if self.fetching.pop(call.number, None) is None:
            return  # the device has failed in the meantime
        ledger, now_fs = self.ledger, self._clock.now_fs
        assert fetch.started_fs is not None
        self.landed_blocks += fetched_blocks(call)
        ledger.free += ledger.register(call, fetch.until)
        ledger.release(call, call.context)
        call.context = 0
        waited_fs = now_fs - fetch.started_fs
        call.fetch_fs += waited_fs
        if call.preemptions:
            call.fetch_stall_fs += waited_fs
        self.on_landed(call)

    def credit(self, call: Call, low: int, high: int) -> None:
        """Note which tiers the prompt's hits from token `low` to `high` came from."""
        fetch, size = call.fetch, self.ledger.block_tokens
        high = min(high, call.prompt_tokens)
        if fetch is None or fetch.started_fs is None:
            self._log.found_in_hbm(call, max(0, high - low))
            return
        had, until = fetch.had * size, fetch.until * size
        self._log.found_in_hbm(call, max(0, min(had, high) - low) + max(0, high - max(until, low)))
        tokens = [0] * len(self.shelves)
        for part in fetch.parts:
            start = part.after * size
            end = start + (part.span.high - part.span.low) * size
            tokens[part.level] += max(0, min(end, high) - max(start, low))
        now = (self._clock.now_fs,) * 2
        for level, hits in enumerate(tokens):
            if hits:
                tier = self.shelves[level].tier
                self._log.note(
                    "hit", tier, 0, now, replica=self.index, call=call.number, hit_tokens=hits
                )

    def fail(self) -> list[Call]:
        """Forget the fetches under way: whose they are. Stores outlive the device."""
        calls = list(self.fetching.values())
        self.lost_blocks += sum(fetched_blocks(call) for call in calls)
        self.fetching.clear()
        return [call for call in calls if call.state != GONE]


def fetched_blocks(call: Call) -> int:
    """Count the blocks that a call has fetched, or fetches."""
    return 0 if call.fetch is None else sum(call.fetch.level_blocks)


def _forget_call(_call: Call) -> None:
    """Drop a call that has landed, where nobody takes it."""
