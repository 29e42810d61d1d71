"""`factorysim pareto` as a user meets it: what it prints, draws and writes, how it refuses."""

import json
import struct
import sys
import xml.etree.ElementTree as ET

import pandas as pd
import pytest

from factorysim.cli import app as program
from factorysim.load import dump_scenario
from factorysim.study import sweep as sweeps
from tests.unit.study.test_pareto import DRAWN, small

QUICK = ("--calls", "40", "--workers", "1", "--concurrency", "2,8")
FILES = {
    "manifest.json", "mine.resolved.yaml", "pareto.json", "pareto.png", "pareto.svg",
    "points.csv", "points.parquet",
}  # fmt: skip


@pytest.fixture
def factorysim(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    for name, calls in (("mine", None), ("other", DRAWN)):
        (tmp_path / f"{name}.yaml").write_text(dump_scenario(small(calls)), encoding="utf-8")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["factorysim", "pareto", *words])
        with pytest.raises(SystemExit) as stop:
            program.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return stop.value.code or 0, said.out, said.err

    return call


def test_the_verdict_comes_first_and_nothing_is_written(factorysim, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = factorysim("mine.yaml", *QUICK)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    head = " ".join(" ".join(lines[:4]).split())
    assert head.startswith("mine: up to ")
    assert "tokens/s for a user (tp 1, 2 in flight) up to" in head
    assert "mine, tp 1: tokens/s from 2 replicas on 2 devices" in out
    assert max(map(len, lines)) <= 80
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "other.yaml"}


def test_out_holds_points_figures_and_what_they_came_from(factorysim, tmp_path):
    code, out, _ = factorysim("mine.yaml", *QUICK, "--json", "--out", "a/b")
    assert code == 0
    folder = tmp_path / "a" / "b"
    assert {path.name for path in folder.iterdir()} == FILES
    told = json.loads(out)
    assert told == json.loads((folder / "pareto.json").read_text())
    points = pd.read_parquet(folder / "points.parquet")
    assert points["concurrency"].tolist() == [2, 8] == [p["concurrency"] for p in told["points"]]
    listed = [point["tokens_per_s_per_mw"]["value"] for point in told["points"]]
    assert points["tokens_per_s_per_mw"].tolist() == listed
    assert pd.read_csv(folder / "points.csv")["tokens_per_s_per_mw"].tolist() == listed
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["schema"] == "factorysim.pareto/1"
    assert manifest["scenarios"][0]["name"] == "mine"
    picture = (folder / "pareto.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (1200, 800)
    assert ET.parse(folder / "pareto.svg").getroot().tag.endswith("svg")


@pytest.mark.slow
def test_the_same_command_writes_the_same_bytes_on_any_number_of_workers(factorysim, tmp_path):
    words = ("other.yaml", "mine.yaml", "--calls", "40", "--concurrency", "2,4", "--reps", "2")
    for name, workers in (("a", "1"), ("b", "2")):
        assert factorysim(*words, "--out", name, "--workers", workers)[0] == 0
    for name in (FILES | {"other.resolved.yaml"}) - {"manifest.json"}:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    one, other = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in "ab")
    assert one | {"wall_s": 0} == other | {"wall_s": 0}


def test_a_new_sweep_replaces_an_old_one_and_nothing_else(factorysim, tmp_path):
    assert factorysim("mine.yaml", *QUICK, "--quiet", "--out", "a")[0] == 0
    assert factorysim("mine.yaml", *QUICK, "--quiet", "--out", "a", "--seed", "8")[0] == 0
    assert json.loads((tmp_path / "a" / "pareto.json").read_text())["seed"] == 8
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    code, _, err = factorysim("mine.yaml", *QUICK, "--out", "full")
    assert code == 2
    assert "other things in it" in err


def test_layouts_are_swept_and_those_that_do_not_fit_are_told(factorysim):
    words = ("--layout", "tp=1", "--layout", "tp=64", "--vary", "serving.max_sequences=4,8")
    code, out, _ = factorysim("mine.yaml", *QUICK, *words)
    assert code == 0
    told = " ".join(out.split())
    assert "mine, tp 1, max_sequences 4:" in told
    assert "mine, tp 1, max_sequences 8:" in told
    both = "Not measured: mine tp 64, max_sequences 4; mine tp 64, max_sequences 8:"
    assert both in told
    assert "2 of 4 layouts are not drawn" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.yaml",), "nowhere.yaml"),
        (("mine.yaml", "--concurrency", "2;8"), "--concurrency"),
        (("mine.yaml", "--concurrency", ""), "--concurrency"),
        (("mine.yaml", "--concurrency", "0"), "--concurrency"),
        (("mine.yaml", "--calls", "0"), "--calls"),
        (("mine.yaml", "--reps", "0"), "--reps"),
        (("mine.yaml", "--layout", "8"), "--layout"),
        (("mine.yaml", "--layout", "tp=8,ep=3"), "a divisor of tp"),
        (("mine.yaml", "--layout", "size=8"), "size"),
        (("mine.yaml", "--layout", "tp=64"), "tp"),
        (("mine.yaml", "--vary", "serving.no_such=1"), "no_such"),
        (("mine.yaml", "--stream", "no"), "it has s"),
        (("mine.yaml", "--set", "deployments.serve.replicas=99"), "expected at most 2"),
        ((), "scenarios"),
    ],
)
def test_what_is_wrong_is_the_user_s_to_mend(factorysim, words, said):
    code, out, err = factorysim(*words)
    assert (code, out) == (2, "")
    assert said in err


def test_ctrl_c_keeps_the_points_that_were_done(factorysim, tmp_path, monkeypatch):
    measure = sweeps.Sweep._measure

    def struck(self, level, outcome):
        if level.concurrency == 8:
            raise KeyboardInterrupt
        return measure(self, level, outcome)

    monkeypatch.setattr(sweeps.Sweep, "_measure", struck)
    code, out, err = factorysim("mine.yaml", *QUICK, "--out", "kept")
    assert (code, out) == (130, "")
    assert "interrupted: 1 points were done" in err
    kept = json.loads((tmp_path / "kept" / "pareto.json").read_text())
    assert kept["interrupted"]
    assert [point["concurrency"] for point in kept["points"]] == [2]
    assert json.loads((tmp_path / "kept" / "manifest.json").read_text())["interrupted"]
