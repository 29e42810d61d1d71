"""The sessions of a stream in order of arrival, from whatever the stream names."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from factorysim.errors import Fault, TraceError
from factorysim.spec.arrivals import FixedConcurrency, TraceArrivals
from factorysim.workload.arrivals import arrival_times
from factorysim.workload.session import GapNode, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from factorysim.spec.stream import StreamSpec

RESAMPLED_MAX = 1_000_000
"""Sessions of a trace that `resample_sessions` keeps in memory, at most."""


class Demand(Protocol):
    """What arrives at the factory on one stream."""

    name: str
    concurrency: int | None
    """So many sessions at any time; None: they arrive when `Session.at_ns` says."""
    think_ns: int
    """Pause before the next session, where concurrency is fixed."""

    def sessions(self) -> Iterator[Session]:
        """Yield sessions in order of `at_ns`; each call starts anew, with the same ones."""
        ...


class StreamDemand:
    """The demand of a stream of the scenario."""

    def __init__(
        self,
        name: str,
        sessions: Callable[[], Iterator[Session]],
        arrivals: FixedConcurrency | None,
    ) -> None:
        self.name = name
        self.concurrency = None if arrivals is None else arrivals.concurrency
        self.think_ns = 0 if arrivals is None else round(arrivals.think * 1e9)
        self._sessions = sessions

    def sessions(self) -> Iterator[Session]:
        """Yield sessions in order of arrival, lazily."""
        return self._sessions()


def build_demand(
    name: str,
    stream: StreamSpec,
    *,
    seed: int,
    replication: int,
    trace_path: Path | None = None,
) -> StreamDemand:
    """Make the demand of a stream.

    A session is a function of (seed, replication, name, ordinal); its arrival is
    that of the unit-rate process scaled by the rate. So neither the rate nor the
    factory nor the order of drawing changes who comes.

    Parameters
    ----------
    trace_path
        Where the stream's trace is; needed if it names one.

    Raises
    ------
    SpecError
        If it names an unknown agent, tool class or effort.
    TraceError
        While its sessions are drawn, if the trace is bad; with every fault.

    Examples
    --------
    >>> from factorysim.spec.arrivals import PoissonArrivals
    >>> from factorysim.spec.stream import StreamSpec
    >>> arrivals = PoissonArrivals(process="poisson", rate="2/s")
    >>> spec = StreamSpec(llm="l", agent="chat", arrivals=arrivals)
    >>> session = next(build_demand("chat", spec, seed=7, replication=0).sessions())
    >>> session.sid, session.agent
    ('chat-0', 'chat')
    """
    fixed = stream.arrivals if isinstance(stream.arrivals, FixedConcurrency) else None
    if stream.agent is not None:
        make = _agent_sessions(name, stream, seed, replication)
    elif stream.calls is not None:
        make = _call_sessions(name, stream, seed, replication)
    else:
        if trace_path is None:
            raise TraceError(Fault(f"streams.{name}", "trace", "no path", "the trace's path"))
        make = _trace_sessions(name, stream, seed, replication, trace_path)
    return StreamDemand(name, make, fixed)


def _agent_sessions(
    name: str, stream: StreamSpec, seed: int, replication: int
) -> Callable[[], Iterator[Session]]:
    from factorysim.workload.draws import KeyedUniforms
    from factorysim.workload.models import session_model

    assert stream.agent is not None
    label = Path(stream.agent).stem
    model = session_model(stream.agent, stream.reasoning_effort, stream.images)

    def sessions() -> Iterator[Session]:
        uniforms = KeyedUniforms(seed, replication, name)
        times = islice(arrival_times(stream.arrivals, seed, replication, name), stream.limit)
        for ordinal, at_ns in enumerate(times):
            nodes = model.draw(uniforms.at("session", ordinal))
            yield Session(f"{name}-{ordinal}", at_ns, nodes, label, "", stream.priority)

    return sessions


def _call_sessions(
    name: str, stream: StreamSpec, seed: int, replication: int
) -> Callable[[], Iterator[Session]]:
    from factorysim.workload.calls import call_nodes

    calls = stream.calls
    assert calls is not None

    def sessions() -> Iterator[Session]:
        times = islice(arrival_times(stream.arrivals, seed, replication, name), stream.limit)
        nodes = call_nodes(
            calls,
            seed,
            replication,
            name,
            effort=stream.reasoning_effort,
            images=stream.images,
        )
        for ordinal, (at_ns, node) in enumerate(zip(times, nodes, strict=False)):
            yield Session(f"{name}-{ordinal}", at_ns, [node], "", "", stream.priority)

    return sessions


def _trace_sessions(
    name: str, stream: StreamSpec, seed: int, replication: int, path: Path
) -> Callable[[], Iterator[Session]]:
    from factorysim.workload.traces import read_trace

    def recorded() -> Iterator[Session]:
        for session in islice(read_trace(path, stream.format), stream.limit):
            yield _sped(session, stream.speed, stream.priority)

    def sessions() -> Iterator[Session]:
        chosen = recorded()
        if stream.replicate == "resample_sessions":
            chosen = _resampled(list(bounded(chosen, path)), seed, replication, name)
        if isinstance(stream.arrivals, TraceArrivals):
            return chosen
        return _retimed(chosen, arrival_times(stream.arrivals, seed, replication, name))

    return sessions


def _sped(session: Session, speed: float, priority: int) -> Session:
    """Compress recorded instants; what a session does keeps its pace."""
    session.priority += priority
    if speed != 1.0:
        session.at_ns = round(session.at_ns / speed)
        for node in session.nodes:
            if not isinstance(node, GapNode) and node.at_ns is not None:
                node.at_ns = round(node.at_ns / speed)
    return session


def bounded(sessions: Iterator[Session], path: Path) -> Iterator[Session]:
    """Refuse more sessions of a trace than `resample_sessions` can keep.

    Raises
    ------
    TraceError
        As the first one too many comes.
    """
    for number, session in enumerate(sessions):
        if number == RESAMPLED_MAX:
            cure = "give the stream a limit"
            expected = "fewer, to be resampled in memory"
            raise TraceError(Fault(str(path), "", f"over {number:,} sessions", expected, cure))
        yield session


def _resampled(
    sessions: list[Session], seed: int, replication: int, name: str
) -> Iterator[Session]:
    """Bootstrap: at each recorded arrival, a session drawn with replacement.

    The instants stay, so bursts and the profile of the day are the trace's, and
    no two copies come at one instant unless two sessions did.
    """
    from factorysim.rng import stream

    if not sessions:
        return
    count = len(sessions)
    drawing = stream(seed, replication, name, "bootstrap").integers(count, size=count)
    chosen: list[int] = drawing.tolist()
    seen: set[int] = set()
    for ordinal, (slot, index) in enumerate(zip(sessions, chosen, strict=True)):
        drawn = sessions[index]
        # Drawn again, a session is another one that is like it: to find all of its
        # prompts in the cache would be an artefact.
        scope = "session" if index in seen else drawn.hash_scope
        seen.add(index)
        yield Session(
            f"{drawn.sid}~{ordinal}",
            slot.at_ns,
            drawn.nodes,
            drawn.agent,
            drawn.client,
            drawn.priority,
            drawn.src,
            scope,
        )


def _retimed(sessions: Iterator[Session], times: Iterator[int]) -> Iterator[Session]:
    """Give recorded sessions, in their order, the instants of an arrival process."""
    for session, at_ns in zip(sessions, times, strict=False):
        session.at_ns = at_ns
        yield session
