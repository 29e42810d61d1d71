"""Sessions and calls: how many, how many tokens, how long, and where the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Layout, Tables, Value, Window
from factorysim.metrics.quantiles import distribution
from factorysim.metrics.slo import inside, of_streams, tpot_s
from factorysim.metrics.tiers import STAYS, kv_moves

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

    Bools = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Sample = tuple[Floats, int]
    """What is known, and how many more had not ended."""

SHARES = ("queue", "prefill", "decode", "stall", "kv", "network", "tool_queue", "tool", "gap")
SESSION_OUTCOMES = ("completed", "failed", "censored")
CALL_OUTCOMES = ("completed", "rejected", "failed", "cancelled", "censored")
TOKENS = {
    "prompt": "prompt_tokens",
    "prompt_hit": "hit_tokens",
    "prompt_computed": "computed_tokens",
    "recomputed": "recomputed_tokens",
    "output": "output_tokens",
}


DURATION_COLUMNS = (
    "stream", "outcome", "arrived_s", "finished_s", "active_s", "turn_max_s",
)  # fmt: skip
"""Of sessions, which `duration_samples` takes."""
LATENCY_COLUMNS = (
    "stream", "outcome", "arrived_s", "first_token_s", "last_token_s", "output_tokens",
    "requested_tokens",
)  # fmt: skip
"""Of calls, which `latency_samples` takes."""


def session_values(tables: Tables, window: Window) -> list[Value]:
    """Count the measured sessions, time them, and split their time."""
    sessions = tables.sessions
    mine = inside(window, sessions["arrived_s"])
    values = counted_sessions(sessions, mine)
    values.append(_finished_per_s("sessions", sessions, window))
    values += _durations(sessions, mine)
    moves = kv_moves(tables)
    for code, word in enumerate(sessions["stream"].words):
        its = mine & (sessions["stream"].codes == code)
        part = _durations(sessions, its) + _time_shares(sessions, its, moves=moves)
        values += [v._replace(by="stream", key=word) for v in part]
    return values + _time_shares(sessions, mine, moves=moves)


def _finished_per_s(kind: str, table: Columns, window: Window) -> Value:
    ended = table["outcome"].equal("completed") & inside(window, table["finished_s"])
    return Value(f"{kind}.completed_per_s", float(ended.sum()) / window.length_s)


def _durations(sessions: Columns, mine: Bools) -> list[Value]:
    samples = duration_samples(sessions, mine)
    return [value for base, one in samples.items() for value in distribution(base, *one)]


def duration_samples(sessions: Columns, mine: Bools) -> dict[str, Sample]:
    """How long some sessions took, whole, without gaps, and their longest turn."""
    done = mine & sessions["outcome"].equal("completed")
    flying = int((mine & sessions["outcome"].equal("censored")).sum())
    spent = (sessions["finished_s"] - sessions["arrived_s"])[done]
    return {
        "session_s": (spent, flying),
        "session_active_s": (sessions["active_s"][done], flying),
        "turn_s": (sessions["turn_max_s"][done], flying),
    }


def _time_shares(sessions: Columns, mine: Bools, *, moves: bool) -> list[Value]:
    done = mine & sessions["outcome"].equal("completed")
    total = float((sessions["finished_s"] - sessions["arrived_s"])[done].sum())
    if total <= 0:
        why = "no measured session has ended"
        return [Value(f"time_share.{share}", None, reason=why) for share in SHARES]
    n = int(done.sum())
    return [
        Value("time_share.kv", None, reason=STAYS)
        if share == "kv" and not moves
        else Value(f"time_share.{share}", float(sessions[f"{share}_s"][done].sum()) / total, n)
        for share in SHARES
    ]


def call_values(tables: Tables, window: Window, layout: Layout) -> list[Value]:
    """Count the measured calls, their tokens and latencies, whole and broken down."""
    calls = tables.calls
    mine = inside(window, calls["arrived_s"])
    values = counted_calls(calls, mine)
    values.append(_finished_per_s("calls", calls, window))
    values += _tokens(calls, mine)
    values += _latencies(tables, mine)
    parts: list[tuple[str, str, Bools]] = [
        (column, word, calls[column].codes == code)
        for column in ("stream", "deployment")
        for code, word in enumerate(calls[column].words)
    ]
    parts += _by_llm(calls, layout)
    for by, key, mask in parts:
        part = _tokens(calls, mine & mask) + _latencies(tables, mine & mask)
        values += [v._replace(by=by, key=key) for v in part]
    return values


def counted_calls(calls: Columns, mine: Bools) -> list[Value]:
    """Count calls by what became of them, and how often admission turned some away."""
    import numpy as np

    values = [Value("calls.arrived", float(mine.sum()))]
    for outcome in CALL_OUTCOMES:
        count = float((mine & calls["outcome"].equal(outcome)).sum())
        values.append(Value(f"calls.{outcome}", count))
    gone = mine & calls["outcome"].equal("rejected") & np.isnan(calls["queued_s"])
    values.append(Value("calls.turned_away", float(gone.sum())))
    again = calls["attempts"][mine] - 1
    values.append(Value("calls.retried", float((again > 0).sum())))
    values.append(Value("calls.retries", float(again.sum())))
    return values


def counted_sessions(sessions: Columns, mine: Bools) -> list[Value]:
    """Count sessions by what became of them."""
    values = [Value("sessions.arrived", float(mine.sum()))]
    for outcome in SESSION_OUTCOMES:
        count = float((mine & sessions["outcome"].equal(outcome)).sum())
        values.append(Value(f"sessions.{outcome}", count))
    return values


def tenant_values(tables: Tables, window: Window, layout: Layout) -> list[Value]:
    """Sessions and calls of each tenant: counts, tokens and times."""
    sessions, calls = tables.sessions, tables.calls
    values: list[Value] = []
    for tenant in dict.fromkeys(tenant for _, tenant in layout.tenants):
        streams = {stream for stream, whose in layout.tenants if whose == tenant}
        its = inside(window, sessions["arrived_s"]) & of_streams(sessions, streams)
        part = counted_sessions(sessions, its) + _durations(sessions, its)
        its = inside(window, calls["arrived_s"]) & of_streams(calls, streams)
        part += counted_calls(calls, its) + _tokens(calls, its) + _latencies(tables, its)
        values += [value._replace(by="tenant", key=tenant) for value in part]
    return values


def _by_llm(calls: Columns, layout: Layout) -> list[tuple[str, str, Bools]]:
    import numpy as np

    llm_of = {station.name: station.llm for station in layout.stations}
    words = calls["deployment"].words
    llms = sorted({llm_of[word] for word in words if word in llm_of})
    codes = {llm: [i for i, word in enumerate(words) if llm_of.get(word) == llm] for llm in llms}
    return [("llm", llm, np.isin(calls["deployment"].codes, codes[llm])) for llm in llms]


def _tokens(calls: Columns, mine: Bools) -> list[Value]:
    values = [
        Value(f"tokens.{name}", float(calls[column][mine].sum())) for name, column in TOKENS.items()
    ]
    started = mine & (calls["scheduled_s"] >= 0)
    prompt = float(calls["prompt_tokens"][started].sum())
    if prompt == 0:
        return [*values, Value("kv.hit_rate", None, reason="no measured call was scheduled")]
    hit = float(calls["hit_tokens"][started].sum()) / prompt
    return [*values, Value("kv.hit_rate", hit, int(started.sum()))]


def _latencies(tables: Tables, mine: Bools) -> list[Value]:
    samples = latency_samples(tables.calls, mine, tables.closing.end_s)
    return [value for base, one in samples.items() for value in distribution(base, *one)]


def latency_samples(calls: Columns, mine: Bools, end_s: float) -> dict[str, Sample]:
    """TTFT and TPOT of some calls: seconds of each that is known, and how many had not ended."""
    import numpy as np

    flying = mine & calls["outcome"].equal("censored")
    done = mine & calls["outcome"].equal("completed")
    started = (done | flying) & ~np.isnan(calls["first_token_s"])
    ttft = (calls["first_token_s"] - calls["arrived_s"])[started]
    several = calls["requested_tokens"] > 1
    return {
        "ttft_s": (ttft, int((flying & ~started).sum())),
        "tpot_s": (tpot_s(calls, end_s)[done & several], int((flying & several).sum())),
    }


def number_in_system(
    arrived_s: npt.NDArray[np.float64],
    finished_s: npt.NDArray[np.float64],
    edges_s: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Mean number present in each bin; who has not finished (NaN) stays.

    Examples
    --------
    >>> import numpy as np
    >>> number_in_system(np.array([0.0, 1.0]), np.array([2.0, np.nan]), np.array([0.0, 2.0, 4.0]))
    array([1.5, 1. ])
    """
    import numpy as np

    area = _area(arrived_s, edges_s) - _area(finished_s[~np.isnan(finished_s)], edges_s)
    mean: npt.NDArray[np.float64] = np.diff(area) / np.diff(edges_s)
    return mean


def _area(instants: npt.NDArray[np.float64], at: npt.NDArray[np.float64]) -> Floats:
    """Integral up to each `at` of the number of instants before."""
    import numpy as np

    ordered = np.sort(instants)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    before = np.searchsorted(ordered, at)
    area: Floats = at * before - sums[before]
    return area
