"""Tiers in a whole factory: where blocks go, who fetches them, what that costs, and the audit."""

from __future__ import annotations

from math import log

import pytest

from factorysim.graph.plan import ReplicaStores, StorePlan
from factorysim.sim.fabric import Fabric
from factorysim.sim.factory import run_replication
from factorysim.sim.replica import Replica
from factorysim.sim.roads import FabricRoad
from factorysim.sim.shelf import Shelf
from factorysim.sim.store import Store
from factorysim.sim.tier_log import Log
from factorysim.sim.tier_world import TierWorld
from factorysim.sim.tiers import ReplicaTiers, TieredLedger
from factorysim.sim.tool_times import ToolTimes
from factorysim.workload.session import GapNode, LlmNode, Session, ToolNode
from tests.unit.sim.builders import FS, MS, Listed, Rows, UnitLaw, plan, scenario

BLOCK_BYTES = 1_000_000
"""A millisecond each over the builders' link."""
NS_PER_MS = 10**6


def factory(*blocks, hbm=40, law=None, replicas=1):
    """Replicas over stores of so many blocks, from the fastest on; all behind one link."""
    names = ("host", "nvme", "cmx", "storage")[: len(blocks)]
    last = len(blocks) - 1
    stores = tuple(
        StorePlan(names[level], names[level], "m", blocks[level], BLOCK_BYTES, (90 + level,),
                  shared=False, below=last - level - 1)
        for level in range(last, -1, -1)
    )  # fmt: skip
    stores = tuple(store._replace(below=index - 1) for index, store in enumerate(stores))
    made = plan(law or UnitLaw(), blocks=hbm, replicas=replicas)
    reached = ReplicaStores(
        tuple(range(last, -1, -1)),
        tuple((90 + level,) for level in range(len(blocks))),
        BLOCK_BYTES,
    )
    (serve,) = made.serve
    return made._replace(serve=(serve._replace(stores=(reached,) * replicas),), stores=stores)


def serving(*tiers, **kv):
    told = {"block_tokens": 10, "tiers": ["hbm", *tiers], **kv}
    return scenario(serving={"kv": told, "token_budget": 1000})


def session(sid, at_ms, *nodes):
    return Session(sid, at_ms * NS_PER_MS, list(nodes))


def returning(sid, at_ms, gap_ms, prompt=300, tool=False):
    """A prompt, a pause, and the prompt again with its answer and a little more."""
    if tool:
        pause = ToolNode("wait", remote_ns=gap_ms * NS_PER_MS, after=(0,))
    else:
        pause = GapNode(gap_ms * NS_PER_MS, after=(0,))
    again = LlmNode(prompt + 20, 1, prefix_tokens=prompt + 10, after=(1,))
    return session(sid, at_ms, LlmNode(prompt, 10), pause, again)


class Seen:
    """What came out of a replication with tiers."""

    def __init__(self, spec, made, sessions, horizon_s=100.0):
        sink = Rows()
        self.closing = run_replication(
            spec, made, [Listed("s", sessions)], replication=0, horizon_s=horizon_s,
            arrivals_end_s=horizon_s, sink=sink,
        )  # fmt: skip
        self.tables = sink.tables
        self.calls, self.sessions = sink.tables["calls"], sink.tables["sessions"]

    def events(self, event, tier=None):
        rows = self.tables["tiers"]
        return [row for row in rows if row.event == event and tier in (None, row.tier)]

    def blocks(self, event, tier=None):
        return sum(row.blocks for row in self.events(event, tier))

    def broken(self):
        return [line.name for line in self.closing.audit if not line.ok]


def two_that_crowd_each_other(**options):
    """The second session's prompt pushes the first one's out of HBM while it pauses."""
    return [returning("a", 0, 2000, **options), session("b", 1000, LlmNode(350, 1))]


