"""A replica with tiers below HBM, in the most obvious way: every block of a store is one entry.

Nothing of `factorysim.sim` is used. A transfer takes a tier's latency and a time a
block, however many others are under way: these are the fixed rates that the clock's
promise covers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from tests.property.naive_replica import NaiveCall, NaiveReplica, Path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.physics.step import StepLaw
    from tests.property.naive_replica import Event, NaiveLimits


class NaiveTier(NamedTuple):
    """A tier below HBM."""

    blocks: int
    latency_fs: int
    store_fs: int
    """For each block that is sent there."""
    fetch_fs: int


class NaiveTierRules(NamedTuple):
    """How a replica uses its tiers."""

    tiers: tuple[NaiveTier, ...]
    offload: Literal["evict", "tool_call"]
    fetch: Literal["cheaper", "always", "never"]
    ttl_fs: int | None
    batch: int
    """Blocks that HBM evicts at a time."""


class ToolBegins(NamedTuple):
    """A tool that the session of an answered call waits for."""

    at_fs: int
    number: int
    """Of the call."""


@dataclass(slots=True, eq=False)
class Entry:
    """A block in a store, or on its way there."""

    used_fs: int
    turn: int
    landed: bool = False


@dataclass(slots=True)
class NaiveStore:
    """A tier's blocks by their paths."""

    tier: NaiveTier
    entries: dict[Path, Entry] = field(default_factory=dict)
    turns: int = 0

    def has(self, path: Path) -> bool:
        return path in self.entries and self.entries[path].landed

    def touch(self, path: Path, now: int) -> None:
        """Whoever uses a block uses all before it; the first of them are the youngest then."""
        for length in range(len(path), 0, -1):
            entry = self.entries.get(path[:length])
            if entry is not None:
                self.turns += 1
                entry.used_fs, entry.turn = now, self.turns

    def oldest(self) -> Path | None:
        landed = [path for path, entry in self.entries.items() if entry.landed]
        return min(landed, key=lambda path: self.entries[path].turn, default=None)


class Arrival(NamedTuple):
    """Bytes that land."""

    at_fs: int
    order: int
    store: int
    paths: tuple[Path, ...]
    call: NaiveCall | None
    """Whose fetch it is; None: they are sent to the store."""


@dataclass(slots=True)
class Decision:
    """What a call gets from the tiers."""

    at_fs: int
    until: int
    """Blocks of its prompt that are in HBM once it has landed."""
    levels: list[int]
    """Of the blocks that it gets, in order."""
    started_fs: int | None = None
    left: int = 0


