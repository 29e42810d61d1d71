"""Links and incidents on a page, from tables of two replications."""

from types import SimpleNamespace

import pytest
from markupsafe import Markup

from factorysim.records import EventRow, LinkRow
from factorysim.report.charts.incidents import Incident
from factorysim.report.charts.incidents import incidents as counted
from factorysim.report.charts.links import link_uses
from factorysim.report.charts.source import Source
from factorysim.report.sections.incidents import NONE, incidents
from factorysim.report.sections.links import links
from factorysim.report.sections.section import Shown, View
from factorysim.store import ParquetSink, merge_tables
from tests.unit.report.hostile import HOSTILE, Page


def source(tmp_path, *replications):
    parts = []
    for number, rows in enumerate(replications):
        parts.append(tmp_path / f"part-{number}")
        parts[-1].mkdir()
        with ParquetSink(parts[-1], number) as sink:
            for table, some in rows.items():
                sink.rows(table, [tuple(row) for row in some])
    merge_tables(parts, tmp_path)
    told = [{"replication": number, "end_s": 200.0} for number in range(len(replications))]
    manifest = {"replications": told, "window": {"start_s": 50.0, "end_s": 150.0}}
    return Source(SimpleNamespace(path=tmp_path, manifest=manifest))


def text_of(section, found):
    made = section(View((Shown(found.run, found, "", "one"),), (), {}))
    assert isinstance(made.body, Markup)
    return " ".join(Page(made.body).text().split())


def test_events_are_counted_by_kind_and_place_over_replications(tmp_path):
    first = [
        EventRow(7.0, "preempted", "d/0", "call 1"),
        EventRow(8.0, "preempted", "d/1", "call 2"),
        EventRow(9.0, "turned_away", "chat", "a call of session s, time 1"),
        EventRow(9.5, "preempted", "d/0", "call 1"),
    ]
    second = [EventRow(3.0, "preempted", "d/0", "call 5")]
    found = source(tmp_path, {"events": first}, {"events": second})
    assert counted(found) == [
        Incident("preempted", "d/0", 3, 3.0, 9.5),
        Incident("preempted", "d/1", 1, 8.0, 8.0),
        Incident("turned_away", "chat", 1, 9.0, 9.0),
    ]
    text = text_of(incidents, found)
    assert "a call lost its KV blocks to others d/0 3 3.00 s 9.50 s" in text
    assert "the gateway did not let a call in chat 1 9.00 s 9.00 s" in text
    assert "other places" not in text


def test_every_kind_at_every_place_is_counted_apart(tmp_path):
    kinds, places = ("preempted", "turned_away", "no_memory"), ("a", "b", "c")
    wanted = {
        (kind, place): 1 + 3 * k + p
        for k, kind in enumerate(kinds)
        for p, place in enumerate(places)
    }
    rows = [
        EventRow(float(n), kind, place, "")
        for (kind, place), times in wanted.items()
        for n in range(times)
    ]
    found = counted(source(tmp_path, {"events": rows}))
    assert {(one.kind, one.place): one.times for one in found} == wanted
    assert [one.times for one in found] == sorted(wanted.values(), reverse=True)
    assert all((one.first_s, one.last_s) == (0.0, one.times - 1.0) for one in found)


def test_places_beyond_the_first_are_one_line(tmp_path):
    rows = [EventRow(1.0, "preempted", f"d/{k}", "call") for k in range(15) for _ in range(20 - k)]
    text = text_of(incidents, source(tmp_path, {"events": rows}))
    assert text.startswith("a call lost its KV blocks to others: 195 times, at 15 places")
    assert "And 21 more at 3 other places." in text  # 8 + 7 + 6
    assert "d/11" in text
    assert "d/12" not in text


def test_a_rare_kind_is_told_beside_a_frequent_one(tmp_path):
    rows = [EventRow(1.0, "preempted", f"d/{k}", "call") for k in range(15) for _ in range(2)]
    rare = EventRow(2.0, "no_memory", "host", "session 1")
    text = text_of(incidents, source(tmp_path, {"events": [*rows, rare]}))
    assert "a sandbox had to wait for memory: 1 time, at 1 place" in text
    assert "at 1 places" not in text


def test_a_run_without_incidents_says_so(tmp_path):
    assert text_of(incidents, source(tmp_path, {}, {})) == NONE


def test_links_have_the_mean_of_replications_that_may_have_carried_nothing(tmp_path):
    first = [LinkRow("a -> b", 1e9, 4e10), LinkRow("b -> a", 1e9, 1e9)]
    second = [LinkRow("b -> a", 1e9, 3e9)]
    found = source(tmp_path, {"links": first}, {"links": second})
    assert [(use.name, use.carried_bytes, use.utilization) for use in link_uses(found)] == [
        ("a -> b", 2e10, pytest.approx(0.2)),
        ("b -> a", 2e9, pytest.approx(0.02)),
    ]
    text = text_of(links, found)
    assert "a -> b 20.0 % 20.0 GB 1.00 GB/s" in text


@pytest.mark.parametrize(("number", "told"), [(10, ""), (12, "2 more carried something")])
def test_links_beyond_the_busiest_ten_are_counted(tmp_path, number, told):
    rows = [LinkRow(f"n{k} -> a", 1e9, 1e9 * (1 + k)) for k in range(number)]
    text = text_of(links, source(tmp_path, {"links": rows}))
    assert [f"n{k} -> a" in text for k in range(number)] == [
        k >= number - 10 for k in range(number)
    ]
    assert text.endswith("Messages below 64 KB cost latency only and are not counted.")
    assert told in text
    assert ("more carried" in text) == bool(told)


def test_links_that_nothing_crossed_are_not_idle(tmp_path):
    text = text_of(links, source(tmp_path, {}, {}))
    assert text.startswith("No message of 64 KB or more crossed a link")
    assert "%" not in text


@pytest.mark.parametrize("word", [word.replace("\udc80", "") for word in HOSTILE])
def test_names_are_shown_as_they_are_and_do_nothing(tmp_path, word):
    rows = {
        "events": [EventRow(1.0, word, word, word)],
        "links": [LinkRow(f"{word} -> b", 1e9, 4e10)],
    }
    found = source(tmp_path, rows)
    for section in (incidents, links):
        text_of(section, found)
