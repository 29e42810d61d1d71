"""Which replica a call goes to: a function of what the router saw, and of the call.

A router sees the load of its replicas as of its last snapshot, which may be
stale (`serving.router.snapshot`). Ties go to the lowest index, unless a draw has
put them in order. A user's own policy has the same signature and comes in through
the Python API.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, assert_never

import numpy as np

from factorysim.spec.router import WeightsSpec

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.spec.router import RouterSpec

SPILL = 64
"""Calls; `balance_abs_threshold` of SGLang's router (sglang-router 0.3.2, `router_args.py`)."""
THRESHOLD = 0.3
"""Of a prompt; `cache_threshold` there."""


class Load(NamedTuple):
    """What a router knows of its replicas; arrays of shape ``(replicas,)``, read-only."""

    calls: npt.NDArray[np.int64]
    """Sent and not yet answered."""
    prompt_tokens: npt.NDArray[np.int64]
    """Of those calls: the KV cache that they ask for, as a gateway counts it."""
    cache_tokens: npt.NDArray[np.int64]
    """What the KV cache of each can hold."""


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
    u: float
    """Uniform for policies that draw, keyed by the session and the call; else 0.5."""
    hits: npt.NDArray[np.int64]
    """Tokens of the prompt that each replica is thought to hold, for policies that ask; else 0."""


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


def power_of_two(load: Load, ask: Ask) -> int:
    """Of two replicas drawn at random the one with fewer calls in flight [1]_.

    Of two that have as many it is the first drawn: a lower index would have twice
    its share of a burst that sees one snapshot.

    References
    ----------
    .. [1] Mitzenmacher, "The power of two choices in randomized load balancing", IEEE
       Transactions on Parallel and Distributed Systems 12(10), 2001.
    """
    others = len(load.calls) - 1
    if not others:
        return 0
    pairs = (others + 1) * others
    first, second = divmod(min(int(ask.u * pairs), pairs - 1), others)
    if second >= first:  # any but the first
        second += 1
    return second if load.calls[second] < load.calls[first] else first


def affinity(load: Load, ask: Ask, *, spill: int = SPILL) -> int:
    """Replica of the session's previous call, unless it has too many calls in flight.

    Too many is more than `spill` above the least loaded, where the call goes then.
    The session stays where it has gone.
    """
    least = least_outstanding(load, ask)
    if ask.home is None or load.calls[ask.home] - load.calls[least] > spill:
        return least
    return ask.home


def prefix_aware(load: Load, ask: Ask, *, threshold: float = THRESHOLD, spill: int = SPILL) -> int:
    """Replica that holds the most of the prompt, as SGLang's router chooses.

    Of several the one with the fewest calls in flight. The least loaded instead, if no
    replica holds more than `threshold` of the prompt, or if this one has more than
    `spill` calls above it.
    """
    least = least_outstanding(load, ask)
    most = ask.hits.max()
    if most <= threshold * ask.prompt_tokens:
        return least
    holders = np.flatnonzero(ask.hits == most)
    best = int(holders[load.calls[holders].argmin()])
    return least if load.calls[best] - load.calls[least] > spill else best


def score(load: Load, ask: Ask, *, weights: WeightsSpec) -> int:
    """Replica with the highest weighted sum of prefix, calls and KV cache.

    Calls count by their place between the fewest and the most, as in llm-d's queue
    scorer; prefix and KV cache by what they are.
    """
    total = (weights.prefix / max(ask.prompt_tokens, 1)) * ask.hits
    most = load.calls.max()
    spread = most - load.calls.min()
    if spread:
        total += (weights.calls / spread) * (most - load.calls)
    total += weights.kv * np.maximum(1.0 - load.prompt_tokens / load.cache_tokens, 0.0)
    return int(total.argmax())


def routing(spec: RouterSpec) -> Routing:
    """Return the function of a policy's name; `shared_queue` pulls, it does not choose.

    Examples
    --------
    >>> import numpy as np
    >>> from factorysim.spec.router import RouterSpec
    >>> load = Load(np.array([2, 1, 1]), np.array([10, 30, 20]), np.array([99, 99, 99]))
    >>> ask = Ask(4, session=0, prompt_tokens=5, prefix_tokens=0, home=0, u=0.5, hits=np.zeros(3))
    >>> policies = "round_robin", "least_outstanding", "least_kv", "sticky"
    >>> [routing(RouterSpec(policy=policy))(load, ask) for policy in policies]
    [1, 1, 0, 0]
    """
    spill = SPILL if spec.spill is None else spec.spill
    match spec.policy:
        case "round_robin":
            return round_robin
        case "least_outstanding" | "shared_queue":
            return least_outstanding
        case "power_of_two":
            return power_of_two
        case "least_kv":
            return least_kv
        case "sticky":
            return sticky
        case "affinity":
            return partial(affinity, spill=spill)
        case "prefix_aware":
            threshold = THRESHOLD if spec.threshold is None else spec.threshold
            return partial(prefix_aware, threshold=threshold, spill=spill)
        case "score":
            return partial(score, weights=spec.weights or WeightsSpec())
    assert_never(spec.policy)
