"""Which sessions of a run are shown: whole ones, evenly over the time of each stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from factorysim.report.timeline.view import View, evenly, no_rows, picked
from factorysim.store import join_columns

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from factorysim.store import Columns

    Ints = npt.NDArray[np.int64]

SLICES_A_CALL, SLICES_A_TOOL = 6, 3
"""With the phases that most have, and a gap now and then: to foresee what a session takes."""
CRITICAL = (
    "queue_s", "prefill_s", "decode_s", "stall_s", "kv_s", "network_s", "tool_queue_s", "tool_s",
    "gap_s",
)  # fmt: skip
TOLD = ("sid", "agent", "outcome", "calls", "tools", "turns", "prompt_tokens", "output_tokens")
COLUMNS = ("session", "stream", "arrived_s", "finished_s", *TOLD, *CRITICAL)


class Chosen(NamedTuple):
    """Which sessions are shown."""

    rows: Columns
    """By stream, then as they arrived."""
    of_stream: Mapping[str, tuple[int, int]]
    """Stream -> sessions that are shown, and that last into the window."""

    @property
    def shown(self) -> int:
        """How many are shown."""
        return len(self.rows["session"])

    @property
    def total(self) -> int:
        """How many last into the window."""
        return sum(total for _, total in self.of_stream.values())

    def at(self, session: Ints) -> Ints:
        """Rows of sessions, all of which are shown."""
        import numpy as np

        order = np.argsort(self.rows["session"])
        return order[np.searchsorted(self.rows["session"][order], session)]


def choose(view: View, most: int | None, slices: int) -> Chosen:
    """Choose whole sessions, evenly over the time of each stream.

    Parameters
    ----------
    most
        Sessions at the most; None: as many as give about so many `slices`.
    """
    import numpy as np

    names = ("session", "stream", "arrived_s", "finished_s", "calls", "tools")
    groups = view.inside("sessions", names, "arrived_s", "finished_s")
    found = join_columns(groups, no_rows("sessions", names))
    words, total = np.array(found["stream"].words or ("",)), len(found["session"])
    stream = words[found["stream"].codes]
    order = np.lexsort((found["session"], found["arrived_s"], stream))
    if most is None:
        weight = 2 + SLICES_A_CALL * found["calls"] + SLICES_A_TOOL * found["tools"]
        most = max(1, int(slices * total / max(1, int(weight.sum()))))
    kept = order[evenly(total, most)]
    counts = {
        str(name): (int((stream[kept] == name).sum()), int((stream == name).sum()))
        for name in np.unique(stream)
    }
    return Chosen(_rows(view, found["session"][kept]), counts)


def _rows(view: View, wanted: Ints) -> Columns:
    """Read all of sessions, in the order given."""
    import numpy as np

    parts = [
        picked(group, np.isin(group["session"], wanted))
        for group in view.groups("sessions", COLUMNS)
    ]
    found = join_columns(parts, no_rows("sessions", COLUMNS))
    order = np.argsort(found["session"])
    place = order[np.searchsorted(found["session"][order], wanted)]
    return picked(found, place)
