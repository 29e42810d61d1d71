"""Ranks and stages in a factory: theory, audits, and leaks that are planted in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from factorysim.sim.call import Call, Limits
from factorysim.sim.clock import Clock
from factorysim.sim.pipeline import PipelineReplica
from factorysim.sim.ranks import Rank, RankedReplica
from factorysim.sim.replica import Replica
from tests.property.exactness_laws import LinearLaw
from tests.property.test_pipeline import Staged
from tests.property.test_ranks import LinearRanks
from tests.unit.sim.builders import MS, Listed, calls, plan, run, scenario

FLAT = LinearLaw(per_step=MS, per_decode=0, per_prompt_token=0, per_prompt=0, per_emitting=0,
                 slope=0, chunk_fs=0, prior_fs=0, pair_fs=0)  # fmt: skip


@dataclass(frozen=True)
class LinkedRanks(LinearRanks):
    link_token_bytes: float = 0.0


def ranked_plan(ranks, **changes):
    law = LinkedRanks(per_step=MS, slope=MS // 1000, ranks=ranks, per_shared_token=MS // 100)
    factory = plan(law, blocks=changes.pop("blocks", 1000), devices=ranks)
    return factory._replace(serve=(factory.serve[0]._replace(ranks=ranks),))


@dataclass(frozen=True)
class LinkedStages(Staged):
    link_token_bytes: float = 0.0


def staged_plan(stages, **changes):
    part = replace(FLAT, slope=MS // 1000)
    law = LinkedStages(stages=(part,) * stages, hop_fixed_fs=MS // 10)
    factory = plan(law, blocks=changes.pop("blocks", 1000), devices=stages)
    return factory._replace(serve=(factory.serve[0]._replace(stages=stages),))


def busy(factory):
    sessions = calls([k * 3 for k in range(60)], prompt=200, output=20)
    return run(scenario(), factory, [Listed("s", sessions)], horizon_s=10.0)


@pytest.mark.parametrize("factory", [ranked_plan(4), staged_plan(4)])
@pytest.mark.parametrize("blocks", [1000, 80])
def test_every_law_holds(factory, blocks):
    serve = factory.serve[0]._replace(kv_blocks=blocks)
    ran = busy(factory._replace(serve=(serve,)))
    assert not ran.broken()
    assert {call.outcome for call in ran.calls} == {"completed"}


@pytest.mark.parametrize("factory", [ranked_plan(3, blocks=120), staged_plan(3, blocks=60)])
def test_every_law_holds_though_the_clock_stops_in_the_middle(factory):
    for end_s in (0.0307, 0.0711, 0.11):
        sessions = calls([0.5 * k for k in range(80)], prompt=200, output=50)
        ran = run(scenario(), factory, [Listed("s", sessions)], horizon_s=end_s)
        assert not ran.broken()
        assert "censored" in {call.outcome for call in ran.calls}


def test_a_leak_on_one_rank_is_found(monkeypatch):
    finish = Replica._finish

    def leaky(self, call):
        finish(self, call)
        if isinstance(self, Rank) and call.number == 17:
            self.ledger.free -= 1

    monkeypatch.setattr(Replica, "_finish", leaky)
    assert busy(ranked_plan(4)).broken() == ["KV blocks: free + cached + private"]


def test_a_token_lost_by_a_rank_is_found(monkeypatch):
    def leaky(self, steps, first, slope):
        follow(self, steps, first, slope)
        self.run.decodes = max(0, self.run.decodes - 1)

    follow = Rank.follow
    monkeypatch.setattr(Rank, "follow", leaky)
    assert "tokens emitted by steps = output of calls + discarded" in busy(ranked_plan(4)).broken()


def test_a_leak_in_a_pipeline_is_found(monkeypatch):
    land = PipelineReplica._land

    def leaky(self, flight):
        land(self, flight)
        if self.steps == 50:
            self.ledger.free -= 1

    monkeypatch.setattr(PipelineReplica, "_land", leaky)
    assert busy(staged_plan(4)).broken() == ["KV blocks: free + cached + private"]


def test_busy_time_that_a_pipeline_does_not_tell_is_found(monkeypatch):
    land = PipelineReplica._land

    def leaky(self, flight):
        land(self, flight)
        self.busy_fs -= MS // 100

    monkeypatch.setattr(PipelineReplica, "_land", leaky)
    assert "metered seconds of steps = busy" in busy(staged_plan(4)).broken()


def serve(replica_kind, law, loads, output=400, sequences=64):
    """Calls of one token's prompt, all at once; when each left, and the replica."""
    clock = Clock()
    left = {}
    limits = Limits(16, 10**6, 4096, sequences)
    replica = replica_kind(
        clock, 0, law, limits, lambda call: left.setdefault(call.number, clock.now)
    )
    for number in range(loads):
        replica.submit(Call(number, number, 1, output))
    clock.run_until(10**18)
    return left, replica


