"""What a row of measurements was measured on and under, in this program's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from factorysim.spec.stream import LengthSpec
    from factorysim.study.measured.layout import Cut
    from factorysim.study.measured.metrics import Metric
    from factorysim.study.measured.rows import Row


class Closed(NamedTuple):
    """So many calls in flight at any time, all started at once; the whole run counts."""

    concurrency: int
    calls: int
    kind: Literal["closed"] = "closed"


class Queued(NamedTuple):
    """All calls queued at once; the whole run counts."""

    calls: int
    kind: Literal["queued"] = "queued"


class Offered(NamedTuple):
    """Poisson arrivals at a rate, or at the highest one that keeps p99 limits."""

    rate_per_s: float | None
    """Of all replicas; None: the highest within the limits, which is what a rate of tokens at
    "the highest valid rate" was, whatever the table says of it."""
    ttft_s: float
    tpot_s: float
    kind: Literal["offered"] = "offered"


class Static(NamedTuple):
    """One batch from beginning to end."""

    batch: int
    kind: Literal["static"] = "static"


class Steady(NamedTuple):
    """So many calls in flight, long after the start."""

    batch: int
    kind: Literal["steady"] = "steady"


class RecordedCall(NamedTuple):
    """A call as it was served."""

    at_ns: int
    """Its arrival, after that of the first."""
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    latency_s: float


class Recorded(NamedTuple):
    """Calls that came when they came; the whole run counts."""

    calls: tuple[RecordedCall, ...]
    """Of all replicas together, in order of arrival."""
    kv_tokens: int | None
    """Of each replica's cache; None: what memory leaves."""
    prefix_caching: bool
    """Whether a preempted call may find again what it had computed."""
    kind: Literal["recorded"] = "recorded"


Load: TypeAlias = Closed | Queued | Offered | Static | Steady | Recorded


class Conditions(NamedTuple):
    """Of one experiment; rows that differ in their metric alone share it."""

    llm: str
    device: str
    clock: float
    """Of the device, over its usual one."""
    cut: Cut
    weights: str
    compute: str
    kv: str
    engine: str
    """Family, as the catalog has it."""
    date: str
    load: Load
    prompt: LengthSpec
    output: LengthSpec
    max_sequences: int
    token_budget: int
    memory_fraction: float


class Settings(NamedTuple):
    """Of an engine, as far as somebody tells them."""

    max_sequences: int | None = None
    token_budget: int | None = None
    memory_fraction: float | None = None


class Understood(NamedTuple):
    """A row, and the experiment that it belongs to."""

    row: Row
    conditions: Conditions
    metric: Metric
    assumed: tuple[str, ...]
    """What the row does not say."""
