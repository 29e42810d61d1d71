"""`factorysim trace`, as a user types it."""

import json
import re

import pytest
from typer.testing import CliRunner

from factorysim.cli.app import app
from factorysim.errors import OutputError, SpecError, TraceError
from factorysim.resources import resource_root

QUICKSTART = str(resource_root("scenarios") / "traces" / "quickstart.jsonl.gz")


def run(*args: str):
    return CliRunner().invoke(app, ["trace", *args])


def test_inspect_tells_what_a_trace_holds():
    text = run("inspect", QUICKSTART).stdout
    assert "mooncake" in text
    assert "dispersion of counts in 10 s" in text
    assert max(map(len, text.splitlines()[1:])) <= 80
    told = json.loads(run("inspect", QUICKSTART, "--json").stdout)
    assert told["format"] == "mooncake"
    assert told["llm_calls"] == told["sessions"] > 500
    assert told["tool_calls"] == 0
    assert 0.5 < told["block_hit_share"] < 0.8
    assert set(told["prompt_tokens"]["quantiles"]) == {"p10", "p50", "p90", "p99"}


def test_generate_writes_the_same_trace_for_the_same_seed(tmp_path):
    a, b, c = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    for out, seed in [(a, "3"), (b, "3"), (c, "4")]:
        done = run("generate", str(out), "--duration", "1 min", "--rate", "2 /s", "--seed", seed)
        assert done.exit_code == 0
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()


def test_convert_goes_to_fstrace_and_back(tmp_path):
    middle, back, again = tmp_path / "m.jsonl.gz", tmp_path / "b.jsonl", tmp_path / "a.jsonl"
    assert run("convert", QUICKSTART, str(middle)).exit_code == 0
    assert json.loads(run("inspect", str(middle), "--json").stdout)["format"] == "fstrace"
    assert run("convert", str(middle), str(back), "--to", "mooncake").exit_code == 0
    assert run("convert", QUICKSTART, str(again), "--to", "mooncake").exit_code == 0
    assert back.read_bytes() == again.read_bytes()


def test_a_cut_takes_a_window_a_sample_and_a_limit(tmp_path):
    out, small, all_ = tmp_path / "o.jsonl.zst", tmp_path / "s.jsonl", tmp_path / "a.jsonl"
    window = ("--from", "2 min", "--to", "7 min", "--speed", "2")
    done = run("cut", QUICKSTART, str(out), *window)
    assert done.exit_code == 0
    assert "sessions in mooncake" in done.stdout
    told = json.loads(run("inspect", str(out), "--json").stdout)
    assert 100 < told["duration_s"] < 150
    run("cut", QUICKSTART, str(small), "--sample", "10%", *window)
    run("cut", QUICKSTART, str(all_), "--sample", "20%", *window)
    part, whole = (set(path.read_text().splitlines()) for path in (small, all_))
    assert part < whole
    run("cut", QUICKSTART, str(small), "--limit", "3")
    assert len(small.read_text().splitlines()) == 3


def test_a_cut_of_nothing_or_more_than_all_is_refused(tmp_path):
    out = str(tmp_path / "o")
    assert isinstance(run("cut", QUICKSTART, out, "--from", "10 d").exception, TraceError)
    for option in (("--sample", "150%"), ("--sample", "0%"), ("--from", "soon"), ("--to", "0 s")):
        assert isinstance(run("cut", QUICKSTART, out, *option).exception, SpecError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--from", "10"), "--from: found '10', expected a quantity of at least zero"),
        (("--from", "10"), "give it a unit"),
        (("--to", "3"), "above zero such as '10 min'"),
        (("--from", "9 min", "--to", "5 min"), "--to: found '5 min', expected a time after"),
        (("--sample", "10"), "with its sign it would be '10%'"),
    ],
)
def test_slips_in_the_options_of_a_cut_are_told_with_a_cure(tmp_path, option, told):
    done = run("cut", QUICKSTART, str(tmp_path / "o"), *option)
    assert isinstance(done.exception, SpecError)
    assert told in str(done.exception)


@pytest.mark.parametrize("command", ["cut", "convert", "fit"])
def test_the_trace_that_is_read_is_never_written_over(tmp_path, command):
    trace, link, folder = tmp_path / "t.jsonl", tmp_path / "l.jsonl", tmp_path / "weka"
    trace.write_text('{"timestamp": 5, "input_length": 600, "output_length": 8}\n' * 3)
    link.symlink_to(trace)
    folder.mkdir()
    before = trace.read_bytes()
    for read, out in ((trace, trace), (trace, link), (link, trace), (folder, folder / "o.jsonl")):
        done = run(command, str(read), str(out))
        assert isinstance(done.exception, OutputError)
        assert "the trace that is read" in str(done.exception)
    assert trace.read_bytes() == before
    assert not list(folder.iterdir())


def test_an_agent_is_not_written_over_by_its_sessions(tmp_path):
    twin = tmp_path / "twin.yaml"
    twin.write_text("mine")
    done = run("generate", str(twin), "--agent", str(twin))
    assert isinstance(done.exception, OutputError)
    assert "the agent that is read" in str(done.exception)
    assert twin.read_text() == "mine"


def test_places_that_cannot_be_meant_are_not_written(tmp_path):
    kept = tmp_path / "kept.jsonl"
    kept.write_text("mine")
    kept.chmod(0o444)
    packed = tmp_path / "o.jsonl.xz"
    for out, told in ((kept, "a read-only file"), (packed, ".xz"), (tmp_path, "a folder")):
        done = run("convert", QUICKSTART, str(out))
        assert isinstance(done.exception, OutputError)
        assert told in str(done.exception)
    assert kept.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [kept]


