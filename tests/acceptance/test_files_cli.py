"""Files as a user handles them: validate, show, schema, and what is said of bad ones."""

import json
import re
import subprocess
import sys
from typing import NamedTuple

import pytest

from factorysim.cli.app import main

SCENARIO = """\
schema: factorysim.scenario/1
question: Does it load?
topology: closed/vera-rubin-nvl72
llms: {big: {llm: mistral_large_3, precision: {weights: fp8, compute: fp8, kv: fp8}}}
deployments:
  serve: {llm: big, pool: nvl72, parallel: {tp: 8}}
  tools: {role: tools, pool: nvl72.cpu}
streams:
  desk: {llm: big, agent: chat, arrivals: {process: poisson, rate: 2/s}}
"""
TOPOLOGY = "schema: factorysim.topology/1\nracks: {gpu: {rack: h100_sxm}}\n"


class Done(NamedTuple):
    returncode: object
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """The program in this process: quick, since its imports are paid once."""
    monkeypatch.chdir(tmp_path)

    def program(*arguments, env=None):
        monkeypatch.setattr(sys, "argv", ["factorysim", *arguments])
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as stop:
            main()
        return Done(stop.value.code, *capsys.readouterr())

    return program


@pytest.fixture
def shell(tmp_path):
    """The program as a user starts it."""

    def program(*arguments, code="from factorysim.cli.app import main; main()"):
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )

    return program


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "peak.yaml"
    path.write_text(SCENARIO)
    return path


def test_validate_says_ok(shell, scenario):
    done = shell("validate", "peak.yaml", "closed/vera-rubin-pod")
    assert done.returncode == 0
    assert done.stdout == "peak.yaml: ok (scenario)\nclosed/vera-rubin-pod: ok (topology)\n"
    assert done.stderr == ""


