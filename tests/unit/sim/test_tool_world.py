"""Several deployments of tools: who runs what, retries, clouds, checks, and the rows of it."""

from __future__ import annotations

import pytest

from factorysim.graph.plan import CheckPlan
from factorysim.workload.session import (
    Attempt,
    GapNode,
    LlmNode,
    Session,
    StagedNodes,
    ToolNode,
    side_by_side,
)
from tests.unit.sim import builders
from tests.unit.sim.box_builders import host, sandbox, start_class, tool_plan

MS = 10**12
FS = 10**15


def world(*tools, llm_check=None):
    return builders.plan(hosts=1)._replace(tools=tools, llm_check=llm_check)


def run(nodes, *tools, llm_check=None, clock="run_length", sessions=1):
    listed = [Session(f"s{k}", 0, list(nodes)) for k in range(sessions)]
    spec = builders.scenario(run={"clock": clock})
    sink = builders.Rows()
    closing = builders.run_replication(
        spec,
        world(*tools, llm_check=llm_check),
        [builders.Listed("s", listed)],
        replication=0,
        horizon_s=100.0,
        arrivals_end_s=100.0,
        sink=sink,
    )
    assert [line.name for line in closing.audit if not line.ok] == []
    return sink.tables, closing


def bare(name, *, cores=1, memory=100, **more):
    return tool_plan(None, host(cores=cores, memory=memory), name=name, **more)


def test_classes_run_where_they_are_named_and_the_rest_on_the_other():
    nodes = [ToolNode("test_run", cpu_s=1.0), ToolNode("shell", cpu_s=1.0)]
    tables, closing = run(nodes, bare("tests", classes=("test_run",)), bare("others"))
    assert [(row.cls, row.deployment) for row in tables["tools"]] == [
        ("test_run", "tests"),
        ("shell", "others"),
    ]
    assert [row.finished_s for row in tables["tools"]] == [1.0, 1.0]  # a host each
    assert [line.station for line in closing.stations if line.station != "d"] == ["tests", "others"]


def test_a_class_that_no_deployment_runs_takes_its_time_elsewhere():
    tables, _ = run([ToolNode("shell", cpu_s=2.0)], bare("tests", classes=("test_run",)))
    (row,) = tables["tools"]
    assert (row.deployment, row.host, row.finished_s) == ("remote", -1, 2.0)


def test_each_deployment_has_its_series_and_its_joules():
    nodes = [ToolNode("a", cpu_s=10.0), ToolNode("b", cpu_s=30.0)]
    tables, closing = run(nodes, bare("a", classes=("a",)), bare("b"))
    busy = {}
    for row in tables["timeseries"]:
        if row.series == "busy_cores":
            busy[row.place] = busy.get(row.place, 0.0) + row.value * 10.0
    assert busy == pytest.approx({"a": 10.0, "b": 30.0})
    # 40 core-seconds of hosts of one core that draw 100 W above idle.
    assert sum(line.host_j for line in closing.energy) == pytest.approx(4000.0)


# Attempts


def test_attempts_queue_again_and_the_row_counts_them():
    tried = ToolNode(
        "shell",
        cpu_s=1.0,
        failed=(Attempt(2.0, 500_000_000, 250_000_000), Attempt(3.0, 0, 0)),
        status="failed",
    )
    tables, _ = run([tried], bare("t"))
    (row,) = tables["tools"]
    assert (row.attempts, row.outcome) == (3, "failed")
    assert row.asked_s == pytest.approx(0.5 + 2.0 + 0.25 + 3.0)
    assert row.finished_s == pytest.approx(row.asked_s + 1.0)
    (session,) = tables["sessions"]
    assert (session.outcome, session.tools) == ("completed", 1)
    assert session.tool_s == pytest.approx(6.75)


def test_attempts_wait_for_others():
    tried = [ToolNode("shell", cpu_s=1.0, failed=(Attempt(1.0, 0, 0),))]
    tables, _ = run(tried, bare("t", discipline="fcfs"), sessions=2)
    assert [row.finished_s for row in tables["tools"]] == pytest.approx([3.0, 4.0])
    assert sum(row.tool_queue_s for row in tables["sessions"]) == pytest.approx(3.0)


