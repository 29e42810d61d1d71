"""The book of a replication: what has happened as rows, handed to the sink chunk by chunk.

Rows of calls and sessions are audited as they are handed on, in chunks too, so a
row costs little more than the tuple that it is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from factorysim.records import CHUNK_ROWS, StepChunk
from factorysim.sim.clock import FS_PER_NS, S_PER_FS
from factorysim.sim.session import GAP, SHARES

if TYPE_CHECKING:
    from factorysim.physics.speculation import Pace
    from factorysim.records import RecordSink, RunNote
    from factorysim.sim.audit import Ledgers
    from factorysim.sim.call import Call
    from factorysim.sim.handoff import HandOff
    from factorysim.sim.session import Branch, Live
    from factorysim.sim.tools import ToolJob
    from factorysim.workload.session import ToolNode

NO_SHARES = [0.0] * len(SHARES)


class Book:
    """Rows that wait to fill a chunk, and a count of those that were handed on.

    Parameters
    ----------
    tools_name
        Of the tools deployment; empty where there is none.
    """

    def __init__(self, sink: RecordSink, ledgers: Ledgers, tools_name: str) -> None:
        self._sink = sink
        self._ledgers = ledgers
        self._tools_name = tools_name
        self._calls: list[tuple[Any, ...]] = []
        self._tools: list[tuple[Any, ...]] = []
        self._sessions: list[tuple[Any, ...]] = []
        self._handoffs: list[tuple[Any, ...]] = []
        self.gaps: list[tuple[Any, ...]] = []
        """Which replicas write; handed on with the next runs of steps."""
        self.tiers: list[tuple[object, ...]] = []
        """Rows of KV tiers; handed on with the next runs of steps, too."""
        self.handed: Counter[str] = Counter()
        """Rows given to the sink, by table."""

    def write_call(
        self,
        branch: Branch,
        call: Call,
        outcome: str,
        finished_fs: int | None,
        now_fs: int,
        attempts: int = 1,
    ) -> None:
        """Write down a call that is back, or in flight at the end."""
        live = branch.live
        stream = live.stream
        server = call.server
        made = call.output_made if server is None else server.made(call)
        held_fs = call.held_fs
        # One that no replica has taken in yet belongs to the first that may, and is held.
        if server is None:
            router = stream.router if stream.routes is None else call.router
            owner = router.replicas[0].owner
            held_fs = now_fs - call.asked_fs
        else:
            owner = server.owner
        queued, scheduled = call.queued_fs, call.scheduled_fs
        first, last = call.first_token_fs, call.last_token_fs
        rows = self._calls
        rows.append(
            (
                call.number,
                live.number,
                stream.name,
                owner.plan.name,
                -1 if server is None else server.index,
                outcome,
                call.asked_fs * S_PER_FS,
                None if queued is None else queued * S_PER_FS,
                None if scheduled is None else scheduled * S_PER_FS,
                None if first is None else first * S_PER_FS,
                None if finished_fs is None else finished_fs * S_PER_FS,
                None if last is None else last * S_PER_FS,
                call.prompt_tokens,
                call.hit_tokens,
                call.computed_tokens,
                call.recomputed_tokens,
                made,
                call.output_tokens,
                call.preemptions,
                held_fs * S_PER_FS,
                attempts,
            )
        )
        if len(rows) >= CHUNK_ROWS:
            self._flush_calls()

    def write_handoff(self, handoff: HandOff) -> None:
        """Write down how a call went from prefill to decode, or how far it has come."""
        self._ledgers.rows["handoffs"] += 1
        self._ledgers.handed_bytes += handoff.moved_bytes
        self._ledgers.handoffs_amiss += handoff.amiss()
        self._handoffs.append(handoff.row())
        if len(self._handoffs) >= CHUNK_ROWS:
            self._flush_handoffs()

    def _flush_handoffs(self) -> None:
        rows, self._handoffs = self._handoffs, []
        self.rows("handoffs", rows)

    def write_tool(
        self,
        branch: Branch,
        node: ToolNode,
        job: ToolJob | None,
        asked_fs: int,
        outcome: str,
        finished_fs: int | None,
    ) -> None:
        """Write down a tool call that has ended, or works at the end."""
        remote_fs = node.remote_ns * FS_PER_NS
        if job is not None:
            self._ledgers.tools[outcome] += 1
        written = self._ledgers.rows
        number = written["tools"]
        written["tools"] = number + 1
        rows = self._tools
        rows.append(
            (
                number,
                branch.live.number,
                branch.live.stream.name,
                node.cls,
                "remote" if job is None else self._tools_name,
                -1 if job is None else job.host,
                outcome,
                asked_fs * S_PER_FS,
                (asked_fs + remote_fs) * S_PER_FS if job is None else _seconds(job.admitted_fs),
                _seconds(finished_fs),
                remote_fs * S_PER_FS,
                node.cpu_s,
                node.cores,
                node.memory_bytes,
            )
        )
        if len(rows) >= CHUNK_ROWS:
            self._tools = []
            self.rows("tools", rows)

    def write_session(
        self, live: Live, shares: list[int] | None, outcome: str, now_fs: int
    ) -> None:
        """Write down a session that has ended, or is under way at the end."""
        active = None
        if shares is not None:
            active = (now_fs - live.arrived_fs - shares[GAP]) * S_PER_FS
        rows = self._sessions
        rows.append(
            (
                live.number,
                live.stream.name,
                live.plan.sid,
                live.plan.agent,
                outcome,
                live.arrived_fs * S_PER_FS,
                None if outcome == "censored" else now_fs * S_PER_FS,
                live.calls,
                live.tools,
                live.prompt_tokens,
                live.output_tokens,
                live.turns,
                live.turn_max_fs * S_PER_FS,
                active,
                *(map(S_PER_FS.__mul__, shares) if shares else NO_SHARES),
            )
        )
        if len(rows) >= CHUNK_ROWS:
            self._flush_sessions()

    def _flush_calls(self) -> None:
        rows, self._calls = self._calls, []
        self._ledgers.add_calls(rows)
        self.rows("calls", rows)

    def _flush_sessions(self) -> None:
        rows, self._sessions = self._sessions, []
        self._ledgers.add_sessions(rows)
        self.rows("sessions", rows)

    def write_steps(self, notes: list[RunNote], pace: Pace | None = None) -> StepChunk:
        """Write down runs of steps, and forget the notes; returns what the meter needs."""
        rows = StepChunk.of(notes, pace)
        notes.clear()
        self._ledgers.add_steps(rows, pace)
        self.rows("steps", rows)
        if self.gaps:
            gaps = self.gaps.copy()
            self.gaps.clear()
            self.rows("gaps", gaps)
        if self.tiers:
            moved = self.tiers.copy()
            self.tiers.clear()
            self.rows("tiers", moved)
        return rows

    def rows(self, table: str, rows: list[Any] | StepChunk) -> None:
        """Hand rows to the sink, and count them."""
        self.handed[table] += len(rows)
        self._sink.rows(table, rows)

    def close(self) -> None:
        """Hand on what is left."""
        self._flush_calls()
        self._flush_sessions()
        self.rows("tools", self._tools)
        self._tools = []
        if self.tiers:
            self.rows("tiers", self.tiers)
            self.tiers = []
        if self._handoffs:
            self._flush_handoffs()


def _seconds(instant_fs: int | None) -> float | None:
    return None if instant_fs is None else instant_fs * S_PER_FS
