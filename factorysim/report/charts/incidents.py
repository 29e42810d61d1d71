"""What went against the plan in a run, by kind and place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from factorysim.report.charts.source import Source
    from factorysim.store import Columns


class Incident(NamedTuple):
    """Events of one kind at one place, of all replications."""

    kind: str
    place: str
    times: int
    first_s: float
    """After the start of its replication, like the last."""
    last_s: float


def incidents(source: Source) -> list[Incident]:
    """Count the events of a whole run, warm-up included; the most frequent come first."""
    found: dict[tuple[str, str], Incident] = {}
    for replication in source.replications:
        for group in source.groups("events", ("at_s", "kind", "entity"), replication):
            for one in _of_group(group):
                key = one.kind, one.place
                before = found.get(key)
                found[key] = one if before is None else _both(before, one)
    return sorted(found.values(), key=lambda one: (-one.times, one.kind, one.place))


def _both(one: Incident, other: Incident) -> Incident:
    return one._replace(
        times=one.times + other.times,
        first_s=min(one.first_s, other.first_s),
        last_s=max(one.last_s, other.last_s),
    )


def _of_group(group: Columns) -> list[Incident]:
    import numpy as np

    at_s, kind, place = group["at_s"], group["kind"], group["entity"]
    keys = kind.codes.astype(np.int64) * (len(place.words) + 1) + place.codes
    _, first, which, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    earliest, latest = np.full(len(first), np.inf), np.full(len(first), -np.inf)
    np.minimum.at(earliest, which, at_s)
    np.maximum.at(latest, which, at_s)
    return [
        Incident(kind.words[kind.codes[row]], place.words[place.codes[row]], *seen)
        for row, *seen in zip(
            first.tolist(), counts.tolist(), earliest.tolist(), latest.tolist(), strict=True
        )
    ]
