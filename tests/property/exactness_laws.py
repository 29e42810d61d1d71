"""Laws of step time for the exactness tests: small integers, every term in use."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np

from factorysim.catalog.efficiency import Efficiency
from factorysim.catalog.values import Device, Llm
from factorysim.physics.collectives import Links
from factorysim.physics.roofline import RooflineLaw, roofline_law
from factorysim.physics.step import Activity, Piece, StepRuns
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec


@dataclass(frozen=True)
class LinearLaw:
    """Linear in context; a sliding window where `window` is given."""

    per_step: int = 1000
    per_decode: int = 7
    per_prompt_token: int = 11
    per_prompt: int = 13
    per_emitting: int = 17
    fixed: int = 0
    slope: int = 3
    window: int | None = None
    window_fs: int = 0
    chunk_fs: int = 2
    prior_fs: int = 5
    pair_fs: int = 1
    """Per (query, earlier key) pair: with it, the slope depends on the chunk's size."""
    drawn_fs: int = 0

    @property
    def draws(self) -> bool:
        return self.drawn_fs > 0

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        return (
            self.per_step
            + self.per_decode * decodes
            + self.per_prompt_token * prompt_tokens
            + self.per_prompt * prompts
            + self.per_emitting * emitting
        )

    def piece(self, decodes: int, context: int) -> Piece:
        return Piece(self.fixed, self.slope, None)

    def chunk(self, tokens: int, prior: int) -> int:
        return self.chunk_fs * tokens + self.prior_fs * prior + self.pair_fs * tokens * prior

    def chunk_slope(self, tokens: int) -> int | None:
        return self.prior_fs + self.pair_fs * tokens

    def prompt(self, u: float) -> int:
        return int(self.drawn_fs * u)

    def activity(self, runs: StepRuns) -> Activity:
        nothing = np.zeros(runs.steps.shape)
        return Activity(nothing, nothing, nothing, nothing, nothing, nothing)


@dataclass(frozen=True)
class WindowChunkLaw(LinearLaw):
    """Prompts too read no further back than the window: not linear in what came before."""

    def chunk(self, tokens: int, prior: int) -> int:
        width = tokens + prior if self.window is None else self.window
        reads = sum(min(prior + query, width) for query in range(1, tokens + 1))
        return self.chunk_fs * tokens + (self.prior_fs + self.pair_fs) * reads

    def chunk_slope(self, tokens: int) -> int | None:
        return None


@dataclass(frozen=True)
class PiecewiseLaw(LinearLaw):
    """Pieces between knots, as in a user's table; they need not meet."""

    knots: tuple[int, ...] = (20, 45, 46, 130)
    """First context of the second, third, ... piece, for one decode."""
    pieces: tuple[tuple[int, int], ...] = ((0, 3), (200, 9), (90, 0), (5, 4), (400, 1))
    """(fixed, slope) of each piece."""
    knots_per_decode: int = 0
    """By which each further decode moves the knots."""

    def piece(self, decodes: int, context: int) -> Piece:
        knots = [knot + self.knots_per_decode * (decodes - 1) for knot in self.knots]
        index = bisect_right(knots, context)
        fixed, slope = self.pieces[index]
        return Piece(fixed, slope, knots[index] if index < len(knots) else None)


FORMATS = ("fp32", "bf16", "fp8", "int8", "fp4")
TINY = Llm(
    id="tiny", name="Tiny", vendor="test", layers=2, hidden=16, vocab=50, tied_embeddings=False,
    context_length=4096, total_params=1.0, active_params=1.0, native_precision="bf16",
    attention="mla", heads=4, kv_heads=None, head_dim=None, kv_lora_rank=12, q_lora_rank=8,
    qk_nope_head_dim=4, qk_rope_head_dim=4, v_head_dim=4, kv_layers=2, window=None,
    window_layers=0, ffn_kind="dense", ffn_matrices=3, intermediate=32, dense_layers=2,
    dense_intermediate=None, moe_layers=0, experts=None, experts_active=None,
    shared_experts=None, expert_intermediate=None, shared_intermediate=None, facts=(),
    indexer_heads=2, indexer_head_dim=4, indexer_layers=2, index_key_bytes=5.0,
)  # fmt: skip


def sparse_law(topk: int, bandwidth: float, flops: float, *, compressed: bool) -> RooflineLaw:
    """The product's own law of a small LLM whose decodes read `topk` selected tokens.

    Steps last some picoseconds at 1e15 B/s, so that sums stay short.
    """
    llm = replace(TINY, topk=topk)
    if compressed:
        llm = replace(
            llm, attention="compressed_sparse_mqa", kv_heads=1, head_dim=8, kv_lora_rank=None,
            topk=topk // 4, window=3, o_lora_rank=4, o_groups=2, indexer_layers=1,
            layers_ratio_4=1, layers_ratio_128=1,
        )  # fmt: skip
    device = Device(
        id="fast", name="Fast", vendor="test", kind="gpu", generation="none", memory_bytes=1e9,
        memory_bandwidth=bandwidth, flops={"bf16": flops}, tdp_w=1.0, idle_w=0.0,
        scale_up_bw=None, scale_out_bw=None, scale_up_latency_s=None, facts=(),
    )  # fmt: skip
    ideal = Efficiency(
        linear_compute=dict.fromkeys(FORMATS, 1.0), expert_compute=dict.fromkeys(FORMATS, 1.0),
        expert_padding_tokens=0.0, weight_bandwidth=1.0, kv_bandwidth=1.0, attention_compute=1.0,
        decode_compute=1.0, block_s=0.0, moe_s=0.0, link_bandwidth=1.0, collective_s=0.0,
        collective_hop_s=0.0, host_step_s=0.0, sequence_s=0.0, request_s=0.0, facts=(),
    )  # fmt: skip
    alone, links = ParallelSpec(), Links(1.0, 0.0, 1)
    return roofline_law(llm, device, PrecisionSpec(), alone, links, ideal, "full")
