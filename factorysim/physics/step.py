"""The seam between laws of step time and the clock: what a replica asks of a law.

A step holds `decodes` sequences that add one token each, and pieces of prompts
("chunks"). Its duration in integer femtoseconds is ::

    base(decodes, prompt_tokens, prompts, emitting)
    + fixed + slope * C        over the C cached tokens that the decodes read
    + window_fs * W            over the W of them inside sliding windows, or selected
    + chunk(tokens, prior)     for each chunk, after `prior` cached tokens
    + prompt(u)                for each prompt that ends, where the law draws

Every term is an integer function of integers, so a duration is the same whether
it is summed over a run of steps or evaluated afresh at each one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

FS_PER_S = 10**15
"""Femtoseconds of a second: the clock's tick."""
FS_PER_NS = 10**6
NONE_ACCEPTED = np.zeros(1, dtype=np.int64)


class Piece(NamedTuple):
    """A stretch of total context over which step time is linear."""

    fixed_fs: int
    slope_fs: int
    """Per cached token read."""
    knot: int | None
    """First total context at which another piece holds; None: never."""


class Activity(NamedTuple):
    """What runs of steps did, one value a run, all of the replica's devices together."""

    flops: npt.NDArray[np.float64]
    """FLOP that the LLM needs."""
    bytes_moved: npt.NDArray[np.float64]
    """Bytes between memory and chip: weights touched, KV read and written."""
    link_bytes: npt.NDArray[np.float64]
    """Bytes sent over scale-up and scale-out links by the collectives."""
    compute_s: npt.NDArray[np.float64]
    """Seconds of a device's time that arithmetic would need alone."""
    memory_s: npt.NDArray[np.float64]
    link_s: npt.NDArray[np.float64]
    engine_s: npt.NDArray[np.float64]
    """Seconds that the engine works on each sequence's token, which the device feels."""


class StepRuns(NamedTuple):
    """Runs of steps as arrays, the argument of `StepLaw.activity`.

    All are of shape ``(runs,)`` and whole, sums over the steps of the run except
    `steps`, `decodes`, `prompts`: `context_tokens` is the cached tokens read by
    decodes, `window_tokens` those of them inside sliding windows, `pair_tokens`
    the (query, key) pairs of the chunks. Where decodes speculate, what they read is
    a mean, and need not be whole.
    """

    steps: npt.NDArray[np.int64]
    decodes: npt.NDArray[np.int64]
    """Sequences decoding, in each step of the run."""
    prompts: npt.NDArray[np.int64]
    """Chunks in each step of the run."""
    prompt_tokens: npt.NDArray[np.int64]
    emitted_tokens: npt.NDArray[np.int64]
    context_tokens: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    window_tokens: npt.NDArray[np.int64] | npt.NDArray[np.float64]
    pair_tokens: npt.NDArray[np.int64]
    prior_tokens: npt.NDArray[np.int64]
    """Cached tokens that the chunks read."""
    accepted_tokens: npt.NDArray[np.int64] = NONE_ACCEPTED
    """Drafts that became output, part of `emitted_tokens`."""


class PartnerSide(Protocol):
    """What the other side of a split does in the steps of its replica's law; pure."""

    def activity(self, runs: StepRuns) -> Activity:
        """Closed-form activity of many runs of the replica's steps at once."""
        ...


class StepLaw(Protocol):
    """Duration and activity of the steps of one replica; pure, never random."""

    @property
    def window(self) -> int | None:
        """Tokens of a sequence that bounded layers read: a sliding window, or a selection."""
        ...

    @property
    def window_fs(self) -> int:
        """Femtoseconds per token that decodes read inside `window`."""
        ...

    @property
    def draws(self) -> bool:
        """Whether `prompt` gives time that is drawn per call."""
        ...

    @property
    def link_token_bytes(self) -> float:
        """Bytes that collectives send for each token of a step, all devices together."""
        ...

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds that follow from token counts alone; at least 1.

        `prompt_tokens` over `prompts` chunks; `emitting` sequences (decodes, and
        prompts that end) need the LM head. Callers cache by argument.
        """
        ...

    def piece(self, decodes: int, context: int) -> Piece:
        """Linear piece that holds at `context` tokens read by `decodes` sequences."""
        ...

    def chunk(self, tokens: int, prior: int) -> int:
        """Femtoseconds of attention of a chunk of `tokens` after `prior` cached ones."""
        ...

    def chunk_slope(self, tokens: int) -> int | None:
        """Growth of `chunk` for one more prior token; None where it is not linear."""
        ...

    def prompt(self, u: float) -> int:
        """Femtoseconds drawn for a prompt that ends, from its uniform `u`; 0 if none."""
        ...

    def activity(self, runs: StepRuns) -> Activity:
        """Closed-form activity of many runs of steps at once."""
        ...
