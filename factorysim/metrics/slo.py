"""Who met the thresholds: verdicts per call and session, attainment, goodput."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from factorysim.metrics.in_slo import InSlo, Judgement, counted, met_or_why
from factorysim.metrics.inputs import Layout, Tables, Value, Window

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.spec.stream import SloSpec
    from factorysim.store import Columns, Labels

    Bools = npt.NDArray[np.bool_]
    Ints = npt.NDArray[np.int64]
    Verdicts = npt.NDArray[np.int8]

MET, MISSED, UNKNOWN = 1, 0, -1


def inside(window: Window, arrived_s: npt.NDArray[np.float64]) -> Bools:
    """Who is measured: arrived between the warm-up's end and the window's."""
    mask: Bools = (arrived_s >= window.start_s) & (arrived_s < window.end_s)
    return mask


def call_verdicts(calls: Columns, slos: Mapping[str, SloSpec], end_s: float) -> Verdicts:
    """Whether each call met its stream's TTFT and TPOT.

    A call in flight missed what it is already past, else its verdict is unknown.
    One that failed, or was rejected or cancelled, missed.
    """
    outcome: Labels = calls["outcome"]
    done, flying = outcome.equal("completed"), outcome.equal("censored")
    late = late_calls(calls, slos, end_s)
    return _verdicts(done, flying, late["ttft"] | late["tpot"])


def late_calls(calls: Columns, slos: Mapping[str, SloSpec], end_s: float) -> dict[str, Bools]:
    """Which calls are past each threshold of their stream."""
    import numpy as np

    first = calls["first_token_s"]
    ttft = np.where(np.isnan(first), end_s, first) - calls["arrived_s"]
    stream: Labels = calls["stream"]
    return {
        "ttft": _over(ttft, stream, {s: slo.ttft for s, slo in slos.items()}),
        "tpot": _over(tpot_s(calls, end_s), stream, {s: slo.tpot for s, slo in slos.items()}),
    }


def tpot_s(calls: Columns, end_s: float) -> npt.NDArray[np.float64]:
    """Time per output token after the first; NaN where there is none.

    Of a call in flight, the least that it can still be: it ends no sooner than now.
    """
    import numpy as np

    flying: Bools = calls["outcome"].equal("censored")
    last = np.where(flying, end_s, calls["last_token_s"])
    tokens: Ints = calls["output_tokens"] - 1
    tokens[flying] = calls["requested_tokens"][flying] - 1
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (last - calls["first_token_s"]) / tokens
    result: npt.NDArray[np.float64] = np.where(tokens > 0, value, np.nan)
    return result


def session_verdicts(tables: Tables, slos: Mapping[str, SloSpec], calls: Verdicts) -> Verdicts:
    """Whether each session met every threshold of its stream, those of its calls included."""
    import numpy as np

    sessions = tables.sessions
    outcome: Labels = sessions["outcome"]
    over = late_sessions(sessions, slos)
    late = over["turn"] | over["session"]
    late |= np.isin(sessions["session"], tables.calls["session"][calls == MISSED])
    return _verdicts(outcome.equal("completed"), outcome.equal("censored"), late)


def late_sessions(sessions: Columns, slos: Mapping[str, SloSpec]) -> dict[str, Bools]:
    """Which sessions are past each threshold of their stream, their calls' left out."""
    import numpy as np

    flying: Bools = sessions["outcome"].equal("censored")
    turn: npt.NDArray[np.float64] = sessions["turn_max_s"]
    active: npt.NDArray[np.float64] = np.where(
        flying, turn, sessions["active_s"]
    )  # in flight: no less than this
    stream: Labels = sessions["stream"]
    return {
        "turn": _over(turn, stream, {s: slo.turn for s, slo in slos.items()}),
        "session": _over(active, stream, {s: slo.session for s, slo in slos.items()}),
    }


def missed(tables: Tables, window: Window, slos: Mapping[str, SloSpec]) -> list[Value]:
    """Share of each stream's sessions that missed each threshold, or failed.

    Of measured sessions with a verdict, as attainment is; one may miss several. A
    session that misses no threshold and yet is not in SLO counts as `failed`.
    """
    import numpy as np

    sessions, calls, end_s = tables.sessions, tables.calls, tables.closing.end_s
    verdicts = session_verdicts(tables, slos, call_verdicts(calls, slos, end_s))
    late = {
        name: np.isin(sessions["session"], calls["session"][rows])
        for name, rows in late_calls(calls, slos, end_s).items()
    } | late_sessions(sessions, slos)
    late["failed"] = (verdicts == MISSED) & ~np.logical_or.reduce(list(late.values()))
    known = inside(window, sessions["arrived_s"]) & (verdicts != UNKNOWN)
    values: list[Value] = []
    for code, stream in enumerate(sessions["stream"].words):
        mine = known & (sessions["stream"].codes == code)
        if stream not in slos or not has_threshold(slos[stream]) or not np.any(mine):
            continue
        n = int(mine.sum())
        values += [
            Value(f"slo.missed.{name}", float(rows[mine].mean()), n, "", "stream", stream)
            for name, rows in late.items()
            if name == "failed" or getattr(slos[stream], name) is not None
        ]
    return values


def _over(
    value: npt.NDArray[np.float64], stream: Labels, limits: Mapping[str, float | None]
) -> Bools:
    """Where a value exceeds its stream's limit; NaN exceeds nothing."""
    import numpy as np

    words = [limits.get(word) for word in stream.words] or [None]
    limit = np.array([np.inf if word is None else word for word in words])
    over: Bools = value > limit[stream.codes]
    return over


