"""Topology files: which racks stand there, and what joins them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from factorysim.spec.base import BytesPerSecond, Name, Seconds, Spec


class RackSpec(Spec):
    """So many racks of one kind of the catalog; the key is their pool's name."""

    rack: str
    """Id of a rack of the catalog, or of a single device (a server of one)."""
    count: int = Field(default=1, ge=1, le=100_000)
    per_row: int | None = Field(default=None, ge=1)
    """Racks a row for the drawing; no effect on results."""


class FabricSpec(Spec):
    """The scale-out network between racks."""

    kind: Literal["rail_optimised", "leaf_spine", "single_switch", "none"] = "leaf_spine"
    """`none` joins nothing: every replica must fit in one scale-up domain."""
    leaf: str = "spectrum6"
    """Switch of the catalog."""
    spine: str = "spectrum6"
    oversubscription: float = Field(default=1.0, ge=1.0, le=64.0)
    """Leaf bandwidth down over bandwidth up."""
    client_bandwidth: BytesPerSecond = 1.25e11
    """Of the door to the outside, per direction."""
    client_latency: Seconds = 0.0
    """From a client to the door, one way."""
    session_bandwidth: BytesPerSecond = 1.25e9
    """Of one session's own access to the door: 10 Gb/s, a guess."""


class TopologySpec(Spec):
    """A factory: racks by pool, and the fabric that joins them."""

    schema_: Literal["factorysim.topology/1"] = Field(
        default="factorysim.topology/1", alias="schema"
    )
    question: str | None = None
    description: str | None = None
    racks: dict[Name, RackSpec] = Field(default_factory=dict)
    fabric: FabricSpec = FabricSpec()
    variant: str | None = None
    """Operating point of the catalog (`maxlps`, `max_q`) for all devices."""
    graph: str | None = None
    """A GraphML or node-link JSON file that replaces `racks` and `fabric`."""
