"""Rows that a simulation emits: facts, never statistics.

Each row is a flat tuple with the unit in every name. Instants are seconds after
the start of the run. "Not yet" and "not known" are None. A sink takes rows as
they happen; every table gets a `replication` column when it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from factorysim.physics.speculation import Pace

CHUNK_ROWS = 2_048
"""Rows handed on and turned into columns at a time: few enough to lie in a core's cache still."""


class SessionRow(NamedTuple):
    """A session that ended, failed, or was in flight at the end (`censored`)."""

    session: int
    stream: str
    sid: str
    agent: str
    outcome: str
    """`completed`, `failed`, `censored`."""
    arrived_s: float
    finished_s: float | None
    calls: int
    tools: int
    prompt_tokens: int
    output_tokens: int
    turns: int
    turn_max_s: float
    """The longest of its turns; of one in flight, so far."""
    active_s: float | None
    """Duration without the gaps on its critical path."""
    queue_s: float
    """This and the next eight: time on the critical path; they sum to the duration."""
    prefill_s: float
    decode_s: float
    stall_s: float
    """Preempted, waiting or recomputing."""
    kv_s: float
    network_s: float
    tool_queue_s: float
    tool_s: float
    gap_s: float


class CallRow(NamedTuple):
    """One LLM call as a replica served it."""

    call: int
    session: int
    stream: str
    deployment: str
    replica: int
    """-1: never routed."""
    outcome: str
    """`completed`, `rejected`, `failed`, `cancelled`, `censored`."""
    arrived_s: float
    """Sent by the session, for the first time; TTFT counts from here."""
    queued_s: float | None
    """At the replica, after the network."""
    scheduled_s: float | None
    """First step that computes some of it."""
    first_token_s: float | None
    finished_s: float | None
    """Last output token back at the session."""
    last_token_s: float | None
    """Last output token made by the replica."""
    prompt_tokens: int
    hit_tokens: int
    """Prompt tokens found in the KV cache at first admission."""
    computed_tokens: int
    """Prompt tokens computed for the first time."""
    recomputed_tokens: int
    """Tokens computed again after a preemption."""
    output_tokens: int
    """Made so far."""
    requested_tokens: int
    """Output tokens asked for."""
    preemptions: int
    held_s: float
    """From its arrival on, before it was sent to a replica: turned away and waiting to come
    again, or in the router's own queue."""
    attempts: int = 1
    """Times that it was sent: 1 where admission turned nothing away."""


class ToolRow(NamedTuple):
    """One tool call."""

    tool: int
    session: int
    stream: str
    cls: str
    deployment: str
    """The tools deployment, or `remote`."""
    host: int
    """-1 where no host was used."""
    outcome: str
    """`completed`, `failed`, `timeout` (as the LLM reads it), `rejected`, `censored`."""
    ready_s: float
    started_s: float | None
    """Admitted by the host."""
    finished_s: float | None
    remote_s: float
    cpu_s: float
    """Core-seconds on the reference core."""
    cores: float
    memory_bytes: float
    attempts: int = 1
    """Times that the harness tried, this one included."""
    asked_s: float | None = None
    """When the last attempt asked for cores, or for a sandbox; None: at `ready_s + remote_s`."""
    sandbox: int = -1
    """That it ran in; -1: none, or none yet."""
    sandbox_s: float | None = None
    """That the last attempt waited for its sandbox: for memory, and for the start; None: no host
    was used, or it waits yet."""


class SandboxRow(NamedTuple):
    """A sandbox that has ended, or that is there at the end of the run."""

    sandbox: int
    """Number in its deployment."""
    deployment: str
    host: int
    """-1: it waits for memory yet."""
    session: int
    """-1: it was kept ready for the next."""
    context: int
    """Of its session: a sub-agent may have a sandbox of its own."""
    outcome: str
    """`used`, `given_back`, `timed_out`; `taken`: it stood ready and goes on under another
    number; `held`: it is there at the end."""
    warm: int
    """1: it took the place of one that stood ready."""
    asked_s: float
    granted_s: float | None
    """Got memory; its start began."""
    ready_s: float | None
    ended_s: float | None
    tools: int
    """Attempts at tools that it has served."""
    memory_bytes: float


