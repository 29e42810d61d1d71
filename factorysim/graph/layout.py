"""From the layout of a deployment's replicas to their law: which links TP, EP and hops cross."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.graph.links import replica_links

if TYPE_CHECKING:
    import networkx as nx

    from factorysim.catalog import Device, Llm
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.graph.factory import Factory
    from factorysim.physics.collectives import Links
    from factorysim.physics.step import StepLaw
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.serving import ServingSpec


class Wiring(NamedTuple):
    """Where the replicas of a deployment stand."""

    graph: nx.Graph[str]
    factory: Factory
    replicas: tuple[tuple[int, ...], ...]

    def all(self) -> Links:
        """Between all devices of a replica."""
        return replica_links(self.graph, self.factory, self.replicas)

    def inside(self, size: int) -> Links:
        """Between the devices of each part of so many, a stage or a rank."""
        parts = [nodes[k : k + size] for nodes in self.replicas for k in range(0, len(nodes), size)]
        return replica_links(self.graph, self.factory, parts)

    def hops(self, size: int) -> Links:
        """From each stage of so many devices to the next."""
        pairs = [pair for nodes in self.replicas for pair in hop_pairs(nodes, size)]
        return replica_links(self.graph, self.factory, pairs)


def hop_pairs(nodes: tuple[int, ...], size: int) -> list[tuple[int, int]]:
    """Last device of each stage of `size`, and first of the next.

    Examples
    --------
    >>> hop_pairs((3, 4, 5, 6, 7, 8), 2)
    [(4, 5), (6, 7)]
    """
    return [(nodes[k - 1], nodes[k]) for k in range(size, len(nodes), size)]


def layout_law(
    llm: Llm,
    device: Device,
    precision: PrecisionSpec,
    parallel: ParallelSpec,
    wiring: Wiring,
    efficiency: Efficiency,
    overlap: str,
    expert_skew: float = 0.0,
) -> StepLaw:
    """Roofline law of a plain replica, of one of ranks, or of a pipeline."""
    tp = parallel.tp
    if parallel.dp > 1:
        from factorysim.physics.ranks import ranked_law

        links = (wiring.inside(tp), wiring.all())
        return ranked_law(llm, device, precision, parallel, links, efficiency, overlap)
    if parallel.pp > 1:
        from factorysim.physics.stages import staged_law

        links = (wiring.inside(tp), wiring.hops(tp))
        return staged_law(llm, device, precision, parallel, links, efficiency, overlap)
    from factorysim.physics.roofline import roofline_law

    return roofline_law(
        llm, device, precision, parallel, wiring.all(), efficiency, overlap, expert_skew
    )


def check_layouts(scenario: ScenarioSpec) -> None:
    """Refuse ranks and stages where something else asks for one plain replica.

    Raises
    ------
    SpecError
        With every fault.
    """
    faults: list[Fault] = []
    serving = scenario.serving
    exact = scenario.serving.router.index == "exact"
    for name, spec in scenario.deployments.items():
        widths = {"pp": spec.parallel.pp, "dp": spec.parallel.dp}
        for key, width in widths.items():
            if width == 1:
                continue
            where = f"deployments.{name}.parallel.{key}"
            if spec.role == "tools":
                faults.append(Fault("scenario", where, f"{width}", "none: tools run on hosts"))
            elif spec.role != "serve":
                expected = f"1, since the role is {spec.role}: ranks and stages do both parts"
                cure = f"remove {key}, or give it the role serve"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
            elif spec.expert_skew:
                expected = "1, since experts are skewed, which ranks and stages do not know of"
                cure = f"remove {key}, or `expert_skew`"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
            elif spec.split is not None or spec.sram is not None:
                expected = f"1, since {name} lies on LPUs, or is split"
                faults.append(Fault("scenario", where, f"{width}", expected, f"remove {key}"))
            elif spec.speculation is not None:
                expected = f"1, since {name} speculates"
                cure = f"remove {key}, or `speculation`"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
            elif spec.law.kind != "roofline":
                expected = f"1, since the law is {spec.law.kind}, of a whole replica"
                cure = f"remove {key}, or take the law roofline, which can cut an LLM"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
        if max(widths.values()) > 1 and spec.role == "serve":
            faults += _plain_only(name, serving)
        if widths["dp"] > 1 and exact and spec.role == "serve":
            where = "serving.router.index"
            expected = f"approximate, since each replica of {name} has {widths['dp']} caches"
            faults.append(Fault("scenario", where, "exact", expected, "or `dp: 1`"))
    if faults:
        raise SpecError(*faults)


def _plain_only(name: str, serving: ServingSpec) -> list[Fault]:
    """Tell what ranks and stages do not know of serving."""
    faults: list[Fault] = []
    if serving.scheduler not in ("vllm", "prefill_first") or serving.prefill_every is not None:
        key = "scheduler" if serving.prefill_every is None else "prefill_every"
        found = str(getattr(serving, key))
        expected = f"vllm or prefill_first without a cadence, since {name} has ranks or stages"
        faults.append(
            Fault(
                "scenario",
                f"serving.{key}",
                found,
                expected,
                "take `dp: 1` and `pp: 1`, or another",
            )
        )
    if len(serving.kv.tiers) > 1:
        expected = f"hbm alone, since {name} has ranks or stages"
        found = ", ".join(serving.kv.tiers)
        faults.append(
            Fault(
                "scenario",
                "serving.kv.tiers",
                found,
                expected,
                "take `dp: 1` and `pp: 1`, or another",
            )
        )
    return faults