def test_a_plain_call_asks_for_cores_when_its_wait_elsewhere_ends():
    tables, _ = run([ToolNode("shell", cpu_s=1.0, remote_ns=10**9)], bare("t"))
    (row,) = tables["tools"]
    assert (row.asked_s, row.attempts, row.sandbox, row.sandbox_s) == (None, 1, -1, 0.0)


def test_an_attempt_that_no_host_can_hold_ends_its_session():
    tried = ToolNode("shell", cpu_s=1.0, memory_bytes=500.0, failed=(Attempt(1.0, 0, 0),))
    tables, _ = run([tried], bare("t"))
    assert [(row.outcome, row.attempts) for row in tables["tools"]] == [("rejected", 1)]
    assert tables["sessions"][0].outcome == "failed"


# Clouds


def cloud(*, most=None, box=None, latency_fs=0):
    return tool_plan(
        box, host(cores=2**40, memory=2**60), name="c", elastic=True, most=most,
        latency_fs=latency_fs,
    )  # fmt: skip


def test_a_cloud_has_cores_for_all_and_a_way_to_it():
    tables, _ = run([ToolNode("a", cpu_s=8.0, cores=2.0)] * 20, cloud(latency_fs=50 * MS))
    assert [row.finished_s for row in tables["tools"]] == pytest.approx([4.05] * 20)
    assert tables["sessions"][0].network_s == pytest.approx(0.05)


def test_a_cloud_with_a_limit_lets_so_many_run_at_once():
    tables, _ = run([ToolNode("a", cpu_s=1.0)] * 5, cloud(most=2))
    assert [row.finished_s for row in tables["tools"]] == pytest.approx([1.0, 1.0, 2.0, 2.0, 3.0])


def test_a_cloud_starts_a_sandbox_for_each_call():
    nodes = [ToolNode("a", cpu_s=1.0), ToolNode("a", cpu_s=1.0, after=(0,))]
    tables, _ = run(nodes, cloud(box=sandbox("call")))
    assert len(tables["sandboxes"]) == 2
    starts = [row.ready_s - row.granted_s for row in tables["sandboxes"]]
    assert starts[0] != starts[1]
    waited = [row.sandbox_s for row in tables["tools"]]
    assert waited == pytest.approx(starts)
    (session,) = tables["sessions"]
    assert session.tool_queue_s == pytest.approx(sum(starts))


# Sandboxes of sessions


def test_starts_are_drawn_for_the_session_whatever_the_hosts():
    nodes = [ToolNode("a", cpu_s=1.0)]
    few, _ = run(nodes, tool_plan(sandbox(), host(cores=8)), sessions=2)
    many, _ = run(nodes, tool_plan(sandbox(), *[host(cores=8)] * 5), sessions=2)
    ends = [[row.ready_s for row in t["sandboxes"]] for t in (few, many)]
    assert ends[0] == ends[1]
    assert ends[0][0] != ends[0][1]


def test_a_session_gives_its_sandbox_back_in_a_gap_or_at_its_end():
    nodes = [
        ToolNode("a", cpu_s=1.0),
        GapNode(2 * 10**9, after=(0,)),
        ToolNode("a", cpu_s=1.0, after=(1,)),
    ]
    for held, count in ((True, 1), (False, 2)):
        tables, _ = run(nodes, tool_plan(sandbox(through_gaps=held)))
        assert [row.outcome for row in tables["sandboxes"]] == ["given_back"] * count
        assert tables["sandboxes"][-1].ended_s == pytest.approx(tables["sessions"][0].finished_s)


def test_what_is_held_at_the_end_is_written_down():
    nodes = [ToolNode("a", cpu_s=1.0), GapNode(10**12, after=(0,))]
    tables, _ = run(nodes, tool_plan(sandbox(warm=1)))
    assert sorted(row.outcome for row in tables["sandboxes"]) == ["held", "held", "taken"]
    assert all(row.ended_s is None for row in tables["sandboxes"] if row.outcome == "held")


