"""The flags of ``vllm serve`` (0.11): which of them shape a deployment, and which do not."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

Takes: TypeAlias = Literal["count", "share", "word", "map", "switch", "words"]
"""What follows a flag: a number, a share of one, a word, JSON, nothing, or several words."""


class Flag(NamedTuple):
    """A flag that is known."""

    takes: Takes
    use: Literal["model", "none", "unmodelled"]
    """Whether it says something of the deployment, nothing that matters to a simulation, or
    something that this one does not know."""
    why: str = ""
    """What an unmodelled flag would change."""


_MODEL: dict[str, Takes] = {
    "model": "word",
    "tensor-parallel-size": "count",
    "pipeline-parallel-size": "count",
    "data-parallel-size": "count",
    "enable-expert-parallel": "switch",
    "max-num-seqs": "count",
    "max-num-batched-tokens": "count",
    "max-model-len": "count",
    "gpu-memory-utilization": "share",
    "kv-cache-dtype": "word",
    "quantization": "word",
    "dtype": "word",
    "enable-prefix-caching": "switch",
    "enable-chunked-prefill": "switch",
    "speculative-config": "map",
    "block-size": "count",
    "num-gpu-blocks-override": "count",
    "scheduling-policy": "word",
    "async-scheduling": "switch",
}

_NOTHING: dict[Takes, str] = {
    "word": """
        host port uds api-key root-path chat-template chat-template-content-format
        response-role ssl-keyfile ssl-certfile ssl-ca-certs ssl-cert-reqs uvicorn-log-level
        log-config-file max-log-len tool-call-parser tool-parser-plugin tool-server
        reasoning-parser reasoning-parser-plugin tokenizer tokenizer-mode tokenizer-revision
        revision code-revision hf-config-path hf-token load-format download-dir config-format
        generation-config seed otlp-traces-endpoint collect-detailed-traces
        show-hidden-metrics-for-version distributed-executor-backend data-parallel-address
        data-parallel-rpc-port data-parallel-backend data-parallel-rank data-parallel-start-rank
        data-parallel-size-local data-parallel-hybrid-lb nnodes node-rank master-addr master-port
        api-server-count max-logprobs logprobs-mode guided-decoding-backend
        structured-outputs-config runner task convert pooler-config logits-processor-pattern
        served-model-name-prefix worker-cls worker-extension-cls device
        max-parallel-loading-workers prefix-caching-hash-algo stream-interval
        kv-events-config observability-config additional-config model-loader-extra-config
        override-generation-config allowed-local-media-path allowed-media-domains
        attention-backend compilation-config cudagraph-capture-sizes cuda-graph-sizes
        max-cudagraph-capture-size max-seq-len-to-capture media-io-kwargs
        mm-encoder-attn-backend mm-processor-cache-type ray-runtime-env tokenizer-pool-size
        tokenizer-pool-type guided-decoding-disable-fallback
    """,
    "switch": """
        trust-remote-code disable-log-requests enable-log-requests disable-log-stats
        disable-uvicorn-access-log disable-fastapi-docs enable-auto-tool-choice enable-reasoning
        enable-request-id-headers enable-server-load-tracking enable-prompt-tokens-details
        enable-force-include-usage enable-ssl-refresh return-tokens-as-token-ids allow-credentials
        headless skip-tokenizer-init enable-log-outputs enable-sleep-mode
        use-tqdm-on-load disable-frontend-multiprocessing disable-custom-all-reduce
        ray-workers-use-nsight log-error-stack fail-on-environ-validation
        data-parallel-external-lb exclude-tools-when-tool-choice-none enable-prompt-embeds
        enable-mm-embeds interleave-mm-strings skip-mm-profiling use-v2-block-manager
        enable-tokenizer-info-endpoint
    """,
    "words": "served-model-name allowed-origins allowed-methods allowed-headers middleware",
}
"""Flags that change nothing which is simulated, by what follows them."""

_UNMODELLED: dict[str, tuple[Takes, str]] = {
    "enforce-eager": ("switch", "without CUDA graphs a step has more host overhead"),
    "cpu-offload-gb": ("word", "weights in host memory are read over PCIe each step"),
    "swap-space": ("word", "preempted KV would be swapped; here it is computed again"),
    "kv-cache-memory-bytes": ("word", "`serving.kv.blocks` gives the cache outright"),
    "num-scheduler-steps": ("word", "V0 scheduled several steps at once"),
    "preemption-mode": ("word", "preempted KV is computed again"),
    "kv-offloading-size": ("word", "`serving.kv.tiers` puts KV below HBM"),
    "kv-offloading-backend": ("word", "`serving.kv.tiers` puts KV below HBM"),
    "kv-transfer-config": ("map", "`role: prefill` and `role: decode` are two deployments"),
    "decode-context-parallel-size": ("count", "KV cut over TP by tokens"),
    "prefill-context-parallel-size": ("count", "prompts cut over devices"),
    "enable-eplb": ("switch", "`expert_skew` says how uneven experts are"),
    "eplb-config": ("map", "`expert_skew` says how uneven experts are"),
    "num-redundant-experts": ("word", "copies of experts take memory"),
    "enable-dbo": ("switch", "two micro-batches overlap"),
    "all2all-backend": ("word", "kernels of the exchange of tokens"),
    "enable-lora": ("switch", "adapters take memory and time"),
    "lora-modules": ("words", "adapters take memory and time"),
    "max-loras": ("word", "adapters take memory and time"),
    "max-lora-rank": ("word", "adapters take memory and time"),
    "max-cpu-loras": ("word", "adapters take memory and time"),
    "limit-mm-per-prompt": ("map", "`streams.*.images` says how many there are"),
    "mm-processor-kwargs": ("map", "`streams.*.images` says how many there are"),
    "mm-encoder-tp-mode": ("word", "an encoder is cut as the LLM is"),
    "mm-processor-cache-gb": ("word", "an image that comes again is encoded again here"),
    "max-num-partial-prefills": ("word", "one prompt is under way at a time"),
    "max-long-partial-prefills": ("word", "one prompt is under way at a time"),
    "long-prefill-token-threshold": ("word", "chunks of a prompt are as large as the budget"),
    "disable-chunked-mm-input": ("switch", "tokens of images are cut as others are"),
    "disable-cascade-attention": ("switch", "shared prefixes are read for each sequence"),
    "disable-hybrid-kv-cache-manager": ("switch", "windows keep what they see, no more"),
    "rope-scaling": ("map", "the context is that of the catalog"),
    "rope-theta": ("word", "the context is that of the catalog"),
    "hf-overrides": ("map", "shapes are those of the catalog: `catalog import-llm` makes others"),
    "calculate-kv-scales": ("switch", "scales of an FP8 cache cost no time here"),
    "optimization-level": ("word", "how far the engine compiles its steps"),
}
"""Flags that change what is measured, by what they would change."""

FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        **{name: Flag(takes, "model") for name, takes in _MODEL.items()},
        **{
            name: Flag(takes, "none") for takes, names in _NOTHING.items() for name in names.split()
        },
        **{name: Flag(takes, "unmodelled", why) for name, (takes, why) in _UNMODELLED.items()},
    }
)
SHORT: Mapping[str, str] = MappingProxyType(
    {
        "-tp": "tensor-parallel-size",
        "-pp": "pipeline-parallel-size",
        "-dp": "data-parallel-size",
        "-q": "quantization",
        "-dpl": "data-parallel-size-local",
        "-dpr": "data-parallel-start-rank",
        "-dpn": "data-parallel-rank",
        "-dpa": "data-parallel-address",
        "-dpp": "data-parallel-rpc-port",
        "-dpb": "data-parallel-backend",
        "-asc": "api-server-count",
        "-dcp": "decode-context-parallel-size",
        "-O": "optimization-level",
    }
)
REFUSED: Mapping[str, str] = MappingProxyType(
    {"config": "write its flags on the command line: no other file is read"}
)
