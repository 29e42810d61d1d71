"""Tools that fail, sandboxes, and deployments of tools beside each other."""

from __future__ import annotations

import pytest

from factorysim.metrics.activity import activities
from factorysim.metrics.inputs import Window
from factorysim.metrics.stations import pool_values
from factorysim.metrics.tools import BARE, SAFE, tool_values
from factorysim.records import SampleRow
from tests.unit.metrics.builders import (
    TOOLS,
    layout,
    reasons,
    sandbox,
    station,
    step,
    tables,
    tool,
    values,
)

WINDOW = Window(10.0, 60.0)
CLOUD = TOOLS._replace(name="web", pool="cloud", elastic=True)


def found(data, plan=None):
    return tool_values(data, WINDOW, plan or layout())


def test_what_nobody_has_is_told_with_the_reason():
    quiet = found(tables(tools=[tool(0, 5.0, 5.0, 6.0), tool(1, 11.0, 11.0, 12.0)]))
    assert values(quiet)["tools.called"] == 1  # whether they may fail or not
    why = reasons(quiet)
    assert why["tools.failed"] == SAFE
    assert why["sandboxes.asked"] == why["sandbox_wait_s.p95"] == BARE


def test_failures_and_attempts_of_the_window_are_counted():
    rows = [
        tool(0, 5.0, 5.0, 6.0)._replace(attempts=9, outcome="failed"),  # before the window
        tool(1, 11.0, 11.0, 12.0),
        tool(2, 12.0, 14.0, 15.0)._replace(attempts=3, asked_s=13.0),
        tool(3, 13.0, 13.0, 14.0)._replace(outcome="failed"),
        tool(4, 14.0, 14.0, 15.0)._replace(attempts=2, outcome="timeout", asked_s=14.0),
    ]
    seen = values(found(tables(tools=rows), layout(tools_fail=True)))
    assert [seen[f"tools.{name}"] for name in ("called", "failed", "retries")] == [4, 2, 3]
    assert seen["tools.retried_share"] == 0.5


def test_a_call_that_is_tried_again_waits_from_its_last_attempt_on():
    row = tool(0, 10.0, 50.0, 60.0)._replace(attempts=2, asked_s=45.0)
    data = tables(tools=[row], steps=[step(10.0, 60.0)])
    plan = layout()
    activity, _ = activities(data, WINDOW, plan.serving())
    queue = values(pool_values(data, WINDOW, plan, activity))["queue.cpu.mean"]
    assert queue == pytest.approx(5.0 / 50.0)


def test_sandboxes_are_counted_timed_and_held():
    rows = [
        sandbox(0, 5.0, 5.0, 6.0, 20.0),  # asked for before; held for 10 s of the window
        sandbox(1, 12.0, 15.0, 20.0, 70.0),  # waits 8 s, of which 5 of the start; held for 45
        sandbox(2, 30.0, 30.0, 30.0, 35.0, warm=1),  # held for 5
        sandbox(3, 0.0, 0.0, 0.0, None, session=-1, outcome="held"),  # ready all the time: 50
        sandbox(4, 55.0, None, None, None, outcome="held"),  # in line
    ]
    seen = values(found(tables(sandboxes=rows)))
    counted = [seen[f"sandboxes.{name}"] for name in ("asked", "cold_starts", "warm_hits")]
    assert counted == [3, 2, 1]
    assert seen["sandboxes.held.mean"] == pytest.approx((10 + 45 + 5 + 50) / 50)
    assert seen["sandboxes.held_bytes.mean"] == pytest.approx(110 / 50 * 2e8)
    assert seen["sandbox_wait_s.mean"] is None  # one of three has not ended
    done = values(found(tables(sandboxes=rows[:4])))
    assert done["sandbox_wait_s.mean"] == pytest.approx(4.0)
    assert done["sandbox_start_s.mean"] == pytest.approx(5.0)


def pools(*stations, rows=(), series=()):
    plan = layout(station(), *stations)
    data = tables(tools=rows, steps=[step(10.0, 60.0)], series=series)
    activity, _ = activities(data, WINDOW, plan.serving())
    return pool_values(data, WINDOW, plan, activity)


def test_deployments_of_one_pool_are_told_apart():
    series = [
        SampleRow(10.0 * i + 5.0, "busy_cores", name, cores)
        for name, cores in (("tools", 4.0), ("tests", 1.0))
        for i in range(10)
    ]
    both = pools(TOOLS, TOOLS._replace(name="tests"), series=series)
    assert values(both)["utilization.cpu"] == pytest.approx(5.0 / 8.0)
    assert values(both, "deployment", "tools")["utilization.cpu"] == pytest.approx(1.0)
    assert values(both, "deployment", "tests")["utilization.cpu"] == pytest.approx(0.25)


def test_a_cloud_is_as_full_as_its_limit_says_and_else_never():
    rows = [tool(0, 10.0, 20.0, 45.0)._replace(deployment="web")]
    full = values(pools(CLOUD._replace(most=2), rows=rows))
    assert full["saturation.cloud"] == full["utilization.cloud"] == pytest.approx(25 / 100)
    free = pools(CLOUD, rows=rows)
    assert "as many cores as are asked for" in reasons(free)["saturation.cloud"]
    assert values(free)["bottleneck"].startswith("nvl72")
