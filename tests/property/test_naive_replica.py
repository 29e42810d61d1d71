"""The reference itself, against cases worked out by hand.

Unless a test says otherwise a step lasts 100 fs, 10 fs more for each decode and
1 fs more for each prompt token; "A", "B", "C" are calls 0, 1, 2. Contents are runs of
block ids: ((0, 2), (7, 1)) names the blocks 0, 1 and 7.
"""

from __future__ import annotations

import pytest

from factorysim.physics.vision import Encoder
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


def call(
    number: int,
    at_fs: int,
    prompt: int,
    output: int,
    content: tuple[tuple[int, int], ...] = (),
    priority: int = 0,
) -> Submission:
    return Submission(at_fs, number, number, prompt, output, content, priority)


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
    sub = Submission(0, 0, 0, prompt=5, output=3, content=((0, 5),), u=0.25)
    result = serve(ROOMY, [law], [sub])
    assert step_spans(result) == [(0, 1065), (1065, 1267), (2332, 1642), (3974, 1645)]
    assert result.calls[0].emitted_fs == [2332, 3974, 5619]
    assert result.departures == [(5619, 0)]
    assert [step.context_tokens for step in result.steps] == [0, 0, 6, 7]
    assert [step.window_tokens for step in result.steps] == [0, 0, 6, 6]
    assert [step.pair_tokens for step in result.steps] == [1 + 2 + 3 + 4, 5, 0, 0]
    assert [step.prior_tokens for step in result.steps] == [0, 4, 0, 0]
    assert result.cached_blocks == 1  # of 7 tokens: the last output was never read


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
    344: both need one, one is free: B goes; A alone -> 454 and done.
    454: B's 2 + 3 tokens, it emits its last -> 559.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=8, max_sequences=4)
    result = serve(limits, [PAPER], [call(0, 0, 2, 4), call(1, 0, 2, 4)])
    assert step_spans(result) == [(0, 104), (104, 120), (224, 120), (344, 110), (454, 105)]
    b = result.calls[1]
    assert b.emitted_fs == [104, 224, 344, 559]
    assert (b.computed, b.recomputed, b.preemptions) == (2, 5, 1)
    assert [step.held_blocks for step in result.steps] == [2, 4, 4, 3, 3]
    assert (result.cached_blocks, result.free_blocks) == (0, 5)


def test_a_prompt_in_the_middle_is_preempted_by_its_own_next_chunk():
    """5 blocks of 2, budget 4. A: P 2, O 5. B: P 8, O 1.

    0: 2 + 2 -> 104. 104: A, 3 of B (c 5), all blocks held -> 217. 217: B's next 3 want a
    block: B goes; A -> 327. 327: A wants 1 block, 3 of B want 2 -> 440. 440: again B goes;
    A -> 550, done. 550, 654: 4 and 4 of B -> 758.
    B computed 5, then 3 again, then 5 again and 3 more.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=4, max_sequences=2)
    result = serve(limits, [PAPER], [call(0, 0, 2, 5), call(1, 0, 8, 1)])
    assert [step.started_fs for step in result.steps] == [0, 104, 217, 327, 440, 550, 654]
    assert result.departures == [(550, 0), (758, 1)]
    b = result.calls[1]
    assert (b.computed, b.recomputed, b.preemptions, b.scheduled_fs) == (8, 8, 2, 0)
    assert (result.cached_blocks, result.free_blocks) == (0, 5)


def test_the_head_of_the_line_blocks_those_behind_it():
    """4 blocks of 4. A (P 8, O 2) leaves B's 12 tokens no room; C's 1 token waits too.

    0: A -> 108. 108: decode A -> 218. 218: B and C -> 331.
    """
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=32, max_sequences=4)
    result = serve(limits, [PAPER], [call(0, 0, 8, 2), call(1, 0, 12, 1), call(2, 0, 1, 1)])
    assert result.departures == [(218, 0), (331, 1), (331, 2)]
    assert [step.waiting for step in result.steps] == [2, 2, 0]


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
    instant at which its prompt ended: at once. B waits (one sequence at most): at once.
    Its prompt's block stays cached."""
    limits = ROOMY._replace(max_sequences=1)
    subs = [call(0, 0, 4, 5, ((0, 2),)), call(1, 0, 4, 5)]
    result = serve(
        limits, [PAPER], [*subs, Interrupt(10, "cancel", 1), Interrupt(150, "cancel", 0)]
    )
    assert result.departures == [(10, 1), (214, 0)]
    assert [result.calls[n].made for n in range(2)] == [2, 0]
    result = serve(limits, [PAPER], [*subs, Interrupt(104, "cancel", 0)])
    assert result.departures[0] == (104, 0)
    assert result.calls[0].made == 1
    assert (result.free_blocks, result.paths) == (99, [(0,)])


