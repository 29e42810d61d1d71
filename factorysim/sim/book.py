"""The book of a replication: what has happened as rows, handed to the sink chunk by chunk.

Rows of calls and sessions are audited as they are handed on, in chunks too, so a
row costs little more than the tuple that it is.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from factorysim.records import CHUNK_ROWS, StepChunk
from factorysim.sim.clock import FS_PER_NS, S_PER_FS
from factorysim.sim.session import GAP, NS_PER_S, SHARES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.physics.speculation import Pace
    from factorysim.records import RecordSink, RunNote
    from factorysim.sim.audit import Ledgers
    from factorysim.sim.call import Call
    from factorysim.sim.handoff import HandOff
    from factorysim.sim.sandboxes import Box
    from factorysim.sim.session import Branch, Live, Use
    from factorysim.sim.tools import ToolJob

NO_SHARES = [0.0] * len(SHARES)


class Book:
    """Rows that wait to fill a chunk, and a count of those that were handed on.

    Parameters
    ----------
    tools_names
        Of the tools deployments.
    """

    def __init__(self, sink: RecordSink, ledgers: Ledgers, tools_names: Sequence[str]) -> None:
        self._sink = sink
        self._ledgers = ledgers
        self._tools_names = tools_names
        self._calls: list[tuple[Any, ...]] = []
        self._tools: list[tuple[Any, ...]] = []
        self._sessions: list[tuple[Any, ...]] = []
        self._handoffs: list[tuple[Any, ...]] = []
        self._sandboxes: list[tuple[Any, ...]] = []
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

    def count_job(self, outcome: str) -> None:
        """Count a job of a host that is no row of its own: an attempt that failed, a check."""
        self._ledgers.tools[outcome] += 1

    def write_tool(
        self, use: Use, job: ToolJob | None, outcome: str, finished_fs: int | None
    ) -> None:
        """Write down a tool call that has ended, or works at the end."""
        branch, node, asked_fs, attempt = use
        assert node is not None
        remote_fs = node.remote_ns * FS_PER_NS
        if job is None:
            assert finished_fs is not None
            work_fs = round(node.cpu_s / node.cores * NS_PER_S) * FS_PER_NS
            where, host, box = "remote", -1, None
            started_fs: int | None = finished_fs - work_fs
            again_fs = sandbox_fs = None
        else:
            self._ledgers.tools[outcome] += 1
            where, host, box = self._tools_names[job.station], job.host, job.owner
            started_fs, again_fs = job.admitted_fs, job.asked_fs
            assert again_fs is not None
            sandbox_fs = None if job.ready_fs is None else job.ready_fs - again_fs
            if again_fs == asked_fs + remote_fs:
                again_fs = None
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
                where,
                host,
                outcome,
                asked_fs * S_PER_FS,
                _seconds(started_fs),
                _seconds(finished_fs),
                remote_fs * S_PER_FS,
                node.cpu_s,
                node.cores,
                node.memory_bytes,
                attempt,
                _seconds(again_fs),
                -1 if box is None else box.number,
                _seconds(sandbox_fs),
            )
        )
        if len(rows) >= CHUNK_ROWS:
            self._tools = []
            self.rows("tools", rows)

    def write_sandbox(self, box: Box, outcome: str) -> None:
        """Write down a sandbox that has ended, or is there at the end (`held`)."""
        now_fs = box.pool.now_fs
        self._ledgers.rows["sandboxes"] += 1
        rows = self._sandboxes
        rows.append(
            (
                box.number,
                box.pool.name,
                box.host,
                box.session,
                box.context,
                outcome,
                int(box.warm),
                box.asked_fs * S_PER_FS,
                _seconds(box.granted_fs),
                _seconds(box.ready_fs),
                None if outcome == "held" else now_fs * S_PER_FS,
                box.served,
                float(box.pool.plan.memory),
            )
        )
        if len(rows) >= CHUNK_ROWS:
            self._sandboxes = []
            self.rows("sandboxes", rows)

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
        if self._sandboxes:
            self.rows("sandboxes", self._sandboxes)
            self._sandboxes = []
        if self.tiers:
            self.rows("tiers", self.tiers)
            self.tiers = []
        if self._handoffs:
            self._flush_handoffs()


def _seconds(instant_fs: int | None) -> float | None:
    return None if instant_fs is None else instant_fs * S_PER_FS
