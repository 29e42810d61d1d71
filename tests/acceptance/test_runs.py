"""Runs and comparisons as a user meets them: what is written, and what it depends on."""

import json
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from factorysim.metrics.names import METRICS
from tests.acceptance.program import SMALL, changed, factorysim, separate

FILES = {
    *("manifest.json", "scenario.resolved.yaml", "summary.json", "metrics.parquet"),
    *("sessions.parquet", "calls.parquet", "tools.parquet", "steps.parquet", "gaps.parquet"),
    *("transfers.parquet", "timeseries.parquet", "power.parquet", "events.parquet"),
    *("handoffs.parquet", "tiers.parquet", "sandboxes.parquet", "links.parquet", "report.html"),
}
TIMES = ("--set", "run.window=100 s", "--set", "run.drain=20 s")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a scenario, and a run of it in `first`."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "case.yaml").write_text(SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("case.yaml", "first")
    return folder


@pytest.fixture(autouse=True)
def there(home, monkeypatch):
    monkeypatch.chdir(home)


def run(scenario, out, *options):
    """Run and give the manifest."""
    done = factorysim("run", scenario, "--out", out, "--workers", "1", "--quiet", *options)
    assert done.code == 0, done.err
    return manifest_of(out)


def manifest_of(place):
    return json.loads(Path(place, "manifest.json").read_text(encoding="utf-8"))


def test_a_run_directory_holds_what_the_design_says(home):
    assert {path.name for path in (home / "first").iterdir()} == FILES
    for path in (home / "first").glob("*.parquet"):
        assert "replication" in pd.read_parquet(path).columns
    assert set(pd.read_parquet(home / "first" / "calls.parquet")["replication"]) == {0, 1}


def test_the_manifest_tells_how_to_repeat_the_run(home):
    told = manifest_of("first")
    assert told["schema"] == "factorysim.run/1"
    assert told["scenario"]["name"] == "case"
    assert told["scenario"]["question"] == "How long does a call wait for one GPU?"
    assert (told["seed"], told["replications_asked"], told["interrupted"]) == (7, 2, False)
    assert told["window"] == {"start_s": 20.0, "end_s": 220.0}
    assert told["horizon_s"] == 270.0
    assert set(told["outputs"]) == {
        name.removesuffix(".parquet") for name in FILES if name.endswith("parquet")
    }
    assert all(line["ok"] for one in told["replications"] for line in one["audit"])
    assert {"factorysim", "python", "os", "cpu", "catalog_sha256", "assumed_facts"} <= told.keys()


def test_the_summary_has_every_stable_name_and_no_number_without_a_value(home):
    summary = json.loads((home / "first" / "summary.json").read_text())
    for name, line in summary.items():
        keys = {"value", "ci_low", "ci_high", "n", "reason", "model_low", "model_high"}
        assert set(line) == keys, name
        assert line["value"] is not None or line["reason"], name
    named = {metric for metric in METRICS if metric.islower()}  # not utilization.POOL
    assert named - summary.keys() == set()
    arrived = summary["calls.arrived"]["value"]
    assert arrived == pytest.approx(
        sum(summary[f"calls.{how}"]["value"] for how in ("completed", "rejected", "failed"))
        + summary["calls.censored"]["value"]
    )
    assert 70 < arrived < 130  # Poisson: 100 calls in the window, three standard deviations


def test_the_resolved_scenario_says_the_same_and_gives_the_same(home):
    again = run("first/scenario.resolved.yaml", "again")
    first = manifest_of("first")
    assert again["outputs"] == first["outputs"]
    assert again["scenario"]["sha256"] == first["scenario"]["sha256"]
    texts = [(home / name / "scenario.resolved.yaml").read_bytes() for name in ("first", "again")]
    assert texts[0] == texts[1]


def test_another_seed_gives_other_calls():
    other, first = run("case.yaml", "seeded", "--seed", "8"), manifest_of("first")
    assert other["seed"] == 8
    assert other["outputs"]["calls"] != first["outputs"]["calls"]


