"""`factorysim report`, and the page that `run` leaves, as a user meets them."""

import json
import re
import shutil
from urllib.parse import unquote

import pytest

from factorysim.report import run_page
from tests.acceptance.program import SMALL, changed, factorysim


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A scenario, a run of it, and one of another seed."""
    place = tmp_path_factory.mktemp("report")
    (place / "case.yaml").write_text(SMALL, encoding="utf-8")
    (place / "fast.yaml").write_text(changed("mean: 1 s", "mean: 500 ms"), encoding="utf-8")
    words = ("--workers", "1", "--out")
    told = factorysim("run", place / "case.yaml", *words, place / "a")
    assert told.code == 0, told.err
    assert factorysim("run", place / "case.yaml", "--seed", "8", *words, place / "b").code == 0
    assert factorysim("run", place / "fast.yaml", *words, place / "c").code == 0
    return place, told.out


def test_a_run_leaves_its_page_and_says_where(home):
    place, out = home
    assert (place / "a" / "report.html").is_file()
    assert out.rstrip().endswith("report.html")


def test_a_directory_gets_the_page_that_the_run_left(home):
    place, _ = home
    left = (place / "a" / "report.html").read_bytes()
    (place / "a" / "report.html").unlink()
    told = factorysim("report", place / "a")
    assert (told.code, told.out.strip()) == (0, str(place / "a" / "report.html"))
    assert (place / "a" / "report.html").read_bytes() == left


def test_runs_of_one_demand_are_paired(home, tmp_path):
    place, _ = home
    told = factorysim("report", place / "a", place / "c", "--out", tmp_path / "x.html")
    assert told.code == 0, told.err
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "Means over paired replications" in text
    assert "case against fast" in text


def test_runs_of_other_seeds_are_not(home, tmp_path):
    place, _ = home
    told = factorysim("report", place / "a", place / "b", "--out", tmp_path / "x.html")
    assert told.code == 0, told.err
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert "Means over paired replications" not in text
    assert "not paired: other seeds: 7 and 8" in text


def test_what_is_no_run_is_refused(home, tmp_path):
    place, _ = home
    told = factorysim("report", tmp_path)
    assert told.code == 2
    assert "expected a run directory" in told.err
    folder = shutil.copytree(place / "a", tmp_path / "a")
    (folder / "calls.parquet").write_bytes(b"nothing")
    told = factorysim("report", folder)
    assert told.code == 2
    assert "calls.parquet" in told.err


@pytest.mark.parametrize("quiet", ["--quiet", "--json"])
def test_quiet_and_json_print_no_path(home, tmp_path, quiet):
    place, _ = home
    words = ("run", place / "case.yaml", "--workers", "1", "--reps", "1", "--out", tmp_path / "x")
    told = factorysim(*words, quiet)
    assert told.code == 0
    assert "report.html" not in told.out
    assert (tmp_path / "x" / "report.html").is_file()
    if quiet == "--json":
        json.loads(told.out)


def test_a_page_that_fails_costs_no_run(home, tmp_path, monkeypatch):
    place, _ = home

    def fails(run):
        raise ValueError("no such colour\x1b[31m")

    monkeypatch.setattr(run_page, "run_page", fails)
    words = ("run", place / "case.yaml", "--workers", "1", "--reps", "1", "--out", tmp_path / "x")
    told = factorysim(*words)
    assert told.code == 0
    assert "no report.html (ValueError: no such colour\\x1b[31m" in told.err
    assert "Report:" not in told.out
    assert factorysim("report", tmp_path / "x").code == 1
    monkeypatch.undo()
    assert factorysim("report", tmp_path / "x").code == 0


@pytest.mark.parametrize("name", ["calls.parquet", "manifest.json", "scenario.resolved.yaml"])
def test_a_page_is_not_written_over_the_run_that_it_tells(home, name):
    place, _ = home
    before = (place / "a" / name).read_bytes()
    told = factorysim("report", place / "a", place / "c", "--out", place / "a" / name)
    assert told.code == 2
    assert "a file that is read" in told.err
    assert (place / "a" / name).read_bytes() == before


def test_no_two_elements_of_a_page_have_one_id(home):
    place, _ = home
    ids = re.findall(r'\sid="([^"]*)"', (place / "a" / "report.html").read_text(encoding="utf-8"))
    assert sorted(ids) == sorted(set(ids))
    assert "factory" in ids


def test_an_slo_is_not_met_while_those_in_flight_could_turn_it(tmp_path):
    """Of a minute of calls as long, with an hour to answer, most are still there at the end."""
    text = changed("mean: 1 s", "mean: 20 s")
    text = changed("{ttft: 4 s, attain: 0.5}", "{turn: 1 h, attain: 0.95}", text)
    text = changed("steady_state, window: 200 s, warmup: 20 s, drain: 50 s",
                   "terminating, window: 60 s, drain: 1 s", text)  # fmt: skip
    (tmp_path / "case.yaml").write_text(text, encoding="utf-8")
    words = ("run", tmp_path / "case.yaml", "--workers", "1", "--out", tmp_path / "run")
    told = factorysim(*words)
    assert told.code == 0, told.err
    assert "SLO met so far: " in told.out
    assert "SLO met:" not in told.out
    line = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))["slo.met"]
    assert line["value"] is None
    assert "not decided" in line["reason"]
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    (state, shown) = re.search(r'class="badge (\w+)">(.*?)</span></p>', page).groups()
    assert state == "unknown"
    assert re.fullmatch(
        r'<span aria-hidden="true">\? </span>Met so far: \d\d\.\d % of the sessions were still '
        "under way",
        shown,
    )
    assert "Not ended. </strong>whether the SLO of a stream is met rests on sessions" in page
    both = (tmp_path / "case.yaml", tmp_path / "case.yaml", "--workers", "1")
    told = factorysim("compare", *both, "--out", tmp_path / "both", "--quiet")
    assert told.out.strip() == (
        "Both meet their SLOs so far: sessions that had not ended could turn it."
    )


def test_a_comparison_leads_to_a_page_of_each_of_its_runs(tmp_path):
    names = ("a b#c", "fast")
    (tmp_path / f"{names[0]}.yaml").write_text(SMALL, encoding="utf-8")
    text = changed("mean: 1 s", "mean: 500 ms")
    (tmp_path / f"{names[1]}.yaml").write_text(text, encoding="utf-8")
    scenarios = [tmp_path / f"{name}.yaml" for name in names]
    told = factorysim("compare", *scenarios, "--workers", "1", "--out", tmp_path / "both")
    assert (told.code, told.err) == (0, "")
    unfolded = told.out.rstrip().replace("\n", "")  # a path may be longer than a line
    assert unfolded.endswith(str(tmp_path / "both" / "report.html"))
    page = (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    links = re.findall(r'<a href="(\./[^"]*)">', page)
    assert [unquote(link) for link in links] == [f"./{name}/report.html" for name in names]
    assert "#" not in "".join(links), "it would be a place in the page"
    for name in names:
        own = tmp_path / "both" / name / "report.html"
        left = own.read_bytes()
        assert factorysim("report", own.parent).code == 0
        assert own.read_bytes() == left


def test_a_page_of_runs_that_stand_already_leads_nowhere_else(home, tmp_path):
    place, _ = home
    assert factorysim("report", place / "a", place / "c", "--out", tmp_path / "x.html").code == 0
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert set(re.findall(r'href="(.)', page)) == {"#"}