class NaiveTiered(NaiveReplica):
    """A replica between two instants, with stores below it."""

    def __init__(self, limits: NaiveLimits, laws: Sequence[StepLaw], rules: NaiveTierRules) -> None:
        super().__init__(limits, laws)
        self.rules = rules
        self.stores = [NaiveStore(tier) for tier in rules.tiers]
        self.arrivals: list[Arrival] = []
        self.sent = 0
        self.fetching: list[NaiveCall] = []
        self.decisions: dict[int, Decision] = {}
        self.kv_fs: dict[int, int] = {}
        self.kv_stall_fs: dict[int, int] = {}
        self.tier_hits: dict[tuple[int, int], int] = {}
        """Tokens by call and tier."""
        self.evicted: list[Path] = []
        """From HBM, since blocks were last taken."""
        self.landed_fs: list[int] = []
        self.now_fs = 0
        self.estimated = laws[0]
        """What the engine goes by: the law of its last step."""

    # Time.

    def coming(self) -> list[int]:
        instants = [arrival.at_fs for arrival in self.arrivals]
        if self.rules.ttl_fs is not None:
            instants += [
                entry.used_fs + self.rules.ttl_fs
                for store in self.stores
                for entry in store.entries.values()
                if entry.landed
            ]
        return instants

    def land(self, now: int) -> None:
        self.now_fs = now
        while due := [arrival for arrival in self.arrivals if arrival.at_fs == now]:
            arrival = min(due, key=lambda arrival: arrival.order)
            self.arrivals.remove(arrival)
            self.landed_fs.append(now)
            if arrival.call is not None:
                self.land_fetch(now, arrival.call)
            else:
                for path in arrival.paths:
                    self.stores[arrival.store].entries[path].landed = True
        if self.rules.ttl_fs is not None:
            for level in range(len(self.stores) - 1, -1, -1):
                self.expire(level, now, now - self.rules.ttl_fs)

    def expire(self, level: int, now: int, before: int) -> None:
        store = self.stores[level]
        gone = []
        while True:
            oldest = store.oldest()
            if oldest is None or store.entries[oldest].used_fs > before:
                break
            del store.entries[oldest]
            gone.append(oldest)
        if gone:
            self.put(level + 1, gone, now)

    def send(self, now: int, level: int, paths: list[Path], call: NaiveCall | None) -> None:
        tier = self.rules.tiers[level]
        each = tier.store_fs if call is None else tier.fetch_fs
        at = now + tier.latency_fs + each * len(paths)
        self.arrivals.append(Arrival(at, self.sent, level, tuple(paths), call))
        self.sent += 1

    # Out of HBM.

    def room(self) -> int:
        if None not in self.owners:
            self.evict_batch()
        return self.owners.index(None)

    def evict_batch(self) -> None:
        for _ in range(min(self.rules.batch, self.evictable())):
            before = set(self.cache)
            self.owners[self.evict()] = None
            [path] = before - set(self.cache)
            self.evicted.append(path)

    def decide(self, now: int) -> None:
        self.now_fs = now
        if self.step is None and not self.down:
            self.estimated = self.law
        super().decide(now)

    def taken(self) -> None:
        """What one taking of blocks evicts is put into the first tier at once."""
        gone, self.evicted = self.evicted, []
        if gone and self.rules.offload == "evict":
            self.put(0, gone, self.now_fs)

    def tool_begins(self, now: int, number: int) -> None:
        call = self.calls.get(number)
        if call is None or call.outcome != "completed" or self.rules.offload != "tool_call":
            return
        known = call.sub.prompt + call.sub.output - 1
        full = min(len(call.ids), known // self.limits.block_tokens)
        blocks = 0
        while blocks < full and call.ids[: blocks + 1] in self.cache:
            blocks += 1
        self.put(0, [call.ids[:length] for length in range(blocks, 0, -1)], now)

    def put(self, level: int, paths: list[Path], now: int) -> None:
        """Send what is missing of blocks that are told from the ends of paths to their heads."""
        if level == len(self.stores):
            return
        store = self.stores[level]
        gone: list[Path] = []
        sent: list[Path] = []
        beyond: list[Path] = []
        for group in grouped(paths):
            deepest = group[-1]
            over: list[Path] = []
            store.touch(deepest, now)
            for path in [path for path in group if path not in store.entries]:
                on_way = sum(not entry.landed for entry in store.entries.values())
                if on_way == store.tier.blocks:
                    over.append(path)
                    continue
                if len(store.entries) == store.tier.blocks:
                    oldest = store.oldest()
                    assert oldest is not None
                    del store.entries[oldest]
                    gone.append(oldest)
                store.turns += 1
                store.entries[path] = Entry(now, store.turns)
                sent.append(path)
            store.touch(deepest, now)
            beyond += reversed(over)
        if gone:
            self.put(level + 1, gone, now)
        if beyond:
            self.put(level + 1, beyond, now)
        if sent:
            self.send(now, level, sent, None)

    # Into HBM.

    def consider(
        self, now: int, head: NaiveCall, hit: int
    ) -> Literal["admit", "blocked", "fetches"]:
        number, size = head.sub.number, self.limits.block_tokens
        made = self.decisions.get(number)
        if made is None:
            made = self.decisions[number] = self.choose(now, head, hit)
        if not made.levels or made.started_fs is not None:
            return "admit"
        if made.until - hit // size > self.available_beside(head, hit):
            return "blocked"
        if made.at_fs != now:
            made = self.decisions[number] = self.choose(now, head, hit)
            if not made.levels:
                return "admit"
            if made.until - hit // size > self.available_beside(head, hit):
                return "blocked"
        self.start(now, head, hit, made)
        return "fetches"

    def choose(self, now: int, head: NaiveCall, hit: int) -> Decision:
        size = self.limits.block_tokens
        first = hit // size
        most = min(len(head.ids), (head.known - 1) // size)
        levels: list[int] = []
        while first + len(levels) < most:
            path = head.ids[: first + len(levels) + 1]
            have = [level for level, store in enumerate(self.stores) if store.has(path)]
            if not have:
                break
            levels.append(have[0])
        if self.rules.fetch == "never":
            levels = []
        elif self.rules.fetch == "cheaper":
            levels = levels[: self.cheapest(head, hit, levels)]
        return Decision(now, first + len(levels), levels)

    def cheapest(self, head: NaiveCall, hit: int, levels: list[int]) -> int:
        size = self.limits.block_tokens
        best, fewest = self.prefill_fs(hit, head.known), 0
        for count in range(1, len(levels) + 1):
            if count < len(levels) and levels[count] == levels[count - 1]:
                continue
            load = max(
                tier.latency_fs + tier.fetch_fs * levels[:count].count(level)
                for level, tier in enumerate(self.rules.tiers)
                if level in levels[:count]
            )
            total = load + self.prefill_fs(hit + count * size, head.known)
            if total < best:
                best, fewest = total, count
        return fewest

    def prefill_fs(self, prior: int, known: int) -> int:
        total = 0
        while prior < known:
            tokens = min(self.limits.token_budget, known - prior)
            ends = prior + tokens == known
            total += self.estimated.base(0, tokens, 1, int(ends))
            total += self.estimated.chunk(tokens, prior)
            prior += tokens
        return total

    def start(self, now: int, head: NaiveCall, hit: int, made: Decision) -> None:
        size = self.limits.block_tokens
        for cached in self.found(head, hit):
            self.lock(head, cached)
        head.cached = hit
        self.grow(head, made.until * size - hit)
        self.taken()
        self.waiting.remove(head)
        self.fetching.append(head)
        made.started_fs = now
        first = hit // size
        paths = [head.ids[: first + n + 1] for n in range(len(made.levels))]
        for path, level in reversed(list(zip(paths, made.levels, strict=True))):
            self.stores[level].touch(path, now)
        for level in range(len(self.stores)):
            mine = [path for path, one in zip(paths, made.levels, strict=True) if one == level]
            if mine:
                made.left += 1
                self.send(now, level, mine, head)

    def land_fetch(self, now: int, call: NaiveCall) -> None:
        made = self.decisions[call.sub.number]
        made.left -= 1
        if made.left or call not in self.fetching:
            return
        self.fetching.remove(call)
        assert made.started_fs is not None
        call.cached = made.until * self.limits.block_tokens
        self.register(call)
        self.release(call)
        call.cached = 0
        number = call.sub.number
        self.kv_fs[number] = self.kv_fs.get(number, 0) + now - made.started_fs
        if call.preemptions:
            self.kv_stall_fs[number] = self.kv_stall_fs.get(number, 0) + now - made.started_fs
        if not call.outcome:
            self.waiting.append(call)

    def admit(self, now: int, call: NaiveCall, hit: int) -> None:
        made, size = self.decisions[call.sub.number] if call.ids else None, self.limits.block_tokens
        if made is not None and made.started_fs is not None:
            first = made.until - len(made.levels)
            for token in range(call.furthest, min(hit, call.sub.prompt)):
                index = token // size - first
                if 0 <= index < len(made.levels):
                    key = call.sub.number, made.levels[index]
                    self.tier_hits[key] = self.tier_hits.get(key, 0) + 1
        super().admit(now, call, hit)

    def victim(self) -> NaiveCall:
        """With `fcfs` who was admitted last: others have passed those that fetched."""
        return super().victim() if self.limits.order == "priority" else self.running[-1]

    def preempt_last(self) -> None:
        call = self.victim()
        super().preempt_last()
        self.decisions.pop(call.sub.number, None)

    # What befalls it.

    def happen(self, now: int, event: Event | ToolBegins) -> None:
        if isinstance(event, ToolBegins):
            self.tool_begins(now, event.number)
        else:
            super().happen(now, event)

    def cancel(self, now: int, number: int) -> None:
        call = self.calls.get(number)
        if call is not None and call in self.fetching and not call.outcome:
            self.leave(now, call, "cancelled")
        else:
            super().cancel(now, number)

    def fail(self, now: int) -> None:
        fetching = [call for call in self.fetching if not call.outcome]
        self.fetching = []
        self.waiting += fetching
        super().fail(now)

    def held(self) -> int:
        return super().held() + sum(len(call.private) for call in self.fetching)

    def check(self) -> None:
        """As without tiers, where calls that fetch hold what they have set aside."""
        running, fetching, most = self.running, self.fetching, self.limits
        for call in fetching:
            call.cached = self.decisions[call.sub.number].until * most.block_tokens
        assert len(running) <= most.max_sequences
        self.running, self.fetching = [*running, *fetching], []
        self.limits = most._replace(max_sequences=len(self.running))
        super().check()
        self.running, self.fetching, self.limits = running, fetching, most
        for store in self.stores:
            assert len(store.entries) <= store.tier.blocks


def grouped(paths: list[Path]) -> list[list[Path]]:
    """Blocks that follow each other from the end of a path on, with ids that count down.

    Each group is told from its head to its end.
    """
    groups: list[list[Path]] = []
    for path in paths:
        if groups:
            after = groups[-1][0]
            if after[:-1] == path and after[-1] == path[-1] + 1:
                groups[-1].insert(0, path)
                continue
        groups.append([path])
    return groups
