import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.physics.power import (
    PowerModel,
    Weights,
    first_steps,
    host_power,
    run_energy,
    step_power,
    sum_of_smaller,
)
from factorysim.physics.step import Activity, StepRuns

MODEL = PowerModel(100.0, 700.0, Weights(0.75, 0.5, 0.1, 0.15))


def test_the_engine_s_work_draws_as_arithmetic_does():
    none, one = np.zeros(1), np.ones(1)
    weights = Weights(0.75, 0.5, 0.1, 0.15)
    engine = Activity(none, none, none, none, none, none, 2 * one)
    both = Activity(none, none, none, one, none, none, one)
    assert weights.span_s(engine) == weights.span_s(both) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("shares", "watts"),
    [
        ((0.0, 0.0, 0.0), 100 + 600 * 0.15),
        ((0.4, 0.0, 0.0), 100 + 600 * (0.15 + 0.75 * 0.4)),
        ((0.0, 0.4, 0.0), 100 + 600 * (0.15 + 0.5 * 0.4)),
        ((0.0, 0.0, 0.4), 100 + 600 * (0.15 + 0.1 * 0.4)),
        ((1.0, 0.3, 0.0), 700.0),
    ],
)
def test_power_by_hand(shares, watts):
    assert step_power(MODEL, *shares) == pytest.approx(watts)


def test_a_host_draws_in_proportion_to_its_busy_cores():
    assert host_power(MODEL, 0.0) == 100
    assert host_power(MODEL, 0.5) == 400
    assert host_power(MODEL, 1.0) == 700


@given(
    st.integers(1, 60),
    *(st.floats(-3, 3, allow_subnormal=False) for _ in range(4)),
)
def test_sum_of_the_smaller_of_two_lines(n, a, da, b, db):
    expected = sum(min(a + da * k, b + db * k) for k in range(n))
    one = np.ones(1)
    got = sum_of_smaller(n * one, a * one, da * one, b * one, db * one)
    assert got[0] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def steps_of(decodes, context, prompts, tokens, prior, n):
    """The same run as n runs of one step."""
    rows = []
    for k in range(n):
        before = prior + k * tokens
        pairs = tokens * before + tokens * (tokens + 1) // 2
        read = context + decodes * k if decodes else 0
        chunk = (tokens, 0, read, 0, pairs, before) if prompts else (0, 0, read, 0, 0, 0)
        rows.append((1, decodes, prompts, *chunk[:1], decodes, *chunk[2:]))
    return StepRuns(*(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)))


def whole_run(steps):
    """One run of the steps given: counts of a step stay, sums add up."""
    same = {"decodes", "prompts"}
    return StepRuns(
        *(
            column[:1] if name in same else column.sum(keepdims=True)
            for name, column in zip(StepRuns._fields, steps, strict=True)
        )
    )


def durations(law, steps):
    spent = []
    for k in range(len(steps.steps)):
        decodes, prompts = int(steps.decodes[k]), int(steps.prompts[k])
        tokens, prior = int(steps.prompt_tokens[k]), int(steps.prior_tokens[k])
        total = law.base(decodes, tokens, prompts, int(steps.emitted_tokens[k]))
        total += law.slope_fs * int(steps.context_tokens[k])
        total += law.chunk(tokens, prior) if prompts else 0
        spent.append(total * 1e-15)
    return np.array(spent)


@given(
    decodes=st.integers(0, 40),
    context=st.integers(1, 5000),
    prompts=st.integers(0, 1),
    tokens=st.integers(1, 300),
    prior=st.integers(0, 3000),
    n=st.integers(1, 12),
    llm=st.sampled_from(["dense", "moe", "mla"]),
)
def test_energy_of_a_run_is_that_of_its_steps(
    decodes, context, prompts, tokens, prior, n, llm, llms_of, law_of
):
    """In closed form, clipped or not, to 1e-9."""
    if not decodes + prompts:
        return
    law = law_of(llms_of[llm])
    model = MODEL._replace(weights=Weights(0.9, 0.8, 0.1, 0.2))
    steps = steps_of(decodes, context, prompts, tokens, prior, n)
    run = whole_run(steps)
    spent = durations(law, steps)
    zero = np.zeros_like(spent)
    each = run_energy(model, law, steps, spent, zero)
    growth = (spent[1:2] - spent[:1]) if n > 1 else np.zeros(1)
    whole = run_energy(model, law, run, spent[:1], growth)
    assert whole[0] == pytest.approx(each.sum(), rel=1e-9)


def test_the_first_step_of_a_run_is_recovered():
    steps = steps_of(3, 100, 1, 50, 200, 7)
    first = first_steps(whole_run(steps))
    for name, column in zip(StepRuns._fields, first, strict=True):
        assert column[0] == getattr(steps, name)[0], name


def test_energy_by_hand(law, runs):
    """One decode: memory busy all of the step but nothing else to speak of."""
    plain = law()
    step_s = np.array([plain.base(1, 0, 0, 1) * 1e-15])
    activity = plain.activity(runs(decodes=1, emitted_tokens=1))
    share = 0.15 + 0.75 * activity.compute_s[0] / step_s[0] + 0.5 * activity.memory_s[0] / step_s[0]
    joules = run_energy(MODEL, plain, runs(decodes=1, emitted_tokens=1), step_s, np.zeros(1))
    assert joules[0] == pytest.approx(600 * share * step_s[0])
    assert activity.memory_s[0] == pytest.approx(step_s[0], rel=1e-9)
