"""The gateway in front of the routers: lets calls in, or turns them away to come again.

A call that is turned away waits and is sent again, each wait longer than the one
before; after the last attempt it comes back to its session as `rejected`. Calls are
numbered as they are let in (or given up), so that replicas serve them in the order in
which they came, not in that in which their sessions first asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.rng import uniform
from factorysim.sim.bucket import TokenBucket
from factorysim.sim.clock import ARRIVAL, FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from factorysim.rng import KeyPart
    from factorysim.sim.calendar import Calendar
    from factorysim.sim.call import Call
    from factorysim.sim.clock import Clock
    from factorysim.sim.incidents import Incidents
    from factorysim.sim.router import Router
    from factorysim.spec.admission import AdmissionSpec, RetrySpec, TokenBucketSpec
    from factorysim.spec.stream import StreamSpec


class Visit(NamedTuple):
    """A call that is to be let in."""

    stream: str
    draw: tuple[KeyPart, ...]
    """Key of its draws: its session, and its place there."""
    u: float
    """For a router that draws."""


class Tally(NamedTuple):
    """What the gateway counted, beside what others counted of the same."""

    asks: int
    """Times that calls were sent, let in or not."""
    refused: int
    present: int
    """Calls let in and not back."""
    prompts_only: bool
    """Whether buckets count prompts alone."""
    buckets: tuple[tuple[TokenBucket, frozenset[str]], ...]
    """And the streams whose calls take from each."""


class Gateway:
    """Admission control for all routers.

    Parameters
    ----------
    flying
        Takes in calls by number, once they are let in or given up.
    parts
        Of the key of every draw.
    incidents
        Told of calls that are turned away.
    """

    def __init__(
        self,
        spec: AdmissionSpec,
        streams: Mapping[str, StreamSpec],
        routers: Iterable[Router],
        clock: Clock,
        calendar: Calendar,
        flying: dict[int, Call],
        parts: tuple[int, str, int],
        incidents: Incidents,
    ) -> None:
        self._incidents = incidents
        self._retry = spec.retry
        self._attempts = 1 if spec.retry is None else spec.retry.attempts
        self._clock = clock
        self._calendar = calendar
        self._flying = flying
        self._parts = parts
        bucket = spec.token_bucket
        self._prompts_only = bucket is not None and bucket.counts == "prompt"
        self._buckets = {} if bucket is None else _buckets(bucket, streams)
        limit = spec.queue_limit
        self._most = limit.calls if limit is not None and limit.per == "router" else None
        self._present = dict.fromkeys(routers, 0)
        """Calls let in and not back, by router."""
        if limit is not None and limit.per == "replica":
            for router in self._present:
                router.limit = limit.calls
        self._waiting: dict[Call, Visit] = {}
        self._refusals: dict[Call, int] = {}
        """Of calls that were turned away at all, until they are written down."""
        self._asks = self._refused = 0
        self._entered = 0
        """Calls numbered so far."""

    def ask(self, call: Call, visit: Visit) -> None:
        """Let a call in, and send it to its replica; or turn it away, to come again.

        It comes back to its session as any other, or `rejected`.
        """
        self._asks += 1
        if self._lets_in(call, visit):
            self._present[call.router] += 1
            self._enter(call)
        else:
            self._refused += 1
            self._turn_away(call, visit)

    def back(self, call: Call) -> int:
        """Count out a call that is back; returns how often it was sent."""
        if call.server is not None:
            self._present[call.router] -= 1
        return self._refusals.pop(call, 0) + (call.server is not None)

    def attempts(self, call: Call) -> int:
        """Count how often a call in flight was sent so far."""
        turned_away = call.server is None and (call in self._waiting or call.outcome)
        return self._refusals.get(call, 0) + (not turned_away)

    def close(self) -> None:
        """Give the calls that are to come again their numbers: a simulation ends."""
        for call in self._waiting:
            self._enter(call)

    def tally(self) -> Tally:
        """Draw the balance."""
        streams: dict[int, set[str]] = {}
        for name, bucket in self._buckets.items():
            streams.setdefault(id(bucket), set()).add(name)
        by_id = {id(bucket): bucket for bucket in self._buckets.values()}
        return Tally(
            asks=self._asks,
            refused=self._refused,
            present=sum(self._present.values()),
            prompts_only=self._prompts_only,
            buckets=tuple((by_id[key], frozenset(names)) for key, names in streams.items()),
        )

    def _lets_in(self, call: Call, visit: Visit) -> bool:
        """Look at the router's limit, the bucket, and last at the replica that is chosen."""
        router, now = call.router, self._clock.now_fs
        if self._most is not None and self._present[router] >= self._most:
            return False
        bucket = self._buckets.get(visit.stream)
        tokens = call.prompt_tokens
        if not self._prompts_only:
            tokens += call.output_tokens
        if bucket is not None and not bucket.affords(tokens, now):
            return False
        call.held_fs = now - call.asked_fs
        call.number = self._entered
        if not router.send(call, visit.u):
            return False
        if bucket is not None:
            bucket.pay(tokens)
        return True

    def _turn_away(self, call: Call, visit: Visit) -> None:
        refusals = self._refusals[call] = self._refusals.get(call, 0) + 1
        live = call.tag.live
        self._incidents.turned_away(visit.stream, live.plan.sid, refusals)
        if refusals < self._attempts:
            assert self._retry is not None
            u = uniform(*self._parts, visit.stream, *visit.draw, refusals)
            due_fs = self._clock.now_fs + wait_fs(self._retry, refusals, u)
            self._waiting[call] = visit
            self._calendar.at(due_fs, ARRIVAL + live.number, self._again, call)
        else:
            self._give_up(call, "rejected")

    def _again(self, call: Call) -> None:
        """Send a call again, unless its session has failed meanwhile."""
        visit = self._waiting.pop(call)
        if call.tag.live.failed:
            self._give_up(call, "cancelled")
        else:
            self.ask(call, visit)

    def _enter(self, call: Call) -> None:
        call.number = number = self._entered
        self._entered = number + 1
        self._flying[number] = call

    def _give_up(self, call: Call, outcome: str) -> None:
        call.outcome = outcome
        self._enter(call)
        # The session may be in the midst of asking: it learns of it after that.
        branch = call.tag
        self._clock.at(self._clock.now_fs, ARRIVAL + branch.live.number, branch.resume, call)


