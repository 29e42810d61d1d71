"""The reference itself, against cases worked out by hand.

Unless a test says otherwise a step lasts 100 fs, 10 fs more for each decode and
1 fs more for each prompt token; "A", "B", "C" are calls 0, 1, 2.
"""

from __future__ import annotations

import pytest

from tests.property.exactness_laws import LinearLaw, PiecewiseLaw
from tests.property.naive_replica import (
    Interrupt,
    NaiveLimits,
    NaiveResult,
    Submission,
    serve,
)

PAPER = LinearLaw(
    per_step=100,
    per_decode=10,
    per_prompt_token=1,
    per_prompt=0,
    per_emitting=0,
    slope=0,
    chunk_fs=0,
    prior_fs=0,
    pair_fs=0,
)
ROOMY = NaiveLimits(block_tokens=4, blocks=100, token_budget=4, max_sequences=4)


def call(number: int, at_fs: int, prompt: int, output: int, **more: int) -> Submission:
    values = {"session": number, "prefix": 0} | more
    return Submission(at_fs=at_fs, number=number, prompt=prompt, output=output, **values)


def step_spans(result: NaiveResult) -> list[tuple[int, int]]:
    return [(step.started_fs, step.duration_fs) for step in result.steps]


def test_every_term_of_the_law_is_charged():
    """P = 5, O = 3, budget 4, 1000 a step, 7 a decode, 11 a prompt token, 13 a chunk, 17 an
    emitting sequence, 3 a context token, 100 a context token in a window of 6; a chunk of
    n after p: 2 n + 5 p + n p; drawn: 800 u.

    chunk of 4 after 0:  1000 + 44 + 13          + 8            = 1065          0 -> 1065
    chunk of 1 after 4:  1000 + 11 + 13 + 17     + 2 + 20 + 4   + 800 * 0.25    -> 2332
    decode at C = 6:     1000 + 7 + 17 + 18      + 600          = 1642          -> 3974
    decode at C = 7:     1000 + 7 + 17 + 21      + 600          = 1645          -> 5619
    """
    law = LinearLaw(window=6, window_fs=100, drawn_fs=800)
    sub = Submission(0, 0, 0, prompt=5, prefix=0, output=3, u=0.25)
    result = serve(ROOMY, [law], [sub])
    assert step_spans(result) == [(0, 1065), (1065, 1267), (2332, 1642), (3974, 1645)]
    assert result.calls[0].emitted_fs == [2332, 3974, 5619]
    assert result.departures == [(5619, 0)]
    assert [step.context_tokens for step in result.steps] == [0, 0, 6, 7]
    assert [step.window_tokens for step in result.steps] == [0, 0, 6, 6]
    assert [step.pair_tokens for step in result.steps] == [1 + 2 + 3 + 4, 5, 0, 0]
    assert [step.prior_tokens for step in result.steps] == [0, 4, 0, 0]
    assert result.kept_blocks == 2  # of 7 tokens: the last output was never read


def test_a_knot_holds_from_its_context_on():
    """Pieces (0, 3) below a context of 6 per decode, (50, 2) from there: 24 of base and ..."""
    law = PiecewiseLaw(per_step=0, knots=(6,), pieces=((0, 3), (50, 2)), chunk_fs=0, pair_fs=0)
    result = serve(ROOMY, [law], [call(0, 0, prompt=4, output=4)])
    assert [step.duration_fs for step in result.steps[1:]] == [24 + 15, 24 + 62, 24 + 64]


def test_a_prompt_shares_its_steps_with_decodes():
    """A (P 4, O 3) from 0; B (P 4, O 1) arrives within A's first step.

    0: A 4 tokens -> 104. 104: decode A, 3 of B -> 217. 217: decode A, 1 of B -> 328.
    """
    result = serve(ROOMY, [PAPER], [call(0, 0, 4, 3), call(1, 50, 4, 1)])
    assert step_spans(result) == [(0, 104), (104, 113), (217, 111)]
    assert result.departures == [(328, 0), (328, 1)]
    assert result.calls[1].sub.at_fs == 50
    assert result.calls[1].scheduled_fs == 104


