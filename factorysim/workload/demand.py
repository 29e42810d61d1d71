"""The sessions of a stream in order of arrival, from whatever the stream names."""

from __future__ import annotations

from itertools import count, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from factorysim.errors import Fault, TraceError
from factorysim.rng import stream as keyed_stream
from factorysim.spec.arrivals import FittedArrivals, FixedConcurrency, ThinkSpec, TraceArrivals
from factorysim.workload.arrivals import arrival_times, client_names
from factorysim.workload.passes import bounded as bounded
from factorysim.workload.session import Session
from factorysim.workload.thinning import kept, think_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from factorysim.spec.stream import StreamSpec
    from factorysim.workload.passes import Clock
    from factorysim.workload.session import Node


class Demand(Protocol):
    """What arrives at the factory on one stream."""

    name: str
    concurrency: int | None
    """So many sessions at any time; None: they arrive when `Session.at_ns` says."""
    think_ns: int
    """Pause before the next session, where concurrency is fixed and the last has no own one."""

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
        think = 0.0 if arrivals is None or isinstance(arrivals.think, ThinkSpec) else arrivals.think
        self.think_ns = round(think * 1e9)
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
    if isinstance(stream.arrivals, FittedArrivals):
        from factorysim.workload.fitting import fitted

        stream = stream.model_copy(
            update={"arrivals": fitted(name, stream, stream.arrivals, trace_path)}
        )
    fixed = stream.arrivals if isinstance(stream.arrivals, FixedConcurrency) else None
    if stream.agent is not None:
        make = _agent_sessions(name, stream, seed, replication)
    elif stream.calls is not None:
        make = _call_sessions(name, stream, seed, replication)
    elif stream.clients is not None:
        make = _client_sessions(name, stream, seed, replication)
    else:
        if trace_path is None:
            raise TraceError(Fault(f"streams.{name}", "trace", "no path", "the trace's path"))
        make = _trace_sessions(name, stream, seed, replication, trace_path)
    return StreamDemand(name, make, fixed)


class _Slot(NamedTuple):
    """What a session is given besides its nodes."""

    at_ns: int
    client: str
    kept: bool
    think_ns: int | None

    def session(self, sid: str, nodes: Sequence[Node], priority: int, agent: str = "") -> Session:
        """Make the session that comes."""
        return Session(sid, self.at_ns, nodes, agent, self.client, priority, think_ns=self.think_ns)


def _slots(stream: StreamSpec, seed: int, replication: int, name: str) -> Iterator[_Slot]:
    """Give what comes by a session's ordinal, up to the stream's limit; arrivals of its own."""
    key = (stream.arrivals, seed, replication, name)
    slots = zip(
        arrival_times(*key),
        client_names(*key) or repeat(""),
        kept(stream.share, seed, name),
        think_times(*key),
        strict=False,
    )
    return map(_Slot._make, islice(slots, stream.limit))


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
        for ordinal, slot in enumerate(_slots(stream, seed, replication, name)):
            if slot.kept:
                nodes = model.draw(uniforms.at("session", ordinal))
                yield slot.session(f"{name}-{ordinal}", nodes, stream.priority, label)

    return sessions


def _call_sessions(
    name: str, stream: StreamSpec, seed: int, replication: int
) -> Callable[[], Iterator[Session]]:
    from factorysim.workload.calls import call_nodes

    calls = stream.calls
    assert calls is not None

    def sessions() -> Iterator[Session]:
        slots = _slots(stream, seed, replication, name)
        nodes = call_nodes(
            calls,
            seed,
            replication,
            name,
            effort=stream.reasoning_effort,
            images=stream.images,
        )
        for ordinal, (slot, node) in enumerate(zip(slots, nodes, strict=False)):
            if slot.kept:
                yield slot.session(f"{name}-{ordinal}", [node], stream.priority)

    return sessions


def _client_sessions(
    name: str, stream: StreamSpec, seed: int, replication: int
) -> Callable[[], Iterator[Session]]:
    from factorysim.workload.clients import client_sessions
    from factorysim.workload.servegen import read_pool

    clients = stream.clients
    assert clients is not None
    pool = read_pool(Path(clients.folder), clients.most)

    def sessions() -> Iterator[Session]:
        drawn = client_sessions(pool, clients, seed, replication, name, priority=stream.priority)
        return _slotted(islice(drawn, stream.limit), stream, seed, replication, name)

    return sessions


def _trace_sessions(
    name: str, stream: StreamSpec, seed: int, replication: int, path: Path
) -> Callable[[], Iterator[Session]]:
    from factorysim.workload.passes import Clock, block_bootstrap, looped, resampled
    from factorysim.workload.repair import Repairs
    from factorysim.workload.replay import replayed
    from factorysim.workload.traces import read_trace

    def recorded(clock: Clock) -> Iterator[Session]:
        repair = Repairs() if stream.repair else None  # `run.context` tells them
        read = islice(read_trace(path, stream.format, repair=repair), stream.limit)
        chosen = replayed(read, stream.mode, path)
        return clock.watch(_own_pace(session, stream) for session in chosen)

    def one_pass(number: int, clock: Clock) -> Iterator[Session]:
        if stream.replicate == "none":
            return recorded(clock)
        listed = list(bounded(recorded(clock), path))
        key = ("bootstrap", number) if number else ("bootstrap",)
        generator = keyed_stream(seed, replication, name, *key)
        if stream.replicate == "resample_sessions":
            return resampled(listed, generator)
        assert stream.block_length is not None, "the spec wants one"
        block_ns = max(1, round(stream.block_length * 1e9 / stream.speed))
        return block_bootstrap(listed, block_ns, clock.period_ns(), generator)

    def sessions() -> Iterator[Session]:
        timed = isinstance(stream.arrivals, TraceArrivals)
        if stream.loop is None:
            chosen = one_pass(0, Clock(path))
        else:
            chosen = looped(one_pass, stream.loop, path, timed=timed, speed=stream.speed)
        return _slotted(chosen, stream, seed, replication, name)

    return sessions


def _own_pace(session: Session, stream: StreamSpec) -> Session:
    """Give a recorded session the stream's priority, and its speed."""
    from factorysim.workload.replay import sped

    session.priority += stream.priority
    return session if stream.speed == 1.0 else sped(session, stream.speed)


def _slotted(
    sessions: Iterator[Session], stream: StreamSpec, seed: int, replication: int, name: str
) -> Iterator[Session]:
    """Give sessions, in their order, what comes by their ordinals; leave out what is not kept."""
    key = (stream.arrivals, seed, replication, name)
    timed = isinstance(stream.arrivals, TraceArrivals)
    times: Iterator[int] = count() if timed else arrival_times(*key)
    clients = client_names(*key)
    keeps, pauses = kept(stream.share, seed, name), think_times(*key)
    for session, at_ns, client, keep, think_ns in zip(
        sessions, times, clients or repeat(""), keeps, pauses, strict=False
    ):
        if not keep:
            continue
        if not timed:
            session.at_ns = at_ns
        session.client = client or session.client
        session.think_ns = think_ns
        yield session
