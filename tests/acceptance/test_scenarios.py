"""What ships: every scenario and topology checks, shows, runs and answers; and survives edits."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from factorysim.errors import UserError
from factorysim.load import load_scenario
from factorysim.resources import resource_names, resource_path
from factorysim.run.prepare import prepare
from tests.acceptance.program import factorysim

SCENARIOS, TOPOLOGIES = resource_names("scenarios"), resource_names("topologies")
SHORT = ("--set", "run.window=20 s", "--set", "run.drain=10 s", "--set", "run.warmup=0 s")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def told(*command):
    code, out, err = factorysim(*command)
    assert (code, err) == (0, "")
    return out


def test_every_shipped_file_is_valid():
    lines = told("validate", *SCENARIOS, *TOPOLOGIES).splitlines()
    expected = [f"{name}: ok (scenario)" for name in SCENARIOS]
    assert lines == expected + [f"{name}: ok (topology)" for name in TOPOLOGIES]


@pytest.mark.parametrize("name", [*SCENARIOS, *TOPOLOGIES])
def test_every_shipped_file_opens_with_a_question_and_shows_it(name):
    text = " ".join(told("show", name).split())
    assert "? " in text[:200]
    resolved = told("show", name, "--format", "yaml")
    Path("resolved.yaml").write_text(resolved, encoding="utf-8")
    assert told("show", "resolved.yaml", "--format", "yaml") == resolved


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_shipped_scenario_runs_and_keeps_every_law(name):
    words = ("--reps", "1", "--workers", "1", "--out", "out", "--quiet")
    text = told("run", name, *SHORT, *words)
    assert text.splitlines()[0] == Path(name).stem
    manifest = json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))
    [replication] = manifest["replications"]
    broken = [line["name"] for line in replication["audit"] if not line["ok"]]
    assert broken == []
    assert len(replication["audit"]) >= 15
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    assert summary["tokens.output"]["value"] > 0


@pytest.mark.slow
def test_replay_takes_a_trace_of_the_user():
    rows = [
        json.dumps({"timestamp": 100 * i, "input_length": 900, "output_length": 40,
                    "hash_ids": [i, i + 1]})
        for i in range(400)
    ]  # fmt: skip
    Path("mine.jsonl").write_text("\n".join(rows), encoding="utf-8")
    words = ("--set", "streams.calls.trace=mine.jsonl", "--set", "streams.calls.replicate=none")
    told("run", "replay", *words, "--workers", "1", "--out", "out", "--quiet")
    summary = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    assert summary["calls.arrived"]["value"] == summary["calls.completed"]["value"] == 400
    assert summary["tokens.output"]["value"] == 400 * 40
    manifest = json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))
    assert "conditional on this trace" in manifest["conditional"]
    assert len(manifest["replications"]) == 1


@pytest.mark.slow
def test_idle_silicon_shows_what_a_rack_of_cpus_changes():
    """The same agents on the same GPUs: with CPUs enough, tools stop holding them up."""
    words = ("idle-silicon", "idle-silicon-cpu-rack", "--workers", "1", "--reps", "2")
    told("compare", *words, "--out", "both", "--quiet")
    metrics = json.loads(Path("both/comparison.json").read_text())["comparisons"][0]["metrics"]
    tools = [metrics[f"time_share.{name}"] for name in ("tool", "tool_queue")]
    wait = {side: sum(share[side] for share in tools) for side in ("a", "b")}
    assert wait["b"] < 0.8 * wait["a"]
    output = metrics["tokens.output_per_s"]
    assert output["b"] > 1.1 * output["a"]
    assert output["ci_low"] > 0
    tables = [pd.read_parquet(f"both/{name}/sessions.parquet") for name in words[:2]]
    assert len(tables[1]) > len(tables[0])


@pytest.mark.slow
def test_dpu_offload_gives_cores_back_to_tools():
    """Where tools keep the host's cores busy, what I/O work takes from them is output lost."""
    words = ("dpu-offload", "dpu-offload-host", "--workers", "1", "--reps", "2")
    told("compare", *words, "--out", "both", "--quiet")
    metrics = json.loads(Path("both/comparison.json").read_text())["comparisons"][0]["metrics"]
    output = metrics["tokens.output_per_s"]
    assert output["b"] < 0.97 * output["a"]
    assert output["ci_high"] < 0
    shares = metrics["time_share.network"]
    assert shares["b"] > 2 * shares["a"]
    cores = {
        name: json.loads(Path("both", name, "summary.json").read_text())["io_work.host_cores"]
        for name in words[:2]
    }
    assert cores["dpu-offload"]["value"] == 0
    assert cores["dpu-offload-host"]["value"] > 5


