"""What the rest of the program takes from the catalog: plain numbers in SI.

Each object names in `facts` the ids of the facts that it was built from, so
that a result can say on which unpublished numbers it rests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Sram:
    """Of a device whose memory is SRAM on the chip: what is behind it, and how far others are."""

    hop_s: float
    """One way from SRAM to SRAM of another chip."""
    one_hop_chips: int
    """Chips that reach each other in one hop."""
    reach_s: float
    """One way to the farthest chip within `reach_bytes`."""
    reach_bytes: float
    """SRAM of so many chips, in racks beside each other."""
    dram_bytes: float
    """Of the DRAM behind it, a chip's share."""
    dram_bandwidth: float
    """B/s, a chip's share."""


@dataclass(frozen=True, slots=True)
class Device:
    """Anything that serves LLMs: a GPU, an LPU, a TPU, a laptop's chip, a CPU."""

    id: str
    name: str
    vendor: str
    kind: str
    """``gpu``, ``lpu``, ``tpu``, ``accelerator``, ``laptop_soc``, ``desktop_soc``, ``cpu``."""
    generation: str
    """Whose efficiencies it has: ``hopper``, ``cdna3``, ``cpu_x86``; ``generic`` if unstated."""
    memory_bytes: float
    """As its vendor states it, mostly in GB; `capacity_bytes` is what it can hold."""
    memory_bandwidth: float
    """B/s, peak."""
    flops: Mapping[str, float] = field(hash=False)
    """Dense FLOP/s (op/s for int8) by ``fp32 bf16 fp8 fp4 int8``; only what exists."""
    tdp_w: float
    idle_w: float
    scale_up_bw: float | None
    """B/s per direction to its scale-up domain; None if it has none."""
    scale_out_bw: float | None
    """B/s per direction to the network; None if nothing is stated."""
    scale_up_latency_s: float | None
    """One way between two devices of a domain; None without one."""
    facts: tuple[str, ...]
    cores: int | None = None
    threads: int | None = None
    core_speed: float | None = None
    """CPU seconds of the reference core done per second by one of its cores."""
    smt_yield: float | None = None
    """Throughput of all threads over that of the cores alone; 1 without SMT."""
    sram: Sram | None = None
    """None: its memory is DRAM of some kind, and the chip stands for itself."""
    usable_memory_bytes: float | None = None
    """Where that is known to be another number than the vendor's."""

    @property
    def capacity_bytes(self) -> float:
        """Bytes that a program finds: usable ones if known, else as the vendor states."""
        usable = self.usable_memory_bytes
        return self.memory_bytes if usable is None else usable


