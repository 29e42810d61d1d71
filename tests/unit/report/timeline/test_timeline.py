"""A timeline shows what the tables hold: read back with Perfetto's own messages."""

import numpy as np
import pytest

from factorysim.errors import OutputError
from factorysim.report.timeline import write_timeline
from tests.unit.report.timeline.builders import (
    call,
    row,
    session,
    step,
    tool,
    view_of,
    written,
)

SECOND = 1_000_000_000
ONE = {
    "sessions": [session(3, 1.0, 20.0, calls=2, tools=1)],
    "calls": [
        call(8, 3, 1.0, 1.5, 2.0, 3.0, 5.0, 5.25, replica=1, prompt_tokens=9, output_tokens=4),
        call(9, 3, 10.0, 10.5, 10.5, 11.0, 19.0, 20.0),
    ],
    "tools": [tool(0, 3, 5.25, 6.25, 8.0, remote_s=0.5, host=2)],
    "steps": [
        step(1, 2.0, 3.0, decodes=0, prompts=1, prompt_tokens=9),
        step(1, 3.0, 5.0, steps=3, emitted_tokens=3, kv_blocks=50),
        step(0, 10.5, 11.0, decodes=0, prompts=1),
    ],
}


def spans(slices):
    return [(one.name, one.start_ns / SECOND, one.end_ns / SECOND) for one in slices]


def test_a_session_is_its_calls_tools_and_gaps_one_after_the_other(tmp_path):
    parsed, _ = written(view_of(tmp_path, **ONE))
    assert spans(parsed.of("session")) == [("session", 1.0, 20.0)]
    assert spans(parsed.of("call")) == [("call: serve", 1.0, 5.25), ("call: serve", 10.0, 20.0)]
    assert spans(parsed.of("tool")) == [("grep", 5.25, 8.0)]
    assert spans(parsed.of("gap")) == [("gap", 8.0, 10.0)]
    tracks = {one.track for one in parsed.slices if one.category in ("session", "call", "gap")}
    assert [parsed.path(track) for track in tracks] == [("sessions of code: 1 of 1", "3: s3")]


def test_phases_of_a_call_and_of_a_tool_fill_them(tmp_path):
    parsed, _ = written(view_of(tmp_path, **ONE))
    assert spans(parsed.of("phase")) == [
        ("network", 1.0, 1.5),
        ("queue", 1.5, 2.0),
        ("prefill", 2.0, 3.0),
        ("decode", 3.0, 5.0),
        ("network back", 5.0, 5.25),
        ("remote", 5.25, 5.75),
        ("queue", 5.75, 6.25),
        ("run", 6.25, 8.0),
        ("network", 10.0, 10.5),
        ("prefill", 10.5, 11.0),
        ("decode", 11.0, 19.0),
        ("network back", 19.0, 20.0),
    ]
    assert {one.depth for one in parsed.of("phase")} == {2}


def test_what_a_slice_tells_is_its_row(tmp_path):
    parsed, _ = written(view_of(tmp_path, **ONE))
    args = parsed.of("call")[0].args
    assert (args["call"], args["replica"], args["prompt_tokens"]) == (8, 1, 9)
    assert args["outcome"] == "completed"
    assert parsed.of("session")[0].args["sid"] == "s3"
    runs = [(parsed.path(one.track), one.name, one.args["steps"]) for one in parsed.of("run")]
    assert runs == [
        (("serve: 2 replicas", "replica 1"), "prefill", 1),
        (("serve: 2 replicas", "replica 1"), "decode", 3),
        (("serve: 2 replicas", "replica 0"), "prefill", 1),
    ]


def test_arrows_lead_from_a_prefill_to_the_run_that_begins_it(tmp_path):
    parsed, _ = written(view_of(tmp_path, **ONE))
    tails = {flow: one for one in parsed.of("phase") for flow in one.flows}
    heads = {flow: one for one in parsed.of("run") for flow in one.flows}
    assert set(tails) == set(heads) == {9, 10}
    for flow, one in heads.items():
        assert tails[flow].start_ns == one.start_ns
        assert (tails[flow].name, one.name) == ("prefill", "prefill")
    assert heads[9].args["prompt_tokens"] == 9


