"""`factorysim figures` as a user meets it, and the same figures from Python."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import factorysim as fs
from factorysim.report.figures.every import NAMES
from factorysim.run import open_run
from tests.acceptance.program import SMALL, changed, factorysim
from tests.unit.report.figures.builders import assert_legible

HEADS = {"pdf": b"%PDF-1.", "png": b"\x89PNG\r\n", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    texts = {
        "a": SMALL,
        "b": changed("rate: 0.5 /s", "rate: 0.7 /s"),
        "c": changed("seed: 7", "seed: 8"),
    }
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
        told = factorysim("run", folder / f"{name}.yaml", "--out", folder / name, "--quiet")
        assert told.code == 0, told.err
    return folder


def test_every_figure_is_written_in_every_kind(runs, tmp_path):
    out = tmp_path / "figures"
    told = factorysim("figures", runs / "a", "--out", out, "--format", "pdf,svg,png")
    assert (told.code, told.err) == (0, "")
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}.{kind}" for name in NAMES for kind in HEADS
    )
    for path in out.iterdir():
        assert path.read_bytes().startswith(HEADS[path.suffix[1:]])
    for path in out.glob("*.svg"):
        ElementTree.fromstring(path.read_text())
    assert told.out.splitlines()[0] == f"{out}/latency-ttft (pdf, svg, png)"
    assert len(told.out.splitlines()) == len(NAMES)


def test_figures_stand_in_the_run_where_nothing_else_is_said(runs):
    told = factorysim("figures", runs / "a", "--only", "energy", "--format", "svg")
    assert told.code == 0
    assert [path.name for path in (runs / "a" / "figures").iterdir()] == ["energy.svg"]
    assert open_run(runs / "a").summary


def test_several_are_asked_for_by_what_they_share(runs, tmp_path):
    told = factorysim("figures", runs / "a", "--out", tmp_path / "f", "--only", "latency",
                      "--only", "pools", "--format", "svg", "--width", "page")  # fmt: skip
    assert told.code == 0
    names = ["latency-session", "latency-tpot", "latency-ttft", "latency-turn", "pools"]
    assert sorted(path.stem for path in (tmp_path / "f").iterdir()) == names
    root = ElementTree.fromstring((tmp_path / "f" / "pools.svg").read_text())
    assert root.get("width") == f"{7 * 72}pt"


def test_of_two_runs_differences_are_drawn_too(runs, tmp_path):
    out = tmp_path / "f"
    told = factorysim("figures", runs / "a", runs / "b", "--out", out, "--only", "paired",
                      "--only", "energy", "--format", "svg")  # fmt: skip
    assert (told.code, told.err) == (0, "")
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.svg"))
    assert written == ["a/energy.svg", "b/energy.svg", "paired.svg"]
    assert ">TTFT, mean</text>" in (out / "paired.svg").read_text()
    assert ">Not of the factories alone: stream 'calls' differs" in (out / "paired.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], ["no such directory", "factorysim run SCENARIO --out nowhere"]),
        (["a", "--only", "latencies"], ["'latencies'", "did you mean latency?"]),
        (["a", "--only", "paired"], ["factorysim figures A B --out DIR"]),
        (["a", "--format", "pdf,gif,tiff"], ["'gif'", "'tiff'", "pdf, svg, png"]),
        (["a", "b"], ["two runs and no place", "add --out DIR"]),
        (["a", "b", "c", "--out", "f"], ["3 runs, expected one or two"]),
        (["a", "c", "--out", "f"], ["seed: found '8', expected 7", "factorysim compare A B"]),
        (["a", "--out", "a.yaml"], ["a.yaml", "expected a place to write"]),
        (["a", "--width", "wide"], ["column"]),
    ],
)
def test_what_cannot_be_done_is_told_with_a_cure(runs, monkeypatch, arguments, said):
    monkeypatch.chdir(runs)
    before = sorted(str(path) for path in runs.rglob("*"))
    told = factorysim("figures", *arguments)
    assert told.code == 2
    for words in said:
        assert words in told.err
    assert told.out == ""
    assert sorted(str(path) for path in runs.rglob("*")) == before


def test_a_run_that_was_changed_is_not_drawn(runs, tmp_path):
    import shutil

    copy = shutil.copytree(runs / "a", tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"seed": 9}))
    told = factorysim("figures", copy)
    assert told.code == 2
    assert "manifest" in told.err


def test_figures_from_python(runs, tmp_path):
    run = open_run(runs / "a")
    figures = {
        "latency-ttft": fs.figures.latency(run, "ttft_s"),
        "tail-ttft": fs.figures.tail(run, "ttft_s"),
        "series-queue": fs.figures.series(run, "queue"),
        "time-shares": fs.figures.time_shares(run),
        "energy": fs.figures.energy(run),
        "pools": fs.figures.pools(run),
    }
    factorysim("figures", runs / "a", "--out", tmp_path, "--format", "svg")
    for name, figure in figures.items():
        assert_legible(figure)
        fs.figures.save(figure, tmp_path / "mine.svg")
        same = (tmp_path / f"{name}.svg").read_bytes()
        assert (tmp_path / "mine.svg").read_bytes() == same
    assert_legible(fs.figures.paired(run, open_run(runs / "b")))


def test_names_that_there_are_not_are_told_in_python_too(runs, tmp_path):
    run = open_run(runs / "a")
    with pytest.raises(fs.UserError, match="did you mean 'ttft_s'"):
        fs.figures.latency(run, "tttf_s")
    with pytest.raises(fs.UserError, match="There are: latency-ttft"):
        fs.figures.draw(run, "all")
    with pytest.raises(fs.UserError, match=r"expected \.pdf, \.svg or \.png"):
        fs.figures.save(fs.figures.energy(run), tmp_path / "energy.jpg")


def test_the_same_run_gives_the_same_bytes_in_any_process(runs, tmp_path):
    written = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        command = [sys.executable, "-m", "factorysim", "figures", str(runs / "a")]
        command += ["--out", str(out), "--format", "pdf,svg,png"]
        for name in ("latency-ttft", "series-power", "time-shares", "pools"):
            command += ["--only", name]
        root = Path(fs.__file__).parents[1]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert len(written[0]) == 12
    assert written[0] == written[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quickstart", "where-time-goes", "kv-tiers", "burst"])
def test_shipped_scenarios_are_drawn_legibly(name, tmp_path):
    short = ["run.window=60 s", "run.drain=60 s", "run.replications=2"]
    told = factorysim("run", name, "--out", tmp_path / "run", "--quiet",
                      *(word for text in short for word in ("--set", text)))  # fmt: skip
    assert told.code == 0, told.err
    run = open_run(tmp_path / "run")
    for figure in NAMES:
        assert_legible(fs.figures.draw(run, figure))
