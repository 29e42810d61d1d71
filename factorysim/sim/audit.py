"""The balance of a run: what was counted in one place against another.

Every law compares two numbers that were kept apart, so that a lost block, a token
counted twice, a joule that went missing or a session that nobody will wake shows.
"""

from __future__ import annotations

from collections import Counter
from itertools import compress
from operator import add, ne
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.records import AuditLine, CallRow, SessionRow
from factorysim.sim.prefix import path
from factorysim.sim.speculation import Drafts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from factorysim.physics.speculation import Pace
    from factorysim.records import StationLine, StepChunk
    from factorysim.sim.call import Call
    from factorysim.sim.fabric import Books, LinkLoad
    from factorysim.sim.gateway import Tally
    from factorysim.sim.replica import Replica
    from factorysim.sim.router import Router

_TOLERANCE = 1e-9
"""Relative, between sums of floats: double precision leaves 1e-12."""


class Ledgers:
    """Sums over rows as they are written, kept apart from the parts that caused them."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        """Rows by outcome."""
        self.sessions: Counter[str] = Counter()
        self.tools: Counter[str] = Counter()
        self.computed_tokens = self.recomputed_tokens = self.made_tokens = 0
        """By calls."""
        self.answered_tokens = self.received_tokens = 0
        """Prompts and outputs of completed calls, by calls and by their sessions."""
        self.call_numbers = self.session_numbers = 0
        """Sums of them: a row lost and another written twice would show."""
        self.handoffs = 0
        """Begun."""
        self.handed_bytes = 0
        """That they moved, by their rows."""
        self.handoffs_amiss = 0
        self.discarded_tokens = 0
        """First tokens that a prefill replica made, and no call got."""
        self.stepped_tokens = self.emitted_tokens = 0
        """By steps: of prompts, and of outputs."""
        self.drafted_tokens = self.accepted_tokens = 0
        """By steps: drafts that were verified, and those of them that became output."""
        self.steps = 0
        self.rows: Counter[str] = Counter()
        """Rows written of tables that nothing else counts."""
        self.incomplete = 0
        """Completed calls whose prompt or output does not add up."""
        self.share_errors_fs = 0
        """Sum over sessions of |time shares - duration|."""
        self.asks = 0
        """Times that calls were sent, let in or not, by calls."""
        self.let_in: Counter[str] | None = None
        """Tokens of the calls that came to a replica, by stream, as buckets count them."""
        self._prompts_only = False

    def weigh(self, *, prompts_only: bool) -> None:
        """Sum up what calls take from token buckets, too."""
        self.let_in, self._prompts_only = Counter(), prompts_only

    def add_calls(self, rows: Sequence[CallRow | tuple[Any, ...]]) -> None:
        """Add calls whose rows are being written."""
        columns = _columns(CallRow, rows)
        self.calls.update(columns["outcome"])
        self.computed_tokens += sum(columns["computed_tokens"])
        self.recomputed_tokens += sum(columns["recomputed_tokens"])
        self.made_tokens += sum(columns["output_tokens"])
        self.call_numbers += sum(columns["call"])
        self.asks += sum(columns["attempts"])
        if self.let_in is not None:
            self._weigh(self.let_in, columns)
        completed = [outcome == "completed" for outcome in columns["outcome"]]
        for name in ("prompt_tokens", "output_tokens"):
            self.answered_tokens += sum(compress(columns[name], completed))
        known = map(add, columns["hit_tokens"], columns["computed_tokens"])
        asked = zip(columns["prompt_tokens"], columns["requested_tokens"], strict=True)
        got = zip(known, columns["output_tokens"], strict=True)
        self.incomplete += sum(compress(map(ne, asked, got), completed))

    def _weigh(self, let_in: Counter[str], columns: Mapping[str, Sequence[Any]]) -> None:
        tokens = columns["prompt_tokens"]
        if not self._prompts_only:
            tokens = tuple(map(add, tokens, columns["requested_tokens"]))
        for stream, replica, count in zip(
            columns["stream"], columns["replica"], tokens, strict=True
        ):
            if replica >= 0:
                let_in[stream] += count

    def add_sessions(self, rows: Sequence[SessionRow | tuple[Any, ...]]) -> None:
        """Add sessions whose rows are being written."""
        columns = _columns(SessionRow, rows)
        self.sessions.update(columns["outcome"])
        self.session_numbers += sum(columns["session"])
        self.received_tokens += sum(columns["prompt_tokens"]) + sum(columns["output_tokens"])

    def add_steps(self, rows: StepChunk, pace: Pace | None = None) -> None:
        """Add runs of steps whose rows are being written."""
        self.rows["steps"] += len(rows)
        self.steps += int(rows.columns["steps"].sum())
        self.stepped_tokens += int(rows.columns["prompt_tokens"].sum())
        self.emitted_tokens += int(rows.columns["emitted_tokens"].sum())
        if pace is not None:
            sequences = rows.columns["steps"] * rows.columns["decodes"]
            verifies = int(sequences[rows.columns["emitted_tokens"] > 0].sum())  # else lost
            self.drafted_tokens += verifies * pace.draft_tokens
            self.accepted_tokens += int(rows.columns["accepted_tokens"].sum())


class Metered(NamedTuple):
    """What replicas and tool hosts did, beside what the power meter was told of it."""

    step_s: float
    metered_step_s: float
    core_s: float
    metered_core_s: float
    steps: int
    served_s: float
    """Core-seconds that tool hosts gave."""
    done_s: float
    """Those that their jobs got, by what they asked for."""
    hosts_astray: int
    """Tool hosts that account for other cores or memory than their jobs hold."""
    boxes_astray: int
    """Of sandboxes: hosts that account for other memory than these hold, and lost ones."""
    boxes_begun: int
    partner_s: float = 0.0
    """Device-seconds of the other side of splits, in the steps of their replicas."""
    metered_partner_s: float = 0.0


class InFlight(NamedTuple):
    """What the world says is under way at the end, and what can be found of it."""

    calls_sent: int
    calls: int
    calls_found: int
    """At replicas, in routers, and on their way."""
    sessions_arrived: int
    asleep: int
    """Sessions under way that nothing will wake."""
    tools_used: int
    stranded: int
    """Calls that wait for KV which will never come."""


def audit(
    ledgers: Ledgers,
    flying: InFlight,
    replicas: Sequence[Replica],
    stations: Sequence[StationLine],
    fabric: Books,
    energy: AuditLine,
    end_s: float,
    metered: Metered,
    handed: Counter[str],
) -> tuple[AuditLine, ...]:
    """Draw every balance of a replication."""
    lines = [
        equal("calls: arrived = ended + in flight", flying.calls_sent, ledgers.calls.total()),
        equal("calls: in flight = found", flying.calls, flying.calls_found),
        equal(
            "sessions: arrived = ended + in flight",
            flying.sessions_arrived,
            ledgers.sessions.total(),
        ),
        equal("sessions: in flight and asleep for ever", 0, flying.asleep),
        equal("tools: used = ended + in flight", flying.tools_used, ledgers.tools.total()),
        equal("calls whose KV never comes", 0, flying.stranded),
        equal("hand-offs begun = written", ledgers.handoffs, ledgers.rows["handoffs"]),
        equal("hand-offs of other bytes or waits than owed", 0, ledgers.handoffs_amiss),
        equal("bytes handed off = sent", fabric.handed_bytes, ledgers.handed_bytes),
        equal("calls: each once", _numbers(flying.calls_sent), ledgers.call_numbers),
        equal("sessions: each once", _numbers(flying.sessions_arrived), ledgers.session_numbers),
        equal("calls: completed, prompt or output short", 0, ledgers.incomplete),
        _received(ledgers),
        equal("tool hosts: cores and memory not held by jobs", 0, metered.hosts_astray),
        *_sandboxes(ledgers, metered),
        _stepped(ledgers, sum(replica.padded() for replica in replicas)),
        equal(
            "tokens emitted by steps = output of calls + discarded",
            ledgers.emitted_tokens,
            ledgers.made_tokens + ledgers.discarded_tokens,
        ),
        *_drafts(ledgers, replicas),
        _blocks(replicas),
        _locks(replicas),
        *(_little(station) for station in stations),
        *(_within(station, end_s) for station in stations),
        equal("time shares = duration (fs)", 0, ledgers.share_errors_fs),
        energy,
        close("metered seconds of steps = busy", metered.step_s, metered.metered_step_s),
        close(
            "metered device-seconds of splits = busy",
            metered.partner_s,
            metered.metered_partner_s,
        ),
        close("core-seconds given = got by tools", metered.served_s, metered.done_s),
        close("metered core-seconds = busy", metered.core_s, metered.metered_core_s),
        equal("steps of rows = steps of replicas", metered.steps, ledgers.steps),
        *(
            equal(f"rows of {table} handed on = counted", counted, handed[table])
            for table, counted in (
                ("calls", flying.calls_sent),
                ("sessions", flying.sessions_arrived),
                *ledgers.rows.items(),
            )
        ),
        *_transfers(fabric),
    ]
    return tuple(lines)


def _sandboxes(ledgers: Ledgers, metered: Metered) -> tuple[AuditLine, ...]:
    """Draw the balances of sandboxes, where any have begun."""
    if not metered.boxes_begun:
        return ()
    written = ledgers.rows["sandboxes"]
    return (
        equal("sandboxes: memory of hosts not held by them", 0, metered.boxes_astray),
        equal("sandboxes: begun = ended + held", metered.boxes_begun, written),
    )


def admission_laws(
    tally: Tally, ledgers: Ledgers, routers: Iterable[Router], at_replicas: int
) -> tuple[AuditLine, ...]:
    """Draw the balances of admission.

    Parameters
    ----------
    at_replicas
        Calls in flight that were sent to a replica.
    """
    routers = list(routers)
    held = [call for router in routers for call in router.holding()]
    sent = sum(router.routed - router.refused for router in routers)
    return (
        equal(
            "admission: sent = let in + turned away", tally.asks, tally.refused + sent + len(held)
        ),
        equal("admission: sent = attempts of calls", tally.asks, ledgers.asks),
        equal("admission: let in and not back = in flight", tally.present, at_replicas + len(held)),
        _spent(tally, ledgers.let_in or Counter(), held),
        equal(
            "admission: buckets whose rate over time is not what they hold, spilled and gave",
            0,
            sum(bucket.error() != 0 for bucket, _ in tally.buckets),
        ),
    )


def _spent(tally: Tally, let_in: Counter[str], held: Sequence[Call]) -> AuditLine:
    """Every bucket gave the tokens of the calls that were let in, and no others."""
    tokens = let_in.copy()
    for call in held:
        output = 0 if tally.prompts_only else call.output_tokens
        tokens[call.tag.live.stream.name] += call.prompt_tokens + output
    total = found = 0
    off = []
    for bucket, streams in tally.buckets:
        here = sum(tokens[name] for name in streams)
        total += bucket.spent
        found += here
        if here != bucket.spent:
            off.append(f"{', '.join(sorted(streams))}: {bucket.spent} taken, {here} let in")
    name = "admission: tokens taken = tokens of calls let in"
    return AuditLine(name, not off, total, found, "; ".join(off[:3]))


def _numbers(count: int) -> int:
    """Sum of the numbers from 0 on of so many."""
    return count * (count - 1) // 2


def _received(ledgers: Ledgers) -> AuditLine:
    """Sessions count the tokens of their answers; one that failed has stopped counting."""
    expected, got = ledgers.answered_tokens, ledgers.received_tokens
    ok = got == expected or (got < expected and ledgers.sessions["failed"] > 0)
    return AuditLine("tokens of calls = tokens of sessions", ok, expected, got, "completed calls")


def _columns(
    kind: type[CallRow | SessionRow], rows: Sequence[tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    """Turn rows into columns by name."""
    values = list(zip(*rows, strict=True)) or [()] * len(kind._fields)
    return dict(zip(kind._fields, values, strict=True))


def equal(name: str, expected: float, got: float) -> AuditLine:
    """Hold one count to another."""
    return AuditLine(name, expected == got, expected, got, "")


def close(name: str, expected: float, got: float) -> AuditLine:
    """Hold one sum of floats to another."""
    ok = abs(got - expected) <= _TOLERANCE * max(abs(expected), abs(got))
    return AuditLine(name, ok, expected, got, "")


def _stepped(ledgers: Ledgers, padding: int) -> AuditLine:
    """Compare what steps computed with what calls needed, and what padded static batches."""
    expected = ledgers.stepped_tokens
    got = ledgers.computed_tokens + ledgers.recomputed_tokens + padding
    detail = f"{padding} of them padding" if padding else ""
    name = "prompt tokens of steps = computed + recomputed"
    return AuditLine(name, expected == got, expected, got, detail)


def _drafts(ledgers: Ledgers, replicas: Sequence[Replica]) -> list[AuditLine]:
    """Drafts of verifies, by steps, are those that calls met; those kept are their tokens.

    Nothing to tell where nobody speculates.
    """
    counts = [drafts for replica in replicas if (drafts := replica.drafts()) is not None]
    if not counts:
        return []
    total = Drafts(*map(sum, zip(*counts, strict=True)))
    judged = ledgers.accepted_tokens + total.wasted + total.rejected
    return [
        equal("drafts of steps = drafts of calls", ledgers.drafted_tokens, total.drafted),
        equal("drafts = accepted + wasted + rejected", ledgers.drafted_tokens, judged),
    ]


def _blocks(replicas: Sequence[Replica]) -> AuditLine:
    """Every block is free, cached, or a running sequence's own."""
    off = []
    total = found = 0
    for replica in replicas:
        ledger = replica.ledger
        cached = unlocked = 0
        for extent in ledger.extents():
            cached += extent.count
            if not extent.refs:
                unlocked += extent.count
        private = sum(replica.blocks_of(call) for call in _holders(replica))
        here = ledger.free + cached + private
        total += ledger.blocks
        found += here
        if here != ledger.blocks or unlocked != ledger.evictable:
            off.append(
                f"replica {replica.index}: {ledger.free} free, {cached} cached of which "
                f"{unlocked} unlocked ({ledger.evictable} by the ledger), {private} private"
            )
    name = "KV blocks: free + cached + private"
    return AuditLine(name, not off, total, found, "; ".join(off[:3]))


