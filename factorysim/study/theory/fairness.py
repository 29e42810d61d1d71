"""Flows on random networks: each must be held back by a full link, or by its own cap.

The fabric of the simulator sends them, and only what arrived at two instants is read
off: bytes over time are the rates. The certificate of Bertsekas and Gallager then
looks at the rates and at nothing else, and only max-min rates have one.
"""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import networkx as nx
import numpy as np

from factorysim.graph.factory import LinkTable, Path
from factorysim.physics.maxmin import Class, certificate
from factorysim.rng import stream
from factorysim.sim.clock import ARRIVAL, FS_PER_S, Clock
from factorysim.sim.fabric import Fabric
from factorysim.store.memory import MemorySink
from factorysim.study.theory.station import Between, Station
from factorysim.study.theory.world import seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from factorysim.study.theory.station import Expected, Skew, Values

NAME = "max-min"
NODES, DEGREE, FLOWS = 16, 3, 40
LOOKS_S = ((0.25, 0.5), (1.0, 1.25))
"""Between which bytes are read: before and after the last third of the flows have started."""
LATE_S = 0.75
SIZE_BYTES = 10**14
"""No flow ends while rates are read."""
HELD = "flows that a full link or their cap holds, share"
FULLEST = "fullest link, of its bandwidth"
FASTEST = "fastest flow, of its cap"
TOLERANCE = 1e-6
"""Relative, of rates that are read off bytes."""


class Network(NamedTuple):
    """Links with their bandwidths, and flows over shortest paths, some of them capped."""

    bandwidth: tuple[float, ...]
    paths: tuple[tuple[int, ...], ...]
    caps: tuple[float, ...]
    """B/s; of most flows above every link."""


def random_network(replication: int) -> Network:
    """Draw a regular random graph, a bandwidth for each of its links, and flows."""
    draw = stream(seed_of(NAME), "network", replication)
    graph = nx.random_regular_graph(DEGREE, NODES, seed=int(draw.integers(2**31)))
    links: dict[tuple[int, int], int] = {}
    for a, b in graph.edges:
        links[a, b], links[b, a] = len(links), len(links) + 1
    bandwidth = draw.uniform(1e9, 10e9, len(links))
    paths: list[tuple[int, ...]] = []
    while len(paths) < FLOWS:
        a, b = (int(end) for end in draw.choice(NODES, 2, replace=False))
        if nx.has_path(graph, a, b):
            nodes = nx.shortest_path(graph, a, b)
            paths.append(tuple(links[pair] for pair in itertools.pairwise(nodes)))
    caps = np.where(draw.random(FLOWS) < 0.2, draw.uniform(1e8, 1e9, FLOWS), 1e11)
    return Network(tuple(bandwidth.tolist()), tuple(paths), tuple(caps.tolist()))


def read_rates(network: Network, link_factor: float, cap_factor: float) -> list[dict[int, float]]:
    """Send the flows, and read B/s of those there, by number, at each look.

    Parameters
    ----------
    link_factor, cap_factor
        On what the fabric is told of bandwidths and caps.
    """
    bandwidth = np.array(network.bandwidth) * link_factor

    def route(flow: int, _dst: int) -> Path:
        links = network.paths[flow]
        return Path(links, 0, float(bandwidth[list(links)].min()))

    names = tuple(f"link {index}" for index in range(len(bandwidth)))
    plan: Any = SimpleNamespace(
        links=LinkTable(names, bandwidth, np.zeros(len(names))), routes=route
    )
    clock = Clock()
    fabric = Fabric(clock, plan, MemorySink())

    def send(flow: int) -> None:
        fabric.transfer(flow, FLOWS, SIZE_BYTES, network.caps[flow] * cap_factor, _never)

    order = [*range(FLOWS)]
    early = FLOWS * 2 // 3
    for flow in order:  # numbered by the fabric in the order of starting, from 1 on
        at_s = 0.0 if flow < early else LATE_S
        clock.at(round(at_s * FS_PER_S), ARRIVAL + flow, send, flow)

    def sent() -> dict[int, float]:
        return {flow.number - 1: flow.sent_bytes(clock.now_fs) for flow in fabric.found()}

    looks: list[dict[int, float]] = []
    for start_s, stop_s in LOOKS_S:
        clock.run_until(round(start_s * FS_PER_S))
        before = sent()
        clock.run_until(round(stop_s * FS_PER_S))
        span_s = stop_s - start_s
        looks.append({flow: (bytes_ - before[flow]) / span_s for flow, bytes_ in sent().items()})
    return looks


def _never() -> None:
    raise AssertionError("no flow is to land")


def _sample(replication: int, skew: Skew) -> Values:
    network = random_network(replication)
    held, fullest, fastest = [], [], []
    for rates in read_rates(network, 1.0 / skew.of("links"), skew.of("caps")):
        classes = [Class(network.paths[flow], network.caps[flow]) for flow in rates]
        shown = certificate(classes, network.bandwidth, list(rates.values()), tolerance=TOLERANCE)
        held.append(float(np.mean([by != "nothing" for by in shown.held_by])))
        fullest.append(shown.fullest)
        fastest.append(max(rate / network.caps[flow] for flow, rate in rates.items()))
    return {HELD: min(held), FULLEST: max(fullest), FASTEST: max(fastest)}


def _expected(skew: Skew) -> Mapping[str, Expected]:
    """Theory, and what it turns into if links are slower or caps higher than they should be.

    On links that are not full nothing but its cap can hold a flow, and few have one.
    """
    slower = skew.of("links") != 1.0
    return {
        HELD: Between(0.0, 0.6) if slower else 1.0,
        FULLEST: 1.0 / skew.of("links"),
        FASTEST: skew.of("caps"),
    }


def stations() -> list[Station]:
    """Random networks."""
    source = "Bertsekas and Gallager, Data Networks (1992), 6.5.2: the bottleneck property"
    return [Station(NAME, ("links", "caps"), source, _expected, _sample)]
