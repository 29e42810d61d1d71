"""The sessions that a twin is fitted to: all in memory, and therefore not too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import Fault, TraceError
from factorysim.workload.session import LlmNode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from factorysim.workload.session import Session

NODE_BYTES = 1_000
"""Of a call, tool or gap with its share of a session: 509 thousand calls took 510 MB."""
BLOCK_BYTES = 80
"""Of an id of a block, looked up when calls are joined: 250 thousand calls took 460 MB more."""
HELD_BYTES = 2 * 10**9


def held(sessions: Iterable[Session], path: Path) -> list[Session]:
    """Keep sessions, as long as they fit.

    Raises
    ------
    TraceError
        If they would take more than `HELD_BYTES`.
    """
    kept: list[Session] = []
    taken = 0
    for session in sessions:
        taken += sum(map(_taken, session.nodes)) if session.hash_scope == "global" else 0
        taken += NODE_BYTES * len(session.nodes)
        if taken > HELD_BYTES:
            found = f"more than {len(kept):,} sessions, which take {HELD_BYTES / 1e9:g} GB"
            cure = f"fit a part: `--limit {len(kept)}`, or what `trace cut --sample 10%` writes"
            raise TraceError(Fault(str(path), "", found, "what a fit can keep in memory", cure))
        kept.append(session)
    return kept


def _taken(node: object) -> int:
    if not isinstance(node, LlmNode):
        return 0
    return BLOCK_BYTES * sum(count for _, count in node.hashes)
