"""A tool host: processor sharing (M/G/1-PS), and whole cores (M/H2/1, M/M/c, M/D/c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim import theory
from factorysim.study.theory import world
from factorysim.study.theory.observe import Seen
from factorysim.study.theory.queues import WAIT, longer, there
from factorysim.study.theory.station import Station
from factorysim.workload.session import ToolNode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from factorysim.study.theory.observe import Floats
    from factorysim.study.theory.station import Expected, Skew, Values
    from factorysim.workload.session import Node

SERVICE_S = 1.0
SOJOURN = "sojourn, mean s"
HYPER = ((0.5, 2.5), 0.75)
"""Means of two exponentials, and the share of the first: mean 1, cv 1.46."""
_IDLE = {"decode": "1 ms"}
"""Of the replica beside the host, which nobody calls."""


class Ran(NamedTuple):
    """Tools that ran on a host, and what each had asked for."""

    seen: Seen
    asked_s: Floats
    """Alone on its cores."""


def exponential(draw: np.random.Generator) -> float:
    """Draw a service of mean 1."""
    return draw.exponential(SERVICE_S)


def fixed(_draw: np.random.Generator) -> float:
    """Give a service of 1."""
    return SERVICE_S


def hyperexponential(draw: np.random.Generator) -> float:
    """Draw a service of mean 1: a quarter of them are long."""
    (short, long), share = HYPER
    return draw.exponential(short if draw.random() < share else long)


def ran(
    station: str,
    discipline: str,
    law: Callable[[np.random.Generator], float],
    rate: float,
    replication: int,
    jobs: int,
    *,
    service: float = 1.0,
    at_once: int = 1,
) -> Ran:
    """Run tools that each keep their share of one host busy, whichever host it is.

    Parameters
    ----------
    service
        Factor on what each asks for.
    at_once
        Jobs that fit side by side.
    """
    spec = world.scenario(station, _IDLE, discipline=discipline)
    cores = world.whole_host(spec, at_once)
    speed = world.host_of(spec).speed

    def nodes(draw: np.random.Generator) -> Sequence[Node]:
        work_s = law(draw) * service * cores * speed
        return [ToolNode("tool", cpu_s=work_s, cores=cores)]

    demand = world.poisson_sessions(station, rate, jobs, replication, nodes)
    table = world.run(spec, replication, 1.2 * jobs / rate + 500.0, demand).columns("tools")
    tools = world.by_arrival(table, "ready_s")
    seen = Seen(tools["ready_s"], tools["started_s"], tools["finished_s"])
    return Ran(seen, tools["cpu_s"] / (cores * speed))


def _shared(name: str, law: Callable[[np.random.Generator], float], jobs: int) -> Station:
    """Give a host whose cores all jobs share."""
    rate = 0.6

    def expected(skew: Skew) -> Mapping[str, Expected]:
        came, service_s = rate * skew.of("arrivals"), SERVICE_S * skew.of("work")
        sojourn_s = theory.mg1_ps_sojourn(came, service_s)
        found: dict[str, Expected] = {SOJOURN: sojourn_s}
        found |= {there(n): (came * service_s) ** n for n in (1, 2, 4)}
        # What a job takes over what it asked for is the same for short and long ones.
        found |= dict.fromkeys(_slowdowns(law), sojourn_s / service_s)
        return found

    def sample(replication: int, skew: Skew) -> Values:
        came = rate * skew.of("arrivals")
        seen, asked_s = ran(name, "ps", law, came, replication, jobs, service=skew.of("work"))
        found = {SOJOURN: float(seen.sojourn_s.mean())}
        found |= {there(n): seen.at_least(rate, n) for n in (1, 2, 4)}
        kept_s = asked_s[len(asked_s) - len(seen.sojourn_s) :]
        for metric, (least, most) in _slowdowns(law).items():
            some = (kept_s >= least) & (kept_s < most)
            found[metric] = float(seen.sojourn_s[some].sum() / kept_s[some].sum())
        return found

    source = "Kleinrock, Queueing Systems II (1976), 4.4: insensitive to the law of work"
    return Station(name, ("work", "arrivals"), source, expected, sample, jobs)


def _cores(name: str, jobs: int) -> Station:
    """Give a shared host of which one job can use a third."""
    rate, cores = 2.1, 3

    def expected(skew: Skew) -> Mapping[str, Expected]:
        came, service_s = rate * skew.of("arrivals"), SERVICE_S * skew.of("work")
        below = [theory.mmc_present(came, service_s, cores, n) for n in range(6)]
        return {
            SOJOURN: theory.mmc_sojourn(came, service_s, cores),
            **{there(n): 1.0 - sum(below[:n]) for n in (2, 4, 6)},
        }

    def sample(replication: int, skew: Skew) -> Values:
        came, work = rate * skew.of("arrivals"), skew.of("work")
        seen, _ = ran(name, "ps", exponential, came, replication, jobs, service=work, at_once=cores)
        return {
            SOJOURN: float(seen.sojourn_s.mean()),
            **{there(n): seen.at_least(rate, n) for n in (2, 4, 6)},
        }

    source = "Kleinrock I, 3.5: exponential work, so the number present is that of M/M/c"
    return Station(name, ("work", "arrivals"), source, expected, sample, jobs)


def _slowdowns(law: Callable[[np.random.Generator], float]) -> dict[str, tuple[float, float]]:
    """Ranges of work, in seconds, over which slowdown is compared."""
    if law is fixed:
        return {}
    return {
        "slowdown of jobs below 1 s": (0.0, SERVICE_S),
        "slowdown of jobs above 1 s": (SERVICE_S, np.inf),
    }


def _whole_cores(
    name: str,
    source: str,
    law: Callable[[np.random.Generator], float],
    rate: float,
    jobs: int,
    expected: Callable[[float, float], Mapping[str, float]],
    *,
    at_once: int = 1,
    tails: tuple[float, ...] = (0.0,),
) -> Station:
    """Give a host where a job holds its cores to its end."""

    def values(skew: Skew) -> Mapping[str, Expected]:
        return expected(rate * skew.of("arrivals"), SERVICE_S * skew.of("work"))

    def sample(replication: int, skew: Skew) -> Values:
        came, service = rate * skew.of("arrivals"), skew.of("work")
        seen, _ = ran(name, "fcfs", law, came, replication, jobs, service=service, at_once=at_once)
        return {
            WAIT: float(seen.wait_s.mean()),
            SOJOURN: float(seen.sojourn_s.mean()),
            **{longer(t): seen.longer(t) for t in tails},
        }

    return Station(name, ("work", "arrivals"), source, values, sample, jobs)


def _hyper() -> Station:
    tails = (0.0, 2.0, 6.0)
    means, share = HYPER
    second = 2.0 * (share * means[0] ** 2 + (1.0 - share) * means[1] ** 2)
    cv = (second - 1.0) ** 0.5

    def expected(rate: float, service_s: float) -> Mapping[str, float]:
        wait_s = theory.mg1_wait(rate, service_s, cv)
        scaled = (means[0] * service_s, means[1] * service_s)
        return {
            WAIT: wait_s,
            SOJOURN: wait_s + service_s,
            **{longer(t): theory.mh2_wait_tail(rate, scaled, share, t) for t in tails},
        }

    source = "Kleinrock I, 5.6 (mean), 5.7 (distribution)"
    return _whole_cores("mh2-host", source, hyperexponential, 0.5, 5000, expected, tails=tails)


def _mm4() -> Station:
    tails = (0.0, 1.0)

    def expected(rate: float, service_s: float) -> Mapping[str, float]:
        return {
            WAIT: theory.mmc_wait(rate, service_s, 4),
            SOJOURN: theory.mmc_sojourn(rate, service_s, 4),
            **{longer(t): theory.mmc_wait_tail(rate, service_s, 4, t) for t in tails},
        }

    source = "Kleinrock I, 3.5 (Erlang C)"
    return _whole_cores(
        "mmc-host", source, exponential, 2.8, 4000, expected, at_once=4, tails=tails
    )


def _md4() -> Station:
    def expected(rate: float, service_s: float) -> Mapping[str, float]:
        wait_s = theory.mdc_wait(rate, service_s, 4)
        return {WAIT: wait_s, SOJOURN: wait_s + service_s}

    source = "Crommelin 1932; Tijms, Stochastic Models (2003), 9.6"
    return _whole_cores("mdc-host", source, fixed, 3.2, 4000, expected, at_once=4, tails=())


def stations() -> list[Station]:
    """Stations of one tool host."""
    return [
        _shared("ps-hyperexponential", hyperexponential, 3000),
        _shared("ps-fixed", fixed, 2000),
        _cores("ps-cores", 3000),
        _hyper(),
        _mm4(),
        _md4(),
    ]
