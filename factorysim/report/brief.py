"""A run on one screen of a terminal: what it rests on, the verdict, one table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.report.terminal import footnotes, has_spikes, listing, rests_on, verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from factorysim.run import Run

ROWS = {
    "goodput.sessions_per_s": "arrivals that met SLO",
    "sessions.completed_per_s": "sessions ended",
    "tokens.output_per_s": "output tokens made",
    "ttft_s.p50": "TTFT, median",
    "ttft_s.p95": "TTFT, p95",
    "tpot_s.p50": "TPOT, median",
    "tpot_s.p95": "TPOT, p95",
    "turn_s.p95": "longest turn, p95",
    "session_s.p50": "session, median",
    "kv.hit_rate": "prompts found in the KV cache",
    "saturation": "fullest pool, mean",
    "power.facility_w.mean": "facility power, mean",
    "energy.j_per_output_token.facility": "facility energy per output token",
    "energy.j_per_session": "facility energy per session",
}
"""What decides, in the order in which people ask; `--details` and the report hold the rest."""

FELT = {
    "recovery_s.waiting": "recovery: calls that wait",
    "recovery_s.calls": "recovery: calls in flight",
    "recovery_s.sessions": "recovery: sessions",
}
"""After a spike of arrivals, until there are no more than before it; where there is one."""


def brief_report(run: Run) -> list[RenderableType]:
    """Tell a run in as many lines as a screen has, the verdict and the numbers last.

    The end of what is printed is what is seen, so the table comes last.
    """
    notes: dict[str, int] = {}
    head, question, blank, *said = verdict(run)
    rows = ROWS | FELT if has_spikes(run.summary) else ROWS
    table = listing("", rows, run.summary, notes)
    return [head, question, *rests_on(run), blank, *said, "", table, *footnotes(notes)]