def test_a_call_that_finishes_in_its_last_step_is_completed_not_cancelled():
    result = serve(ROOMY, [PAPER], [call(0, 0, 4, 1), Interrupt(50, "cancel", 0)])
    assert result.calls[0].outcome == "completed"


def test_a_failure_loses_the_step_in_progress_and_all_calls():
    """The step of 104 -> 214 is cut at 150: A has made 1, B none. At 160 the replica is
    down. It works again from 200, with an empty cache."""
    limits = ROOMY._replace(max_sequences=1)
    events = [
        call(0, 0, 4, 5, ((0, 2),)),
        call(1, 0, 4, 5),
        Interrupt(150, "fail"),
        call(2, 160, 4, 1),
        Interrupt(200, "repair"),
        call(3, 200, 4, 1, ((0, 1),)),
    ]
    result = serve(limits, [PAPER], events)
    assert result.departures == [(150, 0), (150, 1), (160, 2), (304, 3)]
    assert [result.calls[n].outcome for n in range(4)] == ["failed"] * 3 + ["completed"]
    assert [result.calls[n].made for n in range(4)] == [1, 0, 0, 1]
    assert [step.cut_fs for step in result.steps] == [None, 150, None]
    assert (result.free_blocks, result.paths) == (99, [(0,)])


def test_a_failure_at_the_end_of_a_step_comes_after_it():
    result = serve(ROOMY, [PAPER], [call(0, 0, 4, 2, ((0, 1),)), Interrupt(214, "fail")])
    assert result.departures == [(214, 0)]
    assert result.calls[0].outcome == "completed"
    assert (result.cached_blocks, result.free_blocks) == (0, 100)


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


# The prefix cache


def test_two_running_calls_share_the_blocks_of_one_prompt():
    """A (P 9, O 3) from 0; B with the same prompt (P 9, O 1) within A's first step.

    0: A's 9 tokens, 3 blocks -> 109, 2 of them cached. 109: decode A; B hits 8 and computes 1
    in a block of its own -> 220. 220: A alone -> 330.
    """
    limits = ROOMY._replace(token_budget=16)
    same = ((0, 2),)
    result = serve(limits, [PAPER], [call(0, 0, 9, 3, same), call(1, 50, 9, 1, same)])
    assert step_spans(result) == [(0, 109), (109, 111), (220, 110)]
    assert [(result.calls[n].hit, result.calls[n].computed) for n in range(2)] == [(0, 9), (8, 1)]
    assert [step.held_blocks for step in result.steps] == [3, 4, 3]
    assert [step.pair_tokens for step in result.steps] == [45, 9, 0]
    assert (result.free_blocks, result.paths) == (98, [(0,), (0, 1)])