def test_a_replication_does_not_depend_on_how_many_there_are(home):
    run("case.yaml", "more", "--reps", "3")
    less, more = (pd.read_parquet(home / name / "calls.parquet") for name in ("first", "more"))
    pd.testing.assert_frame_equal(more[more["replication"] < 2].reset_index(drop=True), less)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(home):
    for workers in (1, 2):
        words = ("run", "case.yaml", "--workers", workers, "--out", f"by{workers}", "--quiet")
        assert separate(*words, cwd=home).code == 0
    one, two = manifest_of("by1"), manifest_of("by2")
    assert one["outputs"] == two["outputs"] == manifest_of("first")["outputs"]
    summaries = [(home / name / "summary.json").read_bytes() for name in ("by1", "by2")]
    assert summaries[0] == summaries[1]


def test_both_clocks_give_the_same_calls_and_sessions():
    """On an LLM that makes tokens, so that there are runs of steps to lose something in."""
    words = (*TIMES, "--reps", "1", "--set", "streams.calls.calls.output_tokens.mean=60")
    words += ("--set", "deployments.queue.law={kind: roofline, prompt: null}")
    words += ("--set", "serving={max_sequences: 8, token_budget: 64}")
    words += ("--set", "streams.calls.calls.prompt_tokens={kind: uniform, mean: 300, spread: 0.5}")
    words += ("--set", "streams.calls.arrivals.rate=20 /s")
    quick = run("case.yaml", "quick", *words)
    steps = run("case.yaml", "steps", *words, "--set", "run.clock=stepwise")
    for table in ("calls", "sessions", "tools", "transfers"):
        assert quick["outputs"][table] == steps["outputs"][table], table
    assert quick["replications"][0]["steps"] == steps["replications"][0]["steps"]
    assert quick["events"] < steps["events"]
    told = [json.loads(Path(name, "summary.json").read_text()) for name in ("quick", "steps")]
    for name, one in told[0].items():
        # Of a run of steps, the blocks in its middle.
        far = 1e-3 if name.startswith("saturation") else 1e-12
        other = told[1][name]["value"]
        same = one["value"] == other
        assert same or one["value"] == pytest.approx(other, rel=far), name


def test_json_is_summary_json_to_the_byte(home):
    done = factorysim("run", "case.yaml", "--out", "json", "--workers", "1", "--json")
    assert done.out == (home / "json" / "summary.json").read_text(encoding="utf-8")
    assert done.err == ""


def test_quiet_is_short_and_the_report_tells_intervals_and_audit(home):
    loud = factorysim("run", "case.yaml", "--out", "loud", "--workers", "1")
    calm = factorysim("run", "case.yaml", "--out", "calm", "--workers", "1", "--quiet")
    assert len(calm.out.splitlines()) < 10 < len(loud.out.splitlines())
    assert "laws of conservation hold in every replication" in loud.out
    assert "2 replications, seed 7" in loud.out
    assert loud.err == calm.err == ""


def test_calls_that_no_replica_can_hold_are_not_passed_over():
    words = ("--set", "streams.calls.calls.prompt_tokens.mean=1e8", "--quiet", "--workers", "1")
    assert "Rejected: 100 % of calls" in factorysim("run", "case.yaml", *words).out


def test_a_run_replaces_an_earlier_run_whole(home):
    run("case.yaml", "twice")
    (home / "twice" / "notes.txt").write_text("of the earlier run")
    assert run("case.yaml", "twice", "--seed", "9")["seed"] == 9
    assert {path.name for path in (home / "twice").iterdir()} == FILES
    assert not list(home.glob(".*"))


def test_a_shipped_topology_may_be_swapped_from_the_command_line():
    told = run("case.yaml", "swapped", *TIMES, "--set", "topology=teaching/one-gpu", "--reps", "1")
    assert told["replications_asked"] == 1
    assert told["window"]["end_s"] == 120.0


# Comparisons


@pytest.fixture(scope="module")
def two(home):
    """The same demand on one server, and on two."""
    racks = "{schema: factorysim.topology/1, racks: {gpu: {rack: h100_sxm, count: 2}}}"
    (home / "two.yaml").write_text(changed("teaching/mm1", racks))
    return "two.yaml"


compare = partial(factorysim, "compare", "case.yaml")


