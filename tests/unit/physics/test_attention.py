import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.physics.attention import (
    AttentionCost,
    AttentionRates,
    attention_cost,
    own_pairs,
    window_pairs,
)
from factorysim.physics.shape import llm_shape

RATES = AttentionRates(1e12, 5e11, 1e9, 2.0)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 40))
def test_window_pairs_count_what_each_query_sees(tokens, prior, window):
    seen = sum(min(prior + i, window) for i in range(1, tokens + 1))
    assert window_pairs(tokens, prior, window) == seen


def test_own_pairs_are_a_triangle():
    assert own_pairs(4) == 1 + 2 + 3 + 4


def test_gqa_reads_and_computes_by_heads(llms):
    cost = attention_cost(llm_shape(llms["dense"]).attention, 1, RATES)
    assert cost.read_s == pytest.approx(256 / 1e9)
    assert cost.decode_s == pytest.approx(2 * 4 * 8 * 8 / 1e12)
    assert cost.pair_s == pytest.approx(2 * 4 * 8 * 8 / 5e11)
    assert cost.expand_s == 0


def test_uneven_heads_leave_devices_idle(llms):
    """8 query heads over 3 devices: 3, 3 and 2; 4 KV heads: 2, 1 and 1."""
    groups = llm_shape(llms["dense"]).attention
    whole, cut = attention_cost(groups, 1, RATES), attention_cost(groups, 3, RATES)
    assert cut.pair_s == pytest.approx(whole.pair_s * 3 / 8)
    assert cut.read_s == pytest.approx(whole.read_s * 2 / 4)


def test_latents_are_read_whole_by_each_device(llms):
    groups = llm_shape(llms["mla"]).attention
    one, four = attention_cost(groups, 1, RATES), attention_cost(groups, 4, RATES)
    assert four.read_s == one.read_s
    assert four.decode_s == pytest.approx(one.decode_s / 4)


def test_short_chunks_attend_to_latents_as_they_are(llms):
    cost = attention_cost(llm_shape(llms["mla"]).attention, 1, RATES._replace(read_bandwidth=1e15))
    # absorbed 2176 FLOP a pair, expanded 640 a pair and 16,384 a prior token: even at 10.67.
    assert cost.prior_s(10) == pytest.approx(10 * 2176 / 5e11)
    assert cost.prior_s(11) == pytest.approx((11 * 640 + 16_384) / 5e11)


def test_memory_bounds_a_single_query(llms):
    cost = attention_cost(llm_shape(llms["dense"]).attention, 1, RATES)
    assert cost.prior_s(1) == cost.read_s == cost.slope_s


@pytest.mark.parametrize(
    ("tokens", "prior", "window", "read_s", "expected"),
    [
        (3, 2, 100, 0.0, 6 + 2 * 12),  # expanded: 6 pairs, and 2 latents at 3 x 4, not 3 + 10
        (8, 2, 100, 0.0, 36 + 2 * 18),  # the latents expanded too, at 8 + 10
        (8, 2, 2, 0.0, 8 * 2 * 4),  # absorbed: what is selected alone
        (3, 2, 100, 100.0, 2 * 100),  # to read what came before
        (3, 2, 1, 100.0, 100),  # or the window of it
    ],
)
def test_selected_latents_are_attended_to_in_the_cheapest_way(
    tokens, prior, window, read_s, expected
):
    """A pair costs 1 expanded and 4 absorbed, an expansion 10."""
    cost = AttentionCost(0.0, read_s, 1.0, 10.0, 4.0)
    assert cost.bounded_s(tokens, prior, window) == expected
