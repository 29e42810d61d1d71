"""Which racks of the catalog an operating point's devices stand in, and how many.

A server of one where one device is enough, else the rack whose scale-up domain holds a
replica and that leaves the fewest devices over. Where no domain is large enough,
collectives cross the network: a note says so. LPUs stand in as many racks as it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError

if TYPE_CHECKING:
    from factorysim.catalog import Catalog, Device, Rack
    from factorysim.spec.layout import ParallelSpec


class Standing(NamedTuple):
    """Racks of one pool."""

    rack: str
    number: int
    notes: tuple[str, ...] = ()
    """What to say of them: that collectives cross the network."""


def stand(catalog: Catalog, device: Device, parallel: ParallelSpec, replicas: int) -> Standing:
    """Choose racks for replicas of a layout.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> from factorysim.spec.layout import ParallelSpec
    >>> catalog = load_catalog()
    >>> stand(catalog, catalog.device("h200_sxm"), ParallelSpec(tp=4), 3)
    Standing(rack='hgx_h200', number=2, notes=())
    """
    size = parallel.devices
    if size * replicas <= 1:
        return Standing(device.id, 1)
    racks = _racks_of(catalog, device)
    whole = [(_count(rack, size, replicas), rack) for rack in racks if rack.scale_up_domain >= size]
    if whole:
        count, rack = min(whole, key=lambda one: (one[0] * _size(one[1]), one[0]))
        return Standing(rack.id, count)
    if size == 1:
        return Standing(device.id, replicas)
    if not racks:
        note = (
            f"the catalog knows no server of several {device.id}: {size} servers of one, and "
            "their collectives cross the network; a `racks:` record of your own (--catalog) "
            "tells what joins them"
        )
        return Standing(device.id, size * replicas, (note,))
    rack = max(racks, key=lambda one: (one.scale_up_domain, -_size(one)))
    joined = f"at most {rack.scale_up_domain}" if rack.scale_up_domain > 1 else "none"
    tp, pp, dp = parallel.tp, parallel.pp, parallel.dp
    what = f"tp {tp}" + (f" x dp {dp}" if dp > 1 else "")
    count = -(-size * replicas // _size(rack))
    if pp > 1 and tp <= rack.scale_up_domain:
        what = f"pp {pp}"
        count = -(-pp * replicas // (rack.scale_up_domain // tp))
    note = f"{what} crosses the network: scale-up links join {joined} of {device.id} ({rack.id})"
    return Standing(rack.id, count, (note,))


def stand_chips(catalog: Catalog, device: Device, chips: int, replicas: int) -> Standing:
    """Choose racks for replicas of so many chips each, which may go over several racks.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> catalog = load_catalog()
    >>> stand_chips(catalog, catalog.device("groq3_lpu"), 300, 2)
    Standing(rack='groq3_lpx', number=3, notes=())
    """
    racks = _racks_of(catalog, device)
    if chips * replicas <= 1 or not racks:
        return Standing(device.id, chips * replicas)
    counts = [(_count(rack, chips, replicas), rack) for rack in racks]
    count, rack = min(counts, key=lambda one: (one[0] * _size(one[1]), one[0]))
    return Standing(rack.id, count)


def _count(rack: Rack, size: int, replicas: int) -> int:
    """Racks that hold so many replicas, each in one scale-up domain if it can be."""
    domain = max(1, rack.scale_up_domain)
    if size > domain:
        return -(-size * replicas // _size(rack))
    a_rack = (_size(rack) // domain) * (domain // size)
    return -(-replicas // a_rack)


def _racks_of(catalog: Catalog, device: Device) -> list[Rack]:
    """Racks and servers that are bought for this device."""
    racks: list[Rack] = []
    for name in catalog.ids("racks"):
        try:
            rack = catalog.rack(name)
        except CapacityError:
            continue  # a count of it is unknown: nothing can stand in it
        bought = rack.kind in ("gpu_rack", "lpu_rack", "cpu_rack", "server")
        if bought and rack.main is not None and rack.main.id == device.id:
            racks.append(rack)
    return racks


def _size(rack: Rack) -> int:
    return rack.main.count if rack.main else 0
