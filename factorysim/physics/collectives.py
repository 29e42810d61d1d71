"""Times of collectives over the links of a domain: latency terms plus bytes over bandwidth.

Bytes move as in the ring algorithms, which are optimal in bandwidth [1]_; the
latency is that of a tree, ``log2 n`` hops a phase (of the logarithm to the base of
`Links.radix`, where a hop joins more than two), which NCCL and in-switch
reduction reach on small messages. Measured on HGX boards (NCCL 2.27): 6, 10,
16 us for an all-reduce of 256 B over 2, 4, 8 H100.

References
----------
.. [1] Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters
   of workstations", J. Parallel Distrib. Comput. 69 (2009), section 3.
"""

from __future__ import annotations

from typing import NamedTuple


class Links(NamedTuple):
    """The links that the collectives of a replica cross; the worst one decides."""

    bandwidth: float
    """B/s per direction and device, at the line rate."""
    latency_s: float
    """Per hop, of the hardware."""
    devices: int
    """In the domain."""
    radix: int = 2
    """Devices that one hop of a phase joins."""


class Protocol(NamedTuple):
    """What software makes of links."""

    efficiency: float
    """Share of the line rate that large messages reach."""
    fixed_s: float
    """Per collective: launch and synchronisation."""
    hop_s: float
    """Per hop, on top of the hardware's latency."""


def all_reduce(size_bytes: float, ranks: int, links: Links, protocol: Protocol) -> float:
    """Seconds to sum `size_bytes`, held by each of `ranks` devices, on all of them.

    A reduce-scatter and an all-gather: ``2(n-1)/n`` of the bytes leave each device.

    Examples
    --------
    >>> links, ideal = Links(450e9, 0.0, 8), Protocol(1.0, 0.0, 0.0)
    >>> all_reduce(450e9, 2, links, ideal)
    1.0
    """
    return cost(ranks, links, protocol).all_reduce(size_bytes)


def all_gather(size_bytes: float, ranks: int, links: Links, protocol: Protocol) -> float:
    """Seconds until all hold the `size_bytes` whose n-th part each held before.

    A reduce-scatter of as many bytes takes as long.
    """
    return cost(ranks, links, protocol).all_gather(size_bytes)


def all_to_all(size_bytes: float, ranks: int, links: Links, protocol: Protocol) -> float:
    """Seconds for each device to send an n-th of its `size_bytes` to every one, itself included."""
    return cost(ranks, links, protocol).all_to_all(size_bytes)


class Cost(NamedTuple):
    """Latency and time per byte of collectives among some ranks."""

    fixed_s: float
    hop_s: float
    phase_s: float
    """Of one phase, without bytes: an all-reduce has two."""
    byte_s: float
    """Per byte of the tensor, one phase."""

    def all_reduce(self, size_bytes: float) -> float:
        """Seconds; see `collectives.all_reduce`."""
        return self.fixed_s + 2 * (self.phase_s + size_bytes * self.byte_s)

    def all_gather(self, size_bytes: float) -> float:
        """Seconds; see `collectives.all_gather`."""
        return self.fixed_s + self.phase_s + size_bytes * self.byte_s

    def all_to_all(self, size_bytes: float) -> float:
        """Seconds; every message goes straight: one hop, and the wire as in an all-gather."""
        return self.fixed_s + self.hop_s + size_bytes * self.byte_s


def cost(ranks: int, links: Links, protocol: Protocol) -> Cost:
    """Latency and time per byte of collectives among `ranks` devices; free among one.

    Examples
    --------
    >>> cost(1, Links(450e9, 1e-6, 8), Protocol(0.8, 5e-6, 1e-6)).all_reduce(1e6)
    0.0
    """
    if ranks == 1:
        return Cost(0.0, 0.0, 0.0, 0.0)
    hop_s = links.latency_s + protocol.hop_s
    wire = links.bandwidth * protocol.efficiency
    return Cost(
        fixed_s=protocol.fixed_s,
        hop_s=hop_s,
        phase_s=_hops(ranks, links.radix) * hop_s,
        byte_s=(ranks - 1) / ranks / wire,
    )


def _hops(ranks: int, radix: int) -> int:
    """Hops of a phase: the height of a tree of so many leaves."""
    hops, reached = 0, 1
    while reached < ranks:
        hops, reached = hops + 1, reached * radix
    return hops