class StepRow(NamedTuple):
    """A run of steps: `steps` steps of one composition on one replica."""

    replica: int
    started_s: float
    finished_s: float
    steps: int
    step_fs: int
    """Duration of the first step."""
    slope_fs: int
    """By which each next step is longer."""
    decodes: int
    prompts: int
    prompt_tokens: int
    """Of all steps together, like the sums below."""
    emitted_tokens: int
    recomputed_tokens: int
    context_tokens: float
    """Read by decodes; whole, but where they speculate: there each context is its mean."""
    window_tokens: float
    pair_tokens: int
    prior_tokens: int
    waiting: int
    """Calls in the replica's queue as the run began."""
    kv_blocks: int
    """Held by running sequences after the run's first step was scheduled."""
    survivors: int
    """Decodes whose previous token came `stall_fs` before the run began."""
    stall_fs: int
    apart: int
    """Decodes whose first gap is a row of `gaps` instead, or that make their first token."""
    accepted_tokens: int = 0
    """Drafts that became output: emitted with the token before them, after a gap of 0."""


class RunStart(NamedTuple):
    """A run of steps as it began: what its first step is, and by how much each next one grows."""

    replica: int
    step_fs: int
    slope_fs: int
    decodes: int
    prompts: int
    chunk_tokens: int
    """Of prompts, in every step."""
    chunk_pairs: int
    """Pairs of a query and a key in the first step's chunks."""
    chunk_priors: int
    """Tokens cached before the first step's chunks."""
    context: int
    """Cached tokens that the decodes read in the first step; where they speculate, this and
    what is said of windows is in parts of a token, as many as `Pace.verifies`."""
    in_windows: int
    """Those of them inside sliding windows."""
    windows_grow: int
    """By how much the next step reads more inside windows."""
    waiting: int
    kv_blocks: int
    survivors: int
    stall_fs: int
    apart: int


RunNote: TypeAlias = tuple[int, float, float, int, int, int, "RunStart | tuple[int, ...]"]
"""A run as its replica writes it down when it ends: `steps`, `started_s`, `finished_s`,
`emitted_tokens`, `recomputed_tokens`, `accepted_tokens` of the `StepRow`, and how it began.
The sums over its steps follow from these, for thousands of runs at once."""


