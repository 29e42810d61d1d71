"""A replica by hand: cases small enough to work out on paper.

A prompt token costs 1 ms and a step with decodes 1 ms more (`UnitLaw`). That any
workload is served as the rules say is held by `tests/property/test_exactness.py`.
"""

from __future__ import annotations

from typing import Any

import pytest

from factorysim.catalog import load_catalog
from factorysim.catalog.efficiency import efficiency
from factorysim.physics.collectives import Links
from factorysim.physics.roofline import roofline_law
from factorysim.physics.speculation import Pace, speculative_law
from factorysim.physics.step import Piece
from factorysim.physics.vision import Encoder
from factorysim.records import StepChunk, StepRow
from factorysim.sim.call import Call, Limits
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.replica import Replica
from factorysim.sim.schedulers import scheduler_kind
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.sim.builders import MS, UnitLaw

LIMITS = Limits(block_tokens=4, blocks=100, token_budget=16, max_sequences=8)


class Bench:
    """A replica under a clock, fed by hand."""

    def __init__(self, limits: Limits = LIMITS, law: UnitLaw | None = None) -> None:
        self.clock = Clock()
        self.done: list[Call] = []
        self.replica = scheduler_kind(limits)(
            self.clock, 0, UnitLaw() if law is None else law, limits, self.done.append
        )
        self._number = 0

    def call(self, at_ms: float, prompt: int, output: int, **more: Any) -> Call:
        call = Call(self._number, more.pop("session", self._number), prompt, output, **more)
        self._number += 1
        self.at(at_ms, self.replica.submit, call)
        return call

    def at(self, at_ms: float, action: Any, *given: Any) -> None:
        self.clock.at(round(at_ms * MS), ARRIVAL, lambda _: action(*given))

    def rows(self) -> list[StepRow]:
        return list(StepChunk.of(self.replica.rows))

    def run(self, until_ms: float = 10_000) -> None:
        self.clock.run_until(round(until_ms * MS))


def ms(instant_fs: int | None) -> float:
    assert instant_fs is not None
    return instant_fs / MS


def test_a_long_prompt_is_computed_in_chunks_of_the_budget():
    bench = Bench()
    call = bench.call(0, prompt=40, output=3)
    bench.run()
    assert ms(call.first_token_fs) == 40  # 16 + 16 + 8
    assert ms(call.last_token_fs) == 42
    steps = [(row.steps, row.prompt_tokens) for row in bench.rows()]
    assert steps == [(2, 32), (1, 8), (2, 0)]


def test_decodes_share_the_step_with_chunks():
    bench = Bench()
    first = bench.call(0, prompt=4, output=100)
    second = bench.call(10, prompt=20, output=1)
    bench.run()
    # decodes since 4 ms; the step in progress at 10 ms ends at 10: ends come first
    assert ms(second.scheduled_fs) == 10
    # 15 tokens beside one decode, then 5: (15 + 1) + (5 + 1) ms
    assert ms(second.first_token_fs) == 32
    assert ms(first.last_token_fs) == 4 + 99 + 20


def test_whole_prompts_go_first_where_the_scheduler_says_so():
    bench = Bench(LIMITS._replace(scheduler="prefill_first"))
    first = bench.call(0, prompt=4, output=10)
    second = bench.call(5.5, prompt=20, output=1)
    bench.run()
    assert ms(second.first_token_fs) == 26  # scheduled at 6, 20 tokens at once
    assert ms(first.last_token_fs) == 4 + 9 + 20
    row = bench.rows()[-1]
    stalled = (row.survivors, row.stall_fs, row.apart)
    assert stalled == (1, 20 * MS, 0)  # the decode stalled for 20 ms


def test_the_last_in_is_preempted_and_computed_again():
    bench = Bench(LIMITS._replace(blocks=4))
    old = bench.call(0, prompt=4, output=9)
    young = bench.call(0, prompt=4, output=9)
    bench.run()
    # blocks: 2 after the prompts, 4 from the next step on; at 12 tokens each wants a 4th
    assert old.preemptions == 0
    assert young.preemptions == 1
    assert young.recomputed_tokens == 9
    assert young.computed_tokens == 4
    assert young.stall_fs > 0
    assert bench.replica.ledger.held == 0