def test_repair_tells_what_it_dropped(tmp_path):
    bad, out = tmp_path / "bad.jsonl", tmp_path / "o.jsonl"
    row = '{"timestamp": 0, "input_length": 600, "output_length": 8}'
    bad.write_text(f"{row}\n{row.replace('600', '-1')}\n{row[:20]}\n{row}\n")
    assert isinstance(run("inspect", str(bad)).exception, TraceError)
    text = run("inspect", str(bad), "--repair").stdout
    assert "row dropped once: first" in text
    assert "bad.jsonl:2: input_length: -1" in text
    told = json.loads(run("inspect", str(bad), "--repair", "--json").stdout)
    assert [repair["count"] for repair in told["repairs"]] == [1, 1]
    assert told["llm_calls"] == 2
    for command in ("convert", "cut"):
        done = run(command, str(bad), str(out), "--repair")
        assert done.exit_code == 0
        assert "bad.jsonl:3" in done.stdout


def test_convert_refuses_what_the_target_cannot_hold(tmp_path):
    for target, name in [("azure", "epoch"), ("weka", "src.weka")]:
        done = run("convert", QUICKSTART, str(tmp_path / "o"), "--to", target)
        assert isinstance(done.exception, TraceError)
        assert name in str(done.exception)


def test_azure_goes_to_fstrace_and_back(tmp_path):
    source, middle, back = tmp_path / "a.csv", tmp_path / "m.jsonl.zst", tmp_path / "b.csv"
    rows = ["2023-11-16 18:15:46.6805900,374,44", "2023-11-16 18:16:46.6805901,9,4"]
    source.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    assert run("convert", str(source), str(middle)).exit_code == 0
    assert run("convert", str(middle), str(back), "--to", "azure").exit_code == 0
    assert back.read_text() == source.read_text()
    assert run("cut", str(source), str(back), "--from", "1 min").exit_code == 0
    assert back.read_text().splitlines()[1:] == rows[1:]


def weka_folder(tmp_path):
    """Two sessions of a coding agent: a prompt, and a tool's result that lengthens it."""
    folder = tmp_path / "weka"
    folder.mkdir()
    for name in ("a", "b"):
        first = {"t": 0, "in": 640, "out": 20, "hash_ids": list(range(10)), "api_time": 1}
        then = {"t": 4.5, "in": 1280, "out": 20, "hash_ids": list(range(20)), "think_time": 3.5}
        rows = [first | {"input_types": ["text"]}, then | {"input_types": ["tool_result"]}]
        told = {"id": name, "block_size": 64, "hash_id_scope": "local", "requests": rows}
        (folder / f"{name}.json").write_text(json.dumps(told))
    return folder


def test_a_folder_of_weka_sessions_is_inspected_and_converted(tmp_path):
    folder, out = weka_folder(tmp_path), tmp_path / "one.jsonl.gz"
    told = json.loads(run("inspect", str(folder), "--json").stdout)
    assert told["format"] == "weka"
    assert (told["sessions"], told["llm_calls"], told["tool_calls"]) == (2, 4, 2)
    assert told["block_hit_share"] == pytest.approx(1280 / 3840), "each session has ids of its own"
    assert run("convert", str(folder), str(out)).exit_code == 0
    again = json.loads(run("inspect", str(out), "--json").stdout)
    assert again | {"file": "", "format": ""} == told | {"file": "", "format": ""}


def test_a_scenario_replays_a_folder_of_weka_sessions(tmp_path):
    from tests.acceptance.program import changed, factorysim

    weka_folder(tmp_path)
    arrivals = "arrivals: {process: poisson, rate: 0.5 /s}"
    text = changed("calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}", "trace: weka")
    text = changed(arrivals, "arrivals: {process: poisson, rate: 1 /s}", text)
    text = changed("kind: steady_state", "kind: terminating", text)
    text = changed("max_sequences: 1, token_budget: 16", "token_budget: 4096", text)
    text = changed("warmup: 20 s, ", "", text)
    (tmp_path / "s.yaml").write_text(text)
    assert factorysim("validate", tmp_path / "s.yaml").code == 0
    done = factorysim("run", tmp_path / "s.yaml", "--json", "--out", tmp_path / "r")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["calls.completed"]["value"] == 4
    assert told["kv.hit_rate"]["value"] == pytest.approx(1280 / 3840)
    inputs = json.loads((tmp_path / "r" / "manifest.json").read_text())["inputs"]
    assert [one["path"][-6:] for one in inputs] == ["a.json", "b.json"]
    (tmp_path / "weka" / "a.json").write_text('{"block_size": 64, "requests": []}')
    bad = factorysim("run", tmp_path / "s.yaml", "--out", tmp_path / "r")
    assert bad.code == 2
    assert "a.json:1" in bad.err
    (tmp_path / "s.yaml").write_text(re.sub(r"( *)(trace: weka)", r"\1\2\n\1repair: true", text))
    assert factorysim("validate", tmp_path / "s.yaml").code == 0
    mended = factorysim("run", tmp_path / "s.yaml", "--out", tmp_path / "r")
    assert mended.code == 0, mended.err
    assert "Note: streams.calls: session dropped once" in " ".join(mended.out.split())
    notes = json.loads((tmp_path / "r" / "manifest.json").read_text())["notes"]
    assert any("a.json:1" in note for note in notes)


def test_bad_traces_and_options_are_the_user_s_errors(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("junk\n")
    assert isinstance(run("inspect", str(bad)).exception, TraceError)
    assert isinstance(run("convert", str(bad), str(tmp_path / "o")).exception, TraceError)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl"]
    done = run("generate", str(tmp_path / "o"), "--rate", "fast")
    assert isinstance(done.exception, SpecError)
    assert "--rate" in str(done.exception)


@pytest.mark.parametrize("command", ["inspect", "generate", "convert", "cut"])
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout
