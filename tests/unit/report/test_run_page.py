"""The page of a run and of runs side by side: what it says, in which order, whatever is in it."""

import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factorysim.errors import UserError
from factorysim.metrics.names import metric
from factorysim.metrics.summary import Line
from factorysim.report.charts.over_time import time_charts
from factorysim.report.charts.source import Source
from factorysim.report.numbers import digits, of_unit, seconds
from factorysim.report.run_page import MOST, comparison_page, report, run_page
from factorysim.report.sections import COMPARISON, RUN
from factorysim.report.sections.over_time import BINS
from factorysim.report.sections.section import between, interval, view_of
from factorysim.report.sections.verdict import FIGURES, verdict
from factorysim.report.svg.lines import LOOKS
from factorysim.run import Run, simulate
from factorysim.study.pairing import pair_runs
from tests.unit.report.hostile import HOSTILE, Page
from tests.unit.run.builders import mm1

NAMES = ("calls", "queue", "gpu", "one")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of the same demand on one server and on two, and an overloaded one."""
    home = tmp_path_factory.mktemp("runs")
    cases = {"one": mm1(), "two": mm1(servers=2), "over": mm1(rate="2 /s", drain="5 s")}
    return {
        name: simulate(case, out=home / name, workers=1, name=name) for name, case in cases.items()
    }


@pytest.fixture(scope="module")
def page(runs):
    return run_page(runs["one"])


def titles(text):
    return [data.strip() for where, data in Page(text).texts if where == "h2"]


def section(text, name):
    return re.search(f'<section id="{name}".*?</section>', text, re.DOTALL).group()


def row(text, name):
    return re.search(f'<tr><th scope="row">{name}</th>.*?</tr>', text).group()


def test_sections_come_in_the_order_of_the_tuple(runs, page):
    view = view_of([runs["one"]])
    assert titles(page) == [make(view).title for make in RUN]
    assert titles(page)[0] == "Verdict"


def test_each_section_is_a_function_of_a_view_alone(runs):
    view = view_of([runs["one"], runs["two"]], pair_runs([runs["one"], runs["two"]]))
    made = [make(view) for make in COMPARISON]
    assert len({one.id for one in made}) == len(made)
    for one in made:
        Page(one.body)


def test_the_verdict_says_what_was_met_how_full_it_is_and_what_it_takes(runs, page):
    text = " ".join(Page(section(page, "verdict")).text().split())
    summary = runs["one"].summary
    full = summary["saturation"]
    assert "The SLO is met" in text
    assert f"{100 * full.value:.1f} % full on average" in text
    assert f"{1 / full.value:.2f} times this load" in text
    assert f"{1 / min(full.ci_high, 1):.2f} to {1 / full.ci_low:.2f}" in text
    for name in FIGURES:
        assert of_unit(summary[name].value, metric(name).unit) in text
    power = summary["power.facility_w.mean"]
    assert between(power.ci_low, power.ci_high, "W", power.value) in text
    assert "in 1 rack" in text


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(0.4, 0.7, (144.0, 252.0)), (-0.1, 0.75, (0.0, 270.0)), (0.3, 1.2, (108.0, 360.0))],
)
def test_the_bar_of_headroom_is_as_full_as_the_pool(runs, low, high, ends):
    """And its whisker ends where the interval does, or at the end of the bar."""
    other = Run(runs["one"].path)
    full = {"saturation": Line(0.5, low, high, 3, None)}
    other.__dict__["summary"] = other.summary | full
    room = Page(re.search(r"<svg[^>]*meter.*?</svg>", verdict(view_of([other])).body).group())
    track, bar = (float(one["width"]) for one in room.named("rect"))
    assert (track, bar) == pytest.approx((360, 180))
    (path,) = room.named("path")
    left, right, *line = (float(at) for at in re.findall(r"[MH]([\d.]+)", path["d"]))
    assert (left, right) == tuple(line) == pytest.approx(ends)


def test_devices_that_serve_nothing_are_told(runs, page):
    assert "serve nothing" not in page
    other = Run(runs["one"].path)
    other.manifest["layout"] = other.manifest["layout"] | {"idle_devices": 56}
    told = Page(section(run_page(other), "verdict")).text()
    assert "in 1 rack; 56 more of their kind serve nothing, and draw power" in told


def test_bounds_are_in_the_unit_of_what_they_bound():
    line = Line(996e3, 986e3, 1012e3, 5, None)
    assert interval("power.facility_w.mean", line) == "986 to 1012 kW"
    assert interval("ttft_s.mean", Line(1.9, 1.7, 2.1, 5, None)) == "1.70 to 2.10 s"


def test_an_energy_that_is_withheld_has_its_reason_in_print_too(page):
    text = " ".join(Page(section(page, "energy")).text().split())
    place = re.search(r"electrical chain ?withheld (\(\d\))", text).group(1)
    assert f"{place} the electrical chain (shelves, UPS, transformers) is not modelled" in text


def test_where_time_goes_says_what_it_leaves_out(runs):
    """Sessions in flight are the long ones: shares of the others alone would mislead."""
    summary = runs["over"].summary
    share = 1 - summary["sessions.completed"].value / summary["sessions.arrived"].value
    assert share > 0.1
    text = " ".join(Page(section(run_page(runs["over"]), "shares")).text().split())
    assert f"Left out: the {100 * share:.1f} % of the measured sessions" in text
    kinds = [name for name, line in summary.items()
             if name.startswith("time_share.") and line.value is None]  # fmt: skip
    assert kinds
    for name in kinds:
        assert summary[name].reason in text


def test_one_stream_has_one_bar(page):
    assert "all streams" not in section(page, "shares")


def test_a_page_names_no_command_made_of_what_a_file_is_called(runs, tmp_path):
    """It would be pasted into a shell; and the name of a scenario is not where it lies."""
    named = simulate(mm1(), out=tmp_path / "run", workers=1, name="x; rm -rf ~")
    text = Page(section(run_page(named), "verdict")).text("code")
    assert text == "factorysim capacity scenario.resolved.yaml"


def test_no_capacity_is_asked_for_where_no_slo_could_be_missed(tmp_path):
    free = mm1(slo=False)
    text = section(run_page(simulate(free, out=tmp_path / "run", workers=1)), "verdict")
    assert "factorysim capacity" not in text
    assert "Latency goes first." in text


def test_a_run_in_which_nothing_came_says_so(tmp_path):
    idle = simulate(mm1(rate="0.000001 /s"), out=tmp_path / "run", workers=1)
    assert idle.summary["sessions.arrived"].value == 0
    assert "Nothing arrived" in Page(section(run_page(idle), "warnings")).text()


def test_no_two_lines_of_a_chart_look_alike(tmp_path):
    """Of more streams than there are looks some are left out, and that is said."""
    names = [f"calls{number}" for number in range(LOOKS + 3)]
    run = simulate(mm1(rate="0.03 /s", streams=names), out=tmp_path / "run", workers=1)
    text = run_page(run)
    for name in ("latency", "time"):
        for figure in re.findall(r"<figure>.*?</figure>", section(text, name), re.DOTALL):
            looks = re.findall(r'<path class="line (k\d+)"', figure)
            assert all(looks.count(look) == 2 for look in looks), "a line, and its entry in the key"
    assert "3 more streams are not drawn" in section(text, "latency")
    table = run.metrics.query("by == 'stream' and key == 'calls0' and name == 'ttft_s.mean'")
    assert f'<td class="n">{seconds(table["value"].mean())}</td>' in row(text, "calls0: TTFT")
    line = time_charts(Source(run), BINS)[0].series[0].mean
    middle = (np.arange(BINS) + 0.5) * Source(run).end_s(0) / BINS
    highest = line[(middle >= 20) & (middle < 220)].max()
    assert f"{digits(float(highest))}</td></tr>" in row(section(text, "time"), "calls0")
    assert "3 more are not drawn" in section(text, "time")
    assert "calls12" in section(text, "time")


def test_an_overloaded_run_says_so_first_and_withholds(runs):
    text = run_page(runs["over"])
    verdict = Page(section(text, "verdict")).text()
    assert "Overloaded: more arrives than is served" in verdict
    assert "None: more arrives than is served." in verdict
    warnings = Page(section(text, "warnings")).text()
    assert "were still in flight" in warnings
    assert "ttft_s" in warnings
    assert "had not ended: its curve ends at" in Page(section(text, "latency")).text()


def test_what_is_not_there_is_told_and_not_drawn(page):
    told = Page(section(page, "time")).text()
    assert "Not drawn: no tool ran on hosts of the factory." in told
    assert "withheld" in Page(section(page, "energy")).text()


def test_every_metric_and_every_law_is_listed(runs, page):
    metrics = Page(section(page, "metrics")).text("code")
    assert set(runs["one"].summary) <= set(metrics.split())
    laws = Page(section(page, "audit")).text("th")
    assert all(law in laws for law in runs["one"].audit)


def test_assumed_facts_have_their_bands_of_the_same_catalog(runs, page):
    names = runs["one"].manifest["assumed_facts"]
    assert names
    assert all(name in Page(section(page, "assumed")).text("code") for name in names)
    assert "low" in Page(section(page, "assumed")).text("th")


def test_facts_of_another_catalog_are_named_without_values(runs):
    other = Run(runs["one"].path)
    other.manifest["catalog_sha256"] = "0" * 64
    told = Page(section(run_page(other), "assumed"))
    assert "another catalog" in told.text()
    assert not told.named("table")
    assert other.manifest["assumed_facts"][0] in told.text("code")


def test_an_interrupted_run_and_one_replication_are_warned_of(runs):
    other = Run(runs["one"].path)
    other.manifest |= {"interrupted": True, "replications_asked": 9, "conditional": "one trace"}
    told = Page(section(run_page(other), "warnings")).text()
    assert "3 of 9 replications had finished" in told
    assert "one trace" in told


def test_the_same_run_gives_the_same_bytes(runs, page):
    assert run_page(Run(runs["one"].path)) == page


def test_a_page_is_one_small_file_that_fetches_nothing(page):
    assert len(page.encode()) < 3e6
    taken = Page(page)
    assert not taken.named("link", "img", "iframe", "object", "embed", "form", "base")
    for name, attrs in taken.tags:
        assert not [key for key in attrs if key.startswith("on") or key in ("src", "style")]
        assert attrs.get("href", "#").startswith("#"), (name, attrs)
    assert "@import" not in page
    assert page.count("url(") == page.count("url(#"), "of what the page itself holds alone"
    (policy,) = [
        one["content"] for one in taken.named("meta") if "content-security" in str(one).lower()
    ]
    for name in ("style", "script"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_what_is_drawn_can_be_heard_and_ids_are_not_used_twice(runs):
    text = comparison_page(pair_runs([runs["one"], runs["two"]]))
    taken = Page(text)
    ids = [attrs["id"] for _, attrs in taken.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for drawn in taken.named("svg"):
        assert drawn.get("aria-hidden") == "true" or (
            drawn["role"] == "img" and drawn["aria-label"]
        )
    assert len(taken.named("caption")) == len(taken.named("table"))
    pointed = {attrs["href"][1:] for attrs in taken.named("a")}
    assert pointed <= set(ids)


def test_a_comparison_pairs_and_shows_both(runs):
    text = comparison_page(pair_runs([runs["one"], runs["two"]]))
    assert titles(text)[:2] == ["Verdict", "Differences"]
    paired = Page(section(text, "paired"))
    assert "TTFT, mean" in paired.text("text")
    assert {"A one", "B two"} <= {data for where, data in Page(text).texts if where == "h3"}
    stops = [
        json.loads(one["data-stops"]) for one in Page(text).named("svg") if "data-stops" in one
    ]
    assert stops[0]["head"] == stops[1]["head"], "both are drawn on the same axis"


def test_of_three_runs_it_is_said_whom_a_verdict_is_of(runs):
    text = comparison_page(pair_runs([runs["one"], runs["two"], runs["over"]]))
    said = Page(section(text, "verdict")).text("p")
    assert "A and B: " in said
    assert "A and C: " in said


def test_as_many_runs_as_a_page_holds_have_letters_of_their_own(runs):
    found = pair_runs([runs["one"]] * MOST)
    text = comparison_page(found)
    taken = Page(text)
    sides = [title for where, title in taken.texts if where == "h3"]
    assert {one[:2] for one in sides if one[1:2] == " "} == {f"{c} " for c in "ABCDEFGHIJKL"}
    ids = [attrs["id"] for _, attrs in taken.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert taken.text("h1").strip() == f"one in one against {MOST - 1} others"
    with pytest.raises(UserError, match=f"found {MOST + 1} runs, expected at most {MOST} on one"):
        comparison_page([*found, found[0]])


def test_more_runs_than_a_page_holds_are_refused_before_any_is_read(tmp_path):
    with pytest.raises(UserError, match="13 runs"):
        report(*[tmp_path / "nowhere"] * 13, out=tmp_path / "x.html")


def test_several_runs_need_a_place(runs, tmp_path):
    with pytest.raises(UserError, match="2 runs"):
        report(runs["one"], runs["two"])
    with pytest.raises(UserError, match="no run"):
        report()
    assert report(runs["one"], runs["two"], out=tmp_path / "x.html") == tmp_path / "x.html"


def test_a_run_that_was_tampered_with_gets_no_page(runs, tmp_path):
    folder = shutil.copytree(runs["one"].path, tmp_path / "run")
    text = (folder / "summary.json").read_text().replace("0.", "1.", 1)
    (folder / "summary.json").write_text(text)
    with pytest.raises(UserError, match=r"summary\.json"):
        report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("nasty", HOSTILE)
def test_a_hostile_run_directory_is_shown_as_text(runs, tmp_path, nasty):
    run = Run(poisoned(runs["one"].path, tmp_path / "run", nasty))
    text = run_page(run)
    text.encode()
    taken = Page(text)
    assert not taken.named("img", "b") or all(not attrs for attrs in taken.named("b"))
    assert not taken.named("img")
    assert len(taken.named("script")) == len(taken.named("style")) == 1
    assert all(not key.startswith("on") for _, attrs in taken.tags for key in attrs)
    shown = nasty if nasty.isprintable() else "\\x1b[31mred\\x1b[0m\\u202e\\udc80"
    assert shown in taken.text("h1")
    assert shown in taken.text("li")


def poisoned(folder, place, nasty):
    """Copy a run with a text in place of all its names: of streams, pools, deployments, notes."""
    shutil.copytree(folder, place)
    manifest = json.loads((place / "manifest.json").read_text())
    manifest = renamed(manifest, nasty)
    manifest["scenario"]["question"] = nasty
    manifest["notes"] = [nasty]
    manifest["conditional"] = nasty
    manifest["replications"][0]["audit"][0]["detail"] = f"warning: {nasty}"
    manifest["model_error"]["reason"] = nasty
    (place / "manifest.json").write_text(json.dumps(manifest))
    summary = json.loads((place / "summary.json").read_text())
    summary = {key.replace(".gpu", f".{nasty}") if "gpu" in key else key: value
               for key, value in summary.items()}  # fmt: skip
    summary["bottleneck"]["value"] = nasty
    summary["mfu." + nasty] |= {"value": None, "reason": nasty}
    (place / "summary.json").write_text(json.dumps(summary))
    if "\udc80" not in nasty:  # no table holds half a character
        for path in place.glob("*.parquet"):
            pq.write_table(repainted(pq.read_table(path), nasty), path)
    return place


def renamed(value, nasty):
    if isinstance(value, dict):
        return {nasty if key in NAMES else key: renamed(one, nasty) for key, one in value.items()}
    if isinstance(value, list):
        return [renamed(one, nasty) for one in value]
    return nasty if value in NAMES else value


def repainted(table, nasty):
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            column = table.column(place).cast(pa.string()).to_pylist()
            changed = pa.array([nasty if one in NAMES else one for one in column], pa.string())
            table = table.set_column(place, field, changed.cast(field.type))
    return table
