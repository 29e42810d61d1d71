"""Hand-offs in a window: how long KV takes, how much of it moves, who waits where."""

from __future__ import annotations

import pytest

from factorysim.metrics.activity import Activity
from factorysim.metrics.handoffs import handoff_values
from factorysim.metrics.inputs import Window
from factorysim.metrics.stations import pool_values
from factorysim.records import HandOffRow
from tests.unit.metrics.builders import call, layout, station, tables, values

WINDOW = Window(10.0, 60.0)


def handoff(number, prefilled_s=20.0, joined_s=22.0, **changes):
    row = HandOffRow(
        number, "prefill", 2, "decode", 0, prefilled_s - 3, prefilled_s - 1, prefilled_s,
        prefilled_s, prefilled_s + 1, joined_s - 0.5, joined_s, 100, 20, 1_000, 0,
    )  # fmt: skip
    return row._replace(**changes)


def idle(stations):
    return {one.name: Activity() for one in stations}


def test_time_counts_by_the_prefill_and_bytes_by_their_landing():
    rows = [
        handoff(0),
        handoff(1, 30.0, 33.0),
        handoff(2, 9.0, 12.0, moved_bytes=7),  # computed before the window, landed in it
        handoff(3, 59.0, 61.5, moved_bytes=50),  # computed in it, landed after it
        handoff(4, 40.0)._replace(asked_s=None, joined_s=None, landed_s=None),  # went on nowhere
    ]
    found = values(handoff_values(tables(handoffs=rows), WINDOW))
    assert found["handoff_s.mean"] == pytest.approx((2.0 + 3.0 + 2.5) / 3)
    assert found["kv.moved_bytes"] == 2_007


def test_nothing_is_known_where_nothing_is_apart():
    found = handoff_values(tables(), WINDOW)
    assert {value.value for value in found} == {None}
    assert all(value.reason for value in found)


def test_each_side_has_its_own_queue():
    """Two seconds for a first step at one, one second for blocks at the other; not both at one."""
    stations = (
        station("prefill", pool="p", router="m prefill 0"),
        station("decode", pool="d", router="m decode 0"),
    )
    rows = tables(calls=[call(0, queued_s=17.0, scheduled_s=19.0)], handoffs=[handoff(0)])
    found = values(pool_values(rows, WINDOW, layout(*stations), idle(stations)))
    assert found["queue.p.mean"] == pytest.approx(2 / 50)
    assert found["queue.d.mean"] == pytest.approx(1 / 50)


def test_a_full_part_of_a_pool_is_not_helped_by_room_in_another():
    """Prefill is full and decode idle: the pool is full, and the bottleneck says which part."""
    stations = (
        station("prefill", router="m prefill 0"),
        station("decode", router="m decode 0"),
    )
    activity = idle(stations)
    activity["prefill"].load_s = 100.0  # of two replicas, 50 s each
    activity["prefill"].full_s = (0.0, 0.0, 100.0)
    found = pool_values(tables(), WINDOW, layout(*stations), activity)
    assert values(found)["saturation"] == 1.0
    assert values(found)["saturation.nvl72"] == 1.0
    assert values(found)["bottleneck"] == "nvl72 (prefill): tokens of a step"
    assert values(found, by="deployment", key="decode")["saturation.nvl72"] == 0.0
    together = tuple(one._replace(router="m serve 0") for one in stations)
    found = values(pool_values(tables(), WINDOW, layout(*together), activity))
    assert found["saturation"] == 0.5