def test_a_block_computed_twice_at_once_is_kept_once():
    """8 blocks of 4; A and B, of one prompt (P 9, O 2), and C (P 16, O 1).

    0: A and B compute all they have, 3 blocks each; C, who needs 4, waits -> 118. Of B's
    blocks 2 are cached already and freed: 118: decode A and B, C's 16 tokens -> 254.
    """
    limits = NaiveLimits(block_tokens=4, blocks=8, token_budget=64, max_sequences=4)
    same = ((0, 2),)
    subs = [call(0, 0, 9, 2, same), call(1, 0, 9, 2, same), call(2, 0, 16, 1)]
    result = serve(limits, [PAPER], subs)
    assert step_spans(result) == [(0, 118), (118, 136)]
    assert [result.calls[n].computed for n in range(3)] == [9, 9, 16]
    assert [step.held_blocks for step in result.steps] == [6, 8]
    assert (result.free_blocks, result.paths) == (6, [(0,), (0, 1)])


def test_a_prompt_that_is_cached_unblocks_the_head_though_no_block_is_freed():
    """4 blocks of 4. A (P 8, O 2); B (P 9, O 1), which begins like it, needs 3 and waits.

    At 108 A's 2 blocks are cached, 2 are free: A's decode takes one, B hits 8 and needs one.
    """
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=32, max_sequences=4)
    same = ((0, 2),)
    result = serve(limits, [PAPER], [call(0, 0, 8, 2, same), call(1, 0, 9, 1, same)])
    assert step_spans(result) == [(0, 108), (108, 111)]
    assert [(step.waiting, step.held_blocks) for step in result.steps] == [(1, 2), (0, 4)]


def test_who_has_begun_finds_nothing_more():
    """Blocks of 2, budget 8, one prompt: A (P 14, O 1), B (P 15, O 1) within A's first step.

    0: 8 of A -> 108. 108: 6 of A; B hits 8 and computes 2 -> 216, when A registers 3 blocks
    and leaves, and B's one of them is freed. 216: B computes 5 more, 4 of them again in
    vain -> 321. It holds 5 cached blocks and 3 of its own meanwhile.
    """
    limits = NaiveLimits(block_tokens=2, blocks=100, token_budget=8, max_sequences=4)
    same = ((0, 7),)
    result = serve(limits, [PAPER], [call(0, 0, 14, 1, same), call(1, 50, 15, 1, same)])
    assert step_spans(result) == [(0, 108), (108, 108), (216, 105)]
    assert (result.calls[1].hit, result.calls[1].computed) == (8, 7)
    assert [step.held_blocks for step in result.steps] == [4, 8, 8]
    assert (result.free_blocks, result.cached_blocks) == (93, 7)


