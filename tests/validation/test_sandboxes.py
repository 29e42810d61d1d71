"""Sandboxes and several deployments against queueing theory, and starts against measurements."""

from __future__ import annotations

import numpy as np
import pytest

from factorysim import theory
from factorysim.rng import stream
from factorysim.workload.session import Session, ToolNode
from factorysim.workload.tools import ToolTable, load_tools
from tests.unit.sim import builders
from tests.unit.sim.box_builders import host, sandbox, start_class, tool_plan

RUNS = 10
QUICK = 1e-3
"""Seconds of a start that hardly counts."""


def simulate(tools, rate, nodes, seed, jobs):
    """Rows of sessions of one kind that arrive at random."""
    draw = stream(seed, "validation")
    times = np.cumsum(draw.exponential(1.0 / rate, jobs))
    sessions = [Session(f"s{k}", round(float(at) * 1e9), nodes(draw)) for k, at in enumerate(times)]
    factory = builders.plan(hosts=1)._replace(tools=tuple(tools))
    sink = builders.Rows()
    end_s = float(times[-1])
    closing = builders.run_replication(
        builders.scenario(),
        factory,
        [builders.Listed("s", sessions)],
        replication=seed,
        horizon_s=end_s,
        arrivals_end_s=end_s,
        sink=sink,
    )
    assert [line.name for line in closing.audit if not line.ok] == []
    return sink.tables, {line.station: line for line in closing.stations}, end_s


def agree(samples, expected, most):
    """The mean of replications is within four standard errors of theory, which are few percent."""
    error = 4 * np.std(samples, ddof=1) / np.sqrt(len(samples))
    assert abs(np.mean(samples) - expected) < error
    assert error < most * expected  # else it could not fail


@pytest.mark.slow
def test_two_deployments_are_two_queues():
    """Poisson arrivals of two classes: an M/M/3 of whole cores, and an M/G/1 that shares its one.

    Kleinrock, Queueing Systems I (1975), 3.5; II (1976), 4.4.
    """
    plans = (
        tool_plan(None, host(cores=3), name="tests", classes=("test_run",), discipline="fcfs"),
        tool_plan(None, host(cores=1), name="rest"),
    )

    def nodes(draw):
        if draw.random() < 0.8:
            return [ToolNode("test_run", cpu_s=float(draw.exponential(1.0)))]
        return [ToolNode("shell", cpu_s=0.5 if draw.random() < 0.5 else 1.5)]

    found = {"test_run": [], "shell": []}
    for seed in range(RUNS):
        tables, _, _ = simulate(plans, 2.6, nodes, seed, 4000)
        for cls, times in found.items():
            stays = [
                row.finished_s - row.ready_s
                for row in tables["tools"]
                if row.cls == cls and row.finished_s is not None and row.ready_s > 300.0
            ]
            times.append(np.mean(stays))
    agree(found["test_run"], theory.mmc_sojourn(0.8 * 2.6, 1.0, 3), 0.15)
    agree(found["shell"], theory.mg1_ps_sojourn(0.2 * 2.6, 1.0), 0.15)


@pytest.mark.slow
@pytest.mark.parametrize("limit", ["memory", "concurrency"])
def test_sandboxes_of_calls_wait_like_an_mmc_queue(limit):
    """As many servers as there is memory for, or as a cloud lets run: Erlang C."""
    quick = start_class(QUICK, sigma=0.001)
    if limit == "memory":
        box = sandbox("call", memory=3, burst=1, start=quick)  # 13 - 1 = 4 times 3
        plans = (tool_plan(box, host(cores=100, memory=13)),)
    else:
        plans = (tool_plan(None, host(cores=100, memory=2**50), elastic=True, most=4),)

    def nodes(draw):
        return [ToolNode("a", cpu_s=float(draw.exponential(1.0)))]

    start_s = QUICK if limit == "memory" else 0.0
    waits = []
    for seed in range(RUNS):
        tables, _, _ = simulate(plans, 2.4, nodes, seed, 6000)
        done = [row for row in tables["tools"] if row.started_s is not None and row.ready_s > 200.0]
        waits.append(np.mean([row.started_s - row.ready_s - start_s for row in done]))
    agree(waits, theory.mmc_wait(2.4, 1.0 + start_s, 4), 0.3)