def test_what_was_evicted_is_fetched_and_not_computed_again():
    seen = Seen(serving("host", fetch="always"), factory(100), two_that_crowd_each_other())
    assert seen.broken() == []
    first, other, again = seen.calls
    assert (first.hit_tokens, other.hit_tokens) == (0, 0)
    assert again.hit_tokens == 300  # all that was computed of it: the last token never was
    [fetch] = seen.events("fetch")
    assert (fetch.tier, fetch.blocks, fetch.call) == ("host", 25, again.call)
    [hit] = seen.events("hit")
    assert hit.hit_tokens == 250
    # 25 blocks of 10^6 B at 10^9 B/s, outside of queue and prefill.
    assert seen.sessions[1].kv_s == pytest.approx(0.025, abs=1e-12)
    assert seen.sessions[1].queue_s == 0
    assert again.scheduled_s - again.queued_s == pytest.approx(0.025, abs=1e-12)


def test_without_a_fetch_it_is_computed_again():
    seen = Seen(serving("host", fetch="never"), factory(100), two_that_crowd_each_other())
    assert seen.broken() == []
    assert seen.events("fetch") == []
    assert seen.blocks("store") > 0  # all the same: that is the traffic of a store too many
    assert seen.calls[2].hit_tokens == 50
    assert seen.sessions[1].kv_s == 0


