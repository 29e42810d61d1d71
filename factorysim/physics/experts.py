"""Which experts a step touches, and how unevenly they load the devices that hold them."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple


def touched_experts(tokens: float, experts: int, active: int) -> float:
    """Count the experts of a layer that at least one of `tokens` chooses, in expectation.

    Each token chooses `active` of `experts`, all alike and independently:
    ``E * (1 - (1 - k/E)**T)``. One token reads its active path, a large batch
    nearly everything.

    Examples
    --------
    >>> round(touched_experts(1, 128, 4), 9)
    4.0
    >>> round(touched_experts(1024, 128, 4), 1)
    128.0
    """
    if tokens <= 0:
        return 0.0
    if active >= experts:
        return float(experts)
    return -experts * math.expm1(tokens * math.log1p(-active / experts))


def busiest_share(mean: float, groups: int) -> float:
    """Load of the busiest of `groups` devices, expected for a mean of `mean` random items.

    ``m + sqrt(2 m ln g)``: the maximum of g sub-Gaussian variables of variance m
    (Boucheron, Lugosi and Massart, "Concentration Inequalities", 2013, theorem
    2.5), a bound that is close for loads above about ln g.

    Examples
    --------
    >>> busiest_share(50.0, 1)
    50.0
    >>> round(busiest_share(50.0, 8), 1)
    64.4
    """
    return mean + math.sqrt(2.0 * mean * math.log(groups))


def groups_reached(experts: int, active: int, groups: int) -> float:
    """Count the groups of experts that one token's choice falls into, in expectation.

    A group of ``E/g`` experts is missed with probability ``C(E-E/g, k) / C(E, k)``.

    Examples
    --------
    >>> groups_reached(128, 4, 1)
    1.0
    >>> round(groups_reached(128, 4, 128), 9)
    4.0
    """
    size = experts // groups
    missed = math.comb(experts - size, active) / math.comb(experts, active)
    return groups * (1.0 - missed)


class Popularity(NamedTuple):
    """How unevenly tokens choose experts: all that the busiest group depends on."""

    chosen: tuple[float, ...]
    """Share of tokens that choose each expert, most popular first; they sum to `active`."""
    spread: float
    """Standard deviation of `chosen` over the experts."""

    def touched(self, tokens: float) -> float:
        """Count the experts that at least one of `tokens` chooses, in expectation."""
        if tokens <= 0:
            return 0.0
        return sum(
            1.0 if share >= 1.0 else -math.expm1(tokens * math.log1p(-share))
            for share in self.chosen
        )

    def busiest(self, tokens: float, groups: int) -> float:
        """Choices that fall on the busiest of `groups` of experts, in expectation, at most.

        Which experts share a group is taken as random. So the load of a group has the
        variance of the choices (Poisson, as in `busiest_share`) and that of a
        sample of ``E/g`` loads out of `E` without replacement, and the maximum of the
        groups is ``m + sqrt(2 v ln g)``. It is no less than the most popular expert with a
        fair part of the others, which decides under a heavy tail, nor more than the
        ``E/g`` most popular ones and the chance of choices.
        """
        experts, active = len(self.chosen), sum(self.chosen)
        size = experts // groups
        mean = tokens * active / groups
        if groups == 1:
            return mean
        among = (tokens * self.spread) ** 2 * size * (experts - size) / (experts - 1)
        load = mean + math.sqrt(2.0 * (mean + among) * math.log(groups))
        most = busiest_share(tokens * sum(self.chosen[:size]), groups)
        first = tokens * self.chosen[0]
        fair = first + (tokens * active - first) * (size - 1) / (experts - 1)
        return max(min(load, most), fair)


@cache
def popularity(experts: int, active: int, skew: float) -> Popularity:
    """Share of tokens that choose each expert, by Zipf's law with exponent `skew`.

    The r-th most popular expert is chosen in proportion to ``r**-skew``; none more than
    once by a token, so shares above 1 are cut and the rest is scaled up. An
    exponent `s` is the bounded power law of AIConfigurator's expert loads with
    ``alpha = 1 + 1/s`` and a maximum of ``E**s`` minima (NVIDIA aiconfigurator,
    power-law workload of MoE kernels).

    Examples
    --------
    >>> popularity(4, 2, 0.0).chosen
    (0.5, 0.5, 0.5, 0.5)
    >>> [round(share, 3) for share in popularity(4, 2, 1.0).chosen]
    [0.96, 0.48, 0.32, 0.24]
    """
    weights = [float(rank) ** -skew for rank in range(1, experts + 1)]
    full = 0  # experts that every token chooses
    while full < active and (active - full) * weights[full] > sum(weights[full:]):
        full += 1
    rest = sum(weights[full:])
    chosen = (1.0,) * full + tuple((active - full) * w / rest for w in weights[full:])
    mean = active / experts
    spread = math.sqrt(sum((share - mean) ** 2 for share in chosen) / experts)
    return Popularity(chosen, spread if skew else 0.0)
