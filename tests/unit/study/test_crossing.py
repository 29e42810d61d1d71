"""The interval of a crossing: what makes it wide, what leaves an end open."""

import numpy as np
import pytest

from factorysim.study.crossing import Asked, Tried, ends

SCALES = (0.5, 1.0, 1.25, 1.5, 2.0, 4.0)


def falling(shifts, scales=SCALES, attain=0.9):
    """Replications that lose a tenth a unit of scale, one a little more than another."""
    return [Tried(x, [Asked([1.0 - 0.1 * x * k for k in shifts], attain)]) for x in scales]


def test_replications_that_are_alike_leave_the_crossing_alone():
    found = ends(falling([1.0, 1.0, 1.0], attain=0.87))
    assert (found.low, found.high) == pytest.approx((1.3, 1.3))


def test_the_interval_of_straight_lines_is_that_of_students_t():
    """Share 1 - k x / 10 against 0.9 crosses at 1 / k.

    Of shares, x times the mean of k, give or take, is 1; of the logarithm of the crossing,
    the half width is that of the mean of k. Below, the second reaches further; above, the first.
    """
    shifts = [0.95, 1.0, 1.05]
    half = 4.303 * np.std(shifts, ddof=1) / 3**0.5
    found = ends(falling(shifts))
    assert found.low == pytest.approx(np.exp(-half), rel=1e-3)
    assert found.high == pytest.approx(1 / (1 - half), rel=1e-3)
    assert found.low < 1 / (1 + half) * 0.995
    assert found.high > np.exp(half) * 1.005


def test_a_tail_beyond_the_crossing_widens_what_shares_at_it_do_not():
    """Where the mean crosses all replications are alike; a step further one is lost."""
    shares = {1.0: (0.94, 0.94, 0.94), 1.1: (0.9, 0.91, 0.91), 1.2: (0.1, 0.85, 0.85)}
    tried = [Tried(x, [Asked(some, 0.9)]) for x, some in shares.items()]
    alike = [Tried(x, [Asked((np.mean(some),) * 3, 0.9)]) for x, some in shares.items()]
    assert ends(alike).high - ends(alike).low < 1e-9
    narrow = ends([*tried, Tried(2.4, [Asked((0.0, 0.0, 0.0), 0.9)])])
    assert narrow.low < 1.1
    assert narrow.high > 1.2


def test_an_end_beyond_what_was_tried_is_open():
    shifts = [0.8, 1.0, 1.2]
    assert ends(falling(shifts, (1.0, 1.25, 4.0))).low is None
    assert ends(falling(shifts, (1.0, 1.25, 4.0))).high is not None
    assert ends(falling(shifts, (0.5, 0.9, 1.1))).high is None
    assert ends(falling(shifts, (0.5, 0.9, 1.1))).low is not None
    assert ends(falling(shifts, (0.5, 0.6))) == (None, None)


def test_an_end_is_open_where_leaving_one_out_leaves_no_crossing():
    shares = {1.0: (0.95, 0.95, 0.95), 2.0: (0.95, 0.95, 0.5)}
    assert ends(Tried(x, [Asked(some, 0.9)]) for x, some in shares.items()).high is None


def test_all_that_is_asked_for_must_be_reached():
    loose = [Asked([0.99, 0.98, 0.97], 0.5)]
    strict = falling([0.95, 1.0, 1.05])
    both = [one._replace(asked=[*loose, *one.asked]) for one in strict]
    assert ends(both) == ends(strict)


def test_what_is_not_known_is_left_out():
    some = falling([0.95, 1.0, 1.05])
    blank = [one._replace(asked=[*one.asked, Asked([None, None, None], 0.9)]) for one in some]
    assert ends(blank) == ends(some)
    never = [Tried(x, [Asked([None, None], 0.9)]) for x in SCALES]
    assert ends(never) == (None, None)


def test_where_a_share_rises_again_the_interval_holds_all_its_crossings():
    """0.9 is crossed at 1.2 and, after a rise, again at 1.9."""
    shares = ((1.0, 0.92), (1.4, 0.88), (1.8, 0.91), (2.0, 0.89))
    found = ends(Tried(x, [Asked([share] * 3, 0.9)]) for x, share in shares)
    assert (found.low, found.high) == pytest.approx((1.2, 1.9))
