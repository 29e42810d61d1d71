"""Shipped scenarios, run briefly: how many laws of conservation each of them keeps.

The laws are those that every run checks of itself: of calls, tokens, KV, bytes,
energy, time shares, and Little's law at each station. Here they are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.metrics.inputs import Tables, Window
from factorysim.study.theory.row import TheoryRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.records import AuditLine

LENGTH_S = 120.0
"""Of a run, all of it measured: calls are in flight at its end, and must be accounted for."""
SCENARIOS = (
    "quickstart",
    "quickstart-open",
    "kv-tiers",
    "disaggregation-pays",
    "lpx-splits-afd",
    "schedulers",
    "mixed-llms",
    "replay",
)
PREFIX = "conservation/"
SOURCE = "the audit of every run (docs/clock.md)"


def conservation_row(scenario: str) -> TheoryRow:
    """Run a scenario for a few seconds and count the laws that held."""
    lines = audit_lines(scenario)
    held = sum(line.ok for line in lines)
    broken = "; ".join(
        f"{line.name}: expected {line.expected!r}, got {line.got!r}"
        for line in lines
        if not line.ok
    )
    count = float(len(lines))
    return TheoryRow(
        PREFIX + scenario,
        "laws that hold",
        count,
        float(held),
        float(held),
        float(held),
        held / count - 1.0,
        not broken,
        broken,
        SOURCE,
    )


def audit_lines(name: str) -> Sequence[AuditLine]:
    """Run a scenario once; give every law, of the simulation and of its tables."""
    from factorysim.load import load
    from factorysim.metrics.replication import replication_metrics
    from factorysim.run.activity import step_columns
    from factorysim.run.prepare import build_demands, prepare
    from factorysim.sim.factory import run_replication
    from factorysim.store import MemorySink

    prepared = prepare(load(name))
    scenario, plan, sink = prepared.scenario, prepared.plan, MemorySink()
    closing = run_replication(
        scenario,
        plan,
        build_demands(scenario, 0),
        replication=0,
        horizon_s=LENGTH_S,
        arrivals_end_s=LENGTH_S,
        sink=sink,
    )
    steps = dict(sink.columns("steps"))
    derive = step_columns(plan).compute
    tables = Tables(
        sink.columns("sessions"),
        sink.columns("calls"),
        sink.columns("tools"),
        [steps | dict(derive(steps))],
        sink.columns("gaps"),
        sink.columns("handoffs"),
        sink.columns("timeseries"),
        closing,
        derive,
        sink.columns("tiers") if len(prepared.layout.tiers) > 1 else None,
    )
    slos = {stream: spec.slo for stream, spec in scenario.streams.items()}
    return replication_metrics(tables, Window(0.0, LENGTH_S), prepared.layout, slos).audit
