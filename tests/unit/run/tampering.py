"""A run directory with rows in every table, and ways to change one and seal it again."""

import json

import pyarrow.parquet as pq
import pytest

from factorysim.errors import UserError
from factorysim.run import open_run, simulate
from factorysim.run.activity import NAMES
from factorysim.run.seal import sealed
from factorysim.run.tables import TABLE_NAMES
from factorysim.store import Derived, ParquetSink, merge_tables, table_hash, write_table
from tests.unit.report.timeline.builders import call, row, session, step, tool
from tests.unit.run.builders import mm1

DEPLOYMENT, STREAM = "queue", "calls"


def full_run(folder):
    """Simulate a queue for its manifest, and put a few rows of our own into every table."""
    simulate(mm1(window="20 s", replications=2), out=folder, workers=1)
    parts = [folder / f"part-{number}" for number in range(2)]
    for number, part in enumerate(parts):
        part.mkdir()
        zeros = Derived(NAMES, lambda steps: dict.fromkeys(NAMES, 0.0 * steps["started_s"]))
        with ParquetSink(part, number, {"steps": zeros}) as sink:
            for table, rows in every_row().items():
                sink.rows(table, [tuple(one) for one in rows])
    merge_tables(parts, folder)
    for part in parts:
        for file in part.iterdir():
            file.unlink()
        part.rmdir()
    return reseal(folder)


def every_row():
    """Rows of every table: a session of two calls, one handed over, and of two tools."""
    mine = {"stream": STREAM}
    at = {"deployment": DEPLOYMENT, "prompt_tokens": 5, "output_tokens": 3, "requested_tokens": 3}
    between = {"started_s": 22.0, "finished_s": 23.0}
    moved = {"prefill": DEPLOYMENT, "decode": DEPLOYMENT, "moved_bytes": 70_000}
    instants = ("queued_s", "scheduled_s", "prefilled_s", "asked_s", "reserved_s", "landed_s")
    handed = dict(zip((*instants, "joined_s"), range(26, 33), strict=True))
    boxed = {"asked_s": 21.0, "granted_s": 21.5, "ready_s": 22.0, "ended_s": 38.0}
    return {
        "sessions": [
            session(0, 20.5, 40.0, calls=2, tools=2, turns=1, active_s=19.5)._replace(**mine),
            session(1, 25.0, None, outcome="censored")._replace(**mine),
        ],
        "calls": [
            call(0, 0, 21.0, 21.5, 22.0, 23.0, 25.0, 25.5, **at)._replace(**mine),
            call(1, 0, 26.0, 26.0, 27.0, 32.5, 33.0, 33.5, **at)._replace(**mine),
            call(2, 1, 30.0, 31.0, None, None, None, None, outcome="censored", **at)._replace(
                **mine, held_s=0.5
            ),
        ],
        "tools": [
            tool(0, 0, 34.0, 35.0, 36.0, cores=2.0, cpu_s=2.0)._replace(**mine),
            tool(1, 0, 36.5, None, 37.0, host=-1, sandbox=-1)._replace(**mine),
        ],
        "sandboxes": [
            row("sandboxes", deployment="tools", outcome="used", **boxed),
            row("sandboxes", deployment="tools", outcome="held", host=-1, asked_s=39.0),
        ],
        "steps": [step(0, 22.0, 23.0, prompts=1), step(0, 23.0, 25.0, steps=4, kv_blocks=2)],
        "gaps": [
            row("gaps", call=0, at_s=24.0, gap_s=0.5, cause="preemption"),
            row("gaps", call=0, at_s=24.6, gap_s=0.3, cause="prefill"),
        ],
        "handoffs": [row("handoffs", call=1, **moved, **handed)],
        "transfers": [row("transfers", kind="kv", src=1, dst=2, size_bytes=70_000, **between)],
        "tiers": [row("tiers", tier="host", event="store", call=0, blocks=2, **between)],
        "events": [row("events", at_s=24.0, kind="preempted", entity="queue/0", detail="call 0")],
        "links": [
            row("links", link="a -> b", bandwidth_bytes_per_s=1e9, carried_bytes=70_000.0),
        ],
        "timeseries": [
            row("timeseries", at_s=10.0 * n + 5, series=series, place=place, value=1.0 + n)
            for series, place in (("power_w", "gpu/0"), ("power_w", "factory"), ("busy_cores", "t"))
            for n in range(4)
        ],
    }


def reseal(folder):
    """Write down the hashes of the tables as they are, and seal the manifest over them."""
    place = folder / "manifest.json"
    manifest = json.loads(place.read_text(encoding="utf-8"))
    manifest["outputs"] = {name: table_hash(folder / f"{name}.parquet") for name in TABLE_NAMES}
    place.write_text(json.dumps(sealed(manifest)), encoding="utf-8")
    return folder


def changed(folder, table, change):
    """Put another table in the place of one, and seal the run again."""
    place = folder / f"{table}.parquet"
    write_table(place, change(pq.read_table(place)))
    return reseal(folder)


def with_cell(table, column, number, value):
    """Copy of an Arrow table with another value in one row of a column."""
    import pyarrow as pa

    field = table.schema.field(column)
    values = table[column].to_pylist()
    values[number] = value
    words = pa.types.is_dictionary(field.type)
    made = pa.array(values, pa.string() if words else field.type)
    made = made.dictionary_encode() if words else made
    nullable = pa.field(column, field.type, nullable=True)
    return table.set_column(table.schema.names.index(column), nullable, made)


def told(folder):
    """Open a run that is to be refused, and give what is said of it."""
    with pytest.raises(UserError) as stop:
        open_run(folder)
    return str(stop.value)
