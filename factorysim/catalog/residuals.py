"""How far off predictions were: the model's own error, as bands of measured over predicted.

``residuals.CLASS.QUANTITY.LOAD.ratio`` bounds the central 80 % of what was measured over what
was predicted; `CLASS` is `seen` (rows that the factors were fitted to), `generation` or
`family` (rows of a generation or of a family of LLMs that was left out of the fit); `LOAD` is
a kind of load or `all`. ``residuals.fitted.ENGINE.GENERATION`` and ``residuals.families``
count the rows behind: what has none was not seen. ``factorysim calibrate --leave-out`` writes
all of it; none of it is written by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.catalog import Catalog, Device, Fact, Llm

Quantity: TypeAlias = Literal[
    "ttft", "tpot", "latency", "throughput", "power", "wall_power", "energy"
]
Class: TypeAlias = Literal["seen", "generation", "family"]
CLASSES: tuple[Class, ...] = ("seen", "generation", "family")
ALL = "all"
"""The band of a quantity whatever the load, for loads of which too few rows tell."""
FITTED_LEAST = 8
"""Rows of an engine on a generation that make it seen: as many as a fit asks for."""
_WORDS = {
    ("generation",): "unseen generation",
    ("family",): "unseen family of LLMs",
    ("generation", "family"): "unseen generation and family of LLMs",
}


class Band(NamedTuple):
    """Of measured over predicted: the central 80 %."""

    value: float
    low: float
    high: float
    rows: int
    sources: int
    load: str
    """Kind of load that it was found under, or `all`."""

    def around(self, got: float) -> tuple[float, float]:
        """Bounds of what would be measured where this is predicted.

        Examples
        --------
        >>> Band(1.0, 0.8, 1.5, 40, 3, "all").around(20.0)
        (16.0, 30.0)
        """
        return got * self.low, got * self.high

    @property
    def inverse(self) -> Band:
        """Of a rate, where this is of the time."""
        return self._replace(value=1 / self.value, low=1 / self.high, high=1 / self.low)


class ModelError(NamedTuple):
    """What is known of the error of predictions of one LLM on one device under one engine."""

    unseen: tuple[Class, ...]
    """What no fit has seen: nothing, the generation, the family, both."""
    reason: str
    """Why there is no band at all; blank where there is."""
    facts: dict[str, Fact]
    """By ``CLASS.QUANTITY.LOAD.KEY``."""

    @property
    def title(self) -> str:
        """Class in words."""
        return "none" if self.reason else _WORDS.get(self.unseen, "seen")

    def band(self, quantity: Quantity, load: str) -> Band | None:
        """Band of a quantity under a load, the widest of what applies; None: no rows tell.

        Of a load that too few rows tell of, the band is that of all loads; of a class that has
        no such quantity, that of the other.
        """
        if self.reason:
            return None
        classes: Sequence[Class] = self.unseen or ("seen",)
        told = [self._told(one, quantity, load) for one in classes]
        found = [one for one in told if one is not None]
        if not found:
            rest: Iterable[Class] = ("generation", "family") if self.unseen else ()
            found = [one for c in rest if (one := self._told(c, quantity, load)) is not None]
        if not found:
            return None
        widest = max(found, key=lambda one: one.high / one.low)
        return widest._replace(
            low=min(one.low for one in found), high=max(one.high for one in found)
        )

    def _told(self, one: Class, quantity: Quantity, load: str) -> Band | None:
        for regime in (load, ALL):
            key = f"{one}.{quantity}.{regime}"
            ratio, rows = self.facts.get(f"{key}.ratio"), self.facts.get(f"{key}.rows")
            if ratio is not None and rows is not None:
                assert ratio.low is not None
                assert ratio.high is not None
                size = len(ratio.source)
                return Band(_number(ratio), ratio.low, ratio.high, int(_number(rows)), size, regime)
        return None


def family_of(llm: Llm) -> str:
    """Name the architecture family of an LLM: its shape, whatever it is called.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> names = ("llama_2_70b", "llama_3_3_70b", "mixtral_8x7b")
    >>> [family_of(load_catalog().llm(name)) for name in names]
    ['dense.80x8192', 'dense.80x8192', 'moe.32x4096']
    """
    return f"{llm.ffn_kind}.{llm.layers}x{llm.hidden}"


def model_error(catalog: Catalog, device: Device, engine: str, llm: Llm) -> ModelError:
    """Find what is known of the error of predictions of an LLM on a device under an engine.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog()
    >>> llm = catalog.llm("llama_3_1_70b")
    >>> model_error(catalog, catalog.device("h200_sxm"), "vllm", llm).title
    'seen'
    >>> model_error(catalog, catalog.device("rubin_gpu"), "vllm", llm).title
    'unseen generation'
    >>> model_error(catalog, catalog.device("groq3_lpu"), "vllm", llm).reason[:30]
    'no measurement of serving on L'
    """
    prefix = "residuals."
    facts = {
        name.removeprefix(prefix): fact
        for name, fact in catalog.facts.items()
        if name.startswith(prefix)
    }
    key = f"{device.generation}.rows"
    compared = any(n.startswith("fitted.") and n.endswith(f".{key}") for n in facts)
    reason = "" if compared else _withheld(device)
    reason = reason or ("" if facts else "the catalog holds no residuals")
    fitted = facts.get(f"fitted.{engine}.{key}")
    family = facts.get(f"families.{family_of(llm)}.rows")
    unseen: list[Class] = []
    if fitted is None or _number(fitted) < FITTED_LEAST:
        unseen.append("generation")
    if family is None:
        unseen.append("family")
    return ModelError(tuple(unseen), reason, facts)


def _withheld(device: Device) -> str:
    """Say why nothing is known of a kind of device; blank of those like what was measured."""
    if device.kind == "cpu":
        return "no measurement of serving on CPUs was compared: how far off they are is unknown"
    if device.sram is not None:
        return "no measurement of serving on LPUs was compared: how far off they are is unknown"
    return ""


def _number(fact: Fact) -> float:
    assert isinstance(fact.value, int | float)
    return float(fact.value)