def test_the_youngest_is_preempted_and_computes_all_again():
    """5 blocks of 2 tokens; A and B both P 2, O 4.

    0: both chunks, a block each -> 104. 104: both need a block -> 224. 224 -> 344 (c = 4).
    344: both need one, one is free: B goes; A alone -> 454 and done, 3 blocks kept.
    454: B's 2 + 3 tokens, 2 blocks free and 1 evicted, emits its last -> 559.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=8, max_sequences=4)
    result = serve(limits, [PAPER], [call(0, 0, 2, 4), call(1, 0, 2, 4)])
    assert step_spans(result) == [(0, 104), (104, 120), (224, 120), (344, 110), (454, 105)]
    b = result.calls[1]
    assert b.emitted_fs == [104, 224, 344, 559]
    assert (b.computed, b.recomputed, b.preemptions) == (2, 5, 1)
    assert [step.held_blocks for step in result.steps] == [2, 4, 4, 3, 3]
    assert (result.kept_blocks, result.free_blocks) == (5, 0)


def test_a_prompt_in_the_middle_is_preempted_by_its_own_next_chunk():
    """5 blocks of 2, budget 4. A: P 2, O 5. B: P 8, O 1.

    0: 2 + 2 -> 104. 104: A, 3 of B (c 5), all blocks held -> 217. 217: B's next 3 want a
    block: B goes; A -> 327. 327: A wants 1 block, 3 of B want 2 -> 440. 440: again B goes;
    A -> 550, done. 550, 654: 4 and 4 of B -> 758.
    B computed 5, then 3 again, then 5 again and 3 more.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=4, max_sequences=2)
    result = serve(limits, [PAPER], [call(0, 0, 2, 5, last=True), call(1, 0, 8, 1, last=True)])
    assert [step.started_fs for step in result.steps] == [0, 104, 217, 327, 440, 550, 654]
    assert result.departures == [(550, 0), (758, 1)]
    b = result.calls[1]
    assert (b.computed, b.recomputed, b.preemptions, b.scheduled_fs) == (8, 8, 2, 0)
    assert (result.kept_blocks, result.free_blocks) == (0, 5)


def test_a_kept_cache_loses_its_tail_and_what_is_left_is_hit():
    """4 blocks of 4. A (session 7, P 6, O 3) leaves 8 tokens in 2 blocks at 326.

    B arrives at that instant: 9 tokens, 3 blocks: one is A's tail. 326 -> 435.
    C of session 7 repeats 8 tokens; 4 are left: it computes 6 of its 10, 1000 -> 1106.
    """
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=16, max_sequences=4)
    a = call(0, 0, 6, 3, session=7)
    b = call(1, 326, 9, 1, last=True)
    c = call(2, 1000, 10, 1, session=7, prefix=8)
    result = serve(limits, [PAPER], [a, b, c])
    assert step_spans(result) == [(0, 106), (106, 110), (216, 110), (326, 109), (1000, 106)]
    assert [result.calls[n].hit for n in range(3)] == [0, 0, 4]
    assert result.calls[2].computed == 6
    assert (result.kept_blocks, result.free_blocks) == (3, 1)


@pytest.mark.parametrize(("prompt", "prefix", "hit"), [(8, 8, 4), (9, 8, 8), (9, 7, 4), (3, 3, 0)])
def test_a_hit_is_whole_blocks_and_leaves_a_token_to_compute(prompt: int, prefix: int, hit: int):
    """8 tokens are kept, in blocks of 4: the last prompt token is always computed."""
    limits = ROOMY._replace(token_budget=16)
    subs = [call(0, 0, 6, 3, session=7), call(1, 1000, prompt, 1, session=7, prefix=prefix)]
    result = serve(limits, [PAPER], subs)
    assert result.calls[1].hit == hit
    assert result.calls[1].computed == prompt - hit


def test_the_cache_kept_longest_ago_goes_first():
    """6 blocks of 4; A and B leave 2 blocks each, B later; C wants 3 and evicts A's tail.

    D and E are the next calls of A's and of B's session: 4 and 8 tokens are left.
    """
    limits = NaiveLimits(block_tokens=4, blocks=6, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 8, 1, session=7),
        call(1, 1000, 8, 1, session=8),
        call(2, 2000, 12, 1, last=True),
        call(3, 3000, 12, 1, session=7, prefix=8),
        call(4, 3000, 12, 1, session=8, prefix=8),
    ]
    result = serve(limits, [PAPER], subs)
    assert [result.calls[n].hit for n in (3, 4)] == [4, 8]


