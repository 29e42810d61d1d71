"""Erlang's loss: as many calls as replicas are let in, the gateway turns the others away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from factorysim import theory
from factorysim.study.theory import world
from factorysim.study.theory.observe import CLOSING, WARMUP, shares_of_time
from factorysim.study.theory.station import Station

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.study.theory.station import Expected, Skew, Values

LOST = "turned away, share of calls"
SERVERS, LOAD = 4, 3.0


def _loss(name: str, kind: str, calls: int) -> Station:
    def expected(skew: Skew) -> Mapping[str, Expected]:
        load = LOAD * skew.of("arrivals") * skew.of("service")
        busy = [theory.erlang_b_present(SERVERS, load, n) for n in range(SERVERS + 1)]
        return {
            LOST: theory.erlang_b(SERVERS, load),
            "at most 1 busy, share of time": busy[0] + busy[1],
            "all busy, share of time": busy[SERVERS],
            "busy, mean": load * (1.0 - theory.erlang_b(SERVERS, load)),
        }

    def sample(replication: int, skew: Skew) -> Values:
        rate = LOAD * skew.of("arrivals")
        spec = world.scenario(
            name,
            {"prompt": {"kind": kind, "mean": f"{skew.of('service')!r} s"}},
            replicas=SERVERS,
            arrivals={"process": "poisson", "rate": f"{rate!r} /s"},
            limit=calls,
            serving={"admission": {"queue_limit": {"calls": SERVERS, "per": "router"}}},
        )
        table = world.run(spec, replication, 1.2 * calls / rate + 100.0).columns("calls")
        came = world.by_arrival(table, "arrived_s")
        let_in = ~np.isnan(came["scheduled_s"])
        start_s, stop_s = WARMUP * calls / LOAD, CLOSING * calls / LOAD
        busy = shares_of_time(
            came["scheduled_s"][let_in], came["finished_s"][let_in], start_s, stop_s, SERVERS
        )
        return {
            LOST: 1.0 - float(np.mean(let_in[int(WARMUP * len(let_in)) :])),
            "at most 1 busy, share of time": float(busy[0] + busy[1]),
            "all busy, share of time": float(busy[SERVERS]),
            "busy, mean": float(busy @ np.arange(SERVERS + 1)),
        }

    source = "Kleinrock I, 3.6 (Erlang B): insensitive to the law of service"
    return Station(name, ("service", "arrivals"), source, expected, sample, calls)


def stations() -> list[Station]:
    """Stations without a queue."""
    return [_loss("erlang-b", "exponential", 3000), _loss("erlang-b-fixed", "deterministic", 2400)]
