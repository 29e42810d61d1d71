"""One verb, from a scenario to a run directory."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from factorysim.errors import AuditError, OutputError
from factorysim.metrics.summary import Line
from factorysim.records import TABLES, AuditLine
from factorysim.run import Interrupted, Run, simulate
from tests.unit.run.builders import mm1
from tests.unit.store.test_sink import FullDisk


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate(mm1(), out=tmp_path_factory.mktemp("runs") / "mm1", workers=1, name="mm1")


def test_the_run_directory_is_complete(run):
    tables = {f"{name}.parquet" for name in (*TABLES, "metrics", "power")}
    others = {"manifest.json", "summary.json", "scenario.resolved.yaml"}
    assert {path.name for path in run.path.iterdir()} == tables | others
    assert [path.name for path in run.path.parent.iterdir()] == ["mm1"]


def test_the_summary_says_what_the_tables_hold(run):
    assert isinstance(run.summary["ttft_s.mean"], Line)
    calls = run.calls
    measured = calls[(calls.arrived_s >= 20) & (calls.arrived_s < 220)]
    ttft = (measured.first_token_s - measured.arrived_s).groupby(measured.replication).mean()
    assert run.summary["ttft_s.mean"].value == pytest.approx(ttft.mean())
    assert run.summary["ttft_s.mean"].n == 3
    arrived = measured.groupby("replication").size().mean()
    assert run.summary["calls.arrived"].value == pytest.approx(arrived)
    assert run.summary["ttft_s.p99"].value is None


def test_every_table_reads_as_a_frame_with_its_replications(run):
    for name in ("sessions", "calls", "steps", "timeseries", "metrics", "power"):
        frame = getattr(run, name)
        assert isinstance(frame, pd.DataFrame)
        assert set(frame["replication"]) == {0, 1, 2}, name
    for name in TABLES:
        assert "replication" in getattr(run, name).columns


def test_links_carry_what_was_sent_in_the_measured_window():
    """Prompts of 80 kB, as transfers tell of them; the first 20 s and the drain are left out."""
    plain = mm1(window="60 s", drain="20 s", replications=2)
    stream = plain.streams["calls"]
    sized = stream.calls.model_copy(
        update={"prompt_tokens": stream.calls.prompt_tokens.model_copy(update={"mean": 20_000.0})}
    )
    run = simulate(
        plain.model_copy(
            update={
                "streams": {"calls": stream.model_copy(update={"calls": sized})},
                "serving": plain.serving.model_copy(update={"token_budget": 20_000}),
            }
        ),
        workers=1,
    )
    sent = run.transfers
    assert set(sent.size_bytes) == {80_000}
    measured = sent[(sent.started_s >= 20) & (sent.finished_s < 80)]
    assert (sent.finished_s < 20).sum() > 5
    assert (sent.started_s >= 80).sum() > 5
    for replication, rows in run.links.groupby("replication"):
        expected = (measured.replication == replication).sum() * 80_000
        assert rows.carried_bytes.tolist() == pytest.approx([expected] * len(rows))
    assert set(run.links.replication) == {0, 1}


def test_the_manifest_is_enough_to_repeat_the_run(run):
    manifest = run.manifest
    assert manifest["schema"] == "factorysim.run/1"
    assert manifest["seed"] == 7
    assert manifest["window"] == {"start_s": 20.0, "end_s": 220.0}
    assert manifest["warmup"]["how"] == "given"
    assert [line["replication"] for line in manifest["replications"]] == [0, 1, 2]
    assert set(manifest["outputs"]) == {*TABLES, "metrics", "power"}
    assert manifest["events"] > 0
    assert manifest["interrupted"] is False
    assert all(run.audit.values())
    assert len(run.audit) > 5
    assert "'mm1'" in repr(run)


@pytest.mark.slow
def test_the_same_bytes_for_any_number_of_workers(run, tmp_path):
    apart = simulate(mm1(), out=tmp_path / "apart", workers=2, name="mm1")
    assert apart.manifest["outputs"] == run.manifest["outputs"]
    assert (apart.path / "summary.json").read_bytes() == (run.path / "summary.json").read_bytes()
    for table in TABLES:
        name = f"{table}.parquet"
        assert (apart.path / name).read_bytes() == (run.path / name).read_bytes()


def test_the_resolved_scenario_gives_the_same_run_again(run, tmp_path):
    again = simulate(run.path / "scenario.resolved.yaml", out=tmp_path / "again", workers=1)
    assert again.manifest["outputs"] == run.manifest["outputs"]


def test_another_seed_is_another_demand(run):
    other = simulate(mm1(seed=8), workers=1)
    assert other.manifest["outputs"]["calls"] != run.manifest["outputs"]["calls"]


def test_replications_differ(run):
    assert run.calls.groupby("replication").arrived_s.first().nunique() == 3


def test_without_a_place_the_tables_live_as_long_as_the_run():
    run = simulate(mm1(replications=1), workers=1)
    path = run.path
    assert len(run.calls) > 0
    assert run.summary["ttft_s.mean"].ci_low is None
    del run
    assert not path.exists()


def test_a_terminating_run_deletes_nothing_and_lets_the_queue_empty():
    run = simulate(mm1(kind="terminating", replications=2, drain="500 s"), workers=1)
    assert run.manifest["warmup"]["seconds"] == 0.0
    assert run.manifest["overload"] is None
    assert run.calls.arrived_s.max() < 200
    assert set(run.calls.outcome) == {"completed"}


def test_pilots_fix_the_warm_up_and_leave_no_rows():
    run = simulate(mm1(warmup="auto", window="1000 s", replications=1), workers=1)
    assert run.manifest["warmup"]["how"] == "mser5"
    assert 0 <= run.manifest["warmup"]["seconds"] < 500
    assert set(run.calls.replication) == {0}


def test_an_overloaded_queue_withholds_steady_values():
    run = simulate(mm1(rate="1.5 /s", window="400 s"), workers=1)
    assert run.manifest["overload"]["state"] == "overloaded"
    assert run.summary["ttft_s.mean"].value is None
    assert "pile up" in str(run.summary["ttft_s.mean"].reason)
    assert run.summary["tokens.output_per_s"].value is not None
    assert run.summary["saturation"].value == pytest.approx(1.0, abs=0.02)


def stop_after(count):
    def progress(state):
        if state.phase == "replications" and state.done >= count:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_is_finished(tmp_path, workers):
    with pytest.raises(Interrupted, match="1 of 3 replications") as caught:
        simulate(mm1(), out=tmp_path / "a", workers=workers, progress=stop_after(1))
    assert isinstance(caught.value, KeyboardInterrupt)
    kept = Run(tmp_path / "a")
    assert kept.manifest["interrupted"] is True
    assert len(kept.manifest["replications"]) == 1
    assert kept.calls.replication.nunique() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_ctrl_c_before_the_first_replication_leaves_nothing(tmp_path):
    with pytest.raises(Interrupted, match="nothing was kept"):
        simulate(mm1(), out=tmp_path / "a", workers=1, progress=stop_after(0))
    assert list(tmp_path.iterdir()) == []


def test_a_broken_law_is_named_with_both_numbers(tmp_path, monkeypatch):
    from factorysim.sim import factory

    genuine = factory.run_replication

    def leaky(*args, **options):
        closing = genuine(*args, **options)
        leak = AuditLine("blocks freed", False, 10.0, 9.0, "replica 0")
        return closing._replace(audit=(*closing.audit, leak))

    monkeypatch.setattr(factory, "run_replication", leaky)
    told = r"replication 0 .*blocks freed: expected 10.0, got 9.0 \(replica 0\)"
    with pytest.raises(AuditError, match=told):
        simulate(mm1(), out=tmp_path / "a", workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(pq, "ParquetWriter", FullDisk)
    with pytest.raises(OutputError, match="no space left"):
        simulate(mm1(), out=tmp_path / "a", workers=1)
    assert list(tmp_path.iterdir()) == []


def test_a_place_with_other_things_is_refused_before_anything_runs(tmp_path, monkeypatch):
    (tmp_path / "thesis.tex").write_text("years of work")
    monkeypatch.setattr("factorysim.run.replicate.run_jobs", None)
    with pytest.raises(OutputError, match="other things"):
        simulate(mm1(), out=tmp_path, workers=1)


def test_a_users_router_is_asked_and_its_source_is_in_the_manifest():
    asked = []

    def first(view):
        asked.append(1)
        return 0

    scenario = mm1(servers=2, replications=2)
    router = {"policy": "round_robin"}
    serving = scenario.serving.model_copy(
        update={"router": type(scenario.serving.router).model_validate(router)}
    )
    run = simulate(
        scenario.model_copy(update={"serving": serving}),
        workers=2,
        policies={"router": lambda *view: first(view)},
    )
    assert asked
    assert set(run.calls.replica) == {0}
    assert set(run.manifest["policies"]) == {"router"}


def test_summary_json_is_the_summary(run):
    lines = json.loads((run.path / "summary.json").read_text())
    assert lines["ttft_s.mean"] == run.summary["ttft_s.mean"]._asdict()
    assert all(line["reason"] for line in lines.values() if line["value"] is None)


def test_energy_of_the_steps_is_the_meters():
    """The columns of `steps` and the meter of the simulation are kept apart."""
    from factorysim.run.prepare import prepare

    scenario = mm1(kind="terminating", replications=1, drain="500 s")
    idle_w = prepare(scenario).layout.stations[0].idle_w
    run = simulate(scenario, workers=1)
    in_steps_s = (run.steps.finished_s - run.steps.started_s).sum()
    joules = run.steps.active_j.sum() + idle_w * in_steps_s
    assert run.steps.active_j.sum() > 0
    assert joules == pytest.approx(run.power.accelerator_j.sum(), rel=1e-9)
    total = run.power.drop(columns=["replication", "place"]).sum().sum()
    factory = run.timeseries[(run.timeseries.place == "factory")]
    assert factory.value.mean() * 700.0 == pytest.approx(total, rel=1e-9)


def test_progress_adds_up_to_the_whole():
    told = []
    run = simulate(mm1(), workers=1, progress=told.append)
    last = [state for state in told if state.phase == "replications"][-1]
    assert (last.done, last.total) == (3, 3)
    assert last.simulated_s == last.of_s == pytest.approx(3 * 270.0)
    assert last.sessions == len(run.sessions)


def test_metrics_of_two_runs_can_be_held_against_each_other(run, tmp_path):
    """Categories of the one are not those of the other: pandas would refuse to compare them."""
    more = simulate(mm1(servers=2, replications=2), out=tmp_path / "more", workers=1)
    means = [
        one.metrics.groupby(["by", "key", "name"]).value.mean().xs("stream").loc["calls"]
        for one in (run, more)
    ]
    assert (means[0] >= means[1])["ttft_s.mean"]
