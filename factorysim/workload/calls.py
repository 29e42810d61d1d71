"""Streams of single calls with given lengths: the workload of a benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.rng import stream
from factorysim.workload.draws import image_tokens, lengths
from factorysim.workload.effort import output_factor
from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.spec.agent import Effort
    from factorysim.spec.stream import CallsSpec, ImagesSpec

BLOCK = 4096


def call_nodes(
    spec: CallsSpec,
    seed: int,
    replication: int,
    name: str,
    *,
    effort: Effort | None = None,
    images: ImagesSpec | None = None,
) -> Iterator[LlmNode]:
    """Draw calls without end, in blocks: about a microsecond each.

    The n-th call is the same whatever comes before it is used for, since block
    and row follow from n alone. Neither effort nor images change what else is drawn.

    Parameters
    ----------
    effort
        The outputs of `spec` are those at `low`; None leaves them as they are.

    Examples
    --------
    >>> from factorysim.spec.stream import CallsSpec, LengthSpec
    >>> spec = CallsSpec(prompt_tokens=LengthSpec(mean=512), output_tokens=LengthSpec(mean=128))
    >>> call = next(call_nodes(spec, 7, 0, "w1"))
    >>> call.prompt_tokens, call.output_tokens
    (512, 128)
    """
    generator = stream(seed, replication, name, "lengths")
    seen = None if images is None else stream(seed, replication, name, "images")
    written = spec.output_tokens
    if effort is not None:
        written = written.model_copy(update={"mean": written.mean * output_factor(effort)})
    while True:
        uniforms = generator.random((BLOCK, 2))
        prompts = lengths(spec.prompt_tokens, uniforms[:, 0])
        outputs = lengths(written, uniforms[:, 1])
        if images is None or seen is None:
            for prompt, output in zip(prompts, outputs, strict=True):
                yield LlmNode(prompt, output)
        else:
            pictured = image_tokens(images, seen.random((BLOCK, 2)))
            for prompt, output, shown in zip(prompts, outputs, pictured, strict=True):
                yield LlmNode(prompt + shown, output, image_tokens=shown)
