"""Pools: how busy, how full, how long their queues; and which of them binds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.activity import LIMITS, Activity
from factorysim.metrics.edges import ROUNDING_S
from factorysim.metrics.handoffs import of_deployments
from factorysim.metrics.inputs import Layout, Partner, Station, Tables, Value, Window
from factorysim.metrics.series import mean_in_window
from factorysim.metrics.waiting import waiting_spans

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

NO_ACTIVITY = "the law of this pool gives times only"
ELASTIC = "a cloud without a limit has as many cores as are asked for"
NO_EP = "no experts are cut by EP here"
_WORDS = dict(zip(LIMITS, ("sequences of a step", "KV cache", "tokens of a step"), strict=True))


def pool_values(
    tables: Tables, window: Window, layout: Layout, activity: dict[str, Activity]
) -> list[Value]:
    """Utilization, MFU, MBU, load and queue of every pool, and the bottleneck."""
    values: list[Value] = []
    loads: dict[str, tuple[float, str]] = {}
    pools = [station.pool for station in layout.stations]
    several = len([station for station in layout.stations if station.kind == "tools"]) > 1
    pools += [s.partner.pool for s in layout.serving() if s.partner is not None]
    for pool in dict.fromkeys(pools):
        serving = [s for s in layout.serving() if s.pool == pool]
        tools = [s for s in layout.stations if s.kind == "tools" and s.pool == pool]
        partners = [s for s in layout.serving() if s.partner and s.partner.pool == pool]
        if serving or partners:
            values += _serving_values(pool, serving, partners, activity, window)
        experts = [s for s in layout.serving() if s.expert_pool == pool]
        if serving or experts:
            values += _imbalance(pool, experts, activity)
        if serving:
            name, load = _fullest(pool, serving, activity, window)
            loads[name] = load
            values.append(Value(f"saturation.{pool}", load[0]))
            values += _by_deployment(serving, tables, activity, window)
        if tools:
            place = f"{pool} (tools)" if serving else pool
            name = f"{pool}.tools" if serving else pool
            given = _tools_load(tools, tables, window)
            if given is None:
                values.append(Value(f"saturation.{place}", None, reason=ELASTIC))
                values.append(Value(f"utilization.{name}", None, reason=ELASTIC))
            else:
                loads[place] = given
                values.append(Value(f"saturation.{place}", given[0]))
                values.append(Value(f"utilization.{name}", given[0]))
            if several:
                values += _by_tools_deployment(name, tools, tables, window)
        values += _queue_values(pool, serving + tools, tables, window)
    return values + _saturation(loads)


def _serving_values(
    pool: str,
    stations: list[Station],
    partners: list[Station],
    activity: dict[str, Activity],
    window: Window,
) -> list[Value]:
    """Of the deployments on a pool, and of those that are split over it and another."""
    others = [(s.name, s.partner) for s in partners if s.partner is not None]
    busy = sum(activity[s.name].busy_s for s in stations)
    busy += sum(activity[name].partner_s for name, _ in others)
    capacity = sum(s.capacity for s in stations) + sum(one.capacity for _, one in others)
    values = [Value(f"utilization.{pool}", busy / (capacity * window.length_s))]
    flops = [activity[s.name].flops for s in stations]
    flops += [activity[name].partner_flops for name, _ in others]
    moved = [activity[s.name].bytes_moved for s in stations]
    moved += [activity[name].partner_bytes_moved for name, _ in others]
    here: list[Station | Partner] = [*stations, *(one for _, one in others)]
    peak_flops = [s.peak_flops and s.peak_flops * s.capacity for s in here]
    peak_bytes = [s.peak_bytes and s.peak_bytes * s.capacity for s in here]
    if busy:
        values.append(_of_peak(f"mfu.{pool}", flops, peak_flops, window))
        values.append(_of_peak(f"mbu.{pool}", moved, peak_bytes, window))
    else:
        values += [Value(f"{name}.{pool}", 0.0) for name in ("mfu", "mbu")]
    return values


def _imbalance(pool: str, stations: list[Station], activity: dict[str, Activity]) -> list[Value]:
    """How much more the busiest EP rank has to do than the mean one, over the time in steps."""
    weighed = [(s, activity[s.name].imbalance_s) for s in stations]
    spent = sum(activity[s.name].busy_s / s.devices_per_replica for s, w in weighed if w > 0)
    name = f"expert_imbalance.{pool}"
    if not spent:
        return [Value(name, None, reason=NO_EP)]
    return [Value(name, sum(w for _, w in weighed) / spent)]


def _of_peak(
    name: str, done: list[float | None], peaks: list[float | None], window: Window
) -> Value:
    """Share of what the devices' data sheets promise for the window."""
    known = [amount for amount in done if amount]
    sheets = [peak for peak in peaks if peak]
    if not known:
        return Value(name, None, reason=NO_ACTIVITY)
    if len(sheets) < len(peaks):
        return Value(name, None, reason="a device of this pool has no published peak")
    return Value(name, sum(known) / (sum(sheets) * window.length_s))


