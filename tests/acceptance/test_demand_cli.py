"""Replay, arrivals and clients from the command line: runs that keep every law, and refusals."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.acceptance.program import factorysim

SHORT = (
    "--set",
    "run.window=2 min",
    "--set",
    "run.drain=30 s",
    "--reps",
    "2",
    "--quiet",
    "--workers",
    "1",
)
DATASET = {"0": {"input_tokens": "{300: 0.5, 900: 0.5}", "output_tokens": "{20: 1.0}"}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def ran(name, *changes):
    words = [word for change in changes for word in ("--set", change)]
    code, _, err = factorysim("run", name, *SHORT, *words, "--out", "out")
    assert (code, err) == (0, "")
    manifest = json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))
    broken = [line for one in manifest["replications"] for line in one["audit"] if not line["ok"]]
    assert broken == []
    return manifest, pd.read_parquet("out/sessions.parquet")


def refused(*command):
    code, _, err = factorysim(*command)
    assert code == 2
    return " ".join(err.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (["streams.calls.mode=open"], "mode: open"),
        (["streams.calls.arrivals={process: fitted}"], "arrivals fitted to its trace"),
        (["streams.calls.loop={period: 10 min}", "streams.calls.speed=10"], ""),
        (["streams.calls.replicate=block_bootstrap", "streams.calls.block_length=20 s"], ""),
    ],
)
def test_a_trace_is_replayed_in_many_ways(changes, note):
    manifest, sessions = ran("replay", *changes)
    assert any(note in told for told in manifest["notes"]) or not note
    assert len(sessions) > 100
    assert (sessions.outcome == "completed").mean() > 0.9


def test_what_a_trace_cannot_be_replayed_as_is_told_before_a_run():
    text = "schema: factorysim.scenario/1\nextends: replay\nstreams: {calls: {mode: closed}}\n"
    Path("closed.yaml").write_text(text)
    told = refused("validate", "closed.yaml")
    assert "no call of the first 64 sessions waits for another" in told
    assert "mode: open" in told


def test_clients_come_from_a_folder(tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "chunk-1-trace.csv").write_text("0,2,2,Gamma,1,1\n600,0,0,,0,0\n")
    (folder / "chunk-1-dataset.json").write_text(json.dumps(DATASET))
    (folder / "chunk-2-trace.csv").write_text("0,2,1,Gamma,1,1\n600,0,0,,0,0\n")
    changes = ["streams.calls.trace=null", "streams.calls.replicate=none"]
    clients = f"streams.calls.clients={{folder: {folder}, times: 2}}"
    manifest, sessions = ran("replay", *changes, clients)
    assert 640 < len(sessions) < 1280  # 960 in the mean
    assert any("1 clients of pool have no lengths" in note for note in manifest["notes"])
    assert sum("chunk-1" in one["path"] for one in manifest["inputs"]) == 2
    folder.rename("elsewhere")
    told = refused("run", "replay", *(w for c in (*changes, clients) for w in ("--set", c)))
    assert "a folder of clients" in told


def test_a_rate_that_changes_has_no_steady_state():
    told = refused("run", "burst", "--set", "run.kind=steady_state", "--quiet")
    assert "run.kind: found steady_state, expected terminating" in told


@pytest.mark.slow
def test_a_share_of_a_burst_is_part_of_it():
    _, all_of_them = ran("burst", "streams.code.arrivals.rate=60 /min")
    _, some = ran("burst", "streams.code.arrivals.rate=60 /min", "streams.code.share=40 %")
    came = all_of_them.set_index(["replication", "arrived_s"]).index
    assert some.set_index(["replication", "arrived_s"]).index.isin(came).all()
    assert 0.2 < len(some) / len(all_of_them) < 0.6


@pytest.mark.slow
def test_a_burst_of_agents_is_felt_in_decoding_long_after_its_queue_is_gone():
    """What docs/arrivals.md says of `burst`, from two of its replications."""
    seen = {}
    for name, times in (("burst", 10.0), ("calm", 1.0)):
        words = ("--set", f"streams.code.arrivals.spikes.launch.times={times}")
        words += ("--set", "run.window=22 min", "--set", "run.drain=0 s", "--reps", "2")
        code, _, _ = factorysim("run", "burst", *words, "--quiet", "--out", name)
        assert code == 0
        calls = pd.read_parquet(f"{name}/calls.parquet")
        calls["ttft"] = calls.first_token_s - calls.arrived_s
        calls["tpot"] = (calls.last_token_s - calls.first_token_s) / (calls.output_tokens - 1)
        seen[name] = calls.groupby((calls.arrived_s // 120).astype(int))
    ttft, tpot = (
        {name: of[key].quantile(share) for name, of in seen.items()}
        for key, share in (("ttft", 0.95), ("tpot", 0.5))
    )
    assert ttft["burst"][4] == ttft["calm"][4]
    assert ttft["burst"][5] > 2 * ttft["calm"][5]
    assert ttft["burst"][6] < 1.5 * ttft["calm"][6]
    assert tpot["burst"][6] > 2 * tpot["calm"][6]
    assert tpot["burst"][10] > 1.15 * tpot["calm"][10]


def test_a_burst_tells_how_long_it_is_felt():
    spikes = "streams.code.arrivals.spikes={launch: {at: 1 min, length: 10 s, times: 10}}"
    words = ("--set", spikes, "--set", "run.window=5 min", "--reps", "1", "--workers", "1")
    code, out, err = factorysim("run", "burst", *words, "--out", "out")
    assert (code, err) == (0, "")
    assert all(f"recovery: {what}" in out for what in ("calls that wait", "calls in flight"))
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    felt = [summary[f"recovery_s.{what}"]["value"] for what in ("waiting", "calls", "sessions")]
    assert 0 <= felt[0] <= felt[1] < 230
    assert felt[2] is None
    metrics = pd.read_parquet("out/metrics.parquet")
    assert set(metrics[metrics["by"] == "spike"]["key"]) == {"code.launch"}