def wait_fs(retry: RetrySpec, refusals: int, u: float) -> int:
    """Wait after the n-th refusal, at least a femtosecond.

    Examples
    --------
    >>> from factorysim.spec.admission import RetrySpec
    >>> retry = RetrySpec(attempts=5, backoff="1 s", factor=2.0, longest="3 s", jitter=0.5)
    >>> [wait_fs(retry, n, u=0.5) / FS_PER_S for n in (1, 2, 3)]
    [0.75, 1.5, 2.25]
    """
    # By a hundred doublings any wait has reached the longest.
    growth = retry.factor ** min(refusals - 1, 1000 if retry.factor < 2 else 100)
    wait_s = min(retry.backoff * growth, retry.longest)
    return max(1, round(wait_s * (1.0 - retry.jitter * u) * FS_PER_S))


def _buckets(spec: TokenBucketSpec, streams: Mapping[str, StreamSpec]) -> dict[str, TokenBucket]:
    """Make the bucket of each stream; those of one tenant have the same."""
    buckets: dict[tuple[bool, str], TokenBucket] = {}
    found: dict[str, TokenBucket] = {}
    for name, stream in streams.items():
        shared = spec.per == "tenant" and stream.tenant is not None
        whose = stream.tenant if shared and stream.tenant is not None else name
        limit = spec.limits.get(whose, spec)
        key = shared, whose
        if key not in buckets:
            buckets[key] = TokenBucket(limit.rate, limit.burst)
        found[name] = buckets[key]
    return found
