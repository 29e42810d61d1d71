"""Attention of a device: seconds per cached token and per pair, and integer laws of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from factorysim.physics.memory import kv_share
from factorysim.physics.step import FS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable

    from factorysim.physics.shape import Attention


class AttentionRates(NamedTuple):
    """What a device delivers to attention, derated."""

    decode_flops: float
    """FLOP/s while decoding."""
    prefill_flops: float
    read_bandwidth: float
    """B/s of KV cache."""
    element_bytes: float
    index_speedup: float = 1.0
    """By which an indexer's arithmetic is quicker: FP8 where the device has it."""


class AttentionCost(NamedTuple):
    """Seconds of a device's time, all layers of a kind."""

    decode_s: float
    """Of arithmetic per cached token of a decode."""
    read_s: float
    """To read one cached token."""
    pair_s: float
    """Per pair of a query and a key of a prompt."""
    expand_s: float
    """To expand a prior token from its latent; 0 for GQA."""
    absorbed_s: float
    """Per pair without expansion; equals `pair_s` for GQA."""

    @property
    def slope_s(self) -> float:
        """Per cached token of a decode: arithmetic or memory, whichever is slower."""
        return max(self.decode_s, self.read_s)

    def prior_s(self, tokens: int) -> float:
        """Per prior token of a chunk of `tokens`.

        Latents are expanded, or attended to as they are where that takes less
        arithmetic, as it does for short chunks.
        """
        expanded = tokens * self.pair_s + self.expand_s
        return max(min(expanded, tokens * self.absorbed_s), self.read_s)

    def bounded_s(self, tokens: int, prior: int, window: int) -> float:
        """Attention of a chunk whose queries see `window` tokens each, at most.

        Selected latents are attended to as they are, or all are expanded and the
        others masked where that takes less arithmetic, as it does for short prompts.
        """
        pairs = window_pairs(tokens, prior, window)
        spent = pairs * self.absorbed_s
        if self.expand_s:
            expanded = tokens * self.pair_s + self.expand_s
            masked = prior * min(expanded, tokens * self.absorbed_s)
            spent = min(spent, own_pairs(tokens) * self.pair_s + masked)
        return max(spent, min(prior, window) * self.read_s)


def attention_cost(groups: Iterable[Attention], tp: int, rates: AttentionRates) -> AttentionCost:
    """Cost of groups of attention layers cut over `tp` devices by heads.

    A device holds ``ceil(heads / tp)`` query heads, and KV heads likewise.
    """
    decode = pair = expand = absorbed = read = 0.0
    for group in groups:
        share = math.ceil(group.heads / tp) / group.heads
        if group.reads == "index":
            share /= rates.index_speedup
        decode += share * group.decode_flops / rates.decode_flops
        pair += share * group.pair_flops / rates.prefill_flops
        absorbed += share * group.decode_flops / rates.prefill_flops
        expand += share * group.expand_flops / rates.prefill_flops
        width = rates.element_bytes if group.element_bytes is None else group.element_bytes
        held = group.elements * kv_share(group, tp) * width
        read += held / rates.read_bandwidth
    return AttentionCost(decode, read, pair, expand, absorbed)


def own_pairs(tokens: int) -> int:
    """Pairs of a chunk with itself: a causal triangle."""
    return tokens * (tokens + 1) // 2


def window_pairs(tokens: int, prior: int, window: int) -> int:
    """Pairs of a chunk of `tokens` after `prior` ones, where a query sees `window` keys.

    Examples
    --------
    >>> window_pairs(3, 0, 100), window_pairs(3, 1, 2), window_pairs(5, 50, 8)
    (6, 6, 40)
    """
    short = min(max(window - prior, 0), tokens)
    return short * prior + own_pairs(short) + (tokens - short) * window


def whole_fs(seconds: float) -> int:
    """Femtoseconds, rounded to the nearest whole one."""
    return round(seconds * FS_PER_S)
