"""Power over the window, energy by boundary, and what follows per token and session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.activity import Activity
from factorysim.metrics.inputs import Layout, Tables, Value, Window
from factorysim.metrics.series import bin_weights
from factorysim.metrics.slo import inside

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

J_PER_KWH = 3.6e6
BOUNDARIES = ("accelerator", "host", "idle", "electrical", "facility")
NO_CHAIN = "the electrical chain (shelves, UPS, transformers) is not modelled"
NO_PRICES = "prices of hardware are not modelled"


def energy_values(
    tables: Tables, window: Window, layout: Layout, activity: dict[str, Activity]
) -> list[Value]:
    """Power, energy, and their shares per output token and session, over the clock window."""
    values, mean_w = _power(tables, window, layout)
    tokens = sum(total.emitted_tokens for total in activity.values())
    if mean_w is None:
        why = "no power was recorded in the window"
        return values + [Value(name, None, reason=why) for name in _energy_names()]
    it_j = mean_w * window.length_s
    values.append(Value("energy.it_j", it_j))
    ladder = _ladder(tables, window, layout, activity, it_j)
    values += [_per_token(boundary, joules, tokens) for boundary, joules in ladder.items()]
    return values + _footprint(tables, window, layout, it_j * layout.pue, tokens)


def _energy_names() -> list[str]:
    per_token = [f"energy.j_per_output_token.{boundary}" for boundary in BOUNDARIES]
    per_session = ["energy.j_per_session", "carbon.g_per_session"]
    return ["energy.it_j", *per_token, *per_session, "cost.energy_usd_per_mtok_output"]


def _power(tables: Tables, window: Window, layout: Layout) -> tuple[list[Value], float | None]:
    """Mean, p99 and maximum of the factory's draw; extremes are of means over bins."""
    import numpy as np

    series = tables.timeseries
    mine = series["series"].equal("power_w") & series["place"].equal("factory")
    at_s, watts = series["at_s"][mine], series["value"][mine]
    weight = bin_weights(at_s, window)
    names = ("mean", "p99", "max")
    if weight.sum() <= 0:
        why = "no power was recorded in the window"
        return [
            Value(f"power.{place}.{n}", None, reason=why)
            for place in ("it_w", "facility_w")
            for n in names
        ], None
    mean = float((watts * weight).sum() / weight.sum())
    order = np.argsort(watts)
    passed = np.cumsum(weight[order]) >= 0.99 * weight.sum() * (1 - 1e-12)
    p99 = float(watts[order][int(np.argmax(passed))])
    numbers = (mean, p99, float(watts[weight > 0].max()))
    values = [Value(f"power.it_w.{n}", w) for n, w in zip(names, numbers, strict=True)]
    values += [
        Value(f"power.facility_w.{n}", w * layout.pue) for n, w in zip(names, numbers, strict=True)
    ]
    return values, mean


def _ladder(
    tables: Tables, window: Window, layout: Layout, activity: dict[str, Activity], it_j: float
) -> dict[str, float | None]:
    """Joules inside each boundary, each holding the one before.

    Accelerators inside their steps; with hosts, NICs and switches; with what idles;
    behind the site's meter. Hosts and the rest take their mean over the whole run.
    """
    end_s = tables.closing.end_s
    energy = tables.closing.energy
    accelerator: float | None = 0.0
    for station in layout.serving():
        done = activity[station.name]
        if done.active_j is None and done.busy_s > 0:
            accelerator = None
        elif accelerator is not None:
            accelerator += (done.active_j or 0.0) + station.idle_w * done.busy_s
            if station.partner is not None:
                accelerator += station.partner.idle_w * done.partner_s
    share = window.length_s / end_s if end_s > 0 else 0.0
    host = sum(line.host_j + line.rest_j for line in energy) * share
    return {
        "accelerator": accelerator,
        "host": None if accelerator is None else accelerator + host,
        "idle": it_j,
        "electrical": None,
        "facility": it_j * layout.pue,
    }


def _per_token(boundary: str, joules: float | None, tokens: float) -> Value:
    name = f"energy.j_per_output_token.{boundary}"
    if boundary == "electrical":
        return Value(name, None, reason=NO_CHAIN)
    if joules is None:
        return Value(name, None, reason="the steps of this run carry no energy")
    if tokens <= 0:
        return Value(name, None, reason="no token was made in the window")
    return Value(name, joules / tokens)


def _footprint(
    tables: Tables, window: Window, layout: Layout, facility_j: float, tokens: float
) -> list[Value]:
    """Energy and carbon per session, the electricity bill per token; hardware has no price yet."""
    sessions = tables.sessions
    ended = sessions["outcome"].equal("completed") & inside(window, sessions["finished_s"])
    done, kwh = float(ended.sum()), facility_j / J_PER_KWH
    energy = Value("energy.j_per_session", None, reason="no session ended in the window")
    if done > 0:
        energy = Value("energy.j_per_session", facility_j / done)
    carbon = Value("carbon.g_per_session", None, reason="the site gives no carbon intensity")
    if layout.carbon_g_per_kwh is not None:
        carbon = carbon._replace(reason="no session ended in the window")
        if done > 0:
            grams = kwh * layout.carbon_g_per_kwh / done
            carbon = Value("carbon.g_per_session", grams)
    bill = Value("cost.energy_usd_per_mtok_output", None, reason="the site gives no energy price")
    if layout.usd_per_kwh is not None:
        bill = bill._replace(reason="no token was made in the window")
        if tokens > 0:
            bill = Value(bill.name, kwh * layout.usd_per_kwh / (tokens / 1e6))
    return [energy, carbon, bill]
