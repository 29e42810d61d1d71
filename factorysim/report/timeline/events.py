"""Track events: slices as Perfetto tells them, with numbers for their words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from factorysim.marked import printable
from factorysim.report.timeline.slices import Slices
from factorysim.store import Labels

if TYPE_CHECKING:
    from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TracePacket, TrackEvent

    from factorysim.store.tables import Column

LONGEST = 120
"""Characters of a name: the rest of a longer one would not be seen, and could be a megabyte."""
NOTE = 2_000
"""Characters of a note on a track, or on the trace."""
STRINGS = "debug_annotation_string_values"


def label(text: str, longest: int = LONGEST) -> str:
    r"""Make a name of what may be anything: one line, without control characters, cut.

    Examples
    --------
    >>> label("a\nb\x1b[31m"), len(label("x" * 1_000))
    ('a\\nb\\x1b[31m', 120)
    """
    safe = printable(text[: longest + 1]).replace("\n", "\\n")
    return safe if len(safe) <= longest else safe[: longest - 3] + "..."


class Words:
    """The words of a sequence, by what they are used for; numbered from 1."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, int]] = {}

    def number(self, table: str, word: str) -> int:
        """Give the number of a word, which is made fit to be shown."""
        known = self._known.setdefault(table, {})
        return known.setdefault(label(word), len(known) + 1)

    def numbers(self, table: str, words: Labels) -> list[int]:
        """Give the numbers of a column of words."""
        numbers = [self.number(table, word) for word in words.words]
        return [numbers[code] for code in words.codes.tolist()]

    def tell(self, packet: TracePacket) -> None:
        """Bring all words along."""
        for table, known in self._known.items():
            for word, number in known.items():
                entry = getattr(packet.interned_data, table).add(iid=number)
                if table == STRINGS:
                    entry.str = word.encode()
                else:
                    entry.name = word


class Fill:
    """Fills events with what slices are: from lists of numbers, which are quicker than arrays."""

    def __init__(self, slices: Slices, words: Words, kind: Literal["slice", "instant"]) -> None:
        from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import TrackEvent

        slice_, instant = TrackEvent.TYPE_SLICE_BEGIN, TrackEvent.TYPE_INSTANT
        self._type = slice_ if kind == "slice" else instant
        self._category = words.number("event_categories", slices.category)
        self._names = words.numbers("event_names", slices.name)
        self._tracks: list[int] = slices.track.tolist()
        self._flows = slices.flows
        self._ints: list[tuple[int, list[int]]] = []
        self._floats: list[tuple[int, list[float]]] = []
        self._words: list[tuple[int, list[int]]] = []
        for name, column in slices.args.items():
            self._take(words.number("debug_annotation_names", name), column, words)

    def _take(self, name: int, column: Column, words: Words) -> None:
        """Keep a column of arguments by what it holds."""
        import numpy as np

        if isinstance(column, Labels):
            self._words.append((name, words.numbers(STRINGS, column)))
        elif column.dtype == object:
            self._words.append((name, [words.number(STRINGS, word) for word in column.tolist()]))
        elif np.issubdtype(column.dtype, np.integer):
            self._ints.append((name, column.tolist()))
        elif not np.isnan(column).all():
            self._floats.append((name, column.tolist()))

    def fill(self, event: TrackEvent, row: int, begins: bool) -> None:
        """Tell the beginning or the end of a slice, or an instant."""
        event.track_uuid = self._tracks[row]
        if not begins:
            event.type = event.TYPE_SLICE_END
            return
        event.type = self._type
        event.name_iid = self._names[row]
        event.category_iids.append(self._category)
        if row in self._flows:
            event.flow_ids.extend(self._flows[row])
        add = event.debug_annotations.add
        for name, words in self._words:
            add(name_iid=name, string_value_iid=words[row])
        for name, ints in self._ints:
            add(name_iid=name, int_value=ints[row])
        for name, floats in self._floats:
            value = floats[row]
            if value == value:  # not NaN
                add(name_iid=name, double_value=value)
