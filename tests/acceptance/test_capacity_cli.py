"""`factorysim capacity` as a user meets it: what it prints and writes, how it refuses."""

import json
import sys

import pytest

from factorysim.cli import app as program
from factorysim.load import dump_scenario
from tests.unit.run.builders import mm1

QUICK = ("--tolerance", "0.3", "--workers", "1")


@pytest.fixture
def factorysim(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    small = mm1(replications=3, window="60 s", drain="20 s")
    (tmp_path / "mine.yaml").write_text(dump_scenario(small), encoding="utf-8")

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["factorysim", "capacity", *words])
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
    assert lines[0].startswith("Sustains ")
    head = " ".join(" ".join(lines[:3]).split())
    assert "95 %, 3 replications" in head
    assert "binds: TTFT of calls (4.00 s)" in head
    assert max(map(len, lines)) <= 80
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml"}


def test_json_is_what_the_file_holds(factorysim, tmp_path):
    code, out, _ = factorysim("mine.yaml", *QUICK, "--json", "--out", "a/b")
    assert code == 0
    told = json.loads(out)
    assert told == json.loads((tmp_path / "a" / "b" / "capacity.json").read_text())
    assert told["scenario"] == "mine"
    assert told["unit"] == "sessions/s"
    assert told["ci_low"] < told["rate"] < told["ci_high"]
    assert told["scale"] == pytest.approx(told["rate"] / 0.5)
    assert {"ttft", "failed"} == told["points"][0]["streams"]["calls"]["missed"].keys()


def test_options_reach_the_search(factorysim):
    words = ("--reps", "1", "--seed", "3", "--low", "0.2", "--high", "0.3", "--stream", "calls")
    code, out, _ = factorysim("mine.yaml", *QUICK, *words, "--json", "--set", "run.window=50 s")
    told = json.loads(out)
    assert code == 0
    assert told["bounds"] == [0.2, 0.3]
    assert told["tolerance"] == 0.3
    assert told["window"] == {"start_s": 20.0, "end_s": 70.0}
    assert all(0.2 <= one["rate"] <= 0.3 for one in told["points"])
    assert {len(one["streams"]["calls"]["shares"]) for one in told["points"]} == {1}


def test_quiet_is_the_verdict_alone(factorysim):
    code, out, _ = factorysim("mine.yaml", *QUICK, "--quiet", "--high", "0.55", "--reps", "1")
    assert code == 0
    assert " ".join(out.split()) == (
        "No capacity to tell: SLOs are met at every rate up to 0.55 sessions/s."
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "streams.calls.slo.ttft=null"), ("streams: found no SLO", "attain: 0.95")),
        (("--stream", "call"), ("--stream", 'did you mean "calls"?')),
        (("--low", "3", "--high", "2"), ("--high", "0.5 sessions/s")),
        (("--low", "-1"), ("--low",)),
        (("--high", "fast"), ("--high",)),
        (("--tolerance", "0"), ("--tolerance", "above 0")),
        (("--workers", "0"), ("--workers",)),
        (("--set", "deployments.queue.replicas=99"), ("found 99 replicas", "fewer")),
        (("--out", "mine.yaml"), ("mine.yaml", "--out")),
    ],
)
def test_slips_are_told_with_their_cure(factorysim, tmp_path, words, said):
    code, out, err = factorysim("mine.yaml", *words)
    assert (code, out) == (2, "")
    for text in said:
        assert text in err
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml"}


def test_ctrl_c_exits_with_130(factorysim, monkeypatch, tmp_path):
    from factorysim.run import workers

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "run_jobs", interrupted)
    code, out, err = factorysim("mine.yaml", *QUICK, "--out", "x/y")
    assert (code, out) == (130, "")
    assert "interrupted" in err
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml"}
