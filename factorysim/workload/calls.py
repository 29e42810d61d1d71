"""Streams of single calls with given lengths: the workload of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.rng import stream
from factorysim.workload.draws import lengths
from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.scenario import CallsSpec

BLOCK = 4096


def call_nodes(spec: CallsSpec, seed: int, replication: int, name: str) -> Iterator[LlmNode]:
    """Draw calls without end, in blocks: about a microsecond each.

    The n-th call is the same whatever comes before it is used for, since block
    and row follow from n alone.

    Examples
    --------
    >>> from factorysim.spec.scenario import CallsSpec, LengthSpec
    >>> spec = CallsSpec(prompt_tokens=LengthSpec(mean=512), output_tokens=LengthSpec(mean=128))
    >>> call = next(call_nodes(spec, 7, 0, "w1"))
    >>> call.prompt_tokens, call.output_tokens
    (512, 128)
    """
    generator = stream(seed, replication, name, "lengths")
    while True:
        uniforms = generator.random((BLOCK, 2))
        prompts = lengths(spec.prompt_tokens, uniforms[:, 0])
        outputs = lengths(spec.output_tokens, uniforms[:, 1])
        for prompt, output in zip(prompts, outputs, strict=True):
            yield LlmNode(prompt, output)
