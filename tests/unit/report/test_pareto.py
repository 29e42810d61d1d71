"""A sweep in words: its ends, and what is missing from it."""

from types import SimpleNamespace

from factorysim.report.pareto import verdict
from factorysim.study.pareto import Estimate, Point, Refused, unmeasured


def point(layout, concurrency, user, gpu, megawatt):
    fields = dict.fromkeys(Point._fields) | {
        "scenario": "a",
        "layout": layout,
        "concurrency": concurrency,
        "tokens_per_s_per_user": Estimate(user),
        "tokens_per_s_per_gpu": Estimate(gpu),
        "tokens_per_s_per_mw": Estimate(megawatt),
    }
    return Point(**fields)


def swept(points, refused=()):
    return SimpleNamespace(
        factories=[SimpleNamespace(name="a")], points=points, refused=list(refused)
    )


def test_each_of_the_three_ends_is_the_best_of_its_kind():
    """Fewer GPUs may make most each, where more of them make most of a MW."""
    found = swept(
        [
            point("tp 4", 8, 109.0, 79.9, 264.0),
            point("tp 8", 8, 107.0, 50.4, 332.0),
            point("tp 8", 1, 140.0, 7.0, 40.0),
        ]
    )
    assert [str(line) for line in verdict(found)] == [
        "a: up to 140 tokens/s for a user (tp 8, 1 in flight)",
        "  up to 332 tokens/s from a MW (tp 8, 8 in flight, 107 for a user)",
        "  up to 79.9 tokens/s from a GPU (tp 4, 8 in flight, 109 for a user)",
    ]


def test_layouts_without_a_point_are_counted():
    """One of which some points are missing is drawn."""
    refused = [
        Refused("a", "tp 8", 64, "the sessions run out"),
        Refused("a", "tp 16", None, "too few devices"),
        Refused("a", "tp 3", 1, "no time"),
        Refused("a", "tp 3", 8, "no time"),
    ]
    found = swept([point("tp 8", 1, 9.0, 9.0, 9.0)], refused)
    last = "2 of 3 layouts are not drawn: nothing of them could be measured"
    assert str(verdict(found)[-1]) == last
    assert [tuple(one) for one in unmeasured(found)] == [
        ("a tp 8 at 64", "the sessions run out"),
        ("a tp 16", "too few devices"),
        ("a tp 3 at 1 and 8", "no time"),
    ]