def test_differences_are_paired_replication_by_replication(two, home):
    done = compare(two, "--workers", "1", "--json", "--out", "both", "--reps", "4")
    assert done.code == 0
    [told] = json.loads(done.out)
    assert json.loads((home / "both" / "comparison.json").read_text())["comparisons"] == [told]
    came = [arrivals(home / "both" / name / "calls.parquet") for name in ("case", "two")]
    assert came[0] == came[1]  # common random numbers
    mean = told["metrics"]["ttft_s.mean"]
    assert mean["difference"] == pytest.approx(mean["b"] - mean["a"])
    assert mean["ci_low"] < mean["difference"] < mean["ci_high"]
    assert mean["variance_reduction"] > 1
    assert mean["ratio"] == pytest.approx(mean["b"] / mean["a"])
    assert told["metrics"]["calls.arrived"]["difference"] == 0


def arrivals(path):
    calls = pd.read_parquet(path)
    return sorted(zip(calls["replication"], calls["arrived_s"], strict=True))


def test_an_overloaded_side_gives_a_verdict_and_no_ratio(two):
    words = ("--set", "streams.calls.arrivals.rate=1.5 /s", "--set", "run.window=1000 s")
    done = compare(two, *words, "--workers", "1", "--json")
    [told] = json.loads(done.out)
    assert told["verdict"].startswith("two sustains this demand, case does not")
    assert {pair["ratio"] for pair in told["metrics"].values()} == {None}
    words = (*words, "--workers", "1")
    assert "two sustains this demand, case does not" in compare(two, *words, "--quiet").out


def test_comparing_a_scenario_with_itself_finds_no_difference():
    [told] = json.loads(compare("case.yaml", "--workers", "1", "--json").out)
    gaps = {name: pair["difference"] for name, pair in told["metrics"].items()}
    assert {gap for gap in gaps.values() if gap is not None} == {0}


GPU = """
schema: factorysim.scenario/1
question: How far off may it be?
topology:
  schema: factorysim.topology/1
  racks: {gpus: {rack: DEVICE, count: 1}}
  fabric: {kind: none}
llms: {chat: {llm: llama_3_1_8b}}
deployments: {serve: {llm: chat, pool: gpus, replicas: 1}}
streams:
  calls:
    llm: chat
    calls: {prompt_tokens: {mean: 200}, output_tokens: {mean: 20}}
    arrivals: ARRIVALS
serving: {engine: vllm}
run: {window: 30 s, warmup: 5 s, drain: 5 s, replications: 2, seed: 3}
"""
LOOP, POISSON = "{process: fixed_concurrency, concurrency: 4}", "{process: poisson, rate: 2/s}"


def summary_of(home, device, arrivals):
    name = f"{device}-{arrivals[10:15]}"
    text = GPU.replace("DEVICE", device).replace("ARRIVALS", arrivals)
    (home / f"{name}.yaml").write_text(text)
    run(f"{name}.yaml", name)
    told = json.loads((home / name / "summary.json").read_text())
    return told, manifest_of(name)["model_error"]


def test_the_models_own_error_is_an_interval_of_its_own(home):
    told, error = summary_of(home, "h100_sxm", LOOP)
    assert (error["class"], error["reason"]) == ("seen", None)
    for name in ("ttft_s.mean", "ttft_s.p50", "tpot_s.mean", "tokens.output_per_s"):
        line = told[name]
        assert line["model_low"] < line["value"] < line["model_high"], name
    assert told["calls.arrived"]["model_low"] is None
    assert told["tpot_s.mean"]["model_low"] < told["tpot_s.mean"]["ci_low"]


def test_tokens_that_arrivals_ask_for_have_no_model_error(home):
    told, _ = summary_of(home, "h100_sxm", POISSON)
    assert told["tokens.output_per_s"]["model_low"] is None
    assert told["tpot_s.mean"]["model_low"] is not None


def test_what_was_never_compared_or_is_given_has_no_band_and_says_why(home):
    told, error = summary_of(home, "epyc_9965", LOOP)
    assert "no measurement of serving on CPUs" in error["reason"]
    assert {line["model_low"] for line in told.values()} == {None}
    assert "the scenario gives the step times" in manifest_of("first")["model_error"]["reason"]


def test_the_terminal_tells_the_models_own_error_in_one_line(home):
    summary_of(home, "h100_sxm", LOOP)
    done = factorysim("run", "h100_sxm-fixed.yaml", "--out", "again", "--workers", "1")
    text = " ".join(done.out.split())
    assert "Model error: seen (80 %): TTFT " in text
