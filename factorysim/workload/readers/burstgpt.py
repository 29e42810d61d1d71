"""Traces in BurstGPT form: CSV, a row a request to ChatGPT or GPT-4.

``Timestamp`` counts seconds. Newer releases have ``Session ID`` (of conversations) and
``Elapsed time``: rows of a conversation follow each other, after the pause between an
answer and the next request; without elapsed times the pause holds the service too. A
response of 0 tokens is a request that failed: it is sent, and makes one token.

Files of this name that were made up go around in other repositories; `looks_made_up`
tells them. Experimental: made from the documented form; no file of it has been read yet.

References
----------
.. [1] Wang et al., "BurstGPT", arXiv:2401.17644; HPMLL/BurstGPT, releases v1.1 to v2.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.gather import Place
from factorysim.workload.lines import Problem
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.fields import S, answered, columns, ident, rest, sources
from factorysim.workload.rows import MAX_TOKENS
from factorysim.workload.session import GapNode, LlmNode, Session
from factorysim.workload.weave import BadSession, Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json, Row

COLUMNS = ("Timestamp", "Model", "Request tokens", "Response tokens", "Total tokens", "Log Type")
OPTIONAL = ("Session ID", "Elapsed time")
SAMPLE = 20
"""Rows that are looked at for being made up."""


def looks_made_up(rows: Sequence[dict[str, Json]]) -> bool:
    """Tell whether rows come one a second and their models alternate, as no users do.

    Examples
    --------
    >>> rows = [{"Timestamp": 5 + n, "Model": ("ChatGPT", "GPT-4")[n % 2]} for n in range(20)]
    >>> looks_made_up(rows), looks_made_up(rows[:5]), looks_made_up(rows[::2] * 2)
    (True, False, False)
    """
    first = [(row.get("Timestamp"), row.get("Model")) for row in rows[:SAMPLE]]
    begin, model = first[0] if first else (None, None)
    if len(first) < SAMPLE or not isinstance(begin, int):
        return False
    others = {other for _, other in first[1::2]}
    steady = all(time == begin + place for place, (time, _) in enumerate(first))
    return (
        steady and len(others) == 1 and others != {model} and {m for _, m in first[::2]} == {model}
    )


def parse_burstgpt(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the conversations and single requests of a BurstGPT trace, in order of time."""
    parse = columns(lines, log, COLUMNS)
    if parse is None:
        return
    singles = 0

    def place(row: Row) -> Place:
        nonlocal singles
        _check(row)
        at_ns = row.nanoseconds("Timestamp", S)
        if "Session ID" in row.data:
            return Place(f"session {ident(row, 'Session ID')}", at_ns)
        singles += 1
        return Place(f"row {singles}", at_ns)

    yield from assemble(lines, log, place, _session, parse)


def _check(row: Row) -> None:
    prompt = row.tokens("Request tokens")
    output = row.whole("Response tokens", 0, MAX_TOKENS)
    total = row.whole("Total tokens", 0, 2 * MAX_TOKENS)
    if not row.problems and prompt + output != total:
        row.bad("Total tokens", f"{total}", f"request and response, {prompt + output}")
    row.text("Model")
    row.text("Log Type")
    if "Elapsed time" in row.data:
        row.nanoseconds("Elapsed time", S)


def _session(rows: list[Numbered]) -> Session:
    """Chain the rows of a conversation."""
    drafts: list[Draft] = []
    counts = {"outputs_of_0": 0, "waits_with_service": 0, "waits_below_0": 0}
    begin_ns = last_ns = free_ns = 0
    timed = True
    for line, row in rows:
        at_ns = row.nanoseconds("Timestamp", S)
        output, spoken = answered(row, "Response tokens")
        node = LlmNode(row.tokens("Request tokens"), output)
        kept: dict[str, Json] = {"model": row.text("Model")}
        after: list[str] = []
        if drafts:
            if at_ns < last_ns:
                found = f"{at_ns / S:g} s below {last_ns / S:g} s of the turn before"
                raise BadSession(line, Problem("Timestamp", found, "turns in order of time"))
            counts["waits_with_service"] += not timed
            counts["waits_below_0"] += at_ns < free_ns
            gap = GapNode(max(0, at_ns - free_ns))
            drafts.append(Draft(f"g{len(drafts)}", line, gap, [drafts[-1].name]))
            after = [drafts[-1].name]
            node.at_ns = at_ns - begin_ns or None
        else:
            begin_ns = at_ns
        timed = "Elapsed time" in row.data
        lasted_ns = row.nanoseconds("Elapsed time", S) if timed else 0
        last_ns, free_ns = at_ns, at_ns + lasted_ns
        status = "ok" if spoken else "failed"
        kept["obs"] = {"status": status} | ({"dur": lasted_ns} if timed else {})
        kept["src"] = rest(row, (*COLUMNS[:5], *OPTIONAL))
        counts["outputs_of_0"] += not spoken
        drafts.append(Draft(f"c{len(drafts)}", line, node, after, kept))
    nodes, carried = weave(drafts)
    first = rows[0][1]
    sid = ident(first, "Session ID") if "Session ID" in first.data else f"r{rows[0][0]}"
    src = sources("burstgpt", carried, {"began_s": begin_ns / S}, counts)
    return Session(sid, begin_ns, nodes, src=src)
