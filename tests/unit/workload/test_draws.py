"""Draws by inverse CDF: means that come out, bounds that hold."""

from statistics import NormalDist

import numpy as np
import pytest

from factorysim.rng import stream
from factorysim.spec.agent import Count, LognormalTokens
from factorysim.spec.stream import LengthSpec
from factorysim.workload.draws import (
    KeyedUniforms,
    count_table,
    draw_counts,
    lengths,
    lognormal_tokens,
    packed,
    table_mean,
)

WE = {"kind": "assumed", "source": "us"}


def test_keyed_uniforms_are_the_streams_of_rng_in_any_order():
    uniforms = KeyedUniforms(7, 2, "code")
    for ordinal in (5, 0, 5, 3):
        expected = stream(7, 2, "code", "session", ordinal)
        generator = uniforms.at("session", ordinal)
        np.testing.assert_array_equal(generator.random(7), expected.random(7))
        np.testing.assert_array_equal(generator.integers(9, size=3), expected.integers(9, size=3))


@pytest.mark.parametrize("shape", ["lognormal", "geometric"])
@pytest.mark.parametrize("factor", [0.9, 1.0, 1.3])
def test_counts_have_the_mean_that_is_asked_for(shape, factor):
    spec = Count(shape=shape, mean=6.66, sigma=1.5, max=200, **WE)
    cdf = count_table(spec, factor)
    assert table_mean(cdf) == pytest.approx(6.66 * factor, rel=1e-9)
    drawn = draw_counts(cdf, np.random.default_rng(1).random(400_000))
    assert drawn.min() == 1
    assert drawn.max() <= 200
    assert drawn.mean() == pytest.approx(6.66 * factor, rel=4 * 2.5 / np.sqrt(400_000))


def test_geometric_counts_are_memoryless():
    cdf = count_table(Count(shape="geometric", mean=4.0, max=300, **WE))
    survival = 1 - cdf[:20]
    np.testing.assert_allclose(survival[1:] / survival[:-1], 0.75, rtol=1e-6)


def test_lognormal_counts_follow_the_rounded_lognormal():
    spec = Count(mean=50.0, sigma=0.4, max=1000, **WE)
    cdf = count_table(spec)
    quantiles = np.searchsorted(cdf, [0.15866, 0.84134]) + 1
    assert np.log(quantiles[1] / quantiles[0]) / 2 == pytest.approx(0.4, rel=0.03)


def test_lognormal_counts_are_cut_half_way_between_whole_numbers():
    """A count is at most n where the lognormal, here of mu 0 and sigma 1, is below n + 1/2."""
    at_most = [NormalDist().cdf(np.log(edge)) for edge in (1.5, 2.5, 3.5)]
    mean = 1 + sum(1 - p for p in at_most)
    cdf = count_table(Count(mean=mean, sigma=1.0, max=4, **WE))
    assert cdf == pytest.approx([*at_most, 1.0], rel=1e-9)


def test_a_mean_below_one_is_one_and_one_beyond_the_maximum_is_refused():
    spec = Count(shape="geometric", mean=1.0, max=4, **WE)
    assert table_mean(count_table(spec, 0.5)) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at most 4"):
        count_table(spec, 3.0)


@pytest.mark.parametrize(
    ("spec", "mean"),
    [
        (LengthSpec(mean=512), 512),
        (LengthSpec(kind="uniform", mean=1000, spread=0.5), 1000),
        (LengthSpec(kind="lognormal", mean=1000, spread=0.5), 1000 * np.exp(0.125)),
    ],
)
def test_lengths_have_their_mean(spec, mean):
    tokens = lengths(spec, (np.arange(100_000) + 0.5) / 100_000)
    assert np.mean(tokens) == pytest.approx(mean, rel=0.005)
    assert all(isinstance(t, int) and t >= 1 for t in tokens[:100])


def test_uniform_lengths_span_the_spread():
    tokens = lengths(LengthSpec(kind="uniform", mean=1000, spread=0.5), np.array([0.0, 1.0]))
    assert tokens == [500, 1500]


def test_tokens_stay_within_bounds():
    spec = LognormalTokens(p50=100, sigma=1.0, max=500, **WE)
    assert lognormal_tokens(spec, np.array([-np.inf, 0.0, np.inf])) == [1, 100, 500]
    assert lognormal_tokens(spec, np.array([0.0]), factor=2.0) == [200]


def test_lognormal_tokens_lie_a_factor_of_e_to_the_sigma_apart():
    """e ** -1, e ** -0.5, e ** 0.5 and e ** 1 thousands: a normal of n is n sigmas of 0.5."""
    spec = LognormalTokens(p50=1000, sigma=0.5, **WE)
    drawn = lognormal_tokens(spec, np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    assert drawn == [368, 607, 1000, 1649, 2718]


@pytest.mark.parametrize(
    ("most", "size"), [(255, 1), (256, 2), (65_535, 2), (65_536, 8), (2**63, 8)]
)
def test_packed_numbers_are_themselves_in_few_bytes(most, size):
    numbers = packed([0, most, 1])
    assert list(numbers) == [0, most, 1]
    assert numbers.itemsize == size


def test_nothing_packs_to_nothing_and_less_than_nothing_is_refused():
    assert list(packed([])) == []
    with pytest.raises(OverflowError):
        packed([-1])