def _verdicts(done: Bools, flying: Bools, late: Bools) -> Verdicts:
    import numpy as np

    verdicts: Verdicts = np.where(done & ~late, MET, MISSED).astype(np.int8)
    verdicts[flying & ~late] = UNKNOWN
    return verdicts


def has_threshold(slo: SloSpec) -> bool:
    """Whether a stream asks for anything."""
    return any(limit is not None for limit in (slo.ttft, slo.tpot, slo.turn, slo.session))


def goodput(tables: Tables, window: Window, slos: Mapping[str, SloSpec]) -> list[Value]:
    """Goodput and attainment; None where no stream has a threshold."""
    if not any(has_threshold(slo) for slo in slos.values()):
        names = (*(f"goodput.{what}_per_s" for what in RATES), "sessions.in_slo", "calls.in_slo")
        names += (*ATTAINMENT, "slo.least", "slo.most", "slo.met")
        return [Value(n, None, reason=NO_SLO) for n in names]
    calls, sessions = tables.calls, tables.sessions
    of_calls = call_verdicts(calls, slos, tables.closing.end_s)
    of_sessions = session_verdicts(tables, slos, of_calls)
    calls_in = inside(window, calls["arrived_s"])
    sessions_in = inside(window, sessions["arrived_s"])
    good_calls, good_sessions = calls_in & (of_calls == MET), sessions_in & (of_sessions == MET)
    tokens = float(calls["output_tokens"][good_calls].sum())
    good = (float(good_sessions.sum()), float(good_calls.sum()), tokens)
    values = [
        Value(f"goodput.{what}_per_s", amount / window.length_s)
        for what, amount in zip(RATES, good, strict=True)
    ]
    values += [Value("sessions.in_slo", good[0]), Value("calls.in_slo", good[1])]
    values += _attainment("slo.sessions", of_sessions[sessions_in], "all", "")
    values += _bounds(_in_slo(of_sessions[sessions_in]), "all", "")
    values += _attainment("slo.calls", of_calls[calls_in], "all", "")
    judged: dict[str, tuple[InSlo, Judgement]] = {}
    for code, word in enumerate(sessions["stream"].words):
        mine = sessions_in & (sessions["stream"].codes == code)
        found = _in_slo(of_sessions[mine])
        values += _attainment("slo.sessions", of_sessions[mine], "stream", word)
        values += _bounds(found, "stream", word)
        if word in slos and has_threshold(slos[word]):
            judged[word] = found, found.judged(slos[word].attain)
    met, why = met_or_why(list(judged.values()))
    return [*values, Value("slo.met", met, reason=why), *missed(tables, window, slos)]


def _in_slo(verdicts: Verdicts) -> InSlo:
    known, met = int((verdicts != UNKNOWN).sum()), int((verdicts == MET).sum())
    return counted(met, known, len(verdicts))


def _bounds(found: InSlo, by: str, key: str) -> list[Value]:
    """Give what a share can still become."""
    return [
        Value(
            f"slo.{name}", value, reason="" if value is not None else "none arrived", by=by, key=key
        )
        for name, value in (("least", found.least), ("most", found.most))
    ]


def tenant_goodput(
    tables: Tables, window: Window, slos: Mapping[str, SloSpec], layout: Layout
) -> list[Value]:
    """Goodput and attainment of each tenant with a stream that asks for anything."""
    calls, sessions = tables.calls, tables.sessions
    values: list[Value] = []
    if not layout.tenants or not any(has_threshold(slo) for slo in slos.values()):
        return values
    of_calls = call_verdicts(calls, slos, tables.closing.end_s)
    of_sessions = session_verdicts(tables, slos, of_calls)
    calls_in = inside(window, calls["arrived_s"])
    sessions_in = inside(window, sessions["arrived_s"])
    for tenant in dict.fromkeys(tenant for _, tenant in layout.tenants):
        streams = {stream for stream, whose in layout.tenants if whose == tenant}
        its_calls = calls_in & of_streams(calls, streams)
        its_sessions = sessions_in & of_streams(sessions, streams)
        good = its_calls & (of_calls == MET)
        amounts = (
            float((its_sessions & (of_sessions == MET)).sum()),
            float(good.sum()),
            float(calls["output_tokens"][good].sum()),
        )
        values += [
            Value(f"goodput.{what}_per_s", amount / window.length_s, 0, "", "tenant", tenant)
            for what, amount in zip(RATES, amounts, strict=True)
        ]
        values += _attainment("slo.sessions", of_sessions[its_sessions], "tenant", tenant)
        values += _attainment("slo.calls", of_calls[its_calls], "tenant", tenant)
    return values


def of_streams(table: Columns, streams: set[str]) -> Bools:
    """Which rows are of some streams."""
    import numpy as np

    codes = [code for code, word in enumerate(table["stream"].words) if word in streams]
    found: Bools = np.isin(table["stream"].codes, codes)
    return found


RATES = ("sessions", "calls", "output_tokens")
ATTAINMENT = ("slo.sessions", "slo.calls")
NO_SLO = "no stream has an SLO"


def _attainment(name: str, verdicts: Verdicts, by: str, key: str) -> list[Value]:
    """Share of those with a verdict that met their thresholds."""
    known = int((verdicts != UNKNOWN).sum())
    if known == 0:
        return [Value(name, None, 0, "none has a verdict", by, key)]
    return [Value(name, float((verdicts == MET).sum() / known), known, "", by, key)]
