"""Axes: every value lies on them, and their ticks are round numbers that do not crowd."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.report.svg.scale import linear, positive

sizes = st.floats(min_value=1e-6, max_value=1e12)


@given(sizes, st.sampled_from(["", "s", "W", "ratio", "tok/s"]))
def test_a_linear_axis_from_0_holds_its_values_with_few_round_ticks(high, unit):
    axis = linear(0.0, high, (100.0, 0.0), unit)
    assert axis.high >= high * (1 - 1e-9)
    assert 2 <= len(axis.ticks) <= 8
    assert axis.at(0.0) == 100.0
    texts = [tick.text for tick in axis.ticks]
    assert len(set(texts)) == len(texts)
    assert np.all(np.diff([axis.at(tick.value) for tick in axis.ticks]) < 0)


@given(sizes, st.floats(min_value=1.0, max_value=1e9))
def test_a_positive_axis_holds_its_values(low, ratio):
    axis = positive(low, low * ratio, (0.0, 300.0), "s")
    assert 0.0 <= axis.at(low) <= axis.at(low * ratio) <= 300.0
    pixels = [axis.at(tick.value) for tick in axis.ticks]
    assert np.all(np.diff(pixels) > 20)


def test_pixels_of_a_logarithmic_axis_are_even_in_decades():
    axis = positive(0.01, 100.0, (0.0, 400.0), "s")
    assert [axis.at(v) for v in (0.01, 0.1, 1.0, 10.0, 100.0)] == pytest.approx(
        [0, 100, 200, 300, 400]
    )
    assert [tick.text for tick in axis.ticks] == ["10 ms", "100 ms", "1 s", "10 s", "100 s"]


@given(sizes, st.floats(min_value=30.0, max_value=1e9))
def test_a_logarithmic_axis_has_enough_ticks_to_read_it(low, ratio):
    axis = positive(low, low * ratio, (0.0, 300.0), "s")
    assert axis.log
    assert 3 <= len(axis.ticks) <= 7
    assert all(low * (1 - 1e-6) <= tick.value <= low * ratio * (1 + 1e-6) for tick in axis.ticks)


def test_a_value_outside_lies_at_the_end():
    assert linear(0.0, 1.0, (0.0, 10.0)).at(5.0) == 10.0