def test_priority_decides_who_waits_and_who_is_preempted():
    bench = Bench(LIMITS._replace(blocks=4, order="priority"))
    late = bench.call(0, prompt=4, output=9, priority=1)
    soon = bench.call(0, prompt=4, output=9, priority=0)
    bench.run()
    assert (late.preemptions, soon.preemptions) == (1, 0)
    assert ms(soon.first_token_fs) <= ms(late.first_token_fs)


def test_a_stall_before_the_first_token_is_told_apart():
    """Out at 10 ms with 5 of 12 tokens; in again at 11, and 4 + 5 + 3 in 5 + 5 + 3 ms."""
    bench = Bench(LIMITS._replace(blocks=4, token_budget=5))
    old = bench.call(0, prompt=4, output=4)
    young = bench.call(0, prompt=12, output=1)
    bench.run()
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert ms(old.last_token_fs) == 16
    assert ms(young.first_token_fs) == 24
    assert (ms(young.stall_fs), ms(young.first_stall_fs)) == (14, 14)


def test_a_stall_after_the_first_token_is_no_part_of_the_time_to_it():
    bench = Bench(LIMITS._replace(blocks=4))
    bench.call(0, prompt=4, output=9)
    young = bench.call(0, prompt=4, output=9)
    bench.run()
    assert young.preemptions == 1
    assert young.stall_fs > 0
    assert young.first_stall_fs == 0


def test_a_call_that_can_never_fit_is_rejected_at_once():
    bench = Bench(LIMITS._replace(blocks=4))
    call = bench.call(3, prompt=8, output=10)
    bench.run()
    assert call.outcome == "rejected"


def test_a_cancelled_call_leaves_when_its_step_ends():
    bench = Bench()
    call = bench.call(0, prompt=4, output=100)
    bench.at(10.5, bench.replica.cancel, call)
    bench.run()
    assert call.outcome == "cancelled"
    assert call.output_made == 1 + 7
    assert ms(call.last_token_fs) == 11
    assert bench.replica.ledger.free == 100


def test_the_next_of_the_queue_takes_the_room_that_a_cancelled_head_found_too_small():
    """6 blocks: 4 are taken as the head wants 4, and 5 as the one behind it wants 1."""
    bench = Bench(LIMITS._replace(blocks=6))
    running = bench.call(0, prompt=12, output=13)
    head = bench.call(12.5, prompt=15, output=1)
    behind = bench.call(12.75, prompt=4, output=1)
    bench.at(15.5, bench.replica.cancel, head)
    bench.run()
    assert (running.outcome, head.outcome, behind.outcome) == (
        "completed",
        "cancelled",
        "completed",
    )
    assert ms(behind.scheduled_fs) == 16


def test_a_failure_in_the_midst_of_a_step_spends_its_time_and_loses_it():
    bench = Bench()
    bench.call(0, prompt=4, output=100)
    bench.at(8.25, bench.replica.fail)
    bench.run()
    assert bench.replica.busy_fs == round(8.25 * MS)
    assert (bench.replica.steps, bench.replica.steps_lost) == (1 + 4, 1)


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize(("off_fs", "made", "lost_fs"), [(-1, 4, MS - 1), (0, 5, 0), (1, 5, 1)])
def test_a_step_that_ends_as_the_device_fails_has_ended(off_fs, made, lost_fs, stepwise):
    """The first token at 4 ms, one a ms from then on; a femtosecond before 8, at it, after it."""
    bench = Bench(LIMITS._replace(stepwise=stepwise))
    call = bench.call(0, prompt=4, output=100)
    bench.clock.at(8 * MS + off_fs, ARRIVAL, lambda _: bench.replica.fail())
    bench.run()
    assert call.output_made == made
    assert bench.replica.busy_fs == 8 * MS + off_fs
    assert bench.replica.steps_lost == (lost_fs > 0)
    lost = [row.step_fs for row in bench.rows() if not row.emitted_tokens]
    assert lost == ([lost_fs] if lost_fs else [])


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize(("off_fs", "made"), [(-1, 4), (0, 4), (1, 5)])
def test_a_step_that_ends_with_the_simulation_has_not_ended(off_fs, made, stepwise):
    """What is due at the end is not processed: so walking each step tells as much."""
    bench = Bench(LIMITS._replace(stepwise=stepwise))
    call = bench.call(0, prompt=4, output=100)
    bench.clock.run_until(8 * MS + off_fs)
    bench.replica.settle()
    assert bench.replica.made(call) == made
    assert bench.replica.busy_fs == (3 + made) * MS
    assert bench.replica.steps == made