@pytest.mark.parametrize("stages", [1, 2, 4, 7])
def test_equal_stages_take_a_micro_batch_a_stage_time_each(stages):
    """Latency ``pp * s`` and throughput ``1 / s``: GPipe (arXiv:1811.06965), section 2.

    Full pipelines of 8 sequences in each micro-batch: every step takes the stages' times and hops,
    and ``pp`` of them are under way, so that without hops nobody ever waits.
    """
    law = Staged(stages=(FLAT,) * stages)
    left, replica = serve(PipelineReplica, law, 8 * stages)
    latency = stages * MS
    rows = [row for row in replica.rows if row[-1][3] == 8]
    assert len(rows) >= 399 * stages
    # A token of each micro-batch every ``pp * s``: one of them every ``s``.
    assert max(left.values()) - min(left.values()) <= (stages - 1) * MS
    assert max(left.values()) == pytest.approx(400 * latency, rel=0.02)
    assert replica.busy_fs / max(left.values()) > 0.98  # no bubble


def test_hops_lengthen_each_step_and_show_as_bubble():
    law = Staged(stages=(FLAT,) * 4, hop_fixed_fs=MS)
    left, replica = serve(PipelineReplica, law, 32)
    end = max(left.values())
    assert end == pytest.approx(400 * (4 + 3) * MS, rel=0.02)
    assert replica.busy_fs / end == pytest.approx(4 / 7, rel=0.02)


def test_one_sequence_leaves_all_stages_but_one_idle():
    left, replica = serve(PipelineReplica, Staged(stages=(FLAT,) * 4), 1)
    assert left[0] == 400 * 4 * MS
    assert replica.busy_fs * 4 == left[0]


def test_chunks_of_a_prompt_follow_each_other():
    """8 chunks over 4 stages: 8 + 3 stage times, not 32."""
    clock = Clock()
    left = []
    replica = PipelineReplica(
        clock, 0, Staged(stages=(FLAT,) * 4), Limits(16, 10**6, 100, 64),
        lambda call: left.append(clock.now),
    )  # fmt: skip
    replica.submit(Call(0, 0, 800, 1))
    clock.run_until(10**18)
    assert left == [(8 + 3) * MS]


def test_balanced_ranks_are_plain_replicas_of_their_load():
    law = LinearLaw(per_step=MS, slope=MS // 100)
    ranks, _ = serve(RankedReplica, LinearRanks(**vars(law) | {"ranks": 4}), 32)
    plain, _ = serve(Replica, law, 8)
    assert set(ranks.values()) == set(plain.values())


def test_the_longest_rank_sets_the_pace():
    """5 sequences on 4 ranks are as slow as 2 on a replica, but for the first."""
    law = LinearLaw(per_step=MS, per_decode=MS)
    ranks, _ = serve(RankedReplica, LinearRanks(**vars(law) | {"ranks": 4}), 5)
    plain, _ = serve(Replica, law, 2)
    assert max(ranks.values()) == max(plain.values())