@pytest.mark.slow
def test_mixed_llms_shows_what_small_workers_bring():
    """The same demand on as many GPUs: tokens come faster and cost less where workers are small."""
    told("compare", "mixed-llms", "mixed-llms-all-large", "--reps", "2", "--out", "both", "--quiet")
    [comparison] = json.loads(Path("both/comparison.json").read_text())["comparisons"]
    assert comparison["notes"] == []  # the demand is the same
    assert comparison["devices"] == {"a": 16, "b": 16}
    metrics = comparison["metrics"]
    assert metrics["sessions.arrived"]["a"] == metrics["sessions.arrived"]["b"] > 100
    for name in ("ttft_s.mean", "tpot_s.mean", "energy.j_per_output_token.accelerator"):
        assert metrics[name]["b"] > 1.5 * metrics[name]["a"], name
    served = pd.read_parquet("both/mixed-llms/calls.parquet")
    assert set(served.deployment) == {"planner", "worker"}


@pytest.mark.slow
def test_quickstart_answers_closed_or_open():
    told("compare", "quickstart", "quickstart-open", "--reps", "2", "--out", "both", "--quiet")
    [comparison] = json.loads(Path("both/comparison.json").read_text())["comparisons"]
    assert comparison["notes"] == []  # the demand is the same
    assert comparison["devices"] == {"a": 8, "b": 8}
    metrics = comparison["metrics"]
    assert metrics["calls.arrived"]["a"] > 1000
    assert metrics["tpot_s.mean"]["difference"] > 0  # an H200 has less bandwidth than a Rubin


@pytest.mark.slow
@pytest.mark.parametrize("family", ["lpx-splits", "lpx-splits-2t"])
def test_lpx_splits_are_of_equal_power(family):
    """Within 2 %: a rack of GPUs is 7 to 9 % of such a factory."""
    watts = []
    for name in (family, f"{family}-afd", f"{family}-decode", f"{family}-draft"):
        told("run", name, "--reps", "2", "--out", name, "--quiet")
        summary = json.loads(Path(name, "summary.json").read_text(encoding="utf-8"))
        assert summary["calls.rejected"]["value"] == 0
        watts.append(summary["power.it_w.mean"]["value"])
    assert max(watts) < 1.02 * min(watts), watts


@pytest.mark.slow
def test_kv_tiers_tells_where_context_should_wait():
    """Tiers below HBM spare prompts; behind a slow link they bring them back late."""
    rows = {}
    for name in ("[hbm]", "[hbm, host, nvme]", "[hbm, host, cmx]"):
        words = ("--set", f"serving.kv.tiers={name}", "--set", "run.window=3 h", "--reps", "1")
        told("run", "kv-tiers", *words, "--workers", "1", "--out", name, "--quiet")
        rows[name] = json.loads(Path(name, "summary.json").read_text(encoding="utf-8"))
    alone, drives, cmx = rows.values()
    assert alone["time_share.kv"]["value"] is None  # not 0: there are no tiers
    assert cmx["kv.hit_rate"]["value"] > 1.2 * alone["kv.hit_rate"]["value"]
    assert cmx["ttft_s.mean"]["value"] < 0.6 * alone["ttft_s.mean"]["value"]
    assert 0 < cmx["time_share.kv"]["value"] < drives["time_share.kv"]["value"]
    moved = pd.read_parquet("[hbm, host, cmx]/metrics.parquet")
    by_tier = moved[(moved.by == "tier") & (moved.name == "kv.hit_rate")].set_index("key").value
    assert set(by_tier.index) == {"hbm", "host", "cmx"}
    assert by_tier.sum() == pytest.approx(cmx["kv.hit_rate"]["value"], rel=1e-12)


def shares_of(path, names, by="stream"):
    """Mean over replications of metrics of each stream."""
    table = pd.read_parquet(path)
    mine = table[(table.by == by) & table.name.isin(names)]
    mine = mine.astype({"key": str, "name": str})
    return mine.groupby(["key", "name"]).value.mean().unstack()