def test_things_at_once_take_lanes_of_their_own(tmp_path):
    tools = [tool(k, 1, 1.0 + k, 1.0 + k, 6.0 - k, host=0) for k in range(2)]
    tools.append(tool(2, 1, 6.0, 6.0, 7.0, host=0))
    view = view_of(tmp_path, sessions=[session(1, 0.0, 8.0)], tools=tools)
    parsed, _ = written(view)
    where = {one.args["tool"]: parsed.path(one.track)[1:] for one in parsed.of("tool")}
    assert where == {0: ("1: s1",), 1: ("1: s1", "at the same time"), 2: ("1: s1",)}
    hosts = [path for path in parsed.names() if path[0] == "tools"]
    assert hosts == [("tools",), ("tools", "tools"), *[("tools", "tools", "host 0")] * 2]
    assert spans(parsed.of("gap")) == [("gap", 0.0, 1.0), ("gap", 7.0, 8.0)]


def test_what_has_not_ended_lasts_until_the_run_does(tmp_path):
    calls = [call(0, 1, 2.0, 2.5, None, None, None, None, outcome="censored")]
    view = view_of(tmp_path, end_s=9.0, sessions=[session(1, 1.0, None)], calls=calls)
    parsed, _ = written(view)
    assert spans(parsed.of("session")) == [("session", 1.0, 9.0)]
    assert spans(parsed.of("phase")) == [("network", 2.0, 2.5), ("queue", 2.5, 9.0)]


def test_a_call_handed_over_shows_how_its_kv_moves(tmp_path):
    handoff = row(
        "handoffs", call=4, prefill="serve", prefill_replica=1, decode="serve",
        decode_replica=0, queued_s=1.5, scheduled_s=2.0, prefilled_s=3.0, asked_s=3.0,
        reserved_s=3.5, landed_s=4.0, joined_s=4.25, moved_bytes=77,
    )  # fmt: skip
    view = view_of(
        tmp_path,
        sessions=[session(1, 1.0, 9.0)],
        calls=[call(4, 1, 1.0, 1.5, 2.0, 3.0, 8.0, 9.0)],
        handoffs=[handoff],
        steps=[step(1, 2.0, 3.0, decodes=0, prompts=1)],
    )
    parsed, _ = written(view)
    assert spans(parsed.of("phase")) == [
        ("network", 1.0, 1.5),
        ("queue", 1.5, 2.0),
        ("prefill", 2.0, 3.0),
        ("wait for blocks", 3.0, 3.5),
        ("KV moves", 3.5, 4.0),
        ("wait to join", 4.0, 4.25),
        ("decode", 4.25, 8.0),
        ("network back", 8.0, 9.0),
    ]
    assert parsed.of("call")[0].args["moved_bytes"] == 77
    assert [one.flows for one in parsed.of("run")] == [(5,)], "at the replica that prefills"


def test_a_preemption_is_a_stall_inside_the_decode(tmp_path):
    stall = row("gaps", call=0, at_s=6.0, gap_s=1.5, cause="preemption")
    view = view_of(
        tmp_path,
        sessions=[session(1, 1.0, 9.0)],
        calls=[call(0, 1, 1.0, 1.0, 1.0, 3.0, 9.0, 9.0)],
        gaps=[stall],
    )
    parsed, _ = written(view)
    assert spans(parsed.of("stall")) == [("stall: preemption", 4.5, 6.0)]
    assert [one.depth for one in parsed.of("stall")] == [3]


def test_a_tool_tried_again_and_one_elsewhere(tmp_path):
    tools = [
        tool(0, 1, 1.0, 6.0, 8.0, host=0, remote_s=0.5, asked_s=5.0, sandbox_s=0.75, attempts=2),
        tool(1, 1, 8.0, 9.5, 10.0, host=-1, deployment="remote", remote_s=1.5, sandbox_s=None),
    ]
    parsed, _ = written(view_of(tmp_path, sessions=[session(1, 1.0, 10.0)], tools=tools))
    assert spans(parsed.of("phase")) == [
        ("earlier attempts", 1.0, 4.5),
        ("remote", 4.5, 5.0),
        ("sandbox", 5.0, 5.75),
        ("queue", 5.75, 6.0),
        ("run", 6.0, 8.0),
        ("remote", 8.0, 9.5),
        ("run", 9.5, 10.0),
    ]


