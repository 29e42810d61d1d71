"""Admission at the gateway, worked out on paper; and leaks that the audit has to catch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from factorysim.sim.bucket import TokenBucket
from factorysim.sim.gateway import Gateway
from factorysim.sim.router import Router
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import Listed, Ran, UnitLaw, calls, plan, run, scenario

if TYPE_CHECKING:
    from factorysim.sim.call import Call

STEADY = {"attempts": 4, "backoff": "100 ms", "factor": 2.0, "jitter": 0.0}


def served(
    admission: dict[str, Any],
    sessions: list[Session],
    *,
    horizon_s: float = 100.0,
    replicas: int = 1,
    **serving: Any,
) -> Ran:
    spec = scenario(serving={"admission": admission, **serving})
    return run(spec, plan(UnitLaw(), replicas=replicas), [Listed("s", sessions)],
               horizon_s=horizon_s)  # fmt: skip


def test_a_bucket_lets_its_burst_in_and_then_what_the_rate_brings():
    bucket = {"token_bucket": {"rate": "100 tok/s", "burst": 40}, "retry": STEADY}
    ran = served(bucket, calls([0] * 5, prompt=10, output=10))
    got = sorted((call.session, round(call.held_s, 9), call.attempts) for call in ran.calls)
    # Two go in at once, of 20 tokens each. 100 ms bring 10, 300 ms 30: enough for one, and
    # 10 left; 700 ms bring 40, for two.
    assert got == [(0, 0.0, 1), (1, 0.0, 1), (2, 0.3, 3), (3, 0.7, 4), (4, 0.7, 4)]
    assert not ran.broken()


def test_after_the_last_attempt_the_session_fails():
    retry = {**STEADY, "attempts": 2}
    bucket = {"token_bucket": {"rate": "1 tok/s", "burst": 20}, "retry": retry}
    ran = served(bucket, calls([0, 0], prompt=10, output=10))
    call = ran.calls[-1]
    assert [row.outcome for row in ran.sessions] == ["completed", "failed"]
    assert (call.outcome, call.attempts, call.replica) == ("rejected", 2, -1)
    assert (call.scheduled_s, call.output_tokens) == (None, 0)
    assert call.held_s == pytest.approx(0.1)
    assert call.finished_s == pytest.approx(0.1)


def test_without_retry_who_is_turned_away_fails_at_once():
    ran = served({"queue_limit": {"calls": 1}}, calls([0, 0], prompt=10))
    assert [(c.outcome, c.attempts, c.held_s) for c in ran.calls] == [
        ("rejected", 1, 0.0),
        ("completed", 1, 0.0),
    ]
    assert not ran.broken()


def test_a_call_of_more_than_the_burst_waits_for_a_full_bucket_and_leaves_a_debt():
    bucket = {"token_bucket": {"rate": "100 tok/s", "burst": 10, "counts": "prompt"},
              "retry": {**STEADY, "factor": 1.0, "attempts": 100}}  # fmt: skip
    ran = served(bucket, calls([0, 1, 2], prompt=50))
    # Full at the start: the first goes in and owes 40, so that it is full again after 500 ms.
    held = {call.session: round(call.held_s, 9) for call in ran.calls}
    assert held == {0: 0.0, 1: 0.5, 2: 1.0}


def test_a_wait_is_time_in_queue_and_ttft_counts_from_the_first_ask():
    retry = {**STEADY, "backoff": "50 ms"}
    ran = served({"queue_limit": {"calls": 1}, "retry": retry}, calls([0, 0], prompt=30, output=3))
    late = max(ran.calls, key=lambda call: call.held_s)
    (session,) = [row for row in ran.sessions if row.session == late.session]
    assert late.arrived_s == 0.0
    assert late.queued_s == pytest.approx(0.05)
    assert session.queue_s == pytest.approx(0.05)
    assert session.prefill_s == pytest.approx(0.03)
    assert session.finished_s == pytest.approx(0.05 + 0.03 + 0.002)


def test_the_limit_of_a_replica_is_that_of_the_chosen_one():
    """On a stale view all go to one replica, and are turned away while the other is empty."""
    stale = {"router": {"policy": "least_outstanding", "snapshot": "10 s"}}
    limit = {"queue_limit": {"calls": 2}}
    ran = served(limit, calls([0] * 6), replicas=2, **stale)
    assert [c.outcome for c in ran.calls].count("rejected") == 4
    live = served(limit, calls([0] * 6), replicas=2)
    assert [c.outcome for c in live.calls].count("rejected") == 2
    whole = {"queue_limit": {"calls": 4, "per": "router"}}
    ran = served(whole, calls([0] * 6), replicas=2, **stale)
    assert [c.outcome for c in ran.calls].count("rejected") == 2
    assert {c.replica for c in ran.calls if c.outcome == "completed"} == {0}


def test_a_call_that_was_turned_away_is_served_behind_those_that_came_meanwhile():
    retry = {**STEADY, "backoff": "15 ms"}
    ran = served(
        {"queue_limit": {"calls": 3, "per": "router"}, "retry": retry},
        [*calls([0, 0, 0], prompt=20), *calls([1], prompt=5, prefix="late"),
         *calls([41], prompt=20, prefix="new")],
        max_sequences=1,
    )  # fmt: skip
    sids = {row.session: row.sid for row in ran.sessions}
    order = [sids[c.session] for c in sorted(ran.calls, key=lambda c: c.scheduled_s)]
    # `late` asks at 1, 16 and 46 ms; `new` comes at 41 ms, when there is room.
    assert order == ["c0", "c1", "c2", "new0", "late0"]


def test_jitter_is_drawn_for_the_call_not_in_the_order_of_events():
    retry = {**STEADY, "jitter": 1.0, "attempts": 50}
    bucket = {"token_bucket": {"rate": "50 tok/s", "burst": 20}, "retry": retry}
    first: dict[int, dict[str, float]] = {}
    for crowd in ([], calls([0] * 9, prompt=1, output=1, prefix="d")):
        spec = scenario(
            serving={"admission": bucket}, streams={"s": {}, "other": {"tenant": "them"}}
        )
        few = calls([0, 0, 0], prompt=10, output=10)
        ran = run(spec, plan(UnitLaw()), [Listed("s", few), Listed("other", crowd)])
        sids = {row.session: row.sid for row in ran.sessions}
        held = {sids[c.session]: c.held_s for c in ran.calls if c.stream == "s"}
        first[len(crowd)] = held
    assert first[0] == pytest.approx(first[9])
    assert len(set(first[0].values())) == 3


def test_tenants_share_a_bucket_and_may_have_limits_of_their_own():
    bucket = {
        "token_bucket": {
            "rate": "1 tok/s",
            "burst": 30,
            "limits": {"gold": {"rate": "1 tok/s", "burst": 60}},
        }
    }
    spec = scenario(
        serving={"admission": bucket},
        streams={"a": {"tenant": "t"}, "b": {"tenant": "t"}, "g": {"tenant": "gold"}, "own": {}},
    )
    lists = [Listed(n, calls([i] * 4, prompt=10, output=5)) for i, n in enumerate(spec.streams)]
    ran = run(spec, plan(UnitLaw()), lists)
    let_in = {n: sum(c.outcome == "completed" for c in ran.calls if c.stream == n) for n in
              spec.streams}  # fmt: skip
    assert let_in == {"a": 2, "b": 0, "g": 4, "own": 2}
    assert not ran.broken()


def test_who_is_in_backoff_at_the_end_is_in_flight():
    bucket = {"token_bucket": {"rate": "1 tok/s", "burst": 10}, "retry": STEADY}
    ran = served(bucket, calls([0, 0], prompt=5, output=5), horizon_s=0.25)
    waiting = ran.calls[-1]
    assert (waiting.outcome, waiting.attempts, waiting.replica) == ("censored", 2, -1)
    assert waiting.held_s == pytest.approx(0.25)
    assert waiting.finished_s is None
    assert not ran.broken()


def test_a_sibling_that_fails_calls_off_the_next_attempt():
    nodes = [LlmNode(10, 1), LlmNode(10, 1, after=(0,)), LlmNode(10, 1, after=(0,))]
    nodes[2].delay_ns = 20_000_000
    retry = {**STEADY, "attempts": 3, "backoff": "10 ms", "factor": 10.0}
    bucket = {"token_bucket": {"rate": "1 tok/s", "burst": 11}, "retry": retry}
    ran = served(bucket, [Session("x", 0, nodes)])
    assert sorted((c.outcome, c.attempts) for c in ran.calls) == [
        ("cancelled", 2),
        ("completed", 1),
        ("rejected", 3),
    ]
    assert ran.sessions[0].outcome == "failed"
    assert not ran.broken()


# Planted leaks: the audit has to catch each of them.


def pressed(**admission: Any) -> list[str]:
    rules = {
        "token_bucket": {"rate": "2000 tok/s", "burst": 100},
        "queue_limit": {"calls": 3},
        "retry": STEADY,
        **admission,
    }
    sessions = calls([i * 3 for i in range(60)], prompt=20, output=5)
    return served(rules, sessions, replicas=2, horizon_s=0.2).broken()


def test_nothing_is_broken_where_nothing_is_planted():
    assert pressed() == []


def test_the_audit_catches_a_call_that_takes_no_tokens(monkeypatch):
    pay = TokenBucket.pay

    def generous(self: TokenBucket, tokens: int) -> None:
        if self.spent != 50:
            pay(self, tokens)
        else:
            self.spent += 1

    monkeypatch.setattr(TokenBucket, "pay", generous)
    broken = pressed()
    assert "admission: tokens taken = tokens of calls let in" in broken


def test_the_audit_catches_a_bucket_that_fills_too_fast(monkeypatch):
    affords = TokenBucket.affords

    def doubled(self: TokenBucket, tokens: int, now_fs: int) -> bool:
        self._level += self._per_fs * (now_fs - self._seen_fs) // 2
        return affords(self, tokens, now_fs)

    monkeypatch.setattr(TokenBucket, "affords", doubled)
    name = "admission: buckets whose rate over time is not what they hold, spilled and gave"
    assert pressed() == [name]


def test_the_audit_catches_an_ask_that_is_neither_let_in_nor_turned_away(monkeypatch):
    turn_away = Gateway._turn_away

    def forgetful(self: Gateway, call: Call, visit: Any) -> None:
        self._refused -= call.tag.live.number == 7
        turn_away(self, call, visit)

    monkeypatch.setattr(Gateway, "_turn_away", forgetful)
    assert pressed() == ["admission: sent = let in + turned away"]


def test_the_audit_catches_an_attempt_that_no_row_has(monkeypatch):
    back = Gateway.back

    def short(self: Gateway, call: Call) -> int:
        return min(back(self, call), 1)

    monkeypatch.setattr(Gateway, "back", short)
    assert pressed() == ["admission: sent = attempts of calls"]


def test_the_audit_catches_room_that_is_never_given_back(monkeypatch):
    back = Gateway.back

    def keeping(self: Gateway, call: Call) -> int:
        if call.number == 5:
            self._present[call.router] += 1
        return back(self, call)

    monkeypatch.setattr(Gateway, "back", keeping)
    assert pressed() == ["admission: let in and not back = in flight"]


def test_the_audit_catches_a_call_that_nobody_sends_again(monkeypatch):
    turn_away = Gateway._turn_away

    def silent(self: Gateway, call: Call, visit: Any) -> None:
        if self._refusals or self._waiting:
            turn_away(self, call, visit)

    monkeypatch.setattr(Gateway, "_turn_away", silent)
    broken = pressed()
    assert "calls: arrived = ended + in flight" in broken
    assert "sessions: in flight and asleep for ever" in broken


def test_the_audit_catches_a_refusal_that_a_router_keeps_to_itself(monkeypatch):
    send = Router.send

    def boastful(self: Router, call: Call, u: float = 0.5) -> bool:
        taken = send(self, call, u)
        self.refused -= not taken
        return taken

    monkeypatch.setattr(Router, "send", boastful)
    assert pressed(token_bucket=None) == ["admission: sent = let in + turned away"]