def test_a_failure_loses_the_step_in_progress_and_everything_cached():
    bench = Bench()
    kept = bench.call(0, prompt=4, output=1)
    call = bench.call(2, prompt=4, output=100)
    bench.at(20.5, bench.replica.fail)
    late = bench.call(21, prompt=4, output=1)
    bench.at(22, bench.replica.repair)
    again = bench.call(23, prompt=4, output=1, session=kept.session, prefix_tokens=4)
    bench.run()
    assert (call.outcome, late.outcome, again.outcome) == ("failed", "failed", "completed")
    assert call.output_made == 1 + 12  # from 8 ms on, one a ms, until 20
    assert ms(call.last_token_fs) == 20
    assert again.hit_tokens == 0
    lost = bench.rows()[-2]
    assert (lost.steps, lost.step_fs, lost.emitted_tokens) == (1, MS // 2, 0)


def test_the_step_that_a_failure_cut_holds_the_block_that_it_took():
    bench = Bench()
    bench.call(0, prompt=4, output=100)
    bench.at(8.5, bench.replica.fail)
    bench.run()
    # the prompt fills a block, four decode steps the second; the fifth has a third
    lost = bench.rows()[-1]
    assert (lost.step_fs, lost.kv_blocks) == (MS // 2, 3)


@pytest.mark.parametrize("scheduler", ["vllm", "prefill_first", "sarathi", "sglang", "orca"])
def test_a_newcomer_behind_a_cancelled_call_cuts_the_run(scheduler):
    bench = Bench(LIMITS._replace(max_sequences=2, scheduler=scheduler))
    bench.call(0, prompt=1, output=50)
    bench.call(0, prompt=1, output=1)
    bench.call(0, prompt=1, output=1)
    gone = bench.call(0, prompt=1, output=1)
    bench.at(0.5, bench.replica.cancel, gone)
    late = bench.call(20, prompt=1, output=1)
    bench.run()
    assert ms(late.scheduled_fs) <= 21  # not at the end of the first call's run


def test_a_cancel_that_was_pending_at_the_failure_counts_as_failed():
    bench = Bench()
    call = bench.call(0, prompt=4, output=100)
    bench.at(10.5, bench.replica.cancel, call)
    bench.at(10.5, bench.replica.fail)
    bench.run()
    assert call.outcome == "failed"


def test_another_law_holds_from_the_next_step_on():
    bench = Bench()
    call = bench.call(0, prompt=4, output=11)
    bench.at(8.5, bench.replica.change_law, UnitLaw(decode_fs=10 * MS))
    bench.run()
    assert ms(call.last_token_fs) == 9 + 5 * 10


@pytest.mark.parametrize("stepwise", [False, True])
def test_what_a_call_leaves_in_the_cache_serves_whoever_repeats_it(stepwise):
    bench = Bench(LIMITS._replace(stepwise=stepwise))
    bench.call(0, prompt=11, output=4, content=((0, 3),))
    again = bench.call(50, prompt=20, output=1, content=((0, 5),))
    bench.run()
    # 14 tokens were computed (the last one made never is): three full blocks
    assert again.hit_tokens == 12
    assert ms(again.first_token_fs) == 50 + 8


def test_something_is_always_computed():
    bench = Bench()
    bench.call(0, prompt=12, output=1, content=((0, 3),))
    again = bench.call(50, prompt=12, output=1, content=((0, 3),))
    bench.run()
    assert (again.hit_tokens, again.computed_tokens) == (8, 4)
    assert bench.replica.ledger.evictable == 3


def test_without_retention_or_content_nothing_is_found():
    for limits, content in ((LIMITS._replace(retain="none"), ((0, 5),)), (LIMITS, ())):
        bench = Bench(limits)
        bench.call(0, prompt=12, output=1, content=content)
        again = bench.call(50, prompt=20, output=1, content=content)
        bench.run()
        assert again.hit_tokens == 0
        assert bench.replica.ledger.free == 100


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_prompt_is_found_chunk_by_chunk_while_it_is_computed(stepwise):
    bench = Bench(LIMITS._replace(stepwise=stepwise))
    long = bench.call(0, prompt=40, output=1, content=((0, 10),), priority=0)
    bench.at(20, bench.replica.cancel, long)
    again = bench.call(20, prompt=40, output=1, content=((0, 10),))
    bench.run()
    # the second chunk was in progress at 20 ms, and counts
    assert long.outcome == "cancelled"
    assert again.hit_tokens == 32
    assert ms(again.first_token_fs) == 32 + 8


@pytest.mark.parametrize("stepwise", [False, True])
def test_two_that_compute_the_same_keep_one_copy(stepwise):
    bench = Bench(LIMITS._replace(token_budget=24, stepwise=stepwise))
    calls = [bench.call(0, prompt=12, output=9, content=((0, 3),)) for _ in range(2)]
    bench.run(25)
    # neither found anything; since the end of the step both have the same three blocks locked
    assert [call.hit_tokens for call in calls] == [0, 0]
    assert bench.replica.ledger.held == 3 + 1 + 1
    assert [bench.replica.blocks_of(call) for call in calls] == [0, 0]
    bench.run()
    assert (bench.replica.ledger.free, bench.replica.ledger.evictable) == (97, 3)


@pytest.mark.parametrize("stepwise", [False, True])
def test_the_second_to_compute_what_a_call_before_it_computes_frees_each_copy(stepwise):
    bench = Bench(LIMITS._replace(blocks=18, stepwise=stepwise))
    first = bench.call(0, prompt=20, output=30, content=((0, 5),))
    second = bench.call(0, prompt=60, output=1, content=((0, 15),))
    bench.run()
    # 16 tokens, then 4 + 12 that the first had registered by then; the rest is the second's
    assert (first.hit_tokens, second.hit_tokens) == (0, 16)
    assert bench.replica.ledger.held == 0


def test_what_a_preempted_call_finds_again_costs_nothing():
    bench = Bench(LIMITS._replace(blocks=4))
    bench.call(0, prompt=4, output=9, content=((0, 1),))
    young = bench.call(0, prompt=4, output=9, content=((7, 1),))
    bench.run()
    # its prompt was registered and is found again; the 5 tokens made since are not
    assert young.preemptions == 1
    assert (young.hit_tokens, young.computed_tokens, young.recomputed_tokens) == (0, 4, 5)


def test_what_another_computed_meanwhile_is_a_hit_after_a_preemption():
    bench = Bench(LIMITS._replace(token_budget=5, order="priority", blocks=10))
    bench.call(0, prompt=4, output=9, priority=0)
    late = bench.call(0, prompt=40, output=1, priority=2, content=((0, 10),))
    soon = bench.call(20, prompt=28, output=1, priority=1, content=((0, 7),))
    bench.run()
    # late is out as the tenth block goes, 25 tokens computed and 6 blocks registered; soon
    # finds those and registers a seventh: 3 tokens that late need never compute
    assert (late.preemptions, soon.preemptions) == (1, 0)
    assert (soon.hit_tokens, soon.computed_tokens) == (24, 4)
    assert (late.hit_tokens, late.computed_tokens, late.recomputed_tokens) == (3, 37, 0)


def test_a_chunk_that_meets_cached_blocks_frees_its_copies_step_by_step():
    benches = []
    for stepwise in (False, True):
        bench = Bench(LIMITS._replace(token_budget=5, blocks=15, stepwise=stepwise))
        bench.call(0, prompt=4, output=33, content=((0, 9),))
        bench.call(32, prompt=60, output=1, content=((0, 15),))
        bench.run()
        benches.append(bench)
    # the first registers its answer as it ends, at 52 ms; the second has computed half of it
    # by then and meets the rest: were its copies not free at once, blocks would be evicted
    rows, steps = (bench.rows() for bench in benches)
    assert [row.steps for row in rows] == [1, 28, 4, 1, 1, 1, 1, 3, 1]
    held = {row.started_s: row.kv_blocks for row in steps}
    assert [row.kv_blocks for row in rows] == [held[row.started_s] for row in rows]
    assert [bench.replica.ledger.evicted for bench in benches] == [0, 0]
    assert benches[0].replica.ledger.evictable == 15


class Network:
    """Collectives over so many ways that get a share of what they ask for."""

    ways = 4

    def __init__(self, share: float) -> None:
        self.share = share
        self.asked: list[float] = []

    def set_demand(self, rate: float) -> None:
        self.asked.append(rate)

    def sample(self) -> float:
        return self.share


def test_a_step_whose_collectives_get_half_of_the_network_takes_twice_as_long():
    bench = Bench(law=UnitLaw(link_token_bytes=1000.0))
    bench.replica.standing = network = Network(0.5)
    call = bench.call(0, prompt=8, output=3)
    bench.run()
    assert ms(call.first_token_fs) == 16
    assert ms(call.last_token_fs) == 16 + 2 * 2
    # 8 tokens in 8 ms, then one in a millisecond, over four ways: what they ask for alone
    assert network.asked == pytest.approx([250e3, 250e3, 0.0])


class Reading(UnitLaw):
    """A cached token that a decode reads costs 1 ms more."""

    def piece(self, decodes: int, context: int) -> Piece:
        return Piece(0, MS, None)


def test_steps_that_grow_grow_twice_as_much_with_half_of_the_network():
    bench = Bench(law=Reading(link_token_bytes=1000.0))
    bench.replica.standing = Network(0.5)
    call = bench.call(0, prompt=4, output=4)
    bench.run()
    assert ms(call.first_token_fs) == 2 * 4
    # 5, 6 and 7 tokens are read, and a millisecond each for the step itself
    assert ms(call.last_token_fs) == 2 * (4 + 6 + 7 + 8)
    row = bench.rows()[-1]
    assert (row.steps, row.step_fs) == (3, 12 * MS)


def test_collectives_carry_drafts_too():
    """A verify of 4 tokens in 1 + 3 ms, after 8 tokens in 8 ms; over four ways."""
    at = Pace(tokens=4, verifies=1, draft_tokens=3)
    law: Any = speculative_law(UnitLaw(link_token_bytes=1000.0), None, at)
    bench = Bench(LIMITS._replace(pace=at), law=law)
    bench.replica.standing = network = Network(1.0)
    call = bench.call(0, prompt=8, output=9)
    bench.run()
    assert ms(call.last_token_fs) == 8 + 2 * 4
    assert network.asked == pytest.approx([250e3, 250e3, 0.0])


def test_another_share_holds_from_the_next_step_on():
    bench = Bench(law=UnitLaw(link_token_bytes=1000.0))
    bench.replica.standing = network = Network(1.0)
    call = bench.call(0, prompt=4, output=11)

    def crowd() -> None:
        network.share = 0.25
        bench.replica.feel_network()

    bench.at(8.5, crowd)
    bench.run()
    assert ms(call.last_token_fs) == 9 + 5 * 4


def test_a_device_that_fails_asks_the_network_for_nothing():
    bench = Bench(law=UnitLaw(link_token_bytes=1000.0))
    bench.replica.standing = network = Network(1.0)
    bench.call(0, prompt=4, output=100)
    bench.at(20.5, bench.replica.fail)
    bench.run()
    assert network.asked[-1] == 0.0


def test_runs_not_steps_are_walked():
    bench = Bench(LIMITS._replace(blocks=3000))
    bench.call(0, prompt=4, output=10_000)
    bench.run(1_000_000)
    assert len(bench.replica.rows) == 2
    assert bench.replica.steps == 10_000
    assert bench.clock.events < 10


@pytest.mark.parametrize(("watched", "runs"), [(True, [16, 4, 4, 4, 1]), (False, [29])])
def test_a_run_that_a_router_watches_ends_before_it_evicts(watched, runs):
    """10 blocks, of which 5 stay cached: 4 + 16 tokens fill the others."""
    bench = Bench(LIMITS._replace(blocks=10, watched=watched))
    bench.call(0, prompt=20, output=1, content=((0, 5),))
    call = bench.call(50, prompt=4, output=30)
    bench.run()
    assert [row.steps for row in bench.rows() if row.decodes] == runs
    assert ms(call.last_token_fs) == 54 + 29
    assert bench.replica.ledger.evicted == 4


@pytest.mark.parametrize(
    ("prompt", "output", "outcome"), [(20, 10, "completed"), (21, 10, "rejected")]
)
def test_prompt_and_output_must_fit_the_context(prompt, output, outcome):
    bench = Bench(LIMITS._replace(context_tokens=30))
    call = bench.call(0, prompt=prompt, output=output)
    other = bench.call(0, prompt=4, output=1)
    bench.run()
    assert (call.outcome, other.outcome) == (outcome, "completed")
    assert bench.replica.ledger.free == LIMITS.blocks


def test_images_are_encoded_in_the_step_that_ends_the_prompt():
    """16 + 16 + 8 tokens at 1 ms each; 5 image tokens at 3 ms, and never less than 9."""
    bench = Bench(LIMITS._replace(encoder=Encoder(round(3 * MS), round(9 * MS))))
    call = bench.call(0, prompt=40, output=3)
    call.image_tokens = 5
    few = bench.call(1000, prompt=4, output=1)
    few.image_tokens = 2
    bench.run()
    assert ms(call.first_token_fs) == 40 + 15
    assert ms(call.last_token_fs) == 40 + 15 + 2
    assert [row.steps for row in bench.rows()][:3] == [2, 1, 2]
    assert ms(few.first_token_fs) == 1000 + 4 + 9


def test_images_without_an_encoder_are_tokens_like_others():
    bench = Bench()
    call = bench.call(0, prompt=4, output=1)
    call.image_tokens = 4
    bench.run()
    assert ms(call.first_token_fs) == 4


def test_a_million_tokens_take_as_many_runs_as_chunks():
    """What is walked follows from chunks and knees, not from tokens; sums stay whole."""
    catalog = load_catalog()
    device = catalog.device("b200_sxm")
    law = roofline_law(
        catalog.llm("deepseek_v4_pro"),
        device,
        PrecisionSpec(weights="fp8", compute="fp8", kv="fp8"),
        ParallelSpec(tp=8),
        Links(9e11, 1e-6, 8),
        efficiency(catalog, device, "generic"),
        "full",
    )
    clock, done = Clock(), []
    limits = Limits(64, 20_000, token_budget=8192, max_sequences=8, context_tokens=1_048_576)
    replica = Replica(clock, 0, law, limits, done.append)
    call = Call(0, 0, 1_000_000, 48_576)
    clock.at(0, ARRIVAL, lambda _: replica.submit(call), None)
    clock.run_until(10**19)
    rows = list(StepChunk.of(replica.rows))
    assert call.outcome == "completed"
    assert len(rows) == -(-1_000_000 // 8192) + 1
    assert sum(row.prompt_tokens for row in rows) == 1_000_000
    assert sum(row.pair_tokens for row in rows) == 1_000_000 * 1_000_001 // 2
    chunks = [(min(8192, 1_000_000 - at), at) for at in range(0, 1_000_000, 8192)]
    spent = sum(
        law.base(0, tokens, 1, int(at + tokens == 1_000_000)) + law.chunk(tokens, at)
        for tokens, at in chunks
    )
    assert call.first_token_fs == spent
    for step in range(48_575):
        spent += law.base(1, 0, 0, 1) + law.slope_fs * (1_000_001 + step)
        spent += law.window_fs * law.window
    assert call.last_token_fs == spent


def test_gaps_of_a_step_that_a_failure_cut_are_not_written_down_by_the_next_run():
    """Prompts hold the first call up; the step that would have ended its gap never ends."""
    bench = Bench(LIMITS._replace(scheduler="prefill_first"))
    held_up = bench.call(0, prompt=16, output=5)
    other = bench.call(0, prompt=16, output=5)
    bench.at(32.5, bench.replica.fail)
    bench.at(40, bench.replica.repair)
    late = bench.call(50, prompt=16, output=3)
    bench.run()
    assert (held_up.outcome, other.outcome, late.outcome) == ("failed", "failed", "completed")
    assert bench.replica.gaps == []
