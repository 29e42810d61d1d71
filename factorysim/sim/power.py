"""The power meter: joules of runs of steps and of busy hosts, spread over time exactly.

Inside a run the k-th step lasts ``d + k * dd`` and is worth ``min(duration, b + k *
db)`` seconds of a device at full span, since its activity is linear in the context
that grows from step to step; the minimum clips the draw at the device's peak. Joules
up to an instant are the sum over the steps that have ended, plus the share of the
step in progress: a closed form, so one run of a thousand steps meters like a
thousand runs of one, bin by bin.

Everything is kept twice: per replica and host ("parts": from the totals of the
activity), and per rack and bin ("meter": from differences between the edges of bins).
That the two agree is a law that every run is audited by.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from factorysim.physics.power import first_steps, sum_of_smaller
from factorysim.physics.speculation import pace_of, tokens_a_step
from factorysim.physics.step import FS_PER_S, StepRuns
from factorysim.records import AuditLine, EnergyLine, SampleRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.graph.plan import FactoryPlan, ReplicaPlan
    from factorysim.physics.power import PowerModel
    from factorysim.physics.step import Activity, PartnerSide, StepLaw
    from factorysim.records import StepChunk

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]
    Until: TypeAlias = Callable[[Ints, Floats], Floats]


TOLERANCE = 1e-9
"""By which parts and meter may differ, relative: double precision leaves 1e-12."""


class Lines(NamedTuple):
    """Runs of steps: duration and activity of the k-th step are ``first + k * growth``."""

    steps: Floats
    step_s: Floats
    step_growth_s: Floats
    active_s: Floats
    """Seconds at full span that the activity is worth, before the clip."""
    active_growth_s: Floats

    def length_s(self) -> Floats:
        """Seconds that each run lasts."""
        return self._starts_s(self.steps)

    def spent_s(self, after_s: Floats) -> Floats:
        """Seconds at full span spent by each run, so long after it began."""
        ended = self._ended(after_s)
        whole = sum_of_smaller(
            ended, self.step_s, self.step_growth_s, self.active_s, self.active_growth_s
        )
        duration = self.step_s + ended * self.step_growth_s
        active = np.minimum(self.active_s + ended * self.active_growth_s, duration)
        done = np.clip((after_s - self._starts_s(ended)) / duration, 0.0, 1.0)
        spent: Floats = whole + active * done
        return spent

    def clipped(self) -> npt.NDArray[np.bool_]:
        """Whether the draw of any step is clipped: of the first or the last, lines being lines."""
        last = self.steps - 1
        last_s = self.step_s + last * self.step_growth_s
        last_active_s = self.active_s + last * self.active_growth_s
        over: npt.NDArray[np.bool_] = (self.active_s > self.step_s) | (last_active_s > last_s)
        return over

    def of(self, index: Ints) -> Lines:
        """Pick runs, repeated as often as the index says."""
        return Lines(*(column[index] for column in self))

    def _starts_s(self, k: Floats) -> Floats:
        return k * self.step_s + self.step_growth_s * (k * (k - 1) / 2)

    def _ended(self, after_s: Floats) -> Floats:
        """Count the steps that have ended: the sum inverted, then mended for rounding."""
        half = self.step_s - self.step_growth_s / 2
        root = np.sqrt(np.maximum(half * half + 2 * self.step_growth_s * after_s, 0.0))
        both = half + root
        ended = np.floor(np.divide(2 * after_s, both, out=np.zeros_like(both), where=both > 0))
        ended -= self._starts_s(ended) > after_s
        ended += self._starts_s(ended + 1) <= after_s
        return np.clip(ended, 0, self.steps - 1)


class PowerMeter:
    """Takes runs of steps and busy intervals in any order; tells joules and watts.

    Parameters
    ----------
    end_s
        Horizon: what runs on after it is cut there, inside a step too.
    bins
        Equal bins of the series, from 0 to `end_s`.
    """

    def __init__(self, plan: FactoryPlan, end_s: float, bins: int) -> None:
        self._plan = plan
        self._end_s = end_s
        self._bins = bins
        places = _Places(plan)
        self._places = places
        counts = [len(serve.replicas) for serve in plan.serve]
        self._first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        replicas = [(serve, replica) for serve in plan.serve for replica in serve.replicas]
        self._place = np.array([places.of(replica) for _, replica in replicas], dtype=np.int64)
        self._step_j = np.zeros(len(replicas))
        self._partner_place = np.array(
            [places.of_partners(replica) for _, replica in replicas], dtype=np.int64
        )
        self._partner_j = np.zeros(len(replicas))
        """Of the other side of a split, inside the same steps."""
        self._partner_s = 0.0
        self._step_s = np.zeros(len(replicas))
        self._host_j = [np.zeros(len(tools.hosts)) for tools in plan.tools]
        self._core_s = 0.0
        self._meter_j = np.zeros((places.count, bins))
        """Above idle, per place and bin."""

    def add_steps(self, deployment: int, rows: StepChunk) -> None:
        """Meter runs of steps of one deployment that serves.

        Parameters
        ----------
        deployment
            Index into the plan's `serve`.
        rows
            Their `replica` counts through all deployments, in the plan's order.
        """
        if not len(rows):
            return
        serve = self._plan.serve[deployment]
        table = rows.columns
        runs = StepRuns(*(table[name] for name in StepRuns._fields))
        first_fs, growth_fs = table["step_fs"], table["slope_fs"]
        totals = serve.law.activity(runs)
        # The step of ranks does not tell whose windows fill.
        filling = serve.law if serve.ranks == 1 else None
        lines = _lines(serve.law, serve.power, runs, totals, first_fs, growth_fs, filling)
        stop_s = self._add_lines(
            lines, totals, serve.power, serve.devices_per_replica, table, self._place, self._step_j
        )
        np.add.at(self._step_s, table["replica"], stop_s)
        partner = serve.partner
        if partner is not None:
            done = partner.side.activity(runs)
            over = _lines(partner.side, partner.power, runs, done, first_fs, growth_fs, None)
            inside_s = self._add_lines(
                over, done, partner.power, partner.devices_per_replica, table,
                self._partner_place, self._partner_j,
            )  # fmt: skip
            self._partner_s += float(inside_s.sum()) * partner.devices_per_replica

    def _add_lines(
        self,
        lines: Lines,
        totals: Activity,
        power: PowerModel,
        devices: int,
        table: Mapping[str, npt.NDArray[Any]],
        places: Ints,
        parts_j: Floats,
    ) -> Floats:
        """Meter runs of steps of some devices of each replica; returns when each run stops."""
        start_s, finish_s = table["started_s"], table["finished_s"]
        length_s = lines.length_s()
        left_s = np.maximum(self._end_s - start_s, 0.0)
        stop_s: Floats = np.where(finish_s < self._end_s, length_s, np.minimum(length_s, left_s))
        span_w = (power.peak_w - power.idle_w) * devices
        spent_s = lines.spent_s(stop_s)
        replica = table["replica"]
        self._spread(
            places[replica],
            start_s,
            stop_s,
            span_w * spent_s,
            lambda index, after_s: span_w * lines.of(index).spent_s(after_s),
        )
        plain = (stop_s == length_s) & ~lines.clipped()
        floor_s = power.weights.active * length_s
        parts_s = np.where(plain, power.weights.span_s(totals) + floor_s, spent_s)
        np.add.at(parts_j, replica, span_w * parts_s)
        return stop_s

    def add_busy(self, deployment: int, rows: npt.ArrayLike) -> None:
        """Meter intervals in which hosts of one tools deployment kept cores busy.

        Parameters
        ----------
        deployment
            Index into the plan's `tools`.
        rows
            Shape ``(intervals, 4)``: host, start and end in seconds, busy cores.
        """
        hosts = self._plan.tools[deployment].hosts
        table = np.asarray(rows, dtype=np.float64)
        if not len(table):
            return
        host, start_s, busy = table[:, 0].astype(np.int64), table[:, 1], table[:, 3]
        stop_s = np.maximum(np.minimum(table[:, 2], self._end_s) - start_s, 0.0)
        draw_w = busy * np.array([(h.peak_w - h.idle_w) / h.cores for h in hosts])[host]
        self._spread(
            np.array([h.rack for h in hosts], dtype=np.int64)[host],
            start_s,
            stop_s,
            draw_w * stop_s,
            lambda index, after_s: draw_w[index] * after_s,
        )
        np.add.at(self._host_j[deployment], host, draw_w * stop_s)
        self._core_s += float((busy * stop_s).sum())

    def step_s(self) -> float:
        """Seconds of replicas inside the steps that were metered."""
        return float(self._step_s.sum())

    def partner_s(self) -> float:
        """Device-seconds of the other side of splits inside the steps that were metered."""
        return self._partner_s

    def core_s(self) -> float:
        """Core-seconds of the tool hosts that were metered."""
        return self._core_s

    def energy(self) -> tuple[EnergyLine, ...]:
        """Joules of each rack over the whole run, from the parts."""
        racks = len(self._plan.racks)
        step_j, between_j = np.zeros(self._places.count), np.zeros(self._places.count)
        for serve, first in zip(self._plan.serve, self._first, strict=False):
            own = slice(first, first + len(serve.replicas))
            inside_s = self._step_s[own] * serve.devices_per_replica
            total_s = self._end_s * serve.devices_per_replica
            idle_w = serve.power.idle_w
            np.add.at(step_j, self._place[own], self._step_j[own] + idle_w * inside_s)
            np.add.at(between_j, self._place[own], idle_w * (total_s - inside_s))
            if serve.partner is not None:
                place = self._partner_place[own]
                idle_w = serve.partner.power.idle_w * serve.partner.devices_per_replica
                inside_s = self._step_s[own]
                np.add.at(step_j, place, self._partner_j[own] + idle_w * inside_s)
                np.add.at(between_j, place, idle_w * (self._end_s - inside_s))
        step_j, between_j = self._places.to_racks(step_j), self._places.to_racks(between_j)
        host_j, host_idle_j = np.zeros(racks), np.zeros(racks)
        for tools, joules in zip(self._plan.tools, self._host_j, strict=True):
            rack = [host.rack for host in tools.hosts]
            np.add.at(host_j, rack, joules)
            np.add.at(host_idle_j, rack, [host.idle_w * self._end_s for host in tools.hosts])
        names = [rack.name for rack in self._plan.racks]
        rest_j = [rack.rest_w * self._end_s for rack in self._plan.racks]
        columns = (step_j.tolist(), between_j.tolist(), host_j.tolist(), host_idle_j.tolist())
        return tuple(map(EnergyLine, names, *columns, rest_j))

    def samples(self) -> list[SampleRow]:
        """Mean watts of each bin: every rack, then the `factory` (its racks together)."""
        width_s = self._end_s / self._bins
        watts = self._rack_j() / width_s
        middles = [(i + 0.5) * width_s for i in range(self._bins)]
        names = [rack.name for rack in self._plan.racks]
        return [
            SampleRow(at_s, "power_w", place, value)
            for place, series in zip(
                [*names, "factory"], [*watts.tolist(), watts.sum(axis=0).tolist()], strict=True
            )
            for at_s, value in zip(middles, series, strict=True)
        ]

    def audit(self) -> AuditLine:
        """Compare the parts' joules with the meter's, rack by rack."""
        parts = [sum(line[1:]) for line in self.energy()]
        meter = self._rack_j().sum(axis=1).tolist()
        off = {
            rack.name: got - expected
            for rack, expected, got in zip(self._plan.racks, parts, meter, strict=True)
            if abs(got - expected) > TOLERANCE * max(abs(expected), abs(got))
        }
        detail = ", ".join(f"{name}: {joules:+.6g} J" for name, joules in off.items())
        return AuditLine("energy of parts = meter", not off, sum(parts), sum(meter), detail)

    def _rack_j(self) -> Floats:
        """Joules per rack and bin, by the meter: what varies, and what is always drawn."""
        joules = self._places.to_racks(self._meter_j)
        return joules + (self._places.constant_w * (self._end_s / self._bins))[:, None]

    def _spread(
        self,
        place: Ints,
        start_s: Floats,
        stop_s: Floats,
        total_j: Floats,
        until_j: Until,
    ) -> None:
        """Put each row's joules into the bins it covers.

        `stop_s` is after the row's start; ``until_j(index, after_s)`` gives the
        joules of rows at an instant after their start, here the edges of bins.
        """
        width_s = self._end_s / self._bins
        top = self._bins - 1
        first = np.clip((start_s / width_s).astype(np.int64), 0, top)
        last = np.clip(((start_s + stop_s) / width_s).astype(np.int64), first, top)
        bins, meter_j = self._bins, self._meter_j.reshape(-1)
        np.add.at(meter_j, place * bins + last, total_j)
        crossed = last - first
        index = np.repeat(np.arange(len(place)), crossed)
        if not index.size:
            return
        nth = np.arange(index.size) - np.repeat(np.cumsum(crossed) - crossed, crossed)
        edge = first[index] + 1 + nth
        after_s = np.clip(edge * width_s - start_s[index], 0.0, stop_s[index])
        joules = until_j(index, after_s)
        after = place[index] * bins + edge
        np.add.at(meter_j, after - 1, joules)
        np.subtract.at(meter_j, after, joules)


class _Places:
    """Where joules fall: the racks, then each way in which replicas straddle racks."""

    def __init__(self, plan: FactoryPlan) -> None:
        self._racks = len(plan.racks)
        self._rack_of = plan.rack_of
        self._straddling: dict[tuple[tuple[int, float], ...], int] = {}
        self.constant_w = np.array([rack.rest_w for rack in plan.racks], dtype=np.float64)
        """Per rack, drawn whatever happens: idle devices and hosts, and the rest."""
        for serve in plan.serve:
            idle_w = serve.power.idle_w * serve.devices_per_replica
            for replica in serve.replicas:
                for rack, share in self._shares(replica):
                    self.constant_w[rack] += share * idle_w
            if serve.partner is not None:
                idle_w = serve.partner.power.idle_w
                for replica in serve.replicas:
                    for node in replica.partners:
                        self.constant_w[self._rack_of[node]] += idle_w
        for tools in plan.tools:
            for host in tools.hosts:
                self.constant_w[host.rack] += host.idle_w

    @property
    def count(self) -> int:
        return self._racks + len(self._straddling)

    def of(self, replica: ReplicaPlan) -> int:
        """Place of a replica's joules."""
        return self._place_of(self._shares(replica))

    def of_partners(self, replica: ReplicaPlan) -> int:
        """Place of the joules of a split's other side; of a replica without one, anywhere."""
        return self._place_of(self._shares_of(replica.partners)) if replica.partners else 0

    def _place_of(self, shares: tuple[tuple[int, float], ...]) -> int:
        if len(shares) == 1:
            return shares[0][0]
        return self._straddling.setdefault(shares, self.count)

    def to_racks(self, by_place: Floats) -> Floats:
        """Sum by rack what is given by place along the first axis."""
        racks = by_place[: self._racks].copy()
        for shares, place in self._straddling.items():
            for rack, share in shares:
                racks[rack] += share * by_place[place]
        return racks

    def _shares(self, replica: ReplicaPlan) -> tuple[tuple[int, float], ...]:
        """Racks of a replica's devices, and the share of its devices in each."""
        if not self._rack_of:
            return ((replica.rack, 1.0),)
        return self._shares_of(replica.devices)

    def _shares_of(self, devices: Sequence[int]) -> tuple[tuple[int, float], ...]:
        racks = Counter(self._rack_of[device] for device in devices)
        return tuple((rack, racks[rack] / len(devices)) for rack in sorted(racks))