def test_a_hit_finds_what_the_evictions_of_its_own_step_have_left():
    """6 blocks of 4; sessions 7 and 8 leave 2 each, 7 first. Of two calls at 2000 the first
    takes 2 free blocks and 7's tail, so the second, of session 7, finds 4 of its 8 tokens."""
    limits = NaiveLimits(block_tokens=4, blocks=6, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 8, 1, session=7),
        call(1, 1000, 8, 1, session=8),
        call(2, 2000, 12, 1, last=True),
        call(3, 2000, 9, 1, session=7, prefix=8),
    ]
    result = serve(limits, [PAPER], subs)
    assert (result.calls[3].hit, result.calls[3].computed) == (4, 5)
    assert step_spans(result)[2:] == [(2000, 100 + 12 + 5)]


def test_who_was_preempted_leaves_the_cache_of_its_session_alone():
    """5 blocks of 2, A and B (P 2, O 4) of one session; B is preempted at 344, A done at 454.

    Then B takes 2 free blocks and A's tail, and C of that session, which came at 400, hits
    2 of the 4 tokens that are left: 454 -> 454 + 100 + 5 + 2.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=8, max_sequences=4)
    a, b = call(0, 0, 2, 4, session=7), call(1, 0, 2, 4, session=7)
    result = serve(limits, [PAPER], [a, b, call(2, 400, 4, 1, session=7, prefix=4)])
    assert result.calls[2].hit == 2
    assert result.calls[1].preemptions == 1
    assert step_spans(result)[-1] == (454, 107)


def test_the_head_of_the_line_blocks_those_behind_it():
    """4 blocks of 4. A (P 8, O 2) leaves B's 12 tokens no room; C's 1 token waits too.

    0: A -> 108. 108: decode A -> 218. 218: B and C -> 331.
    """
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=32, max_sequences=4)
    result = serve(
        limits, [PAPER], [call(0, 0, 8, 2, last=True), call(1, 0, 12, 1), call(2, 0, 1, 1)]
    )
    assert result.departures == [(218, 0), (331, 1), (331, 2)]
    assert [step.waiting for step in result.steps] == [2, 2, 0]


def test_a_blocked_head_leaves_its_kept_cache_where_it_was():
    """3 blocks of 4. A (session 7) leaves 1; B takes the other 2, and all 3 to decode.

    C (session 7, hit 4) needs 2 more and waits: its kept block stays where it was, so B's
    decode at 1108 evicts it; C finds nothing at 1218 and computes 12.
    """
    limits = NaiveLimits(block_tokens=4, blocks=3, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 4, 1, session=7),
        call(1, 1000, 8, 2, last=True),
        call(2, 1000, 12, 1, session=7, prefix=4),
    ]
    result = serve(limits, [PAPER], subs)
    assert step_spans(result)[1:] == [(1000, 108), (1108, 110), (1218, 112)]
    assert (result.calls[2].hit, result.calls[2].computed) == (0, 12)


def test_prefill_first_runs_whole_prompts_and_decodes_pause():
    """Budget 6; A (P 4, O 3) from 0; B (P 4, O 2) and C (P 10, O 1) within its prompt.

    0: A -> 104. 104: B; with C it would be 14 tokens -> 208. 208: C alone may exceed the
    budget, 10 tokens -> 318. 318: decode A, B -> 438, B done. 438: A -> 548.
    """
    limits = ROOMY._replace(scheduler="prefill_first", token_budget=6)
    result = serve(limits, [PAPER], [call(0, 0, 4, 3), call(1, 50, 4, 2), call(2, 50, 10, 1)])
    assert step_spans(result) == [(0, 104), (104, 104), (208, 110), (318, 120), (438, 110)]
    assert result.departures == [(318, 2), (438, 1), (548, 0)]


def test_priority_goes_before_age_in_line_and_in_preemption():
    """One sequence at a time: C (urgent) overtakes B. Two at a time in 5 blocks of 2: the
    older but less urgent A is preempted where FCFS preempts B."""
    limits = ROOMY._replace(order="priority", max_sequences=1)
    subs = [call(0, 0, 4, 1), call(1, 10, 4, 1, priority=1), call(2, 20, 4, 1, priority=-1)]
    assert [n for _, n in serve(limits, [PAPER], subs).departures] == [0, 2, 1]
    tight = NaiveLimits(2, 5, token_budget=8, max_sequences=4, order="priority")
    result = serve(tight, [PAPER], [call(0, 0, 2, 4, priority=1), call(1, 0, 2, 4)])
    assert [result.calls[n].preemptions for n in range(2)] == [1, 0]


def test_cancel_counts_the_step_in_progress():
    """A decodes 104 -> 214. Cancelled within: it leaves at 214 with that token; at 104, the
    instant at which its prompt ended: at once. B waits (one sequence at most): at once."""
    limits = ROOMY._replace(max_sequences=1)
    subs = [call(0, 0, 4, 5), call(1, 0, 4, 5)]
    result = serve(
        limits, [PAPER], [*subs, Interrupt(10, "cancel", 1), Interrupt(150, "cancel", 0)]
    )
    assert result.departures == [(10, 1), (214, 0)]
    assert [result.calls[n].made for n in range(2)] == [2, 0]
    result = serve(limits, [PAPER], [*subs, Interrupt(104, "cancel", 0)])
    assert result.departures[0] == (104, 0)
    assert result.calls[0].made == 1
    assert result.free_blocks + result.kept_blocks == limits.blocks
    assert result.kept_blocks == 2  # B's 8 tokens; a cancelled call keeps nothing


def test_a_call_that_finishes_in_its_last_step_is_completed_not_cancelled():
    result = serve(ROOMY, [PAPER], [call(0, 0, 4, 1), Interrupt(50, "cancel", 0)])
    assert result.calls[0].outcome == "completed"


def test_a_failure_loses_the_step_in_progress_and_all_calls():
    """The step of 104 -> 214 is cut at 150: A has made 1, B none. At 160 the replica is
    down. It works again from 200, with an empty cache."""
    limits = ROOMY._replace(max_sequences=1)
    events = [
        call(0, 0, 4, 5),
        call(1, 0, 4, 5),
        Interrupt(150, "fail"),
        call(2, 160, 4, 1),
        Interrupt(200, "repair"),
        call(3, 200, 4, 1),
    ]
    result = serve(limits, [PAPER], events)
    assert result.departures == [(150, 0), (150, 1), (160, 2), (304, 3)]
    assert [result.calls[n].outcome for n in range(4)] == ["failed"] * 3 + ["completed"]
    assert [result.calls[n].made for n in range(4)] == [1, 0, 0, 1]
    assert [step.cut_fs for step in result.steps] == [None, 150, None]
    assert result.kept_blocks == 1


def test_a_failure_at_the_end_of_a_step_comes_after_it():
    result = serve(ROOMY, [PAPER], [call(0, 0, 4, 2), Interrupt(214, "fail")])
    assert result.departures == [(214, 0)]
    assert result.calls[0].outcome == "completed"
    assert result.kept_blocks == 0


@pytest.mark.parametrize("at_fs", [50, 104])
def test_a_changed_law_holds_from_the_next_step(at_fs: int):
    slow = LinearLaw(**(vars(PAPER) | {"per_step": 1000}))
    events = [call(0, 0, 4, 2), Interrupt(at_fs, "change_law", 1)]
    assert step_spans(serve(ROOMY, [PAPER, slow], events)) == [(0, 104), (104, 1010)]


def test_what_can_never_fit_is_rejected_at_once():
    """8 + 2 - 1 tokens fill 3 blocks of 4; one token less fits 2."""
    limits = ROOMY._replace(blocks=2)
    result = serve(limits, [PAPER], [call(0, 5, 8, 2), call(1, 5, 8, 1)])
    assert [result.calls[n].outcome for n in range(2)] == ["rejected", "completed"]
    assert result.departures[0] == (5, 0)
