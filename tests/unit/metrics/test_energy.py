"""Joules by boundary, each inside the next, and what follows from them."""

import pytest

from factorysim.metrics.activity import activities
from factorysim.metrics.energy import energy_values
from factorysim.metrics.inputs import Partner, Window
from tests.unit.metrics.builders import (
    layout,
    rack,
    reasons,
    session,
    station,
    step,
    tables,
    values,
    watts,
)

WINDOW = Window(10.0, 60.0)


def energy(data, plan=None, window=WINDOW):
    plan = plan or layout()
    found, _ = activities(data, window, plan.serving())
    return energy_values(data, window, plan, found)


def test_power_is_weighted_by_the_share_of_a_bin_inside():
    series = watts([9000, 100, 200, 300, 400, 500, 9000, 0, 0, 0]) + watts([1] * 10, place="rack")
    found = values(energy(tables(series=series)))
    assert found["power.it_w.mean"] == pytest.approx(300)
    assert found["power.it_w.max"] == 500
    assert found["power.facility_w.mean"] == pytest.approx(375)
    assert found["energy.it_j"] == pytest.approx(300 * 50)
    half = values(energy(tables(series=series), window=Window(15.0, 25.0)))
    assert half["power.it_w.mean"] == pytest.approx(150)


def test_p99_leaves_out_a_hundredth_of_the_time():
    series = watts([100.0] * 199 + [900.0], width_s=0.5)
    found = values(energy(tables(series=series), window=Window(0.0, 100.0)))
    assert found["power.it_w.p99"] == 100
    assert found["power.it_w.max"] == 900


def test_p99_is_the_99th_of_a_hundred_levels():
    series = watts([float(w) for w in range(1, 101)], width_s=1.0)
    found = values(energy(tables(series=series), window=Window(0.0, 100.0)))
    assert found["power.it_w.p99"] == 99
    assert found["power.facility_w.p99"] == pytest.approx(99 * 1.25)


def test_boundaries_hold_each_other():
    data = tables(
        steps=[step(10.0, 60.0)],
        series=watts([1000.0] * 10),
        extra={"active_j": [5000.0]},
        energy=[rack(host_j=2000.0, rest_j=1000.0)],
    )
    found = values(energy(data))
    per = {n.rpartition(".")[2]: v for n, v in found.items() if "per_output_token" in n}
    # 40 tokens; 5 kJ of activity and 10 W idle of 4 devices for 50 s in steps.
    assert per["accelerator"] == pytest.approx((5000 + 10 * 4 * 50) / 40)
    # Half of the run is measured: half of 3 kJ.
    assert per["host"] == pytest.approx((7000 + 1500) / 40)
    assert per["idle"] == pytest.approx(50_000 / 40)
    assert per["facility"] == pytest.approx(62_500 / 40)
    assert per["electrical"] is None
    assert "not modelled" in reasons(energy(data))["energy.j_per_output_token.electrical"]


def test_carbon_and_bill_follow_the_facilitys_energy():
    data = tables(
        sessions=[session(0), session(1)], steps=[step(10.0, 60.0)], series=watts([1000.0] * 10)
    )
    found = values(energy(data))
    kwh = 62_500 / 3.6e6
    assert found["carbon.g_per_session"] == pytest.approx(kwh * 400 / 2)
    assert found["energy.j_per_session"] == pytest.approx(62_500 / 2)
    assert found["cost.energy_usd_per_mtok_output"] == pytest.approx(kwh * 0.10 / 40 * 1e6)
    bare = reasons(energy(data, layout(carbon_g_per_kwh=None, usd_per_kwh=None)))
    assert bare["carbon.g_per_session"] == "the site gives no carbon intensity"
    assert bare["cost.energy_usd_per_mtok_output"] == "the site gives no energy price"


def test_without_power_nothing_is_zero():
    missing = reasons(energy(tables(steps=[step(10.0, 60.0)])))
    assert missing["energy.j_per_session"] == missing["energy.it_j"]
    assert missing["energy.it_j"] == "no power was recorded in the window"
    assert missing["energy.j_per_output_token.facility"]
    assert missing["power.facility_w.max"]


def test_without_tokens_there_is_no_energy_per_token():
    data = tables(series=watts([1000.0] * 10))
    assert reasons(energy(data))["energy.j_per_session"] == "no session ended in the window"
    assert reasons(energy(data))["energy.j_per_output_token.facility"] == (
        "no token was made in the window"
    )


def test_the_other_side_of_a_split_is_an_accelerator_too():
    """(8 + 2) J above idle, 40 s x 10 W here, 160 s x 5 W there, over 40 tokens."""
    plan = layout(station(partner=Partner("lpx", 16, 40.0, None, None, 5.0)))
    extra = {"active_j": [8.0], "partner_active_j": [2.0]}
    data = tables(steps=[step(10.0, 20.0)], extra=extra, series=watts([100.0] * 10))
    found = values(energy(data, plan))
    assert found["energy.j_per_output_token.accelerator"] == pytest.approx((10 + 400 + 800) / 40)
