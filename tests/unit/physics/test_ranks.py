"""Attention-DP: a rank pays for its own tokens, the experts for those of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from factorysim.errors import CapacityError
from factorysim.physics.ranks import ranked_law
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec
from tests.unit.physics.conftest import DENSE, DEVICE, IDEAL, LINKS, MOE, make_law, make_runs


def ranks_of(dp, *, tp=1, ep=1, llm=MOE, overlap="full", **factors):
    return ranked_law(
        llm,
        DEVICE,
        PrecisionSpec(),
        ParallelSpec(tp=tp, dp=dp, ep=ep),
        (LINKS, LINKS),
        replace(IDEAL, **factors),
        overlap,
    )


@pytest.mark.parametrize(("tp", "ep"), [(1, 1), (2, 1), (2, 2), (4, 4)])
def test_one_rank_is_the_plain_law(tp, ep):
    """But for the order of sums, and so for a femtosecond in a few."""
    plain, law = make_law(MOE, tp=tp, ep=ep), ranks_of(1, tp=tp, ep=ep)
    for counts in ((4, 0, 0, 4), (0, 512, 1, 0), (8, 256, 2, 9)):
        assert law.base(*counts) == pytest.approx(plain.base(*counts), rel=1e-12)
    runs = make_runs(steps=3, decodes=4, emitted_tokens=12, context_tokens=500)
    for ours, theirs in zip(law.activity(runs), plain.activity(runs), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_ranks_share_only_the_experts():
    """4 ranks of one device: dense parts as on one device, experts as spread over 4."""
    law, alone = ranks_of(4, ep=4), ranks_of(1)
    own = law.rank.device_s(8, 8, 8)
    assert own == alone.rank.device_s(8, 8, 8)
    shared = 32 * law.exchange.token_s + law.experts.busiest(32)
    assert law.rank_base(8, 0, 0, 8, 32) == round((own + shared) * 1e15)
    assert law.rank_base(8, 0, 0, 8, 32) > law.rank_base(8, 0, 0, 8, 8)


def test_every_rank_reads_its_weights():
    """An idle LLM of 4 ranks moves its dense weights four times, the experts touched once."""
    runs = make_runs(steps=1, decodes=4, emitted_tokens=4, context_tokens=0)
    four, one = ranks_of(4).activity(runs), ranks_of(1).activity(runs)
    rank = ranks_of(4).rank
    weights_s = sum(ridge.read_s for ridge in rank.linears) + rank.head.read_s
    assert four.bytes_moved - one.bytes_moved == pytest.approx(3 * weights_s * 1e9)
    assert four.flops == pytest.approx(one.flops)


def test_links_are_busy_with_sums_of_each_rank_and_the_exchange_of_all():
    """4 ranks of 2 devices, 8 groups of 2 experts: 3 steps of 4 decodes.

    A rank sums after 2 attention blocks: 1 us and two hops of 1 us each, and 2 x 128 B a token
    at half of 1 GB/s (0.256 us in both), for its own quarter of the tokens. Two MoE layers send
    there and back: 1 us and a hop, four times. Of 8 groups a token reaches 8 x (1 - 91 / 120):
    29/120 of 64 elements, 2 B there and 2 B back, 7/8 of it at 1 GB/s, in each layer.
    """
    law = ranks_of(4, tp=2, ep=8, collective_s=1e-6, collective_hop_s=1e-6)
    runs = make_runs(steps=3, decodes=4, emitted_tokens=12)
    token_us = 0.256 / 4 + 2 * 29 / 120 * 64 * 4 * 7 / 8 / 1e3
    expected = 3 * (2 * 3 + 4 * 2) + 12 * token_us
    assert law.activity(runs).link_s[0] * 1e6 == pytest.approx(expected, rel=1e-9)


def test_ranks_of_a_dense_llm_are_refused():
    with pytest.raises(CapacityError, match="4 times the replicas"):
        ranks_of(4, llm=DENSE)
