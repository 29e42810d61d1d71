"""What fits on some generations say of others: the factors of an engine anywhere.

A generation that nobody measured takes what its engine showed on those that were: how long
it works on a step and on a sequence, and what it makes of kernels, as a ratio to what kernel
tables tell of the generation. Generations count as draws from one distribution (random
effects, DerSimonian and Laird, "Meta-analysis in clinical trials", Controlled Clinical Trials
7, 1986) whose spread is assumed, since few were measured; the band is that of one more draw.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from factorysim.study.measured.door_fit import NAME as DOOR
from factorysim.study.measured.fit import Factor, kind_of
from factorysim.study.measured.power_fit import NAMES
from factorysim.study.measured.solve import CENTRAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from factorysim.catalog import Catalog
    from factorysim.catalog.fact import Fact

OF_ENGINES = ("sequence_s", "host_step_s", DOOR, *NAMES)
"""Factors that belong to an engine, whatever it runs on; powers to any."""
OF_KERNELS = ("linear_compute", "expert_compute", "weight_bandwidth")
"""Factors of which an engine keeps its ratio to kernel tables."""
SERVING = ("sglang", "trtllm", "vllm")
"""Engines that stand for one that nobody measured; others are of another kind or time."""
BETWEEN = 0.2
"""Standard deviation of the log of a factor between generations, and between engines: assumed."""


class Told(NamedTuple):
    """A fit's word on a factor elsewhere."""

    log: float
    spread: float
    """Its standard error."""
    factor: Factor


def pooled(factors: Sequence[Factor], catalog: Catalog) -> list[Factor]:
    """Say what each engine is taken to do on generations without a fit of their own.

    Parameters
    ----------
    factors
        As `fit_group` gives them, of all groups.
    catalog
        From which they were fitted: what it says of engines anywhere is the prior.

    Returns
    -------
    Factors of the generation ``neutral``, by engine; those of `SERVING` together give those of
    ``generic``. A factor that was fitted nowhere is not among them.
    """
    found: list[Factor] = []
    for engine in sorted({factor.engine for factor in factors}):
        mine = [factor for factor in factors if factor.engine == engine]
        found += of_engine(engine, mine, catalog)
    serving = [factor for factor in found if factor.engine in SERVING]
    return found + of_engine("generic", serving, catalog)


def of_engine(engine: str, factors: Sequence[Factor], catalog: Catalog) -> list[Factor]:
    """Say what an engine is taken to do anywhere, from fits of it or of others."""
    found: list[Factor] = []
    for name in (*OF_ENGINES, *(f"{kind}_ratio" for kind in OF_KERNELS)):
        told = [one for factor in factors for one in _told(name, factor, catalog)]
        if told and not _states(engine, name, catalog):
            found.append(_drawn(engine, name, told, _prior(engine, name, catalog)))
    return found


def _states(engine: str, name: str, catalog: Catalog) -> bool:
    """Whether an engine states the factor itself, so that nobody asks for its ratio."""
    own = f"efficiency.{engine}.neutral.{name.removesuffix('_ratio')}"
    return (
        name.endswith("_ratio")
        and engine != "generic"
        and any(fact.startswith(own) and not fact.endswith("_ratio") for fact in catalog.facts)
    )


def _told(name: str, factor: Factor, catalog: Catalog) -> Iterable[Told]:
    """Read what a fit says of a factor of its engine: itself, or its ratio to kernels."""
    spread = math.log(factor.high / factor.low) / (2 * CENTRAL)
    if factor.name == name:
        yield Told(math.log(factor.value), spread, factor)
    elif f"{kind_of(factor.name)}_ratio" == name:
        before = _prior(factor.engine, name, catalog)
        assert isinstance(before.value, int | float)
        yield Told(math.log(factor.value / factor.before * before.value), spread, factor)


def _prior(engine: str, name: str, catalog: Catalog) -> Fact:
    own = catalog.facts.get(f"efficiency.{engine}.neutral.{name}")
    return own or catalog.facts[f"efficiency.generic.neutral.{name}"]


def _drawn(engine: str, name: str, told: Sequence[Told], prior: Fact) -> Factor:
    """Weigh what is told with the prior, and widen the band to that of one more draw."""
    assert isinstance(prior.value, int | float)
    assert prior.low
    assert prior.high
    width = math.log(prior.high / prior.low) / (2 * CENTRAL)
    weights = [1.0 / (one.spread**2 + BETWEEN**2) for one in told]
    before = 1.0 / width**2
    total = before + sum(weights)
    said = sum(weight * one.log for weight, one in zip(weights, told, strict=True))
    mean = (before * math.log(prior.value) + said) / total
    spread = math.sqrt(1.0 / total + BETWEEN**2)
    return Factor(
        engine, "neutral", name, math.exp(mean), math.exp(mean - CENTRAL * spread),
        math.exp(mean + CENTRAL * spread), float(prior.value), prior.unit,
        max(one.factor.rows for one in told),
        tuple(sorted({source for one in told for source in one.factor.sources})),
    )  # fmt: skip