def _lines(
    law: StepLaw | PartnerSide,
    model: PowerModel,
    runs: StepRuns,
    totals: Activity,
    first_fs: Ints,
    growth_fs: Ints,
    filling: StepLaw | None,
) -> Lines:
    """Duration and activity of each step of each run, in which windows of `filling` may fill."""
    firsts = first_steps(runs, tokens_a_step(law))
    if filling is not None and filling.window_fs > 0 and filling.window is not None:
        firsts = firsts._replace(window_tokens=_first_windows(filling, runs, firsts, growth_fs))
    steps = runs.steps.astype(np.float64)
    active_s = model.weights.span_s(law.activity(firsts))
    pairs = np.maximum(steps * (steps - 1) / 2, 1.0)
    total_s = model.weights.span_s(totals)
    active_growth_s = np.where(steps > 1, (total_s - steps * active_s) / pairs, 0.0)
    step_s, step_growth_s = first_fs / FS_PER_S, growth_fs / FS_PER_S
    floor = model.weights.active
    return Lines(
        steps,
        step_s,
        step_growth_s,
        active_s + floor * step_s,
        active_growth_s + floor * step_growth_s,
    )


def _first_windows(law: StepLaw, runs: StepRuns, firsts: StepRuns, growth_fs: Ints) -> Floats:
    """Tokens inside sliding windows that the first step of each run reads.

    A sequence whose window still fills adds one a step, or what it makes in one. How
    many do, the growth of the step's duration tells: what context and chunk do not explain.
    """
    windows = firsts.window_tokens.astype(np.float64)
    pace = pace_of(law)
    grown, parts = (1, 1) if pace is None else (pace.tokens, pace.verifies)
    for i in np.flatnonzero((runs.steps > 1) & (runs.decodes > 0)).tolist():
        decodes, context = int(runs.decodes[i]), round(float(firsts.context_tokens[i]) * parts)
        explained = law.piece(decodes, context).slope_fs * decodes * grown
        if runs.prompts[i]:
            tokens = int(firsts.prompt_tokens[i])
            explained += (law.chunk_slope(tokens) or 0) * tokens
        filling = (int(growth_fs[i]) - explained) // law.window_fs
        steps = int(runs.steps[i])
        growth = filling / parts * (steps * (steps - 1) // 2)
        windows[i] = (float(runs.window_tokens[i]) - growth) / steps
    return windows