def _locks(replicas: Sequence[Replica]) -> AuditLine:
    """Every cached block is locked by the running calls whose paths go through it, once each."""
    off = []
    locks = found = 0
    for replica in replicas:
        paths: Counter[int] = Counter()
        short = 0
        for call in _holders(replica):
            blocks = call.shared
            for extent in path(call.leaf):
                paths[id(extent)] += 1
                blocks -= extent.count
            short += blocks != 0
        extents = list(replica.ledger.extents())
        refs = {id(extent): extent.refs for extent in extents if extent.refs}
        locks += sum(refs.values())
        found += paths.total()
        if short or refs != paths:
            off.append(
                f"replica {replica.index}: {sum(refs.values())} locks, {paths.total()} on paths of "
                f"running calls; {short} paths are not as long as their calls say"
            )
    return AuditLine("KV locks = paths of running calls", not off, locks, found, "; ".join(off[:3]))


def _holders(replica: Replica) -> list[Call]:
    """List the calls that hold blocks: that run, whose KV is to leave, or that fetch some."""
    fetching = {} if replica.tiers is None else replica.tiers.fetching
    return [*replica.running.values(), *replica.dock.kept.values(), *fetching.values()]


def _little(station: StationLine) -> AuditLine:
    off = abs(station.area_s - station.sojourn_s)
    name = f"Little's law: {station.station}"
    ok = off <= _TOLERANCE * max(station.area_s, station.sojourn_s)
    return AuditLine(name, ok, station.area_s, station.sojourn_s, "call-seconds")


