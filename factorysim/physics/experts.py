"""Which experts a step touches, and how unevenly they load the devices that hold them."""

from __future__ import annotations

import math


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