@pytest.mark.slow
def test_sandboxes_without_a_bound_are_held_as_little_says():
    """M/G/inf: rate x (start + work + idle time), whatever the laws (Kleinrock I, 3.4)."""
    starts = start_class(2.0, sigma=0.8)
    mean_start = 2.0 * np.exp(0.8**2 / 2)
    box = sandbox("session", memory=1, burst=1, start=starts)
    plans = (tool_plan(box, host(cores=10_000, memory=10**6)),)

    def nodes(draw):
        return [ToolNode("a", cpu_s=float(draw.exponential(3.0)))]

    held = []
    for seed in range(RUNS):
        _, lines, end_s = simulate(plans, 4.0, nodes, seed, 3000)
        held.append(lines["t sandboxes"].area_s / end_s)
    agree(held, 4.0 * (mean_start + 3.0), 0.03)


@pytest.mark.slow
def test_a_warm_pool_misses_as_erlang_b_says():
    """N kept ready, each replaced in an exponential-free start: lost calls are the cold starts.

    A warm sandbox is taken by an arrival and its replacement takes a start. Arrivals that find
    all N in replacement start cold and take none, so the pool is M/G/N/N: insensitive to the law
    of starts (Erlang 1917; Kleinrock I, 3.6).
    """
    starts = start_class(1.0, sigma=0.5)
    mean_start = float(np.exp(0.5**2 / 2))
    box = sandbox("call", memory=1, burst=1, warm=3, start=starts)
    plans = (tool_plan(box, host(cores=10_000, memory=10**6)),)
    cold = []
    for seed in range(RUNS):
        tables, _, _ = simulate(plans, 2.0, lambda _: [ToolNode("a", cpu_s=0.01)], seed, 3000)
        asked = [row for row in tables["sandboxes"] if row.session >= 0]
        cold.append(1.0 - np.mean([row.warm for row in asked]))
    agree(cold, theory.erlang_b(3, 2.0 * mean_start), 0.08)


@pytest.mark.parametrize(
    ("name", "mean_s", "most_s"),
    [("sandbox_start_container", 26.5, 97.0)],
)
def test_starts_of_containers_last_as_agentcgroup_measured(name, mean_s, most_s):
    """AgentCgroup (arXiv:2602.09345): 144 starts, median 23 s, mean 26.5 s, at most 97 s.

    The law is fitted to the median; the mean of 144 draws has a standard error of 3.5 %.
    """
    draw = np.random.default_rng(7)
    cls, n = np.zeros(144_000, dtype=np.int64), 144_000
    table = ToolTable([name], [load_tools().tools[name]])
    seconds = table.durations(cls, draw.standard_normal(n), np.ones(n))
    assert seconds.mean() == pytest.approx(mean_s, rel=2 * 0.035)
    largest = seconds.reshape(1000, 144).max(axis=1)
    assert np.quantile(largest, 0.01) < most_s < 1.4 * np.quantile(largest, 0.99)


def test_container_starts_and_tools_outweigh_the_llm_as_agentcgroup_measured():
    """Tools are 36-42 % of active time, with the starts of containers 56-74 % of the task.

    With starts of 26.5 s and tools at 39 %, the middle, 56 % and 74 % are tasks of 68 and 20
    active seconds; those in between must lie in between.
    """
    for active_s in (25.0, 40.0, 60.0):
        box = sandbox("session", start=start_class(26.5, sigma=0.001))
        tools = [
            ToolNode("a", cpu_s=0.39 * active_s / 10, after=(k - 1,) if k else ())
            for k in range(10)
        ]
        tools.append(ToolNode("b", remote_ns=round(0.61 * active_s * 1e9), after=(9,)))  # the LLM
        factory = builders.plan(hosts=1)._replace(tools=(tool_plan(box, classes=("a",)),))
        ran = builders.run(
            builders.scenario(), factory, [builders.Listed("s", [Session("a", 0, tools)])]
        )
        (session,) = ran.sessions
        os_s = session.tool_queue_s + session.tool_s - 0.61 * active_s
        assert 0.56 < os_s / session.active_s < 0.74
