"""Numbers as people read them."""

import pytest

from factorysim.report.numbers import amount, digits, of_unit, percent, seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.000123, "0.000123"), (9.999, "10.00"), (999.6, "1000"), (-3.14159, "-3.14"),
     (1e-9, "1.00e-09"), (1e12, "1.00e+12")],
)  # fmt: skip
def test_three_digits(value, text):
    assert digits(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.25, "s", "250 ms"),
        (7200.0, "s", "2.00 h"),
        (0.5, "ratio", "50.0 %"),
        (1.0, "bool", "yes"),
        (0.0, "bool", "no"),
        (1.5e6, "W", "1.50 MW"),
        (2e-5, "1", "<0.001"),
        (0.0, "1", "0"),
    ],
)
def test_units(value, unit, text):
    assert of_unit(value, unit) == text


def test_extremes():
    assert seconds(5e-7) == "500 ns"
    assert seconds(1e-9) == "1.00 ns"
    assert seconds(3e5) == "3.47 d"
    assert percent(1.0) == "100 %"
    assert percent(0.0) == "0.0 %"
    assert amount(0.0, "tok") == "0 tok"
