"""Which replica a call goes to: a function of what the router saw, and of the call.

A router sees the load of its replicas as of its last snapshot, which may be
stale (`serving.router.snapshot`). Ties go to the lowest index, always. A user's
own policy has the same signature and comes in through the Python API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, assert_never

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.spec.scenario import RoutingPolicy


class Load(NamedTuple):
    """What a router knows of its replicas; arrays of shape ``(replicas,)``, read-only."""

    calls: npt.NDArray[np.int64]
    """Sent and not yet answered."""
    prompt_tokens: npt.NDArray[np.int64]
    """Of those calls: the KV cache that they ask for, as a gateway counts it."""


class Ask(NamedTuple):
    """What a router knows of a call."""

    ordinal: int
    """Calls that it has routed before."""
    session: int
    prompt_tokens: int
    prefix_tokens: int
    """Repeated from the session's last context."""
    home: int | None
    """Replica of the session's previous call."""


class Routing(Protocol):
    """Chooses the index of a replica."""

    def __call__(self, load: Load, ask: Ask, /) -> int:
        """Choose from what the router saw, for one call."""
        ...


def round_robin(load: Load, ask: Ask) -> int:
    """Replica after replica, whatever their load."""
    return ask.ordinal % len(load.calls)


def least_outstanding(load: Load, ask: Ask) -> int:
    """Replica with the fewest calls in flight."""
    return int(load.calls.argmin())


def least_kv(load: Load, ask: Ask) -> int:
    """Replica whose calls in flight have the fewest prompt tokens."""
    return int(load.prompt_tokens.argmin())


def sticky(load: Load, ask: Ask) -> int:
    """Replica of the session's previous call, which may hold its KV cache."""
    return least_outstanding(load, ask) if ask.home is None else ask.home


def routing(policy: RoutingPolicy) -> Routing:
    """Return the function of a policy's name; `shared_queue` pulls, it does not choose.

    Examples
    --------
    >>> import numpy as np
    >>> load = Load(np.array([2, 1, 1]), np.array([10, 30, 20]))
    >>> ask = Ask(ordinal=4, session=0, prompt_tokens=5, prefix_tokens=0, home=0)
    >>> [routing(p)(load, ask) for p in ("round_robin", "least_outstanding", "least_kv", "sticky")]
    [1, 1, 0, 0]
    """
    match policy:
        case "round_robin":
            return round_robin
        case "least_outstanding" | "shared_queue":
            return least_outstanding
        case "least_kv":
            return least_kv
        case "sticky":
            return sticky
    assert_never(policy)
