"""Tool calls of sandboxed coding agents, as measured by AgentCgroup: CSV, a row a tool call.

A run (model, task, attempt) is a session of tools alone: what its LLM did between
them is not in the file, so a tool waits as long after those before it as it was
recorded to, the LLM's time included. Tools that overlapped run side by side. CPU is
per cent of one core over the call, memory the container's largest.

References
----------
.. [1] "AgentCgroup", arXiv:2602.09345; the table is derived from yunwei37/agentcgroup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.workload.gather import Place
from factorysim.workload.intervals import waits_by_time
from factorysim.workload.readers.assemble import assemble
from factorysim.workload.readers.fields import S, columns, ident, rest, sources
from factorysim.workload.session import Session, ToolNode
from factorysim.workload.weave import Draft, weave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.workload.gather import Numbered
    from factorysim.workload.lines import FaultLog
    from factorysim.workload.rows import Json, Row

COLUMNS = (
    *("model", "task", "attempt", "call_index", "tool", "bash_class", "t_start_s"),
    *("duration_s", "cpu_percent_mean", "mem_mb_max"),
)
MB = 1_000_000
MAX_CPU_PERCENT = 1e6


def parse_agentcgroup(lines: Iterator[tuple[int, str]], log: FaultLog) -> Iterator[Session]:
    """Yield the runs of an AgentCgroup table of tool calls, all at 0: there is no common clock."""
    parse = columns(lines, log, COLUMNS)
    if parse is not None:
        yield from assemble(lines, log, _place, _session, parse)


def _place(row: Row) -> Place:
    _tool(row)
    return Place(_run(row))


def _run(row: Row) -> str:
    return "/".join(ident(row, key) for key in ("model", "task", "attempt"))


def _tool(row: Row) -> tuple[int, int, ToolNode, dict[str, Json]]:
    """Read a row: when it began and ended, the tool, and what the node cannot hold."""
    name = row.text("tool")
    begin_ns, lasted_ns = row.nanoseconds("t_start_s", S), row.nanoseconds("duration_s", S)
    busy = row.number("cpu_percent_mean", 0.0, MAX_CPU_PERCENT, 0.0) / 100
    cores = max(1.0, busy)
    cpu_s = busy * lasted_ns / S
    node = ToolNode(
        cls=row.text("bash_class", name),
        cpu_s=cpu_s,
        cores=cores,
        memory_bytes=row.number("mem_mb_max", 0.0, 1e9, 0.0) * MB,
        remote_ns=lasted_ns - round(cpu_s / cores * S),
    )
    kept: dict[str, Json] = {"name": name}
    if "cpu_percent_mean" not in row.data:
        kept["status"] = "unmeasured"
    if extra := rest(row, COLUMNS):
        kept["src"] = extra
    row.close()
    return begin_ns, begin_ns + lasted_ns, node, kept


def _session(rows: list[Numbered]) -> Session:
    tools = [(line, *_tool(row)) for line, row in rows]
    tools.sort(key=lambda tool: (tool[1], tool[2]))
    waits = waits_by_time([(begin, end) for _, begin, end, _, _ in tools])
    drafts: list[Draft] = []
    for number, (line, begin_ns, _, node, kept) in enumerate(tools):
        free_ns = max((tools[place][2] for place in waits[number]), default=tools[0][1])
        node.delay_ns = begin_ns - free_ns
        after = [f"t{place}" for place in waits[number]]
        drafts.append(Draft(f"t{number}", line, node, after, kept))
    nodes, carried = weave(drafts)
    first = rows[0][1]
    told = {"llm_calls": "not recorded", "began_s": tools[0][1] / S}
    return Session(_run(first), 0, nodes, src=sources("agentcgroup", carried, told))
