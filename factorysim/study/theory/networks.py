"""Sessions that go from an LLM to a tool and back: open (Jackson) and closed (mean values)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factorysim import theory
from factorysim.study.theory import world
from factorysim.study.theory.observe import (
    CLOSING,
    WARMUP,
    mean_present,
    shares_of_time,
)
from factorysim.study.theory.station import Station
from factorysim.workload.session import LlmNode, ToolNode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from factorysim.store.memory import MemorySink
    from factorysim.study.theory.observe import Floats
    from factorysim.study.theory.station import Expected, Skew, Values
    from factorysim.workload.session import Node

LLM, TOOL, PAUSING = "at the LLM", "at the tool host", "in the pause"

# The open network: two replicas behind one queue, and a host of one job at a time.
OPEN_RATE, AGAIN, CALL_S, TOOL_S = 0.5, 0.5, 1.0, 1.0
"""Sessions a second, share of the calls that a tool follows, means of service."""

# The closed one: a replica, a host that its jobs share, and a pause between sessions.
POPULATION, PAUSE_S, CLOSED_CALL_S, CLOSED_TOOL_S = 4, 4.0, 1.0, 1.5
CALLS = 2
"""A session is a call, a tool, and a call that reads the result."""


def _call() -> LlmNode:
    return LlmNode(1, 1)


def _chain(nodes: Sequence[Node]) -> list[Node]:
    """Let each node wait for the one before."""
    for number, node in enumerate(nodes[1:]):
        node.after = (number,)
    return list(nodes)


def _visits(sink: MemorySink) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """When sessions came to the LLM and to the host, and when they left."""
    calls = world.by_arrival(sink.columns("calls"), "arrived_s")
    tools = world.by_arrival(sink.columns("tools"), "ready_s")
    return (calls["arrived_s"], calls["finished_s"]), (tools["ready_s"], tools["finished_s"])


def _number(where: str) -> str:
    return f"number {where}, mean"


def _busy(where: str, n: int = 1) -> str:
    return f"{n} or more {where}, share of time"


def _service(where: str) -> str:
    return f"service {where}, mean s"


NEITHER = "nobody anywhere, share of time"
SESSION = "session, mean s"


def _jackson() -> Station:
    name, sessions = "jackson", 2000

    def expected(skew: Skew) -> Mapping[str, Expected]:
        again = AGAIN * skew.of("feedback")
        outside = (OPEN_RATE * skew.of("arrivals"), 0.0)
        llm, tool = theory.open_rates(outside, ((0.0, again), (1.0, 0.0)))
        call_s, tool_s = CALL_S * skew.of("call"), TOOL_S * skew.of("tool")
        numbers = (
            theory.little(llm, theory.mmc_sojourn(llm, call_s, 2)),
            theory.little(tool, theory.mm1_sojourn(tool, tool_s)),
        )
        empty = theory.mmc_present(llm, call_s, 2, 0), 1.0 - tool * tool_s
        one = theory.mmc_present(llm, call_s, 2, 1)
        return {
            _number(LLM): numbers[0],
            _number(TOOL): numbers[1],
            _busy(LLM, 2): 1.0 - empty[0] - one,
            _busy(TOOL): tool * tool_s,
            _busy(TOOL, 2): (tool * tool_s) ** 2,
            NEITHER: empty[0] * empty[1],
            SESSION: sum(numbers) / outside[0],
            _service(LLM): call_s,
            _service(TOOL): tool_s,
        }

    def sample(replication: int, skew: Skew) -> Values:
        rate = OPEN_RATE * skew.of("arrivals")
        again = AGAIN * skew.of("feedback")
        law = {"prompt": {"kind": "exponential", "mean": f"{CALL_S * skew.of('call')!r} s"}}
        spec = world.scenario(name, law, replicas=2)
        cores, tool_s = world.whole_host(spec), TOOL_S * skew.of("tool")
        work_s = tool_s * cores * world.host_of(spec).speed

        def nodes(draw: np.random.Generator) -> list[Node]:
            made: list[Node] = [_call()]
            while draw.random() < again:
                made += [ToolNode("tool", cpu_s=draw.exponential(work_s), cores=cores), _call()]
            return _chain(made)

        demand = world.poisson_sessions(name, rate, sessions, replication, nodes)
        sink = world.run(spec, replication, 1.2 * sessions / rate + 500.0, demand)
        start_s, stop_s = WARMUP * sessions / OPEN_RATE, CLOSING * sessions / OPEN_RATE
        llm, tool = _visits(sink)
        at_llm = shares_of_time(*llm, start_s, stop_s, 1)
        at_tool = shares_of_time(*tool, start_s, stop_s, 1)
        calls, tools = sink.columns("calls"), sink.columns("tools")
        numbers = mean_present(*llm, start_s, stop_s), mean_present(*tool, start_s, stop_s)
        anywhere = np.concatenate([llm[0], tool[0]]), np.concatenate([llm[1], tool[1]])
        came = world.by_arrival(sink.columns("sessions"), "arrived_s")
        session_s = (came["finished_s"] - came["arrived_s"])[int(WARMUP * sessions) :]
        return {
            _number(LLM): numbers[0],
            _number(TOOL): numbers[1],
            _busy(LLM, 2): 1.0 - float(at_llm.sum()),
            _busy(TOOL): 1.0 - float(at_tool[0]),
            _busy(TOOL, 2): 1.0 - float(at_tool.sum()),
            NEITHER: float(shares_of_time(*anywhere, start_s, stop_s, 0)[0]),
            SESSION: float(session_s.mean()),
            _service(LLM): float((calls["finished_s"] - calls["scheduled_s"]).mean()),
            _service(TOOL): float((tools["finished_s"] - tools["started_s"]).mean()),
        }

    source = "Jackson, Oper. Res. 5 (1957): each station as if alone, and independent"
    laws = ("arrivals", "feedback", "call", "tool")
    return Station(name, laws, source, expected, sample, 2 * sessions)


RATE = "sessions a second"


def _closed() -> Station:
    name, sessions = "closed-mva", 1500

    def demands_s(skew: Skew) -> tuple[float, float]:
        return CALLS * CLOSED_CALL_S * skew.of("call"), CLOSED_TOOL_S * skew.of("tool")

    def expected(skew: Skew) -> Mapping[str, Expected]:
        demands, pause_s = demands_s(skew), PAUSE_S * skew.of("pause")
        solved = theory.mva(POPULATION, demands, pause_s)

        def idle(station: int) -> float:
            return theory.closed_present(POPULATION, demands, pause_s, station, 0)

        two = theory.closed_present(POPULATION, demands, pause_s, 0, 1) + idle(0)
        return {
            RATE: solved.rate,
            _number(LLM): solved.present[0],
            _number(TOOL): solved.present[1],
            _number(PAUSING): solved.rate * pause_s,
            _busy(LLM, 2): 1.0 - two,
            _busy(TOOL): 1.0 - idle(1),
            SESSION: sum(solved.sojourns_s),
        }

    def sample(replication: int, skew: Skew) -> Values:
        call_s = CLOSED_CALL_S * skew.of("call")
        law = {"prompt": {"kind": "exponential", "mean": f"{call_s!r} s"}}
        spec = world.scenario(name, law, discipline="ps")
        cores = world.whole_host(spec)
        work_s = CLOSED_TOOL_S * skew.of("tool") * cores * world.host_of(spec).speed

        def nodes(_draw: np.random.Generator) -> list[Node]:
            tool = ToolNode("tool", cpu_s=work_s, cores=cores)
            return _chain([_call(), tool, _call()])

        pause_s = PAUSE_S * skew.of("pause")
        demand = world.cycling_sessions(name, POPULATION, pause_s, replication, nodes)
        rate = theory.mva(POPULATION, demands_s(skew), pause_s).rate
        stop_s = sessions / rate
        start_s = WARMUP * stop_s
        sink = world.run(spec, replication, stop_s, demand)
        llm, tool = _visits(sink)
        at_llm = shares_of_time(*llm, start_s, stop_s, 1)
        at_tool = shares_of_time(*tool, start_s, stop_s, 0)
        numbers = [mean_present(*_until(sides, stop_s), start_s, stop_s) for sides in (llm, tool)]
        came = world.by_arrival(sink.columns("sessions"), "finished_s")
        ended = (came["finished_s"] > start_s) & (came["finished_s"] <= stop_s)
        took_s = (came["finished_s"] - came["arrived_s"])[ended]
        return {
            RATE: len(took_s) / (stop_s - start_s),
            _number(LLM): numbers[0],
            _number(TOOL): numbers[1],
            _number(PAUSING): POPULATION - sum(numbers),
            _busy(LLM, 2): 1.0 - float(at_llm.sum()),
            _busy(TOOL): 1.0 - float(at_tool[0]),
            SESSION: float(took_s.mean()),
        }

    source = "Reiser and Lavenberg, JACM 27 (1980); Buzen, CACM 16 (1973): BCMP, tools any law"
    return Station(name, ("call", "tool", "pause"), source, expected, sample, 2 * sessions)


def _until(sides: tuple[Floats, Floats], stop_s: float) -> tuple[Floats, Floats]:
    """Let those who are still there leave at the end of the window."""
    return sides[0], np.where(np.isnan(sides[1]), stop_s, sides[1])


def stations() -> list[Station]:
    """Networks of two stations."""
    return [_jackson(), _closed()]
