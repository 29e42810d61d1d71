"""Small run directories, written row by row."""

from typing import get_type_hints

from factorysim.records import TABLES
from factorysim.report.timeline.view import View
from factorysim.store import ParquetSink
from tests.unit.report.timeline.parsed import Parsed

MANIFEST = {
    "factorysim": "0.0.0",
    "scenario": {"name": "small", "question": "What?"},
    "manifest_sha256": "0" * 64,
    "seed": 7,
    "layout": {
        "stations": [
            {"name": "serve", "kind": "serve", "first_replica": 0, "replicas": 2,
             "devices_per_replica": 1, "kv_blocks": 100, "block_tokens": 16},
            {"name": "tools", "kind": "tools", "first_replica": 0, "replicas": 3,
             "devices_per_replica": 0, "kv_blocks": 0, "block_tokens": 0},
        ]
    },
}  # fmt: skip


def row(table, **given):
    """A row with what is given; None, 0 or an empty word for the rest."""
    kind = TABLES[table]
    blank = {int: 0, float: 0.0, str: ""}
    hints = get_type_hints(kind)
    assert set(given) <= set(hints)
    values = {name: blank.get(hint) for name, hint in hints.items()}
    ended = {"outcome": "completed"} if "outcome" in hints else {}
    return kind(**(values | ended | given))


def session(number, arrived, finished, **given):
    return row(
        "sessions", session=number, stream="code", sid=f"s{number}", arrived_s=arrived,
        finished_s=finished, **given,
    )  # fmt: skip


def call(number, of, *instants, **given):
    """A call by when it arrived, was queued, scheduled, made its first and last token, was back."""
    names = ("arrived_s", "queued_s", "scheduled_s", "first_token_s", "last_token_s", "finished_s")
    given = {"deployment": "serve", "attempts": 1, **given}
    times = dict(zip(names, instants, strict=True))
    return row("calls", call=number, session=of, stream="code", **times, **given)


def tool(number, of, ready, started, finished, **given):
    given = {"cls": "grep", "deployment": "tools", "attempts": 1, "sandbox_s": 0.0, **given}
    times = {"ready_s": ready, "started_s": started, "finished_s": finished}
    return row("tools", tool=number, session=of, stream="code", **times, **given)


def step(replica, started, finished, **given):
    given = {"steps": 1, "decodes": 1, **given}
    return row("steps", replica=replica, started_s=started, finished_s=finished, **given)


def view_of(folder, end_s=100.0, start_s=0.0, stop_s=None, replication=0, **tables):
    """Write tables as of one replication, and look at them."""
    folder.mkdir(exist_ok=True)
    with ParquetSink(folder, replication) as sink:
        for table, rows in tables.items():
            sink.rows(table, [tuple(one) for one in rows])
    stop_s = end_s if stop_s is None else stop_s
    return View(folder, MANIFEST, replication, start_s, stop_s, end_s)


def written(view, sessions=None):
    """What a timeline tells, read back."""
    from factorysim.report.timeline import write_timeline

    out = view.path / "timeline.pftrace"
    made = write_timeline(view, out, sessions)
    return Parsed(out.read_bytes()), made