class StepChunk:
    """Many runs of steps as columns of `StepRow`; its rows where one goes through it.

    A run of several steps has one chunk of a prompt in each at the most.

    Examples
    --------
    >>> begun = RunStart(3, 100, 7, 5, 0, 0, 0, 0, 40, 0, 0, 0, 9, 5, 0, 0)
    >>> chunk = StepChunk.of([(2, 0.0, 207e-15, 10, 0, 0, begun)])
    >>> [(row.replica, row.steps, row.context_tokens) for row in chunk]
    [(3, 2, 85.0)]
    """

    def __init__(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        self.columns = columns
        """By name, int64 or float64."""

    @classmethod
    def of(cls, notes: Sequence[RunNote], pace: Pace | None = None) -> StepChunk:
        """Sum up runs as their replicas wrote them down; `pace` of those that speculate."""
        import numpy as np

        count = len(notes)
        steps, started, finished, emitted, recomputed, accepted, begun = (
            zip(*notes, strict=True) if notes else [()] * 7
        )
        values = zip(*begun, strict=True) if notes else [()] * len(RunStart._fields)
        run = {
            name: np.fromiter(value, np.int64, count)
            for name, value in zip(RunStart._fields, values, strict=True)
        }
        n = np.fromiter(steps, np.int64, count)
        triangle = n * (n - 1) // 2
        size = run["chunk_tokens"]
        grown, part = (1, 1) if pace is None else (pace.tokens, pace.verifies)
        context = n * run["context"] + triangle * (run["decodes"] * grown)
        windows = n * run["in_windows"] + triangle * run["windows_grow"]
        columns = {
            "started_s": np.fromiter(started, np.float64, count),
            "finished_s": np.fromiter(finished, np.float64, count),
            "steps": n,
            "prompt_tokens": n * size,
            "emitted_tokens": np.fromiter(emitted, np.int64, count),
            "recomputed_tokens": np.fromiter(recomputed, np.int64, count),
            "accepted_tokens": np.fromiter(accepted, np.int64, count),
            "context_tokens": context / part,
            "window_tokens": windows / part,
            "pair_tokens": n * run["chunk_pairs"] + triangle * size * size,
            "prior_tokens": n * run["chunk_priors"] + triangle * size,
            **run,
        }
        return cls({name: columns[name] for name in StepRow._fields})

    def __len__(self) -> int:
        return len(self.columns["replica"])

    def __iter__(self) -> Iterator[StepRow]:
        return map(StepRow, *(column.tolist() for column in self.columns.values()))


class GapRow(NamedTuple):
    """An exceptional gap between two tokens of a call: see its `cause`."""

    call: int
    at_s: float
    gap_s: float
    cause: str
    """`preemption`, `prefill` (behind prompts that went first), or `hand_off`."""


class HandOffRow(NamedTuple):
    """A call whose prompt was computed on one replica and whose tokens are made on another."""

    call: int
    prefill: str
    """Deployment; empty, and its replica -1, before one is chosen."""
    prefill_replica: int
    decode: str
    decode_replica: int
    queued_s: float | None
    """At the prefill replica."""
    scheduled_s: float | None
    prefilled_s: float | None
    asked_s: float | None
    """The decode replica, for blocks."""
    reserved_s: float | None
    landed_s: float | None
    joined_s: float | None
    """From then on it decodes."""
    tokens: int
    """Whose KV the decode replica needs."""
    held_tokens: int
    """Of them, those that it held already: the others moved."""
    moved_bytes: int
    preemptions: int
    """On the prefill replica."""


class TransferRow(NamedTuple):
    """Bytes that crossed the fabric."""

    kind: str
    src: int
    dst: int
    """Nodes of the graph; from its number of nodes on, stores of KV tiers."""
    size_bytes: int
    started_s: float
    finished_s: float
    slowed_s: float
    """Of it, lost to others: it would have landed so much earlier at its cap."""


class TierRow(NamedTuple):
    """Something that became of KV blocks, where there are tiers below HBM."""

    started_s: float
    finished_s: float
    tier: str
    event: str
    """`evict`: they left the tier; `store`: they were sent there; `fetch`: read from there for
    a call; `hit`: as the call was admitted it found so many tokens of its prompt thanks to
    the tier."""
    replica: int
    """-1: of no single one."""
    call: int
    """-1: for none."""
    blocks: int
    size_bytes: float
    hit_tokens: int


class EventRow(NamedTuple):
    """Something that went against the plan, at the instant at which it did."""

    at_s: float
    kind: str
    """`preempted`: a call lost its KV blocks to others; `turned_away`: the gateway did not let a
    call in; `no_memory`: a sandbox waits, since no host has memory for it."""
    entity: str
    """Where: `DEPLOYMENT/REPLICA`, a stream, a tools deployment."""
    detail: str
    """Whom, in words."""


class LinkRow(NamedTuple):
    """What one direction of a link carried in the measured window; none for 0 bytes."""

    link: str
    """``from -> to``, nodes of the graph, in quotes where a name reads like more than one;
    ``name x36`` stands for 36 interchangeable switches."""
    bandwidth_bytes_per_s: float
    carried_bytes: float
    """Of transfers, and of collectives that cross it; text of less than 64 KB is no transfer."""


class SampleRow(NamedTuple):
    """One value of a time series: the mean over a bin."""

    at_s: float
    """Middle of the bin."""
    series: str
    """`power_w` of racks and the `factory`; `busy_cores` of a tools deployment, and of `DPU cores`;
    `io_cores` that TLS, packets or storage took."""
    place: str
    """Rack, deployment, `factory`, `DPU cores`; of `io_cores` whose they are and the kind."""
    value: float


TABLES: dict[str, type] = {
    "sessions": SessionRow,
    "calls": CallRow,
    "tools": ToolRow,
    "sandboxes": SandboxRow,
    "steps": StepRow,
    "gaps": GapRow,
    "handoffs": HandOffRow,
    "transfers": TransferRow,
    "tiers": TierRow,
    "events": EventRow,
    "links": LinkRow,
    "timeseries": SampleRow,
}
"""Table name -> row type, in the order of the run directory."""


class RecordSink(Protocol):
    """Takes rows. Implementations keep, spill or drop them."""

    def rows(self, table: str, rows: list[tuple[object, ...]] | StepChunk) -> None:
        """Take many rows of one table, in order, those of `steps` as a chunk; they are its own."""
        ...


class AuditLine(NamedTuple):
    """One law of conservation, as a run kept it."""

    name: str
    ok: bool
    expected: float
    got: float
    detail: str


class StationLine(NamedTuple):
    """A station over the whole run, from two accumulators kept apart."""

    station: str
    capacity: float
    """Devices of a pool, or cores of a tools deployment."""
    arrivals: int
    departures: int
    area_s: float
    """Time integral of the number present."""
    sojourn_s: float
    """Sum of the times present."""
    busy_s: float
    """Device-seconds inside a step, or core-seconds."""


class EnergyLine(NamedTuple):
    """Joules of one rack over the whole run."""

    place: str
    accelerator_j: float
    """Of serving devices inside steps, idle draw included."""
    accelerator_idle_j: float
    """Of serving devices between steps."""
    host_j: float
    """Of tool hosts above their idle draw."""
    host_idle_j: float
    rest_j: float


class Closing(NamedTuple):
    """What a simulation says once, at its end."""

    end_s: float
    events: int
    audit: tuple[AuditLine, ...]
    stations: tuple[StationLine, ...]
    energy: tuple[EnergyLine, ...]
    steps: int
    rows: tuple[tuple[str, int], ...]
    """Rows handed to the sink, by table."""