@pytest.mark.parametrize(("token_fs", "fetches"), [(MS, True), (MS // 100, False)])
def test_the_cheaper_way_is_taken(token_fs, fetches):
    """250 tokens take 250 ms or 2.5 ms; their blocks 25 ms."""
    made = factory(100, law=UnitLaw(token_fs=token_fs))
    seen = Seen(serving("host"), made, two_that_crowd_each_other())
    assert seen.broken() == []
    assert bool(seen.events("fetch")) == fetches


def test_what_a_tier_has_no_room_for_goes_to_the_next():
    seen = Seen(
        serving("host", "nvme", fetch="always"), factory(10, 100), two_that_crowd_each_other()
    )
    assert seen.broken() == []
    assert (seen.blocks("store", "host"), seen.blocks("store", "nvme")) == (10, 15)
    assert {row.tier for row in seen.events("fetch")} == {"host", "nvme"}
    assert seen.calls[2].hit_tokens == 300
    [lost] = [
        Seen(serving("host", fetch="always"), factory(10), two_that_crowd_each_other()).calls[2]
    ]
    assert lost.hit_tokens < 300


def test_a_copy_that_is_there_is_not_sent_again():
    back = [returning("a", 0, 2000), session("b", 1000, LlmNode(350, 1)),
            session("c", 4000, LlmNode(350, 1))]  # fmt: skip
    seen = Seen(serving("host", fetch="always"), factory(500), back)
    named = sum(row.prompt_tokens + row.output_tokens for row in seen.calls) // 10
    assert seen.blocks("evict", "hbm") > seen.blocks("store", "host")
    assert seen.blocks("store", "host") <= named


def test_blocks_are_copied_as_a_tool_begins_and_not_otherwise():
    spec = serving("host", offload="tool_call", fetch="always")
    crowd = session("b", 1000, LlmNode(350, 1))
    waits = Seen(spec, factory(100), [returning("a", 0, 2000, tool=True), crowd])
    assert waits.broken() == []
    [store] = waits.events("store")
    assert (store.blocks, store.started_s) == (30, pytest.approx(0.31 - 0.001, abs=1e-9))
    assert waits.calls[2].hit_tokens == 300
    pauses = Seen(spec, factory(100), two_that_crowd_each_other())
    assert pauses.events("store") == []
    assert pauses.calls[2].hit_tokens == 50


def test_what_nobody_uses_leaves_its_tier_on_time():
    spec = serving("host", "nvme", eviction="ttl", ttl="500 ms", fetch="always")
    seen = Seen(spec, factory(100, 100), two_that_crowd_each_other())
    assert seen.broken() == []
    put = {row.started_s for row in seen.events("store", "host")}
    left = {row.finished_s for row in seen.events("evict", "host")}
    assert {round(at + 0.5, 9) for at in put} >= {round(at, 9) for at in left} != set()
    lost = {round(row.finished_s, 9) for row in seen.events("evict", "nvme")}
    assert lost == {round(at + 0.5, 9) for at in left}


def test_kv_is_better_kept_while_a_tool_is_soon_back(monkeypatch):
    """To refill takes 0.31 s, the tool 0.1 s of 30 % of the store, once one has been seen."""
    kept, worlds = {}, set()

    def look(whole, world, live, node):
        worlds.add(world)
        whole(world, live, node)
        kept[live.plan.sid] = [
            until - world._clock.now_fs for until in world._shelves[0].keep.values()
        ]

    whole = TierWorld.tool_begins
    monkeypatch.setattr(TierWorld, "tool_begins", lambda *args: look(whole, *args))
    sessions = [returning(f"s{n}", 1000 * n, 100, tool=True) for n in range(2)]
    seen = Seen(serving("host", eviction="tool_ttl"), factory(100), sessions)
    assert seen.broken() == []
    assert kept == {"s0": [0], "s1": [pytest.approx(0.1 * log(0.31 / 0.03) * FS, rel=1e-9)]}
    [world] = worlds
    assert world._answers == world._kept == world._shelves[0].keep == {}  # all is forgotten


def test_a_tool_before_any_call_copies_nothing():
    spec = serving("host", offload="tool_call")
    first = session("a", 0, ToolNode("wait", remote_ns=NS_PER_MS), LlmNode(30, 1, after=(0,)))
    seen = Seen(spec, factory(100), [first])
    assert (seen.broken(), seen.tables["tiers"]) == ([], [])


@pytest.mark.parametrize(("prompt", "blocks"), [(300, 30), (301, 31)])
def test_the_last_token_of_an_answer_is_not_in_the_cache(prompt, blocks):
    """It has 10 tokens, and blocks of 10 are copied when they are full."""
    spec = serving("host", offload="tool_call")
    seen = Seen(spec, factory(100), [returning("a", 0, 2000, prompt, tool=True)])
    assert seen.events("store")[0].blocks == blocks


def test_the_engine_knows_means_of_what_has_ended():
    seen = ToolTimes()
    seen.ended("a", 10)
    assert (seen.mean_fs("a"), seen.mean_fs("b")) == (10, None)


@pytest.mark.parametrize(("offload", "hit"), [("tool_call", 300), ("evict", 0)])
def test_replicas_of_a_server_find_what_the_others_have_stored(offload, hit):
    """In turn: a and c to the first replica, where c pushes a out; b and then a to the second.

    What begins a's prompt is still in the HBM of the first: only where all of it was
    copied has the second a use for the rest.
    """
    sessions = [
        returning("a", 0, 2000, tool=True),
        session("b", 500, LlmNode(10, 1)),
        session("c", 1000, LlmNode(350, 1)),
    ]
    kv = {"block_tokens": 10, "tiers": ["hbm", "host"], "fetch": "always", "offload": offload}
    router = {"policy": "round_robin"}
    spec = scenario(serving={"kv": kv, "token_budget": 1000, "router": router})
    seen = Seen(spec, factory(100, replicas=2), sessions)
    assert seen.broken() == []
    again = seen.calls[-1]
    assert (again.session, again.replica, again.hit_tokens) == (0, 1, hit)


# What the audit must find.


def leaky(monkeypatch, kind, name, change, *, later=()):
    """Laws that break; what comes later lets host memory part with blocks."""
    whole = getattr(kind, name)
    monkeypatch.setattr(kind, name, lambda *args, **words: change(whole, *args, **words))
    spec = serving("host", "nvme", fetch="always")
    sessions = [*two_that_crowd_each_other(), *later]
    return Seen(spec, factory(12, 100), sessions, horizon_s=9.0 if later else 3.0).broken()


def test_the_audit_finds_rows_that_say_half_of_what_moved(monkeypatch):
    for event in ("store", "fetch"):

        def halve(note, log, what, *args, event=event, **words):
            if what == event:
                words["size_bytes"] /= 2
            return note(log, what, *args, **words)

        with monkeypatch.context() as patch:
            assert "KV tiers: bytes of rows = landed" in leaky(patch, Log, "note", halve)


def test_the_audit_finds_evictions_that_nobody_wrote_down(monkeypatch):
    def silent(note, log, what, tier, blocks, *args, **words):
        if (what, tier) == ("evict", "hbm"):
            blocks -= 1
        return note(log, what, tier, blocks, *args, **words)

    assert "KV blocks evicted = written down" in leaky(monkeypatch, Log, "note", silent)


def test_the_audit_finds_a_block_that_a_store_lost(monkeypatch):
    def count_more(whole, store, span, now_fs):
        whole(store, span, now_fs)
        store.used += 1

    broken = leaky(monkeypatch, Store, "reserve", count_more)
    assert broken == ["KV tiers: blocks sent = evicted + held"]


def test_the_audit_finds_a_block_that_was_evicted_unseen(monkeypatch):
    def cut(whole, store, piece, blocks):
        span = whole(store, piece, blocks)
        store.evicted -= 1
        return span

    spec, back = serving("host", fetch="always"), two_that_crowd_each_other()
    whole = Store._cut
    monkeypatch.setattr(Store, "_cut", lambda *args: cut(whole, *args))
    later = session("c", 5000, LlmNode(390, 1))
    broken = Seen(spec, factory(12), [*back, later]).broken()
    assert broken == ["KV tiers: blocks sent = evicted + held", "KV blocks evicted = written down"]


def test_the_audit_finds_blocks_stored_twice(monkeypatch):
    spec = serving("host", fetch="always")
    monkeypatch.setattr(Store, "missing", lambda _store, span: [span])
    later = [session("c", 5000, LlmNode(390, 1)), session("d", 6000, LlmNode(390, 1))]
    broken = Seen(spec, factory(500), [*two_that_crowd_each_other(), *later]).broken()
    assert "KV tiers: blocks sent = evicted + held" in broken


def test_the_audit_finds_blocks_that_never_land(monkeypatch):
    def forget(whole, store, span):
        store.landing -= span.high - span.low

    broken = leaky(monkeypatch, Store, "land", forget)
    assert "KV tiers: blocks sent = evicted + held" in broken


def test_the_audit_finds_a_transfer_that_nobody_wrote_down(monkeypatch):
    def silent(whole, shelf, sent, sources, near):
        for span in sent:
            shelf.land(span)

    broken = leaky(monkeypatch, Shelf, "_send", silent)
    assert "KV tiers: blocks sent = landed + on their way" in broken


def test_the_audit_finds_bytes_that_were_lost_on_the_road(monkeypatch):
    def less(whole, road, lanes, size_bytes, kind, landed):
        whole(road, lanes, size_bytes, kind, landed)
        road.landed_bytes -= 1

    broken = leaky(monkeypatch, FabricRoad, "carry", less)
    assert broken == ["KV tiers: bytes sent = landed + in flight"]


def test_the_audit_finds_a_fetch_that_kept_its_blocks(monkeypatch):
    def keep(whole, tiers, call, fetch):
        tiers.fetching.pop(call.number)
        tiers.on_landed(call)

    broken = leaky(monkeypatch, ReplicaTiers, "_land", keep)
    assert "KV fetches: blocks begun = landed + lost + under way" in broken
    assert "KV locks = paths of running calls" in broken or len(broken) > 1


def test_the_audit_finds_a_call_that_is_lost_while_it_fetches(monkeypatch):
    broken = leaky(monkeypatch, Replica, "_take_fetched", lambda *_: None)
    assert "calls: in flight = found" in broken


def test_the_audit_finds_hbm_blocks_that_eviction_lost(monkeypatch):
    def take_more(whole, ledger, blocks):
        whole(ledger, blocks)
        ledger.free -= 1 if ledger.evicted else 0

    broken = leaky(monkeypatch, TieredLedger, "take", take_more)
    assert "KV blocks: free + cached + private" in broken


OFFERED = "KV tiers: blocks offered = there + sent + without room"
HANDED = "KV tiers: blocks handed down = offered to the next tier"
CARRIED = "KV tiers: bytes on the fabric = blocks sent and read"
ROWS_OF_MOVES = "KV tiers: bytes of rows = landed"
LASTED = "KV tiers: times of rows = on the road (fs)"
WAITS = "KV fetches: waits of calls = from start to landing (fs)"
HITS = "KV hits of calls = found in HBM + thanks to tiers"


def without_last(spans):
    return list(spans)[:-1]


def test_the_audit_finds_blocks_that_were_parted_with_and_never_handed_down(monkeypatch):
    def forget(whole, shelf, gone):
        below, shelf.below = shelf.below, None
        whole(shelf, gone)
        shelf.below = below

    later = [session("c", 5000, LlmNode(390, 1))]
    assert leaky(monkeypatch, Shelf, "demote", forget, later=later) == [HANDED]


def test_the_audit_finds_blocks_of_hbm_that_never_reached_the_first_tier(monkeypatch):
    def some(whole, tiers, spans):
        whole(tiers, without_last(spans))

    assert leaky(monkeypatch, ReplicaTiers, "_put", some) == [HANDED]
    monkeypatch.undo()
    whole = ReplicaTiers._put
    monkeypatch.setattr(ReplicaTiers, "_put", lambda *args: some(whole, *args))
    spec = serving("host", offload="tool_call")
    assert Seen(spec, factory(100), [returning("a", 0, 2000, tool=True)]).broken() == [HANDED]


def test_the_audit_finds_blocks_that_had_no_room_and_went_nowhere(monkeypatch):
    """HBM evicts 25 blocks, where those on their way take all 12 of host memory."""

    def forget(whole, shelf, *args):
        below, shelf.below = shelf.below, None
        demote, shelf_type = Shelf.demote, Shelf

        def reached(self, gone):
            self.below = below
            demote(self, gone)
            self.below = None

        with monkeypatch.context() as patch:
            patch.setattr(shelf_type, "demote", reached)
            whole(shelf, *args)
        shelf.below = below

    assert leaky(monkeypatch, Shelf, "put", forget) == [HANDED]


def test_the_audit_finds_blocks_that_a_store_took_for_present(monkeypatch):
    def less(whole, store, span):
        return without_last(whole(store, span))

    assert OFFERED in leaky(monkeypatch, Store, "missing", less)


def test_the_audit_finds_blocks_that_were_dropped_as_they_came(monkeypatch):
    monkeypatch.setattr("factorysim.sim.shelf.joined", without_last)
    broken = leaky(monkeypatch, Shelf, "_ring", lambda *_: None)
    assert OFFERED in broken


def test_the_audit_finds_half_of_the_bytes_on_the_fabric(monkeypatch):
    """Rows, blocks and the road's own counts all say the whole."""

    def halve(whole, fabric, source, target, size_bytes, *args, kind):
        whole(fabric, source, target, size_bytes // 2, *args, kind=kind)

    assert CARRIED in leaky(monkeypatch, Fabric, "transfer", halve)


@pytest.mark.parametrize("event", ["store", "fetch"])
def test_the_audit_finds_moves_of_half_their_bytes(monkeypatch, event):
    """Rows and the road agree on the half: they come from one figure."""

    def half_store(whole, shelf, *args):
        shelf.block_bytes /= 2
        whole(shelf, *args)
        shelf.block_bytes *= 2

    def half_fetch(whole, tiers, *args):
        tiers._lane_bytes /= 2
        whole(tiers, *args)
        tiers._lane_bytes *= 2

    if event == "store":
        broken = leaky(monkeypatch, Shelf, "_send", half_store)
    else:
        broken = leaky(monkeypatch, ReplicaTiers, "_load", half_fetch)
    assert CARRIED in broken
    assert (ROWS_OF_MOVES in broken) == (event == "store")


def test_the_audit_finds_moves_of_other_tiers(monkeypatch):
    def elsewhere(whole, road, lanes, size_bytes, kind, landed):
        whole(road, lanes, size_bytes, kind.replace("nvme", "host"), landed)

    assert CARRIED in leaky(monkeypatch, FabricRoad, "carry", elsewhere)


@pytest.mark.parametrize("off_fs", [1, -1])
def test_the_audit_finds_a_wait_that_is_not_from_start_to_landing(monkeypatch, off_fs):
    def other(whole, tiers, call, fetch):
        fetch.started_fs += off_fs
        whole(tiers, call, fetch)

    assert leaky(monkeypatch, ReplicaTiers, "_land", other) == [WAITS]


def test_the_audit_finds_a_wait_that_a_call_forgot(monkeypatch):
    """Its session's time is then queue, and all shares add up."""

    def forget(whole, tiers, call, fetch):
        whole(tiers, call, fetch)
        call.fetch_fs = 0

    assert leaky(monkeypatch, ReplicaTiers, "_land", forget) == [WAITS]


def test_the_audit_finds_waits_of_calls_in_flight(monkeypatch):
    """The call comes back at 2.31 s, and its fetch takes 25 ms of it."""

    def other(whole, tiers, call, fetch):
        whole(tiers, call, fetch)
        call.fetch_fs += 1

    whole = ReplicaTiers._land
    monkeypatch.setattr(ReplicaTiers, "_land", lambda *args: other(whole, *args))
    spec, made = serving("host", fetch="always"), factory(100)
    late = Seen(spec, made, two_that_crowd_each_other(), horizon_s=2.336)
    assert late.calls[-1].outcome == "censored"
    assert late.broken() == [WAITS]
    early = Seen(spec, made, two_that_crowd_each_other(), horizon_s=2.32)
    assert early.calls[-1].outcome == "censored"
    assert early.broken() == []  # it has not landed
    spec, made = serving("host", "nvme", fetch="always"), factory(10, 100)
    half = Seen(spec, made, two_that_crowd_each_other(), horizon_s=2.332)
    assert [row.tier for row in half.events("fetch")] == ["host"]
    assert half.broken() == []


def test_the_audit_finds_rows_of_other_times(monkeypatch):
    for event in ("store", "fetch"):

        def longer(note, log, what, tier, blocks, times, event=event, **words):
            if what == event:
                times = times[0], times[1] + 1
            note(log, what, tier, blocks, times, **words)

        with monkeypatch.context() as patch:
            assert LASTED in leaky(patch, Log, "note", longer)


@pytest.mark.parametrize("by", [-10, 10])
def test_the_audit_finds_hits_that_no_tier_gave(monkeypatch, by):
    def other(whole, tiers, call, low, high):
        whole(tiers, call, low, high + by)

    assert leaky(monkeypatch, ReplicaTiers, "credit", other) == [HITS]


def test_the_audit_finds_hits_that_were_credited_twice(monkeypatch):
    def twice(whole, tiers, *args):
        whole(tiers, *args)
        whole(tiers, *args)

    assert leaky(monkeypatch, ReplicaTiers, "credit", twice) == [HITS]


def test_the_audit_finds_hits_of_hbm_that_a_tier_takes_for_its_own(monkeypatch):
    """All of them were fetched, and all that calls say is right."""

    def more(note, log, what, tier, *args, **words):
        if what == "hit":
            words["hit_tokens"] += 10
            log._told[words["call"]].found_tokens["hbm"] -= 10
        note(log, what, tier, *args, **words)

    assert leaky(monkeypatch, Log, "note", more) == [HITS]


def test_the_audit_finds_hits_of_one_tier_that_go_to_the_other(monkeypatch):
    def swap(note, log, what, tier, *args, **words):
        if what == "hit":
            tier = {"host": "nvme", "nvme": "host"}[tier]
        note(log, what, tier, *args, **words)

    assert leaky(monkeypatch, Log, "note", swap) == [HITS]


def test_the_audit_finds_evictions_of_a_store_that_nobody_wrote_down(monkeypatch):
    def silent(note, log, what, tier, blocks, *args, **words):
        if (what, tier) == ("evict", "host"):
            blocks -= 1
        note(log, what, tier, blocks, *args, **words)

    later = [session("c", 5000, LlmNode(390, 1))]
    broken = leaky(monkeypatch, Log, "note", silent, later=later)
    assert broken == ["KV blocks evicted = written down"]
