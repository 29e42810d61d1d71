"""Activity of the roofline law, from which energy follows, against arithmetic by hand.

The tiny LLM and the slow device of `conftest`: 1e11 FLOP/s, 1e9 B/s; two MoE
layers of 16 experts, of which a token takes 2, with 6144 weights each.
"""

from dataclasses import replace

import pytest

from factorysim.physics.collectives import Links

EXACT = {"rel": 1e-9}


@pytest.mark.parametrize(("tp", "ep"), [(1, 1), (2, 1), (2, 2)])
def test_padding_of_every_touched_expert_takes_arithmetic(law, llms, runs, tp, ep):
    """3 tokens a step touch 16 x (1 - (7/8)^3) experts a layer; devices share them evenly."""
    run = runs(steps=2, decodes=3, emitted_tokens=6)
    layout = {"tp": tp, "ep": ep}
    padded = law(llms["moe"], expert_padding_tokens=100.0, **layout).activity(run)
    plain = law(llms["moe"], **layout).activity(run)
    touched = 2 * 16 * (1 - (7 / 8) ** 3)
    one_s = 100 * 2 * 2 * 6144 / 1e11
    assert padded.compute_s - plain.compute_s == pytest.approx(touched * one_s / tp, **EXACT)
    assert padded.flops == plain.flops  # what the LLM needs, without the padding


@pytest.mark.parametrize("tp", [1, 2])
def test_recurrent_state_is_moved_twice_a_step_for_each_sequence(law, llms, runs, tp):
    """3 steps of 5 decodes and 2 chunks; 4000 B a sequence, read and written."""
    run = runs(steps=3, decodes=5, prompts=2, prompt_tokens=60, emitted_tokens=15)
    stateful = replace(llms["dense"], state_bytes_per_sequence=4000.0)
    found, plain = law(stateful, tp=tp).activity(run), law(tp=tp).activity(run)
    moved = 3 * (5 + 2) * 2 * 4000
    assert found.memory_s - plain.memory_s == pytest.approx(moved / tp / 1e9, **EXACT)
    assert found.bytes_moved - plain.bytes_moved == pytest.approx(moved, **EXACT)


def test_links_are_busy_for_the_latency_of_each_step_and_the_bytes_of_each_token(law, runs):
    """Four all-reduces a step: 1 ms, and two phases of one hop of 0.11 ms."""
    links = Links(5e8, 1e-4, 8)
    two = law(tp=2, links=links, collective_s=1e-3, collective_hop_s=1e-5, link_bandwidth=0.5)
    found = two.activity(runs(steps=3, decodes=4, emitted_tokens=12))
    latency_s = 3 * 4 * (1e-3 + 2 * 1.1e-4)
    # A token's 128 B in 12 x 4 sums: half of them in each of two phases, at 2.5e8 B/s.
    wire_s = 12 * 4 * 2 * 64 / 2.5e8
    assert found.link_s == pytest.approx(latency_s + wire_s, **EXACT)
    assert found.link_bytes == pytest.approx(12 * 4 * 2 * 64 * 2, **EXACT)
