"""The scorecard of theory: it holds, and it would not if a law were 5 % off.

What is compared, and with which closed forms, is in `factorysim.study.theory`; seeds
are fixed, so that a row that holds today fails only if something has changed.
"""

from __future__ import annotations

import pytest

from factorysim.study.theory import (
    FAST,
    FAST_REPLICATIONS,
    ids,
    scorecard,
    stations,
    theory_rows,
)
from factorysim.study.theory.fairness import random_network, read_rates

LAWS = [(name, law) for name, station in stations().items() for law in station.laws]


def told(rows):
    """What is wrong, for the report of a failure."""
    return [f"{row.id}, {row.metric}: {row.reason}" for row in rows if not row.holds]


def test_max_min_rates_have_their_certificates():
    rows = theory_rows(FAST_REPLICATIONS, ["max-min"])
    assert len(rows) == 3
    assert not told(rows)


def test_flows_that_join_take_from_those_that_are_there():
    """Else the certificate after the late ones have come would say nothing new."""
    early, all_of_them = read_rates(random_network(0), 1.0, 1.0)
    assert len(early) < len(all_of_them)
    slowed = [flow for flow, rate in early.items() if all_of_them[flow] < 0.99 * rate]
    assert len(slowed) >= 5


@pytest.mark.slow
def test_the_fast_rows_hold():
    rows = theory_rows(FAST_REPLICATIONS, FAST)
    assert {row.id for row in rows} == set(FAST)
    assert not told(rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", ids())
def test_every_row_holds(name):
    rows = theory_rows(only=[name])
    assert rows
    assert not told(rows)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "law"), LAWS)
def test_a_law_that_is_five_per_cent_off_is_found_out(name, law):
    rows = theory_rows(FAST_REPLICATIONS, [name], off=law)
    assert any("is above" in row.reason or "is below" in row.reason for row in rows)


@pytest.mark.slow
def test_the_rows_do_not_depend_on_the_number_of_processes():
    names = ["max-min", "ps-fixed", f"{scorecard.PREFIX}quickstart"]
    assert theory_rows(4, names, workers=2) == theory_rows(4, names)
