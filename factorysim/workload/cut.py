"""Parts of a trace: a window of time, a sample of its sessions, its arrivals sped up."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from factorysim.rng import uniform
from factorysim.workload.session import GapNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from factorysim.workload.session import Session


class Cut(NamedTuple):
    """What to keep of a trace; the window is taken first, and the limit last."""

    from_ns: int = 0
    """The window's first instant, which becomes time 0."""
    to_ns: int | None = None
    """Its end, which is not in it."""
    share: float = 1.0
    """Of the sessions: each is kept or not by its id alone."""
    speed: float = 1.0
    """Of the clock of arrivals: 2 puts an hour into half of it."""
    limit: int | None = None
    """Sessions, at most."""
    seed: int = 7


def cut_sessions(sessions: Iterable[Session], cut: Cut) -> Iterator[Session]:
    """Yield the sessions of a cut, in order.

    A session is in the sample if the number that seed and sid give is below the share,
    so the sample at 10 % is part of that at 20 %, whatever window it is taken from.

    Examples
    --------
    >>> from factorysim.workload.session import LlmNode, Session
    >>> sessions = [Session(f"r{at}", at * 10**9, [LlmNode(9, 1)]) for at in range(4)]
    >>> [kept.at_ns for kept in cut_sessions(sessions, Cut(from_ns=10**9, speed=2))]
    [0, 500000000, 1000000000]
    """
    return islice((_moved(kept, cut) for kept in sessions if _kept(kept, cut)), cut.limit)


def _kept(session: Session, cut: Cut) -> bool:
    if session.at_ns < cut.from_ns or (cut.to_ns is not None and session.at_ns >= cut.to_ns):
        return False
    return cut.share >= 1.0 or uniform(cut.seed, "trace", "sample", session.sid) < cut.share


def _moved(session: Session, cut: Cut) -> Session:
    """Put a session on the cut's clock; what it does keeps its pace."""
    session.at_ns = round((session.at_ns - cut.from_ns) / cut.speed)
    if cut.speed != 1.0:
        for node in session.nodes:
            if not isinstance(node, GapNode) and node.at_ns is not None:
                node.at_ns = round(node.at_ns / cut.speed)
    return session
