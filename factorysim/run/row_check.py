"""What the rows of a run's tables hold, so that whatever reads them may trust their columns.

What is checked here is what readers rely on: nothing missing where a run leaves nothing out,
numbers that are read as places or drawn to scale, and instants in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.marked import shown
from factorysim.run.activity import NAMES
from factorysim.run.contents import LATEST_S
from factorysim.run.tables import OF_SOME, schema_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

LARGEST = 1e100
"""Far beyond any amount, and its square is a number yet."""
LEAST_BANDWIDTH = 1e-100
ROUNDING_S = 1e-9
ROUNDINGS = 4
"""Of a float: after four months its steps are longer than a nanosecond."""
MOST = 10**7
"""Hosts, nodes and the like, which are gone through one by one."""
COUNT = 2**53
OR_NONE = {
    "tools": ("host", "sandbox"),
    "sandboxes": ("host", "session"),
    "calls": ("replica",),
    "tiers": ("replica", "call"),
    "handoffs": ("prefill_replica", "decode_replica"),
}
"""Numbers that are -1 where there is none."""
REPLICAS = frozenset({"replica", "prefill_replica", "decode_replica"})
PLACES = frozenset({"host", "src", "dst"})
UNREAD = frozenset(
    ("step_fs", "slope_fs", "stall_fs", "pair_tokens", "prior_tokens", *NAMES, *OF_SOME)
)
"""Columns that only metrics take anything from, while a run is made."""
ORDER = {
    "sessions": (("arrived_s", "finished_s"),),
    "calls": (
        ("arrived_s", "queued_s", "scheduled_s"),
        ("arrived_s", "first_token_s", "last_token_s", "finished_s"),
    ),
    "tools": (("ready_s", "started_s", "finished_s"),),
    "sandboxes": (("asked_s", "granted_s", "ended_s"),),
    "steps": (("started_s", "finished_s"),),
    "handoffs": (
        ("queued_s", "scheduled_s", "prefilled_s"),
        ("asked_s", "reserved_s", "landed_s", "joined_s"),
    ),
    "transfers": (("started_s", "finished_s"),),
    "tiers": (("started_s", "finished_s"),),
}
"""Instants of a row in the order in which they come about, as far as they do; a decode replica
may be asked for blocks before the prompt goes to the other, or after."""
OF_COMPLETED = {
    "sessions": ("finished_s", "active_s"),
    "calls": ("first_token_s", "last_token_s", "finished_s"),
}
"""What there is of each that is completed."""


class Known(NamedTuple):
    """What the manifest says that the tables refer to."""

    replications: frozenset[int]
    replicas: int
    """Of all deployments that serve."""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Known:
        """Take it from a manifest without faults."""
        serving = (s for s in manifest["layout"]["stations"] if s["kind"] == "serve")
        return cls(
            frozenset(one["replication"] for one in manifest["replications"]),
            sum(one["replicas"] for one in serving),
        )


class _Seen:
    """Rows that break one rule, while a table goes by."""

    def __init__(self) -> None:
        self.first = 0
        self.found = ""
        self.count = 0

    def __str__(self) -> str:
        more = f" and {self.count - 1:,} more" if self.count > 1 else ""
        return f"{self.found} in row {self.first:,}{more}"


class Check:
    """Looks at the parts of a table as they go by.

    Parameters
    ----------
    table
        Its name; the parts have the columns that it must have.
    """

    def __init__(self, table: str, known: Known) -> None:
        self._table = table
        self._known = known
        self._nullable = {field.name: field.nullable for field in schema_of(table)}
        self._rows = 0
        self._seen: dict[tuple[str, str], _Seen] = {}
        self.groups: list[tuple[int | None, int | None]] = []
        """Least and greatest replication of each row group."""
        self._gaps: list[tuple[npt.NDArray[Any], ...]] = []

    def told(self) -> Iterator[tuple[str, str, str]]:
        """Say what was wrong: key, found, expected."""
        self._gaps_apart()
        for (name, expected), seen in self._seen.items():
            yield name, str(seen), expected

    def passing(self, parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """Give the parts on, each looked at."""
        for part in parts:
            for name, column in zip(part.schema.names, part.columns, strict=True):
                self._look(name, column)
            for instants in ORDER.get(self._table, ()):
                self._in_order(part, instants)
            if self._table in OF_COMPLETED:
                self._completed(part)
            if self._table == "gaps":
                columns = ("replication", "call", "at_s", "gap_s")
                self._gaps.append(tuple(part[name].to_numpy() for name in columns))
            yield part
            self._rows += len(part)

    def _look(self, name: str, column: pa.ChunkedArray[Any]) -> None:
        import pyarrow as pa

        if column.null_count and not self._nullable[name]:
            self._add(name, "a value", column.is_null().to_numpy(), "nothing")
        if pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
            self._check_text(name, column)
            return
        if name == "replication":
            self._check_replication(column)
            return
        if name in UNREAD:
            return
        low, high, expected = self._bounds(name, whole=pa.types.is_integer(column.type))
        for values in _filled(column):
            if len(values) and not (values.min() >= low and values.max() <= high):
                whole = column.to_numpy()
                with_nulls = column.is_null().to_numpy()
                wrong = ~((whole >= low) & (whole <= high) | with_nulls)
                self._add(name, expected, wrong, _first(column, wrong))
                return

    def _check_replication(self, column: pa.ChunkedArray[Any]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(self._known.replications), pa.int32())
        wrong = ~pc.is_in(column, value_set=wanted).to_numpy()
        if wrong.any():
            self._add("replication", "one of the manifest's", wrong, _first(column, wrong))
        ends = pc.min_max(column).as_py()
        self.groups.append((ends["min"], ends["max"]))

    def _check_text(self, name: str, column: pa.ChunkedArray[Any]) -> None:
        import pyarrow as pa

        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            self._add(name, "text", _no_text(column), "other bytes than UTF-8")

    def _bounds(self, name: str, *, whole: bool) -> tuple[float, float, str]:
        """Give what a number may be: least, most, and both in words."""
        least = -1 if name in OR_NONE.get(self._table, ()) else 0
        if name in REPLICAS:
            most = self._known.replicas - 1
            return least, most, f"a replica of the manifest ({least} to {most})"
        if name in PLACES:
            return least, MOST, f"a number from {least} to {MOST:,}"
        if name == "bandwidth_bytes_per_s":
            return LEAST_BANDWIDTH, LARGEST, f"B/s, above 0 and at most {LARGEST:g}"
        if name == "slowed_s":  # a difference of instants, which rounding may leave below 0
            return -LATEST_S, LATEST_S, f"seconds, at most {LATEST_S:g}"
        if whole:
            return least, COUNT, f"a whole number from {least}"
        if name.endswith("_s"):
            return 0.0, LATEST_S, f"seconds from 0 to {LATEST_S:g}"
        return -LARGEST, LARGEST, f"a finite number (at most {LARGEST:g})"

    def _in_order(self, part: pa.Table, instants: Sequence[str]) -> None:
        import numpy as np

        latest = part[instants[0]].to_numpy()
        for before, name in pairwise(instants):
            at_s = part[name].to_numpy()
            wrong = at_s < latest
            if wrong.any():
                self._add(name, f"seconds from {before} on", wrong, _first(part[name], wrong))
            latest = np.fmax(latest, at_s)

    def _completed(self, part: pa.Table) -> None:
        """Tell what lacks of that which is completed."""
        import pyarrow.compute as pc

        completed = pc.fill_null(pc.equal(part["outcome"], "completed"), False).to_numpy()
        fine = {name: part[name].is_valid().to_numpy() for name in OF_COMPLETED[self._table]}
        if self._table == "calls":
            made, asked = part["output_tokens"], part["requested_tokens"]
            fine["output_tokens"] = made.to_numpy() == asked.to_numpy()
        for name, there in fine.items():
            wrong = completed & ~there
            if wrong.any():
                self._add(name, "all of what is completed", wrong, _first(part[name], wrong))

    def _gaps_apart(self) -> None:
        """Tell where a call waits twice at once: gaps lie between tokens that follow each other."""
        import numpy as np

        if not self._gaps:
            return
        replication, call, at_s, gap_s = map(np.concatenate, zip(*self._gaps, strict=True))
        order = np.lexsort((at_s, call, replication))
        same = (np.diff(replication[order]) == 0) & (np.diff(call[order]) == 0)
        rounding_s = ROUNDING_S + ROUNDINGS * np.spacing(at_s[order][1:])
        again = same & ((at_s - gap_s)[order][1:] < at_s[order][:-1] - rounding_s)
        if again.any():
            wrong = np.zeros(len(order), bool)
            wrong[order[1:][again]] = True
            self._rows = 0
            found = f"{shown(float(gap_s[wrong.argmax()]))} s, into the gap before it"
            self._add("gap_s", "gaps of a call one after the other", wrong, found)

    def _add(self, name: str, expected: str, wrong: npt.NDArray[np.bool_], found: str) -> None:
        """Count rows that are wrong, and keep the first."""
        seen = self._seen.setdefault((name, expected), _Seen())
        if not seen.count:
            seen.first, seen.found = self._rows + int(wrong.argmax()) + 1, found
        seen.count += int(wrong.sum())


def _first(column: pa.ChunkedArray[Any], wrong: npt.NDArray[np.bool_]) -> str:
    """Show the first value that is wrong."""
    value = column[int(wrong.argmax())].as_py()
    return "nothing" if value is None else shown(value)


def _filled(column: pa.ChunkedArray[Any]) -> Iterator[npt.NDArray[Any]]:
    """Give the numbers of a column that there are, uncopied where all are."""
    for chunk in column.chunks:
        there = chunk.drop_null() if chunk.null_count else chunk
        yield there.to_numpy(zero_copy_only=False)


def _no_text(column: pa.ChunkedArray[Any]) -> npt.NDArray[np.bool_]:
    """Find the rows that are no UTF-8."""
    import numpy as np
    import pyarrow as pa

    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return np.array([not _decodes(value.as_buffer()) for value in plain], bool)


def _decodes(data: pa.Buffer | None) -> bool:
    try:
        (b"" if data is None else data.to_pybytes()).decode()
    except UnicodeDecodeError:
        return False
    return True
