"""The laws of LPX keep the clock's promise: knots of hidden attention, windows, deep pipes,
drafts from another pool.

The same check as `test_exactness`, on real laws of tiny LLMs, on devices so
quick that steps take a tenth of a microsecond: events fall on a grid of that, and on ends
of steps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.catalog.values import Sram
from factorysim.physics.afd import Exchange, Side, afd_law
from factorysim.physics.collectives import Links
from factorysim.physics.roofline import roofline_law
from factorysim.physics.speculation import Sent, speculative_law
from factorysim.physics.sram import Chips, sram_law
from factorysim.spec.layout import ParallelSpec, SramSpec
from factorysim.spec.llm import PrecisionSpec
from factorysim.spec.split import AfdSplit
from tests.property.naive_replica import Interrupt, Submission
from tests.property.test_exactness import (
    SCHEDULERS,
    STRICT,
    Case,
    check,
    draftings,
    end_of_a_step,
    limits_for,
    pace_of,
)
from tests.unit.physics.conftest import DENSE, DEVICE, IDEAL, MOE, WINDOWED
from tests.unit.physics.test_sram import CHIP, FP8

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

    from factorysim.physics.step import StepLaw
    from tests.property.naive_replica import Drafting

STEP_FS = 10**8
"""About what a step takes: a tenth of a microsecond, so that records hold whole femtoseconds."""
QUICK = replace(DEVICE, memory_bandwidth=1e12, flops={"bf16": 1e14})
QUICK_CHIP = replace(
    CHIP,
    memory_bandwidth=1e12,
    flops={"fp8": 2e14},
    scale_up_bw=1e12,
    sram=Sram(1e-9, 4, 5e-9, 1e6, 20_000.0, 1e10),
)
WIRES = Links(1e12, 1e-9, 8)


@st.composite
def afd_laws(draw: DrawFn) -> StepLaw:
    """FFN sides and links between which attention of tens of tokens makes the difference."""
    split = AfdSplit(
        kind="afd",
        pool="lpx",
        parallel=ParallelSpec(tp=1),
        micro_batches=draw(st.integers(1, 4)),
    )
    there = replace(QUICK, memory_bandwidth=draw(st.sampled_from([1e12, 2e12, 1e13])))
    here = replace(QUICK, memory_bandwidth=draw(st.sampled_from([1e12, 3e12])))
    exchange = Exchange(
        draw(st.sampled_from([1e11, 1e12])), draw(st.sampled_from([0.0, 1e-8, 1e-7]))
    )
    # KV is read a hundredth as fast as weights, so that contexts of a test reach the knots.
    slow = replace(IDEAL, kv_bandwidth=0.01)
    return afd_law(
        draw(st.sampled_from([DENSE, MOE, WINDOWED])),
        PrecisionSpec(),
        Side(here, ParallelSpec(), WIRES, slow),
        Side(there, split.parallel, WIRES, IDEAL),
        split,
        1,
        exchange,
        "full",
    )


@st.composite
def sram_laws(draw: DrawFn) -> StepLaw:
    """Pipes of any depth, shorter and longer than the batch."""
    tp = draw(st.sampled_from([1, 2]))
    return sram_law(
        draw(st.sampled_from([DENSE, MOE, WINDOWED])),
        QUICK_CHIP,
        FP8,
        ParallelSpec(tp=tp),
        SramSpec(kv=draw(st.sampled_from(["sram", "dram"]))),
        Chips(draw(st.integers(1, 9)), tp, 4),
        WIRES,
        replace(IDEAL, kv_bandwidth=0.01),
        "full",
    )


@st.composite
def draft_laws(draw: DrawFn, drafting: Drafting) -> StepLaw:
    """Verifies on a GPU of drafts from pipes of any depth, whose windows are their own."""
    verify = roofline_law(
        draw(st.sampled_from([DENSE, MOE, WINDOWED])),
        QUICK,
        PrecisionSpec(),
        ParallelSpec(),
        WIRES,
        replace(IDEAL, kv_bandwidth=0.01),
        "full",
    )
    at = pace_of(drafting)
    assert at is not None
    return speculative_law(
        verify,
        draw(sram_laws()),
        at,
        exchange_fs=draw(st.sampled_from([0, 1, 2 * STEP_FS])),
        beside=True,
        sent=Sent(1.0, draw(st.sampled_from([0.0, 1e-9, 3e-8]))),
    )


@st.composite
def cases(draw: DrawFn, *, speculate: bool = False) -> Case:
    """Calls on a grid of steps, some at their ends; now and then a cancel."""
    drafting = draw(draftings()) if speculate else None
    laws = [draw(st.one_of(afd_laws(), sram_laws()) if drafting is None else draft_laws(drafting))]
    sizes = draw(
        st.lists(st.tuples(st.integers(1, 70), st.integers(1, 60)), min_size=1, max_size=8)
    )
    calls = [
        Submission(at_fs=0, number=number, session=number, prompt=prompt, output=output)
        for number, (prompt, output) in enumerate(sizes)
    ]
    limits = draw(limits_for(calls, SCHEDULERS[:2], drafting))
    placed: list[Submission | Interrupt] = []
    now = 0
    for call in calls:
        now += STEP_FS * draw(st.sampled_from([0, 0, 1, 7, 50]))
        if draw(st.booleans()):
            now = end_of_a_step(draw, Case(limits, laws, placed), now)
        placed.append(call._replace(at_fs=now))
    if draw(st.booleans()):
        which = draw(st.integers(0, len(calls) - 1))
        placed.append(Interrupt(now + 3 * STEP_FS, "cancel", which))
    return Case(limits, laws, placed)


@settings(STRICT, max_examples=120)
@given(cases())
def test_runs_of_steps_are_the_steps(case: Case) -> None:
    check(case)


@settings(STRICT, max_examples=120)
@given(cases(speculate=True))
def test_runs_of_verifies_are_the_verifies_where_others_draft(case: Case) -> None:
    check(case)


def test_the_cases_reach_knots() -> None:
    """Else the test above could not fail on them."""
    law = afd_law(
        DENSE,
        PrecisionSpec(),
        Side(QUICK, ParallelSpec(), WIRES, replace(IDEAL, kv_bandwidth=0.01)),
        Side(QUICK, ParallelSpec(tp=1), WIRES, IDEAL),
        AfdSplit(kind="afd", pool="lpx", parallel=ParallelSpec(tp=1), micro_batches=2),
        1,
        Exchange(1e12, 1e-8),
        "full",
    )
    knots = [law.piece(2, 0).knot]
    while (knot := law.piece(2, knots[-1] or 0).knot) is not None:
        knots.append(knot)
    assert [knot for knot in knots if knot is not None and knot < 2 * 130]
