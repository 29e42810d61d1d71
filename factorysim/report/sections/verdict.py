"""The verdict: what was asked for, whether it was met, how much room is left, what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.in_slo import verdicts
from factorysim.metrics.names import metric
from factorysim.report.markup import join, tag
from factorysim.report.numbers import of_unit, percent
from factorysim.report.sections.section import Section, Shown, each, folded, interval, note
from factorysim.report.slo import badge, slo_limits, told_apart
from factorysim.report.svg.bars import whisker
from factorysim.report.svg.frame import Frame, svg
from factorysim.report.svg.scale import linear
from factorysim.report.terminal import FULL, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markupsafe import Markup

    from factorysim.metrics.summary import Line
    from factorysim.report.markup import Content
    from factorysim.report.sections.section import View

MARKS = {"good": "✓", "bad": "✗", "unknown": "?", "plain": "·"}
FIGURES = {
    "power.facility_w.mean": "facility power, mean",
    "tokens.output_per_s": "output tokens made",
    "energy.j_per_output_token.facility": "facility energy per output token",
    "goodput.sessions_per_s": "arrivals that met their SLO",
    "cost.energy_usd_per_mtok_output": "electricity per million output tokens",
}
MOST = 100.0
"""Times the load beyond which room is not told: nobody can say that much from so little."""


def verdict(view: View) -> Section:
    """Say first whether what was asked for was met, how full the factory is, and what it takes.

    Of more than two runs each is compared with the first, and it is said which is.
    """
    many = len(view.comparisons) > 1
    compared = [
        tag("p", f"A and {other.letter}: " if many else None, one.verdict, class_="lead")
        for other, one in zip(view.runs[1:], view.comparisons, strict=False)
    ]
    return Section(
        "verdict",
        "Verdict",
        join(compared, each(view, lambda one: _of_run(one, view.several))),
    )


def _of_run(one: Shown, several: bool) -> Markup:
    return join(
        None if several else _lead(one),
        tag("ul", [_line(*line) for line in said(one.run)], class_="said"),
        _rest(one),
        _room(one),
        tag("ul", list(_cards(one)), class_="cards"),
        _own_page(one),
    )


def _own_page(one: Shown) -> Markup | None:
    """Lead to the page of a run alone, which does not come along where this one is sent."""
    if not one.page:
        return None
    return note(
        tag("a", f"The page of {one.letter} alone", href=one.page), ", in the directory of its run."
    )


def _lead(one: Shown) -> Markup:
    """Say the most important thing, in a few words."""
    overload = one.run.manifest["overload"]
    if overload is not None and overload["state"] == "overloaded":
        return _badge("Overloaded: more arrives than is served", "bad")
    if overload is not None and overload["state"] == "unsettled":
        return _badge("Not settled: the run is too short to tell", "bad")
    return _badge(*badge(one.run.manifest["slo"]))


def _badge(text: str, state: str) -> Markup:
    mark = None if state == "plain" else tag("span", f"{MARKS[state]} ", aria_hidden="true")
    return tag("p", tag("span", mark, text, class_=f"badge {state}"), class_="lead")


def _rest(one: Shown) -> Markup | None:
    """List the SLOs of the streams that the verdict only counts."""
    _, rest = told_apart(one.run.manifest["slo"])
    if not rest:
        return None
    lines = tag("ul", [_line(*line) for line in rest], class_="said")
    return folded(f"The SLOs of {len(rest):,} more streams, by how little room is left", lines)


def _line(head: str, text: str, state: str) -> Markup:
    return tag(
        "li",
        tag("span", MARKS[state], class_="mark", aria_hidden="true"),
        tag("strong", head),
        " ",
        tag("span", text),
        class_=state,
    )


def _cards(one: Shown) -> Iterator[Markup]:
    racks, beside = racks_of(one)
    devices = one.run.manifest["devices"]
    yield _card(
        f"{devices:,}",
        "serving device" if devices == 1 else "serving devices",
        f"in {racks:,} {'rack' if racks == 1 else 'racks'}{beside}{_idle(one)}",
    )
    for name, text in FIGURES.items():
        line = one.run.summary.get(name)
        if line is not None:
            yield _figure(name, text, line)


def _idle(one: Shown) -> str:
    """Say how many more devices draw power and serve nothing."""
    idle = one.run.manifest["layout"]["idle_devices"]
    return f"; {idle:,} more of their kind serve nothing, and draw power" if idle else ""


def racks_of(one: Shown) -> tuple[int, str]:
    """Count racks with devices, and say what network racks stand beside them."""
    places = [str(place) for place in one.run.power["place"].unique()]
    network = sum(place.startswith("fabric/") for place in places)
    beside = f", {network} more for the network" if network else ""
    return len(places) - network, beside


def _card(value: str, text: str, more: str) -> Markup:
    number, _, unit = value.partition(" ")
    shown = tag("b", number, tag("small", f" {unit}") if unit else None)
    return tag("li", shown, tag("span", text), tag("span", more, class_="more"))


def _figure(name: str, text: str, line: Line) -> Markup:
    if not isinstance(line.value, float):
        return _card("withheld", text, line.reason or "no reason given")
    between = interval(name, line)
    why = "no interval, see warnings" if line.reason else "no spread between replications"
    more = f"95 %: {between}" if between else why
    return _card(of_unit(line.value, metric(name).unit), text, more)


def _room(one: Shown) -> Markup | None:
    """Draw how full the fullest pool is, and say how much more load there is room for."""
    line = one.run.summary.get("saturation")
    if line is None or not isinstance(line.value, float):
        return None
    low, high = line.ci_low, line.ci_high
    x = linear(0.0, 1.0, (0.0, 360.0), "ratio", tight=True)
    frame = Frame(360.0, 22.0, 0.0, 360.0, 0.0, 22.0)
    between = interval("saturation", line)
    label = f"The fullest pool is {percent(line.value)} full{between and f', 95 %: {between}'}"
    bar = svg(
        frame,
        label,
        tag("rect", class_="track", width=360, height=14, y=4),
        tag("rect", class_="bar", width=x.at(line.value), height=14, y=4),
        whisker(x, None if low is None else max(low, 0.0), high, 11.0),
        class_="meter",
    )
    return tag("div", tag("h3", "Headroom"), bar, tag("p", _headroom(one, line)), _caveat(one),
               class_="room")  # fmt: skip


def _headroom(one: Shown, line: Line) -> str:
    overload = one.run.manifest["overload"]
    if overload is not None and overload["state"] == "overloaded":
        return "None: more arrives than is served."
    assert isinstance(line.value, float)
    full = f"The fullest pool is {percent(line.value)} full on average"
    if line.value <= 1 / MOST:
        return f"{full}: room for far more than this run can speak of."
    if line.value >= FULL:
        return f"{full}: no room."
    if any(one.judgement == "missed" for one in verdicts(one.run.manifest["slo"])):
        full = f"None inside the SLO, which is missed at this load already. {full}"
    room = f"{full}: full at {_times(line.value)} times this load"
    if line.ci_low is None or line.ci_high is None or line.ci_low == line.ci_high:
        return f"{room}. {(line.reason or 'No spread between replications').capitalize()}."
    least = _times(min(line.ci_high, 1.0))
    most = f"to {_times(line.ci_low)}" if line.ci_low > 1 / MOST else "or far more"
    return f"{room} (95 %: {least} {most})."


def _times(full: float) -> str:
    times = 1.0 / full
    return f"{times:.2f}" if times < 10 else f"{times:.0f}"


def _caveat(one: Shown) -> Markup:
    """Say what the room rests on, and how to do better: where an SLO could be missed."""
    steady = one.run.manifest["kind"] == "steady_state"
    if not any(slo_limits(slo) for slo in one.run.manifest["slo"].values()):
        how: tuple[Content, ...] = ("Latency goes first.",)
    else:
        how = (
            "Latency goes first: in the run's directory, ",
            tag("code", "factorysim capacity scenario.resolved.yaml"),
            " finds the load at which SLOs are missed, by simulating it.",
        )
    return note(
        "If fullness grows in proportion to load",
        ". " if steady else ", and the load stays as it was on average. ",
        *how,
    )