@pytest.mark.parametrize(
    ("prompt", "hit", "cached"), [(3, 0, 2), (4, 0, 2), (7, 4, 2), (8, 4, 2), (9, 8, 2), (16, 8, 4)]
)
def test_a_hit_is_whole_blocks_and_leaves_a_token_to_compute(prompt: int, hit: int, cached: int):
    """A (P 6, O 3) leaves 8 tokens, 2 blocks, of which its output fills the second.

    A block that is cached but computed again all the same, for the last token, is freed.
    """
    limits = ROOMY._replace(token_budget=16)
    content = ((0, prompt // 4),)
    subs = [call(0, 0, 6, 3, ((0, 9),)), call(1, 1000, prompt, 1, content)]
    result = serve(limits, [PAPER], subs)
    assert (result.calls[1].hit, result.calls[1].computed) == (hit, prompt - hit)
    assert (result.cached_blocks, result.free_blocks) == (cached, 100 - cached)


@pytest.mark.parametrize(("content", "hit"), [(((0, 1),), 4), (((0, 2),), 8), (((0, 9),), 8)])
def test_output_is_cached_as_far_as_its_content_names_it(
    content: tuple[tuple[int, int], ...], hit: int
):
    """A (P 6, O 6) leaves 11 tokens: 2 full blocks, if named. B repeats 13 tokens."""
    limits = ROOMY._replace(token_budget=16)
    subs = [call(0, 0, 6, 6, content), call(1, 1000, 13, 1, ((0, 3),))]
    result = serve(limits, [PAPER], subs)
    assert (result.calls[1].hit, result.calls[1].computed) == (hit, 13 - hit)


def test_what_is_decoded_is_registered_at_the_finish():
    """Blocks of 2. A (P 2, O 6) decodes from 102, 212, 322; at 432 it has 5 tokens.

    B, of A's first 5, hits but its prompt, 2 tokens -> 545 (100 + 10 + 3), and registers 2
    blocks; A finishes at 655 with 7 tokens: its second block is cached, its third is new.
    C hits 6 of 7.
    """
    limits = NaiveLimits(block_tokens=2, blocks=100, token_budget=16, max_sequences=4)
    a, b = call(0, 0, 2, 6, ((0, 3),)), call(1, 400, 5, 1, ((0, 2),))
    result = serve(limits, [PAPER], [a, b, call(2, 1000, 7, 1, ((0, 3),))])
    assert [result.calls[n].hit for n in range(3)] == [0, 2, 6]
    assert step_spans(result)[4:] == [(432, 113), (545, 110), (1000, 101)]
    assert (result.free_blocks, result.cached_blocks) == (97, 3)


def test_what_the_content_does_not_name_is_not_cached():
    """P 11 in blocks of 4 names 2 blocks or, which no trace should, 1: the rest is freed."""
    limits = ROOMY._replace(token_budget=16)
    for named in (2, 1):
        subs = [call(0, 0, 11, 4, ((5, named),)), call(1, 1000, 12, 1, ((5, 3),))]
        assert serve(limits, [PAPER], subs[:1]).cached_blocks == named
        assert serve(limits, [PAPER], subs).calls[1].hit == 4 * named


def test_a_block_is_known_by_all_before_it():
    """7 after 0 is not 7 after 1; runs may be cut anywhere; an id may come again."""
    limits = ROOMY._replace(token_budget=16)
    subs = [
        call(0, 0, 8, 1, ((0, 1), (7, 1))),
        call(1, 1000, 9, 1, ((1, 1), (7, 1))),
        call(2, 2000, 12, 1, ((3, 3),)),
        call(3, 3000, 13, 1, ((3, 1), (4, 2))),
        call(4, 4000, 13, 1, ((3, 2), (3, 1))),
    ]
    result = serve(limits, [PAPER], subs)
    assert [result.calls[n].hit for n in range(5)] == [0, 0, 0, 12, 8]
    paths = [(0,), (0, 7), (1,), (1, 7), (3,), (3, 4), (3, 4, 3), (3, 4, 5)]
    assert result.paths == paths


def test_who_names_nothing_takes_no_part():
    """Nor does anyone where nothing is retained: two of one prompt hold all of it twice."""
    limits = ROOMY._replace(token_budget=32)
    same = ((0, 2),)
    subs = [call(0, 0, 8, 2, same), call(1, 0, 8, 2), call(2, 1000, 9, 1)]
    result = serve(limits, [PAPER], subs)
    assert (result.calls[2].hit, result.paths) == (0, [(0,), (0, 1)])
    subs = [call(0, 0, 8, 2, same), call(1, 0, 8, 2, same), call(2, 1000, 9, 1, same)]
    result = serve(limits._replace(retain="none"), [PAPER], subs)
    assert [result.calls[n].hit for n in range(3)] == [0, 0, 0]
    assert [step.held_blocks for step in result.steps] == [4, 6, 3]
    assert (result.cached_blocks, result.free_blocks) == (0, 100)


def test_a_cache_loses_its_tail_and_what_is_left_is_hit():
    """4 blocks of 4. A (P 6, O 3) leaves 8 tokens in 2 blocks at 326.

    B arrives at that instant: 9 tokens, 3 blocks: one is A's tail. 326 -> 435.
    C repeats A's 8 tokens; 4 are left: it computes 6 of its 10, 1000 -> 1106.
    """
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=16, max_sequences=4)
    subs = [call(0, 0, 6, 3, ((0, 2),)), call(1, 326, 9, 1), call(2, 1000, 10, 1, ((0, 2),))]
    result = serve(limits, [PAPER], subs)
    assert step_spans(result) == [(0, 106), (106, 110), (216, 110), (326, 109), (1000, 106)]
    assert [result.calls[n].hit for n in range(3)] == [0, 0, 4]
    assert result.calls[2].computed == 6
    assert (result.cached_blocks, result.free_blocks) == (2, 2)


@pytest.mark.parametrize(
    ("taken", "left"),
    [
        (1, [(0,), (0, 1), (0, 1, 20)]),
        (2, [(0,), (0, 1)]),
        (3, [(0,)]),
        (4, []),
    ],
)
def test_a_leaf_goes_before_what_it_hangs_on(taken: int, left: list[tuple[int, ...]]):
    """4 blocks. A leaves 0, 1, 2, then B, which forks from it, 0, 1, 20: 2 is the oldest, and
    1 was unlocked when 20 was. C takes as many blocks as it is told to."""
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 12, 1, ((0, 3),)),
        call(1, 1000, 12, 1, ((0, 2), (20, 1))),
        call(2, 2000, 4 * taken, 1),
    ]
    assert serve(limits, [PAPER], subs).paths == left


