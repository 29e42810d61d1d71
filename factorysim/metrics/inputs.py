"""What metrics are computed from: the tables of one replication, its window, its stations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    import numpy as np
    import numpy.typing as npt

    from factorysim.physics.speculation import Pace
    from factorysim.records import Closing
    from factorysim.store import Columns

    Derive = Callable[[Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[np.float64]]]

SESSION_COLUMNS = (
    "session", "stream", "outcome", "arrived_s", "finished_s", "turns", "turn_max_s", "active_s",
    "queue_s", "prefill_s", "decode_s", "stall_s", "kv_s", "network_s", "tool_queue_s", "tool_s",
    "gap_s",
)  # fmt: skip
CALL_COLUMNS = (
    "call", "session", "stream", "deployment", "outcome", "arrived_s", "queued_s", "scheduled_s",
    "first_token_s", "finished_s", "last_token_s", "prompt_tokens", "hit_tokens",
    "computed_tokens", "recomputed_tokens", "output_tokens", "requested_tokens", "held_s",
    "attempts",
)  # fmt: skip
TOOL_COLUMNS = (
    "deployment", "outcome", "ready_s", "started_s", "finished_s", "remote_s", "cpu_s", "attempts",
    "asked_s",
)  # fmt: skip
SANDBOX_COLUMNS = (
    "session", "warm", "asked_s", "granted_s", "ready_s", "ended_s", "memory_bytes",
)  # fmt: skip
STEP_COLUMNS = (
    "replica", "started_s", "finished_s", "steps", "step_fs", "slope_fs", "decodes", "prompts",
    "prompt_tokens", "emitted_tokens", "context_tokens", "window_tokens", "pair_tokens",
    "prior_tokens", "waiting", "kv_blocks", "survivors", "stall_fs", "apart", "accepted_tokens",
    "flops", "bytes_moved", "active_j", "partner_flops", "partner_bytes_moved",
    "partner_active_j", "expert_imbalance",
)  # fmt: skip
HANDOFF_COLUMNS = (
    "call", "prefill", "decode", "queued_s", "scheduled_s", "prefilled_s", "asked_s", "reserved_s",
    "landed_s", "joined_s", "moved_bytes",
)  # fmt: skip
GAP_COLUMNS = ("at_s", "gap_s")
TIER_COLUMNS = ("finished_s", "tier", "event", "call", "size_bytes", "hit_tokens")
LINK_COLUMNS = ("link", "bandwidth_bytes_per_s", "carried_bytes")
SERIES_COLUMNS = ("at_s", "series", "place", "value")


class Window(NamedTuple):
    """What of a run is measured: seconds after its start."""

    start_s: float
    """End of the warm-up."""
    end_s: float

    @property
    def length_s(self) -> float:
        """Seconds of the clock window."""
        return self.end_s - self.start_s

    def until(self, end_s: float) -> Window:
        """Cut the window where the run ended."""
        return Window(self.start_s, max(self.start_s, min(self.end_s, end_s)))


class Partner(NamedTuple):
    """The other side of a split deployment; peaks are of one device."""

    pool: str
    devices_per_replica: int
    capacity: float
    """Its devices."""
    peak_flops: float | None
    peak_bytes: float | None
    idle_w: float
    experts: bool = False
    """Whether the experts are on this side."""


class Station(NamedTuple):
    """A deployment as metrics see it; peaks are of one device."""

    name: str
    pool: str
    kind: Literal["serve", "tools"]
    llm: str
    first_replica: int
    """Number of its first replica among all replicas of the factory."""
    replicas: int
    devices_per_replica: int
    capacity: float
    """Serving devices, or cores of tool hosts."""
    peak_flops: float | None
    """FLOP/s at the precision that it computes in; None where unknown."""
    peak_bytes: float | None
    """B/s."""
    idle_w: float
    """Draw of one device between steps; 0 of tools, whose hosts are racks' rows."""
    kv_blocks: int
    block_tokens: int
    max_sequences: int
    token_budget: int
    router: str = ""
    """Deployments of which a router chooses: they share one load, others do not."""
    pace: Pace | None = None
    """Of decodes that speculate."""
    partner: Partner | None = None
    """Of a split deployment."""
    elastic: bool = False
    """Whether its tools have as many cores as they ask for."""
    most: int | None = None
    """Tools at once, of an elastic one."""

    @property
    def expert_pool(self) -> str:
        """Pool that holds the experts of its LLM."""
        other = self.partner
        return other.pool if other is not None and other.experts else self.pool

    @property
    def decode_tokens(self) -> int:
        """That a step computes for a sequence that decodes: more where it verifies drafts."""
        return 1 if self.pace is None else self.pace.draft_tokens + 1


class Spike(NamedTuple):
    """A time in which more sessions of a stream arrive than usual; seconds of the run."""

    stream: str
    name: str
    """Names of several that overlap are joined by ``+``."""
    start_s: float
    end_s: float


class Layout(NamedTuple):
    """The factory as metrics see it."""

    stations: tuple[Station, ...]
    devices: int
    """That serve."""
    pue: float
    carbon_g_per_kwh: float | None
    usd_per_kwh: float | None
    tenants: tuple[tuple[str, str], ...] = ()
    """Stream and tenant, of streams that have one."""
    tiers: tuple[str, ...] = ("hbm",)
    """Of the KV cache."""
    tools_fail: bool = False
    """Whether an agent says what it does when a tool fails."""
    spikes: tuple[Spike, ...] = ()
    """Of its streams' arrivals, in order of time."""
    idle_devices: int = 0
    """In the same pools, without any deployment on them."""

    def serving(self) -> tuple[Station, ...]:
        """Deployments of LLMs, in order of their replicas."""
        return tuple(station for station in self.stations if station.kind == "serve")


class Tables(NamedTuple):
    """One replication. `steps` comes in groups, since it may be larger than memory."""

    sessions: Columns
    calls: Columns
    tools: Columns
    steps: Iterable[Columns]
    gaps: Columns
    handoffs: Columns
    timeseries: Columns
    closing: Closing
    derive: Derive
    """Gives the columns of `steps` that a law adds, for other runs of the same replicas."""
    tiers: Columns | None = None
    """Of KV blocks; None where there are no tiers below HBM."""
    sandboxes: Columns | None = None
    """None where tools run in none."""
    links: Columns | None = None
    """Of what they carried in the window; None: not recorded."""


class Value(NamedTuple):
    """A metric of one replication; without a value, the reason why."""

    name: str
    value: float | str | None
    n: int = 0
    """Observations behind it; 0 where it is not a statistic of a sample."""
    reason: str = ""
    by: str = "all"
    """`all`, or what it is broken down by: `stream`, `llm`, `deployment`, `replica`, `tenant`,
    `tier`, `link`, `spike`, or the kind of `io_work`."""
    key: str = ""