def test_a_tool_that_still_waits_for_its_sandbox_is_written_down():
    slow = start_class(3600.0, sigma=0.001)
    tables, _ = run([ToolNode("a", cpu_s=1.0)], tool_plan(sandbox(start=slow)))
    (row,) = tables["tools"]
    assert (row.outcome, row.sandbox, row.started_s) == ("censored", -1, None)


def test_a_start_waits_for_others_before_it_works():
    half = start_class(2.0, sigma=0.001, remote=0.5)
    tables, closing = run([ToolNode("a", cpu_s=1.0)], tool_plan(sandbox(start=half)))
    assert tables["sandboxes"][0].ready_s == pytest.approx(2.0, rel=0.01)
    (line,) = [line for line in closing.stations if line.station == "t"]
    assert line.busy_s == pytest.approx(2.0, rel=0.01)  # a second of the start, one of the tool


def test_sub_agents_start_their_own():
    nodes = [
        ToolNode("a", cpu_s=1.0),
        ToolNode("a", cpu_s=1.0, after=(0,), context=1),
        LlmNode(10, 2, after=(1,)),
        ToolNode("a", cpu_s=1.0, after=(2,)),
    ]
    tables, _ = run(nodes, tool_plan(sandbox("agent")))
    boxes = {row.context: row for row in tables["sandboxes"]}
    assert sorted(boxes) == [0, 1]
    assert (boxes[0].tools, boxes[1].tools) == (2, 1)
    assert boxes[1].ended_s < boxes[0].ended_s


# Checks


def test_a_check_of_each_attempt_is_work_and_a_way():
    nodes = [ToolNode("a", cpu_s=1.0, failed=(Attempt(1.0, 0, 0),))]
    tables, closing = run(nodes, bare("t", check=CheckPlan(0.25, 500 * MS)))
    (session,) = tables["sessions"]
    assert session.finished_s == pytest.approx(2 * (0.5 + 0.25 + 1.0))
    assert session.network_s == pytest.approx(1.0)
    assert session.tool_s == pytest.approx(2.5)
    assert len(tables["tools"]) == 1
    (line,) = [line for line in closing.stations if line.station == "t"]
    assert (line.arrivals, line.busy_s) == (4, 2.5)


def test_llm_calls_are_checked_on_hosts_of_the_factory():
    nodes = [LlmNode(10, 1), LlmNode(10, 1, after=(0,))]
    check = CheckPlan(0.25, 500 * MS)
    tables, closing = run(nodes, cloud(), bare("own", classes=("x",)), llm_check=check)
    assert [row.arrived_s for row in tables["calls"]] == pytest.approx([0.75, 1.51])
    busy = {line.station: line.busy_s for line in closing.stations}
    assert busy["own"] == 0.5
    assert busy["c"] == 0.0


def test_without_hosts_a_check_takes_its_time():
    tables, _ = run([LlmNode(10, 1)], llm_check=CheckPlan(0.25, 500 * MS))
    assert tables["calls"][0].arrived_s == pytest.approx(0.75)


@pytest.mark.parametrize("per", ["session", "agent", "call"])
def test_both_clocks_tell_the_same(per):
    nodes = [
        LlmNode(10, 5),
        ToolNode("a", cpu_s=0.3, memory_bytes=2, after=(0,), failed=(Attempt(0.1, 10**8, 10**8),)),
        ToolNode("b", cpu_s=0.3, memory_bytes=2, after=(0,), context=1),
        LlmNode(20, 5, after=(1, 2)),
        GapNode(10**9, after=(3,)),
        ToolNode("a", cpu_s=0.3, after=(4,)),
    ]
    box = sandbox(per, warm=1, idle_s=0.5, through_gaps=False)
    tools = (tool_plan(box, check=CheckPlan(0.01, MS)), bare("b", classes=("b",)))
    ways = [run(nodes, *tools, sessions=4, clock=clock)[0] for clock in ("run_length", "stepwise")]
    for name in ("sessions", "calls", "tools", "sandboxes"):
        assert ways[0][name] == ways[1][name]


