"""Sandboxes against a naive replica of their host, and worlds in which nobody waits for ever."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.graph.plan import CheckPlan, HostPlan
from factorysim.workload.session import Attempt, GapNode, LlmNode, Session, ToolNode
from tests.unit.sim import builders
from tests.unit.sim.box_builders import Boxes, host, sandbox, start_class, tool_plan

FS = 10**15
CLOSE_S = 1e-9
START = Fraction(7, 10)
MANY = 1000
"""Cores: nobody feels the others."""


class Tool(NamedTuple):
    at: Fraction
    session: int
    cpu: Fraction
    memory: int


class Naive:
    """One host, from event to event; what can be counted anew is not kept."""

    def __init__(self, tools, plan, memory):
        self.tools = tools
        self.plan = plan
        self.memory = memory
        self.room = (memory - plan.burst) // plan.memory
        self.boxes: dict[int, str] = {}
        """`starting` or `ready`, by session, of those that hold memory."""
        self.line: list[int] = []
        self.work: list[tuple[Fraction, int, int | None]] = []
        """End, session, and tool (None: a start)."""
        self.blocked: list[int] = []
        """Tools whose sandbox is not ready."""
        self.short: list[tuple[int, int | None]] = []
        """Session, and tool (None: a start), of what waits for memory: the head blocks."""
        self.idle: dict[int, Fraction] = {}
        self.finished: dict[int, Fraction] = {}

    def free(self):
        used = sum(self.tools[tool].memory for _, _, tool in self.work if tool is not None)
        return self.memory - len(self.boxes) * self.plan.memory - used

    def grant(self, now):
        """Let in tools that wait for memory, then sandboxes that do."""
        self.admit(now)
        while self.line and len(self.boxes) < self.room and self.plan.memory <= self.free():
            session = self.line.pop(0)
            self.boxes[session] = "starting"
            self.short.append((session, None))
        self.admit(now)

    def admit(self, now):
        while self.short:
            session, tool = self.short[0]
            if tool is not None and self.tools[tool].memory > self.free():
                return
            lasts = START if tool is None else self.tools[tool].cpu
            self.work.append((now + lasts, session, tool))
            del self.short[0]

    def come(self, tool):
        session = self.tools[tool].session
        self.idle.pop(session, None)
        if self.boxes.get(session) == "ready":
            self.short.append((session, tool))
            return
        self.blocked.append(tool)
        if session not in self.boxes and session not in self.line:
            self.line.append(session)

    def end(self, now, session, tool):
        if tool is None:
            self.boxes[session] = "ready"
            mine = [i for i in self.blocked if self.tools[i].session == session]
            self.blocked = [i for i in self.blocked if i not in mine]
            self.short += [(session, i) for i in mine]
            return
        self.finished[tool] = now
        self.grant(now)
        inside = [s for _, s, _ in self.work] + [s for s, _ in self.short]
        if session in inside:
            return
        mine = [i for i, one in enumerate(self.tools) if one.session == session]
        if all(i in self.finished for i in mine):
            del self.boxes[session]
        else:
            self.idle[session] = now

    def go(self):
        """Return when each tool ended."""
        coming = sorted(range(len(self.tools)), key=lambda i: self.tools[i].at)
        idle_s = None if self.plan.idle_fs is None else Fraction(self.plan.idle_fs, FS)
        while coming or self.work:
            times = [end for end, _, _ in self.work] + [self.tools[i].at for i in coming[:1]]
            if idle_s is not None:
                times += [since + idle_s for since in self.idle.values()]
            now = min(times)
            done = [one for one in self.work if one[0] == now]
            self.work = [one for one in self.work if one[0] != now]
            self.grant(now)
            for one in done:
                self.end(*one)
                self.grant(now)
            if coming and self.tools[coming[0]].at == now:
                self.come(coming.pop(0))
            for session in [s for s, t in self.idle.items() if t + (idle_s or now + 1) == now]:
                del self.idle[session]
                del self.boxes[session]
            self.grant(now)
        return self.finished


@st.composite
def tool_lists(draw):
    """Tools whose instants and works have fractions of their own, so that no two events tie."""
    row = st.tuples(st.integers(0, 60), st.integers(0, 5), st.integers(1, 25), st.integers(0, 4))
    rows = draw(st.lists(row, min_size=1, max_size=14))
    return [
        Tool(
            Fraction(at, 10) + Fraction(3**number, 10**9),
            session,
            Fraction(cpu, 10) + Fraction(2**number, 10**7),
            memory,
        )
        for number, (at, session, cpu, memory) in enumerate(rows)
    ]


@settings(max_examples=80, deadline=None)
@given(
    tool_lists(),
    st.integers(3, 6),
    st.integers(0, 20),
    st.sampled_from([None, 0.35, 1.85]),
)
def test_a_host_of_sandboxes_agrees_with_brute_force(tools, box, more, idle_s):
    plan = sandbox(memory=box, burst=4, idle_s=idle_s)
    memory = box + 4 + more
    boxes = Boxes(tool_plan(plan, host(cores=MANY, memory=memory)), start_s=float(START))
    boxes.left = Counter(tool.session for tool in tools)
    for number, tool in enumerate(tools):
        boxes.add(float(tool.at), number, tool.session, float(tool.cpu), memory=tool.memory)
    done = boxes.run()
    naive = Naive(tools, plan, memory).go()
    assert done.keys() == naive.keys() == set(range(len(tools)))
    for number, at in done.items():
        assert abs(at - float(naive[number])) < CLOSE_S, number


# Worlds


@st.composite
def plans(draw):
    """Up to three deployments of small hosts, most of them with sandboxes."""
    made = []
    for number in range(draw(st.integers(1, 3))):
        memory = draw(st.sampled_from([9, 12, 20]))
        box = None
        if draw(st.integers(0, 6)):
            box = sandbox(
                draw(st.sampled_from(["session", "agent", "call"])),
                memory=draw(st.sampled_from([3, 5])),
                burst=draw(st.sampled_from([3, 4])),
                warm=draw(st.sampled_from([0, 0, 1, 2])),
                idle_s=draw(st.sampled_from([None, 0.5, 2.0])),
                through_gaps=draw(st.booleans()),
                start=start_class(0.3, remote=draw(st.sampled_from([0.0, 0.5]))),
            )
        cores = draw(st.integers(1, 3))
        made.append(
            tool_plan(
                box,
                *[HostPlan(0, 1, cores, cores, 1.0, memory, 0, 1e9, 50.0, 150.0)]
                * draw(st.integers(1, 2)),
                name=f"t{number}",
                discipline=draw(st.sampled_from(["ps", "fcfs"])),
                classes=(f"c{number}",) if number else (),
                check=draw(st.sampled_from([None, CheckPlan(0.01, FS // 100)])),
                most=draw(st.sampled_from([None, 2])),
            )
        )
    return made


@st.composite
def session_lists(draw):
    sessions = []
    for number in range(draw(st.integers(1, 12))):
        nodes = []
        for _ in range(draw(st.integers(1, 7))):
            after = (len(nodes) - 1,) if nodes else ()
            kind = draw(st.sampled_from(["llm", "gap", "tool", "tool", "tools"]))
            if kind == "llm":
                nodes.append(LlmNode(10, 2, after=after, context=draw(st.integers(0, 2))))
            elif kind == "gap":
                nodes.append(GapNode(draw(st.sampled_from([10**8, 3 * 10**9])), after=after))
            else:
                count = 3 if kind == "tools" else 1
                nodes += draw(st.lists(tool_nodes(after), min_size=count, max_size=count))
        sessions.append(Session(f"s{number}", draw(st.integers(0, 20)) * 10**8, nodes))
    return sorted(sessions, key=lambda session: session.at_ns)


def tool_nodes(after):
    return st.builds(
        lambda cls, cpu_s, memory, remote_ns, context, tries: ToolNode(
            f"c{cls}",
            cpu_s=cpu_s,
            memory_bytes=memory,
            remote_ns=remote_ns,
            after=after,
            context=context,
            failed=(Attempt(0.1, 0, 10**7),) * tries,
        ),
        st.integers(0, 3),
        st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        st.sampled_from([0, 1, 3]),
        st.sampled_from([0, 10**8]),
        st.sampled_from([0, 0, 1, 2]),
        st.sampled_from([0, 0, 2]),
    )


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(plans(), session_lists(), st.booleans())
def test_every_session_ends_and_both_clocks_tell_the_same(tools, sessions, checked):
    """No memory is so short that sessions wait for each other for ever; every audit is clean."""
    factory = builders.plan(hosts=1)._replace(
        tools=tuple(tools), llm_check=CheckPlan(0.01, 1000) if checked else None
    )
    seen = []
    for clock in ("run_length", "stepwise"):
        sink = builders.Rows()
        closing = builders.run_replication(
            builders.scenario(run={"clock": clock}),
            factory,
            [builders.Listed("s", deepcopy(sessions))],
            replication=0,
            horizon_s=3000.0,
            arrivals_end_s=3000.0,
            sink=sink,
        )
        assert [line.name for line in closing.audit if not line.ok] == []
        tables = sink.tables
        assert {row.outcome for row in tables["sessions"]} == {"completed"}
        for row in tables["tools"]:
            assert row.attempts in (1, 3)
        seen.append([tables[name] for name in ("sessions", "calls", "tools", "sandboxes")])
    assert seen[0] == seen[1]
