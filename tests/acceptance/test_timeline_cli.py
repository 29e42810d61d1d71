"""`factorysim timeline`: a run as a trace that Perfetto opens."""

import re

import numpy as np
import pytest

from factorysim.store import read_columns
from tests.acceptance.program import SMALL, changed, factorysim
from tests.unit.report.timeline.parsed import Parsed


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timeline")
    scenario = folder / "small.yaml"
    scenario.write_text(SMALL, encoding="utf-8")
    told = factorysim("run", scenario, "--out", folder / "run", "--workers", 1, "--quiet")
    assert told.code == 0, told.err
    return folder / "run"


def rows(run, table, replication, *names):
    columns = read_columns(run / f"{table}.parquet", ("replication", *names))
    mine = columns["replication"] == replication
    return [columns[name][mine] for name in names]


def test_a_trace_lies_in_the_run_directory_and_the_run_stays_whole(run):
    told = factorysim("timeline", run)
    assert (told.code, told.err) == (0, "")
    assert "timeline.pftrace" in told.out
    assert "https://ui.perfetto.dev" in told.out
    assert "all " in told.out
    assert factorysim("timeline", run).code == 0, "the trace itself is no change of the run"


@pytest.mark.parametrize("replication", [0, 1])
def test_every_call_and_run_of_steps_is_there_as_long_as_in_the_tables(run, tmp_path, replication):
    out = tmp_path / "one.pftrace"
    assert factorysim("timeline", run, "--out", out, "--replication", replication).code == 0
    parsed = Parsed(out.read_bytes())
    (number, arrived, finished, first, scheduled) = rows(
        run, "calls", replication, "call", "arrived_s", "finished_s", "first_token_s",
        "scheduled_s",
    )  # fmt: skip
    known = {one.args["call"]: one for one in parsed.of("call")}
    assert set(known) == set(number.tolist())
    for one, since, until in zip(number.tolist(), arrived, finished, strict=True):
        assert known[one].start_ns == round(since * 1e9)
        assert np.isnan(until) or known[one].end_ns == round(until * 1e9)
    prefill = sum(one.end_ns - one.start_ns for one in parsed.of("phase") if one.name == "prefill")
    first = np.where(np.isnan(first), parsed.of("about")[0].end_ns / 1e9, first)
    assert prefill / 1e9 == pytest.approx(np.nansum(first - scheduled), abs=1e-6)
    steps, started, ended = rows(run, "steps", replication, "steps", "started_s", "finished_s")
    assert sum(one.args["steps"] for one in parsed.of("run")) == steps.sum()
    lasted = sum(one.end_ns - one.start_ns for one in parsed.of("run"))
    assert lasted / 1e9 == pytest.approx((ended - started).sum(), abs=1e-6)


CRITICAL = {
    ("call", "queue"): "queue_s",
    ("call", "prefill"): "prefill_s",
    ("call", "decode"): "decode_s",
    ("call", "network"): "network_s",
    ("call", "network back"): "network_s",
    ("tool", "queue"): "tool_queue_s",
    ("tool", "sandbox"): "tool_queue_s",
    ("tool", "remote"): "tool_s",
    ("tool", "run"): "tool_s",
}
"""Phase of a call or a tool -> the time of its session that it is part of."""


@pytest.mark.slow
def test_where_the_time_of_a_session_goes_is_what_its_record_says(tmp_path):
    """Of sessions that do one thing at a time: there, all of it is on the critical path."""
    short = ["--set", "run.window=20 s", "--set", "run.drain=5 s", "--reps", 1, "--workers", 1]
    assert factorysim("run", "quickstart", *short, "--out", tmp_path / "run").code == 0
    assert factorysim("timeline", tmp_path / "run").code == 0
    parsed = Parsed((tmp_path / "run" / "timeline.pftrace").read_bytes())
    crowded = {track.parent_uuid for track in parsed.tracks.values()}
    compared = 0
    for session in parsed.of("session"):
        if session.args["outcome"] != "completed" or session.track in crowded:
            continue
        inside = [one for one in parsed.slices if one.track == session.track]
        spent = dict.fromkeys([*CRITICAL.values(), "gap_s"], 0)
        for around in (one for one in inside if one.depth == 1):
            if around.category == "gap":
                spent["gap_s"] += around.end_ns - around.start_ns
            for one in inside:
                if one.depth == 2 and around.start_ns <= one.start_ns < around.end_ns:
                    spent[CRITICAL[around.category, one.name]] += one.end_ns - one.start_ns
        for name, ns in spent.items():
            assert ns / 1e9 == pytest.approx(session.args[name], abs=1e-6), name
        compared += 1
    assert compared > 20


def test_sampling_is_said(run, tmp_path):
    out = tmp_path / "few.pftrace"
    told = factorysim("timeline", run, "--sessions", 5, "--from", "1 min", "--to", 90, "--out", out)
    assert "sampled: 5 of " in told.out
    parsed = Parsed(out.read_bytes())
    assert len(parsed.of("session")) == 5
    assert parsed.metadata["factorysim.window"].startswith("60 s to 90 s of ")
    edges = [at for one in parsed.slices for at in (one.start_ns, one.end_ns)]
    assert min(edges) == 60 * 10**9
    assert max(edges) == 90 * 10**9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--replication", 9], "--replication: found 9, expected one of the run's (2 in"),
        (["--from", "soon"], "--from: found 'soon', expected an instant of the run"),
        (["--from", "-1 s"], "--from: found '-1 s', expected an instant of the run"),
        (["--to", "5 W"], "--to: found '5 W', expected an instant of the run"),
        (["--from", "9 h"], "expected part of the run, which lasts"),
        (["--from", "60", "--to", "30"], "found nothing from 60 s to 30 s"),
        (["--out", "nowhere/at/all.pftrace"], "expected a place to write"),
    ],
)
def test_a_slip_is_told_with_its_cure(run, words, said):
    told = factorysim("timeline", run, *words)
    assert told.code == 2
    assert said in told.err


def test_a_directory_that_is_no_run_is_told(tmp_path):
    told = factorysim("timeline", tmp_path)
    assert told.code == 2
    assert "expected a run directory" in told.err


def test_the_run_is_not_written_over(run):
    told = factorysim("timeline", run, "--out", run / "calls.parquet")
    assert told.code == 2
    assert "a file that is read" in told.err


def test_transfers_name_nodes_as_show_does(tmp_path):
    """Prompts so long that they are transfers and not messages."""
    text = changed("prompt_tokens: {mean: 1}", "prompt_tokens: {mean: 40000}")
    text = changed("token_budget: 16", "token_budget: 65536", text)
    (tmp_path / "long.yaml").write_text(text, encoding="utf-8")
    run, out = tmp_path / "run", tmp_path / "one.pftrace"
    words = ("run", tmp_path / "long.yaml", "--reps", 1, "--workers", 1, "--quiet", "--out", run)
    assert factorysim(*words).code == 0
    assert factorysim("timeline", run, "--out", out).code == 0
    told = factorysim("show", run / "scenario.resolved.yaml", "--format", "graphml")
    names = re.findall('<node id="([^"]*)"', told.out)
    source, target, started = rows(run, "transfers", 0, "src", "dst", "started_s")
    expected = sorted(
        (round(at * 1e9), names[a], names[b])
        for a, b, at in zip(source, target, started, strict=True)
    )
    moved = Parsed(out.read_bytes()).of("transfers")
    assert len(moved) > 0
    assert sorted((one.start_ns, one.args["src"], one.args["dst"]) for one in moved) == expected
