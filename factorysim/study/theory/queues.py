"""Replicas that serve a call at a time from one queue: M/M/1, M/D/1, M/G/1, M/M/c."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from factorysim import theory
from factorysim.study.theory import world
from factorysim.study.theory.observe import Seen
from factorysim.study.theory.station import Station

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from factorysim.study.theory.station import Expected, Skew, Values

SERVICE_S = 1.0


def served(
    station: str,
    kind: str,
    rate: float,
    replication: int,
    calls: int,
    *,
    service_s: float = SERVICE_S,
    replicas: int = 1,
    cv: float | None = None,
) -> Seen:
    """Serve calls by a law of the scenario that is drawn for each."""
    law = {"kind": kind, "mean": f"{service_s!r} s", **({} if cv is None else {"cv": cv})}
    spec = world.scenario(
        station,
        {"prompt": law},
        replicas=replicas,
        arrivals={"process": "poisson", "rate": f"{rate!r} /s"},
        limit=calls,
    )
    horizon_s = 1.2 * calls / rate + 500.0 * service_s
    table = world.by_arrival(world.run(spec, replication, horizon_s).columns("calls"), "arrived_s")
    return Seen(table["arrived_s"], table["scheduled_s"], table["finished_s"])


def _station(
    name: str,
    source: str,
    kind: str,
    rate: float,
    calls: int,
    expected: Callable[[float, float, float], Mapping[str, float]],
    *,
    replicas: int = 1,
    cv: float | None = None,
    tails: tuple[float, ...] = (),
    counts: tuple[int, ...] = (),
    moments: bool = False,
) -> Station:
    """Give a station of replicas; `expected` takes its rate, and mean and cv of service.

    Parameters
    ----------
    moments
        Whether the spread of service, and that of waits, are compared too.
    """

    def values(skew: Skew) -> Mapping[str, Expected]:
        return expected(
            rate * skew.of("arrivals"),
            SERVICE_S * skew.of("service"),
            (1.0 if cv is None else cv) * skew.of("spread"),
        )

    def sample(replication: int, skew: Skew) -> Values:
        came = rate * skew.of("arrivals")
        service_s = SERVICE_S * skew.of("service")
        seen = served(
            name,
            kind,
            came,
            replication,
            calls,
            service_s=service_s,
            replicas=replicas,
            cv=None if cv is None else cv * skew.of("spread"),
        )
        found = {WAIT: float(seen.wait_s.mean()), SERVICE: float(seen.service_s.mean())}
        found |= {longer(t): seen.longer(t) for t in tails}
        if counts:
            found |= {there(n): seen.at_least(rate, n) for n in counts}
        if moments:
            assert cv is not None
            found[DEVIATION] = float(seen.service_s.std())
            mean = expected(rate, SERVICE_S, cv)[WAIT]
            # About the mean of theory: about their own, few waits vary less than they should.
            found[SECOND] = float(((seen.wait_s - mean) ** 2).mean())
        return found

    laws = ("service", "arrivals", *(("spread",) if moments else ()))
    return Station(name, laws, source, values, sample, calls)


WAIT = "wait, mean s"
SERVICE = "service, mean s"
DEVIATION = "service, standard deviation s"
SECOND = "wait, variance s2"


def longer(t: float) -> str:
    """Name a point of the distribution of waits."""
    return f"wait > {t:g} s, share of calls" if t else "wait > 0, share of calls"


def there(n: int) -> str:
    """Name a point of the distribution of the number present."""
    return f"{n} or more present, share of time"


def _mm1() -> Station:
    tails, counts = (0.0, 1.0, 3.0), (1, 2, 5)

    def expected(rate: float, service_s: float, _cv: float) -> Mapping[str, float]:
        return {
            WAIT: theory.mm1_wait(rate, service_s),
            SERVICE: service_s,
            **{longer(t): theory.mm1_wait_tail(rate, service_s, t) for t in tails},
            **{there(n): (rate * service_s) ** n for n in counts},
        }

    source = "Kleinrock, Queueing Systems I (1975), 3.2 and 5.12"
    return _station("mm1", source, "exponential", 0.5, 3200, expected, tails=tails, counts=counts)


def _md1() -> Station:
    tails, counts = (0.0, 0.5, 2.0), (1, 2)

    def expected(rate: float, service_s: float, _cv: float) -> Mapping[str, float]:
        none_comes = math.exp(-rate * service_s)
        return {
            WAIT: theory.md1_wait(rate, service_s),
            SERVICE: service_s,
            **{longer(t): theory.md1_wait_tail(rate, service_s, t) for t in tails},
            there(1): rate * service_s,
            there(2): rate * service_s - theory.mg1_one_present(rate, service_s, none_comes),
        }

    source = "Kleinrock I, 5.6; Erlang 1909 (waits)"
    return _station("md1", source, "deterministic", 0.6, 1500, expected, tails=tails, counts=counts)


def _mmc(name: str, replicas: int, rate: float, calls: int, tails: tuple[float, ...]) -> Station:
    counts = (replicas, replicas + 2)

    def expected(rate: float, service_s: float, _cv: float) -> Mapping[str, float]:
        return {
            WAIT: theory.mmc_wait(rate, service_s, replicas),
            SERVICE: service_s,
            **{longer(t): theory.mmc_wait_tail(rate, service_s, replicas, t) for t in tails},
            **{there(n): _or_more(rate, service_s, replicas, n) for n in counts},
        }

    source = "Kleinrock I, 3.5 (Erlang C); Gross and Harris (1998), 2.3"
    return _station(
        name, source, "exponential", rate, calls, expected,
        replicas=replicas, tails=tails, counts=counts,
    )  # fmt: skip


def _or_more(rate: float, service_s: float, servers: int, n: int) -> float:
    return 1.0 - sum(theory.mmc_present(rate, service_s, servers, k) for k in range(n))


def _mg1(name: str, kind: str, rate: float, cv: float, calls: int) -> Station:
    """Station of a law with moments and a transform of its own."""

    def expected(rate: float, service_s: float, cv: float) -> Mapping[str, float]:
        found = {
            WAIT: theory.mg1_wait(rate, service_s, cv),
            SERVICE: service_s,
            longer(0.0): rate * service_s,
        }
        if kind == "lognormal":
            return found
        third, transform = _moments(kind, service_s, cv, rate)
        three = (service_s, service_s**2 * (1.0 + cv**2), third)
        mean = theory.mg1_wait(rate, service_s, cv)
        about = (mean - theory.mg1_wait(base, SERVICE_S, spread)) ** 2
        return found | {
            DEVIATION: cv * service_s,
            SECOND: theory.mg1_wait_variance(rate, three) + about,
            there(2): rate * service_s - theory.mg1_one_present(rate, service_s, transform),
        }

    base, spread = rate, cv
    known = kind != "lognormal"
    source = "Kleinrock I, 5.6 (Pollaczek and Khinchine), 5.7; Takacs 1962 (variance)"
    return _station(
        name, source, kind, rate, calls, expected,
        cv=cv, tails=(0.0,), counts=(2,) if known else (), moments=known,
    )  # fmt: skip


def _moments(kind: str, mean: float, cv: float, rate: float) -> tuple[float, float]:
    """Third moment of a law of service, and its Laplace transform at `rate`."""
    if kind == "gamma":
        square = cv * cv
        third = mean**3 * (1.0 + square) * (1.0 + 2.0 * square)
        return third, (1.0 + rate * mean * square) ** (-1.0 / square)
    assert kind == "uniform"
    half = mean * cv * math.sqrt(3.0)
    low, high = mean - half, mean + half
    third = (high**4 - low**4) / 4.0 / (high - low)
    transform = (math.exp(-rate * low) - math.exp(-rate * high)) / (rate * (high - low))
    return third, transform


def stations() -> list[Station]:
    """Stations of replicas."""
    return [
        _mm1(),
        _md1(),
        _mmc("mmc", 3, 1.8, 2400, (0.0, 1.0)),
        _mmc("erlang-c", 8, 6.0, 3000, (0.0, 0.5)),
        _mg1("mg1-erlang4", "gamma", 0.6, 0.5, 2000),
        _mg1("mg1-gamma", "gamma", 0.5, 1.5, 4000),
        _mg1("mg1-uniform", "uniform", 0.6, 0.5, 2000),
        _mg1("mg1-lognormal", "lognormal", 0.5, 1.5, 4000),
    ]
