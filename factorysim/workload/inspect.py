"""What sessions are like: counts, arrivals, lengths, repetition, tools, turns.

The figures are those that the studies of agents publish, so that a trace, or an
agent that draws sessions, can be held against them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.workload.hits import TTL_S
from factorysim.workload.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorysim.workload.samples import Lengths, Sample
    from factorysim.workload.session import Session
    from factorysim.workload.timeline import Service


class TraceSummary(NamedTuple):
    """Sessions in figures. None: too few of them, or not known."""

    sessions: int
    llm_calls: int
    tool_calls: int
    gaps: int
    duration_s: float
    """From the first arrival to the last."""
    sessions_per_s: float | None
    gap_cv: float | None
    """Standard deviation over mean of the gaps between arrivals; Poisson has 1."""
    count_cv_10s: float | None
    """Standard deviation over mean of arrivals in 10 s."""
    dispersion_10s: float | None
    """Variance over mean of arrivals in 10 s; Poisson has 1."""
    prompt_tokens: Lengths | None
    output_tokens: Lengths | None
    new_tokens: Lengths | None
    """Of a prompt after the first of its session, those that an endless cache does not hold."""
    growth_tokens: Lengths | None
    """By which a prompt is longer than the last of its context; negative where it is shorter."""
    growth_share: float | None
    """Of the calls with one before them in their context, those with a longer prompt."""
    compactions: int
    """Prompts of at most half the tokens of the last in their context."""
    compacted_share: float | None
    """Of the sessions of more than one call, those with a compaction."""
    calls_per_session: Lengths | None
    """By the main agent: context 0."""
    turns_per_session: Lengths | None
    """Calls that a user sets off."""
    not_user_share: float | None
    """Of the LLM calls, those that no user sets off."""
    block_hit_share: float | None
    """Of the prompt tokens, those in blocks seen before: an endless cache that calls come to in
    order of time, empty for each session whose ids hold in it only."""
    prefix_share: float | None
    """Of the prompt tokens, those that repeat the session's last context."""
    hit_share: float | None
    """Of the prompt tokens, those that an endless cache holds: by blocks where there are ids, else
    what repeats the last context or what all sessions of the agent begin with."""
    cross_session_share: float | None
    """Of the prompt tokens, those held only because another session had them."""
    later_hit_share: float | None
    """The same of calls after the first of their session: what keeping its KV cache can save."""
    ttl_hit_share: dict[str, float] | None
    """The same as `hit_share` if a block is dropped so long after its last use. Only the waits of
    a session pass between its calls, and the service where it is known."""
    tool_seconds: Lengths | None
    tools_below_1s_share: float | None
    """Of tool calls, by their number."""
    tool_time_above_1min_share: float | None
    """Of the time in tool calls, what those spend that last over a minute."""
    tool_active_share: float | None
    """Of the time in tools and LLM calls, summed: the tools'. Needs service times."""
    tool_gap_seconds: Lengths | None
    """Between a call's answer and the next one that a tool's result sets off."""
    user_gap_seconds: Lengths | None
    early_calls: int
    """Whose prompt was looked up before that of calls that began before them: more sessions were
    under way than can be kept in order of time."""


def summarize(sessions: Iterable[Session], *, service: Service | None = None) -> TraceSummary:
    """Pass over sessions once: of a trace, or drawn from an agent.

    Parameters
    ----------
    service
        Seconds that serving a call takes, where the trace does not tell.

    Examples
    --------
    >>> from factorysim.workload.session import LlmNode, Session
    >>> calls = [Session("a", 0, [LlmNode(10, 2)]), Session("b", 10**9, [LlmNode(30, 4)])]
    >>> summary = summarize(calls)
    >>> summary.llm_calls, summary.prompt_tokens.mean, summary.sessions_per_s
    (2, 20.0, 1.0)
    """
    tally = Tally(service)
    for session in sessions:
        tally.add(session)
    tally.close()
    told = not tally.full
    prompts = tally.prompts.total if told else 0
    calls, tool_ns_total, pace = tally.prompts.count, tally.tools.total, tally.pace
    mean, variance = pace.counts or (None, None)
    ttl = {
        _minutes(s): tokens / prompts for s, tokens in zip(TTL_S, tally.ttl, strict=True) if prompts
    }
    known, timed = tally.known, tally.passed or bool(pace.duration_s)
    return TraceSummary(
        sessions=pace.count,
        llm_calls=calls,
        tool_calls=tally.tools.count,
        gaps=tally.gaps,
        duration_s=pace.duration_s,
        sessions_per_s=pace.rate,
        gap_cv=pace.gap_cv,
        count_cv_10s=variance**0.5 / mean if mean and variance is not None else None,
        dispersion_10s=variance / mean if mean and variance is not None else None,
        prompt_tokens=tally.prompts.lengths(),
        output_tokens=tally.outputs.lengths(),
        new_tokens=tally.new.lengths() if known else None,
        growth_tokens=tally.growth.lengths(),
        growth_share=_share(tally.grown, tally.growth.count),
        compactions=tally.compactions,
        compacted_share=_share(tally.compacted, tally.several),
        calls_per_session=tally.calls.lengths(),
        turns_per_session=tally.turns.lengths(),
        not_user_share=_share(tally.not_user, calls),
        block_hit_share=_share(tally.blocks, prompts) if tally.hashed else None,
        prefix_share=_share(tally.prefix, prompts) if tally.prefix else None,
        hit_share=_share(tally.hit, prompts) if known else None,
        cross_session_share=_share(tally.hit - tally.own, prompts) if known else None,
        later_hit_share=_share(tally.later_hit, tally.later) if known and told else None,
        ttl_hit_share=ttl if known and ttl and timed and not tally.beyond else None,
        tool_seconds=_timed(tally.tools),
        tools_below_1s_share=_share(tally.short_tools, tally.tools.count if tool_ns_total else 0),
        tool_time_above_1min_share=_share(tally.long_tool_ns, tool_ns_total),
        tool_active_share=_tool_share(tally, tool_ns_total),
        tool_gap_seconds=_timed(tally.tool_gaps),
        user_gap_seconds=_timed(tally.user_gaps),
        early_calls=tally.early,
    )


def _minutes(seconds: int) -> str:
    return f"{seconds // 60} min"


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _tool_share(tally: Tally, tool_ns_total: int) -> float | None:
    """Share of tools in active time, where the mean service stands for calls without one."""
    if not tally.served or not tally.tools.count:
        return None
    llm_ns = tally.served_ns / tally.served * tally.prompts.count
    return _share(tool_ns_total, tool_ns_total + llm_ns)


def _timed(sample: Sample) -> Lengths | None:
    """Seconds; None where none is above 0: the trace tells no times."""
    return sample.lengths(1e9) if sample.timed else None
