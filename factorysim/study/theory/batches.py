"""A replica that serves many calls at once: a static batch, and continuous batching.

Both decode at a constant time a step. A static batch is then the bulk server of
Bailey. Continuous batching lets a call in at each step: it is M/D/c, but that a call
waits for the step in progress, and that its prompt has a step of its own only beside
decodes. So its sojourns lie between those of two M/D/c queues, one step apart.
"""

from __future__ import annotations

from heapq import heapreplace
from typing import TYPE_CHECKING

import numpy as np

from factorysim import theory
from factorysim.study.theory import world
from factorysim.study.theory.hosts import SOJOURN
from factorysim.study.theory.observe import Seen
from factorysim.study.theory.queues import WAIT, longer
from factorysim.study.theory.station import Between, Station

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.study.theory.observe import Floats
    from factorysim.study.theory.station import Expected, Skew, Values

OUTSIDE = "calls that leave outside their own bounds, share"
ROUNDING_S = 1e-6
"""Far above that of seconds as floats and of the femtosecond of a lone prompt, far below a step."""
PLACES, STEP_S, TOKENS = 4, 0.01, 101
"""A call of so many tokens takes a hundred steps after its prompt: a second."""


def _served(
    station: str, scheduler: str, rate: float, step_s: float, replication: int, calls: int
) -> Seen:
    spec = world.scenario(
        station,
        {"decode": f"{step_s!r} s"},
        calls=(1, TOKENS),
        arrivals={"process": "poisson", "rate": f"{rate!r} /s"},
        limit=calls,
        serving={"scheduler": scheduler, "max_sequences": PLACES},
    )
    horizon_s = 1.2 * calls / rate + 500.0
    table = world.by_arrival(world.run(spec, replication, horizon_s).columns("calls"), "arrived_s")
    return Seen(table["arrived_s"], table["scheduled_s"], table["finished_s"])


def departures(came_s: Floats, service_s: float) -> Floats:
    """When each call leaves servers that take `service_s`, in order (Kiefer and Wolfowitz).

    A longer service, or a later arrival, lets nobody leave earlier: so bounds on both
    bound every departure.

    Examples
    --------
    >>> departures(np.zeros(5), 1.0)  # four at once, and the fifth after the first
    array([1., 1., 1., 1., 2.])
    """
    free = [0.0] * PLACES
    left_s = np.empty(len(came_s))
    for number, at_s in enumerate(came_s.tolist()):
        left_s[number] = max(at_s, free[0]) + service_s
        heapreplace(free, left_s[number])
    return left_s


def _static() -> Station:
    name, base, calls = "static-batch", 2.4, 3000

    def expected(skew: Skew) -> Mapping[str, Expected]:
        rate = base * skew.of("arrivals")
        service_s = (TOKENS - 1) * STEP_S * skew.of("step")
        bulk = theory.bulk_wait(rate, service_s, PLACES)
        return {
            WAIT: bulk.wait_s,
            SOJOURN: bulk.wait_s + service_s,
            longer(0.0): 1.0 - bulk.idle,
        }

    def sample(replication: int, skew: Skew) -> Values:
        rate, step_s = base * skew.of("arrivals"), STEP_S * skew.of("step")
        seen = _served(name, "static", rate, step_s, replication, calls)
        return {
            WAIT: float(seen.wait_s.mean()),
            SOJOURN: float(seen.sojourn_s.mean()),
            longer(0.0): seen.longer(0.0),
        }

    source = "Bailey, JRSS B 16 (1954): bulk service of up to b at once"
    return Station(name, ("step", "arrivals"), source, expected, sample, calls)


def _continuous() -> Station:
    name, base, calls = "continuous-batch", 2.8, 3000

    def expected(skew: Skew) -> Mapping[str, Expected]:
        rate, step_s = base * skew.of("arrivals"), STEP_S * skew.of("step")
        short_s, long_s = (TOKENS - 1) * step_s, TOKENS * step_s
        return {
            SOJOURN: Between(
                theory.mdc_wait(rate, short_s, PLACES) + short_s,
                theory.mdc_wait(rate, long_s, PLACES) + long_s + step_s,
            ),
            OUTSIDE: 0.0 if skew.of("step") == 1.0 else 1.0,
        }

    def sample(replication: int, skew: Skew) -> Values:
        rate, step_s = base * skew.of("arrivals"), STEP_S * skew.of("step")
        seen = _served(name, "vllm", rate, step_s, replication, calls)
        least_s = departures(seen.came_s, (TOKENS - 1) * STEP_S) - ROUNDING_S
        most_s = departures(seen.came_s, TOKENS * STEP_S) + STEP_S + ROUNDING_S
        outside = (seen.left_s < least_s) | (seen.left_s > most_s)
        return {SOJOURN: float(seen.sojourn_s.mean()), OUTSIDE: float(outside.mean())}

    source = "Crommelin 1932 (M/D/c); Kiefer and Wolfowitz, Trans. AMS 78 (1955): recursion"
    return Station(name, ("step", "arrivals"), source, expected, sample, calls)


def stations() -> list[Station]:
    """Stations of batches."""
    return [_static(), _continuous()]
