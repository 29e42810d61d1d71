"""Lines, bars and intervals stand where their values are."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest

from factorysim.report.markup import join
from factorysim.report.svg import bars, forest, lines
from factorysim.report.svg.frame import Frame, axes, svg
from factorysim.report.svg.scale import linear, positive
from tests.unit.report.hostile import HOSTILE, Page

X, Y = linear(0.0, 10.0, (0.0, 100.0), tight=True), linear(0.0, 1.0, (50.0, 0.0), tight=True)


def numbers(path):
    return [float(text) for text in re.findall(r"-?[\d.]+", path["d"])]


def test_a_line_goes_through_its_points():
    (path,) = Page(
        lines.line(X, Y, np.array([0.0, 5.0, 10.0]), np.array([0.0, 1.0, 0.5]), 2)
    ).named("path")
    assert path["class"] == "line k2"
    assert numbers(path) == [0, 50, 50, 0, 100, 25]


def test_a_distribution_rises_where_its_values_are_and_stays_level_to_the_end():
    (path,) = Page(lines.steps(X, Y, np.array([2.0, 4.0]), np.array([0.5, 0.8]), 0)).named("path")
    assert path["d"] == "M20 50V25H40V10H100"


def test_an_area_lies_between_its_lines():
    at = np.array([0.0, 10.0])
    (path,) = Page(lines.area(X, Y, at, np.zeros(2), np.ones(2), 0)).named("path")
    assert numbers(path) == [0, 0, 100, 0, 100, 50, 0, 50]


def test_a_part_that_is_not_measured_is_shaded_and_nothing_where_there_is_none():
    frame = Frame()
    assert lines.shaded(frame, X, 0.0, 0.0, "warm-up") is None
    (box,) = Page(lines.shaded(frame, X, 0.0, 5.0, "warm-up")).named("rect")
    assert (float(box["x"]), float(box["width"])) == (0, 50)


def test_what_is_shaded_is_named_where_no_line_runs():
    frame = Frame()
    (name,) = Page(lines.shaded(frame, X, 0.0, 10.0, "warm-up")).named("text")
    assert float(name["y"]) < frame.top


def test_texts_of_limits_that_are_close_have_rows_of_their_own():
    """The third is near the second and not the first, and must not fall into the second's row."""
    frame, x = Frame(), linear(0.0, 340.0, (28.0, 368.0), tight=True)
    marks = [(200.0, "SLO 100 ms"), (250.0, "SLO 3 s"), (330.0, "SLO 20 s"), (900.0, "beyond")]
    drawn = Page(join(*lines.limits(frame, x, marks))).named("text")
    assert len(drawn) == 3
    places = {one["y"] for one in drawn}
    boxes = []
    for one, (_, text) in zip(drawn, marks, strict=False):
        size = 6 * len(text)
        left = float(one["x"]) - (size if "end" in one["class"] else 0)
        boxes.append((one["y"], left, left + size))
    for n, (y, left, right) in enumerate(boxes):
        for other, begin, end in boxes[n + 1 :]:
            assert y != other or right < begin or end < left
    assert len(places) == 2


def test_what_a_cross_hair_reads_is_json_whatever_names_there_are():
    for nasty in HOSTILE:
        told = json.loads(lines.stops([1.0], ["at 1 s"], [lines.Read(nasty, 0, ["2"])]))
        assert told["x"] == [1.0]
        assert told["rows"][0][2] == ["2"]
        page = Page(svg(Frame(), nasty, stops=json.dumps(told)))
        assert [name for name, _ in page.tags] == ["svg"]
        assert json.loads(page.named("svg")[0]["data-stops"]) == told


def test_the_last_text_of_an_axis_stays_inside_the_picture():
    frame = Frame()
    x = positive(0.5, 1_100.0, frame.across, "s")
    last = next(t for t in x.ticks if t.text == "1,000 s")
    assert x.at(last.value) + 3 * len(last.text) > frame.width  # else it would be there by itself
    drawn = Page(axes(frame, x, Y, "at most", "of all")).named("text")
    most = max(float(one["x"]) for one in drawn if one.get("class") == "mid")
    assert most + 3 * len(last.text) <= frame.width


