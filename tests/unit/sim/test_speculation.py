"""Replicas that speculate: token clock, blocks for drafts, gaps, audit, against closed forms."""

from __future__ import annotations

from collections import Counter

import pytest

from factorysim.physics.speculation import pace, speculative_law
from factorysim.sim.speculation import SpeculativeDecodes
from factorysim.workload.session import LlmNode, Session
from tests.unit.sim.builders import MS, Listed, UnitLaw, calls, plan, run, scenario

AT = pace(3, 0.6)
"""2.176 tokens a verify: 272 in 125."""


def speculating(at=AT, **law):
    return speculative_law(UnitLaw(**law), None, at)


def served(law, sessions, blocks=1000, **changes):
    return run(scenario(**changes), plan(law, blocks=blocks), [Listed("s", sessions)])


def test_tpot_is_the_verify_over_the_mean():
    """2,176 tokens after the first take 1,000 verifies of 1 ms and 3 prompt tokens' time.

    `UnitLaw` has a prompt token cost 1 ms, and 3 drafts are as many tokens more.
    """
    law = speculating(token_fs=0)
    (call,) = served(law, calls([0], prompt=1, output=2177)).calls
    assert call.output_tokens == 2177
    assert call.last_token_s - call.first_token_s == pytest.approx(1.000, abs=1e-12)


def test_drafts_cost_what_prompt_tokens_cost():
    ran = served(speculating(), calls([0], prompt=10, output=2177))
    (call,) = ran.calls
    assert call.last_token_s - call.first_token_s == pytest.approx(4.000, abs=1e-12)


def test_tokens_of_a_verify_come_together():
    """Gaps of 1 ms between verifies, 0 inside: 2 or 3 tokens a verify, the last cut to fit."""
    ran = served(speculating(token_fs=0), calls([0], prompt=1, output=8))
    assert sum(row.emitted_tokens for row in ran.steps) == 8
    # made(k) is 0 2 4 6 8: the 7 after the first take 4 verifies, and one is cut off.
    assert sum(row.steps * row.decodes for row in ran.steps) == 4
    assert sum(row.accepted_tokens for row in ran.steps) == 3
    assert not ran.broken()


def test_nothing_accepted_is_a_token_a_step_as_without_drafts():
    """And so without cost of drafts the same in all but the blocks that are held for them."""

    def of(law):
        return served(law, calls([0, 0.5, 3, 20], prompt=30, output=25))

    plain, drafting = of(UnitLaw(token_fs=0)), of(speculating(pace(4, 0.0), token_fs=0))
    assert [c[:18] for c in drafting.calls] == [c[:18] for c in plain.calls]
    same = [[(r.started_s, r.steps, r.emitted_tokens) for r in ran.steps]
            for ran in (plain, drafting)]  # fmt: skip
    assert same[0] == same[1]
    slower = of(speculating(pace(4, 0.0)))
    assert sum(c.last_token_s for c in slower.calls) > sum(c.last_token_s for c in plain.calls)


def test_blocks_are_held_for_drafts_that_may_be_rejected():
    """Blocks of 16: 14 tokens and 4 of a verify are 18. Then 15 + 1 + 3, and a third at 30."""
    ran = served(speculating(pace(3, 0.0), token_fs=0), calls([0], prompt=14, output=18),
                 run={"clock": "stepwise"})  # fmt: skip
    held = [row.kv_blocks for row in ran.steps]
    assert held == [1] + [2] * 15 + [3] * 2
    assert not ran.broken()


def test_what_lacks_blocks_for_its_last_drafts_is_rejected():
    """2 blocks of 16: 30 + 3 - 1 tokens fit, with 3 drafts they do not."""

    def outcome(law, blocks):
        return served(law, calls([0], prompt=30, output=3), blocks=blocks).calls[0].outcome

    assert outcome(UnitLaw(), 2) == "completed"
    assert outcome(speculating(), 2) == "rejected"
    assert outcome(speculating(), 3) == "completed"


def test_the_budget_counts_every_token_of_a_verify():
    """8 decodes of 4 tokens leave 128 - 32 of the budget to a prompt."""
    sessions = [*calls([0] * 8, prompt=1, output=400), *calls([50], prompt=300, prefix="p")]
    ran = served(speculating(token_fs=1), sessions)
    assert {row.prompt_tokens // row.steps for row in ran.steps if row.prompts and row.decodes} == {
        96, 300 % 96,
    }  # fmt: skip


def test_the_audit_holds_with_preemptions_and_calls_in_flight():
    ran = run(
        scenario(),
        plan(speculating(token_fs=MS // 10), blocks=25),
        [Listed("s", [Session(f"x{i}", i * 3_000_000, [LlmNode(30 + i, 40 + 3 * i)])
                      for i in range(20)])],
        horizon_s=0.25,
    )  # fmt: skip
    assert sum(call.preemptions for call in ran.calls) > 3
    outcomes = Counter(call.outcome for call in ran.calls)
    assert outcomes["completed"] > 3
    assert outcomes["censored"] > 3
    assert not ran.broken()
    names = [line.name for line in ran.closing.audit]
    assert "drafts = accepted + wasted + rejected" in names
    assert "drafts of steps = drafts of calls" in names


def test_nobody_audits_drafts_where_there_are_none():
    ran = served(UnitLaw(), calls([0]))
    assert not [line for line in ran.closing.audit if "draft" in line.name]


def leak(monkeypatch, name, change):
    method = getattr(SpeculativeDecodes, name)
    monkeypatch.setattr(SpeculativeDecodes, name, change(method))
    return set(served(speculating(), calls([0, 1, 2], prompt=20, output=30)).broken())


def test_the_audit_catches_drafts_that_no_call_met(monkeypatch):
    def forgetful(leave):
        def left(self, call):
            call.joined += self.tick > call.joined  # one verify fewer, its tokens made
            call.output_made += self._pace.made(call.joined) - self._pace.made(call.joined - 1)
            return leave(self, call)

        return left

    assert "drafts of steps = drafts of calls" in leak(monkeypatch, "leave", forgetful)


def test_the_audit_catches_a_draft_kept_twice(monkeypatch):
    def generous(advance):
        def advanced(self, steps, now_fs):
            done = advance(self, steps, now_fs)
            self.accepted += 1
            return done

        return advanced

    broken = leak(monkeypatch, "advance", generous)
    assert "drafts = accepted + wasted + rejected" in broken
    assert any(name.startswith("tokens emitted by steps = output of calls") for name in broken)


def test_the_audit_catches_blocks_for_drafts_that_are_not_given_back(monkeypatch):
    broken = leak(monkeypatch, "held", lambda held: lambda self, call: held(self, call) - 16)
    assert "KV blocks: free + cached + private" in broken
