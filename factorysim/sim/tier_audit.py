"""The balance of KV tiers: what stores, fetches and the fabric say of the same blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.records import AuditLine
from factorysim.sim.audit import equal
from factorysim.sim.tiers import fetched_blocks

_ROUNDED = 1e-6
"""Relative: each lane carries whole bytes."""

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.sim.roads import FabricRoad
    from factorysim.sim.shelf import Log, Shelf
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
    read = sum(shelf.read_blocks for shelf in shelves)
    return (
        _held(shelves),
        equal(
            "KV tiers: blocks sent = landed + on their way",
            sum(shelf.stored for shelf in shelves),
            landed + on_way,
        ),
        equal("KV fetches: blocks begun = landed + lost + under way", begun, ended + under_way),
        equal("KV fetches: blocks begun = read from stores", begun, read),
        equal(
            "KV tiers: bytes sent = landed + in flight",
            road.sent_bytes,
            road.landed_bytes + road.found_bytes(),
        ),
        _noted(shelves, log, road),
        equal(
            "KV blocks evicted from HBM = written down",
            sum(tiers.ledger.evicted for tiers in replicas),
            log.noted_blocks["evict_hbm"],
        ),
    )


def _noted(shelves: Sequence[Shelf], log: Log, road: FabricRoad) -> AuditLine:
    """Rows of what moved say as many bytes as landed, and blocks times their size."""
    expected = got = 0.0
    off = []
    for kind, landed in sorted(road.landed_by_kind.items()):
        noted = log.noted_bytes[kind]
        expected += landed
        got += noted
        if abs(noted - landed) > _ROUNDED * max(noted, landed):
            off.append(f"{kind}: {landed:,} B landed, rows say {noted:,.0f} B")
    for tier in dict.fromkeys(shelf.tier for shelf in shelves):
        mine = [shelf for shelf in shelves if shelf.tier == tier]
        sizes = {shelf.block_bytes for shelf in mine}
        noted, blocks = log.noted_bytes[f"store_{tier}"], log.noted_blocks[f"store_{tier}"]
        if len(sizes) == 1 and abs(noted - blocks * sizes.pop()) > _ROUNDED * noted:
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
