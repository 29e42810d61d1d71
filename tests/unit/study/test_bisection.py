"""Bisection on made-up answers: the bracket, its bounds, whole numbers, and doubt."""

import pytest

from factorysim.study.bisection import Search, Share, rises


def hunt(holds, low=1 / 1024, high=1024.0, tolerance=0.02, units=None):
    """The search after all its questions, and the questions."""
    search = Search(low, high, tolerance, units)
    asked = []
    while (scale := search.next()) is not None:
        asked.append(scale)
        assert len(asked) < 100
        search.tell(scale, holds(scale))
    return search, asked


@pytest.mark.parametrize("critical", [0.0123, 0.5, 0.999, 1.0, 1.7, 3.0, 700.0])
@pytest.mark.parametrize("tolerance", [0.001, 0.02, 0.3])
def test_the_bracket_holds_what_is_sought_and_is_as_narrow_as_asked(critical, tolerance):
    search, asked = hunt(lambda scale: scale <= critical, tolerance=tolerance)
    assert search.inside <= critical < search.outside
    assert search.outside <= search.inside * (1 + tolerance)
    assert len(set(asked)) == len(asked)


def test_it_begins_at_the_scenarios_own_rate_and_doubles():
    _, asked = hunt(lambda scale: scale <= 5.0)
    assert asked[:4] == [1.0, 2.0, 4.0, 8.0]
    _, asked = hunt(lambda scale: scale <= 0.3)
    assert asked[:3] == [1.0, 0.5, 0.25]


def test_few_questions_are_asked():
    _, asked = hunt(lambda scale: scale <= 3.3)
    assert len(asked) == 9  # 1, 2, 4, and six halvings of a factor of two to 2 %


def test_what_always_holds_ends_at_the_upper_bound():
    search, asked = hunt(lambda scale: True, high=6.0)
    assert asked == [1.0, 2.0, 4.0, 6.0]
    assert (search.inside, search.outside) == (6.0, None)


def test_what_never_holds_ends_at_the_lower_bound():
    search, asked = hunt(lambda scale: False, low=0.2)
    assert asked == [1.0, 0.5, 0.25, 0.2]
    assert (search.inside, search.outside) == (None, 0.2)


@pytest.mark.parametrize(("low", "high", "first"), [(3.0, 9.0, 3.0), (0.1, 0.4, 0.4)])
def test_bounds_that_leave_out_the_scenarios_own_rate(low, high, first):
    middle = (low * high) ** 0.5
    search, asked = hunt(lambda scale: scale <= middle, low, high)
    assert asked[0] == first
    assert all(low <= scale <= high for scale in asked)
    assert search.inside <= middle < search.outside <= search.inside * 1.02


@pytest.mark.parametrize("units", [1, 3, 7, 100])
@pytest.mark.parametrize("most", [1, 2, 5, 6, 99, 250])
def test_whole_numbers_are_found_exactly(units, most):
    search, asked = hunt(lambda scale: round(scale * units) <= most, units=units, tolerance=1e-6)
    whole = [scale * units for scale in asked]
    assert whole == pytest.approx([round(number) for number in whole])
    assert round(search.inside * units) == most
    assert round(search.outside * units) == most + 1
    assert len(set(asked)) == len(asked)


def test_whole_numbers_keep_within_bounds_that_divisions_have_rounded():
    search, asked = hunt(lambda scale: True, high=21 / 7, units=7)
    assert round(asked[-1] * 7) == 21
    search, asked = hunt(lambda scale: False, low=3 / 7, units=7)
    assert round(asked[-1] * 7) == 3
    assert search.inside is None


def test_fewer_than_one_session_is_never_asked_for():
    search, asked = hunt(lambda scale: False, units=5)
    assert min(asked) == 1 / 5
    assert search.inside is None


def test_a_step_beyond_keeps_to_the_bounds_and_the_grid():
    free = Search(0.3, 5.0, 0.02)
    assert (free.beyond(2.0, 2.0), free.beyond(3.0, 2.0), free.beyond(5.0, 2.0)) == (4.0, 5.0, None)
    assert (free.beyond(1.0, 0.5), free.beyond(0.4, 0.5), free.beyond(0.3, 0.5)) == (0.5, 0.3, None)
    whole = Search(0.0, 10.0, 0.02, units=3)
    assert whole.beyond(1 / 3, 2.0) == 2 / 3
    assert whole.beyond(1 / 3, 0.5) is None


def test_what_is_between_whole_numbers_is_the_lower():
    assert Search(0.1, 9.0, 0.02, units=4).within(1.6) == 1.5
    assert Search(0.1, 9.0, 0.02, units=49).within(3 / 49) == 3 / 49
    assert Search(0.1, 9.0, 0.02).within(1.6) == 1.6


def test_a_dip_does_not_trap_the_search():
    """Not monotone: the end is a place where the answer changes."""
    search, _ = hunt(lambda scale: scale < 1.5 or 1.9 < scale < 3.5)
    assert search.outside <= search.inside * 1.02
    assert search.inside < 3.5 <= search.outside


def test_a_share_that_falls_or_stays_raises_no_doubt():
    falling = [Share(x, share, 500) for x, share in ((1, 1.0), (2, 0.9), (4, 0.3))]
    assert rises(falling) == []
    assert rises([Share(x, 1.0, 500) for x in (1, 2, 4)]) == []
    assert rises([]) == []


def test_a_share_that_rises_beyond_its_noise_is_told():
    bump = [Share(4, 0.3, 500), Share(1, 0.6, 500), Share(2, 0.9, 500)]
    assert rises(bump) == [(bump[1], bump[2])]


def test_chance_alone_is_not_told():
    """0.6 of 50 against 0.7 of 50: one standard error; of 5000 each, ten."""
    assert rises([Share(1, 0.6, 50), Share(2, 0.7, 50)]) == []
    assert len(rises([Share(1, 0.6, 5000), Share(2, 0.7, 5000)])) == 1
    assert rises([Share(1, 0.990, 10**6), Share(2, 0.995, 10**6)]) == []  # of no interest
