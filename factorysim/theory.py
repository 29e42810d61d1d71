"""Closed forms of queueing theory: oracles for tests, lines for plots, lessons.

Rates are per second, times seconds. Every function refuses a station that is
not stable. [K] is Kleinrock, "Queueing Systems", volume I (1975) and II (1976);
[GH] Gross and Harris, "Fundamentals of Queueing Theory", 3rd edition (1998).
"""

from __future__ import annotations

import math


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


def _stable(utilization: float) -> None:
    if not 0.0 <= utilization < 1.0:
        raise ValueError(f"not stable: utilization {utilization:.4g} is not below 1")
