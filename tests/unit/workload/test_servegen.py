"""Pools of clients: what their files say, what is refused, and calls drawn from them."""

import gzip
import json
from itertools import islice, takewhile
from pathlib import Path

import pytest

from factorysim.errors import TraceError
from factorysim.spec.stream import StreamSpec
from factorysim.workload import servegen
from factorysim.workload.demand import build_demand
from factorysim.workload.notes import demand_notes
from factorysim.workload.servegen import client_files, read_pool
from tests.unit.sim.builders import scenario

IDLE = "0,0,,0,0"
LENGTHS = {"input_tokens": "{10: 0.25, 20: 0.75}", "output_tokens": "{0: 0.5, 7: 0.5}"}
NONE = {"input_tokens": "{}", "output_tokens": "{}"}


def client(folder: Path, name: str, rows: list[str], dataset: object = None, *, packed=False):
    text = "".join(f"{600 * i},{row}\n" for i, row in enumerate(rows))
    if packed:
        (folder / f"{name}-trace.csv.gz").write_bytes(gzip.compress(text.encode()))
    else:
        (folder / f"{name}-trace.csv").write_text(text)
    if dataset is not None:
        written = dataset if isinstance(dataset, str) else json.dumps(dataset, indent=2)
        (folder / f"{name}-dataset.json").write_text(written)


@pytest.fixture
def folder(tmp_path):
    rows = ["0.5,1,Gamma,9,9", IDLE, "0.25,2,Weibull,9,9", IDLE]
    client(tmp_path, "chunk-1", rows, {"0": LENGTHS, "1200": NONE, "600": NONE})
    busy = {"0": NONE, "1200": LENGTHS | {"input_tokens": "{99: 1.0}", "reason_ratio": "{}"}}
    client(tmp_path, "chunk-2", ["2,0.5,Gamma,1,1"] * 4, busy, packed=True)
    client(tmp_path, "chunk-9", ["1,1,Gamma,1,1"] * 4)
    return tmp_path


def sessions(folder, until_s, **keys):
    spec = StreamSpec.model_validate({"llm": "l", "clients": {"folder": str(folder)} | keys})
    drawn = build_demand("s", spec, seed=3, replication=0).sessions()
    return list(takewhile(lambda one: one.at_ns < until_s * 1e9, drawn))


def test_a_pool_has_its_clients_by_their_calls(folder):
    pool = read_pool(folder)
    assert [one.name for one in pool.clients] == ["chunk-2", "chunk-1"]
    assert (pool.window_s, pool.length_s, pool.rate) == (600.0, 2400.0, 2.0 + 0.75 / 4)
    assert pool.without_lengths == ["chunk-9"]
    assert pool.left_share == pytest.approx(4 / 12.75)
    assert pool.clients[1].windows[2] == (0.25, 2.0, "weibull")
    assert [one.name for one in read_pool(folder, 1).clients] == ["chunk-2"]


def test_calls_are_of_clients_that_are_awake_and_as_long_as_theirs(folder):
    seen = sessions(folder, 4800)
    assert [one.at_ns for one in seen] == sorted(one.at_ns for one in seen)
    assert len({one.sid for one in seen}) == len(seen)
    mine = [one for one in seen if one.client == "chunk-1"]
    assert {int(one.at_ns / 600e9) % 4 for one in mine} == {0, 2}
    assert {one.nodes[0].prompt_tokens for one in mine} == {10, 20}
    assert {one.nodes[0].output_tokens for one in mine} == {1, 7}
    others = [one for one in seen if one.client == "chunk-2"]
    # The first lengths that there are stand for the time before them.
    assert {one.nodes[0].prompt_tokens for one in others} == {99}


def test_start_shifts_the_clock_and_times_scales_the_rates(folder):
    base, later = sessions(folder, 2400), sessions(folder, 1800, start="10 min")
    cut = [one.at_ns - 600 * 10**9 for one in base if one.at_ns >= 600 * 10**9]
    assert [one.at_ns for one in later] == pytest.approx(cut, abs=2)
    fast = sessions(folder, 2400, times=3.0)
    assert len(fast) == pytest.approx(3 * len(base), rel=0.1)
    first = {one.sid: one.nodes for one in base}
    common = [one for one in fast if one.sid in first and one.client == "chunk-2"]
    assert len(common) > 1000
    assert all(one.nodes == first[one.sid] for one in common)


