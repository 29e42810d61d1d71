"""Schedulers by hand: what each does that the others do not, in cases worked out on paper.

A prompt token costs 1 ms and a step with decodes 1 ms more (`UnitLaw`), so 15 tokens
beside decodes take 16 ms.
"""

from __future__ import annotations

import pytest

from factorysim.sim.call import Tuning
from tests.unit.sim.builders import UnitLaw
from tests.unit.sim.test_replica import LIMITS, Bench, ms


def bench(scheduler, *, law=None, stepwise=False, more=None, **tuning):
    limits = LIMITS._replace(scheduler=scheduler, stepwise=stepwise, tuning=Tuning(**tuning))
    return Bench(limits._replace(**(more or {})), law)


def steps(made):
    """(decodes, prompt tokens) of each step, runs expanded."""
    return [
        (row.decodes, row.prompt_tokens // row.steps)
        for row in made.rows()
        for _ in range(row.steps)
    ]


# vllm with a cadence


def test_one_step_in_four_holds_prompts_while_others_decode():
    made = bench("vllm", prefill_every=4)
    made.call(0, prompt=4, output=40)
    long = made.call(4, prompt=40, output=1)
    made.run()
    # 15 of its tokens beside the decode, then 15, then 10, three steps apart
    assert [step for step in steps(made) if step[1]] == [(0, 4), (1, 15), (1, 15), (1, 10)]
    assert steps(made)[1:10] == [(1, 0)] * 3 + [(1, 15)] + [(1, 0)] * 3 + [(1, 15), (1, 0)]
    assert ms(long.first_token_fs) == 4 + 3 + 16 + 3 + 16 + 3 + 11


def test_prompts_wait_for_no_cadence_where_nobody_decodes():
    made = bench("vllm", prefill_every=100)
    long = made.call(0, prompt=40, output=1)
    made.run()
    assert ms(long.first_token_fs) == 40


def test_a_cadence_cuts_a_run_where_a_prompt_may_go_on():
    made = bench("vllm", prefill_every=10)
    made.call(0, prompt=4, output=100)
    late = made.call(4, prompt=4, output=1)
    made.run()
    assert [row.steps for row in made.rows()] == [1, 9, 1, 89]
    assert ms(late.scheduled_fs) == 4 + 9


# sarathi


def test_sarathi_has_the_kv_of_a_whole_prompt_before_its_first_chunk():
    held = {}
    for scheduler in ("vllm", "sarathi"):
        made = bench(scheduler)
        made.call(0, prompt=40, output=1)
        made.run()
        held[scheduler] = [row.kv_blocks for row in made.rows()]
    assert held == {"vllm": [4, 10], "sarathi": [10, 10]}


def test_sarathi_admits_nobody_whose_prompt_does_not_fit_beside_the_others():
    made = bench("sarathi", more={"blocks": 12})
    made.call(0, prompt=20, output=10)
    late = made.call(1, prompt=32, output=1)
    made.run()
    # 5 blocks and 8: it waits for the first to leave, where vllm would begin a chunk of it
    assert ms(late.scheduled_fs) == 20 + 9


# sglang


def test_sglang_pauses_decodes_for_prompts_in_chunks():
    made = bench("sglang")
    first = made.call(0, prompt=4, output=40)
    made.call(10, prompt=40, output=2)
    made.run()
    assert steps(made)[7:12] == [(0, 16), (0, 16), (0, 8), (2, 0), (1, 0)]
    # 16 + 16 + 8 ms without a token of the first, and the step after
    assert ms(first.last_token_fs) == 4 + 39 + 40


def test_sglang_mixes_chunks_with_decodes_if_asked():
    made = bench("sglang", mixed_chunk=True)
    made.call(0, prompt=4, output=40)
    made.call(10, prompt=40, output=2)
    made.run()
    assert steps(made)[7:11] == [(1, 15), (1, 15), (1, 10), (2, 0)]


def test_sglang_reckons_with_seven_tenths_of_what_is_to_come():
    """400 tokens of KV: the first holds a block of 4, and is thought to make 0.7 * 200 more."""
    first = {"prompt": 4, "output": 201}
    for output, waits in ((247, False), (248, True)):
        made = bench("sglang")
        made.call(0, **first)
        late = made.call(4, prompt=8, output=output)
        made.run()
        # 396 - 140 = 256 tokens are left, and must be more than its prompt and longest output
        assert waits == (8 + output >= 400 - 4 - 0.7 * 200)
        assert (ms(late.scheduled_fs) > 4) == waits


@pytest.mark.parametrize(
    ("at", "output", "blocks", "fits", "tuning"),
    [
        # The estimate of what the first has yet to make, after 5 of 10 steps of decay:
        # (0.7 - 0.5 (0.7 - 0.098)) x 445 = 177.6; 200 - 3 blocks of 4 are free.
        (9, 451, 200, 788 - 178, {"decay_steps": 10}),
        # At its least, 0.14 of 0.7: 0.098 x 350 = 34.3; 200 - 26 blocks.
        (104, 451, 200, 696 - 35, {"decay_steps": 10}),
        # After 300 of SGLang's 600 steps: 0.399 x 400 = 159.6; 400 - 76 blocks.
        (304, 701, 400, 1296 - 160, {}),
        # Half as much where scheduling is half as conservative: 0.35 x 200 = 70; 99 blocks.
        (4, 201, 100, 396 - 71, {"conservativeness": 0.5}),
        # Never more than all: 1.4 is 1, of 200.
        (4, 201, 100, 396 - 201, {"conservativeness": 2.0}),
    ],
)
def test_sglang_lets_in_what_leaves_room_for_its_estimate(at, output, blocks, fits, tuning):
    """Constants of SGLang 0.4.6, `global_config.py`: room must be more than what is asked for."""
    for asked, waits in ((fits, False), (fits + 1, True)):
        made = bench("sglang", more={"blocks": blocks}, **tuning)
        made.call(0, prompt=4, output=output)
        late = made.call(at, prompt=8, output=asked - 8)
        made.run()
        assert (ms(late.scheduled_fs) > at) == waits


def test_sglang_reckons_with_4096_tokens_of_output_at_most():
    """7,996 tokens are free, 0.7 x 4,096 = 2,867.2 are thought to come: 5,128.8 are left.

    Of the late call 4,096 count as well, and its prompt. SGLang 0.4.6, `schedule_policy.py`.
    """
    for prompt, waits in ((1032, False), (1033, True)):
        made = bench("sglang", more={"blocks": 2000})
        made.call(0, prompt=4, output=5000)
        late = made.call(4, prompt=prompt, output=5000)
        made.run()
        assert (ms(late.scheduled_fs) > 4) == waits


def test_sglang_does_not_look_again_before_somebody_leaves():
    """The estimate decays with each step, so the head would fit long before it is let in."""
    made = bench("sglang", decay_steps=10)
    made.call(0, prompt=4, output=201)
    head = made.call(4, prompt=8, output=249)
    made.run()
    assert ms(head.scheduled_fs) == 4 + 200


def test_sglang_retracts_who_has_made_the_least_and_queues_it_last():
    made = bench("sglang", conservativeness=0.0, more={"blocks": 20, "token_budget": 64})
    made.call(0, prompt=8, output=50)
    young = made.call(20, prompt=8, output=50)
    third = made.call(21, prompt=4, output=70)
    made.run()
    assert young.preemptions == 1
    assert third.preemptions == 0
    assert young.scheduled_fs < third.scheduled_fs
    # third waited as young was retracted, and goes first although it came later
    assert third.first_token_fs < young.last_token_fs
    assert third.last_token_fs < young.last_token_fs


# trtllm


def test_trtllm_admits_who_has_kv_for_all_that_it_will_make():
    """26 blocks of 4 for 104 tokens, of 40: a second such call waits for the first to end."""
    made = bench("trtllm", more={"blocks": 40})
    first = made.call(0, prompt=5, output=100)
    second = made.call(1, prompt=5, output=100)
    short = made.call(2, prompt=5, output=2)
    made.run()
    assert first.preemptions == second.preemptions == 0
    assert second.scheduled_fs == first.last_token_fs
    assert short.scheduled_fs == second.scheduled_fs  # it waits behind, in one step with it


def test_trtllm_cuts_prompts_to_the_budget_beside_decodes():
    made = bench("trtllm")
    made.call(0, prompt=4, output=40)
    made.call(4, prompt=40, output=1)
    made.run()
    assert steps(made)[:5] == [(0, 4), (1, 15), (1, 15), (1, 10), (1, 0)]


def test_trtllm_keeps_what_it_has_computed_for_calls_that_begin_alike():
    made = bench("trtllm")
    content = ((1 << 40, 6),)
    made.call(0, prompt=24, output=4, content=content)
    again = made.call(100, prompt=25, output=4, content=content)
    made.run()
    assert again.hit_tokens == 24
    assert made.replica.ledger.held == 0


# orca


def test_orca_computes_whole_prompts_beside_decodes_whatever_their_length():
    made = bench("orca")
    made.call(0, prompt=4, output=40)
    made.call(10, prompt=40, output=2)
    made.run()
    assert steps(made)[7:10] == [(1, 40), (2, 0), (1, 0)]


@pytest.mark.parametrize(("reserve", "blocks"), [("oracle", 10), ("pow2", 17), (120, 30)])
def test_orca_sets_kv_aside_for_all_that_a_call_may_make(reserve, blocks):
    made = bench("orca", reserve=reserve)
    made.call(0, prompt=4, output=37)  # 40 tokens in the end; 64 for 37 are 67 of them
    made.run()
    assert {row.kv_blocks for row in made.rows()} == {blocks}
    assert made.replica.ledger.free == 100


def test_orca_rejects_what_it_could_never_set_kv_aside_for():
    for reserve, outcome in (("oracle", "completed"), ("pow2", "rejected"), (200, "rejected")):
        made = bench("orca", reserve=reserve, more={"blocks": 75})
        call = made.call(0, prompt=100, output=129)
        made.run()
        assert call.outcome == outcome


# static


def test_a_static_batch_is_padded_and_its_answers_leave_together():
    law = UnitLaw()
    made = bench("static", law=law)
    short = made.call(0, prompt=4, output=2)
    long = made.call(0, prompt=10, output=6)
    late = made.call(1, prompt=1, output=1)
    made.run()
    # 2 x 10 tokens; a step of two; four with a place that computes for nobody: 1 + 1 ms
    assert ms(short.first_token_fs) == ms(long.first_token_fs) == 20
    assert ms(long.last_token_fs) == 20 + 1 + 4 * 2
    assert short.last_token_fs == long.last_token_fs == late.scheduled_fs
    assert made.done == [short, long, late]
    assert steps(made) == [(0, 20), (2, 0), *[(1, 1)] * 4, (0, 1)]
    assert made.replica.padded() == 6 + 4
    assert {row.kv_blocks for row in made.rows()[:3]} == {2 * 4}  # 10 + 6 - 1 tokens a place


def test_a_static_batch_takes_what_fits_padded_to_the_longest():
    made = bench("static", more={"blocks": 12})
    calls = [made.call(0, prompt=p, output=5) for p in (4, 4, 20, 4)]
    made.run()
    # 2 x 2 blocks; with the third 3 x 6 would be too many; the fourth goes with the third
    assert len({call.scheduled_fs for call in calls[:2]}) == 1
    assert calls[1].scheduled_fs < calls[2].scheduled_fs == calls[3].scheduled_fs


@pytest.mark.parametrize("stepwise", [False, True])
def test_a_static_batch_waits_to_fill_for_as_long_as_its_oldest_may(stepwise):
    more = {"max_sequences": 3}
    made = bench("static", stepwise=stepwise, more=more, max_queue_delay_fs=30 * 10**12)
    first, second = made.call(0, prompt=1, output=1), made.call(20, prompt=1, output=1)
    three = [made.call(100 + at, prompt=1, output=1) for at in range(3)]
    made.run()
    assert ms(first.scheduled_fs) == ms(second.scheduled_fs) == 30
    assert [ms(call.scheduled_fs) for call in three] == [102] * 3


def test_a_cancelled_place_of_a_static_batch_costs_what_it_did():
    made = bench("static")
    gone = made.call(0, prompt=1, output=50)
    stays = made.call(0, prompt=1, output=11)
    made.at(2.5, made.replica.cancel, gone)
    made.run()
    assert gone.outcome == "cancelled"
    # a step of two to 3 ms, then nine of 1 + 1 ms
    assert ms(stays.last_token_fs) == 3 + 9 * 2
    assert made.replica.ledger.free == 100


# Beside one another


def test_sarathi_bounds_the_gaps_that_prompts_tear_where_others_do_not():
    """No gap is longer than a step of the budget; whole prompts are as long as they are.

    Agrawal et al., "Sarathi-Serve", OSDI 2024, section 4: stall-free batching.
    """
    longest = {}
    for scheduler in ("sarathi", "prefill_first", "sglang", "orca"):
        made = bench(scheduler, more={"blocks": 1000})
        made.call(0, prompt=4, output=200)
        for at in range(10, 400, 100):
            made.call(at, prompt=60, output=2)
        made.run()
        gaps = [gap_s * 1e3 for _, _, gap_s, _ in made.replica.gaps]
        for row in made.rows():
            gaps += [ms(row.step_fs)] * (row.decodes > 0)
            gaps += [ms(row.step_fs + row.stall_fs)] * (row.survivors > 0)
        longest[scheduler] = max(gaps)
    assert longest["sarathi"] == 16  # 15 prompt tokens and a decode
    assert longest["orca"] == 61
    assert min(longest["prefill_first"], longest["sglang"]) >= 61


def test_sglang_reckons_anew_after_a_retraction_and_does_not_decay_in_that_step():
    """88 tokens of KV. Two of 4 + 60 run out of it, and the one with fewer tokens is out.

    The other has made 41 of its 60, so the share is set to (41 + 20) / 60, cut to 1, and a
    step later it is thought to make all of the 18 left. Its KV leaves 40: less than 22 may come
    in. Were the share to decay in that step as well, by 0.12, up to 24 might.
    """
    admitted = {}
    for output in (20, 21):
        made = bench("sglang", conservativeness=0.2, decay_steps=1, more={"blocks": 22})
        old = made.call(0, prompt=4, output=60)
        young = made.call(5, prompt=4, output=60)
        late = made.call(48, prompt=1, output=output)
        made.run()
        assert young.preemptions == 1
        admitted[output] = late.scheduled_fs < old.last_token_fs
    assert admitted == {20: True, 21: False}


@pytest.mark.parametrize("fails", [False, True])
def test_sglang_begins_anew_after_idling_or_a_failure(fails):
    """The share has decayed to nothing by 200 ms, and is 0.7 again for whoever comes then."""
    made = bench("sglang", decay_steps=10)
    made.call(0, prompt=4, output=100)
    if fails:
        made.at(60, made.replica.fail)
        made.at(61, made.replica.repair)
    made.call(200, prompt=4, output=201)
    late = made.call(204, prompt=8, output=248)
    made.run()
    # as in the test of seven tenths: 248 is one too many
    assert ms(late.scheduled_fs) == 204 + 200


def test_sglang_admits_again_after_a_failure_of_a_full_batch():
    made = bench("sglang")
    made.call(0, prompt=4, output=201)
    made.call(4, prompt=8, output=300)  # does not fit, so the batch is full
    made.at(50, made.replica.fail)
    made.at(51, made.replica.repair)
    late = made.call(60, prompt=4, output=1)
    made.run()
    assert ms(late.first_token_fs) == 64


@pytest.mark.parametrize(
    ("scheduler", "blocks"),
    [("vllm", 3), ("sarathi", 3), ("sglang", 3), ("orca", 26), ("trtllm", 26)],
)
def test_a_step_that_a_failure_cut_holds_what_its_scheduler_took(scheduler, blocks):
    made = bench(scheduler)
    made.call(0, prompt=4, output=100)
    made.at(8.5, made.replica.fail)
    made.run()
    lost = made.rows()[-1]
    assert (lost.steps, lost.emitted_tokens, lost.kv_blocks) == (1, 0, blocks)


def test_a_static_batch_ends_with_the_cancel_of_its_last_decode_between_two_steps():
    made = bench("static")
    short = made.call(0, prompt=1, output=2)
    gone = made.call(0, prompt=1, output=50)
    made.at(5, made.replica.cancel, gone)  # as a step ends
    made.run()
    assert (gone.outcome, short.outcome) == ("cancelled", "completed")
    assert ms(short.last_token_fs) == 5
    assert steps(made) == [(0, 2), (2, 0), (1, 1)]
    assert made.replica.padded() == 1


def test_a_static_batch_whose_oldest_is_cancelled_waits_for_the_next():
    made = bench("static", max_queue_delay_fs=30 * 10**12)
    oldest, second = made.call(0, prompt=1, output=1), made.call(20, prompt=1, output=1)
    made.at(25, made.replica.cancel, oldest)
    made.run()
    assert ms(second.scheduled_fs) == 50
