"""Admission control: buckets against fractions, and a gateway against one written for this test.

The reference keeps nothing of the simulator: a heap of asks, one fraction a bucket,
draws by their documented key. It predicts for every call when it is let in and how
often it was sent, femtosecond for femtosecond.
"""

from __future__ import annotations

from fractions import Fraction
from heapq import heappop, heappush
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.rng import uniform
from factorysim.sim.bucket import TokenBucket
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import FS, MS, Listed, Ran, UnitLaw, plan, run, scenario

RATES = st.sampled_from([0.1, 1.0, 7.3, 100.0, 1e6 / 3]) | st.floats(1e-3, 1e6)
GAPS_FS = st.sampled_from([0, 0, 1, MS, FS // 3, FS]) | st.integers(0, 5 * FS)


class Filling:
    """A bucket in tokens, as a fraction."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = Fraction(rate) / FS, Fraction(burst)
        self.level, self.seen = self.burst, 0

    def take(self, tokens: int, now: int) -> bool:
        self.level = min(self.burst, self.level + self.rate * (now - self.seen))
        self.seen = now
        if self.level < min(tokens, self.burst):
            return False
        self.level -= tokens
        return True


@settings(max_examples=200, deadline=None)
@given(
    RATES,
    st.integers(1, 2000),
    st.lists(st.tuples(GAPS_FS, st.integers(0, 3000), st.booleans()), max_size=60),
)
def test_a_bucket_is_what_fractions_say(rate, burst, asks):
    bucket, filling = TokenBucket(rate, burst), Filling(rate, burst)
    now = spent = 0
    for gap, tokens, looks in asks:
        now += gap
        if looks:
            bucket.affords(tokens, now)  # to look changes nothing
        taken = filling.take(tokens, now)
        assert bucket.take(tokens, now) == taken
        spent += tokens * taken
        assert bucket.tokens(now) == filling.level
        assert bucket.error() == 0
        # No more than the burst and what the rate brings, and the debt of the last.
        assert spent <= burst + Fraction(rate) * now / FS - min(0, filling.level)
    assert bucket.spent == spent


class Rules(NamedTuple):
    """Admission as a scenario gives it."""

    rate: float
    burst: int
    per: str
    counts: str
    attempts: int
    backoff_s: float
    factor: float
    longest_s: float
    jitter: float

    def spec(self) -> dict[str, Any]:
        bucket = {"rate": f"{self.rate!r} tok/s", "burst": self.burst, "per": self.per,
                  "counts": self.counts}  # fmt: skip
        retry = {"attempts": self.attempts, "backoff": f"{self.backoff_s!r} s",
                 "factor": self.factor, "longest": f"{self.longest_s!r} s",
                 "jitter": self.jitter}  # fmt: skip
        return {"token_bucket": bucket} | ({"retry": retry} if self.attempts > 1 else {})


RULES = st.builds(
    Rules,
    rate=st.sampled_from([10.0, 333.3, 2000.0]),
    burst=st.integers(1, 300),
    per=st.sampled_from(["tenant", "stream"]),
    counts=st.sampled_from(["total", "prompt"]),
    attempts=st.integers(1, 5),
    backoff_s=st.sampled_from([0.001, 0.02, 0.1]),
    factor=st.sampled_from([1.0, 2.0, 3.5]),
    longest_s=st.sampled_from([0.05, 10.0]),
    jitter=st.sampled_from([0.0, 0.0, 0.5, 1.0]),
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 50]),  # ms after the one before
        st.integers(0, 2),  # stream
        st.integers(1, 120),
        st.integers(1, 8),
    ),
    min_size=1,
    max_size=40,
)
STREAMS = {"a": {"tenant": "t"}, "b": {"tenant": "t"}, "c": {}}


def world(rules: Rules, calls: list[tuple[int, int, int, int]], **more: Any) -> Ran:
    sessions: list[list[Session]] = [[], [], []]
    at_ns = 0
    for gap_ms, stream, prompt, output in calls:
        at_ns += gap_ms * 10**6
        place = len(sessions[stream])
        sessions[stream].append(Session(f"x{place}", at_ns, [LlmNode(prompt, output)]))
    admission = {**rules.spec(), **more.pop("admission", {})}
    return run(
        scenario(streams=STREAMS, serving={"admission": admission}, **more),
        plan(UnitLaw(token_fs=MS // 10, decode_fs=MS // 10), replicas=2),
        [Listed(name, listed) for name, listed in zip(STREAMS, sessions, strict=True)],
        horizon_s=60.0,
    )


def predicted(
    rules: Rules, calls: list[tuple[int, int, int, int]]
) -> dict[tuple[str, int], tuple[int, int | None, int]]:
    """Of each call by stream and place: first ask, when it was let in, attempts."""
    shared = Filling(rules.rate, rules.burst)
    buckets = [shared, shared if rules.per == "tenant" else Filling(rules.rate, rules.burst),
               Filling(rules.rate, rules.burst)]  # fmt: skip
    names, seen = list(STREAMS), [0, 0, 0]
    queue: list[tuple[int, int, int, Any]] = []
    at, told = 0, {}
    for order, (gap_ms, stream, prompt, output) in enumerate(calls):
        at += gap_ms * MS
        ask = (stream, seen[stream], prompt, output, at, 1)
        seen[stream] += 1
        heappush(queue, (at, stream, order, (ask, None)))
    sessions, order = 0, len(calls)
    while queue:
        now, _, _, (ask, session) = heappop(queue)
        stream, place, prompt, output, first, attempt = ask
        if session is None:
            session, sessions = sessions, sessions + 1
        tokens = prompt + (output if rules.counts == "total" else 0)
        key = names[stream], place
        if buckets[stream].take(tokens, now):
            told[key] = first, now, attempt
        elif attempt == rules.attempts:
            told[key] = first, None, attempt
        else:
            u = uniform(1, "retry", 0, names[stream], f"x{place}", 1, attempt)
            wait = min(rules.backoff_s * rules.factor ** (attempt - 1), rules.longest_s)
            due = now + max(1, round(wait * (1.0 - rules.jitter * u) * FS))
            order += 1
            again = (*ask[:5], attempt + 1)
            heappush(queue, (due, session, order, (again, session)))
    return told


@settings(max_examples=150, deadline=None)
@given(RULES, CALLS)
def test_who_is_let_in_when_and_after_how_many_attempts(rules, calls):
    told = predicted(rules, calls)
    ran = world(rules, calls)
    assert not ran.broken()
    sids = {row.session: (row.stream, int(row.sid[1:])) for row in ran.sessions}
    assert len(ran.calls) == len(calls)
    for call in ran.calls:
        first, entered, attempts = told[sids[call.session]]
        assert call.arrived_s == first * 1e-15
        assert call.attempts == attempts
        if entered is None:
            assert (call.outcome, call.replica, call.queued_s) == ("rejected", -1, None)
            assert call.output_tokens == 0
        else:
            assert call.outcome == "completed"
            assert call.held_s == (entered - first) * 1e-15
            assert call.queued_s == entered * 1e-15  # the way takes no time here
    outcomes = {sids[row.session]: row.outcome for row in ran.sessions}
    for key, (_, entered, _) in told.items():
        assert outcomes[key] == ("failed" if entered is None else "completed")


@settings(max_examples=60, deadline=None)
@given(
    RULES,
    CALLS,
    st.integers(1, 4),
    st.sampled_from(["replica", "router"]),
    st.sampled_from(["least_outstanding", "power_of_two", "round_robin", "shared_queue"]),
    st.sampled_from(["0 s", "30 ms"]),
    st.sampled_from([0.02, 0.2, 60.0]),
)
def test_nothing_is_lost_whatever_turns_calls_away(
    rules, calls, most, per, policy, snapshot, horizon_s
):
    """Both clocks agree, every law holds, limits are kept, at any end of the run."""
    turns = {}
    if policy == "shared_queue":
        per, turns = "router", {"share": {"weights": {"t": 2}}}
    limit = {"queue_limit": {"calls": most, "per": per}}
    ran = [
        run(
            scenario(
                streams=STREAMS,
                serving={
                    "admission": {**rules.spec(), **limit},
                    "max_sequences": 2,
                    "router": {"policy": policy, "snapshot": snapshot, **turns},
                },
                run={"clock": clock},
            ),
            plan(UnitLaw(token_fs=MS // 10), replicas=2, blocks=40, latency_fs=MS // 7),
            listed(calls),
            horizon_s=horizon_s,
        )
        for clock in ("run_length", "stepwise")
    ]
    assert ran[0].broken() == ran[1].broken() == []
    assert ran[0].calls == ran[1].calls
    assert ran[0].sessions == ran[1].sessions
    for call in ran[0].calls:
        assert 1 <= call.attempts <= rules.attempts
        if call.outcome == "rejected" and call.replica < 0:
            assert call.attempts == rules.attempts
        if call.outcome == "cancelled":
            assert call.attempts < rules.attempts
    inside = [call for call in ran[0].calls if call.replica >= 0]
    for call in inside:
        at_once = sum(
            other.arrived_s + other.held_s <= call.arrived_s + call.held_s < left(other, per)
            for other in inside
            if per == "router" or other.replica == call.replica
        )
        assert at_once <= most


def left(call: Any, per: str) -> float:
    """When a call makes room: its answer is back, or has left the replica."""
    ended = call.finished_s if per == "router" else call.last_token_s
    return float("inf") if ended is None else ended - 1e-12


def listed(calls: list[tuple[int, int, int, int]]) -> list[Listed]:
    """Sessions of two calls, so that one may be turned away in their midst."""
    sessions: list[list[Session]] = [[], [], []]
    at_ns = 0
    for gap_ms, stream, prompt, output in calls:
        at_ns += gap_ms * 10**6
        nodes = [
            LlmNode(prompt, output),
            LlmNode(prompt, 1, after=(0,)),
            LlmNode(output, 2, after=(0,)),
        ]
        sessions[stream].append(Session(f"x{len(sessions[stream])}", at_ns, nodes))
    return [Listed(name, given) for name, given in zip(STREAMS, sessions, strict=True)]