@pytest.mark.slow
def test_where_time_goes_has_the_published_shares_of_tools():
    """Section 5 of the background, and the exact search of arXiv 2511.00739."""
    text = told("run", "where-time-goes", "--reps", "2", "--details", "--out", "out")
    assert "By stream, without gaps" in text
    parts = [f"time_share.{part}" for part in ("queue", "prefill", "decode", "network", "tool")]
    shares = shares_of("out/metrics.parquet", parts)
    tools = (shares["time_share.tool"] / shares.sum(axis=1)).to_dict()
    bands = {"code": (0.36, 0.60), "service": (0.05, 0.20), "supply": (0.40, 0.70)}
    error = 0.04  # of tens of sessions with heavy tails
    for stream, (low, high) in (bands | {"rag": (0.75, 0.88)}).items():
        assert low - error < tools[stream] < high + error, stream
    assert tools["chat"] == tools["batch"] == 0


@pytest.mark.slow
def test_three_agents_shows_what_sharing_costs_and_where_it_does_not():
    """Sharing helps the bursty and hurts the short; on faster GPUs hardly."""
    names = ("three-agents", "three-agents-pooled", "three-agents-closed")
    told("compare", *names, "--reps", "2", "--out", "all", "--quiet")
    met = {
        name: shares_of(f"all/{name}/metrics.parquet", ["slo.sessions"])["slo.sessions"]
        for name in names
    }
    apart, shared, closed = met.values()
    assert apart["service"] > 0.95 > shared["service"]
    assert apart["supply"] > 0.95 > shared["supply"]
    assert shared["code"] > apart["code"] + 0.05
    assert (closed > shared - 0.02).all()
    assert closed["service"] > shared["service"] + 0.1


@pytest.mark.slow
def test_reasoning_effort_costs_tasks_and_energy():
    rows = []
    for name in ("reasoning-effort-none", "reasoning-effort", "reasoning-effort-high"):
        told("run", name, "--reps", "1", "--out", name, "--quiet")
        summary = json.loads(Path(name, "summary.json").read_text(encoding="utf-8"))
        rows.append([summary[key]["value"] for key in (
            "sessions.completed_per_s", "energy.j_per_session")])  # fmt: skip
    tasks, joules = zip(*rows, strict=True)
    assert tasks[0] > 1.2 * tasks[1] > 2 * tasks[2]
    assert joules[0] < joules[1] / 1.2 < joules[2] / 2


# Edits that nobody planned


def texts():
    """Every shipped scenario in full, its topology in place: more to break."""
    return [told("show", name, "--format", "yaml") for name in SCENARIOS]


GARBAGE = (
    *("-1", "0", "1e400", "99999999999999999999", ".nan", "null", "[]", "{}", "''", "yes", "~"),
    *("{a: 1}", "[1, 2]", "3 GB", "-3 s", "0 s", "1e30 s", "5 /s", "*x", "&x 1", "!!str 1", "%"),
    *("fp4", "auto", "nvl72", "../../etc/passwd", "'\\0'", "\u202e", "- a", "? b", "|", "#"),
)


def mutated(text, other, rng):
    """Delete, copy, move or swap lines, replace values, cut the end off."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        key, colon, _ = lines[at].partition(":")
        match rng.randrange(8):
            case 0:
                del lines[at]
            case 1:
                lines.insert(to, lines[at])
            case 2:
                lines[at], lines[to] = lines[to], lines[at]
            case 3 | 4 if colon:
                lines[at] = f"{key}: {rng.choice(GARBAGE)}"
            case 5 if colon:
                lines[at] = f"{key}:{lines[to].partition(':')[2]}"
            case 6:
                lines.insert(at, rng.choice(other.splitlines()))
            case _:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        if len(lines) < 3:
            break
    return "\n".join(lines)


def outcome(text):
    """Whether a scenario can be prepared; the user's errors are told, others escape."""
    Path("edited.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        prepare(load_scenario("edited.yaml").scenario)
    except UserError as refused:
        faults = refused.faults
    else:
        return "ready"
    assert faults
    for fault in faults:
        assert fault.found
        assert fault.expected
        assert "Input should" not in str(fault)
    return "refused"


@pytest.mark.parametrize(("seed", "edits"), [(1, 40), pytest.param(2, 400, marks=pytest.mark.slow)])
def test_edits_are_taken_or_refused_but_never_break(seed, edits):
    rng = random.Random(seed)
    given = texts() + [
        resource_path("scenarios", name).read_text(encoding="utf-8") for name in SCENARIOS
    ]
    seen = {outcome(given[0])}  # as it is: few edits leave a file in order
    for number in range(edits):
        text = mutated(rng.choice(given), rng.choice(given), rng)
        try:
            seen.add(outcome(text))
        except Exception as error:
            raise AssertionError(f"edit {number} of seed {seed} breaks on:\n{text}") from error
    assert seen == {"ready", "refused"}
