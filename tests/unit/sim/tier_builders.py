"""Stores and a replica's tiers on a road that only notes what it is asked to carry."""

from __future__ import annotations

from collections import defaultdict

from factorysim.sim.call import Call
from factorysim.sim.clock import Clock
from factorysim.sim.costs import StepCosts
from factorysim.sim.shelf import Shelf
from factorysim.sim.store import Span
from factorysim.sim.tier_log import Log
from factorysim.sim.tiers import ReplicaTiers, Rules, TieredLedger
from tests.unit.sim.builders import UnitLaw

BLOCK = 10
"""Tokens of a block."""


class NotingRoad:
    """Carries nothing until it is told to; estimates by node that sends and bytes."""

    def __init__(self):
        self.sent = []
        """Kind, lanes and bytes on each of them."""
        self.landings = defaultdict(list)
        self.each_fs = {}
        """Femtoseconds a byte by the node it is read from; others take 1."""
        self.asked = []

    def carry(self, lanes, size_bytes, kind, landed):
        self.sent.append((kind, list(lanes), size_bytes))
        self.landings[kind].append(landed)

    def estimate_fs(self, lanes, size_bytes, kind):
        self.asked.append((list(lanes), size_bytes))
        return max(self.each_fs.get(source, 1) * size_bytes for source, _ in lanes)

    def land(self, kind):
        self.landings[kind].pop(0)()


class Bench:
    """One replica over stores of so many blocks; tier k lies on node 90 + k."""

    def __init__(
        self,
        *blocks,
        hbm=100,
        batch=1,
        devices=(1,),
        lane_bytes=1.0,
        block_bytes=1.0,
        law=None,
        budget=1000,
        offload="evict",
        fetch="always",
        ttl_fs=None,
        shared=(),
    ):
        self.clock, self.road, self.log = Clock(), NotingRoad(), Log(block_tokens=BLOCK)
        self.shelves = []
        for level in range(len(blocks) - 1, -1, -1):
            below = self.shelves[0] if self.shelves else None
            nodes = (90 + level,) if level not in shared else (190, 191, 192)
            self.shelves.insert(0, Shelf(
                self.clock, self.log, self.road, len(self.shelves), f"t{level}", blocks[level],
                nodes, block_bytes, shared=level in shared, below=below, ttl_fs=ttl_fs,
            ))  # fmt: skip
        self.ledger = TieredLedger(hbm, BLOCK, batch)
        self.tiers = ReplicaTiers(
            self.clock, self.log, self.road, Rules(offload, fetch, budget), self.ledger,
            StepCosts(law or UnitLaw(token_fs=10, decode_fs=0)), self.shelves, devices,
            [(90 + level,) * len(devices) for level in range(len(blocks))], lane_bytes,
        )  # fmt: skip
        self.back = []
        self.tiers.on_landed = self.back.append

    def at(self, now_fs):
        self.clock.now_fs = now_fs
        return self

    def stored(self, level, line, low, high, now_fs=0):
        """Put blocks into a store as if they had landed long ago."""
        span = Span(line, low, high)
        self.shelves[level].reserve(span, now_fs)
        self.shelves[level].land(span)
        return self

    def cached(self, content, blocks):
        """Let HBM have the first blocks of a content, unlocked."""
        call = Call(10_000, 0, blocks * BLOCK, 1, content=content)
        self.ledger.take(blocks)
        self.ledger.free += self.ledger.register(call, blocks)
        self.ledger.release(call, blocks * BLOCK)
        return self

    def consider(self, call):
        return self.tiers.consider(call, self.found(call))

    def found(self, call):
        return self.ledger.match(call.content, (call.known - 1) // BLOCK)

    def moved(self, verb):
        return [entry for entry in self.road.sent if entry[0].startswith(verb)]


def call_of(content, prompt, number=0):
    return Call(number, 0, prompt, 5, content=content)
