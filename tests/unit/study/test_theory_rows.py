"""How a row of the theory scorecard is decided, and what a scorecard refuses."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from factorysim.errors import SimulationError
from factorysim.records import AuditLine
from factorysim.study.theory import FAST, conservation, ids, scorecard, stations, theory_rows
from factorysim.study.theory.batches import departures
from factorysim.study.theory.observe import Seen, mean_present, shares_of_time
from factorysim.study.theory.row import CONFIDENCE, judge
from factorysim.study.theory.station import TRUE, Between, Skew, Station


def station(value, *, laws=("service",)):
    return Station("s", laws, "paper", lambda skew: {"m": value(skew)}, lambda r, skew: {})


def by_service(skew):
    return 2.0 * skew.of("service")


def samples(mean, spread, count=24):
    """So many values with that mean and standard deviation."""
    raw = np.linspace(-1.0, 1.0, count)
    return [{"m": mean + spread * x} for x in (raw / raw.std(ddof=1)).tolist()]


def test_a_row_holds_where_theory_lies_in_a_narrow_interval():
    (row,) = judge(station(by_service), samples(2.01, 0.02))
    assert (row.id, row.metric, row.expected, row.source) == ("s", "m", 2.0, "paper")
    assert row.got == pytest.approx(2.01)
    assert row.error == pytest.approx(0.005)
    assert row.low < 2.0 < row.high
    # Student's with 23 degrees of freedom and a tail of 5e-5.
    assert (row.high - row.low) / 2 == pytest.approx(4.6935 * 0.02 / 24**0.5, rel=1e-3)
    assert (row.holds, row.reason, row.sees) == (True, "", ("service",))


def test_a_row_fails_where_theory_lies_outside():
    (row,) = judge(station(by_service), samples(2.1, 0.02))
    assert not row.holds
    assert "is above 2" in row.reason
    (row,) = judge(station(by_service), samples(1.9, 0.02))
    assert "is below 2" in row.reason


def test_a_row_fails_that_would_let_five_per_cent_pass():
    (row,) = judge(station(by_service), samples(2.0, 0.2))
    assert not row.holds
    assert "too wide" in row.reason
    assert row.sees == ()


def test_a_law_that_a_metric_does_not_feel_is_not_among_those_it_sees():
    (row,) = judge(station(by_service, laws=("service", "arrivals")), samples(2.0, 0.02))
    assert row.sees == ("service",)


def test_bounds_are_two_rows_and_fail_only_beyond():
    def bounds(skew):
        return Between(1.9 * skew.of("service"), 1.95 * skew.of("service"))

    least, most = judge(station(bounds), samples(1.93, 0.01))
    assert (least.metric, least.expected, least.holds) == ("m, at least", 1.9, True)
    assert (most.metric, most.expected, most.holds) == ("m, at most", 1.95, True)
    least, most = judge(station(bounds), samples(2.0, 0.01))
    assert least.holds
    assert not most.holds
    least, most = judge(station(bounds), samples(1.8, 0.01))
    assert not least.holds
    assert most.holds


def test_what_is_left_to_no_chance_must_be_met_to_rounding():
    (row,) = judge(station(by_service), samples(2.0, 0.0))
    assert row.holds
    (row,) = judge(station(by_service), samples(2.0 + 1e-6, 0.0))
    assert not row.holds


def test_the_confidence_of_a_row_is_that_of_the_whole_over_its_rows():
    """Bonferroni: at most one scorecard in a hundred of a right simulator has a row that fails."""
    rows = sum(
        2 if isinstance(value, Between) else 1
        for one in stations().values()
        for value in one.expected(TRUE).values()
    )
    assert rows * (1.0 - CONFIDENCE) < 0.0125


@pytest.mark.parametrize("name", stations())
def test_every_law_of_a_station_moves_what_theory_says_of_it(name):
    one = stations()[name]
    truth = one.expected(TRUE)
    for law in one.laws:
        off = one.expected(Skew(law))
        assert any(off[metric] != value for metric, value in truth.items()), law


def test_every_station_names_its_source():
    for one in stations().values():
        assert one.source
    assert set(FAST) <= set(ids())


def test_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="no row mm2; expected some of mm1"):
        theory_rows(2, ["mm2"])
    with pytest.raises(ValueError, match="at least 2"):
        theory_rows(1, ["max-min"])


def test_a_station_whose_run_breaks_a_law_is_a_row_that_fails(monkeypatch):
    def broken(replication, skew):
        raise SimulationError("replication 0 breaks a law of conservation: calls")

    bad = station(by_service)._replace(sample=broken)
    monkeypatch.setattr(scorecard, "stations", lambda: {"s": bad})
    (row,) = theory_rows(2, ["s"])
    assert not row.holds
    assert "breaks a law" in row.reason
    assert math.isnan(row.low)


def test_a_law_that_a_scenario_breaks_is_counted_and_named(monkeypatch):
    lines = [AuditLine("calls", True, 1.0, 1.0, ""), AuditLine("tokens", False, 5.0, 4.0, "")]
    monkeypatch.setattr(conservation, "audit_lines", lambda name: lines)
    row = conservation.conservation_row("quickstart")
    assert (row.expected, row.got, row.holds) == (2.0, 1.0, False)
    assert row.reason == "tokens: expected 5.0, got 4.0"
    assert row.error == -0.5


def test_shares_of_time_and_the_mean_present_agree():
    rng = np.random.default_rng(3)
    came = np.cumsum(rng.exponential(1.0, 200))
    left = came + rng.exponential(2.0, 200)
    shares = shares_of_time(came, left, 20.0, 150.0, 200)
    assert shares.sum() == pytest.approx(1.0)
    assert shares @ np.arange(201) == pytest.approx(mean_present(came, left, 20.0, 150.0))


def test_who_has_not_left_is_there_to_the_end():
    came, left = np.array([1.0, 2.0]), np.array([3.0, np.nan])
    assert shares_of_time(came, left, 0.0, 4.0, 2).tolist() == [0.25, 0.5, 0.25]


def test_the_first_to_come_are_left_out():
    came = np.arange(100.0)
    seen = Seen(came, came + np.where(came < 15, 50.0, 1.0), came + 60.0)
    assert seen.wait_s.tolist() == [1.0] * 85
    assert seen.longer(0.5) == 1.0
    assert seen.longer(1.0) == 0.0
    assert seen.window(rate=2.0) == (7.5, 45.0)


def test_departures_of_few_servers_by_hand():
    came = np.array([0.0, 0.0, 0.0, 0.0, 0.5, 3.0])
    assert departures(came, 1.0).tolist() == [1.0, 1.0, 1.0, 1.0, 2.0, 4.0]


def test_the_table_of_the_page_is_of_these_stations_and_closed_forms():
    """What it says of theory is computed anew; the rest is as it was found."""
    page = Path(__file__).parents[3] / "docs" / "theory.md"
    lines = page.read_text(encoding="utf-8").split("<!-- table -->")[1].splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "| " in line]
    written = {(row[0], row[1]): row[2] for row in rows[1:] if row[0] in stations()}
    expected = {}
    for one in stations().values():
        for metric, value in one.expected(TRUE).items():
            if isinstance(value, Between):
                expected[one.id, f"{metric}, at least"] = f"{value.least:.4g}"
                expected[one.id, f"{metric}, at most"] = f"{value.most:.4g}"
            else:
                expected[one.id, metric] = f"{value:.4g}"
    assert written == expected
    assert {row[6] for row in rows[1:]} == {"yes"}
    assert {row[0] for row in rows[1:]} == set(ids())