def test_what_lies_between_two_floats_is_no_phase(tmp_path):
    ready, remote = 1234.5678901235, 0.1380956900000001
    asked = ready + remote
    tools = [tool(0, 1, ready, np.nextafter(asked + 0.25, 2e3), 1240.0, sandbox_s=0.25)]
    tools[0] = tools[0]._replace(remote_s=remote)
    sessions = [session(1, ready, 1240.0)]
    parsed, _ = written(view_of(tmp_path, end_s=1240.0, sessions=sessions, tools=tools))
    assert [one.name for one in parsed.of("phase")] == ["remote", "sandbox", "run"]


def test_a_window_shows_what_lasts_into_it_and_cuts_it_there(tmp_path):
    view = view_of(tmp_path, start_s=4.0, stop_s=10.25, **ONE)
    parsed, _ = written(view)
    assert spans(parsed.of("session")) == [("session", 4.0, 10.25)]
    assert parsed.of("session")[0].args["began_before_window_s"] == 1.0
    assert parsed.of("session")[0].args["ends_after_window_s"] == 20.0
    assert spans(parsed.of("call")) == [("call: serve", 4.0, 5.25), ("call: serve", 10.0, 10.25)]
    assert "began_before_window_s" not in parsed.of("call")[1].args
    assert spans(parsed.of("run")) == [("decode", 4.0, 5.0)]
    assert not any(one.flows for one in parsed.slices), "no call begins to be computed in it"


