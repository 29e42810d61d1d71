"""Small worlds for tests of the simulation: a plan without a catalog, demand from a list."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, get_type_hints

import numpy as np

from factorysim.graph.factory import LinkTable, Path
from factorysim.graph.plan import FactoryPlan, HostPlan, RackPlan, ReplicaPlan, ServePlan, ToolPlan
from factorysim.physics.power import PowerModel, Weights
from factorysim.physics.step import Activity, Piece
from factorysim.records import TABLES, StepChunk, StepRow
from factorysim.sim.factory import run_replication
from factorysim.spec.scenario import ScenarioSpec
from factorysim.workload.session import LlmNode, Session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from factorysim.physics.step import StepLaw, StepRuns
    from factorysim.records import Closing
    from factorysim.workload.demand import Demand

FS = 10**15
MS = 10**12


class UnitLaw(NamedTuple):
    """A prompt token costs `token_fs`, a step with decodes `decode_fs`, a drawn prompt `draw_s`."""

    token_fs: int = MS
    decode_fs: int = MS
    draw_s: float = 0.0
    exponential: bool = False
    window: int | None = None
    window_fs: int = 0
    link_token_bytes: float = 0.0

    @property
    def draws(self) -> bool:
        return self.draw_s > 0

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        return max(1, (self.decode_fs if decodes else 0) + self.token_fs * prompt_tokens)

    def piece(self, decodes: int, context: int) -> Piece:
        return Piece(0, 0, None)

    def chunk(self, tokens: int, prior: int) -> int:
        return 0

    def chunk_slope(self, tokens: int) -> int | None:
        return 0

    def prompt(self, u: float) -> int:
        times = -np.log(u) if self.exponential else 1.0
        return int(self.draw_s * times * FS)

    def activity(self, runs: StepRuns) -> Activity:
        busy = runs.steps * 1e-4
        return Activity(busy, busy, busy * 0, busy, busy, busy * 0, busy * 0)


class Listed:
    """Demand from a list of sessions."""

    def __init__(
        self, name: str, sessions: Sequence[Session], concurrency: int | None = None
    ) -> None:
        self.name = name
        self.concurrency = concurrency
        self.think_ns = 0
        self._sessions = sessions

    def sessions(self) -> Iterator[Session]:
        return iter(self._sessions)


def step_chunk(rows: Sequence[StepRow]) -> StepChunk:
    """Rows of steps as the meter takes them."""
    kinds = get_type_hints(StepRow)
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    return StepChunk(
        {name: np.array(c, kinds[name]) for name, c in zip(StepRow._fields, columns, strict=True)}
    )


class Rows:
    """A sink that keeps everything, as named rows."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Any]] = defaultdict(list)

    def rows(self, table: str, rows: list[tuple[object, ...]] | StepChunk) -> None:
        self.tables[table].extend(TABLES[table](*row) for row in rows)


def calls(
    times_ms: Sequence[float], prompt: int = 10, output: int = 1, *, prefix: str = "c"
) -> list[Session]:
    """Sessions of one call each."""
    return [
        Session(f"{prefix}{i}", int(t * 1e6), [LlmNode(prompt, output)])
        for i, t in enumerate(times_ms)
    ]


def scenario(**changes: Any) -> ScenarioSpec:
    """One deployment of one LLM, one stream named `s`, serving rules as given."""
    run = {"window": "100 s", "drain": "0 s", "bins": 10, **changes.pop("run", {})}
    serving = {"token_budget": 128, "max_sequences": 16, **changes.pop("serving", {})}
    streams = changes.pop("streams", {"s": {}})
    one_call = {"prompt_tokens": {"mean": 1}, "output_tokens": {"mean": 1}}
    stream = {
        "llm": "m",
        "calls": one_call,
        "arrivals": {"process": "poisson", "rate": "1 /s"},
    }
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "?",
            "topology": "teaching/mm1",
            "llms": {"m": {"llm": "any"}},
            "deployments": {"d": {"pool": "gpu", "llm": "m"}},
            "streams": {name: {**stream, **spec} for name, spec in streams.items()},
            "serving": serving,
            "run": run,
            **changes,
        }
    )


def plan(
    law: StepLaw | None = None,
    *,
    replicas: int = 1,
    blocks: int = 1000,
    latency_fs: int = 0,
    hosts: int = 0,
    cores: int = 4,
    discipline: str = "ps",
    door_fs: int = 0,
    devices: int = 1,
) -> FactoryPlan:
    """Replicas of a device (more straddle servers), all in one rack, and tool hosts in another."""
    path = Path((0,), latency_fs, 1e9)
    serve = ServePlan(
        name="d",
        llm="m",
        pool="gpu",
        device=None,  # type: ignore[arg-type]
        law=UnitLaw() if law is None else law,
        power=PowerModel(100.0, 500.0, Weights(0.75, 0.5, 0.1, 0.15)),
        kv_blocks=blocks,
        replicas=tuple(
            ReplicaPlan(
                tuple(range(i * devices + 1, (i + 1) * devices + 1)),
                0,
                latency_fs,
                1e9,
                devices > 1,
            )
            for i in range(replicas)
        ),
        devices_per_replica=devices,
        door_fs=door_fs,
    )
    host = HostPlan(0, 1, cores, cores, 1.0, 1e9, 0, 1e9, 50.0, 150.0)
    tools = ToolPlan("tools", "cpu", discipline, 1.0, (host,) * hosts)
    return FactoryPlan(
        serve=(serve,),
        tools=(tools,) if hosts else (),
        racks=(RackPlan("r0", "gpu", 10.0), RackPlan("r1", "cpu", 5.0)),
        links=LinkTable(("door -> r0",), np.array([1e9]), np.array([latency_fs / FS])),
        routes=lambda a, b: path,  # type: ignore[arg-type]
        pue=1.1,
        facts=(),
        clients=0,
    )


class Ran(NamedTuple):
    """What came out of a replication."""

    closing: Closing
    sessions: list[Any]
    calls: list[Any]
    tools: list[Any]
    steps: list[Any]

    def broken(self) -> list[str]:
        """Names of the laws that were broken."""
        return [line.name for line in self.closing.audit if not line.ok]


def run(
    spec: ScenarioSpec,
    factory: FactoryPlan,
    demands: Sequence[Demand],
    *,
    horizon_s: float = 100.0,
    replication: int = 0,
) -> Ran:
    """Simulate one replication and keep its rows."""
    sink = Rows()
    closing = run_replication(
        spec,
        factory,
        demands,
        replication=replication,
        horizon_s=horizon_s,
        arrivals_end_s=horizon_s,
        sink=sink,
    )
    tables = sink.tables
    return Ran(closing, tables["sessions"], tables["calls"], tables["tools"], tables["steps"])
