"""What a trace holds: counts, arrivals, lengths, and how much of its prompts repeat."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.runs import ids_of
from factorysim.workload.session import GapNode, LlmNode, ToolNode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorysim.workload.session import Session

QUANTILES = (0.1, 0.5, 0.9, 0.99)
BIN_S = 10.0
"""Of the counts whose dispersion tells bursts, as in the published figures."""


class Lengths(NamedTuple):
    """A distribution of tokens."""

    total: int
    mean: float
    quantiles: dict[str, float]


class TraceSummary(NamedTuple):
    """A trace in figures. None: too few rows, or not in the trace."""

    sessions: int
    llm_calls: int
    tool_calls: int
    gaps: int
    duration_s: float
    """From the first arrival to the last."""
    sessions_per_s: float | None
    gap_cv: float | None
    """Standard deviation over mean of the gaps between arrivals; Poisson has 1."""
    dispersion_10s: float | None
    """Variance over mean of arrivals in 10 s; Poisson has 1."""
    prompt_tokens: Lengths | None
    output_tokens: Lengths | None
    block_hit_share: float | None
    """Of the prompt tokens, those in blocks seen before: an endless cache in trace order, empty
    for each session whose ids hold in it only."""
    prefix_share: float | None
    """Of the prompt tokens, those that repeat the session's last context."""


class _Tally:
    """Counts that a pass over a trace leaves: 8 bytes a call, and the ids of blocks."""

    def __init__(self) -> None:
        self.arrivals = array("q")
        self.prompts = array("q")
        self.outputs = array("q")
        self.tools = 0
        self.gaps = 0
        self.prefix = 0
        self.hit = 0
        self.hashed = False
        self.seen: set[int] = set()

    def add(self, session: Session) -> None:
        """Count one session."""
        self.arrivals.append(session.at_ns)
        if session.hash_scope == "session":
            self.seen.clear()
        for node in session.nodes:
            match node:
                case LlmNode():
                    self._call(node)
                case ToolNode():
                    self.tools += 1
                case GapNode():
                    self.gaps += 1

    def _call(self, call: LlmNode) -> None:
        self.prompts.append(call.prompt_tokens)
        self.outputs.append(call.output_tokens)
        self.prefix += call.prefix_tokens
        if not call.hashes:
            return
        self.hashed = True
        known = 0
        for block in ids_of(call.hashes):
            if block not in self.seen:
                break
            known += 1
        self.hit += min(known * (call.block_tokens or 0), call.prompt_tokens)
        self.seen.update(ids_of(call.hashes))


def summarize(sessions: Iterable[Session]) -> TraceSummary:
    """Pass over sessions once.

    Examples
    --------
    >>> from factorysim.workload.session import Session
    >>> calls = [Session("a", 0, [LlmNode(10, 2)]), Session("b", 10**9, [LlmNode(30, 4)])]
    >>> summary = summarize(calls)
    >>> summary.llm_calls, summary.prompt_tokens.mean, summary.sessions_per_s
    (2, 20.0, 1.0)
    """
    tally = _Tally()
    for session in sessions:
        tally.add(session)
    prompt_total = sum(tally.prompts)
    duration_s, rate, cv, dispersion = _arrivals(tally.arrivals)
    return TraceSummary(
        sessions=len(tally.arrivals),
        llm_calls=len(tally.prompts),
        tool_calls=tally.tools,
        gaps=tally.gaps,
        duration_s=duration_s,
        sessions_per_s=rate,
        gap_cv=cv,
        dispersion_10s=dispersion,
        prompt_tokens=_lengths(tally.prompts),
        output_tokens=_lengths(tally.outputs),
        block_hit_share=tally.hit / prompt_total if tally.hashed else None,
        prefix_share=tally.prefix / prompt_total if tally.prefix else None,
    )


def _arrivals(times: array[int]) -> tuple[float, float | None, float | None, float | None]:
    """Duration, rate, CV of the gaps, dispersion of the counts."""
    import numpy as np

    instants = np.array(times, dtype=np.float64) / 1e9
    duration_s = float(instants[-1] - instants[0]) if len(instants) else 0.0
    if len(instants) < 3 or not duration_s:
        return duration_s, (len(instants) - 1) / duration_s if duration_s else None, None, None
    gaps = np.diff(instants)
    cv = float(gaps.std(ddof=1) / gaps.mean())
    bins = int(duration_s // BIN_S)
    dispersion = None
    if bins >= 2:
        counts = np.bincount(((instants - instants[0]) // BIN_S).astype(np.int64))[:bins]
        dispersion = float(counts.var(ddof=1) / counts.mean())
    return duration_s, (len(instants) - 1) / duration_s, cv, dispersion


def _lengths(values: array[int]) -> Lengths | None:
    import numpy as np

    if not len(values):
        return None
    tokens = np.array(values)
    points = np.quantile(tokens, QUANTILES).tolist()
    named = {f"p{round(100 * q)}": point for q, point in zip(QUANTILES, points, strict=True)}
    return Lengths(int(tokens.sum()), float(tokens.mean()), named)
