"""Efficiencies: what kernels and serving engines make of a data sheet.

Kernel factors belong to a generation of accelerators, overheads to an engine. A factor
is looked up from the most particular row to the most general: engine and generation,
engine, generation, neutral. What an engine makes of kernels is a ratio, known from
generations where both were measured, and taken over to others.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.catalog.catalog import Catalog
    from factorysim.catalog.values import Device

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
    unpack_compute: float
    """Of the peak, to unpack weights of formats that cost it: two operations a weight."""
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
    power_active: float
    """Share of the span from idle to peak power that any step draws."""
    power_compute: float
    """Likewise of arithmetic, where it is busy throughout; the others likewise."""
    power_memory: float
    power_link: float
    facts: tuple[str, ...]
    """Ids of the facts that this rests on."""


def efficiency(catalog: Catalog, device: Device, engine: str) -> Efficiency:
    """Efficiencies of a device under an engine.

    Parameters
    ----------
    device
        Of whose generation the rows are; without such rows, products are as
        efficient as those of other generations at its balance of arithmetic and memory.

    Raises
    ------
    CapacityError
        If no such engine is known.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog(fitted=False)
    >>> efficiency(catalog, catalog.device("h100_sxm"), "generic").linear_compute["bf16"]
    0.8
    """
    engines = sorted(catalog.ids("engines"))
    if engine not in engines:
        near = difflib.get_close_matches(engine, engines, 1)
        cure = f'did you mean "{near[0]}"?' if near else "`generic` stands for any engine"
        raise CapacityError(
            Fault("serving", "engine", f'"{engine}"', f"one of {', '.join(engines)}", cure)
        )
    return _Lookup(catalog, device, engine).build()


class _Lookup:
    """Reads the factors of a device under an engine, and notes the facts that it read."""

    def __init__(self, catalog: Catalog, device: Device, engine: str) -> None:
        self._facts = catalog.facts
        self._device = device
        self._engine = engine
        self._read: list[str] = []

    def build(self) -> Efficiency:
        """Read all of them."""
        read = self._factor
        return Efficiency(
            linear_compute={form: self._linear(form) for form in _FORMATS},
            expert_compute={form: self._tuned("expert_compute", form) for form in _FORMATS},
            expert_padding_tokens=read("expert_padding_tokens"),
            unpack_compute=read("unpack_compute"),
            weight_bandwidth=self._tuned("weight_bandwidth"),
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
            power_active=read("power_active"),
            power_compute=read("power_compute"),
            power_memory=read("power_memory"),
            power_link=read("power_link"),
            facts=tuple(dict.fromkeys(self._read)),
        )

    def _own(self, name: str) -> float | None:
        """Read what the engine's rows say, on this generation or on any.

        The engine `generic` has none of its own: its rows are those of kernels.
        """
        if self._engine == "generic":
            return None
        for generation in (self._device.generation, "neutral"):
            value = self._value(f"{self._engine}.{generation}.{name}")
            if value is not None:
                return value
        return None

    def _factor(self, name: str) -> float:
        own = self._own(name)
        return self._of_kernels(name) if own is None else own

    def _of_kernels(self, name: str) -> float:
        """Read what holds under any engine."""
        value = self._value(f"generic.{self._device.generation}.{name}")
        return self._neutral(name) if value is None else value

    def _neutral(self, name: str) -> float:
        value = self._value(f"generic.neutral.{name}")
        if value is None:
            raise KeyError(name)
        return value

    def _tuned(self, kind: str, form: str | None = None) -> float:
        """Read a factor: the engine's own, or what kernels reach times what it makes of them."""
        name = kind if form is None else f"{kind}_{form}"
        own = self._own(name)
        return min(1.0, self._of_kernels(name) * self._ratio(kind)) if own is None else own

    def _ratio(self, kind: str) -> float:
        """Read what the engine makes of kernels; on some generations no engine does."""
        engine, generation = self._engine, self._device.generation
        for row in (f"{engine}.{generation}", f"generic.{generation}", f"{engine}.neutral"):
            value = self._value(f"{row}.{kind}_ratio")
            if value is not None:
                return value
        return self._neutral(f"{kind}_ratio")

    def _linear(self, form: str) -> float:
        """Read the efficiency of products, or tell it from the device's balance."""
        name = f"linear_compute_{form}"
        own = self._own(name)
        if own is not None:
            return own
        kernels = self._value(f"generic.{self._device.generation}.{name}")
        if kernels is None:
            kernels = self._by_balance(form)
        return min(1.0, kernels * self._ratio("linear_compute"))

    def _by_balance(self, form: str) -> float:
        """Tell what products reach: less where arithmetic outgrew memory."""
        most, knee = self._neutral("linear_compute"), self._neutral("linear_balance")
        falls = self._neutral("linear_exponent")
        balance = self._device.flops.get(form, 0.0) / self._device.memory_bandwidth
        return most * min(1.0, (knee / balance) ** falls) if balance else most

    def _value(self, key: str) -> float | None:
        name = f"efficiency.{key}"
        fact = self._facts.get(name)
        if fact is None or not isinstance(fact.value, int | float):
            return None
        self._read.append(name)
        return float(fact.value)
