"""Worlds of the scorecard: scenarios of a few devices, run through the whole simulator.

Nothing here is a model of a queue: a scenario is validated, planned and simulated as
a user's is, and must pass its audit. Only the demand is made here where a scenario
cannot say it (a tool without an LLM call, feedback by chance).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from factorysim.rng import key_bytes, stream
from factorysim.store.memory import MemorySink
from factorysim.workload.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.graph.plan import HostPlan
    from factorysim.records import StepChunk
    from factorysim.run.prepare import Prepared
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.store.tables import Columns
    from factorysim.workload.demand import Demand
    from factorysim.workload.session import Node

    Floats = npt.NDArray[np.float64]

STREAM = "s"
_SEED = 20


def seed_of(station: str) -> int:
    """Seed of a station: no two share their draws, else one unlucky draw would fail many."""
    return int.from_bytes(key_bytes(_SEED, station, size=4), "little")


def scenario(
    station: str,
    law: Mapping[str, Any],
    *,
    replicas: int = 1,
    discipline: str = "fcfs",
    calls: tuple[int, int] = (1, 1),
    arrivals: Mapping[str, Any] | None = None,
    limit: int | None = None,
    serving: Mapping[str, Any] | None = None,
) -> ScenarioSpec:
    """Scenario of replicas that pull from one queue, and of one tool host.

    Parameters
    ----------
    law
        A `FixedLaw`.
    discipline
        Of the tool host.
    calls
        Tokens of prompt and output of a call.
    limit
        Sessions in all; without one they come to the end.
    serving
        Over one sequence at a time, first come first served.
    """
    from factorysim.spec.scenario import ScenarioSpec

    prompt, output = calls
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "Does the simulator reproduce a queue that has a formula?",
            "topology": {
                "schema": "factorysim.topology/1",
                "question": "What has no network and no latency?",
                "racks": {"gpu": {"rack": "h100_sxm", "count": replicas}},
                "fabric": {"kind": "none"},
            },
            "llms": {"m": {"llm": "llama_3_1_8b"}},
            "deployments": {
                "serve": {
                    "pool": "gpu",
                    "llm": "m",
                    "replicas": replicas,
                    "law": {"kind": "fixed", **law},
                },
                "tools": {
                    "role": "tools",
                    "pool": "gpu.cpu",
                    "replicas": 1,
                    "discipline": discipline,
                },
            },
            "streams": {
                STREAM: {
                    "llm": "m",
                    "calls": {"prompt_tokens": {"mean": prompt}, "output_tokens": {"mean": output}},
                    "arrivals": arrivals or {"process": "poisson", "rate": "1 /s"},
                    "limit": limit,
                }
            },
            "serving": {
                "max_sequences": 1,
                "router": {"policy": "shared_queue"},
                **(serving or {}),
            },
            "run": {"warmup": "0 s", "bins": 10, "seed": seed_of(station)},
        }
    )


@lru_cache(maxsize=4)
def _prepared(text: str) -> Prepared:
    from factorysim.run.prepare import prepare
    from factorysim.spec.scenario import ScenarioSpec

    return prepare(ScenarioSpec.model_validate_json(text))


def prepared(spec: ScenarioSpec) -> Prepared:
    """Plan a scenario; the replications of a station share it."""
    return _prepared(spec.model_dump_json(by_alias=True))


def host_of(spec: ScenarioSpec) -> HostPlan:
    """Return the first tool host of a scenario."""
    return prepared(spec).plan.tools[0].hosts[0]


def whole_host(spec: ScenarioSpec, share: int = 1) -> float:
    """Cores with which a tool keeps an equal share of its host busy, alone.

    Under processor sharing that is all that its threads yield, so that the next job
    is felt at once.
    """
    tools = prepared(spec).plan.tools[0]
    cores = tools.hosts[0].cores
    return cores * (tools.smt_yield if tools.discipline == "ps" else 1.0) / share


@dataclass(slots=True)
class Drawn:
    """Demand whose sessions are drawn here; `workload.Demand` says what each field is."""

    name: str
    concurrency: int | None
    think_ns: int
    draw: Callable[[], Iterator[Session]]

    def sessions(self) -> Iterator[Session]:
        """Yield sessions in order."""
        return self.draw()


def poisson_sessions(
    station: str,
    rate: float,
    sessions: int,
    replication: int,
    nodes: Callable[[np.random.Generator], Sequence[Node]],
) -> Drawn:
    """Sessions that come at random; `nodes` draws what one is made of."""
    seed = seed_of(station)

    def drawn() -> Iterator[Session]:
        gaps = stream(seed, "arrivals", replication).exponential(1.0, sessions)
        draw = stream(seed, "nodes", replication)
        for number, at_s in enumerate(np.cumsum(gaps) / rate):
            yield Session(f"t{number}", round(float(at_s) * 1e9), nodes(draw))

    return Drawn(STREAM, None, 0, drawn)


def cycling_sessions(
    station: str,
    population: int,
    think_s: float,
    replication: int,
    nodes: Callable[[np.random.Generator], Sequence[Node]],
) -> Drawn:
    """So many sessions at any time; each is drawn as it begins."""

    def drawn() -> Iterator[Session]:
        draw = stream(seed_of(station), "nodes", replication)
        for number in count():
            yield Session(f"t{number}", 0, nodes(draw))

    return Drawn(STREAM, population, round(think_s * 1e9), drawn)


class _Served(MemorySink):
    """Keeps calls, tools and sessions, of which all that is compared is made."""

    def rows(self, table: str, rows: list[tuple[Any, ...]] | StepChunk) -> None:
        """Take rows, and drop those of other tables."""
        if table in ("calls", "tools", "sessions"):
            super().rows(table, rows)


def run(
    spec: ScenarioSpec,
    replication: int,
    horizon_s: float,
    demand: Demand | None = None,
) -> MemorySink:
    """Simulate one replication, and check its audit.

    Raises
    ------
    AuditError
        If a law of conservation is broken: no number of such a run means anything.
    """
    from factorysim.run.prepare import build_demands
    from factorysim.run.replication import check_audit
    from factorysim.sim.factory import run_replication

    ready = prepared(spec)
    demands = build_demands(spec, replication) if demand is None else [demand]
    sink = _Served()
    closing = run_replication(
        ready.scenario,
        ready.plan,
        demands,
        replication=replication,
        horizon_s=horizon_s,
        arrivals_end_s=horizon_s,
        sink=sink,
    )
    check_audit(closing.audit, replication)
    return sink


def by_arrival(table: Columns, came: str) -> dict[str, Floats]:
    """Columns of a table in the order of arrival, those of words left out."""
    order = np.argsort(np.asarray(table[came]), kind="stable")
    return {
        name: np.asarray(column, float)[order]
        for name, column in table.items()
        if isinstance(column, np.ndarray)
    }
