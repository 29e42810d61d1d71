"""Small tables of a replication, from rows."""

from typing import get_type_hints

import numpy as np
import pyarrow as pa

from factorysim.metrics.inputs import Layout, Station, Tables
from factorysim.records import (
    TABLES,
    CallRow,
    Closing,
    EnergyLine,
    SampleRow,
    SandboxRow,
    SessionRow,
    StepRow,
    ToolRow,
)
from factorysim.store import as_columns

TYPES = {int: pa.int64(), float: pa.float64(), float | None: pa.float64()}


def columns(table, rows):
    hints = get_type_hints(TABLES[table])
    lists = list(zip(*rows, strict=True)) if rows else [()] * len(hints)
    arrays = {}
    for (name, hint), values in zip(hints.items(), lists, strict=True):
        array = pa.array(values, TYPES.get(hint, pa.string()))
        arrays[name] = array.dictionary_encode() if hint is str else array
    return as_columns(pa.table(arrays))


def closing(end_s=100.0, energy=()):
    return Closing(end_s, 1, (), (), tuple(energy), 1, ())


def tables(
    sessions=(),
    calls=(),
    tools=(),
    steps=(),
    series=(),
    end_s=100.0,
    extra=None,
    energy=(),
    handoffs=(),
    tiers=None,
    sandboxes=None,
    links=None,
):
    step_columns = dict(columns("steps", list(steps)))
    for name, values in (extra or {}).items():
        step_columns[name] = np.array(values, float)

    def derive(some):
        """What `extra` says of each run, found by its start, evenly over its steps."""
        run = np.searchsorted(step_columns["started_s"], some["started_s"])
        share = some["steps"] / step_columns["steps"][run]
        return {name: step_columns[name][run] * share for name in extra or {}}

    return Tables(
        columns("sessions", list(sessions)),
        columns("calls", list(calls)),
        columns("tools", list(tools)),
        [step_columns],
        columns("gaps", []),
        columns("handoffs", list(handoffs)),
        columns("timeseries", list(series)),
        closing(end_s, energy),
        derive,
        None if tiers is None else columns("tiers", list(tiers)),
        None if sandboxes is None else columns("sandboxes", list(sandboxes)),
        None if links is None else columns("links", list(links)),
    )


def session(number, arrived_s=10.0, finished_s=14.0, outcome="completed", **changes):
    done = outcome == "completed"
    spent = finished_s - arrived_s if done else 0.0
    row = SessionRow(
        number, "code", f"s{number}", "agent", outcome, arrived_s,
        None if outcome == "censored" else finished_s, 1, 0, 100, 10, 1,
        spent if done else 0.0, spent if done else None,
        0.0, 0.0, spent, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
    )  # fmt: skip
    return row._replace(**changes)


def call(number, arrived_s=10.0, ttft_s=1.0, tpot_s=0.1, tokens=11, **changes):
    first = arrived_s + ttft_s
    last = first + tpot_s * (tokens - 1)
    row = CallRow(
        number, number, "code", "decode", 0, "completed", arrived_s, arrived_s, arrived_s + 0.5,
        first, last, last, 100, 40, 60, 0, tokens, tokens, 0, 0.0,
    )  # fmt: skip
    return row._replace(**changes)


def flying(number, arrived_s=10.0, **changes):
    row = call(number, arrived_s)._replace(
        outcome="censored", finished_s=None, last_token_s=None, first_token_s=None,
        scheduled_s=None, output_tokens=0,
    )  # fmt: skip
    return row._replace(**changes)


def tool(number, ready_s, started_s, finished_s, cpu_s=1.0):
    return ToolRow(
        number, 0, "code", "bash", "tools", 0, "completed", ready_s, started_s, finished_s,
        0.0, cpu_s, 1.0, 0.0,
    )  # fmt: skip


def sandbox(number, asked_s, granted_s, ready_s, ended_s, **changes):
    row = SandboxRow(
        number, "tools", 0, number, 0, "given_back", 0, asked_s, granted_s, ready_s, ended_s, 1, 2e8
    )
    return row._replace(**changes)


def step(started_s, finished_s, **changes):
    """Ten even steps of four decodes."""
    row = StepRow(
        0, started_s, finished_s, 10, round((finished_s - started_s) * 1e14), 0, 4, 0, 0, 40, 0,
        400, 0, 0, 0, 0, 50, 0, 0, 0,
    )  # fmt: skip
    return row._replace(**changes)


def watts(values, width_s=10.0, place="factory"):
    return [
        SampleRow((i + 0.5) * width_s, "power_w", place, float(w)) for i, w in enumerate(values)
    ]


def rack(**joules):
    return EnergyLine("rack", *(joules.get(n, 0.0) for n in EnergyLine._fields[1:]))


def station(name="decode", **changes):
    row = Station(name, "nvl72", "serve", "coder", 0, 2, 4, 8.0, 1e12, 1e12, 10.0, 100, 16, 8, 64)
    return row._replace(**changes)


TOOLS = Station("tools", "cpu", "tools", "", 0, 1, 0, 4.0, None, None, 0.0, 0, 0, 0, 0)


def layout(*stations, **changes):
    base = Layout(stations or (station(), TOOLS), 8, 1.25, 400.0, 0.10)
    return base._replace(**changes)


def values(found, by="all", key=""):
    return {v.name: v.value for v in found if (v.by, v.key) == (by, key)}


def reasons(found):
    return {v.name: v.reason for v in found if v.value is None}
