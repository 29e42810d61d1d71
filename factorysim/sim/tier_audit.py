"""The balance of KV tiers: what stores, fetches and the fabric say of the same blocks."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from factorysim.records import AuditLine
from factorysim.sim.audit import equal
from factorysim.sim.tier_log import HBM
from factorysim.sim.tiers import fetched_blocks

_FLOATS = 1e-9
"""Relative, between sums of floats."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.sim.roads import FabricRoad
    from factorysim.sim.shelf import Shelf
    from factorysim.sim.tier_log import Log
    from factorysim.sim.tiers import ReplicaTiers


def audit_tiers(
    shelves: Sequence[Shelf], replicas: Sequence[ReplicaTiers], log: Log, road: FabricRoad
) -> tuple[AuditLine, ...]:
    """Draw the balances of a replication that has tiers."""
    landed = sum(log.stored_blocks.values())
    on_way = sum(shelf.landing for shelf in shelves)
    begun = sum(tiers.started_blocks for tiers in replicas)
    ended = sum(tiers.landed_blocks + tiers.lost_blocks for tiers in replicas)
    under_way = sum(fetched_blocks(call) for tiers in replicas for call in tiers.fetching.values())
    read = sum(sum(tiers.read_blocks) for tiers in replicas)
    return (
        _held(shelves),
        _taken_in(shelves),
        _handed_down(shelves, replicas),
        equal(
            "KV tiers: blocks sent = landed + on their way",
            sum(shelf.stored for shelf in shelves),
            landed + on_way,
        ),
        equal("KV fetches: blocks begun = landed + lost + under way", begun, ended + under_way),
        equal("KV fetches: blocks begun = read from stores", begun, read),
        equal(
            "KV tiers: bytes sent = landed + in flight",
            sum(road.carried().values()),
            road.landed_bytes + road.found_bytes(),
        ),
        _carried(shelves, replicas, road),
        _noted(shelves, log, road),
        _evicted(shelves, replicas, log),
        AuditLine(
            "KV hits of calls = found in HBM + thanks to tiers",
            not log.hits_amiss,
            log.hit_tokens,
            log.found_tokens,
            "; ".join(log.hits_amiss[:3]),
        ),
        AuditLine(
            "KV fetches: waits of calls = from start to landing (fs)",
            not log.waits_amiss,
            log.noted_wait_fs,
            log.waited_fs,
            "; ".join(log.waits_amiss[:3]),
        ),
        _lasted(log, road),
    )


def _taken_in(shelves: Sequence[Shelf]) -> AuditLine:
    """Every block that is offered to a store is there already, is sent, or finds no room."""
    off = []
    offered = found = 0
    for shelf in shelves:
        here = shelf.present + shelf.stored + shelf.beyond
        offered += shelf.offered
        found += here
        if here != shelf.offered:
            off.append(
                f"{shelf.tier} {shelf.number}: {shelf.offered} offered, {shelf.present} there, "
                f"{shelf.stored} sent, {shelf.beyond} without room"
            )
    name = "KV tiers: blocks offered = there + sent + without room"
    return AuditLine(name, not off, offered, found, "; ".join(off[:3]))


def _handed_down(shelves: Sequence[Shelf], replicas: Sequence[ReplicaTiers]) -> AuditLine:
    """Whatever HBM hands out, a store parts with or has no room for is offered to the next."""
    handed: Counter[int] = Counter()
    for tiers in replicas:
        handed[tiers.shelves[0].number] += tiers.handed_blocks
    for shelf in shelves:
        if shelf.below is not None:
            handed[shelf.below.number] += shelf.evicted + shelf.beyond
    off = [
        f"{shelf.tier} {shelf.number}: {handed[shelf.number]} from above, {shelf.offered} offered"
        for shelf in shelves
        if handed[shelf.number] != shelf.offered
    ]
    name = "KV tiers: blocks handed down = offered to the next tier"
    offered = sum(shelf.offered for shelf in shelves)
    return AuditLine(name, not off, handed.total(), offered, "; ".join(off[:3]))


