"""A token bucket worked out on paper: 10 tokens a second, 100 at most."""

from fractions import Fraction

import pytest

from factorysim.sim.bucket import TokenBucket
from factorysim.sim.clock import FS_PER_S


def make_bucket():
    return TokenBucket(rate=10.0, burst=100)


def test_what_is_there_to_the_token_gets_in():
    bucket = make_bucket()
    assert bucket.take(70, 0)
    assert not bucket.affords(31, 0)
    assert bucket.affords(30, 0)
    assert bucket.tokens(0) == 30
    # A tenth of a second brings the 31st, and not a femtosecond less.
    assert not bucket.take(31, FS_PER_S // 10 - 1)
    assert bucket.take(31, FS_PER_S // 10)
    assert bucket.tokens(FS_PER_S // 10) == 0
    assert bucket.spent == 101


def test_looking_takes_nothing_and_may_be_repeated():
    often, once = make_bucket(), make_bucket()
    for bucket in (often, once):
        bucket.pay(100)
    for instant in range(0, FS_PER_S + 1, FS_PER_S // 8):
        often.affords(1000, instant)
    assert often.tokens(FS_PER_S) == once.tokens(FS_PER_S) == 10


def test_more_than_the_burst_waits_for_a_full_bucket_and_owes_the_rest():
    bucket = make_bucket()
    assert bucket.take(150, 0)
    assert bucket.tokens(0) == -50
    assert not bucket.take(150, 15 * FS_PER_S - 1)
    assert bucket.take(150, 15 * FS_PER_S)
    assert bucket.tokens(20 * FS_PER_S) == 0


def test_what_comes_while_it_is_full_is_spilled():
    bucket = make_bucket()
    bucket.pay(30)
    assert bucket.tokens(3 * FS_PER_S) == 100
    assert bucket.spilled == 0
    assert bucket.tokens(7 * FS_PER_S) == 100
    assert bucket.spilled == 40 * FS_PER_S
    assert bucket.error() == 0


@pytest.mark.parametrize("rate", [0.1, 1 / 3, 12.5])
def test_any_rate_is_exact(rate):
    """A float is a fraction: after 30 s it has brought 30 times that, not nearly so."""
    bucket = TokenBucket(rate, 100)
    bucket.pay(500)
    for instant in range(31):
        assert bucket.tokens(instant * FS_PER_S) == -400 + instant * Fraction(rate)


def test_error_tells_every_unit_that_is_astray():
    bucket = make_bucket()
    bucket.pay(30)
    bucket.affords(0, 20 * FS_PER_S)
    assert bucket.error() == 0
    bucket._level -= 3
    assert bucket.error() == 3
    bucket._level += 3
    bucket.spent += 1
    assert bucket.error() == -FS_PER_S
    bucket.spent -= 1
    bucket.spilled += 2
    assert bucket.error() == -2
