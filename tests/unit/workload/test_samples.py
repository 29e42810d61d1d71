"""Quantiles of counted values against those of the values themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.workload import samples
from factorysim.workload.samples import QUANTILES, Sample

values = st.lists(st.integers(-(10**18), 10**18) | st.integers(-5, 5), min_size=1, max_size=60)


def sample(numbers, pieces: int = 1) -> Sample:
    made = Sample()
    for piece in np.array_split(np.array(numbers, dtype=np.int64), pieces):
        for value in piece.tolist():
            made.append(value)
        made.fold()
    return made


@settings(max_examples=150, deadline=None, derandomize=True)
@given(numbers=values, pieces=st.integers(1, 4))
def test_what_is_told_is_that_of_the_values(numbers, pieces):
    told = sample(numbers, pieces)
    assert told.total == sum(numbers)
    assert told.timed == any(numbers)
    lengths = told.lengths()
    assert lengths.mean == pytest.approx(sum(numbers) / len(numbers), rel=1e-12, abs=1e-9)
    expected = np.quantile(np.array(numbers, dtype=np.float64), QUANTILES)
    assert list(lengths.quantiles.values()) == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_of_very_many_values_quantiles_are_within_one_in_8192(monkeypatch):
    monkeypatch.setattr(samples, "DISTINCT_MOST", 1000)
    numbers = np.random.default_rng(1).lognormal(22, 2, 200_000).astype(np.int64)
    told = sample(numbers, 20)
    assert told.total == int(numbers.sum())
    assert len(told._values) < 2**17
    for share in QUANTILES:
        assert told.quantile(share) == pytest.approx(np.quantile(numbers, share), rel=2**-13)


def test_nothing_has_no_distribution():
    assert Sample().lengths() is None