def _within(station: StationLine, end_s: float) -> AuditLine:
    """Utilization law: nobody is busy for longer than there is time."""
    most = station.capacity * end_s
    ok = station.busy_s <= most * (1 + _TOLERANCE)
    return AuditLine(f"busy <= capacity: {station.station}", ok, most, station.busy_s, "")


def _transfers(fabric: Books) -> list[AuditLine]:
    """Bytes go in and come out, as fast as the rates say, over links that have room for them."""
    under_way = fabric.landed_bytes + fabric.found_bytes
    fullest = max(fabric.links, key=lambda link: link.fullest, default=None)
    most = 0.0 if fullest is None else fullest.fullest
    where = "" if fullest is None or most <= 1 + _TOLERANCE else fullest.name
    return [
        equal("bytes sent = landed + in flight", fabric.sent_bytes, under_way),
        equal("slowed flows whose rates over time are not their bytes", 0, fabric.short),
        AuditLine("flow on a link <= capacity", most <= 1 + _TOLERANCE, 1.0, most, where),
        _saturated(fabric.links),
    ]


def _saturated(links: Sequence[LinkLoad]) -> AuditLine:
    """Tell for how long links slowed their flows: it breaks no law, but a planner asks."""
    over = [link for link in links if link.over_s > 0]
    seconds = sum(link.over_s for link in over)
    peak = max((link.peak_ratio for link in over), default=0.0)
    detail = ""
    if over:
        worst = max(over, key=lambda link: link.over_s)
        detail = (
            f"warning: {len(over)} links slowed their flows, which asked for up to "
            f"{peak:.2f} x; longest {worst.name}, {worst.over_s:.3g} s"
        )
    return AuditLine("link seconds saturated", True, 0.0, seconds, detail)