def test_what_was_unlocked_first_goes_first():
    """6 blocks of 4; A and B leave 2 blocks each, B later; C wants 3 and evicts A's tail.

    D and E repeat A and B: 4 and 8 tokens are left.
    """
    limits = NaiveLimits(block_tokens=4, blocks=6, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 8, 1, ((0, 2),)),
        call(1, 1000, 8, 1, ((10, 2),)),
        call(2, 2000, 12, 1),
        call(3, 3000, 12, 1, ((0, 3),)),
        call(4, 3000, 12, 1, ((10, 3),)),
    ]
    result = serve(limits, [PAPER], subs)
    assert [result.calls[n].hit for n in (3, 4)] == [4, 8]


@pytest.mark.parametrize("prompt", [8, 9])
def test_a_cache_that_is_used_again_is_younger(prompt: int):
    """5 blocks of 4: A leaves 2, B 2; C repeats A. Then D takes the free one and B's tail.

    With P 9 C hits both blocks, with P 8 it computes the second one again: no matter.
    """
    limits = NaiveLimits(block_tokens=4, blocks=5, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 8, 1, ((0, 2),)),
        call(1, 1000, 8, 1, ((10, 2),)),
        call(2, 2000, prompt, 1, ((0, 2),)),
        call(3, 3000, 8, 1),
    ]
    result = serve(limits, [PAPER], subs)
    assert result.calls[2].hit == (4 if prompt == 8 else 8)
    assert result.paths == [(0,), (0, 1), (10,)]


def test_of_two_that_leave_at_once_the_older_is_unlocked_first():
    """4 blocks. A and B leave a block each at 108; C takes 3: two free ones and A's."""
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=32, max_sequences=4)
    subs = [call(0, 0, 4, 1, ((0, 1),)), call(1, 0, 4, 1, ((10, 1),)), call(2, 1000, 12, 1)]
    assert serve(limits, [PAPER], subs).paths == [(10,)]


def test_a_hit_finds_what_the_evictions_of_its_own_step_have_left():
    """6 blocks of 4; A and B leave 2 each, A first. Of two calls at 2000 the first takes 2
    free blocks and A's tail, so the second, which repeats A, finds 4 of its 8 tokens."""
    limits = NaiveLimits(block_tokens=4, blocks=6, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 8, 1, ((0, 2),)),
        call(1, 1000, 8, 1, ((10, 2),)),
        call(2, 2000, 12, 1),
        call(3, 2000, 9, 1, ((0, 2),)),
    ]
    result = serve(limits, [PAPER], subs)
    assert (result.calls[3].hit, result.calls[3].computed) == (4, 5)
    assert step_spans(result)[2:] == [(2000, 100 + 12 + 5)]


