"""Which experts a step touches, and how unevenly they load the devices that hold them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]


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


def touched_by_shares(tokens: float, shares: Floats) -> float:
    """Count the experts touched where expert e serves ``shares[e]`` of the tokens.

    Parameters
    ----------
    shares
        Shape ``(experts,)``, each in 0..1, of sum k (the experts a token chooses).
        Skew lowers the result: popular experts are shared by more tokens.
    """
    return float(np.sum(1.0 - (1.0 - shares) ** tokens))


def power_law_shares(experts: int, active: int, alpha: float, spread: float = 100.0) -> Floats:
    """Shares of tokens per expert drawn at the quantiles of a bounded power law.

    Density proportional to ``x**-alpha`` between 1 and `spread`, the form that
    aiconfigurator uses for uneven experts (alpha 1.01 to 1.2 there). An expert
    cannot serve more than every token: what exceeds 1 goes to the others.

    Returns
    -------
    Shape ``(experts,)``, falling, of sum `active`.

    Raises
    ------
    ValueError
        If alpha is 1, where the form has no such inverse.
    """
    if alpha == 1.0:
        raise ValueError("alpha = 1 has no power-law inverse; take 1.01")
    u = (np.arange(experts) + 0.5) / experts
    low, high = 1.0, spread ** (1.0 - alpha)
    weights = np.sort((low + (high - low) * u) ** (1.0 / (1.0 - alpha)))[::-1]
    shares: Floats = active * weights / weights.sum()
    while shares.max() > 1.0 + 1e-12:
        full = shares >= 1.0
        rest = (active - full.sum()) / shares[~full].sum()
        shares = np.where(full, 1.0, shares * rest)
    return shares


def busiest_group(shares: Floats, groups: int) -> float:
    """Load of the busiest of `groups` equal groups of experts over the mean: 1 if even.

    Experts are placed in the order given, as without a load balancer.
    """
    loads = shares.reshape(groups, -1).sum(axis=1)
    return float(loads.max() / loads.mean())


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
