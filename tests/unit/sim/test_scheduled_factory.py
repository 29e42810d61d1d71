"""A factory by each scheduler: both clocks alike, its audit whole, and what it catches."""

from __future__ import annotations

import pytest

from factorysim.sim.schedulers import ReservingLedger, StaticReplica
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import MS, Listed, UnitLaw, plan, run, scenario

SCHEDULERS = {
    "vllm": {"prefill_every": 4},
    "prefill_first": {},
    "sarathi": {},
    "sglang": {"schedule_conservativeness": 0.0},
    "orca": {"reserve": "pow2"},
    "static": {"max_queue_delay": "20 ms"},
}


def serve(scheduler, *, clock="run_length", horizon_s=100.0, **keys):
    """Forty sessions of two calls each, on two replicas with KV for few of them."""
    sessions = [
        Session(f"x{i}", i * 3 * 10**6, [first(i), LlmNode(60, 40, prefix_tokens=30, after=(0,))])
        for i in range(40)
    ]
    tokens = {} if scheduler in ("orca", "static") else {"token_budget": 32}
    serving = {"scheduler": scheduler, "max_sequences": 8, **SCHEDULERS[scheduler], **keys}
    if not tokens:
        serving["token_budget"] = 8192
    return run(
        scenario(run={"clock": clock}, serving={**serving, **tokens}),
        plan(UnitLaw(token_fs=MS // 10), replicas=2, blocks=24),
        [Listed("s", sessions)],
        horizon_s=horizon_s,
    )


def first(number):
    return LlmNode(5 + 7 * (number % 9), 3 + 11 * (number % 7))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_both_clocks_give_the_same_rows_and_whole_balances(scheduler):
    a, b = (serve(scheduler, clock=clock) for clock in ("run_length", "stepwise"))
    assert (a.calls, a.sessions) == (b.calls, b.sessions)
    assert sum(row.steps for row in a.steps) == len(b.steps)
    assert a.broken() == b.broken() == []
    assert {session.outcome for session in a.sessions} == {"completed"}
    preempted = any(call.preemptions for call in a.calls)
    assert preempted == (scheduler not in ("orca", "static"))
    assert any(call.hit_tokens for call in a.calls) == (scheduler not in ("orca", "static"))


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("horizon_s", [0.0135, 0.1, 0.2505, 0.4])
def test_what_is_in_flight_at_the_end_balances(scheduler, horizon_s):
    ran = serve(scheduler, horizon_s=horizon_s)
    assert ran.broken() == []
    assert any(call.outcome == "censored" for call in ran.calls)


@pytest.mark.parametrize("scheduler", ["sarathi", "orca", "static"])
def test_the_audit_catches_blocks_that_were_set_aside_and_never_given_back(monkeypatch, scheduler):
    release = ReservingLedger.release

    def forgetful(self, call, tokens):
        """Give back what is filled only."""
        reserved = self._reserved
        if call.number == 79:
            self._reserved = lambda call: 0
        release(self, call, tokens - 16 if call.number == 79 else tokens)
        self._reserved = reserved

    monkeypatch.setattr(ReservingLedger, "release", forgetful)
    assert "KV blocks: free + cached + private" in serve(scheduler).broken()


def test_the_audit_catches_padding_that_steps_and_calls_tell_differently(monkeypatch):
    started = StaticReplica._start_padded

    def skimming(self, decodes, chunks):
        """Leave a place out of a step."""
        if decodes == 1:
            gone = self._places.pop()
            started(self, decodes, chunks)
            self._places.append(gone)
        else:
            started(self, decodes, chunks)

    monkeypatch.setattr(StaticReplica, "_start_padded", skimming)
    assert serve("static").broken() == ["prompt tokens of steps = computed + recomputed"]
