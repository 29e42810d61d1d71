"""What a picture of a factory shows, read from its graph: racks by pool, tiers, bundles of links.

Nothing here has a place yet. Chips of a tray that are alike are one entry with a count, links
between two tiers are one bundle with their number and sum, so that what follows takes as long
for a hundred thousand racks of one kind as for one of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from factorysim.graph.schema import COMPUTE, kinds_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import networkx as nx

KINDS = (
    "gpu",
    "lpu",
    "cpu",
    "nic",
    "dpu",
    "storage",
    "scale_up_switch",
    "leaf_switch",
    "spine_switch",
)
"""That are drawn, in the order of a tray and of the legend."""
TIERS = ("spine_switch", "leaf_switch")
"""Of the network, the upper one first."""
_WORDS = {
    "gpu": ("GPU", "GPUs"),
    "lpu": ("LPU", "LPUs"),
    "cpu": ("CPU", "CPUs"),
    "nic": ("NIC", "NICs"),
    "dpu": ("DPU", "DPUs"),
    "storage": ("flash box", "flash boxes"),
    "scale_up_switch": ("scale-up switch", "scale-up switches"),
    "leaf_switch": ("leaf switch", "leaf switches"),
    "spine_switch": ("spine switch", "spine switches"),
    "rack": ("rack", "racks"),
    "link": ("link", "links"),
}
RACKS_MOST = 48
"""Of a pool that are drawn one by one; of more, equal ones are drawn once."""
_OUTSIDE = frozenset({"door", "clients"})


class Part(NamedTuple):
    """Chips or boxes of a tray that are alike."""

    kind: str
    device: str
    """Id of the catalog, ``""`` where there is none."""
    pool: str
    use: str
    """Deployment that runs on them, ``""`` if none does."""
    number: int
    step: int | None = None
    """Of colour, for how busy just these were; None: no more is known than of the deployment."""


class Rack(NamedTuple):
    """What stands in a rack; equal racks differ in nothing but their names."""

    names: tuple[str, ...]
    model: str
    power_w: float | None
    """Published, of each."""
    trays: tuple[tuple[Part, ...], ...]
    """The top one first."""


class Bundle(NamedTuple):
    """Links side by side, drawn as one."""

    links: int
    bandwidth: float
    """B/s per direction, all together."""
    modelled: bool = True
    """False where no network lies between chips and clients."""
    load: float | None = None
    """Utilization of the busiest of them, of its busier direction; None: of none is it known."""

    def __add__(self, other: object) -> Bundle:
        assert isinstance(other, Bundle)
        modelled = self.modelled or other.modelled
        load = max((one.load for one in (self, other) if one.load is not None), default=None)
        return Bundle(self.links + other.links, self.bandwidth + other.bandwidth, modelled, load)


class Busy(NamedTuple):
    """How busy single things of a graph were."""

    chips: Mapping[str, int]
    """Node -> step of colour."""
    links: Mapping[tuple[str, str], float]
    """Edge -> utilization of its busier direction."""


class Pool(NamedTuple):
    """Racks that a topology names together."""

    name: str
    racks: tuple[Rack, ...]
    per_row: int | None
    uplinks: Mapping[str, Bundle]
    """Tier that they end on (a kind of switch, or ``door``) -> links."""

    @property
    def size(self) -> int:
        """How many racks there are."""
        return sum(len(rack.names) for rack in self.racks)


class Contents(NamedTuple):
    """All that a picture shows."""

    pools: tuple[Pool, ...]
    switches: Mapping[str, tuple[str, ...]]
    """Tier -> its switches."""
    pairs: Mapping[tuple[str, str], Bundle]
    """Links of a spine switch and a leaf switch."""
    doors: int
    door_links: Mapping[str, Bundle]
    """Tier -> links of the doors to its switches."""
    door_ends: frozenset[str]
    """Switches that a door has links to."""
    client_bandwidth: float | None
    counts: Mapping[str, Mapping[str, int]]
    """Kind -> device -> how many there are."""
    deployed: bool
    """Whether it is known which deployment runs on what."""
    notes: tuple[str, ...]
    """What is not drawn, in words."""

    def number(self, kind: str) -> int:
        """How many there are of a kind."""
        return sum(self.counts.get(kind, {}).values())

    @property
    def racks(self) -> int:
        """How many racks are drawn."""
        return sum(pool.size for pool in self.pools)


def counted(kind: str, count: int) -> str:
    """Name so many things of a kind.

    Examples
    --------
    >>> counted("gpu", 1152), counted("leaf_switch", 1)
    ('1,152 GPUs', '1 leaf switch')
    """
    return f"{count:,} {_WORDS[kind][count != 1]}"


def plural(kind: str) -> str:
    """Name a kind."""
    return _WORDS[kind][1]


def read_contents(
    graph: nx.Graph[str], uses: Mapping[str, str] | None = None, busy: Busy | None = None
) -> Contents:
    """Read what a picture shows.

    Parameters
    ----------
    graph
        With the attributes of `factorysim.graph.schema`.
    uses
        Node -> deployment that runs on it. None: nobody knows yet.
    busy
        Chips that were not as busy are not alike, in pools whose racks are drawn one by one.
    """
    kinds, busy = kinds_of(graph), busy or Busy({}, {})
    trays = _trays(graph, uses or {}, busy.chips)
    names = {name: _pool_of(graph, name, trays) for name, kind in kinds.items() if kind == "rack"}
    links = _Links(graph, kinds, names, busy.links)
    fabric = {name for name in names if _is_fabric(trays.get(name, {}))}
    pools: dict[str, list[str]] = defaultdict(list)
    for name, pool in names.items():
        if name not in fabric:
            pools[pool].append(name)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for node in (node for _, node in graph.nodes(data=True) if _is_drawn(node)):
        counts[node["kind"]][node.get("device", "")] += 1
    return Contents(
        pools=tuple(
            Pool(
                pool,
                _racks(graph, members, trays),
                graph.nodes[members[0]].get("per_row"),
                links.uplinks.get(pool, {}),
            )
            for pool, members in pools.items()
        ),
        switches={tier: tuple(n for n, kind in kinds.items() if kind == tier) for tier in TIERS},
        pairs=links.pairs,
        doors=sum(kind == "door" for kind in kinds.values()),
        door_links=links.door_links,
        door_ends=frozenset(links.door_ends),
        client_bandwidth=_client_bandwidth(graph, kinds),
        counts={kind: dict(counts[kind]) for kind in KINDS if kind in counts},
        deployed=uses is not None,
        notes=(*_notes(links, pools, trays, fabric), *_alike(pools, busy.chips)),
    )


class _Chip(NamedTuple):
    """What a chip is: those that are equal are one `Part`."""

    kind: str
    device: str
    pool: str
    use: str
    step: int | None


_Trays: TypeAlias = "Mapping[str, Mapping[str, Iterable[_Chip]]]"
"""Rack -> tray -> its chips; ``""``: those in no tray."""


def _trays(
    graph: nx.Graph[str], uses: Mapping[str, str], steps: Mapping[str, int]
) -> dict[str, dict[str, list[_Chip]]]:
    trays: dict[str, dict[str, list[_Chip]]] = defaultdict(dict)
    for name, node in graph.nodes(data=True):
        if node["kind"] == "tray" and "rack" in node:
            trays[node["rack"]].setdefault(name, [])
        elif _is_drawn(node) and "rack" in node:
            what = node["kind"], node.get("device", ""), node.get("pool", "")
            chip = _Chip(*what, uses.get(name, ""), steps.get(name))
            trays[node["rack"]].setdefault(node.get("tray", ""), []).append(chip)
    return trays


def _is_drawn(node: Mapping[str, object]) -> bool:
    """Tell a chip or a box from the stand-in for unknown wiring."""
    if node["kind"] == "scale_up_switch":
        return "device" in node or "tray" in node
    return node["kind"] in KINDS


def _is_fabric(trays: Mapping[str, Iterable[_Chip]]) -> bool:
    """Whether a rack has no trays, and nothing but switches of the network."""
    inside = {chip.kind for chips in trays.values() for chip in chips}
    return set(trays) == {""} and inside <= set(TIERS)


def _pool_of(graph: nx.Graph[str], rack: str, trays: _Trays) -> str:
    """Name the pool of a rack: its own, else that of its first chip."""
    stated = graph.nodes[rack].get("pool")
    if stated is not None:
        return str(stated)
    chips = (chip for tray in trays.get(rack, {}).values() for chip in tray)
    return next((chip.pool for chip in chips if chip.pool), "racks of no pool")


def _racks(graph: nx.Graph[str], names: Sequence[str], trays: _Trays) -> tuple[Rack, ...]:
    """Racks of a pool, equal ones together where the first of them stands."""
    equal: dict[tuple[str, float | None, tuple[tuple[Part, ...], ...]], list[str]] = {}
    for name in names:
        node = graph.nodes[name]
        alike = len(names) > RACKS_MOST
        inside = tuple(_parts(chips, alike=alike) for chips in trays.get(name, {}).values())
        key = (node.get("model", ""), node.get("power_w"), inside)
        equal.setdefault(key, []).append(name)
    return tuple(Rack(tuple(members), *key) for key, members in equal.items())


def _parts(chips: Iterable[_Chip], *, alike: bool) -> tuple[Part, ...]:
    """Count the chips of a tray that are alike, those that work first."""
    order = {kind: k for k, kind in enumerate(KINDS)}
    count = Counter(chip._replace(step=None) if alike else chip for chip in chips)
    found = sorted(
        count, key=lambda chip: (order[chip.kind], chip.device, not chip.use, -(chip.step or 0))
    )
    return tuple(Part(*chip[:4], count[chip], chip.step) for chip in found)


class _Links:
    """The edges of a graph, as bundles."""

    def __init__(
        self,
        graph: nx.Graph[str],
        kinds: Mapping[str, str],
        pools: Mapping[str, str],
        loads: Mapping[tuple[str, str], float],
    ) -> None:
        self.uplinks: dict[str, dict[str, Bundle]] = defaultdict(dict)
        self.pairs: dict[tuple[str, str], Bundle] = {}
        self.door_links: dict[str, Bundle] = {}
        self.door_ends: set[str] = set()
        self.inside = 0
        """Links within racks."""
        self.within: dict[str, Bundle] = {}
        """Tier -> links among its switches."""
        self.direct = Bundle(0, 0.0)
        """Between racks, past all switches."""
        self._racks = {name: node.get("rack", "") for name, node in graph.nodes(data=True)}
        self._pools = pools
        for a, b, edge in graph.edges(data=True):
            modelled = edge["kind"] != "client"
            load = loads.get((a, b))
            bundle = Bundle(edge.get("links", 1), edge["bandwidth"], modelled, load)
            rank_a, rank_b = _rank(kinds[a]), _rank(kinds[b])
            if rank_a <= rank_b:
                self._add(a, b, kinds[a], kinds[b], bundle)
            else:
                self._add(b, a, kinds[b], kinds[a], bundle)

    def _add(self, upper: str, lower: str, above: str, below: str, bundle: Bundle) -> None:
        none = Bundle(0, 0.0, modelled=False)
        if above in _OUTSIDE and below in _OUTSIDE:
            return
        if above in _OUTSIDE and below in TIERS:
            self.door_links[below] = self.door_links.get(below, none) + bundle
            self.door_ends.add(lower)
        elif above in TIERS and above == below:
            self.within[above] = self.within.get(above, none) + bundle
        elif above in TIERS and below in TIERS:
            self.pairs[upper, lower] = bundle
        elif above in TIERS or above in _OUTSIDE:
            tier = "door" if above in _OUTSIDE else above
            mine = self.uplinks[self._pools.get(self._racks[lower], "")]
            mine[tier] = mine.get(tier, none) + bundle
        elif self._racks[upper] == self._racks[lower]:
            self.inside += bundle.links
        else:
            self.direct += bundle


def _rank(kind: str) -> int:
    return 0 if kind in _OUTSIDE else 1 + TIERS.index(kind) if kind in TIERS else 3


def _client_bandwidth(graph: nx.Graph[str], kinds: Mapping[str, str]) -> float | None:
    """B/s of all doors to the clients; None where there is no door."""
    found = [
        edge["bandwidth"]
        for a, b, edge in graph.edges((n for n, k in kinds.items() if k == "door"), data=True)
        if "clients" in (kinds[a], kinds[b])
    ]
    return sum(found) if found else None


def _notes(
    links: _Links,
    pools: Mapping[str, Iterable[str]],
    trays: _Trays,
    fabric: Iterable[str],
) -> Iterable[str]:
    """Say what a picture leaves out."""
    from factorysim.graph.check import gbps

    if links.inside:
        yield f"Not drawn: {counted('link', links.inside)} inside racks."
    if links.direct.links:
        told = f"{counted('link', links.direct.links)} from rack to rack past all switches"
        yield f"Not drawn: {told}, {gbps(links.direct.bandwidth)}."
    for tier, bundle in links.within.items():
        told = f"{counted('link', bundle.links)} among {plural(tier)}"
        yield f"Not drawn: {told}, {gbps(bundle.bandwidth)}."
    drawn = (
        chip.kind
        for names in pools.values()
        for n in names
        for t in trays.get(n, {}).values()
        for chip in t
    )
    if any(kind in TIERS for kind in drawn):
        yield "Switches of the network are drawn twice: in the racks they stand in, and by tier."
    elif any(True for _ in fabric):
        yield "No rack is named for the switches of the network: they are drawn by tier alone."


def _alike(pools: Mapping[str, Sequence[str]], steps: Mapping[str, int]) -> Iterable[str]:
    """Say where replicas do not have the colour of their own utilization."""
    large = [pool for pool, racks in pools.items() if len(racks) > RACKS_MOST]
    if steps and large:
        told = f"{', '.join(large)}: of over {RACKS_MOST} racks equal ones are drawn once"
        yield f"{told}, in the colour of their deployment's mean and not of each replica."


def summary_of(contents: Contents) -> str:
    """Say in a line how large a factory is."""
    chips = (kind for kind in KINDS if kind in COMPUTE and contents.number(kind))
    told = ", ".join(counted(kind, contents.number(kind)) for kind in chips)
    return f"{counted('rack', contents.racks)}: {told}"