# Sub-agents' sandboxes


def team(*, late_s=0):
    """A lead, its sub-agent, and one of that's: each thinks for a second and uses a tool for one.

    The inner one is done at 5 s; the outer one waits for it, thinks again, and then uses a
    tool again; the lead goes on after that. `late_s` is a pause of the outer one.
    """
    pause = late_s * 10**9
    return [
        ToolNode("shell", cpu_s=1.0),
        ToolNode("shell", cpu_s=1.0, after=(0,), context=1),
        ToolNode("shell", cpu_s=1.0, after=(1,), context=2),
        LlmNode(10, 2, after=(2,), context=2),
        ToolNode("shell", cpu_s=1.0, after=(3,), delay_ns=pause, context=1),
        LlmNode(10, 2, after=(4,), context=1),
        ToolNode("shell", cpu_s=1.0, after=(5,)),
    ]


def boxed(per="agent", memory=100):
    return tool_plan(sandbox(per, start=start_class(0.001, sigma=0.01)), host(memory=memory))


@pytest.mark.parametrize("clock", ["run_length", "stepwise"])
def test_a_sub_agents_sandbox_lasts_until_its_last_node(clock):
    tables, _ = run(team(), boxed(), clock=clock)
    ended = {row.context: row.ended_s for row in tables["sandboxes"]}
    calls = sorted(row.finished_s for row in tables["calls"])
    assert ended[2] == calls[0]
    assert ended[1] == calls[1]
    assert ended[0] == tables["sessions"][0].finished_s
    assert ended[2] < ended[1] < ended[0]
    assert len(tables["sandboxes"]) == 3  # the outer one's is there while it waits


def test_what_a_nested_sub_agent_gives_back_is_there_for_others():
    """There is room for three sandboxes: the second session's third waits for one of these."""
    short, _ = run(team(late_s=50), boxed(memory=13), sessions=2)
    first = [row for row in short["sandboxes"] if row.session == 0]
    second = [row for row in short["sandboxes"] if row.session == 1]
    assert max(row.granted_s for row in second if row.context == 2) < 50
    assert min(row.ended_s for row in first) < 10


def test_a_sub_agent_that_goes_on_beside_its_parent_keeps_its_sandbox():
    """Its tools are seconds apart, and the parent calls an LLM meanwhile."""
    nodes = [
        ToolNode("shell", cpu_s=1.0, context=1),
        LlmNode(10, 2, delay_ns=2 * 10**9),
        ToolNode("shell", cpu_s=1.0, after=(0,), delay_ns=5 * 10**9, context=1),
    ]
    tables, _ = run(nodes, boxed())
    (box,) = tables["sandboxes"]
    assert box.tools == 2


@pytest.mark.parametrize("clock", ["run_length", "stepwise"])
def test_sub_agents_of_each_stage_have_sandboxes_of_their_own(clock):
    def stages():
        for _ in range(2):
            yield [LlmNode(10, 2)]
            chains = [
                [[ToolNode("shell", cpu_s=1.0, context=k)], [LlmNode(10, 2, context=k)]]
                for k in (1, 2)
            ]
            yield side_by_side(chains)

    listed = [Session("s", 0, StagedNodes(6, stages))]
    sink = builders.Rows()
    builders.run_replication(
        builders.scenario(run={"clock": clock}),
        world(boxed()),
        [builders.Listed("s", listed)],
        replication=0,
        horizon_s=100.0,
        arrivals_end_s=100.0,
        sink=sink,
    )
    boxes = sorted(sink.tables["sandboxes"])
    assert [{row.context for row in boxes[at : at + 2]} for at in (0, 2)] == [{1, 2}, {1, 2}]
    assert max(row.ended_s for row in boxes[:2]) < min(row.asked_s for row in boxes[2:])
