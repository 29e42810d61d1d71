"""Closed forms of queueing theory: oracles for tests, lines for plots, lessons.

Rates are per second, times seconds. Every function refuses a station that is
not stable. [K] is Kleinrock, "Queueing Systems", volume I (1975) and II (1976);
[GH] Gross and Harris, "Fundamentals of Queueing Theory", 3rd edition (1998).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def little(rate: float, sojourn_s: float) -> float:
    """Mean number present, whatever the discipline (Little, Oper. Res. 9, 1961).

    Examples
    --------
    >>> little(2.0, 3.0)
    6.0
    """
    return rate * sojourn_s


def erlang_b(servers: int, load: float) -> float:
    """Share of arrivals that find all servers busy and are lost, M/G/c/c ([K] I, 3.6).

    Parameters
    ----------
    load
        Arrival rate times mean service time, erlang; any, since losses keep it stable.

    Examples
    --------
    >>> erlang_b(2, 1.0)
    0.2
    """
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """Share of arrivals that have to wait, M/M/c ([K] I, 3.5).

    Examples
    --------
    >>> round(erlang_c(1, 0.7), 12)  # with one server: its utilization
    0.7
    >>> round(erlang_c(2, 1.0), 12)
    0.333333333333
    """
    _stable(load / servers)
    blocked = erlang_b(servers, load)
    return blocked / (1.0 - load / servers * (1.0 - blocked))


def mm1_wait(rate: float, service_s: float) -> float:
    """Mean time in the queue, M/M/1 ([K] I, 3.2): ``rho * s / (1 - rho)``.

    Examples
    --------
    >>> mm1_wait(0.5, 1.0)
    1.0
    """
    return mg1_wait(rate, service_s, 1.0)


def mm1_sojourn(rate: float, service_s: float) -> float:
    """Mean time in the station, M/M/1 ([K] I, 3.2): ``1 / (mu - lambda)``.

    Examples
    --------
    >>> mm1_sojourn(0.5, 1.0)
    2.0
    """
    return mm1_wait(rate, service_s) + service_s


def mm1_wait_tail(rate: float, service_s: float, t: float) -> float:
    """Probability of waiting longer than `t`, M/M/1 FCFS ([K] I, 5.12).

    Examples
    --------
    >>> mm1_wait_tail(0.5, 1.0, 0.0)  # waits at all: rho
    0.5
    """
    return mmc_wait_tail(rate, service_s, 1, t)


def mm1_wait_quantile(rate: float, service_s: float, q: float) -> float:
    """Time that a share `q` of arrivals wait at most, M/M/1 FCFS.

    Examples
    --------
    >>> mm1_wait_quantile(0.5, 1.0, 0.4)  # half of them do not wait
    0.0
    >>> round(mm1_wait_quantile(0.5, 1.0, 0.95), 6)  # ln(0.5 / 0.05) / 0.5
    4.60517
    """
    return mmc_wait_quantile(rate, service_s, 1, q)


def mm1_sojourn_quantile(rate: float, service_s: float, q: float) -> float:
    """Time that a share `q` is in the station at most, M/M/1 FCFS: exponential ([K] I, 5.12).

    Examples
    --------
    >>> round(mm1_sojourn_quantile(0.5, 1.0, 0.5), 6)  # 2 ln 2
    1.386294
    """
    return -mm1_sojourn(rate, service_s) * math.log1p(-q)


def mmc_wait(rate: float, service_s: float, servers: int) -> float:
    """Mean time in the queue, M/M/c ([K] I, 3.5; [GH] 2.3).

    Examples
    --------
    >>> round(mmc_wait(1.0, 1.0, 2), 12)
    0.333333333333
    """
    load = rate * service_s
    return erlang_c(servers, load) * service_s / (servers - load)


def mmc_sojourn(rate: float, service_s: float, servers: int) -> float:
    """Mean time in the station, M/M/c.

    Examples
    --------
    >>> round(mmc_sojourn(1.0, 1.0, 2), 12)
    1.333333333333
    """
    return mmc_wait(rate, service_s, servers) + service_s


def mmc_wait_tail(rate: float, service_s: float, servers: int, t: float) -> float:
    """Probability of waiting longer than `t`, M/M/c FCFS ([GH] 2.3).

    Examples
    --------
    >>> round(mmc_wait_tail(1.0, 1.0, 2, 1.0), 6)  # exp(-1) / 3
    0.122626
    """
    load = rate * service_s
    return erlang_c(servers, load) * math.exp(-(servers - load) * t / service_s)


def mmc_wait_quantile(rate: float, service_s: float, servers: int, q: float) -> float:
    """Time that a share `q` of arrivals wait at most, M/M/c FCFS.

    Examples
    --------
    >>> round(mmc_wait_quantile(1.0, 1.0, 2, 0.9), 6)  # ln(10 / 3)
    1.203973
    """
    load = rate * service_s
    waiting = erlang_c(servers, load)
    return max(0.0, math.log(waiting / (1.0 - q))) * service_s / (servers - load)


def mg1_wait(rate: float, service_s: float, cv: float) -> float:
    """Mean time in the queue, M/G/1 FCFS: Pollaczek-Khinchine ([K] I, 5.6).

    Parameters
    ----------
    cv
        Standard deviation of service over its mean: 1 exponential, 0 fixed.

    Examples
    --------
    >>> mg1_wait(0.5, 1.0, 2.0)  # 0.5 * (1 + 4) / 2 / 0.5
    2.5
    """
    load = rate * service_s
    _stable(load)
    return load * service_s * (1.0 + cv * cv) / 2.0 / (1.0 - load)


def md1_wait(rate: float, service_s: float) -> float:
    """Mean time in the queue, M/D/1: half of what exponential service gives.

    Examples
    --------
    >>> md1_wait(0.5, 1.0)
    0.5
    """
    return mg1_wait(rate, service_s, 0.0)


def mg1_ps_sojourn(rate: float, service_s: float, size_s: float | None = None) -> float:
    """Mean time in the station under processor sharing, M/G/1-PS ([K] II, 4.4).

    It depends on the mean of service alone, and is proportional to what a job
    asks for: ``size / (1 - rho)``.

    Parameters
    ----------
    size_s
        Service that the job asks for; the mean if None.

    Examples
    --------
    >>> mg1_ps_sojourn(0.5, 1.0)
    2.0
    >>> mg1_ps_sojourn(0.5, 1.0, size_s=3.0)
    6.0
    """
    load = rate * service_s
    _stable(load)
    return (service_s if size_s is None else size_s) / (1.0 - load)


def mm1_present(rate: float, service_s: float, n: int) -> float:
    """Probability of `n` in the station, M/M/1 ([K] I, 3.2): geometric.

    It holds for M/G/1-PS too, whatever the law of service ([K] II, 4.4).

    Examples
    --------
    >>> mm1_present(0.5, 1.0, 0), mm1_present(0.5, 1.0, 1)
    (0.5, 0.25)
    """
    return mmc_present(rate, service_s, 1, n)


def mmc_present(rate: float, service_s: float, servers: int, n: int) -> float:
    """Probability of `n` in the station, M/M/c ([K] I, 3.5).

    Examples
    --------
    >>> round(mmc_present(1.0, 1.0, 2, 0), 12), round(mmc_present(1.0, 1.0, 2, 3), 12)
    (0.333333333333, 0.083333333333)
    """
    load = rate * service_s
    # All busy and nobody waiting: from there on it is geometric, and before, Poisson's ratios.
    full = erlang_c(servers, load) * (1.0 - load / servers)
    if n >= servers:
        return full * (load / servers) ** (n - servers)
    return full * math.perm(servers, servers - n) / load ** (servers - n)


def erlang_b_present(servers: int, load: float, n: int) -> float:
    """Probability of `n` servers busy where who finds none free is lost, M/G/c/c ([K] I, 3.6).

    Examples
    --------
    >>> erlang_b_present(2, 1.0, 2) == erlang_b(2, 1.0)
    True
    >>> erlang_b_present(2, 1.0, 0)
    0.4
    """
    terms = [load**k / math.factorial(k) for k in range(servers + 1)]
    return terms[n] / sum(terms)


def mg1_wait_variance(rate: float, moments: tuple[float, float, float]) -> float:
    """Variance of the time in the queue, M/G/1 FCFS (Takacs, Oper. Res. 10, 1962; [K] I, 5.7).

    Parameters
    ----------
    moments
        First, second and third of service, s, s2, s3.

    Examples
    --------
    Exponential service: a wait is 0, or exponential of mean 2, each with probability 1/2.

    >>> mg1_wait_variance(0.5, (1.0, 2.0, 6.0))
    3.0
    """
    first, second, third = moments
    _stable(rate * first)
    free = 1.0 - rate * first
    mean = rate * second / 2.0 / free
    return mean * mean + rate * third / 3.0 / free


def mg1_one_present(rate: float, service_s: float, transform: float) -> float:
    """Probability of one in the station, M/G/1 ([K] I, 5.6: z-transform of the number left behind).

    Parameters
    ----------
    transform
        Laplace transform of service at the arrival rate: of no arrival during a service.

    Examples
    --------
    >>> round(mg1_one_present(0.5, 1.0, 1 / 1.5), 12)  # exponential: geometric
    0.25
    """
    load = rate * service_s
    _stable(load)
    return (1.0 - load) * (1.0 - transform) / transform


def md1_wait_tail(rate: float, service_s: float, t: float) -> float:
    """Probability of waiting longer than `t`, M/D/1 FCFS (Erlang 1909; [GH] 5.1.5).

    Raises
    ------
    ValueError
        Beyond 20 service times, where the alternating sum has lost its digits.

    Examples
    --------
    >>> round(md1_wait_tail(0.5, 1.0, 0.0), 12), round(md1_wait_tail(0.5, 1.0, 1.0), 6)
    (0.5, 0.175639)
    """
    load = rate * service_s
    _stable(load)
    steps = t / service_s
    if steps > 20:
        raise ValueError(f"{steps:g} service times, expected at most 20")
    terms = []
    for k in range(math.floor(steps) + 1):
        x = load * (k - steps)
        terms.append(x**k / math.factorial(k) * math.exp(-x))
    return 1.0 - (1.0 - load) * math.fsum(terms)


def mh2_wait_tail(rate: float, services_s: tuple[float, float], share: float, t: float) -> float:
    """Probability of waiting longer than `t`, M/H2/1 FCFS: two exponentials mixed.

    The transform of Pollaczek and Khinchine, inverted ([K] I, 5.7): its two poles are
    the roots of a quadratic.

    Parameters
    ----------
    services_s
        Mean of either exponential.
    share
        Of the jobs that are of the first.

    Examples
    --------
    >>> round(mh2_wait_tail(0.5, (1.0, 1.0), 0.3, 2.0), 9) == round(
    ...     mm1_wait_tail(0.5, 1.0, 2.0), 9)
    True
    """
    mean = share * services_s[0] + (1.0 - share) * services_s[1]
    load = rate * mean
    _stable(load)
    fast, slow = 1.0 / services_s[0], 1.0 / services_s[1]
    # Of a job's service, what is left when somebody comes: fast with this share of the load.
    left = share * services_s[0] / mean
    # (s + fast)(s + slow) - load * (s (left fast + (1 - left) slow) + fast slow) = 0
    half = (fast + slow - load * (left * fast + (1.0 - left) * slow)) / 2.0
    spread = math.sqrt(half * half - fast * slow * (1.0 - load))
    if spread == 0.0:
        raise ValueError("two equal poles")
    tail = 0.0
    for pole, other in ((-half + spread, -half - spread), (-half - spread, -half + spread)):
        weight = (1.0 - load) * (pole + fast) * (pole + slow) / (pole - other)
        tail -= weight / pole * math.exp(pole * t)
    return tail


def mdc_wait(rate: float, service_s: float, servers: int) -> float:
    """Mean time in the queue, M/D/c FCFS (Crommelin 1932; Tijms, "Stochastic Models", 2003, 9.6).

    Whoever is there now is gone, or at a server, one service later: the number present
    is a Markov chain at instants that far apart.

    Examples
    --------
    >>> round(mdc_wait(0.5, 1.0, 1), 9) == md1_wait(0.5, 1.0)
    True
    """
    load = rate * service_s
    _stable(load / servers)
    come = _poisson(load)
    present = _stationary(lambda there: max(there - servers, 0), come)
    waiting = sum(max(n - servers, 0) * p for n, p in enumerate(present))
    return waiting / rate


class Bulk(NamedTuple):
    """A server of batches, M/D(1,b)/1: whoever waits is taken together, up to b."""

    wait_s: float
    """Mean time in the queue."""
    idle: float
    """Share of the time, and so of the arrivals, at which nobody is served."""


def bulk_wait(rate: float, service_s: float, batch: int) -> Bulk:
    """Queue of a server that takes up to `batch` at once (Bailey, JRSS B 16, 1954; [K] I, 4.6).

    A service lasts the same whatever is in it. A server that is free takes the first
    who comes, alone. Solved as the Markov chain of the number left behind by a batch.

    Examples
    --------
    >>> round(bulk_wait(0.5, 1.0, 1).wait_s, 9) == md1_wait(0.5, 1.0)
    True
    >>> round(bulk_wait(0.5, 1.0, 1).idle, 9)
    0.5
    """
    load = rate * service_s
    _stable(load / batch)
    left = _stationary(lambda there: max(there - batch, 0), _poisson(load))
    waiting = sum(max(n - batch, 0) * p for n, p in enumerate(left))
    cycle_s = service_s + left[0] / rate
    # Those who are left behind wait for the whole service, those who come for half of it.
    area = waiting * service_s + rate * service_s * service_s / 2.0
    return Bulk(area / cycle_s / rate, left[0] / rate / cycle_s)


def open_rates(outside: Sequence[float], routing: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """Arrivals a second at each station of an open network (Jackson, Oper. Res. 5, 1957).

    Parameters
    ----------
    outside
        Arrivals a second from outside, by station.
    routing
        Share of what leaves station i that goes to station j: ``routing[i][j]``.

    Examples
    --------
    Half of those who leave the first go to the second, and all come back.

    >>> [round(rate, 12) for rate in open_rates((1.0, 0.0), ((0.0, 0.5), (1.0, 0.0)))]
    [2.0, 1.0]
    """
    import numpy as np

    shares = np.array(routing, dtype=float)
    rates = np.linalg.solve(np.eye(len(outside)) - shares.T, np.array(outside, dtype=float))
    return tuple(rates.tolist())


class Closed(NamedTuple):
    """A closed network of single servers and think time."""

    rate: float
    """Rounds a second."""
    sojourns_s: tuple[float, ...]
    """Mean time at each station, all visits of a round together."""
    present: tuple[float, ...]
    """Mean number at each station."""


def mva(population: int, demands_s: Sequence[float], think_s: float = 0.0) -> Closed:
    """Exact mean value analysis (Reiser and Lavenberg, JACM 27, 1980).

    It holds for processor sharing with any law, for FCFS with exponential service, and
    for any law of think time (BCMP: Baskett et al., JACM 22, 1975).

    Parameters
    ----------
    demands_s
        Visits of a round times mean service, by station.

    Examples
    --------
    >>> mva(2, (1.0,), 1.0).rate  # 1 - 1/5: the machine repairman
    0.8
    """
    present = [0.0] * len(demands_s)
    rate, sojourns = 0.0, list(demands_s)
    for customers in range(1, population + 1):
        sojourns = [
            demand * (1.0 + there) for demand, there in zip(demands_s, present, strict=True)
        ]
        rate = customers / (think_s + sum(sojourns))
        present = [rate * sojourn for sojourn in sojourns]
    return Closed(rate, tuple(sojourns), tuple(present))


def cyclic_rate(population: int, service_s: float, other_s: float, servers: float) -> float:
    """Give rounds a second of customers who go to and fro between one server and several.

    The chain of the number at the other station, by birth and death (Gordon and Newell,
    Oper. Res. 15, 1967). It holds where the one server is exponential, and the others are
    too, or shared by all who are there, whatever their law (BCMP, as in `mva`).

    Parameters
    ----------
    service_s
        Mean service of the one server.
    other_s
        Mean service of one of the others, alone.
    servers
        How many of those; not whole where customers share what each could use a part of.

    Examples
    --------
    >>> round(cyclic_rate(2, 1.0, 1.0, 2), 12)  # nobody waits for the others: as in `mva`
    0.8
    >>> round(cyclic_rate(2, 1.0, 1.0, 1), 12)  # two of a kind: one of three states idles each
    0.666666666667
    """
    # At the other station there are n; one comes every service_s, and one of them goes.
    terms = [1.0]
    for n in range(1, population + 1):
        terms.append(terms[-1] * other_s / service_s / min(float(n), servers))
    return (1.0 - terms[-1] / sum(terms)) / service_s


def closed_present(
    population: int, demands_s: Sequence[float], think_s: float, station: int, n: int
) -> float:
    """Probability of `n` at a station of the network of `mva` (Buzen, CACM 16, 1973).

    Examples
    --------
    >>> round(closed_present(2, (1.0,), 1.0, 0, 0), 12)  # the server idles: 1 - rate
    0.2
    """
    others = [demand for k, demand in enumerate(demands_s) if k != station]
    rest = _constants(population, others, think_s)
    whole = _constants(population, demands_s, think_s)
    return demands_s[station] ** n * rest[population - n] / whole[population]


def _constants(population: int, demands_s: Sequence[float], think_s: float) -> list[float]:
    """Normalising constants of 0 to `population` customers, by convolution."""
    constants = [think_s**n / math.factorial(n) for n in range(population + 1)]
    for demand in demands_s:
        for n in range(1, population + 1):
            constants[n] += demand * constants[n - 1]
    return constants


def _poisson(mean: float) -> list[float]:
    """Probabilities of 0, 1, ... arrivals, to where they no longer matter."""
    terms = [math.exp(-mean)]
    while len(terms) <= mean or terms[-1] > 1e-17:
        terms.append(terms[-1] * mean / len(terms))
    return terms


def _stationary(stay: Callable[[int], int], come: list[float]) -> list[float]:
    """Long-run probabilities of a chain that goes from n to ``stay(n)`` plus a draw of `come`."""
    import numpy as np

    size = 64
    while True:
        moves = np.zeros((size, size))
        for there in range(size):
            first = stay(there)
            row = np.array(come[: size - first])
            moves[there, first : first + len(row)] = row
            moves[there, -1] += 1.0 - row.sum()
        moves -= np.eye(size)
        moves[:, 0] = 1.0
        ones = np.zeros(size)
        ones[0] = 1.0
        found = np.linalg.solve(moves.T, ones)
        if found[-len(come) :].sum() < 1e-13:
            return [max(p, 0.0) for p in found.tolist()]
        size *= 2


def _stable(utilization: float) -> None:
    if not 0.0 <= utilization < 1.0:
        raise ValueError(f"not stable: utilization {utilization:.4g} is not below 1")
