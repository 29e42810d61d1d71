"""What a manifest and a summary hold, so that whatever reads them may trust their types.

Whoever changes them can seal them again. What is checked here is what reports, figures and
timelines read; keys beside are left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from factorysim.errors import Fault
from factorysim.marked import dotted, shown
from factorysim.metrics.names import metric

if TYPE_CHECKING:
    from typing import Self

    from pydantic_core import ErrorDetails

Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Few = Annotated[int, Field(ge=0, le=10**7)]
"""Replicas and the like, which are gone through one by one."""
Some = Annotated[int, Field(gt=0, le=10**7)]
LATEST_S = 9e9
"""Nearly three centuries: nanoseconds of it, of which timelines are made, are 64 bits."""
Instant = Annotated[float, Field(ge=0, le=LATEST_S)]
Share = Annotated[float, Field(ge=0, le=1)]
Limit = Annotated[float, Field(gt=0, le=1e11)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SHORTEST_S = 1e-9
"""Of a window: instants are not told apart further, and rates are over its length."""
WRITTEN = "what this version writes of a run"


class Written(BaseModel):
    """A map that we wrote."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Scenario(Written):
    """What was run."""

    name: str
    question: str
    sha256: Hash


class Input(Written):
    """A file of data."""

    path: str
    sha256: Hash


class WarmUp(Written):
    """What was deleted."""

    seconds: Instant
    how: str
    note: str


class Window(Written):
    """What was measured."""

    start_s: Instant
    end_s: Instant

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end_s < self.start_s + SHORTEST_S:
            raise ValueError("an end after the start")
        return self


class Overload(Written):
    """Whether the load was sustained."""

    state: Literal["steady", "overloaded", "unsettled"]
    text: str


class Slo(Written):
    """What a stream asks for, and what it got."""

    ttft: Limit | None
    tpot: Limit | None
    turn: Limit | None
    session: Limit | None
    attain: Share
    share: Share | None
    least: Share | None
    most: Share | None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not _paired(self.least, self.most):
            raise ValueError("least at most as large as most, or neither")
        return self


class Station(Written):
    """A deployment."""

    name: str
    pool: str
    kind: Literal["serve", "tools"]
    llm: str
    first_replica: Few
    replicas: Some
    devices_per_replica: Few
    capacity: Annotated[Number, Field(gt=0)]
    kv_blocks: Count
    block_tokens: Count
    max_sequences: Count
    token_budget: Annotated[int, Field(ge=0, lt=2**63)]
    """Schedulers without one have 2**62."""

    @model_validator(mode="after")
    def _serves(self) -> Self:
        if self.kind == "serve" and not (self.devices_per_replica and self.max_sequences):
            raise ValueError("devices and sequences of a deployment that serves")
        return self


class Layout(Written):
    """The factory, as metrics see it."""

    stations: list[Station]
    idle_devices: Few

    @model_validator(mode="after")
    def _numbered(self) -> Self:
        """Replicas have one row of numbers: tables tell them apart by nothing else."""
        serving = [station for station in self.stations if station.kind == "serve"]
        firsts = accumulate((station.replicas for station in serving), initial=0)
        if [station.first_replica for station in serving] != list(firsts)[:-1]:
            raise ValueError("deployments whose replicas are numbered one after the other")
        return self


class Law(Written):
    """A law of conservation, as a replication kept it."""

    name: str
    ok: bool
    expected: Number
    got: Number
    detail: str


class Replication(Written):
    """How a replication ended."""

    replication: Few
    end_s: Instant
    audit: list[Law]


class ModelError(Written):
    """What is known of the error of the model."""

    title: str = Field(alias="class")
    reason: str | None
    never_compared: list[str]
    text: str


class Manifest(Written):
    """All that is read of ``manifest.json``."""

    factorysim: str
    python: str
    os: str
    cpu: str
    scenario: Scenario
    catalog_sha256: Hash
    inputs: list[Input]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    policies: dict[str, str]
    kind: Literal["steady_state", "terminating"]
    warmup: WarmUp
    window: Window
    horizon_s: Instant
    replications_asked: Few
    conditional: str
    interrupted: bool
    overload: Overload | None
    slo: dict[str, Slo]
    devices: Few
    layout: Layout
    assumed_facts: list[str]
    notes: list[str]
    events: Count
    replications: Annotated[list[Replication], Field(min_length=1)]
    model_error: ModelError
    wall_s: Instant
    summary_sha256: Hash
    outputs: dict[str, Hash]

    @field_validator("replications")
    @classmethod
    def _each_once(cls, found: list[Replication]) -> list[Replication]:
        if len({one.replication for one in found}) < len(found):
            raise ValueError("each replication once")
        return found


def _paired(low: float | None, high: float | None) -> bool:
    """Whether there are both ends, in order, or none."""
    if low is None or high is None:
        return low is high
    return low <= high


class Line(Written):
    """A metric over all replications."""

    value: Any
    ci_low: Number | None
    ci_high: Number | None
    n: Count
    reason: str | None
    model_low: Number | None
    model_high: Number | None

    @model_validator(mode="after")
    def _paired(self) -> Self:
        ends = ((self.ci_low, self.ci_high), (self.model_low, self.model_high))
        if not all(_paired(low, high) for low, high in ends):
            raise ValueError("both ends of an interval, or none")
        return self


SUMMARY: TypeAdapter[dict[str, Line]] = TypeAdapter(dict[str, Line])


def manifest_faults(manifest: Mapping[str, Any], where: str, cure: str) -> list[Fault]:
    """Give all that is wrong with what a manifest holds."""
    try:
        Manifest.model_validate(manifest)
    except ValidationError as error:
        return [_fault(one, where, cure) for one in error.errors(include_url=False)]
    return []


def summary_faults(summary: object, where: str, cure: str) -> list[Fault]:
    """Give all that is wrong with what a summary holds; numbers must be of metrics that are."""
    try:
        lines = SUMMARY.validate_python(summary)
    except ValidationError as error:
        return [_fault(one, where, cure) for one in error.errors(include_url=False)]
    return [
        Fault(where, shown(name), found, expected, cure)
        for name, line in lines.items()
        for found, expected in _unlike(name, line)
    ]


def _unlike(name: str, line: Line) -> Iterator[tuple[str, str]]:
    """Hold a line to what the table of names says of it."""
    try:
        unit = metric(name).unit
    except KeyError:
        yield "a name that is no metric's", "one of this version's metrics"
        return
    value, text = line.value, unit == "text"
    number = isinstance(value, float | int) and not isinstance(value, bool) and isfinite(value)
    if value is not None and not (isinstance(value, str) if text else number):
        yield shown(value), "a text" if text else "a number"


def _fault(details: ErrorDetails, where: str, cure: str) -> Fault:
    key = dotted(details["loc"])
    if details["type"] == "missing":
        return Fault(where, key, "nothing", WRITTEN, cure)
    if details["type"] == "value_error":
        return Fault(where, key, shown(details["input"]), str(details["ctx"]["error"]), cure)
    expected = EXPECTED.get(details["type"], details["msg"].removeprefix("Input should be "))
    return Fault(where, key, shown(details["input"]), expected, cure)


EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a map",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a map",
    "string_pattern_mismatch": "a SHA-256 hash",
    "string_type": "a text",
    "too_short": "at least one",
}
"""Type of an error of pydantic's -> what was expected, in the words of other messages."""
