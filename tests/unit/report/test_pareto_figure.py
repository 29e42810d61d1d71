"""The figure of a sweep: all is named, and the same points give the same bytes."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from matplotlib.figure import Figure

from factorysim.report.pareto_figure import COLOURS, _Box, _curves, draw_pareto
from factorysim.study.frontier import frontier
from factorysim.study.pareto import Estimate, Point


def points(scenario, layout, values):
    """Points of a layout, given by what a user and a GPU get."""
    fields = dict.fromkeys(Point._fields)
    return [
        Point(
            **fields
            | {
                "scenario": scenario,
                "layout": layout,
                "concurrency": 4**place,
                "tokens_per_s_per_user": Estimate(user, 0.9 * user, 1.1 * user),
                "tokens_per_s_per_gpu": Estimate(gpu),
                "tokens_per_s_per_mw": Estimate(800 * gpu),
                "on_gpu_frontier": False,
                "on_mw_frontier": False,
            }
        )
        for place, (user, gpu) in enumerate(values)
    ]


def swept(*curves):
    told = [point for curve in curves for point in curve]
    names = list(dict.fromkeys(point.scenario for point in told))
    marked = []
    for name in names:
        mine = [point for point in told if point.scenario == name]
        pairs = [(p.tokens_per_s_per_user.value, p.tokens_per_s_per_gpu.value) for p in mine]
        kept = frontier(pairs)
        marked += [
            point._replace(on_gpu_frontier=place in kept, on_mw_frontier=place in kept)
            for place, point in enumerate(mine)
        ]
    return SimpleNamespace(factories=[SimpleNamespace(name=name) for name in names], points=marked)


FAST = [(300.0, 20.0), (200.0, 100.0), (60.0, 700.0)]
FULL = [(120.0, 30.0), (90.0, 300.0), (50.0, 1500.0)]
SWEEPS = {
    "one curve": swept(points("a", "tp 8", FAST)),
    "one point": swept(points("a", "tp 8", FAST[:1])),
    "two layouts": swept(points("a", "tp 8", FAST), points("a", "tp 2", FULL)),
    "two factories": swept(points("a", "tp 8", FAST), points("b", "tp 8", FULL)),
    "layouts of both": swept(
        points("a", "tp 8", FAST), points("a", "tp 2", FULL), points("$x_1$", "tp 8", FULL)
    ),
    "eight": swept(*(points(f"f{n}", "tp 8", [(u * n, g) for u, g in FAST]) for n in range(1, 9))),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_drawn(tmp_path, name):
    draw_pareto(SWEEPS[name], tmp_path / "f.png")
    assert len((tmp_path / "f.png").read_bytes()) > 10_000


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_points_give_the_same_bytes(tmp_path, kind):
    files = [tmp_path / f"{copy}.{kind}" for copy in "ab"]
    for file in files:
        draw_pareto(SWEEPS["two factories"], file)
    first, second = (file.read_bytes() for file in files)
    assert first == second


def test_factories_are_named_in_their_colours_and_sessions_at_the_ends(tmp_path):
    draw_pareto(SWEEPS["layouts of both"], tmp_path / "f.svg")
    text = (tmp_path / "f.svg").read_text()
    for name in ("a", "tp 2", "1 in flight", "16"):
        assert f">{name}</text>" in text
    assert COLOURS[0].lower() in text
    assert COLOURS[1].lower() in text


def test_names_are_text_and_no_formulas(tmp_path):
    draw_pareto(SWEEPS["layouts of both"], tmp_path / "f.svg")
    assert ">$x_1$</text>" in (tmp_path / "f.svg").read_text()


def test_every_factory_is_told_apart_by_colour_or_mark():
    curves = _curves(SWEEPS["eight"])
    assert len({(curve.colour, curve.mark) for curve in curves}) == len(curves) == 8


def test_a_label_stands_nearest_to_what_it_names():
    """The end of the best layout, beside a beaten point that is nearer to its foot."""
    best = points("a", "tp 8", [(140.0, 17.3), (38.4, 296.0)])
    other = points("a", "ep 8", [(117.0, 14.5), (35.8, 277.0)])
    found = swept(best, other, points("b", "tp 8", [(40.6, 5.0), (31.5, 218.0)]))
    ends = [t for axes in _axes(found) for t in axes.texts if t.get_text() == "1 in flight"]
    assert len(ends) == 2
    for label in ends:
        axes = label.axes
        extent = label.get_window_extent(axes.figure.canvas.get_renderer())
        box = _Box(extent.x0, extent.y0, extent.x1, extent.y1)
        value = "tokens_per_s_per_mw" if axes is axes.figure.axes[0] else "tokens_per_s_per_gpu"
        off = {
            (p.scenario, p.layout, p.concurrency): box.off(
                axes.transData.transform((p.tokens_per_s_per_user.value, getattr(p, value).value))
            )
            for p in found.points
        }
        assert min(off, key=off.get) == ("a", "tp 8", 1)


def _axes(found):
    drawn = []
    with patch.object(Figure, "savefig", lambda self, *_, **__: drawn.extend(self.axes)):
        draw_pareto(found, Path("f.png"))
    assert len(drawn) == 2
    return drawn


def test_intervals_lie_inside_the_axes():
    for axes in _axes(SWEEPS["one curve"]):
        low, high = axes.get_xlim()
        assert low < 0.9 * 60.0
        assert high > 1.1 * 300.0


def test_boxes_tell_how_much_they_cover():
    assert _Box(0, 0, 4, 4).covers(_Box(2, 3, 9, 9)) == 2
    assert _Box(0, 0, 4, 4).covers(_Box(4, 0, 9, 9)) == 0