def test_axes_have_ticks_and_titles_with_units():
    text = Page(axes(Frame(), linear(0.0, 90.0, (0.0, 1.0), "s"), Y, "time", "power")).text()
    assert "time (s)" in text
    assert "power" in text


def test_parts_of_a_bar_lie_side_by_side_and_fill_it():
    parts = [
        bars.Part(share, f"t-{n}", f"{share:.0%}", "x: y") for n, share in enumerate((0.25, 0.75))
    ]
    page = Page(bars.stack("time", [("code", parts)], 400.0))
    first, second = page.named("rect")
    assert float(first["x"]) == 0
    assert float(second["x"]) == pytest.approx(100)
    assert float(second["x"]) + float(second["width"]) == pytest.approx(399)


def test_a_value_that_is_withheld_has_no_bar():
    x = linear(0.0, 10.0, (0.0, 100.0))
    known = bars.Bar("a", 5.0, 4.0, 6.0, "5 J", "a")
    missing = bars.Bar("b", None, None, None, "withheld", "b\nwithheld: no model of it")
    page = Page(bars.values("energy", [known, missing], x, 100.0))
    assert [one["class"] for one in page.named("rect")].count("bar") == 1
    assert "withheld" in page.text("text")


def test_a_bar_is_as_long_as_its_value_and_the_whisker_as_its_interval():
    x = linear(0.0, 10.0, (20.0, 120.0), tight=True)
    page = Page(bars.values("energy", [bars.Bar("a", 4.0, 3.0, 6.0, "4 J", "a")], x, 140.0))
    track, bar = page.named("rect")
    assert (float(track["x"]), float(track["width"])) == (20, 100)
    assert (float(bar["x"]), float(bar["width"])) == pytest.approx((20, 40))
    (path,) = page.named("path")
    assert re.findall(r"[MH]([\d.]+)", path["d"]) == ["50.0", "80.0", "50.0", "80.0"]


@pytest.mark.parametrize(
    ("share", "drawn"), [(0.0, 0), (0.25, 15), (1.0, 60), (1.7, 60), (-0.5, 0)]
)
def test_a_small_bar_fills_its_share_of_all_its_room(share, drawn):
    page = Page(bars.small(share))
    (frame,) = page.named("svg")
    track, bar = (float(one["width"]) for one in page.named("rect"))
    assert frame["viewbox"].split()[2] == "60"
    assert (track, bar) == pytest.approx((60, drawn))


def row(ratio, low=None, high=None):
    return forest.Row("TTFT", ratio, low, high, "+1 %", "TTFT\ndifference: +1 %")


def test_only_an_interval_that_leaves_out_1_is_filled():
    rows = [row(1.2, 1.1, 1.3), row(1.2, 0.9, 1.5), row(0.5, 0.4, 0.6), row(2.0)]
    looks = [one["class"] for one in Page(forest.forest("x", rows, "less", "more")).named("circle")]
    assert looks == ["clear", "open", "clear", "open"]


def test_what_is_farther_than_the_axis_is_an_arrow_at_its_end():
    page = Page(forest.forest("x", [row(4000.0), row(0.0), row(1.0)], "less", "more"))
    assert len(page.named("circle")) == 1
    assert len([one for one in page.named("path") if one.get("class") == "open"]) == 2


def test_more_lies_to_the_right_of_less():
    page = Page(forest.forest("x", [row(0.5), row(1.0), row(2.0)], "less", "more"))
    less, same, more = (float(one["cx"]) for one in page.named("circle"))
    (zero,) = [float(one["x1"]) for one in page.named("line") if one.get("class") == "zero"]
    assert less < same == pytest.approx(zero)
    assert more > zero


def test_every_look_of_a_line_is_styled_and_no_two_are_alike():
    style = (files("factorysim.report") / "templates" / "report.css").read_text(encoding="utf-8")
    looks = []
    for look in range(lines.INK + 1):
        colour = re.search(rf"\.line\.k{look}\b[^{{}}]*{{ stroke: var\((--m\d)\)", style)
        dash = re.search(rf"\.line\.k{look} {{ stroke-dasharray: ([\d. ]+); }}", style)
        assert colour, look
        looks.append((colour.group(1), dash.group(1) if dash else ""))
    assert len(set(looks)) == len(looks)