def test_a_blocked_head_leaves_what_it_would_hit_where_it_was():
    """3 blocks of 4. A leaves 1; B takes the other 2, and all 3 to decode.

    C (hit 4) needs 2 more and waits: the block is not locked for it, so B's decode at 1108
    evicts it; C finds nothing at 1218 and computes 12.
    """
    limits = NaiveLimits(block_tokens=4, blocks=3, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 4, 1, ((0, 1),)),
        call(1, 1000, 8, 2),
        call(2, 1000, 12, 1, ((0, 3),)),
    ]
    result = serve(limits, [PAPER], subs)
    assert step_spans(result)[1:] == [(1000, 108), (1108, 110), (1218, 112)]
    assert (result.calls[2].hit, result.calls[2].computed) == (0, 12)


def test_what_is_hit_is_not_there_for_the_rest():
    """4 blocks of 4. A leaves 2; B (P 3, O 2) holds 1. C (P 16) hits 2, needs 2 more, and 1 is
    left: it waits for B's 103 + 110, hits 8 at 1213 and computes 8."""
    limits = NaiveLimits(block_tokens=4, blocks=4, token_budget=32, max_sequences=4)
    subs = [
        call(0, 0, 8, 1, ((0, 2),)),
        call(1, 1000, 3, 2),
        call(2, 1000, 16, 1, ((0, 4),)),
    ]
    result = serve(limits, [PAPER], subs)
    assert step_spans(result)[1:] == [(1000, 103), (1103, 110), (1213, 108)]
    assert result.calls[2].hit == 8


def test_who_was_preempted_finds_its_own_prompt_again():
    """Once more 5 blocks of 2, A and B both P 2, O 4, but B's blocks have names.

    344: B goes; its prompt's block stays, what it decoded does not. 454: it finds 2 tokens,
    which are no hit, for it has computed them itself, and computes 3 again -> 557.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=8, max_sequences=4)
    result = serve(limits, [PAPER], [call(0, 0, 2, 4), call(1, 0, 2, 4, ((10, 3),))])
    assert step_spans(result) == [(0, 104), (104, 120), (224, 120), (344, 110), (454, 103)]
    b = result.calls[1]
    assert (b.hit, b.computed, b.recomputed, b.preemptions) == (0, 2, 3, 1)
    assert [step.held_blocks for step in result.steps] == [2, 4, 4, 3, 3]
    assert result.paths == [(10,), (10, 11)]


def test_output_that_is_computed_again_is_registered_with_its_chunk():
    """The same, but B's O is 6: at 557 it has 5 tokens, 4 in cached blocks, 2 of them output.

    C (P 5), which begins like that, hits 4 of them while B decodes on: 557 -> 668 -> 778.
    """
    limits = NaiveLimits(block_tokens=2, blocks=5, token_budget=8, max_sequences=4)
    a, b = call(0, 0, 2, 4), call(1, 0, 2, 6, ((10, 3),))
    result = serve(limits, [PAPER], [a, b, call(2, 500, 5, 1, ((10, 2),))])
    assert step_spans(result)[4:] == [(454, 103), (557, 111), (668, 110)]
    assert result.calls[2].hit == 4
    assert result.departures == [(454, 0), (668, 2), (778, 1)]


def test_who_was_preempted_may_find_more_than_it_had():
    """4 blocks of 2, budget 4; A (P 2, O 7) writes what B (P 8, O 1) has as its prompt.

    0: 2 + 2, B's block is freed again -> 104. 104: A, 3 of B, 4 blocks held -> 217; B's second
    is cached. 217: its last 3 want a block: B goes; A -> 327. Then B, who finds 4 tokens, then
    2, wants 2 blocks, then 3, of 0 -> 437 -> 547 -> 657 -> 767, when A leaves 4 blocks. B finds
    6 tokens (one is new to it: it had computed 5), locks them, evicts the last block and
    computes 2 -> 869.
    """
    limits = NaiveLimits(block_tokens=2, blocks=4, token_budget=4, max_sequences=2)
    same = ((0, 4),)
    result = serve(limits, [PAPER], [call(0, 0, 2, 7, same), call(1, 0, 8, 1, same)])
    starts = [0, 104, 217, 327, 437, 547, 657, 767]
    assert [step.started_fs for step in result.steps] == starts
    assert [step.held_blocks for step in result.steps] == [2, 4, 2, 3, 3, 4, 4, 4]
    assert result.departures == [(767, 0), (869, 1)]
    b = result.calls[1]
    assert (b.hit, b.computed, b.recomputed, b.preemptions) == (1, 7, 0, 1)
    assert (result.cached_blocks, result.free_blocks) == (4, 0)


def test_a_prompt_cancelled_in_the_middle_leaves_what_it_has_computed():
    """Budget 4: of A's 12 tokens 4 are computed at 104, 8 at 208, after the cancel."""
    events = [call(0, 0, 12, 1, ((0, 3),)), Interrupt(150, "cancel", 0)]
    result = serve(ROOMY, [PAPER], events)
    assert result.departures == [(208, 0)]
    assert result.paths == [(0,), (0, 1)]


