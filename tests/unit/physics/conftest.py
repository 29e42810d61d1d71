"""Small LLMs and devices whose step times can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from factorysim.catalog.efficiency import Efficiency
from factorysim.catalog.values import Device, Llm
from factorysim.physics.collectives import Links
from factorysim.physics.roofline import roofline_law
from factorysim.physics.step import StepRuns
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

FORMATS = ("fp32", "bf16", "fp8", "int8", "fp4")

DENSE = Llm(
    id="tiny", name="Tiny", vendor="test", layers=2, hidden=64, vocab=1000,
    tied_embeddings=False, context_length=4096, total_params=250_880.0, active_params=186_880.0,
    native_precision="bf16", attention="gqa", heads=8, kv_heads=4, head_dim=8,
    kv_lora_rank=None, q_lora_rank=None, qk_nope_head_dim=None, qk_rope_head_dim=None,
    v_head_dim=None, kv_layers=2, window=None, window_layers=0, ffn_kind="dense",
    ffn_matrices=3, intermediate=256, dense_layers=2, dense_intermediate=None, moe_layers=0,
    experts=None, experts_active=None, shared_experts=None, expert_intermediate=None,
    shared_intermediate=None, facts=(),
)  # fmt: skip
MOE = replace(
    DENSE, id="tiny_moe", ffn_kind="moe", intermediate=None, dense_layers=0, moe_layers=2,
    experts=16, experts_active=2, shared_experts=1, expert_intermediate=32,
)  # fmt: skip
MLA = replace(
    DENSE, id="tiny_mla", attention="mla", kv_heads=None, head_dim=None, kv_lora_rank=32,
    q_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=4, v_head_dim=8,
)  # fmt: skip
SPARSE = replace(
    MLA, id="tiny_sparse", topk=10, indexer_heads=2, indexer_head_dim=4, indexer_layers=2,
    index_key_bytes=5.0,
)  # fmt: skip
COMPRESSED = replace(
    DENSE, id="tiny_compressed", attention="compressed_sparse_mqa", layers=3, kv_layers=3,
    kv_heads=1, head_dim=32, q_lora_rank=16, o_lora_rank=4, o_groups=2, topk=5, window=3,
    indexer_heads=2, indexer_head_dim=4, indexer_layers=1, layers_ratio_4=1, layers_ratio_128=1,
)  # fmt: skip
WINDOWED = replace(DENSE, id="tiny_window", kv_layers=1, window_layers=1, window=10)
LLMS = {
    "dense": DENSE,
    "moe": MOE,
    "mla": MLA,
    "windowed": WINDOWED,
    "sparse": SPARSE,
    "compressed": COMPRESSED,
}

DEVICE = Device(
    id="slow", name="Slow", vendor="test", kind="gpu", generation="none", memory_bytes=1e9,
    memory_bandwidth=1e9, flops={"bf16": 1e11, "fp8": 2e11}, tdp_w=500.0, idle_w=50.0,
    scale_up_bw=1e9, scale_out_bw=1e8, scale_up_latency_s=1e-6, facts=(),
)  # fmt: skip

LINKS = Links(1e9, 0.0, 8)

IDEAL = Efficiency(
    linear_compute=dict.fromkeys(FORMATS, 1.0),
    expert_compute=dict.fromkeys(FORMATS, 1.0),
    expert_padding_tokens=0.0,
    weight_bandwidth=1.0,
    kv_bandwidth=1.0,
    attention_compute=1.0,
    decode_compute=1.0,
    block_s=0.0,
    moe_s=0.0,
    link_bandwidth=1.0,
    collective_s=0.0,
    collective_hop_s=0.0,
    host_step_s=0.0,
    sequence_s=0.0,
    request_s=0.0,
    facts=(),
)


def make_law(
    llm=DENSE,
    device=DEVICE,
    *,
    precision=None,
    tp=1,
    ep=1,
    overlap="full",
    links=LINKS,
    **factors,
):
    """Law of a small LLM on ideal hardware, but for the factors given."""
    return roofline_law(
        llm,
        device,
        precision or PrecisionSpec(),
        ParallelSpec(tp=tp, ep=ep),
        links,
        replace(IDEAL, **factors),
        overlap,
    )


def make_runs(**sums):
    """One run of steps; what is not given is 0, `steps` is 1."""
    values = {"steps": 1} | sums
    return StepRuns(*(np.array([values.get(name, 0)], dtype=np.int64) for name in StepRuns._fields))


@pytest.fixture
def law():
    return make_law


@pytest.fixture(scope="session")
def law_of():
    """`law`, for tests that hypothesis runs many times."""
    return make_law


@pytest.fixture(scope="session")
def runs_of():
    return make_runs


@pytest.fixture(scope="session")
def slow_device():
    return DEVICE


@pytest.fixture(scope="session")
def llms_of():
    return LLMS


@pytest.fixture
def runs():
    return make_runs


@pytest.fixture
def llms():
    return LLMS


@pytest.fixture
def device():
    return DEVICE


@pytest.fixture
def ideal():
    return IDEAL
