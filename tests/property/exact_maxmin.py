"""Max-min rates from their definition, in exact fractions; slow, and written for tests only."""

from __future__ import annotations

from fractions import Fraction


def exact_rates(classes, bandwidth):
    """Hold what binds at the least level, and again, until all flows are held.

    Every flow is one of its own, so that classes are no shortcut here.
    """
    flows = [one for one in classes for _ in range(one.flows)]
    held = {}
    while len(held) < len(flows):
        rising = [i for i in range(len(flows)) if i not in held]
        levels = {}
        for link, size in enumerate(bandwidth):
            used = sum(rate * flows[i].links.count(link) for i, rate in held.items())
            pull = sum(flows[i].weight * flows[i].links.count(link) for i in rising)
            if pull:
                levels[link] = (Fraction(size) - used) / pull
        caps = {i: Fraction(flows[i].cap) / flows[i].weight for i in rising}
        least = min(*levels.values(), *caps.values())
        full = {link for link, level in levels.items() if level == least}
        for i in rising:
            if caps[i] == least or full & set(flows[i].links):
                held[i] = least * flows[i].weight
    rates, at = [], 0
    for one in classes:
        assert len({held[i] for i in range(at, at + one.flows)}) == 1
        rates.append(held[at])
        at += one.flows
    return rates
