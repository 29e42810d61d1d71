"""`factorysim run` and `compare` as a user meets them: output, files, exit codes."""

import json
import sys

import pytest

from factorysim.cli import app as program
from factorysim.load import dump_scenario
from tests.unit.run.builders import mm1


@pytest.fixture
def factorysim(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["factorysim", *words])
        with pytest.raises(SystemExit) as stop:
            program.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return call


@pytest.fixture
def scenario(tmp_path):
    (tmp_path / "mine.yaml").write_text(dump_scenario(mm1(replications=2)), encoding="utf-8")
    return "mine.yaml"


def test_run_prints_a_report_and_writes_runs_name(factorysim, scenario, tmp_path):
    code, out, err = factorysim("run", scenario, "--workers", "1")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "mine"
    assert "How long does a call wait?" in out
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"mine"}


def test_json_is_the_summary_alone(factorysim, scenario, tmp_path):
    code, out, _ = factorysim("run", scenario, "--workers", "1", "--json", "--out", "x")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "x" / "summary.json").read_text())


def test_options_override_the_file(factorysim, scenario, tmp_path):
    words = ("--seed", "0", "--reps", "1", "--set", "run.window=100 s", "--quiet", "--out", "x")
    code, out, _ = factorysim("run", scenario, "--workers", "1", *words)
    assert code == 0
    assert len(out.splitlines()) < 10
    manifest = json.loads((tmp_path / "x" / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["replications_asked"] == 1
    assert manifest["window"] == {"start_s": 20.0, "end_s": 120.0}


def test_the_resolved_scenario_reruns_to_the_same_tables(factorysim, scenario, tmp_path):
    factorysim("run", scenario, "--workers", "1", "--out", "a", "--quiet")
    code, _, _ = factorysim("run", "a/scenario.resolved.yaml", "--workers", "1", "--out", "b")
    assert code == 0
    first, second = (json.loads((tmp_path / n / "manifest.json").read_text()) for n in "ab")
    assert first["outputs"] == second["outputs"]
    assert first["scenario"]["sha256"] == second["scenario"]["sha256"]


def test_a_place_with_other_things_is_the_users_slip(factorysim, scenario, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "thesis.tex").write_text("years of work")
    code, out, err = factorysim("run", scenario, "--out", "kept", "--workers", "1")
    assert (code, out) == (2, "")
    assert "other things" in err
    assert "Traceback" not in err
    assert (tmp_path / "kept" / "thesis.tex").read_text() == "years of work"


def test_an_unknown_scenario_is_the_users_slip(factorysim):
    code, _, err = factorysim("run", "quickstrat")
    assert code == 2
    assert "quickstart" in err


def test_a_plan_that_does_not_fit_is_the_users_slip(factorysim, scenario, tmp_path):
    code, _, err = factorysim("run", scenario, "--set", "deployments.queue.replicas=99")
    assert code == 2
    assert "99" in err
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_exits_with_130_and_says_what_is_kept(factorysim, scenario, monkeypatch, tmp_path):
    from factorysim.run import replicate

    genuine = replicate.run_jobs

    def interrupted(*arguments):
        yield next(genuine(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(replicate, "run_jobs", interrupted)
    code, out, err = factorysim("run", scenario, "--workers", "1", "--out", "x")
    assert (code, out) == (130, "")
    assert "1 of 2 replications" in err
    assert json.loads((tmp_path / "x" / "manifest.json").read_text())["interrupted"] is True


def test_a_broken_law_is_our_fault(factorysim, scenario, monkeypatch, tmp_path):
    from factorysim.records import AuditLine
    from factorysim.sim import factory

    genuine = factory.run_replication

    def leaky(*words, **options):
        leak = AuditLine("blocks freed", False, 10.0, 9.0, "")
        return genuine(*words, **options)._replace(audit=(leak,))

    monkeypatch.setattr(factory, "run_replication", leaky)
    code, _, err = factorysim("run", scenario, "--workers", "1", "--out", "x")
    assert code == 1
    assert "blocks freed: expected 10.0, got 9.0" in err
    assert not (tmp_path / "x").exists()


def test_compare_prints_both_and_writes_where_it_is_told(factorysim, scenario, tmp_path):
    two = dump_scenario(mm1(servers=2, replications=2))
    (tmp_path / "two.yaml").write_text(two, encoding="utf-8")
    words = ("compare", scenario, "two.yaml", "--workers", "1")
    code, out, _ = factorysim(*words, "--out", "both")
    assert code == 0
    assert out.splitlines()[0].startswith("Both mine and two sustain")
    assert {p.name for p in (tmp_path / "both").iterdir()} == {
        "mine", "two", "comparison.json", "report.html",
    }  # fmt: skip
    code, out, _ = factorysim(*words, "--json")
    metrics = json.loads(out)[0]["metrics"]
    assert code == 0
    assert metrics["ttft_s.mean"]["difference"] < 0
    assert (tmp_path / "runs" / "mine-vs-two" / "report.html").is_file()


def test_compare_accepts_only_what_is_built(factorysim, scenario):
    code, _, err = factorysim("compare", scenario, scenario, "--iso", "cost")
    assert code == 2
    assert "count" in err


def test_compare_needs_two(factorysim, scenario):
    code, _, err = factorysim("compare", scenario)
    assert code == 2
    assert "two or more" in err