def _fullest(
    pool: str, stations: list[Station], activity: dict[str, Activity], window: Window
) -> tuple[str, tuple[float, str]]:
    """Load of a pool: that of its fullest part, and what to call it.

    Parts are the deployments between which a router may choose. One that is full is
    not helped by room in another: prefill beside decode, or a second LLM.
    """
    parts: dict[str, list[Station]] = {}
    for station in stations:
        parts.setdefault(station.router, []).append(station)
    loads = {name: _serving_load(part, activity, window) for name, part in parts.items()}
    fullest = max(loads, key=lambda name: loads[name][0])
    names = " and ".join(station.name for station in parts[fullest])
    return pool if len(parts) == 1 else f"{pool} ({names})", loads[fullest]


def _by_deployment(
    stations: list[Station], tables: Tables, activity: dict[str, Activity], window: Window
) -> list[Value]:
    """Utilization, load and queue of each deployment: where several share a pool they differ."""
    values: list[Value] = []
    for station in stations:
        pool = station.pool
        busy = activity[station.name].busy_s / (station.capacity * window.length_s)
        load, _ = _serving_load([station], activity, window)
        found = [Value(f"utilization.{pool}", busy), Value(f"saturation.{pool}", load)]
        found += _queue_values(pool, [station], tables, window)
        values += [value._replace(by="deployment", key=station.name) for value in found]
        values += _by_replica(station, activity[station.name], window)
    return values


def _by_replica(station: Station, activity: Activity, window: Window) -> list[Value]:
    """Utilization of each replica, where there are several."""
    if station.replicas == 1:
        return []
    spent = [0.0] * station.replicas if activity.replica_s is None else activity.replica_s.tolist()
    return [
        Value(
            f"utilization.{station.pool}",
            seconds / window.length_s,
            by="replica",
            key=f"{station.name}/{number}",
        )
        for number, seconds in enumerate(spent)
    ]


def _serving_load(
    stations: list[Station], activity: dict[str, Activity], window: Window
) -> tuple[float, str]:
    """Mean fullness of the fullest limit, and which limit that is on the whole."""
    replica_s = sum(s.replicas for s in stations) * window.length_s
    load = sum(activity[s.name].load_s for s in stations) / replica_s
    full = [sum(activity[s.name].full_s[i] for s in stations) for i in range(len(LIMITS))]
    return load, _WORDS[LIMITS[full.index(max(full))]]


def _by_tools_deployment(
    name: str, stations: list[Station], tables: Tables, window: Window
) -> list[Value]:
    """Utilization and queue of each deployment of tools, where there are several."""
    values: list[Value] = []
    for station in stations:
        load = _tools_load([station], tables, window)
        used = f"utilization.{name}"
        found = [Value(used, None, reason=ELASTIC) if load is None else Value(used, load[0])]
        found += _queue_values(station.pool, [station], tables, window)
        values += [value._replace(by="deployment", key=station.name) for value in found]
    return values


def _tools_load(
    stations: list[Station], tables: Tables, window: Window
) -> tuple[float, str] | None:
    """Busy cores over those there were, second threads not counted; None: no end of them."""
    if stations[0].elastic:
        return _cloud_load(stations, tables, window)
    busy = mean_in_window(tables, window, "busy_cores", (s.name for s in stations))
    return busy / sum(s.capacity for s in stations), "cores"


def _cloud_load(
    stations: list[Station], tables: Tables, window: Window
) -> tuple[float, str] | None:
    """Tools at once over those that a cloud lets run, of the fullest that has a limit."""
    import numpy as np

    loads: list[float] = []
    tools = tables.tools
    for station in stations:
        if station.most is not None:
            mine = of_deployments(tools["deployment"], {station.name})
            finished, started = tools["finished_s"][mine], tools["started_s"][mine]
            until = np.where(np.isnan(finished), tables.closing.end_s, finished)
            since = np.where(np.isnan(started), np.inf, started)
            spent = np.minimum(until, window.end_s) - np.maximum(since, window.start_s)
            loads.append(float(np.maximum(spent, 0.0).sum()) / (station.most * window.length_s))
    return (max(loads), "tools at once") if loads else None


def _queue_values(
    pool: str, stations: list[Station], tables: Tables, window: Window
) -> list[Value]:
    """Follow how many calls wait in a router or for a first step, and tools for a host."""
    import numpy as np

    names = {station.name for station in stations}
    since, until = waiting_spans(tables.calls, tables.tools, tables.handoffs, names, window.end_s)
    start = np.maximum(since, window.start_s)
    stop = np.minimum(until, window.end_s)
    waited = stop > start + ROUNDING_S
    total = float((stop - start)[waited].sum())
    return [
        Value(f"queue.{pool}.mean", total / window.length_s),
        Value(f"queue.{pool}.max", float(_most_at_once(start[waited], stop[waited]))),
    ]


def _most_at_once(start: Floats, stop: Floats) -> int:
    """Most intervals that overlap at an instant; ends come before starts."""
    import numpy as np

    if not len(start):
        return 0
    instants = np.concatenate([stop, start])
    change = np.concatenate([np.full(len(stop), -1), np.ones(len(start), int)])
    order = np.argsort(instants, kind="stable")
    return int(np.cumsum(change[order]).max())


def _saturation(loads: dict[str, tuple[float, str]]) -> list[Value]:
    if not loads:
        why = "nothing is deployed"
        return [Value("saturation", None, reason=why), Value("bottleneck", None, reason=why)]
    pool = max(loads, key=lambda name: loads[name][0])
    load, limit = loads[pool]
    return [Value("saturation", load), Value("bottleneck", f"{pool}: {limit}")]
