"""How evenly sessions arrive, against the arrays that the figures are defined by."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.workload.pace import BIN_NS, Pace

instants = st.lists(st.integers(0, 40 * BIN_NS), min_size=3, max_size=50).map(sorted)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(times=instants)
def test_gaps_and_counts_are_those_of_the_instants(times):
    pace = Pace()
    for at_ns in times:
        pace.add(at_ns)
    assert pace.count == len(times)
    assert pace.duration_s == (times[-1] - times[0]) / 1e9
    gaps = np.diff(np.array(times, dtype=np.float64))
    if not gaps.any():
        assert (pace.rate, pace.gap_cv, pace.counts) == (None, None, None)
        return
    assert pace.gap_cv == pytest.approx(gaps.std(ddof=1) / gaps.mean(), abs=1e-9)
    bins = (times[-1] - times[0]) // BIN_NS
    if bins < 2:
        assert pace.counts is None
        return
    counts = np.bincount((np.array(times) - times[0]) // BIN_NS)[:bins]
    assert pace.counts == pytest.approx((counts.mean(), counts.var(ddof=1)), abs=1e-9)


def test_years_of_nanoseconds_do_not_overflow():
    pace = Pace()
    for year in (0, 10**18, 2 * 10**18):
        pace.add(year)
    assert pace.gap_cv == 0.0
    assert pace.counts[0] == pytest.approx(2 / (2 * 10**18 // BIN_NS))