def test_sessions_are_chosen_evenly_and_the_trace_says_so(tmp_path):
    rows = [session(k, float(k), k + 0.5) for k in range(90)]
    parsed, made = written(view_of(tmp_path, sessions=rows), sessions=9)
    shown = sorted(one.start_ns // SECOND for one in parsed.of("session"))
    assert np.diff(shown).tolist() == [10] * 8
    assert made.told == ("sampled: 9 of 90 sessions",)
    assert ("about: sampled: 9 of 90 sessions",) in parsed.names()
    assert ("sessions of code: 9 of 90",) in parsed.names()
    assert "sampled: 9 of 90 sessions" in parsed.metadata["factorysim.shown"]


def test_what_is_too_much_is_merged_or_thinned_and_the_trace_says_so(tmp_path, monkeypatch):
    from factorysim.report.timeline import write

    monkeypatch.setattr(write, "RUNS", 20)
    monkeypatch.setattr(write, "PLACES", 30)
    steps = [step(k % 2, k / 10, (k + 1) / 10, emitted_tokens=k, kv_blocks=k) for k in range(200)]
    moves = [
        row("transfers", kind="kv", started_s=float(k), finished_s=k + 1.0, size_bytes=k)
        for k in range(90)
    ]
    view = view_of(tmp_path, end_s=90.0, steps=steps, transfers=moves)
    parsed, made = written(view)
    runs = parsed.of("run")
    assert len(runs) <= 20
    assert sum(one.args["emitted_tokens"] for one in runs) == sum(range(200))
    assert sum(one.args["runs"] for one in runs) == 200
    assert max(one.args["kv_blocks_max"] for one in runs) == 199
    assert sum(one.args["busy_s"] for one in runs) == pytest.approx(20.0)
    assert [one.args["size_bytes"] for one in parsed.of("transfers")] == list(range(1, 90, 3))
    assert ("transfers (1 in 3)",) in parsed.names()
    assert made.told == (
        "all 0 sessions",
        f"200 runs of steps merged to {len(runs)} slices",
        "1 in 3 of 90 rows of transfers",
        "nodes and hosts by their numbers: the run is of another version of factorysim",
    )


def test_counters_are_the_means_of_what_the_tables_say(tmp_path):
    power = [
        row("timeseries", at_s=25.0 + 50 * k, series="power_w", place=place, value=value)
        for place, values in (("rack/0", (10.0, 30.0)), ("factory", (100.0, 300.0)))
        for k, value in enumerate(values)
    ]
    parsed, _ = written(view_of(tmp_path, timeseries=power, **ONE))
    counters = {path[-1]: values for path, values in parsed.counters.items()}
    assert counters["power: factory"] == [(0, 100.0), (50 * SECOND, 300.0)]
    assert counters["power: rack/0"] == [(0, 10.0), (50 * SECOND, 30.0)]
    assert area(counters["queue: serve"]) == pytest.approx(0.5)
    assert area(counters["queue: tools"]) == pytest.approx(0.5)
    assert area(counters["running sequences: serve"]) == pytest.approx(1.0 + 2.0 + 0.5)
    assert area(counters["KV held: serve"]) == pytest.approx(100 * 50 * 2.0 / 200)
    assert area(counters["sessions in flight: code"]) == pytest.approx(19.0)
    units = {one.name: one.counter.unit_name for one in parsed.tracks.values()}
    assert units["power: factory"] == "W"


def test_of_many_counters_and_bins_there_is_an_even_part(tmp_path):
    racks = [
        row("timeseries", at_s=0.005 + k / 100, series="power_w", place=place, value=float(k % 2))
        for place in ("factory", *(f"rack/{k}" for k in range(99)))
        for k in (range(3_000) if place == "factory" else range(1))
    ]
    parsed, _ = written(view_of(tmp_path, end_s=30.0, timeseries=racks))
    values = parsed.counters[("power: factory",)]
    assert len(values) == 1_000
    assert {round(value, 9) for _, value in values} == {0.333333333, 0.666666667}
    shown = len(parsed.counters)
    assert shown in (50, 51), "the factory's own may be one more"
    assert (f"power ({shown} of 100): {shown - 1} places",) in parsed.names()


def area(values, end_s=100.0):
    """Integral of a counter over seconds."""
    at = [one / SECOND for one, _ in values] + [end_s]
    return sum(value * width for (_, value), width in zip(values, np.diff(at), strict=True))


def test_sandboxes_tiers_and_events_have_tracks(tmp_path):
    view = view_of(
        tmp_path,
        sandboxes=[row("sandboxes", deployment="tools", host=1, asked_s=1.0, granted_s=2.0)],
        tiers=[row("tiers", tier="host", event="fetch", started_s=1.0, finished_s=2.0, call=5)],
        events=[row("events", at_s=3.0, kind="clip", entity="rack/0", detail="<b>")],
    )
    parsed, _ = written(view)
    assert spans(parsed.of("sandboxes")) == [("completed", 2.0, 100.0)]
    assert spans(parsed.of("tiers")) == [("fetch", 1.0, 2.0)]
    (event,) = parsed.instants
    assert (event.name, event.start_ns, event.args["detail"]) == ("clip", 3 * SECOND, "<b>")


def test_hostile_names_are_on_one_line_without_control_characters_and_cut(tmp_path):
    evil = "</script>\n\x1b[31m\u202e\ud800" + "x" * 10_000
    rows = [session(0, 0.0, 1.0)._replace(sid=evil.replace("\ud800", ""), stream="a\nb\x07")]
    parsed, _ = written(view_of(tmp_path, sessions=rows))
    names = [track.name for track in parsed.tracks.values()]
    texts = [*names, *(str(value) for one in parsed.slices for value in one.args.values())]
    assert all(text.isprintable() and len(text) <= 120 for text in texts)
    notes = [*parsed.metadata.values(), *(one.description for one in parsed.tracks.values())]
    assert all(str(note).isprintable() for note in notes)
    assert any(name.startswith(r"0: </script>\n\x1b[31m\u202exxx") for name in names)


def test_the_same_tables_give_the_same_bytes(tmp_path):
    view = view_of(tmp_path, **ONE)
    one, two = tmp_path / "one", tmp_path / "two"
    write_timeline(view, one)
    write_timeline(view, two)
    assert one.read_bytes() == two.read_bytes()


def test_only_the_rows_of_the_replication_are_shown(tmp_path):
    assert written(view_of(tmp_path, replication=4, **ONE))[0].of("session")
    view = view_of(tmp_path, replication=4, **ONE)._replace(replication=3)
    parsed, made = written(view)
    assert {one.category for one in parsed.slices} == {"about"}
    assert made.told == ("all 0 sessions",)


def test_the_metadata_tell_which_run_it_is(tmp_path):
    parsed, _ = written(view_of(tmp_path, **ONE))
    assert parsed.metadata["factorysim.scenario"] == "small"
    assert parsed.metadata["factorysim.seed"] == 7
    assert parsed.metadata["factorysim.window"] == "0 s to 100 s of 100 s"
    (about,) = parsed.of("about")
    assert (about.start_ns, about.end_ns) == (0, 100 * SECOND)
    assert about.args["shown 1"] == "the one session"


def test_nothing_half_written_is_left_behind(tmp_path):
    view = view_of(tmp_path / "run", **ONE)
    (tmp_path / "run" / "tools.parquet").unlink()
    with pytest.raises(OutputError):
        write_timeline(view, tmp_path / "out.pftrace")
    assert not list(tmp_path.glob("*out.pftrace*"))
