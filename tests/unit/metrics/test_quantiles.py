"""Quantiles against NumPy's and against every gap written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.metrics.quantiles import (
    Gaps,
    distribution,
    gap_quantile,
    gap_values,
    gaps_of_runs,
    join_gaps,
    single_gaps,
)


def by_stat(found):
    return {v.name.rpartition(".")[2]: v for v in found}


def test_of_a_full_sample_they_are_numpys():
    sample = np.random.default_rng(1).exponential(size=2500)
    found = by_stat(distribution("x", sample, 0))
    assert found["mean"].value == pytest.approx(sample.mean())
    for label, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        assert found[label].value == pytest.approx(np.quantile(sample, q), rel=1e-12)
        assert found[label].n == 2500


@pytest.mark.parametrize(("label", "least"), [("p50", 40), ("p95", 400), ("p99", 2000)])
def test_twenty_observations_must_lie_beyond(label, least):
    enough = by_stat(distribution("x", np.arange(float(least)), 0))[label]
    short = by_stat(distribution("x", np.arange(float(least - 1)), 0))[label]
    assert enough.value is not None
    assert short.value is None
    assert short.reason == f"{label} needs {least} observations, there are {least - 1}"


def test_what_has_not_ended_is_longer_than_all_that_has():
    found = by_stat(distribution("x", np.arange(960.0), 40))
    assert found["p50"].value == pytest.approx(np.quantile(np.arange(1000.0), 0.5))
    assert found["p95"].value == pytest.approx(np.quantile(np.arange(1000.0), 0.95))
    late = by_stat(distribution("x", np.arange(940.0), 60))["p95"]
    assert late.value is None
    assert late.reason == "p95 falls among the 60 of 1000 that had not ended"


def test_the_mean_is_withheld_once_over_one_percent_is_censored():
    assert by_stat(distribution("x", np.ones(990), 10))["mean"].value == 1.0
    assert by_stat(distribution("x", np.ones(98_960), 1_000))["mean"].value is None
    assert by_stat(distribution("x", np.ones(0), 3))["mean"].reason == "none has ended"
    assert by_stat(distribution("x", np.ones(0), 0))["mean"].reason == "nothing was measured"


def written_out(gaps):
    return np.sort(
        np.concatenate(
            [np.repeat(a + s * np.arange(n), w) for a, s, n, w in zip(*gaps, strict=True)]
        )
    )


progressions = st.lists(
    st.tuples(
        st.integers(1, 10**6),
        st.integers(0, 10**4),
        st.integers(1, 60),
        st.integers(1, 5),
    ),
    min_size=1,
    max_size=30,
)


@given(progressions, st.floats(0.01, 1.0))
def test_gap_quantiles_are_exact(rows, q):
    gaps = Gaps(*np.array(rows, np.int64).T)
    everything = written_out(gaps)
    assert gaps.total() == len(everything)
    assert gap_quantile(gaps, q) == everything[int(np.ceil(q * len(everything) - 1e-9)) - 1]
    assert gaps.mean_s() == pytest.approx(everything.mean() / 1e15)


def walked(steps, step, slope, decodes, survivors, stall, apart):
    """Every gap of every run, step by step."""
    found = []
    for n, a, s, b, kept, wait, out in zip(
        steps, step, slope, decodes, survivors, stall, apart, strict=True
    ):
        for k in range(n):
            gap = a + k * s
            found += [gap] * (b if k else b - kept - out)
            found += [] if k else [gap + wait] * kept
    return sorted(found)


runs = st.lists(
    st.integers(1, 6).flatmap(
        lambda b: st.tuples(
            st.integers(0, 12),
            st.integers(1000, 10**6),
            st.integers(-50, 200),
            st.just(b),
            st.integers(0, b),
            st.integers(0, 10**5),
        ).flatmap(lambda row: st.tuples(*map(st.just, row), st.integers(0, row[3] - row[4])))
    ),
    min_size=1,
    max_size=12,
)


@given(runs)
def test_gaps_of_runs_are_those_of_every_step(rows):
    arrays = np.array(rows, np.int64).T
    gaps = gaps_of_runs(*arrays)
    expected = walked(*arrays.tolist())
    assert gaps.total() == len(expected)
    if expected:
        assert written_out(gaps).tolist() == expected


def test_single_gaps_join_runs():
    one = np.array([1], np.int64)
    runs_of_steps = Gaps(one * 10**13, one * 0, one * 1000, one)
    gaps = join_gaps([runs_of_steps, single_gaps(np.full(30, 0.5))])
    found = by_stat(gap_values("itl_s", gaps))
    assert found["p50"].value == pytest.approx(0.01)
    assert found["p95"].value == pytest.approx(0.01)
    assert found["mean"].value == pytest.approx((1000 * 0.01 + 30 * 0.5) / 1030)
    assert found["p99"].value is None
    assert by_stat(gap_values("itl_s", join_gaps([])))["p50"].reason