def test_a_reader_is_told_who_was_left_out(folder):
    stream = StreamSpec.model_validate({"llm": "l", "clients": {"folder": str(folder)}})
    [note] = demand_notes(scenario().model_copy(update={"streams": {"s": stream}}))
    assert note.startswith("streams.s: 1 clients")
    assert "31% of the folder's calls" in note


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["0.5,1,Gamma,1"], "5 fields"),
        (["0.5,x,Gamma,1,1"], "no number"),
        (["nan,1,Gamma,1,1"], "no number"),
        (["0.5,1,Pareto,1,1"], "Gamma, Weibull, or nothing"),
        (["0.5,0,Gamma,1,1"], "a cv from 0.01"),
        (["0.5,1,Gamma,1,1"], "at least two"),
    ],
)
def test_bad_windows_are_refused_at_their_line(tmp_path, rows, message):
    client(tmp_path, "chunk-1", rows, {"0": LENGTHS})
    with pytest.raises(TraceError, match=message) as bad:
        read_pool(tmp_path)
    assert "chunk-1-trace.csv" in str(bad.value)


def test_windows_of_other_lengths_are_refused(tmp_path):
    (tmp_path / "chunk-1-trace.csv").write_text(f"0,{IDLE}\n600,{IDLE}\n1300,{IDLE}\n")
    with pytest.raises(TraceError, match=r"trace\.csv:3: window_start_s: found 1300"):
        read_pool(tmp_path)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("{", "broken JSON"),
        ('{\n"0": 1,\n}', "at line 3, column 1"),
        ("[]", "a list of 0, expected a JSON object"),
        ("[" * 100_000, "broken JSON"),
        (f'{{"0": [{"[]," * 3_000_000}0]}}', "a row whose values would take"),
        ('{"0": 1, "0": 2}', "a key twice"),
        ('{"0": NaN}', "no number"),
        ({"0": {"input_tokens": "{1: 1.0}"}}, "dict literal"),
        ({"0": LENGTHS | {"input_tokens": "__import__('os').getcwd()"}}, "dict literal"),
        ({"0": LENGTHS | {"input_tokens": "{1: 0.5}"}}, "a sum of 0.5"),
        ({"0": LENGTHS | {"input_tokens": "{1: 2.0, 3: -1.0}"}}, "sum to 1"),
        ({"0": LENGTHS | {"input_tokens": "{1: 0.5, -3: 0.5}"}}, "' -3: 0.5'"),
        ({"0": LENGTHS | {"input_tokens": "{1e9: 1.0}"}}, "dict literal"),
        ({"0": LENGTHS | {"input_tokens": "{999999999: 1.0}"}}, "at most 100,000,000 tokens"),
        ({"x": LENGTHS}, "window_start_s"),
        ({"0": NONE}, "no client with lengths"),
    ],
)
def test_bad_lengths_are_refused_and_never_evaluated(tmp_path, dataset, message):
    client(tmp_path, "chunk-1", ["0.5,1,Gamma,1,1"] * 2, dataset)
    with pytest.raises(TraceError, match=message):
        read_pool(tmp_path)


def test_values_of_all_windows_of_a_client_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(servegen, "VALUES_MOST", 5)
    client(tmp_path, "chunk-1", ["0.5,1,Gamma,1,1"] * 2, {"0": LENGTHS})
    read_pool(tmp_path)
    windows = {"0": LENGTHS, "600": LENGTHS}
    client(tmp_path, "chunk-1", ["0.5,1,Gamma,1,1"] * 2, windows)
    with pytest.raises(TraceError, match="at most 5 of a client"):
        read_pool(tmp_path)


def test_faults_of_all_clients_are_told_and_their_number_is_right(tmp_path):
    for name in range(23):
        client(tmp_path, f"chunk-{name}", ["0.5,1,Gamma,1,1"] * 2, {"x": LENGTHS})
    with pytest.raises(TraceError) as caught:
        read_pool(tmp_path)
    assert len({fault.where for fault in caught.value.faults[:20]}) == 20
    assert caught.value.faults[20].found == "3 more faults"


def test_files_that_lead_elsewhere_are_refused(tmp_path, folder):
    (tmp_path / "in").mkdir()
    link = tmp_path / "in" / "chunk-3-trace.csv"
    link.symlink_to(folder / "chunk-1-trace.csv")
    with pytest.raises(TraceError, match="a link out of its folder"):
        client_files(tmp_path / "in")
    link.unlink()
    with pytest.raises(TraceError, match="found 0 of them"):
        client_files(tmp_path / "in")


def test_a_folder_that_changes_is_read_again(folder):
    assert len(read_pool(folder).clients) == 2
    client(folder, "chunk-9", ["1,1,Gamma,1,1"] * 4, {"0": LENGTHS})
    assert len(read_pool(folder).clients) == 3


def test_a_limit_and_a_share_hold_for_clients(folder):
    spec = StreamSpec.model_validate(
        {"llm": "l", "clients": {"folder": str(folder)}, "limit": 200, "share": "50 %"}
    )
    seen = list(islice(build_demand("s", spec, seed=3, replication=0).sessions(), 999))
    assert 60 < len(seen) < 140
