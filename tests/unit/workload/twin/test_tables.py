"""Tables: exact at their points, even between them, and without any row's own value at the ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import kstest

from factorysim.spec.twin import Table
from factorysim.workload.twin.tables import GRID, Draw, fit_table


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=300))
def test_shares_at_the_points_are_counted(values):
    table = fit_table(values)
    for value, share in zip(table.values[:-1], table.cdf[:-1], strict=True):
        assert share == pytest.approx(np.mean(np.array(values) <= value), abs=1e-6)
    assert table.cdf[-1] == 1.0
    assert table.step == 1.0


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=100), st.floats(-6, 6))
def test_draws_stay_inside_and_are_whole(values, score):
    table = fit_table(values)
    drawn = Draw(table).value(score)
    assert min(table.values) <= drawn <= max(table.values)
    assert drawn == int(drawn)


def test_draws_of_normal_scores_follow_what_was_fitted():
    """A lognormal: the distance of 20,000 draws is within what the table and chance leave."""
    generator = np.random.default_rng(5)
    values = np.exp(generator.normal(6.0, 1.2, 20_000))
    draw = Draw(fit_table(values))
    drawn = [draw.value(score) for score in generator.standard_normal(20_000)]
    assert kstest(drawn, values).statistic < 1.63 * np.sqrt(2 / 20_000) + 0.005


def test_atoms_and_neighbouring_counts_keep_their_shares():
    counts = [1] * 60 + [2] * 25 + [3] * 10 + [9] * 5
    draw = Draw(fit_table(counts))
    drawn = [draw.whole(ndtri((i + 0.5) / 10_000)) for i in range(10_000)]
    for count, share in ((1, 0.6), (2, 0.25), (3, 0.1)):
        assert drawn.count(count) / 10_000 == pytest.approx(share, abs=1e-3)


def test_the_ends_are_means_and_long_numbers_are_rounded():
    values = [1, 2, 3, 4, 5, *range(1000, 3000), 50_001, 50_003, 70_001, 80_001, 90_001]
    table = fit_table(values)
    assert table.values[0] == 3
    assert table.values[-1] == 68_000
    assert all(float(f"{value:.3g}") == value for value in table.values)
    assert len(table.values) <= len(GRID) + 2


def test_times_recorded_to_the_second_are_drawn_to_the_second():
    table = fit_table([3.0, 4.0, 4.0, 9.0, 120.0])
    assert table.step == 1.0
    assert fit_table([3.25, 4.5]).step == 0.01
    assert fit_table([3.2571, 4.5]).step == 0.0
    assert Draw(Table(values=(1, 10), cdf=(0.1, 1.0), step=0.5)).value(0.3) % 0.5 == 0.0


@pytest.mark.parametrize(
    ("values", "cdf"),
    [((1, 1), (0.5, 1)), ((2, 1), (0.5, 1)), ((1, 2), (1, 1)), ((1,), (0.9,)), ((1, 2), (1,))],
)
def test_what_is_no_distribution_is_refused(values, cdf):
    with pytest.raises(ValueError, match=r"ascending|as many"):
        Table(values=values, cdf=cdf)