def test_validate_tells_every_problem_of_every_file(run, scenario, tmp_path):
    scenario.write_text(SCENARIO.replace("tp: 8", "pt: 8").replace("2/s", "2 per s"))
    (tmp_path / "lab.yaml").write_text(TOPOLOGY.replace("h100_sxm", "h100_smx"))
    done = run("validate", "peak.yaml", "lab.yaml")
    assert done.returncode == 2
    assert "peak.yaml:6: deployments.serve.parallel.pt: found an unknown key" in done.stderr
    assert "peak.yaml:9: streams.desk.arrivals.rate: found '2 per s'" in done.stderr
    assert "lab.yaml:2: racks.gpu.rack: found 'h100_smx'" in done.stderr
    assert 'did you mean "h100_sxm"?' in done.stderr
    assert done.stderr.endswith("3 problems in 2 files\n")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("schema: [", "broken YAML"),
        ("", "found nothing"),
        ("- a", "a list of 1"),
        (SCENARIO + "streams: {}", "again"),
        (SCENARIO + "sreving: {}", '"serving"'),
        (SCENARIO + "run: {window: 9**9**8 s}", "9**9**8 s"),
        (SCENARIO + "run: {window: -1 s}", "must be above zero"),
        (SCENARIO + "run: {bins: .nan}", "a finite number"),
        (SCENARIO + "extends: peak.yaml", "a cycle"),
        (SCENARIO + BOMB, "aliases written out"),
        (SCENARIO + "x: !!python/object:os.system ls", "no tags"),
        (SCENARIO + "site: moon", "a site of the catalog"),
        (SCENARIO + "catalog: ../../etc/passwd", "a catalog file"),
        (SCENARIO.replace("mistral_large_3", "mistral"), "an LLM of the catalog"),
        (SCENARIO.replace("nvl72.cpu", "nvl27.cpu"), "a pool of the topology"),
        (SCENARIO.encode() + b"x: \xff", "not UTF-8"),
        (b"#" * 3_000_000, "bytes"),
    ],
)
def test_bad_files_are_told_without_a_traceback(run, scenario, content, told):
    scenario.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run("validate", "peak.yaml")
    assert done.returncode == 2
    assert told in done.stderr
    assert re.search(r"^peak\.yaml", done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_hostile_text_neither_colours_nor_commands_the_terminal(run, scenario):
    text = SCENARIO.replace("Does it load?", r'"[red]x[/red] \e[31m"')
    scenario.write_text(text.replace("chat,", '"\\e]0;owned\\a[bold]",'))
    done = run("validate", "peak.yaml")
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "[bold]" in done.stderr
    scenario.write_text(text)
    done = run("show", "peak.yaml", env={"FORCE_COLOR": "1"})
    assert done.returncode == 0
    assert "[red]x[/red]" in done.stdout
    assert "\x1b[31m" not in done.stdout


def test_show_tells_racks_deployments_and_streams(run, scenario):
    done = run("show", "peak.yaml", env={"COLUMNS": "140"})
    assert done.returncode == 0
    for text in ("Does it load?", "72 rubin_gpu", "36 vera", "mistral_large_3", "Poisson, 2.00/s"):
        assert text in done.stdout


def test_show_tells_what_does_not_fit(run, scenario):
    scenario.write_text(SCENARIO.replace("tp: 8", "tp: 1"))
    done = run("show", "peak.yaml")
    assert done.returncode == 0
    assert "does not fit" in done.stdout


def test_what_show_resolves_loads_and_shows_the_same(run, scenario, tmp_path):
    first = run("show", "peak.yaml", "--format", "yaml", "--set", "run.seed=3")
    (tmp_path / "again.yaml").write_text(first.stdout)
    second = run("show", "again.yaml", "--format", "yaml")
    assert second.stdout == first.stdout
    assert "seed: 3" in first.stdout
    data = json.loads(run("show", "peak.yaml", "--format", "json").stdout)
    assert data["topology"]["racks"]["nvl72"]["count"] == 1


@pytest.mark.parametrize(
    ("how", "magic"),
    [
        ("png", b"\x89PNG"),
        ("svg", b"<?xml"),
        ("pdf", b"%PDF"),
        ("graphml", b"<?xml"),
        ("json", b"{"),
        ("text", b""),
    ],
)
def test_show_writes_files(run, tmp_path, how, magic):
    out = tmp_path / f"graph.{how}"
    done = run("show", "teaching/one-gpu", "--format", how, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(magic)
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name]


@pytest.mark.parametrize("how", ["json", "svg"])
@pytest.mark.parametrize("place", ["missing/x.json", "folder", "/dev/null/x", "/proc/x"])
def test_unwritable_places_are_told_and_leave_nothing(run, tmp_path, place, how):
    (tmp_path / "folder").mkdir()
    done = run("show", "teaching/one-gpu", "--format", how, "--out", place)
    assert done.returncode == 2
    assert place in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_format_that_nobody_draws_is_told_with_those_that_are(run):
    done = run("show", "teaching/one-gpu", "--format", "gif")
    assert done.returncode == 2
    for how in ("png", "svg", "pdf"):
        assert how in done.stderr


def test_a_picture_of_what_does_not_fit_shows_the_racks_and_says_so(run, scenario, tmp_path):
    scenario.write_text(SCENARIO.replace("tp: 8", "tp: 96"))
    done = run("show", "peak.yaml", "--format", "svg", "--out", "peak.svg")
    assert done.returncode == 0
    assert "peak.yaml: drawn without its deployments:" in done.stderr
    assert "72 GPUs" in (tmp_path / "peak.svg").read_text()


def test_a_graph_of_ones_own_is_drawn_and_its_names_are_words(run, tmp_path):
    graph = run("show", "teaching/one-gpu", "--format", "graphml").stdout
    hostile = "&lt;/script&gt;&lt;script&gt;$\\frac{1}{"
    (tmp_path / "mine.graphml").write_text(
        graph.replace("gpu/0", hostile).replace('node.pool">gpu<', 'node.pool">$x$<')
    )
    (tmp_path / "mine.yaml").write_text("schema: factorysim.topology/1\ngraph: mine.graphml\n")
    for how in ("png", "svg"):
        done = run("show", "mine.yaml", "--format", how, "--out", f"mine.{how}")
        assert done.returncode == 0, done.stderr
    svg = (tmp_path / "mine.svg").read_text()
    assert "<script" not in svg
    assert "<!-- $x$ -->" in svg


@pytest.mark.parametrize("kind", ["scenario", "topology", "site", "agent"])
def test_schema_is_json_schema_of_the_files(run, kind):
    schema = json.loads(run("schema", kind).stdout)
    assert schema["properties"]["schema"]["const"] == f"factorysim.{kind}/1"
    assert schema["additionalProperties"] is False


def test_the_schemas_patterns_take_what_the_loader_takes(run):
    schema = json.loads(run("schema", "scenario").stdout)
    window = schema["$defs"]["RunSpec"]["properties"]["window"]
    assert re.match(window["pattern"], window["examples"][0])
    assert not re.match(window["pattern"], "2 sec")


def test_version_help_and_usage(run):
    assert re.fullmatch(r"factorysim \d+\.\d+\.\d+\n", run("--version").stdout)
    assert "validate" in run("--help").stdout
    done = run("valdate")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_our_own_bug_is_owned_up_to_with_exit_1(shell):
    code = "import factorysim.cli.files as f, factorysim.cli.app as a; f._kind_of = None; a.main()"
    done = shell("validate", "x", code=code)
    assert done.returncode == 1
    assert "bug of ours" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error_to_tell(shell):
    code = (
        "import os, subprocess, sys\n"
        "program = [sys.executable, '-c', 'from factorysim.cli.app import main; main()']\n"
        "program += ['schema']\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "sys.exit(subprocess.run(program, stdout=writer).returncode)"
    )
    assert shell(code=code).stderr == ""


def test_validate_counts_the_calls_that_no_context_holds(run, tmp_path):
    text = SCENARIO.replace(
        "agent: chat", "calls: {prompt_tokens: {mean: %s}, output_tokens: {mean: 144}}"
    )
    fits, over = tmp_path / "fits.yaml", tmp_path / "over.yaml"
    fits.write_text(text % 262_000)  # 262,144 tokens are the context
    over.write_text(text % 262_001)
    done = run("validate", str(fits), str(over))
    assert done.returncode == 0
    assert "4,096 of 4,096 calls are longer than the 262,144 tokens" in done.stderr
    assert "over.yaml: warning: streams.desk" in done.stderr
    assert done.stderr.count("warning") == 1


@pytest.mark.parametrize("name", ["kv-tiers", "disaggregation-pays", "quickstart"])
def test_nothing_of_a_scenario_is_cut_off_at_80_columns(run, name):
    done = run("show", name, env={"COLUMNS": "80"})
    assert done.returncode == 0
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
