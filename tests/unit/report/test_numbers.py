"""Numbers as people read them."""

import pytest

from factorysim.report.numbers import amount, common_unit, digits, of_unit, percent, seconds


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(119.0, "119 s"), (120.0, "2.00 min"), (600.0, "10.0 min"), (7199.0, "120 min"),
     (7200.0, "2.00 h"), (172_799.0, "48.0 h"), (172_800.0, "2.00 d"), (864_000.0, "10.0 d"),
     (-600.0, "-10.0 min")],
)  # fmt: skip
def test_a_duration_takes_a_larger_unit_from_two_of_it_on(value, text):
    assert seconds(value) == of_unit(value, "s") == text


def test_an_axis_of_durations_has_the_same_units():
    for size, unit in ((60.0, "min"), (3600.0, "h"), (86_400.0, "d")):
        assert common_unit(2 * size, "s") == (size, unit)
        assert common_unit(1.99 * size, "s")[1] != unit
