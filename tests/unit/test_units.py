"""The closed table of units: what is read, what is refused, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.units import SI_UNIT, UNITS, example, format_quantity, parse_quantity


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("80 GB", "bytes", 8e10),
        ("1 GiB", "bytes", 2**30),
        ("800 Gb/s", "bytes_per_s", 1e11),
        ("800 GB/s", "bytes_per_s", 8e11),
        ("17.5 PFLOP/s", "flop_per_s", 1.75e16),
        ("2 min", "seconds", 120.0),
        ("30 /min", "per_s", 0.5),
        ("1.5e3 W", "watts", 1500.0),
        ("95 %", "ratio", 0.95),
        (".5", "ratio", 0.5),
        ("2 kWh", "joules", 7.2e6),
        ("-3 degC", "celsius", -3.0),
    ],
)
def test_quantities_are_read_as_si(text, dimension, value):
    assert parse_quantity(text, dimension) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["", "s", "80", "80 gb", "9**9**8 s", "nan s", "inf s", "1e400 s", "1e999 s", "1 s s", "1_0 s",
     "\uff19 s", "0x10 s", "1,5 s", "1" * 100 + " s"],
)  # fmt: skip
def test_what_is_no_quantity_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="quantity such as"):
        parse_quantity(text, "seconds")


@given(st.sampled_from(sorted(UNITS)), st.floats(allow_nan=False, allow_infinity=False))
def test_what_is_written_is_read_back_exactly(dimension, value):
    assert parse_quantity(format_quantity(value, dimension), dimension) == value


@pytest.mark.parametrize("dimension", sorted(UNITS))
def test_every_dimension_has_an_si_unit_and_an_example_that_reads(dimension):
    assert UNITS[dimension][SI_UNIT[dimension]] == 1.0
    assert parse_quantity(example(dimension), dimension) > 0
