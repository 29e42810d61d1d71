"""Efficiencies: what kernels and serving engines make of a data sheet.

Kernel factors belong to a generation of accelerators, host overheads to an
engine. A factor is looked up from the most particular row to the most general:
engine and generation, engine, generation, neutral.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from factorysim.catalog.shipped import read_shipped
from factorysim.errors import CapacityError, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.catalog import Catalog

_FORMATS = ("fp32", "bf16", "fp8", "int8", "fp4")


@dataclass(frozen=True, slots=True)
class Efficiency:
    """Derating factors of one accelerator generation under one engine.

    Shares of peak rates unless a unit is in the name.
    """

    linear_compute: Mapping[str, float]
    """By format of the arithmetic."""
    expert_compute: Mapping[str, float]
    expert_padding_tokens: float
    """Tokens' worth of arithmetic lost per touched expert."""
    weight_bandwidth: float
    """Of memory, for weights and activations."""
    kv_bandwidth: float
    attention_compute: float
    """Prompts, of the BF16 peak."""
    decode_compute: float
    """Attention of decodes, of the BF16 peak."""
    block_s: float
    """Fixed time of the kernels of an attention or FFN block."""
    moe_s: float
    """Fixed time of an MoE layer on top."""
    link_bandwidth: float
    collective_s: float
    collective_hop_s: float
    host_step_s: float
    """Work of the engine on the host, per step."""
    sequence_s: float
    """Work of the engine on each sequence in a step, sampling above all; never hidden."""
    request_s: float
    """Per call at the door, before any queue: API, tokenizer, hand-over."""
    facts: tuple[str, ...]
    """Ids of the facts that this rests on."""


def efficiency(catalog: Catalog | None, generation: str, engine: str) -> Efficiency:
    """Efficiencies of a generation under an engine.

    Parameters
    ----------
    catalog
        Whose ``efficiency.ENGINE.GENERATION.NAME`` facts these are; the shipped one if None.
    generation
        As in `Device.generation`; one without rows takes the neutral factors.

    Raises
    ------
    CapacityError
        If no such engine is known.

    Examples
    --------
    >>> efficiency(None, "hopper", "generic").linear_compute["bf16"]
    0.8
    >>> efficiency(None, "rubin", "vllm").facts[-3]
    'efficiency.vllm.neutral.host_step_s'
    """
    values, engines = _shipped() if catalog is None else _told(catalog)
    if engine not in engines:
        near = difflib.get_close_matches(engine, engines, 1)
        cure = f'did you mean "{near[0]}"?' if near else "`generic` stands for any engine"
        raise CapacityError(
            Fault("serving", "engine", f'"{engine}"', f"one of {', '.join(engines)}", cure)
        )
    return _build(values, generation, engine)


def _build(values: Mapping[str, float], generation: str, engine: str) -> Efficiency:
    facts: list[str] = []

    def read(name: str) -> float:
        rows = ((engine, generation), (engine, "neutral"), ("generic", generation))
        for row in rows:
            key = f"efficiency.{row[0]}.{row[1]}.{name}"
            if key in values:
                break
        else:
            key = f"efficiency.generic.neutral.{name}"
        facts.append(key)
        return values[key]

    return Efficiency(
        linear_compute={form: read(f"linear_compute_{form}") for form in _FORMATS},
        expert_compute={form: read(f"expert_compute_{form}") for form in _FORMATS},
        expert_padding_tokens=read("expert_padding_tokens"),
        weight_bandwidth=read("weight_bandwidth"),
        kv_bandwidth=read("kv_bandwidth"),
        attention_compute=read("attention_compute"),
        decode_compute=read("decode_compute"),
        block_s=read("block_s"),
        moe_s=read("moe_s"),
        link_bandwidth=read("link_bandwidth"),
        collective_s=read("collective_s"),
        collective_hop_s=read("collective_hop_s"),
        host_step_s=read("host_step_s"),
        sequence_s=read("sequence_s"),
        request_s=read("request_s"),
        facts=tuple(facts),
    )


def _told(catalog: Catalog) -> tuple[dict[str, float], list[str]]:
    """Values of a catalog by fact id, and its engines: nothing that it was left without."""
    values = {
        key: float(fact.value)
        for key, fact in catalog.facts.items()
        if key.startswith("efficiency.") and isinstance(fact.value, int | float)
    }
    return values, sorted(catalog.ids("engines"))


@cache
def _shipped() -> tuple[dict[str, float], list[str]]:
    """Flatten the shipped rows: fact id to value; and name the engines."""
    tree = read_shipped("efficiency.yaml")["efficiency"]
    values = {
        f"efficiency.{engine}.{generation}.{name}": float(leaf["value"])
        for engine, generations in tree.items()
        for generation, leaves in generations.items()
        for name, leaf in leaves.items()
    }
    return values, sorted(tree)