@dataclass(frozen=True, slots=True)
class Vision:
    """The encoder that turns images into tokens of the prompt."""

    params: float
    patches_per_token: float
    """Patches that the encoder works on for a token that it hands to the LLM."""
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Llm:
    """Shapes of a language model; None where a field does not apply."""

    id: str
    name: str
    vendor: str
    layers: int
    hidden: int
    vocab: int
    tied_embeddings: bool
    context_length: int
    total_params: float
    active_params: float
    native_precision: str
    """Format of the published checkpoint: ``bf16``, ``fp8``, ``mxfp4``, ``int4``..."""
    attention: str
    """``gqa`` (MHA and windows included), ``mla``, or the name of a hybrid."""
    heads: int
    kv_heads: int | None
    head_dim: int | None
    kv_lora_rank: int | None
    q_lora_rank: int | None
    qk_nope_head_dim: int | None
    qk_rope_head_dim: int | None
    v_head_dim: int | None
    kv_layers: int
    """Layers whose KV grows with the whole context."""
    window: int | None
    """Tokens that a sliding-window layer keeps."""
    window_layers: int
    ffn_kind: Literal["dense", "moe"]
    ffn_matrices: int
    """3 with a gate, 2 without."""
    intermediate: int | None
    """Of a dense LLM's layers."""
    dense_layers: int
    """Layers with a dense FFN."""
    dense_intermediate: int | None
    """Their width."""
    moe_layers: int
    experts: int | None
    experts_active: int | None
    shared_experts: int | None
    expert_intermediate: int | None
    shared_intermediate: int | None
    """Width of one shared expert."""
    facts: tuple[str, ...]
    latent_size: int | None = None
    """Width in which routed experts work, where it is not `hidden`."""
    global_kv_heads: int | None = None
    """KV heads of the full layers, where the window layers differ from them."""
    global_head_dim: int | None = None
    k_eq_v_global: bool | None = None
    """Whether the full layers project keys and values with one matrix; the cache holds both."""
    kv_elements_per_token: float | None = None
    """As stated for all full layers together; for hybrids that no formula covers."""
    mamba_layers: int | None = None
    mamba_heads: int | None = None
    mamba_head_dim: int | None = None
    mamba_groups: int | None = None
    mamba_state_dim: int | None = None
    mamba_conv_kernel: int | None = None
    linear_attention_layers: int | None = None
    state_bytes_per_sequence: float | None = None
    """Recurrent state of a sequence, whatever its context."""
    topk: int | None = None
    """What sparse attention selects: tokens, or compressed entries; None: it is dense."""
    indexer_heads: int | None = None
    indexer_head_dim: int | None = None
    indexer_layers: int | None = None
    """Layers that score tokens; the others take over the selection of the one before."""
    index_key_bytes: float | None = None
    """Of a token and indexer layer in the cache; None: its elements are as wide as the KV's."""
    layers_ratio_4: int | None = None
    """Layers whose cache holds one entry for 4 tokens, of which the indexer selects `topk`."""
    layers_ratio_128: int | None = None
    """Layers whose cache holds one entry for 128 tokens, all of which are read."""
    o_lora_rank: int | None = None
    o_groups: int | None = None
    vision: Vision | None = None
    mtp_layers: int | None = None
    """Heads for multi-token prediction, a layer each; they are not among `layers`."""
    mtp_entry_params: int | None = None
    """Of the way into such a head, where this is one."""


@dataclass(frozen=True, slots=True)
class Part:
    """So many of one part in a rack."""

    id: str
    count: int
    per_tray: float
    """Mean over the trays that hold it; a fraction where it serves several."""


@dataclass(frozen=True, slots=True)
class Rack:
    """A rack, a server, or a pod of racks: what is in it."""

    id: str
    name: str
    kind: str
    """``gpu_rack``, ``lpu_rack``, ``cpu_rack``, ``server``, ``kv_storage_rack``,
    ``network_rack``, ``pod``."""
    accelerator: Part | None
    cpu: Part | None
    """Host CPUs; of a laptop, the chip itself; the main devices of a CPU rack."""
    nic: Part | None
    nic_bw: float | None
    """B/s per direction of one NIC."""
    dpu: Part | None
    scale_up_switch: Part | None
    ethernet_switch: Part | None
    trays: int
    """Of computing: accelerators, CPUs and NICs spread evenly over them."""
    switch_trays: int
    scale_up_domain: int
    """Accelerators that share NVLink-class links; 1 without any."""
    power_w: float | None
    """Of the whole rack under load."""
    memory_per_cpu: float | None
    flash_bytes: float | None
    read_latency_s: float | None
    """Of its flash."""
    network_bw: float | None
    """B/s per direction into the fabric, all NICs together."""
    link_latency_s: float | None
    """Added one way between its devices and the fabric; None if nothing special."""
    contents: tuple[tuple[str, int], ...]
    """Of a pod: ids of racks and their counts."""
    facts: tuple[str, ...]

    @property
    def main(self) -> Part | None:
        """The part that the rack is bought for: accelerators, else CPUs."""
        return self.accelerator or self.cpu


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch chip or box of either network."""

    id: str
    name: str
    kind: str
    ports: int
    port_bw: float
    """B/s per direction of one port."""
    bandwidth: float
    """B/s per direction, all ports together."""
    hop_latency_s: float
    power_w: float | None
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """Where a factory stands."""

    id: str
    name: str
    energy_price: float
    """Per kWh, in `currency`."""
    currency: str
    carbon_intensity: float
    """g CO2e/kWh."""
    pue: float
    facts: tuple[str, ...]
