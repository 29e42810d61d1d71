"""How busy the parts of a factory are, as a run tells it, and what is deployed on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.factory_contents import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import networkx as nx

    from factorysim.graph.plan import FactoryPlan
    from factorysim.metrics.summary import Summary
    from factorysim.report.factory_contents import Contents, Part

    Values = Mapping[str, float | None]

STEPS = 10
"""Of colour, from idle to busy all the time."""


@dataclass(frozen=True, slots=True)
class Loads:
    """Utilization in [0, 1]; None, or no entry: not known, which is never drawn as 0.

    What is said of a deployment goes before what is said of its rack, and that before its pool.
    """

    deployments: Values = field(default_factory=dict)
    racks: Values = field(default_factory=dict)
    pools: Values = field(default_factory=dict)

    def of(self, part: Part, racks: Sequence[str], *, deployed: bool) -> float | None:
        """Utilization of a part; None as well where nothing is deployed on it."""
        if not part.pool or (deployed and not part.use):
            return None
        if part.use in self.deployments:
            return self.deployments[part.use]
        known = [load for name in racks if (load := self.racks.get(name)) is not None]
        return sum(known) / len(known) if known else self.pools.get(part.pool)


class Use(NamedTuple):
    """What a deployment has of a pool."""

    deployment: str
    """``""``: nothing is deployed there."""
    pool: str
    kind: str
    device: str
    number: int
    load: float | None

    @property
    def amount(self) -> str:
        """How many of what."""
        return f"{counted(self.kind, self.number)} {self.device}".strip()


def loads_of_run(
    summary: Summary, by_deployment: Mapping[str, float | None], plan: FactoryPlan
) -> Loads:
    """Read the utilization of pools and deployments from a run's metrics.

    Parameters
    ----------
    by_deployment
        Mean over replications of ``utilization.POOL`` of those deployments that have one.
    plan
        Tells which deployments run tools: their cores are counted apart from serving.
    """
    prefix = "utilization."
    pools = {
        name.removeprefix(prefix): line.value if isinstance(line.value, float) else None
        for name, line in summary.items()
        if name.startswith(prefix)
    }
    serving = {serve.pool for serve in plan.serve}
    tools = {
        tool.name: pools.get(f"{tool.pool}.tools" if tool.pool in serving else tool.pool)
        for tool in plan.tools
    }
    return Loads(deployments={**tools, **by_deployment}, pools=pools)


def edge_loads(graph: nx.Graph[str], by_link: Values) -> dict[tuple[str, str], float]:
    """Utilization of the edges of a graph, each of its busier direction, where it is known.

    Parameters
    ----------
    by_link
        By names as `records.LinkRow` has them: interchangeable switches go by the first of them.
    """
    from factorysim.graph.factory import compile_graph, link_name, vertex_labels

    if not by_link:
        return {}
    factory = compile_graph(graph)
    label = vertex_labels(factory.names, factory.vertex)
    called = {
        name: label[first]
        for name, first in zip(factory.names, factory.vertex.tolist(), strict=True)
    }
    found: dict[tuple[str, str], float] = {}
    for a, b in graph.edges:
        ends = called[a], called[b]
        both = [by_link.get(link_name(one, other)) for one, other in (ends, ends[::-1])]
        known = [load for load in both if load is not None]
        if known:
            found[a, b] = max(known)
    return found


def step_of(load: float) -> int:
    """Step of colour of a utilization.

    Examples
    --------
    >>> step_of(0.0), step_of(0.099), step_of(0.95), step_of(1.0)
    (0, 0, 9, 9)
    """
    return min(STEPS - 1, int(min(1.0, max(0.0, load)) * STEPS))


def uses_in(contents: Contents, loads: Loads | None = None) -> list[Use]:
    """Sum what every deployment has of every pool, in the order of the racks."""
    number: dict[tuple[str, str, str, str], int] = {}
    busy: dict[tuple[str, str, str, str], list[tuple[int, float | None]]] = {}
    for count, racks, part in _parts(contents):
        key = (part.use, part.pool, part.kind, part.device)
        number[key] = number.get(key, 0) + count
        if loads is not None:
            load = loads.of(part, racks, deployed=contents.deployed)
            busy.setdefault(key, []).append((count, load))
    return [Use(*key, count, _mean(busy.get(key, ()))) for key, count in number.items()]


def deployed_words(contents: Contents) -> list[str]:
    """Say what runs where, a deployment a line; nothing where that is not known."""
    uses = uses_in(contents)
    whole: dict[tuple[str, str, str], int] = {}
    for use in uses:
        key = (use.pool, use.kind, use.device)
        whole[key] = whole.get(key, 0) + use.number
    parts: dict[str, list[str]] = {}
    for use in uses:
        all_of_it = whole[use.pool, use.kind, use.device]
        share = f"{use.number:,} of {counted(use.kind, all_of_it)} ({use.pool})"
        parts.setdefault(use.deployment, []).append(share)
    return [f"{name}: {', '.join(told)}." for name, told in parts.items() if name]


def _parts(contents: Contents) -> Iterator[tuple[int, Sequence[str], Part]]:
    """All parts that can be deployed on, with how many there are and the racks they are in."""
    for rack in (rack for pool in contents.pools for rack in pool.racks):
        for part in (part for tray in rack.trays for part in tray):
            if part.pool and part.kind != "storage":
                yield part.number * len(rack.names), rack.names, part


def _mean(loads: Sequence[tuple[int, float | None]]) -> float | None:
    """Mean load of chips; None if some of them have none."""
    if not loads or any(load is None for _, load in loads):
        return None
    whole = sum(count for count, _ in loads)
    return sum(count * load for count, load in loads if load is not None) / whole
