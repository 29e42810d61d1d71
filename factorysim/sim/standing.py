"""Traffic that repeats: a demand for links as long as steps go on, and the share it gets.

Collectives of a replica that straddles servers cross the network at every step.
They are no flows with an end but a rate, the mean over a step. Where they meet flows,
or each other, they get a share of it: a step whose bytes take longer lasts longer.

The share is sampled when a run of steps starts, and changes of it are told beyond a
threshold: 2 % by default, so a run's duration is off by less than that; the error is
measured against a threshold ten times finer (docs/fabric.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.sim.clock import REBALANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.sim.clock import Clock
    from factorysim.sim.flows import FlowClass
    from factorysim.sim.traffic import Traffic

REFRESH = 0.02
"""Relative change of a share that is told."""


class Standing:
    """What `Fabric.standing` returns.

    Examples
    --------
    A demand of 80 % of a link, beside a flow that could fill it: half each.

    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from factorysim.graph.factory import LinkTable, Path
    >>> from factorysim.sim.clock import Clock
    >>> from factorysim.sim.fabric import Fabric
    >>> plan = SimpleNamespace(
    ...     links=LinkTable(("a -> b",), np.array([1e9]), np.array([1e-6])),
    ...     routes=lambda a, b: Path((0,), 10**9, 1e9))
    >>> env = Clock()
    >>> fabric = Fabric(env, plan, SimpleNamespace(rows=lambda table, rows: None))
    >>> ring = fabric.standing([(0, 1)], lambda: print(f"{env.now / 1e15:.3f} {ring.share()}"))
    >>> ring.set_demand(8e8)
    >>> ring.sample()
    1.0
    >>> fabric.transfer(0, 1, 10**8, None, lambda: None)
    >>> ring.sample()
    0.625
    >>> env.run_until(10**15)
    0.200 1.0
    """

    def __init__(
        self,
        env: Clock,
        traffic: Traffic,
        links: tuple[int, ...],
        ways: int,
        weight: int,
        refresh: float,
        on_change: Callable[[], None],
    ) -> None:
        self.links = links
        """Those of all its ways; one that several cross as often."""
        self.ways = ways
        """Pairs of nodes that send, each at the demand."""
        self._env = env
        self._traffic = traffic
        self._refresh = refresh
        self._on_change = on_change
        self._class = traffic.standing(links, weight, self._changed)
        self._demand = 0.0
        self._sampled = 1.0
        self._told = False

    def set_demand(self, rate: float) -> None:
        """Ask for a rate from now on, B/s of each of its ways; 0: for nothing.

        More than the narrowest link has is not asked for: what is slow without any
        others belongs to the law of the step, not to the share. Nor is a change of no
        more than the threshold: it costs the links as much as a flow.
        """
        assert rate >= 0.0
        off = abs(rate - self._demand)
        if off > self._refresh * self._demand:
            self._demand = rate
            self._traffic.ask(self._class, rate)

    def share(self) -> float:
        """Return what it gets over what it asks for, as of now; 1 where that is nothing."""
        self._traffic.solve()
        return self._class.rate / self._class.cap if self._class.cap else 1.0

    def sample(self) -> float:
        """Return the share, and compare with it from now on."""
        self._sampled = self.share()
        self._told = False
        return self._sampled

    def carried_bytes(self) -> float:
        """Bytes over each of its ways so far."""
        return self._class.served_at(self._env.now_fs)

    def _changed(self, one: FlowClass) -> None:
        """Tell of a new share from an event of its own, when all shares are known."""
        share = one.rate / one.cap
        if not self._told and abs(share - self._sampled) > self._refresh * self._sampled:
            self._told = True
            self._env.at(self._env.now_fs, REBALANCE, self._tell)

    def _tell(self, _value: None) -> None:
        """Unless it was sampled since."""
        if self._told:
            self._on_change()
