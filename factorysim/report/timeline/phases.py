"""What a call or a tool is at from when until when, out of the instants of its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

HALF_NS = 0.5e-9
"""Seconds below which there is nothing between two instants."""
CALL = ("held at the door", "network", "queue", "prefill", "decode", "network back")
HANDED = (
    "held at the door", "network", "queue", "prefill", "wait for blocks", "KV moves",
    "wait to join", "decode", "network back",
)  # fmt: skip
"""Of a call that is prefilled on one replica and decoded on another."""
TOOL = ("earlier attempts", "remote", "sandbox", "queue", "run")

CALL_COLUMNS = (
    "call", "session", "deployment", "replica", "outcome", "arrived_s", "queued_s", "scheduled_s",
    "first_token_s", "finished_s", "last_token_s", "prompt_tokens", "hit_tokens", "output_tokens",
    "preemptions", "held_s", "attempts",
)  # fmt: skip
HANDOFF_COLUMNS = (
    "call", "prefill", "prefill_replica", "decode", "decode_replica", "queued_s", "scheduled_s",
    "prefilled_s", "asked_s", "reserved_s", "landed_s", "joined_s", "moved_bytes",
)  # fmt: skip
TOOL_COLUMNS = (
    "tool", "session", "cls", "deployment", "host", "outcome", "ready_s", "started_s",
    "finished_s", "remote_s", "cpu_s", "cores", "attempts", "asked_s", "sandbox_s",
)  # fmt: skip


class Phases(NamedTuple):
    """Phases of many things, one after the other without a pause."""

    names: tuple[str, ...]
    bounds_s: Floats
    """Shape ``(things, phases + 1)``, never falling along a row."""


def call_phases(calls: Columns, end_s: float) -> Phases:
    """Phases of calls that one replica serves; what has not come about lasts until the end."""
    sent = calls["arrived_s"] + calls["held_s"]
    names = ("queued_s", "scheduled_s", "first_token_s", "last_token_s")
    instants = [calls["arrived_s"], sent, *(calls[name] for name in names)]
    return Phases(CALL, _bounds(instants, calls["finished_s"], end_s))


def handed_phases(calls: Columns, handoffs: Columns, end_s: float) -> Phases:
    """Phases of calls that are handed over; both tables have the same calls in one order."""
    sent = calls["arrived_s"] + calls["held_s"]
    names = ("queued_s", "scheduled_s", "prefilled_s", "reserved_s", "landed_s", "joined_s")
    between = [handoffs[name] for name in names]
    instants = [calls["arrived_s"], sent, *between, calls["last_token_s"]]
    return Phases(HANDED, _bounds(instants, calls["finished_s"], end_s))


def tool_phases(tools: Columns, end_s: float) -> Phases:
    """Phases of tool calls.

    The record tells of the last attempt: what went before it is one phase. A tool without a
    host (`remote`) works right after its remote wait.
    """
    import numpy as np

    ready, started, remote = tools["ready_s"], tools["started_s"], tools["remote_s"]
    asked = np.where(np.isnan(tools["asked_s"]), ready + remote, tools["asked_s"])
    asked = np.where(tools["host"] < 0, started, asked)
    asked = np.where(np.isnan(asked), ready + remote, asked)
    boxed = asked + tools["sandbox_s"]
    instants = [ready, np.maximum(asked - remote, ready), asked, boxed, started]
    return Phases(TOOL, _bounds(instants, tools["finished_s"], end_s))


def _bounds(instants: list[Floats], finished_s: Floats, end_s: float) -> Floats:
    """Make instants into bounds: one that is not known is that of the next which is."""
    import numpy as np

    last = np.where(np.isnan(finished_s), end_s, finished_s)
    bounds = np.stack([*instants, last], axis=1)
    bounds[np.isnan(bounds)] = np.inf
    bounds = np.minimum.accumulate(bounds[:, ::-1], axis=1)[:, ::-1]
    # Sums of seconds miss an instant by less than can be shown: that is no phase.
    for place in range(bounds.shape[1] - 2, 0, -1):
        after = bounds[:, place + 1]
        bounds[:, place] = np.where(after - bounds[:, place] < HALF_NS, after, bounds[:, place])
    first = bounds[:, :1]
    bounds[:, :-1] = np.where(bounds[:, :-1] - first < HALF_NS, first, bounds[:, :-1])
    return bounds
