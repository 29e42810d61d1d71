"""Waits against load: closed forms as lines, the simulator's own stations as points.

    python analysis/theory_curves.py            writes docs/figures/theory_curves.svg
    python analysis/theory_curves.py FILE.png   or another file

Each point is the mean of independent replications of a station of
`factorysim.study.theory`, with Student's 95 % interval; lines are `factorysim.theory`.
Seeds are fixed and the SVG carries no date, so the same code gives the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from factorysim import theory
from factorysim.metrics.statistics import Interval, t_interval
from factorysim.study.theory.hosts import hyperexponential, ran
from factorysim.study.theory.queues import served

LOADS = (0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9)
BETWEEN = (0.2, 0.35, 0.5, 0.65, 0.75, 0.85)
"""Of the host: its line is that of M/M/1, so its points go where that has none."""
REPLICATIONS = 10
CALLS = {0.7: 2000, 0.75: 2500, 0.8: 3000, 0.85: 4500, 0.9: 6000}
"""Of a replication; waits are correlated for longer where the load is high."""
CALLS_ELSE = 1200
SERVICE_S = 1.0
SERVERS = 3
OUT = Path(__file__).parent.parent / "docs" / "figures" / "theory_curves.svg"


class Curve(NamedTuple):
    """A closed form over load, and the station that it is for."""

    label: str
    colour: str
    """Of Okabe and Ito, "Color universal design" (2008)."""
    mark: str
    line: Callable[[float], float]
    mean: Callable[[float, int, int], float]
    """Of a load, a replication and a number of calls."""
    loads: tuple[float, ...] = LOADS
    style: str = "-"


def replica(kind: str, servers: int) -> Callable[[float, int, int], float]:
    """Mean wait at replicas that pull from one queue."""

    def mean(load: float, replication: int, calls: int) -> float:
        name = f"curve {kind} {servers} {load}"
        rate = servers * load / SERVICE_S
        seen = served(name, kind, rate, replication, calls * servers, replicas=servers)
        return float(seen.wait_s.mean())

    return mean


def host(load: float, replication: int, calls: int) -> float:
    """Mean delay at a host whose jobs share its cores: sojourn less the work alone."""
    seen, asked_s = ran(f"curve ps {load}", "ps", hyperexponential, load, replication, calls)
    return float(seen.sojourn_s.mean() - asked_s[-len(seen.sojourn_s) :].mean())


CURVES = (
    Curve(
        "M/M/1: a replica, exponential service",
        "#0072B2",
        "o",
        lambda load: theory.mm1_wait(load, SERVICE_S),
        replica("exponential", 1),
    ),
    Curve(
        "M/G/1-PS: a shared tool host (delay)",
        "#CC79A7",
        "D",
        lambda load: theory.mg1_ps_sojourn(load, SERVICE_S) - SERVICE_S,
        host,
        BETWEEN,
        "--",
    ),
    Curve(
        "M/D/1: a replica, constant service",
        "#009E73",
        "^",
        lambda load: theory.md1_wait(load, SERVICE_S),
        replica("deterministic", 1),
    ),
    Curve(
        f"M/M/{SERVERS}: {SERVERS} replicas behind one queue",
        "#D55E00",
        "s",
        lambda load: theory.mmc_wait(SERVERS * load, SERVICE_S, SERVERS),
        replica("exponential", SERVERS),
    ),
)


def measure(curve: Curve) -> list[Interval]:
    """Simulate the points of a curve."""
    points: list[Interval] = []
    for load in curve.loads:
        calls = CALLS.get(load, CALLS_ELSE)
        points.append(t_interval([curve.mean(load, r, calls) for r in range(REPLICATIONS)]))
        print(f"{curve.label}: load {load}, {points[-1].mean:.4f} s", file=sys.stderr)
    return points


def draw(points: dict[str, list[Interval]], path: Path) -> None:
    """Draw lines, points and intervals."""
    matplotlib.rcdefaults()
    matplotlib.rcParams["svg.hashsalt"] = "factorysim"
    figure = Figure(figsize=(7.0, 4.6), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    loads = np.linspace(0.05, 0.93, 177)
    for curve in CURVES:
        lines = [curve.line(load) for load in loads]
        axes.plot(loads, lines, curve.style, color=curve.colour, linewidth=1.5)
        means = np.array([point.mean for point in points[curve.label]])
        halves = np.array([point.high - point.mean for point in points[curve.label]])
        axes.errorbar(
            curve.loads,
            means,
            np.minimum(halves, 0.999 * means),
            fmt=curve.mark,
            markersize=5,
            color=curve.colour,
            markerfacecolor="white",
            capsize=3,
            label=curve.label,
        )
    axes.set_yscale("log")
    axes.set_ylim(0.003, 20)
    axes.set_xlim(0.05, 0.95)
    axes.set_xlabel("Utilization of each server")
    axes.set_ylabel("Mean wait, in mean services")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        frameon=False, fontsize=9, loc="lower right", title="lines: theory; points: simulated, 95 %"
    )
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Simulate and draw."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    draw({curve.label: measure(curve) for curve in CURVES}, path)


if __name__ == "__main__":
    main()
