import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from factorysim.spec.base import Quantity
from factorysim.spec.deployment import DeploymentSpec
from factorysim.spec.law import Distribution
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.run import RunSpec
from factorysim.spec.serving import ServingSpec
from factorysim.spec.site import SiteSpec
from factorysim.spec.stream import LengthSpec, SloSpec, StreamSpec

TIME = Quantity("seconds", "a time", "2 s", high=1e10)


@pytest.mark.parametrize(
    ("text", "value"), [("2 s", 2.0), ("2 min", 120.0), ("1.5ms", 0.0015), (" 3 h ", 10800.0)]
)
def test_a_time_is_read_in_seconds(text, value):
    assert TIME.read(text) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text", ["9**9**8 s", "2 sec", "nan s", "inf s", "-1 s", "1e400 s", 5, None, True, "", "2"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match="expected a time"):
        TIME.read(text)


@given(st.floats(0.0, 1e10))
def test_a_quantity_reads_back_exactly(value):
    assert TIME.read(TIME.write(value)) == value


def test_the_cure_tells_units_and_bounds():
    with pytest.raises(ValueError, match="a time") as caught:
        TIME.read("2 sec")
    assert "ms" in caught.value.context["cure"]
    with pytest.raises(ValueError, match="a time") as caught:
        TIME.read("-2 s")
    assert "negative" in caught.value.context["cure"]


def refused(make):
    with pytest.raises(ValidationError) as caught:
        make()
    return caught.value.errors()[0]


def test_types_are_strict():
    assert refused(lambda: RunSpec(seed=True))["type"] == "int_type"
    assert refused(lambda: ParallelSpec(tp="8"))["type"] == "int_type"


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: ParallelSpec(tp=3, ep=2), "ep"),
        (lambda: ServingSpec(token_budget=12), "token_budget"),
        (lambda: DeploymentSpec(pool="p"), "llm"),
        (lambda: DeploymentSpec(pool="p", role="tools", llm="x"), "llm"),
        (lambda: StreamSpec(llm="x", agent="a"), "arrivals"),
        (lambda: StreamSpec(llm="x", agent="a", trace="t"), ""),
        (lambda: StreamSpec(llm="x"), ""),
        (lambda: LengthSpec(kind="uniform", mean=3, spread=1.5), "spread"),
        (lambda: Distribution(kind="uniform", mean="1 s"), "cv"),
        (lambda: Distribution(kind="exponential", mean="1 s", cv=2.0), "cv"),
        (lambda: SiteSpec(energy_price="0.1 EUR/kWh", currency="USD"), "currency"),
    ],
)
def test_rules_inside_an_entry_name_the_key(make, key):
    error = refused(make)
    assert error["type"] == "refused"
    assert error["ctx"]["key"] == key


def test_a_price_keeps_its_currency():
    site = SiteSpec(energy_price="0.19 EUR/kWh")
    assert site.currency == "EUR"
    assert SiteSpec.model_validate(site.model_dump(exclude_none=True)) == site


def test_no_share_is_above_one():
    assert refused(lambda: SloSpec(attain="101 %"))["type"] == "quantity"