def _carried(
    shelves: Sequence[Shelf], replicas: Sequence[ReplicaTiers], road: FabricRoad
) -> AuditLine:
    """Hold the fabric to the bytes of all blocks that stores took in and fetches read.

    Half a byte a lane is left to rounding.
    """
    owed: defaultdict[str, float] = defaultdict(float)
    for shelf in shelves:
        owed[f"store_{shelf.tier}"] += shelf.stored * shelf.block_bytes
    for tiers in replicas:
        for shelf, size_bytes in zip(tiers.shelves, tiers.read_bytes, strict=True):
            owed[f"fetch_{shelf.tier}"] += size_bytes
    carried = road.carried()
    off = [
        f"{kind}: {owed[kind]:,.0f} B of blocks, {carried.get(kind, 0):,} B on the fabric"
        for kind in sorted(owed.keys() | carried.keys())
        if abs(carried.get(kind, 0) - owed[kind]) > road.lanes[kind] / 2 + _FLOATS * owed[kind]
    ]
    name = "KV tiers: bytes on the fabric = blocks sent and read"
    total = sum(carried.values())
    return AuditLine(name, not off, sum(owed.values()), total, "; ".join(off[:3]))


def _evicted(shelves: Sequence[Shelf], replicas: Sequence[ReplicaTiers], log: Log) -> AuditLine:
    """Rows tell of every block that has left its tier."""
    evicted = Counter({HBM: sum(tiers.ledger.evicted for tiers in replicas)})
    for shelf in shelves:
        evicted[shelf.tier] += shelf.evicted
    noted = {tier: log.noted_blocks[f"evict_{tier}"] for tier in evicted}
    off = [
        f"{tier}: {evicted[tier]} evicted, rows say {noted[tier]}"
        for tier in evicted
        if evicted[tier] != noted[tier]
    ]
    name = "KV blocks evicted = written down"
    return AuditLine(name, not off, evicted.total(), sum(noted.values()), "; ".join(off[:3]))


def _lasted(log: Log, road: FabricRoad) -> AuditLine:
    """Rows of what moved say when it was sent and when its last lane had landed."""
    off = [
        f"{kind}: {took_fs} fs, rows say {log.noted_fs[kind]} fs"
        for kind, took_fs in road.took_fs.items()
        if took_fs != log.noted_fs[kind]
    ]
    noted_fs = sum(log.noted_fs[kind] for kind in road.took_fs)
    name = "KV tiers: times of rows = on the road (fs)"
    return AuditLine(name, not off, road.took_fs.total(), noted_fs, "; ".join(off[:3]))


def _noted(shelves: Sequence[Shelf], log: Log, road: FabricRoad) -> AuditLine:
    """Rows of what moved say as many bytes as landed, and blocks times their size."""
    expected = got = 0.0
    off = []
    for kind, landed in sorted(road.landed_by_kind.items()):
        noted = log.noted_bytes[kind]
        expected += landed
        got += noted
        if abs(noted - landed) > road.lanes[kind] / 2 + _FLOATS * noted:
            off.append(f"{kind}: {landed:,} B landed, rows say {noted:,.0f} B")
    for tier in dict.fromkeys(shelf.tier for shelf in shelves):
        mine = [shelf for shelf in shelves if shelf.tier == tier]
        sizes = {shelf.block_bytes for shelf in mine}
        noted, blocks = log.noted_bytes[f"store_{tier}"], log.noted_blocks[f"store_{tier}"]
        if len(sizes) == 1 and abs(noted - blocks * sizes.pop()) > _FLOATS * noted:
            off.append(f"store_{tier}: {noted:,.0f} B of {blocks:,} blocks")
    return AuditLine("KV tiers: bytes of rows = landed", not off, expected, got, "; ".join(off[:3]))


def _held(shelves: Sequence[Shelf]) -> AuditLine:
    """Every block sent to a store was evicted or is in one piece of it, within its room."""
    off = []
    total = found = 0
    for shelf in shelves:
        held = on_way = 0
        spans = []
        for piece in shelf.pieces():
            blocks = piece.high - piece.low
            held += blocks
            on_way += 0 if piece.landed else blocks
            spans.append((piece.line, piece.low, piece.high))
        total += shelf.stored
        found += shelf.evicted + held
        same_line = zip(sorted(spans, key=_place), sorted(spans, key=_place)[1:], strict=False)
        twice = any(a[0] == b[0] and a[2] > b[1] for a, b in same_line)
        fits = held == shelf.used <= shelf.blocks and on_way == shelf.landing
        if twice or not fits or shelf.stored != shelf.evicted + held:
            off.append(
                f"{shelf.tier} {shelf.number}: {shelf.stored} sent, {shelf.evicted} evicted, "
                f"{held} held ({shelf.used} by its count) of {shelf.blocks}, {on_way} on their way "
                f"({shelf.landing}){', some twice' if twice else ''}"
            )
    name = "KV tiers: blocks sent = evicted + held"
    return AuditLine(name, not off, total, found, "; ".join(off[:3]))


def _place(span: tuple[object, int, int]) -> tuple[int, int]:
    line, low, _ = span
    return hash(line), low