def test_a_failure_forgets_what_was_cached():
    """A's 2 blocks are left at 108 and lost at 500: B, of the same prompt, computes all 9."""
    events = [
        call(0, 0, 8, 1, ((0, 2),)),
        Interrupt(500, "fail"),
        Interrupt(600, "repair"),
        call(1, 1000, 9, 1, ((0, 2),)),
    ]
    result = serve(ROOMY, [PAPER], events)
    assert (result.calls[1].hit, result.calls[1].computed) == (0, 9)
    assert (result.cached_blocks, result.free_blocks) == (2, 98)


def test_prefill_first_shares_within_and_between_its_steps():
    """A and B (P 8, O 2) of one prompt at 0 and C (P 9, O 1), which begins like them, at 50.

    0: A and B, 16 tokens -> 116. 116: C hits 8, 1 token -> 217. 217: decode A, B -> 337.
    """
    limits = ROOMY._replace(scheduler="prefill_first", token_budget=16)
    same = ((0, 2),)
    subs = [call(0, 0, 8, 2, same), call(1, 0, 8, 2, same), call(2, 50, 9, 1, same)]
    result = serve(limits, [PAPER], subs)
    assert step_spans(result) == [(0, 116), (116, 101), (217, 120)]
    assert [step.held_blocks for step in result.steps] == [4, 3, 4]
    assert (result.cached_blocks, result.free_blocks) == (2, 98)


def test_a_call_beyond_the_context_is_rejected_as_it_comes() -> None:
    limits = ROOMY._replace(context_tokens=12)
    fits, over = Submission(0, 0, 0, prompt=8, output=4), Submission(0, 1, 1, prompt=9, output=4)
    result = serve(limits, [PAPER], [fits, over])
    assert result.departures[0] == (0, 1)
    assert [result.calls[number].outcome for number in (0, 1)] == ["completed", "rejected"]


def test_images_lengthen_the_step_that_ends_their_prompt() -> None:
    """Two chunks of 4; three image tokens at 50, then one at no less than 90."""
    limits = ROOMY._replace(encoder=Encoder(50, 90))
    call = Submission(0, 0, 0, prompt=8, output=2)
    plain = serve(limits, [PAPER], [call]).steps
    for images, longer in ((3, 150), (1, 90)):
        steps = serve(limits, [PAPER], [call._replace(images=images)]).steps
        growth = [b.duration_fs - a.duration_fs for a, b in zip(plain, steps, strict=True)]
        assert growth == [0, longer, 0]
