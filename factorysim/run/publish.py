"""From the outcomes of replications to a run directory."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import factorysim
from factorysim.metrics.in_slo import pooled, verdicts
from factorysim.metrics.overload import Overload, overload
from factorysim.metrics.summary import Summary, as_json, shares_in_slo, summarise, with_verdict
from factorysim.run.context import repair_notes
from factorysim.run.model_error import as_json as told
from factorysim.run.model_error import model_errors, with_model_errors
from factorysim.run.replication import Outcome
from factorysim.run.seal import sealed
from factorysim.run.tables import TABLE_NAMES, metrics_table, power_table
from factorysim.store import (
    RUN_SCHEMA,
    file_hash,
    merge_tables,
    publish,
    table_hash,
    write_json,
    write_table,
    write_text,
)

if TYPE_CHECKING:
    from factorysim.catalog import Catalog
    from factorysim.metrics.inputs import Window
    from factorysim.run.prepare import Prepared
    from factorysim.run.warmup import WarmUp
    from factorysim.spec.scenario import ScenarioSpec


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run was made, for its manifest."""

    name: str
    warmup: WarmUp
    window: Window
    horizon_s: float
    asked: int
    """Replications asked for."""
    conditional: str
    """Why there is no interval for the demand, or ``""``."""
    policies: Mapping[str, str]
    """What a user's policy decides -> SHA-256 of its source."""


def write_run(
    staged: Path,
    final: Path,
    prepared: Prepared,
    settings: Settings,
    outcomes: Sequence[Outcome],
    wall_s: float,
) -> None:
    """Merge the replications' tables, add summary and manifest, and publish.

    Raises
    ------
    OutputError
        If the place cannot be written; nothing is left under the final name then.
    """
    outcomes = sorted(outcomes, key=lambda outcome: outcome.replication)
    parts = [part_folder(staged, outcome.replication) for outcome in outcomes]
    merge_tables(parts, staged)
    for part in staged.glob("part-*"):
        shutil.rmtree(part)
    replications = [outcome.metrics for outcome in outcomes if outcome.metrics is not None]
    steady = prepared.scenario.run.kind == "steady_state"
    verdict = overload(replications) if steady else None
    assumed = assumed_facts(prepared)
    errors = model_errors(prepared)
    summary = summarise(replications, verdict, len(assumed), settings.conditional)
    overloaded = verdict is not None and verdict.state == "overloaded"
    summary = with_model_errors(summary, prepared, errors, overloaded=overloaded)
    attainment = _attainment(prepared, outcomes)
    summary = with_verdict(summary, verdicts(attainment))
    write_json(staged / "summary.json", as_json(summary))
    write_table(staged / "metrics.parquet", metrics_table(outcomes))
    write_table(staged / "power.parquet", power_table(outcomes))
    text = _scenario_text(prepared)
    write_text(staged / "scenario.resolved.yaml", text)
    manifest = _manifest(prepared, settings, outcomes, summary, verdict, assumed, text)
    manifest["slo"] = attainment
    manifest["model_error"] = told(errors)
    manifest["wall_s"] = wall_s
    manifest["summary_sha256"] = file_hash(staged / "summary.json")
    manifest["outputs"] = {name: table_hash(staged / f"{name}.parquet") for name in TABLE_NAMES}
    write_json(staged / "manifest.json", sealed(manifest))
    publish(staged, final)


def part_folder(staged: Path, replication: int) -> Path:
    """Where the tables of one replication wait for the others."""
    return staged / f"part-{replication:05d}"


def assumed_facts(prepared: Prepared) -> list[str]:
    """Ids of the facts of a plan that nobody has published."""
    facts = prepared.catalog.facts
    return [
        fact
        for fact in prepared.plan.facts
        if fact in facts and facts[fact].kind in ("assumed", "unknown")
    ]


