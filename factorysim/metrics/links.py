"""Links: how much of what each could carry it carried, and which was the busiest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Tables, Value, Window

if TYPE_CHECKING:
    from typing import Final

UTILIZATION: Final = "fabric.utilization"
BUSIEST: Final = "fabric.busiest"
NOTHING = "no message of 64 KB or more crossed a link in the window; smaller ones cost latency only"


def link_values(tables: Tables, window: Window) -> list[Value]:
    """Utilization of every direction that carried something; the highest, and whose it is."""
    links = tables.links
    if links is None or not len(links["carried_bytes"]):
        return [Value(name, None, reason=NOTHING) for name in (UTILIZATION, BUSIEST)]
    names = links["link"]
    found = links["carried_bytes"] / (links["bandwidth_bytes_per_s"] * window.length_s)
    rows = [
        Value(UTILIZATION, load, by="link", key=names.words[code])
        for load, code in zip(found.tolist(), names.codes.tolist(), strict=True)
    ]
    busiest = max(rows, key=lambda row: float(row.value or 0.0))
    return [Value(UTILIZATION, busiest.value), Value(BUSIEST, busiest.key), *rows]