def catalog_hash(catalog: Catalog) -> str:
    """SHA-256 over every fact: id, value, band, unit, kind."""
    digest = sha256()
    for name in sorted(catalog.facts):
        fact = catalog.facts[name]
        line = (name, fact.value, fact.low, fact.high, fact.unit, fact.kind)
        digest.update(repr(line).encode())
    return digest.hexdigest()


def _manifest(
    prepared: Prepared,
    settings: Settings,
    outcomes: Sequence[Outcome],
    summary: Summary,
    verdict: Overload | None,
    assumed: list[str],
    text: str,
) -> dict[str, Any]:
    run = prepared.scenario.run
    return {
        "schema": RUN_SCHEMA,
        "factorysim": factorysim.__version__,
        "python": sys.version.split()[0],
        "os": platform.platform(),
        "cpu": cpu_name(),
        "scenario": {
            "name": settings.name,
            "question": prepared.scenario.question,
            "sha256": sha256(text.encode()).hexdigest(),
        },
        "catalog_sha256": catalog_hash(prepared.catalog),
        "inputs": [
            {"path": str(p), "sha256": file_hash(p)} for p in input_files(prepared.scenario)
        ],
        "seed": run.seed,
        "policies": dict(settings.policies),
        "kind": run.kind,
        "warmup": settings.warmup._asdict(),
        "window": settings.window._asdict(),
        "horizon_s": settings.horizon_s,
        "replications_asked": settings.asked,
        "conditional": settings.conditional,
        "interrupted": len(outcomes) < settings.asked,
        "overload": None if verdict is None else {**verdict._asdict(), "text": str(verdict)},
        "devices": prepared.layout.devices,
        "layout": {
            **prepared.layout._asdict(),
            "stations": [station._asdict() for station in prepared.layout.stations],
        },
        "assumed_facts": assumed,
        "notes": [*prepared.plan.notes, *repair_notes(prepared.scenario.streams)],
        "events": sum(outcome.closing.events for outcome in outcomes),
        "replications": [_closing(outcome) for outcome in outcomes],
        "metrics_without_value": sorted(n for n, line in summary.items() if line.value is None),
    }


def _attainment(prepared: Prepared, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Per stream: what is asked, the share of sessions that got it, and what it can become."""
    shares = shares_in_slo([one.metrics for one in outcomes if one.metrics is not None])
    return {
        name: {**dict(stream.slo), **pooled(shares.get(name, ()))._asdict()}
        for name, stream in prepared.scenario.streams.items()
    }


def _closing(outcome: Outcome) -> dict[str, Any]:
    closing = outcome.closing
    audit = outcome.metrics.audit if outcome.metrics is not None else closing.audit
    return {
        "replication": outcome.replication,
        "end_s": closing.end_s,
        "events": closing.events,
        "steps": closing.steps,
        "audit": [line._asdict() for line in audit],
        "stations": [line._asdict() for line in closing.stations],
    }


def input_files(scenario: ScenarioSpec) -> list[Path]:
    """Files of data that a run reads besides its scenario."""
    from factorysim.workload.readers.weka import weka_files
    from factorysim.workload.servegen import pool_files

    files = factory_files(scenario)
    for stream in scenario.streams.values():
        if stream.trace is not None:
            files += weka_files(Path(stream.trace))
        if stream.clients is not None:
            files += pool_files(Path(stream.clients.folder))
    return sorted(set(files))


def factory_files(scenario: ScenarioSpec) -> list[Path]:
    """Files that its factory is planned from: a graph, profiles, facts, and agents' tools."""
    names = [getattr(deployment.law, "file", None) for deployment in scenario.deployments.values()]
    names += [s.agent for s in scenario.streams.values() if s.agent and Path(s.agent).suffix]
    names += [scenario.catalog, getattr(scenario.topology, "graph", None)]
    return sorted({Path(name) for name in names if name is not None})


def cpu_name() -> str:
    """Give the processor's name, as its system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _scenario_text(prepared: Prepared) -> str:
    from factorysim.load import dump_scenario

    return dump_scenario(prepared.scenario)
